"""A run is over when its process is gone, also where its number came back."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from tokenctl import runs

NAMING = "from tokenctl import runs; print(runs.current(), flush=True); input()"


def started() -> tuple[subprocess.Popen[bytes], str]:
    process = subprocess.Popen([sys.executable, "-c", NAMING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, process.stdout.readline().decode().strip()


def test_this_process_has_not_ended():
    assert not runs.ended(runs.current())


def test_another_process_ends_with_its_death_also_before_it_is_reaped():
    process, run = started()
    with process:
        assert run.startswith(f"{process.pid} ")
        assert not runs.ended(run)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert runs.ended(run)
    assert runs.ended(run)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells when a process started")
def test_a_number_that_came_back_is_another_run():
    pid, start, boot, namespace = runs.current().split()
    assert runs.ended(f"{pid} {int(start) + 1} {boot} {namespace}")
    assert runs.ended(f"{pid} {start} another-boot {namespace}")


def test_what_cannot_be_seen_from_here_is_taken_to_be_there():
    _, start, boot, _ = runs.current().split()
    assert not runs.ended(f"1 {start} {boot} pid:[1]")


@pytest.mark.parametrize("text", ["", "1", "x - - -", "1 2 3", "1  2 3 4 5"])
def test_what_is_no_run_has_ended(text):
    assert runs.ended(text)


def test_a_process_that_cannot_be_looked_at_is_taken_to_be_there(monkeypatch):
    def refused(pid: int) -> str:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(runs, "_start_of", refused)
    _, start, boot, namespace = runs.current().split()
    assert not runs.ended(f"{os.getpid()} {start} {boot} {namespace}")


def test_a_number_that_is_somebody_elses_has_ended_where_that_can_be_told(monkeypatch):
    def unseen(pid: int) -> str:
        raise FileNotFoundError

    def forbidden(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    _, start, boot, namespace = runs.current().split()
    monkeypatch.setattr(runs, "_start_of", unseen)
    monkeypatch.setattr(os, "kill", forbidden)
    assert runs.ended(f"1 {start} {boot} {namespace}")
