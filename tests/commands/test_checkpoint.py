"""``audit checkpoint`` and ``rotate-keys --log-key``: signed heads that others can keep, and keys that follow each other."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import pytest

from tests.commands.backups import age_key
from tests.conftest import PROGRAM, Cli
from tests.faults.conftest import assert_no_secret, assert_sound, change, database, rows
from tests.formats.test_note import independent
from tokenctl import config, wiring
from tokenctl.backends.local import sealing
from tokenctl.formats import note
from tokenctl.formats.note import VerifierKey
from tokenctl.secret import Secret
from tokenctl.store.protection import Protector

ORIGIN = re.compile(r"tokenctl/[0-9A-Za-z]{22}")
ABSENT = "tokenctl: profile local has no store\nhint: the first issue makes it\n"


def meta(cli: Cli) -> dict[str, object]:
    return {str(name): value for name, value in rows(cli.store, "SELECT name, value FROM meta")}


def forge_meta(cli: Cli, **facts: object) -> None:
    """Change what a store says of itself as one who has its root secret can."""
    told = meta(cli) | facts
    root = Secret(bytes.fromhex(cli.root_secret.read_text().strip()))
    keys = sealing.derive(root, int(str(told["root_version"])))
    told["mac"] = Protector(keys.row, str(told["store_id"])).meta_mac(told)
    with database(cli.store) as connection:
        for name, value in told.items():
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def records(cli: Cli) -> list[dict[str, object]]:
    return [line for line in cli("audit", "log", "-o", "jsonl").lines if line["operation"] == "log.rotate_key"]


def vkey(cli: Cli) -> str:
    done = cli("audit", "checkpoint", "--key")
    assert (done.code, done.err) == (0, "")
    return done.out.rstrip("\n")


# The checkpoint


def test_a_checkpoint_is_the_note_alone_and_verifies_by_the_specification(cli):
    cli.token()
    done = cli("audit", "checkpoint")
    assert (done.code, done.err) == (0, "")
    text = independent(done.out.encode(), vkey(cli))
    origin, size, root = text.splitlines()
    facts = cli("store", "info", "-o", "json").json
    assert ORIGIN.fullmatch(origin)
    assert (int(size), note.decoded(root).hex()) == (facts["records"], facts["root"]) == (3, facts["root"])
    assert cli("audit", "checkpoint", "-q").out == done.out  # nothing happened since: Ed25519 signs the same the same way
    assert_sound(cli)


def test_the_first_one_makes_the_key_with_its_record_and_the_next_ones_record_nothing(cli):
    cli.token()
    assert cli("audit", "checkpoint", "-q").code == 0
    (made,) = records(cli)
    assert (made["outcome"], made["reason"], made["target"]) == ("made", vkey(cli), meta(cli)["store_id"])
    before = cli("store", "info", "-o", "json").json["records"]
    for _ in range(3):
        assert cli("audit", "checkpoint", "-q").code == 0
    assert cli("store", "info", "-o", "json").json["records"] == before
    assert meta(cli)["log_exported"] == before == 3
    cli.token()
    assert cli("audit", "checkpoint", "--key").code == 0
    assert meta(cli)["log_exported"] == 3  # no head left with it
    assert_sound(cli)


def test_as_json_it_is_told_with_its_fields_and_the_key(cli):
    cli.token()
    done = cli("audit", "checkpoint", "-o", "json")
    key, text = vkey(cli), cli("audit", "checkpoint").out
    root = cli("store", "info", "-o", "json").json["root"]
    assert done.json == {
        "action": "checkpoint", "origin": key.partition("+")[0], "verifier_key": key, "size": 3, "root": root, "note": text,
        "proof": None, "out": None, "profile": "local", "warnings": [],
    }  # fmt: skip
    told = cli("audit", "checkpoint", "--key", "-o", "json").json
    assert told == done.json | {"action": "key", "size": None, "root": None, "note": None}


def test_a_file_is_written_whole_for_others_to_read_and_never_through_a_link(cli):
    cli.token()
    done = cli("audit", "checkpoint", "--out", "head.txt")
    assert (done.code, done.out, done.err) == (0, "", "")
    path = cli.home / "head.txt"
    assert path.stat().st_mode & 0o777 == 0o644
    assert independent(path.read_bytes(), vkey(cli))
    cli.token()
    assert cli("audit", "checkpoint", "--out", "head.txt", "-o", "json").json["out"] == "head.txt"
    assert independent(path.read_bytes(), vkey(cli)).split("\n")[1] == "4"
    aim = cli.home / "aim"
    aim.write_text("mine")
    (cli.home / "link").symlink_to(aim)
    refused = cli("audit", "checkpoint", "--out", "link")
    assert (refused.code, refused.out) == (2, "")
    assert aim.read_text() == "mine"
    own = cli("audit", "checkpoint", "--out", str(cli.store))
    assert (own.code, own.err.splitlines()[0]) == (2, "tokenctl: --out names a place among tokenctl's own files")


def test_at_a_terminal_the_key_is_told_beside_it(cli):
    cli.token()
    ours, theirs = pty.openpty()
    done = cli("audit", "checkpoint", stdout=subprocess.PIPE, stderr=theirs)
    told = os.read(ours, 4096).decode().replace("\r\n", "\n")
    os.close(ours)
    os.close(theirs)
    assert (done.code, told) == (0, f"verifier key: {vkey(cli)}\n")


def test_of_nothing_there_is_no_checkpoint_and_nothing_is_made(cli):
    for arguments in (("audit", "checkpoint"), ("audit", "checkpoint", "--key"), ("rotate-keys", "--log-key")):
        done = cli(*arguments)
        assert (done.code, done.out, done.err) == (5, "", ABSENT)
    assert list(cli.home.iterdir()) == []


def test_a_head_that_does_not_check_out_is_never_signed(cli):
    cli.token()
    key = vkey(cli)
    assert cli("store", "seal", "--reason", "r", "-q").code == 0
    for arguments in (("audit", "checkpoint"), ("audit", "checkpoint", "--out", "head"), ("rotate-keys", "--log-key")):
        done = cli(*arguments)
        assert (done.code, done.out) == (10, "")
        assert "the store is quarantined" in done.err
    assert not (cli.home / "head").exists()
    told = cli("audit", "checkpoint", "--key")  # an auditor needs it now
    assert (told.code, told.out) == (0, f"{key}\n")
    assert told.err.startswith("warning: the store is quarantined: SEALED")


def test_in_quarantine_no_first_key_is_made(cli):
    cli.token()
    assert cli("store", "seal", "--reason", "r", "-q").code == 0
    for arguments in (("audit", "checkpoint"), ("audit", "checkpoint", "--key")):
        assert (cli(*arguments).code, cli(*arguments).out) == (10, "")
    assert records(cli) == []


def test_what_was_never_handed_out_is_not_remembered(cli):
    cli.token()
    assert vkey(cli)
    with open("/dev/full", "wb") as full:
        done = cli("audit", "checkpoint", stdout=full, stderr=subprocess.PIPE)
    assert done.code == 7
    assert "log_exported" not in meta(cli)
    (cli.home / "locked").mkdir(mode=0o500)
    if os.geteuid():
        assert cli("audit", "checkpoint", "--out", "locked/head").code == 2
    assert cli("audit", "checkpoint", "--out", "absent/head").code == 2
    assert "log_exported" not in meta(cli)


def test_two_first_checkpoints_at_once_make_one_key(cli):
    cli.token()
    running = [
        subprocess.Popen([*PROGRAM, "audit", "checkpoint"], env=cli.env, cwd=cli.home, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    notes = {one.communicate(timeout=60)[0] for one in running}
    assert [one.returncode for one in running] == [0] * 4
    assert len(notes) == 1
    assert len(records(cli)) == 1
    assert_sound(cli)


# The key


def test_the_private_key_lies_sealed_and_nowhere_else(cli):
    cli.token()
    vkey(cli)
    root = Secret(bytes.fromhex(cli.root_secret.read_text().strip()))
    told = meta(cli)
    keys = sealing.derive(root, 1)
    seed = sealing.unseal(keys, str(told["store_id"]), str(told["log_keys"]), "Ed25519", told["log_sealed"])
    assert note.belongs(seed, VerifierKey.parse(str(told["log_keys"])))
    for file in cli.home.rglob("*"):
        if file.is_file():
            assert seed.reveal() not in file.read_bytes()
    assert_no_secret(cli.home, root_secret=cli.root_secret)


@pytest.mark.parametrize("name", ["log_keys", "log_sealed", "log_exported"])
def test_a_fact_about_the_log_key_that_a_stranger_changed_ends_everything(cli, name):
    cli.token()
    assert cli("audit", "checkpoint", "-q").code == 0
    key = VerifierKey(vkey(cli).partition("+")[0], bytes(range(32)))
    change(cli.store, f"UPDATE meta SET value = '{key}' WHERE name = '{name}'")
    for arguments in (("audit", "checkpoint"), ("audit", "verify"), ("list",)):
        done = cli(*arguments)
        assert (done.code, done.out) == (10, "")
        assert "about itself were changed" in done.err


def test_a_public_key_replaced_by_who_has_the_root_secret_is_found(cli):
    cli.token()
    assert cli("audit", "checkpoint", "-q").code == 0
    other, _ = note.fresh(vkey(cli).partition("+")[0])
    forge_meta(cli, log_keys=str(other))
    assert (cli("audit", "checkpoint").code, cli("audit", "checkpoint").out) == (10, "")  # its private part is not there
    done = cli("audit", "verify", "-o", "json")
    assert (done.code, done.json["verdict"]) == (10, "INVALID")
    assert done.json["flaws"] == ["the log key is not the one last recorded"]


def test_a_key_replaced_with_both_its_parts_is_found(cli):
    cli.token()
    assert cli("audit", "checkpoint", "-q").code == 0
    told = meta(cli)
    other, seed = note.fresh(vkey(cli).partition("+")[0])
    keys = sealing.derive(Secret(bytes.fromhex(cli.root_secret.read_text().strip())), 1)
    sealed = sealing.seal(keys, str(told["store_id"]), str(other), "Ed25519", seed.reveal())
    forge_meta(cli, log_keys=str(other), log_sealed=sealed)
    assert cli("audit", "verify", "-o", "json").json["flaws"] == ["the log key is not the one last recorded"]


def test_a_log_shorter_than_a_head_that_left_it_is_found_and_not_signed(cli):
    cli.token()
    assert cli("audit", "checkpoint", "-q").code == 0
    forge_meta(cli, log_exported=9)
    assert (cli("audit", "checkpoint").code, cli("audit", "checkpoint").out) == (10, "")
    done = cli("audit", "verify", "-o", "json")
    assert done.json["flaws"] == ["the log has 3 records, and a signed head of 9 has left the store"]


# Rotation


def test_a_new_key_follows_and_who_holds_the_former_one_can_check_it(cli, tmp_path):
    cli.token()
    before, former = cli("audit", "checkpoint").out, vkey(cli)
    done = cli("rotate-keys", "--log-key")
    key = vkey(cli)
    assert (done.code, done.err) == (0, f"notice: made a new log key: {key}\n")
    assert key != former
    assert key.partition("+")[0] == former.partition("+")[0]
    handed = done.out.partition("\n\n")[2].encode()
    assert independent(handed, former) == independent(handed, key)
    assert independent(handed, former).split("\n")[1] == "4"
    (cli.home / "handover").write_text(done.out)
    elsewhere = Cli(tmp_path)
    checked = elsewhere("audit", "verify", "--proof", str(cli.home / "handover"), "--key", former, "-o", "json")
    assert (checked.code, checked.json["verdict"]) == (0, "OK")
    assert checked.json["record"]["operation"] == "log.rotate_key"
    assert checked.json["record"]["reason"] == f"{former} to {key}"
    assert cli("audit", "checkpoint", "--handover").out == done.out
    after = cli("audit", "checkpoint").out
    assert independent(after.encode(), key)
    with pytest.raises(AssertionError):
        independent(after.encode(), former)
    assert independent(before.encode(), former)
    assert [record["outcome"] for record in records(cli)] == ["made", "done"]
    assert_sound(cli)


def test_keys_follow_each_other_in_one_line(cli):
    cli.token()
    keys = [vkey(cli)]
    for _ in range(3):
        assert cli("rotate-keys", "--log-key", "-q").code == 0
        keys.insert(0, vkey(cli))
    assert meta(cli)["log_keys"] == "\n".join(keys)
    assert [record["reason"] for record in records(cli)][1:] == [f"{keys[n]} to {keys[n - 1]}" for n in (3, 2, 1)]
    assert_sound(cli)
    forge_meta(cli, log_keys="\n".join([keys[0], *keys[2:]]))
    assert cli("audit", "verify", "-o", "json").json["flaws"] == ["the log key is not the one last recorded"]


def test_the_former_private_key_lies_in_no_file(cli):
    cli.token()
    vkey(cli)
    sealed = meta(cli)["log_sealed"]
    assert cli("rotate-keys", "--log-key", "-q").code == 0
    for file in cli.store.parent.iterdir():
        assert sealed[-48:] not in file.read_bytes(), file


def test_a_quiet_rotation_says_its_key_alone_and_hands_nothing_out(cli):
    cli.token()
    vkey(cli)
    done = cli("rotate-keys", "--log-key", "-q")
    assert (done.code, done.out, done.err) == (0, "", f"notice: made a new log key: {vkey(cli)}\n")
    assert "log_exported" not in meta(cli)
    told = cli("rotate-keys", "--log-key", "-o", "json")
    assert told.json["verifier_key"] == vkey(cli)
    assert told.json["proof"] == cli("audit", "checkpoint", "--handover").out
    assert told.json["warnings"] == [f"made a new log key: {vkey(cli)}"]


def test_without_a_key_there_is_none_to_replace_and_none_to_hand_over(cli):
    cli.token()
    done = cli("rotate-keys", "--log-key")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("tokenctl: the log has no key yet\nhint: ")
    vkey(cli)
    none = cli("audit", "checkpoint", "--handover")
    assert (none.code, none.err.splitlines()[0]) == (5, "tokenctl: the log key was never rotated")


@pytest.mark.parametrize("option", [("--root",), ("--dry-run",), ("--check",), ("--algorithm", "ES256"), ("--unobserved",)])
def test_the_log_key_is_rotated_alone(cli, option):
    cli.token()
    key = vkey(cli)
    done = cli("rotate-keys", "--log-key", *option)
    assert (done.code, done.out) == (2, "")
    assert "goes with no other option of rotate-keys" in done.err
    assert vkey(cli) == key
    assert cli("rotate-keys", "--log-key", "status").code == 2


# What happens to the store


def test_under_a_new_root_secret_the_log_key_goes_on(cli):
    cli.token()
    key = vkey(cli)
    assert cli("rotate-keys", "--root", "-q").code == 0
    done = cli("audit", "checkpoint")
    assert (done.code, vkey(cli)) == (0, key)
    assert independent(done.out.encode(), key)
    assert_sound(cli)


def test_a_store_keeps_origin_and_key_through_backup_and_restore(cli, tmp_path):
    age = age_key(tmp_path)
    cli.token()
    key = vkey(cli)
    assert cli("store", "backup", "b.age", "--recipient", age.recipient, "--yes", "-q").code == 0
    new = Cli(tmp_path / "new")
    new.home.mkdir(mode=0o700)
    done = new("store", "restore", str(cli.home / "b.age"), "--identity", age.path, "--yes", "-o", "json")
    assert (done.code, done.json["log_origin"]) == (0, key.partition("+")[0])
    assert vkey(new) == key
    assert independent(new("audit", "checkpoint").out.encode(), key)
    assert_sound(new)


def test_a_key_made_after_the_backup_is_taken_over_from_the_store_that_is_replaced(cli, tmp_path):
    age = age_key(tmp_path)
    cli.token()
    assert cli("store", "backup", "b.age", "--recipient", age.recipient, "--without-keys", "-q").code == 0
    first = vkey(cli)
    assert cli("rotate-keys", "--log-key", "-q").code == 0
    assert cli("audit", "checkpoint", "-q").code == 0
    key, handover = vkey(cli), cli("audit", "checkpoint", "--handover").out
    size = meta(cli)["log_exported"]
    done = cli("store", "restore", "b.age", "--identity", age.path, "--yes", "-o", "json")
    assert (done.code, done.json["log_origin"]) == (0, key.partition("+")[0])
    assert len(done.json["warnings"]) == 1
    assert f"a signed head of {size} records left the store before this" in done.json["warnings"][0]
    assert (vkey(cli), cli("audit", "checkpoint", "--handover").out) == (key, handover)
    told = [(record["outcome"], record["reason"]) for record in records(cli)]
    assert told == [("taken_over", first), ("taken_over", f"{first} to {key}")]
    assert independent(cli("audit", "checkpoint").out.encode(), key)
    assert_sound(cli)


def test_no_opaque_token_loads_what_signs_heads(cli, tmp_path):
    from tests.test_architecture import loaded

    loaded(cli.home, "issue", "--subject", "a", "-q")
    assert cli("audit", "checkpoint", "-q").code == 0
    names, _ = loaded(cli.home, "issue", "--subject", "a", "-q")
    unwanted = {"tokenctl.formats.note", "tokenctl.formats.proof", "tokenctl.backends.local.log_key", "tokenctl.audit.log_keys"}
    assert names & unwanted == set()
    assert "cryptography" not in {name.partition(".")[0] for name in names}


def test_who_verifies_heads_asks_the_store_for_its_keys(cli):
    """The way in for ``audit verify``: the keys that sign and have signed, and the size of the last head that left."""
    from tokenctl.backends.local import log_key

    cli.token()
    former, text = vkey(cli), cli("audit", "checkpoint").out
    assert cli("rotate-keys", "--log-key", "-q").code == 0
    surroundings = wiring.Surroundings(environment=cli.env, now=0, notice=print, warn=print, timeout=30)
    journal = wiring.open_journal(config.Profile(name="local"), surroundings)
    with journal.reading() as view:
        assert view is not None
        keys = log_key.known(view)
        assert list(map(str, keys)) == [vkey(cli), former]
        assert log_key.exported(view) == 3
        opened = note.open_checkpoint(text.encode(), keys)
        assert opened is not None
        assert (opened.origin, opened.size) == (keys[0].name, 3)
    journal.close()
