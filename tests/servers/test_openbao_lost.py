"""OpenBao in files and as a cluster: sealed, stopped, killed, without a leader. Each test has servers of its own."""

from __future__ import annotations

import threading
import time

import httpx

from tests.servers.openbao import Node, OpenBao
from tests.servers.process import READY


def test_a_sealed_server_refuses_and_knows_its_tokens_again(openbao_in_files: OpenBao) -> None:
    server = openbao_in_files
    token = server.token(policies=["default"])["client_token"]
    server.seal()
    answer = server.node.call(token, "GET", "auth/token/lookup-self")
    assert (answer.status_code, answer.json()) == (503, {"errors": ["Vault is sealed"]})
    assert server.node.health() == 503
    server.unseal()
    assert server.node.call(token, "GET", "auth/token/lookup-self").status_code == 200
    server.node.process.kill()
    assert server.node.health() is None
    server.node.start()
    assert server.node.health() == 503
    server.unseal()
    assert server.node.call(token, "GET", "auth/token/lookup-self").status_code == 200


def test_a_standby_passes_requests_on_and_a_lost_leader_is_replaced(openbao_cluster: OpenBao) -> None:
    cluster = openbao_cluster
    assert [node.health() for node in cluster.nodes] == [200, 429, 429]
    leader, standby = cluster.nodes[0], cluster.nodes[1]
    made = standby.call(cluster.root_token, "POST", "auth/token/create", policies=["default"])
    assert made.status_code == 200
    token = made.json()["auth"]["client_token"]

    leader.process.kill()
    seen: set[int] = set()
    until = time.monotonic() + READY
    while time.monotonic() < until:
        answer = standby.call(cluster.root_token, "POST", "auth/token/create", policies=["default"])
        if answer.status_code == 200:
            break
        seen.add(answer.status_code)
        if answer.status_code == 307:  # to the origin of the lost leader: a client that follows takes its token there
            assert answer.headers["location"] == f"{leader.address}/v1/auth/token/create"
        time.sleep(0.05)
    assert answer.status_code == 200
    assert seen
    assert seen <= {307, 500, 503}
    assert cluster.await_active() in cluster.nodes[1:]
    assert standby.call(token, "GET", "auth/token/lookup-self").status_code == 200

    leader.start()
    assert leader.health() == 503
    leader.unseal(cluster.unseal_key)
    until = time.monotonic() + READY
    while leader.health() != 429 and time.monotonic() < until:
        time.sleep(0.05)
    assert leader.health() == 429
    assert leader.call(token, "GET", "auth/token/lookup-self").status_code == 200


def lagging(cluster: OpenBao, standby: Node, path: str, **headers: str) -> tuple[httpx.Response, bool]:
    """Ask a standby about a token that was issued while it stood still; return its answer, and whether the token lives."""
    standby.call(None, "GET", "sys/leader")  # so that a connection is there
    standby.process.pause()
    issued = cluster.node.call(cluster.root_token, "POST", "auth/token/create", policies=["default"])
    token = issued.json()["auth"]["client_token"]
    if "X-Vault-Inconsistent" in headers:
        headers["X-Vault-Index"] = issued.headers["X-Vault-Index"]
    answers: list[httpx.Response] = []
    sent = {"json": {"token": token}, "headers": {"X-Vault-Token": cluster.root_token, **headers}}
    asking = threading.Thread(target=lambda: answers.append(standby.http.post(path, **sent)))
    asking.start()
    time.sleep(0.1)
    standby.process.resume()
    asking.join()
    told = cluster.node.call(cluster.root_token, "POST", "auth/token/lookup", token=token)
    return answers[0], told.status_code == 200


def test_a_standby_that_lags_lies_about_a_new_token_unless_it_is_told_how_new(openbao_cluster: OpenBao) -> None:
    standby, forward = openbao_cluster.nodes[1], {"X-Vault-Inconsistent": "forward-active-node"}
    for _ in range(10):  # as soon as it runs, it catches up
        answer, lives = lagging(openbao_cluster, standby, "auth/token/revoke")
        assert answer.status_code == 204
        if lives:
            break
    assert lives
    for _ in range(10):
        answer, lives = lagging(openbao_cluster, standby, "auth/token/lookup")
        assert lives
        if answer.status_code == 403:
            break
    assert answer.json() == {"errors": ["bad token"]}
    for path, status, left in (("auth/token/revoke", 204, False), ("auth/token/lookup", 200, True)):
        answer, lives = lagging(openbao_cluster, standby, path, **forward)
        assert (answer.status_code, lives) == (status, left)
