"""The contract of a backend, kept by the real OpenBao."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.openbao import OpenBao
from tokenctl import wiring
from tokenctl.backends.base import Backend
from tokenctl.secret import Secret

sys.path.insert(0, str(Path(__file__).parents[1]))
from backend_contract import BackendContract  # it lies beside the tests of every backend


class TestOpenBao(BackendContract):
    lacks = frozenset({"audience", "format", "kind", "claims", "not_before", "parent", "replaces"})

    @pytest.fixture
    def backend(self, tmp_path: Path, openbao: OpenBao) -> Iterator[Backend]:
        tmp_path.chmod(0o700)
        umask = os.umask(0o077)  # as the program does
        profiles = tmp_path / ".config/tokenctl/profiles"
        profiles.mkdir(parents=True)
        (profiles / "vault.toml").write_text(
            f'backend = "openbao"\n[service]\naddress = "{openbao.address}"\nca_file = "{openbao.ca_file}"\n'
        )
        credential = tmp_path / "credential"
        credential.write_text(openbao.root_token)
        said: list[str] = []
        surroundings = wiring.Surroundings(
            environment={"HOME": str(tmp_path)}, now=time.time_ns() // 1_000_000, notice=said.append, warn=said.append,
            timeout=10.0, credential_file=str(credential),
        )  # fmt: skip
        backend = wiring.open_backend("vault", surroundings)
        yield backend
        backend.close()
        os.umask(umask)

    def forged(self, known: Secret, other: Secret) -> Secret:
        """Of an OpenBao token nothing is an id: a changed one is as good."""
        return self.absent(known)

    def absent(self, known: Secret) -> Secret:
        text = known.reveal().decode()
        return Secret(text[:-8] + text[-8:].swapcase())
