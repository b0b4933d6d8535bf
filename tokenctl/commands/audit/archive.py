"""``audit archive``: old record bodies move from the store to a file, which ``audit verify --archive`` takes back in."""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from tokenctl import files
from tokenctl.backends.base import Backend
from tokenctl.backends.local import archiving
from tokenctl.backends.local.archiving import Forgotten, Meant
from tokenctl.commands.context import Context
from tokenctl.commands.store_info import megabytes
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable, TokenctlError, naming
from tokenctl.formats.log_archive import Archive, Summary
from tokenctl.model.times import format_instant, parse_instant
from tokenctl.render.escape import escape
from tokenctl.render.progress import Progress

_ELSEWHERE = "name another file with --out"


class Asked(NamedTuple):
    """What is to be moved, and where to."""

    before: int
    out: str
    dry_run: bool
    yes: bool


def archive(context: Context, *, before: str, out: str, dry_run: bool, yes: bool) -> int:
    """Write the bodies of old records to a new file, durably, and only then let the store forget them; return 0.

    Raises:
        InvalidRequest: malformed, a file that is not to be written, or not confirmed (exit 2).
        NotFound: there is no store (exit 5).
        Conflict: the clock was set back, or the store exchanged meanwhile (exit 6).
        TemporarilyUnavailable: no room, or locked (exit 7).
        IntegrityError: quarantined, or a record does not check out (exit 10).
    """
    with naming("--before"):
        instant = parse_instant(before, context.now, ago=True)
    if instant > context.now:
        raise InvalidRequest("--before: lies in the future", hint="only what is over is archived: --before 365d is 365 days ago")
    asked = Asked(instant, out, dry_run, yes)
    with context.backend() as backend:
        with backend.journal.reading() as view:
            if view is None:
                raise backend.journal.absent()
            view.require_trust()
            found = archiving.meant(view, instant)
        _require_free(context, backend, out)
        if dry_run or not found.bodies:
            _tell(context, backend, asked, found, None, Forgotten(), 0)
        else:
            _ask(context, backend, asked, found)
            _move(context, backend, asked, found)
    return 0


def _require_free(context: Context, backend: Backend, out: str) -> None:
    """Refuse a file that is there, lies among ours or cannot be made, also where there is nothing to move (exit 2)."""
    if context.places.owns(out, backend.name):
        raise InvalidRequest(f"{out} lies among tokenctl's own files", hint=_ELSEWHERE)
    if os.path.lexists(out):
        raise _taken(out)
    files.Delivery(out).discard()


def _taken(out: str) -> InvalidRequest:
    return InvalidRequest(f"{out} is there already: an archive is never written over", hint=_ELSEWHERE)


def _ask(context: Context, backend: Backend, asked: Asked, found: Meant) -> None:
    console = context.console
    console.chat(f"profile {backend.name} ({backend.place}): {_words(found)} move to {asked.out}")
    console.chat("log and show tell only their columns then; keep the file: nothing else has them")
    if not asked.yes:
        console.confirm("Move them out of the store?", found.bodies, "archived")


def _words(found: Meant) -> str:
    plural = "bodies" if found.bodies != 1 else "body"
    return f"{found.bodies:,} {plural} of records {found.first} to {found.last}, {megabytes(found.room)}"


def _move(context: Context, backend: Backend, asked: Asked, found: Meant) -> None:
    summary = _write(context, backend, asked, found)
    with backend.journal.reading() as view:
        free = archiving.free_room(view) if view is not None else 0
    done = Forgotten()
    shown = Progress(context.console, "moved", summary.bodies)

    def follow(now: Forgotten) -> None:
        nonlocal done
        done = now
        shown.reach(done.bodies)

    try:
        with Archive.open(asked.out) as archived:
            archiving.forget(backend.journal, archived, asked.before, found.size, follow)
    except (KeyboardInterrupt, TokenctlError):
        shown.finish()
        context.console.complain(
            f"{escape(asked.out)} is whole; {done.bodies:,} of its {summary.bodies:,} bodies left the store: keep it, "
            f"and move the rest to another file"
        )
        raise
    finally:
        shown.finish()
    with backend.journal.reading() as view:
        free = max(archiving.free_room(view) - free, 0) if view is not None else 0
    _tell(context, backend, asked, found, summary, done, free)


def _write(context: Context, backend: Backend, asked: Asked, found: Meant) -> Summary:
    """Write the file whole and durable; it has no name before."""
    delivery = files.Delivery(asked.out)
    shown = Progress(context.console, "written", found.bodies)
    try:
        with backend.journal.reading() as view:
            if view is None:
                raise backend.journal.absent()
            view.require_trust()
            summary = archiving.write(view, asked.before, found.size, delivery, shown.reach)
        delivery.sync()
        delivery.place(replacing=False)
    except FileExistsError:
        raise _taken(asked.out) from None
    except OSError as error:
        raise TemporarilyUnavailable(
            f"cannot write {asked.out}: {files.cause_of(error)}", hint="make room and run again"
        ) from None
    finally:
        shown.finish()
        delivery.discard()
    return summary


def _tell(
    context: Context, backend: Backend, asked: Asked, found: Meant, summary: Summary | None, done: Forgotten, free: int
) -> None:  # fmt: skip
    console = context.console
    if console.machine:
        console.document(
            {"action": "archive", "profile": backend.name, "dry_run": asked.dry_run, "before": format_instant(asked.before),
             "path": asked.out if summary is not None else None, "size": summary.size if summary is not None else None,
             "sha256": summary.digest if summary is not None else None, "bodies": found.bodies, "first": found.first or None,
             "last": found.last or None, "room": found.room, "archived": done.bodies, "records": list(done.records),
             "freed": free, "warnings": list(console.warnings)}
        )  # fmt: skip
    elif summary is None:
        what = _words(found) if found.bodies else f"nothing before {format_instant(asked.before)}"
        if asked.dry_run:
            console.answer(f"{escape(asked.out)}\twould move {what}")
        else:
            console.chat(f"{what} to archive: no file was written")
    elif console.on_terminal:
        console.result(f"{escape(asked.out)}, {megabytes(summary.size)}: {done.bodies:,} of {_words(found)}")
        console.chat(f"sha256 {summary.digest}; {megabytes(free)} of the store are free for new records")
        console.chat(f"check   {console.command} audit verify --archive {shlex.quote(asked.out)}")
    else:
        columns = (escape(asked.out), str(summary.size), str(done.bodies), str(found.first), str(found.last), summary.digest)
        console.result("\t".join(columns))
