"""What every backend is: a token authority. It issues, introspects and revokes; private keys never cross this seam.

The contract, for whoever implements one and whoever calls it:

- ``issue`` yields each token once it is durable, and records it. A token that is not marked delivered in time denies.
- ``introspect`` gives facts about a presented token and changes nothing. An unknown token and a wrong secret look the same.
- A request that ``replaces`` a token has that token's rights, whatever it says of them itself. The old token is untouched until
  the new one is delivered; from then on its grace runs, and it is revoked when that is over or the new one is first used.
- ``revoke`` yields each outcome once it is durable; a rerun with the same targets is safe and finishes what is left.
  A child dies with its parent unless it is kept. A suspended parent suspends its children.
- A part that an authority lacks is ``None``; the caller refuses with exit 9 before anything starts.
- Every error is a :class:`tokenctl.errors.TokenctlError`; :class:`~tokenctl.errors.TemporarilyUnavailable` alone may be retried.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tokenctl.backends.local.keeper import Keeper
from tokenctl.errors import InvalidConfiguration
from tokenctl.formats import opaque, pasted
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.token import IssuedToken, Outcome, Reason, Target, TokenRequest
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.foreign import IssuerKeys
    from tokenctl.backends.parts import Delivery, ForeignLog, SigningKeys, Suspension, Usage


class Backend(Keeper):
    """A token authority, with the store that this program keeps beside it.

    Attributes:
        kind: The name of its kind, as profiles say it.
        by_id: Whether an id is enough to judge and to revoke a token; else it takes the token itself.
        place: Where it is, for people.
        asked: Whether any presented token may be sent to a remote service, whatever it carries (``--ask``).
        including_self: Whether the operator's own credential may be revoked too.
        wait: Seconds that a revocation waits until a remote service denies.
        issuer_keys: Returns the keys of an issuer that the profile trusts.
        suspension, usage, delivery, signing_keys, foreign_log: Its parts; ``None`` for what it lacks.
    """

    kind: str
    by_id = True
    asked = False
    including_self = False
    wait = 0.0
    issuer_keys: IssuerKeys | None = None

    @property
    @abstractmethod
    def place(self) -> str: ...

    @property
    def default_subject(self) -> str | None:
        """The subject of a token for which none is named; ``None`` where one has to be."""
        return None

    def require_granted(self, request: TokenRequest) -> None:
        """Refuse a request for what this authority cannot grant (exit 9)."""
        if request.exchange is not None:
            raise InvalidConfiguration(
                f"profile {self.name} ({self.place}) exchanges no tokens", hint="leave --exchange out", reason="part_lacking"
            )

    @property
    def form(self) -> pasted.Form:
        """What its ids and tokens look like in a paste."""
        return pasted.OURS

    def id_of(self, argument: str) -> str | None:
        """Return the id that an argument names; ``None`` for a text that is none."""
        return opaque.named_id(argument)

    @property
    def suspension(self) -> Suspension | None:
        return None

    @property
    def usage(self) -> Usage | None:
        return None

    @property
    @abstractmethod
    def delivery(self) -> Delivery: ...

    @property
    def signing_keys(self) -> SigningKeys | None:
        return None

    @property
    def foreign_log(self) -> ForeignLog | None:
        return None

    @abstractmethod
    def issue(self, requests: Iterable[TokenRequest]) -> Iterator[IssuedToken]: ...

    @abstractmethod
    def introspect(self, presented: Secret, expectations: Expectations) -> Introspection: ...

    def introspect_foreign(self, text: str, expectations: Expectations) -> Introspection:
        """Judge a JWT of another issuer: by its keys where the profile trusts it, else it is only decoded, and not accepted.

        Raises:
            Unanswered: the issuer is trusted and out of reach (exit 7); ServerError: it breaks its contract (exit 8).
        """
        from tokenctl.backends import foreign

        return foreign.introspect(self._profile, self.issuer_keys, text, expectations, self.journal.clock)

    @abstractmethod
    def named(self, identifier: str, expectations: Expectations) -> Introspection | None:
        """Judge the token of an id, which proves nothing; ``None`` where there is none."""

    @abstractmethod
    def prove(self, presented: Secret) -> str | None:
        """Return the id of a token whose secret or signature is proved, else ``None``; its state does not matter."""

    def require_reach(self, targets: Iterable[Target], *, keep_children: bool = False) -> None:
        """Refuse targets that cannot be revoked as they are named (exit 9)."""

    @abstractmethod
    def revoke(self, targets: Iterable[Target], reason: Reason, *, keep_children: bool = False) -> Iterator[Outcome]: ...
