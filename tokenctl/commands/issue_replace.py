"""``issue --replace``: the rights of a token anew, and what becomes of the token that has them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.commands.issue_request import Wish, claims_of, parameters_of, parsed, text_faults, together
from tokenctl.errors import InvalidRequest, NotFound
from tokenctl.formats import opaque
from tokenctl.model.times import DAY, format_clock, format_distance, parse_duration
from tokenctl.model.token import TokenRequest

if TYPE_CHECKING:
    from tokenctl.commands.issue import Manner

_GRACE = DAY
_FIXED = (
    "subject", "scope", "audience", "kind", "format", "algorithm", "owner", "label", "parent", "max_uses", "not_before"
)  # fmt: skip


def read_replacement(wish: Wish, manner: Manner, context: Context, backend: Backend) -> TokenRequest:
    """Turn what was typed into a request for a successor; its rights are those of the token that it replaces.

    Raises:
        InvalidRequest: every fault, together (exit 2).
        NotFound: there is no such token (exit 5).
    """
    if wish.replace is None:
        raise InvalidRequest("--grace goes with --replace", hint="tokenctl issue --replace ID --grace D")
    _check_alone(wish, manner)
    faults: list[str] = []
    identifier = opaque.named_id(wish.replace)
    if identifier is None:
        faults.append("--replace: not a token id")
    lifetime = parsed("--ttl", lambda: parse_duration(wish.ttl or ""), faults) if wish.ttl is not None else None
    grace: int | None = _GRACE
    if wish.grace is not None:
        grace = parsed("--grace", lambda: parse_duration(wish.grace or "", zero=True), faults)
    faults += text_faults(wish)
    claims = claims_of(wish, None, faults)
    if faults or identifier is None:
        raise together(faults)
    found = backend.directory.get(identifier)
    if found is None:
        from tokenctl.commands.inspect_screen import other_profiles

        place = f"profile {backend.name} ({backend.place})"
        raise NotFound(f"no token {identifier} in {place}", hint=other_profiles(context), reason="unknown_id")
    # What is the old token's is read again where the new one is made; its format says now what that takes.
    return TokenRequest(
        subject=found.token.subject, owner=found.token.owner, format=found.token.format, lifetime=lifetime, claims=claims,
        note=wish.note, request_id=wish.request_id, parameters=None if wish.request_id is None else parameters_of(wish),
        replaces=identifier, grace=grace,
    )  # fmt: skip


def _check_alone(wish: Wish, manner: Manner) -> None:
    """Refuse what a successor has from the token that it replaces, and what makes no successor."""
    given = [f"--{name.replace('_', '-')}" for name in _FIXED if getattr(wish, name) not in (None, ())]
    ways = (("--count", manner.number), ("--from", manner.source), ("-- CMD", manner.command))
    given += [name for name, value in ways if value is not None]
    if given:
        raise InvalidRequest(
            f"--replace gives the rights of a token anew: {', '.join(given)} {'do' if len(given) > 1 else 'does'} not go with it",
            hint="tokenctl issue --replace ID [--grace D] [--ttl D]",
        )


def tell_of_predecessor(context: Context, backend: Backend, identifier: str) -> None:
    """Say at a terminal how long the replaced token goes on, and what ends with it."""
    console = context.console
    found = backend.directory.get(identifier) if console.chatty else None
    if found is None:
        return
    token, now = found.token, backend.journal.time()
    if found.standing.state == "revoked" or token.grace_until is None:
        console.chat(f"old     {identifier}  not accepted any more")
    else:
        until = f"{format_clock(token.grace_until, now)} ({format_distance(token.grace_until, now)})"
        console.chat(f"old     {identifier}  goes on until {until}, or the first inspect --use of the new one")
    children = backend.directory.kin([identifier])
    if children:
        console.chat(f"old     its {children} child{'ren' * (children != 1)} {'dies' if children == 1 else 'die'} with it")
    if token.format == "jwt":
        console.chat("new     has the claims that were given now: those of the old one are not stored")
    if token.format == "jwt" and token.expires_at > now:
        console.chat(f"old     verifiers that do not ask accept it until {format_clock(token.expires_at, now)}")
