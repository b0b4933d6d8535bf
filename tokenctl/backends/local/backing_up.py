"""Backing up: one state of the store in a file of its own, what it is, and the record that a backup was made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tokenctl import __version__, files
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.view import View, read_meta, require_own
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.formats.archive import Manifest
from tokenctl.model.record import Event
from tokenctl.secret import Secret
from tokenctl.store import copies
from tokenctl.store.protection import Protector

_TRIES = 5  # at a store whose root secret is rotated meanwhile


class Copy(NamedTuple):
    """One state of a store: the descriptor of a file that has no name any more, and its size in bytes.

    Attributes:
        root: The root secret, where the backup is to hold it.
        quarantine: Why the store is quarantined; ``None`` where it is not.
    """

    descriptor: int
    size: int
    manifest: Manifest
    root: Secret | None
    quarantine: str | None


@contextmanager
def copied(journal: Journal, profile: str, *, with_keys: bool) -> Iterator[Copy | None]:
    """Copy the store as it is now, without holding up any writer; ``None`` where there is none.

    Raises:
        AccessDenied: its root secret is out of reach (exit 4).
        IntegrityError: it cannot be read through (exit 10).
        TemporarilyUnavailable: no room, another backup is being made, or the root secret is rotated all the time (exit 7).
    """
    with journal.reading() as view:
        if view is None:
            yield None
            return
    with copies.turn(journal.path, "backup", deadline=journal.lock_deadline) as path:
        manifest, root, quarantine = _copy(journal, path, profile, with_keys=with_keys)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise files.unusable(path, error) from None
    try:
        yield Copy(descriptor, os.fstat(descriptor).st_size, manifest, root if with_keys else None, quarantine)
    finally:
        os.close(descriptor)


def _copy(journal: Journal, path: str, profile: str, *, with_keys: bool) -> tuple[Manifest, Secret, str | None]:
    """Write one state of the store to a path; return what it is, its root secret, and why it is quarantined.

    The copy is of another moment than the reading of the secret: one that does not fit it is made again.
    """
    for _ in range(_TRIES):
        with journal.reading() as present:
            judged, opened = present.quarantine if present is not None else None, journal.opened
        if opened is None:
            raise TemporarilyUnavailable(f"{journal.shown_path} went away", hint="run again")
        os.close(copies.create(path))
        opened.store.copy_into(path)
        copy = copies.examine(path)
        try:
            with copy.transaction(write=False):
                meta = read_meta(copy)
                if meta.get("root_check") == opened.check:
                    require_own(meta, Protector(opened.keys.row, opened.store_id), journal.shown_path)
                    view = View(copy, opened.keys, opened.store_id, journal.clock, None)
                    return _manifest(view, profile, with_keys=with_keys), opened.root, view.quarantine or judged
        finally:
            copy.close()
        copies.remove(path)
    raise TemporarilyUnavailable("the root secret is rotated all the time: no copy fits the one that was read", hint="run again")


def _manifest(view: View, profile: str, *, with_keys: bool) -> Manifest:
    """Say what a copy is; a head that is not authentic says nothing: the records are counted, and their root is not known."""
    records = view.head.size if view.head_intact else view.store.integer("SELECT count(*) FROM record")
    return Manifest(
        store_id=view.store_id, profile=profile, made_at=view.clock, schema=view.store.version, records=records,
        tokens=view.rows.total(), root=view.head.root.hex() if view.head_intact else None, tokenctl=__version__,
        with_keys=with_keys,
    )  # fmt: skip


def record(journal: Journal, manifest: Manifest, *, sealed_to: str, digest: str) -> None:
    """Record that a backup was made; durable when this returns.

    Args:
        sealed_to: Who can open it: ``passphrase``, or how many recipients.
        digest: The SHA-256 of the encrypted file.
    """
    parameters: dict[str, object] = {
        "with_keys": manifest.with_keys, "sealed_to": sealed_to, "records": manifest.records, "sha256": digest
    }  # fmt: skip
    with journal.changing() as change:
        assert change is not None
        change.append(Event(operation="store.backup", target=change.store_id, parameters=parameters))
