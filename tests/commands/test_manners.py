"""The ground rules, for every verb that exists."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from tests.docs import grammar
from tokenctl.cli.app import FOREIGN_VERBS, VERBS
from tokenctl.cli.options import GLOBAL_OPTIONS

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
OURS = f"tkc_at_{UNKNOWN}_{'A' * 49}"
JWT = f"eyJhbGciOiJFUzI1NiJ9.{'Q' * 30}.{'R' * 40}"
SECRETS = {
    "ours": OURS,
    "a cut one of ours": OURS[:50],
    "a jwt": JWT,
    "unsigned": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    "github": "ghp_" + "a1" * 18,
    "gitlab": "glpat-" + "x1" * 10,
    "slack": "xoxb-1234567890-abcdef",
    "aws": "AKIA" + "Q7" * 8,
    "vault": "hvs." + "Ab1" * 10,
    "bearer": f"Authorization: Bearer {OURS}",
    "in a text": f"see '{JWT}'",
    "in an option": f"--note={OURS}",
}
EVERY_VERB = [
    ("issue", "--subject", "s"),
    ("inspect", UNKNOWN),
    ("list",),
    ("revoke", UNKNOWN, "--yes"),
    ("rotate-keys", "status"),
    ("rotate-keys", "jwks"),
    ("rotate-keys",),
    ("rotate-keys", "rollback"),
    ("rotate-keys", "retire", UNKNOWN),
    ("rotate-keys", "--log-key"),
    ("audit",),
    ("audit", "log"),
    ("audit", "log", "--subject", "s", "--follow", "--timeout", "1s"),
    ("audit", "log", "--target", UNKNOWN, "--ticket", "t"),
    ("audit", "show", UNKNOWN),
    ("audit", "verify"),
    ("audit", "verify", "--proof", "absent", "--key", "k"),
    ("audit", "checkpoint"),
    ("audit", "checkpoint", "--key"),
    ("audit", "show", UNKNOWN, "--proof"),
    ("audit", "review"),
    ("audit", "reconcile"),
    ("audit", "verify", "--quick"),
    ("audit", "verify", "--known-head", "absent"),
    ("audit", "verify", "--require-anchor", "--full"),
    ("audit", "archive", "--before", "1d", "--out", "a"),
    ("login",),
    ("login", "--rotate"),
    ("logout",),
    ("logout", "--revoke"),
    ("whoami",),
    ("profile", "list"),
    ("profile", "show"),
    ("profile", "add", "x"),
    ("profile", "use", "x"),
    ("profile", "trust", "https://127.0.0.1:1", "--remove"),
    ("profile", "remove", "x"),
    ("store", "release", "--reason", "r"),
    ("store", "info"),
    ("store", "backup", "b.age"),
    ("store", "restore", "b.age"),
    ("store", "seal", "--reason", "r"),
    ("store", "accept-clock"),
    ("store", "move-secret", "file"),
    ("doctor",),
    ("completion", "bash"),
]


def usage(done, message, verb=None):
    hint = f"python -m tokenctl {verb} --help" if verb else "python -m tokenctl --help"
    assert (done.code, done.out, done.err) == (2, "", f"tokenctl: {message}\nhint: {hint}\n")


def test_every_verb_is_among_these():
    assert {arguments[0] for arguments in EVERY_VERB} == set(VERBS)


# Secrets on the command line


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(cli, kind):
    secret = SECRETS[kind]
    for arguments in (
        ("inspect", secret),
        ("revoke", secret, "--yes"),
        ("issue", "--subject", secret),
        (secret,),
        ("-p", secret, "list"),
    ):
        done = cli(*arguments)
        number = arguments.index(secret) + 1
        verb = arguments[0] if arguments[0] in ("inspect", "revoke") else "inspect"
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"tokenctl: argument {number} looks like a secret: "
            "treat it as leaked, the process list and the shell's history have it\n"
            f"hint: pipe it instead: python -m tokenctl {verb} - < FILE\n"
        )
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize("verb", EVERY_VERB, ids=" ".join)
def test_every_verb_refuses_secrets(cli, verb):
    for place in range(len(verb) + 1):
        done = cli(*verb[:place], OURS, *verb[place:], "-o", "json")
        assert (done.code, done.out) == (2, "")
        assert json.loads(done.err)["reason"] == "secret_in_argv"
        assert "AAAA" not in done.err
    assert list(cli.home.iterdir()) == []


def test_an_id_is_no_secret(cli):
    token = cli.token()
    assert cli("inspect", token.rsplit("_", 1)[0], "-q").code == 0


def test_a_usage_error_masks_what_it_repeats(cli):
    hidden = "S3cretButOfNoKnownForm0123456789"
    for arguments in ((hidden,), ("issue", f"--{hidden}"), ("list", hidden), ("issue", "--max-uses", hidden), ("audit", hidden)):
        done = cli(*arguments)
        assert (done.code, done.out) == (2, "")
        assert hidden not in done.err, arguments


# Options


def test_options_stand_before_and_after_the_verb(cli):
    cli.token()
    after = cli("list", "-o", "json")
    for arguments in (
        ("-o", "json", "list"),
        ("-ojson", "list"),
        ("--output=json", "list"),
        ("-o", "json", "list", "-o", "json"),
        ("--output", "json", "-q", "list", "-q", "--no-input"),
        ("-p", "local", "list", "--profile", "local", "-o", "json"),
    ):
        done = cli(*arguments)
        assert (done.code, done.err) == (0, "")
        assert [token["id"] for token in done.json["tokens"]] == [token["id"] for token in after.json["tokens"]]


@pytest.mark.parametrize("option", sorted(name for name, (kind, _) in GLOBAL_OPTIONS.items() if kind is not bool))
def test_an_option_given_twice_with_different_values_is_refused(cli, option):
    flag = f"--{option.replace('_', '-')}"
    one, two = {"output": ("text", "json"), "timeout": ("1s", "2s"), "credential_fd": ("5", "6")}.get(option, ("a", "b"))
    for arguments in ((flag, one, "list", flag, two), ("list", flag, one, flag, two), (flag, one, flag, two, "list")):
        done = cli(*arguments)
        assert (done.code, done.out) == (2, "")
        assert f"{flag} is given twice with different values" in done.err
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("issue", "--subject", "--scope", "a"),
        ("issue", "--subject", "-q"),
        ("issue", "--subject=-q"),
        ("list", "--owner", "-q"),
        ("list", "-p", "-q"),
        ("-p", "-q", "list"),
        ("--profile=--debug", "list"),
        ("list", "--issued-after", "--issued-before"),
        ("revoke", UNKNOWN, "--reason", "--yes"),
        ("audit", "log", "--actor", "-q"),
        ("issue", "--subject", "s", "--out", "-q"),
        ("profile", "add", "x", "--issuer", "--yes"),
        ("list", "--timeout", "-1s"),
        ("revoke", "--from", "--yes"),
        ("store", "release", "--reason", "--yes"),
        ("inspect", "--file", "-"),
    ],
    ids=" ".join,
)
def test_a_value_that_looks_like_an_option_is_refused(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: ")
    assert list(cli.home.iterdir()) == []


# The words around an empty option where it would otherwise not be looked at.
AROUND_EMPTY = {
    "--subject": ((), ()), "--env": (("--subject", "s"), ("--", "true")), "--child-fd": (("--subject", "s"), ("--", "true")),
    "--mode": (("--subject", "s", "--out", "made"), ()), "--group": (("--subject", "s", "--out", "made"), ()),
}  # fmt: skip
EMPTY = [
    (verb.name, option.flags[-1])
    for verb in grammar.read().verbs
    if verb.name in ("issue", "inspect", "list", "revoke")
    for option in verb.options + verb.shared
    if option.metavar and not option.flags[-1].startswith("--credential-")
]


@pytest.mark.parametrize(("verb", "option"), EMPTY, ids="{}".format)
def test_an_empty_value_is_malformed(cli, verb, option):
    """A variable that is not set must not be taken for an option that is not given."""
    before, behind = {
        "issue": AROUND_EMPTY.get(option, (("--subject", "s"), ())),
        "inspect": ((), ()) if option in ("--file", "--fd") else (("-",), ()),
        "list": ((), ()),
        "revoke": (() if option in ("--from", "--plan") else (UNKNOWN, "--suspend", "--dry-run"), ()),
    }[verb]
    done = cli(verb, *before, option, "", *behind, input=OURS if before == ("-",) else None)
    assert (done.code, done.out) == (2, ""), done
    assert not (cli.home / ".local").exists()


@pytest.mark.parametrize(
    "arguments",
    [("audit", "--since", "2h", "log"), ("audit", "--limit", "1", "verify"), ("audit", "--operation", "x", "show", UNKNOWN)],
)
def test_an_option_of_the_group_before_its_sub_verb_is_refused(cli, arguments):
    done = cli(*arguments)
    option = arguments[1]
    assert (done.code, done.out) == (2, "")
    assert done.err == f"tokenctl: {option} stands before the sub-verb: put it behind\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "-o", "yaml"),
        ("list", "-o", ""),
        ("-o", "JSON", "list"),
        ("list", "--timeout", "5"),
        ("list", "--timeout", "0s"),
        ("list", "--no-such"),
        ("issue", "--sub", "s"),
        ("list", "-z"),
        ("issue", "--subject"),
        ("audit", "nothing"),
        ("store",),
        ("profile",),
        ("profile", "add"),
        ("rotate-keys", "retire"),
        ("issue", "extra"),
        ("issue", "--yes=1"),
        ("list", "--", "-x"),
    ],
    ids=" ".join,
)
def test_usage_errors_are_two_lines_and_exit_2(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0].startswith("tokenctl: ")
    assert lines[0][10].islower() or lines[0][10] == "-"
    assert len(lines) <= 2
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize(("foreign", "ours"), FOREIGN_VERBS.items())
def test_verbs_of_other_tools_get_ours(cli, foreign, ours):
    done = cli(foreign, "--some", "thing")
    hint = f"tokenctl {ours}".replace("tokenctl ", "python -m tokenctl ")
    assert (done.code, done.out, done.err) == (2, "", f"tokenctl: no verb {foreign}\nhint: {hint}\n")


def test_a_mistyped_verb_gets_the_nearest(cli):
    assert cli("isue").err == "tokenctl: no verb isue\nhint: python -m tokenctl issue\n"
    assert cli("zzz").err == f"tokenctl: no verb zzz\nhint: verbs: {', '.join(VERBS)}\n"
    hostile = cli("\x1b[31m\u202e")
    assert (hostile.code, "\x1b" in hostile.err, "\u202e" in hostile.err) == (2, False, False)


# Errors


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_errors_are_objects_where_json_was_asked_for(cli, output):
    for arguments, slug, code in (
        (("issue",), "invalid_request", 2),
        (("issue", "--subject", "s", "--ttl", "25h"), "policy_denied", 12),
        (("inspect", UNKNOWN), "not_found", 5),
        (("list", "-p", "x"), "not_found", 5),
        (("nothing",), "invalid_request", 2),
        (("list", "--no-such"), "invalid_request", 2),
        (("profile", "add", "p", "--backend", "x"), "invalid_configuration", 9),
    ):
        for spelled in ((*arguments, "-o", output), (*arguments, f"--output={output}"), (f"-o{output}", *arguments)):
            done = cli(*spelled)
            assert (done.code, done.out) == (code, ""), spelled
            error = json.loads(done.err.splitlines()[-1])
            assert list(error) == ["error", "reason", "message", "hint", "exit_code", "profile"]
            assert (error["error"], error["exit_code"]) == (slug, code)
            assert done.err.isascii()


def test_bytes_that_are_no_text_are_refused_and_not_repeated_raw(cli):
    cli.token()
    for arguments in (
        (b"list", b"--subject", b"\xff"),
        (b"issue", b"--subject", b"a\xff\xfe"),
        (b"\xff",),
        (b"inspect", b"\xc3\x28"),
        (b"revoke", b"--note", b"\xff", UNKNOWN.encode(), b"--yes"),
        (b"list", b"-p", b"\xff"),
        (b"issue", b"--subject", b"s", b"--label", b"a=\xff"),
        (b"profile", b"add", b"\xff"),
        (b"issue", b"--subject", b"s", b"--audience", b"\xff"),
        (b"issue", b"--subject", b"s", b"--scope", b"\xff"),
        (b"list", b"--label", b"\xff"),
        (b"audit", b"log", b"--actor", b"\xff"),
        (b"inspect", b"--file", b"\xff"),
        (b"store", b"release", b"--yes", b"--reason", b"\xff"),
    ):
        done = subprocess.run(
            [sys.executable.encode(), b"-m", b"tokenctl", *arguments],
            env=cli.env,
            cwd=cli.home,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode in (0, 2), (arguments, done.stderr)
        assert done.returncode == 2 or done.stdout == b"", arguments
        done.stderr.decode("utf-8")
        assert b"Traceback" not in done.stderr


# Streams


def test_bare_it_says_the_short_help_on_stderr(cli):
    done = cli()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: tokenctl ")
    for verb in VERBS:
        assert f"  {verb} " in done.err
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)], ids=" ".join)
def test_help_is_plain_text_on_stdout_with_examples_and_codes(cli, verb):
    done = cli(*verb, "--help", env={"FORCE_COLOR": "1"})
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: tokenctl ")
    assert "\x1b" not in done.out
    assert cli(*verb, "-h").out == done.out
    if verb:
        assert "Examples:" in done.out
        assert "Exit codes:" in done.out
        examples = done.out.split("Examples:\n")[1].split("\n\n")[0].splitlines()
        assert all(example.strip().startswith("tokenctl ") for example in examples)
    assert list(cli.home.iterdir()) == []


def test_the_version_is_one_line(cli):
    from tokenctl import __version__

    for flag in ("-V", "--version"):
        assert cli(flag) == cli("--version")
        assert (cli(flag).code, cli(flag).out) == (0, f"tokenctl {__version__}\n")


def test_off_a_terminal_there_is_no_chatter_and_no_colour(cli):
    cli.token()
    for arguments in EVERY_VERB:
        done = cli(*arguments, env={"TERM": "xterm-256color"})
        assert "\x1b" not in done.out + done.err
        if done.code == 0:
            assert done.err == "", arguments


@pytest.mark.parametrize("verb", [verb for verb in EVERY_VERB if verb[0] != "store"], ids=" ".join)
def test_stdin_is_left_alone_where_no_dash_is_typed(cli, verb):
    reader, writer = os.pipe()
    os.write(writer, b"next line\n")
    cli(*verb, stdin=reader)
    os.close(writer)
    assert os.read(reader, 100) == b"next line\n"
    os.close(reader)


def test_a_closed_pipe_ends_quietly_by_its_signal(cli):
    cli.token()
    for arguments in (
        ("list",),
        ("list", "-o", "json"),
        ("audit", "log"),
        ("rotate-keys", "jwks"),
        ("inspect", "-", "-o", "json"),
    ):
        reader, writer = os.pipe()
        os.close(reader)
        done = cli(*arguments, stdout=writer, stderr=-1, input="x")
        os.close(writer)
        assert (done.code, done.err) == (-signal.SIGPIPE, ""), arguments


def test_a_full_output_is_told_and_safe_to_run_again(cli):
    cli.token()
    for arguments in (("list",), ("audit", "log"), ("rotate-keys", "jwks"), ("profile", "list"), ("--version",)):
        with open("/dev/full", "wb") as full:
            done = cli(*arguments, stdout=full, stderr=-1)
        assert (done.code, done.err) == (
            7,
            "tokenctl: cannot write to stdout: no space left on device\nhint: check where stdout goes, then run again\n",
        ), arguments


def test_closed_descriptors_do_no_harm(cli):
    token = cli.token()
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$1" -m tokenctl list {closing}', "sh", sys.executable],
            env=cli.env,
            cwd=cli.home,
            capture_output=True,
            check=False,
        )
        assert done.returncode == (7 if ">&-" in closing.replace("2>&-", "") else 0), (closing, done.stderr)
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli("audit", "verify", "-q").code == 0


def test_json_is_ascii_and_one_document(cli):
    cli("issue", "--subject", "宽字 é\u202e")
    for arguments in (
        ("list",),
        ("audit", "log"),
        ("profile", "list"),
        ("profile", "show"),
        ("rotate-keys", "status"),
        ("audit", "verify"),
    ):
        done = cli(*arguments, "-o", "json")
        assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
        assert done.out.isascii()
        assert isinstance(done.json, dict)


def test_every_outcome_is_one_document_where_json_is_asked_for(cli):
    json = ("-o", "json")
    for action, more in (("add", ()), ("use", ()), ("remove", ("--yes",))):
        if action == "remove":
            assert cli("profile", "use", "local").code == 0
        done = cli("profile", action, "staging", *more, *json)
        assert (done.code, done.json, done.err) == (0, {"action": action, "profile": "staging", "warnings": []}, "")
    cli.token()
    done = cli("store", "release", "--reason", "r", *json)
    assert (done.code, done.json) == (0, {"released": False, "profile": "local", "verdict": None, "warnings": []})
    done = cli("rotate-keys", "jwks", "--out", "jwks.json", *json)
    assert (done.code, done.json) == (0, {"action": "jwks", "profile": "local", "out": "jwks.json", "warnings": []})
    done = cli("issue", "--subject", "s", "--dry-run", *json)
    assert (done.json["lifetime"], done.json["lifetime_seconds"], done.json["warnings"]) == ("15m", 900, [])


def test_a_new_token_lives_as_long_as_it_was_asked_for(cli):
    assert cli("issue", "--subject", "s", "-o", "json").json["expires_in"] == 900


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("help",), "tokenctl: no verb help\nhint: python -m tokenctl --help\n"),
        (("help", "issue"), "tokenctl: no verb help\nhint: python -m tokenctl issue --help\n"),
        (("store", "backup"), "tokenctl: missing argument 'FILE'\nhint: python -m tokenctl store backup --help\n"),
        (
            ("store", "move-secret"),
            "tokenctl: missing argument 'keyring|file|credential'\nhint: python -m tokenctl store move-secret --help\n",
        ),
        (("store", "nonsense"), "tokenctl: no such command 'nonsense'\nhint: python -m tokenctl store --help\n"),
        (
            ("list", "--subject", "--owner", "x"),
            "tokenctl: --subject has a value that looks like an option\nhint: python -m tokenctl list --help\n",
        ),
        (("issue", "--subject", "s", "--ttl", "1h 30m"), "tokenctl: --ttl: not a duration\nhint: 1h30m?\n"),
    ],
)
def test_a_fault_of_usage_is_told_with_what_was_meant(cli, arguments, error):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(error.partition("\n")[0])
    assert error.partition("hint: ")[2].strip() in done.err


def test_usage_of_a_sub_verb_is_hinted_at_without_the_profile(cli):
    cli("profile", "add", "staging", "-q")
    done = cli("-p", "staging", "store", "backup")
    assert done.err == "tokenctl: missing argument 'FILE'\nhint: python -m tokenctl store backup --help\n"


@pytest.mark.parametrize("form", ["{option}", "{option}={token}"])
@pytest.mark.parametrize("option", ["--replace", "--parent"])
def test_a_token_where_an_id_is_to_stand_is_leaked_and_an_id_is_no_secret(cli, option, form):
    token = cli.token()
    arguments = [form.format(option=option, token=token), token][: 1 if "=" in form else 2]
    done = cli("issue", "--subject", "s", *arguments)
    number = 3 + len(arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"tokenctl: argument {number} looks like a secret: treat it as leaked, the process list and the shell's history have it\n"
        f"hint: {option} takes an id, which is no secret: the part of a token between its underscores, or the jti of a JWT\n"
    )


def test_a_lasting_token_without_scope_is_told_to_name_one(cli):
    cli.token()
    done = cli("issue", "--subject", "s", "--kind", "service")
    assert (done.code, done.err) == (
        12,
        "tokenctl: the policy forbids it: scope-required: a token of kind service names its scope\nhint: add --scope SCOPE\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [("audit", "show", "0352Ldy4SKzRSvwVvSWvL6"), ("issue", "--subject", "s", "--parent", "0352Ldy4SKzRSvwVvSWvL6")]
)
def test_what_is_not_found_may_be_in_another_profile(cli, arguments):
    cli.token()
    cli("profile", "add", "staging")
    done = cli(*arguments)
    assert done.code == 5
    assert done.err.splitlines()[-1] == "hint: other profiles: staging (choose one with --profile)"
    done = cli("revoke", "--parent", "0352Ldy4SKzRSvwVvSWvL6", "--yes")
    assert done.err.startswith("nothing to revoke was found; other profiles: staging (choose one with --profile); request ")


def test_a_token_that_the_log_has_outlived_is_told_by_the_time_of_the_last_record(cli):
    now = time.time_ns() // 1_000_000
    identifier = cli.id_of(cli.token())
    assert cli.at(now + 3_600_000, "issue", "--subject", "s", "-q").code == 0
    done = cli("inspect", identifier)
    assert done.code == 3
    assert re.match(
        r"not active: expired by the time of the last record \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\)\n", done.out
    )  # fmt: skip


def test_a_hint_can_be_pasted_where_the_program_lies_in_a_folder_with_a_space(cli):
    token = cli.id_of(cli.token("--scope", "admin"))
    program = cli.home / "it's here" / "tokenctl"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom tokenctl.__main__ import main\nmain()\n")
    program.chmod(0o700)
    run = partial(subprocess.run, env=cli.env, cwd=cli.home, capture_output=True, text=True, check=False)
    found = run([program, "audit", "review", "--rule", "token-broad-scope"])
    assert found.returncode == 3, found.stderr
    mend = found.stdout.rstrip("\n").split("\t")[4]
    assert mend.endswith(f"tokenctl' revoke {token} --reason policy --yes")
    done = run(mend, shell=True)
    assert (done.returncode, done.stdout.split("\t")[:2]) == (0, [token, "revoked"])
    unknown = run([program, "audit", "show", "x"])
    assert run(unknown.stderr.partition("hint: ")[2], shell=True).returncode == 0


def test_a_hyphen_is_standard_output_or_no_file(cli):
    identifier = cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-o", "json").json["id"]
    assert cli("audit", "checkpoint", "-q").code == 0
    for verb in (("audit", "checkpoint"), ("audit", "checkpoint", "--key"), ("rotate-keys", "jwks")):
        bare, named = cli(*verb), cli(*verb, "--out", "-")
        assert (named.code, named.out, named.err) == (0, bare.out, bare.err), verb
    proof = cli("audit", "show", identifier, "--proof", "--out", "-")
    assert (proof.code, proof.out.splitlines()[0]) == (0, "c2sp.org/tlog-proof@v1")
    assert cli("audit", "checkpoint", "-o", "json", "--out", "-").json["out"] is None
    for option, verb in (
        ("--out", ("issue", "--subject", "s", "--out", "-")),
        ("--out", ("issue", "--subject", "s", "--count", "2", "--out", "-")),
        ("--out", ("revoke", identifier, "--dry-run", "--out", "-")),
        ("--out", ("audit", "archive", "--before", "now", "--out", "-")),
        ("--write-baseline", ("audit", "review", "--write-baseline", "-")),
    ):
        refused = cli(*verb)
        assert (refused.code, refused.out, refused.err) == (
            2, "", f"tokenctl: {option}: - is no file\nhint: a file of that name is written ./-\n"
        ), verb  # fmt: skip
    assert not (cli.home / "-").exists()
    assert cli("audit", "review", "--write-baseline", "./-").code == 0
    assert (cli.home / "-").exists()


def test_a_baseline_that_cannot_be_written_names_its_own_option(cli):
    cli.token()
    lost = cli("audit", "review", "--write-baseline", "none/known.json")
    assert (lost.code, lost.out) == (2, "")
    assert lost.err.endswith("no such file or directory\nhint: name another file with --write-baseline\n")
    own = cli("audit", "review", "--write-baseline", str(cli.store))
    assert (own.code, own.err) == (
        2, "tokenctl: --write-baseline names a place among tokenctl's own files\nhint: name another file with --write-baseline\n"
    )  # fmt: skip
