"""Facts about a store as a whole, for the one who runs it: none of them needs a walk through many rows."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from tokenctl.audit import anchor as anchors
from tokenctl.backends.local.view import View
from tokenctl.model.token import DELIVERY_DEADLINE
from tokenctl.store.schema import REMOTE

_COUNTED = 100_000  # unexpired tokens whose rows are looked at one by one, a microsecond each


class StoreFacts(NamedTuple):
    """One store at one instant; times in milliseconds UTC, sizes in bytes.

    Attributes:
        unexpired: Tokens that have not ended by time.
        living: Those of them that are not revoked; ``None`` where too many are unexpired to look at each.
        waiting: Tokens whose delivery is not known in time: denied already, and not yet recorded so.
        anchor: ``agrees``, ``behind``, ``ahead``, ``differs``, ``foreign``, ``damaged`` or ``absent``.
        last_backup_at: When the newest backup that the log tells of was made; a restored store tells of none.
        anchor_size: How many records the anchor speaks of.
    """

    store_id: str
    created_at: int
    schema: int
    sqlite: str
    file_size: int
    log_size: int
    read_only: bool
    tokens: int
    unexpired: int
    living: int | None
    waiting: int
    keys: int
    records: int
    last_record_at: int
    root: bytes
    anchor: str
    anchor_size: int | None
    quarantine: str | None
    last_backup_at: int | None


def facts_of(view: View) -> StoreFacts:
    """Gather the facts of a store."""
    store = view.store
    # Counted in an index alone; whether a token is revoked stands in its row.
    unexpired = store.integer("SELECT count(*) FROM token WHERE expires_at > ?", view.now)
    living = "SELECT count(*) FROM token WHERE expires_at > ? AND revoked_at IS NULL"
    waiting = "SELECT count(*) FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL AND issued_at <= ?"
    waiting += f" AND NOT ({REMOTE})"
    return StoreFacts(
        store_id=view.store_id, created_at=store.integer("SELECT value FROM meta WHERE name = 'created_at'"),
        schema=store.version, sqlite=store.library,
        file_size=_size(store.path), log_size=_size(f"{store.path}-wal"), read_only=store.read_only,
        tokens=store.integer("SELECT count(*) FROM token"), unexpired=unexpired,
        living=store.integer(living, view.now) if unexpired <= _COUNTED else None,
        waiting=store.integer(waiting, view.now - DELIVERY_DEADLINE),
        keys=store.integer("SELECT count(*) FROM key"), records=view.head.size, last_record_at=view.head.time,
        root=view.head.root, anchor=_anchor(view),
        anchor_size=view.anchor.size if isinstance(view.anchor, anchors.Anchor) else None, quarantine=view.quarantine,
        last_backup_at=_last_backup(view),
    )  # fmt: skip


def _last_backup(view: View) -> int | None:
    sql = "SELECT max(time) FROM record WHERE +operation = 'store.backup' AND target = ?"
    value = view.store.value(sql, view.store_id)
    return value if isinstance(value, int) else None


def _anchor(view: View) -> str:
    anchor = view.anchor
    if anchor is None:
        return "absent"
    if isinstance(anchor, anchors.Damaged):
        return "damaged"
    if anchor.store_id != view.store_id:
        return "foreign"
    if anchor.size > view.head.size:
        return "ahead"
    leaf = view.store.value("SELECT hash FROM record WHERE seq = ?", anchor.size)
    if leaf != anchor.leaf or (anchor.size == view.head.size and anchor.root != view.head.root):
        return "differs"
    return "behind" if anchor.size < view.head.size else "agrees"


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0
