"""What the benchmarks share: the program in a home of its own, whole processes by hyperfine, and rows of a table.

Every row is measured in one run with its floor, so that a machine that slows down in between slows both.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RUNS = 20
WARM_UP = 4  # the first writes the .pyc files where they are missing


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: what was measured, its floor, and the goal for their ratio; times in seconds, sizes in bytes."""

    shown: str
    ours: float
    floor: float
    floor_shown: str
    goal: str
    unit: str = "ms"

    @property
    def ratio(self) -> float:
        return self.ours / self.floor

    def line(self) -> str:
        factor = {"ms": 1000, "s": 1, "MB": 1e-6, "B": 1}[self.unit]
        ours, floor = (f"{value * factor:.{0 if value * factor >= 10 else 1}f} {self.unit}" for value in (self.ours, self.floor))
        return f"| {self.shown} | {ours} | {self.floor_shown} | {floor} | {self.ratio:.2f} × | {self.goal} |"


def table(rows: Sequence[Row]) -> str:
    """Return rows as Markdown."""
    return "\n".join(["| what | ours | floor | | ratio | goal |", "|---|--:|---|--:|--:|--:|", *(row.line() for row in rows)])


class Bench:
    """The program of the virtual environment that runs it, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.program = str(Path(sys.executable).with_name("tokenctl"))
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    @property
    def store(self) -> Path:
        return self.home / ".local/share/tokenctl/local/store.db"

    def run(self, *arguments: str, stdout: int | None = subprocess.PIPE) -> str:
        done = subprocess.run(
            [self.program, *arguments], env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, check=True,
        )  # fmt: skip
        return (done.stdout or b"").decode()

    def seconds(self, *arguments: str, stdout: int = subprocess.DEVNULL) -> float:
        """Run once, as a whole process; return how long it took."""
        begun = time.perf_counter()
        self.run(*arguments, stdout=stdout)
        return time.perf_counter() - begun

    def medians(self, commands: Sequence[str], *, runs: int = RUNS) -> list[float]:
        """Return the median of each of some command lines, all measured in one run; no shell stands between."""
        report = self.home / "hyperfine.json"
        subprocess.run(
            ["hyperfine", "-N", "--style", "none", "--runs", str(runs), "--warmup", str(WARM_UP if runs > 1 else 0),
             "--export-json", str(report), *commands],
            env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=True,
        )  # fmt: skip
        return [result["median"] for result in json.loads(report.read_text())["results"]]

    def median_of_each(self, commands: Sequence[str]) -> float:
        """Return the median of commands that work once each."""
        return statistics.median(self.medians(commands, runs=1))


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for homes, on the disk that TMPDIR names, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tokenctl-bench-") as made:
        yield Path(made)


def require(*programs: str) -> None:
    """Leave where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            sys.stderr.write(f"bench: {program} is missing: apt-get install {program}\n")
            raise SystemExit(2)
