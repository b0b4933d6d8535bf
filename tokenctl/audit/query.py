"""Questions to the log: records by number, time, operation, actor, target, ticket and request, and by the tokens they are about.

Whatever is asked, records come in the order of their numbers as they are read, so that memory stays flat and the newest ones
are found without a walk through the others: of the columns that are asked for, the rarest leads by its index.
"""

from __future__ import annotations

import heapq
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from tokenctl.model.record import LONGEST_MARK, Record
from tokenctl.store.connection import Store
from tokenctl.store.schema import TICKET_OF_BODY, TICKETS

DENIED = "token.deny"  # tells of a token that was never made: what it says of it stands in its body alone
_COLUMNS = "seq, time, operation, target, request, actor, body, hash, nonce"
_MERGED = 50  # values of one column that are asked for one by one; of more, the numbers are sorted first
_PROBED = 1_000  # records that are counted to find the rarest column
_CHUNK = 200  # records fetched at once by their numbers


class Tokens(NamedTuple):
    """The tokens that records are to be about.

    Attributes:
        ids: All of them, where they are few; ``None`` where each record's token is looked at instead.
        condition: SQL that holds of a record about one of them; its values are bound behind it.
        holds: Judges a token by its id where the condition is not all.
        told: Judges a record that tells of a token that was never made; ``None`` where none can be meant.
        words: What the body of such a record must hold, one of each: it spares reading the others, and decides nothing.
    """

    ids: tuple[str, ...] | None
    condition: str
    values: tuple[object, ...]
    holds: Callable[[str], bool] | None = None
    told: Callable[[Record], bool] | None = None
    words: tuple[tuple[bytes, ...], ...] = ()


class Filter(NamedTuple):
    """Which records are meant: any value of a column, and all columns.

    Instants in milliseconds; ``behind`` is the number of the record before the first, ``before`` the one behind the last.
    """

    since: int | None = None
    until: int | None = None
    operation: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    behind: int | None = None
    ticket: tuple[str, ...] = ()
    before: int | None = None
    tokens: Tokens | None = None


def records(store: Store, chosen: Filter, *, limit: int | None = None, first: bool = False) -> Iterator[Record]:
    """Yield records in their order; with a limit the newest ones, or the ``first`` ones."""
    if limit is None or first:
        yield from islice(_walk(store, chosen), limit)
        return
    yield from fetch(store, newest(store, chosen, limit))


def newest(store: Store, chosen: Filter, limit: int) -> list[int]:
    """Return the numbers of the newest records that are meant, in their order."""
    return [record.seq for record in islice(_walk(store, chosen, backwards=True), limit)][::-1]


def count(store: Store) -> int:
    """Return how many records there are; they are numbered from one without a gap."""
    return store.integer("SELECT max(seq) FROM record")


def count_archived(store: Store, chosen: Filter) -> int:
    """Return how many of the records that the columns choose are archived; the tokens of the filter are left out."""
    sql, values, _ = statement(store, chosen._replace(tokens=None), f"length(body) <= {LONGEST_MARK}")
    return store.integer(f"SELECT count(*) FROM ({sql})", *values)


def span(store: Store, *, since: int | None = None, until: int | None = None) -> tuple[int, int]:
    """Return the numbers of the first record at or after an instant, and of the last one before an instant.

    Times follow the numbers between two records that accept the clock. The first is larger than the last where there is none.
    """
    newest = count(store)
    if since is None and until is None:
        return 1, newest
    clocks = "SELECT seq FROM record WHERE operation = 'store.clock' ORDER BY seq"
    starts = [1, *(int(str(seq)) for (seq,) in store.rows(clocks)), newest + 1]
    low, high = newest + 1, 0
    for start, end in pairwise(starts):
        stretch = range(start, end)
        if since is not None:
            place = bisect_left(stretch, since, key=lambda seq: _time_of(store, seq))
            low = min(low, start + place) if place < len(stretch) else low
        if until is not None:
            place = bisect_left(stretch, until, key=lambda seq: _time_of(store, seq))
            high = max(high, start + place - 1) if place else high
    return (1 if since is None else low), (newest if until is None else high)


def _time_of(store: Store, seq: int) -> int:
    return store.integer("SELECT time FROM record WHERE seq >= ? ORDER BY seq LIMIT 1", seq)


def _walk(store: Store, chosen: Filter, *, backwards: bool = False) -> Iterator[Record]:
    """Yield records as they are numbered, or the newest first."""
    tokens = chosen.tokens
    if tokens is None:
        yield from _read(store, chosen, backwards=backwards)
        return
    rest = chosen._replace(tokens=None)
    denials = tokens.told is not None and not chosen.target and (not chosen.operation or DENIED in chosen.operation)
    worded, words = _wording(tokens) if denials else ("", [])
    if tokens.ids is None:
        refusals = f" OR (operation = '{DENIED}' AND {worded or 'true'})" if denials else ""
        found = _read(store, rest, f"({tokens.condition}{refusals})", [*tokens.values, *words], backwards=backwards)
        yield from (record for record in found if _is_meant(record, tokens))
        return
    ids = tuple(set(tokens.ids).intersection(chosen.target)) if chosen.target else tokens.ids
    streams: list[Iterable[Record]] = [_read(store, rest._replace(target=ids), backwards=backwards)] if ids else []
    if denials:
        refused = _read(store, rest._replace(operation=(DENIED,)), worded, words, backwards=backwards)
        streams.append(record for record in refused if _is_meant(record, tokens))
    yield from heapq.merge(*streams, key=lambda record: record.seq, reverse=backwards)


def _wording(tokens: Tokens) -> tuple[str, list[bytes]]:
    """Return what holds of a body that is archived or has the words, and its values."""
    if not tokens.words:
        return "", []
    groups = " AND ".join(f"({' OR '.join(['instr(body, ?)'] * len(group))})" for group in tokens.words)
    return f"(length(body) <= {LONGEST_MARK} OR ({groups}))", [word for group in tokens.words for word in group]


def _is_meant(record: Record, tokens: Tokens) -> bool:
    if record.operation == DENIED:
        return tokens.told is not None and tokens.told(record)
    return tokens.holds is None or (record.target is not None and tokens.holds(record.target))


def _read(
    store: Store, chosen: Filter, condition: str = "", bound: Sequence[object] = (), *, backwards: bool
) -> Iterator[Record]:  # fmt: skip
    """Yield the records for which the columns and one more condition hold."""
    sql, values, by_number = statement(store, chosen, condition, bound, backwards=backwards)
    if by_number:
        yield from fetch(store, [int(str(seq)) for (seq,) in store.rows(sql, *values)])
        return
    for row in store.rows(sql, *values):
        yield Record._make(row)


def statement(
    store: Store, chosen: Filter, condition: str = "", bound: Sequence[object] = (), *, backwards: bool = False
) -> tuple[str, list[object], bool]:
    """Return the question, its parameters, and whether it gives the numbers of the records alone."""
    columns = {
        "target": chosen.target, "request": chosen.request_id, ticket_of(store): chosen.ticket, "actor": chosen.actor,
        "operation": chosen.operation,
    }  # fmt: skip
    asked = {column: tuple(dict.fromkeys(values)) for column, values in columns.items() if values}
    lead = _rarest(store, asked)
    rest, parameters = _conditions(store, chosen, {name: values for name, values in asked.items() if name != lead})
    if condition:
        rest.append(condition)
        parameters += bound
    order = f"ORDER BY seq{' DESC' if backwards else ''}"
    select = f"SELECT {_COLUMNS}, {ticket_of(store)} FROM record"
    if lead is None:
        return f"{select}{_where(rest)} {order}", parameters, False
    values = asked[lead]
    if len(values) > _MERGED:
        among = f"{lead} IN (SELECT value FROM json_each(?))"
        return f"SELECT seq FROM record{_where([among, *rest])} {order}", [json.dumps(values), *parameters], True
    # Each value's records come from the index in order, and are merged: nothing is sorted.
    parts = " UNION ALL ".join([f"{select}{_where([f'{lead} = ?', *rest])}"] * len(values))
    return f"{parts} {order}", [part for value in values for part in (value, *parameters)], False


def ticket_of(store: Store) -> str:
    """Return where a record's ticket stands: an older store has no column for it."""
    return "ticket" if store.version >= TICKETS else f"({TICKET_OF_BODY})"


def _rarest(store: Store, asked: dict[str, tuple[str, ...]]) -> str | None:
    """Return the column whose index leads to the fewest records."""
    if len(asked) < 2 or store.version < TICKETS:  # an older store has an index for the first of them alone
        return next(iter(asked), None)
    found = {}
    for column, values in asked.items():
        probe = f"SELECT count(*) FROM (SELECT 1 FROM record WHERE {column} = ? LIMIT {_PROBED})"
        found[column] = sum(store.integer(probe, value) for value in values[:_MERGED])
    return min(found, key=lambda column: found[column])


def _conditions(store: Store, chosen: Filter, columns: dict[str, tuple[str, ...]]) -> tuple[list[str], list[object]]:
    """Return what the rows that the leading index gives must keep; the sign keeps other indexes out."""
    texts: list[str] = []
    values: list[object] = []
    low, high = chosen.behind, chosen.before
    if store.version >= TICKETS and (chosen.since is not None or chosen.until is not None):
        begin, end = span(store, since=chosen.since, until=chosen.until)
        low, high = max(low or 0, begin - 1), min(end + 1 if high is None else high, end + 1)
    bounds = (("seq", ">", low), ("seq", "<", high), ("+time", ">=", chosen.since), ("+time", "<", chosen.until))
    for column, operator, bound in bounds:
        if bound is not None:
            texts.append(f"{column} {operator} ?")
            values.append(bound)
    for column, wanted in columns.items():
        texts.append(f"+{column} IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(wanted))
    return texts, values


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def fetch(store: Store, numbers: Sequence[int]) -> Iterator[Record]:
    """Yield records by their numbers, in the order given."""
    sql = f"""SELECT {_COLUMNS}, {ticket_of(store)} FROM json_each(?) AS chosen CROSS JOIN record ON record.seq = chosen.value
              ORDER BY chosen.key"""
    for start in range(0, len(numbers), _CHUNK):
        for row in store.rows(sql, json.dumps(numbers[start : start + _CHUNK])):
            yield Record._make(row)
