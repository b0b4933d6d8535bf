"""``list``: selectors, states, order, and the shapes of its output."""

from __future__ import annotations

import json
import re
import time

import pytest

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
HOUR, DAY = 3_600_000, 86_400_000
COLUMNS = ("id", "state", "kind", "subject", "owner", "scope", "audience", "issued_at", "expires_at", "last_used_at")


def subjects(cli, *arguments):
    done = cli("list", *arguments, "-o", "jsonl")
    assert done.code == 0, done.err
    return [row["subject"] for row in done.lines]


def issue(cli, subject, *arguments):
    done = cli("issue", "--subject", subject, "-q", *arguments)
    assert done.code == 0, done.err
    return done.out.strip()


def test_nothing_to_list_is_an_answer(cli):
    for output, out in (("text", ""), ("jsonl", "")):
        done = cli("list", "-o", output)
        assert (done.code, done.out, done.err) == (0, out, "")
    assert cli("list", "-o", "json").json == {"tokens": [], "next": None, "warnings": []}
    assert list(cli.home.iterdir()) == []


def test_a_pipe_gets_the_frozen_columns(cli):
    token = issue(cli, "ci", "--owner", "o", "--scope", "b", "--scope", "a", "--audience", "x")
    issue(cli, "later", "--owner", "o", "--ttl", "1h")
    done = cli("list")
    assert (done.code, done.err) == (0, "")
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in done.out.splitlines()]
    assert rows[0] | {"issued_at": None, "expires_at": None} == {
        "id": cli.id_of(token),
        "state": "active",
        "kind": "access",
        "subject": "ci",
        "owner": "o",
        "scope": "a b",
        "audience": "x",
        "issued_at": None,
        "expires_at": None,
        "last_used_at": "-",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[0]["expires_at"])
    assert (rows[1]["scope"], rows[1]["audience"]) == ("-", "-")
    assert cli("list", "-q").out == done.out


def test_selectors_choose(cli):
    issue(cli, "ci-a", "--owner", "alice", "--scope", "read", "--label", "team=x", "--ttl", "10m")
    issue(cli, "ci-b", "--owner", "alice", "--scope", "read", "--scope", "write", "--label", "team=y", "--ttl", "20m")
    issue(cli, "gw", "--owner", "bob", "--kind", "service", "--scope", "write", "--audience", "api.x", "--ttl", "30m")
    issue(cli, "jw", "--owner", "b*b", "--format", "jwt", "--audience", "api.y", "--ttl", "40m", "--request-id", "R1")
    every = ["ci-a", "ci-b", "gw", "jw"]
    kid = cli("rotate-keys", "status", "-o", "json").json["keys"][0]["kid"]
    for arguments, chosen in (
        ((), every),
        (("--subject", "ci-*"), every[:2]),
        (("--subject", "ci-a", "--subject", "gw"), ["ci-a", "gw"]),
        (("--subject", "ci"), []),
        (("--subject", "CI-*"), []),
        (("--subject", "*"), every),
        (("--subject", "?i-a"), []),
        (("--subject", "[c]i-a"), []),
        (("--subject", "%"), []),
        (("--subject", "__-a"), []),
        (("--owner", "bob"), ["gw"]),
        (("--owner", "b*b"), ["gw", "jw"]),
        (("--scope", "read"), every[:2]),
        (("--scope", "read", "--scope", "write"), every[:3]),
        (("--scope", "write", "--owner", "alice"), ["ci-b"]),
        (("--audience", "api.*"), ["gw", "jw"]),
        (("--kind", "service"), ["gw"]),
        (("--format", "jwt"), ["jw"]),
        (("--kid", kid), ["jw"]),
        (("--kid", UNKNOWN), []),
        (("--label", "team"), every[:2]),
        (("--label", "team=y"), ["ci-b"]),
        (("--label", "team=*"), every[:2]),
        (("--label", "tea"), []),
        (("--batch", "R1"), ["jw"]),
        (("--parent", UNKNOWN), []),
        (("--issued-after", "-1h"), every),
        (("--issued-before", "-1h"), []),
        (("--expires-after", "+15m"), every[1:]),
        (("--expires-before", "+15m"), ["ci-a"]),
        (("--expires-before", "9999-12-31"), every),
        (("--never-used",), every[:3]),
        (("--never-used", "--include-untracked"), every),
        (("--unused-for", "1h"), []),
        (("--limit", "2"), every[:2]),
        (("--state", "active", "--limit", "1"), ["ci-a"]),
        (("--state", "revoked"), []),
    ):
        assert subjects(cli, *arguments) == chosen, arguments


def test_states_are_chosen(cli):
    issue(cli, "active")
    issue(cli, "waiting", "--not-before", "+1h")
    spent, dead = issue(cli, "spent", "--max-uses", "1"), issue(cli, "dead")
    issue(cli, "old", "--ttl", "1s")
    cli("inspect", "-", "--use", input=spent)
    cli("revoke", cli.id_of(dead), "--yes")
    time.sleep(1.1)  # until "old" has expired
    for state, chosen in (
        ("active", ["active"]),
        ("not_yet_valid", ["waiting"]),
        ("spent", ["spent"]),
        ("revoked", ["dead"]),
        ("expired", ["old"]),
        ("suspended", []),
        ("undelivered", []),
        ("all", ["active", "dead", "old", "spent", "waiting"]),
    ):
        assert sorted(subjects(cli, "--state", state)) == chosen, state
    assert sorted(subjects(cli)) == ["active", "waiting"]
    assert sorted(subjects(cli, "--state", "spent", "--state", "expired")) == ["old", "spent"]


def test_a_long_list_is_read_in_parts(cli):
    for number in range(5):
        issue(cli, f"s{number}", "--ttl", f"{10 + number}m")
    first = cli("list", "--limit", "2", "-o", "json").json
    assert [token["subject"] for token in first["tokens"]] == ["s0", "s1"]
    assert first["next"] == first["tokens"][-1]["id"]
    second = cli("list", "--limit", "2", "--after", first["next"], "-o", "json").json
    third = cli("list", "--limit", "2", "--after", second["next"], "-o", "json").json
    assert [token["subject"] for token in [*second["tokens"], *third["tokens"]]] == ["s2", "s3", "s4"]
    assert third["next"] is None
    unknown = cli("list", "--after", UNKNOWN)
    assert (unknown.code, unknown.out, unknown.err) == (5, "", f"tokenctl: no token {UNKNOWN} to go on after\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--state", "dead"), "--state: one of active"),
        (("--kind", "x"), "--kind: one of access"),
        (("--format", "x"), "--format: one"),
        (("--scope", "a*"), "--scope: * stands only in"),
        (("--subject", ""), "--subject: is empty"),
        (("--limit", "0"), "--limit: 1 to 1000000000"),
        (("--limit", "-1"), "--limit"),
        (("--limit", "x"), "--limit"),
        (("--after", "x"), "--after: not a token id"),
        (("--issued-after", "7d"), "-7d (ago) or +7d (from now)?"),
        (("--expires-before", "soon"), "not a time"),
        (("--unused-for", "-7d"), "--unused-for"),
        (("--unused-for", "7"), "7s or 7m?"),
        (("--parent", "x"), "--parent: not a token id"),
        (("--issued-after", "-999999d"), "--issued-after"),
        (("--issued-after", "99999-01-01"), "not a time"),
        (("extra",), "unexpected"),
        (("--kind", "x", "--state", "y"), "--kind: one of access, personal, service; --state"),
    ],
)
def test_malformed_selectors_are_usage(cli, arguments, told):
    done = cli("list", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert list(cli.home.iterdir()) == []


HOSTILE = "\x1b[31mred\x1b]0;t\x07 \x9b31m \u202eltr\u2066 a\tb\nc\rd [bold]x[/bold] <b> \u200b 宽字 é {x} %s \x7f"


def test_hostile_text_is_escaped_on_the_screen_and_kept_in_json(cli):
    done = cli(
        "issue", "--subject", HOSTILE, "--owner", HOSTILE, "--label", f"a={HOSTILE}", "--note", HOSTILE, "--audience", HOSTILE
    )
    assert done.code == 0
    for arguments in (("list",), ("inspect", cli.id_of(done.out)), ("audit", "log"), ("revoke", cli.id_of(done.out), "-n")):
        screen = cli(*arguments)
        for character in screen.out + screen.err:
            assert character.isprintable() or character in "\n\t", (arguments, character)
    (line,) = cli("list").out.splitlines()
    columns = line.split("\t")
    assert len(columns) == 10
    assert columns[3] == columns[4] == columns[6]
    assert columns[3].startswith(
        "\\x1b[31mred\\x1b]0;t\\x07 \\x9b31m \\u202eltr\\u2066 a\\tb\\nc\\rd [bold]x[/bold] <b> \\u200b 宽字 é"
    )
    raw = cli("list", "-o", "json").out
    assert raw.isascii()
    (token,) = json.loads(raw)["tokens"]
    assert (token["subject"], token["owner"], token["labels"], token["note"]) == (HOSTILE, HOSTILE, {"a": HOSTILE}, HOSTILE)
    assert token["audience"] == [HOSTILE]
    assert subjects(cli, "--subject", HOSTILE, "--label", f"a={HOSTILE}") == [HOSTILE]
    assert cli("audit", "verify").code == 0


def test_a_hostile_claim_is_escaped_on_the_screen_and_kept_in_json(cli):
    token = cli.token("--format", "jwt", "--audience", "a", "--claim", f"x={json.dumps(HOSTILE)}", "--subject", HOSTILE)
    for arguments in (("--any-audience",), ("--jwks", "keys")):
        (cli.home / "keys").write_text(cli("rotate-keys", "jwks").out)
        screen = cli("inspect", "-", *arguments, input=token)
        assert all(character.isprintable() or character == "\n" for character in screen.out + screen.err)
        claims = cli("inspect", "-", *arguments, "-o", "json", input=token).json["claims"]
        assert (claims["x"], claims["sub"]) == (HOSTILE, HOSTILE)


def test_a_token_can_be_listed_in_2038_and_in_9999(cli):
    issue(cli, "s")
    for instant in (2_147_483_648_000, 253_402_300_799_999):
        done = cli.at(instant, "list", "--state", "expired", "-o", "jsonl")
        assert (done.code, len(done.lines)) == (0, 1)
        assert cli.at(instant, "list", "--issued-after", "+9999d").code in (0, 2)
