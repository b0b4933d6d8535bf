"""Links, pipes and directories where our files stand or are to stand: refused, and nothing waits for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.faults.conftest import ISSUE, assert_no_secret, assert_refused, assert_sound

_FILES = {
    "store": ".local/share/tokenctl/local/store.db",
    "log": ".local/share/tokenctl/local/store.db-wal",
    "index": ".local/share/tokenctl/local/store.db-shm",
    "lock": ".local/share/tokenctl/local/store.lock",
    "key": ".config/tokenctl/keys/local",
    "anchor": ".local/state/tokenctl/local/head",
    "current": ".config/tokenctl/current",
    "profile": ".config/tokenctl/profiles/local.toml",
}


def _plant(kind: str, place: Path, aside: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = place.read_bytes() if place.is_file() else b""
    place.unlink(missing_ok=True)
    aside.write_bytes(content)
    aside.chmod(0o600)
    match kind:
        case "a symbolic link":
            place.symlink_to(aside)
        case "a dangling link":
            place.symlink_to(aside.with_name("nowhere"))
        case "a hard link":
            os.link(aside, place)
        case "a pipe":
            os.mkfifo(place, 0o600)
        case "a directory":
            place.mkdir(mode=0o700)


_KINDS = ("a symbolic link", "a dangling link", "a hard link", "a pipe", "a directory")


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("name", _FILES)
def test_what_is_planted_in_place_of_a_file_of_ours_is_refused(cli: Cli, tmp_path: Path, name: str, kind: str):
    token = cli.id_of(cli.token())
    aside = tmp_path / "aside"
    _plant(kind, cli.home / _FILES[name], aside)
    before = aside.read_bytes()
    assert_refused(cli(*ISSUE), 9)
    if name != "lock":
        shown = cli("inspect", token)
        assert (shown.code, shown.out) == (9, ""), shown
    revoked = cli("revoke", token, "--yes")
    assert (revoked.code, revoked.out) == (9, "")
    assert aside.read_bytes() == before
    assert not aside.with_name("nowhere").exists()


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("name", ["store", "lock", "key", "anchor", "current"])
def test_what_is_planted_before_the_first_run_is_refused(cli: Cli, tmp_path: Path, name: str, kind: str):
    for folder in (".local", ".local/share", ".local/share/tokenctl", ".config", ".config/tokenctl", ".local/state"):
        (cli.home / folder).mkdir(mode=0o700, exist_ok=True)
    _plant(kind, cli.home / _FILES[name], tmp_path / "aside")
    assert_refused(cli(*ISSUE), 9)
    assert (tmp_path / "aside").read_bytes() == b""
    assert not (tmp_path / "nowhere").exists()
    if name != "store":
        assert not cli.store.exists()


@pytest.mark.parametrize("kind", ["a symbolic link", "a dangling link", "a hard link", "a pipe"])
def test_leftovers_planted_under_temporary_names_are_replaced_not_followed(cli: Cli, tmp_path: Path, kind: str):
    (cli.home / ".local/state/tokenctl/local").mkdir(parents=True, mode=0o700)
    for folder in (".local", ".local/state", ".local/state/tokenctl", ".local/state/tokenctl/local"):
        (cli.home / folder).chmod(0o700)
    for number, name in enumerate((".local/state/tokenctl/local/head.new", ".local/share/tokenctl/local/store.db.new")):
        place = cli.home / name
        for folder in reversed(place.relative_to(cli.home).parents[:-1]):
            (cli.home / folder).mkdir(mode=0o700, exist_ok=True)
        _plant(kind, place, tmp_path / f"aside{number}")
    assert cli(*ISSUE).code == 0
    assert (tmp_path / "aside0").read_bytes() == (tmp_path / "aside1").read_bytes() == b""
    assert_sound(cli)


@pytest.mark.parametrize("kind", _KINDS)
def test_a_token_is_never_written_through_what_is_planted_at_its_file(cli: Cli, tmp_path: Path, kind: str):
    out = cli.home / "out"
    _plant(kind, out, tmp_path / "aside")
    assert_refused(cli(*ISSUE, "--out", str(out)), 2)
    assert (tmp_path / "aside").read_bytes() == b""
    assert not (tmp_path / "nowhere").exists()
    assert not cli.store.exists()


def test_a_device_a_missing_folder_and_our_own_files_take_no_token(cli: Cli):
    cli.token()
    before = cli.store.read_bytes()
    link = cli.home / "link"
    link.symlink_to(cli.home)
    for place in (
        "/dev/null", "/dev/full", str(cli.home / "no" / "folder"), str(cli.store), str(cli.root_secret), str(cli.anchor),
        str(link / cli.store.relative_to(cli.home)), str(cli.home), "",
    ):  # fmt: skip
        assert_refused(cli(*ISSUE, "--out", place), 2)
    assert cli.store.read_bytes() == before


def test_what_is_planted_under_the_temporary_name_of_a_token_file_is_not_followed(cli: Cli, tmp_path: Path):
    out = cli.home / "out"
    for kind in ("a symbolic link", "a hard link", "a pipe", "a dangling link"):
        _plant(kind, cli.home / ".out.tokenctl-new", tmp_path / "aside")
        issued = cli(*ISSUE, "--out", str(out))
        assert issued.code == 0, issued
        assert cli.id_of(out.read_text().strip()) == issued.out.strip()
        assert_no_secret(tmp_path, but=[out], root_secret=cli.root_secret)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("folder", [".local/share/tokenctl/local", ".local/share", ".config/tokenctl/keys", ".config", "."])
def test_a_parent_that_others_can_write_is_refused(cli: Cli, folder: str, mode: int):
    token = cli.id_of(cli.token())
    (cli.home / folder).chmod(mode)
    for command in (ISSUE, ("inspect", token)):
        refused = cli(*command)
        assert_refused(refused, 9)
        assert "chmod go-w" in refused.err
    (cli.home / folder).chmod(0o700)
    assert cli("inspect", token, "-q").code == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666])
@pytest.mark.parametrize("name", ["key", "store"])
def test_a_private_file_that_others_can_read_is_refused(cli: Cli, name: str, mode: int):
    token = cli.id_of(cli.token())
    (cli.home / _FILES[name]).chmod(mode)
    for command in (ISSUE, ("inspect", token), ("revoke", token, "--yes", "-q"), ("audit", "verify")):
        refused = cli(*command)
        assert (refused.code, refused.out) == (9, "")
        assert "chmod 600" in refused.err


@pytest.mark.parametrize("name", ["lock", "anchor", "current"])
def test_a_file_that_others_can_write_is_refused(cli: Cli, name: str):
    cli.token()
    place = cli.home / _FILES[name]
    place.touch()
    place.chmod(0o666)
    assert_refused(cli(*ISSUE), 9)


def test_a_missing_root_secret_is_named_and_never_made_anew(cli: Cli):
    token = cli.id_of(cli.token())
    secret = cli.root_secret.read_bytes()
    cli.root_secret.unlink()
    for command in (ISSUE, ("inspect", token), ("list",), ("audit", "verify")):
        assert_refused(cli(*command), 4)
    assert cli("revoke", token, "--yes", "-q").code == 4
    assert not cli.root_secret.exists()
    cli.root_secret.write_bytes(secret)
    cli.root_secret.chmod(0o600)
    assert cli("inspect", token, "-q").code == 0


@pytest.mark.parametrize(
    "content", [b"", b"0" * 64 + b"\n", b"f" * 64, b"g" * 64 + b"\n", b"a" * 63 + b"\n", b"a" * 256, b"\0" * 32],
    ids=["empty", "another secret", "another without a newline", "not hex", "too short", "too long", "raw"],
)  # fmt: skip
def test_another_root_secret_is_not_this_stores(cli: Cli, content: bytes):
    token = cli.id_of(cli.token())
    cli.root_secret.write_bytes(content)
    for command in (ISSUE, ("inspect", token), ("list",), ("audit", "verify")):
        assert_refused(cli(*command), 10)
    assert cli("revoke", token, "--yes", "-q").code == 10
    assert cli.root_secret.read_bytes() == content


def test_an_endless_root_secret_is_refused(cli: Cli):
    cli.token()
    cli.root_secret.write_bytes(b"a" * 300)
    assert_refused(cli("list"), 9)


def test_the_files_of_a_first_run_are_private_whatever_the_umask(cli: Cli):
    assert cli(*ISSUE, preexec_fn=lambda: os.umask(0)).code == 0
    for place in cli.home.rglob("*"):
        assert place.stat().st_mode & 0o077 == 0, place
