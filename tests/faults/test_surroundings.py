"""No home, a home that cannot be written, poor locales and terminals, and many processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import PROGRAM, Cli, Result
from tests.faults.conftest import ISSUE, assert_refused, assert_sound, rows


def _bases(cli: Cli) -> dict[str, str]:
    return {f"XDG_{name}_HOME": str(cli.home / name.lower()) for name in ("CONFIG", "DATA", "STATE")}


def test_without_home_the_base_directories_are_enough(cli):
    del cli.env["HOME"]
    cli.env |= _bases(cli)
    issued = cli(*ISSUE)
    assert issued.code == 0
    assert issued.err == f"notice: made a store; root secret: {cli.home}/config/tokenctl/keys/local (0600)\n"
    assert cli("inspect", "-", "-q", input=issued.out).code == 0
    assert cli("audit", "verify", "-q").code == 0
    assert sorted(place.name for place in cli.home.iterdir()) == ["config", "data", "state"]


def test_a_user_without_any_home_directory_is_told_what_to_set(cli):
    code = (
        "import os, pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl'))\n"
    )
    for home in (None, "", "relative/path"):
        env = {name: value for name, value in cli.env.items() if name != "HOME"} | ({} if home is None else {"HOME": home})
        for command in (ISSUE, ("list",), ("inspect", "0352Ldy4SKzRSvwVvSWvL6")):
            done = subprocess.run(
                [sys.executable, "-P", "-c", code, *command], env=env, cwd=cli.home, capture_output=True, timeout=60, check=False
            )
            assert_refused(Result(done.returncode, done.stdout.decode(), done.stderr.decode()), 9)
            assert b"set HOME" in done.stderr
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/below", "/proc/self/nowhere"])
def test_a_home_that_cannot_hold_anything_is_one_clear_line(cli, home):
    issued = cli(*ISSUE, env={"HOME": home})
    assert_refused(issued, 9)
    listed = cli("list", env={"HOME": home})
    assert listed.code in (0, 9)
    assert "a bug" not in listed.err


def test_a_home_that_its_user_may_not_write_is_one_clear_line(cli):
    if os.geteuid() == 0:
        # The superuser meets the medium mounted for reading instead, in test_full_medium.
        pytest.skip("the mode of a directory does not bind the superuser")
    cli.home.chmod(0o500)
    try:
        assert_refused(cli(*ISSUE), 9)
        assert cli("list").code == 0
    finally:
        cli.home.chmod(0o700)


@pytest.mark.parametrize(
    "surroundings",
    [
        {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "LANG": "C"}, {"LC_ALL": "nonsense"}, {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb"}, {"TERM": ""}, {"COLUMNS": "1"},
        {"COLUMNS": "x"}, {"TZ": "nonsense/zone"},
    ],
)  # fmt: skip
def test_poor_surroundings_change_nothing(cli, surroundings):
    subject = "Zoë 東京 \U0001f511"
    issued = cli("issue", "--subject", subject, "--scope", "a", "-q", env=surroundings)
    assert issued.code == 0, issued
    identifier = cli.id_of(issued.out.strip())
    listed = cli("list", env=surroundings)
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.split("\t")[0] == identifier
    assert cli("list", "-o", "json", env=surroundings).json["tokens"][0]["subject"] == subject
    assert cli("inspect", identifier, env=surroundings).code == 0
    assert cli("revoke", identifier, "--yes", env=surroundings).code == 0


def test_bytes_that_are_no_text_are_a_plain_refusal(cli):
    for arguments in (["issue", "--subject", b"\xff\xfe"], ["inspect", b"\xff"], ["list", "--subject", b"\xff"], [b"\xff"]):
        done = subprocess.run([*PROGRAM, *arguments], env=cli.env, cwd=cli.home, capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, 2), done
        assert b"a bug" not in done.stderr
        assert b"Traceback" not in done.stderr


def test_a_working_directory_that_is_gone_does_not_matter(cli):
    done = subprocess.run(
        ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", *PROGRAM, *ISSUE],
        env=cli.env, cwd=cli.home, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_few_descriptors_are_a_refusal_and_no_damage(cli):
    cli.token()
    for limit in range(4, 10):
        done = subprocess.run(
            ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *PROGRAM, *ISSUE],
            env=cli.env, cwd=cli.home, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode in (1, 127) and b"tokenctl: " not in done.stderr:
            continue  # the interpreter itself did not come up
        assert done.returncode in (0, 7), (limit, done)
        assert_sound(cli)


# Many at once


def _at_once(cli: Cli, commands: list[tuple[str, ...]]) -> list[Result]:
    running = [
        subprocess.Popen(
            [*PROGRAM, *command],
            env=cli.env,
            cwd=cli.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for command in commands
    ]
    with ThreadPoolExecutor(len(running)) as pool:
        ended = list(pool.map(lambda process: process.communicate(timeout=120), running))
    return [Result(process.returncode, out.decode(), err.decode()) for process, (out, err) in zip(running, ended, strict=True)]


@pytest.mark.parametrize("attempt", range(3))
def test_racing_first_runs_make_one_store_and_tell_of_it_once(cli, attempt):
    results = _at_once(cli, [ISSUE] * 8)
    assert [result.code for result in results] == [0] * 8, results
    told = "".join(result.err for result in results)
    assert told == "notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)\n"
    checked = cli("inspect", "-", "-q", input="".join(result.out for result in results))
    assert checked.code == 0
    assert rows(cli.store, "SELECT count(DISTINCT id) FROM token WHERE delivered_at IS NOT NULL") == [(8,)]
    assert_sound(cli)


def test_racing_first_jwts_make_one_signing_key(cli):
    results = _at_once(cli, [("issue", "--subject", "x", "--format", "jwt", "--audience", "api", "-q")] * 6)
    assert [result.code for result in results] == [0] * 6, results
    assert rows(cli.store, "SELECT alg, state FROM key") == [("ES256", "active")]
    assert_sound(cli)


def test_thirty_two_writers_of_mixed_verbs_lose_nothing(cli):
    victims = [cli.id_of(cli.token()) for _ in range(8)]
    spent = cli.token("--max-uses", "3")
    (cli.home / "spent").write_text(spent + "\n")
    commands: list[tuple[str, ...]] = [ISSUE] * 12
    commands += [("revoke", victim, "--yes", "-q") for victim in victims]
    commands += [("revoke", victims[0], "--yes", "-q")] * 2
    uses = [("inspect", "--use", "--file", str(cli.home / "spent"), "-q")] * 5
    commands += [("issue", "--subject", "x", "--format", "jwt", "--audience", "api", "-q")] * 5
    results = _at_once(cli, [*commands, *uses])
    assert len(results) == 32
    assert [result.code for result in results[: len(commands)]] == [0] * len(commands), results
    # Three uses were left, whoever came first.
    assert sorted(result.code for result in results[len(commands) :]) == [0, 0, 0, 3, 3]
    assert rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NULL AND delivered_at IS NOT NULL") == [(18,)]
    told = rows(cli.store, "SELECT target FROM record WHERE operation = 'token.revoke'")
    assert sorted(str(row[0]) for row in told) == sorted(victims)
    assert "locked" not in "".join(result.err for result in results)
    assert_sound(cli)


def test_readers_beside_a_writer_always_get_an_answer(cli):
    token = cli.id_of(cli.token())
    results = _at_once(cli, [ISSUE, ("inspect", token, "-q"), ("list",), ("audit", "verify", "-q")] * 6)
    assert [result.code for result in results] == [0] * 24, [result for result in results if result.code]
    assert_sound(cli)


def test_a_lock_held_by_another_ends_the_command_at_its_timeout(cli):
    import fcntl

    token = cli.id_of(cli.token())
    with cli.store.with_name("store.lock").open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert_refused(cli(*ISSUE, "--timeout", "1s"), 7)
        assert cli("revoke", token, "--yes", "-q", "--timeout", "1s").code == 7
        assert cli("inspect", token, "-q").code == 0
        assert cli("list").code == 0
    assert cli(*ISSUE).code == 0
