"""The hygiene of this process: descriptors, umask, core dumps, descriptors that others hand in, and signals that must wait."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType

from tokenctl.errors import InvalidRequest

_FIRST_OWN_DESCRIPTOR = 64


def harden() -> None:
    """Fill closed standard descriptors, close the umask, and leave no core dump.

    A closed one is filled for reading only, so that a write to it fails instead of vanishing.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDONLY)
    os.umask(0o077)
    import resource

    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/coredump_filter", "w", encoding="ascii") as file:
        file.write("0")


def adopt_descriptor(descriptor: int, *, writing: bool, forbidden: Iterable[str]) -> int:
    """Take a descriptor that the caller's shell opened: checked, moved above 63, closed on exec.

    Args:
        descriptor: Its number.
        writing: Whether it is to be written; else read.
        forbidden: Paths of ours that it must not be.

    Raises:
        InvalidRequest: not open, open the other way, or one of our own files (exit 2).
    """
    option = f"--fd {descriptor}"
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        facts = os.fstat(descriptor)
    except (OSError, OverflowError, ValueError):
        raise InvalidRequest(f"{option} is not an open descriptor", hint=f"redirect it in the shell: {descriptor}>FILE") from None
    access = flags & os.O_ACCMODE
    if access not in ((os.O_WRONLY if writing else os.O_RDONLY), os.O_RDWR):
        raise InvalidRequest(f"{option} is not open for {'writing' if writing else 'reading'}")
    for path in forbidden:
        with suppress(OSError):
            ours = os.stat(path)
            if (ours.st_dev, ours.st_ino) == (facts.st_dev, facts.st_ino):
                raise InvalidRequest(f"{option} is a file of tokenctl itself")
    if stat.S_ISDIR(facts.st_mode):
        raise InvalidRequest(f"{option} is a directory")
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_OWN_DESCRIPTOR)
    except OSError:
        raise InvalidRequest(f"{option} cannot be taken over") from None


class Unbroken:
    """Puts SIGINT and SIGTERM off while work is under way that is not to be cut; a second one is not put off.

    It begins paused: what arrives in a pause takes effect at once.
    """

    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._paused = True
        self._pending: int | None = None

    def __enter__(self) -> Unbroken:
        with suppress(ValueError):  # only the main thread is interrupted at all
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._pending is not None:
            pending, self._pending = self._pending, None
            os.kill(os.getpid(), pending)

    def pause(self) -> None:
        """Let what was put off take effect, and what comes."""
        self._paused = True
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._deliver(pending, None)

    def resume(self) -> None:
        self._paused = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._paused or self._pending is not None:
            self._pending = None
            self._deliver(number, frame)
        else:
            self._pending = number

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
