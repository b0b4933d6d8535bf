"""``kill -9`` before the system calls of ``store move-secret`` and ``rotate-keys --root`` that change a file.

The store opens after each, and running the command again finishes it. What the store's own commit consists of is taken by
test_killed; here it is thinned further, and TOKENCTL_TEST_EVERY_CALL takes all.
"""

from __future__ import annotations

import os

import pytest

from tests.commands.test_move_secret import KEYRINGS
from tests.faults.conftest import Homes, assert_no_secret, assert_sound, rows
from tests.faults.test_killed import _calls, _killed

_OF_FILES = ("write", "fsync", "unlink", "rename")  # of the secret and the anchor; the store's are others


def _chosen(calls):
    if os.environ.get("TOKENCTL_TEST_EVERY_CALL"):
        return calls
    return [call for number, call in enumerate(calls) if call[0] in _OF_FILES or number % 8 == 0]


def _version(cli):
    return rows(cli.store, "SELECT value FROM meta WHERE name = 'root_version'")[0][0]


@pytest.mark.parametrize("part", range(2))
def test_a_rotation_of_the_root_secret_killed_anywhere_leaves_a_store_that_opens(cli, tmp_path, part):
    token, jwt = cli.token("--scope", "a"), cli.token("--format", "jwt", "--audience", "api")
    command = ("rotate-keys", "--root", "-q")
    homes = Homes(cli, tmp_path / "spare")
    for call in _chosen(_calls(cli, tmp_path / "trace", *command))[part::2]:
        homes.put_back()
        old = cli.root_secret.read_bytes()
        _killed(cli, call, *command)
        version = _version(cli)
        assert version in (1, 2), call
        assert cli("inspect", "-", "-q", input=token).code == 0, call
        again = cli(*command)
        assert (again.code, again.out) == (0, ""), (call, again)
        assert _version(cli) == version + 1, call
        assert [path.name for path in cli.root_secret.parent.iterdir()] == ["local"], call
        assert cli.root_secret.read_bytes() != old
        assert cli("inspect", "-", "-q", "--audience", "api", input=jwt).code == 0, call
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)


@pytest.mark.parametrize("target", ["keyring", "file"])
def test_a_move_of_the_root_secret_killed_anywhere_is_finished_by_running_it_again(cli, tmp_path, target):
    jwt = cli.token("--format", "jwt", "--audience", "api")
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
    for call in _chosen(_calls(cli, tmp_path / "trace", *command)):
        homes.put_back()
        (tmp_path / "kept.json").unlink(missing_ok=True)
        _killed(cli, call, *command)
        assert cli("inspect", "-", "-q", "--audience", "api", input=jwt).code == 0, call
        again = cli(*command)
        assert (again.code, again.out) == (0, ""), (call, again)
        assert rows(cli.store, "SELECT value FROM meta WHERE name = 'root_place'") == [(target,)], call
        assert cli.root_secret.exists() is (target == "file"), call
        assert (tmp_path / "kept.json").exists() is (target == "keyring"), call
        assert_sound(cli)
