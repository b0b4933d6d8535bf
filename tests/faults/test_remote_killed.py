"""``kill -9``, and a disk that fills up, amid a change at a service: what the service did is found again or undone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import PROGRAM, Cli, Result
from tests.faults.conftest import Homes, Medium, under_strace
from tests.inprocess import InProcess
from tests.servers.authority import Authority
from tests.servers.breaker import LOSE, PASS, REFUSE, Breaker, Fate, Passage, breaking
from tests.servers.openbao import OpenBao
from tests.stub import Request

CREATE, LOOKUP, REVOKE = (f"/v1/auth/token/{name}" for name in ("create", "lookup-accessor", "revoke-accessor"))
REVOKE_TEXT = "/v1/auth/token/revoke"
LATER = 6 * 60_000  # ms: no command can be at it any more


class Bench:
    """A home with a profile at a real OpenBao behind what breaks, and an operator of its own.

    Attributes:
        choose: Gives a request its fate.
    """

    def __init__(self, cli: Cli, openbao: OpenBao, tmp_path: Path) -> None:
        self.cli = cli
        self.openbao = openbao
        self.quick = InProcess(cli.home)
        self.choose = lambda _request: PASS
        self.operator = str(openbao.token(policies=["root"], ttl="1h")["client_token"])
        self.spare = tmp_path / "spare"

    def fate(self, request: Request, _number: int) -> Fate:
        return self.choose(request)

    def stand(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.at = AtOpenBao(self.cli, self.openbao, address=breaker.url)
        self.at.hand_in(self.operator)
        self.options = ("-p", self.at.name, "--credential-file", str(self.at.credential))

    def __call__(self, *arguments: str, ahead: int = 0) -> Result:
        return self.quick(*arguments, *self.options, now=time.time_ns() // 1_000_000 + ahead)

    def issue(self, name: str) -> tuple[str, ...]:
        return ("issue", "--subject", "someone", "--ttl", "1h", "--request-id", name, *self.options)

    def killed_at(self, path: str, passage: Passage, *command: str) -> Result:
        """Run until the server is asked for something, and kill it before or after the server did that."""
        started: list[subprocess.Popen[bytes]] = []

        def choose(request: Request) -> Fate:
            if request.path != path:
                return PASS
            if passage is LOSE:
                self.breaker._pass(request)
            os.kill(started[0].pid, signal.SIGKILL)
            return REFUSE

        self.choose = choose
        started.append(
            subprocess.Popen(
                [*PROGRAM, *command], env=self.cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.cli.home
            )
        )  # fmt: skip
        out, err = started[0].communicate(timeout=60)
        self.choose = lambda _request: PASS
        assert started[0].returncode == -signal.SIGKILL, err
        return Result(-signal.SIGKILL, out.decode(), err.decode())

    def living(self, name: str) -> set[str]:
        """Return the accessors of the tokens that the server itself holds of a request."""
        keys = self.openbao.sudo("LIST", "auth/token/accessors")["data"]["keys"]
        told = {accessor: self.at.lookup(accessor) for accessor in keys}
        return {accessor for accessor, facts in told.items() if facts and (facts["meta"] or {}).get("request_id") == name}

    def check(self) -> None:
        verified = self.quick("audit", "verify", "-p", self.at.name, "-q")
        assert (verified.code, verified.out, verified.err) == (0, "", "")
        for file in self.cli.home.rglob("*"):
            if file.is_file() and file != self.at.credential:
                assert self.operator.encode() not in file.read_bytes(), file
                assert not re.search(rb"\b[sb]\.[A-Za-z0-9]{24}", file.read_bytes()), file

    def settle(self, name: str) -> None:
        """Reconcile; what the server still accepts is what was handed over or has its row here."""
        done = self("audit", "reconcile", ahead=2 * LATER)
        assert done.code == 0, done
        listed = self("list", "--state", "all", "-o", "json")
        assert self.living(name) <= {token["id"] for token in listed.json["tokens"]}
        again = self("audit", "reconcile", "-n", ahead=3 * LATER)
        assert again.out == "", (done, again, self("audit", "log", "-o", "jsonl"))
        self.check()


@pytest.fixture
def bench(cli: Cli, openbao: OpenBao, authority: Authority, tmp_path: Path) -> Iterator[Bench]:
    umask = os.umask(0o077)
    bench = Bench(cli, openbao, tmp_path)
    with breaking(openbao.address, authority, bench.fate) as breaker:
        bench.stand(breaker)
        yield bench
    os.umask(umask)


@pytest.mark.parametrize("passage", [REFUSE, LOSE], ids=["before the service did it", "after"])
def test_an_issue_killed_on_its_way_is_found_by_reconciling(bench: Bench, passage: Passage) -> None:
    name = f"k-{time.time_ns()}"
    died = bench.killed_at(CREATE, passage, *bench.issue(name))
    assert died.out == ""
    assert len(bench.living(name)) == (1 if passage is LOSE else 0)
    bench.check()
    waiting = bench("audit", "reconcile", "-n", "-o", "json", ahead=LATER)
    assert '"what": "issue intent"' in waiting.out
    early = bench.quick(*bench.issue(name))
    assert (early.code, early.out) == (7, "")
    assert early.err.startswith(f"tokenctl: request {name} is under way, or was cut off\nhint: run again in ")
    again = bench.quick(*bench.issue(name), "-o", "json", now=time.time_ns() // 1_000_000 + LATER)
    assert again.code == 0, again
    bench.settle(name)
    assert bench.living(name) == {str(again.json["id"])}


@pytest.mark.parametrize("passage", [REFUSE, LOSE], ids=["before the service did it", "after"])
@pytest.mark.parametrize("path", [REVOKE, LOOKUP], ids=["revoking", "asking"])
def test_a_revocation_killed_on_its_way_is_finished_by_running_it_again(bench: Bench, path: str, passage: Passage) -> None:
    name = f"k-{time.time_ns()}"
    identifier = str(bench.quick(*bench.issue(name), "-o", "json").json["id"])
    command = ("revoke", identifier, "--reason", "test", "--yes")
    bench.killed_at(path, passage, *command, *bench.options)
    gone = path == REVOKE and passage is LOSE
    assert bench.living(name) == (set() if gone else {identifier})
    bench.check()
    again = bench(*command, "-o", "json")
    assert again.code == 0, again
    assert again.json["targets"][0]["outcome"] == ("already_revoked" if gone else "revoked")
    assert bench.living(name) == set()
    bench.settle(name)


_NAMES = ("fdatasync", "rename", "renameat", "write")
_CALL = re.compile(r"(\d+)\s+(\w+)\((.*)")


def _calls(bench: Bench, trace: Path, *command: str) -> list[tuple[str, int]]:
    """Run once; return the main thread's calls that make the store's files durable, and those that hand the answer over."""
    done = under_strace(bench.cli, ["trace=" + ",".join(f"?{name}" for name in _NAMES)], *command, output=trace)
    assert done.code == 0, done.err
    counts: dict[str, int] = {}
    calls = []
    main: str | None = None
    for line in trace.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        thread, call, rest = match.groups()
        main = main or thread
        if thread != main:
            continue
        counts[call] = counts.get(call, 0) + 1
        if (str(bench.cli.home) in rest and call != "write") or rest.startswith("1<"):
            calls.append((call, counts[call]))
    assert len(calls) > 3
    return calls


@pytest.mark.parametrize("verb", ["issue", "revoke"])
def test_a_change_killed_where_it_is_recorded_is_finished_or_found(bench: Bench, verb: str, tmp_path: Path) -> None:
    first = bench.quick(*bench.issue("first"), "-o", "json")
    assert first.code == 0, first
    homes = Homes(bench.cli, bench.spare)

    def command(name: str) -> tuple[tuple[str, ...], str | None]:
        if verb == "issue":
            return bench.issue(name), None
        identifier = str(bench.quick(*bench.issue(name), "-o", "json").json["id"])
        return ("revoke", identifier, "--reason", "test", "--yes", *bench.options), identifier

    calls = _calls(bench, tmp_path / "trace", *command(f"k-{time.time_ns()}")[0])
    for call, number in calls:
        homes.put_back()
        name = f"k-{time.time_ns()}"
        arguments, identifier = command(name)
        died = under_strace(bench.cli, [f"trace={call}", f"inject={call}:signal=KILL:when={number}"], *arguments)
        assert died.code == -signal.SIGKILL, (call, number, died)
        bench.check()
        again = bench.quick(*arguments, "-o", "json", now=time.time_ns() // 1_000_000 + LATER)
        if identifier is not None:
            assert again.code == 0, (call, number, again)
            assert bench.living(name) == set(), (call, number)
        else:
            assert again.code in (0, 6), (call, number, again)  # 6: it was delivered
            if again.code == 6:
                assert died.out, (call, number)
        bench.settle(name)
        if identifier is None:
            assert len(bench.living(name)) == 1, (call, number)


def test_a_token_that_cannot_be_recorded_is_revoked_and_not_handed_out(bench: Bench, medium: Medium) -> None:
    bench.stand(bench.breaker)  # the home is another disk by now
    assert bench.quick(*bench.issue("before")).code == 0
    name = f"f-{time.time_ns()}"

    def fill(request: Request) -> Fate:
        if request.path == CREATE:
            medium.fill()
        return PASS

    bench.choose = fill
    full = bench.cli(*bench.issue(name))
    assert (full.code, full.out) == (7, ""), full
    assert re.fullmatch(r"tokenctl: .*; a token was granted: it was revoked\nhint: .*\n", full.err), full.err
    assert bench.living(name) == set()
    medium.free()
    bench.choose = lambda _request: PASS
    bench.check()
    bench.settle(name)
    assert bench.quick(*bench.issue(name), now=time.time_ns() // 1_000_000 + 2 * LATER).code == 0
    bench.settle(name)


def test_a_token_that_can_be_neither_recorded_nor_revoked_is_told(bench: Bench, medium: Medium) -> None:
    bench.stand(bench.breaker)
    assert bench.quick(*bench.issue("before")).code == 0
    name = f"f-{time.time_ns()}"

    def fill(request: Request) -> Fate:
        if request.path == CREATE:
            medium.fill()
        return REFUSE if request.path == "/v1/auth/token/lookup-self" or request.path in (REVOKE, REVOKE_TEXT) else PASS

    bench.choose = fill
    full = bench.cli(*bench.issue(name))
    assert (full.code, full.out) == (7, ""), full
    assert re.search(r"; a token was granted: nobody has it, and it may still be accepted until \S+ \(.*\)\nhint: ", full.err)
    assert len(bench.living(name)) == 1
    medium.free()
    bench.choose = lambda _request: PASS
    bench.settle(name)
    assert bench.living(name) == set()


@pytest.mark.parametrize("passage", [REFUSE, LOSE], ids=["before the service did it", "after"])
def test_a_bulk_issue_killed_on_its_way_leaves_nothing_that_cannot_be_settled(bench: Bench, passage: Passage) -> None:
    name = f"b-{time.time_ns()}"
    command = (*bench.issue(name), "--count", "2")
    bench.killed_at(CREATE, passage, *command)
    again = bench.quick(*command, now=time.time_ns() // 1_000_000 + LATER)
    assert again.code == 0, again
    assert len(again.lines) == 2
    bench.settle(name)
    assert bench.living(name) == {str(line["id"]) for line in again.lines}
