"""Our signing keys: made, sealed form and back, and believed by other libraries."""

from __future__ import annotations

import json

import pytest
from joserfc import jws as joserfc_jws
from joserfc.jwk import import_key
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

from tokenctl.errors import IntegrityError, InternalError, InvalidRequest
from tokenctl.formats import jwt
from tokenctl.formats.jwk import key_set, thumbprint, verification_key
from tokenctl.formats.signing import ALGORITHMS, SigningKey, generate, load

SIZES = {"ES256": 32, "EdDSA": 32, "Ed25519": 32, "PS256": 384, "RS256": 384}
SIGNATURE_SIZES = {"ES256": 64, "EdDSA": 64, "Ed25519": 64, "PS256": 384, "RS256": 384}


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {algorithm: generate(algorithm) for algorithm in ALGORITHMS}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_survives_its_raw_form(keys: dict[str, SigningKey], algorithm: str) -> None:
    raw = keys[algorithm].private_bytes()
    again = load(algorithm, raw)
    assert len(raw) == SIZES[algorithm]
    assert again.private_bytes() == raw
    assert again.public_jwk("k") == keys[algorithm].public_jwk("k")
    assert len(again.sign(b"data")) == SIGNATURE_SIZES[algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_ours_verifies_under_the_exported_key(keys: dict[str, SigningKey], algorithm: str) -> None:
    signer = load(algorithm, keys[algorithm].private_bytes())
    text = jwt.encode({"typ": "at+jwt", "kid": "k"}, {"sub": "ä", "n": 1}, signer)
    verified = jwt.verify(jwt.decode_unverified(text), key_set([signer.public_jwk("k")]))
    assert isinstance(verified, jwt.VerifiedToken)
    assert verified.claims == {"sub": "ä", "n": 1}
    assert verified.header == {"alg": algorithm, "typ": "at+jwt", "kid": "k"}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_joserfc_accepts_what_we_sign(keys: dict[str, SigningKey], algorithm: str) -> None:
    text = jwt.encode({"kid": "k"}, {"sub": "a"}, keys[algorithm])
    public = import_key(keys[algorithm].public_jwk("k"))
    assert json.loads(joserfc_jws.deserialize_compact(text, public, algorithms=[algorithm]).payload) == {
        "sub": "a"
    }


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "Ed25519"])
def test_jwcrypto_accepts_what_we_sign(keys: dict[str, SigningKey], algorithm: str) -> None:
    token = jwcrypto_jws.JWS()
    token.deserialize(jwt.encode({"kid": "k"}, {"sub": "a"}, keys[algorithm]))
    token.verify(jwcrypto_jwk.JWK(**keys[algorithm].public_jwk("k")))
    assert json.loads(token.payload) == {"sub": "a"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_exported_key_holds_no_private_member(keys: dict[str, SigningKey], algorithm: str) -> None:
    public = keys[algorithm].public_jwk("k")
    assert set(public) <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}
    assert verification_key(public).thumbprint == thumbprint(public)


def test_a_key_shows_nothing_of_itself(keys: dict[str, SigningKey]) -> None:
    assert {repr(key) for key in keys.values()} == {f"SigningKey(algorithm='{name}')" for name in ALGORITHMS}


def test_an_ed25519_key_may_sign_under_either_of_its_names(keys: dict[str, SigningKey]) -> None:
    text = jwt.encode({"alg": "Ed25519"}, {}, keys["EdDSA"])
    token = jwt.decode_unverified(text)
    assert token.header["alg"] == "Ed25519"
    assert jwt.verify_signature(token, key_set([keys["EdDSA"].public_jwk("k")])).verdict == "valid"


def test_a_header_that_names_another_algorithm_is_a_bug(keys: dict[str, SigningKey]) -> None:
    for algorithm in ("none", "ES384", "RS256"):
        with pytest.raises(InternalError):
            jwt.encode({"alg": algorithm}, {}, keys["ES256"])


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES384", "es256", ""])
def test_other_algorithms_do_not_sign(algorithm: str) -> None:
    with pytest.raises(InvalidRequest):
        generate(algorithm)
    with pytest.raises(InvalidRequest):
        load(algorithm, b"\1" * 32)


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DAMAGED = {
    "no byte": ("ES256", b""),
    "a scalar of zero": ("ES256", bytes(32)),
    "a scalar as large as the order": ("ES256", P256_ORDER.to_bytes(32)),
    "a scalar of 31 bytes": ("ES256", b"\1" * 31),
    "a scalar of 33 bytes": ("ES256", b"\0" + b"\1" * 32),
    "a seed of 31 bytes": ("EdDSA", b"\1" * 31),
    "a seed of 64 bytes": ("Ed25519", b"\1" * 64),
    "primes that are zero": ("RS256", bytes(384)),
    "one prime twice": ("PS256", b"\xff" * 384),
    "even primes": ("PS256", b"\xff" * 191 + b"\xfe" + b"\xff" * 191 + b"\xfc"),
    "a byte too few": ("RS256", b"\xff" * 383),
}


@pytest.mark.parametrize(("algorithm", "raw"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_key_material_is_named(algorithm: str, raw: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        load(algorithm, raw)
    assert caught.value.message == f"the private key is no {algorithm} key"
