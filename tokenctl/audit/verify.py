"""Checking the log, and the state against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.audit import query
from tokenctl.audit.archived import archived_bodies, living
from tokenctl.audit.chain import Chain, Correction, Progress, Start, check_log, quiet, time_of
from tokenctl.audit.division import FileCheck
from tokenctl.audit.recent import check_recent
from tokenctl.audit.state import check_state
from tokenctl.audit.tree import CompactRange, Head
from tokenctl.audit.verdict import ANCHORED, DIVERGED, LOCALLY, TRUNCATED, UNANCHORED, KnownHead, Report
from tokenctl.errors import IntegrityError
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows

if TYPE_CHECKING:
    from tokenctl.audit.verified import Verified
    from tokenctl.formats.log_archive import Archive


_LEAVES = "SELECT hash FROM record WHERE seq > ? AND seq <= ? ORDER BY seq"
_LEAVES_AT_ONCE = 4096


class Extent(NamedTuple):
    """What of a store is checked.

    Attributes:
        log: Every record.
        state: Every row.
        verified: Only what came behind what was verified before; ``None`` for all.
        archives: Where the bodies that were moved out of the store lie; each was compared with the log.
    """

    log: bool = True
    state: bool = True
    verified: Verified | None = None
    archives: tuple[Archive, ...] = ()


EVERYTHING = Extent()


def verify(
    store: Store, rows: Rows, head: Head, *, head_intact: bool, judged: str | None, anchored: bool,
    extent: Extent = EVERYTHING, known: Sequence[KnownHead] = (), remembered: Verified | None = None,
    progress: Progress = quiet,
) -> Report:  # fmt: skip
    """Check the log, the rows, or both, and compare the log with heads that were kept elsewhere.

    Args:
        head: The head as it stands in the store.
        head_intact: Whether its MAC holds.
        judged: What opening the store found against head and anchor, for example ``TRUNCATED: …``.
        anchored: Whether an anchor was there to compare with.
        known: Verified heads of this log.
        remembered: What was verified last, for a check that does not go on from there.
        progress: Told the number of records checked, and of how many.
    """
    report = Report(state=extent.state, since=_since(extent))
    if not head_intact:
        report.flaw("the head of the log is not authentic")
    # Without the state, the log's own pages are all that is believed, and each of them is read.
    with FileCheck(store, wanted=extent.state and extent.verified is None) as file:
        try:
            if _continues(store, head, extent.verified, report):
                roots = _check(store, rows, head, extent, known, report, progress)
                _check_numbers(store, report)
                _compare(known, roots | _roots_by_leaves(store, head, extent, known, roots, report), head, report)
        except IntegrityError as error:
            report.flaw(f"the log cannot be read through: {error.message}")
        report.blame([f"the store's file is damaged: {damage}" for damage in file.damage()])
    if report.verdict == ANCHORED and judged is not None:
        report.contradict(judged.partition(":")[0], judged)
    if report.verdict == ANCHORED and remembered is not None and extent.log:
        _goes_on(store, head, remembered, report)
    if report.verdict == ANCHORED and not any(one.agrees for one in report.compared):
        report.verdict = LOCALLY if anchored else UNANCHORED
    return report


def _since(extent: Extent) -> int | None:
    if not extent.log:
        return None
    return 0 if extent.verified is None else extent.verified.size


def _continues(store: Store, head: Head, verified: Verified | None, report: Report) -> bool:
    """Whether the log goes on from what was verified before, and what is told of it where no more is checked."""
    if verified is None:
        return True
    report.records, report.root = head.size, head.root
    return _goes_on(store, head, verified, report)


def _goes_on(store: Store, head: Head, verified: Verified, report: Report) -> bool:
    if head.size < verified.size:
        report.contradict(TRUNCATED, f"the log has {head.size:,} records, and {verified.size:,} were verified before")
        return False
    if verified.size and store.value("SELECT hash FROM record WHERE seq = ?", verified.size) != verified.leaf:
        report.contradict(DIVERGED, f"record {verified.size:,} is not the one that was verified before")
        return False
    return True


def _check_numbers(store: Store, report: Report) -> None:
    """Find records in front of the first one: whoever checks the others does not come by, and every question does."""
    for (seq,) in store.rows("SELECT seq FROM main.record WHERE seq < 1 ORDER BY seq LIMIT 5"):
        report.flaw(f"record {seq} stands in front of the first one")


def _check(
    store: Store, rows: Rows, head: Head, extent: Extent, known: Sequence[KnownHead], report: Report, progress: Progress
) -> dict[int, bytes]:  # fmt: skip
    """Check what is to be checked; return the roots that the check came by."""
    before = extent.verified
    if not extent.log:
        report.records, report.root = head.size, head.root
        chain = Chain(list(_corrections(store)), {})
    else:
        start = Start(before.size, before.range, before.time) if before is not None else Start(0, b"", 0)
        sizes = {one.size for one in known}
        chain = check_log(store, head, report, progress, sizes=sizes, start=start, archives=extent.archives)
    with archived_bodies(store, extent.archives):
        if extent.state and before is None:
            check_state(store, rows, chain.corrections, report, alone=bool(extent.archives))
            for token in living(store):
                report.flaw(f"token {token}: it lives on, and what the log says of it was archived before")
        elif extent.state and before is not None:
            check_recent(store, rows, before.size, report)
    return chain.roots


def _corrections(store: Store) -> list[Correction]:
    """Return where the log accepted the clock, by its columns alone."""
    found = []
    for record in query.records(store, query.Filter(operation=("store.clock",))):
        before = time_of(store, record.seq - 1)
        if record.time < before:
            found.append(Correction(seq=record.seq, before=before, clock=record.time))
    return found


def _roots_by_leaves(
    store: Store, head: Head, extent: Extent, known: Sequence[KnownHead], found: Mapping[int, bytes], report: Report
) -> dict[int, bytes]:  # fmt: skip
    """Return the roots at the sizes that the check did not come by, from the hashes that stand beside the records.

    These say something of the log only where they lead on to what is authentic: what was verified before, or the head.
    """
    wanted = sorted({one.size for one in known if one.size <= head.size} - found.keys())
    if not wanted:
        return {}
    before = extent.verified
    end = before if before is not None and wanted[-1] <= before.size else head
    roots, tree, at = dict[int, bytes](), CompactRange(), 0
    for stop in [*wanted, end.size]:
        for low in range(at, stop, _LEAVES_AT_ONCE):
            leaves = store.rows(_LEAVES, low, min(low + _LEAVES_AT_ONCE, stop))
            tree.extend([leaf if isinstance(leaf, bytes) else b"" for (leaf,) in leaves])
        roots[stop], at = tree.root(), stop
    if (tree.size, tree.to_bytes()) == (end.size, end.range):
        return roots
    report.flaw(f"the hashes of the first {end.size:,} records do not have the root that is known of them")
    return {}


def _compare(known: Sequence[KnownHead], roots: Mapping[int, bytes], head: Head, report: Report) -> None:
    """Compare the log with heads kept elsewhere."""
    for one in known:
        agrees = roots.get(one.size) == one.root
        report.compare(one, agrees=agrees)
        if not one.origin:
            report.contradict(DIVERGED, f"{one.source} is a head of another log", grave=False)
        elif not agrees and one.size > head.size:
            report.contradict(TRUNCATED, f"{one.source} knows {one.size:,} records, the log has {head.size:,}")
        elif not agrees:
            report.contradict(DIVERGED, f"the first {one.size:,} records are not those that {one.source} knows")
        elif not one.named:
            report.contradict(DIVERGED, f"the key that signed {one.source} is none that this log names")
