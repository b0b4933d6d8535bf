"""``audit verify``: whether log and state check out; a no quarantines the store."""

from __future__ import annotations

from tokenctl.audit.verdict import Report
from tokenctl.audit.verify import verify
from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, TemporarilyUnavailable, TokenctlError
from tokenctl.model.record import Event
from tokenctl.render.escape import escape
from tokenctl.render.progress import Progress

_MEANING = {
    "OK (anchored locally only)": "log and state check out; the anchor beside them agrees",
    "UNANCHORED": "log and state check out; no anchor was there to compare with",
    "INVALID": "something was changed",
    "TRUNCATED": "records are missing at the end: an old copy, or a cut log",
    "SEALED": "somebody quarantined the store by hand",
    "DIVERGED": "this is not the log that was anchored",
}


def verify_log(context: Context) -> int:
    """Replay the whole log and compare every row with it; return 0 or 10."""
    with context.backend() as backend:
        report = examine(context, backend)
        if report is None:
            _print(context, Report(verdict="UNANCHORED"))
            return 0
        _print(context, report)
    return 0 if report.sound else IntegrityError.exit_code


def examine(context: Context, backend: LocalAuthority) -> Report | None:
    """Check log and rows, and quarantine a store that does not check out; ``None`` where there is no store."""
    with backend.journal.reading() as view:
        if view is None:
            return None
        shown = Progress(context.console, "checked", view.head.size)
        try:
            report = verify(
                view.store, view.rows, view.head, head_intact=view.head_intact,
                judged=view.quarantine, anchored=view.anchor is not None, progress=lambda done, of: shown.reach(done),
            )  # fmt: skip
        finally:
            shown.finish()
    if not report.sound:
        _seal(context, backend, report)
    return report


def _seal(context: Context, backend: LocalAuthority, report: Report) -> None:
    """Quarantine the store, so that nothing in it is called active until it is released."""
    try:
        with backend.journal.changing() as change:
            assert change is not None
            if change.head.quarantine is None:
                change.seal(change.quarantine or f"{report.verdict}: {report.flaws[0]}")
                change.append(
                    Event(
                        operation="store.seal", target=change.store_id, reason=report.verdict, parameters={"flaws": report.flaws}
                    )
                )
    except TemporarilyUnavailable:
        context.console.warn("the quarantine could not be recorded: the store cannot be written")
    except TokenctlError as error:
        context.console.warn(f"the quarantine could not be recorded: {error.message}")


def _print(context: Context, report: Report) -> None:
    console = context.console
    if console.machine:
        console.document(
            {"verdict": report.verdict, "flaws": report.flaws, "records": report.records, "tokens": report.tokens,
             "keys": report.keys, "root": report.root.hex() or None, "warnings": list(console.warnings)}
        )  # fmt: skip
        return
    meaning = _MEANING.get(report.verdict, "")
    colour = "green" if report.verdict.startswith("OK") else "yellow" if report.verdict == "UNANCHORED" else "red"
    line = console.fold(f"{report.verdict}: ", meaning)
    console.result(line.replace(report.verdict, console.paint(report.verdict, colour), 1))
    counts = (("record", report.records), ("token", report.tokens), ("key", report.keys))
    console.result(", ".join(f"{count:,} {what}{'s' * (count != 1)}" for what, count in counts))
    for flaw in report.flaws:
        console.result(f"flaw: {escape(flaw)}")
    if report.flaws and not console.quiet:
        console.complain(f"hint: restore the newest copy, or accept this one: {console.command} store release --reason R")
