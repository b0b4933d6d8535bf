"""How the answers of ``inspect`` look: a block each for people, token objects for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenctl import terminal
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.model.checks import Check
from tokenctl.model.introspection import Introspection
from tokenctl.model.times import LAST_INSTANT, format_clock, format_distance, format_duration, format_instant
from tokenctl.model.token import Standing, Token
from tokenctl.render.escape import cell, escape, pad, width

_FIRST = 22  # columns of the first of two facts on a line

if TYPE_CHECKING:
    from tokenctl.commands.inspect import Answer


def show(context: Context, backend: Backend | None, answers: list[Answer]) -> None:
    """Print the answers; unknown ids go to stderr, since nothing is known to print."""
    console = context.console
    unknown = [answer.named for answer in answers if answer.introspection is None and answer.named is not None]
    told = [answer for answer in answers if answer.introspection is not None]
    if console.output == "introspection":
        from tokenctl.render.machine import rfc7662_object

        for answer in answers:
            asked = answer.introspection
            console.document(rfc7662_object(asked) if asked is not None else {"active": False})
    elif console.machine:
        _show_machine(context, answers)
    elif not console.quiet:
        blocks = (_block(context, answer.backend or backend, answer.introspection) for answer in told)
        console.answer_bytes("\n".join(blocks).encode("utf-8", "backslashreplace"))
    for identifier in unknown:
        _complain(context, identifier, backend)


def _complain(context: Context, identifier: str, backend: Backend | None) -> None:
    from tokenctl.errors import NotFound

    place = f"profile {backend.name} ({backend.place})" if backend is not None else "here"
    context.console.error(NotFound(f"no token {identifier} in {place}", hint=other_profiles(context), reason="unknown_id"))


def other_profiles(context: Context) -> str | None:
    """Return a hint that names the other profiles, if there are any."""
    from tokenctl.config import profile_names

    others = [name for name in profile_names(context.places) if name != context.console.profile]
    return f"other profiles: {', '.join(others)} (choose one with --profile)" if others else None


def _profile(context: Context, answer: Answer) -> str:
    return answer.backend.name if answer.backend is not None else context.console.profile or ""


def _show_machine(context: Context, answers: list[Answer]) -> None:
    from tokenctl.render.machine import introspection_object, unknown_object

    console = context.console
    objects = [
        unknown_object(answer.named, profile=console.profile or "")
        if answer.introspection is None
        else introspection_object(answer.introspection, profile=_profile(context, answer), now=context.now)
        for answer in answers
        if answer.introspection is not None or (answer.named is not None and len(answers) > 1)
    ]
    if console.output == "jsonl":
        for members in objects:
            console.document(members)
    elif len(objects) == 1:
        console.document(objects[0] | {"warnings": list(console.warnings)})
    elif objects:
        console.document({"tokens": objects, "warnings": list(console.warnings)})


def _block(context: Context, backend: Backend | None, answer: Introspection | None) -> str:
    assert answer is not None
    lines = [_headline(context, answer, backend)]
    if answer.found is not None:
        lines += _facts(context, answer, backend)
    elif answer.claims is not None or answer.header is not None:
        lines += _claims(answer, context.now)
    lines += _checks(context, answer.checks)
    lines += [f"finding     {rule}: {escape(text)}" for rule, text in _findings(answer)]
    if answer.found is not None and not answer.active:
        lines.append(f"  next      {context.console.command} audit show {answer.found.token.id}")
    return "\n".join(lines) + "\n"


def _headline(context: Context, answer: Introspection, backend: Backend | None) -> str:
    paint, now = context.console.paint, context.now
    if answer.active:
        end = answer.found.token.ends_at if answer.found else _expiry(answer)
        left = f", {format_duration(end - now)} left" if end is not None and end < LAST_INSTANT else ""
        return paint(f"active{left}", "green")
    if answer.active is None:
        unasked = [check.detail or "" for check in answer.checks if check.ok is None and not _by_choice(check)]
        return paint(f"not checked: {escape(unasked[0]) if unasked else 'form, signature and time only'}", "yellow")
    if answer.found is not None and answer.state == "expired" and answer.found.token.expires_at > now:
        return paint(f"not active: {_ahead(backend)}", "red")
    return paint(f"not active: {_why(answer, now)}", "red")


def _by_choice(check: Check) -> bool:
    """Whether a check was left out because the command line says so."""
    return check.detail is None or check.detail.startswith("not asked")


def _ahead(backend: Backend | None) -> str:
    """Say why a token counts as expired that the clock says is not."""
    if backend is not None:
        with backend.journal.reading() as view:
            if view is not None:
                return f"expired by the time of the last record ({_seconds(view.last_time)})"
    return "expired by the time of the last record"


def _seconds(instant: int) -> str:
    return format_instant(instant - instant % 1000).replace("T", " ")


def _why(answer: Introspection, now: int) -> str:
    token = answer.found.token if answer.found else None
    if token is not None and token.revoked_at is not None:
        told = ", ".join(escape(text) for text in (token.reason, token.ticket) if text)
        return f"revoked {format_distance(token.revoked_at, now)} ({told})"
    if token is not None and answer.state == "suspended" and token.suspended_at is not None:
        return f"suspended {format_distance(token.suspended_at, now)}, {_suspension_end(token, now)}"
    if answer.found is not None and answer.state in ("revoked", "suspended") and answer.found.standing.cause is not None:
        return f"{answer.state}: {escape(answer.found.standing.cause)}"
    if token is not None and answer.state == "expired":
        return f"expired {format_distance(token.expires_at, now)}"
    if token is None and answer.claims is not None and answer.signature != "valid":
        return "UNVERIFIED, its signature is " + ("wrong" if answer.signature == "invalid" else "not checked")
    failed = [check for check in answer.checks if check.ok is False]
    return escape(failed[0].detail or failed[0].name) if failed else answer.state


def _facts(context: Context, answer: Introspection, backend: Backend | None) -> list[str]:
    assert answer.found is not None
    token, now, fold = answer.found.token, context.now, context.console.fold
    children = f"{answer.found.children} (dies with it)" if answer.found.children else "0"
    lines = [
        f"  id        {token.id} ({token.kind}, {token.format})",
        *_pair(context, "subject", token.subject, "owner", token.owner),
        *_pair(context, "scope", " ".join(token.scope), "audience", " ".join(token.audience)),
        f"  issued    {_moment(token.issued_at, now) if token.issued_at else '-'} by {escape(token.issued_by)}",
        f"  expires   {_moment(token.expires_at, now) if token.expires_at < LAST_INSTANT else '-'}",
    ]
    if token.not_before is not None:
        lines.append(f"  valid     from {_moment(token.not_before, now)}")
    lines += _kin_in_time(token, now)
    standing = answer.found.standing
    if standing.cause is not None and standing.state in ("revoked", "suspended"):
        lines += _denied_by_others(context, token, standing)
    elif token.revoked_at is not None:
        lines.append(f"  revoked   {_moment(token.revoked_at, now)} by {cell(token.revoked_by)}")
        if token.revoked_note:
            lines.append(fold("  because   ", escape(token.revoked_note)))
        lines.append(fold("  denied    ", f"by {_judge(token)} since {_seconds(token.revoked_at)}; {_offline(token, now)}"))
    elif token.suspended_at is not None:
        lines.append(f"  suspended {_moment(token.suspended_at, now)}, {_suspension_end(token, now, distance=False)}")
        if token.revoked_note:
            lines.append(fold("  because   ", escape(token.revoked_note)))
        lines.append(fold("  denied    ", f"by this store since {_seconds(token.suspended_at)}; {_offline(token, now)}"))
    lines.append(f"  last use  {_use(token, now)}")
    if token.kid is not None:
        lines.append(f"  key       {token.kid}, issuer {cell(token.issuer)}")
    if token.labels:
        lines.append(f"  labels    {' '.join(escape(f'{name}={value}') for name, value in token.labels)}")
    if token.note:
        lines.append(fold("  note      ", escape(token.note)))
    lines += _pair(context, "parent", token.parent or "", "children", children)
    if backend is not None:
        lines.append(f"  profile   {backend.name} ({backend.place})")
    return lines


def _judge(token: Token) -> str:
    return escape(token.issuer or "") if token.remote else "this store"


def _denied_by_others(context: Context, token: Token, standing: Standing) -> list[str]:
    """Say what denies a token whose own row does not."""
    since, fold = standing.since, context.console.fold
    named = f"  {standing.state:<9} "
    return [
        f"{named}{_moment(since, context.now)}" if since is not None else f"{named}-",
        fold("  because   ", escape(standing.cause or "-")),
        fold(
            "  denied    ",
            f"by this store{f' since {_seconds(since)}' if since is not None else ''}; {_offline(token, context.now)}",
        ),
    ]


def _kin_in_time(token: Token, now: int) -> list[str]:
    """Say which token this one replaces, and which one replaces it."""
    lines = [f"  replaces  {token.replaces}"] if token.replaces is not None else []
    if token.replaced_by is not None:
        going_on = token.grace_until is not None and token.revoked_at is None
        until = f", until {_moment(token.grace_until, now)}" if going_on and token.grace_until is not None else ""
        lines.append(f"  replaced  by {token.replaced_by}{until}")
    return lines


def _pair(context: Context, name: str, value: str, other: str, text: str) -> list[str]:
    """Put two facts on one line, or on two where the first is long or the line would not fit."""
    first, second = cell(value), cell(text)
    if width(first) <= _FIRST and (not context.console.on_terminal or 12 + _FIRST + 11 + width(second) <= terminal.width()):
        return [f"  {name:<9} {pad(first, _FIRST)} {other:<9} {second}"]
    return [context.console.fold(f"  {name:<9} ", first), context.console.fold(f"  {other:<9} ", second)]


def _moment(instant: int, now: int) -> str:
    return f"{_seconds(instant)}   {format_distance(instant, now)}"


def _suspension_end(token: Token, now: int, *, distance: bool = True) -> str:
    if token.suspended_until is None:
        return "until it is lifted"
    until = format_clock(token.suspended_until, now)
    if distance:
        until += f" ({format_distance(token.suspended_until, now)})"
    if token.suspended_then == "lift" and token.suspended_until <= now:
        return f"ended {until}: list or revoke lifts it"
    return f"until {until}, then {'revoked' if token.suspended_then == 'revoke' else 'lifted'}"


def _offline(token: Token, now: int) -> str:
    if token.format == "opaque":
        return "no offline verifiers (opaque)"
    if token.expires_at <= now:
        return "expired for offline verifiers too"
    return f"verifiers that do not ask may accept it until {_seconds(token.expires_at)}"


def _use(token: Token, now: int) -> str:
    if token.format == "jwt" and token.last_used_at is None:
        return "not tracked: a JWT is checked elsewhere"
    uses = f"uses {token.uses}" + (f" of {token.max_uses}" if token.max_uses is not None else "")
    if token.remote:
        return "not told by the service" + (f"; uses at most {token.max_uses}" if token.max_uses is not None else "")
    if token.last_used_at is None:
        return f"never seen by this store; {uses}"
    return f"{_moment(token.last_used_at, now)}; {uses}"


def _expiry(answer: Introspection) -> int | None:
    """Return when a JWT says that it ends, milliseconds."""
    return _numeric((answer.claims or {}).get("exp"))


def _numeric(value: object) -> int | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LAST_INSTANT // 1000
    return int(value * 1000) if plain and isinstance(value, int | float) else None


def _claims(answer: Introspection, now: int) -> list[str]:
    lines = []
    for name in ("iss", "sub", "aud", "scope", "exp", "nbf", "iat", "jti"):
        value = (answer.claims or {}).get(name)
        if value is not None:
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            instant = _numeric(value) if name in ("exp", "nbf", "iat") else None
            if instant is not None:
                text = _moment(instant, now)
            lines.append(f"  {name:<9} {escape(text[:200])}")
    return lines


def _checks(context: Context, checks: object) -> list[str]:
    told = []
    assert isinstance(checks, list)
    for check in checks:
        assert isinstance(check, Check)
        if check.ok is False:
            told.append(f"{check.name} FAILED ({escape(check.detail or 'no')})")
        else:
            told.append(f"{check.name} {'ok' if check.ok else 'not asked'}")
    return [context.console.fold("  checks    ", ", ".join(told))] if told else []


def _findings(answer: Introspection) -> list[tuple[str, str]]:
    found = list(answer.findings)
    token = answer.found.token if answer.found is not None else None
    if answer.active and token is not None and token.format == "opaque" and not token.audience:
        found.append(("no-audience", f"every service that asks {'the service' if token.remote else 'this store'} accepts it"))
    if answer.active and token is not None and token.format == "jwt" and token.ends_at < token.expires_at:
        found.append(("replaced", f"verifiers that do not ask accept it until {_seconds(token.expires_at)}"))
    return found
