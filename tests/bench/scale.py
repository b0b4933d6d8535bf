"""A store of 1,000,000 tokens against one of 1,000: the same verb, whole process.

BENCH_TOKENS sets the size of the large store.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.bench.measure import RUNS, Bench, Row, folder, require

SMALL = 1_000
LARGE = int(os.environ.get("BENCH_TOKENS", "1000000"))
_GOAL = "≤ 1.2 ×"


def filled(home: Path, count: int) -> Bench:
    """Return a home whose store holds so many living tokens, of many subjects, owners and lifetimes."""
    bench = Bench(home)
    source = home / "rows.jsonl"
    with source.open("w", encoding="ascii") as file:
        for number in range(count):
            row = {
                "subject": f"svc-{number % 1000}", "owner": f"owner-{number % 200}", "kind": "service",
                "scope": ["repo:read" if number % 2 else "deploy:write"], "ttl": f"{number % 80 + 1}d",
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    bench.run("issue", "--from", source.name, "-q", stdout=subprocess.DEVNULL)
    source.unlink()
    return bench


def rows() -> list[Row]:
    require("hyperfine")
    with folder() as place:
        small, large = filled(place / "small", SMALL), filled(place / "large", LARGE)
        made = []
        for arguments in ("inspect ID", "list --limit 50", "list --subject svc-7 --limit 50", "list --owner owner-9 --limit 50"):
            floor, ours = (_median(bench, arguments) for bench in (small, large))
            made.append(_row(f"`tokenctl {arguments}`", ours, floor))
        floor, ours = (_revoke(bench) for bench in (small, large))
        made.append(_row("`tokenctl revoke ID --yes`", ours, floor))
        return made


def _row(shown: str, ours: float, floor: float) -> Row:
    return Row(shown=f"{shown}, {LARGE:,} tokens", ours=ours, floor=floor, floor_shown=f"{SMALL:,} tokens", goal=_GOAL)


def _ids(bench: Bench, count: int) -> list[str]:
    return [line.split("\t")[0] for line in bench.run("list", "--subject", "svc-*", "--limit", str(count)).splitlines()]


def _median(bench: Bench, arguments: str) -> float:
    return bench.medians([f"{bench.program} {arguments.replace('ID', _ids(bench, 1)[0])}"])[0]


def _revoke(bench: Bench) -> float:
    return bench.median_of_each([f"{bench.program} revoke {identifier} --yes" for identifier in _ids(bench, RUNS)])
