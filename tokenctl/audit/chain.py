"""Checking the log: numbers without a gap, bodies that hash to their leaves, columns that say what the body says, times that
never go back but where a record accepts the clock, and the root of all of it in the authenticated head.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.audit.verdict import Report
from tokenctl.model.record import Record
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows


class Correction(NamedTuple):
    """A record that accepted the clock: its number, the time of the log before it, and its own."""

    seq: int
    before: int
    clock: int


class Chain(NamedTuple):
    """What the records themselves say: where they accept the clock, and the root of the tree at each size asked for."""

    corrections: list[Correction]
    roots: dict[int, bytes]


def check_log(
    store: Store, rows: Rows, head: Head, report: Report, progress: Callable[[int], None], *, sizes: Collection[int] = ()
) -> Chain:  # fmt: skip
    """Check all records; flaws go to the report.

    Args:
        sizes: At which sizes the root of the tree is wanted; one that the log does not reach gets none.
        progress: Told the number of records checked.
    """
    tree = CompactRange()
    last_time = 0
    corrections: list[Correction] = []
    roots = {0: tree.root()} if 0 in sizes else {}
    for record in query.records(store, query.Filter()):
        if record.seq != tree.size + 1:
            report.flaw(f"record {tree.size + 1} is missing")
            return Chain(corrections, roots)
        if leaf_hash(record.body) != record.hash:
            report.flaw(f"record {record.seq} does not hash to its leaf")
        elif not _columns_agree(record):
            report.flaw(f"record {record.seq}: its columns differ from its body")
        if not rows.nonce_intact(record.seq, record.nonce):
            report.flaw(f"record {record.seq}: its nonce was changed")
        if record.time < last_time and record.operation == "store.clock":
            corrections.append(Correction(seq=record.seq, before=last_time, clock=record.time))
        elif record.time < last_time:
            report.flaw(f"record {record.seq} is older than the one before")
        last_time = record.time
        tree.append(leaf_hash(record.body))
        if tree.size in sizes:
            roots[tree.size] = tree.root()
        if tree.size % 10_000 == 0:
            progress(tree.size)
    report.records, report.root = tree.size, tree.root()
    if tree.size != head.size:
        report.flaw(f"the log has {tree.size} records, its head says {head.size}")
    elif tree.root() != head.root or tree.to_bytes() != head.range:
        report.flaw("the records do not have the root that the head says")
    return Chain(corrections, roots)


def _columns_agree(record: Record) -> bool:
    try:
        facts = record.facts()
    except ValueError:
        return False
    actor = facts.get("actor")
    name = f"{actor.get('name')}@{actor.get('host')}" if isinstance(actor, dict) else None
    told = [facts.get(name) for name in ("seq", "time", "operation", "target", "request_id", "ticket")]
    columns = [record.seq, record.time, record.operation, record.target, record.request, record.ticket]
    return told == columns and name == record.actor
