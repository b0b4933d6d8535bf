"""``rotate-keys --root``: a new version of all that is derived from the root secret, and nothing that it protected is lost."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.commands.test_move_secret import KEYRINGS
from tests.conftest import Cli
from tests.faults.conftest import change, database, rows
from tests.secret_service import session
from tokenctl import config, wiring
from tokenctl.backends.local import sealing
from tokenctl.errors import IntegrityError
from tokenctl.formats import opaque
from tokenctl.secret import Secret
from tokenctl.store.connection import Store
from tokenctl.store.protection import Protector
from tokenctl.store.rows import Rows

HOUR = 3_600_000


def rotate(cli: Cli, *arguments: str) -> object:
    done = cli("rotate-keys", "--root", "-o", "json", *arguments)
    assert done.code == 0, done.err
    return done.json


def now() -> int:
    return time.time_ns() // 1_000_000


def verify(cli: Cli) -> None:
    done = cli("audit", "verify", "-q")
    assert (done.code, done.err) == (0, "")


def journal_of(cli: Cli):
    surroundings = wiring.Surroundings(environment=cli.env, now=now(), notice=print, warn=print, timeout=30)
    return wiring.open_journal(config.Profile(name="local"), surroundings)


def test_everything_goes_on_under_a_new_root_secret(cli):
    token, spent = cli.token("--scope", "a", "--label", "k=v"), cli.token("--max-uses", "2")
    jwt = cli.token("--format", "jwt", "--audience", "api")
    assert cli("inspect", "-", "--use", "-q", input=spent).code == 0
    old = cli.root_secret.read_bytes()
    done = cli("rotate-keys", "--root")
    assert (done.code, done.out) == (0, "")
    assert done.err == "notice: made a new root secret, version 2: ~/.config/tokenctl/keys/local\n"
    assert cli.root_secret.read_bytes() != old
    assert [path.name for path in cli.root_secret.parent.iterdir()] == ["local"]
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli("inspect", "-", "--use", "-q", input=spent).code == 0
    assert cli("inspect", "-", "--use", "-q", input=spent).code == 3
    assert cli("inspect", "-", "-q", "--audience", "api", input=jwt).code == 0
    fresh = cli.token("--format", "jwt", "--audience", "api")
    assert cli("inspect", "-", "-q", "--audience", "api", input=fresh).code == 0
    assert rows(cli.store, "SELECT DISTINCT kek_version FROM key") == [(2,)]
    assert rows(cli.store, "SELECT pepper_version FROM token WHERE format = 'opaque' ORDER BY rowid") == [(1,), (1,)]
    assert cli("revoke", "-", "--yes", "-q", input=token).code == 0  # possession is still proved
    assert cli("inspect", "-", "-q", input=token).code == 3
    verify(cli)
    assert rotate(cli)["kept_versions"] == [1]
    assert cli("issue", "--subject", "s", "-q").code == 0
    assert [record["operation"] for record in cli("audit", "log", "-o", "jsonl").lines].count("store.rotate_root") == 2
    verify(cli)


def test_a_wrong_secret_of_a_token_from_before_proves_nothing(cli):
    identifier = cli.id_of(cli.token())
    rotate(cli)
    forged = opaque.mint("access", identifier).reveal()
    answer = cli("inspect", "-", "-o", "json", input=forged)
    assert (answer.code, answer.json["active"], answer.json["state"]) == (3, False, "unknown")


def test_the_old_root_secret_opens_nothing(cli):
    cli.token("--format", "jwt", "--audience", "api")
    old = cli.root_secret.read_bytes()
    rotate(cli)
    new = cli.root_secret.read_bytes()
    cli.root_secret.write_bytes(old)
    for arguments in (("list",), ("issue", "--subject", "s"), ("rotate-keys", "--root")):
        done = cli(*arguments)
        assert (done.code, done.out) == (10, ""), done
        assert done.err == (
            "tokenctl: ~/.config/tokenctl/keys/local is not the root secret of ~/.local/share/tokenctl/local/store.db\n"
            "hint: put back the one that belongs to this store\n"
        )
    cli.root_secret.write_bytes(new)
    verify(cli)
    (kid, alg, sealed), = rows(cli.store, "SELECT kid, alg, sealed FROM key")
    (own,), = rows(cli.store, "SELECT value FROM meta WHERE name = 'store_id'")
    keys = [sealing.derive(Secret(bytes.fromhex(text.strip().decode())), 2) for text in (old, new)]
    keys.append(sealing.derive(Secret(bytes.fromhex(old.strip().decode())), 1))
    opened = []
    for each in keys:
        try:
            opened.append(len(sealing.unseal(each, own, kid, alg, sealed).reveal()))
        except IntegrityError as error:
            opened.append(type(error).__name__)
    assert opened == ["IntegrityError", 32, "IntegrityError"]


def test_who_has_the_old_root_secret_forges_no_row(cli):
    token = cli.id_of(cli.token("--scope", "a"))
    old = Secret(bytes.fromhex(cli.root_secret.read_text().strip()))
    rotate(cli)
    (own,), = rows(cli.store, "SELECT value FROM meta WHERE name = 'store_id'")
    for version in (1, 2):
        row_key = sealing.derive(old, version).row
        store = Store.open(str(cli.store))
        assert store is not None
        mine = Rows(store, Protector(row_key, str(own)))
        with store.transaction(write=True):
            stored = mine.token(token)
            assert stored is not None
            assert not stored.intact
            mine.update_token(stored.row._replace(subject="root"), "subject")
        store.close()
        assert cli("inspect", token).code == 10
    assert cli("audit", "verify", "-q").code == 10


@pytest.mark.parametrize(
    ("damage", "flaw"),
    [
        ("UPDATE token SET subject = 'other' WHERE rowid = 1", "its row or its tags were changed"),
        ("UPDATE key SET created_at = created_at + 1", "its row was changed"),
        ("UPDATE record SET nonce = zeroblob(48) WHERE seq = 2", "its nonce was changed"),
        ("UPDATE token SET mac = zeroblob(32) WHERE rowid = 1", "its row or its tags were changed"),
    ],
)
def test_what_does_not_check_out_does_not_after_it_either(cli, damage, flaw):
    cli.token()
    cli.token("--format", "jwt", "--audience", "api")
    change(cli.store, damage)
    rotate(cli)
    found = cli("audit", "verify")
    assert (found.code, found.out.count(flaw)) == (10, 1), found


def test_a_request_made_again_is_the_same_request(cli):
    request = ("issue", "--subject", "s", "--request-id", "R")
    identifier = cli.id_of(cli(*request, "-q").out)
    for _ in range(2):
        rotate(cli)
        again = cli(*request)
        assert (again.code, again.out) == (6, "")
        assert again.err.startswith(f"tokenctl: request id R was answered by {identifier}\n")
        other = cli("issue", "--subject", "another", "--request-id", "R")
        assert other.err.startswith("tokenctl: request id R was used with other parameters\n")


def test_what_told_the_tokens_of_a_version_goes_when_the_last_of_them_has_ended(cli):
    begun = now()
    token = cli.at(begun, "issue", "--subject", "s", "--ttl", "1h", "-q").out.strip()
    assert cli.at(begun, "rotate-keys", "--root", "-q").code == 0
    names = "SELECT name FROM meta WHERE name GLOB 'retained*'"
    assert rows(cli.store, names) == [("retained.v1",)]
    assert cli.at(begun + HOUR // 2, "rotate-keys", "--root", "-q").code == 0
    assert cli.at(begun + HOUR // 2, "inspect", "-", "-q", input=token).code == 0
    assert rows(cli.store, names) == [("retained.v1",)]  # nothing was issued under version 2
    assert cli.at(begun + 2 * HOUR, "rotate-keys", "--root", "-q").code == 0
    assert rows(cli.store, names) == []
    assert cli.at(begun + 2 * HOUR, "inspect", "-", "-q", input=token).code == 3
    assert cli.at(begun + 2 * HOUR, "audit", "verify", "-q").code == 0


def test_a_rotation_of_keys_forgets_it_too_with_a_record(cli):
    begun = now()
    assert cli.at(begun, "issue", "--subject", "s", "--ttl", "1h", "-q").code == 0
    assert cli.at(begun, "rotate-keys", "--root", "-q").code == 0
    names = "SELECT name FROM meta WHERE name GLOB 'retained*'"
    for hours, left in ((0, [("retained.v1",)]), (2, []), (2, [])):
        assert cli.at(begun + hours * HOUR, "rotate-keys").code == 0
        assert rows(cli.store, names) == left
    told = cli.at(begun + 2 * HOUR, "audit", "log", "--operation", "store.rotate_root", "-o", "jsonl").lines
    assert [record["outcome"] for record in told] == ["done", "forgotten"]
    assert cli.at(begun + 2 * HOUR, "audit", "verify", "-q").code == 0


@pytest.mark.parametrize(
    "option",
    [("--dry-run",), ("--check",), ("--compromised", "0352Ldy4SKzRSvwVvSWvL6"), ("--unobserved",), ("--algorithm", "ES256")],
)
def test_it_goes_with_no_other_option(cli, option):
    cli.token()
    before = cli.root_secret.read_bytes()
    done = cli("rotate-keys", "--root", *option)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: --root goes with no other option of rotate-keys\n")
    assert cli.root_secret.read_bytes() == before


def test_what_is_kept_of_a_version_is_sealed_and_a_changed_one_is_no_pepper(cli):
    token = cli.token()
    old = sealing.derive(Secret(bytes.fromhex(cli.root_secret.read_text().strip())), 1)
    rotate(cli)
    data = cli.store.read_bytes()
    assert old.pepper not in data
    assert old.row not in data
    change(cli.store, "UPDATE meta SET value = CAST(value || x'00' AS BLOB) WHERE name = 'retained.v1'")
    done = cli("inspect", "-", input=token)
    assert (done.code, done.out) == (10, "")


def test_a_quarantined_store_gets_no_new_root_secret(cli):
    cli.token()
    spare = cli.store.read_bytes()
    cli.token()
    cli.store.write_bytes(spare)
    before = cli.root_secret.read_bytes()
    done = cli("rotate-keys", "--root")
    assert (done.code, done.out) == (10, "")
    assert "quarantined: TRUNCATED" in done.err
    assert cli.root_secret.read_bytes() == before
    assert [path.name for path in cli.root_secret.parent.iterdir()] == ["local"]


def test_without_a_store_there_is_nothing_to_rotate(cli):
    assert cli("rotate-keys", "--root").code == 5
    assert list(cli.home.iterdir()) == []


def test_it_rotates_in_a_keyring_too(cli, tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    token = cli.token()
    with session(folder) as desktop:
        cli.env |= desktop.env
        assert cli("store", "move-secret", "keyring", "-q").code == 0
        (before,) = desktop.items().items()
        rotate(cli)
        (after,) = desktop.items().items()
        assert (after[0], len(after[1])) == (before[0], 64)
        assert after[1] != before[1]
        assert cli("inspect", "-", "-q", input=token).code == 0
        verify(cli)


# Others at work meanwhile


def test_a_process_that_opened_the_store_before_goes_on_under_the_new_one(cli):
    token = cli.token()
    journal = journal_of(cli)
    with journal.reading() as view:
        assert view.keys.version == 1
    rotate(cli)
    with journal.reading() as view:
        assert (view.keys.version, view.quarantine) == (2, None)
        assert view.rows.token(cli.id_of(token)).intact
    rotate(cli)
    with journal.changing(trusted=True) as found:
        assert found.keys.version == 3
        found.write_fact("note", "x")
        found.head_changed = True
    journal.close()
    verify(cli)


def test_a_reader_in_the_middle_sees_the_state_before(cli):
    token = cli.token()
    journal = journal_of(cli)
    with journal.reading() as view:
        rotate(cli)
        assert view.rows.token(cli.id_of(token)).intact
        assert view.keys.version == 1
    journal.close()
    verify(cli)


def test_who_still_reads_keeps_the_sealed_keys_of_before_in_the_log_and_a_warning_says_so(cli):
    cli.token("--format", "jwt", "--audience", "api")
    sealed = bytes(rows(cli.store, "SELECT sealed FROM key")[0][0])
    journal = journal_of(cli)
    with journal.reading():
        told = "what was sealed under the old root secret lies in the store's log until the last other process closes the store"
        assert told in rotate(cli)["warnings"]
        assert holding(cli, sealed)
    journal.close()
    assert cli("list", "-q").code == 0
    assert not holding(cli, sealed)
    assert told not in rotate(cli)["warnings"]
    verify(cli)


def holding(cli: Cli, data: bytes) -> list[str]:
    """The files of the store that hold some bytes."""
    return [path.name for path in cli.store.parent.iterdir() if data in path.read_bytes()]


def test_a_store_that_was_exchanged_is_opened_again_before_it_is_changed(cli):
    cli.token()
    journal = journal_of(cli)
    with journal.reading() as view:
        assert view.head.size == 2
    cli.token()
    copy = cli.store.with_name("copy.db")
    with database(cli.store) as source:
        source.execute("VACUUM INTO ?", (str(copy),))
    copy.chmod(0o600)
    for suffix in ("-wal", "-shm"):
        cli.store.with_name(f"store.db{suffix}").unlink(missing_ok=True)
    copy.rename(cli.store)
    with journal.changing() as found:
        assert found.head.size == 3
    journal.close()
    verify(cli)


# What a rotation that died leaves


def kept(cli: Cli) -> dict[str, str]:
    path = cli.home / "kept.json"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture
def half(cli):
    """A store under a new root secret that did not take the main slot, and the bytes of both."""
    token = cli.token()
    old = cli.root_secret.read_bytes()
    rotate(cli)
    new = cli.root_secret.read_bytes()
    slot = Path(f"{cli.root_secret}+new")
    shutil.copy2(cli.root_secret, slot)
    cli.root_secret.write_bytes(old)
    return cli, token, old, new, slot


@pytest.mark.parametrize("main", ["old", "zeros", "cut", "absent"])
def test_whichever_slot_fits_is_the_secret_and_the_next_change_finishes(half, main):
    cli, token, old, new, slot = half
    if main == "absent":
        cli.root_secret.unlink()
    else:
        cli.root_secret.write_bytes({"old": old, "zeros": bytes(65), "cut": old[:20]}[main])
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert slot.exists()  # a look changes nothing
    found = [finding["detail"] for finding in cli("doctor", "-o", "json").json["findings"]]
    assert "~/.config/tokenctl/keys/local is not the new root secret yet: the next change finishes its rotation" in found
    assert cli("issue", "--subject", "s", "-q").code == 0
    assert cli.root_secret.read_bytes() == new
    assert not slot.exists()
    verify(cli)


def test_a_slot_left_from_before_the_change_opens_nothing_and_is_wiped(cli):
    cli.token()
    slot = Path(f"{cli.root_secret}+new")
    slot.write_text("ab" * 32 + "\n")
    slot.chmod(0o600)
    found = {finding["detail"]: finding["mend"] for finding in cli("doctor", "-o", "json").json["findings"]}
    told = "~/.config/tokenctl/keys/local+new was left by a rotation that did not end"
    assert found[told] == "python -m tokenctl store move-secret file"
    assert cli("issue", "--subject", "s", "-q").code == 0
    assert cli("store", "move-secret", "file", "-q").code == 0
    assert not slot.exists()


def test_the_slot_of_a_profile_is_no_other_profiles_secret(cli):
    cli.token()
    assert cli("-p", "local.new", "profile", "add", "local.new").code == 0
    assert cli("-p", "local.new", "issue", "--subject", "s", "-q").code == 0
    rotate(cli)
    assert cli("-p", "local.new", "list", "-q").code == 0
    assert cli("-p", "local+new", "list").code == 2


@pytest.fixture
def keyring(cli):
    """A store whose root secret is in the keyring of the tests."""
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(parents=True, mode=0o700)
    profile.write_text('keyring_backend = "kept.Kept"\n')
    profile.chmod(0o600)
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(cli.home / "kept.json")}
    cli.token()
    assert cli("store", "move-secret", "keyring", "-q").code == 0
    return cli


def test_a_slot_that_holds_the_secret_in_use_is_not_written_over(keyring):
    before = kept(keyring)
    rotate(keyring)
    (account,) = before
    half = {account: before[account], f"{account}/new": kept(keyring)[account]}
    (keyring.home / "kept.json").write_text(json.dumps(half))
    stuck = {"KEPT_FAULT": "loses"}
    done = keyring("issue", "--subject", "s", "-q", env=stuck)  # works, and says that the rotation is not finished
    own = account.removeprefix("tokenctl ")
    assert done.code == 0
    assert done.err == (
        f"warning: the new root secret does not lie at the keyring's item {own} yet: "
        f"the root secret, the keyring's item {own}, is out of reach: the keyring did not keep what was put into it\n"
    )
    refused = keyring("rotate-keys", "--root", env=stuck)
    assert (refused.code, refused.out) == (7, "")
    assert "the rotation before did not end" in refused.err
    assert kept(keyring) == half
    assert keyring("issue", "--subject", "s", "-q").code == 0
    assert kept(keyring) == {account: half[f"{account}/new"]}
    verify(keyring)


@pytest.mark.parametrize("call", range(2, 10))
def test_a_rotation_in_a_keyring_killed_before_any_call_is_finished_by_running_it_again(keyring, call):
    token = keyring.token()
    died = keyring("rotate-keys", "--root", "-q", env={"KEPT_FAULT": f"killed-before:{call}"})
    assert died.code == -signal.SIGKILL
    assert keyring("inspect", "-", "-q", input=token).code == 0
    rotate(keyring)
    assert keyring("inspect", "-", "-q", input=token).code == 0
    verify(keyring)
    assert len(kept(keyring)) == 1
