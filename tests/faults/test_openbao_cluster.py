"""OpenBao as a cluster: nodes that lag, lead no more, are sealed, or die in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import Cli
from tests.servers.openbao import OpenBao
from tests.servers.process import READY
from tokenctl import wiring
from tokenctl.backends.openbao.service import OpenBao as TokenService
from tokenctl.backends.remote.service import Facts, Reference


@pytest.fixture
def standby_service(cli: Cli, openbao_cluster: OpenBao) -> Iterator[Callable[[], TokenService]]:
    """Connect to a standby, as one command after the other does, each having looked at its own credential."""
    AtOpenBao(cli, openbao_cluster, address=openbao_cluster.nodes[1].address)
    made: list[TokenService] = []

    def connect() -> TokenService:
        surroundings = wiring.Surroundings(
            environment=cli.env, now=time.time_ns() // 1_000_000, notice=print, warn=print, timeout=10.0,
            credential_file=str(cli.home / "vault.credential"),
        )  # fmt: skip
        service = wiring.connect_openbao(wiring.open_profile("vault", surroundings), surroundings)
        assert service.operator.active
        made.append(service)
        return service

    yield connect
    for service in made:
        service.close()


def lagging(cluster: OpenBao, ask: Callable[[dict[str, Any]], object]) -> tuple[dict[str, Any], object]:
    """Ask a standby about a token that was issued while it stood still; return the token and its answer."""
    standby = cluster.nodes[1]
    standby.call(None, "GET", "sys/leader")  # so that a connection is there
    standby.process.pause()
    issued = cluster.node.call(cluster.root_token, "POST", "auth/token/create", policies=["default"]).json()["auth"]
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(ask(issued)))
    asking.start()
    time.sleep(0.1)
    standby.process.resume()
    asking.join()
    return issued, answers[0]


def test_a_standby_that_lags_fools_no_question_and_no_revocation(
    openbao_cluster: OpenBao, standby_service: Callable[[], TokenService]
) -> None:
    def deny(service: TokenService, issued: dict[str, Any]) -> object:
        return service.deny(Reference(issued["accessor"]), keep_children=False)

    doubted = 0
    for _ in range(10):  # as soon as it runs, it catches up
        service = standby_service()
        _, facts = lagging(openbao_cluster, lambda issued, service=service: service.ask(Reference(issued["accessor"])))
        assert isinstance(facts, Facts)
        assert (facts.active, facts.sure) == (True, True)
        doubted += service.exchanges.caught_up  # it said first that it knows no such token
        service = standby_service()
        issued, _ = lagging(openbao_cluster, lambda issued, service=service: deny(service, issued))
        told = openbao_cluster.node.call(issued["client_token"], "GET", "auth/token/lookup-self")
        assert told.status_code == 403
    assert doubted


def test_without_the_right_to_catch_up_nothing_unknown_is_called_denied(cli: Cli, openbao_cluster: OpenBao) -> None:
    cluster = openbao_cluster
    vault = AtOpenBao(cli, cluster, address=cluster.nodes[1].address)
    paths = ("lookup", "lookup-accessor", "revoke", "revoke-accessor", "create")
    rights: dict[str, list[str] | str] = {f"auth/token/{path}": ["update"] for path in paths}
    cluster.policy("plain", **rights, **{"auth/token/lookup-self": ["read"]})
    operator = cluster.token(policies=["plain"], no_default_policy=True)["client_token"]
    vault.hand_in(operator)
    identifier, text = vault.issued("--scope", "plain")
    cluster.sudo("POST", "auth/token/revoke-accessor", accessor=identifier)
    for arguments, given in ((["revoke", identifier, "--yes"], None), (["revoke", "-", "--yes"], text)):
        done = vault(*arguments, "-o", "json", input=given)
        (target,) = done.json["targets"]
        assert (done.code, target["outcome"]) == (11, "unverified"), done.out
        assert "does not lag" in target["detail"]
    done = vault("inspect", identifier, "-o", "json")
    assert (done.code, done.json["active"], done.json["state"]) == (11, None, "not_checked")
    vault.hand_in(cluster.root_token)
    assert vault("revoke", identifier, "--yes", "-q").code == 0


def test_a_sealed_server_is_named_so(cli: Cli, openbao_in_files: OpenBao) -> None:
    server = openbao_in_files
    vault = AtOpenBao(cli, server)
    identifier, _ = vault.issued()
    server.seal()
    for arguments in (["inspect", identifier], ["issue", "--subject", "s"], ["revoke", identifier, "--yes"], ["whoami"]):
        done = vault(*arguments, "--timeout", "5s")
        assert done.code in (7, 11), done.err
        assert "answered 503: it is sealed" in done.out + done.err
    server.unseal()
    assert vault("revoke", identifier, "--yes", "-q").code == 0
    assert vault.lookup(identifier) is None


def test_a_standby_whose_leader_died_is_not_followed_elsewhere_and_the_next_run_finishes(
    cli: Cli, openbao_cluster: OpenBao
) -> None:
    cluster = openbao_cluster
    vault = AtOpenBao(cli, cluster, address=cluster.nodes[1].address)
    identifier, _ = vault.issued()
    cluster.nodes[0].process.kill()
    first = vault("revoke", identifier, "--yes", "-q", "--timeout", "1s")
    assert first.code in (0, 7, 11), first.err
    cluster.await_active()
    until = time.monotonic() + READY
    while (done := vault("revoke", identifier, "--yes", "-o", "json")).code and time.monotonic() < until:
        assert done.code in (7, 11), done.err
    assert done.code == 0
    assert vault.lookup(identifier) is None
