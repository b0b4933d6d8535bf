"""Whole-process time of each verb, as a ratio to the bare interpreter: ``python -m tests.bench``.

It needs hyperfine, measures the program of the virtual environment that runs it, in a home of its own, and asserts
nothing: the printed Markdown table is the result. Every row is measured in one run with its floor, so that a machine
that slows down in between slows both.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNS = 20
WARM_UP = 4  # the first writes the .pyc files where they are missing
FLOOR = "python -c pass"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; times are medians in seconds."""

    shown: str
    median: float
    floor: float


class Bench:
    """The program and a home for it; ``hyperfine`` runs without a shell between."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = Path(sys.executable).with_name("tokenctl")
        self.env = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.program), *arguments], env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        return done.stdout

    def row(self, *arguments: str, shown: str) -> Row:
        """Measure a command that can be repeated."""
        floor, median = self._medians([f"{self.program} {' '.join(arguments)}"], runs=RUNS)
        return Row(shown=shown, median=median, floor=floor)

    def row_of_each(self, commands: Sequence[str], shown: str) -> Row:
        """Measure commands that work once each."""
        floor = self._medians([], runs=RUNS)[0]
        return Row(shown=shown, median=statistics.median(self._medians(commands, runs=1, floor=False)), floor=floor)

    def _medians(self, commands: Sequence[str], *, runs: int, floor: bool = True) -> list[float]:
        report = self.folder / "hyperfine.json"
        measured = [f"{sys.executable} -c pass"] * floor + list(commands)
        warm_up = WARM_UP if runs > 1 else 0
        subprocess.run(
            ["hyperfine", "-N", "--style", "none", "--runs", str(runs), "--warmup", str(warm_up),
             "--export-json", str(report), *measured],
            env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        return [result["median"] for result in json.loads(report.read_text())["results"]]


def measure(bench: Bench) -> list[Row]:
    """Return every row, in the order of the table."""
    bench.run("issue", "--subject", "bench", "--ttl", "1h", "--out", "opaque")
    bench.run("issue", "--subject", "bench", "--ttl", "1h", "--format", "jwt", "--audience", "api.example", "--out", "jwt")
    ids = [bench.run("issue", "--subject", "bench", "-q").split("_")[2] for _ in range(RUNS)]
    jwt = ("--format", "jwt", "--audience", "api.example")
    return [
        bench.row("issue", "--subject", "bench", shown="issue --subject S"),
        bench.row("inspect", "--file", "opaque", shown="inspect --file F (opaque)"),
        bench.row("issue", "--subject", "bench", *jwt, shown="issue --subject S --format jwt --audience A"),
        bench.row("inspect", "--file", "jwt", "--audience", "api.example", shown="inspect --file F --audience A (JWT)"),
        bench.row_of_each([f"{bench.program} revoke {identifier} --yes" for identifier in ids], "revoke ID --yes"),
        bench.row("--help", shown="--help"),
    ]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown, the floor's command above its column."""
    head = f"| whole process | median | `{FLOOR}` | ratio |\n|---|--:|--:|--:|"
    lines = [
        f"| `tokenctl {row.shown}` | {row.median * 1000:.0f} ms | {row.floor * 1000:.0f} ms | {row.median / row.floor:.1f} × |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def main() -> int:
    """Measure and print."""
    if shutil.which("hyperfine") is None:
        sys.stderr.write("bench: hyperfine is missing: apt-get install hyperfine\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="tokenctl-bench-") as folder:
        rows = measure(Bench(Path(folder)))
    machine = f"CPython {platform.python_version()}, {os.cpu_count()} cores, hyperfine -N, medians of {RUNS} runs."
    sys.stdout.write(f"{table(rows)}\n\n{machine}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
