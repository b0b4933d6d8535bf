"""A copy of a store beside rotations of its root secret: it fits the secret that goes with it, or there is none."""

from __future__ import annotations

import os

import pytest

from tests.commands.test_rotate_root import journal_of
from tests.faults.conftest import rows
from tokenctl.backends.local import backing_up, sealing
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.store import copies


@pytest.fixture
def rotate_before_copies(cli, monkeypatch):
    """Rotate the root secret just before each of the first copies is made."""

    def start(times: int) -> list[str]:
        make, made = copies.create, []

        def make_after_a_rotation(path: str) -> int:
            made.append(path)
            if len(made) <= times:
                assert cli("rotate-keys", "--root", "-q").code == 0
            return make(path)

        monkeypatch.setattr(copies, "create", make_after_a_rotation)
        return made

    return start


def test_a_copy_that_does_not_fit_the_secret_that_was_read_is_made_again(cli, tmp_path, rotate_before_copies):
    cli.token("--format", "jwt", "--audience", "a")
    made = rotate_before_copies(2)
    with backing_up.copied(journal_of(cli), "local", with_keys=True) as copy:
        assert len(made) == 3
        path = tmp_path / "copy.db"
        path.write_bytes(os.pread(copy.descriptor, copy.size, 0))
        (check,) = rows(path, "SELECT value FROM meta WHERE name = 'root_check'")[0]
        assert check == sealing.check_value(copy.root, copy.manifest.store_id)
        assert rows(path, "SELECT DISTINCT kek_version FROM key") == [(3,)]
        ((size, root),) = rows(path, "SELECT size, root FROM head")
        assert (copy.manifest.records, copy.manifest.root) == (size, root.hex())


def test_a_secret_that_is_rotated_before_every_copy_is_told(cli, rotate_before_copies):
    cli.token()
    rotate_before_copies(1000)
    with (
        pytest.raises(TemporarilyUnavailable, match="no copy fits the one that was read"),
        backing_up.copied(journal_of(cli), "local", with_keys=True),
    ):
        pass
    assert not list(cli.store.parent.glob("store.db.backup*"))
