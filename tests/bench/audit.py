"""The audit log: how long its checks and questions take, in what memory, and what a record costs in time and room.

BENCH_RECORDS sets the size of the large log.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import apsw

from tests.bench.log import authority, fill
from tests.bench.measure import Bench, Row, folder, require
from tokenctl.backends.local.view import Change
from tokenctl.model.record import Event, Record
from tokenctl.model.token import TokenRequest

SMALL = 1_000
LARGE = int(os.environ.get("BENCH_RECORDS", "1000000"))
_ISSUES = 200
_QUICK_RUNS = 5


def rows() -> list[Row]:
    require("hyperfine")
    with folder() as place:
        few, some, many = (_filled(place / str(count), count) for count in (SMALL, LARGE // 10, LARGE))
        made = [*checks(many), memory(some, many), asking(few, many), room(many)]
        return [*made, quick(many), leaf(place / "leaf")]


def _filled(home: Path, records: int) -> Bench:
    bench = Bench(home)
    fill(home, records)
    return bench


def checks(bench: Bench) -> list[Row]:
    """Whole processes against SHA-256 record by record."""
    made = []
    for arguments, goal in (("audit verify --full", "≤ 4 ×"), ("audit verify", "≤ 12 ×")):
        floor, ours = _hashing(bench.store), bench.seconds(*arguments.split())
        shown = f"`tokenctl {arguments}`, {LARGE:,} records"
        made.append(Row(shown=shown, ours=ours, floor=floor, floor_shown="SHA-256 record by record", goal=goal, unit="s"))
    return made


def _hashing(store: Path) -> float:
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    taken, step = 0.0, 10_000
    for low in range(0, LARGE, step):
        bodies = [row[0] for row in connection.execute("SELECT body FROM record WHERE seq > ? AND seq <= ?", (low, low + step))]
        begun = time.perf_counter()
        for body in bodies:
            sha256(b"\0" + body).digest()
        taken += time.perf_counter() - begun
    connection.close()
    return taken


def memory(some: Bench, many: Bench) -> Row:
    """The most memory that any of the processes of a whole check holds."""
    floor, ours = (_peak(bench) for bench in (some, many))
    shown = f"memory of `tokenctl audit verify`, {LARGE:,} records"
    return Row(shown=shown, ours=ours, floor=floor, floor_shown=f"{LARGE // 10:,} records", goal="flat", unit="MB")


def _peak(bench: Bench) -> float:
    process = subprocess.Popen(
        [bench.program, "audit", "verify", "-q"], env=bench.env, cwd=bench.home, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)  # its own children are counted with it
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def asking(few: Bench, many: Bench) -> Row:
    """The records of one token that was issued and not revoked."""
    floor, ours = (bench.medians([f"{bench.program} audit log --target {_a_token(bench)}"])[0] for bench in (few, many))
    shown = f"`tokenctl audit log --target ID`, {LARGE:,} records"
    return Row(shown=shown, ours=ours, floor=floor, floor_shown=f"{SMALL:,} records", goal="≤ 1.2 ×")


def _a_token(bench: Bench) -> str:
    connection = apsw.Connection(str(bench.store), flags=apsw.SQLITE_OPEN_READONLY)
    identifier = next(iter(connection.execute("SELECT id FROM token WHERE revoked_at IS NULL LIMIT 1")))[0]
    connection.close()
    return str(identifier)


def room(bench: Bench) -> Row:
    """What the log takes of the disk, indexes included."""
    connection = apsw.Connection(str(bench.store), flags=apsw.SQLITE_OPEN_READONLY)
    ((size,),) = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name GLOB 'record*'").fetchall()
    ((count, bodies),) = connection.execute("SELECT count(*), sum(length(body)) FROM record").fetchall()
    connection.close()
    return Row(shown="room of a record, with its indexes", ours=size / count, floor=bodies / count, floor_shown="its body",
               goal="", unit="B")  # fmt: skip


def quick(bench: Bench) -> Row:
    """What a check of 100 new records takes, against a command that opens the same store."""
    taken = []
    bench.run("audit", "verify", "-q")
    for _ in range(_QUICK_RUNS):
        with authority(bench.home) as backend, backend.journal.reading() as view:
            assert view is not None
            size = view.head.size
        fill(bench.home, size + 100)
        taken.append(bench.seconds("audit", "verify", "--quick", "-q"))
    floor = bench.medians([f"{bench.program} list --limit 1"])[0]
    return Row(shown="`tokenctl audit verify --quick`, 100 new records", ours=statistics.median(taken), floor=floor,
               floor_shown="`tokenctl list --limit 1`", goal="≤ 100 ms more")  # fmt: skip


def leaf(home: Path) -> Row:
    """A durable issue inside one process, with its record and without."""
    home.mkdir(mode=0o700)
    ours: list[float] = []
    floor: list[float] = []
    with authority(home) as backend:
        for _ in range(_ISSUES):
            for taken, recorded in ((ours, True), (floor, False)):
                request = TokenRequest(subject="bench", owner="bench")
                with _unrecorded(not recorded):
                    begun = time.perf_counter()
                    list(backend.issue([request]))
                    taken.append(time.perf_counter() - begun)
    return Row(shown="a durable issue, in process", ours=statistics.median(ours), floor=statistics.median(floor),
               floor_shown="without its record", goal="≤ 1.15 ×")  # fmt: skip


@contextmanager
def _unrecorded(wanted: bool) -> Iterator[None]:
    """Leave out all that a record is: its body, nonce and hashes, its row and indexes, the head and the anchor."""

    def prepare(change: Change, event: Event) -> Record:
        return Record(
            seq=change.head.size, time=change.now, operation=event.operation, target=event.target, request=event.request_id,
            actor=change.actor_name, body=b"", hash=b"", nonce=b"",
        )  # fmt: skip

    with ExitStack() as stack:
        if wanted:
            stack.enter_context(patch.object(Change, "prepare", prepare))
            stack.enter_context(patch.object(Change, "write_records", lambda *_: None))
        yield
