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

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from tokenctl.model.introspection import Expectations, Found, Introspection
from tokenctl.model.rotation import Outlook, Rotation, Step, Toll, Wish
from tokenctl.model.selector import Selector
from tokenctl.model.token import IssuedToken, Key, Outcome, Reason, Standing, Target, TokenRequest
from tokenctl.secret import Secret


class Directory(Protocol):
    """Tokens by id and by selector."""

    def get(self, identifier: str) -> Found | None: ...

    def look_up(self, identifiers: Sequence[str]) -> Iterator[tuple[str, Found | None]]:
        """Yield :meth:`get` of each of many ids."""
        ...

    def find(self, selector: Selector, *, after: str | None = None) -> Iterator[Found]:
        """Yield the chosen tokens by (expires_at, id), from the one behind ``after`` on."""
        ...

    def survey(self, identifiers: Sequence[str]) -> Iterator[tuple[str, Standing | None]]:
        """Yield how the tokens of ids seem to stand: for counting, not for believing."""
        ...

    def survey_of(self, selector: Selector) -> Iterator[tuple[str, Standing]]:
        """Yield :meth:`survey` of the tokens that a selector chooses."""
        ...

    def kin(self, identifiers: Sequence[str]) -> int:
        """Return how many unrevoked descendants these tokens have that are not among them."""
        ...

    def total(self) -> int:
        """Return how many tokens there are, of whatever state."""
        ...


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

    def keys(self) -> list[tuple[Key, int]]: ...

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


class Backend(Protocol):
    """A token authority."""

    name: str
    place: str

    @property
    def directory(self) -> Directory | None: ...

    @property
    def suspension(self) -> Suspension | None: ...

    @property
    def usage(self) -> Usage | None: ...

    @property
    def delivery(self) -> Delivery | None: ...

    @property
    def signing_keys(self) -> SigningKeys | None: ...

    def issue(self, requests: Iterable[TokenRequest]) -> Iterator[IssuedToken]: ...

    def introspect(self, presented: Secret, expectations: Expectations) -> Introspection: ...

    def prove(self, presented: Secret) -> str | None:
        """Return the id of a token whose secret or signature is proved, else ``None``; its state does not matter."""
        ...

    def revoke(self, targets: Iterable[Target], reason: Reason, *, keep_children: bool = False) -> Iterator[Outcome]: ...

    def close(self) -> None: ...
