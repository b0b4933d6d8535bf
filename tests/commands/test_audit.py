"""``audit`` and ``store release``: what happened, whether it can be believed, and accepting it all the same."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
SOUND = "OK (anchored locally only): log and state check out; the anchor beside them agrees\n"
REWRITABLE = "no head of this log ever left the store: the holder of its key could rewrite all {}\n"
KEYS = {
    "v",
    "seq",
    "time",
    "operation",
    "actor",
    "target",
    "subject",
    "owner",
    "kind",
    "format",
    "scope",
    "audience",
    "expires_at",
    "parent",
    "kid",
    "outcome",
    "reason",
    "ticket",
    "request_id",
    "policy",
    "commitment",
    "duration_ms",
}


def log(cli, *arguments):
    done = cli("audit", "log", "-o", "jsonl", *arguments)
    assert done.code == 0, done.err
    return done.lines


def test_without_a_store_there_is_nothing_to_tell(cli):
    for arguments in (("audit",), ("audit", "log")):
        done = cli(*arguments)
        assert (done.code, done.out, done.err) == (0, "", "")
    assert cli("audit", "log", "-o", "json").json == {"records": [], "next": None, "previous": None, "traces": [], "warnings": []}
    assert cli("audit", "show", UNKNOWN).code == 5
    assert cli("audit", "verify").code == 0
    assert list(cli.home.iterdir()) == []


def test_every_change_is_a_record(cli):
    token = cli.token("--scope", "a", "--request-id", "R1")
    identifier = cli.id_of(token)
    cli("issue", "--subject", "greedy", "--ttl", "25h")
    cli("revoke", identifier, "--reason", "compromised", "--ticket", "INC-1", "--yes")
    records = log(cli)
    assert [record["seq"] for record in records] == [1, 2, 3, 4]
    assert [record["operation"] for record in records] == ["store.create", "token.issue", "token.deny", "token.revoke"]
    assert all(set(record) >= KEYS and "id" not in record for record in records)
    issued, revoked = records[1], records[3]
    assert (issued["target"], issued["subject"], issued["scope"], issued["request_id"]) == (identifier, "someone", ["a"], "R1")
    assert (revoked["target"], revoked["reason"], revoked["ticket"]) == (identifier, "compromised", "INC-1")
    assert all(record["actor"] and record["time"].endswith("Z") for record in records)
    assert cli("audit", "-o", "jsonl").lines == records
    assert cli("audit", "log", "-o", "json").json["records"] == records
    shown = cli("audit", "show", identifier, "-o", "jsonl")
    assert (shown.code, shown.lines) == (0, [issued, revoked])
    columns = [line.split("\t") for line in cli("audit", "log").out.splitlines()]
    assert [row[0] for row in columns] == ["1", "2", "3", "4"]
    assert {len(row) for row in columns} == {9}
    assert columns[3][2:4] == ["token.revoke", identifier]


def test_records_are_chosen(cli):
    cli.token()
    cli.token("--request-id", "R1")
    actor = cli("audit", "log").out.split("\t")[4]
    for arguments, chosen in (
        (("--operation", "token.issue"), [2, 3]),
        (("--operation", "token.issue", "--operation", "store.create"), [1, 2, 3]),
        (("--request-id", "R1"), [3]),
        (("--actor", actor), [1, 2, 3]),
        (("--actor", "nobody@nowhere"), []),
        (("--since", "2h"), [1, 2, 3]),
        (("--until", "2h"), []),
        (("--since", "+1h"), []),
        (("--limit", "2"), [2, 3]),
        (("--since", "9999-12-31"), []),
    ):
        assert [record["seq"] for record in log(cli, *arguments)] == chosen, arguments
    for arguments in (("--limit", "0"), ("--since", "soon"), ("--since", "-5"), ("--until", "1y")):
        assert cli("audit", "log", *arguments).code == 2
    for target in ("x", UNKNOWN + "1", ""):
        done = cli("audit", "show", target)
        assert (done.code, done.out) == (2, "")
    unknown = cli("audit", "show", UNKNOWN)
    assert (unknown.code, unknown.out) == (5, "")
    assert unknown.err.startswith(f"tokenctl: no record of {UNKNOWN} in profile local (local, ~/.local/share/")


def test_a_key_has_a_life_too(cli):
    cli.token("--format", "jwt", "--audience", "a")
    kid = cli("rotate-keys", "status", "-o", "json").json["keys"][0]["kid"]
    assert [record["operation"] for record in cli("audit", "show", kid, "-o", "jsonl").lines] == ["key.create", "key.activate"]


def test_a_sound_log_checks_out(cli):
    cli.token()
    done = cli("audit", "verify")
    assert (done.code, done.out, done.err) == (0, SOUND + "2 records, 1 token, 0 keys\n" + REWRITABLE.format(2), "")
    assert cli("audit", "verify", "-q").out == ""
    document = cli("audit", "verify", "-o", "json").json
    assert (document["verdict"], document["flaws"], document["records"]) == ("OK (anchored locally only)", [], 2)


CHANGES = {
    "a subject": "UPDATE token SET subject = 'eve'",
    "a lifetime": "UPDATE token SET expires_at = expires_at + 1000000",
    "a verifier": "UPDATE token SET verifier = zeroblob(32)",
    "a revocation": "UPDATE token SET revoked_at = NULL, reason = NULL, revoked_by = NULL",
    "a scope": "UPDATE tag SET value = 'admin' WHERE name = 'scope'",
    "a new scope": "INSERT INTO tag SELECT name, 'admin', expires_at, token FROM tag WHERE name = 'scope' LIMIT 1",
    "a lost scope": "DELETE FROM tag WHERE name = 'scope'",
    "a record's body": "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'someone', 'anybody') AS BLOB) WHERE seq = 2",
    "a record's time": "UPDATE record SET time = time + 1 WHERE seq = 2",
    "a lost record": "DELETE FROM record WHERE seq = 2",
    "a lost end": "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)",
    "a lost token": "DELETE FROM token",
}


def change(cli, sql):
    connection = sqlite3.connect(cli.store, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(sql)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_found_and_nothing_is_active_then(cli, sql):
    token = cli.token("--scope", "a", "--ttl", "1h")
    dead = cli.token("--scope", "b")
    cli("revoke", cli.id_of(dead), "--yes")
    change(cli, sql)
    assert cli("inspect", "-", "-q", input=dead).code in (3, 10)
    found = cli("audit", "verify")
    assert found.code == 10
    assert "flaw: " in found.out
    assert "Traceback" not in found.err
    for text in (token, dead):
        assert cli("inspect", "-", "-q", input=text).code in (3, 10)
    refused = cli("issue", "--subject", "s")
    assert (refused.code, refused.out) == (10, "")
    machine = cli("audit", "verify", "-o", "json")
    assert (machine.code, bool(machine.json["flaws"])) == (10, True)
    assert cli("audit", "log").code == 0


def test_an_old_copy_is_found_and_its_revoked_tokens_stay_dead(cli):
    token = cli.token("--ttl", "1h")
    copies = cli.home / "copies"
    shutil.copytree(cli.store.parent, copies)
    cli("revoke", cli.id_of(token), "--yes")
    shutil.rmtree(cli.store.parent)
    shutil.copytree(copies, cli.store.parent)
    for _ in range(2):
        done = cli("inspect", "-", input=token)
        assert (done.code, done.out) == (10, "")
        assert cli("audit", "verify").code == 10
    assert cli("issue", "--subject", "s").code == 10
    dead = cli("revoke", cli.id_of(token), "--yes", "-o", "json")
    assert dead.json["targets"][0]["outcome"] == "revoked"
    assert cli("inspect", "-", "-q", input=token).code in (3, 10)


def test_a_quarantined_store_is_released_with_a_record(cli):
    token = cli.token("--ttl", "1h")
    copies = cli.home / "copies"
    shutil.copytree(cli.store.parent, copies)
    cli.token()
    shutil.rmtree(cli.store.parent)
    shutil.copytree(copies, cli.store.parent)
    assert cli("inspect", "-", input=token).code == 10
    for arguments in ((), ("--reason", ""), ("--reason", "x" * 500), ("--reason", "r")):
        done = cli("store", "release", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
    assert cli("inspect", "-", input=token).code == 10
    released = cli("store", "release", "--reason", "restored after a disk failure", "--yes")
    assert released.code == 0
    assert released.out.startswith("released\t")
    assert cli("inspect", "-", input=token).code == 0
    record = log(cli, "--operation", "store.release")[0]
    assert record["reason"] == "restored after a disk failure"
    again = cli("store", "release", "--reason", "r", "--yes")
    assert (again.code, again.out) == (0, "")
    assert cli("issue", "--subject", "s").code == 0


def test_a_sound_store_needs_no_release(cli):
    none = cli("store", "release", "--reason", "r", "--yes")
    assert (none.code, none.out, none.err) == (5, "", "tokenctl: profile local has no store\nhint: the first issue makes it\n")
    assert list(cli.home.iterdir()) == []
    cli.token()
    before = cli("audit", "log").out
    assert cli("store", "release", "--reason", "r", "--yes").code == 0
    assert cli("audit", "log").out == before


def test_a_lost_anchor_is_told_once_and_made_anew(cli):
    cli.token()
    cli.anchor.unlink()
    first = cli("audit", "verify", "-o", "json")
    assert (first.code, first.json["verdict"]) == (0, "UNANCHORED")
    done = cli("issue", "--subject", "s")
    assert done.code == 0
    assert done.err.startswith("warning: ")
    assert cli.anchor.exists()
    assert json.loads(cli("audit", "verify", "-o", "json").out)["verdict"] == "OK (anchored locally only)"
