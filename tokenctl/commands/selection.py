"""Selectors as they are typed, for ``list`` and ``revoke``."""

from typing import NamedTuple

from tokenctl.errors import InvalidRequest, TokenctlError
from tokenctl.formats import opaque
from tokenctl.model.selector import Selector
from tokenctl.model.times import parse_duration, parse_instant
from tokenctl.model.token import FORMATS, KINDS, LIVING_STATES, STATES


class Typed(NamedTuple):
    """The selectors of a command line."""

    subject: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    format: tuple[str, ...] = ()
    kid: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    issued_after: str | None = None
    issued_before: str | None = None
    expires_after: str | None = None
    expires_before: str | None = None
    unused_for: str | None = None
    never_used: bool = False
    include_untracked: bool = False
    state: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return self != Typed()


def read_selector(typed: Typed, now: int) -> Selector:
    """Turn typed selectors into a selector; raises InvalidRequest, all faults together (exit 2)."""
    faults: list[str] = []
    for option, values, choices in (
        ("--kind", typed.kind, KINDS), ("--format", typed.format, FORMATS),
        ("--state", typed.state, (*STATES, "undelivered", "all")),
    ):  # fmt: skip
        faults += [f"{option}: one of {', '.join(choices)}" for value in values if value not in choices]
    for option, values in (("--scope", typed.scope), ("--kind", typed.kind), ("--kid", typed.kid), ("--batch", typed.batch)):
        faults += [f"{option}: * stands only in --subject, --owner, --audience and --label" for value in values if "*" in value]
    for option, values in (
        ("--subject", typed.subject), ("--owner", typed.owner), ("--scope", typed.scope), ("--audience", typed.audience),
        ("--label", typed.label), ("--kid", typed.kid), ("--batch", typed.batch),
    ):  # fmt: skip
        faults += [f"{option}: is empty" for value in values if not value]
    instants: dict[str, int | None] = {}
    for name in ("issued_after", "issued_before", "expires_after", "expires_before"):
        instants[name] = _read(f"--{name.replace('_', '-')}", getattr(typed, name), now, faults)
    unused_for = None
    if typed.unused_for is not None:
        try:
            unused_for = parse_duration(typed.unused_for)
        except TokenctlError as error:
            faults.append(f"--unused-for: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    parents = []
    for parent in typed.parent:
        named = opaque.named_id(parent)
        if named is None:
            faults.append("--parent: not a token id")
        else:
            parents.append(named)
    if faults:
        raise InvalidRequest("; ".join(faults), hint="tokenctl list --help")
    states = (*STATES, "undelivered") if "all" in typed.state else typed.state or LIVING_STATES
    return Selector(
        subject=typed.subject, owner=typed.owner, scope=typed.scope, audience=typed.audience, kind=typed.kind,
        format=typed.format, kid=typed.kid, labels=typed.label, parent=tuple(parents), batch=typed.batch, **instants,
        unused_for=unused_for, never_used=typed.never_used, untracked=typed.include_untracked, states=states,
    )  # fmt: skip


def _read(option: str, text: str | None, now: int, faults: list[str]) -> int | None:
    if text is None:
        return None
    try:
        return parse_instant(text, now)
    except TokenctlError as error:
        faults.append(f"{option}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return None
