"""The policy, met by the real program: rules, limits, the ceiling, what is recorded and what is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Result, missing
from tokenctl import config, wiring
from tokenctl.errors import PolicyDenied
from tokenctl.model import policy_file
from tokenctl.model.token import TokenRequest

CI = """
[[rule]]
name = "ci"
subject = "ci-*"
kinds = ["access"]
scopes = ["deploy:*"]
max_lifetime = "1h"
"""
PEOPLE = """
[[rule]]
name = "people"
subject = "*"
kinds = ["personal"]
scopes = ["repo:read"]
limit_per_owner = 2
"""
SHOW = "hint: the rules: python -m tokenctl profile show\n"
OLD_HASH = "7e9fa96b913f6217458418165db81c232a59ab2c185e495e6dd02753ec7e7dd1"  # of the built-in limits alone


def write(cli, text, profile="local"):
    """Write a profile's file."""
    path = cli.home / f".config/tokenctl/profiles/{profile}.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def records(cli, *arguments):
    return cli("audit", "log", "-o", "jsonl", *arguments).lines


def refused(cli, told, *arguments):
    done = cli("issue", *arguments)
    assert (done.code, done.out) == (12, ""), done
    assert done.err.removeprefix("notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)\n") == (
        f"tokenctl: the policy forbids it: {told}\n{SHOW}"
    )


def issued(cli, *arguments):
    done = cli("issue", *arguments, "-o", "json")
    assert done.code == 0, done.err
    return done.json


@pytest.fixture
def under(cli, tmp_path):
    """Run the program under a ceiling of its own, which root owns as it owns the one in /etc."""
    if os.geteuid() != 0:
        missing("root")
    place = tmp_path / "etc"
    place.mkdir(mode=0o755)
    path = place / "policy.toml"

    def run(*arguments, text=None, **environment):
        if text is not None:
            path.write_text(text)
            path.chmod(0o644)
        code = (
            "import os, sys\n"
            "from tokenctl import process\n"
            "process.harden()\n"
            "from tokenctl.cli.boundary import run\n"
            f"sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl', ceiling={str(path)!r}))"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            env=cli.env | environment,
            cwd=cli.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    run.path = path
    return run


# Rules


def test_the_first_rule_makes_the_profile_deny_by_default(cli):
    assert cli("issue", "--subject", "web", "--scope", "x").code == 0
    write(cli, CI)
    refused(
        cli, "no-rule: no rule is for subject web, kind access, owner root (rules: ci)", "--subject", "web", "--owner", "root"
    )
    assert cli("issue", "--subject", "ci-1", "--scope", "deploy:write").code == 0


@pytest.mark.parametrize(
    ("body", "good", "bad", "told"),
    [
        ('scopes = ["a:*", "b"]', ("--scope", "a:x"), ("--scope", "c", "--scope", "b"), "scope: c (admitted: a:*, b)"),
        ('scopes = "*"', ("--scope", "a"), ("--scope", "a:*"), "wildcard-scope: a:* (admitted: none)"),
        ('wildcard_scopes = "a:*"', ("--scope", "a:*"), ("--scope", "a:b:*"), "wildcard-scope: a:b:* (admitted: a:*)"),
        ('formats = "opaque"', (), ("--format", "jwt", "--audience", "x"), "format: jwt (admitted: opaque)"),
        ('audiences = "x"', ("--audience", "x"), ("--audience", "y"), "audience: y (admitted: x)"),
        ('audiences = "*"', ("--audience", "x"), (), "audience: none (admitted: *)"),
        ('labels = "team=a"', ("--label", "team=a"), ("--label", "team=b"), "label: team=b (admitted: team=a)"),
        ('notes = "INC-*"', ("--note", "INC-1"), ("--note", "so"), "note: so (admitted: INC-*)"),
        ('require = ["ttl", "note"]', ("--ttl", "1m", "--note", "n"), ("--ttl", "1m"), "require: --note"),
        ('require = "label:team"', ("--label", "team=x"), ("--label", "t=x"), "require: --label team=…"),
        ('max_lifetime = "1h"', ("--ttl", "1h"), ("--ttl", "61m"), "max-lifetime: a token of kind access lives at most 1h"),
        (
            'claims = "tier"',
            ("--format", "jwt", "--audience", "x", "--claim", "tier=1"),
            ("--format", "jwt", "--audience", "x", "--claim", "other=1"),
            "claim: other (admitted: tier)",
        ),
    ],
)
def test_a_rule_admits_and_refuses(cli, body, good, bad, told):
    write(cli, f'[[rule]]\nname = "r"\nsubject = "s"\n{body}\n')
    assert cli("issue", "--subject", "s", *good).code == 0
    refused(cli, f"rule r: {told}", "--subject", "s", *bad)
    assert cli("audit", "verify").code == 0


@pytest.mark.parametrize(("head", "option"), [('kinds = "access"', "--kind"), ('owners = "alice"', "--owner")])
def test_who_a_rule_is_for_decides_whether_it_decides(cli, head, option):
    write(cli, f'[[rule]]\nname = "r"\nsubject = "s"\nscopes = "a"\n{head}\n')
    good, bad = {"--kind": ("access", "service"), "--owner": ("alice", "bob")}[option]
    given = ("--subject", "s", "--scope", "a")
    assert cli("issue", *given, "--owner", "alice", option, good).code == 0
    done = cli("issue", *given, option, bad, *(("--owner", "alice") if option == "--kind" else ()))
    assert done.code == 12
    assert f"no-rule: no rule is for subject s, kind {bad if option == '--kind' else 'access'}, owner" in done.err
    assert "(r is for kind access" in done.err


def test_every_fault_is_told_at_once_and_stands_in_the_record(cli):
    write(cli, CI)
    refused(
        cli,
        "rule ci: max-lifetime: a token of kind access lives at most 1h; rule ci: scope: a (admitted: deploy:*); "
        "rule ci: claim: k (admitted: none)",
        *("--subject", "ci-1", "--scope", "a", "--ttl", "2h", "--format", "jwt", "--audience", "x", "--claim", "k=1"),
    )
    (denied,) = records(cli, "--operation", "token.deny")
    assert (denied["reason"], denied["subject"], denied["scope"]) == ("ci/max-lifetime", "ci-1", ["a"])
    error = cli("issue", "--subject", "ci-1", "--scope", "a", "-o", "json")
    assert json.loads(error.err)["reason"] == "ci/scope"


def test_a_malformed_request_is_told_together_with_the_rules_it_breaks(cli):
    write(cli, CI)
    done = cli("issue", "--subject", "ci-1", "--scope", "a", "--ttl", "soon")
    assert done.code == 2
    assert done.err.startswith("tokenctl: 2 faults in the request: --ttl: not a duration")
    assert "rule ci: scope: a (admitted: deploy:*)" in done.err
    assert not cli.store.exists()


def test_the_policy_changes_defaults_and_caps(cli):
    write(cli, 'max_lifetime = { service = "365d" }\ndefault_lifetime = { access = "5m" }\n')
    assert issued(cli, "--subject", "s")["expires_in"] in range(295, 301)
    token = issued(cli, "--subject", "s", "--scope", "a", "--kind", "service", "--ttl", "365d")
    assert token["expires_in"] > 364 * 86400
    done = cli("issue", "--subject", "s", "--scope", "a", "--kind", "service", "--ttl", "366d")
    assert (done.code, done.err) == (
        12,
        "tokenctl: the policy forbids it: max-lifetime: a token of kind service lives at most 365d\nhint: ask for less\n",
    )
    assert cli("issue", "--subject", "s", "--scope", "any").code == 0


def test_the_longest_lifetime_bounds_the_start_too(cli):
    write(cli, '[[rule]]\nname = "r"\nsubject = "s"\nmax_lifetime = "10m"\n')
    refused(
        cli, "rule r: not-before: a token of kind access begins at most 10m from now",
        "--subject", "s", "--not-before", "+11m", "--ttl", "1m",
    )  # fmt: skip
    assert records(cli, "--operation", "token.deny")[0]["reason"] == "r/not-before"
    assert cli("issue", "--subject", "s", "--not-before", "+10m").code == 0


def test_a_command_gets_no_token_that_the_policy_would_refuse(cli):
    write(cli, '[[rule]]\nname = "r"\nsubject = "s"\nrequire = ["ttl"]\nmax_lifetime = "20m"\n')
    for more in ((), ("-n",)):
        done = cli("issue", "--subject", "s", *more, "--", "touch", "ran")
        assert (done.code, done.out) == (12, "")
        assert "rule r: require: --ttl\n" in done.err
    assert not (cli.home / "ran").exists()
    assert cli("issue", "--subject", "s", "--ttl", "1m", "--", "true").code == 0
    write(cli, 'max_lifetime = "20m"\ndefault_lifetime = "5m"\n')
    assert cli("issue", "--subject", "s", "-n", "--", "true").out == "would issue  access, opaque, 20m, for s\n"
    write(cli, "")
    assert cli("issue", "--subject", "s", "-n", "--", "true").out == "would issue  access, opaque, 1h, for s\n"


def test_a_child_meets_the_policy_and_its_parent(cli):
    parent = issued(cli, "--subject", "p", "--scope", "deploy:a", "--scope", "x", "--ttl", "30m")["id"]
    write(cli, CI)
    given = ("--subject", "ci-1", "--parent", parent)
    assert cli("issue", *given, "--scope", "deploy:a").code == 0
    refused(cli, "rule ci: scope: x (admitted: deploy:*)", *given, "--scope", "x")
    both = cli("issue", *given, "--scope", "x", "--scope", "deploy:b", "--ttl", "50m")
    assert both.code == 12
    assert both.err.startswith(
        "tokenctl: the policy forbids it: rule ci: scope: x (admitted: deploy:*); parent-scope: the parent lacks deploy:b; "
        "parent-lifetime: the parent expires earlier\n"
    )
    unknown = ("issue", "--subject", "ci-1", "--parent", "0352Ldy4SKzRSvwVvSWvL6")
    assert cli(*unknown).code == 5
    assert "; parent: no token 0352Ldy4SKzRSvwVvSWvL6 to be the parent\n" in cli(*unknown, "--scope", "x").err


def test_a_child_has_no_more_uses_than_its_parent(cli):
    parent = cli("issue", "--subject", "p", "--max-uses", "3", "--ttl", "1h")
    assert cli("inspect", "-", "--use", "--any-audience", input=parent.out).code == 0
    given = ("issue", "--subject", "c", "--parent", cli.id_of(parent.out))
    for more in ((), ("--max-uses", "3")):
        done = cli(*given, *more)
        assert (done.code, done.err) == (
            12,
            "tokenctl: the policy forbids it: parent-max-uses: the parent has 2 uses left\nhint: ask for less\n",
        )
    assert cli(*given, "--max-uses", "2").code == 0


def used(cli, token):
    """How many times a token is accepted."""
    return next(times for times in range(99) if cli("inspect", "-", "--use", "--any-audience", input=token).code != 0)


def test_parent_and_children_together_have_the_uses_of_the_parent(cli):
    """Three, however they are shared out, used, given back and given again."""
    parent = cli.token("--max-uses", "3", "--ttl", "1h")
    given = ("issue", "--subject", "c", "--parent", cli.id_of(parent), "--ttl", "10m", "-q")
    first, second = (cli(*given, "--max-uses", "1") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    refused = cli(*given, "--max-uses", "2")
    assert (refused.code, refused.err.splitlines()[0]) == (
        12, "tokenctl: the policy forbids it: parent-max-uses: the parent has 1 use left, its children have 2"
    )  # fmt: skip
    assert cli(*given, "--max-uses", "2", "-n").code == 12
    assert used(cli, first.out) == 1
    assert used(cli, parent) == 1
    spent = cli("inspect", "-", "--any-audience", "-o", "json", input=parent)
    assert (spent.code, spent.json["state"], spent.json["uses"]) == (3, "spent", 1)
    assert "its children have what is left of its uses" in cli("inspect", cli.id_of(parent)).out
    assert [line["id"] for line in cli("list", "--state", "spent", "-o", "jsonl").lines] == [
        cli.id_of(first.out), cli.id_of(parent)
    ]  # fmt: skip
    for child in (first, second):
        assert cli("revoke", cli.id_of(child.out), "--yes").code == 0
    assert cli("inspect", cli.id_of(parent)).code == 0  # what the second did not use came back
    assert cli(*given, "--max-uses", "2").code == 12
    third = cli(*given, "--max-uses", "1")
    assert (third.code, used(cli, parent), used(cli, third.out)) == (0, 0, 1)
    assert cli("audit", "verify").code == 0


def test_what_died_with_a_child_counts_as_what_it_used(cli):
    parent = cli.token("--max-uses", "4", "--ttl", "1h")
    child = cli.token("--max-uses", "3", "--ttl", "50m", "--parent", cli.id_of(parent))
    below = cli.token("--max-uses", "1", "--ttl", "40m", "--parent", cli.id_of(child))
    kept = cli.token("--max-uses", "1", "--ttl", "40m", "--parent", cli.id_of(child))
    assert used(cli, below) == 1
    given = ("issue", "--subject", "c", "--parent", cli.id_of(parent), "--ttl", "10m", "-q")
    assert cli("revoke", cli.id_of(child), "--keep-children", "--yes").code == 0
    assert "the parent has 1 use left, its children have 3\n" in cli(*given, "--max-uses", "2").err
    assert cli("revoke", cli.id_of(kept), "--yes").code == 0
    assert cli(*given, "--max-uses", "2").code == 12  # the child counts whole while it shields what is below it
    other = cli.token("--max-uses", "1", "--ttl", "50m", "--parent", cli.id_of(parent))
    under = cli.token("--max-uses", "1", "--ttl", "40m", "--parent", cli.id_of(other))
    assert used(cli, under) == 1
    assert cli("revoke", cli.id_of(other), "--yes").code == 0
    assert (cli(*given, "--max-uses", "1").code, used(cli, parent)) == (12, 0)
    assert cli("audit", "verify").code == 0


def test_uses_are_given_once_however_many_ask_together(cli):
    parent = cli.token("--max-uses", "5", "--ttl", "1h")
    given = ("issue", "--subject", "c", "--parent", cli.id_of(parent), "--ttl", "10m", "--max-uses", "1", "-q")
    for dry in ((), ("-n",)):
        done = cli(*given, "--count", "6", *dry)
        assert (done.code, done.out) == (12, "")
        assert "line 6: the policy forbids it: parent-max-uses: the parent has 0 uses left, its children have 5" in done.err
    with ThreadPoolExecutor(8) as pool:
        ended = [done.code for done in pool.map(lambda _: cli(*given), range(8))]
    assert (ended.count(0), ended.count(12)) == (5, 3)
    assert cli("audit", "verify").code == 0


def test_a_rerun_of_a_child_that_never_arrived_takes_its_uses(cli):
    parent = cli.token("--max-uses", "1", "--ttl", "1h")
    given = ("issue", "--subject", "c", "--parent", cli.id_of(parent), "--ttl", "10m", "--max-uses", "1")
    code = (
        "import os, sys\n"
        "from tokenctl import files, process\n"
        "process.harden()\n"
        "files.write_all = lambda *_: os._exit(9)\n"
        "from tokenctl.cli.boundary import run\n"
        "run(sys.argv[1:], environment=os.environ, program='tokenctl')\n"
    )
    again = (*given, "--request-id", "job")
    done = subprocess.run([sys.executable, "-P", "-c", code, *again], env=cli.env, capture_output=True, check=False)
    assert done.returncode == 9
    assert cli(*given).code == 12
    assert cli(*again, "-n").code == 0
    assert cli(*again).code == 0
    assert cli(*given).code == 12


def test_uses_are_given_once_within_one_transaction(cli):
    from tokenctl.backends.local import issuing

    parent = cli.id_of(cli.token("--max-uses", "3", "--ttl", "1h"))
    surroundings = wiring.Surroundings(
        environment={"HOME": str(cli.home)}, now=time.time_ns() // 1_000_000, notice=print, warn=print, timeout=5.0
    )
    backend = wiring.open_backend(None, surroundings)
    child = TokenRequest(subject="x", owner="a", parent=parent, max_uses=2)
    with backend.journal.changing() as change:
        minting = issuing.Minting(change, backend.policy, config.Profile(name="local"), surroundings.now, lambda _: None)
        minting.add(child)
        with pytest.raises(PolicyDenied, match="parent-max-uses: the parent has 1 use left, its children have 2"):
            minting.add(child)
        minting.add(child._replace(max_uses=1))
        minting.write()
    backend.close()


def test_hostile_text_in_a_refusal_is_escaped(cli):
    write(cli, CI)
    done = cli("issue", "--subject", "x\x1b[31m", "--owner", "o\u202e")
    assert done.code == 12
    assert "subject x\\x1b[31m, kind access, owner o\\u202e" in done.err


# The limit per owner


def test_an_owner_has_at_most_so_many_living_tokens(cli):
    write(cli, PEOPLE)
    given = ("--subject", "laptop", "--kind", "personal", "--scope", "repo:read")
    first = issued(cli, *given, "--owner", "alice")["id"]
    issued(cli, *given, "--owner", "alice")
    refused(cli, "rule people: limit-per-owner: alice has 2 living tokens of at most 2", *given, "--owner", "alice")
    issued(cli, *given, "--owner", "bob")
    assert cli("revoke", first, "--yes").code == 0
    issued(cli, *given, "--owner", "alice")
    assert [record["reason"] for record in records(cli, "--operation", "token.deny")] == ["people/limit-per-owner"]
    assert cli("audit", "verify").code == 0


def test_what_is_no_longer_accepted_does_not_count(cli):
    write(cli, PEOPLE)
    given = ("issue", "--subject", "x", "--kind", "personal", "--scope", "repo:read", "--owner", "a")
    now = 1_795_000_000_000
    assert cli.at(now, *given, "--ttl", "1m").code == 0
    spent = cli.at(now, *given, "--max-uses", "1")
    assert spent.code == 0
    assert cli.at(now, *given).code == 12
    assert cli.at(now, "inspect", "-", "--use", "--any-audience", input=spent.out).code == 0
    assert cli.at(now, *given).code == 0
    assert cli.at(now, *given).code == 12
    assert cli.at(now + 60_000, *given).code == 0
    assert cli.at(now + 60_000, *given).code == 12


def test_a_limit_counts_what_its_rule_is_for(cli):
    write(cli, PEOPLE.replace('"*"', '["laptop", "ci-*"]') + '[[rule]]\nname = "rest"\nsubject = "*"\nscopes = "*"\n')
    given = ("--kind", "personal", "--scope", "repo:read", "--owner", "a")
    for subject in ("other", "laptop", "other", "ci-1", "other"):
        issued(cli, "--subject", subject, *given)
    issued(cli, "--subject", "laptop", "--owner", "a")
    assert cli("issue", "--subject", "ci-2", *given).code == 12
    assert cli("issue", "--subject", "other", *given).code == 0


def test_many_at_once_do_not_pass_the_limit(cli):
    write(cli, PEOPLE.replace("limit_per_owner = 2", "limit_per_owner = 5"))
    given = ("issue", "--subject", "x", "--kind", "personal", "--scope", "repo:read", "--owner", "alice", "-q")
    with ThreadPoolExecutor(32) as pool:
        ended = [done.code for done in pool.map(lambda _: cli(*given), range(32))]
    assert (ended.count(0), ended.count(12)) == (5, 27)
    assert len(cli("list", "--owner", "alice").out.splitlines()) == 5
    assert len(records(cli, "--operation", "token.deny")) == 27
    assert cli("audit", "verify").code == 0


def test_a_rerun_at_the_limit_is_told_of_its_token(cli):
    write(cli, PEOPLE.replace("limit_per_owner = 2", "limit_per_owner = 1"))
    given = ("issue", "--subject", "x", "--kind", "personal", "--scope", "repo:read", "--request-id", "job")
    first = cli(*given)
    assert first.code == 0
    again = cli(*given)
    assert again.code == 6
    assert f"request id job was answered by {cli.id_of(first.out)}" in again.err


def test_a_rerun_of_what_never_arrived_fits_into_the_limit(cli):
    cli.token()
    write(cli, PEOPLE.replace("limit_per_owner = 2", "limit_per_owner = 1"))
    given = ("issue", "--subject", "x", "--kind", "personal", "--scope", "repo:read", "--request-id", "job")
    code = (
        "import os, sys\n"
        "from tokenctl import files, process\n"
        "process.harden()\n"
        "files.write_all = lambda *_: os._exit(9)\n"
        "from tokenctl.cli.boundary import run\n"
        "run(sys.argv[1:], environment=os.environ, program='tokenctl')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, *given], env=cli.env, capture_output=True, check=False)
    assert done.returncode == 9
    assert cli(*given[:-2]).code == 12  # it may still arrive
    assert cli(*given).code == 0
    assert cli(*given[:-2]).code == 12
    assert cli("audit", "verify").code == 0


def test_a_limit_holds_within_one_transaction(cli):
    from tokenctl.backends.local import issuing

    write(cli, PEOPLE + CI.replace("ci-*", "*").replace('"access"', '"access", "personal"') + "limit_per_owner = 9\n")
    cli.home.chmod(0o700)
    surroundings = wiring.Surroundings(
        environment={"HOME": str(cli.home)}, now=1_795_000_000_000, notice=print, warn=print, timeout=5.0
    )
    mask = os.umask(0o077)
    backend = wiring.open_backend(None, surroundings)
    personal = TokenRequest(subject="x", owner="a", kind="personal", scope=("repo:read",))
    profile = config.Profile(name="local")
    with backend.journal.changing(create=True) as change:
        minting = issuing.Minting(change, backend.policy, profile, surroundings.now, lambda _: None)
        for request in (personal, personal._replace(kind="access", scope=()), personal._replace(owner="b"), personal):
            assert minting.add(request).token.kind == request.kind
        with pytest.raises(PolicyDenied, match="rule people: limit-per-owner: a has 2 living tokens of at most 2"):
            minting.add(personal)
        minting.write()
    backend.close()
    os.umask(mask)


# What is recorded


def test_the_hash_of_the_policy_stands_in_every_issue_and_its_change_is_a_record(cli):
    issued(cli, "--subject", "ci-1")
    before = cli("profile", "show", "-o", "json").json["policy"]["hash"]
    assert before == OLD_HASH
    path = write(cli, CI)
    after = cli("profile", "show", "-o", "json").json["policy"]["hash"]
    assert cli("issue", "--subject", "web").code == 12
    issued(cli, "--subject", "ci-1")
    path.write_text(f"# a comment changes nothing\n{CI}")
    issued(cli, "--subject", "ci-1")
    path.unlink()
    issued(cli, "--subject", "ci-1")
    told = [(record["operation"], record["policy"]) for record in records(cli)]
    assert told == [
        ("store.create", None),
        ("token.issue", before),
        ("store.policy", after),
        ("token.deny", after),
        ("token.issue", after),
        ("token.issue", after),
        ("store.policy", before),
        ("token.issue", before),
    ]
    assert cli("audit", "verify").code == 0


def test_a_first_issue_under_rules_records_them(cli):
    write(cli, CI)
    issued(cli, "--subject", "ci-1")
    assert [record["operation"] for record in records(cli)] == ["store.create", "store.policy", "token.issue"]


def test_an_issue_that_fails_leaves_the_policy_to_the_next(cli):
    cli.token("--request-id", "r")
    write(cli, CI.replace("ci-*", "*"))
    assert cli("issue", "--subject", "x", "--request-id", "r").code == 6
    assert [record["operation"] for record in records(cli)] == ["store.create", "token.issue"]
    assert cli("issue", "--subject", "x").code == 0
    assert [record["operation"] for record in records(cli)][2:] == ["store.policy", "token.issue"]


def test_verify_finds_a_policy_that_no_record_tells_of(cli):
    write(cli, CI)
    issued(cli, "--subject", "ci-1")
    code = (
        "import os, time\n"
        "from tokenctl import config, wiring\n"
        "s = wiring.Surroundings(environment=os.environ, now=time.time_ns() // 10**6, notice=print, warn=print, timeout=5.0)\n"
        "journal = wiring.open_journal(config.Profile(name='local'), s)\n"
        "with journal.changing() as change: change.write_fact('policy', 'other')\n"
        "journal.close()\n"
    )
    subprocess.run([sys.executable, "-P", "-c", f"import os; os.umask(0o077)\n{code}"], env=cli.env, check=True)
    done = cli("audit", "verify")
    assert done.code == 10
    assert "the policy of the store is not the one last recorded" in done.out + done.err


# Files that are not understood


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[rule]]\nname = "a"\nsubject = "*"\ncolour = "red"\n', ": rule a: colour: unknown; known: audiences, claims"),
        ('[[rule]]\nname = "a"\n[[rule]]\nname = "b"\n', ": rule a: subject: is required"),
        ('max_lifetime = "1y"\n', ": max_lifetime: not a duration (years differ in length: 365d?)"),
        ('[rule]\nname = "a"\n', ": rule is written [[rule]]"),
        ("rule = 5\n", ": rule is written [[rule]]"),
        ('[[rule]]\nname = "a"\nsubject = "\\u001b"\n', ": rule a: subject: a text is empty"),
    ],
)
def test_a_policy_that_is_not_understood_stops_issuing_and_nothing_else(cli, text, told):
    token = cli.token()
    path = write(cli, text)
    for arguments in (("issue", "--subject", "s"), ("issue", "--subject", "s", "-n"), ("profile", "show")):
        done = cli(*arguments)
        assert (done.code, done.out) == (9, ""), arguments
        assert done.err.startswith(f"tokenctl: {path}{told}")
        assert "\nhint: mend it with an editor, then: python -m tokenctl profile show\n" in done.err
    assert cli("inspect", "-", "--any-audience", input=token).code == 0
    assert cli("list").code == 0
    assert cli("revoke", cli.id_of(token), "--yes").code == 0
    assert cli("audit", "verify").code == 0


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = [", ""),
        ("[[rule]]\nname = a\n", ": line 2, column 8"),
        ("a" * 70_000, None),
        ("a = " + "9" * 5000, ""),
        ("a = " + "[" * 30_000, ": nested too deeply"),
        ("\udcff", ""),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_the_place(cli, text, where):
    path = write(cli, "")
    path.write_text(text, errors="surrogateescape")
    done = cli("issue", "--subject", "s")
    message = f"{path} is larger than 65536 bytes" if where is None else f"{path} is not TOML{where}"
    assert (done.code, done.err.splitlines()[0]) == (9, f"tokenctl: {message}")


def test_no_token_is_written_where_the_ceiling_is(under):
    done = under("issue", "--subject", "s", "--out", str(under.path), text="")
    assert (done.code, under.path.read_text()) == (2, "")


def test_a_policy_file_names_no_command(cli):
    for text in ('command = "touch owned"\n', '[[rule]]\nname = "a"\nsubject = "$(touch owned)"\nexec = "touch owned"\n'):
        write(cli, text)
        assert cli("issue", "--subject", "s").code == 9
        assert not (cli.home / "owned").exists()


# The ceiling


def test_the_ceiling_is_where_root_alone_writes_and_nothing_moves_it(cli, under):
    assert config.CEILING == "/etc/tokenctl/policy.toml"
    assert config.Places({"TOKENCTL_CEILING": "/x", "TOKENCTL_CONFIG": "/x", "XDG_CONFIG_DIRS": "/x"}).ceiling == config.CEILING
    assert cli("profile", "show", "-o", "json").json["policy"]["ceiling_file"] == config.CEILING
    tight = '[[rule]]\nname = "t"\nsubject = "*"\nscopes = "a"\n'
    done = under("issue", "--subject", "s", "--scope", "b", text=tight, TOKENCTL_CONFIG=str(cli.home), HOME=str(cli.home))
    assert done.code == 12


def test_a_request_passes_the_profile_and_the_ceiling(cli, under):
    write(cli, CI)
    text = '[[rule]]\nname = "machine"\nsubject = "*"\nscopes = ["deploy:read", "x"]\nlimit_per_owner = 2\nmax_lifetime = "10m"\n'
    given = ("issue", "--subject", "ci-1")
    good = under(*given, "--scope", "deploy:read", "-o", "json", text=text)
    assert (good.code, good.json["expires_in"] <= 600) == (0, True)
    for scope, told in (
        ("x", "rule ci: scope: x (admitted: deploy:*)"),
        ("deploy:write", "ceiling rule machine: scope: deploy:write (admitted: deploy:read, x)"),
    ):
        done = under(*given, "--scope", scope)
        assert (done.code, done.err) == (12, f"tokenctl: the policy forbids it: {told}\nhint: the rules: tokenctl profile show\n")
    assert under(*given).code == 0
    full = under(*given)
    assert full.code == 12
    assert "ceiling rule machine: limit-per-owner: " in full.err
    denied = records(cli, "--operation", "token.deny")
    assert [record["reason"] for record in denied] == ["ci/scope", "ceiling:machine/scope", "ceiling:machine/limit-per-owner"]
    hashes = {record["policy"] for record in records(cli) if record["policy"]}
    assert hashes == {under("profile", "show", "-o", "json").json["policy"]["hash"]}
    assert cli("audit", "verify").code == 0


def test_an_empty_ceiling_keeps_the_built_in_limits(cli, under):
    write(cli, 'max_lifetime = "365d"\n')
    done = under("issue", "--subject", "s", "--ttl", "2d", text="")
    assert (done.code, done.err.splitlines()[-2]) == (
        12,
        "tokenctl: the policy forbids it: ceiling: max-lifetime: a token of kind access lives at most 1d",
    )


def examined_as_issued(under, told):
    """The doctor says of the ceiling, once, what issue says."""
    done = under("doctor", "-o", "json")
    assert (done.code, done.err) == (9, "")
    (found,) = [finding for finding in done.json["findings"] if finding["status"] == "fail"]
    assert (found["check"], found["detail"].startswith(told)) == ("config", True)


def spoil_mode(path):
    path.chmod(0o666)
    return f"{path} is open to other users\nhint: chmod go-w {path}"


def spoil_owner(path):
    os.chown(path, 12345, 0)
    return f"{path} belongs to another user\nhint: chown 0 {path}"


def spoil_directory(path):
    path.parent.chmod(0o777)
    return f"{path.parent} is writable by other users\nhint: chmod go-w {path.parent}"


def spoil_directory_of_nothing(path):
    path.unlink()
    return spoil_directory(path)


def spoil_directory_owner(path):
    os.chown(path.parent, 12345, 0)
    return f"{path.parent} belongs to another user\nhint: run as its owner, or: chown 0 {path.parent}"


def spoil_link(path):
    path.rename(path.with_name("real"))
    path.symlink_to("real")
    return f"cannot use {path}: too many levels of symbolic links\nhint: a symbolic link stands there: remove it"


def spoil_second_name(path):
    os.link(path, path.with_name("second"))
    return f"{path} has a second hard link\nhint: remove the other name"


def spoil_kind(path):
    path.unlink()
    os.mkfifo(path)
    return f"{path} is not a regular file\nhint: remove what stands there"


SPOILED = (
    spoil_mode,
    spoil_owner,
    spoil_directory,
    spoil_directory_of_nothing,
    spoil_directory_owner,
    spoil_link,
    spoil_second_name,
    spoil_kind,
)


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_ceiling_that_is_not_roots_alone_stops_issuing(cli, under, spoil):
    token = under("issue", "--subject", "s", text="")
    assert token.code == 0
    told = spoil(under.path)
    done = under("issue", "--subject", "s")
    assert (done.code, done.out, done.err) == (9, "", f"tokenctl: {told}\n")
    examined_as_issued(under, told.partition("\n")[0])
    assert under("revoke", cli.id_of(token.out), "--yes").code == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('issuer = "x"', " has an unknown setting: issuer\nhint: known: default_lifetime, max_lifetime, rule\n"),
        ('default_lifetime = "1m"', ": default_lifetime: a ceiling gives no default\n"),
        ("= 5", " is not TOML: line 1, column 1\n"),
    ],
)
def test_a_ceiling_that_is_not_understood_is_told(cli, under, text, told):
    done = under("issue", "--subject", "s", text=text)
    assert (done.code, done.out) == (9, "")
    assert done.err.startswith(f"tokenctl: {under.path}{told}")
    examined_as_issued(under, f"{under.path}{told}".partition("\n")[0])


# Telling


def test_a_dry_run_says_who_decides_and_changes_nothing(cli):
    path = write(cli, CI + PEOPLE)
    done = cli("issue", "--subject", "ci-1", "--scope", "deploy:a", "-n")
    assert (done.code, done.out, done.err) == (0, "would issue  access, opaque, 15m, for ci-1\ndecided by   rule ci\n", "")
    no = cli("issue", "--subject", "ci-1", "--scope", "x", "--dry-run")
    assert (no.code, no.out) == (12, "")
    assert no.err == f"tokenctl: the policy forbids it: rule ci: scope: x (admitted: deploy:*)\n{SHOW}"
    assert [found for found in cli.home.rglob("*") if found.is_file()] == [path]
    given = ("--subject", "x", "--kind", "personal", "--scope", "repo:read", "--owner", "alice")
    parent = issued(cli, *given)["id"]
    before = cli.store.read_bytes(), cli.anchor.read_bytes()
    child = cli("issue", *given, "--parent", parent, "--ttl", "1d", "-n")
    assert child.out == (
        "would issue  personal, opaque, 1d, for x\n"
        "decided by   rule people\n"
        "limit        alice has 1 of 2 (rule people)\n"
        f"parent       {parent} has all of it and lives as long\n"
    )
    told = cli("issue", *given, "--parent", parent, "--ttl", "1d", "-n", "-o", "json").json
    assert (told["allowed"], told["rules"], told["owner"], told["parent"], told["lifetime"]) == (
        True,
        ["rule people"],
        "alice",
        parent,
        "1d",
    )
    assert told["limits"] == [{"rule": "rule people", "living": 1, "most": 2}]
    assert told["policy"] == cli("profile", "show", "-o", "json").json["policy"]["hash"]
    assert cli("issue", *given, "--parent", parent, "--ttl", "31d", "-n").code == 12
    assert cli("issue", *given, "--parent", "0352Ldy4SKzRSvwVvSWvL6", "-n").code == 5
    assert (cli.store.read_bytes(), cli.anchor.read_bytes()) == before
    issued(cli, *given)
    full = cli("issue", *given, "-n", "-o", "json")
    assert (full.code, json.loads(full.err)["reason"]) == (12, "people/limit-per-owner")


def test_a_dry_run_meets_a_used_request_id_and_a_quarantine(cli):
    given = ("issue", "--subject", "x", "--request-id", "job")
    assert cli(*given).code == 0
    assert cli(*given, "-n").code == 6
    assert cli(*given, "--ttl", "1m", "-n").code == 6
    cli.anchor.write_bytes(b"damaged")
    assert cli("issue", "--subject", "x", "-n").code == 10


def test_profile_show_explains_the_policy(cli, under):
    plain = cli("profile", "show").out
    assert plain.splitlines()[-4:] == [
        f"policy\t{OLD_HASH}",
        (
            "rule\tnone: every scope without * is allowed; access lives 15m unless asked, at most 1d, "
            "personal lives 30d unless asked, at most 90d, service lives 30d unless asked, at most 90d"
        ),
        "always\ta token of kind personal or service names its scope",
        "ceiling\tnone (/etc/tokenctl/policy.toml is absent)",
    ]
    write(cli, CI + PEOPLE.replace("limit", 'require = ["note"]\naudiences = "api"\nnotes = "INC-*"\nclaims = "t"\nlimit'))
    under.path.write_text('[[rule]]\nname = "m"\nsubject = "*"\nwildcard_scopes = "a:*"\nformats = "jwt"\nkinds = "access"\n')
    told = under("profile", "show").out.splitlines()
    assert told[[line.partition("\t")[0] for line in told].index("rule") :] == [
        "rule\tci: for subject ci-*, kind access, owner *; scope deploy:*; access lives 15m unless asked, at most 1h",
        (
            "rule\tpeople: for subject *, kind personal, owner *; scope repo:read; claim t; audience api (needed); "
            "note INC-* (needed); needs note; at most 2 living tokens per owner; "
            "personal lives 30d unless asked, at most 90d"
        ),
        "otherwise\trefused: the first rule that is for a request decides",
        "always\ta token of kind personal or service names its scope",
        f"ceiling\t{under.path}: a request passes it too",
        (
            "ceiling rule\tm: for subject *, kind access, owner *; scope a:* itself; format jwt; "
            "access lives 15m unless asked, at most 1d"
        ),
        "ceiling otherwise\trefused: the first rule that is for a request decides",
    ]
    policy = under("profile", "show", "-o", "json").json["policy"]
    assert set(policy) == {"hash", "built_in", "profile", "ceiling", "ceiling_file"}
    assert policy["profile"]["rules"][0]["max_lifetime"] == {"access": 3600}
    assert policy["ceiling"]["rules"][0]["wildcard_scopes"] == ["a:*"]


def test_profile_verbs_keep_what_an_editor_wrote(cli):
    text = f"# why: INC-7\n{CI}"
    path = write(cli, text)
    assert cli("profile", "use", "local").code == 0
    assert cli("profile", "add", "local").code == 0
    assert path.read_text() == f'backend = "local"\n\n{text}'
    assert cli("profile", "add", "local", "--issuer", "https://i.example").code == 0
    assert path.read_text() == f'issuer = "https://i.example"\n\nbackend = "local"\n\n{text}'
    assert cli("profile", "add", "local", "--issuer", "https://i.example").code == 0
    assert cli("profile", "add", "local", "--issuer", "https://other.example").code == 6
    shown = cli("profile", "show", "-o", "json").json
    assert (shown["issuer"], shown["policy"]["profile"]["rules"][0]["name"]) == ("https://i.example", "ci")
    write(cli, f'eddsa_name = "EdDSA"\n{text}')
    other = cli("profile", "add", "local", "--eddsa-name", "Ed25519")
    assert (other.code, other.err) == (6, f"tokenctl: {path} says otherwise\nhint: change it with an editor\n")
    assert path.read_text() == f'eddsa_name = "EdDSA"\n{text}'


def test_profiles_have_policies_of_their_own(cli):
    write(cli, CI)
    write(cli, PEOPLE, profile="staging")
    given = ("issue", "--subject", "ci-1", "--scope", "deploy:x")
    assert cli(*given).code == 0
    assert cli("-p", "staging", *given).code == 12


def test_the_example_of_the_readme_does_what_it_says(cli):
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    write(cli, re.search(r"<!-- policy -->\n```toml\n(.*?)```", text, re.DOTALL)[1])
    deploy = ("issue", "--subject", "ci-deployer", "--scope", "deploy:write")
    assert cli(*deploy, "--audience", "api.example", "--dry-run").code == 0
    refused(cli, "rule deploy: audience: none (admitted: api.example)", *deploy[1:])
    personal = ("issue", "--subject", "laptop", "--kind", "personal", "--scope", "repo:read", "--owner", "bob")
    assert cli(*personal, "--label", "team=web").code == 12
    assert issued(cli, *personal[1:], "--label", "team=web", "--note", "n")["expires_in"] <= 7 * 86400
    backup = ("issue", "--subject", "backup", "--kind", "service", "--scope", "backup:*")
    assert cli(*backup, "--ttl", "365d").code == 0
    assert cli(*backup[:-1], "backup:write").code == 12
    known = {row.split("|")[1] for row in text.split("| key of a `[[rule]]`")[1].split("\n\n")[0].splitlines()[2:]}
    assert {name for cell in known for name in re.findall(r"`(\w+)`", cell)} == set(policy_file.KEYS)
