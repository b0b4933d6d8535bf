"""A real server behind something that breaks: what the client is told and what the server did are two things."""

from __future__ import annotations

import httpx
import pytest

from tests.servers.authority import Authority
from tests.servers.breaker import HANG, LOSE, PASS, REFUSE, Breaker, Choosing, at, breaking, to
from tests.servers.faults import try_later
from tests.servers.openbao import OpenBao

LOST = (httpx.ReadError, httpx.RemoteProtocolError)


def revoke(breaker: Breaker, openbao: OpenBao, authority: Authority, token: str) -> httpx.Response:
    return httpx.post(
        f"{breaker.url}/v1/auth/token/revoke", json={"token": token}, headers={"X-Vault-Token": openbao.root_token},
        verify=authority.client(), trust_env=False, timeout=1,
    )  # fmt: skip


def is_active(openbao: OpenBao, token: str) -> bool:
    return openbao.node.call(openbao.root_token, "POST", "auth/token/lookup", token=token).status_code == 200


@pytest.mark.parametrize(
    ("choosing", "error", "active"),
    [
        pytest.param(at({0}, PASS), None, False, id="passes"),
        pytest.param(at({0}, REFUSE), LOST, True, id="never arrives"),
        pytest.param(at({0}, LOSE), LOST, False, id="answer lost"),
        pytest.param(at({0}, HANG), httpx.ReadTimeout, False, id="answer never comes"),
        pytest.param(to("/v1/auth/token/revoke", LOSE), LOST, False, id="by path"),
        pytest.param(to("/v1/another", LOSE), None, False, id="by another path"),
    ],
)
def test_the_server_did_it_whatever_the_client_saw(
    openbao: OpenBao,
    authority: Authority,
    choosing: Choosing,
    error: type[Exception] | tuple[type[Exception], ...] | None,
    active: bool,
) -> None:
    token = openbao.token(policies=["default"])["client_token"]
    with breaking(openbao.address, authority, choosing) as breaker:
        if error is None:
            assert revoke(breaker, openbao, authority, token).status_code == 204
        else:
            with pytest.raises(error):
                revoke(breaker, openbao, authority, token)
        assert len(breaker.asked) == 1
    assert is_active(openbao, token) is active


def test_an_answer_in_its_place_never_reaches_the_server(openbao: OpenBao, authority: Authority) -> None:
    token = openbao.token(policies=["default"])["client_token"]
    with breaking(openbao.address, authority, at(range(2), try_later("1"))) as breaker:
        answers = [revoke(breaker, openbao, authority, token).status_code for _ in range(2)]
        assert answers == [429, 429]
        assert (len(breaker.asked), breaker.passed) == (2, [])
        assert is_active(openbao, token)
        assert revoke(breaker, openbao, authority, token).status_code == 204
    assert not is_active(openbao, token)
