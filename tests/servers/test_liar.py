"""The lying server lies, and says what it is told to say."""

from __future__ import annotations

import jwt

from tests.servers.authorization_server import DISCOVERY, Client
from tests.servers.liar import DISCOVERY as DISCOVERED
from tests.servers.liar import INTROSPECTION, REVOCATION, TOKEN, Liar


def claims(token: str) -> dict[str, object]:
    return jwt.decode(token, options={"verify_signature": False})


def test_every_token_is_active_before_and_after_its_revocation(liar: Liar) -> None:
    token = liar.issue(liar.client)["access_token"]
    assert liar.introspect(liar.client, token) == {"active": True}
    answer = liar.revoke(liar.client, token)
    assert (answer.status_code, answer.content) == (200, b"")
    assert liar.introspect(liar.client, token) == {"active": True}
    assert liar.introspect(liar.client, "nonsense") == {"active": True}


def test_it_takes_any_client(liar: Liar) -> None:
    assert liar.issue(Client("nobody", secret="wrong"))["access_token"]
    assert liar.post("token", None, grant_type="client_credentials").status_code == 200


def test_it_is_discovered_at_the_openid_path_alone_by_its_own_issuer(liar: Liar) -> None:
    oauth, openid = (liar.http.get(liar.issuer + path) for path in DISCOVERY)
    assert (oauth.status_code, openid.status_code) == (404, 200)
    assert openid.json()["issuer"] == liar.issuer


def test_its_tokens_are_signed_and_have_no_subject_and_no_id(liar: Liar) -> None:
    issued = liar.issue(liar.client, "a:read")
    (key,) = liar.jwks()["keys"]
    told = jwt.decode(issued["access_token"], jwt.PyJWK(key).key, algorithms=["ES256"], issuer=liar.issuer)
    assert set(told) == {"iss", "iat", "exp", "nbf", "scope"}
    assert jwt.get_unverified_header(issued["access_token"])["typ"] == "JWT"


def test_an_answer_is_altered_while_the_block_lasts(liar: Liar) -> None:
    with liar.telling(TOKEN, scope=None, expires_in=86_400, token_type="bearer"):
        issued = liar.issue(liar.client, "a:read")
        assert {name: value for name, value in issued.items() if name != "access_token"} == {
            "expires_in": 86_400, "token_type": "bearer",
        }  # fmt: skip
    assert liar.issue(liar.client, "a:read")["scope"] == "a:read"
    with liar.telling(INTROSPECTION, active=False, exp=1.5):
        assert liar.introspect(liar.client, "x") == {"active": False, "exp": 1.5}
    assert liar.introspect(liar.client, "x") == {"active": True}
    with liar.telling(REVOCATION, status=503):
        assert liar.revoke(liar.client, "x").status_code == 503
    assert liar.revoke(liar.client, "x").status_code == 200


def test_discovery_can_name_another_issuer_and_endpoints_elsewhere(liar: Liar) -> None:
    address = liar.issuer + DISCOVERY[1]
    with liar.telling(DISCOVERED, issuer="https://another.example", introspection_endpoint="https://thief.example/introspect"):
        told = liar.http.get(address).json()
        assert (told["issuer"], told["introspection_endpoint"]) == ("https://another.example", "https://thief.example/introspect")
    assert liar.http.get(address).json()["issuer"] == liar.issuer


def test_the_claims_of_its_tokens_are_chosen(liar: Liar) -> None:
    with liar.claiming(aud="https://api.example", jti="one", exp=1):
        told = claims(liar.issue(liar.client)["access_token"])
        assert (told["aud"], told["jti"], told["exp"]) == ("https://api.example", "one", 1)
    assert "jti" not in claims(liar.issue(liar.client)["access_token"])
