"""A hard deadline over blocking calls: nothing that a peer or another process does can outlast it.

By a timer, for a system call that a signal interrupts; by a thread that is left behind, for all else: the C library's
look-up of a host name goes on through every signal.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future  # only what waits for others needs it

T = TypeVar("T")
S = TypeVar("S")


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


def apart(work: Callable[[], T]) -> "Future[T]":
    """Begin the work in a thread that the end of the program does not wait for; whoever needs it waits as long as they like.

    What it raises is raised where the result is taken.
    """
    from concurrent.futures import Future
    from threading import Thread

    future: Future[T] = Future()

    def run() -> None:
        # Signals, the timer above among them, are for the thread that waits in a system call.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised where the result is taken
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def in_order(work: Callable[[S], T], things: Iterable[S], at_once: int) -> Iterator[T]:
    """Do the work for each thing apart, so many at once; yield what comes of it in their order."""
    from collections import deque

    running: deque[Future[T]] = deque()
    for thing in things:
        running.append(apart(partial(work, thing)))
        if len(running) == at_once:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
