"""An OAuth 2.0 authorization server as its plain client sees it: httpx, and nothing of the program that is tested.

It is what the tests of the servers use, and an oracle for others: what does the server itself say of that token?
"""

from __future__ import annotations

import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import httpx
import jwt

from tests.servers.authority import Authority

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DISCOVERY = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


class Client(NamedTuple):
    """A registered client.

    Attributes:
        method: Its ``token_endpoint_auth_method``; ``none`` is a public client.
        secret: Of the two methods with a secret, else empty.
        key: The private JWK of ``private_key_jwt``.
        registration_token: Manages it at ``registration_uri`` (RFC 7592), where it was registered dynamically.
    """

    id: str
    method: str = "client_secret_basic"
    secret: str = ""
    key: dict[str, Any] | None = None
    registration_uri: str = ""
    registration_token: str = ""


def new_key() -> dict[str, Any]:
    """Return a private EC key as a JWK with a kid."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {**key, "kid": str(uuid.uuid4()), "alg": "ES256", "use": "sig"}


def public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name != "d"}


def signed(key: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a JWT under this key (ES256)."""
    return jwt.encode(claims, jwt.PyJWK(key).key, algorithm="ES256", headers={"kid": key["kid"]})


class AuthorizationServer:
    """A server that runs.

    Attributes:
        issuer: Its identifier and address.
        ca_file: What its certificate is trusted by (PEM).
        seconds: How long it took to start.
        log: The file with everything that it wrote.
        http: A plain client that trusts it and follows no redirect.
    """

    def __init__(self, issuer: str, authority: Authority, seconds: float, log: Path) -> None:
        self.issuer = issuer
        self.ca_file = authority.file
        self.seconds = seconds
        self.log = log
        self.http = httpx.Client(verify=authority.client(), timeout=10, trust_env=False)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What its discovery document says (RFC 8414, else OpenID)."""
        answers = [self.http.get(self.issuer + path) for path in DISCOVERY]
        return dict(next(answer for answer in answers if answer.status_code == 200).json())

    def jwks(self) -> dict[str, Any]:
        return dict(self.http.get(self.metadata["jwks_uri"]).json())

    def post(self, endpoint: str, client: Client | None, **parameters: str | list[str]) -> httpx.Response:
        """Post a form to an endpoint, such as ``token`` or ``introspection``, authenticated as the client's method says."""
        data: dict[str, str | list[str]] = dict(parameters)
        auth: tuple[str, str] | None = None
        if client is not None:
            data, auth = self._authenticated(client, data)
        return self.http.post(
            self.metadata[f"{endpoint}_endpoint"], data=data, auth=httpx.USE_CLIENT_DEFAULT if auth is None else auth
        )

    def _authenticated(
        self, client: Client, data: dict[str, str | list[str]]
    ) -> tuple[dict[str, str | list[str]], tuple[str, str] | None]:
        if client.method == "client_secret_basic":
            # Form-encoded before they are joined by a colon: RFC 6749 section 2.3.1.
            return data, (quote_plus(client.id), quote_plus(client.secret))
        if client.method == "client_secret_post":
            return {**data, "client_id": client.id, "client_secret": client.secret}, None
        if client.method == "none":
            return {**data, "client_id": client.id}, None
        assert client.key is not None
        return {**data, "client_assertion_type": ASSERTION, "client_assertion": self.assertion(client.id, client.key)}, None

    def assertion(self, client: str, key: dict[str, Any], **claims: object) -> str:
        """Return what authenticates a client by its key (RFC 7523 section 3)."""
        now = int(time.time())
        own = {"iss": client, "sub": client, "aud": self.issuer, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
        return signed(key, {**own, **claims})

    def issue(self, client: Client, scope: str | None = "a:read", **parameters: str | list[str]) -> dict[str, Any]:
        """Obtain a token by client_credentials; return the whole answer."""
        if scope is not None:
            parameters["scope"] = scope
        answer = self.post("token", client, grant_type="client_credentials", **parameters)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def introspect(self, client: Client, token: str) -> dict[str, Any]:
        answer = self.post("introspection", client, token=token)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def is_active(self, client: Client, token: str) -> bool:
        return bool(self.introspect(client, token)["active"])

    def revoke(self, client: Client, token: str) -> httpx.Response:
        return self.post("revocation", client, token=token, token_type_hint="access_token")


class Registrar:
    """Dynamic registration (RFC 7591) and its management (RFC 7592), as a plain client does them."""

    def __init__(self, server: AuthorizationServer, initial_access_token: str | None) -> None:
        self._server = server
        self._initial = initial_access_token

    def register(self, method: str = "client_secret_basic", **metadata: object) -> Client:
        """Register a client of its own for whoever asks: tests that share a server share nothing else.

        Args:
            method: ``client_secret_basic``, ``client_secret_post``, ``private_key_jwt`` (its key is made here) or ``none``.
            metadata: Further client metadata, such as ``scope``.
        """
        key = new_key() if method == "private_key_jwt" else None
        asked = {"grant_types": ["client_credentials"], "response_types": [], "token_endpoint_auth_method": method, **metadata}
        if key is not None:
            asked["jwks"] = {"keys": [public(key)]}
        headers = {} if self._initial is None else {"Authorization": f"Bearer {self._initial}"}
        answer = self._server.http.post(self._server.metadata["registration_endpoint"], json=asked, headers=headers)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return Client(
            made["client_id"], method, made.get("client_secret", ""), key,
            made["registration_client_uri"], made["registration_access_token"],
        )  # fmt: skip

    def manage(self, method: str, client: Client, metadata: object = None) -> httpx.Response:
        """Read (GET), change (PUT) or delete (DELETE) a client by its registration access token."""
        headers = {"Authorization": f"Bearer {client.registration_token}"}
        return self._server.http.request(method, client.registration_uri, json=metadata, headers=headers)
