"""``issue``: make a token and deliver it once."""

import json
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from tokenctl import files, process
from tokenctl.audit.actor import user_name
from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable, TokenctlError
from tokenctl.formats import opaque
from tokenctl.model.times import SECOND, format_clock, format_duration, format_instant, parse_duration, parse_instant
from tokenctl.model.token import FORMATS, KINDS, IssuedToken, Reason, Target, TokenRequest
from tokenctl.render.escape import escape

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
# Source: RFC 7519 section 4.1, RFC 9068 section 2.2, RFC 7800, RFC 8693: what we set ourselves, or what others trust us for.
FORBIDDEN_CLAIMS = frozenset(
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf", "act", "may_act", "auth_time", "acr", "amr"]
)  # fmt: skip
_SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]{1,256}"  # RFC 6749 section 3.3
_LABEL = r"(?s)([A-Za-z0-9][A-Za-z0-9_./-]{0,63})=(.{0,256})"
_REQUEST_ID = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
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
    kind: str = "access"
    owner: str | None = None
    label: tuple[str, ...] = ()
    claim: tuple[str, ...] = ()
    not_before: str | None = None
    max_uses: int | None = None
    parent: str | None = None
    note: str | None = None
    request_id: str | None = None


def issue(
    context: Context, wish: Wish, *, out: str | None, mode: str | None, group: str | None, fd: int | None, dry_run: bool
) -> int:
    """Make one token, deliver it, and say what to do with it next.

    Raises:
        InvalidRequest: every fault of the request, together (exit 2).
        PolicyDenied: the policy forbids it; the refusal is recorded (exit 12).
        TemporarilyUnavailable: it could not be delivered, so it was revoked (exit 7).
    """
    if out is not None and fd is not None:
        raise InvalidRequest("--out and --fd exclude each other")
    with context.backend() as backend:
        request = read_wish(wish, context, backend)
        if dry_run:
            return _preview(context, backend, request)
        deliver = _delivery_of(context, out=out, mode=mode, group=group, fd=fd)
        try:
            issued = next(backend.issue([request]))
        except BaseException:
            deliver.discard()
            raise
        _deliver(context, backend, issued, deliver)
        _tell(context, issued, out, backend)
    return 0


# Reading the request


def read_wish(wish: Wish, context: Context, backend: LocalAuthority) -> TokenRequest:
    """Turn what was typed into a request; raises InvalidRequest with every fault (exit 2)."""
    faults: list[str] = []

    def parsed(option: str, read: Callable[[], int]) -> int | None:
        try:
            return read()
        except InvalidRequest as error:
            faults.append(f"{option}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
            return None

    lifetime = parsed("--ttl", lambda: parse_duration(wish.ttl or "")) if wish.ttl is not None else None
    not_before = parsed("--not-before", lambda: parse_instant(wish.not_before or "", context.now)) if wish.not_before else None
    default_audience = backend.default_audience
    token_format = wish.format or ("jwt" if wish.algorithm is not None else "opaque")
    audience = wish.audience or ((default_audience,) if token_format == "jwt" and default_audience else ())
    faults += _text_faults(wish) + _choice_faults(wish, token_format, audience)
    labels = _labels(wish, faults)
    claims = _claims(wish, token_format, faults)
    parent = opaque.named_id(wish.parent) if wish.parent is not None else None
    if wish.parent is not None and parent is None:
        faults.append("--parent: not a token id")
    if lifetime is not None and lifetime % SECOND:
        lifetime -= lifetime % SECOND
    request = TokenRequest(
        subject=wish.subject or "", owner=wish.owner or user_name(os.getuid()), kind=wish.kind, format=token_format,
        algorithm=wish.algorithm, scope=wish.scope, audience=audience, lifetime=lifetime,
        not_before=None if not_before is None else not_before - not_before % SECOND, max_uses=wish.max_uses, parent=parent,
        labels=labels, claims=claims, note=wish.note, request_id=wish.request_id, parameters=_parameters(wish),
    )  # fmt: skip
    if faults:
        if wish.kind in KINDS:
            faults += map(str, backend.policy.decide(request).faults)
        raise _together(faults)
    return request


def _parameters(wish: Wish) -> dict[str, object]:
    typed = {name: value for name, value in wish._asdict().items() if name != "request_id"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in typed.items()}


def _together(faults: list[str]) -> InvalidRequest:
    hint = "tokenctl issue --help"
    if len(faults) == 1:
        return InvalidRequest(faults[0], hint=hint)
    return InvalidRequest(f"{len(faults)} faults in the request: {'; '.join(faults)}", hint=hint)


def _text_faults(wish: Wish) -> list[str]:
    faults = [] if wish.subject else ["--subject: is required"]
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
        faults.append("--request-id: letters, digits and _ . : - are admitted, at most 128")
    if wish.max_uses is not None and not 1 <= wish.max_uses <= 1_000_000_000:
        faults.append("--max-uses: at least 1")
    return faults


def _choice_faults(wish: Wish, token_format: str, audience: tuple[str, ...]) -> list[str]:
    faults = []
    for option, value, choices in (
        ("--kind", wish.kind, KINDS), ("--format", token_format, FORMATS), ("--algorithm", wish.algorithm, ALGORITHMS)
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


def _claims(wish: Wish, token_format: str, faults: list[str]) -> tuple[tuple[str, object], ...]:
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


# Delivering


class _Stream:
    """Delivery to a descriptor that is open already."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        files.write_all(self._descriptor, data)

    def discard(self) -> None:
        return


def _delivery_of(
    context: Context, *, out: str | None, mode: str | None, group: str | None, fd: int | None
) -> files.Delivery | _Stream:
    """Open where the token goes, before it is minted."""
    if out is not None:
        context.refuse_own(out)
        return files.Delivery(out, mode=_mode(mode), group=_group(group))
    if mode is not None or group is not None:
        raise InvalidRequest("--mode and --group go with --out")
    if fd is not None:
        return _Stream(process.adopt_descriptor(fd, writing=True, forbidden=context.own_files()))
    return _Stream(1)


def _mode(mode: str | None) -> int:
    if mode is None:
        return files.PRIVATE_FILE
    if not re.fullmatch(r"0?[0-7]{3}", mode) or not int(mode, 8) & 0o400 or int(mode, 8) & 0o137:
        raise InvalidRequest("--mode: 600, 400, 640 or 440", hint="a token is no program, and never for everybody")
    return int(mode, 8)


def _group(group: str | None) -> int | None:
    if group is None:
        return None
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidRequest("--group: no such group") from None


def _deliver(context: Context, backend: LocalAuthority, issued: IssuedToken, deliver: files.Delivery | _Stream) -> None:
    """Write the token, then record that it was delivered; a token that did not arrive is revoked at once."""
    identifier = issued.token.id
    data = issued.text.reveal() + b"\n"
    if context.console.machine and isinstance(deliver, _Stream):
        data = _json_line(context, issued, out=None)
    try:
        deliver.write(data)
    except OSError as error:
        cause = files.cause_of(error)
        undone = list(backend.revoke([Target(id=identifier)], Reason(reason="undelivered", request_id=issued.request_id)))
        fate = "it was revoked" if undone and undone[0].outcome == "revoked" else "it denies from 60 s on"
        raise TemporarilyUnavailable(
            f"token {identifier} could not be delivered ({cause}): {fate}",
            hint="mend the output and run again",
            reason="undelivered",
        ) from None
    try:
        backend.delivered([identifier])
    except TokenctlError as error:
        if error.reason == "undelivered":
            raise
        raise TemporarilyUnavailable(
            f"token {identifier} was written, but its delivery was not recorded ({error.message}): it denies from 60 s on",
            hint="run again for another one", reason="undelivered",
        ) from None  # fmt: skip


def _json_line(context: Context, issued: IssuedToken, out: str | None) -> bytes:
    text = None if out is not None else issued.text.reveal().decode("ascii")
    members = _members(context, issued) | {"token": text, "out": out, "warnings": list(context.console.warnings)}
    return json.dumps(members, ensure_ascii=True).encode("ascii") + b"\n"


def _members(context: Context, issued: IssuedToken) -> dict[str, object]:
    from tokenctl.model.token import standing_of
    from tokenctl.render.machine import token_object

    standing = standing_of(issued.token, now=context.now)
    return token_object(issued.token, standing, profile=context.console.profile or "", now=context.now, children=0)


def _tell(context: Context, issued: IssuedToken, out: str | None, backend: LocalAuthority) -> None:
    console, token = context.console, issued.token
    if out is not None:
        if console.machine:
            console.answer_bytes(_json_line(context, issued, out))
        else:
            console.answer(token.id)
    until = f"until {format_clock(token.expires_at, context.now)} ({format_duration(token.expires_at - token.issued_at)})"
    scope = f", scope {' '.join(token.scope)}" if token.scope else ", no scope: it grants nothing"
    console.chat(f"issued  {token.id}  {token.kind}, {token.format}, {until}")
    console.chat(f"for     {escape(token.subject)}{scope}, profile {backend.name}")
    console.chat(f"look    {console.program} inspect {token.id}")
    console.chat(f"kill    {console.program} revoke {token.id}")


def _preview(context: Context, backend: LocalAuthority, request: TokenRequest) -> int:
    """Say what would be issued, and who decides; nothing is made and nothing recorded."""
    judgement = backend.judge(request)
    judgement.require()
    decision, console = judgement.decision, context.console
    lifetime = format_duration(decision.lifetime)
    rules = [verdict.rule for verdict in decision.verdicts if verdict.rule]
    if console.machine:
        console.document(
            {"dry_run": True, "allowed": True, "subject": request.subject, "owner": request.owner, "kind": request.kind,
             "format": request.format, "scope": sorted(request.scope), "audience": sorted(request.audience),
             "lifetime": lifetime, "expires_at": format_instant(judgement.expires_at), "parent": request.parent,
             "rules": rules, "policy": backend.policy.hash,
             "limits": [{"rule": limit.rule, "living": living, "most": limit.most} for limit, living in judgement.living]}
        )  # fmt: skip
        return 0
    console.answer(f"would issue  {request.kind}, {request.format}, {lifetime}, for {escape(request.subject)}")
    for rule in rules:
        console.answer(f"decided by   {rule}")
    for limit, living in judgement.living:
        console.answer(f"limit        {escape(request.owner)} has {living} of {limit.most} ({limit.rule})")
    if request.parent is not None:
        console.answer(f"parent       {request.parent} has all of it and lives as long")
    return 0
