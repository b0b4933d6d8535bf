"""Inclusion proofs: the way from one leaf up to the root, and back from a leaf to the root that it leads to.

Sources: RFC 6962 section 2.1.1, RFC 9162 section 2.1.3.2 for the verification.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenctl.audit.tree import CompactRange, Head, node_hash
from tokenctl.errors import IntegrityError
from tokenctl.store.connection import Store

_AT_ONCE = 4096  # leaves
_LEAVES = "SELECT hash FROM record WHERE seq > ? AND seq <= ? ORDER BY seq"


def path_of(store: Store, head: Head, index: int) -> tuple[bytes, ...]:
    """Return the hashes from a leaf's sibling up to a child of the root; memory does not grow with the log.

    The head keeps the roots of the perfect subtrees that the tree consists of, so that leaves are read of that one alone
    which holds the leaf.

    Args:
        index: Counted from zero, below the size of the head.

    Raises:
        IntegrityError: leaves are missing (exit 10).
    """
    roots = CompactRange.from_bytes(head.size, head.range).roots
    number, start, level = _subtree(head.size, index)
    path = []
    for height in range(level):
        sibling = (index - start >> height) ^ 1
        path.append(_root_over(store, start + (sibling << height), height))
    right = roots[number + 1 :]
    if right:
        folded = right[-1]
        for root in reversed(right[:-1]):
            folded = node_hash(root, folded)
        path.append(folded)
    return (*path, *reversed(roots[:number]))


def _subtree(size: int, index: int) -> tuple[int, int, int]:
    """Return which of the perfect subtrees holds a leaf, counted from the left, where it begins, and its height."""
    start = 0
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    for number, level in enumerate(levels):
        if index < start + (1 << level):
            return number, start, level
        start += 1 << level
    raise ValueError("no leaf of this tree")


def _root_over(store: Store, start: int, height: int) -> bytes:
    """Return the root of a perfect subtree from its leaves."""
    end, tree = start + (1 << height), CompactRange()
    for low in range(start, end, _AT_ONCE):
        high = min(low + _AT_ONCE, end)
        leaves = [leaf for (leaf,) in store.rows(_LEAVES, low, high) if isinstance(leaf, bytes)]
        if len(leaves) != high - low:
            raise IntegrityError(f"a record of {low + 1} to {high} is missing", hint="tokenctl audit verify")
        tree.extend(leaves)
    return tree.root()


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to from a leaf; ``None`` where it is no path of such a leaf and size."""
    if not 0 <= index < size:
        return None
    position, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    return root if last == 0 else None
