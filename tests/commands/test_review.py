"""``audit review``: every mistake is found, just not yet found a moment earlier, and mended by the command that it prints."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests import sarif_schema
from tests.conftest import PROGRAM
from tests.faults.conftest import change
from tokenctl.model.review import RULES

KEYRINGS = Path(__file__).parents[1] / "keyrings"
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
T = 1_700_000_000_000  # 2023-11-14T22:13:20Z
SUBJECT = ("issue", "--subject", "s", "-q")
CLEAN = ("--scope", "a:read", "--audience", "x")
AT_SERVICES = {"intent-orphaned", "revocation-unfinished"}  # found where a service is asked
IDS = [rule.id for rule in RULES if rule.id not in AT_SERVICES]


def run_line(cli, line):
    """Run a command as it was printed; ``python`` in it is the one of the tests."""
    path = f"{Path(sys.executable).parent}:{cli.env['PATH']}"
    return subprocess.run(
        ["sh", "-c", line], env=cli.env | {"PATH": path}, cwd=cli.home, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def write_profile(cli, text):
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    profile.write_text(text)
    profile.chmod(0o600)


def issue_at(cli, now, *arguments):
    done = cli.at(now, *SUBJECT, *arguments)
    assert done.code == 0, done.err
    return done.out.strip()


def found(cli, now, rule, *arguments):
    """What one rule finds at an instant: ids and details."""
    done = cli.at(now, "audit", "review", "--rule", rule, "-o", "jsonl", *arguments)
    assert (done.code, done.err) == (3 if done.out else 0, ""), done
    assert {line["rule"] for line in done.lines} <= {rule}
    return [(line["id"], line["detail"]) for line in done.lines]


def at_a_terminal(cli, *arguments):
    """What a person sees, on a wide terminal."""
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], *arguments], env=cli.env | {"TERM": "xterm", "NO_COLOR": "1"}, cwd=str(cli.home),
        dimensions=(40, 200), timeout=30, encoding="utf-8",
    )  # fmt: skip
    child.expect(pexpect.EOF)
    return child.before.replace("\r\n", "\n")


# Each rule, hit and just not


def test_a_lifetime_beyond_that_of_its_kind_is_too_long(cli):
    write_profile(cli, 'max_lifetime = "2d"\n')
    edge = cli.id_of(issue_at(cli, T, *CLEAN, "--ttl", "1d"))
    beyond = cli.id_of(issue_at(cli, T, *CLEAN, "--ttl", "1d1s"))
    detail = f"access token of {owner(cli, edge)} for s, made for 86401s, at most 1d"
    assert found(cli, T, "token-too-long-lived") == [(beyond, detail)]


def owner(cli, identifier):
    return cli("audit", "log", "--target", identifier, "-o", "jsonl").lines[0]["owner"]


def test_the_lifetime_counts_from_when_a_token_begins(cli):
    issue_at(cli, T, *CLEAN, "--ttl", "1d", "--not-before", "+2h")
    assert found(cli, T, "token-too-long-lived") == []


def test_a_token_that_was_never_used_is_found_after_14_days_but_no_jwt(cli):
    token = cli.id_of(issue_at(cli, T, *CLEAN, "--kind", "personal"))
    issue_at(cli, T, *CLEAN, "--kind", "personal", "--format", "jwt")
    assert found(cli, T + 14 * DAY - 1, "token-never-used") == []
    ((identifier, detail),) = found(cli, T + 14 * DAY, "token-never-used")
    assert identifier == token
    assert detail.endswith(" for s, never used in 14d")


def test_a_token_is_unused_30_days_after_its_last_use_and_the_use_ends_never_used(cli):
    token = issue_at(cli, T, *CLEAN, "--kind", "personal", "--ttl", "80d")
    assert cli.at(T + DAY, "inspect", "-", "--use", "--audience", "x", "-q", input=token).code == 0
    assert found(cli, T + 20 * DAY, "token-never-used") == []
    assert found(cli, T + 31 * DAY - 1, "token-unused") == []
    ((identifier, detail),) = found(cli, T + 31 * DAY, "token-unused")
    assert identifier == cli.id_of(token)
    assert detail.endswith("not used for 30d")


def test_a_broad_scope_is_found(cli):
    for scope in ("admin", "admin:users", "org:admin", "administer"):
        issue_at(cli, T, "--audience", "x", "--scope", "a", "--scope", scope)
    told = sorted(detail.partition(", ")[2] for _, detail in found(cli, T, "token-broad-scope"))
    assert told == ["scope admin", "scope admin:users", "scope org:admin"]


def test_a_scope_with_an_asterisk_is_broad_whatever_the_profile_says(cli):
    write_profile(
        cli,
        '[review]\nbroad_scopes = ["all"]\n[[rule]]\nname = "any"\nsubject = "*"\nscopes = ["*"]\nwildcard_scopes = ["repo:*"]\n'
        'audiences = ["*"]\n',
    )
    for scope in ("repo:*", "all", "admin"):
        issue_at(cli, T, "--audience", "x", "--scope", scope)
    assert sorted(detail.partition(", ")[2] for _, detail in found(cli, T, "token-broad-scope")) == ["scope all", "scope repo:*"]


def test_a_token_without_audience_is_found(cli):
    token = cli.id_of(issue_at(cli, T))
    issue_at(cli, T, "--audience", "x")
    assert [identifier for identifier, _ in found(cli, T, "token-no-audience")] == [token]


def test_a_lasting_token_ends_soon_a_week_before_unless_it_is_replaced_or_bounded(cli):
    personal = ("--kind", "personal", *CLEAN)
    token = cli.id_of(issue_at(cli, T, *personal, "--ttl", "30d"))
    for bounded in (("--ttl", "30d", "--parent", token), ("--ttl", "7d")):  # by its parent; from the start
        issue_at(cli, T, *personal, *bounded)
    assert found(cli, T + 23 * DAY - 1001, "token-expiring") == []
    ((identifier, detail),) = found(cli, T + 23 * DAY, "token-expiring")
    assert identifier == token
    assert detail.endswith("ends in 7d")
    assert cli.at(T + 23 * DAY, "revoke", token, "--suspend", "--yes").code == 0
    assert found(cli, T + 23 * DAY, "token-expiring") == []
    assert cli.at(T + 23 * DAY, "revoke", token, "--lift", "--yes").code == 0
    assert cli.at(T + 23 * DAY, "issue", "--replace", token, "-q").code == 0
    assert found(cli, T + 23 * DAY, "token-expiring") == []


def test_a_token_is_undelivered_after_a_minute(cli):
    token = cli.id_of(issue_at(cli, T))
    change(cli.store, "UPDATE token SET delivered_at = NULL")
    assert found(cli, T + MINUTE - 1, "token-undelivered") == []
    assert found(cli, T + MINUTE, "token-undelivered") == [(token, "issued 1m ago, its delivery is not known")]
    for rule in IDS[:6]:  # it is not living
        assert found(cli, T + MINUTE, rule) == []


def test_an_owner_has_too_many_living_tokens_from_one_above_the_threshold(cli):
    write_profile(cli, "[review]\ntokens_per_owner = 7\n")
    made = [cli.at(T, "issue", "--subject", "s", "--owner", "bob", "--ttl", "1h", "--count", "7", "-q").lines]
    gone = cli.id_of(issue_at(cli, T, "--owner", "bob", "--ttl", "2h"))
    issue_at(cli, T, "--owner", "alice")
    assert cli.at(T, "revoke", gone, "--yes", "-q").code == 0
    assert found(cli, T, "owner-many-tokens") == []
    made.append(cli.at(T, "issue", "--subject", "s", "--owner", "bob", "--ttl", "30m", "--count", "6", "-q").lines)
    ids = [token["id"] for token in sorted(made[0] + made[1], key=lambda token: (token["expires_at"], token["id"]))][:6]
    assert found(cli, T, "owner-many-tokens") == [("bob", "13 living tokens, at most 7")]
    done = cli.at(T, "audit", "review", "--rule", "owner-many-tokens", "-o", "json")
    assert json.loads(done.out)["findings"][0]["ids"] == ids
    columns = cli.at(T, "audit", "review", "--rule", "owner-many-tokens").out.split("\t")
    assert columns[2:4] == ["bob", f"13 living tokens, at most 7: {' '.join(ids[:5])} and 1 more"]
    assert found(cli, T + HOUR, "owner-many-tokens") == []  # expired


def test_a_key_is_overdue_at_its_age_and_until_the_step_is_taken(cli):
    issue_at(cli, T, "--format", "jwt", "--audience", "x")
    kid = cli.at(T, "rotate-keys", "status", "-o", "json").json["keys"][0]["kid"]
    assert found(cli, T + 90 * DAY - 1, "key-overdue") == []
    assert found(cli, T + 90 * DAY, "key-overdue") == [(kid, "the active ES256 key is to be followed by another since now")]
    assert found(cli, T + 92 * DAY, "key-overdue") == [(kid, "the active ES256 key is to be followed by another since 2d ago")]
    assert cli.at(T + 90 * DAY, "rotate-keys", "-q").code == 0
    assert found(cli, T + 91 * DAY - 1, "key-overdue") == []
    done = cli.at(T + 91 * DAY, "audit", "review", "--rule", "key-overdue", "-o", "jsonl")
    # A plain rotate-keys would be refused: nobody can be asked whether a verifier has the key.
    assert [line["mend"] for line in done.lines] == ["tokenctl rotate-keys --unobserved"]
    assert cli.at(T + 91 * DAY, "rotate-keys", "--unobserved", "-q").code == 0
    assert found(cli, T + 91 * DAY, "key-overdue") == []


def test_the_log_wants_a_checkpoint_when_its_oldest_unanchored_record_is_a_week_old(cli):
    issue_at(cli, T)
    own = cli("store", "info", "-o", "json").json["store_id"]
    assert found(cli, T + 7 * DAY - 1, "log-not-anchored") == []
    assert found(cli, T + 7 * DAY, "log-not-anchored") == [(own, "2 records in no checkpoint, the oldest is 7d old")]
    assert cli.at(T + 7 * DAY, "audit", "checkpoint", "--out", "kept").code == 0
    assert found(cli, T + 70 * DAY, "log-not-anchored") == []  # nothing came behind it
    issue_at(cli, T + 70 * DAY)
    assert found(cli, T + 77 * DAY - 1, "log-not-anchored") == []
    assert [identifier for identifier, _ in found(cli, T + 77 * DAY, "log-not-anchored")] == [own]


def test_thresholds_are_the_profiles(cli):
    write_profile(
        cli,
        '[review]\nmax_lifetime = { personal = "1h" }\nnever_used = "1h"\nunused = "2h"\nexpiring = "1d"\ncheckpoint = "1h"\n',
    )
    token = cli.id_of(issue_at(cli, T, "--kind", "personal", "--ttl", "2d", *CLEAN))
    for rule in ("token-too-long-lived", "token-never-used"):
        assert [identifier for identifier, _ in found(cli, T + HOUR, rule)] == [token]
    assert found(cli, T + HOUR, "log-not-anchored")
    assert found(cli, T + DAY, "token-expiring")
    shown = cli("profile", "show", "-o", "json").json["review"]
    assert shown == {
        "max_lifetime": {"access": "1d", "personal": "1h", "service": "90d"}, "never_used": "1h", "unused": "2h",
        "expiring": "1d", "checkpoint": "1h", "tokens_per_owner": 50, "broad_scopes": ["admin", "admin:*", "*:admin"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('never = "1d"', "has an unknown setting"), ("unused = 30", "unused is a duration"), ('unused = "1y"', "unused is a"),
        ("tokens_per_owner = 0", "tokens_per_owner is a whole number"), ("tokens_per_owner = true", "tokens_per_owner is a"),
        ('broad_scopes = "a"', "broad_scopes is a list"), ('max_lifetime = { pat = "1d" }', "max_lifetime is a duration"),
        ('max_lifetime = { access = "x" }', "max_lifetime is a duration"),
    ],
)  # fmt: skip
def test_a_threshold_that_is_none_is_told_by_the_review_and_keeps_nobody_from_revoking(cli, table, told):
    token = cli.token()
    write_profile(cli, f"[review]\n{table}\n")
    done = cli("audit", "review")
    assert (done.code, done.out) == (9, "")
    assert told in done.err
    assert cli("revoke", cli.id_of(token), "--yes", "-q").code == 0


# The show


def test_one_mistake_of_each_kind_is_found_and_mended_by_the_command_that_it_prints(cli):
    now = time.time_ns() // 1_000_000
    write_profile(cli, 'keyring_backend = "kept.Kept"\nmax_lifetime = "180d"\n[review]\ntokens_per_owner = 3\n')
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(cli.home / "kept.json")}

    def made(days, *arguments):
        return issue_at(cli, now - days * DAY, *(arguments if "--audience" in arguments else (*arguments, "--audience", "x")))

    made(95, "--format", "jwt")
    expiring = made(40, "--owner", "o1", "--kind", "service", "--ttl", "45d", "--scope", "a")
    unused = made(40, "--owner", "o2", "--kind", "personal", "--ttl", "80d", "--scope", "a")
    assert cli.at(now - 35 * DAY, "inspect", "-", "--use", "--audience", "x", "-q", input=unused).code == 0
    never = made(20, "--owner", "o3", "--kind", "personal", "--ttl", "80d", "--scope", "a")
    assert cli("inspect", "-", "--use", "--audience", "x", "-q", input=expiring).code == 0
    lost = issue_at(cli, now - 2 * MINUTE, "--owner", "o8", *CLEAN)
    long = cli.token("--owner", "o4", "--kind", "personal", "--ttl", "180d", *CLEAN)
    broad = cli.token("--owner", "o5", "--scope", "admin", "--audience", "x")
    unheard = cli.token("--owner", "o6", "--scope", "a")
    many = [cli.token("--owner", "o7", *CLEAN) for _ in range(4)]
    change(cli.store, f"UPDATE token SET delivered_at = NULL WHERE id = '{cli.id_of(lost)}'")

    done = cli("audit", "review", "-o", "sarif")
    assert (done.code, done.err) == (3, "")
    sarif_schema.check(done.json)
    (run,) = done.json["runs"]
    results = {result["ruleId"]: result["properties"] for result in run["results"]}
    assert sorted(result["ruleId"] for result in run["results"]) == sorted(IDS)
    expected = {
        "token-expiring": expiring, "token-unused": unused, "token-never-used": never, "token-too-long-lived": long,
        "token-broad-scope": broad, "token-no-audience": unheard, "token-undelivered": lost, "owner-many-tokens": many[0],
    }  # fmt: skip
    assert {rule: results[rule]["ids"] for rule in expected} == {rule: [cli.id_of(token)] for rule, token in expected.items()}
    # The lost token first: any issue would settle it too.
    for rule in sorted(results, key=lambda rule: rule != "token-undelivered"):
        ended = run_line(cli, results[rule]["mend"])
        assert ended.returncode == 0, (rule, ended.stderr)
        again = cli("audit", "review", "--rule", rule)
        assert (again.code, again.out) == (0, ""), (rule, again)
    assert (cli.home / f"{cli.id_of(expiring)}.token").read_text().startswith("tkc_svc_")
    done = cli("audit", "review", "-o", "sarif")
    assert (done.code, done.json["runs"][0]["results"]) == (0, [])
    sarif_schema.check(done.json)
    assert cli("audit", "verify", "-q").code == 0


# SARIF


def test_sarif_has_what_its_readers_demand(cli):
    token = cli.id_of(issue_at(cli, T, "--scope", "a"))
    done = cli.at(T, "audit", "review", "--rule", "token-no-audience", "-o", "sarif")
    log = done.json
    sarif_schema.check(log)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "tokenctl"
    assert [(rule["id"], rule["defaultConfiguration"]["level"]) for rule in driver["rules"]] == [
        (rule.id, rule.severity) for rule in RULES
    ]
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in driver["rules"])
    (result,) = run["results"]
    assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "token-no-audience"
    assert result["level"] == "note"
    assert "baselineState" not in result
    (location,) = result["locations"]
    # GitHub shows no result without a file and a line.
    assert location["physicalLocation"] == {"artifactLocation": {"uri": "tokenctl/local"}, "region": {"startLine": 1}}
    assert location["logicalLocations"][0]["fullyQualifiedName"] == f"tokenctl/local/{token}"
    assert set(result["partialFingerprints"]) == {"primaryLocationLineHash", "tokenctlFinding/v1"}
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 3, "toolExecutionNotifications": []}]


HOSTILE = "[click](http://evil.example) {0} \x1b[31m\u202e\\ \t'; touch pwned; '"


def test_a_hostile_name_is_data_in_every_output(cli):
    done = cli.at(T, "issue", "--subject", HOSTILE, "--owner", HOSTILE, "-q")
    assert done.code == 0, done.err
    log = cli.at(T, "audit", "review", "-o", "sarif").json
    sarif_schema.check(log)
    (message,) = [each["message"]["text"] for each in log["runs"][0]["results"] if each["ruleId"] == "token-no-audience"]
    assert "\\[click\\](http://evil.example) {{0}} \\\\x1b\\[31m\\\\u202e\\\\" in message
    for output in ((), ("-o", "json"), ("-o", "jsonl"), ("-o", "sarif")):
        out = cli.at(T, "audit", "review", *output).out
        assert "\x1b" not in out
        assert "\u202e" not in out
    lines = cli.at(T, "audit", "review").out.splitlines()
    assert {len(line.split("\t")) for line in lines} == {5}
    assert cli.at(T, "audit", "review", "-o", "jsonl").lines[0]["detail"].startswith(f"access token of {HOSTILE} for {HOSTILE}")


@pytest.mark.parametrize("name", ["o'brien; touch pwned", "a*", HOSTILE, "tokenctl revoke x", "-x"])
def test_the_mend_for_an_owner_hits_that_owner_alone_however_it_is_named(cli, name):
    write_profile(cli, "[review]\ntokens_per_owner = 2\n")
    rows = "".join(json.dumps({"subject": "s", "owner": each}) + "\n" for each in [name] * 3 + ["ab", "ab"])
    made = cli("issue", "--from", "-", "-q", input=rows)
    assert made.code == 0, made.err
    (finding,) = cli("audit", "review", "--rule", "owner-many-tokens", "-o", "jsonl").lines
    assert (finding["id"], len(finding["ids"])) == (name, 1)
    ended = run_line(cli, finding["mend"])
    assert ended.returncode == 0, ended.stderr
    assert not (cli.home / "pwned").exists()
    assert [token["id"] for token in cli("list", "--state", "revoked", "-o", "json").json["tokens"]] == finding["ids"]
    assert cli("audit", "review", "--rule", "owner-many-tokens", "-q").code == 0


@pytest.mark.parametrize("count", [5, 105])
def test_the_mend_for_an_owner_hits_no_others_when_it_is_run_again(cli, count):
    write_profile(cli, "[review]\ntokens_per_owner = 3\n")
    rows = "".join(json.dumps({"subject": "s", "owner": "bob", "ttl": f"{300 + minutes}m"}) + "\n" for minutes in range(count))
    assert cli("issue", "--from", "-", "-q", input=rows).code == 0
    (finding,) = cli("audit", "review", "--rule", "owner-many-tokens", "-o", "jsonl").lines
    assert ("|" in finding["mend"]) == (count > 100)
    for _ in range(2):
        run_line(cli, finding["mend"])
        assert len(cli("list", "-o", "json").json["tokens"]) == 3


def test_a_finding_says_whom_else_its_mend_ends(cli):
    parent = issue_at(cli, T, "--kind", "service", "--scope", "a", "--ttl", "80d", "--audience", "x")
    child = issue_at(cli, T, "--parent", cli.id_of(parent), "--scope", "a", "--ttl", "2h", "--audience", "x")
    issue_at(cli, T, "--parent", cli.id_of(child), "--scope", "a", "--ttl", "1h", "--audience", "x")
    write_profile(cli, '[review.max_lifetime]\nservice = "1d"\n')
    told = "service token of root for s, made for 80d, at most 1d; revoking it ends 2 descendants too"
    ((_, detail),) = found(cli, T, "token-too-long-lived")
    assert detail.partition(" for ")[2] == told.partition(" for ")[2]


# Options


def test_the_exit_code_is_3_from_the_named_severity_on(cli):
    cli.token("--audience", "x")  # the root secret in its file is a note
    for arguments, code in (((), 3), (("--fail-on", "note"), 3), (("--fail-on", "warning"), 0), (("--fail-on", "error"), 0)):
        done = cli("audit", "review", *arguments)
        assert (done.code, done.out.split("\t")[:2], done.err) == (code, ["root-secret-in-file", "note"], "")
        assert cli("audit", "review", "-q", *arguments) == type(done)(code, "", "")
    cli.token("--audience", "x", "--scope", "admin")
    assert cli("audit", "review", "-q", "--fail-on", "warning").code == 3
    assert cli("audit", "review", "-q", "--fail-on", "error").code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--rule", "nothing"), f"--rule: there is no such rule; known: {', '.join(rule.id for rule in RULES)}"),
        (("--fail-on", "bad"), "--fail-on: one of error, warning, note"),
        (("--baseline", "absent"), "cannot read absent: no such file or directory"),
        (
            ("--baseline", "x", "--write-baseline", "x"),
            "--baseline leaves out what is known, --write-baseline writes it: give one of them",
        ),
        (("-o", "yaml"), "--output: one of text, json, jsonl, sarif"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_question_is_told(cli, arguments, told):
    done = cli("audit", "review", *arguments)
    assert (done.code, done.out, done.err.splitlines()[0]) == (2, "", f"tokenctl: {told}")


def test_sarif_is_written_by_the_review_alone_and_may_stand_before_it(cli):
    cli.token()
    assert cli("-o", "sarif", "audit", "review").json["version"] == "2.1.0"
    for arguments in (("list", "-o", "sarif"), ("-o", "sarif", "list"), ("audit", "log", "-o", "sarif")):
        done = cli(*arguments)
        assert (done.code, done.out) == (2, "")
        assert json.loads(done.err)["message"] == "--output: one of text, json, jsonl"


def test_several_rules_can_be_named(cli):
    cli.token()
    done = cli("audit", "review", "--rule", "token-no-audience", "--rule", "token-unused", "-o", "jsonl")
    assert [line["rule"] for line in done.lines] == ["token-no-audience"]


def test_the_document_has_every_key(cli):
    token = cli.id_of(cli.token("--scope", "a"))
    done = cli("audit", "review", "-o", "json")
    assert done.code == 3
    assert list(done.json) == ["findings", "counts", "known", "absent", "profile", "exit_code", "warnings"]
    assert done.json["counts"] == {"error": 0, "warning": 0, "note": 2}
    first = done.json["findings"][0]
    assert list(first) == ["rule", "severity", "id", "detail", "mend", "fingerprint", "ids"]
    assert (first["id"], first["ids"]) == (token, [token])
    assert first["mend"] == f"python -m tokenctl revoke {token} --reason policy --yes"


def test_the_mend_names_the_profile(cli):
    assert cli("profile", "add", "prod", "-q").code == 0
    cli("issue", "--subject", "s", "-p", "prod", "-q")
    for line in cli("audit", "review", "-p", "prod", "-o", "jsonl").lines:
        assert line["mend"].startswith("python -m tokenctl -p prod ")


# The baseline


def test_what_a_baseline_knows_is_left_out_and_what_is_gone_is_told(cli):
    first = cli.id_of(cli.token())
    written = cli("audit", "review", "--write-baseline", "known.json")
    assert (written.code, written.out, written.err) == (0, "", "")
    assert cli("audit", "review", "--baseline", "known.json") == type(written)(0, "", "")
    second = cli.id_of(cli.token())
    done = cli("audit", "review", "--baseline", "known.json", "-o", "json")
    assert (done.code, done.json["known"], done.json["absent"]) == (3, 2, [])
    assert [finding["id"] for finding in done.json["findings"]] == [second]
    log = cli("audit", "review", "--baseline", "known.json", "-o", "sarif").json
    sarif_schema.check(log)
    assert [result["baselineState"] for result in log["runs"][0]["results"]] == ["new"]
    cli("revoke", first, "--yes", "-q")
    told = f"the baseline knows what is no longer found: token-no-audience {first}"
    done = cli("audit", "review", "--baseline", "known.json")
    assert (done.code, done.err) == (3, f"warning: {told}\n")
    log = cli("audit", "review", "--baseline", "known.json", "-o", "sarif")
    sarif_schema.check(log.json)
    notices = log.json["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert (notices, log.err) == ([{"level": "warning", "message": {"text": told}}], "")
    document = cli("audit", "review", "--baseline", "known.json", "-o", "json").json
    assert [(entry["rule"], entry["id"]) for entry in document["absent"]] == [("token-no-audience", first)]
    # A rule that is not asked for says nothing of what the baseline knows of it.
    assert cli("audit", "review", "--baseline", "known.json", "--rule", "token-unused").err == ""


def test_a_baseline_is_written_whole_over_the_old_one_and_never_among_our_files(cli):
    cli.token()
    (cli.home / "known.json").write_text("old")
    assert cli("audit", "review", "--write-baseline", "known.json", "-o", "json").json["findings"] == 2
    assert json.loads((cli.home / "known.json").read_text())["tokenctl_baseline"] == 1
    (cli.home / "link").symlink_to("known.json")
    assert cli("audit", "review", "--write-baseline", "link").code == 2
    done = cli("audit", "review", "--write-baseline", str(cli.root_secret))
    assert (done.code, done.out) == (2, "")
    assert len(cli.root_secret.read_text().strip()) == 64


def test_a_baseline_that_knows_one_step_of_a_key_does_not_know_the_next(cli):
    now = T
    issue_at(cli, now, "--format", "jwt", "--audience", "a", "--ttl", "15m")
    review = ("audit", "review", "--rule", "key-overdue")
    now += 91 * DAY
    told = cli.at(now, *review)
    assert (told.code, told.out.count("\n")) == (3, 1)
    assert cli.at(now, *review, "--write-baseline", "known").code == 0
    assert cli.at(now + DAY, *review, "--baseline", "known").code == 0
    for pause in (0, 25 * HOUR):
        now += pause
        assert cli.at(now, "rotate-keys", "--unobserved").code == 0
    later = cli.at(now + 2 * DAY, *review, "--baseline", "known")
    assert (later.code, later.out.split("\t")[2]) == (3, told.out.split("\t")[2])  # the same key, to be retired
    assert "retire ES256 is due" in later.out


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"tokenctl_baseline": true, "findings": []}', '{"tokenctl_baseline": 2, "findings": []}',
     '{"tokenctl_baseline": 1, "findings": {}}', '{"tokenctl_baseline": 1, "findings": [{"fingerprint": "a"}]}',
     '{"tokenctl_baseline": 1, "findings": [1]}'],
)  # fmt: skip
def test_a_file_that_is_no_baseline_is_refused(cli, text):
    cli.token()
    (cli.home / "known.json").write_text(text)
    done = cli("audit", "review", "--baseline", "known.json")
    assert (done.code, done.out) == (2, "")
    assert "baseline" in done.err


# The store


def test_without_a_store_there_is_nothing_to_find_and_nothing_is_made(cli):
    for arguments in ((), ("-q",), ("-o", "jsonl")):
        done = cli("audit", "review", *arguments)
        assert (done.code, done.out, done.err) == (0, "", "")
    sarif_schema.check(cli("audit", "review", "-o", "sarif").json)
    assert cli("audit", "review", "-o", "json").json["findings"] == []
    assert "nothing to review: profile local" in at_a_terminal(cli, "audit", "review")
    assert list(cli.home.iterdir()) == []


def test_a_quarantined_store_is_not_reviewed(cli):
    cli.token()
    assert cli("store", "seal", "--reason", "r", "-q").code == 0
    done = cli("audit", "review")
    assert (done.code, done.out) == (10, "")
    assert "quarantined" in done.err


def test_a_row_that_does_not_check_out_is_named_and_ends_with_10(cli):
    token, other = cli.id_of(cli.token()), cli.id_of(cli.token())
    change(cli.store, f"UPDATE token SET note = 'changed' WHERE id = '{token}'")
    done = cli("audit", "review", "--rule", "token-no-audience")
    assert (done.code, [line.split("\t")[2] for line in done.out.splitlines()]) == (10, [other])
    assert done.err == f"not reviewed: {token}, its row does not check out; run: python -m tokenctl audit verify\n"


def test_a_review_changes_no_byte_of_the_store(cli):
    cli.token()
    change(cli.store, "UPDATE token SET delivered_at = NULL, issued_at = issued_at")
    before = cli.store.read_bytes()
    for output in ((), ("-o", "sarif")):
        assert cli.at(time.time_ns() // 1_000_000 + HOUR, "audit", "review", *output).code == 3
    assert cli.store.read_bytes() == before


def test_a_terminal_shows_each_rule_once_with_its_first_findings(cli):
    cli("issue", "--subject", "s", "--count", "12", "-q")
    shown = at_a_terminal(cli, "audit", "review")
    assert shown.count("token-no-audience  12") == 1
    assert shown.count("--reason policy --yes") == 10
    assert "  and 2 more: python -m tokenctl audit review --rule token-no-audience -o jsonl" in shown
    assert "13 notes: profile local" in shown
