"""``audit archive``: old bodies lie in a file, the log checks out without it and with it, and nobody else takes a body away."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import pytest

from tests.bench.log import authority
from tests.commands.backups import age_key
from tests.conftest import Cli
from tests.faults.conftest import change, rows

NOW = 1_795_000_000_000
DAY = 86_400_000
LATER = NOW + 2 * DAY
FILE = "old.archive"
SOUND = "OK (anchored locally only): log and state check out; the anchor beside them agrees\n"
NEVER_LEFT = "no head of this log ever left the store: the holder of its key could rewrite all 8\n"


def issued(cli, *arguments, at=NOW):
    done = cli.at(at, "issue", "--subject", "s", "--scope", "x", "-q", *arguments)
    assert done.code == 0, done.err
    return done.out.split("_")[2] if done.out.startswith("tkc") else done.out


def archive(cli, *arguments, at=LATER, out=FILE):
    return cli.at(at, "audit", "archive", "--before", "1d", "--out", out, "--yes", *arguments)


def verified(cli, *arguments, at=LATER):
    done = cli.at(at, "audit", "verify", "-o", "json", *arguments)
    return done.code, done.json if done.out else None


def gone(cli):
    """The numbers of the records whose bodies are not in the store."""
    return [seq for (seq,) in rows(cli.store, "SELECT seq FROM record WHERE length(body) < 20 ORDER BY seq")]


@pytest.fixture
def old(cli: Cli) -> Cli:
    """Records 2 to 7: two tokens that end, one that lives with an ended child, a refusal, a revocation."""
    ended = issued(cli)
    issued(cli, "--ttl", "30m", "--max-uses", "3")
    parent = issued(cli, "--kind", "service", "--ttl", "30d")
    issued(cli, "--parent", parent, "--ttl", "10m")
    assert cli.at(NOW, "issue", "--subject", "greedy", "--ttl", "25h").code == 12
    assert cli.at(NOW, "revoke", ended, "--yes", "--ticket", "INC-1", "--reason", "compromised", "-q").code == 0
    return cli


def test_old_bodies_move_to_a_private_file_and_the_log_checks_out_with_and_without_it(old):
    bodies = dict(rows(old.store, "SELECT seq, body FROM record"))
    done = archive(old)
    path = old.home / FILE
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert (done.code, done.out, done.err) == (0, f"{FILE}\t{len(data)}\t4\t2\t7\t{digest}\n", "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert gone(old) == [2, 3, 6, 7]  # the child of a living token stays: its uses are its parent's
    store_id = rows(old.store, "SELECT value FROM meta WHERE name = 'store_id'")[0][0]
    lines = [f"tokenctl-archive/v1 {store_id}\n".encode()] + [b"%d %s\n" % (seq, bodies[seq]) for seq in (2, 3, 6, 7)]
    assert data == b"".join(lines) + f"end 4 {hashlib.sha256(b''.join(lines)).hexdigest()}\n".encode()
    told = old.at(LATER, "audit", "verify")
    assert told.code == 0
    assert told.out == (
        SOUND + "8 records, 4 tokens, 0 keys\n" + NEVER_LEFT
        + "4 bodies lie in archives and were taken by their hashes: tokenctl audit verify --archive FILE\n"
    )
    code, without = verified(old)
    assert (code, without["archived"], without["flaws"]) == (0, 4, [])
    code, whole = verified(old, "--archive", FILE)
    assert (code, whole["archived"], whole["root"], whole["verdict"]) == (0, 0, without["root"], without["verdict"])
    assert old.at(LATER, "audit", "verify", "--archive", FILE).out == SOUND + "8 records, 4 tokens, 0 keys\n" + NEVER_LEFT


def test_log_and_show_tell_what_the_columns_tell_and_where_the_rest_lies(old):
    before = old.at(LATER, "audit", "log", "-o", "jsonl").lines
    assert {record["archived"] for record in before} == {None}
    archive(old)
    after = old.at(LATER, "audit", "log", "-o", "jsonl").lines
    assert after[-1]["operation"] == "log.archive"
    assert re.fullmatch("4 bodies of records 2 to 7, columns [0-9a-f]{64}", after[-1]["reason"])
    for one, other in zip(before, after, strict=False):
        assert set(one) == set(other)
        if other["archived"] is None:
            assert one == other
            continue
        assert other["archived"] == 8
        kept = ("seq", "time", "operation", "target", "request_id", "ticket", "v")
        assert {name: other[name] for name in kept} == {name: one[name] for name in kept}
        assert (other["actor"]["name"], other["actor"]["host"]) == (one["actor"]["name"], one["actor"]["host"])
        assert other["actor"]["uid"] is None
        assert other["subject"] is None
        assert other["commitment"] is None
    lines = old.at(LATER, "audit", "log", "--ticket", "INC-1").out.splitlines()
    assert [line.split("\t")[5:8] for line in lines] == [["-", "archived", "INC-1"]]
    target = after[1]["target"]
    shown = old.at(LATER, "audit", "show", target, "-o", "json").json
    assert [record["archived"] for record in shown["records"]] == [8, 8]
    assert (shown["token"]["subject"], shown["token"]["revoked"]["reason"]) == ("s", "compromised")


def test_what_matters_for_the_living_stays_whole(cli):
    old = issued(cli, "--ttl", "20m")
    replaced = issued(cli, "--kind", "service", "--ttl", "2h")
    assert cli.at(NOW, "issue", "--replace", replaced, "--ttl", "30d", "-q").code == 0
    suspended = issued(cli, "--ttl", "2h")
    assert cli.at(NOW, "revoke", suspended, "--suspend", "--for", "30d", "--then", "lift", "--yes", "-q").code == 0
    signed = cli.at(NOW, "issue", "--subject", "j", "--format", "jwt", "--audience", "a", "-q")
    assert signed.code == 0
    late = issued(cli, "--ttl", "1h")
    assert cli.at(LATER - DAY // 2, "revoke", late, "--yes", "-q").code == 0  # a record that is not old enough
    before = dict(rows(cli.store, "SELECT seq, operation FROM record"))
    assert archive(cli).code == 0
    left = [before[seq] for seq in gone(cli)]
    assert set(left) == {"token.issue"}
    targets = {row[0] for row in rows(cli.store, "SELECT target FROM record WHERE length(body) < 20")}
    assert not targets & {suspended, late, replaced}
    assert old in targets
    code, report = verified(cli, "--archive", FILE)
    assert (code, report["archived"]) == (0, 0)
    assert verified(cli)[0] == 0


TAMPERING = {
    "another body is taken away": "UPDATE record SET body = CAST('8' AS BLOB) WHERE seq = 4",
    "a body is taken away and no record named": "UPDATE record SET body = CAST('1' AS BLOB) WHERE seq = 4",
    "a body is emptied": "UPDATE record SET body = x'' WHERE seq = 4",
    "the number in the place of a body, written otherwise": "UPDATE record SET body = CAST('08' AS BLOB) WHERE seq = 6",
    "a long number stands for a body": f"UPDATE record SET body = CAST('{'0' * 29}8' AS BLOB) WHERE seq = 4",
    "the target of an archived record": "UPDATE record SET target = (SELECT target FROM record WHERE seq = 3) WHERE seq = 2",
    "its operation": "UPDATE record SET operation = 'token.lift' WHERE seq = 7",
    "its ticket": "UPDATE record SET ticket = NULL WHERE seq = 7",
    "its actor": "UPDATE record SET actor = 'nobody@nowhere' WHERE seq = 6",
    "its request": "UPDATE record SET request = 'other' WHERE seq = 2",
    "its time": "UPDATE record SET time = time - 1 WHERE seq = 2",
    "its hash": "UPDATE record SET hash = zeroblob(32) WHERE seq = 6",
    "its nonce": "UPDATE record SET nonce = zeroblob(48) WHERE seq = 6",
    "the row of its token": "UPDATE token SET subject = 'other' WHERE leaf = 7",
    "an archived record is deleted": "DELETE FROM record WHERE seq = 6",
    "the record of the archiving": (
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '4 bodies', '5 bodies') AS BLOB) WHERE seq = 8"
    ),
    "the record of the archiving is gone too": "UPDATE record SET body = CAST('8' AS BLOB) WHERE seq = 8",
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_with_archived_records_is_found_without_the_archive(old, what):
    archive(old)
    change(old.store, TAMPERING[what])
    code, report = verified(old)
    assert (code, report["verdict"]) == (10, "INVALID"), report


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_with_archived_records_is_found_with_the_archive_and_quarantines_the_store(old, what):
    archive(old)
    change(old.store, TAMPERING[what])
    code, report = verified(old, "--archive", FILE)
    assert (code, report["verdict"]) == (10, "INVALID"), report
    assert "quarantined" in old.at(LATER, "issue", "--subject", "s").err


def test_an_archive_that_was_cut_edited_or_is_of_another_store_is_told_and_quarantines_nothing(old, tmp_path):
    archive(old)
    path = old.home / FILE
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)

    def ended(*parts: bytes) -> bytes:
        body = b"".join(parts)
        return body + f"end {len(parts) - 1} {hashlib.sha256(body).hexdigest()}\n".encode()

    other = Cli(tmp_path / "other")
    other.home.mkdir(mode=0o700)
    issued(other)
    assert archive(other).code == 0
    foreign = (other.home / FILE).read_bytes()
    cases = [
        (whole[:-1], 10, "was cut"), (whole[:-80], 10, "was cut"), (lines[0], 10, "was cut"),
        (whole.replace(b"compromised", b"superseded!"), 10, "was edited"),
        (ended(*lines[:-1]).replace(b"INC-1", b"INC-2"), 10, "was edited"),
        (ended(lines[0], lines[1].replace(b'"x"', b'"y"'), *lines[2:-1]), 10, "is not told of by any record"),
        (ended(*lines[:3]), 10, "is not told of by any record"),
        (foreign, 10, "is an archive of another store"),
        (b"", 10, "was cut"), (b"nothing\n", 2, "is no archive"), (lines[0].replace(b"/v1", b"/v2"), 2, "by a newer"),
        (ended(lines[0], b"rubbish\n"), 2, "malformed"), (ended(lines[0], lines[2], lines[1]), 2, "malformed"),
        (whole + b"end 0 0\n", 10, "was cut"), (whole + lines[1], 10, "was cut"), (whole + lines[-1], 10, "was edited"),
    ]  # fmt: skip
    for data, code, words in cases:
        path.write_bytes(data)
        done = old.at(LATER, "audit", "verify", "--archive", FILE)
        assert (done.code, done.out) == (code, ""), (data[-100:], done)
        assert words in done.err, (words, done.err)
    path.write_bytes(whole)
    assert verified(old, "--archive", FILE)[0] == 0
    assert old.at(LATER, "audit", "verify", "--archive", "missing").code == 2
    assert old.at(LATER, "audit", "verify", "--archive", ".").code == 2


def test_nothing_is_archived_where_it_must_not_be(old):
    for arguments, code, words in (
        (("--before", "1d", "--out", FILE), 2, "not confirmed: nothing was archived"),
        (("--before", "2099-01-01", "--out", FILE, "--yes"), 2, "--before: lies in the future"),
        (("--before", "soon", "--out", FILE, "--yes"), 2, "--before"),
        (("--before", "1d", "--yes"), 2, "--out"),
        (("--before", "1d", "--out", str(old.store), "--yes"), 2, "lies among tokenctl's own files"),
        (("--before", "1d", "--out", "taken", "--yes"), 2, "is there already"),
        (("--before", "1d", "--out", "link", "--yes"), 2, "is there already"),
        (("--before", "1d", "--out", "no/such/folder", "--yes"), 2, "cannot write"),
    ):
        (old.home / "taken").write_text("mine")
        (old.home / "link").unlink(missing_ok=True)
        (old.home / "link").symlink_to("elsewhere")
        done = old.at(LATER, "audit", "archive", *arguments)
        assert (done.code, done.out) == (code, ""), done
        assert words in done.err
    assert (old.home / "taken").read_text() == "mine"
    assert not (old.home / "elsewhere").exists()
    dry = old.at(LATER, "audit", "archive", "--before", "1d", "--out", FILE, "-n")
    assert (dry.code, dry.err) == (0, "")
    assert re.fullmatch(rf"{FILE}\twould move 4 bodies of records 2 to 7, [0-9.]+ KiB\n", dry.out)
    assert old.at(LATER, "store", "seal", "--reason", "stolen", "-q").code == 0
    assert archive(old).code == 10
    assert gone(old) == []
    assert not (old.home / FILE).exists()


def test_a_record_that_does_not_check_out_is_not_archived(old):
    change(old.store, "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'greedy', 'modest') AS BLOB) WHERE seq = 6")
    done = archive(old)
    assert (done.code, done.out) == (10, "")
    assert done.err.startswith("tokenctl: record 6 does not check out: no more bodies leave the store\n")
    assert not (old.home / FILE).exists()
    assert gone(old) == []


def test_without_a_store_and_without_anything_old_nothing_is_written(cli):
    assert archive(cli).code == 5
    issued(cli, at=LATER)
    done = archive(cli, "-o", "json")
    assert (done.code, done.json["bodies"], done.json["path"]) == (0, 0, None)
    assert not (cli.home / FILE).exists()
    # A file that cannot be made is told of at once, not when there is something to move.
    for out in ("", "absent/old.archive", "."):
        assert cli("audit", "archive", "--before", "1d", "--out", out, "--yes").code == 2, out


def test_what_came_later_goes_to_another_archive_and_both_together_are_all(old):
    assert archive(old, "-q").out == ""
    ended = issued(old, at=LATER)
    done = archive(old, "-o", "json", at=LATER + 2 * DAY, out="second")
    assert (done.code, done.json["archived"], done.json["bodies"]) == (0, 1, 1)
    assert done.json["sha256"] == hashlib.sha256((old.home / "second").read_bytes()).hexdigest()
    assert [row[0] for row in rows(old.store, "SELECT target FROM record WHERE seq = 9")] == [ended]
    at = LATER + 2 * DAY
    assert [verified(old, *chosen, at=at)[1]["archived"] for chosen in (
        (), ("--archive", FILE), ("--archive", "second"), ("--archive", "second", "--archive", FILE)
    )] == [5, 1, 4, 0]  # fmt: skip


def test_an_archived_token_is_given_no_new_life_not_even_by_the_holder_of_the_root_secret(old):
    """Its row has a right MAC then, and no body is there to contradict it; the root stays what it was."""
    assert archive(old).code == 0
    seqs = ", ".join(map(str, gone(old)))
    sql = f"SELECT target FROM record WHERE seq IN ({seqs}) AND operation = 'token.issue' AND target IN "
    ((ended,), *_) = rows(old.store, f"{sql} (SELECT id FROM token WHERE revoked_at IS NULL)")
    root = verified(old)[1]["root"]
    with authority(old.home) as backend, backend.journal.changing() as changing:
        assert changing is not None
        stored = changing.rows.token(str(ended))
        assert stored is not None
        changing.rows.update_token(stored.row._replace(expires_at=LATER + DAY), "expires_at")
    change(old.store, f"UPDATE tag SET expires_at = {LATER + DAY} WHERE token = '{ended}'")
    code, told = verified(old)
    assert (code, told["verdict"], told["root"]) == (10, "INVALID", root)
    assert told["flaws"] == [f"token {ended}: it lives on, and what the log says of it was archived before"]


def test_the_root_secret_can_be_exchanged_after_an_archiving(old):
    archive(old)
    assert old.at(LATER, "rotate-keys", "--root", "-q").code == 0
    assert verified(old, "--archive", FILE)[0] == 0


def test_backups_of_before_and_after_an_archiving_are_restored(old, tmp_path):
    key = age_key(tmp_path)
    assert old.at(LATER, "store", "backup", "before.age", "--recipient", key.recipient, "-q").code == 0
    late = issued(old, "--ttl", "3h", at=LATER)
    assert archive(old).code == 0
    assert old.at(LATER, "store", "backup", "after.age", "--recipient", key.recipient, "-q").code == 0
    assert old.at(LATER, "revoke", late, "--yes", "-q").code == 0
    root = verified(old)[1]["root"]
    for name, bodies in (("after.age", 4), ("before.age", 0), ("after.age", 4)):
        done = old.at(LATER, "store", "restore", name, "--identity", key.path, "--yes", "-q")
        assert done.code == 0, done
        code, report = verified(old)
        assert (code, report["archived"]) == (0, bodies)
        assert report["root"] != root
        with_file = old.at(LATER, "audit", "verify", "--archive", FILE)
        assert with_file.code == (0 if bodies else 10), with_file
    assert verified(old, "--archive", FILE)[1]["archived"] == 0


def test_what_was_revoked_and_archived_since_a_backup_stays_revoked_after_its_restore(cli, tmp_path):
    key = age_key(tmp_path)
    token = issued(cli, "--ttl", "30m")
    suspended = issued(cli, "--ttl", "30m")
    parent = issued(cli, "--ttl", "12h", "--max-uses", "5")
    assert cli.at(NOW, "store", "backup", "b.age", "--recipient", key.recipient, "-q").code == 0
    assert cli.at(NOW, "revoke", token, "--reason", "compromised", "--ticket", "T-1", "--yes", "-q").code == 0
    assert cli.at(NOW, "revoke", suspended, "--suspend", "--yes", "-q").code == 0
    assert cli.at(NOW, "revoke", parent, "--yes", "-q").code == 0
    assert archive(cli).code == 0
    assert len(gone(cli)) == 6
    # The clock of the restore stands before all of it had ended.
    done = cli.at(NOW + 60_000, "store", "restore", "b.age", "--identity", key.path, "--yes", "-o", "json")
    assert done.code == 0, done
    assert verified(cli, at=NOW + 60_000)[0] == 0
    told = cli.at(NOW + 60_000, "list", "--state", "all", "-o", "json").json["tokens"]
    states = {each["id"]: each["state"] for each in told}
    assert states == {token: "revoked", parent: "revoked", suspended: "suspended"}
    revoked = next(each["revoked"] for each in told if each["id"] == token)
    assert (revoked["reason"], revoked["ticket"]) == ("compromised", "T-1")


def test_a_long_archiving_lets_others_in_between_and_every_part_is_told(cli):
    made = cli.at(NOW, "issue", "--subject", "bulk", "--count", "9000", "--out", "tokens", "-q")
    assert made.code == 0, made.err
    done = archive(cli, "-o", "json")
    assert (done.code, done.json["archived"]) == (0, 9000)
    records = done.json["records"]
    assert len(records) > 1
    assert done.json["freed"] > 9000 * 500  # bytes: pages that are nearly empty are joined
    assert len(rows(cli.store, "SELECT 1 FROM record WHERE operation = 'log.archive'")) == len(records)
    assert verified(cli)[1]["archived"] == 9000
    assert verified(cli, "--archive", FILE)[1]["archived"] == 0
    last = records[-1]
    change(cli.store, f"UPDATE record SET body = CAST('{last}' AS BLOB) WHERE seq = 2")  # of the first part
    assert verified(cli)[0] == 10


def test_the_bodies_lie_nowhere_in_the_store_any_more(old):
    archive(old)
    folder = old.store.parent
    assert not any(b"greedy" in path.read_bytes() for path in folder.iterdir())
    copy = old.home / "copy"
    shutil.copytree(folder, copy)
    assert b"greedy" in (old.home / FILE).read_bytes()
    assert json.loads(old.at(LATER, "audit", "verify", "-o", "json").out)["archived"] == 4
