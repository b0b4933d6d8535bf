"""What was checked about a presented token, and what came of it.

The claims are judged here, whoever proved the signature. Every failed check is told, not the first alone.
Details quote the token in at most ``SHOWN`` characters and unescaped: ``render`` owns the escaping.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from tokenctl.model.times import format_distance, format_instant

SHOWN = 60  # characters of a foreign value in a detail
OWN_TYPE = "at+jwt"  # RFC 9068 section 2.1
FOREIGN_TYPES = ("jwt", "at+jwt")
LONG_LIFETIME = 86_400  # seconds

_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
_LARGEST_INTEGER = 1 << 53  # as in strict_json: beyond it arithmetic with floats may overflow
_KEY_SOURCES = ("jwk", "jku", "x5u", "x5c")
_RFC_9068_CLAIMS = ("client_id", "iat", "jti", "sub")


class Check(NamedTuple):
    """One check of a presented token.

    Attributes:
        name: A stable machine string, for example ``form``, ``signature``, ``time``, ``audience``, ``state``.
        ok: Whether it passed; ``None`` where it was not asked.
        detail: The fact behind a failure, lower case, without anything of a secret.
    """

    name: str
    ok: bool | None
    detail: str | None = None


class Finding(NamedTuple):
    """Something an operator should know about a token; it does not make the token invalid.

    Attributes:
        id: A stable machine string.
        text: One sentence without full stop, lower case.
    """

    id: str
    text: str


def shown(value: object) -> str:
    """Return a foreign value for a message, cut to ``SHOWN`` characters."""
    if isinstance(value, str):
        return value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
    return "a value of another type"


def check_claims(
    header: Mapping[str, object],
    claims: Mapping[str, object] | None,
    *,
    now: int,
    leeway: int = 0,
    issuer: str | None = None,
    audiences: Sequence[str] = (),
    any_audience: bool = False,
    scopes: Sequence[str] = (),
    ignore_binding: bool = False,
    expect_type: str | None = None,
) -> list[Check]:
    """Check the claims of a JWT as an access token.

    Args:
        header: The protected header.
        claims: The claims set, or ``None`` where the payload is none.
        now: Seconds since the epoch, read once by the caller.
        leeway: Seconds: 0 for our own tokens, 60 for foreign ones; the caller limits it to 300.
        issuer: The ``iss`` that must stand there, if one is expected.
        audiences: Any of these must stand in ``aud``.
        any_audience: Accept a token for whatever audience.
        scopes: All of these must be granted.
        ignore_binding: Accept a token that is bound to a key (``cnf``) without proof of it.
        expect_type: ``OWN_TYPE`` for our own tokens; ``None`` accepts ``JWT``, ``at+jwt`` and no ``typ``.

    Returns:
        Every failed check, and one that passed for each name without a failure. ``not_asked`` fails where the
        token is limited in a way that the caller said nothing about.

    Source: RFC 7519 section 4.1; RFC 9068 section 4; RFC 8725 sections 3.8 to 3.12; RFC 7800 section 3.1.
    """
    type_flaws = _type_flaws(header, expect_type)
    if claims is None:
        return [*_outcome("type", type_flaws), *_outcome("claims", ["the payload is no claims set"])]
    is_access_token = OWN_TYPE in (expect_type, media_type(header.get("typ")))
    checks = [
        *_outcome("type", type_flaws),
        *_outcome("claims", _form_flaws(claims)),
        *_outcome("time", _time_flaws(claims, now=now, leeway=leeway, exp_required=is_access_token)),
        *_outcome("issuer", _issuer_flaws(claims, issuer, required=is_access_token)),
        *_audience_checks(claims, audiences, any_audience=any_audience, required=is_access_token),
    ]
    if "cnf" in claims:
        checks.append(_binding_check(ignored=ignore_binding))
    if scopes:
        checks += _outcome("scope", _scope_flaws(claims, scopes))
    return checks


def media_type(typ: object) -> str | None:
    """Return a ``typ`` in its short lower-case form, ``None`` where it is no string.

    Source: RFC 7515 section 4.1.9: compared as a media type; ``application/`` may be left out.
    """
    if not isinstance(typ, str):
        return None
    name = typ.lower() if typ.isascii() else typ
    short = name.removeprefix("application/")
    return name if "/" in short else short


def _outcome(name: str, flaws: Sequence[str]) -> list[Check]:
    return [Check(name=name, ok=False, detail=flaw) for flaw in flaws] or [Check(name=name, ok=True)]


def _type_flaws(header: Mapping[str, object], expect_type: str | None) -> list[str]:
    flaws = []
    typ = header.get("typ")
    if "typ" in header and not isinstance(typ, str):
        flaws.append("the typ is no string")
    elif expect_type is not None:
        if media_type(typ) != expect_type:
            flaws.append(f"the typ is not {expect_type}: {'none' if typ is None else shown(typ)}")
    elif "typ" in header and media_type(typ) not in FOREIGN_TYPES:
        flaws.append(f"the typ is not that of an access token: {shown(typ)}")
    if media_type(header.get("cty")) == "jwt":
        flaws.append("the token holds another one, which is not opened")
    return flaws


def _form_flaws(claims: Mapping[str, object]) -> list[str]:
    names = ("iss", "sub", "jti")
    return [f"the {name} is no string" for name in names if not isinstance(claims.get(name, ""), str)]


def _time_flaws(claims: Mapping[str, object], *, now: int, leeway: int, exp_required: bool) -> list[str]:
    names = ("exp", "nbf", "iat")
    flaws = [f"the {name} is no finite number" for name in names if _number(claims.get(name, 0)) is None]
    exp, nbf, iat = (_number(claims.get(name)) for name in names)
    if exp is not None and now >= exp + leeway:  # "on or after", RFC 7519 section 4.1.4
        flaws.append(f"expired at {_instant(exp)}, {_distance(exp, now)}")
    if "exp" not in claims and exp_required:
        flaws.append("the token has no exp, which an access token needs")
    if nbf is not None and now < nbf - leeway:
        flaws.append(f"not valid before {_instant(nbf)}, {_distance(nbf, now)}")
    if iat is not None and now < iat - leeway:
        flaws.append(f"issued at {_instant(iat)}, {_distance(iat, now)}: clocks differ")
    return flaws


def _number(value: object) -> int | float | None:
    """Return a NumericDate, ``None`` for anything else; ``True`` is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_INTEGER else None
    return value if isfinite(value) else None


def _milliseconds(seconds: float) -> int:
    return int(min(max(seconds, 0), _LAST_SECOND)) * 1000


def _instant(seconds: float) -> str:
    if not 0 <= seconds <= _LAST_SECOND:
        return "a time outside 1970 to 9999"
    return format_instant(_milliseconds(seconds))


def _distance(seconds: float, now: int) -> str:
    return format_distance(_milliseconds(seconds), _milliseconds(now))


def _issuer_flaws(claims: Mapping[str, object], issuer: str | None, *, required: bool) -> list[str]:
    if "iss" not in claims:
        return ["the token names no issuer"] if required or issuer is not None else []
    if issuer is not None and (not isinstance(claims["iss"], str) or claims["iss"] != issuer):
        return [f"the issuer is another one: {shown(claims['iss'])}"]
    return []


def _audience_checks(
    claims: Mapping[str, object], audiences: Sequence[str], *, any_audience: bool, required: bool
) -> list[Check]:
    aud = claims.get("aud")
    named = [aud] if isinstance(aud, str) else aud
    if "aud" not in claims:
        return _outcome("audience", ["the token names no audience"] if required or audiences else [])
    if not isinstance(named, list | tuple) or not named or not all(isinstance(name, str) for name in named):
        return _outcome("audience", ["the aud is neither a string nor a list of strings"])
    if any_audience:
        return [Check(name="audience", ok=True)]
    if not audiences:
        detail = f"the token is for the audience {shown(named[0])}; none was expected"
        return [Check(name="not_asked", ok=False, detail=detail)]
    if set(named).isdisjoint(audiences):
        return _outcome("audience", [f"the token is for another audience: {shown(named[0])}"])
    return [Check(name="audience", ok=True)]


def _binding_check(*, ignored: bool) -> Check:
    if ignored:
        return Check(name="binding", ok=None, detail="the token is bound to a key; no proof was asked for")
    return Check(name="not_asked", ok=False, detail="the token is bound to a key (cnf); no proof was presented")


def _scope_flaws(claims: Mapping[str, object], scopes: Sequence[str]) -> list[str]:
    granted = claims.get("scope", "")
    if not isinstance(granted, str):
        return ["the scope is no string"]
    values = frozenset(granted.split(" "))
    return [f"the scope is not granted: {shown(scope)}" for scope in scopes if scope not in values]


def findings(header: Mapping[str, object], claims: Mapping[str, object] | None) -> list[Finding]:
    """List what RFC 8725 and RFC 9068 advise against in this token, whether or not it is accepted.

    Source: RFC 8725 sections 3.2, 3.5, 3.8 to 3.11; RFC 9068 sections 2.2 and 5.
    """
    found = _header_findings(header)
    if claims is not None:
        found += _claims_findings(header, claims)
    return found


def _header_findings(header: Mapping[str, object]) -> list[Finding]:
    algorithm = header.get("alg")
    family = algorithm[:2] if isinstance(algorithm, str) else ""
    sources = " ".join(name for name in _KEY_SOURCES if name in header)
    return _that_hold(
        ("no-type", "typ" not in header, "no typ: nothing tells it from other JWTs of its issuer"),
        ("symmetric-algorithm", family == "HS", "a shared key signs it: every verifier can issue tokens"),
        ("old-padding", family == "RS", "RSA PKCS #1 v1.5 signature: prefer ES256, EdDSA or PS256"),
        ("key-in-header", bool(sources), f"the header offers a key ({sources}), which was not used"),
    )


def _claims_findings(header: Mapping[str, object], claims: Mapping[str, object]) -> list[Finding]:
    exp, iat, scope = _number(claims.get("exp")), _number(claims.get("iat")), claims.get("scope")
    long_lived = exp is not None and iat is not None and exp - iat > LONG_LIFETIME
    is_own_type = media_type(header.get("typ")) == OWN_TYPE
    missing = " ".join(name for name in _RFC_9068_CLAIMS if is_own_type and name not in claims)
    wide = isinstance(scope, str) and "*" in scope.split(" ")
    return _that_hold(
        ("no-expiry", "exp" not in claims, "no exp: it stays valid as long as its key"),
        ("long-lifetime", long_lived, "it lives longer than a day: a leak stays useful that long"),
        ("no-audience", not claims.get("aud"), "no aud: every service that trusts the issuer accepts it"),
        ("no-issuer", not claims.get("iss"), "no iss: nothing ties it to the owner of the key"),
        ("no-subject", not claims.get("sub"), "no sub: nobody is accountable for its use"),
        (
            "empty-scope",
            "scope" in claims and not scope,
            "an empty scope: each service decides what it grants",
        ),
        ("wide-scope", wide, "the scope * grants everything"),
        ("missing-claims", bool(missing), f"RFC 9068 requires {missing}"),
    )


def _that_hold(*candidates: tuple[str, bool, str]) -> list[Finding]:
    return [Finding(id=identifier, text=text) for identifier, holds, text in candidates if holds]
