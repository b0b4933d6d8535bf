"""Private keys of clients: what is read signs as it should, and nothing of what is not read is told."""

from __future__ import annotations

import json

import jwt as oracle
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from jwcrypto.jwk import JWK

from tokenctl.errors import AccessDenied
from tokenctl.formats import jwt
from tokenctl.formats.client_key import read_private_key
from tokenctl.secret import Secret

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
KEYS: dict[str, Private] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def pem(key: Private, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def as_jwk(key: Private, **members: str) -> bytes:
    return json.dumps({**JWK.from_pem(pem(key)).export_private(as_dict=True), **members}).encode()


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("written", ["pem", "jwk"])
def test_a_key_signs_by_its_algorithm_and_another_library_agrees(algorithm: str, written: str) -> None:
    key = KEYS[algorithm]
    text = pem(key) if written == "pem" else as_jwk(key, kid="one")
    signer, kid = read_private_key(Secret(text + b"\n"))
    assert (signer.algorithm, kid) == (algorithm, None if written == "pem" else "one")
    token = jwt.encode({"alg": signer.algorithm}, {"sub": "client"}, signer)
    assert oracle.decode(token, key.public_key(), algorithms=[algorithm]) == {"sub": "client"}


def test_a_jwk_says_which_algorithm_of_its_type() -> None:
    assert read_private_key(Secret(as_jwk(KEYS["PS256"], alg="RS256")))[0].algorithm == "RS256"
    assert read_private_key(Secret(as_jwk(KEYS["EdDSA"], alg="Ed25519")))[0].algorithm == "Ed25519"


def test_the_traditional_form_of_openssl_is_read() -> None:
    assert read_private_key(Secret(pem(KEYS["ES256"], PrivateFormat.TraditionalOpenSSL)))[0].algorithm == "ES256"


def encrypted() -> bytes:
    return KEYS["ES256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))


def weak() -> bytes:
    return pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))


UNREAD = {
    "nothing": lambda: b"", "text": lambda: b"secret-of-nobody", "empty JWK": lambda: b"{}",
    "half JSON": lambda: b"{\"kty\": \"EC\", \"d\":",
    "public JWK": lambda: JWK.from_pem(pem(KEYS["ES256"])).export_public().encode(),
    "another curve": lambda: pem(ec.generate_private_key(ec.SECP384R1())), "encrypted": encrypted, "weak RSA": weak,
    "shared key": lambda: b'{"kty": "oct", "k": "AAAA"}', "d of zero": lambda: as_jwk(KEYS["ES256"], d="AA"),
    "d that is no base64url": lambda: as_jwk(KEYS["EdDSA"], d="*"),
    "RSA without its primes": lambda: json.dumps({"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_no_key_of_ours_is_refused_and_not_told(name: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        read_private_key(Secret(UNREAD[name]()))
    assert (caught.value.reason, caught.value.message) == (
        "credential_malformed", "the credential is no private key that is understood",
    )  # fmt: skip
    assert caught.value.__cause__ is None
