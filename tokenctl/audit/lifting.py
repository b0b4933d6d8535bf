"""Suspensions that housekeeping lifted by a clock that ran ahead: whoever accepts the clock owes their return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.model.record import KEPT, Record
from tokenctl.store.connection import Store

ENDED = "its suspension ended"  # the note of housekeeping, to which its records commit
OPERATIONS = ("token.suspend", "token.lift", "token.revoke")


class Lifted(NamedTuple):
    """A suspension that was lifted too early: until when it was to hold, ``None`` where its record does not tell."""

    token: str
    until: int | None
    keep_children: bool


def lifted_ahead(store: Store, clock: int, *, before: int | None = None) -> Iterator[Lifted]:
    """Yield the suspensions that were to hold at a clock and that a record from ahead of it lifted.

    Args:
        clock: Milliseconds since the epoch.
        before: The number of a record: the log is taken as it stood in front of it.
    """
    limit = before if before is not None else query.count(store) + 1
    sql = "SELECT DISTINCT target FROM record WHERE operation = 'token.lift' AND time > ? AND seq < ? AND target IS NOT NULL"
    for (token,) in list(store.rows(sql, clock, limit)):
        history = query.records(store, query.Filter(target=(str(token),), operation=OPERATIONS))
        lifted = _lifted(str(token), (record for record in history if record.seq < limit), clock)
        if lifted is not None:
            yield lifted


def _lifted(token: str, history: Iterable[Record], clock: int) -> Lifted | None:
    began: Record | None = None
    newest: Record | None = None
    for record in history:
        if _fact(record, "outcome") == KEPT:
            continue
        newest = record
        began = record if record.operation == "token.suspend" else began
    if newest is None or newest.operation != "token.lift" or newest.time <= clock:
        return None
    kept = newest.commits_to({"note": ENDED, "keep_children": True})
    if not kept and not newest.commits_to({"note": ENDED}):
        return None  # ordered by somebody: no clock's doing
    duration = _fact(began, "duration_ms") if began is not None else None
    until = began.time + duration if began is not None and isinstance(duration, int) else None
    return Lifted(token, until, kept) if until is None or until > clock else None


def _fact(record: Record, name: str) -> object:
    try:
        return record.facts().get(name)
    except ValueError:
        return None
