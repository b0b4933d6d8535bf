"""A store in which nothing changes without its record.

Every read sees a store whose head and anchor were checked; every change commits rows, leaf and head together and then
replaces the anchor, all inside the writers' lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tokenctl import files
from tokenctl.audit import anchor as anchors
from tokenctl.audit.actor import Actor
from tokenctl.audit.tree import CompactRange, Head
from tokenctl.backends.local import root_places, root_secret, sealing
from tokenctl.backends.local.view import FACTS, Change, View, read_meta, require_own
from tokenctl.config import Places
from tokenctl.errors import AccessDenied, IntegrityError, NotFound, TemporarilyUnavailable, TokenctlError
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event
from tokenctl.secret import Secret
from tokenctl.store import lock
from tokenctl.store.connection import Store, refuse_network
from tokenctl.store.protection import Protector

BATCH_SECONDS = 0.1  # how long one change of many holds the lock
_TRIES = 5  # at a store that others exchange, or whose root secret they rotate, meanwhile
_PAUSE = 0.02  # seconds
_ROOT_FACTS = ("root_check", "root_place", "root_version")  # sorted


class Opened(NamedTuple):
    """A store, and what was needed to believe it.

    Attributes:
        file: Device and number of its file: another one may come to stand in its place.
        check: What its root secret was checked against.
        facts: What the store says of its root secret: it may be moved or rotated meanwhile.
        unsettled: Whether the root secret still lies in the slot of a new one.
    """

    store: Store
    keys: sealing.Keys
    store_id: str
    file: tuple[int, int]
    check: bytes
    facts: tuple[object, ...]
    place: root_places.Place
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
        self.notice = notice
        self.warn = warn
        self._started = _elapsed()
        self._opened: Opened | None = None
        self._left_unsettled = False
        self._broken = False
        self._warned = False

    def recorded(self) -> tuple[str, object] | None:
        """Return what the store says of its id and of its root secret's place, not proved by that; ``None`` for no store.

        Raises:
            IntegrityError, InvalidConfiguration, TemporarilyUnavailable: the file is no store, or cannot be read.
        """
        store = Store.open(self.path, only_look=self.only_looks)
        if store is None:
            return None
        try:
            meta = read_meta(store)
        finally:
            store.close()
        return str(meta.get("store_id")), meta.get("root_place")

    def absent(self) -> NotFound:
        """Return what a verb raises that needs a store where there is none (exit 5)."""
        return NotFound(f"profile {self._profile} has no store", hint="the first issue makes it")

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

    def moved(self, place: root_places.Place) -> None:
        """Learn that the root secret lies elsewhere now."""
        assert self._opened is not None
        self._opened = self._opened._replace(place=place, facts=_root_facts(self._opened.store), unsettled=False)

    def rekeyed(self, keys: sealing.Keys, root: Secret) -> None:
        """Learn that the root secret is another one, which lies in the slot of a new one, and let it take its own."""
        assert self._opened is not None
        check, facts = sealing.check_value(root, self._opened.store_id), _root_facts(self._opened.store)
        self._opened = self._opened._replace(keys=keys, root=root, check=check, facts=facts, unsettled=True)
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
                if _root_facts(opened.store) == opened.facts:
                    self._tell_of_anchor(view)
                    yield view
                    return
            self.close()  # the root secret was moved or rotated meanwhile
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
        """Whether what was opened before the lock was taken still stands there, its root secret the same in the same place."""
        opened = self._opened
        return opened is not None and _file_at(self.path) == opened.file and _root_facts(opened.store) == opened.facts

    def _settle(self) -> None:
        """Finish what a rotation of the root secret that died has left; called under the lock."""
        opened = self._opened
        if opened is not None and opened.unsettled and not opened.store.read_only and not self._left_unsettled:
            self.whereabouts.hurry()
            try:
                # Another command may have finished it since the store was opened.
                if root_secret.unlock(opened.place, opened.check, opened.store_id, self.shown_path).unsettled:
                    opened.place.settle(lambda root: root_secret.fits(root, opened.check, opened.store_id))
            except TokenctlError as error:
                self._left_unsettled = True  # the next command tries again
                self.warn(f"the new root secret does not lie at {opened.place.shown} yet: {error.message}")
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
            self.warn_left(what)

    def warn_left(self, what: str) -> None:
        """Warn that another process keeps in the store's files what a change overwrote."""
        self.warn(f"{what} lies in the store's log until the last other process closes the store")

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
            self.warn(f"the anchor {self.shown(self.anchor_path)} was not written: {files.cause_of(error)}")

    def _tell_of_anchor(self, view: View) -> None:
        if view.anchor is None and not self._warned and view.head.size > 1:
            self._warned = True
            self.warn(f"no anchor at {self.shown(self.anchor_path)}: the next change makes it anew")

    def _open(self) -> Opened | None:
        if self._opened is None:
            file = _file_at(self.path)  # before it is opened: one that is exchanged in between is then seen to be another
            store = Store.open(self.path, only_look=self.only_looks)
            if store is None:
                return self._nothing()
            try:
                self._opened = self._believe(store, file)
            except BaseException:
                store.close()
                raise
            if store.read_only and not self.only_looks:
                self.warn("the store's medium is read-only or full: nothing can be changed or recorded")
        return self._opened

    def _nothing(self) -> Opened | None:
        """Return nothing where no store was ever made; one that its anchor still speaks of does not pass for that (exit 10)."""
        if self.only_looks or anchors.read(self.anchor_path) is None:
            return None
        if os.path.lexists(self.path):  # it was made meanwhile
            return self._open()
        raise IntegrityError(
            f"the store {self.shown_path} is gone, but its anchor is there",
            hint=f"restore the store, or begin anew: rm {self.shown(self.anchor_path)}", reason="store_gone",
        )  # fmt: skip

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
            facts = tuple(meta[name] for name in _ROOT_FACTS)
            return Opened(store, keys, store_id, file, check, facts, place, root, unsettled)
        raise _restless()

    def _create(self) -> None:
        self._nothing()
        refuse_network(os.path.dirname(self.path))
        root, made = root_places.make_root(self.whereabouts.path)
        store, store_id = Store.create(self.path), new_id(self.clock)
        keys = sealing.derive(root, sealing.FIRST_VERSION)
        try:
            self._fill(store, keys, root, store_id)
        except BaseException:
            store.close()
            raise
        store = store.adopt(self.path)
        place = root_secret.place_named("file", self.whereabouts, store_id)
        check, facts = sealing.check_value(root, store_id), _root_facts(store)
        self._opened = Opened(store, keys, store_id, _file_at(self.path), check, facts, place, root, unsettled=False)
        verb = "made a store; root secret:" if made else "made a store; found its root secret:"
        self.notice(f"{verb} {place.shown} (0600)")

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


def _root_facts(store: Store) -> tuple[object, ...]:
    """Return what the store says of its root secret, by the names of ``_ROOT_FACTS``."""
    sql = "SELECT value FROM meta WHERE name IN ('root_check', 'root_place', 'root_version') ORDER BY name"
    return tuple(row[0] for row in store.rows(sql))


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
