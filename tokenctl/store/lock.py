"""The writers' lock: a blocking ``flock`` with a deadline.

Polling starves a waiting writer for seconds; a blocking call is served in turn, and a timer ends it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tokenctl import deadline as timer
from tokenctl import files
from tokenctl.errors import TemporarilyUnavailable

LOCK_DEADLINE = 30.0  # seconds


@contextmanager
def exclusive(path: str, *, deadline: float = LOCK_DEADLINE) -> Iterator[None]:
    """Hold the lock file exclusively.

    Args:
        path: The lock file; made 0600 where it is absent.
        deadline: Seconds to wait; zero asks once.

    Raises:
        TemporarilyUnavailable: another writer holds it (exit 7).
        InvalidConfiguration: what stands at the path is no file of ours (exit 9).
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, files.PRIVATE_FILE)
    except OSError as error:
        raise files.unusable(path, error) from None
    try:
        files.check_owned(path, os.fstat(descriptor), secret=False)
        _wait(descriptor, deadline, path)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, deadline: float, path: str) -> None:
    busy = TemporarilyUnavailable("another tokenctl is writing to the store", hint="run again", reason="lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if deadline <= 0:
            raise busy from None
    except OSError as error:
        raise files.unusable(path, error) from None
    else:
        return
    try:
        with timer.deadline(deadline):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except timer.DeadlineReached:
        raise busy from None
    except OSError as error:
        raise files.unusable(path, error) from None
