"""Backing up: one state of the store in a file of its own, what it is, and the record that a backup was made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tokenctl import __version__, files
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.view import View
from tokenctl.formats.archive import Manifest
from tokenctl.model.record import Event
from tokenctl.secret import Secret
from tokenctl.store import copies


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
        TemporarilyUnavailable: no room, or another backup is being made (exit 7).
    """
    with journal.reading() as view:
        if view is None:
            yield None
            return
        quarantine, opened = view.quarantine, journal.opened
    assert opened is not None
    with copies.turn(journal.path, "backup", deadline=journal.lock_deadline) as path:
        os.close(copies.create(path))
        opened.store.copy_into(path)
        copy = copies.examine(path)
        try:
            with copy.transaction(write=False):
                manifest = _manifest(View(copy, opened.keys, opened.store_id, journal.clock, None), profile, with_keys=with_keys)
        finally:
            copy.close()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise files.unusable(path, error) from None
    try:
        yield Copy(
            descriptor, os.fstat(descriptor).st_size, manifest, opened.root if with_keys else None, quarantine
        )  # fmt: skip
    finally:
        os.close(descriptor)


def _manifest(view: View, profile: str, *, with_keys: bool) -> Manifest:
    return Manifest(
        store_id=view.store_id, profile=profile, made_at=view.clock, schema=view.store.version, records=view.head.size,
        tokens=view.rows.total(), root=view.head.root.hex(), tokenctl=__version__, with_keys=with_keys,
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
