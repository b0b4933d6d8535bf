"""``store info``: what an operator wants to know of a store before touching it."""

from __future__ import annotations

from tokenctl import terminal
from tokenctl.backends.base import Backend
from tokenctl.backends.local.facts import StoreFacts, facts_of
from tokenctl.backends.local.root_places import Place
from tokenctl.backends.local.root_secret import place_named
from tokenctl.commands.context import Context
from tokenctl.errors import AccessDenied
from tokenctl.model.times import format_distance, format_instant
from tokenctl.render.escape import cell, escape
from tokenctl.render.machine import instant

_TIMES = ("created_at", "last_record_at", "last_backup_at")
_SIZES = ("file_size", "log_size")
_NAME_WIDTH = 14  # columns; a hash of 64 digits fits beside it into 80


def info(context: Context) -> int:
    """Print the facts of the profile's store; it makes nothing.

    Raises:
        NotFound: there is no store (exit 5).
        AccessDenied: its root secret is out of reach; where it lies was told (exit 4).
    """
    with context.backend() as backend:
        try:
            with backend.journal.reading() as view:
                opened = backend.journal.opened
                if view is None or opened is None:
                    raise backend.journal.absent()
                facts = facts_of(view)
                _tell(context, _members(context, backend, opened.store_id, opened.place, facts, view.keys.version), opened.place)
        except AccessDenied:
            recorded = backend.journal.recorded()
            if recorded is not None:
                place = place_named(recorded[1], backend.journal.whereabouts, recorded[0])
                _tell(context, _members(context, backend, recorded[0], place, None, None), place)
            raise
    return 0


def _members(
    context: Context, backend: Backend, store_id: str, place: Place, facts: StoreFacts | None, version: int | None
) -> dict[str, object]:  # fmt: skip
    """Return what is told, raw; ``None`` for what nobody can know without the root secret."""
    places = context.places
    known = dict.fromkeys(StoreFacts._fields) if facts is None else facts._asdict()
    members: dict[str, object] = {
        "profile": backend.name, "path": places.store(backend.name), "store_id": store_id, "root_secret_place": place.name,
        "root_secret": place.locator, "anchor_path": places.anchor(backend.name),
    }  # fmt: skip
    members |= known | {"store_id": store_id, "root_secret_version": version}
    members["root"] = None if facts is None else facts.root.hex()
    return members


def _tell(context: Context, members: dict[str, object], place: Place) -> None:
    console = context.console
    if console.machine:
        times = {name: instant(at) if isinstance(at := members[name], int) else None for name in _TIMES}
        console.document(members | times | {"warnings": list(console.warnings)})
    elif console.on_terminal:
        _show(context, members, place)
    else:
        for name, value in members.items():
            told = format_instant(value) if name in _TIMES and isinstance(value, int) else _told(value)
            console.answer(f"{name}\t{told}")


def _show(context: Context, members: dict[str, object], place: Place) -> None:
    """Tell a person; what is not known for want of the root secret is left out."""
    version = members["root_secret_version"]
    secret = place.shown if version is None else f"{place.shown}, version {version}"
    known = {name: value for name, value in members.items() if version is not None or value is not None}
    for name, value in known.items():
        if name in ("root_secret_place", "root_secret_version"):
            continue
        told = escape(secret) if name == "root_secret" else _shown(context, name, value)
        head = f"{name:<{_NAME_WIDTH}}  "
        if len(told) > terminal.width() - len(head) and " " not in told:  # a path or a hash stays whole
            context.console.answer(f"{name}\n  {told}")
        else:
            context.console.answer(context.console.fold(head, told))


def _shown(context: Context, name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if name in _TIMES:
            return f"{format_instant(value)}, {format_distance(value, context.now)}"
        return megabytes(value) if name in _SIZES else f"{value:,}"
    return context.places.shown(_told(value))


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cell(None if value is None else str(value))


def megabytes(size: int) -> str:
    """Write a number of bytes for a person."""
    return f"{size} B" if size < 1024 else f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:,.1f} MiB"
