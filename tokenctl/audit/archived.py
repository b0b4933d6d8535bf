"""Records whose bodies were moved to an archive: what the log still says of them, and that it says it of no others.

In the place of such a body stands, in decimal digits, the number of the record that tells of the archiving (``log.archive``).
That record names the file by its hash and binds, by another one, which records lost their bodies and what their columns say.
So a body that somebody else takes away, or a column that is changed where no body contradicts it any more, is found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.audit import query
from tokenctl.errors import IntegrityError
from tokenctl.model.record import LONGEST_MARK, Record, archive_of
from tokenctl.store.connection import Store

if TYPE_CHECKING:
    from tokenctl.audit.chain import Row
    from tokenctl.formats.log_archive import Archive

OPERATION = "log.archive"
_REASON = re.compile(r"([1-9][0-9]*) bodies of records ([1-9][0-9]*) to ([1-9][0-9]*), columns ([0-9a-f]{64})")
_CHUNK = 500  # records of an archive that are compared at once
_MARKED = f"""SELECT seq, time, operation, target, request, actor, body, hash, ticket FROM main.record
              WHERE seq <= ? AND length(body) <= {LONGEST_MARK} ORDER BY seq"""
_written = json.JSONEncoder(separators=(",", ":")).encode


class Told(NamedTuple):
    """What a record of an archiving says: how many bodies were moved, of which records, and the hash over their columns."""

    bodies: int
    first: int
    last: int
    columns: str

    def __str__(self) -> str:
        return f"{self.bodies} bodies of records {self.first} to {self.last}, columns {self.columns}"


class Columns:
    """The hash over what the columns of records say, in the order of their numbers: a line of JSON each.

    Attributes:
        count: How many records.
    """

    def __init__(self) -> None:
        self.count = self._first = self._last = 0
        self._hash = hashlib.sha256()

    def add(self, seq: int, time: int, operation: str, target: object, request: object, actor: str, ticket: object) -> None:
        self.count, self._first, self._last = self.count + 1, self._first or seq, seq
        self._hash.update(_written([seq, time, operation, target, request, actor, ticket]).encode("ascii") + b"\n")

    def told(self) -> Told:
        return Told(self.count, self._first, self._last, self._hash.hexdigest())


def told_by(record: Record) -> Told | None:
    """Return what a record of an archiving says; ``None`` where it cannot be read."""
    try:
        found = _REASON.fullmatch(str(record.facts().get("reason")))
    except ValueError:
        return None
    return None if found is None else Told(int(found[1]), int(found[2]), int(found[3]), found[4])


class Ledger:
    """Follows the check of a log, and holds what lost its body against the records that tell of it.

    Args:
        start: The number of the record behind which is checked.
        archives: Where bodies are taken from; each was compared with the log.

    Attributes:
        missing: How many records were taken by their hashes alone.
    """

    def __init__(self, store: Store, start: int, archives: Sequence[Archive] = ()) -> None:
        self._store = store
        self._start = start
        self._archives = archives
        self._columns: dict[int, Columns] = {}
        self.missing = 0
        if start and store.integer("SELECT max(seq) FROM record WHERE operation = ?", OPERATION) > start:
            before = store.rows(_MARKED, start)
            self._take(row for row in before if (archive_of(row[6]) or 0) > start)  # type: ignore[arg-type, misc]  # STRICT columns

    def filled(self, found: list[Row]) -> list[Row]:
        """Return records with the bodies that are at hand."""
        marked = [row for row in found if len(row[6]) <= LONGEST_MARK]
        if not marked:
            return found
        self._take(marked)
        bodies = {row[0]: body for row in marked if (body := body_in(self._archives, row[0])) is not None}
        self.missing += len(marked) - len(bodies)
        return [(*row[:6], bodies[row[0]], *row[7:]) if row[0] in bodies else row for row in found]

    def flaws(self) -> Iterator[str]:
        """Yield what the records of archivings do not say so; asked once all is followed."""
        columns = dict(self._columns)
        chosen = query.Filter(operation=(OPERATION,), behind=self._start)
        for record in query.records(self._store, chosen):
            told, found = told_by(record), columns.pop(record.seq, Columns())
            if told != found.told():
                yield f"record {record.seq} archived other bodies than those that are gone, or their columns were changed"
        for number, lost in columns.items():
            yield f"{lost.count} bodies are gone, and record {number} tells of no archive"

    def _take(self, rows: Iterable[Row]) -> None:
        for seq, time, operation, target, request, actor, body, _, ticket in rows:
            self._columns.setdefault(archive_of(body) or 0, Columns()).add(seq, time, operation, target, request, actor, ticket)


def living(store: Store) -> Iterator[str]:
    """Yield the tokens that outlive an archive which took what the log says of them.

    Only what had expired is archived. A row's MAC is made by whoever has the root secret; with the bodies gone only this tells
    a row that was given another end, and the archive's own record, whose time the tree binds, is what it is told by.
    """
    if not store.integer("SELECT EXISTS (SELECT 1 FROM main.record WHERE operation = ?)", OPERATION):
        return
    sql = f"""SELECT DISTINCT token.id FROM main.record AS lost JOIN token ON token.id = lost.target
              JOIN main.record AS told ON told.seq = CAST(CAST(lost.body AS TEXT) AS INTEGER)
              WHERE length(lost.body) <= {LONGEST_MARK} AND token.expires_at > told.time"""
    for (token,) in store.rows(sql):
        yield str(token)


def body_in(archives: Sequence[Archive], seq: int) -> bytes | None:
    """Return a record's body from the first archive that has it."""
    return next((body for archive in archives if (body := archive.body(seq)) is not None), None)


@contextmanager
def archived_bodies(store: Store, archives: Sequence[Archive]) -> Iterator[None]:
    """Let every question about records find the bodies that these archives have."""
    if not archives:
        yield
        return
    with store.bodies_from(lambda seq, mark: body_in(archives, seq) or mark):
        yield


def compare(store: Store, store_id: str, archive: Archive) -> None:
    """Hold every body of an archive against the hashes of the log.

    Raises:
        IntegrityError: it is another store's, or not what this store moved (exit 10).
    """

    def refuse(why: str) -> IntegrityError:
        look = "tokenctl audit log --operation log.archive"
        return IntegrityError(f"{archive.path} {why}", hint=look, reason="archive_differs")

    if archive.store_id != store_id:
        raise refuse(f"is an archive of another store, {archive.store_id}")
    told = query.Filter(operation=(OPERATION,), target=(archive.digest,))
    if next(query.records(store, told), None) is None:
        raise refuse(
            "is not told of by any record: no body left the store for it, it was edited, or the store was restored to before it"
        )
    chunk: list[tuple[int, bytes]] = []
    for entry in archive.bodies():
        chunk.append(entry)
        if len(chunk) == _CHUNK:
            _compare(store, chunk, refuse)
            chunk = []
    _compare(store, chunk, refuse)


def _compare(store: Store, chunk: Sequence[tuple[int, bytes]], refuse: Callable[[str], IntegrityError]) -> None:
    numbers = json.dumps([seq for seq, _ in chunk])
    sql = "SELECT seq, hash FROM record WHERE seq IN (SELECT value FROM json_each(?))"
    hashes: dict[object, object] = {seq: leaf for seq, leaf in store.rows(sql, numbers)}  # noqa: C416  # typed rows
    for seq, body in chunk:
        if hashes.get(seq) != hashlib.sha256(b"\x00" + body).digest():
            raise refuse(f"holds another body of record {seq} than the log")
