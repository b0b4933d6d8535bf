"""How a client proves itself to its authorization server.

Source: RFC 6749 section 2.3.1; RFC 7523 sections 2.2 and 3; OpenID Connect Core 1.0 section 9.
"""

from __future__ import annotations

import base64
import os
from typing import NamedTuple
from urllib.parse import quote_plus

from tokenctl.errors import AccessDenied, InvalidConfiguration
from tokenctl.model.times import SECOND
from tokenctl.operators import Credential

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFETIME = 60  # seconds that an assertion is good for


class Proof(NamedTuple):
    """What a request carries to prove the client."""

    headers: dict[str, str]
    form: dict[str, str]


def prove(credential: Credential, *, client_id: str | None, method: str, audience: str, now: int) -> Proof:
    """Return the proof for one request.

    Args:
        client_id: The profile's, for a credential that is not kept with its own.
        method: How the profile says that the client proves itself; a private key always signs.
        audience: Whom an assertion is for: the issuer.
        now: Milliseconds since the epoch.

    Raises:
        InvalidConfiguration: no client is named (exit 9).
        AccessDenied: the credential is of another kind (exit 4).
    """
    client = credential.client_id or client_id
    if client is None:
        raise InvalidConfiguration("the profile names no client", hint="tokenctl login --client-id ID", reason="no_client")
    if credential.method == "private_key" or method == "private_key_jwt":
        return Proof(
            {},
            {
                "client_id": client,
                "client_assertion_type": _ASSERTION,
                "client_assertion": _assertion(credential, client, audience, now),
            },
        )
    if credential.method != "secret":
        raise AccessDenied(
            f"the credential from {credential.source} is no client secret", hint="tokenctl login", reason="credential_malformed"
        )
    secret = credential.secret.reveal().decode("utf-8", "replace")
    if method == "client_secret_post":
        return Proof({}, {"client_id": client, "client_secret": secret})
    pair = f"{quote_plus(client)}:{quote_plus(secret)}".encode("ascii")
    return Proof({"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}, {})


def _assertion(credential: Credential, client: str, audience: str, now: int) -> str:
    from tokenctl.formats import jwt
    from tokenctl.formats.client_key import read_private_key

    signer, kid = read_private_key(credential.secret)
    header: dict[str, object] = {"alg": signer.algorithm, "typ": "JWT"}
    if kid is not None:
        header["kid"] = kid
    seconds = now // SECOND
    claims: dict[str, object] = {
        "iss": client, "sub": client, "aud": audience, "iat": seconds, "exp": seconds + _LIFETIME,
        "jti": base64.urlsafe_b64encode(os.urandom(18)).decode("ascii"),
    }  # fmt: skip
    return jwt.encode(header, claims, signer)
