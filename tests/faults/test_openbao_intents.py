"""Changes at OpenBao whose end nobody knows: an answer that was lost, a command that was killed; and how they are settled."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import PROGRAM, Cli
from tests.servers.authority import Authority
from tests.servers.breaker import HANG, LOSE, REFUSE, Passage, breaking, to
from tests.servers.faults import redirect
from tests.servers.openbao import OpenBao
from tests.servers.process import READY

CREATE = "/v1/auth/token/create"
LATER = 6 * 60_000


def reconciled(vault: AtOpenBao, *arguments: str) -> list[list[str]]:
    """Reconcile six minutes from now, when no command can be at it; return the columns."""
    done = vault.cli.at(
        time.time_ns() // 1_000_000 + LATER, "audit", "reconcile", "-p", vault.name, "--credential-file", str(vault.credential),
        *arguments,
    )  # fmt: skip
    assert done.code in (0, 11), done.err
    return [line.split("\t") for line in done.out.splitlines()]


def named(openbao: OpenBao, subject: str) -> list[str]:
    """Return the accessors of living tokens of a subject."""
    keys = openbao.sudo("LIST", "auth/token/accessors")["data"]["keys"]
    told = {key: openbao.sudo("POST", "auth/token/lookup-accessor", accessor=key)["data"] for key in keys}
    return [key for key, data in told.items() if (data["meta"] or {}).get("subject") == subject]


@pytest.mark.parametrize("passage", [LOSE, HANG])
def test_a_token_whose_answer_was_lost_is_found_and_revoked(
    cli: Cli, openbao: OpenBao, authority: Authority, passage: Passage
) -> None:
    with breaking(openbao.address, authority, to(CREATE, passage)) as breaker:
        vault = AtOpenBao(cli, openbao, address=breaker.url.rstrip("/"))
        subject = f"lost-{passage.name}"
        done = vault("issue", "--subject", subject, "--timeout", "2s")
        assert (done.code, done.out) == (7, "")
        assert "whether a token was issued is not known" in done.err
        assert "audit reconcile" in done.err
        assert sum(request.path == CREATE for request in breaker.passed) == 1  # never a second token
    (accessor,) = named(openbao, subject)
    vault = AtOpenBao(cli, openbao)
    assert [line[2] for line in reconciled(vault, "--dry-run")] == ["waiting"]
    assert named(openbao, subject) == [accessor]
    assert [line[:3] for line in reconciled(vault)] == [[accessor, "issue intent", "revoked"]]
    assert named(openbao, subject) == []
    assert reconciled(vault) == []
    assert cli.at(time.time_ns() // 1_000_000 + LATER, "audit", "verify", "-p", "vault").code == 0


def test_a_request_that_never_arrived_is_no_open_question(cli: Cli, openbao: OpenBao, authority: Authority) -> None:
    with breaking(openbao.address, authority, to(CREATE, REFUSE)) as breaker:
        vault = AtOpenBao(cli, openbao, address=breaker.url.rstrip("/"))
        done = vault("issue", "--subject", "refused", "--timeout", "2s")
        assert (done.code, done.out) == (7, "")
    vault = AtOpenBao(cli, openbao)
    assert [line[1:3] for line in reconciled(vault)] in ([["issue intent", "absent"]], [])
    assert named(openbao, "refused") == []


def test_where_a_node_without_a_leader_redirects_to_nothing_is_sent(cli: Cli, openbao: OpenBao, authority: Authority) -> None:
    with breaking(openbao.address, authority, lambda *_: Passage.PASS) as elsewhere:
        redirected = redirect(f"{elsewhere.url}/v1/x")
        with breaking(openbao.address, authority, lambda *_: redirected) as breaker:
            vault = AtOpenBao(cli, openbao, address=breaker.url.rstrip("/"))
            done = vault("issue", "--subject", "redirected", "--timeout", "2s")
            assert (done.code, done.out) == (7, "")
            assert "where it redirects to is not asked" in done.err
            assert breaker.asked
        assert elsewhere.asked == []
    assert named(openbao, "redirected") == []


def test_of_a_bulk_issue_only_what_was_lost_is_revoked(cli: Cli, openbao: OpenBao, authority: Authority) -> None:
    seen = 0

    def second(request: object, _: int) -> Passage:
        nonlocal seen
        seen += getattr(request, "path", "") == CREATE
        return LOSE if seen == 2 and getattr(request, "path", "") == CREATE else Passage.PASS

    with breaking(openbao.address, authority, second) as breaker:
        vault = AtOpenBao(cli, openbao, address=breaker.url.rstrip("/"))
        done = vault("issue", "--subject", "bulk", "--count", "3", "--timeout", "3s", "-o", "jsonl")
        assert done.code in (7, 11), done.err
    living = set(named(openbao, "bulk"))
    kept = {str(line["id"]) for line in done.lines if line.get("id")}
    assert len(living - kept) == 1
    vault = AtOpenBao(cli, openbao)
    assert [line[2] for line in reconciled(vault)] == ["revoked"]
    assert set(named(openbao, "bulk")) == kept


def killed_while_it_asks(vault: AtOpenBao, what: str, *arguments: str) -> None:
    """Kill a command while the service is silent, when its intent is recorded."""
    process = subprocess.Popen(
        [*PROGRAM, *arguments, "-p", vault.name, "--credential-file", str(vault.credential)], env=vault.cli.env,
        cwd=vault.cli.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + READY
        while not any(record[:2] == ("remote.intent", what) for record in vault.records()):
            assert time.monotonic() < until
            assert process.poll() is None
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("fate", [LOSE, HANG])
def test_a_revocation_that_was_killed_is_settled_by_what_the_service_says(
    cli: Cli, openbao: OpenBao, authority: Authority, fate: Passage
) -> None:
    identifier, _ = AtOpenBao(cli, openbao).issued("--ttl", "1h")
    silent = "/v1/auth/token/revoke-accessor" if fate is LOSE else "/v1/auth/token/lookup-accessor"
    with breaking(openbao.address, authority, to(silent, HANG)) as breaker:
        vault = AtOpenBao(cli, openbao, address=breaker.url.rstrip("/"))
        killed_while_it_asks(vault, "revoke", "revoke", identifier, "--yes")
    vault = AtOpenBao(cli, openbao)
    gone = vault.lookup(identifier) is None
    (line,) = reconciled(vault)
    assert line[:3] == [identifier, "revoke intent", "revoked" if gone else "waiting"]
    if not gone:
        assert line[-1] == f"tokenctl -p vault revoke {identifier}"
        assert vault("revoke", identifier, "--yes", "-q").code == 0
    assert reconciled(vault) == []
    assert vault.lookup(identifier) is None


def test_an_issue_that_was_killed_is_settled_too(cli: Cli, openbao: OpenBao, authority: Authority) -> None:
    with breaking(openbao.address, authority, to(CREATE, HANG)) as breaker:
        AtOpenBao(cli, openbao).issued("--ttl", "5m")  # so that there is a store
        vault = AtOpenBao(cli, openbao, address=breaker.url.rstrip("/"))
        before = len(vault.records())
        process = subprocess.Popen(
            [*PROGRAM, "issue", "--subject", "killed", "-p", "vault", "--credential-file", str(vault.credential)], env=cli.env,
            cwd=cli.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + READY
        while not any(request.path == CREATE for request in breaker.passed):
            assert time.monotonic() < until
            time.sleep(0.02)
        process.kill()
        process.wait(10)
    assert len(vault.records()) == before + 1
    vault = AtOpenBao(cli, openbao)
    assert len(named(openbao, "killed")) == 1
    (line,) = reconciled(vault)
    assert line[1:3] == ["issue intent", "revoked"]
    assert named(openbao, "killed") == []
