"""``store restore``: what was revoked stays dead, what does not check out replaces nothing, and nothing is lost unsaid."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.commands.backups import AgeKey, age, age_key, archive, changed_store, members, repacked, sealed
from tests.commands.test_move_secret import KEYRINGS
from tests.conftest import PROGRAM, Cli, Result
from tests.faults.conftest import assert_no_secret, assert_sound, change, rows, waiting

HOUR = 3_600_000


@pytest.fixture
def key(tmp_path) -> AgeKey:
    return age_key(tmp_path)


@pytest.fixture
def back_up(cli, key):
    """Make a backup; return its path."""

    def act(*arguments: str, name: str = "b.age") -> Path:
        done = cli("store", "backup", name, "--recipient", key.recipient, "-q", *arguments)
        assert (done.code, done.out, done.err) == (0, "", "")
        return cli.home / name

    return act


@pytest.fixture
def restore(cli, key):
    """Restore a backup without being asked."""

    def act(*arguments: str, file: str = "b.age", by: Cli | None = None):
        return (by or cli)("store", "restore", file, "--identity", key.path, "--yes", *arguments)

    return act


def now() -> int:
    return time.time_ns() // 1_000_000


def operations(cli, after: int) -> list[tuple[object, ...]]:
    return rows(cli.store, f"SELECT operation, target FROM record WHERE seq > {after} ORDER BY seq")


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder that any reader leaves as it is."""
    found = (path for path in folder.rglob("*") if not path.name.endswith(("-shm", ".lock")))
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in found}


def new_home(cli: Cli, tmp_path: Path, *files: str) -> Cli:
    """Another machine, to which only these files were saved."""
    home = tmp_path / "new"
    home.mkdir(mode=0o700)
    for name in files:
        shutil.copy2(cli.home / name, home / name)
    return Cli(home)


def credentials(cli: Cli, folder: Path) -> str:
    """A folder of systemd's that holds the root secret; its path."""
    place = folder / "credentials"
    place.mkdir(mode=0o700)
    (place / "tokenctl.local.root").write_text(cli.root_secret.read_text())
    (place / "tokenctl.local.root").chmod(0o600)
    return str(place)


# The show


@pytest.mark.parametrize("remains", ["the store", "its anchor", "nothing"])
def test_a_backup_restored_after_a_revocation_leaves_the_revoked_token_dead(cli, back_up, restore, remains):
    """A backup restored after a revocation: the revoked token stays dead."""
    leaked, other = cli.token("--ttl", "1h"), cli.token("--ttl", "1h")
    back_up()
    assert cli("revoke", cli.id_of(leaked), "--reason", "compromised", "--ticket", "INC-1", "--yes", "-q").code == 0
    if remains != "the store":
        shutil.rmtree(cli.store.parent)
    if remains == "nothing":
        cli.anchor.unlink()
    assert restore().code == 0
    for token in (leaked, other):
        assert cli("inspect", "-", "-q", input=token).code == 3
    assert_sound(cli)
    listed = {row.split("\t")[0]: row.split("\t")[1] for row in cli("list").out.splitlines()}
    if remains == "the store":
        assert listed == {cli.id_of(other): "suspended"}
        told = cli("inspect", cli.id_of(leaked), "-o", "json").json["revoked"]
        assert (told["reason"], told["ticket"]) == ("compromised", "INC-1")
    else:
        assert listed == {cli.id_of(token): "suspended" for token in (leaked, other)}
        assert cli("revoke", cli.id_of(leaked), "--yes", "-q").code == 0
    assert cli("revoke", "--lift", "--subject", "someone", "--yes", "-q").code in (0, 3)
    assert cli("inspect", "-", "-q", input=leaked).code == 3
    assert cli("inspect", "-", "-q", input=other).code == 0
    assert cli("issue", "--subject", "s", "-q").code == 0
    assert_sound(cli)
    assert_no_secret(cli.home, root_secret=cli.root_secret)


def test_a_lost_laptop_is_restored_in_a_new_home(cli, key, back_up, restore, tmp_path):
    token = cli.token("--ttl", "1h")
    jwt = cli.token("--ttl", "1h", "--format", "jwt", "--audience", "a")
    facts = cli("store", "info", "-o", "json").json
    back_up()
    new = new_home(cli, tmp_path, "b.age")
    shutil.rmtree(cli.home)
    done = restore("-q", by=new)
    assert (done.code, done.out) == (0, "")
    (kid,) = rows(new.store, "SELECT kid FROM key")[0]
    assert done.err == (
        "notice: root secret: ~/.config/tokenctl/keys/local (0600), from the backup\n"
        f"warning: keys in service again, as they were, whatever became of them since: {kid}; "
        "if one leaked: python -m tokenctl rotate-keys --compromised KID\n"
    )
    assert new.root_secret.stat().st_mode & 0o777 == 0o600
    assert new("store", "info", "-o", "json").json["store_id"] == facts["store_id"]
    assert new("audit", "verify", "-q").code == 0
    assert new("inspect", "-", "-q", input=token).code == 3
    assert new("revoke", "--lift", "--subject", "someone", "--yes", "-q").code == 0
    assert new("inspect", "-", "-q", input=token).code == 0
    assert new("inspect", "-", "-q", "--audience", "a", input=jwt).code == 0
    assert new("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q").code == 0
    assert_sound(new)
    assert_no_secret(new.home, root_secret=new.root_secret)
    assert not list(new.store.parent.glob("store.db.restore*"))


# What it says and does


def test_the_answer_tells_what_was_lost_suspended_and_taken_over(cli, key, back_up, restore):
    living, gone = cli.id_of(cli.token("--ttl", "1h")), cli.id_of(cli.token("--ttl", "1h"))
    back_up()
    assert cli("revoke", gone, "--yes", "-q").code == 0
    facts = cli("store", "info", "-o", "json").json
    preview = cli("store", "restore", "b.age", "--identity", key.path, "-n")
    made = rows(cli.store, "SELECT time FROM record WHERE operation = 'store.backup'")
    assert (preview.code, preview.err) == (0, "")
    word, store_id, _, *counts = preview.out.rstrip("\n").split("\t")
    assert (word, store_id, counts) == ("would-restore", facts["store_id"], ["3", "2", "1", "1", "-"])
    assert len(made) == 1
    done = restore("--reason", "the disk died", "-o", "json")
    assert (done.code, done.err) == (0, "")
    aside = f"{cli.store}.replaced-5-{facts['root'][:8]}"
    assert done.json == {
        "action": "restore", "profile": "local", "dry_run": False, "request_id": done.json["request_id"],
        "store_id": facts["store_id"], "made_at": done.json["made_at"], "records": 3, "tokens": 2,
        "lost": {"first": 4, "last": 5, "records": 2}, "suspended": 1,
        "taken_over": {"revoked": 1, "suspended": 0, "uses": 0, "compromised": []},
        "keys": [], "root_secret_place": "file", "root_secret": "kept", "log_origin": None,
        "kept_aside": aside, "quarantine": None, "warnings": [],
    }  # fmt: skip
    assert rows(Path(aside), "SELECT max(seq) FROM record") == [(5,)]
    assert operations(cli, 3) == [("store.restore", facts["store_id"]), ("token.revoke", gone), ("token.suspend", living)]
    record = cli("audit", "log", "--operation", "store.restore", "-o", "jsonl").json
    assert (record["seq"], record["outcome"], record["reason"]) == (4, "lost 4 to 5", "the disk died")
    request = cli("audit", "log", "--request-id", done.json["request_id"], "-o", "jsonl").lines
    assert len(request) == 3
    assert_sound(cli)


def test_a_dry_run_changes_no_byte(cli, key, back_up, tmp_path):
    cli.token()
    back_up()
    before = tree(cli.home)
    assert cli("store", "restore", "b.age", "--identity", key.path, "--dry-run", "-q").code == 0
    assert tree(cli.home) == before
    new = new_home(cli, tmp_path, "b.age")
    before = tree(new.home)
    assert new("store", "restore", "b.age", "--identity", key.path, "--dry-run", "-q").code == 0
    assert tree(new.home) == before


def test_a_store_that_has_more_is_replaced_only_when_that_is_confirmed(cli, key, back_up):
    cli.token()
    back_up()
    before = cli.store.read_bytes()
    done = cli("store", "restore", "b.age", "--identity", key.path)
    assert (done.code, done.out, done.err.splitlines()[0]) == (2, "", "tokenctl: not confirmed: nothing was restored")
    assert cli.store.read_bytes() == before
    assert not list(cli.store.parent.glob("store.db.re*"))


def test_every_token_that_may_live_again_is_suspended_without_an_end(cli, back_up, restore):
    parent = cli.id_of(cli.token("--ttl", "2h"))
    child = cli.id_of(cli.token("--ttl", "1h", "--parent", parent))
    later = cli.id_of(cli.token("--ttl", "2h", "--not-before", "+1h"))
    ending, kept = cli.id_of(cli.token("--ttl", "2h")), cli.id_of(cli.token("--ttl", "2h"))
    assert cli("revoke", ending, "--suspend", "--for", "1h", "--then", "lift", "--yes", "-q").code == 0
    assert cli("revoke", kept, "--suspend", "--yes", "-q").code == 0
    dead, short = cli.id_of(cli.token()), cli.id_of(cli.token("--ttl", "1s"))
    assert cli("revoke", dead, "--yes", "-q").code == 0
    back_up()
    time.sleep(1.1)
    done = restore("-o", "json")
    assert (done.code, done.json["suspended"]) == (0, 3)
    told = rows(cli.store, "SELECT id FROM token WHERE suspended_at IS NOT NULL AND suspended_until IS NULL")
    assert {row[0] for row in told} == {parent, child, later, ending, kept}
    assert cli("inspect", short, "-o", "json").json["state"] == "expired"
    assert cli("inspect", dead, "-o", "json").json["state"] == "revoked"
    past = cli.at(now() + HOUR + 60_000, "inspect", ending, "-o", "json")
    assert (past.code, past.json["state"]) == (3, "suspended")
    assert_sound(cli)


def test_keep_active_leaves_tokens_as_the_present_store_has_them(cli, back_up, restore):
    living, paused, gone = (cli.token("--ttl", "1h") for _ in range(3))
    limited = cli.token("--ttl", "1h", "--max-uses", "2")
    back_up()
    assert cli("revoke", cli.id_of(paused), "--suspend", "--yes", "-q").code == 0
    assert cli("revoke", cli.id_of(gone), "--yes", "-q").code == 0
    for _ in range(2):
        assert cli("inspect", "-", "--use", "-q", input=limited).code == 0
    done = restore("--keep-active", "-o", "json")
    assert done.json["taken_over"] == {"revoked": 1, "suspended": 1, "uses": 2, "compromised": []}
    assert done.json["suspended"] == 0
    states = [cli("inspect", "-", "-o", "json", input=token).json["state"] for token in (living, paused, gone, limited)]
    assert states == ["active", "suspended", "revoked", "spent"]
    assert_sound(cli)


def test_children_that_were_kept_when_their_parent_was_revoked_are_not_revoked_with_it(cli, back_up, restore):
    parent = cli.id_of(cli.token("--ttl", "2h"))
    child = cli.id_of(cli.token("--ttl", "1h", "--parent", parent))
    back_up()
    assert cli("revoke", parent, "--keep-children", "--yes", "-q").code == 0
    assert restore("--keep-active", "-q").code == 0
    assert (cli("inspect", parent, "-q").code, cli("inspect", child, "-q").code) == (3, 0)
    assert_sound(cli)


def test_a_key_that_was_compromised_since_is_compromised_again_and_a_fresh_one_signs(cli, back_up, restore):
    jwt = cli.token("--ttl", "1h", "--format", "jwt", "--audience", "a")
    back_up()
    (kid,) = rows(cli.store, "SELECT kid FROM key")[0]
    assert cli("rotate-keys", "--compromised", str(kid), "-q").code == 0
    done = restore("--keep-active", "-o", "json")
    assert done.json["taken_over"]["compromised"] == [kid]
    states = dict(rows(cli.store, "SELECT kid, state FROM key"))
    assert states.pop(kid) == "compromised"
    assert list(states.values()) == ["active"]
    assert cli("inspect", "-", "-q", "--audience", "a", input=jwt).code == 3
    assert cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q").code == 0
    assert_sound(cli)


def test_a_key_that_was_retired_since_is_named(cli, back_up, restore):
    assert cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "--ttl", "1s", "-q").code == 0
    time.sleep(1.1)
    assert cli("rotate-keys", "--if-older-than", "1s", "--unobserved", "-q").code == 0
    (kid,) = rows(cli.store, "SELECT kid FROM key WHERE state = 'published'")[0]
    back_up()
    assert cli("rotate-keys", "retire", str(kid), "-q").code == 0
    done = restore()
    command = "python -m tokenctl rotate-keys --compromised KID"
    assert (done.code, done.err) == (
        0, f"warning: keys in service again, retired since the backup: {kid}; if one leaked: {command}\n"
    )  # fmt: skip
    assert_sound(cli)


def test_keys_come_back_to_the_file_that_verifiers_fetch(cli, back_up, restore):
    published = cli.home / "jwks.json"
    folder = cli.home / ".config/tokenctl/profiles"
    folder.mkdir(parents=True, mode=0o700)
    (cli.home / ".config").chmod(0o700)
    (cli.home / ".config/tokenctl").chmod(0o700)
    (folder / "local.toml").write_text(f'jwks_file = "{published}"\n')
    (folder / "local.toml").chmod(0o600)
    cli.token("--format", "jwt", "--audience", "a")
    back_up()
    before = json.loads(published.read_text())
    published.write_text('{"keys": []}')
    assert restore("-q").code == 0
    assert json.loads(published.read_text()) == before


@pytest.mark.parametrize("known", ["by the anchor", "not at all"])
def test_what_is_lost_is_known_from_the_anchor_where_the_store_is_gone(cli, back_up, restore, known):
    cli.token()
    back_up()
    cli.token()
    shutil.rmtree(cli.store.parent)
    if known == "not at all":
        cli.anchor.unlink()
    done = restore("-o", "json")
    assert done.code == 0
    lost, outcome = ({"first": 3, "last": 4, "records": 2}, "lost 3 to 4") if known == "by the anchor" else (
        {"first": None, "last": None, "records": None}, "lost unknown"
    )  # fmt: skip
    assert done.json["lost"] == lost
    assert cli("audit", "log", "--operation", "store.restore", "-o", "jsonl").json["outcome"] == outcome
    assert_sound(cli)


def test_a_store_that_was_restored_is_restored_again(cli, back_up, restore):
    cli.token()
    back_up()
    for _ in range(2):
        token = cli.token()
        done = restore("-o", "json")
        assert (done.code, done.json["lost"]["first"]) == (0, 3)
        assert cli("inspect", cli.id_of(token), "-q").code == 5
        assert_sound(cli)
    assert len(list(cli.store.parent.glob("store.db.replaced-*"))) == 2


@pytest.mark.parametrize("damage", ["cut", "rubbish", "another application", "a changed row", "a changed fact", "empty"])
def test_a_present_store_that_does_not_check_out_is_replaced_and_kept_aside(cli, back_up, restore, damage):
    token = cli.token("--ttl", "1h")
    back_up()
    data = cli.store.read_bytes()
    connection = sqlite3.connect(cli.store, isolation_level=None)
    match damage:
        case "cut":
            cli.store.write_bytes(data[: len(data) // 2])
        case "rubbish":
            cli.store.write_bytes(os.urandom(len(data)))
        case "empty":
            cli.store.write_bytes(b"")
        case "another application":
            connection.execute("PRAGMA application_id = 7")
        case "a changed row":
            connection.execute("UPDATE token SET revoked_at = 1, reason = 'other'")
        case "a changed fact":
            connection.execute("UPDATE meta SET value = 'elsewhere' WHERE name = 'policy' OR name = 'root_place'")
    connection.close()
    done = restore()
    assert done.code == 0, done
    assert len(list(cli.store.parent.glob("store.db.replaced-*"))) >= 1
    assert_sound(cli)
    assert cli("inspect", "-", "-o", "json", input=token).json["state"] == "suspended"
    assert cli("revoke", "--lift", "--subject", "someone", "--yes", "-q").code == 0
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert_sound(cli)


def test_readers_and_writers_see_the_store_before_or_the_one_after(cli, back_up, restore):
    token = cli.token("--ttl", "1h")
    back_up()
    over = threading.Event()
    looked: list[Result] = []
    issued: list[Result] = []

    def look() -> None:
        while not over.is_set():
            looked.append(cli("inspect", cli.id_of(token), "-q"))
            issued.append(cli("issue", "--subject", "s", "-q"))

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(3):
        assert restore("-q").code == 0
    over.set()
    looking.join()
    assert {done.code for done in looked} <= {0, 3}, looked
    for done in issued:
        # A restore between a token's issue and its delivery takes it away: its taker is told, and issues another one.
        late = "tokenctl: token {} reached its taker too late: it is not accepted\nhint: run again for another one\n"
        assert (done.code, done.err) in ((0, ""), (7, late.format(cli.id_of(done.out)))), done
        assert done.code == 0 or cli("inspect", "-", "-q", input=done.out).code == 3
    assert_sound(cli)


# What opens it


def test_what_age_encrypted_anew_is_restored_too(cli, key, back_up, restore, tmp_path):
    token = cli.token()
    file = back_up()
    plain = age("-d", "-i", key.path, str(file))
    (cli.home / "binary.age").write_bytes(age("-r", key.recipient, data=plain))
    (cli.home / "armored.age").write_bytes(age("-a", "-r", key.recipient, data=plain))
    for name in ("binary.age", "armored.age"):
        assert restore("-q", file=name).code == 0
        assert cli("inspect", cli.id_of(token), "-q").code == 3
    with open(cli.home / "armored.age", "rb") as stdin:
        assert restore("-q", file="-").code == 2  # nothing on standard input
        done = cli("store", "restore", "-", "--identity", key.path, "--yes", "-q", input=stdin.read())
    assert done.code == 0
    assert_sound(cli)


def test_the_wrong_key_another_kind_of_key_and_none_are_told_apart(cli, key, back_up, tmp_path):
    cli.token()
    back_up()
    wrong = age_key(tmp_path, "wrong.txt")
    (cli.home / "p.age").write_bytes(b"age-encryption.org/v1\n-> scrypt " + b"A" * 22 + b" 18\n")
    for arguments, code, told in (
        (("b.age",), 2, "the backup is encrypted to a recipient"),
        (("b.age", "--passphrase-fd", "0"), 2, "the backup is encrypted to a recipient"),
        (("b.age", "--identity", wrong.path), 4, "no identity given opens the file"),
        (("p.age",), 2, "the backup needs its passphrase"),
        (("p.age", "--identity", key.path), 2, "the backup is encrypted with a passphrase"),
        (
            ("b.age", "--identity", key.path, "--passphrase-fd", "0"), 2,
            "an identity and a passphrase: a file is opened by one of them",
        ),
    ):
        done = cli("store", "restore", *arguments, "--yes")
        assert (done.code, done.out, done.err.splitlines()[0]) == (code, "", f"tokenctl: {told}")


def test_an_identity_file_that_others_can_read_or_that_holds_none_is_refused(cli, key, back_up, tmp_path):
    cli.token()
    back_up()
    Path(key.path).chmod(0o644)
    done = cli("store", "restore", "b.age", "--identity", key.path, "--yes")
    assert (done.code, done.err) == (
        9, f"tokenctl: {key.path} is open to other users\nhint: chmod 600 {key.path}\n"
    )  # fmt: skip
    for text in ("", "# nothing\n", "age1nonsense\n", "-----BEGIN OPENSSH PRIVATE KEY-----\n"):
        (tmp_path / "none").write_text(text)
        (tmp_path / "none").chmod(0o600)
        assert cli("store", "restore", "b.age", "--identity", str(tmp_path / "none"), "--yes").code == 2
    assert cli("store", "restore", "b.age", "--identity", "absent", "--yes").code == 2


# Root secrets


def test_without_keys_the_root_secret_must_be_here(cli, back_up, restore, tmp_path):
    token = cli.token("--ttl", "1h")
    back_up("--without-keys")
    new = new_home(cli, tmp_path, "b.age")
    done = restore(by=new)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("tokenctl: the backup was made without the root secret, and here the root secret ")
    assert [path.name for path in new.home.rglob("*")] == ["b.age"]
    new.root_secret.parent.mkdir(parents=True, mode=0o700)
    for folder in (new.home / ".config", new.home / ".config/tokenctl"):
        folder.chmod(0o700)
    shutil.copy2(cli.root_secret, new.root_secret)
    assert restore("-q", by=new).code == 0
    assert new("inspect", "-", "-q", input=token).code == 3
    assert_sound(new)


def test_another_root_secret_is_never_overwritten(cli, back_up, restore):
    cli.token()
    back_up()
    shutil.rmtree(cli.store.parent)
    cli.anchor.unlink()
    other = os.urandom(32).hex() + "\n"
    cli.root_secret.write_text(other)
    done = restore()
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith(
        "tokenctl: another root secret than the backup's lies at ~/.config/tokenctl/keys/local: it is not overwritten\n"
    )
    assert cli.root_secret.read_text() == other
    assert not cli.store.exists()


def test_a_root_secret_in_a_place_out_of_reach_comes_to_a_file_and_the_store_says_so(cli, back_up, restore, tmp_path):
    token = cli.token("--ttl", "1h")
    cli.env["CREDENTIALS_DIRECTORY"] = credentials(cli, tmp_path)
    assert cli("store", "move-secret", "credential", "-q").code == 0
    back_up()
    new = new_home(cli, tmp_path, "b.age")
    done = restore("-q", by=new)
    assert (done.code, done.out) == (0, "")
    assert done.err == "notice: root secret: ~/.config/tokenctl/keys/local (0600), from the backup\n"
    assert new("store", "info", "-o", "json").json["root_secret_place"] == "file"
    assert_sound(new)
    assert new("inspect", "-", "-q", input=token).code == 3
    assert restore("-q").code == 0
    assert not cli.root_secret.exists()
    assert_sound(cli)


def test_a_root_secret_that_was_moved_since_the_backup_stays_where_it_is(cli, back_up, restore, tmp_path):
    cli.token()
    back_up()
    cli.env["CREDENTIALS_DIRECTORY"] = credentials(cli, tmp_path)
    assert cli("store", "move-secret", "credential", "-q").code == 0
    done = restore("-o", "json")
    assert (done.code, done.json["root_secret"], done.json["root_secret_place"]) == (0, "kept", "credential")
    assert not cli.root_secret.exists()
    assert_sound(cli)


@pytest.mark.parametrize("change", ["rotated", "moved", "gone"])
@pytest.mark.parametrize("kept", [(), ("--without-keys",)])
def test_a_root_secret_that_changes_before_the_store_is_locked_is_looked_for_again(cli, key, back_up, tmp_path, change, kept):
    cli.token()
    back_up(*kept)
    ahead = tmp_path / "ahead"  # the same home after the change
    shutil.copytree(cli.home, ahead)
    if change == "moved":
        cli.env["CREDENTIALS_DIRECTORY"] = credentials(cli, tmp_path)
    if change != "gone":
        command = ("rotate-keys", "--root") if change == "rotated" else ("store", "move-secret", "credential")
        other = Cli(ahead)
        other.env |= {name: value for name, value in cli.env.items() if name != "HOME"}
        assert other(*command, "-q").code == 0
    with waiting(cli, "store.lock", "store", "restore", "b.age", "--identity", key.path, "--yes") as restored:
        for path in (cli.store, cli.anchor, cli.root_secret):
            path.unlink()
            if change != "gone" and (ahead / path.relative_to(cli.home)).exists():
                shutil.copy2(ahead / path.relative_to(cli.home), path)
        before = {path: data for path, data in tree(cli.home).items() if "store.db.restore" not in path}
    told = "the root secret does not lie where it was found any more: nothing was restored"
    if change == "gone" and kept:
        assert (restored[0].code, restored[0].out) == (4, "")
    else:
        assert restored == [Result(7, "", f"tokenctl: {told}\nhint: run again\n")]
    assert tree(cli.home) == before
    if change != "gone":
        assert_sound(cli)


def test_a_keyring_out_of_reach_ends_a_restoring_over_the_store_that_records_it(cli, back_up, restore, tmp_path):
    """No second root secret is written in plaintext because the first one cannot be read just now."""
    cli.token()
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700, exist_ok=True)
    profile.write_text('keyring_backend = "kept.Kept"\n')
    profile.chmod(0o600)
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(cli.home / "kept.json")}
    store_id = cli("store", "info", "-o", "json").json["store_id"]
    assert cli("store", "move-secret", "keyring", "-q").code == 0
    back_up()
    new = new_home(cli, tmp_path, "b.age")
    profile.unlink()
    before = tree(cli.home)
    for arguments in ((), ("-n",)):
        done = restore(*arguments)
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            f"tokenctl: the root secret, the keyring's item local.root/{store_id}, is out of reach: no keyring is in reach\n"
            "hint: unlock the keyring, or run this in the session that has it; where that secret is gone for good: "
            f"mv {cli.store} {cli.store}.lost\n"
        )
        assert tree(cli.home) == before
    cli.store.write_bytes(b"no database")  # nothing tells any more where it lay but the backup
    assert restore().code == 4
    assert not cli.root_secret.exists()
    cli.store.rename(cli.store.with_name("store.db.lost"))
    for each in (cli, new):
        assert restore("-q", by=each).code == 0
        assert each("store", "info", "-o", "json").json["root_secret_place"] == "file"
        assert_sound(each)


def test_a_credential_that_is_not_handed_over_ends_a_restoring_over_the_store_that_records_it(cli, back_up, restore, tmp_path):
    cli.token()
    cli.env["CREDENTIALS_DIRECTORY"] = credentials(cli, tmp_path)
    assert cli("store", "move-secret", "credential", "-q").code == 0
    back_up()
    handed = cli.env.pop("CREDENTIALS_DIRECTORY")
    done = restore()
    assert (done.code, done.out) == (4, "")
    assert "the systemd credential tokenctl.local.root, is out of reach: it is not handed to this process" in done.err
    assert not cli.root_secret.exists()
    cli.env["CREDENTIALS_DIRECTORY"] = handed
    assert restore("-q").code == 0
    assert_sound(cli)


def test_another_store_and_the_anchor_of_another_are_not_replaced(cli, back_up, restore, key, tmp_path):
    cli.token()
    back_up()
    other = new_home(cli, tmp_path, "b.age")
    other.token()
    before = tree(other.home)
    done = restore(by=other)
    assert (done.code, done.out) == (6, "")
    assert tree(other.home) == before
    shutil.rmtree(other.store.parent)
    other.root_secret.unlink()
    done = restore(by=other)
    assert (done.code, done.err.splitlines()[0]) == (
        6, "tokenctl: the anchor ~/.local/state/tokenctl/local/head speaks of another store"
    )  # fmt: skip


# Hostile archives


def _hostile(parts: dict[str, bytes], folder: Path) -> dict[str, tuple[int, bytes]]:
    """Archives, and the code that refuses each."""
    manifest, root, store = parts["manifest.json"], parts["root"], parts["store.db"]
    order = [("manifest.json", manifest), ("root", root), ("store.db", store)]

    def told(**changes: object) -> bytes:
        return repacked(parts, manifest=json.dumps(json.loads(manifest) | changes).encode())

    def changed(*statements: str) -> bytes:
        return repacked(parts, store=changed_store(store, folder, *statements))

    return {
        "no tar": (10, os.urandom(4096)),
        "a link": (10, archive(*order[:2], ("store.db", b""), type=b"2", linkname="/etc/passwd")),
        "something behind its end": (10, archive(*order) + b"x" * 512),
        "a manifest that says otherwise": (10, told(records=2)),
        "a manifest of another store": (10, told(store_id="0" * 22)),
        "a newer schema in the manifest": (9, told(schema=99)),
        "a newer schema in the store": (9, changed("PRAGMA user_version = 99")),
        "another root secret": (10, repacked(parts, root=b"0" * 64 + b"\n")),
        "no database": (10, repacked(parts, store=os.urandom(8192))),
        "a cut database": (10, repacked(parts, store=store[:-4096])),
        "a longer database": (10, repacked(parts, store=store + bytes(4096))),
        "another application": (10, changed("PRAGMA application_id = 7")),
        "another page size": (10, changed("PRAGMA page_size = 8192", "VACUUM")),
        "a trigger": (10, changed("CREATE TRIGGER t AFTER INSERT ON record BEGIN UPDATE token SET revoked_at = NULL; END")),
        "a changed token": (10, changed("UPDATE token SET expires_at = 99999999999000")),
        "a revived token": (10, changed("UPDATE token SET revoked_at = NULL")),
        "a cut log": (10, changed("DELETE FROM record WHERE seq = 3")),
        "a changed record": (10, changed("UPDATE record SET time = 1 WHERE seq = 2")),
        "no head": (10, changed("DELETE FROM head")),
        "a changed fact": (10, changed("UPDATE meta SET value = 1 WHERE name = 'created_at'")),
        "a missing fact": (10, changed("DELETE FROM meta WHERE name = 'root_check'")),
        "a strange place": (9, changed("UPDATE meta SET value = 'cloud' WHERE name = 'root_place'")),
    }


@pytest.mark.parametrize("here", ["with the store", "in a new home"])
def test_a_hostile_archive_is_refused_and_nothing_is_touched(cli, key, back_up, tmp_path, here):
    assert cli("revoke", cli.id_of(cli.token()), "--yes", "-q").code == 0
    cli.token()
    parts = members(age("-d", "-i", key.path, str(back_up())))
    home = new_home(cli, tmp_path) if here == "in a new home" else cli
    hostile = _hostile(parts, tmp_path)
    for name in list(hostile)[here == "in a new home" :: 2]:
        code, plain = hostile[name]
        (tmp_path / "hostile.age").write_bytes(sealed(plain, key))
        before = tree(home.home)
        done = home("store", "restore", str(tmp_path / "hostile.age"), "--identity", key.path, "--yes")
        assert (done.code, done.out) == (code, ""), (name, done)
        assert 1 <= len(done.err.splitlines()) <= 2, (name, done.err)
        assert tree(home.home) == before, name
    if here == "with the store":
        assert_sound(cli)


def test_a_file_that_was_cut_or_changed_or_is_no_age_file_is_refused(cli, key, back_up, tmp_path):
    cli.token()
    data = back_up().read_bytes()
    before = cli.store.read_bytes()
    middle = len(data) // 2
    for name, code, content in (
        ("cut", 10, data[:-1]),
        ("cut at a part", 10, data[: data.index(b"\n--- ") + 48 + 16 + 65552]),
        ("cut in its header", 10, data[:80]),
        ("changed", 10, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]),
        ("longer", 10, data + b"x"),
        ("empty", 2, b""),
        ("rubbish", 2, os.urandom(100)),
        ("the plain archive", 2, age("-d", "-i", key.path, data=data)),
    ):
        (tmp_path / "x.age").write_bytes(content)
        done = cli("store", "restore", str(tmp_path / "x.age"), "--identity", key.path, "--yes")
        assert (done.code, done.out) == (code, ""), (name, done)
        assert cli.store.read_bytes() == before
    for path in ("absent", str(cli.home), "/dev/null"):
        assert cli("store", "restore", path, "--identity", key.path, "--yes").code == 2
    assert_sound(cli)
    assert not list(cli.store.parent.glob("store.db.restore*"))


def test_a_passphrase_file_that_asks_for_endless_work_is_refused(cli, tmp_path):
    cli.token()
    secret = tmp_path / "passphrase"
    secret.write_text("x\n")
    secret.chmod(0o600)
    stanza = b"age-encryption.org/v1\n-> scrypt " + b"A" * 22 + b" 40\n" + b"B" * 43 + b"\n--- " + b"C" * 43 + b"\n" + bytes(64)
    (tmp_path / "x.age").write_bytes(stanza)
    began = time.monotonic()
    done = cli("store", "restore", str(tmp_path / "x.age"), "--passphrase-file", str(secret), "--yes")
    assert (done.code, done.out, time.monotonic() - began < 20) == (10, "", True)


def test_interrupted_while_it_reads_nothing_is_left(cli, key, back_up):
    cli.token()
    data = back_up().read_bytes()
    reader, writer = os.pipe()
    running = subprocess.Popen(
        [*PROGRAM, "store", "restore", "-", "--identity", key.path, "--yes"], stdin=reader, env=cli.env, cwd=cli.home,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(reader)
    os.write(writer, data[:70_000])
    deadline = time.monotonic() + 10
    while not list(cli.store.parent.glob("store.db.restore")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.terminate()
    running.wait(timeout=20)
    os.close(writer)
    running.communicate()
    assert running.returncode == -15
    assert not list(cli.store.parent.glob("store.db.restore*"))
    assert_sound(cli)


@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_what_is_planted_under_the_name_of_a_copy_is_replaced_not_followed(cli, key, back_up, restore, tmp_path, purpose):
    cli.token()
    back_up()
    aside = tmp_path / "aside"
    aside.write_text("mine")
    for name in (f"store.db.{purpose}", f"store.db.{purpose}-wal", f"store.db.{purpose}-journal"):
        cli.store.with_name(name).symlink_to(aside)
    again = ("store", "backup", "c.age", "--recipient", key.recipient, "--yes")
    assert (restore("-q") if purpose == "restore" else cli(*again)).code == 0
    assert aside.read_text() == "mine"
    assert not list(cli.store.parent.glob(f"store.db.{purpose}*"))
    lock = cli.store.with_name(f"{purpose}.lock")
    lock.unlink()
    lock.symlink_to(aside)
    done = restore() if purpose == "restore" else cli(*again)
    assert (done.code, done.out) == (9, "")
    assert aside.read_text() == "mine"
    assert_sound(cli)


# What a writer of the store changed, and what no record tells yet


def issued(cli, *arguments: str) -> str:
    return str(cli("issue", "--subject", "s", *arguments, "-o", "json").json["id"])


def states(cli) -> dict[str, object]:
    listed = cli("list", "--state", "all", "-o", "jsonl")
    assert listed.code == 0, listed.err
    return {str(token["id"]): token["state"] for token in listed.lines}


@pytest.mark.parametrize("keep", [("--keep-active",), ()])
def test_what_the_log_tells_is_taken_over_whatever_was_done_to_the_rows(cli, back_up, restore, keep):
    first, second, limited = issued(cli), issued(cli), cli.token("--max-uses", "2")
    leaked = cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-o", "json").json
    good = issued(cli, "--format", "jwt", "--audience", "a", "--algorithm", "ES256")
    back_up()
    assert cli("revoke", first, second, "--reason", "compromised", "--yes").code == 0
    assert [cli("inspect", "--use", "-", input=limited).code for _ in range(2)] == [0, 0]
    assert cli("rotate-keys", "--compromised", str(leaked["kid"])).code == 0
    (fresh,) = {str(key[0]) for key in rows(cli.store, "SELECT kid FROM key WHERE state = 'active'")}
    change(
        cli.store, f"UPDATE token SET revoked_at = NULL, reason = NULL WHERE id = '{first}'",
        f"DELETE FROM tag WHERE token = '{second}'", f"DELETE FROM token WHERE id = '{second}'",
        "UPDATE token SET uses = 0", f"DELETE FROM key WHERE kid = '{leaked['kid']}'",
    )  # fmt: skip
    assert cli("audit", "verify", "-q").code == 10
    done = restore(*keep, "-o", "json")
    assert done.code == 0, done.err
    taken = done.json["taken_over"]
    assert (taken["revoked"], taken["uses"], taken["compromised"]) == (2, 2, [leaked["kid"]])
    assert_sound(cli)
    found = states(cli)
    assert (found[first], found[second], found[str(leaked["id"])], found[good]) == ("revoked",) * 4
    assert cli("inspect", "-", input=limited).code == 3
    assert fresh not in {key[0] for key in rows(cli.store, "SELECT kid FROM key")}  # it is lost, and another one signs
    assert cli.token("--format", "jwt", "--audience", "a")


def test_a_log_that_does_not_check_out_is_not_believed_and_keeps_nothing_active(cli, back_up, restore):
    one, two = issued(cli), issued(cli)
    back_up()
    assert cli("revoke", one, "--yes").code == 0
    change(cli.store, "UPDATE record SET body = CAST(replace(body, 'other', 'tests') AS BLOB) WHERE operation = 'token.revoke'")
    refused = restore("--keep-active")
    assert (refused.code, refused.out) == (10, "")
    assert "its log does not check out" in refused.err
    assert restore().code == 0
    assert states(cli) == {one: "suspended", two: "suspended"}


@pytest.mark.parametrize("keep", [("--keep-active",), ()])
def test_what_had_ended_without_a_record_stays_dead(cli, key, back_up, keep):
    begun = now()
    issue = ("issue", "--subject", "s", "--ttl", "5h", "-o", "json")
    replaced, doomed, graced = (str(cli.at(begun, *issue).json["id"]) for _ in range(3))
    back_up()
    for old, grace in ((replaced, "1m"), (graced, "3h")):
        assert cli.at(begun, "issue", "--replace", old, "--grace", grace).code == 0
    assert cli.at(begun, "revoke", doomed, "--suspend", "--for", "1m", "--then", "revoke", "--yes").code == 0
    done = cli.at(begun + HOUR, "store", "restore", "b.age", "--identity", key.path, "--yes", *keep)
    assert done.code == 0, done.err
    assert cli.at(begun + HOUR, "revoke", "--lift", "--subject", "s", "--yes").code in (0, 3, 5)
    assert [cli.at(begun + HOUR, "inspect", identifier).code for identifier in (replaced, doomed, graced)] == [3, 3, 0]
    assert_sound(cli)


def test_only_what_the_restoring_suspended_is_lifted_by_its_request_id(cli, back_up, restore):
    plain, before, ending, after = (issued(cli, "--ttl", "2h") for _ in range(4))
    assert cli("revoke", before, "--suspend", "--yes").code == 0
    assert cli("revoke", ending, "--suspend", "--for", "1h", "--then", "lift", "--yes").code == 0
    back_up()
    assert cli("revoke", after, "--suspend", "--yes").code == 0
    done = restore("-o", "json").json
    assert done["suspended"] == 1
    told = cli("audit", "log", "--operation", "token.suspend", "--request-id", str(done["request_id"]), "-o", "jsonl").lines
    assert [record["target"] for record in told] == [plain]
    assert cli("revoke", "-", "--lift", "--yes", input=f"{plain}\n").code == 0
    assert states(cli) == {plain: "active", before: "suspended", ending: "suspended", after: "suspended"}
    assert_sound(cli)


def test_a_store_that_was_sealed_by_hand_stays_sealed(cli, back_up, restore):
    cli.token()
    back_up()
    assert cli("store", "seal", "--reason", "incident 7").code == 0
    done = restore("--keep-active", "-o", "json")
    assert (done.code, done.json["quarantine"]) == (0, "SEALED: incident 7")
    assert cli("issue", "--subject", "s").code == 10
    assert cli("store", "release", "--reason", "over", "--yes").code == 0
    assert cli("issue", "--subject", "s").code == 0
    assert_sound(cli)


def test_a_present_store_that_is_an_old_copy_itself_keeps_nothing_active(cli, back_up, restore):
    one = issued(cli)
    back_up()
    copy = cli.home / "copy.db"
    shutil.copy(cli.store, copy)
    assert cli("revoke", one, "--yes").code == 0
    for name in ("store.db-wal", "store.db-shm"):
        cli.store.with_name(name).unlink(missing_ok=True)
    shutil.copy(copy, cli.store)
    assert cli("inspect", one).code == 10
    before = cli.store.read_bytes()
    refused = restore("--keep-active")
    assert (refused.code, refused.out, cli.store.read_bytes()) == (10, "", before)
    assert "TRUNCATED" in refused.err
    done = restore()
    assert done.code == 0
    assert "warning: what was revoked is taken over only as far as the store before it knew: TRUNCATED" in done.err
    assert states(cli) == {one: "suspended"}
    assert_sound(cli)


def test_what_keep_active_risks_is_said_where_no_store_tells_what_was_revoked(cli, back_up, restore, tmp_path):
    issued(cli)
    back_up()
    new = new_home(cli, tmp_path, "b.age")
    done = restore("--keep-active", by=new)
    assert done.code == 0
    assert "warning: with --keep-active, tokens that were revoked after the backup are accepted again" in done.err


def test_what_a_lost_child_used_of_its_parent_is_not_given_back(cli, back_up, restore):
    parent = cli.token("--max-uses", "2", "--ttl", "1h")
    back_up()
    child = cli.token("--parent", cli.id_of(parent), "--max-uses", "2", "--ttl", "30m")
    grandchild = cli.token("--parent", cli.id_of(child), "--max-uses", "1", "--ttl", "20m")
    assert [cli("inspect", "--use", "-", input=token).code for token in (child, grandchild)] == [0, 0]
    done = restore("--keep-active", "-o", "json")
    assert (done.code, done.json["taken_over"]["uses"]) == (0, 2)
    assert cli("inspect", "--use", "-", input=parent).code == 3
    assert_sound(cli)
