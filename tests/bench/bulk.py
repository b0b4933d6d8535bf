"""Bulk issue, whole process, against SQLite taking the same rows, and against signing alone.

BENCH_BULK sets how many tokens.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import apsw

from tests.bench.measure import Bench, Row, folder
from tokenctl.formats import signing
from tokenctl.store import connection, schema

COUNT = int(os.environ.get("BENCH_BULK", "100000"))
BATCH = 2_000  # rows of one transaction of the floor
_GOAL = "≤ 2 ×"
_TABLES = ("token", "tag", "record", "request")
_ASKED = ("issue", "--count", str(COUNT), "--subject", "bench", "--scope", "api:read", "-q")


def rows() -> list[Row]:
    with folder() as place:
        bench = Bench(place / "home")
        bench.run("issue", "--subject", "first", "-q")
        ours = bench.seconds(*_ASKED)
        floor = bare_inserts(bench.store, place / "bare.db")
        opaque = Row(
            shown=f"issue of {COUNT:,} opaque tokens", ours=ours, floor=floor, floor_shown="`executemany` of the same rows",
            goal=_GOAL, unit="s",
        )  # fmt: skip
        bench = Bench(place / "jwt")
        bench.run("issue", "--subject", "first", "--format", "jwt", "--audience", "api.example", "-q")
        ours = bench.seconds(*_ASKED, "--format", "jwt", "--audience", "api.example")
        jwt = Row(
            shown=f"issue of {COUNT:,} JWTs (ES256)", ours=ours, floor=bare_signatures(), floor_shown="signing alone",
            goal=_GOAL, unit="s",
        )  # fmt: skip
        return [opaque, jwt]


def bare_inserts(store: Path, fresh: Path) -> float:
    """Put the rows of a store into the same tables and indexes, durable as ours; return how long SQLite alone takes."""
    source = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    target = apsw.Connection(str(fresh))
    target.execute("PRAGMA journal_mode = WAL")
    connection.defend(target)
    for statement in (statement for migration in schema.MIGRATIONS for statement in migration):
        target.execute(statement)
    taken = 0.0
    tables = {table: list(source.execute(f"SELECT * FROM {table}")) for table in _TABLES}
    steps = -(-max(map(len, tables.values())) // BATCH)
    for step in range(steps):
        begun = time.perf_counter()
        target.execute("BEGIN IMMEDIATE")
        for table, held in tables.items():
            part = held[step * BATCH : (step + 1) * BATCH]
            if part:
                target.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(part[0]))})", part)
        target.execute("COMMIT")
        taken += time.perf_counter() - begun
    return taken


def bare_signatures() -> float:
    """Sign so many messages of a JWT's size; return how long that takes."""
    key, message = signing.generate("ES256"), os.urandom(400)
    begun = time.perf_counter()
    for _ in range(COUNT):
        key.sign(message)
    return time.perf_counter() - begun
