"""The clock that stands behind the log: how far, what would die with it, and accepting it.

A record made with the clock far ahead moves the time by which rights end (``View.now``) ahead for good. Accepting the
present clock moves it back, so in the same transaction everything that the time ahead had ended is revoked, each with its
record: what any reader denied by that time stays denied. Tokens issued ahead of the present clock end too, for their
lifetimes were measured on the wrong one. The time accepted is that of the record ``store.clock`` and stands in the head,
under its MAC; ``audit verify`` lets time go back at such a record only, and demands those revocations.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenctl.backends.local.issuing import CLOCK_TOLERANCE
from tokenctl.backends.local.journal import Change, View
from tokenctl.backends.local.standing import revoke_due
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.model.record import Event
from tokenctl.model.times import DAY, format_instant
from tokenctl.model.token import DELIVERY_DEADLINE, suspension_kills

FIRST_BELIEVED = 18_262 * DAY  # 2020-01-01; an earlier clock was never set
_NOTE = "ended by the clock that store accept-clock corrected"


class Accepted(NamedTuple):
    """What accepting the clock did: from which time to which, which tokens ended with it, and the id in its records."""

    before: int
    clock: int
    ended: list[str]
    request_id: str


def behind(view: View) -> int:
    """Return how far the clock stands behind the last record, milliseconds; zero where ``issue`` bears it."""
    distance = view.last_time - view.clock
    return distance if distance > CLOCK_TOLERANCE else 0


def require_believable(clock: int) -> None:
    """Refuse to accept a clock that was never set (exit 7)."""
    if clock < FIRST_BELIEVED:
        raise TemporarilyUnavailable(
            f"the clock says {format_instant(clock)}: it was never set", hint="set the clock, then run again", reason="clock"
        )


def doomed(view: View) -> list[str]:
    """Return the ids of the tokens that end when the clock is accepted: all that the last record's time denies and the
    clock would not, and all that were issued ahead of the clock.

    A suspension that ends in a lift is left as it is: it denies until the lift is recorded.
    """
    sql = (
        "SELECT id FROM token WHERE revoked_at IS NULL AND expires_at > ?1 AND ("
        "expires_at <= ?2 OR issued_at > ?1 OR grace_until <= ?2"
        " OR (suspended_then = 'revoke' AND suspended_until <= ?2)"
        " OR (delivered_at IS NULL AND issued_at <= ?3)) ORDER BY rowid"
    )
    due = view.last_time - DELIVERY_DEADLINE
    return [str(row[0]) for row in view.store.rows(sql, view.clock, view.last_time, due)]


def accept(change: Change, *, reason: str | None, request_id: str) -> Accepted:
    """Let the log go on from the present clock; the whole correction is one transaction."""
    before, ended = change.last_time, doomed(change)
    change.turn_back(
        Event(operation="store.clock", target=change.store_id, reason=reason, request_id=request_id,
              parameters={"before": before, "ended": len(ended)})
    )  # fmt: skip
    for identifier in ended:
        stored = change.rows.token(identifier)
        assert stored is not None
        cause = "undelivered" if stored.row.delivered_at is None else "other"
        kept = cause == "other" and stored.row.children_kept == 1 and suspension_kills(stored.row, before)
        revoke_due(change, stored, reason=cause, note=_NOTE, request=request_id, keep_children=kept)
    return Accepted(before=before, clock=change.now, ended=ended, request_id=request_id)
