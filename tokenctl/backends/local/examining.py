"""What is believed before anything is restored: a backup, checked as a stranger's, and what stands where it is to go."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tokenctl.audit import anchor as anchors
from tokenctl.audit.verify import Extent, verify
from tokenctl.backends.local import root_places, root_secret, sealing
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.view import FACTS, View, read_meta, require_own
from tokenctl.errors import AccessDenied, Conflict, IntegrityError, TemporarilyUnavailable
from tokenctl.formats.archive import Manifest
from tokenctl.model.identifier import is_id
from tokenctl.secret import Secret
from tokenctl.store import copies
from tokenctl.store.connection import Store
from tokenctl.store.protection import Protector


class FoundRoot(NamedTuple):
    """A store's root secret and its place here; ``lacking`` where it is in the backup alone and is to be put there."""

    root: Secret
    place: root_places.Place
    lacking: bool


class Backup(NamedTuple):
    """A backup that checks out: its store, what opens it, and the place of its root secret that it records.

    Attributes:
        archived: The root secret that is in it; ``None`` where it was left out.
    """

    store: Store
    keys: sealing.Keys
    manifest: Manifest
    found: FoundRoot
    recorded_place: str
    archived: Secret | None

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
    return Backup(store, keys, manifest, found, str(meta["root_place"]), root)


def require_same_root(journal: Journal, backup: Backup) -> None:
    """Look again where the root secret lies, under the writers' lock: it may have been rotated or moved since.

    Raises:
        AccessDenied: it is out of reach now (exit 4).
        TemporarilyUnavailable: it does not lie where it was found (exit 7).
    """
    journal.whereabouts.hurry()
    before, now = backup.found, None
    with suppress(Conflict):
        now = _find_root(journal, read_meta(backup.store), backup.store_id, backup.archived)
    if now is None or (now.root, now.place.name, now.lacking) != (before.root, before.place.name, before.lacking):
        raise TemporarilyUnavailable(
            "the root secret does not lie where it was found any more: nothing was restored", hint="run again"
        )


def _unsound(why: str) -> IntegrityError:
    return IntegrityError(f"the store in the backup does not check out: {why}", hint="take another backup")


def _find_root(journal: Journal, meta: dict[str, object], store_id: str, archived: Secret | None) -> FoundRoot:
    """Return the root secret of a store from the places where it can lie here, or else from the backup.

    Where a store is here, a place of it that is out of reach ends the search: no second secret is written beside it.
    """
    check, here = meta["root_check"], os.path.lexists(journal.path)
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
            # A credential that is missing in this process is there for another one.
            if here and (error.reason not in root_places.UNFIT or name == "credential"):
                raise _out_of_reach(journal, error, name) from None
            first = first or error
        except IntegrityError as error:
            if error.reason == "root_differs":
                raise Conflict(
                    f"another root secret than the backup's lies at {place.shown}: it is not overwritten",
                    hint="restore into another profile: tokenctl -p NAME store restore FILE; or move that secret away first",
                ) from None
            if archived is None or error.reason not in root_places.UNFIT:
                raise
    if archived is None:
        assert first is not None
        raise AccessDenied(
            f"the backup was made without the root secret, and here {first.message}",
            hint="put the root secret back, or restore a backup that holds it",
        )
    return FoundRoot(archived, root_secret.place_named("file", journal.whereabouts, store_id), lacking=True)


def _out_of_reach(journal: Journal, error: AccessDenied, name: object) -> AccessDenied:
    reach = "unlock the keyring, or run this in the session that has it" if name == "keyring" else error.hint
    aside = shlex.join(("mv", journal.path, f"{journal.path}{copies.ASIDE}"))
    return AccessDenied(error.message, hint=f"{reach}; where that secret is gone for good: {aside}", reason=error.reason)


def _place_of_present(journal: Journal) -> object:
    """Return where the present store says that the root secret lies: it may have been moved since the backup."""
    try:
        recorded = journal.recorded()
    except IntegrityError:
        return None
    return recorded[1] if recorded is not None and recorded[1] in root_secret.PLACES else None


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
        report = verify(store, view.rows, view.head, head_intact=True, judged=None, anchored=False, extent=Extent(state=False))
        if not report.sound:
            return None, 0, f"its log does not check out: {report.flaws[0]}"
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
