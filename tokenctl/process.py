"""The hygiene of this process, before anything is opened: descriptors, umask, core dumps, and descriptors that others hand in.

What is changed for ourselves is remembered, so that a child of ours starts as if we had not been there.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import NamedTuple

from tokenctl.errors import InvalidRequest

_FIRST_OWN_DESCRIPTOR = 64
_FIRST_OF_FEW = 10  # where the limit of open files lies below the other
_DUMP_FILTER = "/proc/self/coredump_filter"


class _Inherited(NamedTuple):
    """What this process was given and changed for itself."""

    filled: tuple[int, ...]
    umask: int
    core_limit: tuple[int, int] | None
    dump_filter: str | None


_inherited: _Inherited | None = None


def harden() -> None:
    """Fill closed standard descriptors, close the umask, and leave no core dump.

    A closed one is filled for reading only, so that a write to it fails instead of vanishing. The hard limit of core dumps
    stays, or a child could not be given back what it had.
    """
    global _inherited  # there is one process
    filled = []
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDONLY)
                filled.append(descriptor)
    umask = os.umask(0o077)
    import resource

    limit = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, limit[1]))
    _inherited = _Inherited(filled=tuple(filled), umask=umask, core_limit=limit, dump_filter=_exchange_dump_filter("0"))


def _exchange_dump_filter(mask: str) -> str | None:
    """Set which memory a core dump holds (core(5)); return what stood there, ``None`` where there is no such setting."""
    try:
        with open(_DUMP_FILTER, "r+", encoding="ascii") as file:
            before = file.read().strip()
            file.seek(0)
            file.write(mask)
    except OSError:
        return None
    return before


def restore() -> None:
    """Undo :func:`harden`; for a child of ours, between fork and exec."""
    if _inherited is None:
        return
    os.umask(_inherited.umask)
    if _inherited.core_limit is not None:
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, _inherited.core_limit)
    if _inherited.dump_filter is not None:
        _exchange_dump_filter(f"0x{_inherited.dump_filter}")
    for descriptor in _inherited.filled:
        with suppress(OSError):
            os.close(descriptor)


def move_up(descriptor: int) -> int:
    """Move a descriptor of ours out of the way of the numbers that people use; closed on exec. Raises OSError."""
    try:
        return _duplicate(descriptor)
    finally:
        os.close(descriptor)


def _duplicate(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first_own_descriptor())


def first_own_descriptor() -> int:
    """Return the number from which on descriptors are ours; those below are for people to choose."""
    import resource

    few = resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= _FIRST_OWN_DESCRIPTOR
    return _FIRST_OF_FEW if few else _FIRST_OWN_DESCRIPTOR


def adopt_descriptor(descriptor: int, *, writing: bool, forbidden: Iterable[str], option: str | None = None) -> int:
    """Take a descriptor that the caller's shell opened: checked, moved above 63, closed on exec.

    Args:
        descriptor: Its number.
        writing: Whether it is to be written; else read.
        forbidden: Paths of ours that it must not be.
        option: How it was handed in, for an error.

    Raises:
        InvalidRequest: not open, open the other way, or one of our own files (exit 2).
    """
    option = option or f"--fd {descriptor}"
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        facts = os.fstat(descriptor)
    except (OSError, OverflowError, ValueError):
        hint = f"redirect it in the shell: {descriptor}{'>' if writing else '<'}FILE"
        raise InvalidRequest(f"{option} is not an open descriptor", hint=hint) from None
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
        return _duplicate(descriptor)
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

    def write(self, descriptor: int, data: bytes) -> None:
        """Write every byte; only while the reader keeps us waiting does an interrupt take effect. Raises OSError."""
        room = select.poll()
        room.register(descriptor, select.POLLOUT)
        view = memoryview(data)
        while view:
            if not room.poll(0):
                self.pause()
                room.poll()
                self.resume()
            view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]

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


def memory_left() -> int | None:
    """Return how many bytes this process can still take, by its own limits and by the machine; ``None`` where none tells."""
    import resource

    left = []
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        left.append(soft - _bytes_in("/proc/self/status", "VmSize:"))
    available = _bytes_in("/proc/meminfo", "MemAvailable:")
    if available:
        left.append(available)
    with suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
        left.append(int(file.read()) - _bytes_in("/proc/self/status", "VmRSS:"))
    return max(min(left), 0) if left else None


def _bytes_in(path: str, name: str) -> int:
    """Return what a file of the kernel says in kB after a name, as bytes; zero where it does not."""
    with suppress(OSError, ValueError, IndexError), open(path, encoding="ascii", errors="replace") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name)), 0)
    return 0
