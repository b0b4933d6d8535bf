"""Whole-process time of each verb, against the bare interpreter of the same environment."""

from __future__ import annotations

import sys

from tests.bench.measure import RUNS, Bench, Row, folder, require

FLOOR = "python -c pass"
_JWT = ("--format", "jwt", "--audience", "api.example")
# Verb and goal, from performance.md's table of whole processes.
_REPEATED = (
    (("issue", "--subject", "bench"), "`tokenctl issue --subject S`", "≤ 8 ×"),
    (("inspect", "--file", "opaque"), "`tokenctl inspect --file F` (opaque)", "≤ 8 ×"),
    (("issue", "--subject", "bench", *_JWT), "`tokenctl issue --format jwt`", "≤ 8 ×"),
    (("inspect", "--file", "jwt", "--audience", "api.example"), "`tokenctl inspect --file F` (JWT)", "≤ 8 ×"),
    (("list", "--limit", "50"), "`tokenctl list --limit 50`", ""),
    (("issue", "--subject", "bench", "--", "true"), "`tokenctl issue --subject S -- true`", ""),
    (("--help",), "`tokenctl --help`", "≤ 7 ×"),
)


def rows() -> list[Row]:
    require("hyperfine")
    with folder() as place:
        bench = Bench(place / "home")
        bench.run("issue", "--subject", "bench", "--ttl", "1h", "--out", "opaque")
        bench.run("issue", "--subject", "bench", "--ttl", "1h", *_JWT, "--out", "jwt")
        made = []
        for arguments, shown, goal in _REPEATED:
            floor, ours = bench.medians([f"{sys.executable} -c pass", f"{bench.program} {' '.join(arguments)}"])
            made.append(Row(shown=shown, ours=ours, floor=floor, floor_shown=f"`{FLOOR}`", goal=goal))
        ids = [bench.run("issue", "--subject", "bench", "-q").split("_")[2] for _ in range(RUNS)]
        floor = bench.medians([f"{sys.executable} -c pass"])[0]
        ours = bench.median_of_each([f"{bench.program} revoke {identifier} --yes" for identifier in ids])
        made.append(Row(shown="`tokenctl revoke ID --yes`", ours=ours, floor=floor, floor_shown=f"`{FLOOR}`", goal="≤ 8 ×"))
        return made
