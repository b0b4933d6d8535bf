"""What every backend keeps, whatever stands behind it: one suite, run against each authority.

A subclass gives a ``backend`` fixture, and says what the authority lacks: instead of the tests of that, it has to refuse with
exit 9 before anything is recorded.
"""

from __future__ import annotations

import pytest

from tokenctl.backends.base import Backend, Expectations
from tokenctl.errors import InvalidConfiguration, TokenctlError
from tokenctl.model.rotation import Wish
from tokenctl.model.selector import Selector
from tokenctl.model.times import HOUR
from tokenctl.model.token import IssuedToken, Reason, Target, TokenRequest
from tokenctl.secret import Secret

ANYONE = Expectations(any_audience=True)


class BackendContract:
    """The contract of ``tokenctl.backends.base`` as tests.

    Attributes:
        unknown_id: An id that no token of the authority has.
        lacks: Fields of a request that it cannot grant.
        any_subject: Whether it issues for any subject, or for one alone.
        unknown_is: The outcome of a revocation of what it does not know.
    """

    unknown_id = "0352Ldy4SKzRSvwVvSWvL6"
    lacks: frozenset[str] = frozenset()
    any_subject = True
    unknown_is = "unknown"

    def subject(self, backend: Backend) -> str:
        return "contract" if self.any_subject else str(backend.default_subject)

    def request(self, backend: Backend, **changes: object) -> TokenRequest:
        facts: dict[str, object] = {
            "subject": self.subject(backend), "owner": "tester", "scope": ("a:read",), "lifetime": HOUR,
        }  # fmt: skip
        return TokenRequest(**(facts | changes))  # names are checked by the tuple

    def target(self, made: IssuedToken) -> Target:
        """Return a token as a target, in every way that it can be named."""
        return Target(id=made.token.id, text=made.text)

    def unknown_target(self, known: Secret) -> Target:
        return Target(id=self.unknown_id)

    def refuses(self, backend: Backend, **changes: object) -> bool:
        """Whether a request is for what the authority lacks; it is refused then, and leaves no trace."""
        if not self.lacks & changes.keys():
            return False
        before = self.recorded(backend)
        with pytest.raises(InvalidConfiguration):
            list(backend.issue([self.request(backend), self.request(backend, **changes)]))
        assert self.recorded(backend) == before
        return True

    @staticmethod
    def recorded(backend: Backend) -> int:
        with backend.journal.reading() as view:
            return len(list(view.store.rows("SELECT seq FROM record"))) if view is not None else 0

    def issued(self, backend: Backend, **changes: object) -> IssuedToken:
        (token,) = backend.issue([self.request(backend, **changes)])
        if backend.delivery is not None:
            backend.delivery.delivered([token.token.id])
        return token

    def test_it_says_its_name_and_its_place(self, backend: Backend) -> None:
        assert backend.name
        assert backend.place

    def test_an_issued_token_is_active_and_is_what_was_asked_for(self, backend: Backend) -> None:
        made = self.issued(backend)
        answer = backend.introspect(made.text, ANYONE)
        assert (answer.active, answer.state) == (True, "active")
        assert answer.found is not None
        token = answer.found.token
        assert (token.id, token.subject, token.scope) == (made.token.id, self.subject(backend), ("a:read",))
        assert token.expires_at - token.issued_at <= HOUR

    def test_every_token_of_one_call_is_another(self, backend: Backend) -> None:
        tokens = list(backend.issue([self.request(backend), self.request(backend), self.request(backend)]))
        assert len({token.token.id for token in tokens}) == 3
        assert len({token.text.reveal() for token in tokens}) == 3

    def test_introspection_changes_nothing(self, backend: Backend) -> None:
        made = self.issued(backend)
        assert backend.introspect(made.text, ANYONE) == backend.introspect(made.text, ANYONE)

    def test_an_unknown_token_and_a_wrong_secret_look_the_same(self, backend: Backend) -> None:
        known, other = self.issued(backend), self.issued(backend)
        backend.asked = True
        wrong, absent = self.forged(known.text, other.text), self.absent(known.text)
        answers = [backend.introspect(text, ANYONE) for text in (wrong, absent)]
        assert answers[0] == answers[1]
        assert (answers[0].active, answers[0].state, answers[0].found) == (False, "unknown", None)

    def forged(self, known: Secret, other: Secret) -> Secret:
        """Return a well-formed token with the id of one and the secret of another."""
        raise NotImplementedError

    def absent(self, known: Secret) -> Secret:
        """Return a well-formed token that the authority does not know."""
        raise NotImplementedError

    def test_a_revoked_token_denies_and_stays_so(self, backend: Backend) -> None:
        made = self.issued(backend)
        target = self.target(made)
        (first,) = backend.revoke([target], Reason(reason="test"))
        (again,) = backend.revoke([target], Reason(reason="compromised"))
        assert (first.outcome, first.state_before, first.reason) == ("revoked", "active", "test")
        assert (again.outcome, again.at, again.reason) == ("already_revoked", first.at, "test")
        answer = backend.introspect(made.text, ANYONE)
        assert (answer.active, answer.state) == (False, "revoked")

    def test_an_unknown_target_is_told_and_stops_nothing(self, backend: Backend) -> None:
        made = self.issued(backend)
        targets = [self.unknown_target(made.text), self.target(made)]
        assert [outcome.outcome for outcome in backend.revoke(targets, Reason())] == [self.unknown_is, "revoked"]

    def test_a_revocation_of_nothing_is_nothing(self, backend: Backend) -> None:
        assert list(backend.revoke([], Reason())) == []

    def test_a_secret_is_proved_whatever_its_state_and_nothing_else_is(self, backend: Backend) -> None:
        made, other = self.issued(backend), self.issued(backend)
        list(backend.revoke([self.target(made)], Reason()))
        assert backend.prove(made.text) == made.token.id
        assert backend.prove(self.forged(made.text, other.text)) is None
        assert backend.prove(self.absent(made.text)) is None
        assert backend.prove(Secret("no token at all")) is None

    @pytest.mark.parametrize("text", ["", "\0", "tkc_", ".", "..", "a.b.c", "\ud7ff" * 10, "x" * 70_000, "e30.e30.e30"])
    def test_rubbish_is_answered_with_no(self, backend: Backend, text: str) -> None:
        assert backend.prove(Secret(text)) is None
        backend.asked = True
        assert backend.introspect(Secret(text), ANYONE).active is False

    def test_the_directory_finds_what_was_issued(self, backend: Backend) -> None:
        directory = backend.directory
        if directory is None:
            pytest.skip("this authority has no directory")
        assert directory.get(self.unknown_id) is None
        ids = {self.issued(backend, owner=owner).token.id for owner in ("x", "y")}
        assert {found.token.id for found in directory.find(Selector(owner=("x", "y")))} == ids
        assert {found.token.owner for found in directory.find(Selector(owner=("x",)))} == {"x"}
        assert {found.token.id for found in directory.find(Selector(subject=(self.subject(backend),)))} == ids
        for identifier in ids:
            found = directory.get(identifier)
            assert found is not None
            assert found.standing.active
        position = min(directory.find(Selector()), key=lambda found: (found.token.expires_at, found.token.id))
        assert len(list(directory.find(Selector(), after=position.token.id))) == 1
        with pytest.raises(TokenctlError):
            list(directory.find(Selector(), after=self.unknown_id))

    def test_it_issues_for_every_subject_or_refuses_all_but_its_own(self, backend: Backend) -> None:
        if self.any_subject:
            made = [self.issued(backend, subject=subject) for subject in ("x", "y")]
            assert backend.directory is not None
            assert [found.token.id for found in backend.directory.find(Selector(subject=("x",)))] == [made[0].token.id]
            return
        before = self.recorded(backend)
        with pytest.raises(InvalidConfiguration):
            self.issued(backend, subject="x")
        assert self.recorded(backend) == before

    @pytest.mark.parametrize(
        ("field", "value"),
        [("kind", "service"), ("format", "jwt"), ("not_before", 1_795_000_600_000), ("claims", (("x", 1),))],
    )
    def test_what_it_cannot_grant_is_refused_before_anything_starts(
        self, backend: Backend, field: str, value: object
    ) -> None:
        assert self.refuses(backend, **{field: value}) == (field in self.lacks)

    def test_a_limited_token_is_spent_by_its_uses_alone(self, backend: Backend) -> None:
        usage = backend.usage
        if usage is None:
            pytest.skip("this authority counts no uses")
        made = self.issued(backend, max_uses=2)
        assert backend.introspect(made.text, ANYONE).active is True
        assert [usage.use(made.text, ANYONE).active for _ in range(3)] == [True, True, False]
        assert backend.introspect(made.text, ANYONE).state == "spent"

    def test_a_refused_use_counts_nothing(self, backend: Backend) -> None:
        usage, directory = backend.usage, backend.directory
        if usage is None or directory is None:
            pytest.skip("this authority counts no uses")
        made = self.issued(backend, audience=("a",), max_uses=1)
        assert usage.use(made.text, Expectations(audiences=("b",))).active is False
        assert usage.use(made.text, Expectations(audiences=("a",), scopes=("other",))).active is False
        found = directory.get(made.token.id)
        assert found is not None
        assert found.token.uses == 0

    def test_a_child_dies_with_its_parent(self, backend: Backend) -> None:
        parent = self.issued(backend)
        if self.refuses(backend, parent=parent.token.id):
            return
        child = self.issued(backend, parent=parent.token.id, lifetime=HOUR // 2)
        (outcome,) = backend.revoke([self.target(parent)], Reason())
        assert (outcome.outcome, outcome.children) == ("revoked", 1)
        assert backend.introspect(child.text, ANYONE).active is False

    def test_a_child_that_is_kept_lives_on(self, backend: Backend) -> None:
        parent = self.issued(backend)
        if self.refuses(backend, parent=parent.token.id):
            return
        child = self.issued(backend, parent=parent.token.id, lifetime=HOUR // 2)
        (outcome,) = backend.revoke([self.target(parent)], Reason(), keep_children=True)
        assert (outcome.outcome, outcome.children) == ("revoked", 0)
        assert backend.introspect(child.text, ANYONE).active is True

    def test_what_is_suspended_denies_until_it_is_lifted(self, backend: Backend) -> None:
        suspension = backend.suspension
        if suspension is None:
            pytest.skip("this authority suspends nothing")
        made = self.issued(backend)
        child = self.issued(backend, parent=made.token.id, lifetime=HOUR // 2)
        targets = [Target(id=made.token.id), Target(id=self.unknown_id)]
        first, unknown = suspension.suspend(targets, Reason(request_id="one"))
        assert (first.outcome, first.state_before, first.children) == ("suspended", "active", 1)
        assert unknown.outcome == "unknown"
        for text in (made.text, child.text):
            answer = backend.introspect(text, ANYONE)
            assert (answer.active, answer.state) == (False, "suspended")
        lifted = {outcome.id: outcome for outcome in suspension.lift(targets, Reason())}
        assert (lifted[made.token.id].outcome, lifted[made.token.id].state_before) == ("lifted", "suspended")
        assert lifted[self.unknown_id].outcome == "unknown"
        for text in (made.text, child.text):
            assert backend.introspect(text, ANYONE).active is True

    def test_suspending_and_lifting_again_is_safe(self, backend: Backend) -> None:
        suspension = backend.suspension
        if suspension is None:
            pytest.skip("this authority suspends nothing")
        target = Target(id=self.issued(backend).token.id)
        again = [next(suspension.suspend([target], Reason(request_id="same"))) for _ in range(2)]
        assert [outcome.outcome for outcome in again] == ["suspended"] * 2
        assert again[0].at == again[1].at
        assert [next(suspension.lift([target], Reason())).outcome for _ in range(2)] == ["lifted"] * 2

    def test_what_is_revoked_is_neither_suspended_nor_lifted(self, backend: Backend) -> None:
        suspension = backend.suspension
        if suspension is None:
            pytest.skip("this authority suspends nothing")
        made = self.issued(backend)
        target = Target(id=made.token.id)
        list(suspension.suspend([target], Reason()))
        (dead,) = backend.revoke([target], Reason())
        assert (dead.outcome, dead.state_before) == ("revoked", "suspended")
        assert [outcome.outcome for outcome in suspension.suspend([target], Reason())] == ["already_revoked"]
        assert [outcome.outcome for outcome in suspension.lift([target], Reason())] == ["already_revoked"]
        assert backend.introspect(made.text, ANYONE).state == "revoked"

    def test_suspending_and_lifting_nothing_is_nothing(self, backend: Backend) -> None:
        suspension = backend.suspension
        if suspension is None:
            pytest.skip("this authority suspends nothing")
        assert list(suspension.suspend([], Reason(), duration=HOUR, then="lift")) == []
        assert list(suspension.lift([], Reason())) == []

    def test_a_successor_has_the_rights_of_the_token_that_it_replaces(self, backend: Backend) -> None:
        if self.refuses(backend, replaces=self.issued(backend).token.id, grace=HOUR):
            return
        old = self.issued(backend, owner="whoever", kind="service", labels=(("team", "x"),), audience=("api",))
        new = self.issued(backend, subject="", owner="", scope=("b:write",), replaces=old.token.id, grace=HOUR, lifetime=None)
        for name in ("subject", "owner", "kind", "format", "scope", "audience", "labels", "parent"):
            assert getattr(new.token, name) == getattr(old.token, name), name
        assert new.token.expires_at - new.token.issued_at == old.token.expires_at - old.token.issued_at
        assert new.text.reveal() != old.text.reveal()

    def test_only_a_delivered_successor_that_is_used_ends_the_token_before_it(self, backend: Backend) -> None:
        usage, delivery = backend.usage, backend.delivery
        if usage is None or delivery is None:
            pytest.skip("this authority counts no uses, or is not told of deliveries")
        old = self.issued(backend)
        (new,) = backend.issue([self.request(backend, replaces=old.token.id, grace=0)])
        assert usage.use(new.text, ANYONE).active
        assert backend.introspect(old.text, ANYONE).active
        assert delivery.delivered([new.token.id]) == []
        assert backend.introspect(old.text, ANYONE).state == "revoked"
        before = self.issued(backend)
        after = self.issued(backend, replaces=before.token.id, grace=HOUR)
        assert usage.use(before.text, ANYONE).active
        assert usage.use(after.text, ANYONE).active
        assert backend.introspect(before.text, ANYONE).state == "revoked"
        assert usage.use(after.text, ANYONE).active

    def test_successors_are_delivered_among_others(self, backend: Backend) -> None:
        if backend.delivery is None:
            pytest.skip("this authority is not told of deliveries")
        old = [self.issued(backend), self.issued(backend)]
        if self.refuses(backend, replaces=old[0].token.id, grace=0):
            return
        requests = [self.request(backend, replaces=token.token.id, grace=0) for token in old]
        made = list(backend.issue([self.request(backend), *requests, self.request(backend)]))
        assert all(backend.introspect(token.text, ANYONE).active for token in old)
        assert backend.delivery.delivered([token.token.id for token in made]) == []
        assert [backend.introspect(token.text, ANYONE).state for token in old] == ["revoked", "revoked"]
        assert all(backend.introspect(token.text, ANYONE).active for token in made)

    def test_a_token_is_replaced_once_and_again_when_its_successor_is_dead(self, backend: Backend) -> None:
        old = self.issued(backend)
        if self.refuses(backend, replaces=old.token.id, grace=HOUR):
            return
        new = self.issued(backend, replaces=old.token.id, grace=HOUR)
        with pytest.raises(TokenctlError) as caught:
            self.issued(backend, replaces=old.token.id, grace=HOUR)
        assert caught.value.exit_code == 6
        list(backend.revoke([Target(id=new.token.id)], Reason()))
        assert backend.introspect(self.issued(backend, replaces=old.token.id, grace=HOUR).text, ANYONE).active
        with pytest.raises(TokenctlError) as caught:
            list(backend.issue([self.request(backend, replaces=self.unknown_id, grace=HOUR)]))
        assert caught.value.exit_code == 5

    def test_the_published_keys_verify_a_jwt_and_hold_nothing_private(self, backend: Backend) -> None:
        if backend.signing_keys is None:
            pytest.skip("this authority shows no keys")
        made = self.issued(backend, format="jwt", audience=("api",))
        document = backend.signing_keys.jwks()
        from joserfc import jwt
        from joserfc.jwk import KeySet

        (key,) = document["keys"]  # a JWK Set
        assert set(key) <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"}
        token = jwt.decode(made.text.reveal().decode(), KeySet.import_key_set(document), algorithms=[key["alg"]])
        assert token.claims["jti"] == made.token.id
        listed = backend.signing_keys.keys()
        assert [(entry.kid, entry.state, living) for entry, living in listed] == [(key["kid"], "active", 1)]

    def test_a_compromised_key_denies_what_it_signed_and_is_published_no_more(self, backend: Backend) -> None:
        signing = backend.signing_keys
        if signing is None:
            pytest.skip("this authority shows no keys")
        made = self.issued(backend, format="jwt", audience=("api",))
        kid = made.token.kid
        assert kid is not None
        assert signing.toll(kid).tokens == 1
        steps = signing.compromise(kid)
        assert [step.action for step in steps] == ["compromise", "activate"]
        assert signing.compromise(kid) == []
        assert backend.introspect(made.text, ANYONE).active is False
        assert [key["kid"] for key in signing.jwks()["keys"]] == [steps[1].kid]  # a JWK Set
        again = self.issued(backend, format="jwt", audience=("api",))
        assert again.token.kid == steps[1].kid
        assert backend.introspect(again.text, ANYONE).active is True

    def test_a_step_that_is_not_due_is_not_taken(self, backend: Backend) -> None:
        signing = backend.signing_keys
        if signing is None:
            pytest.skip("this authority shows no keys")
        self.issued(backend, format="jwt", audience=("api",))
        outlook = signing.outlook(Wish())
        assert outlook.due == []
        assert [signing.advance(step, Wish()) for step in outlook.steps] == [[]] * len(outlook.steps)
        with pytest.raises(TokenctlError):
            signing.roll_back(None)
        with pytest.raises(TokenctlError):
            signing.retire(self.unknown_id)
