"""The local token authority: the seam's verbs over a journal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.base import Backend
from tokenctl.backends.local.journal import BATCH_SECONDS
from tokenctl.backends.local.standing import housekeep
from tokenctl.errors import Conflict, NotFound, PolicyDenied, TokenctlError
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.token import (
    DELIVERY_DEADLINE,
    IssuedToken,
    Outcome,
    Reason,
    Target,
    TokenRequest,
)
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.local.signing_keys import LocalSigningKeys


class LocalAuthority(Backend):
    """A token authority over one store; see :mod:`tokenctl.backends.base` for the contract.

    It is its own suspension, usage and delivery.
    """

    kind = "local"

    @property
    def place(self) -> str:
        return f"local, {self.journal.shown_path}"

    @property
    def suspension(self) -> LocalAuthority:
        return self

    @property
    def usage(self) -> LocalAuthority:
        return self

    @property
    def delivery(self) -> LocalAuthority:
        return self

    @cached_property
    def signing_keys(self) -> LocalSigningKeys:
        from tokenctl.backends.local.signing_keys import LocalSigningKeys

        return LocalSigningKeys(self.journal, self._profile)

    # Issue and delivery

    def issue(self, requests: Iterable[TokenRequest]) -> Iterator[IssuedToken]:
        waiting = list(requests)
        if any(request.format == "jwt" for request in waiting):
            from tokenctl.formats import signing  # noqa: F401  # a slow import must not happen inside the lock
        while waiting:
            made, error = self._issue(waiting)
            yield from made
            if error is not None:
                raise error
            del waiting[: len(made)]

    def _issue(self, requests: Sequence[TokenRequest]) -> tuple[list[IssuedToken], TokenctlError | None]:
        """Issue in one change for about a tenth of a second; an error ends it, and what was made before it stands."""
        from tokenctl.backends.local import issuing

        started = time.monotonic()
        failed: TokenctlError | None = None
        policy = self.policy
        with self.journal.changing(create=True, trusted=True) as change:
            assert change is not None
            housekeep(change)
            issuing.note_policy(change, policy)
            minting = issuing.Minting(
                change, policy, self._profile, self.journal.clock, lambda view: self.signing_keys.publish(view)
            )
            try:
                for request in requests:
                    minting.add(request)
                    if time.monotonic() - started > BATCH_SECONDS:
                        break
            except PolicyDenied as error:
                change.append(issuing.refusal(minting.asked or request, policy, error))
                failed = error
            except (Conflict, NotFound) as error:
                if not minting.made:
                    raise
                failed = error
            minting.write()
        return minting.made, failed

    def delivered(self, identifiers: Sequence[str]) -> list[str]:
        with self.journal.changing() as change:
            assert change is not None
            # Not behind the log: a reader may have denied it by that time, and what it replaces have another successor.
            now = max(self.journal.time(), change.now)
            late = change.rows.observe_delivery(identifiers, now, issued_after=now - DELIVERY_DEADLINE)
            successors = change.rows.successors_among(identifiers)
            if successors:
                from tokenctl.backends.local import succeeding

                late += succeeding.hand_over(change, set(successors).difference(late), now)
            return late

    # Introspection and use

    def introspect(self, presented: Secret, expectations: Expectations) -> Introspection:
        from tokenctl.backends.local import introspecting

        if self._is_foreign(presented):
            return self.introspect_foreign(presented.reveal().decode("utf-8", "replace"), expectations)
        with self.journal.reading() as view:
            now = view.now if view is not None else self.journal.clock
            return introspecting.introspect(view, presented, expectations, now)

    def _is_foreign(self, presented: Secret) -> bool:
        """Whether it is a JWT of others, in a profile that trusts others."""
        from tokenctl.backends.local import introspecting

        text = presented.reveal().decode("utf-8", "replace")
        if self.issuer_keys is None or not introspecting.looks_like_jwt(text):
            return False
        from tokenctl.backends.local import own_jwt

        with self.journal.reading() as view:
            return own_jwt.is_foreign(view, text)

    def use(self, presented: Secret, expectations: Expectations) -> Introspection:
        from tokenctl.backends.local import introspecting

        if self._is_foreign(presented):  # its uses are nobody's to count here
            return self.introspect_foreign(presented.reveal().decode("utf-8", "replace"), expectations)
        with self.journal.changing() as change:
            now = change.now if change is not None else self.journal.clock
            answer = introspecting.introspect(change, presented, expectations, now, count_children=False)
            return introspecting.spend(change, answer) if change is not None else answer

    def named(self, identifier: str, expectations: Expectations) -> Introspection | None:
        from tokenctl.backends.local import introspecting

        found = self.directory.get(identifier)
        if found is None:
            return None
        checks = introspecting.state_checks(found)
        checks += introspecting.named_demands(found.token, expectations, self.journal.clock)
        with self.journal.reading() as view:
            assert view is not None
            return introspecting.conclude(view, found, checks)

    def prove(self, presented: Secret) -> str | None:
        from tokenctl.backends.local import introspecting

        with self.journal.reading() as view:
            return introspecting.prove(view, presented)

    # Revocation

    def revoke(self, targets: Iterable[Target], reason: Reason, *, keep_children: bool = False) -> Iterator[Outcome]:
        from tokenctl.backends.local import batches, revoking

        chosen = list(targets)
        return batches.carry_out(self.journal, chosen, revoking.Revocation(chosen, reason, keep_children=keep_children))

    def suspend(
        self, targets: Iterable[Target], reason: Reason, *, duration: int | None = None, then: str | None = None,
        keep_children: bool = False,
    ) -> Iterator[Outcome]:  # fmt: skip
        from tokenctl.backends.local import batches, suspending

        deed = suspending.Suspending(reason, duration=duration, then=then, keep_children=keep_children)
        return batches.carry_out(self.journal, list(targets), deed)

    def lift(self, targets: Iterable[Target], reason: Reason, *, planned: int | None = None) -> Iterator[Outcome]:
        from tokenctl.backends.local import batches, suspending

        # Ids sort by time of issue, so a parent is lifted before its children are judged.
        return batches.carry_out(self.journal, sorted(targets), suspending.Lifting(reason, planned=planned), trusted=True)
