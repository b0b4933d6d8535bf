"""What a remote token service can do, in the terms of the RFCs; how it is spoken to is the affair of its own module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tokenctl.model.token import TokenRequest
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.parts import ForeignLog
    from tokenctl.formats.jwk import KeySet


class Obtained(NamedTuple):
    """A token as a service granted it; times in milliseconds UTC.

    Attributes:
        handle: What names it at the service and is no secret; ``None`` where only the token does.
        expires_at: ``None`` where the service does not say.
        scope: What was granted.
        subject: Whom it stands for; ``None`` where nothing tells it.
        parent: The handle of the token that it dies with, where there is one.
        warnings: What the service, or whoever asked it, has to say of the grant.
    """

    text: Secret
    handle: str | None
    subject: str | None
    issued_at: int
    expires_at: int | None
    scope: tuple[str, ...]
    parent: str | None = None
    warnings: tuple[str, ...] = ()


class Reference(NamedTuple):
    """How a token is named to a service: by its handle, by its text, or by both."""

    handle: str | None = None
    text: Secret | None = None


class Facts(NamedTuple):
    """What a service says of a token.

    Attributes:
        members: The answer, by the names of RFC 7662 section 2.2.
        handle: As of :class:`Obtained`.
        children: How many tokens die with it, where the service tells.
        parent: The handle of the token that made it, where the service tells.
        sure: ``False`` where another node of the service may know a token that this one does not.
        uses_left: How often it may be used yet, where that is limited.
    """

    active: bool
    members: Mapping[str, object]
    handle: str | None = None
    children: int = 0
    parent: str | None = None
    sure: bool = True
    uses_left: int | None = None


class Denial(NamedTuple):
    """What a service says to a revocation.

    Attributes:
        done: Whether it says that it did it; that proves nothing.
        detail: Why not, or what else is to be known.
    """

    done: bool
    detail: str | None = None


class Identity(NamedTuple):
    """Whom the service takes the operator for; ``expires_at`` in milliseconds UTC.

    ``scope`` and ``expires_at`` are ``None`` where it does not say.
    """

    subject: str
    scope: tuple[str, ...] | None = None
    expires_at: int | None = None


class Service(Protocol):
    """A token service; every call is one exchange or a few.

    Every call raises AccessDenied where the operator's credential is refused (exit 4),
    :class:`tokenctl.http.peer.Unanswered` (exit 7), and ServerError where the service breaks its contract (exit 8).

    Attributes:
        kind: The name of its kind, as profiles say it.
        authority: The issuer or the address that its tokens are known by.
        lacks: What of a request it cannot grant: names of fields of :class:`~tokenctl.model.token.TokenRequest`.
        by_handle: Whether a handle is enough to ask it about a token, and to revoke one.
    """

    kind: str
    authority: str
    lacks: frozenset[str]
    by_handle: bool

    @property
    def subject(self) -> str | None:
        """The subject of a token for which none is named."""
        ...

    def ready(self, requests: Sequence[TokenRequest] = ()) -> None:
        """Find out whether it can be spoken to at all, before anything is recorded: credential, metadata, confirmed origins.

        Args:
            requests: What it is going to be asked for: one that cannot even be asked raises InvalidConfiguration (exit 9), or
                AccessDenied for an identity that is none (exit 4).
        """
        ...

    def obtain(self, request: TokenRequest, lifetime: int, named: str) -> Obtained:
        """Obtain a token; never asks twice.

        Args:
            lifetime: Milliseconds that it may live.
            named: The id of the request, by which :meth:`find` finds what came of it.
        """
        ...

    def find(self, named: str, since: int) -> list[str] | None:
        """Return the handles of living tokens that a request brought; ``None`` where the service cannot tell.

        Args:
            since: Since when there may be one, milliseconds UTC.
        """
        ...

    def ask(self, reference: Reference) -> Facts | None:
        """Return what the service says of a token; ``None`` where it cannot be asked about this one."""
        ...

    def deny(self, reference: Reference, *, keep_children: bool) -> Denial: ...

    def keys(self, *, kid: str | None = None, offline: bool = False) -> KeySet | None:
        """Return the keys that verify its JWTs; ``None`` where it shows none.

        Args:
            kid: The key that is looked for: keys known from before that lack it are asked for anew.
            offline: Ask nobody: what is known from before counts.
        """
        ...

    def own(self, handle: str) -> bool:
        """Whether a handle is that of the operator's own credential."""
        ...

    def whoami(self) -> Identity:
        """Prove the operator's credential; raises AccessDenied where it is refused (exit 4)."""
        ...

    def revoke_self(self) -> None:
        """Revoke the operator's credential; raises InvalidConfiguration where it cannot be by itself (exit 9)."""
        ...

    @property
    def foreign_log(self) -> ForeignLog | None:
        """Its own log, in which tokens stand as hashes; ``None`` where it shows nothing of it."""
        ...

    def close(self) -> None: ...
