"""Checking the log: numbers without a gap, bodies that hash to their leaves, columns that say what the body says, times that
never go back but where a record accepts the clock, and the root of all of it in the authenticated head.

Bodies are canonical, so columns are compared with pieces of their bytes, many records at once. Where anything is not as
expected the records are judged one by one, and only that finds flaws.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.audit import query
from tokenctl.audit.archived import Ledger
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.audit.verdict import Report
from tokenctl.errors import IntegrityError
from tokenctl.model.record import Record
from tokenctl.store.connection import Store

if TYPE_CHECKING:
    from tokenctl.formats.log_archive import Archive

PIECE_LEVEL = 14
PIECE = 1 << PIECE_LEVEL  # records that another process answers for together
_AT_ONCE = 1024  # records read at once; pieces are multiples of it
_COLUMNS = "seq, time, operation, target, request, actor, body, hash"
_MOST_ACTORS = 10_000

Progress = Callable[[int, int], None]  # how many are checked, of how many
# seq, time, operation, target, request, actor, body, hash, ticket: STRICT columns
Row = tuple[int, int, str, str | None, str | None, str, bytes, bytes, str | None]


class Correction(NamedTuple):
    """A record that accepted the clock: its number, the time of the log before it, and its own."""

    seq: int
    before: int
    clock: int


class Chain(NamedTuple):
    """What the records themselves say: where they accept the clock, and the root of the tree at each size asked for."""

    corrections: list[Correction]
    roots: dict[int, bytes]


class Start(NamedTuple):
    """What is taken as checked: the compact range of so many records, and the time of the newest of them."""

    size: int
    range: bytes
    time: int


_BEGINNING = Start(0, b"", 0)


def quiet(done: int, of: int) -> None:
    """Tell nobody of any progress."""


def check_log(
    store: Store, head: Head, report: Report, progress: Progress = quiet,
    *, sizes: Collection[int] = (), start: Start = _BEGINNING, alone: bool = False, archives: Sequence[Archive] = (),
) -> Chain:  # fmt: skip
    """Check all records behind a start; flaws go to the report. Nonces are left to the check of the state.

    Args:
        sizes: At which sizes the root of the tree is wanted; one before the start, or that the log does not reach, gets none.
        start: Records up to here are not read.
        alone: Use no other process, however long the log is.
        archives: Where the bodies that were moved out of the store lie; without them their records are taken by their hashes.

    Raises:
        ValueError: the range of the start does not fit its size.
    """
    from tokenctl.audit.division import LogPieces

    last = query.count(store)
    walk = Walk(store, start, report, Ledger(store, start.size, archives))
    roots: dict[int, bytes] = {}
    stops = sorted({size for size in sizes if start.size <= size <= last} | {last})
    with LogPieces(store.path, start.size, 0 if alone or last != head.size else last) as pieces:
        for stop in stops:
            while walk.tree.size < stop and not walk.broken:
                at = walk.tree.size
                root = pieces.root_behind(at) if at + PIECE <= stop else None
                if root is None:
                    walk.step(min(stop, at - at % _AT_ONCE + _AT_ONCE))
                else:
                    walk.pass_over(root)
                progress(min(last, max(at, walk.tree.size + pieces.ahead * PIECE)), last)
            if walk.tree.size == stop and stop in sizes:
                roots[stop] = walk.tree.root()
    walk.finish()
    _compare(walk, head, report)
    return Chain(walk.corrections, roots)


def _compare(walk: Walk, head: Head, report: Report) -> None:
    tree = walk.tree
    report.records, report.root = tree.size, tree.root()
    if walk.broken:
        return
    if tree.size != head.size:
        report.flaw(f"the log has {tree.size} records, its head says {head.size}")
    elif tree.root() != head.root or tree.to_bytes() != head.range:
        report.flaw("the records do not have the root that the head says")


class Walk:
    """The tree over the records from a start on, step by step.

    Attributes:
        broken: Whether a record was missing or not to be read, behind which nothing is checked.
    """

    def __init__(self, store: Store, start: Start, report: Report, ledger: Ledger) -> None:
        self.tree = CompactRange.from_bytes(start.size, start.range)
        self.corrections: list[Correction] = []
        self.broken = False
        self._store = store
        self._report = report
        self._time = start.time
        self._known: dict[str, str] = {}
        self._ledger = ledger

    def step(self, end: int) -> None:
        """Check the next records up to this number."""
        found: list[Row] = []
        try:
            for row in _read(self._store, self.tree.size, end):
                found.append(row)  # noqa: PERF402  # what could be read before a damaged page counts
        except IntegrityError as error:
            self._report.flaw(f"record {self.tree.size + len(found) + 1} cannot be read: {error.message}")
            self.broken = True
        found = self._ledger.filled(found)
        leaves = _plain(found, self.tree.size, end, self._time, self._known)
        if leaves is None:
            self._judge(found, end)
        else:
            self.tree.extend(leaves)
            self._time = found[-1][1]

    def pass_over(self, root: bytes) -> None:
        """Take over the root of a piece that was found sound."""
        self.tree.extend([root], PIECE_LEVEL)
        self._time = time_of(self._store, self.tree.size)

    def finish(self) -> None:
        """Judge what no record alone tells; where one is missing, that is told already."""
        self._report.archived = self._ledger.missing
        if not self.broken:
            for flaw in self._ledger.flaws():
                self._report.flaw(flaw)

    def _judge(self, found: Sequence[Row], end: int) -> None:
        for row in found:
            record = Record(*row[:-1], nonce=b"", ticket=row[-1])
            if record.seq != self.tree.size + 1:
                break
            self._judge_one(record)
        if self.tree.size != end and not self.broken:
            self._report.flaw(f"record {self.tree.size + 1} is missing")
            self.broken = True

    def _judge_one(self, record: Record) -> None:
        report, archived = self._report, record.archived is not None
        leaf = record.hash if archived else leaf_hash(record.body)
        if leaf != record.hash:
            report.flaw(f"record {record.seq} does not hash to its leaf")
        elif not archived and not columns_agree(record):
            report.flaw(f"record {record.seq}: its columns differ from its body")
        if record.time < self._time and record.operation == "store.clock":
            self.corrections.append(Correction(seq=record.seq, before=self._time, clock=record.time))
        elif record.time < self._time:
            report.flaw(f"record {record.seq} is older than the one before")
        self._time = record.time
        self.tree.append(leaf)


def time_of(store: Store, seq: int) -> int:
    """Return the time of a record; zero for none."""
    return store.integer("SELECT time FROM record WHERE seq = ?", seq)


def sound_pieces(store: Store, positions: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the root of each piece behind these numbers in which nothing is to be judged; ends at the first other one."""
    known: dict[str, str] = {}
    for position in positions:
        tree, time = CompactRange(), time_of(store, position)
        for low in range(position, position + PIECE, _AT_ONCE):
            found = list(_read(store, low, low + _AT_ONCE))
            leaves = _plain(found, low, low + _AT_ONCE, time, known)
            if leaves is None:
                return
            tree.extend(leaves)
            time = found[-1][1]
        yield position, tree.root()


def _read(store: Store, low: int, high: int) -> Iterator[Row]:
    sql = f"SELECT {_COLUMNS}, {query.ticket_of(store)} FROM main.record WHERE seq > ? AND seq <= ? ORDER BY seq"
    return store.rows(sql, low, high)  # type: ignore[return-value]  # STRICT columns


def _plain(found: Sequence[Row], low: int, high: int, time: int, known: dict[str, str]) -> list[bytes] | None:
    """Return the leaves of all records from behind one number to another; ``None`` where anything is to be judged."""
    if len(found) != high - low:
        return None
    leaves = [sha256(b"\x00" + row[6]).digest() for row in found]
    times = [row[1] for row in found]
    if (
        [row[0] for row in found] != list(range(low + 1, high + 1))
        or [row[7] for row in found] != leaves
        or times[0] < time
        or sorted(times) != times
        or not _told(found, known)
    ):
        return None
    return leaves


def _told(found: Sequence[Row], known: dict[str, str]) -> bool:
    """Whether the body of each record, as it is written, says what the columns say."""
    try:
        for seq, time, operation, target, request, actor, body, _, ticket in found:
            text = str(body, "latin-1")
            head, number, _, whom, why, moment, version = text.rsplit(',"', 6)
            start = head[: head.find('},"audience":') + 1]
            if (
                number != f'seq":{seq}'
                or moment != f'time":{time}'
                or version != 'v":1}'
                or whom != ('target":null' if target is None else f'target":{quoted(target)}')
                or why != ('ticket":null' if ticket is None else f'ticket":{quoted(ticket)}')
                or f',"operation":{quoted(operation)},"outcome":' not in head
                or f',"request_id":{"null" if request is None else quoted(request)},"scope":' not in head
                or (known.get(start) or _learn(start, known)) != actor
            ):
                return False
    except ValueError:
        return False
    return True


def _learn(start: str, known: dict[str, str]) -> str:
    """Return the name of the actor with whom a body begins; raises ValueError where it begins otherwise."""
    opening = '{"actor":'
    if not start.startswith(opening):
        raise ValueError("no actor stands first")
    try:
        actor = json.loads(start[len(opening) :])
    except RecursionError:
        raise ValueError("nested without end") from None
    if not isinstance(actor, dict):
        raise ValueError("the actor is no object")  # noqa: TRY004  # a value of the log, not a type of ours
    if len(known) >= _MOST_ACTORS:
        known.clear()
    known[start] = f"{actor.get('name')}@{actor.get('host')}"
    return known[start]


def columns_agree(record: Record) -> bool:
    """Whether the columns of a record say what its body says."""
    try:
        facts = record.facts()
    except ValueError:
        return False
    actor = facts.get("actor")
    name = f"{actor.get('name')}@{actor.get('host')}" if isinstance(actor, dict) else None
    told = [facts.get(name) for name in ("seq", "time", "operation", "target", "request_id", "ticket")]
    columns = [record.seq, record.time, record.operation, record.target, record.request, record.ticket]
    return told == columns and name == record.actor
