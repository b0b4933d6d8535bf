"""The terms of a suspension: how long, what then, and whether the children are spared; suspended again, they only harden."""

from __future__ import annotations

from typing import NamedTuple

from tokenctl.backends.local.batches import Known
from tokenctl.backends.local.view import Change
from tokenctl.model.record import KEPT, suspension_parameters
from tokenctl.model.times import format_instant
from tokenctl.model.token import Reason, Token
from tokenctl.store.rows import Stored


class Terms(NamedTuple):
    """``until`` in milliseconds UTC, ``None`` until it is lifted; ``then`` is ``lift`` or ``revoke`` where there is an end."""

    until: int | None
    then: str | None
    keep_children: bool

    def harder(self, asked: Terms) -> Terms:
        """Return what denies under both: no end beats any, of two the later; ``revoke`` beats ``lift``; none is spared again."""
        until = None if self.until is None or asked.until is None else max(self.until, asked.until)
        then = "revoke" if "revoke" in (self.then, asked.then) else "lift"
        return Terms(until, None if until is None else then, self.keep_children and asked.keep_children)

    @property
    def end(self) -> str:
        if self.until is None:
            return "until it is lifted"
        return f"until {format_instant(self.until)}, then {'revoked' if self.then == 'revoke' else 'lifted'}"


def terms_of(token: Token) -> Terms | None:
    """Return the terms that a token is suspended under itself."""
    if token.suspended_at is None:
        return None
    return Terms(token.suspended_until, token.suspended_then, bool(token.children_kept))


def suspend(change: Change, known: Known, stored: Stored[Token], reason: Reason, asked: Terms) -> Token:
    """Suspend a token, or suspend it again: softer terms leave the old ones, and are recorded as kept."""
    row, before = stored.row, terms_of(stored.row)
    terms = before.harder(asked) if before is not None else asked
    kept = terms == before != asked
    told = asked if kept else terms
    facts: dict[str, object] = {
        "reason": reason.reason, "ticket": reason.ticket, "request_id": reason.request_id,
        "outcome": KEPT if kept else "done", "duration_ms": None if told.until is None else told.until - change.now,
        "parameters": suspension_parameters(told.until, told.then, keep_children=told.keep_children, note=reason.note),
    }  # fmt: skip
    if kept:
        return known.record(stored, "token.suspend", facts)
    return known.record(
        stored, "token.suspend", facts,
        suspended_at=row.suspended_at if row.suspended_at is not None else change.now, suspended_until=terms.until,
        suspended_then=terms.then, children_kept=int(terms.keep_children), revoked_note=reason.note,
    )  # fmt: skip
