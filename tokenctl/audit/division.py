"""Dividing the check of a large store among processes: one more for each further processor.

They read the store's file alone and can only say that a piece is sound. Whatever they do not say, because it is not so,
because they died or were too slow, is checked by the one that asked, in its own snapshot: none of them can raise an alarm,
and none that fails makes a check pass.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from tokenctl.audit.chain import PIECE
from tokenctl.audit.state import Counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenctl.store.connection import Store
    from tokenctl.store.rows import Rows

_WORTH_IT = 8  # pieces
_LARGE_FILE = 1 << 26  # bytes of a store, from which on the start of a process is worth it


def spare_processors() -> int:
    """Return how many processors this process leaves idle."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) - 1


class Part:
    """A process that checks a part; told what over its standard input, it answers in lines."""

    def __init__(self, **task: object) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tokenctl.audit.part"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env={}, cwd="/",
            )  # fmt: skip
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            os.set_blocking(self._process.stdout.fileno(), False)
            # Its standard input stays open: its end tells that this process is gone, in whatever way.
            self._process.stdin.write(json.dumps(task).encode("ascii") + b"\n")
            self._process.stdin.flush()

    def lines(self) -> list[str]:
        """Return the lines that it has answered since it was last asked; never waits."""
        if self._process is None or self._process.stdout is None:
            return []
        data = self._process.stdout.read(-1)
        *whole, self._pending = (self._pending + (data or b"")).split(b"\n")
        return [line.decode("ascii", "replace") for line in whole]

    def rest(self) -> list[str]:
        """Wait for its end, and return what it has answered since it was last asked."""
        if self._process is None or self._process.stdout is None:
            return []
        os.set_blocking(self._process.stdout.fileno(), True)
        return self.lines()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what a process did not read before it died
                        pipe.close()


class StatePieces:
    """The pieces of the state that other processes check, from the last ids on, while this one goes on from the first.

    What they say counts only where they saw the very head of the log that this one sees: rows change with it.

    Args:
        bounds: Between each two of these ids lies a piece; ``None`` bounds nothing.
        alone: Divide nothing.
    """

    def __init__(self, store: Store, rows: Rows, bounds: Sequence[str | None], *, alone: bool = False) -> None:
        count = 0 if alone else min(spare_processors(), (len(bounds) - 1) // _WORTH_IT)
        self._found: dict[int, Counts] = {}
        self._parts = []
        if count > 0:
            mac = store.value("SELECT mac FROM head")
            task = {
                "path": store.path, "bounds": bounds, "step": count, "head": mac.hex() if isinstance(mac, bytes) else None,
                "key": rows.protector.key.hex(), "store_id": rows.protector.store_id,
            }  # fmt: skip
            self._parts = [Part(task="state", first=number, **task) for number in range(count)]

    def __enter__(self) -> StatePieces:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in self._parts:
            part.stop()

    def sound(self, number: int) -> Counts | None:
        """Return what was looked at in a piece that was found sound; ``None`` where nobody says that it is."""
        for part in self._parts:
            for line in part.lines():
                piece, tokens, records = map(int, line.split())
                self._found[piece] = Counts(tokens, records)
        return self._found.get(number)


class FileCheck:
    """SQLite's own check of the whole file, by another process while this one checks rows.

    Args:
        wanted: Whether it is to be made at all.
    """

    def __init__(self, store: Store, *, wanted: bool = True) -> None:
        self._store = store
        self._wanted = wanted
        self._parts: list[Part] = []
        if wanted and os.path.getsize(store.path) >= _LARGE_FILE:
            self._parts = [Part(task="file", path=store.path, checks=checks) for checks in _shared(store, spare_processors())]

    def __enter__(self) -> FileCheck:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in self._parts:
            part.stop()

    def damage(self) -> list[str]:
        """Wait, and return what is damaged; whatever is not said to be sound is looked at by this process itself."""
        if not self._wanted or (self._parts and all(part.rest() == ["sound"] for part in self._parts)):
            return []
        return self._store.damage()


def _shared(store: Store, processors: int) -> list[list[str]]:
    """Return what each of some processes checks: one the whole, or the table of records apart from all else."""
    if processors < 2:
        return [["integrity_check"]] * processors
    first, *others = store.damage_checks()
    return [[first], others]


class LogPieces:
    """The pieces of a log that other processes check, from its end on, while this one goes on from its beginning.

    Args:
        size: The number of the record behind which it begins.
        last: The number of the last record; zero divides nothing.

    Attributes:
        ahead: How many pieces are found sound that were not asked for yet.
    """

    def __init__(self, path: str, size: int, last: int) -> None:
        first, end = -(-size // PIECE), last // PIECE
        count = min(spare_processors(), (end - first) // _WORTH_IT)
        self._parts = [
            Part(task="log", path=path, first=first, end=end - number, step=count) for number in range(max(0, count))
        ]
        self._roots: dict[int, bytes] = {}

    def __enter__(self) -> LogPieces:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in self._parts:
            part.stop()

    @property
    def ahead(self) -> int:
        return len(self._roots)

    def root_behind(self, position: int) -> bytes | None:
        """Return the root of the piece behind a record's number; ``None`` where none begins there that was found sound."""
        for part in self._parts:
            for line in part.lines():
                where, _, root = line.partition(" ")
                self._roots[int(where)] = bytes.fromhex(root)
        return self._roots.pop(position, None)
