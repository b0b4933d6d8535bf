"""The claims of a presented token: each rule, and that every failed one is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenctl.model.checks import OWN_TYPE, Check, check_claims, findings, media_type, shown

NOW = 1_800_000_000
OWN_HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": "k"}
OWN_CLAIMS: dict[str, object] = {
    "iss": "urn:tokenctl:1",
    "sub": "ci",
    "aud": "https://api.example",
    "exp": NOW + 900,
    "iat": NOW,
    "jti": "0352Ldy4SKzRSvwVvSWvL6",
    "client_id": "ci",
    "scope": "read write",
}


def run(claims: dict[str, object], header: dict[str, object] | None = None, **more: Any) -> list[Check]:
    given_by_us = {"now": NOW, "any_audience": True, **more}
    return check_claims(OWN_HEADER if header is None else header, claims, **given_by_us)


def failed(checks: list[Check]) -> list[tuple[str, str | None]]:
    return [(check.name, check.detail) for check in checks if check.ok is False]


def names(checks: list[Check]) -> list[str]:
    return [name for name, _ in failed(checks)]


def test_a_token_of_ours_passes_every_check() -> None:
    checks = run(
        OWN_CLAIMS,
        issuer="urn:tokenctl:1",
        audiences=["https://other.example", "https://api.example"],
        any_audience=False,
        scopes=["read"],
        expect_type=OWN_TYPE,
    )
    assert [(check.name, check.ok) for check in checks] == [
        (name, True) for name in ("type", "claims", "time", "issuer", "audience", "scope")
    ]


TIMES: dict[str, tuple[dict[str, object], int, bool]] = {
    "exp in a second": ({"exp": NOW + 1}, 0, True),
    "exp now": ({"exp": NOW}, 0, False),
    "exp now, as a fraction": ({"exp": NOW + 0.5}, 0, True),
    "exp a second ago": ({"exp": NOW - 1}, 0, False),
    "exp within the leeway": ({"exp": NOW - 59}, 60, True),
    "exp as old as the leeway": ({"exp": NOW - 60}, 60, False),
    "exp negative": ({"exp": -1}, 0, False),
    "exp zero": ({"exp": 0}, 0, False),
    "exp minus zero": ({"exp": -0.0}, 0, False),
    "exp far beyond the calendar": ({"exp": 1e300}, 0, True),
    "exp far before the calendar": ({"exp": -1e300}, 0, False),
    "exp true": ({"exp": True}, 0, False),
    "exp a string": ({"exp": str(NOW + 900)}, 0, False),
    "exp null": ({"exp": None}, 0, False),
    "exp NaN": ({"exp": float("nan")}, 0, False),
    "exp infinite": ({"exp": float("inf")}, 0, False),
    "exp a list": ({"exp": [NOW + 900]}, 0, False),
    "exp an object": ({"exp": {}}, 0, False),
    "exp of 400 digits": ({"exp": 10**400}, 0, False),
    "nbf now": ({"nbf": NOW}, 0, True),
    "nbf in a second": ({"nbf": NOW + 1}, 0, False),
    "nbf within the leeway": ({"nbf": NOW + 60}, 60, True),
    "nbf beyond the leeway": ({"nbf": NOW + 61}, 60, False),
    "nbf a string": ({"nbf": "0"}, 0, False),
    "nbf false": ({"nbf": False}, 0, False),
    "iat in a second": ({"iat": NOW + 1}, 0, False),
    "iat within the leeway": ({"iat": NOW + 60}, 60, True),
    "iat long ago": ({"iat": 0}, 0, True),
    "iat a string": ({"iat": "now"}, 0, False),
    "iat true": ({"iat": True}, 0, False),
}


@pytest.mark.parametrize(("changed", "leeway", "passes"), TIMES.values(), ids=TIMES.keys())
def test_time(changed: dict[str, object], leeway: int, passes: bool) -> None:
    checks = run({**OWN_CLAIMS, **changed}, leeway=leeway)
    assert names(checks) == ([] if passes else ["time"])


def test_the_details_of_time_name_the_instant_and_the_distance() -> None:
    claims = {**OWN_CLAIMS, "exp": NOW - 48, "nbf": NOW + 60, "iat": NOW + 5}
    assert failed(run(claims)) == [
        ("time", "expired at 2027-01-15T07:59:12Z, 48s ago"),
        ("time", "not valid before 2027-01-15T08:01:00Z, in 1m"),
        ("time", "issued at 2027-01-15T08:00:05Z, in 5s: clocks differ"),
    ]


def test_without_exp_an_access_token_fails_and_another_jwt_does_not() -> None:
    claims = {name: value for name, value in OWN_CLAIMS.items() if name != "exp"}
    assert names(run(claims)) == ["time"]
    assert names(run(claims, {"alg": "ES256"}, expect_type=OWN_TYPE)) == ["type", "time"]
    assert names(run(claims, {"alg": "ES256", "typ": "JWT"})) == []


TYPES: dict[str, tuple[dict[str, object], bool, bool]] = {  # header, passes as ours, passes as foreign
    "at+jwt": ({"typ": "at+jwt"}, True, True),
    "in capitals": ({"typ": "AT+JWT"}, True, True),
    "as a media type": ({"typ": "application/at+jwt"}, True, True),
    "as a media type in capitals": ({"typ": "Application/AT+JWT"}, True, True),
    "JWT": ({"typ": "JWT"}, False, True),
    "jwt": ({"typ": "jwt"}, False, True),
    "none": ({}, False, True),
    "empty": ({"typ": ""}, False, False),
    "a DPoP proof": ({"typ": "dpop+jwt"}, False, False),
    "a security event": ({"typ": "secevent+jwt"}, False, False),
    "a logout": ({"typ": "logout+jwt"}, False, False),
    "an ID token's own": ({"typ": "id+jwt"}, False, False),
    "with a space": ({"typ": "at+jwt "}, False, False),
    "of another tree": ({"typ": "text/at+jwt"}, False, False),
    "application twice": ({"typ": "application/application/at+jwt"}, False, False),
    "a letter that folds": ({"typ": "ＪＷＴ"}, False, False),
    "null": ({"typ": None}, False, False),
    "a number": ({"typ": 1}, False, False),
    "a list": ({"typ": ["at+jwt"]}, False, False),
    "at+jwt that holds a token": ({"typ": "at+jwt", "cty": "JWT"}, False, False),
}


@pytest.mark.parametrize(("header", "ours", "foreign"), TYPES.values(), ids=TYPES.keys())
def test_type(header: dict[str, object], ours: bool, foreign: bool) -> None:
    assert names(run(OWN_CLAIMS, header, expect_type=OWN_TYPE)) == ([] if ours else ["type"])
    assert names(run(OWN_CLAIMS, header)) == ([] if foreign else ["type"])


def test_a_media_type_is_read_in_its_short_form() -> None:
    assert media_type("application/JWT") == "jwt"
    assert media_type("application/a/b") == "application/a/b"
    assert media_type(None) is None


ISSUERS: dict[str, tuple[object, str | None, list[str]]] = {
    "the same": ("https://a.example", "https://a.example", []),
    "none expected": ("https://a.example", None, []),
    "with a slash": ("https://a.example/", "https://a.example", ["issuer"]),
    "in another case": ("https://A.example", "https://a.example", ["issuer"]),
    "a longer one": ("https://a.example.evil", "https://a.example", ["issuer"]),
    "empty": ("", "https://a.example", ["issuer"]),
    "a list": (["https://a.example"], "https://a.example", ["claims", "issuer"]),
    "null": (None, None, ["claims"]),
    "a number": (1, None, ["claims"]),
}


@pytest.mark.parametrize(("iss", "expected", "fails"), ISSUERS.values(), ids=ISSUERS.keys())
def test_issuer(iss: object, expected: str | None, fails: list[str]) -> None:
    assert names(run({**OWN_CLAIMS, "iss": iss}, issuer=expected)) == fails


def test_without_issuer_an_access_token_fails_and_another_jwt_only_where_one_is_expected() -> None:
    claims = {name: value for name, value in OWN_CLAIMS.items() if name != "iss"}
    assert names(run(claims)) == ["issuer"]
    assert names(run(claims, {})) == []
    assert names(run(claims, {}, issuer="https://a.example")) == ["issuer"]


AUDIENCES: dict[str, tuple[object, list[str], list[str]]] = {
    "the same": ("a", ["a"], []),
    "one of those expected": ("b", ["a", "b"], []),
    "one of a list": (["x", "a"], ["a"], []),
    "none of a list": (["x", "y"], ["a"], ["audience"]),
    "another": ("b", ["a"], ["audience"]),
    "in another case": ("A", ["a"], ["audience"]),
    "a part of it": ("ab", ["a"], ["audience"]),
    "with a slash": ("a/", ["a"], ["audience"]),
    "two in one string": ("a b", ["a"], ["audience"]),
    "nobody expected": ("a", [], ["not_asked"]),
    "nobody expected of a list": (["a", "b"], [], ["not_asked"]),
    "an empty list": ([], ["a"], ["audience"]),
    "an empty list, nobody expected": ([], [], ["audience"]),
    "a list with a number": (["a", 1], ["a"], ["audience"]),
    "a list in a list": ([["a"]], ["a"], ["audience"]),
    "an object": ({"a": 1}, ["a"], ["audience"]),
    "null": (None, ["a"], ["audience"]),
    "true": (True, [], ["audience"]),
    "an empty string": ("", ["a"], ["audience"]),
}


@pytest.mark.parametrize(("aud", "expected", "fails"), AUDIENCES.values(), ids=AUDIENCES.keys())
def test_audience(aud: object, expected: list[str], fails: list[str]) -> None:
    assert names(run({**OWN_CLAIMS, "aud": aud}, audiences=expected, any_audience=False)) == fails


def test_any_audience_accepts_every_audience_but_no_malformed_one() -> None:
    assert names(run({**OWN_CLAIMS, "aud": ["x"]}, any_audience=True)) == []
    assert names(run({**OWN_CLAIMS, "aud": 1}, any_audience=True)) == ["audience"]


def test_without_audience_an_access_token_fails_and_another_jwt_only_where_one_is_expected() -> None:
    claims = {name: value for name, value in OWN_CLAIMS.items() if name != "aud"}
    assert names(run(claims, any_audience=False)) == ["audience"]
    assert names(run(claims, {}, any_audience=False)) == []
    assert names(run(claims, {}, audiences=["a"], any_audience=False)) == ["audience"]


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {}, None, "x"])
def test_a_bound_token_without_proof_is_not_accepted_unless_told(cnf: object) -> None:
    claims = {**OWN_CLAIMS, "cnf": cnf}
    assert names(run(claims)) == ["not_asked"]
    ignored = run(claims, ignore_binding=True)
    assert names(ignored) == []
    assert [(check.name, check.ok) for check in ignored if check.ok is None] == [("binding", None)]


SCOPES: dict[str, tuple[object, list[str], int]] = {
    "all granted": ("read write", ["write", "read"], 0),
    "one missing": ("read", ["read", "write"], 1),
    "both missing": ("", ["read", "write"], 2),
    "in another case": ("READ", ["read"], 1),
    "a part of one": ("readonly", ["read"], 1),
    "by a tab": ("read\twrite", ["read"], 1),
    "a list": (["read"], ["read"], 1),
    "null": (None, ["read"], 1),
}


@pytest.mark.parametrize(("scope", "asked", "count"), SCOPES.values(), ids=SCOPES.keys())
def test_scope(scope: object, asked: list[str], count: int) -> None:
    assert names(run({**OWN_CLAIMS, "scope": scope}, scopes=asked)) == ["scope"] * count


def test_every_failure_is_told_not_the_first_alone() -> None:
    claims = {"iss": 1, "sub": 2, "aud": "b", "exp": NOW, "nbf": NOW + 1, "iat": "x", "cnf": {}, "scope": ""}
    checks = run(
        claims,
        {"typ": "dpop+jwt", "cty": "JWT"},
        issuer="i",
        audiences=["a"],
        any_audience=False,
        scopes=["s"],
    )
    told = "type type claims claims time time time issuer audience not_asked scope"
    assert names(checks) == told.split()


def test_a_payload_that_is_no_claims_set_fails() -> None:
    assert failed(check_claims({}, None, now=NOW)) == [("claims", "the payload is no claims set")]


def test_a_long_value_is_cut() -> None:
    assert shown("x" * 60) == "x" * 60
    assert shown("x" * 61) == "x" * 59 + "…"
    for check in run(
        {**OWN_CLAIMS, "iss": "x" * 60_000, "aud": "y" * 60_000},
        {"typ": "z" * 60_000},
        issuer="i",
        audiences=["a"],
        any_audience=False,
    ):
        assert len(check.detail or "") <= 120


FINDINGS: dict[str, tuple[dict[str, object], dict[str, object], set[str]]] = {
    "nothing": (OWN_HEADER, OWN_CLAIMS, set()),
    "no typ": ({"alg": "ES256"}, OWN_CLAIMS, {"no-type"}),
    "HMAC": ({"alg": "HS256", "typ": "JWT"}, OWN_CLAIMS, {"symmetric-algorithm"}),
    "PKCS #1 v1.5": ({"alg": "RS512", "typ": "JWT"}, OWN_CLAIMS, {"old-padding"}),
    "PSS": ({"alg": "PS512", "typ": "JWT"}, OWN_CLAIMS, set()),
    "a key in the header": ({**OWN_HEADER, "jwk": {}, "jku": ""}, OWN_CLAIMS, {"key-in-header"}),
    "a day and a second": (OWN_HEADER, {**OWN_CLAIMS, "exp": NOW + 86_401}, {"long-lifetime"}),
    "a day": (OWN_HEADER, {**OWN_CLAIMS, "exp": NOW + 86_400}, set()),
    "an empty scope": (OWN_HEADER, {**OWN_CLAIMS, "scope": ""}, {"empty-scope"}),
    "the widest scope": (OWN_HEADER, {**OWN_CLAIMS, "scope": "a *"}, {"wide-scope"}),
    "no claim at all": (
        {"alg": "ES256", "typ": "JWT"}, {}, {"no-expiry", "no-audience", "no-issuer", "no-subject"},
    ),
    "an access token without its claims": (
        OWN_HEADER, {"exp": NOW, "aud": "a", "iss": "i", "sub": "s"}, {"missing-claims"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("header", "claims", "expected"), FINDINGS.values(), ids=FINDINGS.keys())
def test_findings(header: dict[str, object], claims: dict[str, object], expected: set[str]) -> None:
    assert {finding.id for finding in findings(header, claims)} == expected


def test_findings_of_a_token_without_claims_set_speak_of_the_header_only() -> None:
    assert [finding.id for finding in findings({"alg": "RS256"}, None)] == ["no-type", "old-padding"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
CLAIM_NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "scope", "client_id"])


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "cty", "jwk"]), VALUES),
    st.dictionaries(CLAIM_NAMES, VALUES),
    st.sampled_from([None, OWN_TYPE]),
)
def test_no_claim_of_any_type_makes_a_check_stumble(
    header: dict[str, Any], claims: dict[str, Any], expected: str | None
) -> None:
    checks = check_claims(
        header, claims, now=NOW, leeway=60, issuer="i", audiences=["a"], scopes=["s"], expect_type=expected
    )
    assert len({check.name for check in checks}) >= 5
    findings(header, claims)
