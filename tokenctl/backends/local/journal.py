"""A store in which nothing changes without its record.

Every read sees a store whose head and anchor were checked; every change commits rows, leaf and head together and then
replaces the anchor, all inside the writers' lock. A store that does not check out is quarantined: it can be read, revoked
from and audited, but nothing is issued and nothing is called active.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tokenctl import files
from tokenctl.audit import anchor as anchors
from tokenctl.audit.actor import Actor
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.backends.local import sealing
from tokenctl.config import Places
from tokenctl.errors import IntegrityError, TemporarilyUnavailable
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event, Record, body_of, canonical
from tokenctl.secret import Secret
from tokenctl.store import lock
from tokenctl.store.connection import Store, refuse_network
from tokenctl.store.rows import Protector, Rows

_INSERT_RECORD = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
BATCH_SECONDS = 0.1  # how long one change of many holds the lock
_FACTS = {"store_id", "root_place", "root_check"}  # names in meta without which no store is believed


class View:
    """A checked store inside one transaction.

    Attributes:
        clock: The system clock, milliseconds UTC.
        now: max(clock, time of the newest record): rights end by it.
        quarantine: Why nothing here may be called active; ``None`` where all checks out.
    """

    def __init__(self, store: Store, keys: sealing.Keys, store_id: str, clock: int, anchor_path: str) -> None:
        self.store = store
        self.keys = keys
        self.store_id = store_id
        # Before anything of the store, whose first reading fixes the snapshot: a commit in between must not make the
        # anchor seem ahead.
        self.anchor = anchors.read(anchor_path)
        self.rows = Rows(store, Protector(key=keys.row, store_id=store_id))
        self.head, self.head_intact = _read_head(store, keys, store_id)
        self.last_time = self.head.time if self.head_intact else 0
        self.clock = clock
        self.now = max(clock, self.last_time)
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
        if self.head.quarantine is not None:
            return self.head.quarantine
        return self._judge_anchor()

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

    def __init__(self, store: Store, keys: sealing.Keys, store_id: str, clock: int, anchor_path: str, actor: Actor) -> None:
        super().__init__(store, keys, store_id, clock, anchor_path)
        self.actor = actor
        self.actor_name = str(actor)
        self._actor_facts = canonical(actor.facts()).decode("ascii")
        self._range = self._range_to_continue()
        self._newest: bytes | None = None
        self.head_changed = False

    def _range_to_continue(self) -> CompactRange:
        if self.head_intact and self.store.integer("SELECT max(seq) FROM record") == self.head.size:
            return CompactRange.from_bytes(self.head.size, self.head.range)
        # The head cannot be believed: the log goes on from its records, in quarantine.
        rebuilt = CompactRange()
        for (leaf,) in self.store.rows("SELECT hash FROM record ORDER BY seq"):
            rebuilt.append(leaf if isinstance(leaf, bytes) else bytes(32))
        return rebuilt

    @property
    def next_seq(self) -> int:
        return self._range.size + 1

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
        )  # fmt: skip
        self._range.append(record.hash)
        self._newest = record.hash
        self.head_changed = True
        return record

    def write_records(self, records: Sequence[Record]) -> None:
        self.store.run_many(_INSERT_RECORD, records)

    def write_fact(self, name: str, value: str) -> None:
        """Write what the store says about itself; the caller appends the record that tells of it."""
        meta, protector = _read_meta(self.store), Protector(key=self.keys.row, store_id=self.store_id)
        _require_own(meta, protector, self.store.path)  # what was changed meanwhile gets no new MAC
        for fact, told in ((name, value), ("mac", protector.meta_mac(meta | {name: value}))):
            self.store.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", fact, told)

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
        tree = self._range
        self.head = Head(size=tree.size, range=tree.to_bytes(), root=tree.root(), time=self.now, quarantine=self.quarantine)
        self.store.run(
            "INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?, ?)",
            self.head.size, self.head.range, self.head.root, self.head.time, self.head.quarantine,
            self.head.mac(self.keys.head, self.store_id),
        )  # fmt: skip

    def anchor_of(self) -> anchors.Anchor | None:
        """Return the anchor after this change; none in quarantine, which an anchor made anew would hide."""
        if self._newest is None or self.quarantine is not None:
            return None
        return anchors.Anchor(store_id=self.store_id, size=self.head.size, leaf=self._newest, root=self.head.root)


class Journal:
    """The store of one profile, opened when it is first needed.

    Args:
        clock: Milliseconds since the epoch; the one reading of this command.
        notice: Says a line that ``--quiet`` does not hide.
        warn: Says a warning.
    """

    def __init__(
        self, places: Places, profile: str, *, clock: int, actor: Actor,
        notice: Callable[[str], None], warn: Callable[[str], None], lock_deadline: float = lock.LOCK_DEADLINE,
    ) -> None:  # fmt: skip
        self.path = places.store(profile)
        self.shown_path = places.shown(self.path)
        self.clock = clock
        self.actor = actor
        self.lock_deadline = lock_deadline
        self.only_looks = False  # then nothing is changed, not even by closing
        self._anchor_path = places.anchor(profile)
        self._root_path = places.root_secret(profile)
        self._shown = places.shown
        self._owns = places.owns
        self._profile = profile
        self._notice = notice
        self._warn = warn
        self._started = _elapsed()
        self._store: Store | None = None
        self._keys: sealing.Keys | None = None
        self._store_id = ""
        self._broken = False
        self._warned = False

    def time(self) -> int:
        """Return the clock as it goes on from this command's one reading, milliseconds."""
        return self.clock + int((_elapsed() - self._started) * 1000)

    def owns(self, path: str) -> bool:
        """Whether a path lies among tokenctl's own files."""
        return self._owns(path, self._profile)

    def catch_up(self) -> None:
        """Let the clock go on: what is done from here on is another step of a command that takes long."""
        self.clock, self._started = self.time(), _elapsed()

    def close(self) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            store.close()

    @property
    def read_only(self) -> bool:
        return self._store is not None and self._store.read_only

    @contextmanager
    def reading(self) -> Iterator[View | None]:
        """Read in one transaction; ``None`` where no store exists yet. Nothing is made.

        Raises:
            AccessDenied, InvalidConfiguration, IntegrityError, TemporarilyUnavailable: the store cannot be read.
        """
        if not self._open():
            yield None
            return
        assert self._store is not None
        assert self._keys is not None
        with self._store.transaction(write=False):
            view = View(self._store, self._keys, self._store_id, self.clock, self._anchor_path)
            self._tell_of_anchor(view)
            yield view

    @contextmanager
    def changing(self, *, create: bool = False, trusted: bool = False) -> Iterator[Change | None]:
        """Change the store in one durable transaction; ``None`` where no store exists and none is to be made.

        Args:
            create: Make the store, and its root secret, where there is none.
            trusted: Refuse a quarantined store.

        Raises:
            IntegrityError: quarantined, or the store does not check out (exit 10).
            TemporarilyUnavailable: locked, full or read-only (exit 7); nothing was changed.
        """
        if self._broken:
            raise TemporarilyUnavailable("an earlier commit of this command failed", hint="run again")
        directory = os.path.dirname(self.path)
        if create:
            files.make_directory(directory)
        elif not os.path.lexists(self.path):
            yield None
            return
        with lock.exclusive(os.path.join(directory, "store.lock"), deadline=self.lock_deadline):
            if not self._open() and not (create and self._create()):
                yield None
                return
            yield from self._change(trusted=trusted)

    def wipe(self, what: str) -> None:
        """Let nothing that a change overwrote lie in the store's files; warned of where another process keeps it there."""
        assert self._store is not None
        try:
            with lock.exclusive(os.path.join(os.path.dirname(self.path), "store.lock"), deadline=self.lock_deadline):
                wiped = self._store.truncate_log()
        except TemporarilyUnavailable:
            wiped = False
        if not wiped:
            self._warn(f"{what} lies in the store's log until the last other process closes the store")

    def _change(self, *, trusted: bool) -> Iterator[Change]:
        assert self._store is not None
        assert self._keys is not None
        if self._store.read_only:
            raise TemporarilyUnavailable("the store's medium is read-only or full", hint="make it writable and run again")
        finished = False
        try:
            with self._store.transaction(write=True):
                self._store.migrate()
                change = Change(self._store, self._keys, self._store_id, self.clock, self._anchor_path, self.actor)
                self._tell_of_anchor(change)
                if trusted:
                    change.require_trust()
                yield change
                change.write_head()
                finished = True
        except BaseException:
            self._broken = finished
            raise
        fresh = change.anchor_of()
        if fresh is not None:
            self._write_anchor(fresh)

    def _write_anchor(self, anchor: anchors.Anchor) -> None:
        try:
            anchors.write(self._anchor_path, anchor)
        except OSError as error:
            self._warn(f"the anchor {self._shown(self._anchor_path)} was not written: {files.cause_of(error)}")

    def _tell_of_anchor(self, view: View) -> None:
        if view.anchor is None and not self._warned and view.head.size > 1:
            self._warned = True
            self._warn(f"no anchor at {self._shown(self._anchor_path)}: the next change makes it anew")

    def _open(self) -> bool:
        if self._store is not None:
            return True
        store = Store.open(self.path, only_look=self.only_looks)
        if store is None:
            return False
        try:
            meta = _read_meta(store)
            if not meta.keys() >= _FACTS:
                raise IntegrityError(f"{self.shown_path} lacks facts about itself", hint="restore it from a backup")
            store_id, check = str(meta.get("store_id")), meta.get("root_check")
            sealing.place_of(meta.get("root_place"))
            root = sealing.read_root(self._root_path)
            if not isinstance(check, bytes) or not hmac.compare_digest(check, sealing.check_value(root, store_id)):
                raise IntegrityError(
                    f"{self._shown(self._root_path)} is not the root secret of {self.shown_path}",
                    hint="put back the one that belongs to this store",
                )
            keys = sealing.derive(root)
            _require_own(meta, Protector(key=keys.row, store_id=store_id), self.shown_path)
        except BaseException:
            store.close()
            raise
        if store.read_only and not self.only_looks:
            self._warn("the store's medium is read-only or full: nothing can be changed or recorded")
        self._store, self._keys, self._store_id = store, keys, store_id
        return True

    def _create(self) -> bool:
        if anchors.read(self._anchor_path) is not None:
            raise IntegrityError(
                f"the store {self.shown_path} is gone, but its anchor is there",
                hint=f"restore the store, or begin anew: rm {self._shown(self._anchor_path)}",
            )
        refuse_network(os.path.dirname(self.path))
        root, made = sealing.make_root(self._root_path)
        store = Store.create(self.path)
        try:
            self._store_id = new_id(self.clock)
            self._fill(store, sealing.derive(root), root)
        except BaseException:
            store.close()
            raise
        self._store = store.adopt(self.path)
        self._keys = sealing.derive(root)
        verb = "made a store; root secret:" if made else "made a store; found its root secret:"
        self._notice(f"{verb} {self._shown(self._root_path)} (0600)")
        return True

    def _fill(self, store: Store, keys: sealing.Keys, root: Secret) -> None:
        with store.transaction(write=True):
            store.migrate()
            meta: dict[str, object] = {
                "store_id": self._store_id, "created_at": self.clock, "root_place": "file", "root_version": sealing.VERSION,
                "root_check": sealing.check_value(root, self._store_id),
            }  # fmt: skip
            protector = Protector(key=keys.row, store_id=self._store_id)
            for name, value in (meta | {"mac": protector.meta_mac(meta)}).items():
                store.run("INSERT INTO meta VALUES (?, ?)", name, value)
            empty = Head(size=0, range=b"", root=CompactRange().root())
            store.run(
                "INSERT INTO head VALUES (1, 0, ?, ?, 0, NULL, ?)", empty.range, empty.root, empty.mac(keys.head, self._store_id)
            )
            change = Change(store, keys, self._store_id, self.clock, self._anchor_path, self.actor)
            change.append(Event(operation="store.create", target=self._store_id))
            change.write_head()


def _elapsed() -> float:
    """Return seconds that nobody can set, those that the machine slept included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _read_meta(store: Store) -> dict[str, object]:
    return {str(name): value for name, value in store.rows("SELECT name, value FROM meta")}


def _require_own(meta: dict[str, object], protector: Protector, place: str) -> None:
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
