"""``store backup``: what age opens, to whom it is encrypted, where it is written, and that it is recorded."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import resource
import signal
import sqlite3
import stat
import sys
from pathlib import Path

import pexpect
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.commands.backups import AgeKey, age, age_key, members
from tests.faults.conftest import assert_no_secret, assert_sound, change, rows, waiting
from tokenctl import __version__
from tokenctl.model.record import commitment_to


@pytest.fixture
def key(tmp_path) -> AgeKey:
    return age_key(tmp_path)


@pytest.fixture
def passphrase(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("correct horse " + os.urandom(8).hex() + "\n")
    path.chmod(0o600)
    return path


def recorded(cli) -> list[tuple[object, ...]]:
    return rows(cli.store, "SELECT operation FROM record WHERE operation = 'store.backup'")


def test_a_backup_to_a_recipient_is_a_tar_that_age_opens(cli, key):
    token = cli.token()
    cli.token("--format", "jwt", "--audience", "a")
    done = cli("store", "backup", "b.age", "--recipient", key.recipient)
    file = cli.home / "b.age"
    assert (done.code, done.err) == (0, "")
    assert done.out == f"b.age\t{file.stat().st_size}\t5\t2\twith-root-secret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    inside = members(age("-d", "-i", key.path, str(file)))
    assert list(inside) == ["manifest.json", "root", "store.db"]
    assert inside["root"] == cli.root_secret.read_bytes()
    facts = cli("store", "info", "-o", "json").json
    manifest = json.loads(inside["manifest.json"])
    assert manifest == {
        "format": 1, "store_id": facts["store_id"], "profile": "local", "made_at": manifest["made_at"],
        "schema": facts["schema"], "records": 5, "tokens": 2, "root": manifest["root"], "tokenctl": __version__,
        "with_keys": True,
    }  # fmt: skip
    copy = cli.home.parent / "copy.db"
    copy.write_bytes(inside["store.db"])
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert rows(copy, "SELECT root FROM head") == [(bytes.fromhex(manifest["root"]),)]
    assert rows(copy, "SELECT id FROM token ORDER BY rowid")[0] == (cli.id_of(token),)
    assert_sound(cli)
    assert_no_secret(cli.home, root_secret=cli.root_secret)
    assert sorted(path.name for path in cli.store.parent.iterdir() if path.stat().st_size) == ["store.db", "store.db-shm"]


def test_what_was_erased_is_not_in_the_copy(cli, key):
    cli.token()
    mark = os.urandom(32)
    connection = sqlite3.connect(cli.store, isolation_level=None)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("CREATE TABLE spare (x BLOB)")
    connection.execute("INSERT INTO spare VALUES (zeroblob(8000) || ?)", [mark])
    connection.execute("DROP TABLE spare")
    connection.close()
    assert mark in cli.store.read_bytes()
    assert cli("store", "backup", "b.age", "--recipient", key.recipient, "-q").code == 0
    assert mark not in members(age("-d", "-i", key.path, str(cli.home / "b.age")))["store.db"]


def test_the_record_commits_to_the_hash_of_the_file(cli, key):
    cli.token()
    done = cli("store", "backup", "b.age", "--recipient", key.recipient, "-o", "json")
    file = (cli.home / "b.age").read_bytes()
    facts = cli("store", "info", "-o", "json").json
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "action": "backup", "profile": "local", "path": "b.age", "size": len(file), "sha256": hashlib.sha256(file).hexdigest(),
        "store_id": facts["store_id"], "made_at": done.json["made_at"], "records": 2, "tokens": 1, "with_keys": True,
        "recipients": 1, "passphrase": False, "warnings": [],
    }  # fmt: skip
    body, nonce = rows(cli.store, "SELECT body, nonce FROM record WHERE operation = 'store.backup'")[0]
    record = json.loads(body)
    assert (record["target"], record["seq"], record["outcome"]) == (facts["store_id"], 3, "done")
    parameters = {"with_keys": True, "sealed_to": "1 recipient", "records": 2, "sha256": done.json["sha256"]}
    assert record["commitment"] == commitment_to(parameters, nonce[:32])
    assert facts["last_backup_at"] is not None


def test_a_backup_with_a_passphrase_is_opened_by_age_and_by_restore(cli, passphrase):
    cli.token()
    reader, writer = os.pipe()
    os.write(writer, passphrase.read_bytes())
    os.close(writer)
    done = cli("store", "backup", "b.age", "--passphrase-fd", str(reader), "-o", "json", pass_fds=[reader])
    os.close(reader)
    assert (done.code, done.json["passphrase"], done.json["recipients"]) == (0, True, 0)
    opening = pexpect.spawn("age", ["-d", "-o", "plain", "b.age"], cwd=str(cli.home), timeout=60)
    opening.expect("Enter passphrase")
    opening.sendline(passphrase.read_text().strip())
    opening.expect(pexpect.EOF)
    opening.close()
    assert opening.exitstatus == 0
    assert members((cli.home / "plain").read_bytes())["root"] == cli.root_secret.read_bytes()
    assert cli("store", "restore", "b.age", "--passphrase-file", str(passphrase), "-n").code == 0
    passphrase.write_text("another\n")
    wrong = cli("store", "restore", "b.age", "--passphrase-file", str(passphrase), "--yes")
    assert (wrong.code, wrong.out, wrong.err) == (4, "", "tokenctl: the passphrase does not open the file\n")


def test_a_passphrase_is_asked_for_twice_at_a_terminal(cli):
    cli.token()
    secret = os.urandom(8).hex()
    for second, code in (("another", 2), (secret, 0)):
        asking = pexpect.spawn(
            sys.executable, ["-m", "tokenctl", "store", "backup", "b.age"], cwd=str(cli.home), env=cli.env | {"TERM": "dumb"},
            timeout=60,
        )  # fmt: skip
        asking.expect("Passphrase \\(not shown\\): ")
        asking.sendline(secret)
        asking.expect("The same again: ")
        asking.sendline(second)
        asking.expect(pexpect.EOF)
        asking.close()
        assert asking.exitstatus == code, asking.before
        assert secret.encode() not in asking.before
        assert (cli.home / "b.age").exists() is (code == 0)
    assert recorded(cli) == [("store.backup",)]


def test_a_passphrase_without_the_memory_for_it_is_refused(cli, passphrase):
    """The library would abort the process."""
    cli.token()
    command = ("--passphrase-file", str(passphrase))
    refused = cli("store", "backup", "b.age", *command, **limited(150))
    assert (refused.code, refused.out) == (7, "")
    assert re.fullmatch(
        r"tokenctl: a passphrase needs [0-9,]+ MiB of memory here, and \d+ MiB are free\n"
        r"hint: encrypt to a recipient: age-keygen -o FILE, then --recipient age1...\n", refused.err,
    )  # fmt: skip
    assert not (cli.home / "b.age").exists()
    assert recorded(cli) == []
    assert cli("store", "backup", "b.age", *command, "-q").code == 0
    # How much it takes was chosen by how fast the machine was at that moment.
    (work,) = re.findall(rb"^-> scrypt \S+ ([0-9]+)$", (cli.home / "b.age").read_bytes(), re.MULTILINE)
    needed = 2 ** int(work) // 1024
    (cli.home / "b.txt").write_bytes(armored((cli.home / "b.age").read_bytes()))
    for file in ("b.age", "b.txt"):
        refused = cli("store", "restore", file, *command, "-n", **limited(needed))
        assert (refused.code, refused.out) == (7, "")
        assert refused.err.endswith("hint: free memory or raise its limit; age -d opens it elsewhere\n")
    assert cli("store", "restore", "b.txt", *command, "-n", "-q").code == 0


def limited(mebibytes):
    limit = mebibytes * 2**20
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}


def armored(data: bytes) -> bytes:
    lines = base64.encodebytes(data).replace(b"\n", b"")
    body = b"\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return b"-----BEGIN AGE ENCRYPTED FILE-----\n" + body + b"\n-----END AGE ENCRYPTED FILE-----\n"


def test_recipients_may_stand_in_a_file_and_be_ssh_keys(cli, key, tmp_path):
    cli.token()
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    identity = tmp_path / "id_ed25519"
    identity.touch(mode=0o600)
    identity.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )  # fmt: skip
    (cli.home / "keys").write_text(f"# who may open it\n\n{public} alice@laptop\n")
    done = cli("store", "backup", "b.age", "--recipients-file", "keys", "--recipient", key.recipient, "-o", "json")
    assert (done.code, done.json["recipients"]) == (0, 2)
    for path in (key.path, str(identity)):
        assert "store.db" in members(age("-d", "-i", path, str(cli.home / "b.age")))
        assert cli("store", "restore", "b.age", "--identity", path, "-n", "-q").code == 0


def test_without_keys_the_root_secret_stays_out(cli, key):
    cli.token()
    done = cli("store", "backup", "b.age", "--recipient", key.recipient, "--without-keys")
    assert done.out.endswith("\twithout-root-secret\n")
    plain = age("-d", "-i", key.path, str(cli.home / "b.age"))
    assert list(members(plain)) == ["manifest.json", "store.db"]
    assert cli.root_secret.read_bytes().strip() not in plain
    assert bytes.fromhex(cli.root_secret.read_text()) not in plain


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "it is not said who may open the backup"),
        (("--recipient", "nobody"), "--recipient: not a recipient"),
        (("--recipient", "ssh-ed25519 AAAA"), "--recipient: not a recipient"),
        (("--recipients-file", "absent"), "--recipients-file: cannot read absent: no such file or directory"),
        (("--recipients-file", "empty"), "--recipients-file: empty names no recipient"),
        (("--recipients-file", "identity"), "--recipients-file: identity, line 1: an identity, not a recipient"),
        (("--recipients-file", "wrong"), "--recipients-file: wrong, line 2: not a recipient"),
        (("--passphrase-file", "empty"), "--passphrase-file: the passphrase is empty, or not one line"),
        (("--passphrase-file", "lines"), "--passphrase-file: the passphrase is empty, or not one line"),
        (("--passphrase-file", "latin"), "--passphrase-file: the passphrase is not UTF-8"),
        (("--passphrase-fd", "77"), "--passphrase-fd 77 is not an open descriptor"),
        (("--passphrase-file", "lines", "--recipient", "{key}"), "recipients and a passphrase: age takes only one of them"),
    ],
)
def test_what_a_backup_cannot_be_encrypted_to_is_named(cli, key, arguments, told):
    cli.token()
    identity = f"{'AGE-SECRET-KEY-'}1{'Q' * 58}\n"
    contents = {"empty": "", "identity": identity, "wrong": "#\nage1\n", "lines": "a\nb\n", "latin": b"\xe9\n"}
    for name, text in contents.items():
        (cli.home / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        (cli.home / name).chmod(0o600)
    done = cli("store", "backup", "b.age", *(argument.format(key=key.recipient) for argument in arguments))
    assert (done.code, done.out, done.err.splitlines()[0]) == (2, "", f"tokenctl: {told}")
    assert not (cli.home / "b.age").exists()
    assert recorded(cli) == []


def test_a_passphrase_file_that_others_can_read_is_refused(cli, passphrase):
    cli.token()
    passphrase.chmod(0o640)
    done = cli("store", "backup", "b.age", "--passphrase-file", str(passphrase))
    assert (done.code, done.err) == (
        9, f"tokenctl: {passphrase} is open to other users\nhint: chmod 600 {passphrase}\n"
    )  # fmt: skip


def test_an_age_identity_on_the_command_line_is_refused_like_any_secret(cli, key):
    text = next(line for line in Path(key.path).read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))
    by_name = "name its file instead: --identity FILE"
    as_recipient = "a recipient is what this prints, age1...: age-keygen -y FILE"
    for verb, option, hint in (("restore", "--identity", by_name), ("backup", "--recipient", as_recipient)):
        done = cli("store", verb, "b.age", option, text)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("tokenctl: argument 5 looks like a secret: treat it as leaked")
        assert done.err.endswith(f"\nhint: {hint}\n")
        assert text[15:30] not in done.err


def test_without_a_store_there_is_nothing_to_back_up(cli, key):
    done = cli("store", "backup", "b.age", "--recipient", key.recipient)
    assert (done.code, done.out) == (5, "")
    assert done.err == "tokenctl: profile local has no store\nhint: the first issue makes it\n"
    assert list(cli.home.iterdir()) == []


# Where it goes


def test_a_file_that_is_there_is_replaced_only_when_that_is_confirmed(cli, key):
    cli.token()
    file = cli.home / "b.age"
    file.write_text("old")
    command = ("store", "backup", "b.age", "--recipient", key.recipient)
    refused = cli(*command)
    assert (refused.code, refused.out, refused.err.splitlines()[0]) == (2, "", "tokenctl: not confirmed: nothing was written")
    assert (file.read_text(), recorded(cli)) == ("old", [])
    assert cli(*command, "--yes").code == 0
    assert "root" in members(age("-d", "-i", key.path, str(file)))
    assert sorted(path.name for path in cli.home.iterdir() if path.is_file()) == ["b.age"]


def test_a_backup_is_never_written_through_what_is_planted_nor_among_our_own_files(cli, key, tmp_path):
    cli.token()
    aside = tmp_path / "aside"
    aside.write_text("mine")
    (cli.home / "link").symlink_to(aside)
    os.link(aside, cli.home / "hard")
    os.mkfifo(cli.home / "pipe")
    (cli.home / "folder").mkdir()
    for name in ("link", "hard", "pipe", "folder", "no/such", "", str(cli.store), str(cli.store.parent / "b"), "/dev/full"):
        done = cli("store", "backup", name, "--recipient", key.recipient, "--yes")
        assert (done.code, done.out) == (2, ""), (name, done)
        assert "--out" not in done.err
    assert (aside.read_text(), recorded(cli)) == ("mine", [])


def test_a_minus_writes_to_stdout_off_a_terminal_and_says_nothing_else(cli, key):
    cli.token()
    done = cli("store", "backup", "-", "--recipient", key.recipient, stdout=os.open(cli.home / "b.age", os.O_CREAT | os.O_WRONLY))
    assert (done.code, done.out) == (0, "")
    assert "root" in members(age("-d", "-i", key.path, str(cli.home / "b.age")))
    assert recorded(cli) == [("store.backup",)]
    told = cli("store", "backup", "-", "--recipient", key.recipient, "-o", "json")
    assert (told.code, told.out) == (2, "")


def test_a_backup_that_is_not_recorded_is_not_whole(cli, key):
    cli.token()
    with open(cli.store.with_name("store.lock")) as lock, open(cli.home / "cut.age", "wb") as out:
        fcntl.flock(lock, fcntl.LOCK_EX)
        to_stdout = cli(
            "store", "backup", "-", "--recipient", key.recipient, "--timeout", "1s", stdout=out, stderr=-1
        )  # fmt: skip
        to_file = cli("store", "backup", "b.age", "--recipient", key.recipient, "--timeout", "1s")
    assert (to_stdout.code, to_file.code, to_file.out) == (7, 7, "")
    assert (cli.home / "cut.age").stat().st_size > 0
    assert cli("store", "restore", "cut.age", "--identity", key.path, "-n").code == 10
    assert sorted(path.name for path in cli.home.iterdir() if path.is_file()) == ["cut.age"]


@pytest.mark.parametrize("to", ["recipient", "passphrase"])
def test_a_backup_that_cannot_be_written_is_told(cli, key, passphrase, to):
    cli.token()
    command = ("store", "backup", "-", f"--{to}" if to == "recipient" else "--passphrase-file")
    command += (key.recipient if to == "recipient" else str(passphrase),)
    with open("/dev/full", "wb") as full:
        done = cli(*command, stdout=full, stderr=-1)
    assert (done.code, done.err) == (
        7, "tokenctl: cannot write to stdout: no space left on device\nhint: check where stdout goes, then run again\n"
    )  # fmt: skip
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = cli(*command, stdout=gone, stderr=-1)
    assert (done.code, done.err) == (-signal.SIGPIPE, "")
    if to == "recipient":  # with a passphrase all of it is one part, and the last part waits for the record
        assert recorded(cli) == []


def test_quiet_leaves_the_outcome_to_the_exit_code(cli, key):
    cli.token()
    done = cli("store", "backup", "b.age", "--recipient", key.recipient, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_quarantined_store_is_backed_up_with_a_warning_and_stays_what_it_is(cli, key):
    token = cli.token()
    assert cli("store", "seal", "--reason", "evidence", "-q").code == 0
    done = cli("store", "backup", "b.age", "--recipient", key.recipient)
    assert (done.code, done.err) == (
        0, "warning: the store is quarantined, and so will be what is restored from this: SEALED: evidence\n"
    )  # fmt: skip
    restored = cli("store", "restore", "b.age", "--identity", key.path, "--yes")
    assert (restored.code, restored.err) == (
        0, "warning: the store is quarantined, and stays so: SEALED: evidence\n"
    )  # fmt: skip
    assert cli("issue", "--subject", "s").code == 10
    assert cli("store", "release", "--reason", "looked at", "--yes", "-q").code == 0
    assert cli("inspect", cli.id_of(token), "-q").code == 3
    assert_sound(cli)


# Beside a rotation of the root secret


@pytest.mark.parametrize("kept", [(), ("--without-keys",)])
def test_a_backup_that_waited_while_the_root_secret_was_rotated_can_be_restored(cli, key, kept):
    cli.token()
    command = ("store", "backup", "b.age", "--recipient", key.recipient, *kept)
    with waiting(cli, "backup.lock", *command) as done:
        assert cli("rotate-keys", "--root", "-q").code == 0
    assert (done[0].code, done[0].err) == (0, "")
    assert_restorable(cli, key)


def assert_restorable(cli, key):
    rehearsed = cli("store", "restore", "b.age", "--identity", key.path, "-n")
    assert (rehearsed.code, rehearsed.err) == (0, "")
    inside = members(age("-d", "-i", key.path, str(cli.home / "b.age")))
    assert inside.get("root", cli.root_secret.read_bytes()) == cli.root_secret.read_bytes()
    assert cli("store", "restore", "b.age", "--identity", key.path, "--yes", "-q").code == 0
    assert_sound(cli)


def test_a_backup_whose_head_is_not_authentic_says_what_is_not_known_of_it(cli, key):
    cli.token()
    change(cli.store, "UPDATE head SET size = 7, root = zeroblob(32)")
    done = cli("store", "backup", "b.age", "--recipient", key.recipient, "-o", "json")
    verdict = "INVALID: the head of the log is not authentic"
    told = f"the store is quarantined, and no restore accepts what does not check out: {verdict}"
    assert (done.code, done.json["warnings"]) == (0, [told])
    manifest = json.loads(members(age("-d", "-i", key.path, str(cli.home / "b.age")))["manifest.json"])
    assert (done.json["records"], manifest["records"], manifest["root"]) == (2, 2, None)
    refused = cli("store", "restore", "b.age", "--identity", key.path, "--yes")
    assert (refused.code, refused.out) == (10, "")
    assert "the head of the log is not authentic" in refused.err


# store seal


def test_a_store_is_sealed_by_hand_and_released(cli):
    token = cli.token()
    for arguments in ((), ("--reason", " "), ("--reason", "x" * 201)):
        assert cli("store", "seal", *arguments).code == 2
    done = cli("store", "seal", "--reason", "the laptop was stolen")
    assert (done.code, done.out, done.err) == (0, "sealed\tSEALED: the laptop was stolen\n", "")
    assert [cli("issue", "--subject", "s").code, cli("inspect", "-", input=token).code] == [10, 10]
    again = cli("store", "seal", "--reason", "twice", "-o", "json")
    assert (again.code, again.json["sealed"], again.json["verdict"]) == (0, False, "SEALED: the laptop was stolen")
    other = cli.id_of(token)
    assert cli("revoke", other, "--yes", "-q").code == 0
    assert cli("store", "release", "--reason", "found", "--yes", "-q").code == 0
    assert cli("issue", "--subject", "s", "-q").code == 0
    told = rows(cli.store, "SELECT operation FROM record WHERE target NOT IN (SELECT id FROM token) ORDER BY seq")
    assert told == [("store.create",), ("store.seal",), ("store.release",)]
    assert_sound(cli)


def test_without_a_store_there_is_nothing_to_seal(cli):
    done = cli("store", "seal", "--reason", "r")
    assert (done.code, done.out, done.err) == (5, "", "tokenctl: profile local has no store\nhint: the first issue makes it\n")
    assert list(cli.home.iterdir()) == []
