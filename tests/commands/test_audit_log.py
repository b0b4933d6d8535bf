"""``audit log``: every question alone and crossed, tokens that prove themselves, pages, and following."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.commands.backups import age_key
from tests.conftest import PROGRAM

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
DAY = 24 * 60 * 60 * 1000
PATIENCE = 20  # seconds


def seqs(cli, *arguments, **options):
    done = cli("audit", "log", "-o", "jsonl", *arguments, **options)
    assert done.code == 0, done.err
    return [record["seq"] for record in done.lines]


def ids(cli, *arguments):
    return [cli.id_of(line) for line in cli("issue", "-q", *arguments).out.splitlines()]


@pytest.fixture
def told(cli):
    """One record after the other: 1 store, 2 a, 3 denied bob, 4 b with parent a, 5-6 key, 7 jwt, 8 a revoked, 9 b with it."""
    a = cli("issue", "--subject", "ci-a", "--owner", "alice", "--scope", "x", "--label", "app=web", "-q").out.strip()
    assert cli("issue", "--subject", "bob", "--owner", "bert", "--scope", "y", "--ttl", "99d", "--request-id", "R9").code == 12
    b = cli(
        "issue", "--subject", "ci-b", "--owner", "alice", "--scope", "x", "--parent", cli.id_of(a), "--max-uses", "2",
        "--ttl", "5m", "--request-id", "R4", "-q",
    ).out.strip()  # fmt: skip
    j = cli("issue", "--subject", "gw", "--owner", "bert", "--format", "jwt", "--audience", "api.example", "-o", "json").json
    done = cli("revoke", str(j["id"]), "--reason", "compromised", "--ticket", "INC-1", "--yes", "-o", "json").json
    cli("inspect", "-", "--use", "-q", input=b)
    return {"a": a, "b": b, "jwt": j["token"], "jwt_id": j["id"], "request": done["request_id"], "kid": j["kid"]}


def test_every_selector_alone_and_crossed(cli, told):
    everything = cli("audit", "log", "-o", "jsonl").lines
    operations = [record["operation"] for record in everything]
    assert operations == [
        "store.create", "token.issue", "token.deny", "token.issue", "key.create", "key.activate", "token.issue",
        "token.revoke", "token.use",
    ]  # fmt: skip
    a = cli.id_of(told["a"])
    actor = f"{everything[0]['actor']['name']}@{everything[0]['actor']['host']}"
    for arguments, chosen in (
        (("--subject", "ci-a"), [2]),
        (("--subject", "ci-*"), [2, 4, 9]),
        (("--subject", "bob"), [3]),
        (("--subject", "ci-a", "--subject", "bob"), [2, 3]),
        (("--owner", "alice"), [2, 4, 9]),
        (("--owner", "b*"), [3, 7, 8]),
        (("--scope", "x"), [2, 4, 9]),
        (("--scope", "y"), [3]),
        (("--audience", "api.*"), [7, 8]),
        (("--kind", "access"), [2, 3, 4, 7, 8, 9]),
        (("--kind", "service"), []),
        (("--format", "jwt"), [7, 8]),
        (("--format", "opaque"), [2, 3, 4, 9]),
        (("--kid", told["kid"]), [5, 6, 7, 8]),
        (("--kid", told["kid"], "--owner", "bert"), [7, 8]),
        (("--label", "app"), [2]),
        (("--label", "app=db"), []),
        (("--parent", a), [4, 9]),
        (("--batch", "R4"), [4, 9]),
        (("--batch", "R9"), [3]),
        (("--state", "revoked"), [7, 8]),
        (("--state", "active"), [2, 4, 9]),
        (("--state", "all"), [2, 3, 4, 7, 8, 9]),
        (("--state", "undelivered"), []),
        (("--never-used", "--format", "opaque"), [2]),
        (("--expires-before", "+10m"), [4, 9]),
        (("--issued-after", "+1h"), []),
        (("--owner", "alice", "--operation", "token.use"), [9]),
        (("--owner", "bert", "--operation", "token.deny"), [3]),
        (("--owner", "bert", "--ticket", "INC-1"), [8]),
        (("--owner", "bert", "--since", "1h", "--until", "now", "--limit", "1"), [8]),
        (("--owner", "alice", "--target", a), [2]),
        (("--target", a, "--target", told["kid"]), [2, 5, 6]),
        (("--target", UNKNOWN), []),
        (("--ticket", "INC-1"), [8]),
        (("--ticket", "INC-1", "--ticket", "INC-2"), [8]),
        (("--ticket", "INC-2"), []),
        (("--request-id", told["request"]), [8]),
        (("--request-id", "R9", "--actor", actor), [3]),
        (("--operation", "token.*"), [2, 3, 4, 7, 8, 9]),
        (("--operation", "key.*", "--operation", "store.create"), [1, 5, 6]),
        (("--actor", actor, "--operation", "token.issue"), [2, 4, 7]),
        (("--since", "1h", "--operation", "token.use", "--operation", "token.revoke"), [8, 9]),
        (("--since", "1h", "--until", "-1m"), []),
    ):
        assert seqs(cli, *arguments) == chosen, arguments


def test_what_is_malformed_is_refused(cli, told):
    for arguments in (
        ("--operation", "token.nothing"), ("--operation", "token"), ("--operation", "*"), ("--target", "x"), ("--token", "x"),
        ("--token", "-", "--owner", "alice"), ("--token", "-", "--target", UNKNOWN), ("--after", "-1"), ("--before", "0"),
        ("--follow", "-o", "json"), ("--follow", "--until", "now"), ("--follow", "--before", "3"), ("--kind", "nothing"),
        ("--state", "dead"), ("--subject", ""), ("--parent", "x"), ("--actor", "root"), ("--actor", "root@"), ("--actor", "@vm"),
        ("--actor", "root@*"), ("--actor", "*"), ("--ticket", ""), ("--request-id", ""), ("--request-id", "R*"),
        ("--ticket", "INC-1", "--ticket", ""), ("--since", "1h", "--until", "2h"), ("--since", "now", "--until", "today"),
    ):  # fmt: skip
        done = cli("audit", "log", *arguments, input=told["a"])
        assert (done.code, done.out) == (2, ""), arguments
    unknown = cli("audit", "log", "--operation", "token.nothing")
    assert "token.revoke" in unknown.err
    secret = cli("audit", "log", "--token", told["a"])
    assert (secret.code, secret.out) == (2, "")
    assert "tokenctl audit log --token - < FILE" in secret.err
    assert told["a"] not in secret.err


def test_pages_lead_through_the_log_both_ways(cli, told):
    def page(*arguments):
        document = cli("audit", "log", "-o", "json", *arguments).json
        return [record["seq"] for record in document["records"]], document["next"], document["previous"]

    assert page() == (list(range(1, 10)), None, None)
    assert page("--limit", "4") == ([6, 7, 8, 9], None, 6)
    assert page("--limit", "4", "--before", "6") == ([2, 3, 4, 5], None, 2)
    assert page("--limit", "4", "--before", "2") == ([1], None, None)
    assert page("--limit", "4", "--after", "0") == ([1, 2, 3, 4], 4, None)
    assert page("--limit", "4", "--after", "4") == ([5, 6, 7, 8], 8, None)
    assert page("--limit", "4", "--after", "8") == ([9], None, None)
    assert page("--after", "99") == ([], None, None)
    assert page("--owner", "alice", "--limit", "2") == ([4, 9], None, 4)
    assert page("--owner", "alice", "--limit", "2", "--after", "0") == ([2, 4], 4, None)
    assert page("--subject", "nobody", "--limit", "2") == ([], None, None)


def test_a_token_proves_itself_and_nothing_else_does(cli, told):
    before = cli("audit", "log").out
    pasted = f'{{"log": "GET /?t={told["b"]}"}}\n{told["jwt"]}\nAuthorization: Bearer {told["b"]}\n'
    assert seqs(cli, "--token", "-", input=told["a"]) == [2]
    assert seqs(cli, "--token", "-", input=pasted) == [4, 7, 8, 9]
    assert seqs(cli, "--token", "-", "--operation", "token.use", input=f"{told['a']} {told['b']}") == [9]
    answers = set()
    wrong = wrong_secret(told["a"])
    stranger = wrong_secret(told["a"], "tkc_at_" + UNKNOWN)
    for text in (wrong, stranger):
        done = cli("audit", "log", "--token", "-", input=text)
        assert (done.code, done.out) == (5, "")
        answers.add(done.err)
    assert len(answers) == 1
    assert "a token that was presented is unknown to profile local" in answers.pop()
    mixed = cli("audit", "log", "--token", "-", input=f"{told['a']}\n{wrong}\n")
    assert (mixed.code, len(mixed.out.splitlines())) == (5, 1)
    for text, code in (("", 2), ("nothing here", 2), (cli.id_of(told["a"]), 2), ("tkc_at_" + UNKNOWN, 2), ("ghp_" + "a" * 36, 5)):
        assert cli("audit", "log", "--token", "-", input=text).code == code, text
    assert cli("audit", "log").out == before


def wrong_secret(token, start=None):
    """Return a token of the right form, with another secret."""
    from tokenctl.formats import opaque

    head, _, secret = token.rpartition("_")
    body = f"{start or head}_{secret[1:43] + secret[0] if secret[1] != secret[0] else secret[:43][::-1]}"
    return body + opaque._checksum(body)


def test_a_changed_row_proves_nothing_and_clears_nothing(cli, told):
    connection = sqlite3.connect(cli.store)
    connection.execute("UPDATE token SET subject = 'eve' WHERE id = ?", (cli.id_of(told["a"]),))
    connection.commit()
    connection.close()
    done = cli("audit", "log", "--token", "-", input=f"{told['a']}\n{told['b']}\n")
    assert (done.code, len(done.out.splitlines())) == (10, 2)
    assert "does not check out" in done.err
    shown = cli("audit", "show", cli.id_of(told["a"]), "-o", "json")
    assert (shown.code, shown.json["token"]["row_intact"], len(shown.json["warnings"])) == (0, False, 1)


def test_a_leaked_token_tells_its_tale_long_after(cli):
    then = int(time.time() * 1000) - 200 * DAY
    minute = 60_000

    def at(moment, *arguments, **options):
        done = cli.at(then + moment, *arguments, **options)
        assert done.code == 0, (arguments, done.err)
        return done

    at(0, "issue", "--subject", "ci", "--scope", "deploy:write", "--owner", "alice", "-q", "--max-uses", "9", "--ttl", "2h")
    text = at(minute, "issue", "--subject", "ci", "--scope", "deploy:write", "--owner", "alice", "-q", "--ttl", "2h").out.strip()
    leaked = cli.id_of(text)
    at(minute * 2, "inspect", "-", "--use", "-q", input=text)
    made = at(minute * 3, "issue", "--subject", "gw", "--format", "jwt", "--audience", "a", "--ttl", "3h", "-o", "json")
    child = at(minute * 3, "issue", "--subject", "child", "--scope", "deploy:write", "--parent", leaked, "-q").out.strip()
    successor = at(minute * 4, "issue", "--replace", leaked, "--grace", "1h", "-q").out.strip()
    at(minute * 5, "revoke", leaked, "--reason", "compromised", "--ticket", "INC-4711", "--note", "in log 812", "--yes", "-q")
    jwt, jwt_id, kid = made.json["token"], made.json["id"], made.json["kid"]
    at(minute * 6, "revoke", str(jwt_id), "--reason", "unused", "--yes", "-q")
    for day in (100, 110, 120, 130, 140, 150):
        cli.at(then + day * DAY, "rotate-keys", "--unobserved", "--if-older-than", "1d")
    states = {key["kid"]: key["state"] for key in cli("rotate-keys", "status", "-o", "json").json["keys"]}
    assert states[kid] == "retired"
    assert list(states.values()).count("active") == 1
    assert len(states) >= 3
    told = cli("audit", "log", "--token", "-", "-o", "jsonl", input=f"found: {text}\n{jwt}\n")
    assert (told.code, told.err) == (0, "")
    assert [(record["operation"], record["target"]) for record in told.lines] == [
        ("token.issue", leaked), ("token.issue", jwt_id), ("token.replace", leaked), ("token.revoke", leaked),
        ("token.revoke", jwt_id),
    ]  # fmt: skip
    tale = cli("audit", "show", "-", "-o", "json", input=text)
    assert (tale.code, text not in tale.out + tale.err) == (0, True)
    life = tale.json["token"]
    assert (life["state"], life["owner"], life["scope"], life["uses"]) == ("revoked", "alice", ["deploy:write"], 1)
    revoked = life["revoked"]
    assert (revoked["reason"], revoked["ticket"], revoked["note"]) == ("compromised", "INC-4711", "in log 812")
    assert (life["replaced_by"], life["successor_ids"]) == (cli.id_of(successor), [cli.id_of(successor)])
    assert (life["child_ids"], life["direct_children"], life["living_children"]) == ([cli.id_of(child)], 1, 0)
    assert [record["seq"] for record in tale.json["records"]] == [r["seq"] for r in told.lines if r["target"] == leaked]
    key = cli("audit", "show", kid, "-o", "json").json
    assert (key["token"], key["key"]["state"], key["key"]["tokens"], key["key"]["needed_until"]) == (None, "retired", 1, None)
    assert key["key"]["created_at"] < key["key"]["retiring_at"] < key["key"]["retired_at"]


def test_a_suspension_and_its_end_are_told(cli):
    identifier = cli.id_of(cli.token("--ttl", "1h"))
    cli("revoke", identifier, "--suspend", "--reason", "other", "--ticket", "T1", "--yes")
    cli("revoke", identifier, "--lift", "--yes")
    life = cli("audit", "show", identifier, "-o", "json").json["token"]
    (suspension,) = life["suspensions"]
    assert (life["state"], suspension["reason"], suspension["ticket"]) == ("active", "other", "T1")
    assert suspension["at"] <= suspension["lifted_at"]
    assert suspension["by"] == suspension["lifted_by"] == life["issued_by"]


def test_children_are_counted_with_those_that_wait(cli):
    parent = cli.id_of(cli.token("--ttl", "1h"))
    born = [cli.id_of(cli.token("--parent", parent, "--ttl", "5m")) for _ in range(12)]
    cli("revoke", born[0], "--yes")
    cli("revoke", parent, "--suspend", "--for", "1h", "--then", "lift", "--yes")
    life = cli("audit", "show", parent, "-o", "json").json["token"]
    assert (life["direct_children"], life["living_children"], life["child_ids"]) == (12, 11, sorted(born)[:10])


def test_several_tokens_are_shown_one_after_another(cli, told):
    both = f"{told['a']}\n{told['b']}\n"
    assert cli("audit", "show", "-", "-o", "json", input=both).code == 2
    assert [record["seq"] for record in cli("audit", "show", "-", "-o", "jsonl", input=both).lines] == [2, 4, 9]
    assert cli("audit", "show", "-", input=wrong_secret(told["a"])).code == 5


def test_one_record_is_shown_by_its_number(cli, told):
    row = cli("audit", "show", "3")
    assert (row.code, row.out) == (0, cli("audit", "log", "--operation", "token.deny").out)
    document = cli("audit", "show", "3", "-o", "json").json
    assert (document["token"], document["key"], document["warnings"]) == (None, None, [])
    (record,) = document["records"]
    assert (record["seq"], record["operation"], record["subject"], record["target"]) == (3, "token.deny", "bob", None)
    asked = cli("audit", "log", "--after", "7", "--limit", "1", "-o", "jsonl")
    assert cli("audit", "show", "8", "-o", "jsonl").lines == asked.lines
    for absent in ("0", "10", "9" * 18):
        done = cli("audit", "show", absent)
        assert (done.code, done.out) == (5, "")
        assert done.err.startswith(f"tokenctl: no record {absent} in profile local (local, ")
    for malformed in ("-3", "3.0", "\u0663", "x", "9" * 19):
        assert cli("audit", "show", malformed).code == 2
    cli("store", "seal", "--reason", "r")
    sealed = cli("audit", "show", "3")
    assert (sealed.code, sealed.out, sealed.err) == (0, row.out, "warning: the store is quarantined: SEALED: r\n")


def test_hostile_texts_stay_in_their_column(cli):
    evil = "x\t\x1b[31m\ny\u202e'\"%"
    identifier = cli.id_of(cli("issue", "--subject", evil, "--note", evil, "--label", f"l={evil}", "-q").out)
    cli("revoke", identifier, "--note", evil, "--ticket", "T\x1b]0;", "--yes")
    for arguments in (("--subject", evil), ("--label", f"l={evil}"), ("--ticket", "T\x1b]0;")):
        rows = cli("audit", "log", *arguments).out.splitlines()
        assert rows
        assert all(len(row.split("\t")) == 9 and row.isprintable() is False and "\x1b" not in row for row in rows), arguments
        assert all("\u202e" not in row for row in rows)
    assert cli("audit", "log", "--subject", "x*%' OR 1=1 --").out == ""


def test_a_large_choice_of_tokens_gives_what_a_small_one_does(cli, monkeypatch):
    assert cli("issue", "--count", "30", "--subject", "many", "--owner", "o", "-q").code == 0
    cli("issue", "--subject", "many", "--owner", "o", "--ttl", "99d")
    cli.token()
    code = (
        "import os, sys; from tokenctl.backends.local import asking; asking._FEW = 5; "
        "from tokenctl.cli.boundary import run; sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl'))"
    )
    for more in ((), ("--state", "active"), ("--limit", "3"), ("--after", "4", "--limit", "7"), ("--operation", "token.deny")):
        arguments = ("audit", "log", "--owner", "o", *more)
        large = subprocess.run([sys.executable, "-c", code, *arguments], env=cli.env, capture_output=True, text=True, check=True)
        assert large.stdout == cli(*arguments).out != ""


def test_refused_issues_in_an_archive_are_not_left_out_silently(cli):
    cli("issue", "--subject", "bob", "--owner", "bert", "--ttl", "99d", "--request-id", "R9")
    cli("issue", "--subject", "ann", "--owner", "anna", "--ttl", "99d")
    cli.token("--owner", "bert")
    later = time.time_ns() // 1_000_000 + 2 * DAY
    assert cli.at(later, "audit", "archive", "--before", "1d", "--out", "old", "--yes").code == 0
    cli.at(later, "issue", "--subject", "bob", "--owner", "bert", "--ttl", "98d")
    done = cli("audit", "log", "--owner", "bert")
    assert (done.code, len(done.out.splitlines())) == (11, 2)
    assert done.err == (
        "warning: 2 refused issues whose bodies are archived were left out: only the archive tells for whom; all of them: "
        "python -m tokenctl audit log --operation token.deny\n"
    )
    document = cli("audit", "log", "--owner", "bert", "-o", "json")
    assert (document.code, len(document.json["warnings"])) == (11, 1)
    one = cli("audit", "log", "--batch", "R9", "--owner", "bert")
    assert (one.code, one.out) == (11, "")
    assert "1 refused issue whose body is archived was left out" in one.err
    assert [row.split("\t")[2] for row in cli("audit", "log", "--batch", "R9").out.splitlines()] == ["token.deny"]
    for clear in (
        ("--batch", "R9"), ("--batch", "R8", "--owner", "bert"), ("--owner", "bert", "--limit", "1"),
        ("--owner", "bert", "--operation", "token.issue"), ("--owner", "bert", "--state", "expired"),
        ("--owner", "bert", "--after", "3"), ("--owner", "bert", "--request-id", "R8"), ("--operation", "token.deny"),
    ):  # fmt: skip
        done = cli("audit", "log", *clear)
        assert (done.code, done.err) == (0, ""), clear


def test_of_many_refused_issues_those_alone_are_read_that_may_be_meant(cli):
    subjects = ["plain", 'q"u\\o', "\u00e9\U0001f642x", "tab\t\u202e", "a*b", "x'%_"]
    for subject in subjects:
        cli("issue", "--subject", subject, "--owner", f"of {subject}", "--ttl", "99d")
    cli.token("--parent", cli.id_of(cli.token("--scope", "s")), "--ttl", "1m", "--scope", "s")
    code = (
        "import os, sys; from tokenctl.backends.local import asking; asking._FEW = {few}; says, read = asking._says, []; "
        "asking._says = lambda *told: read.append(1) or says(*told); from tokenctl.cli.boundary import run; "
        "run(sys.argv[1:], environment=os.environ, program='tokenctl'); print(len(read), file=sys.stderr)"
    )

    def asked(*selectors, few=5_000):
        command = [sys.executable, "-c", code.format(few=few), "audit", "log", "-o", "jsonl", *selectors]
        done = subprocess.run(command, env=cli.env, capture_output=True, text=True, check=True)
        return [json.loads(line)["subject"] for line in done.stdout.splitlines()], int(done.stderr)

    for few in (5_000, 0):
        for subject in subjects:
            for selectors in (("--subject", subject), ("--owner", f"of {subject}"), ("--subject", f"{subject[:-1]}*")):
                assert asked(*selectors, few=few) == ([subject], 1), (selectors, few)
        assert asked("--subject", "plain", "--subject", "a*", "--kind", "access", few=few) == (["plain", "a*b"], 2)
        assert asked("--subject", "*\u202e", few=few) == (["tab\t\u202e"], 6)
        assert asked("--subject", "plain", "--owner", "of a*b", few=few) == ([], 0)


def test_times_are_found_across_a_corrected_clock(cli):
    now = int(time.time() * 1000)
    for moment in (0, 60_000, 3_600_000):
        assert cli.at(now + moment, "issue", "--subject", "s", "-q").code == 0
    assert cli.at(now + 120_000, "store", "accept-clock", "--yes").code == 0
    assert cli.at(now + 180_000, "issue", "--subject", "late", "-q").code == 0
    records = [(record["seq"], record["time"]) for record in cli("audit", "log", "-o", "jsonl").lines]
    assert sorted(moment for _, moment in records) != [moment for _, moment in records]
    moments = sorted({moment for _, moment in records})
    for since in moments:
        assert seqs(cli, "--since", since) == [seq for seq, moment in records if moment >= since], since
        assert seqs(cli, "--until", since) == [seq for seq, moment in records if moment < since], since


def test_a_quarantined_store_answers_with_a_warning(cli, told):
    assert cli("store", "seal", "--reason", "drill").code == 0
    for arguments in (("audit", "log", "--owner", "alice"), ("audit", "show", cli.id_of(told["a"]))):
        done = cli(*arguments)
        assert done.code == 0
        assert done.out
        assert "warning: the store is quarantined: " in done.err
    document = cli("audit", "log", "--token", "-", "-o", "json", input=told["a"]).json
    assert len(document["warnings"]) == 1
    assert len(document["records"]) == 1


class Following:
    """``audit log --follow`` in the background."""

    def __init__(self, cli, *arguments, stdin=b"", **options):
        self.process = subprocess.Popen(
            [*PROGRAM, "audit", "log", "--follow", *arguments], env=cli.env, cwd=cli.home, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip
        self.process.stdin.write(stdin)
        self.process.stdin.close()

    def line(self):
        return self.process.stdout.readline().decode().rstrip("\n").split("\t")

    def end(self, code):
        with self.process:
            out, err = self.process.stdout.read().decode(), self.process.stderr.read().decode()
        assert self.process.returncode == code, err
        return out, err


def test_following_prints_what_is_recorded_and_ends_by_its_signal(cli):
    cli.token()
    following = Following(cli, "--operation", "token.*")
    assert following.line()[0] == "2"
    for number in (3, 4):
        cli.token()
        assert following.line()[:3:2] == [str(number), "token.issue"]
    following.process.send_signal(signal.SIGINT)
    assert following.end(-signal.SIGINT) == ("", "")


def test_following_waits_for_the_first_store_and_ends_after_its_timeout(cli):
    following = Following(cli, "--timeout", "3s", "-o", "jsonl")
    cli.token()
    out, err = following.end(0)
    assert (out.count("\n"), err) == (2, "")


def test_following_ends_when_nobody_reads_any_more(cli):
    cli.token()
    following = Following(cli)
    following.line()
    following.process.stdout.close()
    with following.process:
        assert following.process.wait(PATIENCE) == -signal.SIGPIPE
        assert following.process.stderr.read() == b""


def test_following_a_selector_and_a_token_takes_new_records_only_about_them(cli):
    text = cli("issue", "--subject", "mine", "--max-uses", "5", "-q").out.strip()
    by_selector, by_token = Following(cli, "--subject", "mi*"), Following(cli, "--token", "-", stdin=text.encode())
    assert by_selector.line()[0] == by_token.line()[0] == "2"
    cli.token()
    cli("inspect", "-", "--use", "-q", input=text)
    assert by_selector.line()[:3:2] == by_token.line()[:3:2] == ["4", "token.use"]
    cli("issue", "--subject", "mint", "-q")
    assert by_selector.line()[:3:2] == ["5", "token.issue"]
    for following in (by_selector, by_token):
        following.process.send_signal(signal.SIGTERM)
        assert following.end(-signal.SIGTERM) == ("", "")


def test_following_ends_where_the_log_was_cut_or_an_old_copy_came_back(cli):
    cli.token()
    copies = cli.home / "copies"
    shutil.copytree(cli.store.parent, copies)
    cli.token()
    following = Following(cli, "--after", "2")
    assert following.line()[0] == "3"
    os.replace(copies / "store.db", cli.store)
    for companion in ("store.db-wal", "store.db-shm"):
        cli.store.with_name(companion).unlink(missing_ok=True)
    out, err = following.end(10)
    assert out == ""
    assert "the log is not the one that was followed: record 3 is gone" in err


def test_following_goes_on_through_a_checkpoint_and_a_migration(cli):
    from tests.store.test_migrations import made_old

    cli.token()
    made_old(cli.store, 3)
    following = Following(cli, "--after", "1")
    assert following.line()[0] == "2"
    cli.token()
    assert following.line()[0] == "3"
    connection = sqlite3.connect(cli.store)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    cli.token()
    assert following.line()[0] == "4"
    following.process.send_signal(signal.SIGINT)
    assert following.end(-signal.SIGINT) == ("", "")


def test_following_ends_where_a_backup_was_restored_that_lacks_what_was_seen(cli):
    key = age_key(cli.home)
    cli.token()
    assert cli("store", "backup", "b.age", "--recipient", key.recipient).code == 0
    cli.token()
    following = Following(cli, "--operation", "token.issue")
    assert [following.line()[0], following.line()[0]] == ["2", "4"]
    done = cli("store", "restore", "b.age", "--identity", key.path, "--reason", "drill", "--yes")
    assert done.code == 0, done.err
    _, err = following.end(10)
    assert "the store was restored or cut" in err


def test_asking_imports_only_what_it_needs(cli, told):
    code = (
        "import os, sys; from tokenctl.cli.boundary import run; code = run(sys.argv[1:], environment=os.environ, "
        "program='tokenctl'); print(*sorted(sys.modules), file=sys.stderr); sys.exit(code)"
    )

    def loaded(*arguments):
        done = subprocess.run([sys.executable, "-c", code, *arguments], env=cli.env, capture_output=True, text=True, check=True)
        return set(done.stderr.split())

    plain = loaded("audit", "log", "--ticket", "INC-1")
    slow = {"cryptography", "keyring", "httpx", "jwt", "rich"}
    assert not slow & plain
    assert not [name for name in plain if name.startswith(("tokenctl.backends.local.asking", "tokenctl.commands.audit.show",
        "tokenctl.commands.audit.follow", "tokenctl.commands.audit.presented", "tokenctl.store.choosing"))]  # fmt: skip
    assert not slow & loaded("audit", "log", "--owner", "alice")
    assert not slow & loaded("audit", "show", cli.id_of(told["a"]), "-o", "json")


def test_raw_bodies_are_those_that_are_kept(cli):
    cli.token("--note", "naïve", "--request-id", "R-1")
    with sqlite3.connect(cli.store) as connection:
        kept = [body for (body,) in connection.execute("SELECT body FROM record ORDER BY seq")]
    done = cli("audit", "log", "--raw", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.encode() == b"".join(body + b"\n" for body in kept)
    assert cli("audit", "log", "--raw", "--request-id", "R-1").out.encode() == kept[1] + b"\n"
    for arguments in (("-o", "json"), ("-o", "jsonl"), ("--follow",)):
        assert cli("audit", "log", "--raw", *arguments).code == 2
