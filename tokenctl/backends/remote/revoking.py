"""Revoking at a service: what it says it did proves nothing, so it is asked again, and the truth of that is what is told.

Targets go in batches: their intents are recorded, the service is asked about many at once, their outcomes are recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenctl import process
from tokenctl.backends.local.standing import look
from tokenctl.backends.remote import ledger
from tokenctl.backends.remote.service import Facts, Reference, Service
from tokenctl.deadline import in_order
from tokenctl.errors import (
    AccessDenied,
    InvalidConfiguration,
    InvalidRequest,
    ServerError,
    TemporarilyUnavailable,
    TokenctlError,
)
from tokenctl.http.peer import PARALLEL, Unanswered, maybe_done
from tokenctl.model.times import LAST_INSTANT, SECOND
from tokenctl.model.token import Outcome, Reason, Target, Token
from tokenctl.store.rows import Stored

if TYPE_CHECKING:
    from tokenctl.backends.local.view import Change
    from tokenctl.backends.remote.authority import RemoteAuthority

_BATCH = 8 * PARALLEL  # targets whose intents and outcomes are recorded together
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two questions whether it denies by now
_LAGS = "the service does not know it, and one of its nodes that does not lag was not to be asked"
_LOST = "not tried: the service was not there for those before it"


class Fate(NamedTuple):
    """What the service says of one target in the end."""

    outcome: str
    state_before: str | None = None
    detail: str | None = None
    failure: int | None = None
    children: int = 0
    elapsed_ms: int | None = None


class _Reach:
    """Whether the service is there: once so many targets in a row did not reach it, no other is tried."""

    def __init__(self) -> None:
        self._missed = 0

    @property
    def lost(self) -> bool:
        return self._missed >= PARALLEL

    def note(self, fate: Fate) -> None:
        self._missed = self._missed + 1 if fate.failure == TemporarilyUnavailable.exit_code else 0


def denied_now(service: Service, reference: Reference) -> str | None:
    """Revoke, and ask again; return why it may still be accepted, ``None`` where the service denies it."""
    denial = service.deny(reference, keep_children=False)
    facts = service.ask(reference)
    if facts is None:
        return denial.detail or "the service does not answer for it"
    if facts.active:
        return denial.detail or "the service still accepts it"
    return None if facts.sure else _LAGS


def carry_out(authority: RemoteAuthority, targets: Sequence[Target], reason: Reason, *, keep_children: bool) -> Iterator[Outcome]:
    """Work through the targets.

    Raises:
        InvalidConfiguration: a target is named by an id where only the token itself will do (exit 9): nothing was started.
        InvalidRequest: a target is the operator's own credential (exit 2): nothing was started.
        KeyboardInterrupt: between two batches.
    """
    require_reach(authority, targets, keep_children=keep_children)
    if targets:
        authority.begin()
    reach = _Reach()
    with process.Unbroken() as unbroken:
        for start in range(0, len(targets), _BATCH):
            unbroken.pause()
            if reach.lost:
                failure = TemporarilyUnavailable.exit_code
                yield from (Outcome(target.id, "unreachable", detail=_LOST, failure=failure) for target in targets[start:])
                return
            if start:
                authority.journal.catch_up()
            unbroken.resume()
            yield from _batch(authority, targets[start : start + _BATCH], reason, reach, keep_children=keep_children)


def require_reach(authority: RemoteAuthority, targets: Iterable[Target], *, keep_children: bool) -> None:
    """Refuse a target that its id is not enough for (exit 9), and the operator's own credential (exit 2)."""
    service = authority.service
    for target in targets:
        if target.text is None and not service.by_handle:
            raise InvalidConfiguration(
                f"profile {authority.name} ({authority.place}) revokes by the token itself alone: nothing was started",
                hint="pipe the token itself: tokenctl revoke - < FILE", reason="token_needed",
            )  # fmt: skip
        if target.text is None and keep_children:
            raise InvalidConfiguration(
                f"profile {authority.name} keeps children only where the token itself is given: nothing was started",
                hint="pipe the token itself: tokenctl revoke - --keep-children < FILE", reason="token_needed",
            )  # fmt: skip
        if not authority.including_self and service.own(target.id):
            raise InvalidRequest(
                f"{target.id} is the credential that this command works with: nothing was started",
                hint="if you mean it: --including-self", reason="own_credential",
            )  # fmt: skip


def _batch(
    authority: RemoteAuthority, targets: Sequence[Target], reason: Reason, reach: _Reach, *, keep_children: bool
) -> Iterator[Outcome]:  # fmt: skip
    children: dict[str, int] = {}
    with authority.journal.changing(create=True) as change:
        assert change is not None
        rows, now = change.rows.tokens([target.id for target in targets]), change.now
        for target in targets:
            stored = rows.get(target.id)
            if stored is not None:
                children[target.id] = sum(1 for child in change.rows.descendants(target.id) if _lives(change, child))
                rows[target.id] = ledger.intend_about(change, stored, "revoke", reason)
            else:
                ledger.intend(change, "revoke", target=target.id, request_id=reason.request_id, ticket=reason.ticket)
    ours = {identifier: stored.row for identifier, stored in rows.items()}
    fates = _ask_all(authority, targets, ours, reach, now=now, keep_children=keep_children)
    authority.journal.catch_up()
    outcomes = []
    with authority.journal.changing() as change:
        assert change is not None
        rows = change.rows.tokens([target.id for target in targets])  # others may have changed them meanwhile
        for target, fate in zip(targets, fates, strict=True):
            stored = rows.get(target.id)
            before = stored.row if stored is not None else None
            if fate.outcome == "unknown" and ledger.was_begun(change, target.id):
                fate = fate._replace(outcome="already_revoked", state_before="revoked", detail="asked for before")
            along = children.get(target.id, 0) if fate.outcome == "revoked" else 0
            if along and keep_children:
                fate = fate._replace(detail=f"{along} {'child' if along == 1 else 'children'} kept")
            elif along:
                fate = fate._replace(children=max(fate.children, along))
            row = _noted(change, target, stored, fate, reason, keep_children=keep_children)
            outcomes.append(_told(target, row, fate, reason, now=change.now, by=change.actor_name, was_ours=before))
    yield from outcomes


def _lives(change: Change, identifier: str) -> bool:
    stored = change.rows.token(identifier)
    return stored is not None and look(change, stored).standing.active


def _noted(
    change: Change, target: Target, stored: Stored[Token] | None, fate: Fate, reason: Reason, *, keep_children: bool
) -> Token | None:  # fmt: skip
    """Record what came of it; write into our row that the service denies it now."""
    named = reason.request_id
    if stored is None:
        ledger.conclude(change, "revoke", fate.outcome, target=target.id, request_id=named, duration_ms=fate.elapsed_ms)
        return None
    denied = fate.outcome == "revoked" or (fate.outcome == "already_revoked" and stored.row.expires_at > change.now)
    if denied and stored.row.revoked_at is None:
        kept = keep_children and fate.outcome == "revoked"
        stored = stored._replace(row=ledger.revoke(change, stored, reason, keep_children=kept))
    return ledger.conclude_about(change, stored, "revoke", fate.outcome, named, duration_ms=fate.elapsed_ms)


def _told(
    target: Target, row: Token | None, fate: Fate, reason: Reason, *, now: int, by: str, was_ours: Token | None
) -> Outcome:  # fmt: skip
    known_dead = was_ours is not None and was_ours.revoked_at is not None
    fresh = fate.outcome == "revoked"
    return Outcome(
        id=target.id, outcome=fate.outcome, state_before=fate.state_before,
        at=now if fresh else row.revoked_at if row is not None and known_dead else None,
        by=by if fresh else row.revoked_by if row is not None and known_dead else None,
        reason=reason.reason if fresh else row.reason if row is not None and known_dead else None,
        offline_until=_offline_until(target, row, now), children=fate.children, checked_ms=fate.elapsed_ms,
        detail=fate.detail, failure=fate.failure,
    )  # fmt: skip


def _offline_until(target: Target, row: Token | None, now: int) -> int | None:
    """Return until when a verifier that does not ask may accept a JWT."""
    if target.text is not None:
        claims = ledger.claims_of(target.text)
        end = claims.get("exp") if claims is not None else None
        plain = isinstance(end, int | float) and not isinstance(end, bool) and 0 <= end <= LAST_INSTANT // SECOND
        if plain and isinstance(end, int | float):
            return int(end * SECOND) if end * SECOND > now else None
    if row is not None and row.format == "jwt" and row.expires_at > now:
        return row.expires_at
    return None


def _ask_all(
    authority: RemoteAuthority, targets: Sequence[Target], ours: Mapping[str, Token], reach: _Reach, *, now: int,
    keep_children: bool,
) -> list[Fate]:  # fmt: skip
    """Settle the targets, so many at once; in their order."""
    service, wait = authority.service, authority.wait

    def settle(target: Target) -> Fate:
        if reach.lost:
            return Fate("unreachable", detail=_LOST, failure=TemporarilyUnavailable.exit_code)
        reference = Reference(target.id if service.by_handle else None, target.text)
        return _settled(service, reference, ours.get(target.id), wait, now=now, keep_children=keep_children)

    fates = []
    for fate in in_order(settle, targets, PARALLEL):
        reach.note(fate)
        fates.append(fate)
    return fates


def _settled(
    service: Service, reference: Reference, ours: Token | None, wait: float, *, now: int, keep_children: bool
) -> Fate:  # fmt: skip
    begun = time.monotonic()
    try:
        before = service.ask(reference)
    except (AccessDenied, ServerError):
        before = None  # whoever may not ask may revoke nevertheless
    except TokenctlError as error:
        return Fate("unreachable", detail=error.message, failure=error.exit_code)
    ended = None if ours is None else "revoked" if ours.revoked_at is not None else "expired" if ours.expires_at <= now else None
    if before is not None and not before.active and (before.sure or ended is not None):
        known = ours is not None or reference.text is not None or bool(before.members)
        return Fate(
            "already_revoked" if known else "unknown", ended or "revoked" if known else None,
            "the service did not accept it before",
        )  # fmt: skip
    state = "active" if before is not None and before.active else None
    try:
        denial = service.deny(reference, keep_children=keep_children)
    except TokenctlError as error:
        if not maybe_done(error):
            return Fate("unreachable", state, error.message, failure=error.exit_code)
        detail: str | None = f"{error.message}: whether it was revoked is not known"
    else:
        detail = denial.detail
    return _verified(service, reference, state, detail, begun=begun, wait=wait, children=before.children if before else 0)


def _verified(
    service: Service, reference: Reference, state: str | None, detail: str | None, *, begun: float, wait: float, children: int
) -> Fate:
    """Ask until the service denies it, or the wait is over."""
    pause, until = _FIRST_PAUSE, time.monotonic() + wait
    while True:
        try:
            after: Facts | None = service.ask(reference)
        except TokenctlError as error:
            if isinstance(error, Unanswered) and time.monotonic() + pause <= until:
                time.sleep(pause)
                continue
            return Fate("unverified", state, detail or f"asked again: {error.message}", failure=error.exit_code)
        elapsed = round((time.monotonic() - begun) * 1000)
        if after is None:
            return Fate("unverified", state, detail or "the service does not answer for this token", elapsed_ms=elapsed)
        if not after.active and not after.sure:
            return Fate("unverified", state, _LAGS, elapsed_ms=elapsed)
        if not after.active:
            return Fate("revoked", state, None, children=children, elapsed_ms=elapsed)
        if time.monotonic() + pause > until:
            return Fate("still_active", state, detail or "the service still accepts it", elapsed_ms=elapsed)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
