"""Settling what is left half done: tokens that never arrived, and all else of which a time has come.

It is what housekeeping does, told one by one. What is left by a remote authority is to be settled here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.standing import Due, due, housekeep, unliftable
from tokenctl.backends.local.view import View
from tokenctl.model.token import DELIVERY_DEADLINE, Token
from tokenctl.store.schema import REMOTE

_WAITING = f"""SELECT id FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL AND issued_at > ? AND NOT ({REMOTE})
              ORDER BY issued_at, id"""
_MANY = 1_000_000_000  # for a preview: all of it


class Settled(NamedTuple):
    """One token, and what became of it.

    Attributes:
        what: ``undelivered``, ``run``, ``suspension`` or ``grace``.
        outcome: ``revoked`` or ``lifted``; ``pending`` while its time is not over; ``waiting`` where it cannot be settled.
        at: When it was settled, or is to be, milliseconds UTC; ``None`` where that is not known.
        algorithm: Of the key that signed it.
    """

    token: Token
    what: str
    outcome: str
    at: int | None
    algorithm: str | None = None


def reconcile(journal: Journal) -> Iterator[Settled]:
    """Settle all that is due, and yield each once that is durable; then what is pending, and what must wait.

    Raises:
        TemporarilyUnavailable: the store is busy or cannot be written (exit 7); what was yielded is settled.
    """
    while _any_due(journal):
        with journal.changing() as change:
            settled = [_settled(change, each) for each in due(change)] if change is not None else []
            if change is not None:
                housekeep(change)
        yield from settled
    yield from _left(journal)


def foresee(journal: Journal) -> Iterator[Settled]:
    """Yield what :func:`reconcile` would; nothing is changed."""
    with journal.reading() as view:
        found = [_settled(view, each) for each in due(view, most=_MANY)] if view is not None else []
    yield from found
    yield from _left(journal)


def _any_due(journal: Journal) -> bool:
    with journal.reading() as view:
        return view is not None and bool(due(view))


def _settled(view: View, each: Due) -> Settled:
    """Return what becomes of a token that is due, read before it does."""
    token = _row(view, each.id)
    key = view.rows.key(token.kid) if token.kid is not None else None
    lifted = each.cause == "suspension" and token.suspended_then != "revoke"
    return Settled(token, each.cause, "lifted" if lifted else "revoked", view.now, key.row.alg if key is not None else None)


def _left(journal: Journal) -> Iterator[Settled]:
    with journal.reading() as view:
        if view is None:
            return
        pending = [_row(view, str(row[0])) for row in view.store.rows(_WAITING, view.now - DELIVERY_DEADLINE)]
        waiting = [_row(view, identifier) for identifier in unliftable(view, most=_MANY)]
    yield from (Settled(token, "undelivered", "pending", token.issued_at + DELIVERY_DEADLINE) for token in pending)
    yield from (Settled(token, "suspension", "waiting", None) for token in waiting)


def _row(view: View, identifier: str) -> Token:
    stored = view.rows.token(identifier)
    assert stored is not None  # rows are never deleted
    return stored.row
