"""Keys that verify: JWK, JWK Set, thumbprint, and the strict base64url of all JOSE.

A key becomes either a :class:`VerificationKey`, bound to the algorithms it may verify, or a
:class:`RejectedKey` with a reason. What a key may do is decided here from the key alone; the token has no say
in it (RFC 8725 section 3.1).
``cryptography`` is imported for the kind of key at hand only: its modules cost more than the verification.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tokenctl.errors import InvalidRequest
from tokenctl.formats.strict_json import read_object

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MAX_KEY_SET = 256 * 1024  # bytes
MAX_KEYS = 100
HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
EDDSA_ALGORITHMS = frozenset({"EdDSA", "Ed25519"})  # RFC 8037 and its fully specified name, RFC 9864
EC_CURVES = {"P-256": ("ES256", 32), "P-384": ("ES384", 48), "P-521": ("ES512", 66)}  # alg, coordinate bytes

MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
MAX_RSA_BITS = 16384  # OpenSSL's own limit
MIN_RSA_EXPONENT = 65537  # FIPS 186-5 section 5.4, as the next
MAX_RSA_EXPONENT_BITS = 256

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_TO_BASE64 = str.maketrans("-_", "+/")
_FROM_BASE64 = bytes.maketrans(b"+/", b"-_")
_ROCA_PRIMES = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip
_P25519 = (1 << 255) - 19
_D25519 = -121665 * pow(121666, -1, _P25519) % _P25519
_Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = (0, 1, _P25519 - 1, _Y_OF_ORDER_8, _P25519 - _Y_OF_ORDER_8)
_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth")
_THUMBPRINT_MEMBERS = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "oct": ("k", "kty"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A key that may verify.

    Attributes:
        kid: Its id in the set, if it has one.
        kty: ``RSA``, ``EC``, ``OKP`` or ``oct``.
        algorithms: The one declared algorithm (two names where that is ``EdDSA``), or all that fit the key.
        material: The public key, or the bytes of an HMAC key.
        thumbprint: RFC 7638; ``None`` for ``oct``, whose hash would help a guess (RFC 7638 section 7).
        carried_private: Whether the JWK held the private part too; it was not read.
    """

    kid: str | None
    kty: str
    algorithms: frozenset[str]
    material: PublicKey | bytes = field(repr=False)
    thumbprint: str | None
    carried_private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedKey:
    """A key that must not verify, and why; the reason holds nothing of the key."""

    kid: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The keys a verifier trusts; made by :func:`read_key_set` or :func:`key_set`."""

    keys: tuple[VerificationKey, ...] = ()
    rejected: tuple[RejectedKey, ...] = ()


class UnusableKey(InvalidRequest):
    """A JWK that must not verify (exit 2)."""


def encode_base64url(data: bytes) -> str:
    """Encode without padding. Source: RFC 7515 section 2."""
    return binascii.b2a_base64(data, newline=False).translate(_FROM_BASE64).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """Decode the one canonical spelling: no padding, no white space, trailing bits zero.

    Returns:
        The bytes, or ``None`` where the text is spelled in any other way.

    Source: RFC 7515 section 2; RFC 4648 sections 3.2, 3.3, 3.5.
    """
    if len(text) % 4 == 1 or not _BASE64URL.fullmatch(text):
        return None
    data = binascii.a2b_base64(text.translate(_TO_BASE64) + "=" * (-len(text) % 4))
    return data if encode_base64url(data) == text else None


def read_key_set(data: bytes) -> KeySet:
    """Read a JWK or a JWK Set.

    Keys of an unknown ``kty`` are passed over, unusable ones are kept as rejected (RFC 7517 section 5).

    Raises:
        InvalidRequest: too large, not strict JSON, of no such shape, or refused whole as in :func:`key_set`
            (exit 2).
    """
    if len(data) > MAX_KEY_SET:
        raise InvalidRequest(f"the key set is larger than {MAX_KEY_SET // 1024} KiB")
    document = read_object(data, what="the key set")
    if "keys" not in document:
        if "kty" not in document:
            raise InvalidRequest("the document is no JWK or JWK Set", hint="it needs a member kty or keys")
        return key_set([document])
    if "kty" in document:
        raise InvalidRequest("the document is a JWK and a JWK Set at once")
    members = document["keys"]
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise InvalidRequest("the member keys of the key set is no list of objects")
    if len(members) > MAX_KEYS:
        raise InvalidRequest(f"the key set holds more than {MAX_KEYS} keys")
    return key_set(members)


def key_set(jwks: Iterable[Mapping[str, object]]) -> KeySet:
    """Build a key set from parsed JWKs, our own stored ones included.

    Raises:
        InvalidRequest: symmetric and asymmetric keys together (an HMAC key beside public keys is how
            algorithms get confused), or two keys of one kid, so that a token could mean either (exit 2).

    Source: RFC 7517 sections 4.5 and 5; RFC 8725 sections 3.1 and 3.2.
    """
    known = [jwk for jwk in jwks if not isinstance(kty := jwk.get("kty"), str) or kty in _THUMBPRINT_MEMBERS]
    if len({kty == "oct" for jwk in known if isinstance(kty := jwk.get("kty"), str)}) > 1:
        raise InvalidRequest("the key set mixes symmetric and asymmetric keys", reason="mixed_key_set")
    kids = Counter(kid for jwk in known if isinstance(kid := jwk.get("kid"), str))
    if any(count > 1 for count in kids.values()):
        raise InvalidRequest("the key set holds two keys of one kid", reason="duplicate_kid")
    keys: list[VerificationKey] = []
    rejected: list[RejectedKey] = []
    for jwk in known:
        try:
            keys.append(verification_key(jwk))
        except UnusableKey as error:
            kid = jwk.get("kid")
            rejected.append(RejectedKey(kid=kid if isinstance(kid, str) else None, reason=error.message))
    return KeySet(keys=tuple(keys), rejected=tuple(rejected))


def verification_key(jwk: Mapping[str, object]) -> VerificationKey:
    """Build one verification key.

    Raises:
        UnusableKey: the key is malformed, too weak, or not meant to verify (exit 2).

    Source: RFC 7517 section 4; RFC 7518 sections 3 and 6; RFC 8037 section 2.
    """
    kty = _text(jwk, "kty")
    if kty not in _READERS:
        raise UnusableKey("the kty is not known")
    kid = _text(jwk, "kid") if "kid" in jwk else None
    _check_purpose(jwk)
    material, algorithms = _READERS[kty](jwk)
    if "alg" in jwk:
        declared = _text(jwk, "alg")
        if declared not in algorithms:
            raise UnusableKey("its alg does not fit: no signature, another kind of key, or a key too short")
        # EdDSA names the family: on this curve it and Ed25519 are one algorithm (RFC 9864 section 2.2).
        algorithms = EDDSA_ALGORITHMS if declared == "EdDSA" else frozenset({declared})
    return VerificationKey(
        kid=kid,
        kty=kty,
        algorithms=algorithms,
        material=material,
        thumbprint=None if kty == "oct" else thumbprint(jwk),
        carried_private=kty != "oct" and any(member in jwk for member in _PRIVATE_MEMBERS),
    )


def thumbprint(jwk: Mapping[str, object]) -> str:
    """Return the SHA-256 thumbprint in base64url.

    Raises:
        UnusableKey: unknown ``kty``, or a required member is missing or no string (exit 2).

    Source: RFC 7638 section 3; RFC 8037 section 2.
    """
    members = _THUMBPRINT_MEMBERS.get(_text(jwk, "kty"))
    if members is None:
        raise UnusableKey("the kty is not known")
    required = {member: _text(jwk, member) for member in members}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return encode_base64url(hashlib.sha256(canonical.encode()).digest())


def _check_purpose(jwk: Mapping[str, object]) -> None:
    if "use" in jwk and jwk["use"] != "sig":
        raise UnusableKey("its use is not sig")
    if "key_ops" not in jwk:
        return
    operations = jwk["key_ops"]
    if not isinstance(operations, list) or not all(isinstance(operation, str) for operation in operations):
        raise UnusableKey("its key_ops is no list of strings")
    if len(set(operations)) != len(operations):
        raise UnusableKey("its key_ops repeats a value")
    if "verify" not in operations:
        raise UnusableKey("its key_ops does not hold verify")


def _text(jwk: Mapping[str, object], member: str) -> str:
    value = jwk.get(member)
    if not isinstance(value, str):
        raise UnusableKey(f"its {member} is missing or no string")
    return value


def _bytes(jwk: Mapping[str, object], member: str) -> bytes:
    value = decode_base64url(_text(jwk, member))
    if value is None:
        raise UnusableKey(f"its {member} is no strict base64url")
    return value


def _unsigned(jwk: Mapping[str, object], member: str) -> int:
    value = _bytes(jwk, member)
    if not value or value[0] == 0:  # RFC 7518 section 2: Base64urlUInt has the fewest octets
        raise UnusableKey(f"its {member} is empty, zero or starts with a zero octet")
    return int.from_bytes(value)


def _read_rsa(jwk: Mapping[str, object]) -> tuple[PublicKey, frozenset[str]]:
    modulus, exponent = _unsigned(jwk, "n"), _unsigned(jwk, "e")
    if flaw := _rsa_flaw(modulus, exponent):
        raise UnusableKey(flaw)
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    try:
        return RSAPublicNumbers(e=exponent, n=modulus).public_key(), RSA_ALGORITHMS
    except ValueError:
        raise UnusableKey("its numbers are no RSA key") from None


def _read_ec(jwk: Mapping[str, object]) -> tuple[PublicKey, frozenset[str]]:
    name = _text(jwk, "crv")
    if name not in EC_CURVES:
        raise UnusableKey("its curve is none of P-256, P-384, P-521")
    algorithm, size = EC_CURVES[name]
    x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
    if len(x) != size or len(y) != size:
        raise UnusableKey(f"a coordinate is not {size} bytes long")
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    try:
        numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curves[name])
        return numbers.public_key(), frozenset({algorithm})
    except ValueError:
        raise UnusableKey("its point is not on the curve") from None


def _read_okp(jwk: Mapping[str, object]) -> tuple[PublicKey, frozenset[str]]:
    if _text(jwk, "crv") != "Ed25519":
        raise UnusableKey("its curve is not Ed25519")
    x = _bytes(jwk, "x")
    if flaw := _ed25519_flaw(x):
        raise UnusableKey(flaw)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return Ed25519PublicKey.from_public_bytes(x), EDDSA_ALGORITHMS
    except ValueError:
        raise UnusableKey("its point is not on the curve") from None


def _read_oct(jwk: Mapping[str, object]) -> tuple[bytes, frozenset[str]]:
    secret = _bytes(jwk, "k")
    # RFC 7518 section 3.2: a key of the hash's size or larger MUST be used.
    algorithms = frozenset(algorithm for algorithm, size in HASH_BYTES.items() if len(secret) >= size)
    if not algorithms:
        raise UnusableKey("its HMAC key is shorter than 32 bytes")
    return secret, algorithms


def _rsa_flaw(modulus: int, exponent: int) -> str | None:
    if modulus.bit_length() < MIN_RSA_BITS:
        return f"its RSA modulus is shorter than {MIN_RSA_BITS} bits"
    if modulus.bit_length() > MAX_RSA_BITS:
        return f"its RSA modulus is longer than {MAX_RSA_BITS} bits"
    if modulus % 2 == 0:
        return "its RSA modulus is even"
    if exponent < MIN_RSA_EXPONENT or exponent % 2 == 0 or exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
        return f"its RSA exponent is even, below {MIN_RSA_EXPONENT} or beyond {MAX_RSA_EXPONENT_BITS} bits"
    if _is_roca(modulus):
        return "its RSA modulus shows the ROCA fingerprint (CVE-2017-15361)"
    return None


def _is_roca(modulus: int) -> bool:
    """Tell a modulus of the broken Infineon generator: a power of 65537 modulo each of many small primes.

    A sound modulus passes for one by chance about once in 2^28.

    Source: Nemec et al., The Return of Coppersmith's Attack, CCS 2017, section 3.
    """
    return all(modulus % prime in _powers_of_65537(prime) for prime in _ROCA_PRIMES)


def _powers_of_65537(prime: int) -> set[int]:
    powers, power = set[int](), 1
    while power not in powers:
        powers.add(power)
        power = power * 65537 % prime
    return powers


def _ed25519_flaw(x: bytes) -> str | None:
    """Refuse what OpenSSL lets pass: under a key of small order one signature fits every message.

    Source: RFC 8032 sections 5.1.3 and 5.1.7.
    """
    if len(x) != 32:
        return "its x is not 32 bytes long"
    y = int.from_bytes(x, "little") & ((1 << 255) - 1)
    if y >= _P25519:
        return "its point is not canonical"
    if y in _SMALL_ORDER_Y:
        return "its point is of small order"
    numerator, denominator = y * y - 1, _D25519 * y * y + 1
    if pow(numerator * denominator, (_P25519 - 1) // 2, _P25519) != 1:
        return "its point is not on the curve"
    return None


_READERS: dict[str, Callable[[Mapping[str, object]], tuple[PublicKey | bytes, frozenset[str]]]] = {
    "RSA": _read_rsa,
    "EC": _read_ec,
    "OKP": _read_okp,
    "oct": _read_oct,
}
