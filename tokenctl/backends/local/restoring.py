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
from tokenctl.audit import verified
from tokenctl.audit.tree import CompactRange
from tokenctl.backends.local import inheriting, log_key, moving_root
from tokenctl.backends.local.batches import Known
from tokenctl.backends.local.examining import Backup, Lost, Present, present, require_same_root
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.suspending import Suspending
from tokenctl.backends.local.terms import Terms, terms_of
from tokenctl.backends.local.view import Change
from tokenctl.errors import Conflict, IntegrityError
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event
from tokenctl.model.token import Reason
from tokenctl.store import copies, lock
from tokenctl.store.connection import refuse_network

_CHUNK = 200  # tokens read at once
_NOTE = "restored from a backup: whether it was revoked since is not known"
_HARDEST = Terms(None, None, keep_children=False)


class Done(NamedTuple):
    """What restoring did, or would do; ids of tokens and keys.

    Attributes:
        believed: Whether the present store told what was denied since.
        behind: What the anchor says against that store, which is an old copy then; ``None`` where they agree.
        aside: Where the store before it is kept; ``None`` where there was none.
        log_origin: The origin of its log, as before; ``None`` where no head of it was ever signed.
        unfit: The size of the largest log of which a signed head has left the store before, and which this one does not
            continue; ``None`` where that is not known of any.
        records: How many records the store has now.
    """

    request_id: str
    lost: Lost
    suspended: int
    inherited: inheriting.Inherited
    keys: list[tuple[str, str, str]]
    fault: str | None
    believed: bool
    behind: str | None
    quarantine: str | None
    records: int
    aside: str | None = None
    log_origin: str | None = None
    unfit: int | None = None


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


def rehearse(journal: Journal, backup: Backup, *, reason: str | None, keep_active: bool) -> Done:
    """Do everything in the copy, which is to be thrown away, and say what came of it."""
    with present(journal, backup) as there:
        return _change(journal, backup, there, reason=reason, keep_active=keep_active)[0]


def carry_out(journal: Journal, backup: Backup, *, reason: str | None, keep_active: bool, replacing: bool) -> Done:
    """Let the store of a backup be the store; whoever comes in between sees the one before or this one, whole.

    Args:
        replacing: Whether a store may be replaced that has what the backup lacks.

    Raises:
        AccessDenied: the root secret came out of reach meanwhile (exit 4).
        Conflict: such a store appeared meanwhile (exit 6).
        TemporarilyUnavailable: locked, busy or full, or the root secret was changed meanwhile (exit 7).
    """
    directory = os.path.dirname(journal.path)
    with lock.exclusive(os.path.join(directory, "store.lock"), deadline=journal.lock_deadline):
        require_same_root(journal, backup)
        with present(journal, backup) as there:
            if there.loses and not replacing:
                raise Conflict("another tokenctl changed the store meanwhile", hint="run again")
            done, anchor = _change(journal, backup, there, reason=reason, keep_active=keep_active)
            between = _anchor_of_both(backup, there)
        if backup.found.lacking:
            backup.found.place.write(backup.found.root)
        verified.forget(journal.anchor_path)  # before: what is killed behind the exchange must not leave it
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
        verified.forget(journal.anchor_path)  # and behind it: a check that began before may have written it meanwhile
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
    left = there.view.left_anchor if there.view is not None else None
    if keep_active and there.exists and (there.view is None or left is not None):
        raise IntegrityError(
            f"what was denied since cannot be taken over, {left or there.fault}: revoked tokens would be accepted again",
            hint="restore without --keep-active, then lift what you know: tokenctl revoke --lift",
        )
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
        inherited = inheriting.inherit(change, there.view, there.agreed, request_id)
        origin = log_key.inherit(change, there.view, request_id)
        suspended = 0 if keep_active else _suspend_living(change, request_id)
        keys = [(key.row.kid, key.row.alg, key.row.state) for key in change.rows.every_key()]
        change.write_head()
    done = Done(
        request_id=request_id, lost=there.lost, suspended=suspended, inherited=inherited, keys=keys, fault=there.fault,
        believed=there.view is not None, behind=left, quarantine=change.quarantine, records=change.head.size,
        log_origin=origin, unfit=_unfit(there),
    )  # fmt: skip
    return done, change.anchor_of()


def _unfit(there: Present) -> int | None:
    exported = log_key.exported(there.view) if there.view is not None else None
    return exported if exported is not None and exported > there.agreed else None


def _suspend_living(change: Change, request_id: str) -> int:
    """Suspend every token that may be accepted again, until somebody lifts it; return how many were not suspended before.

    What was suspended before stays so under its own terms; only a lift at its end is taken from it, with a record under
    another id: who lifts what the restoring suspended is not to lift that too.
    """
    deed, harder = (
        Suspending(Reason(note=_NOTE, request_id=named), duration=None, then=None, keep_children=False)
        for named in (request_id, new_id(change.clock))
    )
    suspended = 0
    for chunk in change.rows.in_chunks("revoked_at IS NULL AND expires_at > ?", change.now, size=_CHUNK):
        known = Known(change, chunk)
        for identifier in chunk:
            read = known.get(identifier)
            terms = terms_of(read[0].row) if read is not None else None
            if terms is None:
                suspended += deed.settle(change, known, identifier).outcome.outcome == "suspended"
            elif terms.then == "lift" or terms.keep_children:
                harder.settle(change, known, identifier)
        known.flush()
    return suspended


def _anchor_of_both(backup: Backup, there: Present) -> anchors.Anchor | None:
    """Return an anchor that holds for the present store and for the one to come, so that no reader in between is told that
    one of them is an old copy; ``None`` where the present store is one, and stays denied.
    """
    if there.view is None or there.view.left_anchor is not None or there.view.anchor is None or not there.agreed:
        return None
    tree, leaf = CompactRange(), b""
    for (stored,) in backup.store.rows("SELECT hash FROM record WHERE seq <= ? ORDER BY seq", there.agreed):
        assert isinstance(stored, bytes)
        leaf = stored
        tree.append(leaf)
    return anchors.Anchor(store_id=backup.store_id, size=there.agreed, leaf=leaf, root=tree.root())
