"""``kill -9`` before every system call that changes a file, or that hands the answer over.

Between two such calls nothing on the disk differs, so these are all the states a kill can leave. Of a run of writes into one
file without a sync between, the first, the last and every eighth are taken; TOKENCTL_TEST_EVERY_CALL takes all.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pyrage
import pytest

from tests.bench.bulk_revoke import fill
from tests.conftest import Cli, Result
from tests.faults.conftest import ISSUE, Homes, assert_no_secret, assert_sound, rows, under_strace

_NAMES = [
    "openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "unlink",
    "unlinkat", "ftruncate", "mkdir", "mkdirat", "fchmod", "fchown", "flock",
]  # fmt: skip
_TRACE = "trace=" + ",".join(f"?{name}" for name in _NAMES)
_CALL = re.compile(r"(\d+)\s+(\w+)\((.*)")
_STEP = 1 if os.environ.get("TOKENCTL_TEST_EVERY_CALL") else 8
_PARTS = 6


def _calls(cli: Cli, trace: Path, *arguments: str) -> list[tuple[str, int]]:
    """Run once; return each call that matters as its name and its number among the main thread's calls of that name."""
    done = under_strace(cli, [_TRACE], *arguments, output=trace)
    assert done.code == 0, done.err
    counts: dict[str, int] = {}
    calls: list[tuple[str, int]] = []
    main: str | None = None
    for line in trace.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        thread, name, rest = match.groups()
        main = main or thread
        if thread != main:  # strace counts the calls of each thread
            continue
        counts[name] = counts.get(name, 0) + 1
        opens = name == "openat" and "O_CREAT" not in rest and "O_TMPFILE" not in rest
        if (str(cli.home) in rest or rest.startswith("1<")) and not opens:
            calls.append((name, counts[name]))
    assert len(calls) > 20
    return _thinned(calls)


def _thinned(calls: list[tuple[str, int]]) -> list[tuple[str, int]]:
    chosen = []
    run = 0
    for position, (name, number) in enumerate(calls):
        run = run + 1 if name == "pwrite64" and position and calls[position - 1][0] == name else 0
        last = position + 1 == len(calls) or calls[position + 1][0] != name
        if run % _STEP == 0 or last:
            chosen.append((name, number))
    return chosen


def _some(calls: list[tuple[str, int]], step: int) -> list[tuple[str, int]]:
    """Take every call that gives or takes a name and every so many of the others; all where all are asked for."""
    names = ("rename", "renameat", "linkat")
    return calls if _STEP == 1 else [call for number, call in enumerate(calls) if call[0] in names or number % step == 0]


def _killed(cli: Cli, call: tuple[str, int], *arguments: str) -> Result:
    name, number = call
    died = under_strace(cli, [f"trace={name}", f"inject={name}:signal=KILL:when={number}"], *arguments)
    assert died.code == -signal.SIGKILL, (call, died)
    return died


def _ids(cli: Cli) -> set[object]:
    return {row[0] for row in rows(cli.store, "SELECT id FROM token")}


def _assert_one_active_key(cli: Cli, *algorithms: str) -> None:
    assert rows(cli.store, "SELECT alg FROM key WHERE state = 'active' ORDER BY alg") == [(alg,) for alg in algorithms]


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_first_issue_killed_anywhere_is_finished_by_running_it_again(cli, tmp_path, part):
    command = ("issue", "--subject", "ci", "--format", "jwt", "--audience", "api", "-q")
    homes = Homes(cli, tmp_path / "spare")
    calls = _calls(cli, tmp_path / "trace", *command)
    for call in calls[part::_PARTS]:
        homes.put_back()
        died = _killed(cli, call, *command)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        again = cli(*command)
        assert again.code == 0, (call, again.err)
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        _assert_one_active_key(cli, "ES256")
        if died.out:
            # What was handed over has its row and its record.
            assert cli("inspect", "-", "-q", "--audience", "api", input=died.out).code == 0, call


@pytest.mark.parametrize("part", range(_PARTS // 2))
def test_an_issue_killed_anywhere_leaves_the_store_whole(cli, tmp_path, part):
    before = cli.token()
    homes = Homes(cli, tmp_path / "spare")
    for call in _calls(cli, tmp_path / "trace", *ISSUE)[part :: _PARTS // 2]:
        homes.put_back()
        died = _killed(cli, call, *ISSUE)
        again = cli(*ISSUE)
        assert (again.code, again.err) == (0, ""), (call, again)
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        handed_over = {cli.id_of(text) for text in (before, died.out.strip(), again.out.strip()) if text}
        assert handed_over <= _ids(cli), call


@pytest.mark.parametrize("part", range(_PARTS // 2))
def test_a_revocation_killed_anywhere_is_finished_by_running_it_again(cli, tmp_path, part):
    gone = cli.id_of(cli.token())
    assert cli("revoke", gone, "--yes", "-q").code == 0
    parent = cli.id_of(cli.token("--ttl", "30m"))
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "5m"))
    command = ("revoke", parent, "--yes")
    homes = Homes(cli, tmp_path / "spare")
    for call in _calls(cli, tmp_path / "trace", *command)[part :: _PARTS // 2]:
        homes.put_back()
        died = _killed(cli, call, *command)
        again = cli(*command, "-o", "json")
        assert again.code == 0, (call, again)
        outcome = again.json["targets"][0]["outcome"]
        assert outcome in ("revoked", "already_revoked")
        if died.out:
            assert outcome == "already_revoked", call
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        assert rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NULL") == [(0,)], call
        told = rows(cli.store, "SELECT target FROM record WHERE operation = 'token.revoke' ORDER BY seq")
        assert told == [(gone,), (parent,), (child,)], call


@pytest.mark.parametrize("part", range(_PARTS // 2))
def test_a_revocation_of_many_killed_anywhere_is_finished_by_running_it_again(cli, tmp_path, part):
    count = 600
    fill(cli.home, count)
    command = ("revoke", "--subject", "bulk", "--state", "all", "--yes", "-q")
    homes = Homes(cli, tmp_path / "spare")
    calls = [call for call in _calls(cli, tmp_path / "trace", *command) if call[0] != "pwrite64" or call[1] % 40 == 0]
    for call in calls[part :: _PARTS // 2]:
        homes.put_back()
        died = under_strace(cli, [f"trace={call[0]}", f"inject={call[0]}:signal=KILL:when={call[1]}"], *command)
        assert died.code in (-signal.SIGKILL, 0), call  # batches are cut by time, so the next run may make fewer calls
        (done,) = rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NOT NULL")[0]
        assert_sound(cli)
        again = cli(*command[:-1], "-o", "json")
        assert again.code == 0, (call, again)
        counts = {"already_revoked": done, "revoked": count - int(str(done))}
        assert again.json["counts"] == {name: number for name, number in counts.items() if number}, call
        assert_sound(cli)


def test_the_making_of_a_plan_killed_anywhere_leaves_a_whole_plan_or_none(cli, tmp_path):
    token = cli.id_of(cli.token())
    plan = cli.home / "plan.json"
    command = ("revoke", token, "--dry-run", "--out", "plan.json")
    homes = Homes(cli, tmp_path / "spare")
    calls = _calls(cli, tmp_path / "trace", *command)
    for call in calls:
        homes.put_back()
        _killed(cli, call, *command)
        assert_sound(cli)
        if plan.exists():
            assert cli("revoke", "--plan", "plan.json", "--dry-run").code == 0, call
        again = cli(*command)
        assert (again.code, again.err) == (0, ""), (call, again)
        assert [file.name for file in cli.home.iterdir() if not file.name.startswith(".")] == ["plan.json"], call
        assert not list(cli.home.glob(".plan*")), call
        assert cli("revoke", "--plan", "plan.json", "--yes", "-q").code == 0, call
        assert cli("inspect", token, "-q").code == 3
        assert_sound(cli)


@pytest.mark.parametrize("there", [False, True], ids=["to a new file", "over an old file"])
def test_a_delivery_to_a_file_killed_anywhere_leaves_the_old_file_or_the_whole_new_one(cli, tmp_path, there):
    cli.token()
    folder = cli.home / "out"
    folder.mkdir(mode=0o700)
    target = folder / "token"
    if there:
        target.write_text("old\n")
    command = (*ISSUE, "--out", str(target))
    homes = Homes(cli, tmp_path / "spare")
    calls = _calls(cli, tmp_path / "trace", *command)
    first = next(position for position, call in enumerate(calls) if call[0] == "openat")
    for call in [call for call in calls[first:] if call[0] not in ("pwrite64", "fdatasync", "fchown", "flock")]:
        homes.put_back()
        died = _killed(cli, call, *command)
        if target.exists() and target.read_text() != "old\n":
            assert cli.id_of(target.read_text().strip()) in _ids(cli), call
            assert target.stat().st_mode & 0o777 == 0o600
        else:
            assert died.out == "", call
        assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir() if file != target), call
        again = cli(*command)
        assert (again.code, again.err) == (0, ""), (call, again)
        assert [file.name for file in folder.iterdir()] == ["token"], call
        assert cli.id_of(target.read_text().strip()) == again.out.strip()
        assert_sound(cli)
        assert_no_secret(cli.home, but=[target], root_secret=cli.root_secret)


@pytest.mark.parametrize("part", range(_PARTS // 2))
def test_a_replacement_killed_anywhere_leaves_the_old_token_or_its_delivered_successor(cli, tmp_path, part):
    old = cli.token("--ttl", "1h")
    target = cli.home / "token"
    command = ("issue", "--replace", cli.id_of(old), "--grace", "0s", "--request-id", "r", "--out", str(target), "-q")
    homes = Homes(cli, tmp_path / "spare")
    calls = _calls(cli, tmp_path / "trace", *command)
    # Of each run of writes into the store the last: a commit is none before it, and is one after it.
    telling = [
        call for call, (following, _) in itertools.pairwise([*calls, ("", 0)])
        if call[0] in ("fdatasync", "fsync", "write", "rename", "linkat") or (call[0] == "pwrite64" != following)
    ]  # fmt: skip
    for call in telling[part :: _PARTS // 2]:
        homes.put_back()
        _killed(cli, call, *command)
        made = rows(cli.store, "SELECT delivered_at IS NOT NULL FROM token WHERE replaces IS NOT NULL")
        delivered = made == [(1,)]
        assert cli("inspect", "-", "-q", input=old).code == (3 if delivered else 0), call
        again = cli(*command)
        assert again.code == (6 if delivered else 0), (call, again)
        new = target.read_text()
        before, after = cli("inspect", "-", "-o", "jsonl", input=f"{old}\n{new}").lines
        assert (before["state"], before["replaced_by"], after["state"]) == ("revoked", cli.id_of(new), "active"), call
        assert rows(cli.store, "SELECT count(*) FROM token WHERE replaces IS NOT NULL AND revoked_at IS NULL") == [(1,)], call
        assert_sound(cli)
        assert_no_secret(cli.home, but=[target], root_secret=cli.root_secret)


@pytest.mark.parametrize("part", range(_PARTS // 2))
def test_an_acceptance_of_the_clock_killed_anywhere_is_whole_or_not_at_all(cli, tmp_path, part):
    ended = cli.id_of(cli.token("--ttl", "1h"))
    assert cli.at(time.time_ns() // 1_000_000 + 86_400_000, *ISSUE).code == 0
    command = ("store", "accept-clock", "--yes")
    homes = Homes(cli, tmp_path / "spare")
    for call in _calls(cli, tmp_path / "trace", *command)[part :: _PARTS // 2]:
        homes.put_back()
        died = _killed(cli, call, *command)
        told = rows(cli.store, "SELECT operation FROM record WHERE seq > 3 ORDER BY seq")
        assert told in ([], [("store.clock",), ("token.revoke",), ("token.revoke",)]), call
        assert told or not died.out, call
        assert cli("inspect", ended, "-q").code == 3, call
        again = cli(*command)
        assert (again.code, again.err) == (0, ""), (call, again)
        assert bool(again.out) is not bool(told), call
        assert cli("inspect", ended, "-q").code == 3, call
        assert cli(*ISSUE).code == 0, call
        assert_sound(cli)


def _age_key(tmp_path: Path) -> tuple[str, str]:
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.touch(mode=0o600)
    path.write_text(f"{identity}\n")
    return str(path), str(identity.to_public())


def test_a_backup_killed_anywhere_leaves_a_whole_one_or_none(cli, tmp_path):
    path, recipient = _age_key(tmp_path)
    cli.token()
    file = cli.home / "b.age"
    command = ("store", "backup", "b.age", "--recipient", recipient, "-q")
    homes = Homes(cli, tmp_path / "spare")
    for call in _some(_calls(cli, tmp_path / "trace", *command), 4):
        homes.put_back()
        _killed(cli, call, *command)
        told = rows(cli.store, "SELECT count(*) FROM record WHERE operation = 'store.backup'")
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        if file.exists():  # a name has only what is whole and recorded
            assert told == [(1,)], call
            assert cli("store", "restore", "b.age", "--identity", path, "-n", "-q").code == 0, call
        again = cli(*command, "--yes")
        assert (again.code, again.err) == (0, ""), (call, again)
        left = {entry.name for entry in (*cli.home.iterdir(), *cli.store.parent.iterdir()) if entry.is_file()} - {"restore.lock"}
        assert sorted(left) == ["b.age", "backup.lock", "store.db", "store.db-shm", "store.db-wal", "store.lock"], call


@pytest.mark.parametrize("home", ["over a store", "in a new home"])
def test_a_restoring_killed_anywhere_leaves_the_store_before_or_the_restored_one(cli, tmp_path, home):
    path, recipient = _age_key(tmp_path)
    kept, gone = cli.id_of(cli.token("--ttl", "1h")), cli.id_of(cli.token("--ttl", "1h"))
    backup = tmp_path / "b.age"
    assert cli("store", "backup", str(backup), "--recipient", recipient, "-q").code == 0
    assert cli("revoke", gone, "--yes", "-q").code == 0
    if home == "in a new home":
        shutil.rmtree(cli.home)
        cli.home.mkdir(mode=0o700)
    command = ("store", "restore", str(backup), "--identity", path, "--yes")
    homes = Homes(cli, tmp_path / "spare")
    for call in _some(_calls(cli, tmp_path / "trace", *command), 9):
        homes.put_back()
        died = _killed(cli, call, *command)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        told = cli("inspect", kept, gone, "-o", "jsonl")
        states = [line["state"] for line in told.lines]
        if home == "over a store":
            # Sound at every moment, and no token of the backup is active before it is suspended.
            assert states in (["active", "revoked"], ["suspended", "revoked"]), (call, told)
            assert_sound(cli)
        else:
            assert told.code in (3, 5, 10), (call, told)
            assert "active" not in states
        if died.out:
            assert states[0] == "suspended", call
        again = cli(*command)
        assert again.code == 0, (call, again)
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)
        denied = ["suspended", "suspended" if home == "in a new home" else "revoked"]
        assert [line["state"] for line in cli("inspect", kept, gone, "-o", "jsonl").lines] == denied, call
        left = {entry.name for entry in cli.store.parent.iterdir() if not entry.name.startswith("store.db.replaced-")}
        assert left == {"backup.lock", "restore.lock", "store.db", "store.db-shm", "store.db-wal", "store.lock"} - (
            {"backup.lock"} if home == "in a new home" else set()
        ), call  # fmt: skip
