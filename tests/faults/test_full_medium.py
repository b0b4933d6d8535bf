"""A medium that is full, read-only or failing: refused before any effect, reads still work, and afterwards all is well."""

from __future__ import annotations

import resource
import time

import pytest

from tests.commands.backups import age_key
from tests.conftest import Cli, Result
from tests.faults.conftest import ISSUE, assert_no_secret, assert_refused, assert_sound, change, database, rows, under_strace


def _records(cli: Cli) -> int:
    return int(str(rows(cli.store, "SELECT count(*) FROM record")[0][0]))


def _assert_honest(cli: Cli, result: Result) -> None:
    """Done and active, or refused: then no token is out, or it is named as one that will be denied."""
    assert result.code in (0, 7), result
    assert "a bug" not in result.err
    if result.code == 0:
        assert cli("inspect", "-", "-q", input=result.out).code == 0
    elif result.out:
        assert cli.id_of(result.out.strip()) in result.err


def test_a_first_issue_on_a_full_medium_is_refused_and_works_when_there_is_room(cli, medium):
    medium.fill()
    assert_refused(cli(*ISSUE), 7)
    assert not cli.store.exists()
    medium.free()
    assert cli(*ISSUE).code == 0
    assert_sound(cli)


def test_on_a_full_medium_issue_and_revoke_are_refused_and_reads_work(cli, medium):
    token = cli.id_of(cli.token())
    before = _records(cli)
    medium.fill()
    assert_refused(cli(*ISSUE), 7)
    refused = cli("revoke", token, "--yes")
    assert (refused.code, refused.out) == (7, "")
    assert token in refused.err
    assert cli("inspect", token, "-q").code == 0
    listed = cli("list")
    assert listed.code == 0
    assert listed.out.startswith(token)
    medium.free()
    assert _records(cli) == before
    assert cli(*ISSUE).code == 0
    assert cli("revoke", token, "--yes", "-q").code == 0
    assert_sound(cli)


@pytest.mark.parametrize("room", [4096, 16384, 32768, 49152, 65536, 98304])
def test_a_medium_that_fills_up_in_the_middle_is_told_and_leaves_the_store_whole(cli, medium, room):
    cli.token()
    medium.fill(leave=room)
    first = cli(*ISSUE)
    medium.free()
    _assert_honest(cli, first)
    assert_sound(cli)
    assert_no_secret(cli.home, root_secret=cli.root_secret)
    assert cli(*ISSUE).code == 0


@pytest.mark.parametrize("limit", [0, 64, 512, 4096, 8192, 32768, 65536])
def test_a_file_size_limit_refuses_a_first_issue_and_leaves_nothing_broken(cli, limit):
    refused = cli(*ISSUE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert_refused(refused, 7)
    assert_no_secret(cli.home, root_secret=cli.root_secret)
    assert cli(*ISSUE).code == 0
    assert_sound(cli)


@pytest.mark.parametrize("limit", [0, 100, 4096, 16384, 65536])
def test_a_file_size_limit_never_loses_what_was_acknowledged(cli, limit):
    token = cli.token()
    result = cli(*ISSUE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _assert_honest(cli, result)
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli(*ISSUE).code == 0
    assert_sound(cli)


def test_a_read_only_medium_is_read_with_one_warning_and_never_written(cli, medium):
    token = cli.id_of(cli.token())
    medium.read_only()
    try:
        for command in (("inspect", token), ("list",)):
            done = cli(*command)
            assert done.code == 0, done
            assert token in done.out
            assert [line.split(":")[0] for line in done.err.splitlines()] == ["warning"]
        assert cli("audit", "verify", "-q").code == 0
        assert_refused(cli(*ISSUE), 7)
        refused = cli("revoke", token, "--yes")
        assert (refused.code, refused.out) == (7, "")
        assert token in refused.err
    finally:
        medium.writable()
    assert cli("revoke", token, "--yes", "-q").code == 0
    assert_sound(cli)


def test_on_a_read_only_medium_a_changed_log_is_found_and_said_not_to_be_sealed(cli, medium):
    cli.token()
    change(cli.store, "UPDATE record SET time = time + 1 WHERE seq = 2", "PRAGMA wal_checkpoint(TRUNCATE)")
    medium.read_only()
    try:
        for options in ((), ("--full",), ("--quick",)):
            done = cli("audit", "verify", *options, "-o", "json")
            assert (done.code, done.json["verdict"]) == (10, "INVALID")
            told = "the quarantine could not be recorded: the store cannot be written"
            assert told in done.err + str(done.json["warnings"])
    finally:
        medium.writable()
    assert rows(cli.store, "SELECT quarantine FROM head") == [(None,)]
    assert cli("audit", "verify", "-q").code == 10
    assert rows(cli.store, "SELECT quarantine FROM head") != [(None,)]


def test_a_first_issue_on_a_read_only_medium_is_refused(cli, medium):
    medium.read_only()
    assert_refused(cli(*ISSUE), 7)
    assert cli("list").code == 0


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_when_every_sync_or_write_of_the_store_fails_nothing_is_acknowledged(cli, call, error):
    token = cli.id_of(cli.token())
    before = _records(cli)
    inject = [f"trace={call}", f"inject={call}:error={error}:when=1+"]
    assert_refused(under_strace(cli, inject, *ISSUE), 7)
    refused = under_strace(cli, inject, "revoke", token, "--yes")
    assert (refused.code, refused.out) == (7, "")
    assert cli("inspect", token, "-q").code == 0
    assert _records(cli) == before
    assert cli(*ISSUE).code == 0
    assert_sound(cli)


@pytest.mark.parametrize("when", range(1, 7))
def test_a_single_failed_sync_is_told_or_harmless(cli, when):
    cli.token()
    result = under_strace(cli, ["trace=fdatasync", f"inject=fdatasync:error=EIO:when={when}"], *ISSUE)
    _assert_honest(cli, result)
    assert_sound(cli)
    assert cli(*ISSUE).code == 0


@pytest.mark.parametrize("when", [1, 2, 3, 5, 10, 20, 30, 40])
def test_a_single_failed_write_is_told_or_harmless(cli, when):
    cli.token()
    result = under_strace(cli, ["trace=pwrite64", f"inject=pwrite64:error=ENOSPC:when={when}"], *ISSUE)
    _assert_honest(cli, result)
    assert_sound(cli)
    assert cli(*ISSUE).code == 0


def test_a_failed_first_sync_is_refused_without_a_token(cli):
    cli.token()
    before = _records(cli)
    assert_refused(under_strace(cli, ["trace=fdatasync", "inject=fdatasync:error=EIO:when=1"], *ISSUE), 7)
    assert _records(cli) == before


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_a_failed_sync_in_the_making_of_the_store_is_refused_and_a_rerun_makes_it(cli, when):
    failed = under_strace(cli, ["trace=fsync", f"inject=fsync:error=EIO:when={when}"], *ISSUE)
    told = "".join(line for line in failed.err.splitlines(True) if not line.startswith("notice: "))
    assert_refused(Result(failed.code, failed.out, told), 7)
    assert_no_secret(cli.home, root_secret=cli.root_secret)
    assert cli(*ISSUE).code == 0
    assert_sound(cli)


@pytest.mark.parametrize("room", [0, 40_000, 80_000])
def test_a_backup_to_a_full_medium_is_told_and_leaves_nothing(cli, medium, tmp_path, room):
    key = age_key(tmp_path)
    cli.env["XDG_DATA_HOME"] = str(tmp_path / "data")  # the store has room
    cli.token()
    store = tmp_path / "data/tokenctl/local/store.db"
    medium.fill(leave=room)
    done = cli("store", "backup", "b.age", "--recipient", key.recipient)
    assert (done.code, done.out) == (7, "")
    assert done.err == "tokenctl: cannot write b.age: no space left on device\nhint: make room and run again\n"
    assert not (cli.home / "b.age").exists()
    assert rows(store, "SELECT 1 FROM record WHERE operation = 'store.backup'") == []
    medium.free()
    assert cli("store", "backup", "b.age", "--recipient", key.recipient).code == 0


def test_an_anchor_that_cannot_be_written_is_warned_of_and_the_token_is_good(cli):
    cli.token()
    renames = "?rename,?renameat,?renameat2"
    done = under_strace(cli, [f"trace={renames}", f"inject={renames}:error=EIO:when=1+"], *ISSUE)
    assert done.code == 0, done
    assert done.err.startswith("warning: the anchor ")
    assert len(done.err.splitlines()) == 1
    assert cli("inspect", "-", "-q", input=done.out).code == 0
    assert_sound(cli)


def test_a_store_left_open_by_a_killed_writer_is_not_read_without_its_log(cli, medium):
    token = cli.id_of(cli.token())
    # A log that was never moved into the store: on a read-only medium it cannot be recovered.
    spare = cli.store.read_bytes()
    with database(cli.store) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE token SET last_used_at = 1")
        log = cli.store.with_name("store.db-wal").read_bytes()
    cli.store.write_bytes(spare)
    cli.store.with_name("store.db-wal").write_bytes(log)
    cli.store.with_name("store.db-shm").unlink(missing_ok=True)
    cli.store.with_name("store.db-wal").chmod(0o600)
    medium.read_only()
    try:
        assert_refused(cli("inspect", token), 7)
    finally:
        medium.writable()
    assert cli("inspect", token, "-q").code == 0


def test_on_a_full_medium_no_key_is_published_and_a_rerun_publishes_it(cli, medium):
    now, age = 1_795_000_000_000, 90 * 86_400_000
    folder = medium.place / "www"
    folder.mkdir()
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700, parents=True)
    profile.write_text(f'jwks_file = "{folder}/jwks.json"\n')
    for path in (profile.parent, profile.parent.parent, profile.parent.parent.parent, profile):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert cli.at(now, *ISSUE, "--format", "jwt", "--audience", "a").code == 0
    before = (folder / "jwks.json").read_bytes()
    medium.fill()
    assert_refused(cli.at(now + age, "rotate-keys"), 7)
    assert (folder / "jwks.json").read_bytes() == before
    medium.free()
    assert rows(cli.store, "SELECT state FROM key") == [("active",)]
    assert [path.name for path in folder.iterdir()] == ["jwks.json"]
    assert cli.at(now + age, "rotate-keys").code == 0
    assert (folder / "jwks.json").read_bytes().count(b'"kid"') == 2
    assert_sound(cli)


DAY = 86_400_000
_RECORDED = {
    "issue": ISSUE,
    "bulk issue": (*ISSUE, "--count", "3"),
    "jwt": (*ISSUE, "--format", "jwt", "--audience", "b"),
    "refused issue": (*ISSUE, "--ttl", "99d"),
    "use": ("inspect", "--use", "--file", "limited", "-q"),
    "replace": ("issue", "--replace", "{token}", "-q"),
    "revoke": ("revoke", "{token}", "--yes"),
    "suspend": ("revoke", "{token}", "--suspend", "--yes"),
    "lift": ("revoke", "{suspended}", "--lift", "--yes"),
    "plan": ("revoke", "{token}", "--dry-run", "--out", "plan.json"),
    "rotate": ("rotate-keys", "--if-older-than", "1s", "--unobserved"),
    "compromised key": ("rotate-keys", "--compromised", "{kid}"),
    "root secret": ("rotate-keys", "--root"),
    "log key": ("audit", "checkpoint"),
    "seal": ("store", "seal", "--reason", "r"),
    "archive": ("audit", "archive", "--before", "1d", "--out", "old.archive", "--yes"),
}


def _all_rows(cli: Cli) -> list[list[tuple[object, ...]]]:
    tables = ("record", "token", "key", "head", "meta", "request")
    return [rows(cli.store, f"SELECT * FROM {table} ORDER BY 1") for table in tables]


@pytest.fixture
def busy(cli):
    """A store of everything that can be recorded about; the names of what is in it."""
    before = int(time.time() * 1000) - 3 * DAY
    assert cli.at(before, "issue", "--subject", "old", "--count", "2", "--ttl", "1h", "-q").code == 0
    assert cli.at(before, *ISSUE, "--format", "jwt", "--audience", "a").code == 0
    (cli.home / "limited").write_text(cli.token("--max-uses", "2"))
    (cli.home / "limited").chmod(0o600)
    suspended, token = cli.id_of(cli.token()), cli.id_of(cli.token())
    assert cli("revoke", suspended, "--suspend", "--yes", "-q").code == 0
    return {"token": token, "suspended": suspended, "kid": str(rows(cli.store, "SELECT kid FROM key")[0][0])}


@pytest.mark.parametrize("what", _RECORDED)
def test_what_cannot_be_recorded_does_not_happen(cli, busy, what):
    command = [part.format(**busy) for part in _RECORDED[what]]
    before = _all_rows(cli)
    done = under_strace(cli, ["trace=pwrite64", "inject=pwrite64:error=ENOSPC:when=1+"], *command)
    assert done.code == 7, done
    assert "a bug" not in done.err
    assert not done.out.startswith(("tkc_", "ey"))
    assert _all_rows(cli) == before
    assert_sound(cli)
    again = cli(*command)
    assert again.code == (12 if what == "refused issue" else 2 if (cli.home / "old.archive").exists() else 0), again
    if what == "archive":  # what was written is whole, and the rest of its way is another file's
        assert "old.archive is whole; 0 of its 3 bodies left the store" in done.err
        assert cli(*[part.replace("old.archive", "next.archive") for part in command]).code == 0
    assert _all_rows(cli) != before
