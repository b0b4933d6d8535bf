"""The anchor: what the log looked like after the last commit, in a file outside the store.

It lies in the state directory, apart from the store, so that an old copy of the store is noticed.
Replaced by rename after the commit, inside the lock: it is never ahead of durable data.
"""

import os
from typing import NamedTuple

from tokenctl import files

_LIMIT = 1024  # bytes
_MAGIC = "tokenctl-anchor/v1"


class Anchor(NamedTuple):
    """Size, hash of the newest leaf and root of a log."""

    store_id: str
    size: int
    leaf: bytes
    root: bytes


class Damaged:
    """An anchor file that is there and says nothing."""


def read(path: str) -> Anchor | Damaged | None:
    """Read an anchor; ``None`` where it is absent, or empty as a power loss may leave it.

    Raises:
        InvalidConfiguration: the file is planted or too open (exit 9).
    """
    data = files.read_owned(path, limit=_LIMIT)
    if not data or not data.strip(b"\0"):
        return None
    try:
        magic, store_id, size, leaf, root, rest = data.decode("ascii").split("\n")
        if magic != _MAGIC or rest or {len(leaf), len(root)} != {64} or not size.isdecimal():
            return Damaged()
        return Anchor(store_id=store_id, size=int(size), leaf=bytes.fromhex(leaf), root=bytes.fromhex(root))
    except ValueError:
        return Damaged()


def write(path: str, anchor: Anchor) -> None:
    """Replace the anchor; raises OSError."""
    text = f"{_MAGIC}\n{anchor.store_id}\n{anchor.size}\n{anchor.leaf.hex()}\n{anchor.root.hex()}\n"
    os.makedirs(os.path.dirname(path), files.PRIVATE_DIRECTORY, exist_ok=True)
    files.replace_owned(path, text.encode("ascii"), durable=False)
