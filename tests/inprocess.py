"""The program in this process, for tests that run it thousands of times: the same grammar, boundary and files, no start-up."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Cli, Result
from tokenctl.cli.boundary import run


class InProcess(Cli):
    """tokenctl in a home of its own, run by calls; ``now`` is its clock where it is to be another one."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700, exist_ok=True)
        super().__init__(home)
        self.ahead = 0  # milliseconds

    def __call__(self, *arguments: str, input: str | bytes | None = None, now: int | None = None) -> Result:
        data = input.encode() if isinstance(input, str) else input or b""
        now = time.time_ns() // 1_000_000 + self.ahead if now is None else now
        with _descriptors(data) as (out, err):
            code = run(list(arguments), environment=self.env, program="tokenctl", now=now)
            return Result(code, _all_of(out), _all_of(err))


@contextmanager
def _descriptors(data: bytes) -> Iterator[tuple[int, int]]:
    """Let the standard descriptors be files, as the program writes to them by number."""
    kept = [os.dup(number) for number in range(3)]
    files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115  # closed below, behind the descriptors
    try:
        files[0].write(data)
        files[0].seek(0)
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        yield files[1].fileno(), files[2].fileno()
    finally:
        for number, old in enumerate(kept):
            os.dup2(old, number)
            os.close(old)
        for file in files:
            file.close()


def _all_of(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()
