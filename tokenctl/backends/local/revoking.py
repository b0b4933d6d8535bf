"""Revoking: each target and its descendants in one change with their records, many targets in short batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from tokenctl.backends.local.journal import BATCH_SECONDS, Change, Journal, View
from tokenctl.backends.local.standing import housekeep, look, record_about
from tokenctl.model.introspection import Found
from tokenctl.model.token import Outcome, Reason, Target, Token
from tokenctl.store.rows import Stored

_REVOCATION = ("revoked_at", "revoked_by", "reason", "revoked_note", "ticket", "revoked_request")


def revoke(journal: Journal, targets: Sequence[Target], reason: Reason) -> Iterator[Outcome]:
    """Revoke in batches of about a tenth of a second, the lock released between them; yield what is durable.

    Raises:
        TokenctlError: the store cannot be changed; what was yielded before stays done.
    """
    position = 0
    housekept = False
    while position < len(targets):
        started = time.monotonic()
        outcomes: list[Outcome] = []
        with journal.changing() as change:
            if change is None:
                outcomes = [Outcome(id=target.id, outcome="unknown") for target in targets[position:]]
            else:
                if not housekept:
                    housekeep(change)
                    housekept = True
                for target in targets[position:]:
                    outcomes.append(_revoke_one(change, target, reason))
                    if time.monotonic() - started > BATCH_SECONDS:
                        break
        position += len(outcomes)
        yield from _checked(journal, outcomes, started)


def _revoke_one(change: Change, target: Target, reason: Reason) -> Outcome:
    stored = change.rows.token(target.id)
    if stored is None:
        return Outcome(id=target.id, outcome="unknown")
    found = look(change, stored)
    token = found.token
    if _denied_for_good(change, found):
        # Descendants that a write once missed are finished by a rerun.
        children = 0 if token.children_kept else _revoke_descendants(change, token, reason)
        return Outcome(
            id=token.id, outcome="already_revoked", state_before="revoked", at=token.revoked_at, by=token.revoked_by,
            reason=token.reason, offline_until=_offline_until(token, change.now), children=children,
            detail=found.standing.cause,
        )  # fmt: skip
    token = record_about(
        change, stored, "token.revoke",
        {"reason": reason.reason, "ticket": reason.ticket, "request_id": reason.request_id, "parameters": {"note": reason.note}},
        **_columns(change, reason),
    )  # fmt: skip
    return Outcome(
        id=token.id, outcome="revoked", state_before=found.standing.state, at=change.now, by=str(change.actor),
        reason=reason.reason, offline_until=_offline_until(token, change.now),
        children=_revoke_descendants(change, token, reason),
        detail=None if found.intact else "its row does not check out: tokenctl audit verify",
    )  # fmt: skip


def _denied_for_good(view: View, found: Found) -> bool:
    """Whether a token is revoked already: by a row that checks out, or, where the row does not, by its newest record."""
    if found.intact:
        return found.standing.state == "revoked"
    return view.rows.newest_operation(found.token.id) == "token.revoke"


def _revoked_itself(view: View, stored: Stored[Token]) -> bool:
    if stored.intact and view.rows.newest_leaf(stored.row.id) == stored.row.leaf:
        return stored.row.revoked_at is not None
    return view.rows.newest_operation(stored.row.id) == "token.revoke"


def _revoke_descendants(change: Change, ancestor: Token, reason: Reason) -> int:
    revoked = 0
    for identifier in change.rows.descendants(ancestor.id):
        stored = change.rows.token(identifier)
        if stored is None or _revoked_itself(change, stored):
            continue
        record_about(
            change, stored, "token.revoke",
            {"reason": reason.reason, "ticket": reason.ticket, "request_id": reason.request_id,
             "parameters": {"note": reason.note, "with": ancestor.id}},
            **_columns(change, reason),
        )  # fmt: skip
        revoked += 1
    return revoked


def _columns(change: Change, reason: Reason) -> dict[str, object]:
    values = (change.now, str(change.actor), reason.reason, reason.note, reason.ticket, reason.request_id)
    return dict(zip(_REVOCATION, values, strict=True))


def _offline_until(token: Token, now: int) -> int | None:
    """A verifier that holds our keys and does not ask accepts a JWT until it expires."""
    return token.expires_at if token.format == "jwt" and token.expires_at > now else None


def _checked(journal: Journal, outcomes: list[Outcome], started: float) -> Iterator[Outcome]:
    """Ask the store again whether each target is denied, and say how long that took."""
    with journal.reading() as view:
        for outcome in outcomes:
            if outcome.outcome == "unknown" or view is None:
                yield outcome
                continue
            stored = view.rows.token(outcome.id)
            denied = stored is not None and _denied_for_good(view, look(view, stored))
            elapsed = round((time.monotonic() - started) * 1000)
            if denied:
                yield outcome._replace(checked_ms=elapsed)
            else:
                yield outcome._replace(outcome="still_active", detail="the store does not deny it after the change")
