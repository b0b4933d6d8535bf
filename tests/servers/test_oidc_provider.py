"""oidc-provider, asked by a plain client: what the contract suite relies on, and what it must not take for granted."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest

from tests.servers import oidc_provider as server_module
from tests.servers.authority import Authority
from tests.servers.authorization_server import ASSERTION, DISCOVERY, Client, new_key, public
from tests.servers.oidc_provider import EXCHANGE, JWT, JWT_TYPE, LONG, LONG_JWT, LONG_TTL, NARROW, OPAQUE, TTL, OidcProvider

NOT_SENT = ("registration_access_token", "registration_client_uri", "client_id_issued_at", "client_secret_expires_at")
METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


def verified(server: OidcProvider, token: str, audience: str) -> dict[str, object]:
    """Return the claims of a JWT whose signature is valid under the server's keys."""
    keys = {key["kid"]: jwt.PyJWK(key).key for key in server.jwks()["keys"]}
    kid = jwt.get_unverified_header(token)["kid"]
    return jwt.decode(token, keys[kid], algorithms=["ES256"], audience=audience, issuer=server.issuer)


def test_it_is_discovered_at_both_paths_by_its_exact_issuer(oidc_provider: OidcProvider) -> None:
    documents = [oidc_provider.http.get(oidc_provider.issuer + path).json() for path in DISCOVERY]
    assert documents[0] == documents[1]
    assert documents[0]["issuer"] == oidc_provider.issuer
    endpoints = [value for name, value in documents[0].items() if name.endswith(("_endpoint", "_uri"))]
    assert all(endpoint.startswith(f"{oidc_provider.issuer}/") for endpoint in endpoints)


@pytest.mark.parametrize("method", METHODS)
def test_a_client_gets_introspects_and_revokes_a_token(oidc_provider: OidcProvider, method: str) -> None:
    client = oidc_provider.register(method)
    before = int(time.time())
    issued = oidc_provider.issue(client, "a:read a:write")
    assert {name: issued[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer", "expires_in": TTL, "scope": "a:read a:write",
    }  # fmt: skip
    told = oidc_provider.introspect(client, issued["access_token"])
    assert before <= told.pop("iat") <= time.time()
    assert before + TTL <= told.pop("exp") <= time.time() + TTL
    assert told == {
        "active": True, "client_id": client.id, "iss": oidc_provider.issuer, "scope": "a:read a:write", "token_type": "Bearer",
    }  # fmt: skip
    assert oidc_provider.revoke(client, issued["access_token"]).status_code == 200
    assert oidc_provider.introspect(client, issued["access_token"]) == {"active": False}
    assert oidc_provider.revoke(client, issued["access_token"]).status_code == 200


def test_id_and_secret_are_encoded_before_they_are_a_credential(oidc_provider: OidcProvider) -> None:
    client = oidc_provider.odd_client
    assert oidc_provider.issue(client)["access_token"]
    raw = oidc_provider.http.post(
        oidc_provider.metadata["token_endpoint"], data={"grant_type": "client_credentials"}, auth=(client.id, client.secret)
    )
    assert (raw.status_code, raw.json()["error"]) in {(400, "invalid_request"), (401, "invalid_client")}


@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_proves_nothing_gets_nothing(oidc_provider: OidcProvider, method: str) -> None:
    client, other = oidc_provider.register(method), oidc_provider.register(method)
    wrong = client._replace(secret=other.secret, key=other.key)
    for endpoint, form in (
        ("token", {"grant_type": "client_credentials"}), ("introspection", {"token": "x"}), ("revocation", {"token": "x"}),
    ):  # fmt: skip
        answer = oidc_provider.post(endpoint, wrong, **form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_an_assertion_is_taken_once_and_here_alone(oidc_provider: OidcProvider, other_oidc_provider: OidcProvider) -> None:
    client = oidc_provider.register("private_key_jwt")
    assert client.key is not None
    form = {
        "grant_type": "client_credentials", "client_assertion_type": ASSERTION,
        "client_assertion": oidc_provider.assertion(client.id, client.key),
    }  # fmt: skip
    answers = [oidc_provider.post("token", None, **form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 401]
    for claims in ({"aud": other_oidc_provider.issuer}, {"exp": int(time.time()) - 60}):
        form["client_assertion"] = oidc_provider.assertion(client.id, client.key, **claims)
        assert oidc_provider.post("token", None, **form).status_code == 401


def test_a_scope_that_it_does_not_know_is_left_out_silently(oidc_provider: OidcProvider) -> None:
    assert oidc_provider.issue(oidc_provider.client, "a:read nonsense")["scope"] == "a:read"
    assert oidc_provider.issue(oidc_provider.client, "a:read a:write", resource=NARROW)["scope"] == "a:read"
    assert "scope" not in oidc_provider.issue(oidc_provider.client, "nonsense")
    assert "scope" not in oidc_provider.issue(oidc_provider.client, None)


def test_a_scope_that_its_client_may_not_have_is_refused(oidc_provider: OidcProvider) -> None:
    client = oidc_provider.register(scope="a:read")
    assert oidc_provider.issue(client, "a:read")["scope"] == "a:read"
    answer = oidc_provider.post("token", client, grant_type="client_credentials", scope="a:read a:write")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_the_resource_decides_audience_and_lifetime(oidc_provider: OidcProvider) -> None:
    client = oidc_provider.client
    for resource, ttl in ((OPAQUE, TTL), (LONG, LONG_TTL)):
        issued = oidc_provider.issue(client, resource=resource)
        told = oidc_provider.introspect(client, issued["access_token"])
        assert (issued["expires_in"], told["exp"] - told["iat"], told["aud"]) == (ttl, ttl, resource)
    assert oidc_provider.issue(client, resource=LONG_JWT)["expires_in"] == LONG_TTL


@pytest.mark.parametrize("resource", ["https://api.example/unknown", "nonsense", [OPAQUE, JWT]])
def test_another_resource_is_refused(oidc_provider: OidcProvider, resource: str | list[str]) -> None:
    answer = oidc_provider.post("token", oidc_provider.client, grant_type="client_credentials", resource=resource)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


def test_a_jwt_is_verified_by_the_published_keys_and_cannot_be_introspected_or_revoked(oidc_provider: OidcProvider) -> None:
    client = oidc_provider.client
    token = oidc_provider.issue(client, "a:read", resource=JWT)["access_token"]
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    claims = verified(oidc_provider, token, JWT)
    assert (claims["sub"], claims["client_id"], claims["scope"]) == (client.id, client.id, "a:read")
    assert isinstance(claims["jti"], str)
    for endpoint in ("introspection", "revocation"):
        answer = oidc_provider.post(endpoint, client, token=token)
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_token_type")


def test_what_it_does_not_know_is_inactive_and_revoked_with_200(oidc_provider: OidcProvider) -> None:
    assert oidc_provider.introspect(oidc_provider.client, "unknown") == {"active": False}
    assert oidc_provider.revoke(oidc_provider.client, "unknown").status_code == 200


def test_the_token_of_another_client_stays_active_whatever_the_answer(oidc_provider: OidcProvider) -> None:
    """A client with a credential is refused, a public one is told 200."""
    token = oidc_provider.issue(oidc_provider.client)["access_token"]
    refused = oidc_provider.revoke(oidc_provider.other_client, token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert oidc_provider.revoke(oidc_provider.register("none"), token).status_code == 200
    assert oidc_provider.is_active(oidc_provider.client, token)


def test_a_token_means_nothing_to_another_server(oidc_provider: OidcProvider, other_oidc_provider: OidcProvider) -> None:
    token = oidc_provider.issue(oidc_provider.client)["access_token"]
    assert other_oidc_provider.introspect(other_oidc_provider.client, token) == {"active": False}
    assert oidc_provider.is_active(oidc_provider.client, token)
    assert oidc_provider.issuer != other_oidc_provider.issuer


def test_a_new_key_signs_and_the_old_one_is_published_until_it_is_dropped(authority: Authority, tmp_path: Path) -> None:
    with server_module.running(tmp_path / "rotating", authority) as server:
        before = server.issue(server.client, resource=JWT)["access_token"]
        opaque = server.issue(server.client)["access_token"]
        kid = server.rotate_key()
        after = server.issue(server.client, resource=JWT)["access_token"]
        assert jwt.get_unverified_header(after)["kid"] == kid != jwt.get_unverified_header(before)["kid"]
        assert verified(server, before, JWT)
        assert verified(server, after, JWT)
        server.forget_keys()
        assert [key["kid"] for key in server.jwks()["keys"]] == [kid]
        assert server.is_active(server.client, opaque)


def test_the_lifetime_of_an_instance_is_chosen_and_ends_a_token(authority: Authority, tmp_path: Path) -> None:
    with server_module.running(tmp_path / "short", authority, ttl=1) as server:
        issued = server.issue(server.client)
        assert issued["expires_in"] == 1
        assert server.is_active(server.client, issued["access_token"])
        until = time.monotonic() + 5
        while server.is_active(server.client, issued["access_token"]) and time.monotonic() < until:
            time.sleep(0.1)
        assert not server.is_active(server.client, issued["access_token"])


def test_registration_wants_the_initial_access_token(oidc_provider: OidcProvider) -> None:
    address = oidc_provider.metadata["registration_endpoint"]
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert oidc_provider.http.post(address, json={}, headers=headers).status_code in (400, 401)


def test_a_change_of_a_client_renews_its_registration_token_and_not_its_secret(oidc_provider: OidcProvider) -> None:
    registrar, client = oidc_provider.registrar, oidc_provider.register()
    read = registrar.manage("GET", client)
    assert read.json()["registration_access_token"] == client.registration_token
    kept = {name: value for name, value in read.json().items() if name not in NOT_SENT}
    changed = registrar.manage("PUT", client, kept)
    assert changed.status_code == 200
    assert changed.json()["client_secret"] == client.secret
    renewed = changed.json()["registration_access_token"]
    assert renewed != client.registration_token
    assert registrar.manage("GET", client).status_code == 401  # whoever did not save the new one is locked out
    client = client._replace(registration_token=renewed)
    assert oidc_provider.issue(client)["access_token"]
    token = oidc_provider.issue(client)["access_token"]
    assert registrar.manage("DELETE", client).status_code == 204
    assert oidc_provider.post("token", client, grant_type="client_credentials").status_code == 401
    assert oidc_provider.is_active(oidc_provider.client, token)  # the tokens of a client that is gone live on


def test_a_new_secret_is_not_to_be_had_by_a_change(oidc_provider: OidcProvider) -> None:
    """Rotation is by a new client, or by the key of ``private_key_jwt``, which a change does replace."""
    registrar, client = oidc_provider.registrar, oidc_provider.register()
    kept = {name: value for name, value in registrar.manage("GET", client).json().items() if name not in NOT_SENT}
    refused = registrar.manage("PUT", client, {**kept, "client_secret": "x" * 64})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")

    signing = oidc_provider.register("private_key_jwt")
    new = new_key()
    kept = {name: value for name, value in registrar.manage("GET", signing).json().items() if name not in NOT_SENT}
    assert registrar.manage("PUT", signing, {**kept, "jwks": {"keys": [public(new)]}}).status_code == 200
    assert oidc_provider.issue(signing._replace(key=new))
    assert oidc_provider.post("token", signing, grant_type="client_credentials").status_code == 401


@pytest.fixture
def exchanger(oidc_provider: OidcProvider) -> Client:
    return oidc_provider.register(grant_types=[EXCHANGE])


def test_the_identity_of_a_job_is_exchanged_for_a_token_of_its_subject(oidc_provider: OidcProvider, exchanger: Client) -> None:
    identity = oidc_provider.ci.identity(oidc_provider.issuer)
    issued = oidc_provider.exchange(exchanger, identity, resource=OPAQUE, scope="a:read nonsense")
    assert issued["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (issued["token_type"], issued["scope"]) == ("Bearer", "a:read")
    assert 290 <= issued["expires_in"] <= 300  # no longer than the identity lives
    told = oidc_provider.introspect(exchanger, issued["access_token"])
    assert (told["sub"], told["client_id"], told["aud"]) == ("repo:acme/app:ref:refs/heads/main", exchanger.id, OPAQUE)
    assert oidc_provider.revoke(exchanger, issued["access_token"]).status_code == 200
    assert not oidc_provider.is_active(exchanger, issued["access_token"])
    structured = oidc_provider.exchange(exchanger, identity, resource=JWT, scope="a:read")["access_token"]
    assert verified(oidc_provider, structured, JWT)["sub"] == told["sub"]


@pytest.mark.parametrize(
    ("changed", "form", "error"),
    [
        ({"aud": "https://elsewhere.example"}, {}, "invalid_request"),
        ({"exp": 1}, {}, "invalid_request"),
        ({"iss": "https://another.example"}, {}, "invalid_request"),
        ({"sub": ""}, {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({}, {"subject_token": "nonsense"}, "invalid_request"),
        ({}, {"subject_token": ""}, "invalid_request"),
        ({}, {"resource": "https://api.example/unknown"}, "invalid_target"),
    ],
)
def test_another_identity_is_not_exchanged(
    oidc_provider: OidcProvider, exchanger: Client, changed: dict[str, object], form: dict[str, str], error: str
) -> None:
    identity = oidc_provider.ci.identity(**{"audience": oidc_provider.issuer, **changed})
    asked = {"grant_type": EXCHANGE, "subject_token": identity, "subject_token_type": JWT_TYPE, "resource": OPAQUE, **form}
    answer = oidc_provider.post("token", exchanger, **asked)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_client_without_the_grant_exchanges_nothing(oidc_provider: OidcProvider) -> None:
    asked = {"subject_token": oidc_provider.ci.identity(oidc_provider.issuer), "subject_token_type": JWT_TYPE, "resource": OPAQUE}
    answer = oidc_provider.post("token", oidc_provider.client, grant_type=EXCHANGE, **asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
