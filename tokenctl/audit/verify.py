"""Checking the log, and the state against it."""

from __future__ import annotations

from tokenctl.audit.chain import Progress, check_log, quiet
from tokenctl.audit.state import check_state
from tokenctl.audit.tree import Head
from tokenctl.audit.verdict import Report
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows


def verify(
    store: Store, rows: Rows, head: Head, *, head_intact: bool, judged: str | None, anchored: bool,
    state: bool = True, progress: Progress = quiet,
) -> Report:  # fmt: skip
    """Check the log, and with ``state`` the rows.

    Args:
        head: The head as it stands in the store.
        head_intact: Whether its MAC holds.
        judged: What opening the store found against head and anchor, for example ``TRUNCATED: …``.
        anchored: Whether an anchor was there to compare with.
        progress: Told the number of records checked, and of how many.
    """
    report = Report()
    for damage in store.damage():
        report.flaw(f"the store's file is damaged: {damage}")
    if not head_intact:
        report.flaw("the head of the log is not authentic")
    chain = check_log(store, head, report, progress)
    if state:
        check_state(store, rows, chain.corrections, report)
    if report.verdict == "OK" and judged is not None:
        report.verdict = judged.partition(":")[0]
        report.flaws.append(judged)
    elif report.verdict == "OK":
        report.verdict = "OK (anchored locally only)" if anchored else "UNANCHORED"
    return report
