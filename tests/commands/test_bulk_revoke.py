"""``revoke`` of many: told as each batch becomes durable, interrupted between batches, finished by the same command."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.bench.bulk_revoke import fill
from tests.conftest import PROGRAM, missing
from tests.faults.conftest import rows, strace_works

MANY = 12_000  # about a second of work and ten batches


@pytest.fixture
def many(cli):
    umask = os.umask(0o077)
    ids = fill(cli.home, MANY)
    os.umask(umask)
    return ids


# Every commit takes a third of a second more, so that a tester who is kept waiting still comes in the middle.
SLOWLY = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=333000")


@pytest.fixture
def slowly():
    if not strace_works():
        missing("strace")
    return SLOWLY


def begun(cli, *arguments, before=(), **options):
    """Start a run over all of them and read its first line of outcome."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    pipes["bufsize"] = 0  # what was read ahead would be lost to communicate()
    child = subprocess.Popen(
        [*before, *PROGRAM, "revoke", "--subject", "bulk", "--yes", *arguments],
        env=cli.env, cwd=cli.home, **(pipes | options),
    )  # fmt: skip
    return child, child.stdout.readline()


def revoked(cli):
    return rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NOT NULL")[0][0]


def assert_sound(cli):
    assert cli("audit", "verify", "-q").code == 0


def test_outcomes_are_told_while_the_rest_waits_and_every_one_is_durable_by_then(cli, many, slowly):
    child, first = begun(cli, "-o", "jsonl", before=slowly)
    assert json.loads(first)["outcome"] == "revoked"
    child.send_signal(signal.SIGSTOP)
    there = revoked(cli)
    assert 0 < there < MANY
    child.send_signal(signal.SIGCONT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")
    lines = [json.loads(first), *map(json.loads, out.splitlines())]
    assert {line["id"] for line in lines} == set(many)
    assert len(lines) == MANY
    assert {line["outcome"] for line in lines} == {"revoked"}
    assert len({line["request_id"] for line in lines}) == 1
    assert_sound(cli)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_batch_end_and_the_same_command_finishes_the_rest(cli, many, slowly, number):
    child, first = begun(cli, before=slowly)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == -number
    told = [first, *out.splitlines()]
    assert {line.split(b"\t")[1] for line in told} == {b"revoked"}
    done = len(told)
    assert 0 < done < MANY
    assert revoked(cli) == done
    assert err.decode() == (
        f"interrupted: {done:,} of {MANY:,} done, {MANY - done:,} not done; the same command again finishes them\n"
    )
    assert_sound(cli)
    again = cli("revoke", "--subject", "bulk", "--state", "all", "--yes", "-o", "json")
    assert (again.code, again.json["counts"]) == (0, {"already_revoked": done, "revoked": MANY - done})
    assert_sound(cli)


def test_a_signal_while_another_writes_takes_effect_at_once(cli):
    import fcntl

    identifier = cli.id_of(cli.token())
    with (cli.store.parent / "store.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = subprocess.Popen(
            [*PROGRAM, "revoke", identifier, "--yes"], env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        time.sleep(2)  # until it waits for the lock
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out) == (-signal.SIGINT, b"")
    assert err.startswith(b"interrupted: 0 of 1 done, 1 not done;")
    assert cli("inspect", identifier, "-q").code == 0


def test_an_interrupted_document_names_what_was_not_done(cli, many, slowly):
    child = subprocess.Popen(
        [*slowly, *PROGRAM, "revoke", "--subject", "bulk", "--yes", "-o", "json"], env=cli.env, cwd=cli.home,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    while not revoked(cli):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGINT
    counts = json.loads(out)["counts"]
    assert counts == {"revoked": revoked(cli), "unreachable": MANY - revoked(cli)}


def test_killed_anywhere_the_same_command_finishes_what_is_left(cli, many, slowly):
    ids = "\n".join(many)
    for _ in range(4):
        before = revoked(cli)
        child, first = begun(cli, before=slowly)
        assert first.split(b"\t")[1] == b"revoked"
        child.kill()
        child.communicate(timeout=60)
        assert before < revoked(cli) < MANY
        assert_sound(cli)
    done = revoked(cli)
    again = cli("revoke", "-", "--yes", "-o", "json", input=ids)
    assert (again.code, again.json["counts"]) == (0, {"already_revoked": done, "revoked": MANY - done})
    assert_sound(cli)


def test_other_writers_get_their_turn(cli, many):
    child, _ = begun(cli, stderr=subprocess.DEVNULL)
    waits = []
    while child.poll() is None and len(waits) < 4:
        started = time.monotonic()
        assert cli("issue", "--subject", "other", "-q").code == 0
        waits.append(time.monotonic() - started)
    child.communicate(timeout=60)
    assert child.returncode == 0
    assert len(waits) > 1
    assert revoked(cli) == MANY
    assert_sound(cli)


def test_who_stops_listening_stops_no_revocation(cli, many):
    child, _ = begun(cli)
    child.stdout.close()
    assert child.wait(timeout=60) == -signal.SIGPIPE
    assert child.stderr.read() == b""
    child.stderr.close()
    assert revoked(cli) == MANY
    with open("/dev/full", "wb") as full:
        done = cli("revoke", "--subject", "bulk", "--state", "all", "--yes", stdout=full, stderr=subprocess.PIPE)
    assert (done.code, done.err.startswith("tokenctl: cannot write to stdout: ")) == (7, True)


def stalled(cli, before=(), **options):
    """Start a run whose reader takes nothing."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    words = [*before, *PROGRAM, "revoke", "--subject", "bulk", "--yes"]
    return subprocess.Popen(words, env=cli.env, cwd=cli.home, **(pipes | options))


def wait_for(cli, count):
    end = time.monotonic() + 60
    while revoked(cli) < count:
        assert time.monotonic() < end, revoked(cli)
        time.sleep(0.05)


def test_a_reader_that_stands_still_stops_no_revocation_and_gets_every_outcome_when_it_reads_on(cli, many):
    child = stalled(cli)
    wait_for(cli, MANY)
    assert child.poll() is None
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")
    assert {line.split(b"\t")[0].decode() for line in out.splitlines()} == set(many)
    assert_sound(cli)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_all_is_done_a_signal_ends_the_wait_for_a_reader_at_once(cli, many, number):
    child = stalled(cli)
    wait_for(cli, MANY)
    time.sleep(1)
    child.send_signal(number)
    assert child.wait(timeout=10) == -number
    _, err = child.communicate()
    assert err.decode() == f"interrupted: {MANY:,} of {MANY:,} done, not all was read\n"


def test_a_signal_ends_a_run_whose_reader_stands_still(cli, many, slowly):
    child = stalled(cli, slowly)
    wait_for(cli, MANY // 3)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == -signal.SIGTERM
    _, err = child.communicate()
    done = revoked(cli)
    assert MANY // 3 <= done < MANY
    assert err.decode().startswith(f"interrupted: {done:,} of {MANY:,} done, {MANY - done:,} not done;")
    assert_sound(cli)


def test_a_socket_that_nobody_reads_stops_no_revocation(cli, many):
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = stalled(cli, stdout=theirs)
        theirs.close()
        wait_for(cli, MANY)
        lines = b"".join(iter(lambda: ours.recv(1 << 16), b""))
    assert len(lines.splitlines()) == MANY
    assert child.wait(timeout=10) == 0
    child.stderr.close()


def test_quiet_is_quiet_and_expect_counts_them_all(cli, many):
    short = cli("revoke", "--subject", "bulk", "--expect", str(MANY - 1), "--yes", "-q")
    assert (short.code, short.out) == (6, "")
    assert short.err == f"tokenctl: --expect {MANY - 1}, but {MANY} would be revoked: nothing was touched\n"
    done = cli("revoke", "--subject", "bulk", "--expect", str(MANY), "--yes", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert revoked(cli) == MANY


def test_a_plan_of_many_is_carried_out_after_an_interruption_under_its_own_request(cli, many, slowly):
    planned = cli("revoke", "--subject", "bulk", "--dry-run", "--out", "plan.json")
    assert planned.code == 0
    assert len(planned.out.splitlines()) == MANY
    child = subprocess.Popen(
        [*slowly, *PROGRAM, "revoke", "--plan", "plan.json", "--yes"], env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    child.stdout.readline()
    child.kill()
    child.communicate(timeout=60)
    done = revoked(cli)
    assert 0 < done < MANY
    again = cli("revoke", "--plan", "plan.json", "--yes", "-o", "json")
    assert (again.code, again.json["counts"]) == (0, {"already_revoked": done, "revoked": MANY - done})
    requests = rows(cli.store, "SELECT DISTINCT request FROM record WHERE operation = 'token.revoke'")
    assert requests == [(json.loads((cli.home / "plan.json").read_text())["request_id"],)]
    assert_sound(cli)


def test_many_are_suspended_until_the_same_moment_and_lifted(cli, many):
    done = cli("revoke", "--subject", "bulk", "--suspend", "--for", "2h", "--then", "revoke", "--yes", "-o", "json")
    assert (done.code, done.json["counts"]) == (0, {"suspended": MANY})
    assert len(rows(cli.store, "SELECT DISTINCT suspended_until FROM token")) == 1
    done = cli("revoke", "--lift", "--subject", "bulk", "--expect", str(MANY), "--yes", "-o", "json")
    assert (done.code, done.json["counts"]) == (0, {"lifted": MANY})
    assert_sound(cli)


def test_progress_is_shown_at_a_terminal_alone_and_wiped(cli, many):
    import pexpect

    count = MANY + len(fill(cli.home, 28_000))  # more than a second's work on any machine
    program = " ".join(PROGRAM)
    line = f"{program} revoke --subject bulk --suspend --yes > out; {program} revoke --subject bulk --yes > out"
    child = pexpect.spawn(
        "bash", ["--norc", "-c", line], env=cli.env | {"TERM": "xterm", "NO_COLOR": "1"}, cwd=str(cli.home),
        dimensions=(40, 100), timeout=120, encoding="utf-8",
    )  # fmt: skip
    child.expect(pexpect.EOF)
    screen = child.before
    assert re.search(rf"(suspended|revoked) [\d,]+ of {count:,}, [\d,]+/s, \d+s left\x1b\[K", screen), screen
    assert screen.count(f"{count:,} denied ({count:,} now, 0 before); request ") == 2
    assert revoked(cli) == count
