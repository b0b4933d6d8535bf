"""The local token authority: the seam's verbs over a journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.local.journal import Change, Journal
from tokenctl.backends.local.standing import SERVED_STATES, due, housekeep, intact_keys, look
from tokenctl.config import Profile
from tokenctl.errors import NotFound, PolicyDenied, TemporarilyUnavailable
from tokenctl.model.introspection import Expectations, Found, Introspection
from tokenctl.model.selector import Selector
from tokenctl.model.token import DELIVERY_DEADLINE, IssuedToken, Key, Outcome, Reason, Target, Token, TokenRequest
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.local.judging import Judgement  # only what issues needs them
    from tokenctl.model.policy import Policy


class LocalAuthority:
    """A token authority over one store; see :mod:`tokenctl.backends.base` for the contract.

    It is its own directory, usage, delivery and signing keys.
    """

    def __init__(self, profile: Profile, journal: Journal, *, policy: Callable[[], Policy]) -> None:
        self.name = profile.name
        self.place = f"local, {journal.shown_path}"
        self.journal = journal
        self.default_audience = profile.default_audience
        self._profile = profile
        self._read_policy = policy

    @cached_property
    def policy(self) -> Policy:
        """What may be issued; read when it is first asked for. Raises InvalidConfiguration (exit 9)."""
        return self._read_policy()

    @property
    def directory(self) -> LocalAuthority:
        return self

    @property
    def usage(self) -> LocalAuthority:
        return self

    @property
    def delivery(self) -> LocalAuthority:
        return self

    @property
    def signing_keys(self) -> LocalAuthority:
        return self

    def close(self) -> None:
        self.journal.close()

    # Issue and delivery

    def issue(self, requests: Iterable[TokenRequest]) -> Iterator[IssuedToken]:
        for request in requests:
            if request.format == "jwt":
                from tokenctl.formats import signing  # noqa: F401  # a slow import must not happen inside the lock
            yield self._issue(request)

    def judge(self, request: TokenRequest) -> Judgement:
        """Say what would become of a request, and change nothing.

        Raises:
            NotFound: its parent is unknown (exit 5).
            Conflict: its request id is used (exit 6).
            IntegrityError: quarantined (exit 10).
        """
        from tokenctl.backends.local import issuing, judging

        actor = str(self.journal.actor)
        with self.journal.reading() as view:
            if view is None:
                return judging.judge(None, request, self.policy, self.journal.clock, actor)
            view.require_trust()
            issuing.earlier(view, request, actor)
            return judging.judge(view, request, self.policy, view.now, actor)

    def _issue(self, request: TokenRequest) -> IssuedToken:
        from tokenctl.backends.local import issuing

        policy = self.policy
        with self.journal.changing(create=True, trusted=True) as change:
            assert change is not None
            housekeep(change)
            issuing.note_policy(change, policy)
            try:
                return issuing.issue(change, request, policy, self._profile, self.journal.clock)
            except PolicyDenied as error:
                change.append(issuing.refusal(request, policy, error))
                refused = error
        raise refused

    def delivered(self, identifiers: Sequence[str]) -> None:
        with self.journal.changing() as change:
            assert change is not None
            for identifier in identifiers:
                self._record_delivery(change, identifier)

    def _record_delivery(self, change: Change, identifier: str) -> None:
        stored = change.rows.token(identifier)
        now = self.journal.time()
        in_time = stored is not None and now < stored.row.issued_at + DELIVERY_DEADLINE
        if not in_time or not change.rows.observe_delivery(identifier, now):
            raise TemporarilyUnavailable(
                f"token {identifier} reached its taker too late: it is not accepted", hint="run again for another one",
                reason="undelivered",
            )  # fmt: skip

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

    def revoke(self, targets: Iterable[Target], reason: Reason) -> Iterator[Outcome]:
        from tokenctl.backends.local import revoking

        return revoking.revoke(self.journal, list(targets), reason)

    # Directory

    def get(self, identifier: str) -> Found | None:
        with self.journal.reading() as view:
            stored = view.rows.token(identifier) if view is not None else None
            if view is None or stored is None:
                return None
            return look(view, stored, count_children=True)

    def require_trust(self) -> None:
        """Refuse to call anything active in a store that does not check out (exit 10)."""
        with self.journal.reading() as view:
            if view is not None:
                view.require_trust()

    def find(self, selector: Selector, *, after: str | None = None) -> Iterator[Found]:
        """Yield the chosen tokens by (expires_at, id), from the one behind ``after`` on.

        Raises:
            NotFound: ``after`` is no token here (exit 5).
        """
        with self.journal.reading() as view:
            if view is None:
                return
            position = None
            if after is not None:
                last = view.rows.token(after)
                if last is None:
                    raise NotFound(f"no token {after} to go on after")
                position = (last.row.expires_at, last.row.id)
            for stored in view.rows.select(selector, now=view.now, after=position):
                found = look(view, stored)
                if found.standing.state in selector.states or ("undelivered" in selector.states and _undelivered(found)):
                    yield found

    def hidden(self, states: Sequence[str]) -> int:
        """Return how many tokens are in none of these states, so that a list can say what it does not show."""
        with self.journal.reading() as view:
            if view is None or set(states) != set(Selector().states):
                return 0
            return view.store.integer("SELECT count(*) FROM token WHERE expires_at <= ? OR revoked_at IS NOT NULL", view.now)

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

    # Signing keys

    def keys(self) -> list[tuple[Key, int]]:
        with self.journal.reading() as view:
            if view is None:
                return []
            return [(key, view.rows.living_under(key.kid, view.now)) for key in intact_keys(view)]

    def last_expiry(self, kid: str) -> int | None:
        """Return when the last token that a key signed ends: it can retire after that."""
        with self.journal.reading() as view:
            return view.rows.last_expiry_under(kid) if view is not None else None

    def jwks(self) -> dict[str, object]:
        """Return the public keys that verifiers need now, as a JWK Set (RFC 7517 section 5).

        Raises:
            IntegrityError: a key's row or the store does not check out (exit 10).
        """
        with self.journal.reading() as view:
            if view is None:
                return {"keys": []}
            view.require_trust()
            keys = [json.loads(key.public) for key in intact_keys(view) if key.state in SERVED_STATES]
            # A strict verifier compares the header's name with the key's.
            return {"keys": [key | {"alg": self._profile.eddsa_name} if key["alg"] == "EdDSA" else key for key in keys]}


def _undelivered(found: Found) -> bool:
    token: Token = found.token
    return token.undelivered or found.standing.cause == "undelivered"
