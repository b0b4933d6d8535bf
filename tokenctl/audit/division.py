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

from tokenctl.audit.chain import PIECE

_WORTH_IT = 8  # pieces


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
            self._process.stdin.write(json.dumps(task).encode("ascii"))
            self._process.stdin.close()

    def lines(self) -> list[str]:
        """Return the lines that it has answered since it was last asked; never waits."""
        if self._process is None or self._process.stdout is None:
            return []
        data = self._process.stdout.read(-1)
        *whole, self._pending = (self._pending + (data or b"")).split(b"\n")
        return [line.decode("ascii", "replace") for line in whole]

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


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
