"""Restoring a backup: a copy that is examined as a stranger's, changed while nobody else sees it, and then put in place.

What happened after the backup is not in it. So its tokens are suspended, what the present store still knows of revocations
is carried over, and the record of the restoring says which records are lost, as far as the anchor or the present store tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tokenctl import files
from tokenctl.audit import anchor as anchors
from tokenctl.audit.tree import CompactRange
from tokenctl.audit.verify import verify
from tokenctl.backends.local import inheriting, moving_root, root_secret, sealing
from tokenctl.backends.local.batches import Known
from tokenctl.backends.local.journal import FACTS, Change, Journal, View, read_meta, require_own
from tokenctl.backends.local.suspending import Suspending
from tokenctl.backends.local.terms import Terms, terms_of
from tokenctl.errors import AccessDenied, Conflict, IntegrityError
from tokenctl.formats.archive import Manifest
from tokenctl.model.identifier import is_id, new_id
from tokenctl.model.record import Event
from tokenctl.model.token import Reason
from tokenctl.secret import Secret
from tokenctl.store import copies, lock
from tokenctl.store.connection import Store, refuse_network
from tokenctl.store.rows import Protector

_CHUNK = 200  # tokens read at once
_NOTE = "restored from a backup: whether it was revoked since is not known"
_HARDEST = Terms(None, None, keep_children=False)


class FoundRoot(NamedTuple):
    """A store's root secret and its place here; ``lacking`` where it is in the backup alone and is to be put there."""

    root: Secret
    place: root_secret.Place
    lacking: bool


class Backup(NamedTuple):
    """A backup that checks out: its store, what opens it, and the place of its root secret that it records."""

    store: Store
    keys: sealing.Keys
    manifest: Manifest
    found: FoundRoot
    recorded_place: str

    @property
    def store_id(self) -> str:
        return self.manifest.store_id


class Lost(NamedTuple):
    """The records that the backup lacks: numbers of the first and the last; ``None`` where nothing tells.

    Nothing is lost where the last is before the first.
    """

    first: int | None
    last: int | None

    @property
    def records(self) -> int | None:
        return None if self.first is None or self.last is None else max(self.last - self.first + 1, 0)

    def __str__(self) -> str:
        if self.records is None:
            return "lost unknown"
        return f"lost {self.first} to {self.last}" if self.records else "lost none"


class Present(NamedTuple):
    """What stands where the backup is to go.

    Attributes:
        view: The present store, where it opens and its facts about itself check out.
        fault: Why it does not.
        lost: What it, or the anchor, says that the backup lacks.
        agreed: How many records both begin with; zero where that is not known.
    """

    exists: bool
    view: View | None
    fault: str | None
    lost: Lost
    agreed: int

    @property
    def loses(self) -> bool:
        """Whether a store that is there has, or may have, what the backup lacks."""
        return self.exists and (self.view is None or self.lost.records != 0)


class Done(NamedTuple):
    """What restoring did, or would do; ids of tokens and keys.

    Attributes:
        aside: Where the store before it is kept; ``None`` where there was none.
        records: How many records the store has now.
    """

    request_id: str
    lost: Lost
    suspended: int
    inherited: inheriting.Inherited
    keys: list[tuple[str, str, str]]
    fault: str | None
    quarantine: str | None
    records: int
    aside: str | None = None


@contextmanager
def room(journal: Journal) -> Iterator[str]:
    """Hold the place where a backup is examined; yield its path. A folder that was made for it and stays empty goes again."""
    directory = os.path.dirname(journal.path)
    made = []
    while not os.path.lexists(directory):
        made.append(directory)
        directory = os.path.dirname(directory)
    files.make_directory(os.path.dirname(journal.path))
    refuse_network(os.path.dirname(journal.path))
    try:
        with copies.turn(journal.path, "restore", deadline=journal.lock_deadline) as path:
            yield path
    finally:
        if made and not os.path.lexists(journal.path):
            _unmake(made)


def _unmake(directories: list[str]) -> None:
    with suppress(OSError):  # somebody put something there meanwhile
        os.unlink(os.path.join(directories[0], "restore.lock"))
        for directory in directories:
            os.rmdir(directory)


def examine(journal: Journal, path: str, manifest: Manifest, root: Secret | None) -> Backup:
    """Open the store of a backup and check all of it: nothing that it says is believed before.

    Raises:
        AccessDenied: its root secret is neither here nor in it (exit 4).
        Conflict: another root secret lies here (exit 6).
        InvalidConfiguration: made by a newer tokenctl (exit 9).
        IntegrityError: it does not check out (exit 10).
    """
    store = copies.examine(path)
    try:
        return _examined(journal, store, manifest, root)
    except BaseException:
        store.close()
        raise


def _examined(journal: Journal, store: Store, manifest: Manifest, root: Secret | None) -> Backup:
    damage = store.damage()
    if damage:
        raise _unsound(f"the file is damaged: {damage[0]}")
    meta = read_meta(store)
    store_id = str(meta.get("store_id"))
    if not meta.keys() >= FACTS or not is_id(store_id) or store_id != manifest.store_id:
        raise _unsound("its facts about itself are not those of its manifest")
    found = _find_root(journal, meta, store_id, root)
    version = meta["root_version"]
    keys = sealing.derive(found.root, version if isinstance(version, int) else sealing.FIRST_VERSION)
    require_own(meta, Protector(key=keys.row, store_id=store_id), "the store in the backup")
    with store.transaction(write=False):
        view = View(store, keys, store_id, journal.clock, None)
        report = verify(store, view.rows, view.head, head_intact=view.head_intact, judged=None, anchored=False)
        if not report.sound:
            raise _unsound(report.flaws[0])
        if (view.head.size, view.head.root.hex()) != (manifest.records, manifest.root):
            raise _unsound("its log is not the one of its manifest")
    return Backup(store, keys, manifest, found, str(meta["root_place"]))


def _unsound(why: str) -> IntegrityError:
    return IntegrityError(f"the store in the backup does not check out: {why}", hint="take another backup")


def _find_root(journal: Journal, meta: dict[str, object], store_id: str, archived: Secret | None) -> FoundRoot:
    """Return the root secret of a store from the places where it can lie here, or else from the backup."""
    check = meta["root_check"]
    if archived is not None and not root_secret.fits(archived, check, store_id):
        raise _unsound("the root secret in it is another store's")
    first: AccessDenied | None = None
    for name in dict.fromkeys((_place_of_present(journal), meta["root_place"], "file")):
        if name is None:
            continue
        place = root_secret.place_named(name, journal.whereabouts, store_id)
        try:
            return FoundRoot(root_secret.unlock(place, check, store_id, "the store in the backup").root, place, lacking=False)
        except AccessDenied as error:
            first = first or error
        except IntegrityError as error:
            if error.reason == "root_differs":
                raise Conflict(
                    f"another root secret than the backup's lies at {place.shown}: it is not overwritten",
                    hint="restore into another profile: tokenctl -p NAME store restore FILE; or move that secret away first",
                ) from None
            if archived is None or error.reason not in root_secret.UNFIT:
                raise
    if archived is None:
        assert first is not None
        raise AccessDenied(
            f"the backup was made without the root secret, and here {first.message}",
            hint="put the root secret back, or restore a backup that holds it",
        )
    return FoundRoot(archived, root_secret.place_named("file", journal.whereabouts, store_id), lacking=True)


def _place_of_present(journal: Journal) -> object:
    """Return where the present store says that the root secret lies: it may have been moved since the backup."""
    try:
        store = Store.open(journal.path)
    except IntegrityError:
        return None
    if store is None:
        return None
    try:
        name = read_meta(store).get("root_place")
    except IntegrityError:
        return None
    finally:
        store.close()
    return name if name in root_secret.PLACES else None


@contextmanager
def present(journal: Journal, backup: Backup) -> Iterator[Present]:
    """Look at what stands where a backup is to go; nothing is changed.

    Raises:
        Conflict: another store, or the anchor of another one (exit 6).
        InvalidConfiguration: planted, too open, or made by a newer tokenctl (exit 9).
    """
    anchor = anchors.read(journal.anchor_path)
    foreign = isinstance(anchor, anchors.Anchor) and anchor.store_id != backup.store_id
    store, fault = _open_present(journal)
    if store is None:
        exists = os.path.lexists(journal.path)
        if foreign and not exists:
            raise Conflict(
                f"the anchor {journal.shown(journal.anchor_path)} speaks of another store",
                hint=f"restore into another profile, or, if that store is gone for good: rm {journal.anchor_path}",
            )
        yield Present(exists, None, fault, _lost(backup, None, None if foreign else anchor, 0), 0)
        return
    try:
        with store.transaction(write=False):
            view, agreed, fault = _believed(journal, backup, store)
            yield Present(True, view, fault, _lost(backup, view, None if foreign else anchor, agreed), agreed)
    finally:
        store.close()


def _open_present(journal: Journal) -> tuple[Store | None, str | None]:
    try:
        return Store.open(journal.path), None
    except IntegrityError as error:
        return None, error.message


def _believed(journal: Journal, backup: Backup, store: Store) -> tuple[View | None, int, str | None]:
    """Return a view of the present store and how many records it has in common, or why it is not believed."""
    try:
        meta = read_meta(store)
        store_id = meta.get("store_id")
        if isinstance(store_id, str) and is_id(store_id) and store_id != backup.store_id:
            raise Conflict(
                f"{journal.shown_path} is another store, {store_id}, than that of the backup",
                hint="restore into another profile: tokenctl -p NAME store restore FILE",
            )
        if store_id != backup.store_id or not root_secret.fits(backup.found.root, meta.get("root_check"), backup.store_id):
            return None, 0, "it is not of the same root secret"
        require_own(meta, Protector(key=backup.keys.row, store_id=backup.store_id), journal.shown_path)
        view = View(store, backup.keys, backup.store_id, journal.clock, journal.anchor_path)
        damage = store.damage()
        if damage or not view.head_intact:
            return None, 0, f"its file is damaged: {damage[0]}" if damage else view.quarantine
        return view, _agreed(backup.store, store), None
    except IntegrityError as error:
        return None, 0, error.message


def _lost(backup: Backup, view: View | None, anchor: anchors.Anchor | anchors.Damaged | None, agreed: int) -> Lost:
    ends = [view.head.size] if view is not None else []
    if isinstance(anchor, anchors.Anchor):
        if view is None:
            agreed = min(anchor.size, backup.manifest.records)
            leaf = backup.store.value("SELECT hash FROM record WHERE seq = ?", anchor.size)
            if leaf is not None and leaf != anchor.leaf:
                return Lost(None, None)  # another branch of the same log: where they part is not known
        ends.append(anchor.size)
    return Lost(agreed + 1, max(ends)) if ends else Lost(None, None)


def _agreed(one: Store, other: Store) -> int:
    """Return how many records two logs begin with together: what was said once never changes, so halving finds it."""
    sql = "SELECT hash FROM record WHERE seq = ?"
    low, high = 0, min(store.integer("SELECT max(seq) FROM record") for store in (one, other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.value(sql, middle) == other.value(sql, middle):
            low = middle
        else:
            high = middle - 1
    return low


def rehearse(journal: Journal, backup: Backup, *, reason: str | None, keep_active: bool) -> Done:
    """Do everything in the copy, which is to be thrown away, and say what came of it."""
    with present(journal, backup) as there:
        return _change(journal, backup, there, reason=reason, keep_active=keep_active)[0]


def carry_out(journal: Journal, backup: Backup, *, reason: str | None, keep_active: bool, replacing: bool) -> Done:
    """Let the store of a backup be the store; whoever comes in between sees the one before or this one, whole.

    Args:
        replacing: Whether a store may be replaced that has what the backup lacks.

    Raises:
        Conflict: such a store appeared meanwhile (exit 6).
        TemporarilyUnavailable: locked, busy or full (exit 7); the present store stands as it was.
    """
    directory = os.path.dirname(journal.path)
    with lock.exclusive(os.path.join(directory, "store.lock"), deadline=journal.lock_deadline):
        with present(journal, backup) as there:
            if there.loses and not replacing:
                raise Conflict("another tokenctl changed the store meanwhile", hint="run again")
            done, anchor = _change(journal, backup, there, reason=reason, keep_active=keep_active)
            between = _anchor_of_both(backup, there)
        if backup.found.lacking:
            backup.found.place.write(backup.found.root)
        aside: str | None = None
        if there.exists and copies.is_readable(journal.path):
            aside = _keep_aside(journal, there)
            if between is not None:
                journal.write_anchor(between)
            copies.replace_content(journal.path, backup.store)
        else:
            aside = copies.keep_bytes_aside(journal.path) if there.exists else None
            copies.put_in_place(journal.path, backup.store)
        if anchor is not None:
            journal.write_anchor(anchor)
    return done._replace(aside=aside)


def _keep_aside(journal: Journal, there: Present) -> str:
    if there.view is None:
        return copies.keep_bytes_aside(journal.path)
    head = there.view.head
    return copies.keep_aside(journal.path, f"replaced-{head.size}-{head.root.hex()[:8]}")


def _change(
    journal: Journal, backup: Backup, there: Present, *, reason: str | None, keep_active: bool
) -> tuple[Done, anchors.Anchor | None]:
    """Bring the copy into the state that it is to have, in one transaction; return what was done and its anchor."""
    store = backup.store
    with store.transaction(write=True):
        store.migrate()
        change = Change(store, backup.keys, backup.store_id, journal.clock, None, journal.actor)
        request_id = new_id(journal.clock)
        parameters: dict[str, object] = {
            "records": backup.manifest.records, "first_lost": there.lost.first, "last_lost": there.lost.last,
            "keep_active": keep_active,
        }  # fmt: skip
        change.append(
            Event(
                operation="store.restore", target=backup.store_id, outcome=str(there.lost), reason=reason, request_id=request_id,
                parameters=parameters,
            )
        )  # fmt: skip
        if backup.found.place.name != backup.recorded_place:
            moved = moving_root.told(backup.recorded_place, backup.found.place.name)
            change.append(Event(operation=moving_root.OPERATION, target=backup.store_id, reason=moved, request_id=request_id))
            change.write_fact("root_place", backup.found.place.name)
        inherited = inheriting.inherit(change, there.view, request_id, suspensions=keep_active)
        suspended = 0 if keep_active else _suspend_living(change, request_id)
        keys = [(key.row.kid, key.row.alg, key.row.state) for key in change.rows.every_key()]
        change.write_head()
    done = Done(
        request_id=request_id, lost=there.lost, suspended=suspended, inherited=inherited, keys=keys, fault=there.fault,
        quarantine=change.quarantine, records=change.head.size,
    )  # fmt: skip
    return done, change.anchor_of()


def _suspend_living(change: Change, request_id: str) -> int:
    """Suspend every token that may be accepted again, until somebody lifts it; return how many."""
    deed = Suspending(Reason(note=_NOTE, request_id=request_id), duration=None, then=None, keep_children=False)
    sql = "SELECT id FROM token WHERE revoked_at IS NULL AND expires_at > ? ORDER BY rowid"
    living = [str(identifier) for (identifier,) in change.store.rows(sql, change.now)]
    suspended = 0
    for start in range(0, len(living), _CHUNK):
        chunk = living[start : start + _CHUNK]
        known = Known(change, chunk)
        for identifier in chunk:
            read = known.get(identifier)
            if read is not None and terms_of(read[0].row) != _HARDEST:
                suspended += deed.settle(change, known, identifier).outcome.outcome == "suspended"
        known.flush()
    return suspended


def _anchor_of_both(backup: Backup, there: Present) -> anchors.Anchor | None:
    """Return an anchor that holds for the present store and for the one to come, so that no reader in between is told that
    one of them is an old copy; ``None`` where the present store is one, and stays denied.
    """
    if there.view is None or there.view.quarantine is not None or there.view.anchor is None or not there.agreed:
        return None
    tree, leaf = CompactRange(), b""
    for (stored,) in backup.store.rows("SELECT hash FROM record WHERE seq <= ? ORDER BY seq", there.agreed):
        assert isinstance(stored, bytes)
        leaf = stored
        tree.append(leaf)
    return anchors.Anchor(store_id=backup.store_id, size=there.agreed, leaf=leaf, root=tree.root())
