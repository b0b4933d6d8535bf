"""What an authority says of a token: facts and checks, and what the one who asks demands."""

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.model.checks import Check
from tokenctl.model.token import Standing, Token


class Found(NamedTuple):
    """A token of the directory with its standing now; ``intact`` is false where its row does not check out."""

    token: Token
    standing: Standing
    intact: bool = True
    children: int = 0


class Expectations(NamedTuple):
    """What the one who asks demands of a presented token; durations in milliseconds."""

    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    any_audience: bool = False
    scopes: tuple[str, ...] = ()
    leeway: int | None = None
    valid_for: int | None = None
    ignore_binding: bool = False
    offline: bool = False


class Introspection(NamedTuple):
    """What an authority says of a presented token.

    Attributes:
        active: Whether it is accepted; ``None`` where the state was not asked for.
        found: The token in the directory, only where the secret or signature was proved.
        checks: Every check that was made, failed ones and passed ones.
        signature: ``valid``, ``invalid`` or ``not_checked``; ``None`` for an opaque token.
        header: The JWT's header; ``None`` where there is none to show.
        claims: The JWT's claims set; ``None`` where the payload is none.
        finding: What a reviewer would say of it, as (rule, sentence).
        members: What a remote service answered, by the names of RFC 7662; ``None`` where none was asked.
    """

    active: bool | None
    state: str
    checks: Sequence[Check]
    found: Found | None = None
    signature: str | None = None
    header: dict[str, object] | None = None
    claims: dict[str, object] | None = None
    findings: Sequence[tuple[str, str]] = ()
    members: dict[str, object] | None = None
