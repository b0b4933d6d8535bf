"""``issue … -- CMD``: a token that lives as long as a command, however either of the two ends."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.conftest import PROGRAM
from tests.faults.conftest import database, rows

OURS = f"{sys.executable} -m tokenctl"
PATIENCE = 30  # seconds


def run(cli, *words, options=(), **settings):
    return cli("issue", "--subject", "c", *options, "--", *words, **settings)


def shell(cli, script, *options, **settings):
    return run(cli, "sh", "-c", script, options=options, **settings)


def living(cli):
    return cli("list", "--subject", "c").out


def begin(cli, *words, options=(), **settings):
    """Start without waiting; the child says a line when it is there."""
    process = subprocess.Popen(
        [*PROGRAM, "issue", "--subject", "c", *options, "--", *words], env=cli.env, cwd=cli.home,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        **settings,
    )  # fmt: skip
    return process, process.stdout.readline()


def child_of(process):
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


# The token and its life


def test_the_command_gets_a_token_that_is_accepted_while_it_runs_and_not_after(cli):
    script = f'printf %s "$TOKENCTL_TOKEN" | {OURS} inspect - -q; echo "$?"; printf %s "$TOKENCTL_TOKEN" > kept; exit 7'
    done = shell(cli, script, "-q")
    assert (done.code, done.out) == (7, "0\n")
    token = (cli.home / "kept").read_text()
    after = cli("inspect", "-", "-o", "json", input=token)
    assert after.code == 3
    assert after.json["revoked"]["reason"] == "other"
    assert after.json["revoked"]["note"] == "its run ended"
    assert living(cli) == ""
    assert cli("audit", "verify").code == 0


def test_it_lives_an_hour_at_most_unless_told(cli):
    script = f"{OURS} inspect $TOKENCTL_TOKEN_ID -o json"
    assert json.loads(shell(cli, script).out)["expires_in"] in range(3590, 3601)
    assert json.loads(shell(cli, script, "--ttl", "5m").out)["expires_in"] in range(290, 301)


@pytest.mark.parametrize("status", [0, 1, 7, 126, 255])
def test_the_status_of_the_command_is_ours(cli, status):
    assert shell(cli, f"exit {status}", "-q").code == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGSEGV])
def test_the_signal_that_ends_the_command_ends_us_and_the_token(cli, number):
    done = shell(cli, f"kill -{number.value} $$", "-q")
    assert done.code == -number
    assert living(cli) == ""


def test_only_ids_and_what_the_command_prints_are_seen(cli):
    cli.token()
    done = shell(cli, "echo out; echo err >&2")
    assert (done.code, done.out, done.err) == (0, "out\n", "err\n")


def test_children_of_the_token_die_with_the_run(cli):
    done = shell(cli, f"{OURS} issue --subject child --parent $TOKENCTL_TOKEN_ID --ttl 5m --out child", "-q")
    assert done.code == 0
    assert cli("inspect", "--file", "child", "-q").code == 3


# Ends that nobody chose


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
def test_a_signal_to_us_reaches_the_command_and_its_end_is_ours(cli, number):
    process, _ = begin(cli, "sh", "-c", "echo there; exec sleep 60")
    with process:
        process.send_signal(number)
        assert process.wait(PATIENCE) == -number
    assert living(cli) == ""


def test_a_command_that_handles_a_signal_goes_on_and_its_status_is_ours(cli):
    process, _ = begin(cli, "sh", "-c", "trap 'echo caught; exit 5' TERM; echo there; while :; do sleep 0.1; done")
    with process:
        assert living(cli) != ""
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"caught\n"
        assert process.wait(PATIENCE) == 5
    assert living(cli) == ""


def test_after_a_kill_of_us_every_reader_denies_and_the_next_list_records_it(cli):
    process, token = begin(cli, "sh", "-c", 'printf "%s\\n" "$TOKENCTL_TOKEN"; exec sleep 60', options=("--no-mask",))
    with process:
        assert cli("inspect", "-", "-q", input=token).code == 0
        identifier = cli.id_of(token.decode().strip())
        child = child_of(process)
        process.kill()
        process.wait(PATIENCE)
        os.kill(child, 0)  # the command itself goes on
        os.kill(child, signal.SIGKILL)
    denied = cli("inspect", "-", "-o", "json", input=token)
    assert (denied.code, denied.json["state"], denied.json["revoked"]["reason"]) == (3, "revoked", "its run ended")
    assert cli("inspect", "-", "--use", "-q", input=token).code == 3
    assert cli("audit", "log", "--operation", "token.revoke").out == ""
    assert living(cli) == ""
    (record,) = cli("audit", "log", "--operation", "token.revoke", "-o", "jsonl").lines
    assert (record["target"], record["reason"]) == (identifier, "other")
    assert cli("audit", "verify").code == 0


def test_kept_children_die_with_a_run_that_was_killed_as_with_one_that_ended(cli):
    script = f"{OURS} issue --subject child --parent $TOKENCTL_TOKEN_ID --ttl 5m --out child -q; echo there; exec sleep 60"
    process, _ = begin(cli, "sh", "-c", script)
    with process:
        parent = living(cli).split()[0]
        assert cli("revoke", parent, "--suspend", "--keep-children", "--yes", "-q").code == 0
        assert cli("inspect", "--file", "child", "-q").code == 0
        child = child_of(process)
        process.kill()
        process.wait(PATIENCE)
        os.kill(child, signal.SIGKILL)
    assert cli("inspect", "--file", "child", "-q").code == 3
    assert living(cli) == ""
    assert cli("inspect", "--file", "child", "-q").code == 3
    assert cli("audit", "verify", "-q").code == 0


def test_a_run_row_that_a_stranger_edits_revives_nothing(cli):
    process, token = begin(cli, "sh", "-c", 'printf "%s\\n" "$TOKENCTL_TOKEN"; exec sleep 60', options=("--no-mask",))
    with process:
        child = child_of(process)
        process.kill()
    os.kill(child, signal.SIGKILL)
    with database(cli.store) as connection:
        connection.execute("UPDATE token SET run = NULL")
    assert cli("inspect", "-", "-q", input=token).code == 10


def test_a_success_whose_token_could_not_be_revoked_is_eleven(cli):
    cli.token()
    store, away = cli.store, cli.store.with_name("away")
    done = shell(cli, f"mv {store} {away}; mkdir {store}", "-q")
    assert (done.code, done.out) == (11, "")
    assert re.fullmatch(
        r"tokenctl: token \w{22} was not revoked \(.*\): it is not accepted once this process has ended\n"
        r"hint: \S+( -m tokenctl)? revoke \w{22}\n",
        done.err,
    )
    store.rmdir()
    away.rename(store)
    assert living(cli) == ""
    failed = shell(cli, f"mv {store} {away}; mkdir {store}; exit 3", "-q")
    assert failed.code == 3
    assert "was not revoked" in failed.err


# Before anything is minted


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nonesuch",), 127), (("./nonesuch",), 127), (("/etc/passwd",), 126), (("/",), 126), (("./plain",), 126),
        (("./lost",), 126),
    ],
)
def test_a_command_that_cannot_be_run_mints_nothing(cli, words, code):
    (cli.home / "plain").write_text("#!/bin/sh\n")
    lost = cli.home / "lost"
    lost.write_text("#!/no/such/interpreter\n")
    lost.chmod(0o700)
    done = run(cli, *words)
    assert (done.code, done.out) == (code, "")
    assert done.err.count("\n") == 2
    assert "nothing was minted" in done.err
    assert not cli.store.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ls",), "a command stands behind a literal --"),
        (("x", "--", "ls"), "a command stands behind a literal --"),
        (("--",), "no command stands behind --"),
        (("--", ""), "no command stands behind --"),
        (("--out", "f", "--", "ls"), "--out and -- CMD exclude each other"),
        (("--fd", "1", "--", "ls"), "--fd and -- CMD exclude each other"),
        (("--count", "2", "--", "ls"), "a command gets one token: --count and --from do not go with -- CMD"),
        (("--env", "1x", "--", "ls"), "--env: letters, digits and _ are admitted, no digit first"),
        (
            ("--env", "TOKENCTL_PROFILE", "--", "ls"),
            "--env: a name that begins with TOKENCTL_ means something to tokenctl itself",
        ),
        (("--child-fd", "2", "--", "ls"), "--child-fd: 3 to 63"),
        (("--child-fd", "3", "--env", "T", "--", "ls"), "--env and --child-fd exclude each other"),
        (("--no-mask",), "--env, --child-fd and --no-mask go with -- CMD"),
    ],
)
def test_usage_that_is_not_understood_is_named(cli, arguments, told):
    done = cli("issue", "--subject", "c", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == f"tokenctl: {told}"
    assert not cli.store.exists()


def test_a_refused_request_runs_nothing(cli):
    done = shell(cli, "touch ran", "--ttl", "48h")
    assert done.code == 12
    assert not (cli.home / "ran").exists()


def test_options_of_the_command_are_its_own(cli):
    done = run(cli, "printf", "%s|", "-q", "-o", "json", "--debug", "--", "--help", "-p")
    assert (done.code, done.out) == (0, "-q|-o|json|--debug|--|--help|-p|")


def test_a_script_without_a_first_line_is_the_shells(cli):
    script = cli.home / "script"
    script.write_text('echo "$1"\n')
    script.chmod(0o700)
    assert run(cli, "./script", "word").out == "word\n"


# How the token is handed over


def test_the_command_sees_its_own_variables_alone(cli):
    env = {"TOKENCTL_PROFILE": "local", "TOKENCTL_CONFIG": str(cli.home / ".config/tokenctl"), "TOKENCTL_X": "1", "KEPT": "yes"}
    done = shell(cli, "env", "--env", "API_TOKEN", env=env)
    names = {line.partition("=")[0] for line in done.out.splitlines()}
    assert {name for name in names if name.startswith("TOKENCTL")} == {"TOKENCTL_TOKEN_ID"}
    assert "API_TOKEN=***" in done.out.splitlines()
    assert "KEPT=yes" in done.out.splitlines()


def test_a_descriptor_is_read_once_and_nothing_is_in_the_environment(cli):
    done = shell(cli, f"cat <&3 > kept; cat <&3; env | grep TOKENCTL_TOKEN=; {OURS} inspect --file kept -q", "--child-fd", "3")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(r"tkc_at_\w{22}_\w{49}\n", (cli.home / "kept").read_text())


def test_the_token_is_in_no_argument_and_in_no_environment_but_the_commands(cli):
    process, _ = begin(cli, "sh", "-c", "echo there; exec sleep 60")
    with process:
        token = r"tkc_at_\w{22}_\w{49}"
        ours = Path(f"/proc/{process.pid}")
        child = Path(f"/proc/{(ours / f'task/{process.pid}/children').read_text().split()[0]}")
        until = time.monotonic() + 30
        while not (child / "cmdline").read_bytes().startswith(b"sleep\0"):  # in the middle of exec it has no environment
            assert time.monotonic() < until
        for place in (ours, child):
            assert not re.search(token, (place / "cmdline").read_bytes().decode())
        assert not re.search(token, (ours / "environ").read_bytes().decode())
        assert len(re.findall(token, (child / "environ").read_bytes().decode())) == 1
        process.terminate()


def test_the_command_starts_as_if_we_had_not_been_there(cli):
    script = (
        "umask; ulimit -Sc; ulimit -Hc; cat /proc/self/coredump_filter; "
        "grep -E 'Sig(Blk|Ign)|NoNewPrivs' /proc/self/status; ls /proc/self/fd"
    )

    def prepared():
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        Path("/proc/self/coredump_filter").write_text("0x31")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    plain = subprocess.run(
        ["sh", "-c", script], env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=prepared,
        check=True,
    ).stdout.decode()
    assert shell(cli, script, "-q", preexec_fn=prepared).out == plain
    assert plain.startswith("0027\n")


def test_descriptors_that_were_closed_are_closed_for_the_command(cli):
    done = shell(cli, "test -e /proc/self/fd/0; echo $?", "-q", stdin=None, preexec_fn=lambda: os.close(0))
    assert done.out == "1\n"


def test_descriptors_that_were_handed_in_reach_the_command(cli):
    script = 'exec 7>told; "$@"'
    words = [*PROGRAM, "issue", "--subject", "c", "-q", "--", "sh", "-c", "echo told >&7"]
    subprocess.run(["sh", "-c", script, "sh", *words], env=cli.env, cwd=cli.home, check=True)
    assert (cli.home / "told").read_text() == "told\n"


# What passes through


@pytest.mark.parametrize("stream", ["", " >&2"])
def test_the_token_is_masked_where_no_terminal_is(cli, stream):
    cli.token()
    done = shell(cli, f'printf "a%sb%s" "$TOKENCTL_TOKEN" "$TOKENCTL_TOKEN"{stream}', "-q")
    assert (done.out, done.err) == (("a***b***", "") if not stream else ("", "a***b***"))


def test_a_token_that_comes_in_pieces_is_masked(cli):
    code = (
        "import os, sys, time\n"
        "token = os.environ['TOKENCTL_TOKEN'].encode()\n"
        "for byte in token * 2 + token[:40] + b'tkc_' + token: os.write(1, bytes([byte])); time.sleep(0.001)\n"
    )
    done = run(cli, sys.executable, "-c", code, options=("-q",))
    assert re.fullmatch(r"\*\*\*\*\*\*tkc_at_\w{22}_\w{10}tkc_\*\*\*", done.out)


def test_what_is_not_the_token_passes_byte_for_byte(cli):
    data = bytes(range(256)) * 3000
    (cli.home / "data").write_bytes(data)
    words = [*PROGRAM, "issue", "--subject", "c", "-q", "--", "cat", "data"]
    assert subprocess.run(words, env=cli.env, cwd=cli.home, capture_output=True, check=True).stdout == data


def test_no_mask_hands_the_descriptors_over(cli):
    done = shell(cli, 'printf %s "$TOKENCTL_TOKEN"; readlink /proc/self/fd/1 >&2', "--no-mask", "-q")
    assert re.fullmatch(r"tkc_at_\w{22}_\w{49}", done.out)
    with (cli.home / "out").open("wb") as file:
        assert shell(cli, "readlink /proc/self/fd/1", "--no-mask", "-q", stdout=file).code == 0
    assert (cli.home / "out").read_text().strip() == str(cli.home / "out")


def test_both_streams_into_one_file_keep_their_order(cli):
    cli.token()
    with (cli.home / "log").open("wb") as log:
        shell(cli, "for i in 1 2 3 4 5 6 7 8; do echo out $i; echo err $i >&2; done", "-q", stdout=log, stderr=log)
    assert (cli.home / "log").read_text() == "".join(f"out {number}\nerr {number}\n" for number in range(1, 9))


def test_a_descendant_that_keeps_the_output_keeps_nobody_waiting(cli):
    begun = time.monotonic()
    done = shell(cli, "sleep 30 & echo done", "-q")
    assert (done.code, done.out) == (0, "done\n")
    assert time.monotonic() - begun < 20
    assert living(cli) == ""


def test_a_reader_that_goes_away_ends_the_command_as_without_us(cli):
    process, _ = begin(cli, "yes", options=("-q",))
    process.stdout.close()
    with process:
        assert process.wait(PATIENCE) == -signal.SIGPIPE
    assert living(cli) == ""


def test_a_reader_that_is_slow_does_not_keep_the_token_alive(cli):
    process, _ = begin(cli, "sh", "-c", "echo there; head -c 100000 /dev/zero", options=("-q",))
    with process:
        deadline = time.monotonic() + PATIENCE
        while rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NULL") != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert process.poll() is None
        assert len(process.stdout.read()) == 100000
    assert process.returncode == 0


def test_at_a_terminal_the_command_has_the_terminal_and_ctrl_c_reaches_it_once(cli):
    code = (
        "import os, signal, sys, time\n"
        "caught = []\n"
        "signal.signal(signal.SIGINT, lambda *_: caught.append(1))\n"
        "print(os.isatty(0), os.isatty(1), os.isatty(2), flush=True)\n"
        "end = time.monotonic() + 2\n"
        "while time.monotonic() < end: time.sleep(0.05)\n"
        "print('caught', len(caught), flush=True)\n"
    )
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], "issue", "--subject", "c", "--", sys.executable, "-c", code],
        env=cli.env | {"TERM": "xterm"}, cwd=str(cli.home), timeout=PATIENCE, encoding="utf-8",
    )  # fmt: skip
    child.expect_exact("True True True")
    child.sendintr()
    child.expect_exact("caught 1")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert living(cli) == ""


def test_a_file_that_the_command_makes_has_the_callers_mode(cli):
    shell(cli, "umask 022; touch made", "-q")
    assert stat.S_IMODE((cli.home / "made").stat().st_mode) == 0o644


# Found by a hostile reading


@contextmanager
def locked(cli):
    """Hold the writers' lock, as a busy store does."""
    cli.token()
    descriptor = os.open(cli.store.with_name("store.lock"), os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_command_is_there_ends_us_and_starts_nothing(cli, number):
    with locked(cli):
        words = [*PROGRAM, "issue", "--subject", "c", "--", "touch", "ran"]
        process = subprocess.Popen(words, env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL)
        time.sleep(1)  # until it waits for the lock
        process.send_signal(number)
        assert process.wait(PATIENCE) == -number
    assert not (cli.home / "ran").exists()
    assert living(cli) == ""


def test_a_signal_that_waits_when_the_command_is_to_start_starts_nothing(cli):
    code = (
        "import os, signal, sys\n"
        "from tokenctl.backends.local import authority\n"
        "real = authority.LocalAuthority.delivered\n"
        "def late(self, ids): os.kill(os.getpid(), signal.SIGINT); return real(self, ids)\n"
        "authority.LocalAuthority.delivered = late\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(['issue', '--subject', 'c', '--', 'touch', 'ran'], environment=os.environ, program='tokenctl'))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], env=cli.env, cwd=cli.home, check=False, stderr=subprocess.PIPE)
    assert done.returncode == -signal.SIGINT
    assert not (cli.home / "ran").exists()
    assert rows(cli.store, "SELECT count(*) FROM token WHERE revoked_at IS NULL") == [(0,)]


def test_ctrl_c_reaches_a_command_in_a_group_of_its_own(cli):
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], "issue", "--subject", "c", "--", "setsid", "-w", "sh", "-c", "echo there; exec sleep 60"],
        env=cli.env | {"TERM": "xterm"}, cwd=str(cli.home), timeout=PATIENCE, encoding="utf-8",
    )  # fmt: skip
    child.expect_exact("there")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus == signal.SIGINT
    assert living(cli) == ""


def test_output_that_cannot_be_written_is_never_a_success(cli):
    with open("/dev/full", "wb") as full:
        done = shell(cli, "echo hi", "-q", stdout=full, stderr=subprocess.PIPE)
        failed = shell(cli, "echo hi; exit 3", "-q", stdout=full, stderr=subprocess.PIPE)
    assert done.code == 7
    assert "tokenctl: the command's output could not be written: no space left on device\n" in done.err
    assert failed.code == 3
    assert living(cli) == ""


def test_a_closed_stream_is_the_commands_to_meet(cli):
    cli.token()
    script = "echo a >&2; sleep 0.2; echo b >&2; echo end > end"
    done = shell(cli, script, "-q", stdout=None, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert (done.code, done.err) == (0, "a\nb\n")
    assert (cli.home / "end").exists()


def test_one_signal_ends_us_also_where_nobody_reads(cli):
    cli.token()
    reader, writer = os.pipe()
    words = [*PROGRAM, "issue", "--subject", "c", "-q", "--", "yes"]
    process = subprocess.Popen(words, env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=writer)
    os.close(writer)
    deadline = time.monotonic() + PATIENCE
    while rows(cli.store, "SELECT count(*) FROM token WHERE subject = 'c' AND delivered_at IS NOT NULL") != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    assert process.wait(PATIENCE) == -signal.SIGTERM
    os.close(reader)
    assert living(cli) == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux refuses a file that is being written")
def test_a_command_that_the_system_refuses_says_that_its_token_was_revoked(cli):
    script = cli.home / "busy"
    script.write_bytes(Path("/bin/true").read_bytes())
    script.chmod(0o700)
    with script.open("ab"):
        done = run(cli, "./busy")
    assert done.code == 126
    assert "tokenctl: ./busy could not be executed (text file busy): its token was revoked\n" in done.err
    assert living(cli) == ""


@pytest.mark.parametrize("status", [7, 3])
def test_a_status_of_the_command_stays_whatever_else_failed(cli, status):
    cli.token()
    store, away = cli.store, cli.store.with_name("away")
    failed = shell(cli, f"mv {store} {away}; mkdir {store}; exit {status}", "-q")
    assert failed.code == status
    assert "was not revoked" in failed.err
    store.rmdir()
    away.rename(store)
    with open("/dev/full", "wb") as full:
        assert shell(cli, f"echo hi; exit {status}", "-q", stdout=full, stderr=subprocess.PIPE).code == status


def test_few_open_files_are_enough(cli):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    assert shell(cli, "echo there", "-q", preexec_fn=limit).out == "there\n"
    assert shell(cli, "wc -c <&9", "-q", "--child-fd", "9", preexec_fn=limit).out.strip() == "80"
    refused = shell(cli, "cat <&11", "--child-fd", "11", preexec_fn=limit)
    assert (refused.code, refused.err.splitlines()[0]) == (2, "tokenctl: --child-fd: 3 to 9")
