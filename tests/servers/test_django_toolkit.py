"""django-oauth-toolkit, asked by a plain client: what the contract suite relies on, and what it must not take for granted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.servers import django_toolkit as server_module
from tests.servers.authority import Authority
from tests.servers.authorization_server import DISCOVERY
from tests.servers.django_toolkit import TTL, DjangoToolkit
from tests.servers.oidc_provider import EXCHANGE

METHODS = ("client_secret_basic", "client_secret_post")
NOT_SENT = ("registration_access_token", "registration_client_uri")


def test_it_is_discovered_at_the_path_of_rfc_8414_alone(django_toolkit: DjangoToolkit) -> None:
    oauth, openid = (django_toolkit.http.get(django_toolkit.issuer + path) for path in DISCOVERY)
    assert (oauth.status_code, openid.status_code) == (200, 404)
    assert oauth.json()["issuer"] == django_toolkit.issuer
    assert "jwks_uri" not in oauth.json()


@pytest.mark.parametrize("method", METHODS)
def test_a_client_gets_introspects_and_revokes_a_token(django_toolkit: DjangoToolkit, method: str) -> None:
    client = django_toolkit.register(method)
    before = int(time.time())
    issued = django_toolkit.issue(client, "a:read a:write")
    assert {name: issued[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer", "expires_in": TTL, "scope": "a:read a:write",
    }  # fmt: skip
    told = django_toolkit.introspect(client, issued["access_token"])
    assert before + TTL <= told.pop("exp") <= time.time() + TTL
    assert told == {"active": True, "client_id": client.id, "scope": "a:read a:write"}  # no iat, iss, sub, jti, token_type
    assert django_toolkit.revoke(client, issued["access_token"]).status_code == 200
    assert django_toolkit.introspect(client, issued["access_token"]) == {"active": False}
    assert django_toolkit.revoke(client, issued["access_token"]).status_code == 200


def test_whoever_may_not_introspect_gets_an_empty_page(django_toolkit: DjangoToolkit) -> None:
    for client in (None, django_toolkit.client._replace(secret="wrong")):
        answer = django_toolkit.post("introspection", client, token="x")
        assert (answer.status_code, answer.content) == (403, b"")
        assert answer.headers["content-type"].startswith("text/html")
        assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("endpoint", ["token", "revocation"])
def test_a_wrong_secret_is_an_invalid_client(django_toolkit: DjangoToolkit, endpoint: str) -> None:
    form = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "x"}
    answer = django_toolkit.post(endpoint, django_toolkit.client._replace(secret="wrong"), **form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_a_scope_that_it_does_not_know_is_refused_and_no_scope_is_an_empty_one(django_toolkit: DjangoToolkit) -> None:
    answer = django_toolkit.post("token", django_toolkit.client, grant_type="client_credentials", scope="a:read nonsense")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_scope"})
    assert django_toolkit.issue(django_toolkit.client, None)["scope"] == ""


def test_a_resource_is_kept_whatever_it_is(django_toolkit: DjangoToolkit) -> None:
    issued = django_toolkit.issue(django_toolkit.client, resource="https://api.example/anything")
    told = django_toolkit.introspect(django_toolkit.client, issued["access_token"])
    assert told["aud"] == ["https://api.example/anything"]
    answer = django_toolkit.post("token", django_toolkit.client, grant_type="client_credentials", resource="nonsense")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


def test_it_lies_to_the_client_that_revokes_the_token_of_another(django_toolkit: DjangoToolkit) -> None:
    token = django_toolkit.issue(django_toolkit.client)["access_token"]
    answer = django_toolkit.revoke(django_toolkit.other_client, token)
    assert (answer.status_code, answer.content) == (200, b"")
    assert django_toolkit.is_active(django_toolkit.other_client, token)


def test_what_it_does_not_know_is_inactive_and_revoked_with_200(django_toolkit: DjangoToolkit) -> None:
    assert django_toolkit.introspect(django_toolkit.client, "unknown") == {"active": False}
    assert django_toolkit.revoke(django_toolkit.client, "unknown").status_code == 200


def test_it_lacks_private_key_jwt_and_token_exchange(django_toolkit: DjangoToolkit) -> None:
    address = django_toolkit.metadata["registration_endpoint"]
    asked = {"grant_types": ["client_credentials"], "token_endpoint_auth_method": "private_key_jwt"}
    refused = django_toolkit.http.post(address, json=asked)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert "private_key_jwt" not in django_toolkit.metadata["token_endpoint_auth_methods_supported"]
    answer = django_toolkit.post("token", django_toolkit.client, grant_type=EXCHANGE, subject_token="x")
    assert (answer.status_code, answer.json()) == (400, {"error": "unsupported_grant_type"})


def test_a_change_of_a_client_renews_its_registration_token_and_no_secret_is_shown(django_toolkit: DjangoToolkit) -> None:
    registrar, client = django_toolkit.registrar, django_toolkit.register()
    read = registrar.manage("GET", client).json()
    assert "client_secret" not in read
    changed = registrar.manage("PUT", client, {name: value for name, value in read.items() if name not in NOT_SENT})
    assert changed.status_code == 200
    assert "client_secret" not in changed.json()
    renewed = changed.json()["registration_access_token"]
    assert renewed != client.registration_token
    assert registrar.manage("GET", client).status_code == 401
    client = client._replace(registration_token=renewed)
    token = django_toolkit.issue(client)["access_token"]
    assert registrar.manage("DELETE", client).status_code == 204
    assert django_toolkit.post("token", client, grant_type="client_credentials").status_code == 401
    assert not django_toolkit.is_active(django_toolkit.client, token)  # the tokens of a client that is gone are gone


def test_the_lifetime_of_an_instance_is_chosen_and_ends_a_token(authority: Authority, tmp_path: Path) -> None:
    with server_module.running(tmp_path / "short", authority, ttl=1) as server:
        issued = server.issue(server.client)
        assert issued["expires_in"] == 1
        until = time.monotonic() + 5
        while server.is_active(server.client, issued["access_token"]) and time.monotonic() < until:
            time.sleep(0.1)
        assert not server.is_active(server.client, issued["access_token"])
