"""``kill -9`` in the middle of an archiving: no body is lost, the store checks out, and a rerun moves the rest."""

from __future__ import annotations

import hashlib
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Cli, Result
from tests.faults.conftest import assert_sound, rows, under_strace

DAY = 86_400_000
_CALLS = [
    ("linkat", 1), ("fsync", 1), ("fsync", 2), *(("pwrite64", number) for number in (1, 2, 3, 5, 9, 17, 30)),
    ("fdatasync", 1), ("fdatasync", 2), ("fdatasync", 3), ("rename", 1),
]  # fmt: skip


def _old_store(cli: Cli, count: int) -> dict[int, bytes]:
    """Fill a store with tokens that ended three days ago; return the bodies of its records."""
    before = int(time.time() * 1000) - 3 * DAY
    made = cli.at(before, "issue", "--subject", "old", "--count", str(count), "--ttl", "1h", "-q")
    assert made.code == 0, made.err
    return {int(str(seq)): body for seq, body in rows(cli.store, "SELECT seq, body FROM record")}


def _archive(cli: Cli, out: str) -> tuple[str, ...]:
    return ("audit", "archive", "--before", "1d", "--out", out, "--yes", "-q")


def _assert_nothing_lost(cli: Cli, bodies: dict[int, bytes], *names: str) -> None:
    """Every body lies in the store or in one of the archives, byte for byte."""
    kept = {int(str(seq)): body for seq, body in rows(cli.store, "SELECT seq, body FROM record")}
    for path in (cli.home / name for name in names):
        for line in path.read_bytes().split(b"\n")[1:-2] if path.exists() else []:
            number, _, body = line.partition(b" ")
            if int(number) in bodies:
                kept[int(number)] = body
    assert {seq: kept[seq] for seq in bodies} == bodies


@pytest.mark.parametrize("call", _CALLS, ids=lambda call: f"{call[0]}-{call[1]}")
def test_an_archiving_killed_anywhere_loses_no_body_and_another_run_moves_the_rest(cli, tmp_path, call):
    bodies = _old_store(cli, 40)
    name, number = call
    died = under_strace(cli, [f"trace=?{name}", f"inject=?{name}:signal=KILL:when={number}"], *_archive(cli, "one"))
    assert died.code == -signal.SIGKILL, died
    _assert_nothing_lost(cli, bodies, "one")
    assert_sound(cli)
    assert cli(*_archive(cli, "two")).code == 0
    _assert_nothing_lost(cli, bodies, "one", "two")
    assert_sound(cli)
    left = rows(cli.store, "SELECT count(*) FROM record WHERE operation = 'token.issue' AND length(body) > 19")
    assert left == [(0,)]
    told = {digest for (digest,) in rows(cli.store, "SELECT target FROM record WHERE operation = 'log.archive'")}
    written = [path for path in (cli.home / "one", cli.home / "two") if path.exists()]
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written}
    assert told <= set(there.values())
    names = [each for each, digest in there.items() if digest in told]
    done = cli("audit", "verify", "-o", "json", *(part for each in names for part in ("--archive", each)))
    assert (done.code, done.json["archived"]) == (0, 0), done


def test_an_archiving_killed_between_two_parts_keeps_the_first_and_another_run_moves_the_rest(cli):
    bodies = _old_store(cli, 6000)
    died = under_strace(cli, ["trace=fdatasync", "inject=fdatasync:signal=KILL:when=3"], *_archive(cli, "one"))
    assert died.code == -signal.SIGKILL, died
    moved = rows(cli.store, "SELECT count(*) FROM record WHERE length(body) < 20")[0][0]
    assert 0 < int(str(moved)) < 6000
    _assert_nothing_lost(cli, bodies, "one")
    assert_sound(cli)
    assert cli(*_archive(cli, "two")).code == 0
    _assert_nothing_lost(cli, bodies, "one", "two")
    done = cli("audit", "verify", "-o", "json", "--archive", "one", "--archive", "two")
    assert (done.code, done.json["archived"]) == (0, 0), done


@pytest.mark.parametrize("call", ["write", "fsync", "linkat"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(cli, call, error):
    bodies = _old_store(cli, 40)
    # Only calls on the folder where the file comes to lie fail: the store has its own.
    where = ["-P", str(cli.home)] if call != "linkat" else []
    done = _failing(cli, call, error, where)
    assert done.code in (2, 7), done
    assert (done.out, "Traceback" in done.err) == ("", False)
    assert not (cli.home / "one").exists()
    assert rows(cli.store, "SELECT 1 FROM record WHERE operation = 'log.archive'") == []
    _assert_nothing_lost(cli, bodies)
    assert_sound(cli)
    assert cli(*_archive(cli, "one")).code == 0


def _failing(cli: Cli, call: str, error: str, where: list[str]) -> Result:
    if call == "write":
        import resource

        limit = 8192 if error == "ENOSPC" else 0
        return cli(*_archive(cli, "one"), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    return under_strace(cli, [f"trace=?{call}", f"inject=?{call}:error={error}:when=1"], *_archive(cli, "one"))


def test_a_stranger_cannot_tell_the_name_of_the_file_before_it_is_whole(cli):
    _old_store(cli, 40)
    trace = Path(cli.home).parent / "trace"
    done = under_strace(cli, ["trace=fsync,?linkat,fdatasync"], *_archive(cli, "one"), output=trace)
    assert done.code == 0, done
    calls = [line.split(maxsplit=1)[1].split("(")[0] for line in trace.read_text().splitlines() if "(" in line]
    # The file is durable, then has its name, then its folder is durable; only then the store's log is written to.
    assert calls[:4] == ["fsync", "linkat", "fsync", "fdatasync"]
