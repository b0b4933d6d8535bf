"""The JWT on the wire: read without trust, verified by keys that the caller trusts, written.

Header and claims are parsed once, here, and the bytes parsed are the bytes verified. Trust is in the type:
only :func:`verify_signature` makes a :class:`VerifiedToken`. Nothing in a token is ever a source of keys or
leads to a connection: ``jwk jku x5u x5c`` are carried as data and not read. Claims are judged in
``model.checks``.

Source: RFC 7515 sections 4, 5.2, 7.1; RFC 7519 section 7.2; RFC 8725 section 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Literal

from tokenctl.errors import InternalError, InvalidRequest
from tokenctl.formats.jwk import (
    EC_CURVES,
    EDDSA_ALGORITHMS,
    HASH_BYTES,
    RSA_ALGORITHMS,
    KeySet,
    VerificationKey,
    decode_base64url,
    encode_base64url,
)
from tokenctl.formats.strict_json import MalformedJson, read_object
from tokenctl.model.checks import Check, shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from tokenctl.formats.signing import SigningKey

MAX_TOKEN = 64 * 1024  # characters
_COORDINATE_BYTES = dict(EC_CURVES.values())
ALGORITHMS = frozenset({*HASH_BYTES, *RSA_ALGORITHMS, *_COORDINATE_BYTES, *EDDSA_ALGORITHMS})
_ED25519_SIGNATURE_BYTES = 64
_SEAL = object()
_SHORT_SIGNATURE, _LONG_SIGNATURE = 86, 512  # characters: 64 bytes, and those of RSA with 3072 bits
_SMALL = 1 << 53  # what a reader with floating-point numbers still takes exactly
_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

Verdict = Literal["valid", "invalid", "not_checked"]


class MalformedToken(InvalidRequest):
    """No compact JWS that we read; ``reason`` is ``malformed``, ``encrypted`` or ``too_long`` (exit 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """A token of the right form; nothing of it is proved.

    Attributes:
        header: The protected header.
        claims: The claims set, or ``None`` where the payload is none; ``claims_flaw`` says why.
        payload: The payload's bytes, which may be anything (RFC 7515).
        signing_input: The ASCII bytes under the signature.
        signature: The signature's bytes, empty where the token has none.
    """

    header: dict[str, object] = field(repr=False)
    claims: dict[str, object] | None = field(repr=False)
    claims_flaw: str | None
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token whose signature holds under a trusted key; its claims are still to be checked."""

    header: dict[str, object] = field(repr=False)
    claims: dict[str, object] | None = field(repr=False)
    payload: bytes = field(repr=False)
    key: VerificationKey
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise InternalError("only a verified signature makes a verified token")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureResult:
    """What came of a signature.

    Attributes:
        verdict: ``valid`` goes with a token; ``not_checked`` only where no keys were given.
        checks: ``header``, ``key``, ``signature``: all that failed, else what passed.
        key: The key that the token selected, also where its signature is wrong.
        token: The verified token, only where the verdict is ``valid``.
    """

    verdict: Verdict
    checks: list[Check]
    key: VerificationKey | None = None
    token: VerifiedToken | None = None


def decode_unverified(text: str) -> UnverifiedToken:
    """Take a compact JWS apart without believing it.

    Args:
        text: Exactly the token: no white space around it.

    Raises:
        MalformedToken: too long, encrypted, not three parts of strict base64url, or its header no JSON
            object (exit 2).

    Source: RFC 7515 section 5.2, steps 1 to 6; RFC 7516 section 9 for telling a JWE.
    """
    if len(text) > MAX_TOKEN:
        raise MalformedToken(f"the token is longer than {MAX_TOKEN // 1024} KiB", reason="too_long")
    parts = text.split(".")
    if len(parts) == 5:
        raise MalformedToken("the token is encrypted, not opened", reason="encrypted")
    if len(parts) != 3:
        raise MalformedToken("the token is not of three parts", reason="malformed")
    decoded = [decode_base64url(part) for part in parts]
    for name, value in zip(("header", "payload", "signature"), decoded, strict=True):
        if value is None:
            raise MalformedToken(f"the {name} is no strict base64url", reason="malformed")
    header_bytes, payload, signature = (value or b"" for value in decoded)
    try:
        header = read_object(header_bytes, what="the header")
    except MalformedJson as error:
        raise MalformedToken(error.message, reason="malformed") from None
    if "enc" in header:
        raise MalformedToken("the token is encrypted, not opened", reason="encrypted")
    claims, flaw = _read_claims(payload)
    return UnverifiedToken(
        header=header,
        claims=claims,
        claims_flaw=flaw,
        payload=payload,
        signing_input=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
    )


def verify(token: UnverifiedToken, keys: KeySet) -> VerifiedToken | SignatureResult:
    """Return the verified token, or the result that says why there is none."""
    result = verify_signature(token, keys)
    return result.token or result


def verify_signature(token: UnverifiedToken, keys: KeySet | None) -> SignatureResult:
    """Check the signature of a token under the keys that the caller trusts.

    Args:
        token: From :func:`decode_unverified`.
        keys: The trusted keys; ``None`` where there are none to check with.
    """
    flaws = _header_flaws(token.header)
    if flaws:
        return _invalid("header", *flaws)
    if keys is None:
        unasked = Check(name="signature", ok=None, detail="no key to check with")
        return SignatureResult(verdict="not_checked", checks=[unasked])
    algorithm = str(token.header["alg"])
    kid = token.header.get("kid")
    key = _select(keys, kid=kid if isinstance(kid, str) else None, algorithm=algorithm)
    if isinstance(key, str):
        return _invalid("key", key)
    if not _holds(algorithm, key, token.signing_input, token.signature):
        return _invalid("signature", "the signature does not match", key=key)
    return SignatureResult(
        verdict="valid",
        checks=[Check(name="signature", ok=True)],
        key=key,
        token=VerifiedToken(header=token.header, claims=token.claims, payload=token.payload, key=key, seal=_SEAL),
    )


def encode(header: Mapping[str, object], claims: Mapping[str, object], signer: SigningKey) -> str:
    """Write and sign a compact JWT.

    Args:
        header: Its ``alg`` may be left out; an Ed25519 key may sign as ``EdDSA`` or ``Ed25519``.
        claims: The claims set; NumericDate in seconds.
        signer: The private key.

    Raises:
        InvalidRequest: a claim is no JSON value, or the token would be longer than ``MAX_TOKEN`` (exit 2).
    """
    names = EDDSA_ALGORITHMS if signer.algorithm in EDDSA_ALGORITHMS else {signer.algorithm}
    if header.get("alg", signer.algorithm) not in names:
        raise InternalError("the header names another algorithm than the key")
    signing_input = f"{_json_part({'alg': signer.algorithm, **header})}.{_json_part(dict(claims))}"
    text = f"{signing_input}.{encode_base64url(signer.sign(signing_input.encode('ascii')))}"
    _check_length(len(text))
    return text


def require_length(header: Mapping[str, object], claims: Mapping[str, object], algorithm: str) -> None:
    """Refuse what :func:`encode` would refuse as too long, without a key.

    Raises:
        InvalidRequest: a claim is no JSON value, or the token would be longer than ``MAX_TOKEN`` (exit 2).
    """
    signature = _LONG_SIGNATURE if algorithm in RSA_ALGORITHMS else _SHORT_SIGNATURE
    _check_length(len(_json_part(dict(header))) + len(_json_part(dict(claims))) + 2 + signature)


def _check_length(length: int) -> None:
    if length > MAX_TOKEN:
        raise InvalidRequest(f"the token would be longer than {MAX_TOKEN // 1024} KiB")


def _json_part(members: dict[str, object]) -> str:
    try:
        data = _written(members).encode()
        if not all(map(_is_plain, members.values())):
            read_object(data, what="the token")  # never issue what our own reader would refuse
    except (MalformedJson, TypeError, ValueError, RecursionError):
        raise InvalidRequest("a claim is no strict JSON value") from None
    return encode_base64url(data)


def _is_plain(value: object) -> bool:
    """Whether a value is one that every reader takes: a text, a small number, a list of texts."""
    if isinstance(value, list):
        return all(isinstance(entry, str) for entry in value)
    return isinstance(value, str) or (type(value) is int and abs(value) < _SMALL)


def _read_claims(payload: bytes) -> tuple[dict[str, object] | None, str | None]:
    try:
        return read_object(payload, what="the payload"), None
    except MalformedJson as error:
        return None, error.message


def _header_flaws(header: Mapping[str, object]) -> list[str]:
    """Say all that forbids a signature whatever the key.

    ``jwk jku x5u x5c`` are no flaw: a token may carry them, and they are not read (RFC 8725 section 3.10).
    Other unknown members are passed over (RFC 7515 section 4).
    """
    flaws = []
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        flaws.append("its alg is missing or no string")
    elif algorithm.lower() == "none":
        flaws.append("its alg is none: the token is not signed")
    elif algorithm not in ALGORITHMS:
        flaws.append(f"its alg is not allowed: {shown(algorithm)}")
    flaws += [f"its {name} is no string" for name in ("kid", "typ", "cty") if not isinstance(header.get(name, ""), str)]
    if "crit" in header:  # no extension is understood, so every list fails; an empty one is forbidden
        flaws.append("its crit demands an extension that is not understood, or is malformed")
    if "b64" in header:  # RFC 7797 changes what the signature covers; RFC 7519 forbids it in a JWT
        flaws.append("its b64 is not allowed in a token")
    return flaws


def _select(keys: KeySet, *, kid: str | None, algorithm: str) -> VerificationKey | str:
    """Choose the one key that may verify, or say why there is none.

    A kid decides where the set has kids. Without one, exactly one key must fit the algorithm: trying all of
    them would let a token verify under a key that its issuer did not mean.

    Source: RFC 7515 section 4.1.4; OpenID Connect Core section 10.1 (several keys demand a kid).
    """
    kids = {key.kid for key in keys.keys} | {key.kid for key in keys.rejected}
    if kid is not None and kids - {None}:
        return _by_kid(keys, kid=kid, algorithm=algorithm)
    candidates = [key for key in keys.keys if algorithm in key.algorithms]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        return "several keys fit and the token names none of them"
    if keys.rejected:
        return f"no usable key fits the algorithm; one was rejected: {keys.rejected[0].reason}"
    return "no key fits the algorithm of the token"


def _by_kid(keys: KeySet, *, kid: str, algorithm: str) -> VerificationKey | str:
    for rejected in keys.rejected:
        if rejected.kid == kid:
            return f"the key was rejected: {rejected.reason}"
    for key in keys.keys:
        if key.kid == kid:
            return key if algorithm in key.algorithms else "the key is not for the algorithm of the token"
    return "no key has the kid of the token"


def _holds(algorithm: str, key: VerificationKey, data: bytes, signature: bytes) -> bool:
    if algorithm in HASH_BYTES:
        import hmac

        assert isinstance(key.material, bytes)
        return hmac.compare_digest(hmac.digest(key.material, data, f"sha{algorithm[2:]}"), signature)
    from cryptography.exceptions import InvalidSignature

    try:
        _verify_asymmetric(algorithm, key, data, signature)
    except (InvalidSignature, ValueError):
        return False
    return True


def _verify_asymmetric(algorithm: str, key: VerificationKey, data: bytes, signature: bytes) -> None:
    """Return only where the signature holds; raise InvalidSignature or ValueError otherwise."""
    if algorithm in EDDSA_ALGORITHMS:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        assert isinstance(key.material, Ed25519PublicKey)
        if len(signature) != _ED25519_SIGNATURE_BYTES:
            raise ValueError
        key.material.verify(signature, data)
    elif algorithm in RSA_ALGORITHMS:
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

        assert isinstance(key.material, RSAPublicKey)
        if len(signature) != (key.material.key_size + 7) // 8:
            raise ValueError
        digest = _hash_of(algorithm)
        # RFC 7518 section 3.5: the salt is as long as the hash, not of any length.
        pss = PSS(mgf=MGF1(digest), salt_length=digest.digest_size)
        key.material.verify(signature, data, PKCS1v15() if algorithm.startswith("RS") else pss, digest)
    else:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        assert isinstance(key.material, EllipticCurvePublicKey)
        size = _COORDINATE_BYTES[algorithm]
        if len(signature) != 2 * size:  # RFC 7518 section 3.4: r and s of full length, never DER
            raise ValueError
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        key.material.verify(encode_dss_signature(r, s), data, ECDSA(_hash_of(algorithm)))


def _hash_of(algorithm: str) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    by_size: dict[str, HashAlgorithm] = {
        "256": hashes.SHA256(),
        "384": hashes.SHA384(),
        "512": hashes.SHA512(),
    }
    return by_size[algorithm[2:]]


def _invalid(name: str, *flaws: str, key: VerificationKey | None = None) -> SignatureResult:
    checks = [Check(name=name, ok=False, detail=flaw) for flaw in flaws]
    return SignatureResult(verdict="invalid", checks=checks, key=key)
