"""Moving old bodies out of the store: which they are, the file that takes them, and how the store forgets them.

The file is whole and durable before the store forgets anything. Then every batch is one transaction: a body leaves only if the
file has it byte for byte, all bodies about a token leave together, and a record of the same transaction says which they were.
So whatever ends this half-way leaves a store that checks out, and a file that has all that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.audit.archived import OPERATION, Columns
from tokenctl.audit.chain import columns_agree
from tokenctl.audit.tree import leaf_hash
from tokenctl.backends.local.journal import BATCH_SECONDS, Journal
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import Conflict, IntegrityError
from tokenctl.formats.log_archive import Archive, Sink, Summary, Writer
from tokenctl.model.record import LONGEST_MARK, Event, Record

_CHUNK = 200  # records looked at together
# Tokens that ended before ?1 and that nothing living leads to or comes from: no descendant of one that lives, none that replaces
# one or is replaced by one, none of which housekeeping has something to record, none with a newer record.
_ENDED = """SELECT id FROM token WHERE expires_at <= ?1
  AND (revoked_at IS NOT NULL
    OR (suspended_until IS NULL AND grace_until IS NULL AND run IS NULL AND delivered_at IS NOT NULL))
  AND id NOT IN (WITH RECURSIVE kept(id) AS (
      SELECT child.id FROM token AS child WHERE child.parent IS NOT NULL
        AND EXISTS (SELECT 1 FROM token AS above WHERE above.id = child.parent AND above.expires_at > ?1)
      UNION SELECT token.id FROM token JOIN kept ON token.parent = kept.id
    ) SELECT id FROM kept)
  AND NOT EXISTS (SELECT 1 FROM token AS child WHERE child.parent = token.id AND child.expires_at > ?1)
  AND NOT EXISTS (SELECT 1 FROM token AS kin WHERE kin.replaces = token.id AND kin.expires_at > ?1)
  AND NOT EXISTS (SELECT 1 FROM token AS kin WHERE kin.id IN (token.replaces, token.replaced_by) AND kin.expires_at > ?1)
  AND NOT EXISTS (SELECT 1 FROM record AS late WHERE late.target = token.id AND late.time >= ?1)"""
# Of what is about no token, only refused issues: keys, plans, the store and its log are needed whole.
_MEANT = f"""FROM record WHERE seq <= ?2 AND time < ?1 AND length(body) > {LONGEST_MARK}
  AND (+operation = 'token.deny' OR (+operation >= 'token.' AND +operation < 'token/' AND +target IN ({_ENDED})))"""

Progress = Callable[[int], None]


class Meant(NamedTuple):
    """What would be moved: how many bodies, of which records, and their size in bytes; the log ended at ``size`` then."""

    bodies: int
    first: int
    last: int
    room: int
    size: int


class Forgotten(NamedTuple):
    """How many bodies left the store, their size, and the numbers of the records that tell of it."""

    bodies: int = 0
    room: int = 0
    records: tuple[int, ...] = ()


def meant(view: View, before: int) -> Meant:
    """Return what there is to be moved of the records before an instant."""
    size = view.head.size
    row = view.store.row(f"SELECT count(*), min(seq), max(seq), sum(length(body)) {_MEANT}", before, size)
    count, first, last, room = (value if isinstance(value, int) else 0 for value in row or (0, 0, 0, 0))
    return Meant(count, first, last, room, size)


def write(view: View, before: int, size: int, sink: Sink, progress: Progress) -> Summary:
    """Write the bodies into a file.

    Raises:
        OSError: it cannot be written.
        IntegrityError: a record does not check out (exit 10): where its body is gone, nobody could tell.
    """
    writer = Writer(sink, view.store_id)
    sql = f"SELECT seq, time, operation, target, request, actor, body, hash, nonce, ticket {_MEANT} ORDER BY seq"
    for done, row in enumerate(view.store.rows(sql, before, size), 1):
        record = Record._make(row)
        _require_sound(record)
        writer.add(record.seq, record.body)
        if done % _CHUNK == 0:
            progress(done)
    return writer.finish()


def _require_sound(record: Record) -> None:
    if leaf_hash(record.body) != record.hash or not columns_agree(record):
        raise IntegrityError(
            f"record {record.seq} does not check out: no more bodies leave the store", hint="tokenctl audit verify"
        )


def forget(journal: Journal, archive: Archive, before: int, size: int, progress: Callable[[Forgotten], None]) -> Forgotten:
    """Empty the bodies that a durable archive has, batch by batch.

    Args:
        before: Only what is still older than this is moved.
        size: The number of the last record when the archive was made: what is about a token that has a newer one stays.
        progress: Told what is done, after each batch.

    Raises:
        Conflict: the clock was accepted back to before that instant meanwhile (exit 6).
        IntegrityError: quarantined, or a record does not check out (exit 10).
        TemporarilyUnavailable: locked or full (exit 7). Whatever is raised, the batches before stand.
    """
    numbers = (seq for seq, _ in archive.bodies())
    done, ended = Forgotten(), False
    while not ended:
        with journal.changing(trusted=True) as change:
            if change is None or change.store_id != archive.store_id:
                raise Conflict("the store was exchanged meanwhile", hint="run again")
            if change.now < before:
                raise Conflict("the clock was set back meanwhile", hint="run again")
            batch = _Batch(change, archive, size)
            end = time.monotonic() + BATCH_SECONDS
            while time.monotonic() < end and not ended:
                chunk = list(islice(numbers, _CHUNK))
                ended = not chunk
                batch.take(chunk)
            batch.finish(before)
        if batch.moved:
            done = Forgotten(done.bodies + len(batch.moved), done.room + batch.room, (*done.records, batch.number))
        progress(done)
    return done


class _Batch:
    """The bodies that leave the store in one transaction, and the record of it, whose number is known before."""

    def __init__(self, change: Change, archive: Archive, size: int) -> None:
        self.number = change.next_seq
        self.moved: list[Record] = []
        self.room = 0
        self._change = change
        self._archive = archive
        self._size = size

    def take(self, numbers: Sequence[int]) -> None:
        """Empty what these records, and those about the same tokens, say."""
        if not numbers:
            return
        found = [record for record in query.fetch(self._change.store, numbers) if record.archived is None]
        alone = [record for record in found if record.target is None]
        targets = list(dict.fromkeys(record.target for record in found if record.target is not None))
        ready = [record for record in alone if self._is_held(record)]
        for histories in self._histories(targets):
            lost = [record for record in histories if record.archived is None]
            if all(self._is_held(record) for record in lost):
                ready += lost
        for record in ready:
            _require_sound(record)
            self.room += len(record.body)
        self._empty(ready)
        self.moved += ready

    def _empty(self, ready: Sequence[Record]) -> None:
        """Write the number of the record that tells of it in the place of each body."""
        store, mark = self._change.store, str(self.number).encode("ascii")
        store.run_many("UPDATE record SET body = ? WHERE seq = ?", [(mark, record.seq) for record in ready])
        # A row that shrinks leaves its page as it is; only one that is taken out makes SQLite join pages that are nearly empty.
        # Every second one reaches them all: more than one such row fits on a page.
        again = [record._replace(body=mark) for record in ready if record.seq % 2]
        store.run_many("DELETE FROM record WHERE seq = ?", [(record.seq,) for record in again])
        self._change.write_records(again)

    def _is_held(self, record: Record) -> bool:
        return self._archive.body(record.seq) == record.body

    def _histories(self, targets: Sequence[str]) -> Iterator[list[Record]]:
        """Yield the records of each token whose row checks out and to which nothing happened since the archive was made."""
        stored, newest = self._change.rows.tokens(targets), self._change.rows.newest_leaves(targets)
        sound = [
            name for name in targets
            if name in stored and stored[name].intact and newest.get(name) == stored[name].row.leaf <= self._size
        ]  # fmt: skip
        records: dict[str, list[Record]] = {name: [] for name in sound}
        if sound:
            for record in query.records(self._change.store, query.Filter(target=tuple(sound))):
                records[str(record.target)].append(record)
        yield from records.values()

    def finish(self, before: int) -> None:
        """Append the record that binds what left."""
        if not self.moved:
            return
        columns = Columns()
        for record in sorted(self.moved):
            columns.add(
                record.seq, record.time, record.operation, record.target, record.request, record.actor, record.ticket
            )  # fmt: skip
        told = columns.told()
        parameters: dict[str, object] = {"before": before, "count": told.bodies, "first": told.first, "last": told.last}
        made = self._change.append(
            Event(operation="log.archive", target=self._archive.digest, reason=str(told), parameters=parameters)
        )
        assert (made.seq, made.operation) == (self.number, OPERATION)


def free_room(view: View) -> int:
    """Return how many bytes of the store's file are free for new records."""
    return view.store.integer("PRAGMA freelist_count") * view.store.integer("PRAGMA page_size")
