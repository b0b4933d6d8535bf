"""How a verdict on the log looks."""

from __future__ import annotations

from tokenctl.audit.verdict import ANCHORED, LOCALLY, UNANCHORED, Report
from tokenctl.commands.context import Context
from tokenctl.render.escape import escape

_MEANING = {
    ANCHORED: "{what} out; a head that was kept elsewhere agrees",
    LOCALLY: "{what} out; the anchor beside them agrees",
    UNANCHORED: "{what} out; no anchor was there to compare with",
    "INVALID": "something was changed",
    "TRUNCATED": "records are missing at the end: an old copy, or a cut log",
    "SEALED": "somebody quarantined the store by hand",
    "DIVERGED": "this is not the log that was anchored",
}
_UNMET = "{what} out, but no head that was kept elsewhere agrees, and one is required"
_NOTHING = "there is no store yet, and nothing to check"


def show(context: Context, report: Report) -> None:
    """Print a report."""
    console = context.console
    if console.machine:
        console.document(_members(report) | {"warnings": list(console.warnings)})
        return
    meaning = _MEANING.get(report.verdict, "")
    if report.sound and not (report.accepted and report.records):
        meaning = _UNMET if report.records else _NOTHING
    colour = "red" if not report.accepted else "green" if report.verdict in (ANCHORED, LOCALLY) else "yellow"
    line = console.fold(f"{report.verdict}: ", meaning.format(what=_looked_at(report)))
    console.result(line.replace(report.verdict, console.paint(report.verdict, colour), 1))
    counts = (("record", report.records), ("token", report.tokens), ("key", report.keys))
    console.result(", ".join(f"{count:,} {what}{'s' * (count != 1)}" for what, count in counts))
    if report.since:
        console.result(f"checked: what came behind record {report.since:,}")
    if report.records and report.sound:
        console.result(_rewritable(report))
    if report.archived:
        told = "1 body lies in an archive and was taken by its hash"
        if report.archived > 1:
            told = f"{report.archived:,} bodies lie in archives and were taken by their hashes"
        console.result(f"{told}: {console.command} audit verify --archive FILE")
    for flaw in report.flaws:
        console.result(f"flaw: {escape(flaw)}")
    if report.grave and not console.quiet:
        console.complain(f"hint: restore the newest copy, or accept this one: {console.command} store release --reason R")


def _looked_at(report: Report) -> str:
    if report.since is None:
        return "rows check"
    return "log and state check" if report.state else "the log checks"


def _rewritable(report: Report) -> str:
    """Say how far back nobody outside could tell."""
    if not report.outside:
        return f"no head of this log ever left the store: the holder of its key could rewrite all {report.records:,}"
    agreed = "agrees" if any(one.agrees for one in report.compared) else "left the store"
    return f"the head of {report.outside:,} {agreed}: the holder of the log's key could rewrite the {report.rewritable:,} since"


def _members(report: Report) -> dict[str, object]:
    anchors = [
        {"source": one.source, "size": one.size, "root": one.root.hex(), "agrees": one.agrees} for one in report.compared
    ]  # fmt: skip
    return {
        "verdict": report.verdict, "flaws": report.flaws, "records": report.records, "tokens": report.tokens,
        "keys": report.keys, "root": report.root.hex() or None, "log": report.since is not None, "state": report.state,
        "since": report.since or None, "anchors": anchors, "required": report.required, "exported": report.exported or None,
        "rewritable": report.rewritable, "archived": report.archived,
    }  # fmt: skip
