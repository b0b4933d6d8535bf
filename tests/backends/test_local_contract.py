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
        assert [outcome.outcome for outcome in backend.revoke([self.target()], self.reason())] == ["unknown"]
        assert list(tmp_path.iterdir()) == []

    def test_an_unknown_parent_is_not_found(self, backend: Backend) -> None:
        with pytest.raises(NotFound):
            list(backend.issue([self.request(parent=self.unknown_id)]))

    def test_a_successor_that_another_clock_gave_up_is_delivered_too_late(self, backend: Backend, tmp_path: Path) -> None:
        old = self.issued(backend)
        (slow,) = backend.issue([self.request(replaces=old.token.id, grace=0)])
        surroundings = wiring.Surroundings(
            environment={"HOME": str(tmp_path)}, now=NOW + 61_000, notice=print, warn=print, timeout=5.0
        )
        other = wiring.open_backend(None, surroundings)
        new = self.issued(other, replaces=old.token.id, grace=HOUR)
        other.close()
        assert backend.delivery is not None
        assert backend.delivery.delivered([slow.token.id]) == [slow.token.id]
        assert backend.introspect(slow.text, ANYONE).state == "revoked"
        assert backend.introspect(old.text, ANYONE).active
        found = backend.introspect(old.text, ANYONE).found
        assert found is not None
        assert found.token.replaced_by == new.token.id

    @staticmethod
    def target() -> object:
        from tokenctl.model.token import Target

        return Target(id=BackendContract.unknown_id)

    @staticmethod
    def reason() -> object:
        from tokenctl.model.token import Reason

        return Reason()
