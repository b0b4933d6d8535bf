"""The clock that stands behind the log: how far, what would die with it, and accepting it.

A record made with the clock far ahead moves the time by which rights end (``View.now``) ahead for good. Accepting the
present clock moves it back, so in the same transaction everything that the time ahead had ended is revoked, each with its
record: what any reader denied by that time stays denied. Tokens issued ahead of the present clock end too, for their
lifetimes were measured on the wrong one. Suspensions that housekeeping lifted by the time ahead, and that were to hold
still, return with what is left of them. The time accepted is that of the record ``store.clock`` and stands in the head,
under its MAC; ``audit verify`` lets time go back at such a record only, and demands all of that.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenctl.audit.lifting import Lifted, lifted_ahead
from tokenctl.backends.local.issuing import CLOCK_TOLERANCE
from tokenctl.backends.local.standing import record_about, revoke_due
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.model.record import Event, suspension_parameters
from tokenctl.model.times import DAY, format_instant
from tokenctl.model.token import DELIVERY_DEADLINE, grace_over, suspension_kills
from tokenctl.store.schema import REMOTE

FIRST_BELIEVED = 18_262 * DAY  # 2020-01-01; an earlier clock was never set
_NOTE = "ended by the clock that store accept-clock corrected"
_LIFTED_NOTE = "lifted by the clock that store accept-clock corrected"


class Accepted(NamedTuple):
    """What accepting the clock did: from which time to which, which tokens ended with it, which of those that the time
    ahead had lifted are suspended again, and the id in its records.
    """

    before: int
    clock: int
    ended: list[str]
    suspended: list[str]
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
        f"SELECT id FROM token WHERE revoked_at IS NULL AND expires_at > ?1 AND NOT ({REMOTE}) AND ("
        "expires_at <= ?2 OR issued_at > ?1 OR grace_until <= ?2"
        " OR (suspended_then = 'revoke' AND suspended_until <= ?2)"
        " OR (delivered_at IS NULL AND issued_at <= ?3)) ORDER BY rowid"
    )
    due = view.last_time - DELIVERY_DEADLINE
    return [str(row[0]) for row in view.store.rows(sql, view.clock, view.last_time, due)]


def revived(view: View) -> list[Lifted]:
    """Return the suspensions that the time ahead had lifted, of tokens that do not end with it."""
    dead = set(doomed(view))
    found = []
    for lifted in lifted_ahead(view.store, view.clock):
        stored = view.rows.token(lifted.token)
        if stored is not None and stored.row.expires_at > view.clock and lifted.token not in dead:
            found.append(lifted)
    return found


def accept(change: Change, *, reason: str | None, request_id: str) -> Accepted:
    """Let the log go on from the present clock; the whole correction is one transaction."""
    before, ended, again = change.last_time, doomed(change), revived(change)
    change.turn_back(
        Event(operation="store.clock", target=change.store_id, reason=reason, request_id=request_id,
              parameters={"before": before, "ended": len(ended), "suspended": len(again)})
    )  # fmt: skip
    for identifier in ended:
        stored = change.rows.token(identifier)
        assert stored is not None
        cause = "undelivered" if stored.row.delivered_at is None else "other"
        kept = (
            cause == "other" and stored.row.children_kept == 1
            and suspension_kills(stored.row, before) and not grace_over(stored.row, before)
        )  # fmt: skip
        revoke_due(change, stored, reason=cause, note=_NOTE, request=request_id, keep_children=kept)
    for lifted in again:
        _suspend_again(change, lifted, request_id)
    suspended = [lifted.token for lifted in again]
    return Accepted(before=before, clock=change.now, ended=ended, suspended=suspended, request_id=request_id)


def _suspend_again(change: Change, lifted: Lifted, request_id: str) -> None:
    stored = change.rows.token(lifted.token)
    assert stored is not None
    then = "lift" if lifted.until is not None else None
    facts: dict[str, object] = {
        "reason": "other", "request_id": request_id,
        "duration_ms": lifted.until - change.now if lifted.until is not None else None,
        "parameters": suspension_parameters(lifted.until, then, keep_children=lifted.keep_children, note=_LIFTED_NOTE),
    }  # fmt: skip
    record_about(
        change, stored, "token.suspend", facts, suspended_at=change.now, suspended_until=lifted.until, suspended_then=then,
        children_kept=int(lifted.keep_children), revoked_note=_LIFTED_NOTE,
    )  # fmt: skip
