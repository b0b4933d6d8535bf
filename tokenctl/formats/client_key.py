"""The private key of a client (RFC 7523): a JWK, or PEM."""

from __future__ import annotations

import json

from tokenctl.errors import AccessDenied
from tokenctl.formats import strict_json
from tokenctl.formats.jwk import decode_base64url, encode_base64url, thumbprint
from tokenctl.formats.signing import SigningKey, generate
from tokenctl.secret import Secret

_LEAST_RSA_BITS = 2048
_NUMBERS = ("d", "n", "e", "p", "q", "dp", "dq", "qi")  # RFC 7518 section 6
_CURVES = {"P-256": "ES256"}


def read_private_key(secret: Secret) -> tuple[SigningKey, str | None]:
    """Return the key and its kid, ``None`` where it has none.

    An RSA key signs PS256, unless its JWK says RS256; P-256 signs ES256, Ed25519 signs EdDSA.

    Raises:
        AccessDenied: no such key (exit 4); the message holds nothing of it.
    """
    data = secret.reveal()
    try:
        return _from_jwk(data) if data.lstrip().startswith(b"{") else (_from_pem(data), None)
    except (ValueError, TypeError, KeyError, strict_json.MalformedJson):
        pass
    raise AccessDenied(
        "the credential is no private key that is understood",
        hint="a JWK or unencrypted PEM: P-256, Ed25519, RSA of 2048 bits or more", reason="credential_malformed",
    ) from None  # fmt: skip


def _from_pem(data: bytes) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _signer(load_pem_private_key(data, password=None), None)


def _from_jwk(data: bytes) -> tuple[SigningKey, str | None]:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    members = strict_json.read_object(data, what="the key")
    kid, algorithm = members.get("kid"), members.get("alg")
    raw = {
        name: decode_base64url(value)
        for name, value in members.items()
        if name in _NUMBERS and isinstance(value, str)
    }
    number = {name: int.from_bytes(value or b"", "big") for name, value in raw.items()}
    private: object
    if members.get("kty") == "EC" and members.get("crv") in _CURVES:
        private = ec.derive_private_key(number["d"], ec.SECP256R1())
    elif members.get("kty") == "OKP" and members.get("crv") == "Ed25519":
        private = Ed25519PrivateKey.from_private_bytes(raw["d"] or b"")
    elif members.get("kty") == "RSA":
        public = rsa.RSAPublicNumbers(number["e"], number["n"])
        private = rsa.RSAPrivateNumbers(
            number["p"], number["q"], number["d"], number["dp"], number["dq"], number["qi"], public
        ).private_key()
    else:
        raise ValueError
    return _signer(private, algorithm if isinstance(algorithm, str) else None), kid if isinstance(kid, str) else None


def _signer(private: object, algorithm: str | None) -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return SigningKey(algorithm="ES256", private=private)
    if isinstance(private, Ed25519PrivateKey):
        return SigningKey(algorithm="Ed25519" if algorithm == "Ed25519" else "EdDSA", private=private)
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= _LEAST_RSA_BITS:
        return SigningKey(algorithm="RS256" if algorithm == "RS256" else "PS256", private=private)
    raise ValueError


def successor(secret: Secret) -> Secret:
    """Make another key that signs by the same algorithm, as a JWK whose kid is its thumbprint; raises AccessDenied (exit 4)."""
    signer = generate(read_private_key(secret)[0].algorithm)
    kid = thumbprint(signer.public_jwk(""))
    return Secret(json.dumps({**signer.public_jwk(kid), **_private_members(signer)}, sort_keys=True))


def public_jwk(secret: Secret) -> dict[str, str]:
    """Return the public key, as its server is shown it; its kid is the thumbprint where it has none."""
    signer, kid = read_private_key(secret)
    members = _public_members(signer)
    return members | {"kid": kid or thumbprint(members), "alg": signer.algorithm, "use": "sig"}


def _public_members(signer: SigningKey) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(signer.private, RSAPrivateKey):
        return {name: value for name, value in signer.public_jwk("").items() if name not in ("kid", "alg", "use")}
    numbers = signer.private.public_key().public_numbers()  # of whatever size
    return {"kty": "RSA", "n": _written(numbers.n), "e": _written(numbers.e)}


def _private_members(signer: SigningKey) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(signer.private, RSAPrivateKey):
        return {"d": encode_base64url(signer.private_bytes())}
    numbers = signer.private.private_numbers()
    named = {"d": numbers.d, "p": numbers.p, "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    return {name: _written(number) for name, number in named.items()}


def _written(number: int) -> str:
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8))
