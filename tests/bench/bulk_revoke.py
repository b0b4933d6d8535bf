"""``revoke`` of 100,000 tokens as a ratio to bare SQL: ``python -m tests.bench bulk_revoke``.

The bare SQL writes the same rows into the same tables and indexes of a copy of the store, with the same PRAGMAs, in batches
of the same size, and hashes each record; it reads nothing, checks nothing and authenticates nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

import apsw

from tests.bench.measure import Bench, Row, folder, table
from tokenctl import wiring
from tokenctl.backends.local.journal import BATCH_SECONDS
from tokenctl.backends.local.standing import event_about
from tokenctl.model.identifier import new_id
from tokenctl.model.record import issue_parameters
from tokenctl.model.times import DAY
from tokenctl.model.token import Token
from tokenctl.store.connection import defend

TOKENS = 100_000
_AT_ONCE = 10_000
_RUNS = 3


def fill(home: Path, count: int, **facts: object) -> list[str]:
    """Write tokens of the subject ``bulk`` with their records into the store of a home; return their ids."""
    now = time.time_ns() // 1_000_000
    said: list[str] = []
    surroundings = wiring.Surroundings(environment={"HOME": str(home)}, now=now, notice=said.append, warn=said.append, timeout=30)
    backend = wiring.open_backend(None, surroundings)
    ids = []
    known: dict[str, object] = {
        "kind": "access", "format": "opaque", "subject": "bulk", "owner": "bench", "issued_by": "bench@here",
        "issued_at": now - now % 1000, "expires_at": now - now % 1000 + DAY, "delivered_at": now, "scope": ("deploy:write",),
        "pepper_version": 1,
    }  # fmt: skip
    for start in range(0, count, _AT_ONCE):
        with backend.journal.changing(create=True) as change:
            assert change is not None
            made = []
            for _ in range(min(_AT_ONCE, count - start)):
                own = {"id": new_id(now), "request": new_id(now), "verifier": os.urandom(32)}
                token = Token(**(own | known | facts))  # checked by the tuple
                told = issue_parameters(token.labels, token.max_uses, token.not_before, token.note, verifier=token.verifier)
                record = change.append(event_about("token.issue", token, request_id=token.request, parameters=told))
                made.append(token._replace(leaf=record.seq))
            change.rows.insert_tokens(made)
            ids += [token.id for token in made]
    backend.close()
    return ids


def revoke(bench: Bench, count: int) -> float:
    """Run the program once; return its seconds."""
    return bench.seconds("revoke", "--subject", "bulk", "--expect", str(count), "--yes", "-q")


def bare(store: Path, batch: int) -> float:
    """Write the same rows by SQL alone; return the seconds."""
    started = time.perf_counter()
    connection = apsw.Connection(str(store))
    defend(connection)
    seq = connection.execute("SELECT max(seq) FROM record").fetchall()[0][0]
    now = time.time_ns() // 1_000_000
    ids = [row[0] for row in connection.execute("SELECT id FROM token WHERE subject = 'bulk' ORDER BY expires_at, id")]
    actor, request = "bench@here", new_id(now)
    row = connection.execute("SELECT body FROM record WHERE operation = 'token.issue' LIMIT 1").fetchall()[0][0]
    body = bytes(row)
    for start in range(0, len(ids), batch):
        connection.execute("BEGIN IMMEDIATE")
        records, updates = [], []
        for identifier in ids[start : start + batch]:
            seq += 1
            leaf = body + identifier.encode()
            digest = hashlib.sha256(b"\0" + leaf).digest()
            records.append((seq, now, "token.revoke", identifier, request, actor, leaf, digest, os.urandom(48), None))
            updates.append((os.urandom(32), seq, now, actor, "other", None, None, request, 0, identifier))
        connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", records)
        connection.executemany(
            """UPDATE token SET mac = ?, leaf = ?, revoked_at = ?, revoked_by = ?, reason = ?, revoked_note = ?, ticket = ?,
               revoked_request = ?, children_kept = ? WHERE id = ?""",
            updates,
        )
        connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - started


def rows() -> list[Row]:
    """Return the row of bulk revocation, medians of some runs, each beside its floor."""
    os.umask(0o077)
    ours, floors = [], []
    with folder() as place:
        filled = Bench(place / "filled")
        fill(filled.home, TOKENS)
        for number in range(_RUNS):
            bench, spare = Bench(place / f"ours-{number}"), Bench(place / f"floor-{number}")
            for copy in (bench, spare):
                shutil.copytree(filled.home, copy.home, dirs_exist_ok=True)
            ours.append(revoke(bench, TOKENS))
            floors.append(bare(spare.store, max(1, round(TOKENS * BATCH_SECONDS / ours[-1]))))
            for copy in (bench, spare):
                shutil.rmtree(copy.home)
    return [
        Row(
            shown=f"`tokenctl revoke --subject S --yes -q`, {TOKENS:,} tokens", ours=statistics.median(ours),
            floor=statistics.median(floors), floor_shown="bare SQL, the same rows and leaves", goal="≤ 2", unit="s",
        )
    ]  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(table(rows()) + "\n")
