"""The JWT on the wire: the vectors of others, oracles both ways, and attacks beyond the vectors."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import import_key
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

from tokenctl.errors import InternalError, InvalidRequest
from tokenctl.formats import jwt, signing
from tokenctl.formats.jwk import KeySet, encode_base64url, key_set, read_key_set

VECTORS = Path(__file__).parents[1] / "vectors"
SECRET = b"\x5a" * 64
CLAIMS = b'{"sub":"a"}'


def verdict(text: str, keys: KeySet) -> str:
    """Say what became of a token; a malformed one counts as such."""
    try:
        token = jwt.decode_unverified(text)
    except jwt.MalformedToken as error:
        return str(error.reason)
    result = jwt.verify_signature(token, keys)
    assert (result.verdict == "valid") == (result.token is not None)
    assert (result.verdict == "invalid") == any(check.ok is False for check in result.checks)
    return result.verdict


def single(key: Mapping[str, object]) -> KeySet:
    return read_key_set(json.dumps(key).encode())


# --- the vectors of others


def wycheproof() -> list[Any]:
    document = json.loads((VECTORS / "wycheproof/json_web_signature_test.json").read_text())
    return [
        pytest.param(group.get("public") or group["private"], case, id=f"{case['tcId']} {case['comment']}")
        for group in document["testGroups"]
        for case in group["tests"]
    ]


@pytest.mark.parametrize(("key", "case"), wycheproof())
def test_wycheproof(key: dict[str, object], case: dict[str, Any]) -> None:
    presented = case["jws"]
    text = presented if isinstance(presented, str) else json.dumps(presented) if presented else ""
    assert (verdict(text, single(key)) == "valid") == (case["result"] == "valid")


def test_no_wycheproof_case_is_missing() -> None:
    assert len(wycheproof()) == 393


COOKBOOK = [*sorted((VECTORS / "jose-cookbook/jws").iterdir()), VECTORS / "jose-cookbook/curve25519/jws.json"]


@pytest.mark.parametrize("path", COOKBOOK, ids=lambda path: path.name)
def test_the_cookbook_signatures_hold(path: Path) -> None:
    case = json.loads(path.read_text())
    token = jwt.verify(jwt.decode_unverified(case["output"]["compact"]), single(case["input"]["key"]))
    assert isinstance(token, jwt.VerifiedToken)
    assert token.payload == case["input"]["payload"].encode()
    assert token.claims is None


@pytest.mark.parametrize("path", COOKBOOK, ids=lambda path: path.name)
@pytest.mark.parametrize("form", ["json", "json_flat"])
def test_the_json_serialisation_is_refused(path: Path, form: str) -> None:
    case = json.loads(path.read_text())
    assert verdict(json.dumps(case["output"][form]), single(case["input"]["key"])) == "malformed"


def test_the_signatures_of_the_rfcs_hold() -> None:
    vectors = json.loads((VECTORS / "rfc/jose_rfc_vectors.json").read_text())
    for name, member in (("rfc8037_A", "jwk_private"), ("rfc7515_A1", "jwk"), ("rfc7515_A3", "jwk")):
        assert verdict(vectors[name]["jws_compact"], single(vectors[name][member])) == "valid"


def test_the_unsecured_token_of_rfc_7519_is_refused_under_every_key() -> None:
    vectors = json.loads((VECTORS / "rfc/jose_rfc_vectors.json").read_text())
    text = vectors["rfc7519_6_1_unsecured_MUST_REJECT"]["jwt"]
    for keys in (single(vectors["rfc7515_A1"]["jwk"]), single(vectors["rfc7515_A3"]["jwk"]), KeySet()):
        assert verdict(text, keys) == "invalid"
    assert jwt.verify_signature(jwt.decode_unverified(text), None).verdict == "invalid"


# --- keys and signatures made without our own code


@functools.cache
def private(name: str) -> Any:
    curves: dict[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    if name == "RSA":
        return rsa.generate_private_key(65537, 2048)
    return (
        ed25519.Ed25519PrivateKey.generate() if name == "Ed25519" else ec.generate_private_key(curves[name])
    )


@functools.cache
def _public(name: str) -> dict[str, str]:
    if name == "oct":
        return {"kty": "oct", "k": encode_base64url(SECRET)}
    if name == "Ed25519":
        return {
            "kty": "OKP",
            "crv": name,
            "x": encode_base64url(private(name).public_key().public_bytes_raw()),
        }
    numbers = private(name).public_key().public_numbers()
    if name == "RSA":
        return {"kty": "RSA", "n": encode_base64url(numbers.n.to_bytes(256)), "e": "AQAB"}
    size = (private(name).curve.key_size + 7) // 8
    x, y = (encode_base64url(value.to_bytes(size)) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": name, "x": x, "y": y}


def public(name: str, **more: object) -> dict[str, object]:
    return {**_public(name), **more}


KEY_OF = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "oct"),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "Ed25519"),
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
}


def sign(algorithm: str, data: bytes, key: Any = None) -> bytes:
    key = key or (SECRET if KEY_OF[algorithm] == "oct" else private(KEY_OF[algorithm]))
    if algorithm in ("EdDSA", "Ed25519"):
        return bytes(key.sign(data))
    if algorithm.startswith("HS"):
        return hmac.digest(key, data, f"sha{algorithm[2:]}")
    digest: Any = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    if algorithm.startswith("ES"):
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size) + s.to_bytes(size)
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return bytes(key.sign(data, padding.PKCS1v15() if algorithm.startswith("RS") else pss, digest))


def token(header: object, payload: bytes = CLAIMS, *, algorithm: str = "ES256", key: Any = None) -> str:
    """Make a compact JWS whose signature holds, whatever its header says; bytes are taken as they are."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    signing_input = f"{encode_base64url(raw)}.{encode_base64url(payload)}"
    return f"{signing_input}.{encode_base64url(sign(algorithm, signing_input.encode(), key))}"


@pytest.mark.parametrize("algorithm", sorted(KEY_OF))
def test_each_allowed_algorithm_verifies(algorithm: str) -> None:
    text = token({"alg": algorithm}, algorithm=algorithm)
    assert verdict(text, single(public(KEY_OF[algorithm]))) == "valid"
    assert verdict(text, single(public(KEY_OF[algorithm], alg=algorithm))) == "valid"


@pytest.mark.parametrize("algorithm", sorted(KEY_OF))
@pytest.mark.parametrize(
    "damage", ["flip first", "flip last", "cut", "extend", "prepend", "empty", "zero", "ones", "double"]
)
def test_a_damaged_signature_does_not_hold(algorithm: str, damage: str) -> None:
    head, payload, _ = (text := token({"alg": algorithm}, algorithm=algorithm)).split(".")
    good = sign(algorithm, text.rpartition(".")[0].encode())
    bad = {
        "flip first": bytes([good[0] ^ 1]) + good[1:],
        "flip last": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:-1],
        "extend": good + b"\0",
        "prepend": b"\0" + good,
        "empty": b"",
        "zero": bytes(len(good)),
        "ones": b"\xff" * len(good),
        "double": good + good,
    }[damage]
    assert (
        verdict(f"{head}.{payload}.{encode_base64url(bad)}", single(public(KEY_OF[algorithm]))) == "invalid"
    )


@pytest.mark.parametrize("named", sorted(jwt.ALGORITHMS))
@pytest.mark.parametrize("used", sorted(KEY_OF))
def test_a_header_that_names_another_algorithm_than_was_used_fails(named: str, used: str) -> None:
    same = named == used or {named, used} == {"EdDSA", "Ed25519"}
    got = verdict(token({"alg": named}, algorithm=used), single(public(KEY_OF[used])))
    assert got == ("valid" if same else "invalid")


@pytest.mark.parametrize(
    ("declared", "named"), [("RS256", "PS256"), ("PS256", "PS512"), ("HS512", "HS256"), ("Ed25519", "EdDSA")]
)
def test_a_key_verifies_its_declared_algorithm_only(declared: str, named: str) -> None:
    assert (
        verdict(token({"alg": named}, algorithm=named), single(public(KEY_OF[named], alg=declared)))
        == "invalid"
    )


ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
    "ES512": int("01" + "F" * 64 + "FA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409", 16),
}


@pytest.mark.parametrize("algorithm", sorted(ORDERS))
def test_ecdsa_takes_r_and_s_of_full_length_within_the_order_only(algorithm: str) -> None:
    n, key = ORDERS[algorithm], private(KEY_OF[algorithm])
    assert n == key.curve.group_order
    size = (key.curve.key_size + 7) // 8
    signing_input = token({"alg": algorithm}, algorithm=algorithm).rpartition(".")[0]
    good = sign(algorithm, signing_input.encode())
    r, s = int.from_bytes(good[:size]), int.from_bytes(good[size:])
    keys = single(public(KEY_OF[algorithm]))
    digest: Any = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    bad = [x.to_bytes(size) + y.to_bytes(size) for x in (0, 1, n - 1, n) for y in (0, 1, n - 1, n)]
    bad += [
        good[size:] + good[:size],
        bytes(1) + good[:size] + bytes(1) + good[size:],
        key.sign(signing_input.encode(), ec.ECDSA(digest)),
    ]
    bad += [(r + n).to_bytes(size + 1) + s.to_bytes(size + 1)]
    for signature in bad:
        assert verdict(f"{signing_input}.{encode_base64url(signature)}", keys) == "invalid"
    assert verdict(f"{signing_input}.{encode_base64url(good)}", keys) == "valid"
    # The other root of the equation is a true signature too: a token is never recognised by its signature.
    assert (
        verdict(f"{signing_input}.{encode_base64url(good[:size] + (n - s).to_bytes(size))}", keys) == "valid"
    )


def test_an_ed25519_signature_whose_s_is_not_reduced_fails() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signing_input = token({"alg": "EdDSA"}, algorithm="EdDSA").rpartition(".")[0]
    good = sign("EdDSA", signing_input.encode())
    s = int.from_bytes(good[32:], "little") + order
    assert (
        verdict(
            f"{signing_input}.{encode_base64url(good[:32] + s.to_bytes(32, 'little'))}",
            single(public("Ed25519")),
        )
        == "invalid"
    )


@pytest.mark.parametrize("salt", [0, 31, 33, "max"])
def test_a_pss_salt_of_another_length_than_the_hash_fails(salt: Any) -> None:
    signing_input = token({"alg": "PS256"}, algorithm="PS256").rpartition(".")[0]
    length = padding.PSS.MAX_LENGTH if salt == "max" else salt
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), length)
    signature = private("RSA").sign(signing_input.encode(), pss, hashes.SHA256())
    assert verdict(f"{signing_input}.{encode_base64url(signature)}", single(public("RSA"))) == "invalid"


def test_a_pss_mask_of_another_hash_fails() -> None:
    signing_input = token({"alg": "PS256"}, algorithm="PS256").rpartition(".")[0]
    signature = private("RSA").sign(
        signing_input.encode(),
        padding.PSS(padding.MGF1(hashes.SHA1()), 32),
        hashes.SHA256(),
    )
    assert verdict(f"{signing_input}.{encode_base64url(signature)}", single(public("RSA"))) == "invalid"


def test_no_public_key_serves_as_an_hmac_secret() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = private("RSA").public_key()
    spellings = [
        key.public_bytes(enc, fmt)
        for enc in (Encoding.PEM, Encoding.DER)
        for fmt in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1)
    ]
    for secret in [*spellings, json.dumps(_public("RSA")).encode(), _public("RSA")["n"].encode()]:
        for key_json in (public("RSA"), public("RSA", alg="RS256"), public("RSA", kid="k")):
            assert (
                verdict(token({"alg": "HS256", "kid": "k"}, algorithm="HS256", key=secret), single(key_json))
                == "invalid"
            )


# --- headers

ATTACKER = ec.generate_private_key(ec.SECP256R1())


def _attacker_jwk() -> dict[str, str]:
    numbers = ATTACKER.public_key().public_numbers()
    x, y = (encode_base64url(value.to_bytes(32)) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


BAD_HEADERS: dict[str, object] = {
    "no alg": {},
    "alg null": {"alg": None},
    "alg a number": {"alg": 256},
    "alg a list": {"alg": ["ES256"]},
    "alg an object": {"alg": {"ES256": 1}},
    "alg empty": {"alg": ""},
    "alg in lower case": {"alg": "es256"},
    "alg with a space": {"alg": "ES256 "},
    "alg with a NUL": {"alg": "ES256\0"},
    "alg in full-width letters": {"alg": "ＥＳ256"},
    "alg of secp256k1": {"alg": "ES256K"},
    "alg by URI": {"alg": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"},
    "alg HS1": {"alg": "HS1"},
    "alg for encryption": {"alg": "dir"},
    "alg under another name": {"Alg": "ES256"},
    **{
        f"alg {spelling}": {"alg": spelling}
        for spelling in ("none", "None", "NONE", "nOnE", "noNE", " none", "none\0", "nonе")
    },
    "crit unknown": {"alg": "ES256", "crit": ["exp"], "exp": 1},
    "crit empty": {"alg": "ES256", "crit": []},
    "crit null": {"alg": "ES256", "crit": None},
    "crit a string": {"alg": "ES256", "crit": "exp"},
    "crit an object": {"alg": "ES256", "crit": {}},
    "crit false": {"alg": "ES256", "crit": False},
    "crit of a known member": {"alg": "ES256", "crit": ["alg"]},
    "crit of a member that is not there": {"alg": "ES256", "crit": ["x"]},
    "crit of numbers": {"alg": "ES256", "crit": [1]},
    "crit twice the same": {"alg": "ES256", "crit": ["x", "x"], "x": 1},
    "b64 false and critical": {"alg": "ES256", "crit": ["b64"], "b64": False},
    "b64 false": {"alg": "ES256", "b64": False},
    "b64 true": {"alg": "ES256", "b64": True},
    "b64 null": {"alg": "ES256", "b64": None},
    "kid a number": {"alg": "ES256", "kid": 1},
    "kid null": {"alg": "ES256", "kid": None},
    "kid a list": {"alg": "ES256", "kid": ["k"]},
    "kid an object": {"alg": "ES256", "kid": {}},
    "typ a number": {"alg": "ES256", "typ": 1},
    "typ null": {"alg": "ES256", "typ": None},
    "typ a list": {"alg": "ES256", "typ": ["JWT"]},
    "cty a number": {"alg": "ES256", "cty": 1},
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_a_header_is_refused_though_the_signature_holds(header: object) -> None:
    for keys in (single(public("P-256")), single(public("P-256", alg="ES256"))):
        assert verdict(token(header), keys) == "invalid"


MALFORMED_HEADERS: dict[str, bytes] = {
    "empty": b"",
    "an array": b'["ES256"]',
    "a string": b'"ES256"',
    "a number": b"1",
    "null": b"null",
    "no JSON": b"alg=ES256",
    "a name twice": b'{"alg":"none","alg":"ES256"}',
    "a name twice by an escape": b'{"alg":"ES256","\\u0061lg":"none"}',
    "a byte order mark": b'\xef\xbb\xbf{"alg":"ES256"}',
    "UTF-16": '{"alg":"ES256"}'.encode("utf-16-le"),
    "invalid UTF-8": b'{"alg":"ES256","x":"\xff"}',
    "half a surrogate pair": b'{"alg":"ES256","x":"\\ud800"}',
    "NaN": b'{"alg":"ES256","x":NaN}',
    "1e400": b'{"alg":"ES256","x":1e400}',
    "an integer of 5000 digits": b'{"alg":"ES256","x":' + b"9" * 5000 + b"}",
    "deep nesting": b'{"alg":"ES256","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "text after it": b'{"alg":"ES256"}}',
    "a NUL after it": b'{"alg":"ES256"}\0',
}


@pytest.mark.parametrize("header", MALFORMED_HEADERS.values(), ids=MALFORMED_HEADERS.keys())
def test_a_header_that_is_no_strict_json_is_malformed(header: bytes) -> None:
    assert verdict(token(header), single(public("P-256"))) == "malformed"


GOOD_HEADERS: dict[str, object] = {
    "alg alone": {"alg": "ES256"},
    "a kid for a key without one": {"alg": "ES256", "kid": "k"},
    "white space": b' {\n"alg"\t:\r"ES256" } ',
    "alg with an escape": b'{"\\u0061lg":"ES\\u003256"}',
    "a member that nobody knows": {"alg": "ES256", "x": {"y": [1, None]}},
    "any typ": {"alg": "ES256", "typ": "dpop+jwt"},
    "a jku, which is not fetched": {"alg": "ES256", "jku": "https://127.0.0.1:1/jwks"},
    "an x5u, which is not fetched": {"alg": "ES256", "x5u": "https://127.0.0.1:1/cert"},
    "an x5c, which is not read": {"alg": "ES256", "x5c": "!"},
    "a thumbprint of a certificate": {"alg": "ES256", "x5t": "x", "x5t#S256": "y"},
    "the jwk of another key, which is not read": {"alg": "ES256", "jwk": _attacker_jwk()},
    "zip, which JWS does not know": {"alg": "ES256", "zip": "DEF"},
}


@pytest.mark.parametrize("header", GOOD_HEADERS.values(), ids=GOOD_HEADERS.keys())
def test_a_header_is_accepted(header: object) -> None:
    assert verdict(token(header), single(public("P-256"))) == "valid"


@pytest.mark.parametrize(
    "source",
    [{"jwk": _attacker_jwk()}, {"jku": "https://a.example"}, {"x5u": "https://a.example"}, {"x5c": ["MIIB"]}],
)
def test_a_key_in_the_header_verifies_nothing(source: dict[str, object]) -> None:
    text = token({"alg": "ES256", **source}, key=ATTACKER)
    assert verdict(text, single(public("P-256"))) == "invalid"
    assert verdict(text, KeySet()) == "invalid"
    assert jwt.verify_signature(jwt.decode_unverified(text), None).verdict == "not_checked"


def test_a_token_that_is_not_signed_is_called_so() -> None:
    result = jwt.verify_signature(jwt.decode_unverified(token({"alg": "NonE"})), single(public("P-256")))
    assert [check.detail for check in result.checks] == ["its alg is none: the token is not signed"]


def test_every_flaw_of_a_header_is_named() -> None:
    result = jwt.verify_signature(
        jwt.decode_unverified(token({"alg": "none", "crit": [], "b64": False, "kid": 1})), None
    )
    assert [check.name for check in result.checks] == ["header"] * 4


# --- form

GOOD = token({"alg": "ES256"})
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
MALFORMED = {
    "nothing": "",
    "white space": " ",
    "dots alone": "..",
    "one part": HEAD,
    "two parts": f"{HEAD}.{PAYLOAD}",
    "four parts": f"{GOOD}.",
    "six parts": f"{GOOD}...",
    "a dot before it": f".{GOOD}",
    "a space before it": f" {GOOD}",
    "a newline after it": f"{GOOD}\n",
    "a NUL after it": f"{GOOD}\0",
    "a byte order mark before it": f"\ufeff{GOOD}",
    "the word Bearer before it": f"Bearer {GOOD}",
    "quotes around it": f'"{GOOD}"',
    "padding in the header": f"{HEAD}=.{PAYLOAD}.{SIGNATURE}",
    "padding in the payload": f"{HEAD}.{PAYLOAD}=.{SIGNATURE}",
    "padding in the signature": f"{GOOD}==",
    "a newline within": f"{HEAD}.{PAYLOAD[:4]}\n{PAYLOAD[4:]}.{SIGNATURE}",
    "standard base64": f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-4]}+/+/",
    "percent encoding": f"{HEAD}%2E{PAYLOAD}.{SIGNATURE}",
    "non-zero trailing bits": f"{GOOD[:-1]}{chr(ord(GOOD[-1]) + 1)}",
    "a part of 4n+1 characters": f"{HEAD}.{PAYLOAD}.{SIGNATURE}AAA",
    "a letter of another script": GOOD.replace("A", "А", 1) if "A" in GOOD else f"{GOOD}А",
    "half a surrogate pair": f"{GOOD}\ud800",
    "the JSON serialisation": json.dumps({"protected": HEAD, "payload": PAYLOAD, "signature": SIGNATURE}),
    "null": "null",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_text_of_another_form_is_malformed(text: str) -> None:
    assert verdict(text, single(public("P-256"))) == "malformed"


def test_a_token_that_differs_in_the_header_or_payload_fails() -> None:
    keys = single(public("P-256"))
    assert verdict(GOOD, keys) == "valid"
    assert verdict(f"{HEAD}..{SIGNATURE}", keys) == "invalid"
    assert verdict(f"{HEAD}.{encode_base64url(b'{}')}.{SIGNATURE}", keys) == "invalid"
    respelled = encode_base64url(b'{ "alg":"ES256"}')
    assert verdict(f"{respelled}.{PAYLOAD}.{SIGNATURE}", keys) == "invalid"


def test_an_encrypted_token_is_not_opened() -> None:
    five = ".".join([encode_base64url(b'{"alg":"dir","enc":"A256GCM"}'), "", "AAAA", "AAAA", "AAAA"])
    three = token({"alg": "ES256", "enc": "A256GCM"})
    for text in (five, three, "....", "a.b.c.d.e"):
        with pytest.raises(jwt.MalformedToken) as caught:
            jwt.decode_unverified(text)
        assert (caught.value.message, caught.value.reason) == (
            "the token is encrypted, not opened",
            "encrypted",
        )


def test_64_kib_is_the_longest_token() -> None:
    longest = 64 * 1024
    room = longest - len(token({"alg": "HS256"}, b"", algorithm="HS256"))
    text = token({"alg": "HS256"}, b"x" * (room * 3 // 4), algorithm="HS256")
    assert longest - 2 < len(text) <= longest
    assert verdict(text, single(public("oct"))) == "valid"
    assert (
        verdict(token({"alg": "HS256"}, b"x" * (room * 3 // 4 + 2), algorithm="HS256"), single(public("oct")))
        == "too_long"
    )


PAYLOADS: dict[str, tuple[bytes, bool]] = {
    "a claims set": (CLAIMS, True),
    "an empty claims set": (b"{}", True),
    "huge but exact": (b'{"exp":9007199254740992}', True),
    "nothing": (b"", False),
    "bytes": (b"\x00\xff", False),
    "text": (b"foo", False),
    "an array": (b"[]", False),
    "a nested token": (GOOD.encode(), False),
    "a name twice": (b'{"exp":1,"exp":2}', False),
    "NaN": (b'{"exp":NaN}', False),
    "1e400": (b'{"exp":1e400}', False),
    "a byte order mark": (b"\xef\xbb\xbf{}", False),
    "half a surrogate pair": (b'{"sub":"\\udead"}', False),
    "beyond 2^53": (b'{"exp":9007199254740993}', False),
    "deep": (b'{"a":' * 33 + b"1" + b"}" * 33, False),
}


@pytest.mark.parametrize(("payload", "is_claims"), PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_payload_may_be_anything_but_only_strict_json_is_a_claims_set(
    payload: bytes, is_claims: bool
) -> None:
    verified = jwt.verify(jwt.decode_unverified(token({"alg": "ES256"}, payload)), single(public("P-256")))
    assert isinstance(verified, jwt.VerifiedToken)
    assert verified.payload == payload
    assert (verified.claims is not None) == is_claims
    flaw = jwt.decode_unverified(token({"alg": "ES256"}, payload)).claims_flaw
    assert (flaw is None) == is_claims


# --- which key

A = functools.partial(public, "P-256")
SELECTION: dict[str, tuple[Callable[[], list[dict[str, object]]], dict[str, object], str, str | None]] = {
    "kid found": (lambda: [A(kid="a"), public("RSA", kid="b")], {"kid": "a"}, "valid", None),
    "kid found in a set of one": (lambda: [A(kid="a")], {"kid": "a"}, "valid", None),
    "kid of another key": (
        lambda: [A(kid="a"), public("RSA", kid="b")],
        {"kid": "b"},
        "invalid",
        "not for the algorithm",
    ),
    "kid unknown": (lambda: [A(kid="a")], {"kid": "z"}, "invalid", "no key has the kid"),
    "kid unknown beside a key without": (
        lambda: [A(), public("RSA", kid="b")],
        {"kid": "z"},
        "invalid",
        "no key has the kid",
    ),
    "kid in another case": (lambda: [A(kid="a")], {"kid": "A"}, "invalid", "no key has the kid"),
    "kid with a space": (lambda: [A(kid="a")], {"kid": "a "}, "invalid", "no key has the kid"),
    "kid that looks alike": (lambda: [A(kid="é")], {"kid": "e\u0301"}, "invalid", "no key has the kid"),
    "kid of other scripts": (lambda: [A(kid="鍵😀")], {"kid": "鍵😀"}, "valid", None),
    "kid empty on both sides": (lambda: [A(kid="")], {"kid": ""}, "valid", None),
    "kid like a path": (lambda: [A(kid="a")], {"kid": "../../dev/null"}, "invalid", "no key has the kid"),
    "kid, and no key has one": (lambda: [A(), public("RSA")], {"kid": "z"}, "valid", None),
    "no kid, one key fits": (lambda: [A(kid="a"), public("RSA", kid="b")], {}, "valid", None),
    "no kid, two keys fit": (
        lambda: [A(kid="a"), {**_attacker_jwk(), "kid": "b"}],
        {},
        "invalid",
        "several keys fit",
    ),
    "no kid, one of two is for another use": (
        lambda: [A(kid="a"), {**_attacker_jwk(), "use": "enc"}],
        {},
        "valid",
        None,
    ),
    "no kid, no key fits": (lambda: [public("RSA")], {}, "invalid", "no key fits"),
    "no key at all": (list, {}, "invalid", "no key fits"),
    "the only key is rejected": (lambda: [A(use="enc")], {}, "invalid", "its use is not sig"),
    "the named key is rejected": (
        lambda: [A(kid="a", use="enc"), public("RSA", kid="b")],
        {"kid": "a"},
        "invalid",
        "its use is not sig",
    ),
}


@pytest.mark.parametrize(("make", "header", "expected", "detail"), SELECTION.values(), ids=SELECTION.keys())
def test_the_kid_selects(
    make: Callable[[], list[dict[str, object]]], header: dict[str, object], expected: str, detail: str | None
) -> None:
    keys = read_key_set(json.dumps({"keys": make()}).encode())
    result = jwt.verify_signature(jwt.decode_unverified(token({"alg": "ES256", **header})), keys)
    assert result.verdict == expected
    assert (result.checks[0].name == "key") == (detail is not None)
    assert detail is None or detail in (result.checks[0].detail or "")


def test_without_keys_nothing_is_checked() -> None:
    result = jwt.verify_signature(jwt.decode_unverified(GOOD), None)
    assert (result.verdict, result.token, result.checks[0].ok) == ("not_checked", None, None)


# --- trust is in the type


def test_nothing_else_makes_a_verified_token() -> None:
    key = single(public("P-256")).keys[0]
    with pytest.raises(InternalError):
        jwt.VerifiedToken(header={}, claims={}, payload=b"", key=key, seal=object())
    verified = jwt.verify(jwt.decode_unverified(GOOD), single(public("P-256")))
    assert isinstance(verified, jwt.VerifiedToken)
    with pytest.raises((InternalError, ValueError, TypeError)):
        dataclasses.replace(verified, claims={"sub": "root"})
    with pytest.raises((InternalError, ValueError, TypeError)):
        dataclasses.replace(verified, claims={"sub": "root"}, seal=None)


def test_a_token_shows_nothing_of_itself() -> None:
    unverified = jwt.decode_unverified(token({"alg": "HS256"}, b'{"sub":"hunter2"}', algorithm="HS256"))
    result = jwt.verify_signature(unverified, single(public("oct")))
    for text in (repr(unverified), repr(result)):
        assert "hunter2" not in text
        assert "ZZZZ" not in text


# --- writing


@pytest.mark.parametrize(
    "claims", [{"a": float("nan")}, {"a": 2**60}, {"a": "\ud800"}, {"a": b"x"}, {"a": {1, 2}}]
)
def test_what_our_reader_would_refuse_is_not_issued(claims: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        jwt.encode({}, claims, signing.generate("ES256"))


def test_a_token_that_would_be_too_long_is_not_issued() -> None:
    with pytest.raises(InvalidRequest):
        jwt.encode({}, {"a": "x" * 64 * 1024}, signing.generate("ES256"))


def test_reading_a_token_needs_no_cryptography() -> None:
    import subprocess

    code = "import sys; from tokenctl.formats import jwt; print({'cryptography', 'jwt'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- oracles


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("algorithm", sorted(KEY_OF))
def test_what_joserfc_signs_is_accepted(algorithm: str) -> None:
    name = KEY_OF[algorithm]
    key = (
        import_key(_public(name))
        if name == "oct"
        else import_key(_private_pem(name), {"oct": "oct", "RSA": "RSA", "Ed25519": "OKP"}.get(name, "EC"))
    )
    text = joserfc_jws.serialize_compact({"alg": algorithm}, CLAIMS, key, algorithms=[algorithm])
    assert verdict(text, single(public(name))) == "valid"


@pytest.mark.parametrize("algorithm", sorted(set(KEY_OF) - {"Ed25519"}))
def test_what_jwcrypto_signs_is_accepted(algorithm: str) -> None:
    name = KEY_OF[algorithm]
    key = (
        jwcrypto_jwk.JWK(**_public(name)) if name == "oct" else jwcrypto_jwk.JWK.from_pem(_private_pem(name))
    )
    made = jwcrypto_jws.JWS(CLAIMS)
    made.add_signature(key, alg=algorithm, protected=json.dumps({"alg": algorithm}))
    assert verdict(made.serialize(compact=True), single(public(name))) == "valid"


@pytest.mark.parametrize("algorithm", sorted(set(KEY_OF) - {"Ed25519"}))
def test_what_pyjwt_signs_is_accepted(algorithm: str) -> None:
    name = KEY_OF[algorithm]
    text = pyjwt.encode({"sub": "a"}, SECRET if name == "oct" else _private_pem(name), algorithm=algorithm)
    assert verdict(text, single(public(name))) == "valid"


def _private_pem(name: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(private(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


# --- nothing makes it stumble


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80) | st.text(alphabet="eyJ.-_=Aa0\n{}", max_size=80))
def test_any_text_ends_in_a_verdict(text: str) -> None:
    assert verdict(text, single(public("oct"))) in ("malformed", "encrypted", "invalid")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(sorted(KEY_OF)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5c", "zip", "enc"]),
    JSON,
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(HEADERS, st.binary(max_size=60), st.binary(max_size=70), st.sampled_from(["P-256", "oct", "Ed25519"]))
def test_any_header_payload_and_signature_end_in_a_verdict(
    header: dict[str, Any], payload: bytes, signature: bytes, name: str
) -> None:
    raw = json.dumps(header).encode()
    text = ".".join(encode_base64url(part) for part in (raw, payload, signature))
    assert verdict(text, key_set([public(name)])) in ("malformed", "encrypted", "invalid")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.characters(), st.sampled_from(["replace", "insert", "delete"]))
def test_a_token_changed_in_one_place_is_never_accepted(place: int, character: str, how: str) -> None:
    tail = GOOD[place + 1 :] if how != "insert" else GOOD[place:]
    changed = GOOD[:place] + ("" if how == "delete" else character) + tail
    if changed != GOOD:
        assert verdict(changed, single(public("P-256"))) != "valid"


def test_the_secret_is_compared_whole() -> None:
    text = token({"alg": "HS256"}, algorithm="HS256")
    signing_input = text.rpartition(".")[0]
    mac = hmac.new(SECRET, signing_input.encode(), hashlib.sha256).digest()
    for length in range(len(mac)):
        assert (
            verdict(f"{signing_input}.{encode_base64url(mac[:length])}", single(public("oct"))) == "invalid"
        )
