"""Paths from a leaf to the root, against the recursive definition of RFC 6962, in every tree up to a size."""

from __future__ import annotations

import hashlib
import os

import pytest

from tokenctl.audit import proof
from tokenctl.audit.tree import CompactRange, Head
from tokenctl.errors import IntegrityError

LARGEST = 40


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def path(leaves: list[bytes], index: int) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path(leaves[:split], index), root(leaves[split:])]
    return [*path(leaves[split:], index - split), root(leaves[:split])]


class Leaves:
    """As much of a store as a path needs; it counts what was read."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self.read = 0

    def rows(self, sql, low, high):
        assert "SELECT hash FROM record" in sql
        self.read += high - low
        return iter([(leaf,) for leaf in self.leaves[low:high]])


def log(size: int) -> tuple[Leaves, Head]:
    leaves = [os.urandom(32) for _ in range(size)]
    tree = CompactRange()
    tree.extend(leaves)
    return Leaves(leaves), Head(size, tree.to_bytes(), tree.root())


@pytest.mark.parametrize("size", range(1, LARGEST))
def test_every_path_is_the_one_of_the_definition(size):
    store, head = log(size)
    assert head.root == root(store.leaves)
    for index, leaf in enumerate(store.leaves):
        found = proof.path_of(store, head, index)
        assert list(found) == path(store.leaves, index)
        assert proof.root_from(leaf, index, size, found) == head.root


def test_a_path_leads_from_no_other_leaf_index_size_or_length():
    for size in range(1, LARGEST):
        store, head = log(size)
        for index, leaf in enumerate(store.leaves):
            found = path(store.leaves, index)
            assert proof.root_from(os.urandom(32), index, size, found) != head.root
            for other in {*range(-1, size + 1)} - {index}:
                assert proof.root_from(leaf, other, size, found) != head.root
            assert proof.root_from(leaf, index, size, [*found, bytes(32)]) is None
            if found:
                assert proof.root_from(leaf, index, size, found[:-1]) is None
                assert proof.root_from(leaf, index, size, found[::-1]) != head.root or found == found[::-1]


def test_leaves_are_read_of_the_perfect_subtree_alone_that_holds_the_leaf():
    store, head = log(4096 + 1024 + 3)
    for index, most in ((0, 4095), (4095, 4095), (4096, 1023), (5120, 1), (5122, 0)):
        store.read = 0
        assert proof.root_from(store.leaves[index], index, head.size, proof.path_of(store, head, index)) == head.root
        assert store.read == most


def test_a_missing_leaf_makes_no_path():
    store, head = log(16)
    del store.leaves[15]
    with pytest.raises(IntegrityError):
        proof.path_of(store, head, 0)
