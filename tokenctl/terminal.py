"""The terminal's manners, in one place.

Questions go to /dev/tty and only where stderr is a terminal too, so that a pipe into a command leaves the keyboard free for them.
What is typed as a secret is not echoed, and the terminal is put back on every way out, signals included.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_END_OF_INPUT = b"\x04"


def is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


@contextmanager
def _quiet_keyboard(descriptor: int, *, by_line: bool) -> Iterator[None]:
    """No echo; without ``by_line`` also no line editing, whose buffer would cut a line at 4096 bytes."""
    import termios

    before = termios.tcgetattr(descriptor)
    mode = termios.tcgetattr(descriptor)
    mode[3] &= ~termios.ECHO
    if not by_line:
        mode[3] &= ~termios.ICANON
    try:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, mode)
        with _terminating_signals_raise():
            yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


@contextmanager
def _terminating_signals_raise() -> Iterator[None]:
    import signal

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_pasted(descriptor: int) -> bytes:
    """Read what is pasted at a terminal until Ctrl-D, without echo and without a limit on a line."""
    pasted = b""
    with _quiet_keyboard(descriptor, by_line=False):
        os.write(2, b"paste, then Ctrl-D\n")  # asked for only when nothing is echoed any more
        while True:
            part = os.read(descriptor, 65536)
            end = part.find(_END_OF_INPUT)
            if end >= 0:
                return pasted + part[:end]
            if not part:
                return pasted
            pasted += part


def read_hidden(prompt: str) -> bytes | None:
    """Ask for a line at /dev/tty without echo; ``None`` where there is no terminal to ask at."""
    with _keyboard() as keyboard:
        if keyboard is None:
            return None
        try:
            with _quiet_keyboard(keyboard, by_line=False):
                os.write(keyboard, prompt.encode())
                typed = b""
                while True:
                    part = os.read(keyboard, 65536)
                    typed += part
                    if not part or any(end in part for end in (b"\n", b"\r", _END_OF_INPUT)):
                        break
        finally:
            os.write(keyboard, b"\n")
    return typed.replace(b"\r", b"\n").partition(b"\n")[0].partition(_END_OF_INPUT)[0].strip()


def ask(question: str) -> str | None:
    """Ask at /dev/tty; ``None`` where there is no way to ask, or the answer is Ctrl-D."""
    with _keyboard() as keyboard:
        if keyboard is None:
            return None
        os.write(keyboard, question.encode("utf-8", "backslashreplace"))
        answer = b""
        while not answer.endswith(b"\n"):
            part = os.read(keyboard, 4096)
            if not part:
                os.write(keyboard, b"\n")  # Ctrl-D leaves the cursor behind the question
                return None
            answer += part
    return answer.decode("utf-8", "replace").strip()


@contextmanager
def _keyboard() -> Iterator[int | None]:
    if not is_terminal(2):
        yield None
        return
    try:
        keyboard = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield keyboard
    finally:
        with suppress(OSError):
            os.close(keyboard)


def width() -> int:
    """Return the columns of the terminal that stderr or stdout is; 80 where none is known."""
    for descriptor in (1, 2):
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(descriptor).columns
            if columns > 0:
                return columns
    return 80


def wants_colour(environment: dict[str, str] | os._Environ[str], descriptor: int) -> bool:
    """Resolve NO_COLOR, FORCE_COLOR and CLICOLOR once, the first that is set wins."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return environment["FORCE_COLOR"] != "0"
    if environment.get("CLICOLOR") == "0" or environment.get("TERM", "dumb") == "dumb":
        return False
    return is_terminal(descriptor) and sys.platform != "win32"
