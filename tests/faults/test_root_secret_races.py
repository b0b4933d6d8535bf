"""Commands that opened the store before another one moved or rotated its root secret, and get the lock after it."""

from __future__ import annotations

import signal

import pytest

from tests.faults.conftest import assert_sound, under_strace, waiting


@pytest.fixture
def unsettled(cli):
    """A store whose new root secret still lies beside the old one."""
    assert cli("issue", "--subject", "x").code == 0
    died = under_strace(cli, ["trace=rename", "inject=rename:signal=KILL:when=1"], "rotate-keys", "--root")
    assert died.code == -signal.SIGKILL
    assert slot(cli).exists()
    return cli


def slot(cli):
    return cli.root_secret.with_name("local+new")


def test_two_that_both_saw_an_unfinished_rotation_finish_it_once(unsettled):
    second = ("issue", "--subject", "c")
    with waiting(unsettled, "store.lock", "issue", "--subject", "b", then=[second]) as done:
        pass
    assert [(result.code, result.err) for result in done] == [(0, ""), (0, "")]
    assert not slot(unsettled).exists()
    assert len(unsettled.root_secret.read_text().strip()) == 64
    assert_sound(unsettled)


def test_a_slot_that_is_another_rotations_never_takes_the_place_of_the_secret(unsettled):
    with waiting(unsettled, "store.lock", "issue", "--subject", "b") as done:
        kept = slot(unsettled).read_bytes()
        unsettled.root_secret.write_bytes(kept)  # what another command did that finished the rotation
        slot(unsettled).write_text("0" * 64 + "\n")  # and a later rotation that died before its commit
    assert (done[0].code, done[0].err) == (0, "")
    assert unsettled.root_secret.read_bytes() == kept
    assert_sound(unsettled)


@pytest.fixture
def credentials(cli):
    """A directory in which systemd would have placed the root secret as a credential."""
    assert cli("issue", "--subject", "x").code == 0
    directory = cli.home / "credentials"
    directory.mkdir(mode=0o700)
    (directory / "tokenctl.local.root").write_bytes(cli.root_secret.read_bytes())
    (directory / "tokenctl.local.root").chmod(0o400)
    cli.env["CREDENTIALS_DIRECTORY"] = str(directory)
    return cli


def test_a_rotation_behind_a_move_sees_where_the_secret_lies_now(credentials):
    rotation = ("rotate-keys", "--root")
    with waiting(credentials, "store.lock", "store", "move-secret", "credential", then=[rotation]) as done:
        pass
    assert [result.code for result in done] == [0, 6]
    assert not credentials.root_secret.exists()
    assert_sound(credentials)


def test_a_move_behind_a_rotation_moves_the_new_secret(credentials):
    move = ("store", "move-secret", "credential")
    with waiting(credentials, "store.lock", "rotate-keys", "--root", then=[move]) as done:
        pass
    assert [result.code for result in done] == [0, 10]  # the credential is the old one
    assert_sound(credentials)


def test_a_move_back_behind_a_move_is_done(credentials):
    back = ("store", "move-secret", "file")
    with waiting(credentials, "store.lock", "store", "move-secret", "credential", then=[back]) as done:
        pass
    assert [result.code for result in done] == [0, 0]
    assert credentials.root_secret.exists()
    assert_sound(credentials)


@pytest.mark.parametrize("there", ["somebody's secret, written by hand\n", "AB" * 32 + "\n"])
def test_what_cannot_be_read_at_the_target_of_a_move_stays(credentials, there):
    assert credentials("store", "move-secret", "credential").code == 0
    credentials.root_secret.write_text(there)
    credentials.root_secret.chmod(0o600)
    moved = credentials("store", "move-secret", "file")
    assert (moved.code, credentials.root_secret.read_text()) == (6, there)
    cut = (credentials.home / "credentials/tokenctl.local.root").read_text()[:16]
    for rest in ("", "\0" * 65, cut):
        credentials.root_secret.write_text(rest)
        assert credentials("store", "move-secret", "file").code == 0
        assert credentials("store", "move-secret", "credential").code == 0
        credentials.root_secret.touch(mode=0o600)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEYRING_PROPERTY_PREFERRED_COLLECTION", "/org/freedesktop/secrets/collection/session"),
        ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere;unixexec:path=/bin/touch"),
    ],
)
def test_what_bends_the_keyring_is_refused(cli, name, value):
    assert cli("issue", "--subject", "x").code == 0
    moved = cli("store", "move-secret", "keyring", env={name: value})
    assert (moved.code, moved.out) == (4, "")
    assert name in moved.err
    assert cli.root_secret.exists()
