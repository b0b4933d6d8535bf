"""What was verified last: kept beside the anchor, so that a check can go on from there.

Authenticated by the head key of the store: nobody without its root secret can move it forward.
"""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from typing import NamedTuple

from tokenctl import files
from tokenctl.audit.tree import CompactRange

_LIMIT = 8 * 1024  # bytes
_MAGIC = "tokenctl-verified/v1"


class Verified(NamedTuple):
    """Size, compact range, newest leaf and newest time of a log that checked out, together with its rows."""

    size: int
    range: bytes
    leaf: bytes
    time: int


def path_beside(anchor: str) -> str:
    return os.path.join(os.path.dirname(anchor), "verified")


def read(anchor: str, key: bytes, store_id: str) -> Verified | None:
    """Return what was verified; ``None`` where nothing was, or what is there is not authentic.

    Raises:
        InvalidConfiguration: the file is planted or too open (exit 9).
    """
    data = files.read_owned(path_beside(anchor), limit=_LIMIT)
    try:
        magic, size, compact, leaf, time, mac, rest = (data or b"").decode("ascii").split("\n")
        found = Verified(int(size), bytes.fromhex(compact), bytes.fromhex(leaf), int(time))
        CompactRange.from_bytes(found.size, found.range)
        genuine = hmac.compare_digest(bytes.fromhex(mac), _mac(found, key, store_id))
    except ValueError:
        return None
    return found if magic == _MAGIC and not rest and genuine else None


def write(anchor: str, verified: Verified, key: bytes, store_id: str) -> None:
    """Remember what was verified; raises OSError."""
    path = path_beside(anchor)
    mac = _mac(verified, key, store_id).hex()
    lines = [str(verified.size), verified.range.hex(), verified.leaf.hex(), str(verified.time), mac]
    os.makedirs(os.path.dirname(path), files.PRIVATE_DIRECTORY, exist_ok=True)
    files.replace_owned(path, "\n".join([_MAGIC, *lines, ""]).encode("ascii"), durable=False)


def forget(anchor: str) -> None:
    """Let the next check begin at the beginning: the log does not go on from what was verified."""
    with suppress(OSError):  # there is none, or it cannot be taken away: then it is told to contradict the log
        os.unlink(path_beside(anchor))


def _mac(verified: Verified, key: bytes, store_id: str) -> bytes:
    parts = [b"tokenctl/verified/v1", store_id.encode(), str(verified.size).encode(), verified.range, verified.leaf]
    text = b"".join(len(part).to_bytes(4) + part for part in [*parts, str(verified.time).encode()])
    return hmac.digest(key, text, "sha256")
