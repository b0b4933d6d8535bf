"""OpenBao as a cluster: nodes that lag, lead no more, are sealed, or die in the middle."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import Cli, Result
from tests.servers.openbao import OpenBao
from tests.servers.process import READY


class Lagging:
    """Asks a standby about a token that was issued while it stood still."""

    def __init__(self, cli: Cli, cluster: OpenBao) -> None:
        self.cluster = cluster
        self.standby = cluster.nodes[1]
        self.vault = AtOpenBao(cli, cluster, address=self.standby.address)

    def issue(self) -> dict[str, Any]:
        """Issue at the leader while the standby stands still."""
        self.standby.call(None, "GET", "sys/leader")
        self.standby.process.pause()
        made = self.cluster.node.call(self.cluster.root_token, "POST", "auth/token/create", policies=["default"])
        return dict(made.json()["auth"])

    def run(self, *arguments: str, input: str | None = None) -> Result:
        """Run the program, and let the standby go on when its first request lies there."""
        waking = threading.Timer(0.7, self.standby.process.resume)
        waking.start()
        try:
            return self.vault(*arguments, input=input)
        finally:
            waking.join()


@pytest.fixture
def lagging(cli: Cli, openbao_cluster: OpenBao) -> Lagging:
    return Lagging(cli, openbao_cluster)


def test_a_standby_that_lags_fools_no_revocation_and_no_question(lagging: Lagging) -> None:
    cluster = lagging.cluster
    for _ in range(4):
        made = lagging.issue()
        done = lagging.run("revoke", made["accessor"], "--yes", "-o", "json")
        (target,) = done.json["targets"]  # type: ignore[misc]
        assert (done.code, target["outcome"], target["state_before"]) == (0, "revoked", "active"), done.out
        assert cluster.node.call(made["client_token"], "GET", "auth/token/lookup-self").status_code == 403
        made = lagging.issue()
        done = lagging.run("inspect", made["accessor"], "-o", "json")
        assert (done.code, done.json["active"]) == (0, True), done.out


def test_without_the_right_to_catch_up_nothing_unknown_is_called_denied(lagging: Lagging) -> None:
    cluster, vault = lagging.cluster, lagging.vault
    paths = ("lookup", "lookup-accessor", "revoke", "revoke-accessor", "create")
    rights: dict[str, list[str] | str] = {f"auth/token/{path}": ["update"] for path in paths}
    cluster.policy("plain", **rights, **{"auth/token/lookup-self": ["read"]})
    operator = cluster.token(policies=["plain"], no_default_policy=True)["client_token"]
    vault.hand_in(operator)
    identifier, text = vault.issued("--scope", "plain")
    cluster.sudo("POST", "auth/token/revoke-accessor", accessor=identifier)
    for arguments, given in ((["revoke", identifier, "--yes"], None), (["revoke", "-", "--yes"], text)):
        done = vault(*arguments, "-o", "json", input=given)
        (target,) = done.json["targets"]  # type: ignore[misc]
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
