"""Progress of long work, on stderr of a terminal only: how much is done, how fast, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tokenctl import files
from tokenctl.model.times import SECOND, format_duration
from tokenctl.render.console import Console

_PATIENCE = 1.0  # seconds of work without a word
_INTERVAL = 0.2  # seconds between two readings
_CLEAR = "\r\x1b[K"


class Progress:
    """One line that is written over; it appears when the work takes more than a second."""

    def __init__(self, console: Console, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = console.chatty
        self._total = total
        self._clock = clock
        self._started = self._told = clock()
        self._shown = ""
        self._same_screen = console.on_terminal

    def tell(self, done: int) -> None:
        """Show how far the work is."""
        now = self._clock()
        if not self._wanted or now - self._started < _PATIENCE or now - self._told < _INTERVAL:
            return
        rate = done / (now - self._started)
        left = format_duration(int((self._total - done) / rate * SECOND)) if rate else "?"
        self._told, self._shown = now, f"{done:,} of {self._total:,}, {rate:,.0f}/s, {left} left"
        self._write(f"{_CLEAR}{self._shown}")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write(_CLEAR)
            self._shown = ""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for a line of the answer, which scrolls above this one on the same screen."""
        if not self._shown or not self._same_screen:
            yield
            return
        self._write(_CLEAR)
        yield
        self._write(self._shown)

    def _write(self, text: str) -> None:
        try:
            files.write_all(2, text.encode())
        except OSError:
            self._wanted = False  # nobody looks
