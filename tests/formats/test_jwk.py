"""JWK and JWK Set: what may verify, what may not and why."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import import_key

from tokenctl.errors import InvalidRequest, TokenctlError
from tokenctl.formats import jwk
from tokenctl.formats.jwk import (
    UnusableKey,
    decode_base64url,
    encode_base64url,
    key_set,
    read_key_set,
    thumbprint,
    verification_key,
)

VECTORS = Path(__file__).parents[1] / "vectors"
Jwk = dict[str, Any]


def number(value: int) -> str:
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8))


@functools.cache
def rsa_numbers(bits: int = 2048, exponent: int = 65537) -> tuple[int, int]:
    numbers = rsa.generate_private_key(exponent, bits).public_key().public_numbers()
    return numbers.n, numbers.e


def rsa_jwk(bits: int = 2048, exponent: int = 65537, **more: object) -> Jwk:
    n, e = rsa_numbers(bits, exponent)
    return {"kty": "RSA", "n": number(n), "e": number(e), **more}


@functools.cache
def _ec_point(crv: str) -> tuple[str, str]:
    curve: ec.EllipticCurve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[crv]
    size = (curve.key_size + 7) // 8
    point = ec.generate_private_key(curve).public_key().public_numbers()
    return encode_base64url(point.x.to_bytes(size)), encode_base64url(point.y.to_bytes(size))


def ec_jwk(crv: str = "P-256", **more: object) -> Jwk:
    x, y = _ec_point(crv)
    return {"kty": "EC", "crv": crv, "x": x, "y": y, **more}


@functools.cache
def _ed25519_x() -> str:
    return encode_base64url(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw())


def okp_jwk(**more: object) -> Jwk:
    return {"kty": "OKP", "crv": "Ed25519", "x": _ed25519_x(), **more}


def oct_jwk(size: int = 32, **more: object) -> Jwk:
    return {"kty": "oct", "k": encode_base64url(b"\x5a" * size), **more}


def without(key: Jwk, member: str) -> Jwk:
    return {name: value for name, value in key.items() if name != member}


FITTING = {
    "RSA without alg": (rsa_jwk, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "RSA with alg": (lambda: rsa_jwk(alg="PS384"), {"PS384"}),
    "P-256": (ec_jwk, {"ES256"}),
    "P-384": (lambda: ec_jwk("P-384"), {"ES384"}),
    "P-521": (lambda: ec_jwk("P-521", alg="ES512"), {"ES512"}),
    "Ed25519": (okp_jwk, {"EdDSA", "Ed25519"}),
    "Ed25519 under the family name": (lambda: okp_jwk(alg="EdDSA"), {"EdDSA", "Ed25519"}),
    "Ed25519 under its own name": (lambda: okp_jwk(alg="Ed25519"), {"Ed25519"}),
    "32 bytes of HMAC key": (oct_jwk, {"HS256"}),
    "48 bytes of HMAC key": (lambda: oct_jwk(48), {"HS256", "HS384"}),
    "64 bytes of HMAC key": (lambda: oct_jwk(64), {"HS256", "HS384", "HS512"}),
    "a purpose said twice": (lambda: ec_jwk(use="sig", key_ops=["sign", "verify"]), {"ES256"}),
    "members that nobody knows": (lambda: ec_jwk(exp=1, x5c=["!"], nonsense={}), {"ES256"}),
    "RSA of 3072 bits": (lambda: rsa_jwk(3072), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
}


@pytest.mark.parametrize(("make", "algorithms"), FITTING.values(), ids=FITTING.keys())
def test_a_sound_key_is_bound_to_the_algorithms_that_fit(make: Any, algorithms: set[str]) -> None:
    assert verification_key(make()).algorithms == algorithms


def roca_modulus() -> int:
    """Make one as the broken generator did: primes k M + (65537^a mod M), M the product of 126 primes."""
    source = random.Random(15361)
    sieve = [p for p in range(2, 702) if all(p % q for q in range(2, int(p**0.5) + 1))]
    primorial = functools.reduce(lambda product, prime: product * prime, sieve[:126])

    def prime() -> int:
        while True:
            k = source.randrange(1 << 52, 1 << 53)
            candidate = k * primorial + pow(65537, source.randrange(1 << 60), primorial)
            if candidate.bit_length() == 1024 and pow(2, candidate - 1, candidate) == 1:
                return candidate

    while True:
        modulus = prime() * prime()
        if modulus.bit_length() == 2048:
            return modulus


P25519 = 2**255 - 19
SMALL_ORDER = {
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

REFUSED = {
    "1024 bits of RSA": (lambda: rsa_jwk(1024), "shorter than 2048"),
    "2047 bits of RSA": (lambda: {**rsa_jwk(), "n": number((1 << 2046) + 1)}, "shorter than 2048"),
    "an exponent of 3": (lambda: rsa_jwk(exponent=3), "exponent"),
    "an exponent of 1": (lambda: {**rsa_jwk(), "e": "AQ"}, "exponent"),
    "an even exponent": (lambda: {**rsa_jwk(), "e": number(65538)}, "exponent"),
    "an exponent of zero": (lambda: {**rsa_jwk(), "e": "AA"}, "e is empty"),
    "an exponent with a leading zero": (lambda: {**rsa_jwk(), "e": "AAEAAQ"}, "zero octet"),
    "an exponent as large as the modulus": (lambda: {**rsa_jwk(), "e": rsa_jwk()["n"]}, "exponent"),
    "an exponent that is a number": (lambda: {**rsa_jwk(), "e": 65537}, "no string"),
    "a modulus with a leading zero": (
        lambda: {**rsa_jwk(), "n": encode_base64url(b"\0" + rsa_numbers()[0].to_bytes(256))},
        "zero octet",
    ),
    "an even modulus": (lambda: {**rsa_jwk(), "n": number(1 << 2047)}, "even"),
    "a modulus of 16385 bits": (lambda: {**rsa_jwk(), "n": number((1 << 16384) + 1)}, "longer"),
    "an empty modulus": (lambda: {**rsa_jwk(), "n": ""}, "empty"),
    "no modulus": (lambda: without(rsa_jwk(), "n"), "missing"),
    "padding in a modulus": (lambda: {**rsa_jwk(), "n": rsa_jwk()["n"] + "=="}, "base64url"),
    "white space in a modulus": (lambda: {**rsa_jwk(), "n": " " + rsa_jwk()["n"]}, "base64url"),
    "the ROCA fingerprint": (lambda: {**rsa_jwk(), "n": number(roca_modulus())}, "ROCA"),
    "RSA for ES256": (lambda: rsa_jwk(alg="ES256"), "does not fit"),
    "RSA for HS256": (lambda: rsa_jwk(alg="HS256"), "does not fit"),
    "RSA for encryption": (lambda: rsa_jwk(alg="RSA-OAEP"), "does not fit"),
    "alg none": (lambda: rsa_jwk(alg="none"), "does not fit"),
    "alg in lower case": (lambda: rsa_jwk(alg="rs256"), "does not fit"),
    "alg that is a list": (lambda: rsa_jwk(alg=["RS256"]), "no string"),
    "alg null": (lambda: rsa_jwk(alg=None), "no string"),
    "P-256 for ES384": (lambda: ec_jwk(alg="ES384"), "does not fit"),
    "P-384 for ES256": (lambda: ec_jwk("P-384", alg="ES256"), "does not fit"),
    "the point of another curve": (lambda: {**ec_jwk("P-384"), "crv": "P-256"}, "32 bytes"),
    "secp256k1": (lambda: {**ec_jwk(), "crv": "secp256k1"}, "curve is none"),
    "a curve in lower case": (lambda: {**ec_jwk(), "crv": "p-256"}, "curve is none"),
    "no curve": (lambda: without(ec_jwk(), "crv"), "missing"),
    "a curve that is an object": (lambda: {**ec_jwk(), "crv": {}}, "no string"),
    "a point off the curve": (lambda: {**ec_jwk(), "y": ec_jwk()["x"]}, "not on the curve"),
    "the point at infinity": (lambda: {**ec_jwk(), "x": "A" * 43, "y": "A" * 43}, "not on the curve"),
    "a coordinate beyond the field": (
        lambda: {**ec_jwk(), "x": encode_base64url(b"\xff" * 32)},
        "not on the curve",
    ),
    "a coordinate of 31 bytes": (lambda: {**ec_jwk(), "x": encode_base64url(b"\1" * 31)}, "32 bytes"),
    "a coordinate with a leading zero": (
        lambda: {**ec_jwk(), "x": encode_base64url(b"\0" + (decode_base64url(ec_jwk()["x"]) or b""))},
        "32 bytes",
    ),
    "a compressed point": (lambda: without(ec_jwk(), "y"), "missing"),
    "Ed25519 of 31 bytes": (lambda: okp_jwk() | {"x": encode_base64url(b"\1" * 31)}, "32 bytes"),
    "Ed25519 off the curve": (
        lambda: okp_jwk() | {"x": encode_base64url(b"\2" + bytes(31))},
        "not on the curve",
    ),
    "Ed25519 for ES256": (lambda: okp_jwk(alg="ES256"), "does not fit"),
    "X25519": (lambda: okp_jwk() | {"crv": "X25519"}, "not Ed25519"),
    "Ed448": (lambda: okp_jwk() | {"crv": "Ed448"}, "not Ed25519"),
    "31 bytes of HMAC key": (lambda: oct_jwk(31), "shorter than 32"),
    "an empty HMAC key": (lambda: oct_jwk(0), "shorter than 32"),
    "47 bytes for HS384": (lambda: oct_jwk(47, alg="HS384"), "does not fit"),
    "63 bytes for HS512": (lambda: oct_jwk(63, alg="HS512"), "does not fit"),
    "oct for RS256": (lambda: oct_jwk(64, alg="RS256"), "does not fit"),
    "oct for encryption": (lambda: oct_jwk(32, alg="A256GCM"), "does not fit"),
    "an HMAC key in standard base64": (lambda: {"kty": "oct", "k": "+/" * 22}, "base64url"),
    "non-zero trailing bits": (lambda: {"kty": "oct", "k": "A" * 42 + "B"}, "base64url"),
    "use enc": (lambda: ec_jwk(use="enc"), "use is not sig"),
    "use in upper case": (lambda: ec_jwk(use="SIG"), "use is not sig"),
    "use null": (lambda: ec_jwk(use=None), "use is not sig"),
    "key_ops without verify": (lambda: ec_jwk(key_ops=["sign"]), "hold verify"),
    "key_ops empty": (lambda: ec_jwk(key_ops=[]), "hold verify"),
    "key_ops a string": (lambda: ec_jwk(key_ops="verify"), "no list"),
    "key_ops of lists": (lambda: ec_jwk(key_ops=[["verify"]]), "no list"),
    "key_ops that repeats": (lambda: ec_jwk(key_ops=["verify", "verify"]), "repeats"),
    "use enc beside key_ops verify": (lambda: ec_jwk(use="enc", key_ops=["verify"]), "use is not sig"),
    "use sig beside key_ops encrypt": (lambda: ec_jwk(use="sig", key_ops=["encrypt"]), "hold verify"),
    "a kid that is a number": (lambda: ec_jwk(kid=1), "kid"),
    "a kid of null": (lambda: ec_jwk(kid=None), "kid"),
    "no kty": (lambda: without(ec_jwk(), "kty"), "kty"),
    "a kty that is a list": (lambda: ec_jwk() | {"kty": ["EC"]}, "kty"),
    "a kty in lower case": (lambda: ec_jwk() | {"kty": "ec"}, "not known"),
    "a kty that nobody knows": (lambda: {"kty": "AKP"}, "not known"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_an_unsound_key_is_refused_with_its_reason(make: Any, reason: str) -> None:
    with pytest.raises(UnusableKey) as caught:
        verification_key(make())
    assert reason in caught.value.message


@pytest.mark.parametrize("encoded", sorted(SMALL_ORDER))
def test_an_ed25519_key_of_small_order_is_refused(encoded: str) -> None:
    with pytest.raises(UnusableKey):
        verification_key(okp_jwk() | {"x": encode_base64url(bytes.fromhex(encoded))})


def test_every_refusal_of_a_set_becomes_a_rejected_key() -> None:
    for make, _ in REFUSED.values():
        found = key_set([make()])
        assert found.keys == ()


def test_sound_moduli_do_not_show_the_roca_fingerprint() -> None:
    source = random.Random(1)
    for _ in range(2000):
        assert not jwk._is_roca(source.getrandbits(2048) | 1)


def test_the_public_part_of_a_private_jwk_is_used_and_said_so() -> None:
    private = json.loads((VECTORS / "jose-cookbook/jwk/3_2.ec_private_key.json").read_text())
    key = verification_key(private)
    assert key.carried_private
    assert private["d"] not in repr(key)
    assert not verification_key(without(private, "d")).carried_private


def test_a_secret_is_not_shown_and_has_no_thumbprint() -> None:
    key = verification_key(oct_jwk())
    assert key.thumbprint is None
    assert "Z" * 10 not in repr(key)
    assert not key.carried_private


def test_the_cookbook_keys_read_as_they_are_meant() -> None:
    found = {}
    for path in sorted((VECTORS / "jose-cookbook/jwk").iterdir()):
        found[path.name[:3]] = [key.algorithms for key in read_key_set(path.read_bytes()).keys]
    assert found["3_1"] == found["3_2"] == [{"ES512"}]
    assert found["3_3"] == found["3_4"] == [jwk.RSA_ALGORITHMS]
    assert found["3_5"] == [{"HS256"}]
    assert found["3_6"] == []


def test_thumbprints_of_the_rfcs_hold() -> None:
    vectors = json.loads((VECTORS / "rfc/jose_rfc_vectors.json").read_text())
    for name, member in (("rfc7638_3_1_thumbprint", "jwk"), ("rfc8037_A", "jwk_private")):
        assert thumbprint(vectors[name][member]) == vectors[name]["sha256_thumbprint"]


def test_thumbprints_agree_with_joserfc() -> None:
    for key in (rsa_jwk(), ec_jwk(), ec_jwk("P-521"), okp_jwk(), oct_jwk()):
        assert thumbprint(key) == import_key(key).thumbprint()


def test_a_thumbprint_looks_at_the_required_members_only() -> None:
    assert thumbprint(ec_jwk(kid="a", use="sig", d="x")) == thumbprint(ec_jwk())


@pytest.mark.parametrize(
    "key", [{}, {"kty": "EC"}, {"kty": 1}, {"kty": "AKP", "pub": ""}, {"kty": "oct", "k": 1}]
)
def test_a_thumbprint_of_no_key_is_refused(key: Jwk) -> None:
    with pytest.raises(UnusableKey):
        thumbprint(key)


SETS = {
    "one key": (lambda: [ec_jwk(kid="a")], ["a"]),
    "none": (list, []),
    "keys of several types": (lambda: [ec_jwk(kid="a"), rsa_jwk(kid="b"), okp_jwk()], ["a", "b", None]),
    "a kty that nobody knows": (lambda: [{"kty": "AKP", "kid": "a"}, ec_jwk(kid="a")], ["a"]),
    "a weak key beside a sound one": (lambda: [rsa_jwk(1024, kid="a"), ec_jwk(kid="b")], ["b"]),
    "kids that differ in case": (lambda: [ec_jwk(kid="a"), okp_jwk(kid="A")], ["a", "A"]),
    "kids that look alike": (lambda: [ec_jwk(kid="é"), okp_jwk(kid="e\u0301")], ["é", "e\u0301"]),
    "several HMAC keys": (lambda: [oct_jwk(kid="a"), oct_jwk(64, kid="b")], ["a", "b"]),
}


@pytest.mark.parametrize(("make", "kids"), SETS.values(), ids=SETS.keys())
def test_a_set_holds(make: Any, kids: list[str | None]) -> None:
    document = {"keys": make(), "more": 1}
    assert [key.kid for key in read_key_set(json.dumps(document).encode()).keys] == kids


UNREADABLE: dict[str, Any] = {
    "no JSON": lambda: b"-----BEGIN PUBLIC KEY-----",
    "an array": lambda: json.dumps([ec_jwk()]).encode(),
    "a name twice": lambda: b'{"keys":[],"keys":[]}',
    "a name twice within a key": lambda: b'{"keys":[{"kty":"oct","kty":"RSA"}]}',
    "a byte order mark": lambda: b"\xef\xbb\xbf" + json.dumps(ec_jwk()).encode(),
    "neither a key nor a set": lambda: b"{}",
    "a key and a set at once": lambda: json.dumps({**ec_jwk(), "keys": []}).encode(),
    "keys that are an object": lambda: json.dumps({"keys": {"a": ec_jwk()}}).encode(),
    "keys that are null": lambda: b'{"keys":null}',
    "a key that is a string": lambda: json.dumps({"keys": [ec_jwk(), "x"]}).encode(),
    "a set in a set": lambda: json.dumps({"keys": [[ec_jwk()]]}).encode(),
    "101 keys": lambda: json.dumps({"keys": [ec_jwk()] * 101}).encode(),
    "more than 256 KiB": lambda: json.dumps({"keys": [], "more": "x" * jwk.MAX_KEY_SET}).encode(),
    "HMAC beside public keys": lambda: json.dumps({"keys": [oct_jwk(kid="a"), ec_jwk(kid="b")]}).encode(),
    "HMAC for encryption beside public keys": lambda: json.dumps(
        {"keys": [oct_jwk(use="enc"), ec_jwk()]}
    ).encode(),
    "a broken HMAC key beside public keys": lambda: json.dumps({"keys": [{"kty": "oct"}, ec_jwk()]}).encode(),
    "one kid twice": lambda: json.dumps({"keys": [ec_jwk(kid="a"), rsa_jwk(kid="a")]}).encode(),
    "one key twice": lambda: json.dumps({"keys": [ec_jwk(kid="a")] * 2}).encode(),
    "one kid twice, one of them for encryption": lambda: json.dumps(
        {"keys": [ec_jwk(kid="a"), rsa_jwk(kid="a", use="enc")]}
    ).encode(),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_document_is_refused(make: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_key_set(make())


def test_a_hundred_keys_are_read() -> None:
    assert len(read_key_set(json.dumps({"keys": [ec_jwk()] * 100}).encode()).keys) == 100


def test_a_rejected_key_tells_why_and_nothing_of_itself() -> None:
    weak = rsa_jwk(1024, kid="a")
    (rejected,) = key_set([weak]).rejected
    assert rejected.kid == "a"
    assert rejected.reason == "its RSA modulus is shorter than 2048 bits"
    assert weak["n"] not in repr(rejected)


NOT_STRICT = [
    "A",
    "AA==",
    "AA=",
    "=",
    "A A",
    " AA",
    "AA\n",
    "AB",
    "AAB",
    "AA+A",
    "AA/A",
    "AA.A",
    "é",
    "AAAAA",
    "\udc80A",
    "AA\0A",
]


@pytest.mark.parametrize("text", NOT_STRICT)
def test_base64url_of_another_spelling_is_refused(text: str) -> None:
    assert decode_base64url(text) is None


@given(st.binary(max_size=100))
def test_base64url_comes_back(data: bytes) -> None:
    assert decode_base64url(encode_base64url(data)) == data


@given(st.text(alphabet="ABg_-+/=. \n", max_size=12))
def test_no_two_spellings_mean_the_same_bytes(text: str) -> None:
    data = decode_base64url(text)
    assert data is None or encode_base64url(data) == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text(max_size=8)
    | st.just("A" * 43),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
MEMBERS = ("kty", "crv", "x", "y", "n", "e", "k", "kid", "alg", "use", "key_ops", "d")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first draw makes RSA keys
@given(st.data())
def test_a_key_with_any_member_replaced_never_stumbles(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([ec_jwk(), rsa_jwk(), okp_jwk(), oct_jwk()]))
    changed = data.draw(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
    document = data.draw(st.sampled_from([{**base, **changed}, {"keys": [{**base, **changed}, base]}]))
    try:
        read_key_set(json.dumps(document).encode())
    except TokenctlError as error:
        assert error.exit_code == 2  # noqa: PT017
