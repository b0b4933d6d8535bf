"""What every authority of this program keeps for its profile: a store with its log, plans and rules, wherever tokens live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.local.directory import LocalDirectory
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.standing import due, housekeep
from tokenctl.config import Profile
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.model.token import Action

if TYPE_CHECKING:
    from tokenctl.backends.local import planning
    from tokenctl.backends.local.judging import Judgement
    from tokenctl.errors import PolicyDenied, TokenctlError
    from tokenctl.model.policy import Policy  # only what issues needs them
    from tokenctl.model.review import Review
    from tokenctl.model.token import TokenRequest


class Keeper:
    """The store of one profile; its rows are the tokens that were issued or obtained through it."""

    def __init__(self, profile: Profile, journal: Journal, *, policy: Callable[[], Policy]) -> None:
        self.name = profile.name
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

    def close(self) -> None:
        self.journal.close()

    # Requests

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
