"""Runs: the process that a token lives with, named so that another process can tell whether it is still there.

A run is ``pid start boot namespace``: a process id alone comes back, with its start time and the boot it does not.
"""

from __future__ import annotations

import errno
import os

_BOOT = "/proc/sys/kernel/random/boot_id"
_NAMESPACE = "/proc/self/ns/pid"
_START_FIELD = 22  # of /proc/PID/stat, see proc(5)
_STATE_FIELD = 3
_UNKNOWN = "-"


def current() -> str:
    """Return the run that is this process."""
    pid = os.getpid()
    try:
        start = _start_of(pid) or _UNKNOWN
    except OSError:
        start = _UNKNOWN
    return f"{pid} {start} {_boot()} {_namespace()}"


def ended(run: str) -> bool:
    """Tell whether the process of a run is gone; where that cannot be seen from here, it is taken to be there.

    Whatever is no run that we wrote has ended.
    """
    try:
        number, start, boot, namespace = run.split(" ")
        pid = int(number)
    except ValueError:
        return True
    here = _boot()
    if _UNKNOWN not in (boot, here) and boot != here:
        return True
    if namespace != _namespace():
        return False
    try:
        seen = _start_of(pid)
    except FileNotFoundError:
        return not _may_live(pid)
    except OSError:
        seen = _UNKNOWN
    if seen is None:
        return True
    if _UNKNOWN in (seen, start):
        return not _may_live(pid)
    return seen != start


def _may_live(pid: int) -> bool:
    """Whether there is a process of this number that may be ours, or one that we are not allowed to ask about."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError as error:
        return error.errno != errno.EPERM  # somebody else's number now; any other refusal says nothing
    return True


def _start_of(pid: int) -> str | None:
    """Return when a process started, in clock ticks since the boot; ``None`` where it is dead and only not reaped.

    Raises:
        OSError: it cannot be seen; FileNotFoundError where there is none of this number, or no ``/proc``.
    """
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    if fields[_STATE_FIELD - 3] in "ZX":
        return None
    return fields[_START_FIELD - 3]


def _boot() -> str:
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _UNKNOWN


def _namespace() -> str:
    try:
        return os.readlink(_NAMESPACE)
    except OSError:
        return _UNKNOWN
