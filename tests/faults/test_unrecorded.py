"""A disk that is full while the record is written: the operation did not happen, whatever the verb, and a rerun does it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands.backups import age_key
from tests.conftest import Cli
from tests.faults.conftest import ISSUE, assert_no_secret, assert_sound, database, under_strace

_HOUR = 3_600_000
_TABLES = ("token", "tag", "key", "record", "head", "meta", "request")
_JWT = ("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q")
_FULL = ["trace=pwrite64", "inject=pwrite64:error=ENOSPC:when=3+"]  # in the store's log: in the middle of what is written
# What each kind of record is written by; {names} are those of the prepared store.
_DEEDS: dict[str, tuple[str, ...]] = {
    "token.issue": ISSUE,
    "token.issue of a JWT": _JWT,
    "token.issue of many": (*ISSUE, "--count", "3", "--request-id", "many"),
    "store.policy": ISSUE,  # under a policy that nobody used before
    "token.issue in place of another": ("issue", "--replace", "{plain}", "-q"),
    "token.deny": ("issue", "--subject", "s", "--ttl", "100d", "-q"),
    "token.use": ("inspect", "-", "--use", "-q"),
    "token.revoke": ("revoke", "{plain}", "--yes", "-q"),
    "token.suspend": ("revoke", "{plain}", "--suspend", "--yes", "-q"),
    "token.lift": ("revoke", "{suspended}", "--lift", "--yes", "-q"),
    "plan.create": ("revoke", "{plain}", "--dry-run", "--out", "plan.json", "-q"),
    "key.create": ("rotate-keys", "--algorithm", "EdDSA", "--unobserved", "-q"),
    "key.publish": ("rotate-keys", "--if-older-than", "0s", "-q"),
    "key.retire": ("rotate-keys", "retire", "{retiring}", "-q"),
    "key.compromise": ("rotate-keys", "--compromised", "{active}", "-q"),
    "key.roll_back": ("rotate-keys", "rollback", "-q"),
    "store.rotate_root": ("rotate-keys", "--root", "-q"),
    "store.move_secret": ("store", "move-secret", "credential", "-q"),
    "store.backup": ("store", "backup", "fresh.age", "--recipient", "{recipient}", "-q"),
    "store.restore": ("store", "restore", "b.age", "--identity", "{identity}", "--yes", "-q"),
    "log.archive": ("audit", "archive", "--before", "20h", "--out", "old.archive", "--yes", "-q"),
    "log.rotate_key of a first key": ("audit", "checkpoint", "-q"),
    "log.rotate_key": ("rotate-keys", "--log-key", "-q"),
    "store.seal": ("store", "seal", "--reason", "r", "-q"),
}
_ENDS = {"token.deny": 12}
# What may differ after all: the slot of a new root secret, an anchor that holds for both stores, a file that takes nothing.
_LEFT = {"store.rotate_root": ".config/tokenctl/keys/local+new", "store.restore": ".local/state/tokenctl/local/head",
         "log.archive": "old.archive"}  # fmt: skip
_SAID = {"plan.create": "{plain}\twould be revoked\tis active\n"}  # before anything is written


class Prepared(NamedTuple):
    """A home with a store in which everything can be done, and what its tokens, keys and files are called."""

    home: Path
    names: dict[str, str]
    limited: str


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "home").mkdir(mode=0o700)
    cli, now, key = Cli(folder / "home"), time.time_ns() // 1_000_000, age_key(folder)
    for hours, *command in (
        (26, *_JWT, "--ttl", "1h"), (25, "rotate-keys", "--if-older-than", "0s"), (1, "rotate-keys", "--unobserved"),
    ):  # fmt: skip
        done = cli.at(now - hours * _HOUR, *command)
        assert done.code == 0, done
    names = {"plain": cli.id_of(cli.token()), "suspended": cli.id_of(cli.token()), "identity": key.path}
    limited = cli.token("--max-uses", "3")
    assert cli("revoke", names["suspended"], "--suspend", "--yes", "-q").code == 0
    assert cli("store", "backup", "b.age", "--recipient", key.recipient, "-q").code == 0
    with database(cli.store) as connection:
        names |= {str(state): str(kid) for kid, state in connection.execute("SELECT kid, state FROM key")}
    assert {"active", "retiring"} <= names.keys()
    return Prepared(cli.home, names | {"recipient": key.recipient}, limited)


def _copied(cli: Cli, prepared: Prepared) -> None:
    shutil.copytree(prepared.home, cli.home, dirs_exist_ok=True)
    folder = cli.home / "credentials"
    folder.mkdir(mode=0o700)
    shutil.copy(cli.root_secret, folder / "tokenctl.local.root")
    cli.env["CREDENTIALS_DIRECTORY"] = str(folder)


def _content(store: Path) -> list[list[tuple[object, ...]]]:
    with database(store) as connection:
        return [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in _TABLES]


def _files(home: Path) -> dict[str, bytes]:
    """Every file that the store does not keep for itself."""
    own = ("store.db", "store.db-wal", "store.db-shm")
    return {
        str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*")
        if path.is_file() and path.name not in own and not path.name.endswith(".lock") and ".replaced-" not in path.name
    }  # fmt: skip


@pytest.mark.parametrize("deed", _DEEDS)
def test_what_cannot_be_recorded_does_not_happen(cli: Cli, prepared: Prepared, deed: str) -> None:
    _copied(cli, prepared)
    if deed == "store.policy":
        profile = cli.home / ".config/tokenctl/profiles/local.toml"
        profile.parent.mkdir(mode=0o700)
        profile.write_text('max_lifetime = "20h"\n')
        profile.chmod(0o600)
    if deed == "log.rotate_key":
        assert cli("audit", "checkpoint", "-q").code == 0
    command = tuple(part.format(**prepared.names) for part in _DEEDS[deed])
    given = prepared.limited if "-" in command else None
    before, files = _content(cli.store), _files(cli.home)

    failed = under_strace(cli, _FULL, *command, input=given, at=cli.store.with_name("store.db-wal"))
    assert (failed.code, failed.out) == (7, _SAID.get(deed, "").format(**prepared.names)), failed
    assert ("medium is full" in failed.err, "a bug" in failed.err) == (True, False)
    assert _content(cli.store) == before
    assert {name for name, _ in _files(cli.home).items() ^ files.items()} <= {_LEFT.get(deed)}
    assert_sound(cli)

    # What reached its file before stands there, and is not written over.
    done = cli(*("again.archive" if part == "old.archive" else part for part in command), input=given)
    assert done.code == _ENDS.get(deed, 0), done
    written = [row[2] for row in _content(cli.store)[3] if row not in before[3]]
    assert deed.partition(" ")[0] in written
    assert not (cli.home / _LEFT["store.rotate_root"]).exists()
    if deed != "store.seal":
        assert_sound(cli)


def test_an_accepted_clock_or_a_release_that_cannot_be_recorded_does_not_happen(cli: Cli) -> None:
    now = time.time_ns() // 1_000_000
    assert cli.at(now + _HOUR, *ISSUE).code == 0
    for prepare, command in (
        ((), ("store", "accept-clock", "--yes", "-q")),
        (("store", "seal", "--reason", "r", "-q"), ("store", "release", "--reason", "r", "--yes", "-q")),
    ):
        assert not prepare or cli(*prepare).code == 0
        before = _content(cli.store)
        failed = under_strace(cli, _FULL, *command, at=cli.store.with_name("store.db-wal"))
        assert (failed.code, failed.out) == (7, ""), failed
        assert _content(cli.store) == before
        assert cli(*command).code == 0
        assert len(_content(cli.store)[3]) > len(before[3])
    assert_sound(cli)
    assert_no_secret(cli.home, root_secret=cli.root_secret)
