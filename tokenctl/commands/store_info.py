"""``store info``: what an operator wants to know of a store before touching it."""

from __future__ import annotations

from tokenctl import terminal
from tokenctl.backends.local.facts import StoreFacts, facts_of
from tokenctl.commands.context import Context
from tokenctl.errors import NotFound
from tokenctl.model.times import format_distance, format_instant
from tokenctl.render.escape import cell
from tokenctl.render.machine import instant

_TIMES = ("created_at", "last_record_at", "last_backup_at")
_SIZES = ("file_size", "log_size")


def info(context: Context) -> int:
    """Print the facts of the profile's store; it makes nothing.

    Raises:
        NotFound: there is no store (exit 5).
    """
    console, places = context.console, context.places
    with context.backend() as backend, backend.journal.reading() as view:
        if view is None:
            raise NotFound(f"profile {backend.name} has no store", hint="the first issue makes it")
        facts = facts_of(view)
        opened = backend.journal.opened
        assert opened is not None
        place = opened.place
        members: dict[str, object] = {
            "profile": backend.name, "path": places.store(backend.name), "store_id": facts.store_id,
            "root_secret_place": place.name,
            "root_secret": places.root_secret(backend.name) if place.name == "file" else place.shown,
            "anchor_path": places.anchor(backend.name),
        }  # fmt: skip
        version = view.keys.version
    members |= facts._asdict() | {"root_secret_version": version}
    members["root"] = facts.root.hex()
    if console.machine:
        members |= {name: instant(getattr(facts, name)) for name in _TIMES}
        console.document(members | {"warnings": list(console.warnings)})
        return 0
    _print(context, facts, members)
    return 0


def _print(context: Context, facts: StoreFacts, members: dict[str, object]) -> None:
    console = context.console
    for name, value in members.items():
        told = _told(value)
        if name in _TIMES and value is not None:
            told = format_instant(getattr(facts, name))
            if console.on_terminal:
                told = f"{told}, {format_distance(getattr(facts, name), context.now)}"
        elif console.on_terminal and name in _SIZES:
            told = megabytes(getattr(facts, name))
        elif console.on_terminal and isinstance(value, int) and not isinstance(value, bool):
            told = f"{value:,}"
        elif console.on_terminal and isinstance(value, str):
            told = context.places.shown(told)
        if not console.on_terminal:
            console.answer(f"{name}\t{told}")
        elif len(told) > terminal.width() - 19 and " " not in told:  # a path or a hash stays whole
            console.answer(f"{name}\n  {told}")
        else:
            console.answer(console.fold(f"{name:<17}  ", told))


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cell(None if value is None else str(value))


def megabytes(size: int) -> str:
    """Write a number of bytes for a person."""
    return f"{size} B" if size < 1024 else f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:,.1f} MiB"
