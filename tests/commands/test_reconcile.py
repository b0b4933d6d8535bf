"""``audit reconcile``: what never arrived and what has come due is told one by one and settled, exactly once."""

from __future__ import annotations

import fcntl
import json

import pytest

from tests.commands.test_review import at_a_terminal, run_line
from tests.faults.conftest import change, rows

DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
T = 1_700_000_000_000  # 2023-11-14T22:13:20Z
ISSUE = ("issue", "--subject", "s", "--owner", "o", "-q")


def issue_at(cli, now, *arguments):
    done = cli.at(now, *ISSUE, *arguments)
    assert done.code == 0, done.err
    return cli.id_of(done.out.strip())


def lose(cli, *ids):
    """Let it look as if these had never arrived."""
    change(cli.store, *(f"UPDATE token SET delivered_at = NULL WHERE id = '{identifier}'" for identifier in ids))


def columns(done):
    return [line.split("\t") for line in done.out.splitlines()]


def reasons(cli):
    found = rows(cli.store, "SELECT target, operation, body FROM record WHERE operation IN ('token.revoke', 'token.lift')")
    return [(target, operation, json.loads(body)["reason"]) for target, operation, body in found]


def test_an_undelivered_token_is_revoked_with_its_record_and_told_with_the_way_to_another(cli):
    token = issue_at(cli, T, "--scope", "a:b", "--audience", "x", "--label", "k=v w", "--ttl", "14m")
    lose(cli, token)
    done = cli.at(T + 2 * MINUTE, "audit", "reconcile")
    again = (
        f"tokenctl issue --subject s --owner o --kind access --format opaque --scope a:b --audience x --label 'k=v w' "
        f"--ttl 14m --out {token}.token"
    )
    detail = "access token of o for s, issued 2m ago"
    assert (done.code, done.err) == (0, "")
    assert columns(done) == [[token, "undelivered", "revoked", "2023-11-14T22:15:20Z", detail, again]]
    assert reasons(cli) == [(token, "token.revoke", "undelivered")]
    assert cli.at(T + 2 * MINUTE, "audit", "reconcile") == type(done)(0, "", "")
    assert cli.at(T + 2 * MINUTE, "audit", "verify", "-q").code == 0
    assert reasons(cli) == [(token, "token.revoke", "undelivered")]


def test_the_way_to_another_works_as_it_is_printed(cli):
    token = cli.id_of(cli.token("--scope", "a", "--label", "k=it's", "--note", "for $HOME", "--max-uses", "3", "--ttl", "90s"))
    cli.token("--format", "jwt", "--algorithm", "EdDSA", "--audience", "x", "--kind", "service", "--scope", "a")
    ((signed,),) = rows(cli.store, "SELECT id FROM token WHERE format = 'jwt'")
    change(cli.store, "UPDATE token SET delivered_at = NULL")
    ahead = int(str(rows(cli.store, "SELECT max(issued_at) FROM token")[0][0])) + MINUTE
    settled = cli.at(ahead, "audit", "reconcile", "-o", "json").json["settled"]
    assert [(each["id"], each["what"], each["outcome"]) for each in settled] == [
        (token, "undelivered", "revoked"), (signed, "undelivered", "revoked"),
    ]  # fmt: skip
    kept = ("kind", "format", "subject", "owner", "scope", "audience", "labels", "note", "max_uses")
    for each in settled:
        line = each["mend"].replace("tokenctl ", "python -m tokenctl ", 1)
        made = run_line(cli, line)
        assert made.returncode == 0, made.stderr
        old, new = (cli("inspect", name, "-o", "json").json for name in (each["id"], made.stdout.decode().strip()))
        assert {name: old[name] for name in kept} == {name: new[name] for name in kept}
        assert (cli.home / f"{each['id']}.token").exists()
    algorithms = rows(cli.store, "SELECT key.alg FROM token JOIN key USING (kid) WHERE revoked_at IS NULL")
    assert algorithms == [("EdDSA",)]


def test_a_token_within_its_minute_is_pending_and_left_alone(cli):
    token = issue_at(cli, T)
    lose(cli, token)
    for arguments in ((), ("-n",)):
        done = cli.at(T + MINUTE - 1, "audit", "reconcile", *arguments)
        assert (done.code, [row[:4] for row in columns(done)]) == (0, [[token, "undelivered", "pending", "2023-11-14T22:14:20Z"]])
    assert reasons(cli) == []
    assert columns(cli.at(T + MINUTE, "audit", "reconcile"))[0][2] == "revoked"


def test_graces_and_suspensions_that_ended_are_settled_too(cli):
    replaced = issue_at(cli, T, "--ttl", "20h")
    assert cli.at(T, "issue", "--replace", replaced, "--grace", "1h", "-q").code == 0
    lifted, ended = issue_at(cli, T, "--ttl", "20h"), issue_at(cli, T, "--ttl", "20h")
    for token, then in ((lifted, "lift"), (ended, "revoke")):
        assert cli.at(T, "revoke", token, "--suspend", "--for", "2h", "--then", then, "--yes", "-q").code == 0
    assert cli.at(T + HOUR - 1, "audit", "reconcile").out == ""
    done = cli.at(T + 2 * HOUR, "audit", "reconcile", "-o", "jsonl")
    assert sorted((line["id"], line["what"], line["outcome"], line["mend"]) for line in done.lines) == sorted(
        [(replaced, "grace", "revoked", None), (lifted, "suspension", "lifted", None), (ended, "suspension", "revoked", None)]
    )
    assert cli.at(T + 2 * HOUR, "audit", "verify", "-q").code == 0


def test_the_token_of_a_dead_run_is_settled(cli):
    token = issue_at(cli, T)
    child = cli("issue", "--subject", "s", "--", "sh", "-c", "kill -9 $PPID")
    assert child.code < 0
    ((dead,),) = rows(cli.store, "SELECT id FROM token WHERE run IS NOT NULL AND revoked_at IS NULL")
    done = cli("audit", "reconcile", "-o", "jsonl")
    assert [(line["id"], line["what"], line["outcome"]) for line in done.lines] == [(dead, "run", "revoked")]
    assert token != dead


def test_a_preview_changes_nothing_and_wins_over_quiet(cli):
    token = issue_at(cli, T)
    lose(cli, token)
    before = cli.store.read_bytes()
    for arguments in (("-n",), ("-n", "-q")):
        done = cli.at(T + MINUTE, "audit", "reconcile", *arguments)
        assert (done.code, columns(done)[0][:3]) == (0, [token, "undelivered", "revoked"])
    assert cli.at(T + MINUTE, "audit", "reconcile", "-n", "-o", "json").json["dry_run"] is True
    assert cli.store.read_bytes() == before


def test_quiet_prints_nothing_and_json_has_every_key(cli):
    token = issue_at(cli, T)
    lose(cli, token)
    empty = cli.at(T, "audit", "reconcile", "-o", "json").json
    assert list(empty) == ["settled", "dry_run", "counts", "profile", "warnings"]
    assert empty["counts"] == {"revoked": 0, "lifted": 0, "absent": 0, "lapsed": 0, "pending": 1, "waiting": 0}
    assert list(empty["settled"][0]) == ["id", "what", "outcome", "at", "detail", "mend"]
    done = cli.at(T + MINUTE, "audit", "reconcile", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert reasons(cli) == [(token, "token.revoke", "undelivered")]


def test_in_quarantine_what_denies_is_settled_and_what_would_lift_waits(cli):
    lifted, lost = issue_at(cli, T, "--ttl", "20h"), issue_at(cli, T)
    assert cli.at(T, "revoke", lifted, "--suspend", "--for", "1m", "--then", "lift", "--yes", "-q").code == 0
    lose(cli, lost)
    assert cli.at(T, "store", "seal", "--reason", "r", "-q").code == 0
    for arguments in (("-n",), ()):
        done = cli.at(T + MINUTE, "audit", "reconcile", *arguments)
        assert (done.code, [row[:3] for row in columns(done)]) == (
            11, [[lost, "undelivered", "revoked"], [lifted, "suspension", "waiting"]],
        )  # fmt: skip
        assert "quarantined" in done.err
    done = cli.at(T + MINUTE, "audit", "reconcile", "-q")
    assert (done.code, done.out) == (11, "")
    assert f"not settled: {lifted}, " in done.err


def test_a_suspension_that_cannot_be_lifted_keeps_no_other_from_it(cli):
    broken, lifted = issue_at(cli, T, "--ttl", "20h"), issue_at(cli, T, "--ttl", "20h")
    for token, duration in ((broken, "1m"), (lifted, "2m")):
        assert cli.at(T, "revoke", token, "--suspend", "--for", duration, "--then", "lift", "--yes", "-q").code == 0
    change(cli.store, f"UPDATE token SET note = 'changed' WHERE id = '{broken}'")
    done = cli.at(T + HOUR, "audit", "reconcile")
    assert (done.code, [row[:3] for row in columns(done)]) == (
        11, [[lifted, "suspension", "lifted"], [broken, "suspension", "waiting"]],
    )  # fmt: skip


def test_more_than_one_transaction_takes_is_settled_in_one_run(cli):
    assert cli.at(T, "issue", "--subject", "s", "--count", "1200", "-q").code == 0
    change(cli.store, "UPDATE token SET delivered_at = NULL")
    done = cli.at(T + MINUTE, "audit", "reconcile")
    assert (done.code, len(done.out.splitlines()), len({row[0] for row in columns(done)})) == (0, 1200, 1200)
    assert rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NULL") == [(0,)]


def test_a_busy_store_ends_with_7_and_says_to_run_again(cli):
    token = issue_at(cli, T)
    lose(cli, token)
    with (cli.store.parent / "store.lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = cli.at(T + MINUTE, "audit", "reconcile", "--timeout", "1s")
    assert (done.code, done.out) == (7, "")
    assert done.err.startswith("tokenctl: ")
    assert reasons(cli) == []


@pytest.mark.parametrize("name", ["[x](y) \x1b[31m\u202e", "o'brien $(touch pwned)"])
def test_a_hostile_name_is_data(cli, name):
    done = cli.at(T, "issue", "--subject", name, "-q")
    lose(cli, cli.id_of(done.out.strip()))
    out = cli.at(T + MINUTE, "audit", "reconcile").out
    (row,) = [line.split("\t") for line in out.splitlines()]
    assert len(row) == 6
    assert "\x1b" not in out
    assert (row[5] == "-") == ("\x1b" in name)  # no line can hold such a name
    assert ("'o'\"'\"'brien $(touch pwned)'" in row[5]) == ("brien" in name)


def test_without_a_store_there_is_nothing_to_settle_and_nothing_is_made(cli):
    done = cli("audit", "reconcile")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert cli("audit", "reconcile", "-o", "json").json["settled"] == []
    assert "nothing to settle: profile local" in at_a_terminal(cli, "audit", "reconcile")
    assert list(cli.home.iterdir()) == []


def test_a_terminal_says_what_became_of_each_and_how_many_they_were(cli):
    token = cli.id_of(cli.token())
    change(cli.store, "UPDATE token SET delivered_at = NULL")
    shown = at_a_terminal(cli, "audit", "reconcile")
    assert f"pending  {token}  undelivered, access token of " in shown
    assert "1 pending: profile local" in shown
    assert "1 pending, not done yet: profile local" in at_a_terminal(cli, "audit", "reconcile", "-n")
