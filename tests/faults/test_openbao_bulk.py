"""Many tokens at OpenBao, and what dies in the middle: the server, the leader of a cluster, the command, the one who waits."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.at_openbao import AtOpenBao
from tests.conftest import PROGRAM, Cli
from tests.servers.openbao import Node, OpenBao
from tests.servers.process import READY

DENIED = {"revoked", "already_revoked"}


def tokens(server: OpenBao, count: int) -> list[str]:
    def create(_: int) -> str:
        made = server.node.call(server.root_token, "POST", "auth/token/create", policies=["default"])
        return str(made.json()["auth"]["accessor"])

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(create, range(count)))


def revoking(vault: AtOpenBao, accessors: Sequence[str], *options: str) -> subprocess.Popen[bytes]:
    """Begin to revoke them; the outcomes go to a file."""
    (vault.cli.home / "accessors").write_text("\n".join(accessors))
    arguments = ("revoke", "-", "-p", vault.name, "--credential-file", str(vault.credential), "--yes", "-o", "jsonl", *options)
    home = vault.cli.home
    with (home / "accessors").open("rb") as given, (home / "outcomes").open("wb") as out, (home / "said").open("wb") as said:
        return subprocess.Popen([*PROGRAM, *arguments], env=vault.cli.env, cwd=home, stdin=given, stdout=out, stderr=said)


def failed(vault: AtOpenBao) -> str:
    """Return what is to be known where a run ended otherwise than it should."""
    told = Counter((str(line["outcome"]), str(line["detail"])) for line in outcomes(vault))
    return f"{told} {(vault.cli.home / 'said').read_text()}"


def outcomes(vault: AtOpenBao) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (vault.cli.home / "outcomes").read_text().splitlines()]
    return [line for line in lines if "outcome" in line]


def accepted(server: OpenBao, accessors: Sequence[str]) -> set[str]:
    """Return those that the server accepts: one whose revocation was cut off is listed, with a negative count of uses."""
    listed = set(server.sudo("LIST", "auth/token/accessors")["data"]["keys"]) & set(accessors)
    told = {accessor: server.sudo("POST", "auth/token/lookup-accessor", accessor=accessor)["data"] for accessor in listed}
    return {accessor for accessor, data in told.items() if data["num_uses"] >= 0}


def revoked(node: Node) -> Counter[str]:
    """Return how often the server did revoke each token, by the hash of its accessor in its audit log."""
    done: Counter[str] = Counter()
    for line in node.audit_log.read_text().splitlines():
        entry = json.loads(line)
        answered = entry["type"] == "response" and entry["request"]["path"] == "auth/token/revoke-accessor"
        if answered and not entry.get("response", {}).get("warnings") and not entry.get("error"):
            done[entry["request"]["data"]["accessor"]] += 1
    return done


def until_half(process: subprocess.Popen[bytes], nodes: Sequence[Node], half: int) -> None:
    """Wait until the servers have written so many requests to revoke."""
    until = time.monotonic() + READY
    while sum(log.read_bytes().count(b'"path":"auth/token/revoke-accessor"') for log in logs(nodes)) < 2 * half:
        assert process.poll() is None, "it was over too soon"
        assert time.monotonic() < until
        time.sleep(0.01)


def logs(nodes: Sequence[Node]) -> list[Path]:
    return [node.audit_log for node in nodes if node.audit_log.exists()]


def test_a_thousand_revocations_with_the_server_killed_half_way_are_told_and_finished_by_a_rerun(
    cli: Cli, openbao_in_files: OpenBao
) -> None:
    server, count = openbao_in_files, 1_000
    vault = AtOpenBao(cli, server)
    accessors = tokens(server, count)
    process = revoking(vault, accessors, "--timeout", "5s")
    until_half(process, server.nodes, count // 2)
    server.node.process.kill()
    assert process.wait(60) in (7, 11), failed(vault)
    first = {str(line["id"]): str(line["outcome"]) for line in outcomes(vault)}
    assert set(first) == set(accessors)
    assert set(first.values()) <= {"revoked", "unverified", "unreachable"}
    told = sum(outcome == "revoked" for outcome in first.values())
    assert 0 < told < count
    server.node.start()
    server.unseal()
    again = revoking(vault, accessors)
    assert again.wait(60) == 0, failed(vault)
    second = {str(line["id"]): str(line["outcome"]) for line in outcomes(vault)}
    assert set(second) == set(accessors)
    assert set(second.values()) <= DENIED
    assert all(second[accessor] == "already_revoked" for accessor, outcome in first.items() if outcome == "revoked")
    assert max(revoked(server.node).values()) == 1  # nothing twice
    assert accepted(server, accessors) == set()
    assert cli("audit", "verify", "-p", "vault").code == 0


def test_a_cluster_that_loses_its_leader_half_way_has_revoked_everything_after_a_rerun(
    cli: Cli, openbao_cluster: OpenBao
) -> None:
    cluster, count = openbao_cluster, 400
    vault = AtOpenBao(cli, cluster, address=cluster.nodes[1].address)
    accessors = tokens(cluster, count)
    process = revoking(vault, accessors)
    until_half(process, cluster.nodes[:1], count // 2)
    cluster.nodes[0].process.kill()
    code = process.wait(60)
    assert code in (0, 7, 11), failed(vault)
    first = {str(line["id"]): str(line["outcome"]) for line in outcomes(vault)}
    assert set(first) == set(accessors)
    assert code or set(first.values()) == {"revoked"}
    cluster.await_active()
    until = time.monotonic() + READY
    while (code := revoking(vault, accessors).wait(60)) and time.monotonic() < until:
        assert code in (7, 11)
    assert code == 0, failed(vault)
    second = {str(line["id"]): str(line["outcome"]) for line in outcomes(vault)}
    assert set(second) == set(accessors)
    assert set(second.values()) <= DENIED
    assert all(second[accessor] == "already_revoked" for accessor, outcome in first.items() if outcome == "revoked")
    assert accepted(cluster, accessors) == set()


def test_an_interrupt_ends_it_between_two_batches_and_tells_what_was_done(cli: Cli, openbao: OpenBao) -> None:
    vault = AtOpenBao(cli, openbao)
    accessors = tokens(openbao, 500)
    begun = openbao.node.audit_log.read_bytes().count(b'"path":"auth/token/revoke-accessor"')
    process = revoking(vault, accessors)
    until_half(process, openbao.nodes, begun // 2 + 100)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT
    said = (cli.home / "said").read_text()
    told = {str(line["id"]): str(line["outcome"]) for line in outcomes(vault)}
    done = {accessor for accessor, outcome in told.items() if outcome == "revoked"}
    assert f"interrupted: {len(done):,} of 500 done" in said
    living = set(openbao.sudo("LIST", "auth/token/accessors")["data"]["keys"])
    assert done == set(accessors) - living
    assert 0 < len(done) < 500
    assert revoking(vault, accessors).wait(30) == 0
