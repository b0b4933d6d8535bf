"""``doctor``: every fault that it names is made for real, and the command that it prints mends it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pyrage
import pytest

from tests.conftest import PROGRAM, missing
from tokenctl.cli.app import VERBS

YEAR = 365 * 86_400_000
COMPLETION = ".local/share/bash-completion/completions/tokenctl"


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def well(cli):
    """A store with two tokens and a backup, and all that comes with an installation."""
    cli.token("--ttl", "1h")
    cli.token()
    back_up(cli)
    for name in (COMPLETION, ".local/share/man/man1/tokenctl.1"):
        path = cli.home / name
        path.parent.mkdir(parents=True, mode=0o700)
        path.write_text("")
    cli.env |= {"SHELL": "/bin/bash", "XDG_DATA_DIRS": str(cli.home / ".local/share")}
    assert faults(cli) == []
    return cli


def back_up(cli, *arguments):
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    assert cli("store", "backup", "backup.age", "--recipient", recipient, "--yes", "-q", *arguments).code == 0


def findings(cli, *arguments, code=0, **env):
    done = cli("doctor", "-o", "json", *arguments, env=env)
    assert (done.code, done.err) == (code, ""), done
    assert done.json["exit_code"] == code
    return done.json["findings"]


def faults(cli, *arguments, code=0, **env):
    """What is not ok; how fast the interpreter at hand starts is no matter of these tests but of those of the start."""
    found = findings(cli, *arguments, code=code, **env)
    return [finding for finding in found if finding["status"] != "ok" and finding["check"] != "start-up"]


def start_up(cli, **env):
    return [finding for finding in findings(cli, **env) if finding["check"] == "start-up"]


def mend(cli, command, **env):
    """Run a printed command as a person would: in a shell, as it stands."""
    script = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}\n{command}'
    done = subprocess.run(
        ["bash", "-c", script], env=cli.env | env, cwd=cli.home, capture_output=True, timeout=60, check=False, text=True
    )
    assert done.returncode == 0, (command, done)


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: modes, times of change, bytes."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def sql(cli, *statements):
    connection = sqlite3.connect(cli.store, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# How it tells


def test_a_healthy_place_is_told_line_by_line_and_counted(well):
    done = well("doctor")
    assert (done.code, done.err) == (0, "")
    *lines, last = done.out.splitlines()
    rows = [line.split("\t") for line in lines]
    assert {len(row) for row in rows} == {4}
    slow = [row for row in rows if row[:2] == ["warn", "start-up"]]
    rows = [row for row in rows if row[1] != "start-up"]
    assert [(status, check, mend) for status, check, _, mend in rows] == [
        ("ok", check, "-")
        for check in (
            "access", "config", "store", "secret", "audit", "clock", "space", "delivery", "backup", "environment", "completions",
            "man",
        )
    ]  # fmt: skip
    told = {check: detail for _, check, detail, _ in rows}
    assert told["access"] == "files, directories and their parents are yours alone"
    assert told["config"] == "~/.config/tokenctl, 0700, 1 profile, in use: local"
    assert re.fullmatch(
        r"~/\.local/share/tokenctl/local/store\.db, 0600, schema \d+, 2 tokens, [\d.]+ KiB", told["store"]
    )
    assert told["secret"] == "~/.config/tokenctl/keys/local, 0600, belongs to the store"
    assert re.fullmatch(r"4 records, head anchored \d+s ago", told["audit"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, \d+s after the last record", told["clock"])
    assert re.fullmatch(r"[\d.,]+ [KM]iB free on the store's medium", told["space"])
    assert told["delivery"] == "no token waits for its taker"
    assert re.fullmatch(r"the newest was made \d+s ago", told["backup"])
    if not slow:
        assert "ok\tstart-up\tmodules are compiled, nothing slow runs before the program\t-" in lines
        assert last == "13 ok, 0 warnings, 0 failed"


def test_in_json_every_finding_has_its_four_keys(well):
    well.anchor.unlink()
    document = well("doctor", "-o", "json").json
    assert set(document) == {"findings", "counts", "exit_code", "warnings"}
    told = [found["status"] for found in document["findings"]]
    assert document["counts"] == {status: told.count(status) for status in ("ok", "warn", "fail")}
    assert (document["counts"]["ok"] >= 10, document["counts"]["fail"]) == (True, 0)
    assert all(set(found) == {"check", "status", "detail", "mend"} for found in document["findings"])
    steady = ("check", "status", "mend")
    assert [[found[key] for key in steady] for found in well("doctor", "-o", "jsonl").lines] == [
        [found[key] for key in steady] for found in document["findings"]
    ]


def test_quiet_prints_nothing_and_after_a_failure_the_failing_lines_on_stderr(well):
    assert (well("doctor", "-q").out, well("doctor", "-q").err) == ("", "")
    well.anchor.unlink()
    warned = well("doctor", "-q")
    assert (warned.code, warned.out, warned.err) == (0, "", "")
    strict = well("doctor", "-q", "--strict")
    assert (strict.code, strict.out, strict.err) == (3, "", "")
    well.root_secret.chmod(0o640)
    failed = well("doctor", "-q")
    assert (failed.code, failed.out, failed.err) == (9, "", f"FAIL access: {well.root_secret} is open to other users\n")


def test_strict_makes_3_of_warnings_and_nothing_of_a_healthy_place(well):
    assert well("doctor", "--strict").code == (3 if "warn" in [finding["status"] for finding in start_up(well)] else 0)
    assert well("doctor", "--strict", env={"TOKENCTL_NONSENSE": "1"}).code == 3
    assert well("doctor", env={"TOKENCTL_NONSENSE": "1"}).code == 0


def test_the_help_has_three_examples_and_says_what_3_means(cli):
    told = cli("doctor", "--help").out
    assert len(re.findall(r"^    tokenctl ", told, re.MULTILINE)) == 3
    assert "    3   with --strict: there are warnings\n" in told


def test_the_worst_code_is_that_of_the_doctor(well):
    well.token()
    old = well.anchor.read_bytes()
    well.anchor.write_bytes(old.replace(b"\n5\n", b"\n9\n"))
    well.anchor.chmod(0o622)
    found = faults(well, code=9)
    assert [fault["check"] for fault in found] == ["access"]
    (well.home / ".config/tokenctl/current").write_text("nowhere\n")
    well.anchor.chmod(0o600)
    (well.home / ".config/tokenctl/current").unlink()
    (well.home / ".config/tokenctl/profiles").mkdir(mode=0o700)
    (well.home / ".config/tokenctl/profiles/bad.toml").write_text("=")
    assert {fault["check"] for fault in faults(well, code=10)} == {"audit", "config"}


# It changes nothing


def test_where_nothing_is_nothing_is_made(cli):
    done = cli("doctor")
    assert (done.code, done.err) == (0, "")
    assert "ok\tstore\tnone yet at ~/.local/share/tokenctl/local/store.db: the first issue makes it\t-\n" in done.out
    assert "ok\tsecret\tnone yet: it is made with the store\t-\n" in done.out
    assert list(cli.home.iterdir()) == []


def test_not_a_byte_of_a_store_changes(well):
    before = tree(well.home)
    assert well("doctor").code == 0
    assert tree(well.home) == before


def test_a_store_that_was_not_closed_is_read_with_its_log_and_left_as_it_is(well):
    """As after kill -9: the newest tokens lie in the write-ahead log only."""
    copy = well.home / "copy"
    holder = sqlite3.connect(well.store)
    holder.execute("SELECT count(*) FROM token").fetchall()
    well.token()
    well.token()
    shutil.copytree(well.store.parent, copy)
    holder.close()
    shutil.rmtree(well.store.parent)
    shutil.copytree(copy, well.store.parent)
    assert well.store.with_name("store.db-wal").stat().st_size > 0
    before = tree(well.home)
    found = {finding["check"]: finding for finding in findings(well)}
    assert "4 tokens" in found["store"]["detail"]
    assert found["audit"]["detail"].startswith("6 records, head anchored")
    assert tree(well.home) == before


@pytest.mark.parametrize("log", [None, b""])
def test_no_log_is_made_beside_what_was_left_of_one(well, log):
    """Where a copy took the index of the log and left the log."""
    holder = sqlite3.connect(well.store)
    holder.execute("SELECT count(*) FROM token").fetchall()
    index = well.store.with_name("store.db-shm").read_bytes()
    holder.close()
    well.store.with_name("store.db-wal").unlink(missing_ok=True)
    if log is not None:
        well.store.with_name("store.db-wal").write_bytes(log)
        well.store.with_name("store.db-wal").chmod(0o600)
    well.store.with_name("store.db-shm").write_bytes(index)
    well.store.with_name("store.db-shm").chmod(0o600)
    before = tree(well.home)
    assert {finding["check"] for finding in faults(well)} == set()
    assert tree(well.home) == before


def test_a_log_that_cannot_be_read_without_a_trace_is_left_to_the_next_verb(well):
    holder = sqlite3.connect(well.store)
    holder.execute("SELECT count(*) FROM token").fetchall()
    well.token()
    copy = well.home / "copy"
    shutil.copytree(well.store.parent, copy)
    holder.close()
    shutil.rmtree(well.store.parent)
    shutil.copytree(copy, well.store.parent)
    well.store.with_name("store.db-shm").unlink()
    before = tree(well.home)
    (found,) = faults(well)
    assert (found["check"], found["status"]) == ("store", "warn")
    assert found["detail"].endswith("is not moved into it yet")
    assert tree(well.home) == before
    mend(well, found["mend"])
    assert faults(well) == []


@pytest.mark.parametrize("home", [None, "", "relative", "/dev/null", "/proc/self/nowhere"])
def test_any_home_or_none_is_told_and_left(cli, home):
    del cli.env["HOME"]
    if home is not None:
        cli.env["HOME"] = home
    cli.env["XDG_DATA_DIRS"] = str(cli.home)
    done = cli("doctor", "-o", "json")
    assert done.code in (0, 9)
    assert done.err == ""
    assert {"environment", "start-up"} <= {found["check"] for found in done.json["findings"]}
    assert list(cli.home.iterdir()) == []


def test_without_a_home_directory_at_all_one_failure_says_what_to_set(cli):
    code = (
        "import os, pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl'))\n"
    )
    env = {name: value for name, value in cli.env.items() if name != "HOME"}
    done = subprocess.run([sys.executable, "-P", "-c", code, "doctor"], env=env, cwd=cli.home, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (9, b"")
    failed = [line for line in done.stdout.decode().splitlines() if line.startswith("FAIL")]
    assert failed == [
        "FAIL\tconfig\tno home directory is known; set HOME, or XDG_CONFIG_HOME, XDG_DATA_HOME and XDG_STATE_HOME\t-"
    ]
    assert list(cli.home.iterdir()) == []


# Access


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def dangling(path):
    path.unlink()
    path.symlink_to("nowhere")


def pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def second_name(path):
    os.link(path, path.with_name("second"))


ACCESS = {
    "an open root secret": (".config/tokenctl/keys/local", lambda p: p.chmod(0o644), "is open to other users"),
    "an open store": (".local/share/tokenctl/local/store.db", lambda p: p.chmod(0o640), "is open to other users"),
    "an open log": (".local/share/tokenctl/local/store.db-wal", lambda p: p.chmod(0o666), "is open to other users"),
    "a lock that others write": (".local/share/tokenctl/local/store.lock", lambda p: p.chmod(0o620), "is open to other users"),
    "an anchor that others write": (".local/state/tokenctl/local/head", lambda p: p.chmod(0o606), "is open to other users"),
    "a closed secret": (".config/tokenctl/keys/local", lambda p: p.chmod(0), "is closed to its owner"),
    "a linked root secret": (".config/tokenctl/keys/local", link, "is not a regular file; remove what stands there"),
    "a linked store": (".local/share/tokenctl/local/store.db", link, "is not a regular file; remove what stands there"),
    "a dangling lock": (".local/share/tokenctl/local/store.lock", dangling, "is not a regular file; remove what stands there"),
    "a pipe for a lock": (".local/share/tokenctl/local/store.lock", pipe, "is not a regular file; remove what stands there"),
    "a second name": (".config/tokenctl/keys/local", second_name, "has a second hard link; remove the other name"),
    "a parent that others write": (".config", lambda p: p.chmod(0o770), "is writable by other users"),
    "the home itself": (".", lambda p: p.chmod(0o707), "is writable by other users"),
    "a folder of keys that others write": (".config/tokenctl/keys", lambda p: p.chmod(0o722), "is writable by other users"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCESS)
def test_what_others_could_read_or_exchange_fails_and_is_mended(well, name):
    if name == "a closed secret" and os.geteuid() == 0:
        pytest.skip("no mode is closed to the superuser")
    place, spoil, detail = ACCESS[name]
    path = (well.home / place).resolve()
    spoil(path)
    found = faults(well, code=9)
    assert [(fault["check"], fault["status"], fault["detail"]) for fault in found] == [("access", "fail", f"{path} {detail}")]
    assert shlex.quote(str(path)) in found[0]["mend"]
    mend(well, found[0]["mend"])
    assert [fault for fault in faults(well) if fault["check"] != "audit"] == []
    assert well("issue", "--subject", "s").code == 0


@pytest.mark.parametrize("place", [".config/tokenctl/keys/local", ".local/share/tokenctl/local/store.db", ".config", "."])
def test_what_belongs_to_another_user_fails_and_is_mended(well, place):
    if os.geteuid() != 0:
        pytest.skip("only the superuser can give files away")
    path = (well.home / place).resolve()
    os.chown(path, 65534, -1)
    found = faults(well, code=9)
    advice = "; run tokenctl as its owner" if path.is_file() else ""
    assert [(fault["check"], fault["detail"]) for fault in found] == [("access", f"{path} belongs to another user{advice}")]
    assert found[0]["mend"] == f"chown 0 {path}"
    mend(well, found[0]["mend"])
    assert faults(well) == []


def test_a_directory_of_ours_that_others_can_enter_is_a_warning(well):
    folder = well.home / ".local/share/tokenctl/local"
    folder.chmod(0o755)
    assert faults(well) == [
        {"check": "access", "status": "warn", "detail": f"{folder} can be entered by other users", "mend": f"chmod 700 {folder}"}
    ]
    mend(well, f"chmod 700 {folder}")
    assert faults(well) == []


def test_many_faults_are_told_each_once_and_none_hides_another(well):
    well.root_secret.chmod(0o644)
    well.store.chmod(0o644)
    (well.home / ".config").chmod(0o777)
    found = faults(well, code=9, LD_PRELOAD="")
    assert [fault["check"] for fault in found] == ["access"] * 3
    for fault in found:
        mend(well, fault["mend"])
    assert faults(well) == []


# Configuration


def profiles(cli) -> Path:
    folder = cli.home / ".config/tokenctl/profiles"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "detail"),
    [
        ("staging", "= nonsense", "is not TOML: line 1, column 1; mend it with an editor"),
        ("staging", 'backend = "x"', "names an unknown backend; known: local"),
        ("local", 'plugin = "x"', "has an unknown setting: plugin; known: backend, "),
    ],
)
def test_a_profile_that_does_not_parse_fails_and_is_mended(well, name, text, detail):
    path = profiles(well) / f"{name}.toml"
    path.write_text(text)
    (found,) = faults(well, code=9)
    assert (found["check"], found["detail"].startswith(str(path))) == ("config", True)
    assert detail in found["detail"]
    assert found["mend"] == f"${{EDITOR:-vi}} {path}"
    mend(well, found["mend"], EDITOR="sed -i d")
    assert faults(well) == []


@pytest.mark.parametrize("name", ["local", "staging"])
def test_a_policy_that_is_not_understood_fails_as_the_next_issue_does(well, name):
    path = profiles(well) / f"{name}.toml"
    path.write_text('[[rule]]\nname = "ci"\nsubject = "ci-*"\nscopess = ["*"]\n')
    met = well("issue", "-p", name, "--subject", "ci-1")
    (found,) = faults(well, code=9)
    assert (met.code, found["check"], found["mend"]) == (9, "config", f"${{EDITOR:-vi}} {path}")
    assert found["detail"].startswith(f"{path}: rule ci: scopess: unknown; known: ")
    assert met.err.startswith(f"tokenctl: {found['detail'].partition('; mend it')[0]}\n")
    assert found["detail"].endswith("; mend it with an editor, then: tokenctl profile show")
    mend(well, found["mend"], EDITOR="sed -i s/scopess/scopes/")
    assert faults(well) == []


def test_a_file_that_may_hold_a_policy_is_not_moved_aside(well):
    path = profiles(well) / "local.toml"
    path.write_text('[[rule]\nname = "ci"\n')
    (found,) = faults(well, code=9)
    assert found["detail"] == f"{path} is not TOML: line 1, column 7; mend it with an editor"
    assert found["mend"] == f"${{EDITOR:-vi}} {path}"


@pytest.mark.parametrize("text", ["nowhere\n", "\xff\n", ""])
def test_a_current_profile_that_is_not_there_fails_and_is_mended(well, text):
    current = well.home / ".config/tokenctl/current"
    current.write_text(text)
    found = faults(well, code=9)
    assert [fault["check"] for fault in found] == ["config"]
    assert str(current) in found[0]["detail"]
    assert found[0]["mend"] == "python -m tokenctl profile use local"
    mend(well, found[0]["mend"])
    assert faults(well) == []


def test_a_profile_that_is_named_and_not_there_fails(well):
    (found,) = faults(well, "-p", "staging", code=9)
    assert found["detail"] == "--profile names the profile staging, which is not there"
    mend(well, found["mend"])
    assert faults(well, "-p", "staging") == []
    (found,) = faults(well, code=9, TOKENCTL_PROFILE="nowhere")
    assert (found["detail"], found["mend"]) == (
        "TOKENCTL_PROFILE names the profile nowhere, which is not there", "unset TOKENCTL_PROFILE"
    )  # fmt: skip
    (found,) = faults(well, code=9, TOKENCTL_PROFILE="../x")
    assert (found["check"], found["mend"]) == ("config", "unset TOKENCTL_PROFILE")


# Store and root secret


def test_a_missing_root_secret_fails_and_hides_nothing_else(well):
    well.root_secret.unlink()
    found = findings(well, code=4, TOKENCTL_NONSENSE="1")
    told = {finding["check"]: finding for finding in found}
    missing = f"the root secret {well.root_secret} is missing; put the file back from a backup; none is made anew"
    assert told["secret"]["detail"] == missing
    assert told["secret"]["mend"] is None
    assert (told["store"]["status"], "2 tokens" in told["store"]["detail"]) == ("ok", True)
    assert {"config", "space", "environment", "start-up"} <= set(told)
    assert [finding["check"] for finding in found if finding["status"] == "fail"] == ["secret"]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("0" * 64 + "\n", "~/.config/tokenctl/keys/local is not the root secret of {store}; {back}"),
        ("rubbish", "{secret} holds no root secret; put the file back from a backup"),
    ],
)  # fmt: skip
def test_a_root_secret_of_another_store_fails(well, text, detail):
    well.root_secret.write_text(text)
    (found,) = faults(well, code=10)
    facts = {
        "secret": well.root_secret, "store": "~/.local/share/tokenctl/local/store.db",
        "back": "put back the one that belongs to this store",
    }  # fmt: skip
    assert (found["check"], found["detail"]) == ("secret", detail.format(**facts))


def cut(cli):
    cli.store.write_bytes(cli.store.read_bytes()[: 3 * 4096])


def rubbish(cli):
    cli.store.write_bytes(b"rubbish" * 1000)


DAMAGES = {
    "cut": (cut, 10), "rubbish": (rubbish, 10),
    "another application": (lambda cli: sql(cli, "PRAGMA application_id = 5"), 10),
    "another schema": (lambda cli: sql(cli, "CREATE TABLE x (y)"), 10),
    "a newer tokenctl": (lambda cli: sql(cli, "PRAGMA user_version = 99"), 9),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_store_fails_with_the_code_that_the_next_verb_meets(well, name):
    damage, code = DAMAGES[name]
    damage(well)
    found = faults(well, code=code)
    assert [(fault["check"], fault["status"]) for fault in found] == [("store", "fail")]
    assert well("list").code == code


def test_a_changed_head_and_changed_facts_fail(well):
    sql(well, "UPDATE head SET time = time + 1")
    (found,) = faults(well, code=10)
    assert (found["check"], found["detail"]) == (
        "audit", "the store is quarantined: INVALID: the head of the log is not authentic"
    )  # fmt: skip
    sql(well, "UPDATE meta SET value = 5 WHERE name = 'created_at'")
    (found,) = faults(well, code=10)
    assert (found["check"], "about itself were changed" in found["detail"]) == ("store", True)


def test_an_old_copy_fails_and_is_released_by_the_printed_command(well):
    copy = well.home / "copy"
    shutil.copytree(well.store.parent, copy)
    well.token()
    shutil.rmtree(well.store.parent)
    copy.rename(well.store.parent)
    (found,) = faults(well, code=10)
    assert found["check"] == "audit"
    assert found["detail"] == "the store is quarantined: TRUNCATED: the store is 1 record behind its anchor"
    assert found["mend"] == "python -m tokenctl audit verify; python -m tokenctl store release --reason WHY"
    mend(well, f"{found['mend']} --yes")  # the question is for a person
    assert faults(well) == []


def test_a_store_that_is_gone_while_its_anchor_is_there_fails(well):
    shutil.rmtree(well.store.parent)
    (found,) = faults(well, code=10)
    assert found["check"] == "store"
    assert found["detail"].startswith("~/.local/share/tokenctl/local/store.db is gone, but its anchor is there")
    assert well("issue", "--subject", "s").code == 10
    mend(well, found["mend"])
    assert faults(well) == []
    assert well("issue", "--subject", "s").code == 0


@pytest.mark.parametrize("state", ["absent", "behind"])
def test_an_anchor_that_does_not_keep_up_is_a_warning_until_the_next_change(well, state):
    old = well.anchor.read_bytes()
    well.token()
    well.anchor.unlink() if state == "absent" else well.anchor.write_bytes(old)
    (found,) = faults(well)
    assert (found["check"], found["status"], state[:3] in ("abs", "beh")) == ("audit", "warn", True)
    well.token()
    assert faults(well) == []


def test_what_a_first_run_left_is_a_warning_and_removed(well):
    for suffix in ("", "-journal"):
        well.store.with_name(f"store.db.new{suffix}").write_text("x")
    (found,) = faults(well)
    assert (found["check"], found["detail"]) == ("store", f"{well.store}.new was left by a first run that did not end")
    mend(well, found["mend"])
    assert faults(well) == []
    assert list(well.store.parent.glob("*.new*")) == []


@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_what_a_killed_backup_or_restore_left_is_named_unless_one_is_at_work(well, purpose):
    path = well.store.with_name(f"store.db.{purpose}")
    for name in (path, path.with_name(f"{path.name}-journal")):
        name.write_text("x")
    with open(well.store.with_name(f"{purpose}.lock"), "w") as lock:
        os.chmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert faults(well) == []
    (found,) = faults(well)
    assert (found["check"], found["detail"]) == ("store", f"{path} was left by a store {purpose} that did not end")
    mend(well, found["mend"])
    assert faults(well) == []
    assert sorted(well.store.parent.glob("store.db.*")) == []


def test_stores_kept_from_before_a_restore_are_listed_and_in_a_month_a_warning(well):
    kept = [well.store.with_name(f"store.db.{name}") for name in ("lost", "replaced-7-0123abcd", "replaced-damaged-0123abcd")]
    for path in (*kept, well.store.with_name("store.db.replaced-damaged-0123abcd-wal")):
        path.write_text("x")
    shown = ", ".join(f"~/.local/share/tokenctl/local/{path.name}" for path in kept)
    told = f"kept from before a restore, with the private keys of then, sealed: {shown}"
    findings = well("doctor", "-o", "json").json["findings"]
    assert [found["status"] for found in findings if found["detail"] == told] == ["ok"]
    for path in kept:
        os.utime(path, (time.time() - 31 * 86_400,) * 2)
    (found,) = faults(well)
    assert (found["check"], found["detail"]) == ("backup", told)
    mend(well, found["mend"])
    assert faults(well) == []
    assert sorted(well.store.parent.glob("store.db.*")) == []


def test_a_clock_behind_the_last_record_fails_and_is_accepted_by_the_printed_command(well):
    assert well.at(now() + YEAR, "issue", "--subject", "s", "-q").code == 0
    (found,) = faults(well, code=7)
    assert found["check"] == "clock"
    assert re.fullmatch(r"it stands 36[45]d( \d+h)? behind the last record: issue refuses; set it, or accept it", found["detail"])
    assert found["mend"] == "python -m tokenctl store accept-clock"
    mend(well, f"{found['mend']} --yes")
    assert faults(well) == []
    assert well("issue", "--subject", "s").code == 0


@pytest.mark.parametrize("instant", [-1, 0, 1_000_000_000_000, 4_200_000_000_000, 253_402_300_800_000, 2**62])
def test_a_clock_that_was_never_set_is_a_warning(cli, instant):
    done = cli.at(instant, "doctor", "-o", "json")
    clock = next(found for found in done.json["findings"] if found["check"] == "clock")
    assert (done.code, clock["status"], clock["detail"].endswith(": it was never set")) == (0, "warn", True)


def test_who_holds_the_lock_is_told_and_not_waited_for(well):
    path = well.store.with_name("store.lock")
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        found = findings(well)
        assert time.monotonic() - began < 10
    told = [finding for finding in found if finding["check"] == "lock"]
    if not os.path.exists("/proc/locks"):
        missing("/proc/locks")
    assert told == [
        {"check": "lock", "status": "ok", "detail": f"a tokenctl writes to the store now: process {os.getpid()}", "mend": None}
    ]


def test_tokens_that_wait_for_their_taker_are_told_and_recorded_by_the_printed_command(well):
    sql(well, "UPDATE token SET delivered_at = NULL, issued_at = issued_at WHERE rowid = 1")
    later = well.at(now() + 61_000, "doctor", "-o", "json")
    (found,) = [finding for finding in later.json["findings"] if finding["check"] == "delivery"]
    assert (later.code, found["status"]) == (0, "warn")
    assert (found["detail"], found["mend"]) == (
        "1 token never reached the taker: denied, not yet recorded", "tokenctl list --limit 1"
    )  # fmt: skip
    assert well.at(now() + 61_000, *found["mend"].split()[1:]).code == 0
    again = well.at(now() + 61_000, "doctor", "-o", "json")
    assert [finding["status"] for finding in again.json["findings"] if finding["check"] == "delivery"] == ["ok"]


def test_a_profile_that_is_named_stands_in_the_printed_command(well):
    assert well("profile", "add", "p1").code == 0
    assert well("-p", "p1", "issue", "--subject", "s", "-q").code == 0
    back_up(well, "-p", "p1")
    assert well.at(now() + YEAR, "-p", "p1", "issue", "--subject", "s", "-q").code == 0
    (found,) = faults(well, "-p", "p1", code=7)
    assert found["mend"] == "python -m tokenctl -p p1 store accept-clock"
    mend(well, f"{found['mend']} --yes")
    assert faults(well, "-p", "p1") == []
    assert faults(well) == []


def test_a_store_without_a_backup_is_told_and_one_that_is_old(well):
    cli = well
    assert cli("profile", "add", "p1").code == 0
    assert cli("-p", "p1", "issue", "--subject", "s", "-q").code == 0
    assert faults(cli, "-p", "p1") == [
        {"check": "backup", "status": "warn", "detail": "none yet", "mend": "python -m tokenctl -p p1 store backup FILE"}
    ]
    later = [cli.at(now() + days * 86_400_000, "doctor", "-o", "json").json["findings"] for days in (29, 31)]
    told = [next(found for found in findings if found["check"] == "backup") for findings in later]
    assert [(found["status"], found["mend"]) for found in told] == [("ok", None), ("warn", "tokenctl store backup FILE")]
    assert told[1]["detail"].startswith("the newest was made 31d")


# Environment


@pytest.mark.parametrize(
    "name",
    ["PYTHONPATH", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONDONTWRITEBYTECODE", "PYTHON_KEYRING_BACKEND",
     "LD_LIBRARY_PATH", "OPENSSL_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR", "SQLITE_TMPDIR", "TOKENCTL_TOKEN", "TOKENCTL_NONSENSE"],
)  # fmt: skip
def test_a_variable_that_bends_the_program_is_named_without_its_value(well, name):
    value = "/opt/c4n4ry"
    done = well("doctor", "-o", "json", env={name: value})
    assert done.code == 0
    (found,) = [found for found in done.json["findings"] if found["status"] != "ok" and found["check"] != "start-up"]
    assert (found["check"], found["status"], found["mend"]) == ("environment", "warn", f"unset {name}")
    assert found["detail"].startswith(f"{name}: ")
    assert "c4n4ry" not in done.out + done.err
    mend(well, f"{found['mend']}; python -m tokenctl doctor > told; ! grep {name} told", **{name: value})


@pytest.mark.parametrize("name", ["XDG_CONFIG_HOME", "XDG_STATE_HOME"])
def test_a_relative_base_directory_is_ignored_and_told(well, name):
    (found,) = faults(well, **{name: "relative"})
    assert (found["check"], found["mend"]) == ("environment", f"unset {name}")
    assert "is relative and ignored" in found["detail"]


def test_a_relative_configuration_directory_is_told(well):
    found = faults(well, TOKENCTL_CONFIG=".config/tokenctl")
    assert [(fault["check"], fault["mend"]) for fault in found] == [("environment", "unset TOKENCTL_CONFIG")]


def test_what_moves_things_or_is_ignored_is_no_warning(well):
    env = {
        "XDG_STATE_HOME": str(well.home / ".local/state"), "TOKENCTL_PROFILE": "local", "HTTPS_PROXY": "http://c4n4ry",
        "all_proxy": "x", "SSLKEYLOGFILE": "/c4n4ry", "NO_COLOR": "1", "CI": "1", "LANG": "C",
    }  # fmt: skip
    found = {finding["check"]: finding for finding in findings(well, **env)}
    assert found["environment"]["status"] == "ok"
    assert found["environment"]["detail"] == (
        "TOKENCTL_PROFILE chooses the profile; XDG_STATE_HOME moves the anchors; CI lets nothing be asked; "
        "SSLKEYLOGFILE is ignored; HTTPS_PROXY is ignored; ALL_PROXY is ignored"
    )


# Start-up


def test_modules_without_pyc_are_told_and_compiled_by_the_printed_command(well):
    env = {"PYTHONPYCACHEPREFIX": str(well.home / "empty"), "PYTHONDONTWRITEBYTECODE": "1"}
    found = start_up(well, **env)
    assert re.fullmatch(r"\d+ modules are not compiled: every start takes longer", found[0]["detail"])
    assert found[0]["mend"].startswith(f"{shlex.quote(sys.executable)} -m compileall -q ")
    mend(well, found[0]["mend"], **env)
    assert [finding for finding in start_up(well, **env) if "compiled: every" in finding["detail"]] == []


@pytest.fixture(scope="module")
def own_python(tmp_path_factory):
    """An environment of its own that sees the program and its libraries by way of a .pth file."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    import tokenctl

    seen = [path for path in sys.path if path.endswith("site-packages")] + [str(Path(tokenctl.__file__).parents[1])]
    site.joinpath("seen.pth").write_text("\n".join(seen))
    return folder / "bin/python", site


def test_a_slow_file_that_runs_at_every_start_of_python_is_told_and_put_aside(well, own_python):
    python, site = own_python

    def told():
        done = subprocess.run(
            [python, *PROGRAM[1:], "doctor", "-o", "json"], env=well.env, cwd=well.home, capture_output=True, check=True
        )
        found = [found for found in json.loads(done.stdout)["findings"] if found["check"] == "start-up"]
        return [finding["mend"] for finding in found if str(site) in finding["detail"]]

    site.joinpath("quick.pth").write_text("import sys\n")
    assert told() == []
    slow = site / "slow.pth"
    slow.write_text("import time; exec('t = time.process_time\\nwhile t() < 0.3: pass')\n")
    assert told() == [f"mv {slow} {slow}.off"]
    mend(well, told()[0])
    assert told() == []


def test_a_shim_before_the_program_is_told(well):
    shims = well.home / "shims"
    shims.mkdir()
    shims.joinpath("tokenctl").write_text("#!/bin/sh\n")
    shims.joinpath("tokenctl").chmod(0o755)
    env = {"PATH": f"{shims}:{well.env['PATH']}"}
    (found,) = [finding for finding in start_up(well, **env) if "shim" in finding["detail"]]
    assert found["detail"] == f"{shims}/tokenctl is a shim: it starts a shell before every run"
    if found["mend"] is None:
        missing("the console script beside the interpreter")
    mend(well, f"{found['mend']}; python -m tokenctl doctor > told; ! grep shim told", **env)


def test_a_typer_that_doubles_every_start_is_told(well):
    folder = well.home / "lib/typer-0.29.1.dist-info"
    folder.mkdir(parents=True)
    folder.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: typer\nVersion: 0.29.1\n")
    found = [finding for finding in start_up(well, PYTHONPATH=str(folder.parent)) if "typer" in finding["detail"]]
    assert [finding["detail"] for finding in found] == ["typer 0.29.1 doubles the time of every start"]
    assert found[0]["mend"] == f"{shlex.quote(sys.executable)} -m pip install 'typer<0.29'"


# What is installed


def test_a_shell_without_completions_is_told(well):
    (well.home / COMPLETION).unlink()
    elsewhere = [share for share in (sys.prefix + "/share", "/usr/local/share", "/usr/share") if
                 os.path.exists(f"{share}/bash-completion/completions/tokenctl")]  # fmt: skip
    if elsewhere:
        assert faults(well) == []
        return
    (found,) = faults(well)
    assert (found["check"], found["detail"]) == ("completions", "bash has none for tokenctl")
    target = "~/.local/share/bash-completion/completions"
    assert found["mend"] == f"mkdir -p {target} && python -m tokenctl completion bash | tee {target}/tokenctl > /dev/null"
    if "completion" in VERBS:
        mend(well, found["mend"])
        assert faults(well) == []
    assert faults(well, SHELL="/bin/sh") == []


def test_a_manual_that_is_not_there_is_told(well):
    (well.home / ".local/share/man/man1/tokenctl.1").unlink()
    found = [fault for fault in faults(well) if fault["check"] == "man"]
    places = [f"{share}/man/man1/tokenctl.1" for share in (sys.prefix + "/share", "/usr/local/share", "/usr/share")]
    if not any(map(os.path.exists, places)):
        assert [fault["detail"] for fault in found] == ["the manual page is not installed: it comes with the wheel"]
    folder = well.home / "manuals/man1"
    folder.mkdir(parents=True)
    folder.joinpath("tokenctl.1.gz").write_bytes(b"")
    assert faults(well, MANPATH=str(folder.parent)) == []


def test_keys_whose_steps_nobody_takes_are_told(cli):
    now = 1_795_000_000_000
    assert cli.at(now, "issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q").code == 0

    def told(at):
        findings = cli.at(at, "doctor", "-o", "json").json["findings"]
        return [(found["status"], found["detail"], found["mend"]) for found in findings if found["check"] == "keys"]

    assert told(now) == [("ok", "1 for verifiers; next step publish ES256 in 90d", None)]
    assert told(now + 90 * 86_400_000)[0][1] == "1 for verifiers; next step publish ES256 due"
    mend = "tokenctl rotate-keys"
    assert told(now + 92 * 86_400_000) == [("warn", "a step (publish ES256) is due since 2d ago", mend)]
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700)
    profile.write_text(f'jwks_file = "{cli.home}/jwks.json"\n')
    profile.chmod(0o600)
    assert told(now) == [("warn", "the jwks_file does not hold exactly the keys that verifiers need", mend)]
    assert cli.at(now, "rotate-keys").code == 0
    assert told(now)[0][0] == "ok"


@pytest.mark.parametrize("jwt", [True, False])
def test_a_jwks_file_that_cannot_be_written_is_found_by_looking(cli, jwt):
    folder = cli.home / "www"
    path = folder / "jwks.json"
    cli.token(*(("--format", "jwt", "--audience", "a") if jwt else ()))
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700)
    profile.write_text(f'jwks_file = "{path}"\n')
    profile.chmod(0o600)

    def told():
        done = cli("doctor", "-o", "json")
        assert not [each for each in done.json["findings"] if each["check"] == "access" and each["status"] == "fail"]
        found = [each for each in done.json["findings"] if each["check"] == "keys" and each["status"] == "fail"]
        return [(done.code, each["detail"], each["mend"]) for each in found]

    other = "; mend it, or name another file as jwks_file"
    assert told() == [(9, f"cannot write {path}: no such file or directory{other}", f"mkdir -p {folder}")]
    assert not folder.exists()
    folder.mkdir()
    assert told() == []
    for plant, mend in ((path.mkdir, "rmdir"), (lambda: path.symlink_to("elsewhere"), "rm")):
        plant()
        assert told() == [(9, f"{path} is a link or no regular file{other}", f"{mend} {path}")]
        assert cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a").code == (0 if jwt else 9)
        subprocess.run([mend, path], check=True)
    folder.rmdir()
    folder.write_text("")
    assert told() == [(9, f"cannot write {path}: not a directory{other}", None)]


def test_a_key_that_is_going_to_be_refused_is_told_before_and_when_its_time_has_come(cli):
    now = 1_795_000_000_000
    day = 86_400_000
    assert cli.at(now, "issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q").code == 0
    assert cli.at(now, "rotate-keys", "--if-older-than", "0s").code == 0
    listed = cli.at(now, "rotate-keys", "status", "-o", "json").json["keys"]
    active, published = (next(key["kid"] for key in listed if key["state"] == state) for state in ("active", "published"))

    def told(at):
        findings = cli.at(at, "doctor", "-o", "json").json["findings"]
        return [(found["status"], found["detail"], found["mend"]) for found in findings if found["check"] == "keys"]

    nobody = f"{published} (ES256) may not sign: no jwks_file and no verifier says that it can be fetched; its activation"
    mend = "tokenctl rotate-keys --verifier URL"
    assert told(now) == [("warn", f"{nobody} is due in 1d", mend)]
    assert told(now + day) == [("warn", f"{nobody} is due: rotate-keys ends with 6", mend)]
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700)
    url = "http://127.0.0.1:1/jwks.json"
    profile.write_text(f'verifiers = ["{url}"]\n')
    profile.chmod(0o600)
    mend = f"tokenctl rotate-keys status --verifier {url}"
    told_of = f"{url} was not reached: no connection: "
    assert sorted(told(now + day)) == [
        ("warn", f"{told_of}{kid} (ES256){then}", mend)
        for kid, then in sorted([(active, ""), (published, "; its activation is due: rotate-keys ends with 6")])
    ]
