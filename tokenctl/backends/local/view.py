"""A checked store inside one transaction, and the changes that carry their records.

A store that does not check out is quarantined: it can be read, revoked from and audited, but nothing is issued and nothing
is called active.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping, Sequence

from tokenctl.audit import anchor as anchors
from tokenctl.audit.actor import Actor
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.backends.local import sealing
from tokenctl.errors import IntegrityError
from tokenctl.model.record import Event, Record, body_of, canonical
from tokenctl.store.connection import Store
from tokenctl.store.protection import Protector
from tokenctl.store.rows import Rows

_INSERT_RECORD = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_ANCHOR = ("TRUNCATED", "DIVERGED")  # verdicts that an anchor speaks
FACTS = {"store_id", "root_place", "root_check", "root_version"}  # names in meta without which no store is believed


class View:
    """A checked store inside one transaction.

    Attributes:
        clock: The system clock, milliseconds UTC.
        now: max(clock, time of the newest record): rights end by it.
        left_anchor: What the anchor says against the log; ``None`` where they agree, or none is there.
        quarantine: Why nothing here may be called active; ``None`` where all checks out.

    Args:
        anchor_path: ``None`` for a copy, which no anchor speaks of.
    """

    def __init__(self, store: Store, keys: sealing.Keys, store_id: str, clock: int, anchor_path: str | None) -> None:
        self.store = store
        self.keys = keys
        self.store_id = store_id
        # Before anything of the store, whose first reading fixes the snapshot: a commit in between must not make the
        # anchor seem ahead.
        self.anchor = anchors.read(anchor_path) if anchor_path is not None else None
        self.rows = Rows(store, Protector(key=keys.row, store_id=store_id))
        self.head, self.head_intact = _read_head(store, keys, store_id)
        self.last_time = self.head.time if self.head_intact else 0
        self.clock = clock
        self.now = max(clock, self.last_time)
        self.left_anchor = self._judge_anchor()
        self.quarantine = self._judge()
        self._ended: dict[str, bool] = {}

    def run_ended(self, run: str) -> bool:
        """Whether the process that a token lives with is gone; looked up once a command."""
        if run not in self._ended:
            from tokenctl import runs

            self._ended[run] = runs.ended(run)
        return self._ended[run]

    def fact(self, name: str) -> object:
        """Return what the store says about itself; ``None`` for nothing."""
        return self.store.value("SELECT value FROM meta WHERE name = ?", name)

    def _judge(self) -> str | None:
        if not self.head_intact:
            return "INVALID: the head of the log is not authentic"
        if self.store.integer("SELECT max(seq) FROM record") != self.head.size:
            return "INVALID: the newest records do not fit the head of the log"
        recorded = self.head.quarantine
        if recorded is None or recorded.startswith(_OF_ANCHOR):
            return recorded or self.left_anchor
        return recorded if self.left_anchor is None else f"{self.left_anchor}; {recorded}"  # a seal hides no lost records

    def _judge_anchor(self) -> str | None:
        anchor = self.anchor
        if anchor is None:
            return None
        if isinstance(anchor, anchors.Damaged):
            return "DIVERGED: the anchor file is damaged"
        if anchor.store_id != self.store_id:
            return "DIVERGED: the anchor belongs to another store"
        if anchor.size > self.head.size:
            lost = anchor.size - self.head.size
            return f"TRUNCATED: the store is {lost} record{'s' * (lost != 1)} behind its anchor"
        leaf = self.store.value("SELECT hash FROM record WHERE seq = ?", anchor.size)
        if leaf != anchor.leaf or (anchor.size == self.head.size and anchor.root != self.head.root):
            return "DIVERGED: the log is not the one that was anchored"
        return None

    def require_trust(self) -> None:
        """Refuse to go on in quarantine.

        Raises:
            IntegrityError: with the verdict (exit 10).
        """
        if self.quarantine is not None:
            raise IntegrityError(
                f"the store is quarantined: {self.quarantine}",
                hint="tokenctl audit verify; restore the newest copy, or accept this one: tokenctl store release --reason R",
                reason="quarantined",
            )


class Change(View):
    """A view that may be changed; every change carries its record."""

    def __init__(
        self, store: Store, keys: sealing.Keys, store_id: str, clock: int, anchor_path: str | None, actor: Actor
    ) -> None:  # fmt: skip
        super().__init__(store, keys, store_id, clock, anchor_path)
        self.actor = actor
        self.actor_name = str(actor)
        self._actor_facts = canonical(actor.facts()).decode("ascii")
        self._range, self._continues_anchor = self._range_to_continue()
        self._newest: bytes | None = None
        self.head_changed = False
        self.afterwards: Callable[[], None] | None = None  # done once it is committed, still under the lock

    def _range_to_continue(self) -> tuple[CompactRange, bool]:
        """Return the tree that the log goes on from, and whether what was anchored is the beginning of it."""
        whole = self.head_intact and self.store.integer("SELECT max(seq) FROM record") == self.head.size
        tree = CompactRange.from_bytes(self.head.size, self.head.range) if whole else CompactRange()
        anchor, left = self.anchor, self.left_anchor is not None
        if whole and (left or self.quarantine is None or not isinstance(anchor, anchors.Anchor) or anchor.size == self.head.size):
            return tree, not left
        # A head that was not authentic, or may have been made anew from records that were not: only all of them tell.
        rebuilt, continues = CompactRange(), anchor is None
        for (stored,) in self.store.rows("SELECT hash FROM record ORDER BY seq"):
            leaf = stored if isinstance(stored, bytes) else bytes(32)
            rebuilt.append(leaf)
            if isinstance(anchor, anchors.Anchor) and rebuilt.size == anchor.size:
                continues = anchor == (self.store_id, rebuilt.size, leaf, rebuilt.root())
        return (tree if whole else rebuilt), continues

    @property
    def next_seq(self) -> int:
        return self._range.size + 1

    def coming(self) -> Head:
        """Return the head of the log as this change leaves it, where nothing more is appended."""
        tree = self._range
        return Head(size=tree.size, range=tree.to_bytes(), root=tree.root(), time=self.now, quarantine=self.quarantine)

    def append(self, event: Event) -> Record:
        """Append one record; it becomes durable with the change it tells of."""
        record = self.prepare(event)
        self.write_records([record])
        return record

    def prepare(self, event: Event) -> Record:
        """Number a record and take it into the tree; the caller hands it to :meth:`write_records` before the change ends."""
        seq = self._range.size + 1
        nonce = os.urandom(32)
        parameters = event.parameters if isinstance(event.parameters, bytes) else canonical(event.parameters or {})
        commitment = hmac.digest(nonce, parameters, "sha256").hex()
        body = body_of(event, seq=seq, time=self.now, actor=self._actor_facts, commitment=commitment)
        record = Record(
            seq=seq, time=self.now, operation=event.operation, target=event.target, request=event.request_id,
            actor=self.actor_name, body=body, hash=leaf_hash(body), nonce=nonce + self.rows.nonce_tag(seq, nonce),
            ticket=event.ticket,
        )  # fmt: skip
        self._range.append(record.hash)
        self._newest = record.hash
        self.head_changed = True
        return record

    def write_records(self, records: Sequence[Record]) -> None:
        self.store.run_many(_INSERT_RECORD, records)

    def write_fact(self, name: str, value: str) -> None:
        """Write what the store says about itself; the caller appends the record that tells of it."""
        self.write_facts({name: value}, self.keys)

    def write_facts(self, facts: Mapping[str, object], keys: sealing.Keys) -> None:
        """Write facts, ``None`` to take one away, and go on under these keys, under which the caller has put every row."""
        meta = read_meta(self.store)
        require_own(meta, Protector(self.keys.row, self.store_id), self.store.path)  # what was changed gets no new MAC
        protector = Protector(keys.row, self.store_id)
        if keys is not self.keys:
            self.keys, self.rows = keys, Rows(self.store, protector)
        left = {name: value for name, value in (meta | dict(facts)).items() if value is not None}
        for name in meta.keys() - left.keys():
            self.store.run("DELETE FROM meta WHERE name = ?", name)
        for name, told in (*((name, left[name]) for name in facts.keys() & left.keys()), ("mac", protector.meta_mac(left))):
            self.store.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, told)

    def turn_back(self, event: Event) -> Record:
        """Append a record at the system clock, behind the one before; the caller ends what the time before had ended."""
        self.now = self.clock
        return self.append(event)

    def lift_quarantine(self) -> None:
        """Accept the log as it is from here on; the caller appends the record that says why."""
        self.quarantine = None
        self.head_changed = True

    def seal(self, verdict: str) -> None:
        """Quarantine the store; the caller appends the record."""
        self.quarantine = verdict
        self.head_changed = True

    def write_head(self) -> None:
        """Write the head; the last statement before the commit."""
        if not self.head_changed:
            return
        self.head = self.coming()
        self.store.run(
            "INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?, ?)",
            self.head.size, self.head.range, self.head.root, self.head.time, self.head.quarantine,
            self.head.mac(self.keys.head, self.store_id),
        )  # fmt: skip

    def anchor_of(self) -> anchors.Anchor | None:
        """Return the anchor after this change; ``None`` leaves the old one.

        In quarantine it goes on with a log that it agreed with before, so that an old copy is noticed there too; one that
        the log had left stays as evidence until the store is released.
        """
        if self._newest is None or (self.quarantine is not None and not self._continues_anchor):
            return None
        return anchors.Anchor(store_id=self.store_id, size=self.head.size, leaf=self._newest, root=self.head.root)


def read_meta(store: Store) -> dict[str, object]:
    return {str(name): value for name, value in store.rows("SELECT name, value FROM meta")}


def require_own(meta: dict[str, object], protector: Protector, place: str) -> None:
    mac = meta.get("mac")
    if not isinstance(mac, bytes) or not hmac.compare_digest(mac, protector.meta_mac(meta)):
        raise IntegrityError(f"the facts of {place} about itself were changed", hint="restore it from a backup")


def _read_head(store: Store, keys: sealing.Keys, store_id: str) -> tuple[Head, bool]:
    row = store.row("SELECT size, range, root, time, quarantine, mac FROM head")
    if row is not None:
        size, compact, root, moment, quarantine, mac = row
        if not isinstance(size, int) or not isinstance(moment, int):
            size, moment = 0, 0
        if isinstance(compact, bytes) and isinstance(root, bytes) and isinstance(mac, bytes):
            verdict = quarantine if isinstance(quarantine, str) else None
            head = Head(size=size, range=compact, root=root, time=moment, quarantine=verdict)
            if hmac.compare_digest(mac, head.mac(keys.head, store_id)):
                return head, True
            return head, False
    return Head(size=store.integer("SELECT max(seq) FROM record"), range=b"", root=b""), False
