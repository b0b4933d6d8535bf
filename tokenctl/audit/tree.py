"""The hash tree over the records: RFC 6962, kept as a compact range, so that appending needs no old record.

The head is the range, its root and its size; inside the store it is authenticated by an HMAC under the head key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

_HASH_LENGTH = 32  # bytes


def leaf_hash(body: bytes) -> bytes:
    """Source: RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Source: RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The roots of the perfect subtrees of a growing tree, largest first."""

    def __init__(self, size: int = 0, roots: list[bytes] | None = None) -> None:
        self.size = size
        self._roots = roots or []
        if len(self._roots) != size.bit_count():
            raise ValueError("the range does not fit its size")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> CompactRange:
        """Read a range; raises ValueError where it does not fit its size."""
        if size < 0 or len(data) != size.bit_count() * _HASH_LENGTH:
            raise ValueError("the range does not fit its size")
        return cls(size, [data[start : start + _HASH_LENGTH] for start in range(0, len(data), _HASH_LENGTH)])

    def append(self, leaf: bytes) -> None:
        node = leaf
        for _ in range((~self.size & self.size + 1).bit_length() - 1):
            node = node_hash(self._roots.pop(), node)
        self._roots.append(node)
        self.size += 1

    def extend(self, nodes: list[bytes], level: int = 0) -> None:
        """Append many leaves, or roots of perfect subtrees of ``2 ** level`` leaves, at a size that is a multiple of that."""
        size = self.size >> level
        if size << level != self.size:
            raise ValueError("a subtree does not begin here")
        self.size += len(nodes) << level
        left: list[bytes] = []  # smallest first
        sha256 = hashlib.sha256
        while nodes or size:
            if size & 1:
                nodes = [self._roots.pop(), *nodes]
            if len(nodes) & 1:
                left.append(nodes[-1])
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + one + other).digest() for one, other in zip(pairs, pairs, strict=False)]
            size >>= 1
        self._roots = left[::-1]

    def root(self) -> bytes:
        """Return the tree's root; of no records, the hash of nothing."""
        if not self._roots:
            return hashlib.sha256(b"").digest()
        node = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            node = node_hash(left, node)
        return node

    @property
    def roots(self) -> list[bytes]:
        """The roots of the perfect subtrees, largest first."""
        return list(self._roots)

    def to_bytes(self) -> bytes:
        return b"".join(self._roots)


class Head(NamedTuple):
    """The head of a log: its size, compact range, root and newest time, and why it is quarantined, if it is."""

    size: int
    range: bytes
    root: bytes
    time: int = 0
    quarantine: str | None = None

    def mac(self, key: bytes, store_id: str) -> bytes:
        """Return the HMAC that authenticates this head inside its store."""
        seal = (self.quarantine or "").encode()
        parts = [
            b"tokenctl/head/v1",
            store_id.encode(),
            str(self.size).encode(),
            self.range,
            self.root,
            str(self.time).encode(),
            seal,
        ]
        return hmac.digest(key, b"".join(len(part).to_bytes(4) + part for part in parts), "sha256")
