"""A token that did not arrive is revoked and named; a wrong place for it is refused before anything is minted."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.conftest import PROGRAM, Cli, Result
from tests.faults.conftest import ISSUE, assert_no_secret, assert_refused, assert_sound, change, rows


def _issue_to(cli: Cli, redirection: str, *arguments: str) -> Result:
    """Issue with a redirection by the shell."""
    return cli_shell(cli, f'exec "$@" {redirection}', *ISSUE, *arguments)


def cli_shell(cli: Cli, script: str, *arguments: str) -> Result:
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM, *arguments],
        env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def _assert_revoked_and_named(cli: Cli, result: Result) -> None:
    told = [line for line in result.err.splitlines() if not line.startswith("notice: ")]
    assert_refused(Result(result.code, result.out, "\n".join(told)), 7)
    found = rows(cli.store, "SELECT id, reason, revoked_at IS NOT NULL, delivered_at FROM token")
    assert len(found) == 1
    identifier, reason, revoked, delivered = found[0]
    assert (reason, revoked, delivered) == ("undelivered", 1, None)
    assert str(identifier) in result.err
    assert "it was revoked" in result.err
    assert cli("inspect", str(identifier), "-q").code == 3
    assert_sound(cli)
    assert_no_secret(cli.home, root_secret=cli.root_secret)


@pytest.mark.parametrize("extra", [(), ("-o", "json"), ("--format", "jwt", "--audience", "api")], ids=["opaque", "json", "jwt"])
@pytest.mark.parametrize("redirection", [">&-", "> /dev/full", "1< /dev/null"])
def test_a_token_that_stdout_does_not_take_is_revoked_and_named(cli, redirection, extra):
    result = _issue_to(cli, redirection, *extra)
    if "json" in extra:
        assert result.code == 7
        assert rows(cli.store, "SELECT reason FROM token") == [("undelivered",)]
        assert '"reason": "undelivered"' in result.err
    else:
        _assert_revoked_and_named(cli, result)


def _broken_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_a_token_for_a_reader_that_went_away_is_revoked_and_named(cli):
    writer = _broken_pipe()
    result = cli(*ISSUE, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _assert_revoked_and_named(cli, result)


@pytest.mark.parametrize("closed", ["stderr", "all"])
def test_with_stderr_closed_too_the_exit_code_still_tells(cli, closed):
    redirection = ">&- 2>&-" + (" <&-" if closed == "all" else "")
    assert _issue_to(cli, redirection).code == 7
    assert rows(cli.store, "SELECT reason FROM token") == [("undelivered",)]
    assert_sound(cli)


def test_no_file_of_ours_takes_the_number_of_a_closed_descriptor(cli):
    cli.token()
    for redirection in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        _issue_to(cli, redirection)
        assert_sound(cli)
        assert_no_secret(cli.home, root_secret=cli.root_secret)


def test_a_descriptor_whose_reader_went_away_gets_its_token_revoked(cli):
    writer = _broken_pipe()
    result = cli(*ISSUE, "--fd", str(writer), pass_fds=[writer])
    os.close(writer)
    _assert_revoked_and_named(cli, result)


def test_a_full_device_behind_a_descriptor_gets_its_token_revoked(cli):
    _assert_revoked_and_named(cli, _issue_to(cli, "7>/dev/full", "--fd", "7"))


def test_a_good_descriptor_gets_the_token_and_stdout_nothing(cli):
    reader, writer = os.pipe()
    done = cli(*ISSUE, "--fd", str(writer), pass_fds=[writer])
    os.close(writer)
    assert (done.code, done.out) == (0, "")
    with os.fdopen(reader, "rb") as pipe:
        assert cli("inspect", "-", "-q", input=pipe.read()).code == 0


@pytest.mark.parametrize(
    ("redirection", "number"),
    [
        ("", "9"), ("9</dev/null", "9"), ("9<.", "9"), ("9>>.local/share/tokenctl/local/store.db", "9"),
        ("9<>.local/share/tokenctl/local/store.lock", "9"), ("9<>.config/tokenctl/keys/local", "9"),
        ("9<>.local/state/tokenctl/local/head", "9"), ("", "-1"), ("", "99999999999999999999"), ("", "x"), ("0</dev/null", "0"),
        ("9>&-", "9"),
    ],
)  # fmt: skip
def test_a_descriptor_that_cannot_take_a_token_is_refused_before_minting(cli, redirection, number):
    cli.token()
    before = cli.store.read_bytes()
    assert_refused(_issue_to(cli, redirection, "--fd", number), 2)
    assert cli.store.read_bytes() == before
    assert rows(cli.store, "SELECT count(*) FROM token") == [(1,)]


def test_a_failed_write_of_a_token_file_leaves_nothing_and_revokes(cli, medium):
    cli.token()
    outside = cli.home / "out"
    outside.mkdir(mode=0o700)
    medium.fill(leave=90_000)
    result = cli(*ISSUE, "--out", str(outside / "token"))
    medium.free()
    assert result.code in (0, 7)
    if result.code == 7:
        assert list(outside.iterdir()) == []
    assert_sound(cli)


def test_an_undelivered_token_is_not_active_after_a_minute_and_is_recorded_by_the_next_issue(cli):
    token = cli.token()
    identifier = cli.id_of(token)
    change(cli.store, "UPDATE token SET delivered_at = NULL")
    assert cli("inspect", identifier, "-q").code == 0
    later = _now(cli) + 61_000
    assert cli.at(later, "inspect", identifier).code == 3
    assert cli.at(later, *ISSUE).code == 0
    assert rows(cli.store, f"SELECT reason FROM token WHERE id = '{identifier}'") == [("undelivered",)]
    assert_sound(cli)


def _now(cli: Cli) -> int:
    return int(str(rows(cli.store, "SELECT max(time) FROM record")[0][0]))


@pytest.fixture
def many(cli):
    """More tokens than a pipe holds of their lines."""
    script = (
        "import os, sys\n"
        "from tokenctl.cli.boundary import run\n"
        "for number in range(40):\n"
        "    command = ['issue', '--subject', 's' * 1000 + str(number), '-q']\n"
        "    assert run(command, environment=os.environ, program='t') == 0\n"
    )
    subprocess.run([PROGRAM[0], "-c", script], env=cli.env, cwd=cli.home, stdout=subprocess.DEVNULL, check=True, timeout=120)
    assert rows(cli.store, "SELECT count(*) FROM token") == [(40,)]
    return cli


@pytest.mark.parametrize("verb", [("list",), ("list", "-o", "jsonl"), ("audit", "log"), ("audit", "log", "-o", "jsonl")])
def test_a_reader_that_stops_early_ends_the_writer_quietly_by_sigpipe(many, verb):
    writer = _broken_pipe()
    done = many(*verb, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.code, done.err) == (-signal.SIGPIPE, "")


def test_list_to_head_prints_one_line_and_nothing_else(many):
    done = cli_shell(many, '"$@" | head -n 1', "list")
    assert (done.code, len(done.out.splitlines()), done.err) == (0, 1, "")


def test_an_answer_that_cannot_be_written_is_told(cli):
    cli.token()
    for verb in (("list",), ("audit", "log"), ("list", "-o", "json"), ("rotate-keys", "jwks"), ("--help",), ("--version",)):
        full = cli_shell(cli, 'exec "$@" > /dev/full', *verb)
        assert full.code == 7, (verb, full)
        assert "Traceback" not in full.err


def test_a_revocation_whose_report_cannot_be_written_is_done_and_told(cli):
    token = cli.id_of(cli.token())
    assert cli_shell(cli, 'exec "$@" > /dev/full', "revoke", token, "--yes").code == 7
    assert cli("inspect", token, "-q").code == 3
