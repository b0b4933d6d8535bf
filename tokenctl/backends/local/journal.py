"""A store in which nothing changes without its record.

Every read sees a store whose head and anchor were checked; every change commits rows, leaf and head together and then
replaces the anchor, all inside the writers' lock. A store that does not check out is quarantined: it can be read, revoked
from and audited, but nothing is issued and nothing is called active.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tokenctl import files
from tokenctl.audit import anchor as anchors
from tokenctl.audit.actor import Actor
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.backends.local import root_secret, sealing
from tokenctl.config import Places
from tokenctl.errors import AccessDenied, IntegrityError, TemporarilyUnavailable, TokenctlError
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event, Record, body_of, canonical
from tokenctl.secret import Secret
from tokenctl.store import lock
from tokenctl.store.connection import Store, refuse_network
from tokenctl.store.rows import Protector, Rows

_INSERT_RECORD = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
BATCH_SECONDS = 0.1  # how long one change of many holds the lock
FACTS = {"store_id", "root_place", "root_check", "root_version"}  # names in meta without which no store is believed
_TRIES = 5  # at a store that others exchange, or whose root secret they rotate, meanwhile
_PAUSE = 0.02  # seconds


class View:
    """A checked store inside one transaction.

    Attributes:
        clock: The system clock, milliseconds UTC.
        now: max(clock, time of the newest record): rights end by it.
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

    def __init__(
        self, store: Store, keys: sealing.Keys, store_id: str, clock: int, anchor_path: str | None, actor: Actor
    ) -> None:  # fmt: skip
        super().__init__(store, keys, store_id, clock, anchor_path)
        self.actor = actor
        self.actor_name = str(actor)
        self._actor_facts = canonical(actor.facts()).decode("ascii")
        self._range = self._range_to_continue()
        self._newest: bytes | None = None
        self.head_changed = False
        self.afterwards: Callable[[], None] | None = None  # done once it is committed, still under the lock

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


class Opened(NamedTuple):
    """A store, and what was needed to believe it.

    Attributes:
        file: Device and number of its file: another one may come to stand in its place.
        check: What its root secret was checked against: it may be rotated meanwhile.
        unsettled: Whether the root secret still lies in the slot of a new one.
    """

    store: Store
    keys: sealing.Keys
    store_id: str
    file: tuple[int, int]
    check: bytes
    place: root_secret.Place
    root: Secret
    unsettled: bool


class Journal:
    """The store of one profile, opened when it is first needed.

    Args:
        whereabouts: Where its root secret can lie.
        clock: Milliseconds since the epoch; the one reading of this command.
        notice: Says a line that ``--quiet`` does not hide.
        warn: Says a warning.
    """

    def __init__(
        self, places: Places, profile: str, *, whereabouts: root_secret.Whereabouts, clock: int, actor: Actor,
        notice: Callable[[str], None], warn: Callable[[str], None], lock_deadline: float = lock.LOCK_DEADLINE,
    ) -> None:  # fmt: skip
        self.path = places.store(profile)
        self.shown_path = places.shown(self.path)
        self.clock = clock
        self.actor = actor
        self.lock_deadline = lock_deadline
        self.only_looks = False  # then nothing is changed, not even by closing
        self.anchor_path = places.anchor(profile)
        self.shown = places.shown
        self.whereabouts = whereabouts
        self._owns = places.owns
        self._profile = profile
        self._notice = notice
        self._warn = warn
        self._started = _elapsed()
        self._opened: Opened | None = None
        self._left_unsettled = False
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
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.store.close()

    @property
    def read_only(self) -> bool:
        return self._opened is not None and self._opened.store.read_only

    @property
    def opened(self) -> Opened | None:
        """The store and its root secret, where they were needed already."""
        return self._opened

    def moved(self, place: root_secret.Place) -> None:
        """Learn that the root secret lies elsewhere now."""
        assert self._opened is not None
        self._opened = self._opened._replace(place=place, unsettled=False)

    def rekeyed(self, keys: sealing.Keys, root: Secret) -> None:
        """Learn that the root secret is another one, which lies in the slot of a new one, and let it take its own."""
        assert self._opened is not None
        check = sealing.check_value(root, self._opened.store_id)
        self._opened = self._opened._replace(keys=keys, root=root, check=check, unsettled=True)
        self._settle()

    @contextmanager
    def reading(self) -> Iterator[View | None]:
        """Read in one transaction; ``None`` where no store exists yet. Nothing is made.

        Raises:
            AccessDenied, InvalidConfiguration, IntegrityError, TemporarilyUnavailable: the store cannot be read.
        """
        for _ in range(_TRIES):
            opened = self._open()
            if opened is None:
                yield None
                return
            with opened.store.transaction(write=False):
                view = View(opened.store, opened.keys, opened.store_id, self.clock, self.anchor_path)
                if view.fact("root_check") == opened.check:
                    self._tell_of_anchor(view)
                    yield view
                    return
            self.close()  # the root secret was rotated meanwhile
        raise _restless()

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
        with self.locked(create=create) as opened:
            if opened is None:
                yield None
            else:
                yield from self._change(opened, trusted=trusted)

    @contextmanager
    def locked(self, *, create: bool = False) -> Iterator[Opened | None]:
        """Hold the writers' lock over the opened store; raises as :meth:`changing`.

        The store is opened before: a keyring may ask a person for a password, and nobody else is to wait for that.
        """
        if self._broken:
            raise TemporarilyUnavailable("an earlier commit of this command failed", hint="run again")
        directory = os.path.dirname(self.path)
        if create:
            files.make_directory(directory)
        for _ in range(_TRIES):
            if self._open() is None and not create:
                yield None
                return
            with lock.exclusive(os.path.join(directory, "store.lock"), deadline=self.lock_deadline):
                if self._opened is None and not os.path.lexists(self.path):
                    self._create()
                if self._is_current():
                    assert self._opened is not None
                    self._settle()
                    yield self._opened
                    return
            self.close()
        raise _restless()

    def _is_current(self) -> bool:
        """Whether what was opened before the lock was taken still stands there, under the same root secret."""
        opened = self._opened
        if opened is None or _file_at(self.path) != opened.file:
            return False
        return opened.store.value("SELECT value FROM meta WHERE name = 'root_check'") == opened.check

    def _settle(self) -> None:
        """Finish what a rotation of the root secret that died has left; called under the lock."""
        opened = self._opened
        if opened is not None and opened.unsettled and not opened.store.read_only and not self._left_unsettled:
            try:
                opened.place.settle()
            except TokenctlError as error:
                self._left_unsettled = True  # the next command tries again
                self._warn(f"the new root secret does not lie at {opened.place.shown} yet: {error.message}")
            else:
                self._opened = opened._replace(unsettled=False)

    def wipe(self, what: str) -> None:
        """Let nothing that a change overwrote lie in the store's files; warned of where another process keeps it there."""
        assert self._opened is not None
        try:
            with lock.exclusive(os.path.join(os.path.dirname(self.path), "store.lock"), deadline=self.lock_deadline):
                wiped = self._opened.store.truncate_log()
        except TemporarilyUnavailable:
            wiped = False
        if not wiped:
            self._warn(f"{what} lies in the store's log until the last other process closes the store")

    def _change(self, opened: Opened, *, trusted: bool) -> Iterator[Change]:
        if opened.store.read_only:
            raise TemporarilyUnavailable("the store's medium is read-only or full", hint="make it writable and run again")
        finished = False
        try:
            with opened.store.transaction(write=True):
                opened.store.migrate()
                change = Change(opened.store, opened.keys, opened.store_id, self.clock, self.anchor_path, self.actor)
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
            self.write_anchor(fresh)
        if change.afterwards is not None:
            change.afterwards()

    def write_anchor(self, anchor: anchors.Anchor) -> None:
        """Replace the anchor; where that fails, the old one stands and a warning says so."""
        try:
            anchors.write(self.anchor_path, anchor)
        except OSError as error:
            self._warn(f"the anchor {self.shown(self.anchor_path)} was not written: {files.cause_of(error)}")

    def _tell_of_anchor(self, view: View) -> None:
        if view.anchor is None and not self._warned and view.head.size > 1:
            self._warned = True
            self._warn(f"no anchor at {self.shown(self.anchor_path)}: the next change makes it anew")

    def _open(self) -> Opened | None:
        if self._opened is None:
            file = _file_at(self.path)  # before it is opened: one that is exchanged in between is then seen to be another
            store = Store.open(self.path, only_look=self.only_looks)
            if store is None:
                return None
            try:
                self._opened = self._believe(store, file)
            except BaseException:
                store.close()
                raise
            if store.read_only and not self.only_looks:
                self._warn("the store's medium is read-only or full: nothing can be changed or recorded")
        return self._opened

    def _believe(self, store: Store, file: tuple[int, int]) -> Opened:
        """Read the root secret from its recorded place, and check the store's facts with it."""
        before: dict[str, object] | None = None
        for _ in range(_TRIES):
            meta = read_meta(store)
            if not meta.keys() >= FACTS:
                raise IntegrityError(f"{self.shown_path} lacks facts about itself", hint="restore it from a backup")
            store_id, check, version = str(meta["store_id"]), meta["root_check"], meta["root_version"]
            place = root_secret.place_named(meta["root_place"], self.whereabouts, store_id)
            try:
                root, unsettled = root_secret.unlock(place, check, store_id, self.shown_path)
            except (AccessDenied, IntegrityError) as error:
                # Somebody may have moved or rotated it between the two readings; one look more costs little.
                if error.reason not in root_secret.MAY_BE_MOVING or meta == before:
                    raise
                before = meta
                time.sleep(_PAUSE)
                continue
            keys = sealing.derive(root, version if isinstance(version, int) else sealing.FIRST_VERSION)
            require_own(meta, Protector(key=keys.row, store_id=store_id), self.shown_path)
            assert isinstance(check, bytes)
            return Opened(store, keys, store_id, file, check, place, root, unsettled)
        raise _restless()

    def _create(self) -> None:
        if anchors.read(self.anchor_path) is not None:
            raise IntegrityError(
                f"the store {self.shown_path} is gone, but its anchor is there",
                hint=f"restore the store, or begin anew: rm {self.shown(self.anchor_path)}",
            )
        refuse_network(os.path.dirname(self.path))
        root, made = root_secret.make_root(self.whereabouts.path)
        store, store_id = Store.create(self.path), new_id(self.clock)
        keys = sealing.derive(root, sealing.FIRST_VERSION)
        try:
            self._fill(store, keys, root, store_id)
        except BaseException:
            store.close()
            raise
        store = store.adopt(self.path)
        place = root_secret.place_named("file", self.whereabouts, store_id)
        check = sealing.check_value(root, store_id)
        self._opened = Opened(store, keys, store_id, _file_at(self.path), check, place, root, unsettled=False)
        verb = "made a store; root secret:" if made else "made a store; found its root secret:"
        self._notice(f"{verb} {place.shown} (0600)")

    def _fill(self, store: Store, keys: sealing.Keys, root: Secret, store_id: str) -> None:
        with store.transaction(write=True):
            store.migrate()
            meta: dict[str, object] = {
                "store_id": store_id, "created_at": self.clock, "root_place": "file", "root_version": keys.version,
                "root_check": sealing.check_value(root, store_id),
            }  # fmt: skip
            protector = Protector(key=keys.row, store_id=store_id)
            for name, value in (meta | {"mac": protector.meta_mac(meta)}).items():
                store.run("INSERT INTO meta VALUES (?, ?)", name, value)
            empty = Head(size=0, range=b"", root=CompactRange().root())
            store.run(
                "INSERT INTO head VALUES (1, 0, ?, ?, 0, NULL, ?)", empty.range, empty.root, empty.mac(keys.head, store_id)
            )
            change = Change(store, keys, store_id, self.clock, self.anchor_path, self.actor)
            change.append(Event(operation="store.create", target=store_id))
            change.write_head()


def _restless() -> TemporarilyUnavailable:
    return TemporarilyUnavailable("the store or its root secret is exchanged by others all the time", hint="run again")


def _file_at(path: str) -> tuple[int, int]:
    """Return device and number of a file; zeros for none."""
    try:
        facts = os.lstat(path)
    except OSError:  # opening it tells why
        return 0, 0
    return facts.st_dev, facts.st_ino


def _elapsed() -> float:
    """Return seconds that nobody can set, those that the machine slept included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


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
