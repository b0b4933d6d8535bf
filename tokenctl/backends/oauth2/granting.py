"""What a token endpoint grants: the request's form, and the answer read with what the token and the server say besides.

Source: RFC 6749 sections 4.4 and 5.1; RFC 8707 section 2; RFC 8693 section 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tokenctl.backends.remote.service import Facts, Obtained
from tokenctl.errors import AccessDenied, InvalidConfiguration, ServerError, TokenctlError
from tokenctl.formats import jwt
from tokenctl.http.peer import Answer
from tokenctl.model.times import MINUTE, SECOND
from tokenctl.model.token import TokenRequest
from tokenctl.secret import Secret

CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPE = "urn:ietf:params:oauth:token-type:"
_ISSUED_TYPES = (f"{_TYPE}access_token", f"{_TYPE}jwt")
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_SCOPE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{0,4096}")  # RFC 6749 section 3.3
_SHORTEST, _LONGEST = 1, 10 * 366 * 86_400  # seconds of an expires_in
_LATEST = 1 << 40  # seconds


class Broken(ServerError):
    """An answer that grants something and cannot be used (exit 8).

    Attributes:
        token: What it granted nevertheless; ``None`` where there is no token in it.
    """

    def __init__(self, message: str, token: Secret | None) -> None:
        super().__init__(message, reason="malformed_answer")
        self.token = token


class Granted(NamedTuple):
    """What the answer itself says; ``None`` for what it leaves out.

    Attributes:
        lifetime: Milliseconds.
    """

    text: Secret
    lifetime: int | None
    scope: tuple[str, ...] | None


def form_of(request: TokenRequest, authority: str, now: int) -> dict[str, str]:
    """Return the form that asks for a token.

    Raises:
        InvalidConfiguration: more than one audience (exit 9).
        AccessDenied: the identity that is to be exchanged is none, or has expired: nothing is sent (exit 4).
    """
    form = {"grant_type": CLIENT_CREDENTIALS}
    if request.exchange is not None:
        form = {
            "grant_type": TOKEN_EXCHANGE, "subject_token": _identity(request.exchange, now),
            "subject_token_type": f"{_TYPE}jwt", "requested_token_type": f"{_TYPE}access_token",
        }  # fmt: skip
    if request.scope:
        form["scope"] = " ".join(sorted(request.scope))
    if len(request.audience) > 1:
        raise InvalidConfiguration(f"{authority} takes one --audience a token", reason="part_lacking")
    if request.audience:
        form["resource"] = request.audience[0]
    return form


def _identity(exchange: Secret, now: int) -> str:
    """Return the identity of a job as it is sent; nothing of it is told."""
    hint = "a fresh OpenID Connect token of the job, in one line"
    try:
        text = exchange.reveal().decode("ascii")
        claims = jwt.decode_unverified(text).claims or {}
    except (jwt.MalformedToken, UnicodeDecodeError):
        raise AccessDenied("what is to be exchanged is no JWT", hint=hint, reason="identity_malformed") from None
    end = claims.get("exp")
    if isinstance(end, int | float) and not isinstance(end, bool) and end * SECOND + MINUTE < now:
        raise AccessDenied("the identity that is to be exchanged has expired", hint=hint, reason="identity_expired")
    return text


def read(answer: Answer, authority: str, *, exchanged: bool) -> Granted:
    """Read an answer that grants a token; raises Broken (exit 8)."""

    def broken(what: str) -> Broken:
        return Broken(f"{authority} broke its contract: {what}", token)

    token: Secret | None = None
    try:
        members = answer.members()
    except ServerError as error:
        raise Broken(error.message, None) from None
    text, kind, lifetime = members.get("access_token"), members.get("token_type"), members.get("expires_in")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise broken("it grants no access_token")
    token = Secret(text)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise broken("its token is of another type than bearer")
    if exchanged and members.get("issued_token_type", _ISSUED_TYPES[0]) not in _ISSUED_TYPES:
        raise broken("what it gives in exchange is no access token")
    if isinstance(lifetime, str) and re.fullmatch(r"[0-9]{1,10}", lifetime):
        lifetime = int(lifetime)
    if lifetime is not None and not (_plain(lifetime) and _SHORTEST <= float(str(lifetime)) <= _LONGEST):
        raise broken("its expires_in is no time")
    scope = members.get("scope")
    if scope is not None and not (isinstance(scope, str) and _SCOPE.fullmatch(scope)):
        raise broken("its scope is none")
    return Granted(
        token, int(float(str(lifetime))) * SECOND if lifetime is not None else None,
        tuple(scope.split()) if isinstance(scope, str) else None,
    )  # fmt: skip


def complete(
    granted: Granted, request: TokenRequest, *, now: int, client: str | None, ask: Callable[[], Facts | None]
) -> Obtained:
    """Add what the answer leaves out, from the claims of the token, else by asking the server about it.

    A scope that nothing tells is not taken for the one that was asked for (RFC 6749 section 5.1): servers leave it out too where
    they grant none of it.

    Args:
        now: Milliseconds since the epoch, when the answer came.
        client: The client that asked, and the subject of what it obtains for itself.
    """
    claims = told = _told(granted.text)
    exchanged = request.exchange is not None
    lacks = (
        granted.scope is None and bool(request.scope) and "scope" not in told,
        granted.lifetime is None and "exp" not in told,
        exchanged and "sub" not in told,
    )
    if any(lacks):
        told = {**_answered(ask), **told}
    issued_at = _issued_at(claims, now)
    lifetime = granted.lifetime if granted.lifetime is not None else _lifetime(told, issued_at)
    carried = _lifetime(claims, issued_at)
    if lifetime is not None and carried is not None:
        lifetime = max(lifetime, carried)  # a JWT is accepted as long as it says itself
    scope = granted.scope
    if scope is None:
        scope = _scope(told.get("scope")) if request.scope else ()
    subject = told.get("sub")
    return Obtained(
        text=granted.text, handle=None, subject=subject if exchanged and isinstance(subject, str) and subject else client,
        issued_at=issued_at, expires_at=issued_at + lifetime if lifetime is not None else None, scope=scope,
    )  # fmt: skip


def _told(text: Secret) -> Mapping[str, object]:
    try:
        claims = jwt.decode_unverified(text.reveal().decode("ascii")).claims or {}
    except jwt.MalformedToken:
        return {}
    return {name: value for name, value in claims.items() if value is not None}


def _answered(ask: Callable[[], Facts | None]) -> Mapping[str, object]:
    """Ask about the token; that the question fails must not lose the token itself."""
    try:
        facts = ask()
    except TokenctlError:
        return {}
    return facts.members if facts is not None and facts.active else {}


def _issued_at(claims: Mapping[str, object], now: int) -> int:
    """Return when a token was issued, by itself where that is about now: so its end is told as its verifiers see it."""
    said = claims.get("iat")
    instant = int(float(str(said)) * SECOND) if _plain(said) else now
    nearest = instant if abs(instant - now) <= MINUTE else now
    return nearest - nearest % SECOND


def _lifetime(told: Mapping[str, object], issued_at: int) -> int | None:
    end, begin = told.get("exp"), told.get("iat")
    if not _plain(end) or not 0 < float(str(end)) < _LATEST:
        return None
    start = float(str(begin)) if _plain(begin) else issued_at / SECOND
    return max(int((float(str(end)) - start) * SECOND), 0)


def _scope(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(entry for entry in value if isinstance(entry, str))
    return tuple(value.split()) if isinstance(value, str) else ()


def _plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
