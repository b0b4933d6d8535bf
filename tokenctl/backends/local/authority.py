"""The local token authority: the seam's verbs over a journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.local.directory import LocalDirectory
from tokenctl.backends.local.journal import BATCH_SECONDS, Journal
from tokenctl.backends.local.standing import due, housekeep
from tokenctl.config import Profile
from tokenctl.errors import Conflict, NotFound, PolicyDenied, TemporarilyUnavailable, TokenctlError
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.token import (
    DELIVERY_DEADLINE,
    Action,
    IssuedToken,
    Outcome,
    Reason,
    Target,
    TokenRequest,
)
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.local import planning
    from tokenctl.backends.local.judging import Judgement  # only what issues needs them
    from tokenctl.backends.local.signing_keys import LocalSigningKeys
    from tokenctl.model.policy import Policy
    from tokenctl.model.review import Review


class LocalAuthority:
    """A token authority over one store; see :mod:`tokenctl.backends.base` for the contract.

    It is its own suspension, usage and delivery.
    """

    def __init__(self, profile: Profile, journal: Journal, *, policy: Callable[[], Policy]) -> None:
        self.name = profile.name
        self.place = f"local, {journal.shown_path}"
        self.journal = journal
        self.default_audience = profile.default_audience
        self.verifiers = profile.verifiers
        self._profile = profile
        self._read_policy = policy
        self.directory = LocalDirectory(journal)

    @cached_property
    def policy(self) -> Policy:
        """What may be issued; read when it is first asked for. Raises InvalidConfiguration (exit 9)."""
        return self._read_policy()

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

    def close(self) -> None:
        self.journal.close()

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

    def judge(self, request: TokenRequest) -> tuple[Judgement, TokenRequest]:
        """Say what would become of a request, and change nothing; return it with the rights of what it replaces too.

        Raises:
            NotFound: its parent, or what it replaces, is unknown (exit 5).
            Conflict: its request id is used, or what it replaces cannot be (exit 6).
            IntegrityError: quarantined (exit 10).
        """
        from tokenctl.backends.local import issuing

        with self.journal.reading() as view:
            return issuing.Foresight(view, self.policy, self._profile, self.journal).judge(request)

    def foresee(self, requests: Iterable[TokenRequest]) -> Iterator[TokenctlError | None]:
        """Say of each request what would keep it from being answered after those before it; nothing is changed."""
        from tokenctl.backends.local import issuing

        with self.journal.reading() as view:
            foresight = issuing.Foresight(view, self.policy, self._profile, self.journal)
            yield from map(foresight.error, requests)

    def refuse(self, refused: Iterable[tuple[TokenRequest, PolicyDenied]]) -> None:
        """Record requests that are refused together with others of a bulk issue."""
        from tokenctl.backends.local import issuing

        with self.journal.changing(create=True, trusted=True) as change:
            assert change is not None
            issuing.note_policy(change, self.policy)
            for request, error in refused:
                change.append(issuing.refusal(request, self.policy, error))

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

        with self.journal.reading() as view:
            now = view.now if view is not None else self.journal.clock
            return introspecting.introspect(view, presented, expectations, now)

    def use(self, presented: Secret, expectations: Expectations) -> Introspection:
        from tokenctl.backends.local import introspecting

        with self.journal.changing() as change:
            now = change.now if change is not None else self.journal.clock
            answer = introspecting.introspect(change, presented, expectations, now, count_children=False)
            return introspecting.spend(change, answer) if change is not None else answer

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

    # Plans

    def authority(self) -> str | None:
        """Return the id of the store; ``None`` where there is none yet."""
        with self.journal.reading() as view:
            return view.store_id if view is not None else None

    def record_plan(self, digest: str, action: Action, targets: int) -> None:
        """Record that a plan was made, by the hash of its file; durable when this returns."""
        from tokenctl.backends.local import planning

        with self.journal.changing() as change:
            assert change is not None
            planning.record(change, digest, action, targets)

    def plan_made(self, digest: str) -> tuple[planning.Made | None, int]:
        """Return what the log knows of a plan of this hash, ``None`` for nothing, and now."""
        from tokenctl.backends.local import planning

        with self.journal.reading() as view:
            return (planning.made(view, digest), view.now) if view is not None else (None, self.journal.clock)

    # Looking after the store

    @property
    def review(self) -> Review:
        """From where on something is a mistake in this profile. Raises InvalidConfiguration (exit 9)."""
        return self._profile.review

    def require_trust(self) -> None:
        """Refuse to call anything active in a store that does not check out (exit 10)."""
        with self.journal.reading() as view:
            if view is not None:
                view.require_trust()

    def forget(self) -> None:
        """Forget what a rotation of the root secret kept for tokens that have ended; left to the next where the store is busy."""
        from tokenctl.backends.local import retaining

        with self.journal.reading() as view:
            if view is None or self.journal.read_only or not retaining.ended(view):
                return
        with suppress(TemporarilyUnavailable), self.journal.changing(trusted=True) as change:
            if change is not None:
                retaining.forget(change)

    def housekeep(self) -> None:
        """Record what has come due; left to the next command where the store is busy or cannot be written."""
        with self.journal.reading() as view:
            if view is None or self.journal.read_only or not due(view):
                return
        patience, self.journal.lock_deadline = self.journal.lock_deadline, 0.0
        try:
            with self.journal.changing() as change:
                if change is not None:
                    housekeep(change)
        except TemporarilyUnavailable:
            return
        finally:
            self.journal.lock_deadline = patience
