"""Many targets in short changes: the lock is released between them, and each outcome is told once it is durable.

A batch is never cut: SIGINT and SIGTERM that arrive while one is under way take effect when its outcomes were told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from tokenctl import process
from tokenctl.backends.local.journal import BATCH_SECONDS, Journal
from tokenctl.backends.local.standing import event_about, housekeep, look, look_at
from tokenctl.backends.local.view import Change, View
from tokenctl.model.introspection import Found
from tokenctl.model.record import Record
from tokenctl.model.token import Outcome, Target, Token
from tokenctl.store.rows import Stored

_CHUNK = 200  # targets read at once


class Settled(NamedTuple):
    """An outcome, and the token as it stands in its row behind it; ``None`` where the outcome does not rest on one."""

    outcome: Outcome
    token: Token | None = None


class Deed(Protocol):
    """What is done to each target."""

    def settle(self, change: Change, known: Known, identifier: str) -> Settled:
        """Change one token and its descendants, and record it."""
        ...

    def holds(self, view: View, found: Found) -> bool:
        """Whether a token that was changed, or needed no change, still stands as its outcome says."""
        ...


class Known:
    """The targets of a chunk as they were read, and what is to be written about them; reading on writes it first."""

    def __init__(self, change: Change, identifiers: Sequence[str]) -> None:
        self._change = change
        self._read = look_at(change, identifiers)
        self._parents = change.rows.parents_among(identifiers)
        self._records: list[Record] = []
        self._rows: dict[tuple[str, ...], list[Token]] = {}

    def get(self, identifier: str) -> tuple[Stored[Token], Found] | None:
        return self._read.get(identifier)

    def descendants(self, identifier: str) -> Iterator[str]:
        if identifier not in self._parents:
            return iter(())
        self.flush()
        return self._change.rows.descendants(identifier)

    def record(self, stored: Stored[Token], operation: str, facts: Mapping[str, object], **columns: object) -> Token:
        """Take down a change of a token and its record; :meth:`flush` writes them."""
        record = self._change.prepare(event_about(operation, stored.row, **facts))
        self._records.append(record)
        token = stored.row._replace(leaf=record.seq, **columns)  # type: ignore[arg-type]  # names are checked by the tuple
        changed = ("leaf", *columns)
        if stored.intact:
            self._rows.setdefault(changed, []).append(token)
        else:
            self._change.rows.condemn_token(token, *changed)
        return token

    def flush(self) -> None:
        self._change.write_records(self._records)
        for changed, tokens in self._rows.items():
            self._change.rows.update_tokens(tokens, *changed)
        self._records.clear()
        self._rows.clear()

    def renew(self, identifier: str) -> None:
        """Read a target again that was changed on the way to another."""
        if identifier in self._read:
            self.flush()
            self._read |= look_at(self._change, [identifier])


def carry_out(journal: Journal, targets: Sequence[Target], deed: Deed, *, trusted: bool = False) -> Iterator[Outcome]:
    """Work through the targets in batches of about a tenth of a second.

    Args:
        trusted: Refuse a quarantined store: what revives nothing needs no trust.

    Raises:
        TokenctlError: the store cannot be changed; what was yielded before stays done.
        KeyboardInterrupt: between two batches.
    """
    identifiers = [target.id for target in targets]
    position = 0
    with process.Unbroken() as unbroken:
        while position < len(identifiers):
            unbroken.pause()
            if position:
                journal.catch_up()
            started = time.monotonic()
            with journal.changing(trusted=trusted) as change:
                unbroken.resume()
                if change is None:
                    yield from (Outcome(id=identifier, outcome="unknown") for identifier in identifiers[position:])
                    return
                if position == 0:
                    housekeep(change)
                settled = list(_batch(change, identifiers, position, deed, until=started + BATCH_SECONDS))
            position += len(settled)
            yield from _asked_again(journal, settled, deed, started)


def _batch(change: Change, identifiers: Sequence[str], position: int, deed: Deed, *, until: float) -> Iterator[Settled]:
    while position < len(identifiers):
        chunk = identifiers[position : position + _CHUNK]
        known = Known(change, chunk)
        for identifier in chunk:
            yield deed.settle(change, known, identifier)
            if time.monotonic() > until + BATCH_SECONDS:  # a chunk with many children: the rest of it is read again
                known.flush()
                return
        known.flush()
        position += len(chunk)
        if time.monotonic() > until:
            return


def _asked_again(journal: Journal, settled: Sequence[Settled], deed: Deed, started: float) -> Iterator[Outcome]:
    """Ask the store again whether each target stands as it was left, and say how long that took."""
    asked = [outcome.id for outcome, token in settled if token is not None]
    with journal.reading() as view:
        marks = view.rows.marks(asked) if view is not None and asked else {}
        elapsed = round((time.monotonic() - started) * 1000)
        for outcome, token in settled:
            if token is None or view is None:
                yield outcome
            elif marks.get(token.id) == (token.leaf, token.revoked_at, token.suspended_at) or _still(view, token.id, deed):
                yield outcome._replace(checked_ms=elapsed)
            else:
                detail = "another change came between: look at it" if outcome.outcome == "lifted" else _NOT_DENIED
                yield outcome._replace(outcome="still_active" if outcome.outcome != "lifted" else "denied", detail=detail)


_NOT_DENIED = "the store does not deny it after the change"


def _still(view: View, identifier: str, deed: Deed) -> bool:
    stored = view.rows.token(identifier)
    return stored is not None and deed.holds(view, look(view, stored))
