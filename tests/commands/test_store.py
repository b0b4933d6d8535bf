"""``store info`` and ``store accept-clock``: what a store is, and going on from a clock that was corrected."""

from __future__ import annotations

import re
import sqlite3
import time

import pytest

from tokenctl.model.times import format_instant
from tokenctl.model.token import DELIVERY_DEADLINE

MINUTE = 60_000
YEAR = 365 * 86_400_000
NAMES = (
    "profile", "path", "store_id", "root_secret_place", "root_secret", "anchor_path", "created_at", "schema", "sqlite",
    "file_size", "log_size", "read_only", "tokens", "unexpired", "living", "waiting", "keys", "records", "last_record_at",
    "root", "anchor", "anchor_size", "quarantine", "last_backup_at", "root_secret_version",
)  # fmt: skip


def now() -> int:
    return time.time_ns() // 1_000_000


def sql(cli, statement, *values):
    connection = sqlite3.connect(cli.store, isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def info(cli, *arguments):
    done = cli("store", "info", "-o", "json", *arguments)
    assert (done.code, done.err) == (0, ""), done
    return done.json


# store info


def test_info_without_a_store_is_not_found_and_makes_nothing(cli):
    done = cli("store", "info")
    assert (done.code, done.out) == (5, "")
    assert done.err == "tokenctl: profile local has no store\nhint: the first issue makes it\n"
    assert list(cli.home.iterdir()) == []


def test_info_tells_what_an_operator_wants_to_know(cli):
    cli.token("--ttl", "1h")
    cli.token("--format", "jwt", "--audience", "a")
    cli("revoke", cli.id_of(cli.token()), "--yes", "-q")
    facts = info(cli)
    assert tuple(facts) == (*NAMES, "warnings")
    assert (facts["profile"], facts["path"], facts["root_secret"]) == ("local", str(cli.store), str(cli.root_secret))
    assert (facts["root_secret_place"], facts["anchor_path"]) == ("file", str(cli.anchor))
    assert (facts["tokens"], facts["unexpired"], facts["living"], facts["waiting"], facts["keys"]) == (3, 3, 2, 0, 1)
    assert (facts["records"], facts["anchor"], facts["anchor_size"], facts["quarantine"]) == (7, "agrees", 7, None)
    assert (facts["file_size"], facts["log_size"], facts["read_only"]) == (cli.store.stat().st_size, 0, False)
    assert facts["schema"] == sql(cli, "PRAGMA user_version")[0][0]
    assert facts["root"] == cli("audit", "verify", "-o", "json").json["root"]
    assert [facts["last_record_at"]] == [format_instant(row[0]) for row in sql(cli, "SELECT max(time) FROM record")]
    assert facts["created_at"] <= facts["last_record_at"]


def test_info_is_data_that_quiet_does_not_hide_tab_separated_in_a_fixed_order(cli):
    cli.token()
    loud, quiet = cli("store", "info"), cli("store", "info", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, loud.out, "")
    rows = [line.split("\t") for line in loud.out.splitlines()]
    assert tuple(name for name, _ in rows) == NAMES
    told = dict(rows)
    assert (told["read_only"], told["quarantine"], told["tokens"], told["anchor"]) == ("no", "-", "1", "agrees")
    assert cli("store", "info", "-o", "jsonl").json == info(cli)


def test_info_tells_how_the_anchor_stands_and_why_a_store_is_quarantined(cli):
    cli.token()
    old = cli.anchor.read_bytes()
    cli.token()
    new = cli.anchor.read_bytes()
    cli.anchor.write_bytes(old)
    assert (info(cli)["anchor"], info(cli)["anchor_size"], info(cli)["quarantine"]) == ("behind", 2, None)
    cli.anchor.write_bytes(b"rubbish")
    assert (info(cli)["anchor"], info(cli)["quarantine"]) == ("damaged", "DIVERGED: the anchor file is damaged")
    cli.anchor.write_bytes(new.replace(b"\n3\n", b"\n4\n"))
    assert (info(cli)["anchor"], info(cli)["anchor_size"]) == ("ahead", 4)
    assert info(cli)["quarantine"] == "TRUNCATED: the store is 1 record behind its anchor"
    store_id = info(cli)["store_id"].encode()
    cli.anchor.write_bytes(new.replace(store_id, store_id[::-1]))
    assert info(cli)["anchor"] == "foreign"
    cli.anchor.unlink()
    done = cli("store", "info")
    assert (done.code, "anchor\tabsent\n" in done.out, done.err.startswith("warning: no anchor at ")) == (0, True, True)


def test_info_counts_tokens_whose_delivery_is_not_known(cli):
    cli.token("--ttl", "1h")
    sql(cli, "UPDATE token SET delivered_at = NULL")
    assert info(cli)["waiting"] == 0
    later = cli.at(now() + DELIVERY_DEADLINE + 1000, "store", "info", "-o", "json")
    assert (later.code, later.json["waiting"], later.json["living"]) == (0, 1, 1)


# store accept-clock


def test_without_a_store_there_is_no_clock_to_accept(cli):
    done = cli("store", "accept-clock", "--yes")
    assert (done.code, done.out, done.err) == (5, "", "tokenctl: profile local has no store\nhint: the first issue makes it\n")
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize("ahead", [0, 4 * MINUTE])
def test_a_clock_that_issue_bears_is_nothing_to_accept(cli, ahead):
    cli.token()
    cli.at(now() + ahead, "issue", "--subject", "s")
    before = cli("audit", "log").out
    done = cli("store", "accept-clock", "--yes")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert cli("store", "accept-clock", "-o", "json").json["accepted"] is False
    assert cli("audit", "log").out == before


def test_an_accepted_clock_lets_issue_work_again_and_is_a_record(cli):
    cli.token("--ttl", "1h")
    ahead = now() + YEAR
    cli.at(ahead, "issue", "--subject", "early", "-q")
    refused = cli("issue", "--subject", "s")
    assert (refused.code, refused.out) == (7, "")
    assert refused.err.endswith("hint: set the clock; or, if it is right, accept it: python -m tokenctl store accept-clock\n")
    for arguments in ((), ("--reason", " "), ("--reason", "x" * 201, "--yes")):
        unasked = cli("store", "accept-clock", *arguments)
        assert (unasked.code, unasked.out) == (2, ""), unasked
    assert cli("issue", "--subject", "s").code == 7
    done = cli("store", "accept-clock", "--yes", "--reason", "the time server was wrong")
    assert (done.code, done.err) == (0, "")
    word, before, after, count, request = done.out.rstrip("\n").split("\t")
    assert (word, before, count) == ("accepted", format_instant(ahead), "2")
    assert abs(sql(cli, "SELECT max(time) FROM record WHERE operation = 'store.clock'")[0][0] - now()) < MINUTE
    assert cli("issue", "--subject", "s").code == 0
    records = cli("audit", "log", "--request-id", request, "-o", "jsonl").lines
    assert [record["operation"] for record in records] == ["store.clock", "token.revoke", "token.revoke"]
    assert (records[0]["reason"], records[0]["time"]) == ("the time server was wrong", after)
    verified = cli("audit", "verify")
    assert (verified.code, verified.out.splitlines()[0].split(":")[0]) == (0, "OK (anchored locally only)")
    assert info(cli)["anchor"] == "agrees"
    assert cli("store", "accept-clock", "--yes").out == ""


def test_accepting_in_json_names_what_ended(cli):
    dead, living = (cli.id_of(cli.token("--ttl", "1h")) for _ in range(2))
    cli.at(now() + YEAR, "revoke", dead, "--yes", "-q")
    done = cli("store", "accept-clock", "--yes", "-o", "json")
    assert done.code == 0
    assert set(done.json) == {"accepted", "profile", "clock", "last_record", "request_id", "ended", "suspended", "warnings"}
    assert (done.json["accepted"], done.json["profile"], done.json["ended"]) == (True, "local", [living])


def test_a_clock_that_was_never_set_is_not_accepted(cli):
    cli.token()
    done = cli.at(0, "store", "accept-clock", "--yes")
    assert (done.code, done.out) == (7, "")
    assert done.err == "tokenctl: the clock says 1970-01-01T00:00:00Z: it was never set\nhint: set the clock, then run again\n"
    assert cli("audit", "log", "--operation", "store.clock").out == ""


def test_a_quarantined_store_accepts_no_clock(cli):
    cli.token()
    cli.at(now() + YEAR, "issue", "--subject", "s", "-q")
    cli.anchor.write_bytes(b"rubbish")
    done = cli("store", "accept-clock", "--yes")
    assert (done.code, done.out) == (10, "")
    assert "the store is quarantined: DIVERGED" in done.err
    assert cli("store", "release", "--reason", "r", "--yes", "-q").code == 0
    assert cli("store", "accept-clock", "--yes", "-q").code == 0
    assert cli("issue", "--subject", "s").code == 0
    assert cli("audit", "verify", "-q").code == 0


def test_quiet_leaves_the_outcome_to_the_exit_code(cli):
    cli.token()
    cli.at(now() + YEAR, "issue", "--subject", "s", "-q")
    done = cli("store", "accept-clock", "--yes", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("sub", ["info", "accept-clock", "release"])
def test_each_help_has_three_examples_and_the_exit_codes(cli, sub):
    told = cli("store", sub, "--help").out
    assert len(re.findall(r"^    tokenctl ", told, re.MULTILINE)) == 3
    assert re.findall(r"^    (\d+) ", told, re.MULTILINE) == ["0", "2", "4", "5", "7", "9", "10"]
