"""``issue``: one token, delivered once; its faults, its policy, its request ids."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time

import pytest

OPAQUE = re.compile(r"tkc_(at|pat|svc)_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}\n")
MADE = "notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)\n"
TOKEN_KEYS = {
    "id",
    "profile",
    "kind",
    "format",
    "state",
    "active",
    "subject",
    "owner",
    "scope",
    "audience",
    "labels",
    "issuer",
    "kid",
    "parent",
    "children",
    "issued_at",
    "not_before",
    "expires_at",
    "expires_in",
    "revoked",
    "suspended",
    "replaces",
    "replaced_by",
    "grace_until",
    "uses",
    "max_uses",
    "last_used_at",
    "use_tracking",
    "delivered_at",
    "request_id",
}
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def made(cli, *arguments):
    """Issue with JSON; return the token object."""
    done = cli("issue", *arguments, "-o", "json")
    assert done.code == 0, done.err
    return done.json


def told(cli, identifier):
    done = cli("inspect", identifier, "-o", "json")
    return done.json


def records(cli, *arguments):
    return cli("audit", "log", "-o", "jsonl", *arguments).lines


def test_stdout_is_the_token_alone(cli):
    done = cli("issue", "--subject", "ci-deployer", "--scope", "deploy:write", "--ttl", "15m", "-q")
    assert (done.code, done.err) == (0, MADE)
    assert OPAQUE.fullmatch(done.out)
    again = cli("issue", "--subject", "ci-deployer")
    assert (again.code, again.err) == (0, "")
    assert OPAQUE.fullmatch(again.out)


def test_the_token_object_has_every_key_of_the_contract(cli):
    token = made(
        cli, "--subject", "s", "--owner", "o", "--scope", "b", "--scope", "a", "--scope", "a", "--label", "team=x", "--note", "n"
    )
    assert set(token) >= TOKEN_KEYS | {"token", "out"}
    assert OPAQUE.fullmatch(token["token"] + "\n")
    assert token["id"] == token["token"].split("_")[2]
    assert token["out"] is None
    assert (token["subject"], token["owner"], token["scope"], token["audience"]) == ("s", "o", ["a", "b"], [])
    assert (token["labels"], token["note"], token["active"], token["state"]) == ({"team": "x"}, "n", True, "active")
    assert token["warnings"] == [MADE.removeprefix("notice: ").strip()]


@pytest.mark.parametrize(
    ("kind", "prefix", "default", "cap"),
    [("access", "at", 15 * MINUTE, "24h"), ("personal", "pat", 30 * DAY, "90d"), ("service", "svc", 30 * DAY, "90d")],
)
def test_every_kind_has_its_default_and_its_cap(cli, kind, prefix, default, cap):
    given = ("--subject", "s", "--scope", "a", "--kind", kind)
    token = made(cli, *given)
    assert token["token"].startswith(f"tkc_{prefix}_")
    assert token["expires_in"] in range(default // SECOND - 5, default // SECOND + 1)
    assert made(cli, *given, "--ttl", cap)["kind"] == kind
    number, unit = int(cap[:-1]), cap[-1]
    above = cli("issue", *given, "--ttl", f"{number}{unit}1s")
    assert (above.code, above.out) == (12, "")
    limit = "1d" if cap == "24h" else cap
    assert above.err == (
        f"tokenctl: the policy forbids it: max-lifetime: a token of kind {kind} lives at most {limit}\nhint: ask for less\n"
    )
    denied = records(cli, "--operation", "token.deny")
    assert [(record["subject"], record["kind"], record["outcome"], record["reason"]) for record in denied] == [
        ("s", kind, "denied", "max-lifetime")
    ]
    assert cli("audit", "verify").code == 0


def test_a_first_command_that_is_denied_is_recorded_too(cli):
    done = cli("issue", "--subject", "s", "--ttl", "25h", "-o", "json")
    assert (done.code, done.out) == (12, "")
    error = json.loads(done.err.splitlines()[-1])
    assert (error["error"], error["reason"], error["exit_code"]) == ("policy_denied", "max-lifetime", 12)
    assert [record["operation"] for record in records(cli)] == ["store.create", "token.deny"]


def test_every_rule_that_is_broken_is_named(cli):
    done = cli("issue", "--subject", "s", "--kind", "service", "--ttl", "91d")
    assert done.code == 12
    assert "max-lifetime: a token of kind service lives at most 90d; scope-required: a token of kind service" in done.err
    wild = cli("issue", "--subject", "s", "--scope", "repo:*")
    assert wild.code == 12
    assert "no-wildcard-scope" in wild.err


def test_all_faults_of_a_request_are_reported_together(cli):
    done = cli(
        "issue",
        "--ttl",
        "1y",
        "--scope",
        "a b",
        "--kind",
        "root",
        "--label",
        "=v",
        "--claim",
        "sub=1",
        "--claim",
        "x",
        "--max-uses",
        "0",
        "--parent",
        "nobody",
        "--request-id",
        "!",
        "--not-before",
        "soon",
        "--owner",
        " ",
    )
    assert (done.code, done.out) == (2, "")
    for option in (
        "--subject: is required",
        "--ttl: not a duration (years differ in length: 365d?)",
        "--scope:",
        "--kind: one of access",
        "--label:",
        "--claim: sub is not for --claim to set",
        "--claim: write NAME=JSON",
        "--max-uses: at least 1",
        "--parent: not a token id",
        "--request-id:",
        "--not-before: not a time",
        "--owner: is empty",
    ):
        assert option in done.err, option
    assert list(cli.home.iterdir()) == []


def test_a_fault_beside_a_broken_rule_names_both(cli):
    done = cli("issue", "--ttl", "25h")
    assert done.code == 2
    assert "--subject: is required" in done.err
    assert "max-lifetime" in done.err


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("15", "15s or 15m?"),
        ("1y", "365d?"),
        ("1mo", "30d?"),
        ("0s", "more than 0s"),
        ("PT0S", "more than 0s"),
        ("", "write 90s"),
        ("9999999d", "at most 3650d"),
        ("999999999999d", "not a duration"),
        ("1.5h", "not a duration"),
        ("1e3s", "not a duration"),
        ("٣m", "not a duration"),
        ("1m1m", "not a duration"),
        ("P1Y", "not a duration"),
        ("=5m", "not a duration"),
    ],
)
def test_absurd_durations_are_refused_with_the_nearest_form(cli, given, hint):
    done = cli("issue", "--subject", "s", "--ttl", given)
    assert (done.code, done.out) == (2, "")
    assert hint in done.err
    assert list(cli.home.iterdir()) == []


def test_a_negative_duration_is_refused(cli):
    for arguments in (("--ttl", "-5m"), ("--ttl=-5m",)):
        done = cli("issue", "--subject", "s", *arguments)
        assert (done.code, done.out) == (2, "")
        assert "--ttl" in done.err


@pytest.mark.parametrize("given", ["90s", "PT90S", "1m30s"])
def test_a_duration_may_be_written_in_three_ways(cli, given):
    assert made(cli, "--subject", "s", "--ttl", given)["expires_in"] in range(85, 91)


@pytest.mark.parametrize(
    "name",
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf", "act", "may_act", "auth_time", "acr", "amr"],
)
def test_claims_that_are_ours_are_refused(cli, name):
    done = cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "--claim", f"{name}=1")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"tokenctl: --claim: {name} is not for --claim to set\nhint: python -m tokenctl issue --help\n"


def test_custom_claims_reach_the_jwt_and_no_file(cli):
    token = made(
        cli,
        "--subject",
        "s",
        "--format",
        "jwt",
        "--audience",
        "a",
        "--claim",
        'tier="gold-canary"',
        "--claim",
        'deep={"a":[1,null]}',
    )["token"]
    claims = cli("inspect", "-", "--any-audience", "-o", "json", input=token).json["claims"]
    assert (claims["tier"], claims["deep"]) == ("gold-canary", {"a": [1, None]})
    for path in cli.home.rglob("*"):
        assert not path.is_file() or b"gold-canary" not in path.read_bytes()


@pytest.mark.parametrize("value", ["gold", "{", "NaN", "1e999", '{"a":1,"a":2}', "9007199254740993", "", '"\\ud800"'])
def test_a_claim_that_no_strict_reader_accepts_is_refused(cli, value):
    done = cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "--claim", f"x={value}")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: --claim: ")


def test_a_jwt_needs_an_audience_and_counts_no_uses(cli):
    done = cli("issue", "--subject", "s", "--format", "jwt", "--max-uses", "3")
    assert done.code == 2
    assert "--audience: a JWT names its audience" in done.err
    assert "--max-uses: " in done.err


def test_an_algorithm_without_a_key_is_a_conflict(cli):
    given = ("issue", "--subject", "s", "--format", "jwt", "--audience", "a")
    assert cli(*given).code == 0
    done = cli(*given, "--algorithm", "EdDSA")
    assert (done.code, done.out) == (6, "")
    assert done.err == (
        "tokenctl: no active key for EdDSA; active: ES256\nhint: publish one: python -m tokenctl rotate-keys --algorithm EdDSA; "
        "what is to come: python -m tokenctl rotate-keys status\n"
    )
    assert cli(*given, "--algorithm", "HS256").code == 2


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256", "RS256"])
def test_the_first_key_is_of_the_algorithm_first_asked_for(cli, algorithm):
    done = cli("issue", "--subject", "s", "--audience", "a", "--algorithm", algorithm)
    assert done.code == 0
    assert cli("rotate-keys", "status", "-o", "json").json["keys"][0]["alg"] == algorithm
    follower = cli("issue", "--subject", "s", "--audience", "a", "--format", "jwt")
    answer = cli("inspect", "-", "--audience", "a", "-o", "json", input=follower.out)
    assert (answer.code, answer.json["header"]["alg"]) == (0, algorithm)


# --out and --fd


def test_a_file_gets_the_token_and_stdout_the_id(cli):
    done = cli("issue", "--subject", "s", "--out", "token")
    path = cli.home / "token"
    assert (done.code, done.err) == (0, MADE)
    assert re.fullmatch(r"[0-9A-Za-z]{22}\n", done.out)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert OPAQUE.fullmatch(path.read_text())
    assert path.read_text().split("_")[2] == done.out.strip()
    answer = cli("inspect", "--file", "token", "-o", "json")
    assert (answer.code, answer.json["id"]) == (0, done.out.strip())
    again = cli("issue", "--subject", "s", "--out", "token", "--mode", "0640", "-o", "json")
    assert (again.code, again.json["token"], again.json["out"]) == (0, None, "token")
    assert again.json["id"] == path.read_text().split("_")[2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(path.name for path in cli.home.iterdir()) == [".config", ".local", "token"]


@pytest.mark.parametrize("planted", ["symlink", "hardlink", "fifo", "directory"])
def test_a_planted_output_is_refused_before_anything_is_minted(cli, planted):
    path, other = cli.home / "token", cli.home / "other"
    other.write_text("precious")
    if planted == "symlink":
        path.symlink_to(other)
    elif planted == "hardlink":
        os.link(other, path)
    elif planted == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    done = cli("issue", "--subject", "s", "--out", "token")
    assert (done.code, done.out) == (2, "")
    assert done.err == "tokenctl: token is a link or no regular file\nhint: name another file with --out\n"
    assert other.read_text() == "precious"
    assert not cli.store.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--mode", "600"),
        ("--out", "t", "--mode", "644"),
        ("--out", "t", "--mode", "700"),
        ("--out", "t", "--mode", "x"),
        ("--out", "t", "--group", "no such group"),
        ("--out", "no/such/directory/t"),
        ("--out", ""),
        ("--out", "t", "--fd", "5"),
        ("--fd", "77"),
        ("--fd", "-1"),
        ("--fd", "99999999999999999999"),
        ("--fd", "x"),
    ],
)
def test_a_place_that_cannot_take_a_token_is_refused_before_minting(cli, arguments):
    done = cli("issue", "--subject", "s", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: ")
    assert list(cli.home.iterdir()) == []


def test_no_output_is_a_file_of_our_own(cli):
    cli.token()
    before = cli.store.read_bytes()
    for path in (cli.store, cli.root_secret, cli.anchor):
        done = cli("issue", "--subject", "s", "--out", str(path))
        assert (done.code, done.out) == (2, ""), path
        descriptor = os.open(path, os.O_RDWR)
        handed = cli("issue", "--subject", "s", "--fd", str(descriptor), pass_fds=(descriptor,))
        os.close(descriptor)
        assert (handed.code, handed.out) == (2, ""), path
        assert handed.err == f"tokenctl: --fd {descriptor} is a file of tokenctl itself\n"
    assert cli.store.read_bytes() == before


def test_a_descriptor_gets_the_token_and_stdout_nothing_of_it(cli):
    reader, writer = os.pipe()
    done = cli("issue", "--subject", "s", "-q", "--fd", str(writer), pass_fds=(writer,))
    os.close(writer)
    text = os.read(reader, 1000).decode()
    wrong = cli("issue", "--subject", "s", "--fd", str(reader), pass_fds=(reader,))
    os.close(reader)
    assert done.code == 0
    assert OPAQUE.fullmatch(text)
    assert "tkc_" not in done.out + done.err
    assert (wrong.code, wrong.err) == (2, f"tokenctl: --fd {reader} is not open for writing\n")


def test_a_token_that_cannot_be_written_is_revoked_and_named(cli):
    cli.token()
    with open("/dev/full", "wb") as full:
        done = cli("issue", "--subject", "lost", stdout=full, stderr=-1)
    assert done.code == 7
    match = re.match(r"tokenctl: token ([0-9A-Za-z]{22}) could not be delivered \(.*\): it was revoked\n", done.err)
    assert match, done.err
    dead = told(cli, match[1])
    assert (dead["state"], dead["revoked"]["reason"]) == ("revoked", "undelivered")
    assert [row["id"] for row in cli("list", "--state", "undelivered", "-o", "jsonl").lines] == [match[1]]


# Request ids and delivery


def test_a_request_id_is_answered_once(cli):
    given = ("issue", "--subject", "s", "--scope", "a", "--request-id", "job-1")
    first = cli(*given)
    identifier = cli.id_of(first.out)
    again = cli(*given)
    assert (again.code, again.out) == (6, "")
    assert (
        again.err == f"tokenctl: request id job-1 was answered by {identifier}\nhint: python -m tokenctl inspect {identifier}\n"
    )
    other = cli(*given, "--scope", "b")
    assert (other.code, other.out) == (6, "")
    assert other.err == "tokenctl: request id job-1 was used with other parameters\nhint: choose another --request-id\n"
    assert told(cli, identifier)["active"] is True
    assert [row["id"] for row in cli("list", "--batch", "job-1", "-o", "jsonl").lines] == [identifier]
    assert [record["request_id"] for record in records(cli, "--request-id", "job-1")] == ["job-1"]


def undelivered(cli, *arguments):
    """Issue a token whose process dies between minting and delivery; return its id."""
    before = {record["target"] for record in records(cli, "--operation", "token.issue")}
    code = (
        "import os, sys\n"
        "from tokenctl import files, process\n"
        "process.harden()\n"
        "files.write_all = lambda *_: os._exit(9)\n"
        "from tokenctl.cli.boundary import run\n"
        "run(sys.argv[1:], environment=os.environ, program='tokenctl')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, "issue", *arguments], env=cli.env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (9, b"")
    (fresh,) = {record["target"] for record in records(cli, "--operation", "token.issue")} - before
    return fresh


def test_a_request_that_was_never_delivered_is_done_again(cli):
    cli.token()
    given = ("--subject", "s", "--request-id", "job-2")
    lost = undelivered(cli, *given)
    assert told(cli, lost)["delivered_at"] is None
    again = cli("issue", *given)
    assert again.code == 0
    assert cli.id_of(again.out) != lost
    dead = told(cli, lost)
    assert (dead["state"], dead["revoked"]["reason"]) == ("revoked", "undelivered")
    assert cli("inspect", "-", input=again.out).code == 0
    assert cli("issue", *given).code == 6


def test_what_was_not_delivered_is_denied_after_sixty_seconds(cli):
    cli.token()
    lost = undelivered(cli, "--subject", "lost")
    now = time.time_ns() // 1_000_000
    before = cli.at(now + 30 * SECOND, "inspect", lost, "-o", "json")
    assert (before.code, before.json["state"]) == (0, "active")
    after = cli.at(now + 61 * SECOND, "inspect", lost, "-o", "json")
    assert (after.code, after.json["state"], after.json["revoked"]["reason"]) == (3, "revoked", "undelivered")
    assert records(cli, "--operation", "token.revoke") == []
    listed = cli.at(now + 61 * SECOND, "list", "--state", "undelivered", "-o", "jsonl")
    assert [row["id"] for row in listed.lines] == [lost]
    assert [(record["target"], record["reason"]) for record in records(cli, "--operation", "token.revoke")] == [
        (lost, "undelivered")
    ]
    assert cli("audit", "verify").code == 0


# Parents, times, uses


def test_a_childs_rights_are_within_its_parents(cli):
    parent = made(cli, "--subject", "p", "--scope", "a", "--scope", "b", "--audience", "x", "--ttl", "1h")["id"]
    given = ("issue", "--subject", "c", "--parent", parent)
    child = cli(*given, "--scope", "a", "--audience", "x", "--ttl", "5m", "-o", "json")
    assert (child.code, child.json["parent"]) == (0, parent)
    for arguments, rule in (
        (("--scope", "c", "--audience", "x"), "parent-scope"),
        (("--scope", "a"), "parent-audience"),
        (("--scope", "a", "--audience", "y"), "parent-audience"),
        (("--scope", "a", "--audience", "x", "--ttl", "2h"), "parent-lifetime"),
    ):
        done = cli(*given, *arguments)
        assert (done.code, done.out) == (12, ""), rule
        assert rule in done.err
    unknown = cli("issue", "--subject", "c", "--parent", "0352Ldy4SKzRSvwVvSWvL6")
    assert (unknown.code, unknown.err) == (5, "tokenctl: no token 0352Ldy4SKzRSvwVvSWvL6 to be the parent\n")
    assert cli("revoke", parent, "--yes").code == 0
    dead = cli(*given, "--scope", "a", "--audience", "x", "--ttl", "5m")
    assert dead.code == 12
    assert f"parent: {parent} is revoked" in dead.err


def test_a_lifetime_that_nobody_asked_for_ends_with_the_parent(cli):
    now = time.time_ns() // 1_000_000 // 1_000 * 1_000
    parent = cli.at(now, "issue", "--subject", "p", "-o", "json").json
    later = now + 5 * MINUTE
    given = ("issue", "--subject", "c", "--parent", str(parent["id"]))
    told = cli.at(later, *given, "-n", "-o", "json").json
    assert (told["lifetime"], told["lifetime_seconds"], told["expires_at"]) == ("10m", 600, parent["expires_at"])
    assert cli.at(later, *given, "-n").out.startswith("would issue  access, opaque, 10m, for c\n")
    child = cli.at(later, *given, "-o", "json")
    assert (child.code, child.json["expires_at"]) == (0, parent["expires_at"])
    row = cli.at(later, "issue", "--from", "-", "--parent", str(parent["id"]), input='{"subject": "r"}\n')
    assert [line["expires_at"] for line in row.lines] == [parent["expires_at"]]
    assert cli.at(later, *given, "--", "true").code == 0
    asked = cli.at(later, *given, "--ttl", "15m")
    assert (asked.code, asked.out) == (12, "")
    assert "parent-lifetime: the parent expires earlier" in asked.err
    over = cli.at(now + 15 * MINUTE, *given)
    assert (over.code, over.out) == (12, "")
    assert cli.at(later, "audit", "verify", "-q").code == 0


def test_a_token_is_not_valid_before_its_time(cli):
    token = made(cli, "--subject", "s", "--not-before", "+1h", "--ttl", "15m")
    assert (token["state"], token["active"]) == ("not_yet_valid", False)
    assert cli("inspect", token["id"]).code == 3
    now = time.time_ns() // 1_000_000
    assert cli.at(now + HOUR + MINUTE, "inspect", token["id"]).code == 0
    late = cli.at(now + HOUR + 16 * MINUTE, "inspect", token["id"], "-o", "json")
    assert (late.code, late.json["state"]) == (3, "expired")


def test_no_token_begins_later_than_it_may_live(cli):
    parent = made(cli, "--subject", "p", "--ttl", "24h")["id"]
    now = time.time_ns() // 1_000_000
    for more in ((), ("-n",), ("--ttl", "1m", "--max-uses", "1"), ("--parent", parent)):
        done = cli.at(now, "issue", "--subject", "s", "--not-before", "+24h1s", *more)
        assert (done.code, done.out) == (12, "")
        assert "the policy forbids it: not-before: a token of kind access begins at most 1d from now" in done.err
    assert cli.at(now, "issue", "--subject", "s", "--not-before", "9998-01-01").code == 12
    assert cli.at(now, "issue", "--subject", "s", "--not-before", "+24h", "--ttl", "24h").code == 0
    child = cli.at(now, "issue", "--subject", "c", "--parent", parent, "--not-before", "+23h", "--ttl", "2h")
    assert (child.code, child.err.splitlines()[0]) == (
        12, "tokenctl: the policy forbids it: parent-lifetime: the parent expires earlier"
    )  # fmt: skip
    waiting = made(cli, "--subject", "s", "--not-before", "+1h", "--ttl", "1h")["id"]
    early = cli("issue", "--subject", "c", "--parent", waiting, "--not-before", "+1h", "--ttl", "1h")
    assert early.code == 12
    assert f"parent: {waiting} is not_yet_valid" in early.err
    assert [record["reason"] for record in cli("audit", "log", "-o", "jsonl", "--operation", "token.deny").lines] == [
        *["not-before"] * 4, "parent-lifetime", "parent",
    ]  # fmt: skip


def test_2038_and_9999_are_years_like_others(cli):
    cli.token()
    for instant, code in ((2_147_483_647_000, 0), (2_147_483_648_000, 0), (253_402_300_000_000, 12)):
        done = cli.at(instant, "issue", "--subject", "s", "-o", "json")
        assert done.code == code, done.err
        if code == 0:
            assert cli.at(instant, "inspect", done.json["id"]).code == 0
            assert done.json["issued_at"].startswith("2038-01-19T03:14:0")
        else:
            assert "after the year 9999" in done.err


@pytest.mark.parametrize(
    "instant", ["9999-12-31T23:59:59Z", "10000-01-01", "0000-00-00", "2026-13-01", "-99999999d", "1969-12-31"]
)
def test_a_start_at_the_edge_of_time_is_answered(cli, instant):
    done = cli("issue", "--subject", "s", "--not-before", instant)
    assert done.out == ""
    assert done.code == (12 if instant.startswith("9999") else 2)


def test_a_clock_far_behind_the_last_record_issues_nothing(cli):
    cli.token()
    done = cli.at(0, "issue", "--subject", "s")
    assert (done.code, done.out) == (7, "")
    assert "behind the last record" in done.err
    for more in (("-n",), ("-n", "--count", "2"), ("-n", "--", "true")):
        foreseen = cli.at(0, "issue", "--subject", "s", *more)
        assert (foreseen.code, foreseen.out, foreseen.err) == (7, "", done.err)


def test_a_dry_run_makes_nothing(cli):
    done = cli("issue", "--subject", "s", "--ttl", "1h", "--dry-run")
    assert (done.code, done.out, done.err) == (0, "would issue  access, opaque, 1h, for s\n", "")
    refused = cli("issue", "--subject", "s", "--ttl", "25h", "-n")
    assert (refused.code, refused.out) == (12, "")
    assert list(cli.home.iterdir()) == []
