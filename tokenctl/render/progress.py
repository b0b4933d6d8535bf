"""Progress of long work, for a person at a terminal alone: how much of how many, how fast, how much longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tokenctl import terminal
from tokenctl.model.times import SECOND, format_duration
from tokenctl.render.console import Console

_PATIENCE = 1.0  # seconds before the first line, and no work that is done by then shows any
_INTERVAL = 0.2  # seconds between two


class Progress:
    """One line on stderr, written over itself and wiped at the end.

    Args:
        verb: What has been done to the items, for example ``issued``.
    """

    def __init__(self, console: Console, verb: str, total: int) -> None:
        self._console = console
        self._verb = verb
        self._total = total
        self._begun = time.monotonic()
        self._next = self._begun + _PATIENCE
        self._shown = ""

    def reach(self, done: int) -> None:
        """Tell how many are done by now."""
        now = time.monotonic()
        if now < self._next or not self._console.chatty:
            return
        self._next = now + _INTERVAL
        rate = done / (now - self._begun)
        line = f"{self._verb} {done:,} of {self._total:,}, {rate:,.0f}/s"
        if rate and done < self._total:
            line += f", {format_duration(int((self._total - done) / rate * SECOND) + SECOND)} left"
        self._shown = line[: terminal.width() - 1]
        self._console.overwrite(self._shown)

    def finish(self) -> None:
        """Wipe the line; safe to call twice."""
        if self._shown:
            self._console.overwrite("")
            self._shown = ""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for a line of the answer, which scrolls by above this one on the same screen."""
        if not self._shown or not self._console.on_terminal:
            yield
            return
        self._console.overwrite("")
        yield
        self._console.overwrite(self._shown)
