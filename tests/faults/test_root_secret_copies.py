"""Copies of the root secret that a move has left which did not end: found, named and wiped, and nothing else is."""

from __future__ import annotations

import json
import signal

import pytest

from tests.commands.test_move_secret import KEYRINGS
from tests.faults.conftest import assert_sound, under_strace

FIRST_SYNC = "trace=fdatasync"  # of the commit; the secret's file is synced by another call


@pytest.fixture
def kept(cli):
    """A store, a keyring that its profile admits, and the root secret placed as a credential."""
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(parents=True, mode=0o700)
    profile.write_text('keyring_backend = "kept.Kept"\n')
    profile.chmod(0o600)
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(cli.home / "kept.json")}
    assert cli("issue", "--subject", "x", "-q").code == 0
    directory = cli.home / "credentials"
    directory.mkdir(mode=0o700)
    credential = directory / "tokenctl.local.root"
    credential.write_bytes(cli.root_secret.read_bytes())
    credential.chmod(0o400)
    return cli


def as_service(cli):
    cli.env["CREDENTIALS_DIRECTORY"] = str(cli.home / "credentials")
    return cli


def items(cli):
    path = cli.home / "kept.json"
    return json.loads(path.read_text()) if path.exists() else {}


def findings(cli):
    found = cli("doctor", "-o", "json").json["findings"]
    return {each["detail"]: (each["status"], each["mend"]) for each in found if each["check"] == "secret"}


def own_item(cli):
    return f"the keyring's item local.root/{cli('store', 'info', '-o', 'json').json['store_id']}"


def kill_at_commit(cli, target):
    died = under_strace(cli, [FIRST_SYNC, "inject=fdatasync:signal=KILL:when=1"], "store", "move-secret", target)
    assert died.code == -signal.SIGKILL
    assert cli("store", "info", "-o", "json").json["root_secret_place"] == "file"


def test_an_item_that_a_move_killed_before_its_commit_left_is_named_and_wiped(kept):
    kill_at_commit(kept, "keyring")
    assert len(items(kept)) == 1
    kept.env["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"  # a session: doctor looks into keyrings of sessions alone
    told = f"{own_item(kept)} holds a copy of the root secret, or the rest of one"
    assert findings(kept)[told] == ("warn", "python -m tokenctl store move-secret file")
    assert kept("store", "move-secret", "file", "-q").code == 0
    assert (items(kept), kept.root_secret.exists()) == ({}, True)
    assert told not in findings(kept)
    assert_sound(kept)


def test_it_is_wiped_where_the_secret_was_never_moved_from_too(kept):
    as_service(kept)
    kill_at_commit(kept, "keyring")
    assert kept("store", "move-secret", "credential", "-q").code == 0
    assert len(items(kept)) == 1
    assert kept("store", "move-secret", "credential", "-q").code == 0
    assert items(kept) == {}


def test_a_commit_that_fails_tells_where_a_copy_may_be_left(kept):
    as_service(kept)
    assert kept("store", "move-secret", "credential", "-q").code == 0
    failed = under_strace(kept, [FIRST_SYNC, "inject=fdatasync:error=EIO:when=1"], "store", "move-secret", "file")
    assert (failed.code, failed.out) == (7, "")
    assert failed.err.splitlines()[0] == (
        "warning: a copy of the root secret may be left at ~/.config/tokenctl/keys/local: "
        "python -m tokenctl store move-secret credential wipes it"
    )
    assert kept.root_secret.exists()
    assert kept("store", "move-secret", "credential", "-q").code == 0
    assert not kept.root_secret.exists()
    assert_sound(kept)


def test_a_copy_that_a_keyring_took_and_failed_is_taken_back(kept):
    failed = kept("store", "move-secret", "keyring", env={"KEPT_FAULT": "raises-having-kept"})
    assert (failed.code, failed.out, "may be left" in failed.err) == (4, "", False)
    assert items(kept) == {}


def test_a_copy_that_cannot_be_taken_back_is_told(kept):
    failed = kept("store", "move-secret", "keyring", env={"KEPT_FAULT": "breaks-having-kept"})
    assert (failed.code, failed.out) == (4, "")
    assert failed.err.splitlines()[0] == (
        f"warning: a copy of the root secret may be left at {own_item(kept)}: python -m tokenctl store move-secret file wipes it"
    )
    assert len(items(kept)) == 1
    assert kept("store", "move-secret", "file", "-q").code == 0
    assert items(kept) == {}


def test_a_keyring_out_of_reach_is_told_of_but_where_there_is_none(kept):
    locked = kept("store", "move-secret", "file", env={"KEPT_FAULT": "raises"})
    assert (locked.code, locked.out) == (0, "")
    assert locked.err.startswith(f"warning: whether a copy is left at {own_item(kept)} cannot be told: ")
    (kept.home / ".config/tokenctl/profiles/local.toml").unlink()
    none = kept("store", "move-secret", "file", env={"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"})
    assert (none.code, none.out, none.err) == (0, "", "")


@pytest.mark.parametrize("there", ["somebody's own, written by hand\n", "AB" * 32 + "\n", "cd" * 32 + "\n", "0123456789abcdef"])
def test_what_is_not_the_secret_is_left_where_it_lay(kept, there):
    as_service(kept)
    assert kept("store", "move-secret", "credential", "-q").code == 0
    kept.root_secret.write_text(there)
    kept.root_secret.chmod(0o600)
    assert findings(kept)["~/.config/tokenctl/keys/local is not the root secret, which lies elsewhere"] == ("warn", None)
    assert kept("store", "move-secret", "credential", "-q").code == 0
    assert kept.root_secret.read_text() == there
    assert kept("store", "move-secret", "file", "-q").code == 6
    assert kept.root_secret.read_text() == there


@pytest.mark.parametrize("length", [0, 16, 65])
def test_what_a_wiping_or_writing_that_was_cut_left_is_wiped(kept, length):
    as_service(kept)
    secret = kept.root_secret.read_bytes()
    assert kept("store", "move-secret", "credential", "-q").code == 0
    for rest in (bytes(length), secret[:length]):
        kept.root_secret.write_bytes(rest)
        kept.root_secret.chmod(0o600)
        assert kept("store", "move-secret", "credential", "-q").code == 0
        assert not kept.root_secret.exists()


def test_doctor_names_a_credential_beside_the_file(kept):
    as_service(kept)
    told = "the systemd credential tokenctl.local.root holds a copy of the root secret"
    assert findings(kept)[told] == ("warn", "python -m tokenctl store move-secret credential")
