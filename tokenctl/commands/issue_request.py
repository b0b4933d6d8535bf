"""What a request for tokens means: the words of a command line, or of a row of a bulk issue, turned into a request.

Every fault of one request is told, not the first alone.
"""

import json
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from tokenctl.audit.actor import user_name
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TokenctlError
from tokenctl.formats import opaque
from tokenctl.model.record import canonical
from tokenctl.model.times import SECOND, parse_duration, parse_instant
from tokenctl.model.token import FORMATS, KINDS, LABEL_NAME, TokenRequest
from tokenctl.render.escape import escape
from tokenctl.secret import Secret

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
# Source: RFC 7519 section 4.1, RFC 9068 section 2.2, RFC 7800, RFC 8693: what we set ourselves, or what others trust us for.
FORBIDDEN_CLAIMS = frozenset(
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf", "act", "may_act", "auth_time", "acr", "amr"]
)  # fmt: skip
_SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]{1,256}"  # RFC 6749 section 3.3
_LABEL = rf"(?s)({LABEL_NAME})=(.{{0,256}})"
_REQUEST_ID = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
_NO_REQUEST_ID = "--request-id: letters, digits and _ . : - are admitted, at most 128"
_LONGEST_TEXT = 1024  # characters of a subject, an owner, a note
_LARGEST_CLAIMS = 16 * 1024  # characters of all custom claims together


class Wish(NamedTuple):
    """What the command line asks for, as it was typed."""

    subject: str | None = None
    scope: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    ttl: str | None = None
    format: str | None = None
    algorithm: str | None = None
    kind: str | None = None
    owner: str | None = None
    label: tuple[str, ...] = ()
    claim: tuple[str, ...] = ()
    not_before: str | None = None
    max_uses: int | None = None
    parent: str | None = None
    note: str | None = None
    request_id: str | None = None
    replace: str | None = None
    grace: str | None = None
    accept_less: bool = False
    exchange: Secret | None = None


def read_wish(wish: Wish, context: Context, backend: Backend) -> TokenRequest:
    """Turn what was typed into a request.

    Raises:
        InvalidRequest: with every fault (exit 2); InvalidConfiguration: for what the authority cannot grant (exit 9).
    """
    faults: list[str] = []
    kind = _kind(wish)
    lifetime = parsed("--ttl", lambda: parse_duration(wish.ttl or ""), faults) if wish.ttl is not None else None
    not_before = None
    if wish.not_before is not None:
        not_before = parsed("--not-before", lambda: parse_instant(wish.not_before or "", context.now), faults)
    default_audience = backend.default_audience
    token_format = wish.format if wish.format is not None else "jwt" if wish.algorithm is not None else "opaque"
    takes_default = token_format == "jwt" or backend.kind == "oauth2"  # there the service decides on the format
    audience = wish.audience or ((default_audience,) if takes_default and default_audience else ())
    subject = wish.subject if wish.subject is not None else backend.default_subject
    faults += [] if subject and subject.strip() else ["--subject: is required"]
    faults += text_faults(wish) + _choice_faults(wish, kind, token_format, audience)
    labels = _labels(wish, faults)
    claims = claims_of(wish, token_format, faults)
    parent = opaque.named_id(wish.parent) if wish.parent is not None else None
    if wish.parent is not None and parent is None:
        faults.append("--parent: not a token id")
    if lifetime is not None and lifetime % SECOND:
        lifetime -= lifetime % SECOND
    request = TokenRequest(
        subject=subject or "", owner=wish.owner or user_name(os.getuid()), kind=kind, format=token_format,
        algorithm=wish.algorithm, scope=wish.scope, audience=audience, lifetime=lifetime,
        not_before=None if not_before is None else not_before - not_before % SECOND, max_uses=wish.max_uses, parent=parent,
        labels=labels, claims=claims, note=wish.note, request_id=wish.request_id,
        parameters=None if wish.request_id is None else parameters_of(wish),
        accept_less=wish.accept_less or context.console.on_terminal, exchange=wish.exchange,
    )  # fmt: skip
    if faults:
        if kind in KINDS:
            faults += map(str, backend.policy.decide(request).faults)
        raise together(faults)
    backend.require_granted(request)
    return request


def _kind(wish: Wish) -> str:
    return wish.kind if wish.kind is not None else "access"


def parsed(option: str, read: Callable[[], int], faults: list[str]) -> int | None:
    """Read the value of an option; what is wrong with it is added to the faults."""
    try:
        return read()
    except InvalidRequest as error:
        faults.append(f"{option}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return None


def parameters_of(wish: Wish) -> bytes:
    """Return what was typed: a request id stands for exactly this."""
    typed = {name: value for name, value in wish._asdict().items() if name not in ("request_id", "accept_less", "exchange")}
    if wish.exchange is not None:
        typed["exchange"] = True
    if wish.replace is None:  # what is remembered of requests of other kinds stays what it was
        typed = {name: value for name, value in typed.items() if name not in ("replace", "grace")} | {"kind": _kind(wish)}
    return canonical({name: list(value) if isinstance(value, tuple) else value for name, value in typed.items()})


# Rows of a bulk issue

_ROW_TEXTS = ("subject", "owner", "kind", "format", "algorithm", "ttl", "not_before", "parent", "note", "request_id")
_ROW_LISTS = ("scope", "audience")
_ROW_MEMBERS = ("labels", "claims")
_ROW_KEYS = (*_ROW_TEXTS, *_ROW_LISTS, *_ROW_MEMBERS, "max_uses")


def read_row(text: str, defaults: Wish) -> Wish:
    """Turn a line of JSON into a wish; what it leaves out, or is null, is as the command line says.

    Its keys are those of the token object that can be asked for, and ``ttl``, ``request_id``, ``algorithm``, ``claims``.

    Raises:
        InvalidRequest: not one JSON object, or a key or a value that is not admitted (exit 2).
    """
    from tokenctl.formats import pasted, strict_json

    if pasted.looks_secret(text):
        raise InvalidRequest("holds what looks like a secret: treat it as leaked, and leave it out")
    try:
        members = strict_json.read_object(text.encode("utf-8"), what="the row")
    except UnicodeEncodeError:
        raise InvalidRequest("not valid UTF-8") from None
    except TokenctlError as error:
        raise InvalidRequest(error.message) from None
    given = {name: value for name, value in members.items() if value is not None}
    unknown = sorted(given.keys() - set(_ROW_KEYS))
    if unknown:
        raise InvalidRequest(f"{pasted.masked(escape(unknown[0][:60]))} cannot be asked for (known: {', '.join(_ROW_KEYS)})")
    changes: dict[str, object] = {}
    for name, value in given.items():
        changes |= _row_value(name, value)
    return defaults._replace(**changes)  # type: ignore[arg-type]  # the names and types were checked


def _row_value(name: str, value: object) -> dict[str, object]:
    if name in _ROW_TEXTS and isinstance(value, str):
        return {name: value}
    if name == "max_uses" and isinstance(value, int) and not isinstance(value, bool):
        return {name: value}
    if name in _ROW_LISTS:
        listed = value.split(" ") if isinstance(value, str) and name == "scope" else [value] if isinstance(value, str) else value
        if isinstance(listed, list) and all(isinstance(entry, str) for entry in listed):
            return {name: tuple(listed)}
    if name == "labels" and isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values()):
        if not all(re.fullmatch(LABEL_NAME, key) for key in value):  # what is joined here is parted again at the first =
            raise InvalidRequest("labels: a name is of letters, digits and _ . / -, at most 64")
        return {"label": tuple(f"{key}={entry}" for key, entry in value.items())}
    if name == "claims" and isinstance(value, dict):
        return {"claim": tuple(f"{key}={json.dumps(entry)}" for key, entry in value.items())}
    raise InvalidRequest(f"{name} is of another type than it has in a token object")


def check_batch(request_id: str | None) -> None:
    """Refuse a malformed request id of a batch whose rows may all have their own (exit 2)."""
    if request_id is not None and not re.fullmatch(_REQUEST_ID, request_id):
        raise InvalidRequest(_NO_REQUEST_ID, hint="tokenctl issue --help")


def together(faults: list[str]) -> InvalidRequest:
    hint = "tokenctl issue --help"
    if len(faults) == 1:
        return InvalidRequest(faults[0], hint=hint)
    return InvalidRequest(f"{len(faults)} faults in the request: {'; '.join(faults)}", hint=hint)


def text_faults(wish: Wish) -> list[str]:
    """Return what is wrong with the texts and numbers that are given."""
    faults = []
    texts = [("--subject", wish.subject), ("--owner", wish.owner), ("--note", wish.note)]
    texts += [("--audience", audience) for audience in wish.audience] + [("--label", label) for label in wish.label]
    for option, text in texts:
        if text is None:
            continue
        if len(text) > _LONGEST_TEXT:
            faults.append(f"{option}: longer than {_LONGEST_TEXT} characters")
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            faults.append(f"{option}: not valid UTF-8")
        elif option != "--subject" and not text.strip():
            faults.append(f"{option}: is empty")
    for scope in wish.scope:
        if not re.fullmatch(_SCOPE, scope):
            hint = " (one --scope for each)" if " " in scope else ""
            faults.append(f"--scope: not a scope token of RFC 6749{hint}")
    if wish.request_id is not None and not re.fullmatch(_REQUEST_ID, wish.request_id):
        faults.append(_NO_REQUEST_ID)
    if wish.max_uses is not None and not 1 <= wish.max_uses <= 1_000_000_000:
        faults.append("--max-uses: at least 1")
    return faults


def _choice_faults(wish: Wish, kind: str, token_format: str, audience: tuple[str, ...]) -> list[str]:
    faults = []
    for option, value, choices in (
        ("--kind", kind, KINDS), ("--format", token_format, FORMATS), ("--algorithm", wish.algorithm, ALGORITHMS)
    ):  # fmt: skip
        if value is not None and value not in choices:
            faults.append(f"{option}: one of {', '.join(choices)}")
    if wish.algorithm is not None and token_format == "opaque":
        faults.append("--algorithm: only a JWT is signed (add --format jwt)")
    if token_format == "jwt" and not audience:
        faults.append("--audience: a JWT names its audience")
    if wish.max_uses is not None and token_format == "jwt":
        faults.append("--max-uses: verifiers of a JWT do not ask, so its uses cannot be counted")
    return faults


def _labels(wish: Wish, faults: list[str]) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    for label in wish.label:
        match = re.fullmatch(_LABEL, label)
        if match is None:
            faults.append("--label: write NAME=VALUE, the name of letters, digits and _ . / -")
        elif match[1] in labels:
            faults.append(f"--label: {match[1]} is given twice")
        else:
            labels[match[1]] = match[2]
    return tuple(sorted(labels.items()))


def claims_of(wish: Wish, token_format: str | None, faults: list[str]) -> tuple[tuple[str, object], ...]:
    """Return the custom claims; what is wrong with them is added to the faults."""
    claims: dict[str, object] = {}
    if wish.claim and token_format == "opaque":
        faults.append("--claim: only a JWT carries claims (add --format jwt)")
    if sum(map(len, wish.claim)) > _LARGEST_CLAIMS:
        faults.append(f"--claim: all claims together are at most {_LARGEST_CLAIMS // 1024} KiB")
        return ()
    for claim in wish.claim:
        name, separator, text = claim.partition("=")
        if not separator or not name or len(name) > 256:
            faults.append("--claim: write NAME=JSON")
        elif name in FORBIDDEN_CLAIMS:
            faults.append(f"--claim: {name} is not for --claim to set")
        elif name in claims:
            faults.append(f"--claim: {escape(name)} is given twice")
        else:
            claims[name] = _claim_value(text, faults)
    return tuple(claims.items())


def _claim_value(text: str, faults: list[str]) -> object:
    from tokenctl.formats import strict_json

    try:
        # Read as strictly as a verifier will read it.
        return strict_json.read_object(b'{"claim":' + text.encode("utf-8") + b"}", what="the value")["claim"]
    except UnicodeEncodeError:
        faults.append("--claim: not valid UTF-8")
    except (TokenctlError, KeyError):
        faults.append("--claim: the value is not JSON; quote a text: NAME='\"text\"'")
    return None
