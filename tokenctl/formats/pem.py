"""Public keys in PEM as JWK members, for who is told a key so."""

from __future__ import annotations

from tokenctl.errors import InvalidRequest
from tokenctl.formats.jwk import EC_CURVES, encode_base64url

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def public_members(pem: str) -> dict[str, str]:
    """Return the JWK members of a public key (RFC 7517, 7518); raises InvalidRequest for anything else (exit 2)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidRequest("not a public key in PEM") from None
    if isinstance(key, RSAPublicKey):
        rsa = key.public_numbers()
        return {"kty": "RSA", "n": _number(rsa.n, (rsa.n.bit_length() + 7) // 8), "e": _number(rsa.e, 3)}
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        curve = _CURVES[key.curve.name]
        point, size = key.public_numbers(), EC_CURVES[curve][1]
        return {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
    raise InvalidRequest("a public key of a kind that signs no JWT")


def _number(value: int, size: int) -> str:
    return encode_base64url(value.to_bytes(size))
