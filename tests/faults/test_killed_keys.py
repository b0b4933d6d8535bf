"""``kill -9`` and interrupts in the middle of the steps of signing keys, as in :mod:`tests.faults.test_killed`."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.commands.test_rotate_keys import LEFT
from tests.conftest import Cli
from tests.faults.conftest import ISSUE, Homes, assert_sound, rows, under_strace
from tests.faults.test_killed import _PARTS, _assert_one_active_key, _calls, _killed


def _with_jwks_file(cli: Cli) -> Path:
    """Give the store a published key from two days ago that no token needs, and a policy by which all that follows is due."""
    folder = cli.home / "www"
    folder.mkdir()
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700, parents=True)
    for path in (profile.parent, profile.parent.parent, profile.parent.parent.parent):
        path.chmod(0o700)
    profile.write_text(
        f'jwks_file = "{folder}/jwks.json"\n[rotation]\nage = "1d"\npublication = "0s"\ngrace = "0s"\n'
    )
    profile.chmod(0o600)
    old = time.time_ns() // 1_000_000 - 2 * 86_400_000
    issued = cli.at(old, *ISSUE, "--format", "jwt", "--audience", "a", "-o", "json").json["id"]
    assert cli.at(old, "revoke", str(issued), "--yes", "-q").code == 0
    return folder / "jwks.json"


def _published(path: Path) -> set[str]:
    return {key["kid"] for key in json.loads(path.read_text())["keys"]}


def _told_of_lost(cli: Cli, published: Path) -> str:
    """What the next run says of a key that is in the file and, since its step was killed before the commit, not in the store."""
    lost = _published(published) - {str(row[0]) for row in rows(cli.store, "SELECT kid FROM key")}
    assert len(lost) <= 1
    return "".join(f"warning: {published} held keys that are not this store's, taken out now: {kid}{LEFT}\n" for kid in lost)


def _signing(cli: Cli) -> set[object]:
    return {row[0] for row in rows(cli.store, "SELECT kid FROM key WHERE state = 'active'")}


def _assert_destroyed(cli: Cli, sealed: object) -> None:
    """The private part of a key lies in no file beside the store, nor in it."""
    assert isinstance(sealed, bytes)
    for path in cli.store.parent.iterdir():
        assert sealed[-48:] not in path.read_bytes(), path


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_rotation_killed_anywhere_leaves_one_active_key_that_verifiers_can_fetch(cli, tmp_path, part):
    published = _with_jwks_file(cli)
    ((first, sealed),) = rows(cli.store, "SELECT kid, sealed FROM key")
    command = ("rotate-keys",)
    homes = Homes(cli, tmp_path / "spare")
    calls = [call for call in _calls(cli, tmp_path / "trace", *command) if call[0] not in ("flock", "mkdir", "fchown")]
    for call in calls[part::_PARTS]:
        homes.put_back()
        died = _killed(cli, call, *command)
        _assert_one_active_key(cli, "ES256")
        assert _signing(cli) <= _published(published), call
        told = [line.split("\t")[1] for line in died.out.splitlines()]
        assert told == ["publish", "retiring", "activate", "retire", "mend"][: len(told)], call
        warning = _told_of_lost(cli, published)
        again = cli(*command)
        assert (again.code, again.err) == (0, warning), (call, again)
        _assert_one_active_key(cli, "ES256")
        assert rows(cli.store, "SELECT count(*) FROM key") == [(2,)], call
        assert _published(published) == _signing(cli) != {first}, call
        assert [path.name for path in published.parent.iterdir()] == ["jwks.json"], call
        _assert_destroyed(cli, sealed)
        assert_sound(cli)
    assert (cli(*command).code, cli(*command).out) == (0, "")


@pytest.mark.parametrize("part", range(_PARTS // 2))
def test_a_compromise_killed_anywhere_denies_the_key_when_it_is_run_again(cli, tmp_path, part):
    published = _with_jwks_file(cli)
    token = cli.token("--format", "jwt", "--audience", "a")
    ((gone, sealed),) = rows(cli.store, "SELECT kid, sealed FROM key")
    command = ("rotate-keys", "--compromised", str(gone))
    homes = Homes(cli, tmp_path / "spare")
    calls = [call for call in _calls(cli, tmp_path / "trace", *command) if call[0] not in ("flock", "mkdir", "fchown")]
    for call in calls[part :: _PARTS // 2]:
        homes.put_back()
        died = _killed(cli, call, *command)
        _assert_one_active_key(cli, "ES256")
        if died.out:
            assert _published(published) == _signing(cli), call
        warning = _told_of_lost(cli, published)
        again = cli(*command)
        assert (again.code, again.err) == (0, warning), (call, again)
        _assert_one_active_key(cli, "ES256")
        assert rows(cli.store, "SELECT kid FROM key WHERE state = 'compromised'") == [(gone,)], call
        assert _published(published) == _signing(cli), call
        _assert_destroyed(cli, sealed)
        assert_sound(cli)
    assert cli("inspect", "-", "-q", "--any-audience", input=token).code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("sync", [1, 3, 5])
def test_an_interrupted_rotation_ends_its_step_and_tells_it(cli, number, sync):
    _with_jwks_file(cli)
    inject = f"inject=fdatasync:signal={number.name}:when={sync}"
    died = under_strace(cli, ["trace=fdatasync", inject], "rotate-keys")
    assert died.code == -number, died
    told = [line.split("\t")[1] for line in died.out.splitlines()]
    done = [str(row[0]) for row in rows(cli.store, "SELECT operation FROM record WHERE operation LIKE 'key.%' ORDER BY seq")]
    steps = {"publish": ["key.create", "key.publish"], "activate": ["key.activate"]}
    steps |= {"retiring": ["key.retire"], "retire": ["key.retire"]}
    assert [operation for action in told for operation in steps.get(action, [])] == done[2:]
    assert 0 < len(told) < 5
    assert cli("rotate-keys").code == 0
    _assert_one_active_key(cli, "ES256")
    assert_sound(cli)
