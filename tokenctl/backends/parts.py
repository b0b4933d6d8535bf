"""The parts that an authority may have beside its verbs; one that it lacks is ``None`` in ``base.Backend``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.rotation import Outlook, Rotation, Step, Toll, Wish
from tokenctl.model.token import Key, Outcome, Reason, Target
from tokenctl.secret import Secret


class Suspension(Protocol):
    """Denying for a time: what is suspended can return, what is revoked never does. Outcomes like those of ``revoke``."""

    def suspend(
        self, targets: Iterable[Target], reason: Reason, *, duration: int | None = None, then: str | None = None,
        keep_children: bool = False,
    ) -> Iterator[Outcome]:  # fmt: skip
        """Suspend, and the descendants with it.

        Args:
            duration: Milliseconds until it ends, ``None`` until it is lifted.
            then: How it ends after its duration: ``lift`` or ``revoke``.
        """
        ...

    def lift(self, targets: Iterable[Target], reason: Reason, *, planned: int | None = None) -> Iterator[Outcome]:
        """End suspensions.

        Args:
            planned: The number of the record of the plan that this carries out: what was suspended after it stays so.
        """
        ...


class Usage(Protocol):
    """Accepting a token: check, count and spend one use, in one transaction."""

    def use(self, presented: Secret, expectations: Expectations) -> Introspection: ...


class Delivery(Protocol):
    """Word of what reached its taker."""

    def delivered(self, identifiers: Sequence[str]) -> list[str]:
        """Note that tokens reached their taker; return those that did so too late, or were revoked meanwhile."""
        ...


class ForeignLog(Protocol):
    """The log that a service keeps itself, in which a token stands as a hash."""

    def marks(self, presented: Secret) -> list[tuple[str, str]]:
        """Return under which hash each part of that log has a token; the service is sent it.

        Raises:
            AccessDenied: the operator may not ask that (exit 4); Unanswered, ServerError: as of every exchange (exit 7, 8).
        """
        ...


class SigningKeys(Protocol):
    """The authority's keys as anyone may see them, and how they change.

    Every change is one transaction, decided again inside it: of two that want the same step one takes it, the other is told
    that nothing was done. What changes keys returns the steps that it took.
    """

    @property
    def publishes(self) -> bool:
        """Whether the authority itself writes its public keys to where verifiers fetch them."""
        ...

    @property
    def rotation(self) -> Rotation:
        """How the keys change; raises InvalidConfiguration (exit 9)."""
        ...

    def keys(self) -> Sequence[tuple[Key, int | None]]:
        """Return every key, and how many living tokens it signed; ``None`` where nobody counts them."""
        ...

    def jwks(self) -> dict[str, object]: ...

    def last_expiry(self, kid: str) -> int | None:
        """Return when the last unrevoked token that a key signed ends; ``None`` where there is none."""
        ...

    def outlook(self, wish: Wish) -> Outlook:
        """Return the steps that are to come; changes nothing."""
        ...

    def advance(self, step: Step, wish: Wish) -> list[Step]:
        """Take a step that is still due."""
        ...

    def roll_back(self, algorithm: str | None) -> list[Step]:
        """Let the key sign again that stopped last; raises Conflict where none did (exit 6)."""
        ...

    def retire(self, kid: str) -> list[Step]:
        """Destroy a key; raises Conflict while tokens need it (exit 6), NotFound (exit 5)."""
        ...

    def compromise(self, kid: str) -> list[Step]:
        """Deny a key and every token that it signed, and let a fresh one sign; raises NotFound (exit 5)."""
        ...

    def mend(self) -> list[Step]:
        """Write the public keys anew where what is published differs from them."""
        ...

    def toll(self, kid: str) -> Toll:
        """Return what a key has signed that may still be accepted somewhere."""
        ...
