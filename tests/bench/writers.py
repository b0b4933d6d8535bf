"""32 writers of mixed verbs for a minute on one store: errors, records, and how long each waited for the lock.

BENCH_SECONDS and BENCH_WRITERS set how long and how many. Each writer is a process that runs one verb after the other; its
waits are taken where it waits, so that 32 interpreters on a few cores do not count as waiting.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

from tests.bench.measure import Bench, folder

SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
WRITERS = int(os.environ.get("BENCH_WRITERS", "32"))

_WRITER = """
import json, os, sys, time
from tokenctl.cli.boundary import run
from tokenctl.store import lock
waits, codes, ids, verbs = [], [], [], 0
real = lock._wait
def timed(*arguments):
    begun = time.monotonic()
    try:
        real(*arguments)
    finally:
        waits.append(time.monotonic() - begun)
lock._wait = timed
said = os.dup(1)
end = time.monotonic() + float(sys.argv[1])
def do(*arguments):
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    codes.append([arguments[0], run(list(arguments), environment=os.environ, program="tokenctl")])
    os.dup2(said, 1)
    data = b""
    os.set_blocking(reader, False)
    try:
        data = os.read(reader, 65536)
    except BlockingIOError:
        pass
    os.close(reader)
    return data.decode()
while time.monotonic() < end:
    token = do("issue", "--subject", "w", "--max-uses", "2", "-q").strip()
    if not token:
        break
    with open(f"token-{os.getpid()}", "w") as file:
        file.write(token)
    identifier = token.split("_")[2]
    do("inspect", identifier, "-q")
    do("inspect", "--use", "--file", f"token-{os.getpid()}", "-q")
    do("list", "--limit", "5", "-q")
    do("revoke", identifier, "--reason", "test", "--yes", "-q")
os.write(said, json.dumps({"waits": waits, "codes": codes}).encode())
"""


def report() -> str:
    """Run the writers; return what happened as text."""
    with folder() as place:
        bench = Bench(place / "home")
        bench.run("issue", "--subject", "first", "-q")
        before = _records(bench)
        command = [sys.executable, "-P", "-c", _WRITER, str(SECONDS)]
        writers = [
            subprocess.Popen(command, env=bench.env, cwd=bench.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            for _ in range(WRITERS)
        ]
        told = [json.loads(writer.communicate(timeout=SECONDS + 120)[0]) for writer in writers]
        codes = Counter((verb, code) for one in told for verb, code in one["codes"])
        waits = sorted(wait for one in told for wait in one["waits"])
        issued, revoked = codes["issue", 0], codes["revoke", 0]
        expected = before + issued + revoked + codes["inspect", 0] - issued  # each issue is inspected once by id, and used once
        verified = bench.run("audit", "verify").splitlines()[0]
        errors = sum(count for (_, code), count in codes.items() if code)
        return "\n".join(
            [
                f"{WRITERS} writers, {SECONDS:.0f} s: {sum(codes.values()):,} verbs, {errors} errors",
                f"waits for the lock: {len(waits):,}, median {_at(waits, 0.5)}, p99 {_at(waits, 0.99)}, longest {_at(waits, 1)}",
                f"records: {_records(bench):,}, expected {expected:,}; audit verify: {verified}",
            ]
        )


def _records(bench: Bench) -> int:
    return len(bench.run("audit", "log").splitlines())


def _at(waits: list[float], part: float) -> str:
    return f"{waits[min(int(len(waits) * part), len(waits) - 1)] * 1000:.1f} ms"
