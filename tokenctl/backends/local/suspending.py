"""Suspending and lifting: a token is denied for a time, and its descendants with it, on read."""

from __future__ import annotations

from tokenctl.backends.local.batches import Known, Settled
from tokenctl.backends.local.revoking import BROKEN, offline_until
from tokenctl.backends.local.standing import NOT_SUSPENDED, denied_for_good, look
from tokenctl.backends.local.terms import Terms, suspend, terms_of
from tokenctl.backends.local.view import Change, View
from tokenctl.model.introspection import Found
from tokenctl.model.times import LAST_INSTANT, SECOND, format_instant
from tokenctl.model.token import Outcome, Reason, Token
from tokenctl.store.rows import Stored


class Suspending:
    """Denies until it is lifted, or for a time. Suspended again, a token is denied under the harder terms of both."""

    def __init__(self, reason: Reason, *, duration: int | None, then: str | None, keep_children: bool) -> None:
        self._reason = reason
        self._duration = duration
        self._until: int | None = None
        self._then = then
        self._keep_children = keep_children

    def settle(self, change: Change, known: Known, identifier: str) -> Settled:
        read = known.get(identifier)
        if read is None:
            return Settled(Outcome(id=identifier, outcome="unknown"))
        stored, found = read
        standing = _denied_already(change, found)
        if standing is not None:
            return Settled(standing, found.token)
        again = found.token.suspended_at is not None
        if again and found.intact and _request_of(change, found.token) == self._reason.request_id:
            return Settled(self._outcome(change, found, found.token, "suspended before, under this request"), found.token)
        asked, before = self._asked(change), terms_of(found.token)
        token = suspend(change, known, stored, self._reason, asked)
        details = _told(asked, before, terms_of(token))
        details += [BROKEN] if not found.intact else []
        return Settled(self._outcome(change, found, token, "; ".join(details), known), token)

    def holds(self, view: View, found: Found) -> bool:
        return not found.intact or found.standing.state in ("revoked", "expired", "suspended")

    def _asked(self, change: Change) -> Terms:
        if self._duration is not None and self._until is None:  # the same for all that one command suspends
            until = change.now + self._duration
            self._until = min(until + -until % SECOND, LAST_INSTANT - LAST_INSTANT % SECOND)  # whole seconds, like a token's end
        return Terms(self._until, self._then, self._keep_children)

    def _outcome(self, change: Change, found: Found, token: Token, detail: str, known: Known | None = None) -> Outcome:
        children = sum(1 for _ in known.descendants(token.id)) if known is not None and not token.children_kept else 0
        return Outcome(
            id=token.id, outcome="suspended", state_before=found.standing.state, at=token.suspended_at, by=change.actor_name,
            reason=self._reason.reason, offline_until=offline_until(token, change.now), children=children, detail=detail,
        )  # fmt: skip


class Lifting:
    """Ends suspensions. A token that something else denies stays denied, and that is told."""

    def __init__(self, reason: Reason, *, planned: int | None = None) -> None:
        self._reason = reason
        self._planned = planned

    def settle(self, change: Change, known: Known, identifier: str) -> Settled:
        read = known.get(identifier)
        if read is None:
            return Settled(Outcome(id=identifier, outcome="unknown"))
        stored, found = read
        if not found.intact:
            return Settled(Outcome(id=identifier, outcome="unverified", detail=BROKEN))
        standing = _denied_already(change, found)
        if standing is not None:
            return Settled(standing)
        if found.token.suspended_at is not None and self._suspended_since_the_plan(change, identifier):
            detail = "suspended again since the plan"
            return Settled(Outcome(id=identifier, outcome="denied", state_before="suspended", detail=detail))
        if found.token.suspended_at is None:
            lifted, token, at = [], found.token, None
        else:
            lifted, token, at = ["its own suspension is lifted"], self._lift(known, stored), change.now
        # Read anew: a parent of this chunk may have been lifted before it.
        now = found
        if token.parent is not None or at is not None:
            known.flush()
            now = look(change, stored._replace(row=token))
        if now.standing.state == "suspended":
            detail = "; ".join([*lifted, f"still suspended: {now.standing.cause}"])
            return Settled(Outcome(id=identifier, outcome="denied", state_before="suspended", at=at, detail=detail))
        outcome = Outcome(
            id=identifier, outcome="lifted", state_before=found.standing.state, at=at,
            by=change.actor_name if at is not None else None, reason=self._reason.reason,
            detail="it is not suspended" if found.standing.state != "suspended" else f"now {now.standing.state}",
        )  # fmt: skip
        return Settled(outcome, token)

    def holds(self, view: View, found: Found) -> bool:
        return found.intact and found.standing.state != "suspended"

    def _suspended_since_the_plan(self, change: Change, identifier: str) -> bool:
        return self._planned is not None and change.rows.newest_leaf(identifier, "token.suspend") > self._planned

    def _lift(self, known: Known, stored: Stored[Token]) -> Token:
        reason = self._reason
        facts: dict[str, object] = {
            "reason": reason.reason, "ticket": reason.ticket, "request_id": reason.request_id, "parameters": {"note": reason.note}
        }  # fmt: skip
        return known.record(stored, "token.lift", facts, **NOT_SUSPENDED)


def _denied_already(change: Change, found: Found) -> Outcome | None:
    """Return the outcome of a token that is denied for good: it is neither suspended nor lifted any more."""
    token, state = found.token, found.standing.state
    if denied_for_good(change, found):
        return Outcome(
            id=token.id, outcome="already_revoked", state_before="revoked", at=token.revoked_at, by=token.revoked_by,
            reason=token.reason, offline_until=offline_until(token, change.now), detail=found.standing.cause,
        )  # fmt: skip
    if state == "expired" and found.intact:
        return Outcome(
            id=token.id, outcome="denied", state_before=state, detail=f"expired at {format_instant(token.expires_at)}"
        )  # fmt: skip
    return None


def _told(asked: Terms, before: Terms | None, terms: Terms | None) -> list[str]:
    """Say how a suspension ends; where there was one before, what became of it."""
    assert terms is not None
    if before is None:
        return [terms.end]
    details = [f"kept: {before.end}"] if terms == before != asked else [terms.end, f"before: {before.end}"]
    return details + (["its children stay suspended with it"] if asked.keep_children and not terms.keep_children else [])


def _request_of(change: Change, token: Token) -> str | None:
    """Return the request of a token's newest record."""
    value = change.store.value("SELECT request FROM record WHERE seq = ?", token.leaf)
    return None if value is None else str(value)
