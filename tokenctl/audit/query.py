"""Questions to the log: records by time, operation, target and request."""

from collections.abc import Iterator
from typing import NamedTuple

from tokenctl.model.record import Record
from tokenctl.store.connection import Store

_COLUMNS = "seq, time, operation, target, request, actor, body, hash, nonce"


class Filter(NamedTuple):
    """Which records are meant; instants in milliseconds, ``behind`` the number of the record before the first."""

    since: int | None = None
    until: int | None = None
    operation: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    behind: int | None = None


def records(store: Store, chosen: Filter, *, limit: int | None = None) -> Iterator[Record]:
    """Yield records in their order; with a limit the newest ones."""
    conditions: list[str] = []
    parameters: list[object] = []
    bounds = (("time", ">=", chosen.since), ("time", "<", chosen.until), ("seq", ">", chosen.behind))
    for column, operator, bound in bounds:
        if bound is not None:
            conditions.append(f"{column} {operator} ?")
            parameters.append(bound)
    for column, values in (
        ("operation", chosen.operation), ("actor", chosen.actor), ("request", chosen.request_id), ("target", chosen.target)
    ):  # fmt: skip
        if values:
            conditions.append(f"{column} IN ({', '.join('?' * len(values))})")
            parameters.extend(values)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {_COLUMNS} FROM record {where} ORDER BY seq"
    if limit is not None:
        sql = f"SELECT * FROM (SELECT {_COLUMNS} FROM record {where} ORDER BY seq DESC LIMIT ?) ORDER BY seq"
        parameters.append(limit)
    names = _COLUMNS.split(", ")
    for row in store.rows(sql, *parameters):
        yield Record(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]  # STRICT columns


def count(store: Store) -> int:
    """Return how many records there are; they are numbered from one without a gap."""
    return store.integer("SELECT max(seq) FROM record")
