"""``kill -9`` before every system call of ``store move-secret`` and ``rotate-keys --root`` that changes a file.

The store opens after each, and running the command again finishes it. Thinned like test_killed.
"""

from __future__ import annotations

import pytest

from tests.commands.test_move_secret import KEYRINGS
from tests.faults.conftest import Homes, assert_no_secret, assert_sound, rows
from tests.faults.test_killed import _calls, _killed

_PARTS = 4


def _assert_opens(cli, token, jwt):
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli("inspect", "-", "-q", "--audience", "api", input=jwt).code == 0


@pytest.fixture
def issued(cli):
    """An opaque token and a JWT of the store."""
    return cli.token("--scope", "a"), cli.token("--format", "jwt", "--audience", "api")


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_rotation_of_the_root_secret_killed_anywhere_leaves_a_store_that_opens(cli, tmp_path, issued, part):
    command = ("rotate-keys", "--root", "-q")
    old = cli.root_secret.read_bytes()
    homes = Homes(cli, tmp_path / "spare")
    for call in _calls(cli, tmp_path / "trace", *command)[part::_PARTS]:
        homes.put_back()
        _killed(cli, call, *command)
        ((version,),) = rows(cli.store, "SELECT value FROM meta WHERE name = 'root_version'")
        assert version in (1, 2), call
        _assert_opens(cli, *issued)
        again = cli(*command)
        assert (again.code, again.out) == (0, ""), (call, again)
        assert rows(cli.store, "SELECT value FROM meta WHERE name = 'root_version'") == [(version + 1,)], call
        assert [path.name for path in cli.root_secret.parent.iterdir()] == ["local"], call
        assert cli.root_secret.read_bytes() != old
        _assert_opens(cli, *issued)
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)


@pytest.mark.parametrize("target", ["keyring", "credential", "file"])
def test_a_move_of_the_root_secret_killed_anywhere_is_finished_by_running_it_again(cli, tmp_path, issued, target):
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700, exist_ok=True)
    profile.write_text('keyring_backend = "kept.Kept"\n')
    profile.chmod(0o600)
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    credential = credentials / "tokenctl.local.root"
    credential.write_bytes(cli.root_secret.read_bytes())
    credential.chmod(0o400)
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(tmp_path / "kept.json"), "CREDENTIALS_DIRECTORY": str(credentials)}
    if target == "file":
        assert cli("store", "move-secret", "credential", "-q").code == 0
    command = ("store", "move-secret", target, "-q")
    homes = Homes(cli, tmp_path / "spare")
    for call in _calls(cli, tmp_path / "trace", *command):
        homes.put_back()
        (tmp_path / "kept.json").unlink(missing_ok=True)
        _killed(cli, call, *command)
        _assert_opens(cli, *issued)
        again = cli(*command)
        assert (again.code, again.out) == (0, ""), (call, again)
        assert cli("store", "info", "-o", "json").json["root_secret_place"] == target, call
        assert cli.root_secret.exists() is (target == "file"), call
        assert (tmp_path / "kept.json").exists() is (target == "keyring"), call
        _assert_opens(cli, *issued)
        assert_sound(cli)
