"""``issue --count`` and ``--from``: all rows checked first, delivered batch by batch, safe to run again."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

import pytest

from tests.conftest import PROGRAM, missing
from tests.faults.conftest import assert_sound, database, rows

TOKEN = re.compile(r"tkc_(at|pat|svc)_\w{22}_\w{49}")
PATIENCE = 60  # seconds


def people(cli, *members, name="people.jsonl"):
    """Write rows; each is a dictionary, or a line as it is."""
    lines = [member if isinstance(member, str) else json.dumps(member) for member in members]
    (cli.home / name).write_text("".join(f"{line}\n" for line in lines))
    return name


def living(cli):
    return cli("list", "-o", "jsonl").lines


# What comes out


def test_a_count_gives_so_many_lines_each_with_a_token_of_its_own(cli):
    done = cli("issue", "--count", "3", "--subject", "s", "--scope", "a:b", "-q")
    assert done.code == 0
    assert [line["line"] for line in done.lines] == [1, 2, 3]
    assert len({line["token"] for line in done.lines}) == 3
    for line in done.lines:
        assert TOKEN.fullmatch(line["token"])
        assert (line["subject"], line["scope"], line["active"], line["out"]) == ("s", ["a:b"], True, None)
        assert cli("inspect", "-", "-q", input=line["token"]).code == 0
    assert len({line["request_id"] for line in done.lines}) == 1
    assert_sound(cli)


def test_rows_say_what_differs_and_the_command_line_what_is_common(cli):
    source = people(
        cli,
        {"subject": "alice", "owner": "alice", "scope": ["repo:read", "repo:write"]},
        {"subject": "bob", "kind": "access", "scope": "a:b c:d", "ttl": "5m", "labels": {"team": "infra"}, "note": None},
        "",
        {"subject": "gw", "kind": "access", "format": "jwt", "audience": "api", "claims": {"tier": {"x": 1}}, "max_uses": None},
    )
    done = cli("issue", "--from", source, "--kind", "personal", "--ttl", "2h", "--scope", "z", "-q")
    assert (done.code, done.err) == (0, "notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)\n")
    first, second, third = done.lines
    assert (first["line"], first["kind"], first["owner"], first["scope"]) == (1, "personal", "alice", ["repo:read", "repo:write"])
    assert (second["line"], second["kind"], second["scope"], second["labels"]) == (2, "access", ["a:b", "c:d"], {"team": "infra"})
    assert (third["line"], third["format"], third["audience"]) == (4, "jwt", ["api"])
    assert [line["expires_in"] for line in done.lines] == [7200, 300, 7200]
    seen = cli("inspect", "-", "--audience", "api", "-o", "json", input=third["token"])
    assert (seen.code, seen.json["claims"]["tier"]) == (0, {"x": 1})


def test_standard_input_is_read_where_a_hyphen_is_typed(cli):
    done = cli("issue", "--from", "-", "-q", input='{"subject":"a"}\r\n{"subject":"b"}')
    assert [line["subject"] for line in done.lines] == ["a", "b"]


def test_text_is_a_token_a_line_and_json_is_one_document(cli):
    text = cli("issue", "--count", "2", "--subject", "s", "-o", "text", "-q")
    assert all(TOKEN.fullmatch(line) for line in text.out.splitlines())
    document = cli("issue", "--count", "2", "--subject", "s", "-o", "json", "-q").json
    assert set(document) == {"tokens", "request_id", "warnings"}
    assert [token["line"] for token in document["tokens"]] == [1, 2]
    assert {token["request_id"] for token in document["tokens"]} == {document["request_id"]}


def test_a_file_takes_the_lines_and_stdout_the_ids(cli):
    done = cli("issue", "--count", "2", "--subject", "s", "--out", "made", "-q")
    lines = [json.loads(line) for line in (cli.home / "made").read_text().splitlines()]
    assert done.out.split() == [line["id"] for line in lines]
    assert stat.S_IMODE((cli.home / "made").stat().st_mode) == 0o600
    assert all(line["out"] == "made" and TOKEN.fullmatch(line["token"]) for line in lines)
    again = cli("issue", "--count", "2", "--subject", "s", "--out", "made", "-q")
    assert (again.code, again.out) == (2, "")
    assert again.err.splitlines()[0] == "tokenctl: made is there already"
    assert len(living(cli)) == 2


def test_a_descriptor_takes_the_lines(cli):
    with (cli.home / "made").open("wb") as file:
        done = cli("issue", "--count", "2", "--subject", "s", "--fd", str(file.fileno()), "-q", pass_fds=[file.fileno()])
    assert (done.code, done.out) == (0, "")
    assert len((cli.home / "made").read_text().splitlines()) == 2


def test_a_batch_is_found_and_undone_by_its_request_id(cli):
    cli.token()
    cli("issue", "--count", "3", "--subject", "s", "--request-id", "monday", "-q")
    assert len(cli("list", "--batch", "monday").out.splitlines()) == 3
    assert len(cli("audit", "log", "--request-id", "monday").out.splitlines()) == 3
    assert cli("revoke", "--batch", "monday", "--yes", "-q").code == 0
    assert len(living(cli)) == 1


def test_a_dry_run_makes_nothing(cli):
    done = cli("issue", "--count", "3", "--subject", "s", "-n")
    assert (done.code, done.out) == (0, "would issue  3 tokens\n")
    assert list(cli.home.iterdir()) == []


# All rows are checked before the first token


def test_every_fault_of_every_row_is_told_and_nothing_is_made(cli):
    source = people(
        cli, {"subject": "ok"}, "{", '{"subject": "a", "subject": "b"}', "[1]", {"subject": ""}, {"subjects": "x"},
        {"subject": "x", "scope": [1]}, {"subject": "x", "ttl": 900}, {"subject": "x", "max_uses": True},
        {"subject": "x", "kind": "root", "ttl": "5y"}, {"subject": "x", "request_id": "twice"},
        {"subject": "x", "request_id": "twice"},
    )  # fmt: skip
    done = cli("issue", "--from", source)
    assert (done.code, done.out) == (2, "")
    for line in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12):
        assert f"line {line}: " in done.err
    assert "line 1: " not in done.err
    assert "line 6: subjects cannot be asked for (known: subject, owner" in done.err
    assert "line 8: ttl is of another type" in done.err
    assert "line 10: 2 faults in the request: --ttl: not a duration (years differ in length: 1825d?); --kind: one of" in done.err
    assert "line 12: its request_id stands in line 11 too" in done.err
    assert done.err.splitlines()[0].endswith(": nothing was made")
    assert not cli.store.exists()


@pytest.mark.parametrize("batch", ["", "two words"])
def test_the_request_id_of_a_batch_is_checked_where_every_row_has_its_own(cli, batch):
    done = cli("issue", "--from", people(cli, {"subject": "a", "request_id": "own"}), "--request-id", batch)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: --request-id: letters, digits and _ . : - are admitted, at most 128\n")


@pytest.mark.parametrize("name", ["x=y", "", "=", "-x", "a b", "x" * 65])
def test_a_key_of_a_rows_labels_is_the_name_of_a_label(cli, name):
    done = cli("issue", "--from", people(cli, {"subject": "a", "labels": {name: "z"}}))
    assert (done.code, done.out) == (2, "")
    assert "line 1: labels: a name is of letters, digits and _ . / -, at most 64: nothing was made" in done.err


def test_a_row_that_the_policy_refuses_refuses_all_and_is_recorded(cli):
    source = people(cli, {"subject": "a"}, {"subject": "b", "ttl": "48h"}, {"subject": "c", "scope": ["*"]})
    done = cli("issue", "--from", source, "-q", "--request-id", "R")
    assert (done.code, done.out) == (12, "")
    assert "line 2: " in done.err
    assert "line 3: " in done.err
    assert living(cli) == []
    denied = cli("audit", "log", "--operation", "token.deny", "-o", "jsonl").lines
    assert [(record["subject"], record["request_id"]) for record in denied] == [("b", "R"), ("c", "R")]


def test_a_parent_is_checked_for_every_row(cli):
    parent = cli.id_of(cli.token("--scope", "a", "--ttl", "1h"))
    source = people(cli, {"subject": "a", "scope": ["a"], "parent": parent}, {"subject": "b", "scope": ["b"], "parent": parent})
    done = cli("issue", "--from", source)
    assert done.code == 12
    assert "line 2: the policy forbids it: parent-scope: the parent lacks b" in done.err
    unknown = people(cli, {"subject": "a", "parent": "0352Ldy4SKzRSvwVvSWvL6"})
    assert cli("issue", "--from", unknown).code == 5
    assert len(living(cli)) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--count", "0"), "--count: 1 to 1000000"),
        (("--count", "1000001"), "--count: 1 to 1000000"),
        (("--count", "2", "--from", "x"), "--count and --from exclude each other"),
        (("--from", "absent"), "cannot read absent: no such file or directory"),
        (("--from", "/dev/null"), "cannot read /dev/null: not a regular file"),
        (("--from", "empty"), "empty is empty"),
    ],
)
def test_what_cannot_be_read_is_named(cli, arguments, told):
    (cli.home / "empty").write_text("\n\n")
    done = cli("issue", "--subject", "s", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == f"tokenctl: {told}"
    assert not cli.store.exists()


# Again


def test_a_rerun_prints_only_what_was_not_delivered(cli):
    source = people(cli, *({"subject": f"p{number}"} for number in range(4)))
    first = cli("issue", "--from", source, "--request-id", "R", "-q")
    assert [line["request_id"] for line in first.lines] == ["R/1", "R/2", "R/3", "R/4"]
    again = cli("issue", "--from", source, "--request-id", "R", "-q")
    assert (again.code, again.out, again.err) == (0, "", "")
    assert len(living(cli)) == 4


def test_another_row_under_the_same_request_id_is_a_conflict_before_anything_is_made(cli):
    source = people(cli, {"subject": "a"}, {"subject": "b"})
    cli("issue", "--from", source, "--request-id", "R", "-q")
    people(cli, {"subject": "new"}, {"subject": "a"}, {"subject": "b"})
    done = cli("issue", "--from", source, "--request-id", "R", "-q")
    assert (done.code, done.out) == (6, "")
    assert "line 1: request id R/1 was used with other parameters" in done.err
    assert len(living(cli)) == 2


def test_a_row_keeps_its_own_request_id_whatever_the_batch(cli):
    source = people(cli, {"subject": "a", "request_id": "a-1"}, {"subject": "b"})
    first = cli("issue", "--from", source, "-q")
    again = cli("issue", "--from", source, "-q")
    assert [line["subject"] for line in first.lines] == ["a", "b"]
    assert [line["subject"] for line in again.lines] == ["b"]
    assert cli("list", "--batch", "a-1").out.startswith(first.lines[0]["id"])


def test_killed_at_half_and_run_again_everybody_has_one_living_delivered_token(cli):
    names = [f"person{number}" for number in range(3000)]
    source = people(cli, *({"subject": name} for name in names))
    command = [*PROGRAM, "issue", "--from", source, "--request-id", "R", "-q"]
    with (cli.home / "out").open("wb") as out:
        process = subprocess.Popen(command, env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=out)
        deadline = time.monotonic() + PATIENCE
        while (cli.home / "out").stat().st_size < 400_000:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.wait(PATIENCE)
    before = rows(cli.store, "SELECT count(*) FROM token WHERE delivered_at IS NOT NULL")[0][0]
    assert 0 < before < 3000
    again = cli("issue", "--from", source, "--request-id", "R", "-q")
    assert again.code == 0
    assert len(again.lines) == 3000 - before
    found = living(cli)
    assert sorted(token["subject"] for token in found) == sorted(names)
    assert all(token["delivered_at"] for token in found)
    # Each person holds what lives: the newest line with the name, in either output.
    whole = [line for line in (cli.home / "out").read_text().splitlines() if line.endswith("}")]
    printed = {line["subject"]: line["id"] for line in [*map(json.loads, whole), *again.lines]}
    assert printed == {token["subject"]: token["id"] for token in found}
    assert_sound(cli)


def test_two_runs_of_one_request_at_once_make_each_token_once(cli):
    cli.token()
    source = people(cli, *({"subject": f"p{number}"} for number in range(300)))
    command = [*PROGRAM, "issue", "--from", source, "--request-id", "R", "-q"]
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [
        subprocess.Popen(command, env=cli.env, cwd=cli.home, **settings)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=PATIENCE) for process in both]
    # Where one meets a token of the other that is not delivered yet, it makes it anew, and the other says so.
    assert all(process.returncode in (0, 7) for process in both), outputs
    last = cli("issue", "--from", source, "--request-id", "R", "-q")
    assert last.code == 0
    found = cli("list", "--batch", "R", "-o", "jsonl").lines
    assert sorted(token["subject"] for token in found) == sorted(f"p{number}" for number in range(300))
    assert_sound(cli)


# What goes wrong in between


def test_a_reader_that_goes_away_leaves_nothing_that_nobody_has(cli):
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "issue", "--count", "5000", "--subject", "s", "--request-id", "R", "-q"],
        env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    taken = os.read(reader, 65536)
    os.close(reader)
    told = process.communicate(timeout=PATIENCE)[1].decode()
    assert taken
    assert process.returncode == 7
    assert re.search(r"\d+ issued and delivered, \d+ not; request R\nrun again with the same request id for the rest\n", told)
    assert re.search(r"tokenctl: \d+ tokens? could not be delivered \(broken pipe\): revoked\n", told)
    assert rows(cli.store, "SELECT count(*) FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL") == [(0,)]
    assert_sound(cli)


def test_an_interrupt_finishes_the_batch_and_tells_how_far_it_came(cli):
    process = subprocess.Popen(
        [*PROGRAM, "issue", "--count", "200000", "--subject", "s", "-q"], bufsize=0,
        env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    lines = [first, *out.splitlines()]
    match = re.search(rb"(\d+) issued and delivered, (\d+) not; request (\w+)\n(undo: .* revoke --batch \3\n)", told)
    assert match is not None, told
    assert int(match[1]) == len(lines)
    assert int(match[1]) + int(match[2]) == 200_000
    assert len(living(cli)) == len(lines)
    assert_sound(cli)


def test_a_token_of_a_slow_run_is_delivered_by_its_own_time(cli):
    """A run that takes longer than the deadline of delivery: each batch has its own."""
    code = (
        "import os, sys, time\n"
        "from tokenctl.backends.local import journal\n"
        "real = journal._elapsed\n"
        "calls = []\n"
        "def slow(): calls.append(1); return real() + 20 * len(calls)\n"
        "journal._elapsed = slow\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(['issue', '--count', '400', '--subject', 's', '-q'], environment=os.environ, program='tokenctl'))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], env=cli.env, cwd=cli.home, capture_output=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 400), done.stderr


# Limits of the policy

LIMITED = """
[[rule]]
name = "open"
subject = "free-*"
kinds = ["access"]

[[rule]]
name = "few"
subject = "*"
limit_per_owner = 3
"""


def limited(cli):
    folder = cli.home / ".config/tokenctl/profiles"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "local.toml").write_text(LIMITED)
    (folder / "local.toml").chmod(0o600)


@pytest.mark.parametrize("first", [0, 1], ids=["in a new store", "beside a token that is there"])
def test_a_limit_is_counted_over_all_rows_before_the_first_is_made(cli, first):
    limited(cli)
    for _ in range(first):
        assert cli("issue", "--subject", "x", "--owner", "a", "-q").code == 0
    many = people(cli, *({"subject": f"s{number}", "owner": "a"} for number in range(4 - first)))
    done = cli("issue", "--from", many, "-q")
    assert (done.code, done.out) == (12, "")
    assert f"line {4 - first}: the policy forbids it: rule few: limit-per-owner: a has 3 living tokens of at most 3" in done.err
    assert len(living(cli)) == first
    of_a = ({"subject": f"s{number}", "owner": "a"} for number in range(3 - first))
    enough = people(cli, *of_a, {"subject": "s", "owner": "b"})
    assert cli("issue", "--from", enough, "-q").code == 0


def test_a_token_of_another_rule_counts_where_a_limit_is_about_it(cli):
    limited(cli)
    # A limit is about every subject, those of the rule without one too; the first request of it comes last.
    rows_of_all = [{"subject": f"free-{number}", "owner": "a"} for number in range(3)] + [{"subject": "s", "owner": "a"}]
    done = cli("issue", "--from", people(cli, *rows_of_all), "-q")
    assert (done.code, done.out) == (12, "")
    assert "line 4: the policy forbids it: rule few: limit-per-owner: a has 3 living tokens of at most 3" in done.err


def test_a_rerun_at_the_limit_makes_what_was_not_delivered(cli):
    limited(cli)
    source = people(cli, *({"subject": f"s{number}", "owner": "a"} for number in range(3)))
    assert cli("issue", "--from", source, "--request-id", "R", "-q").code == 0
    with database(cli.store) as connection:
        connection.execute("UPDATE token SET delivered_at = NULL")
    again = cli("issue", "--from", source, "--request-id", "R", "-q")
    assert (again.code, len(again.lines)) == (0, 3), again.err
    assert len(living(cli)) == 3
    assert_sound(cli)


# Found by a hostile reading


def test_request_ids_of_rows_never_meet_those_that_are_typed(cli):
    assert cli("issue", "--subject", "s", "--request-id", "K.1", "-q").code == 0
    assert len(cli("issue", "--subject", "s", "--count", "3", "--request-id", "K", "-q").lines) == 3
    source = people(cli, {"subject": "a", "request_id": "B.3"}, *({"subject": "a"} for _ in range(4)))
    assert len(cli("issue", "--from", source, "--request-id", "B", "-q").lines) == 5
    assert cli("issue", "--subject", "s", "--request-id", "B/1").code == 2


def test_a_row_that_no_key_can_sign_refuses_all(cli):
    assert cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q").code == 0
    jwt = {"subject": "j", "format": "jwt", "audience": "a", "algorithm": "RS256"}
    source = people(cli, *({"subject": f"s{number}"} for number in range(80)), jwt)
    for options in ((), ("-n",)):
        done = cli("issue", "--from", source, "-q", *options)
        assert (done.code, done.out) == (6, "")
        assert "line 81: no active key for RS256; active: ES256" in done.err


def test_the_first_jwt_of_a_store_decides_which_key_there_is(cli):
    rows_of = [{"subject": "j", "format": "jwt", "audience": "a", "algorithm": name} for name in ("EdDSA", "EdDSA", "ES256")]
    done = cli("issue", "--from", people(cli, *rows_of), "-q")
    assert (done.code, done.out) == (6, "")
    assert "line 3: no active key for ES256; active: EdDSA" in done.err
    assert cli("issue", "--from", people(cli, *rows_of[:2]), "-q").code == 0


def test_a_row_whose_jwt_would_be_too_long_refuses_all(cli):
    long = {"subject": "j", "format": "jwt", "audience": [f"{number}{'a' * 900}" for number in range(80)]}
    source = people(cli, *({"subject": f"s{number}"} for number in range(80)), long)
    done = cli("issue", "--from", source, "-q")
    assert (done.code, done.out) == (2, "")
    assert "line 81: the token would be longer than 64 KiB" in done.err
    assert living(cli) == []


@pytest.mark.parametrize("member", ["subject", "note", "owner"])
def test_a_row_that_holds_a_secret_is_refused_and_never_repeated(cli, member):
    token = cli.token()
    for row in ({"subject": "x", member: token}, {token: 1}):
        done = cli("issue", "--from", "-", input=json.dumps(row))
        assert (done.code, done.out) == (2, "")
        assert "line 1: holds what looks like a secret" in done.err
        assert token.split("_")[3][:12] not in done.err
    assert token.split("_")[3][:20].encode() not in cli.store.read_bytes()


def test_a_file_that_fills_up_holds_only_what_was_delivered(cli):
    medium = cli.home / "medium"
    medium.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tokenctl-test", str(medium)], check=False).returncode:
        missing("the right to mount a tmpfs")
    try:
        done = cli("issue", "--count", "2000", "--subject", "s", "--out", "medium/o", "-q")
        lines = [json.loads(line) for line in (medium / "o").read_text().splitlines()]
    finally:
        subprocess.run(["umount", str(medium)], check=True)
    assert done.code == 7
    assert "could not be delivered (no space left on device): revoked" in done.err
    assert sorted(line["id"] for line in lines) == sorted(token["id"] for token in living(cli))
    assert len(lines) > 0


def test_ids_that_nobody_reads_revoke_nothing_that_is_in_the_file(cli):
    with open("/dev/full", "wb") as full:
        done = cli("issue", "--count", "5", "--subject", "s", "--out", "o", "-q", stdout=full, stderr=subprocess.PIPE)
    assert done.code == 7
    lines = [json.loads(line) for line in (cli.home / "o").read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == sorted(token["id"] for token in living(cli))


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_a_full_output_is_named_as_the_cause(cli, output):
    with open("/dev/full", "wb") as full:
        done = cli("issue", "--count", "5", "--subject", "s", "-q", "-o", output, stdout=full, stderr=subprocess.PIPE)
    assert done.code == 7
    assert "5 tokens could not be delivered (no space left on device): revoked" in done.err
    assert living(cli) == []


def test_an_interrupt_takes_effect_where_nobody_reads(cli):
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "issue", "--count", "5000", "--subject", "s", "-q"],
        env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    time.sleep(3)  # until the pipe is full
    process.terminate()
    told = process.communicate(timeout=PATIENCE)[1].decode()
    os.close(reader)
    assert process.returncode == -signal.SIGTERM
    assert re.search(r"\d+ tokens of the last batch revoked: nobody was taking them\n", told)
    assert rows(cli.store, "SELECT count(*) FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL") == [(0,)]


def test_lines_that_are_written_too_late_are_named(cli):
    code = (
        "import os, sys\n"
        "from tokenctl.backends.local import journal\n"
        "real = journal.Journal.time\n"
        "journal.Journal.time = lambda self: real(self) + 61_000\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(['issue', '--count', '3', '--subject', 's', '-q'], environment=os.environ, program='tokenctl'))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], env=cli.env, cwd=cli.home, capture_output=True, check=False)
    assert done.returncode == 7
    assert b"3 of 3 tokens just written are not accepted, lines 1, 2, 3: " in done.stderr
