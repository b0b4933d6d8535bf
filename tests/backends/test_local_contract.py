"""The contract of a backend, kept by the local authority."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from tokenctl import wiring
from tokenctl.backends.base import Backend
from tokenctl.errors import NotFound
from tokenctl.model.identifier import encode_base62
from tokenctl.model.times import HOUR
from tokenctl.model.token import Action, Reason, Target
from tokenctl.secret import Secret

sys.path.insert(0, str(Path(__file__).parents[1]))
from backend_contract import ANYONE, BackendContract  # it lies beside the tests of every backend

NOW = 1_795_000_000_000


def text_of(identifier: str, secret: str) -> Secret:
    body = f"tkc_at_{identifier}_{secret}"
    return Secret(body + encode_base62(crc32(body.encode()), 6))


class TestLocalAuthority(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        tmp_path.chmod(0o700)
        umask = os.umask(0o077)  # as the program does
        said: list[str] = []
        surroundings = wiring.Surroundings(
            environment={"HOME": str(tmp_path)}, now=NOW, notice=said.append, warn=said.append, timeout=5.0
        )
        backend = wiring.open_backend(None, surroundings)
        yield backend
        backend.close()
        os.umask(umask)

    def forged(self, known: Secret, other: Secret) -> Secret:
        identifier, secret = known.reveal().decode().split("_")[2], other.reveal().decode().split("_")[3][:43]
        return text_of(identifier, secret)

    def absent(self, known: Secret) -> Secret:
        return text_of(self.unknown_id, known.reveal().decode().split("_")[3][:43])

    def test_reading_makes_no_store(self, backend: Backend, tmp_path: Path) -> None:
        assert backend.directory is not None
        assert backend.directory.get(self.unknown_id) is None
        assert backend.prove(text_of(self.unknown_id, "0" * 43)) is None
        assert [outcome.outcome for outcome in backend.revoke([self.named()], self.reason())] == ["unknown"]
        assert list(tmp_path.iterdir()) == []

    def test_an_unknown_parent_is_not_found(self, backend: Backend) -> None:
        with pytest.raises(NotFound):
            list(backend.issue([self.request(backend, parent=self.unknown_id)]))

    def test_a_token_that_the_time_of_the_log_gave_up_is_delivered_too_late(self, backend: Backend, tmp_path: Path) -> None:
        old = self.issued(backend)
        (slow,) = backend.issue([self.request(backend, replaces=old.token.id, grace=0)])
        self.let_time_pass(tmp_path, 61_000)
        assert backend.introspect(slow.text, ANYONE).state == "revoked"
        assert backend.delivery is not None
        assert backend.delivery.delivered([slow.token.id]) == [slow.token.id]
        assert backend.introspect(slow.text, ANYONE).state == "revoked"
        assert backend.introspect(old.text, ANYONE).active

    def test_a_grace_that_was_over_before_the_next_successor_arrived_stays_over(self, backend: Backend, tmp_path: Path) -> None:
        old = self.issued(backend)
        dead = self.issued(backend, replaces=old.token.id, grace=30_000)
        list(backend.revoke([self.named(dead.token.id)], self.reason()))
        (slow,) = backend.issue([self.request(backend, replaces=old.token.id, grace=HOUR)])
        self.let_time_pass(tmp_path, 40_000)
        assert backend.delivery is not None
        assert backend.delivery.delivered([slow.token.id]) == []
        assert backend.introspect(slow.text, ANYONE).active
        assert backend.introspect(old.text, ANYONE).state == "revoked"

    def test_a_token_revoked_while_its_successor_was_on_its_way_is_left_alone(self, backend: Backend) -> None:
        old = self.issued(backend)
        (new,) = backend.issue([self.request(backend, replaces=old.token.id, grace=HOUR)])
        list(backend.revoke([self.named(old.token.id)], self.reason()))
        assert backend.delivery is not None
        assert backend.delivery.delivered([new.token.id]) == []
        assert backend.introspect(new.text, ANYONE).active
        found = backend.introspect(old.text, ANYONE).found
        assert found is not None
        assert (found.standing.state, found.token.reason, found.token.replaced_by) == ("revoked", "other", None)

    @staticmethod
    def let_time_pass(home: Path, duration: int) -> None:
        """Let another process write a record so much later."""
        surroundings = wiring.Surroundings(
            environment={"HOME": str(home)}, now=NOW + duration, notice=print, warn=print, timeout=5.0
        )  # fmt: skip
        other = wiring.open_backend(None, surroundings)
        other.record_plan("0" * 64, Action("revoke", Reason()), 0)
        other.close()

    @staticmethod
    def named(identifier: str = BackendContract.unknown_id) -> Target:
        return Target(id=identifier)

    @staticmethod
    def reason() -> Reason:
        return Reason()
