"""The contract of a backend, kept over real authorization servers; and what of it holds where one lies."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote import write_credential, write_profile
from tests.servers.authorization_server import AuthorizationServer, Client
from tests.servers.django_toolkit import DjangoToolkit
from tests.servers.liar import Liar
from tests.servers.oidc_provider import OidcProvider
from tokenctl import wiring
from tokenctl.backends.base import Backend
from tokenctl.errors import InvalidConfiguration
from tokenctl.model.token import Reason, Target
from tokenctl.secret import Secret

sys.path.insert(0, str(Path(__file__).parents[1]))
from backend_contract import ANYONE, BackendContract  # it lies beside the tests of every backend


def opened(home: Path, server: AuthorizationServer, client: Client) -> Backend:
    """Return the backend of a new profile of a server, as the program opens it."""
    home.chmod(0o700)
    write_profile(home, "there", server.issuer, server.ca_file, client)
    surroundings = wiring.Surroundings(
        environment={"HOME": str(home)}, now=time.time_ns() // 1_000_000, notice=lambda _: None, warn=lambda _: None,
        timeout=10.0, credential_file=str(write_credential(home, "there", client)),
    )  # fmt: skip
    return wiring.open_backend("there", surroundings)


class OAuth2Contract(BackendContract):
    """What RFC 6749, 7662 and 7009 leave of the contract: the client is the subject, and a token is named by its text alone."""

    any_subject = False
    lacks = frozenset({"format", "kind", "claims", "not_before", "max_uses", "parent", "replaces"})
    # An answer that a token is not active does not say whether it ever was (RFC 7662 section 2.2).
    unknown_is = "already_revoked"

    @pytest.fixture
    def server(self) -> AuthorizationServer:
        raise NotImplementedError

    @pytest.fixture
    def backend(self, tmp_path: Path, server: AuthorizationServer) -> Iterator[Backend]:
        umask = os.umask(0o077)  # as the program does
        backend = opened(tmp_path, server, self.client_of(server))
        yield backend
        backend.close()
        os.umask(umask)

    def client_of(self, server: AuthorizationServer) -> Client:
        return server.client  # each has one

    def unknown_target(self, known: Secret) -> Target:
        return Target(id=self.unknown_id, text=self.absent(known))

    def forged(self, known: Secret, other: Secret) -> Secret:
        first, second = known.reveal().decode(), other.reveal().decode()
        return Secret(first[: len(first) // 2] + second[len(second) // 2 :])

    def absent(self, known: Secret) -> Secret:
        return Secret(secrets.token_urlsafe(64)[: len(known.reveal())])

    def test_a_token_is_named_by_its_text_alone(self, backend: Backend) -> None:
        made = self.issued(backend)
        before = self.recorded(backend)
        with pytest.raises(InvalidConfiguration) as caught:
            list(backend.revoke([self.target(made), Target(id=made.token.id)], Reason()))
        assert (caught.value.reason, caught.value.hint) == ("token_needed", "pipe the token itself: tokenctl revoke - < FILE")
        assert self.recorded(backend) == before
        assert backend.introspect(made.text, ANYONE).active is True

    def test_a_token_of_nobody_here_is_sent_nowhere_unless_it_is_asked_for(self, backend: Backend) -> None:
        unknown = self.absent(self.issued(backend).text)
        answer = backend.introspect(unknown, ANYONE)
        assert (answer.active, answer.state, answer.members) == (None, "not_checked", None)
        assert backend.prove(unknown) is None
        backend.asked = True
        assert backend.introspect(unknown, ANYONE).members == {"active": False}
        assert backend.prove(unknown) is not None

    def test_parts_that_no_authorization_server_has(self, backend: Backend) -> None:
        assert (backend.suspension, backend.usage, backend.signing_keys) == (None, None, None)


class TestOidcProvider(OAuth2Contract):
    @pytest.fixture
    def server(self, oidc_provider: OidcProvider) -> AuthorizationServer:
        return oidc_provider


class TestDjangoToolkit(OAuth2Contract):
    @pytest.fixture
    def server(self, django_toolkit: DjangoToolkit) -> AuthorizationServer:
        return django_toolkit


class TestLiar(OAuth2Contract):
    """A server that calls everything active: nothing that it says of a denial is believed, and nothing of ours becomes one."""

    @pytest.fixture
    def server(self, liar: Liar) -> AuthorizationServer:
        return liar

    def forged(self, known: Secret, other: Secret) -> Secret:
        return self.signed(known, other.reveal().decode().rpartition(".")[2], 4)

    def absent(self, known: Secret) -> Secret:
        return self.signed(known, known.reveal().decode().rpartition(".")[2], 8)

    @staticmethod
    def signed(known: Secret, signature: str, by: int) -> Secret:
        """Return a token with another's signature, turned so that it fits nothing: two of one second may be the same."""
        turned = signature[by:84] + signature[:by] + signature[84:]
        return Secret(f"{known.reveal().decode().rpartition('.')[0]}.{turned}")

    def test_a_revoked_token_denies_and_stays_so(self, backend: Backend) -> None:
        made = self.issued(backend)
        for _ in range(2):
            (outcome,) = backend.revoke([self.target(made)], Reason(reason="test"))
            assert (outcome.outcome, outcome.state_before, outcome.at) == ("still_active", "active", None)
            assert outcome.offline_until == made.token.expires_at
        assert backend.introspect(made.text, ANYONE).active is True
        assert backend.directory is not None
        found = backend.directory.get(made.token.id)
        assert found is not None
        assert found.standing.active

    def test_an_unknown_target_is_told_and_stops_nothing(self, backend: Backend) -> None:
        made = self.issued(backend)
        targets = [self.unknown_target(made.text), self.target(made)]
        assert [outcome.outcome for outcome in backend.revoke(targets, Reason())] == ["still_active", "still_active"]

    @pytest.mark.parametrize("text", [".", "..", "a.b.c", "tkc_", "e30.e30.e30"])
    def test_rubbish_is_answered_with_no(self, backend: Backend, text: str) -> None:
        assert backend.prove(Secret(text)) is None
        assert backend.introspect(Secret(text), ANYONE).active is not True
        backend.asked = True  # whoever asks a liar gets its word, and nothing here knows better
        assert backend.introspect(Secret(text), ANYONE).members == {"active": True}

    @pytest.mark.parametrize("text", ["", "\0", "\ud7ff" * 10, "x" * 70_000])
    def test_what_can_be_no_token_is_not_even_asked_about(self, backend: Backend, text: str) -> None:
        backend.asked = True
        answer = backend.introspect(Secret(text), ANYONE)
        assert (answer.active, answer.members) == (False, None)

    def test_a_token_of_nobody_here_is_sent_nowhere_unless_it_is_asked_for(self, backend: Backend) -> None:
        unknown = self.absent(self.issued(backend).text)
        answer = backend.introspect(unknown, ANYONE)
        assert (answer.active, answer.signature, answer.members) == (False, "invalid", None)
        backend.asked = True
        assert backend.introspect(unknown, ANYONE).members == {"active": True}
