"""Giving every row its MAC under another key, a thousand at a time: the memory does not grow with the store.

A row whose MAC does not hold keeps it: it stays evidence under the new key too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tokenctl.model.token import Key
from tokenctl.store.connection import Store
from tokenctl.store.protection import NONCE_TAG_LENGTH, Protector
from tokenctl.store.rows import Rows

_CHUNK = 1000  # rows


def total(store: Store) -> int:
    """Return how many rows of tokens and records there are to be rewritten."""
    return store.integer("SELECT count(*) FROM token") + store.integer("SELECT count(*) FROM record")


def remake(
    store: Store, rows: Rows, fresh: Protector, *, reseal: Callable[[Key], Key], progress: Callable[[int], None]
) -> None:  # fmt: skip
    """Rewrite the MACs of all tokens, records and keys.

    Args:
        rows: Under the present key.
        fresh: Makes the new MACs.
        reseal: Returns a key with its private part sealed anew.
        progress: Told how many tokens and records are done.
    """
    done = 0
    for part in (_tokens(store, rows, fresh), _records(store, rows, fresh)):
        for count in part:
            done += count
            progress(done)
    for stored in rows.every_key():
        if stored.intact:
            key = reseal(stored.row)
            store.run(
                "UPDATE key SET mac = ?, sealed = ?, kek_version = ? WHERE kid = ?",
                fresh.key_mac(key), key.sealed, key.kek_version, key.kid,
            )  # fmt: skip


def _tokens(store: Store, rows: Rows, fresh: Protector) -> Iterator[int]:
    last = 0
    while chunk := rows.tokens_behind(last, limit=_CHUNK):
        macs = [(fresh.token_mac(stored.row), number) for number, stored in chunk if stored.intact]
        store.run_many("UPDATE token SET mac = ? WHERE rowid = ?", macs)
        last = chunk[-1][0]
        yield len(chunk)


def _records(store: Store, rows: Rows, fresh: Protector) -> Iterator[int]:
    last = 0
    sql = "SELECT seq, nonce FROM record WHERE seq > ? ORDER BY seq LIMIT ?"
    while chunk := list(store.rows(sql, last, _CHUNK)):
        store.run_many("UPDATE record SET nonce = ? WHERE seq = ?", _tagged(rows, fresh, chunk))
        last = int(str(chunk[-1][0]))
        yield len(chunk)


def _tagged(rows: Rows, fresh: Protector, chunk: Sequence[Sequence[object]]) -> Iterator[tuple[bytes, int]]:
    for seq, stored in chunk:
        if isinstance(seq, int) and isinstance(stored, bytes) and rows.nonce_intact(seq, stored):
            nonce = stored[: -NONCE_TAG_LENGTH]
            yield nonce + fresh.nonce_tag(seq, nonce), seq
