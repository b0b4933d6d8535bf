"""What every server shares: it is ready or told why not, it is gone in the end, and its log is shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.servers import packages
from tests.servers.process import LIVING, Process, free_ports

SLEEPER = "import time; print('hello', flush=True); time.sleep(600)"


def sleeper(folder: Path, code: str = SLEEPER) -> Process:
    return Process("sleeper", [sys.executable, "-c", code], folder)


def test_what_ends_before_it_is_ready_is_told_with_its_log(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "x", "import sys; sys.exit('no such storage')")
    with pytest.raises(AssertionError, match="sleeper ended with 1:\nno such storage"):
        process.start(lambda: False)
    assert process not in LIVING


def test_what_is_never_ready_is_ended_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.process.READY", 0.3)
    process = sleeper(tmp_path / "x")
    with pytest.raises(AssertionError, match=r"sleeper was not ready after 0\.3 s"):
        process.start(lambda: False)
    assert not process.runs


def test_it_is_started_again_with_its_log_kept(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "x")
    for _ in range(2):
        seen = len(process.said())
        process.start(partial(process.said, seen))
        assert process.runs
        process.kill()
        assert not process.runs
    assert process.said() == "hello\nhello\n"
    process.stop()  # of what does not run: nothing


def test_a_paused_one_is_stopped_too(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "x")
    process.start()
    process.pause()
    begun = time.monotonic()
    process.stop()
    assert time.monotonic() - begun < 5


def sleeps(pid: int) -> bool:
    """Whether this process is the sleeper; one that ended and was not yet waited for has no command line."""
    with suppress(OSError):
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_what_is_killed_takes_its_own_processes_with_it(tmp_path: Path) -> None:
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid, flush=True); input()"
    process = Process("parent", [sys.executable, "-c", child], tmp_path / "x", talks=True)
    process.start()
    pid = process.hear()
    assert isinstance(pid, int)
    os.kill(pid, 0)
    process.kill()
    until = time.monotonic() + 5
    while (living := sleeps(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not living


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with the one that started it")
def test_it_ends_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.servers.process import Process\n"
        f"process = Process('sleeper', [sys.executable, '-c', {SLEEPER!r}], Path({str(tmp_path / 'x')!r}))\n"
        "process.start(process.said); print(process.pid, flush=True); time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        os.kill(pid, 0)
        run.send_signal(signal.SIGKILL)
        run.wait()
    until = time.monotonic() + 5
    while (living := sleeps(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not living


def test_a_failed_test_shows_what_its_servers_said_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.servers.fixtures"]\n')
    (tmp_path / "test_x.py").write_text(
        "import sys, pytest\nfrom tests.servers.process import Process\n"
        "@pytest.fixture(scope='session')\n"
        "def server(tmp_path_factory):\n"
        '    code = \'import sys; print("before", flush=True); [print(line, end="", flush=True) for line in sys.stdin]\'\n'
        "    process = Process('echo', [sys.executable, '-c', code], tmp_path_factory.mktemp('x'), talks=True)\n"
        "    process.start()\n"
        "    yield process\n"
        "    process.stop()\n"
        "def test_fails(server):\n    server.log.write_text('the cause\\n')\n    assert False\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=Path(__file__).parents[2], env=os.environ | {"PYTEST_ADDOPTS": "-n 0"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "echo, meanwhile" in done.stdout
    assert "the cause" in done.stdout


def test_ports_are_free_and_different() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8


def test_the_lock_file_names_no_place_and_a_hash_for_every_package() -> None:
    lock = json.loads((packages.NODE / "package-lock.json").read_text())
    named = {name: entry for name, entry in lock["packages"].items() if name}
    assert named
    assert all("integrity" in entry and "resolved" not in entry for entry in named.values())
