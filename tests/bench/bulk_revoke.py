"""``revoke`` of 100,000 tokens as a ratio to bare SQL: ``python -m tests.bench.bulk_revoke [TOKENS]``.

The bare SQL writes the same rows into the same tables and indexes of a copy of the store, with the same PRAGMAs, in batches
of the same size, and hashes each record; it reads nothing, checks nothing and authenticates nothing. It asserts nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import apsw

from tokenctl import wiring
from tokenctl.backends.local.standing import event_about
from tokenctl.model.identifier import new_id
from tokenctl.model.times import DAY
from tokenctl.model.token import Token
from tokenctl.store.connection import defend

TOKENS = 100_000
_AT_ONCE = 10_000
_BATCH_SECONDS = 0.1


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
                token = Token(id=new_id(now), request=new_id(now), verifier=os.urandom(32), **(known | facts))  # type: ignore[arg-type]
                record = change.append(event_about("token.issue", token, request_id=token.request))
                made.append(token._replace(leaf=record.seq))
            change.rows.insert_tokens(made)
            ids += [token.id for token in made]
    backend.close()
    return ids


def revoke(home: Path, count: int) -> float:
    """Run the program once; return its seconds."""
    command = [sys.executable, "-m", "tokenctl", "revoke", "--subject", "bulk", "--expect", str(count), "--yes", "-q"]
    started = time.perf_counter()
    subprocess.run(command, env={"HOME": str(home), "PATH": os.environ["PATH"]}, cwd=home, check=True)
    return time.perf_counter() - started


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
            records.append((seq, now, "token.revoke", identifier, request, actor, leaf, digest, os.urandom(48)))
            updates.append((os.urandom(32), seq, now, actor, "other", None, None, request, 0, identifier))
        connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", records)
        connection.executemany(
            """UPDATE token SET mac = ?, leaf = ?, revoked_at = ?, revoked_by = ?, reason = ?, revoked_note = ?, ticket = ?,
               revoked_request = ?, children_kept = ? WHERE id = ?""",
            updates,
        )
        connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - started


def main() -> int:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TOKENS
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="tokenctl-bench-") as folder:
        home, spare = Path(folder) / "home", Path(folder) / "spare"
        home.mkdir()
        fill(home, count)
        shutil.copytree(home, spare)
        told = revoke(home, count)
        batch = max(1, round(count * _BATCH_SECONDS / told))
        floor = bare(spare / ".local/share/tokenctl/local/store.db", batch)
    sys.stdout.write(
        f"| `revoke` of {count:,} tokens | {told:.1f} s, {count / told:,.0f}/s "
        f"| bare SQL, batches of {batch:,}: {floor:.1f} s | {told / floor:.2f} × |\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
