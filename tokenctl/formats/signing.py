"""Our own signing keys: made, sealed form, public JWK, signature.

ES256 is the default, since every verifier has it. A private key leaves as raw numbers, never PEM: the loaders
of PEM cost more start-up time than the signature, and text is easier to leak. Sealing is not done here.

Source: RFC 7518 sections 3.3 to 3.5 and 6; RFC 8037 section 3.1; RFC 9864 section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenctl.errors import IntegrityError, InternalError, InvalidRequest
from tokenctl.formats.jwk import EDDSA_ALGORITHMS, encode_base64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

DEFAULT_ALGORITHM = "ES256"
ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
RSA_BITS = 3072
RSA_EXPONENT = 65537

_SCALAR_BYTES = 32  # P-256 scalar and coordinate, Ed25519 seed
_PRIME_BYTES = RSA_BITS // 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key bound to one algorithm; made by :func:`generate` or :func:`load`."""

    algorithm: str
    private: EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey = field(repr=False, compare=False)

    def private_bytes(self) -> bytes:
        """Return what is to be sealed.

        ES256: the scalar, 32 bytes. Ed25519: the seed, 32 bytes. RSA: both primes, 192 bytes each.
        Numbers are big-endian.
        """
        if self.algorithm == "ES256":
            return _ec(self).private_numbers().private_value.to_bytes(_SCALAR_BYTES)
        if self.algorithm in EDDSA_ALGORITHMS:
            return _ed25519(self).private_bytes_raw()
        numbers = _rsa(self).private_numbers()
        return numbers.p.to_bytes(_PRIME_BYTES) + numbers.q.to_bytes(_PRIME_BYTES)

    def public_jwk(self, kid: str) -> dict[str, str]:
        """Return the public key as a JWK Set exports it: never a private member."""
        return {**self._public_members(), "kid": kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, data: bytes) -> bytes:
        """Sign bytes as JWS wants it: ES256 as r and s of 32 bytes each, PS256 with a salt of 32 bytes."""
        if self.algorithm in EDDSA_ALGORITHMS:
            return _ed25519(self).sign(data)
        from cryptography.hazmat.primitives.hashes import SHA256

        if self.algorithm == "ES256":
            from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
            from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

            r, s = decode_dss_signature(_ec(self).sign(data, ECDSA(SHA256())))
            return r.to_bytes(_SCALAR_BYTES) + s.to_bytes(_SCALAR_BYTES)
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15

        if self.algorithm == "RS256":
            return _rsa(self).sign(data, PKCS1v15(), SHA256())
        return _rsa(self).sign(data, PSS(mgf=MGF1(SHA256()), salt_length=SHA256.digest_size), SHA256())

    def _public_members(self) -> dict[str, str]:
        if self.algorithm == "ES256":
            point = _ec(self).public_key().public_numbers()
            x, y = (encode_base64url(value.to_bytes(_SCALAR_BYTES)) for value in (point.x, point.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        if self.algorithm in EDDSA_ALGORITHMS:
            x = encode_base64url(_ed25519(self).public_key().public_bytes_raw())
            return {"kty": "OKP", "crv": "Ed25519", "x": x}
        numbers = _rsa(self).public_key().public_numbers()
        n = encode_base64url(numbers.n.to_bytes(RSA_BITS // 8))
        return {"kty": "RSA", "n": n, "e": encode_base64url(numbers.e.to_bytes(3))}


def generate(algorithm: str = DEFAULT_ALGORITHM) -> SigningKey:
    """Make a new key from the system's random source.

    Raises:
        InvalidRequest: not one of ``ALGORITHMS`` (exit 2).
    """
    _check_algorithm(algorithm)
    if algorithm == "ES256":
        from cryptography.hazmat.primitives.asymmetric import ec

        return SigningKey(algorithm=algorithm, private=ec.generate_private_key(ec.SECP256R1()))
    if algorithm in EDDSA_ALGORITHMS:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return SigningKey(algorithm=algorithm, private=Ed25519PrivateKey.generate())
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    return SigningKey(algorithm=algorithm, private=generate_private_key(RSA_EXPONENT, RSA_BITS))


def load(algorithm: str, private_bytes: bytes) -> SigningKey:
    """Build a key again from :meth:`SigningKey.private_bytes`.

    Raises:
        InvalidRequest: not one of ``ALGORITHMS`` (exit 2).
        IntegrityError: the bytes are no such key (exit 10).
    """
    _check_algorithm(algorithm)
    try:
        if algorithm == "ES256":
            return SigningKey(algorithm=algorithm, private=_load_ec(private_bytes))
        if algorithm in EDDSA_ALGORITHMS:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            seed = Ed25519PrivateKey.from_private_bytes(private_bytes)
            return SigningKey(algorithm=algorithm, private=seed)
        return SigningKey(algorithm=algorithm, private=_load_rsa(private_bytes))
    except ValueError:
        raise IntegrityError(f"the private key is no {algorithm} key") from None


def _load_ec(scalar: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(scalar) != _SCALAR_BYTES:
        raise ValueError
    return ec.derive_private_key(int.from_bytes(scalar), ec.SECP256R1())


def _load_rsa(primes: bytes) -> RSAPrivateKey:
    from math import lcm

    from cryptography.hazmat.primitives.asymmetric import rsa

    if len(primes) != 2 * _PRIME_BYTES:
        raise ValueError
    p, q = int.from_bytes(primes[:_PRIME_BYTES]), int.from_bytes(primes[_PRIME_BYTES:])
    if (p * q).bit_length() != RSA_BITS:
        raise ValueError
    # Of one prime twice, or of numbers without inverse, pow raises.
    d = pow(RSA_EXPONENT, -1, lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(e=RSA_EXPONENT, n=p * q),
    )
    # The envelope authenticates the primes; OpenSSL's own test of them would take longer than the signature.
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _check_algorithm(algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise InvalidRequest("cannot sign with this algorithm", hint=f"use one of {' '.join(ALGORITHMS)}")


def _ec(key: SigningKey) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    if not isinstance(key.private, EllipticCurvePrivateKey):
        raise InternalError("the signing key is of another type than its algorithm")
    return key.private


def _ed25519(key: SigningKey) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not isinstance(key.private, Ed25519PrivateKey):
        raise InternalError("the signing key is of another type than its algorithm")
    return key.private


def _rsa(key: SigningKey) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(key.private, RSAPrivateKey):
        raise InternalError("the signing key is of another type than its algorithm")
    return key.private
