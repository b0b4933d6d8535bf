"""Tokens that take the place of others: what a successor inherits, and when the one before it ends.

A successor is issued beside the token that it replaces, which its delivery alone touches: in that transaction the old token
learns who replaces it and when its grace is over. So it never ends before its successor was delivered. It is revoked when the
grace is over, or sooner, in the transaction in which the successor is first accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenctl.backends.local.standing import denied_for_good, look, record_about, revoke_due, supersede
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import Conflict, IntegrityError, InvalidRequest, NotFound
from tokenctl.model.introspection import Found
from tokenctl.model.record import replacement_parameters
from tokenctl.model.times import format_instant
from tokenctl.model.token import Token, TokenRequest
from tokenctl.store.rows import Stored

_ENDED = ("revoked", "expired")
_ANEW = "issue another one: tokenctl issue --help"


def inherit(view: View | None, request: TokenRequest, waiting: Sequence[Stored[Token]]) -> TokenRequest:
    """Return a request with the rights of the token that it replaces; today's policy is still to judge it.

    Args:
        view: The store as it is; ``None`` where there is none yet.
        waiting: Successors that make way for this request, for it was made before and they never reached their taker.

    Raises:
        NotFound: there is no such token (exit 5).
        Conflict: it cannot be replaced as it stands, or is being replaced (exit 6).
        IntegrityError: its row, or its successor's, does not check out (exit 10).
        InvalidRequest: claims for an opaque token (exit 2).
    """
    token = _replaceable(view, request.replaces or "", waiting)
    key = view.rows.key(token.kid) if view is not None and token.kid is not None else None
    if request.claims and key is None:
        raise InvalidRequest(f"--claim: only a JWT carries claims, and {token.id} is opaque", hint="tokenctl issue --help")
    lifetime = token.expires_at - max(token.issued_at, token.not_before or 0)
    return request._replace(
        subject=token.subject, owner=token.owner, kind=token.kind, format=token.format,
        algorithm=key.row.alg if key is not None else None, scope=token.scope, audience=token.audience, labels=token.labels,
        parent=token.parent, lifetime=lifetime if request.lifetime is None else request.lifetime, default_lifetime=None,
        note=token.note if request.note is None else request.note, not_before=None, max_uses=None, run=None,
    )  # fmt: skip


def reappearing(view: View, identifier: str) -> int:
    """Return how many tokens count again under their owner's limit when a token gets a successor: the one it replaced itself."""
    stored = view.rows.token(identifier)
    before = view.rows.token(stored.row.replaces) if stored is not None and stored.row.replaces is not None else None
    return int(before is not None and before.row.replaced_by == identifier and _lives(view, before))


def hand_over(change: Change, successors: Iterable[str], now: int) -> list[str]:
    """Let the grace of what these delivered tokens replace begin; what is denied for good by now stays so.

    Args:
        now: When they were delivered, milliseconds UTC.

    Returns:
        Those that were revoked, because what they replace was revoked as compromised meanwhile.
    """
    refused = []
    for identifier in sorted(successors):
        stored = change.rows.token(identifier)
        if stored is None or not stored.intact or stored.row.replaces is None:
            continue
        successor, replaced = stored.row, change.rows.token(stored.row.replaces)
        if replaced is None:
            continue
        found = look(change, replaced)
        if denied_for_good(change, found):
            if replaced.row.reason == "compromised" or "compromised" in (found.standing.cause or ""):
                revoke_due(change, stored, reason="compromised", note=f"what it replaces, {replaced.row.id}, was compromised")
                refused.append(identifier)
            continue
        until = min(now + (successor.grace or 0), replaced.row.expires_at)
        facts: dict[str, object] = {
            "request_id": successor.batch or successor.request, "duration_ms": max(0, until - now),
            "parameters": replacement_parameters(successor.id, until),
        }  # fmt: skip
        token = record_about(change, replaced, "token.replace", facts, replaced_by=successor.id, grace_until=until)
        if until <= now:
            supersede(change, replaced._replace(row=token))
    return refused


def take_place(change: Change, successor: Token) -> None:
    """Revoke what an accepted token replaces; one that was not delivered yet has not taken its place."""
    replaced = change.rows.token(successor.replaces or "")
    if replaced is None or replaced.row.replaced_by not in (None, successor.id):
        return
    if replaced.row.replaced_by is None and successor.delivered_at is None:
        return
    if not denied_for_good(change, look(change, replaced)):
        supersede(change, replaced)


def _replaceable(view: View | None, identifier: str, waiting: Sequence[Stored[Token]]) -> Token:
    stored = view.rows.token(identifier) if view is not None else None
    if view is None or stored is None:
        raise NotFound(f"no token {identifier} to be replaced", reason="unknown_id")
    found = look(view, stored)
    if not found.intact:
        raise IntegrityError(f"the row of the token {identifier} does not check out", hint="tokenctl audit verify")
    obstacle = _obstacle(found)
    if obstacle is not None:
        raise obstacle
    making_way = {earlier.row.id for earlier in waiting}
    for successor in view.rows.successors_of(identifier):
        other = view.rows.token(successor)
        if successor not in making_way and other is not None and _lives(view, other):
            told = f"token {identifier} is being replaced by {successor}"
            raise Conflict(told, hint=f"tokenctl inspect {successor}", reason="being_replaced")
    return found.token


def _lives(view: View, stored: Stored[Token]) -> bool:
    """Whether a token may be accepted, now or later; raises IntegrityError where its row does not check out (exit 10)."""
    found = look(view, stored)
    if not found.intact:
        raise IntegrityError(f"the row of the token {stored.row.id} does not check out", hint="tokenctl audit verify")
    return found.standing.state not in _ENDED


def _obstacle(found: Found) -> Conflict | None:
    """Return why a token cannot be replaced as it stands."""
    token, (state, cause, _) = found.token, found.standing
    if state == "revoked":
        return _revoked(token, cause)
    told, hint, reason = "", _ANEW, state
    if token.run is not None:
        told, reason = "lives as long as a command", "run"
    elif token.max_uses is not None:
        told, reason = "has --max-uses, and no two tokens can share them", "max_uses"
    elif state == "expired":
        told = f"expired at {format_instant(token.expires_at)}"
    elif state == "suspended":
        who = token.id if token.suspended_at is not None else (cause or "").split()[1]
        told, hint = f"is suspended{'' if cause is None else f' ({cause})'}", f"tokenctl revoke {who} --lift"
    elif state == "not_yet_valid":
        told, hint = f"is not valid before {format_instant(token.not_before or 0)}", "run again then"
    elif token.delivered_at is None:
        told, reason = "has not reached its taker", "undelivered"
    return Conflict(f"token {token.id} {told}: it cannot be replaced", hint=hint, reason=reason) if told else None


def _revoked(token: Token, cause: str | None) -> Conflict:
    compromised = token.reason == "compromised" or "compromised" in (cause or "")
    if token.replaced_by is not None and not compromised and (cause is not None or token.reason == "superseded"):
        told = f"token {token.id} was replaced by {token.replaced_by}"
        return Conflict(told, hint=f"tokenctl inspect {token.replaced_by}", reason="replaced")
    why = cause or token.reason
    return Conflict(
        f"token {token.id} is revoked ({why}): it cannot be replaced", hint=_ANEW,
        reason="compromised" if compromised else "undelivered" if why == "undelivered" else "revoked",
    )  # fmt: skip
