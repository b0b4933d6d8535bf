"""A hard deadline over blocking calls, by a timer: nothing that a peer or another process does can outlast it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class DeadlineReached(BaseException):
    """Raised inside the body when its time is over; no library's ``except Exception`` catches it."""


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise DeadlineReached


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Run the body for at most so many seconds; raises DeadlineReached."""
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
