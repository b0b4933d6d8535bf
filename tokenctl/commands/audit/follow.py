"""``audit log --follow``: records as they are committed.

The store is looked at without a lock and outside of a transaction: SQLite counts the commits of others. A log whose last record
that was seen is gone, or another one, was restored or cut: that is said, and ends it.
"""

from __future__ import annotations

import os
import select
import time

from tokenctl.audit import query
from tokenctl.backends.base import Backend
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.view import View
from tokenctl.commands.audit.log import Choice, print_record
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, TemporarilyUnavailable
from tokenctl.model.record import Record

_INTERVAL = 0.2  # seconds
_PAGE = 1_000  # records of one transaction
_BUSY = 10.0  # seconds that a store may be out of reach, while it is restored for example


class _Tail:
    """Where the log was left: the number and the hash of its last record."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.hash: object = None
        self._version: object = None
        self.quarantine: str | None = None

    def changed(self, journal: Journal) -> bool:
        """Whether somebody committed since the last reading, or another file stands in the store's place."""
        opened = journal.opened
        if opened is None:
            return True
        try:
            facts = os.lstat(journal.path)
        except OSError:
            facts = None
        if facts is None or (facts.st_dev, facts.st_ino) != opened.file:
            journal.close()
            return True
        return opened.store.value("PRAGMA data_version") != self._version

    def check(self, view: View) -> None:
        """Refuse a log that is not the one that was followed (exit 10)."""
        found = view.store.value("SELECT hash FROM record WHERE seq = ?", self.seq) if self.seq else None
        if self.hash is None:
            self.hash = found
        if self.seq and (found is None or found != self.hash):
            raise _left(self.seq)

    def advance(self, view: View, seq: int) -> None:
        self.seq, self.hash = seq, view.store.value("SELECT hash FROM record WHERE seq = ?", seq) if seq else None

    def seen(self, journal: Journal, version: object) -> None:
        self._version = version if journal.opened is not None else None


def follow(context: Context, backend: Backend, choice: Choice, size: int, *, patience: float | None) -> None:
    """Print what is recorded behind a number, until it is interrupted, nobody reads any more, or patience ends.

    Raises:
        IntegrityError: the log was restored or cut (exit 10).
        BrokenPipeError: nobody reads any more.
        TemporarilyUnavailable: the store is out of reach for long (exit 7).
    """
    tail, ends = _Tail(size), None if patience is None else time.monotonic() + patience
    failing: float | None = None
    while True:
        try:
            if tail.changed(backend.journal):
                while _print_new(context, backend, choice, tail):
                    pass
            failing = None
        except TemporarilyUnavailable:
            failing = time.monotonic() if failing is None else failing
            if time.monotonic() - failing > _BUSY:
                raise
            backend.journal.close()
        left = _INTERVAL if ends is None else min(_INTERVAL, ends - time.monotonic())
        if left <= 0:
            return
        _wait(left)


def _print_new(context: Context, backend: Backend, choice: Choice, tail: _Tail) -> bool:
    """Print the next page of new records; whether there may be more."""
    journal = backend.journal
    journal.catch_up()
    with journal.reading() as view:
        if view is None:
            if tail.seq:
                raise _left(tail.seq)
            return False
        version = view.store.value("PRAGMA data_version")
        tail.check(view)
        found, whole = _page(view, choice, tail)
        _tell_of_quarantine(context, view, tail)
    tail.seen(journal, version)
    for record in found:
        print_record(context, record)
    return not whole


def _page(view: View, choice: Choice, tail: _Tail) -> tuple[list[Record], bool]:
    size = query.count(view.store)
    chosen = choice.among(view, few=True)
    chosen = chosen._replace(behind=max(tail.seq, chosen.behind or 0), before=size + 1)
    found = list(query.records(view.store, chosen, limit=_PAGE, first=True))
    whole = len(found) < _PAGE
    tail.advance(view, size if whole else found[-1].seq)
    return found, whole


def _tell_of_quarantine(context: Context, view: View, tail: _Tail) -> None:
    if view.quarantine is not None and view.quarantine not in (tail.quarantine, *_told(context)):
        context.console.warn(f"the store is quarantined: {view.quarantine}")
    tail.quarantine = view.quarantine


def _told(context: Context) -> list[str]:
    return [warning.removeprefix("the store is quarantined: ") for warning in context.console.warnings]


def _left(seq: int) -> IntegrityError:
    return IntegrityError(
        f"the log is not the one that was followed: record {seq} is gone, or another; the store was restored or cut",
        hint="tokenctl audit verify", reason="log_left",
    )  # fmt: skip


def _wait(seconds: float) -> None:
    """Wait, and notice that nobody reads the answer any more."""
    watched = select.poll()
    watched.register(1, 0)  # an error or a hang-up is always told
    if watched.poll(seconds * 1000):
        raise BrokenPipeError
