"""``audit show``: the life of one token or key, and its records; or one record by its number."""

from __future__ import annotations

from collections.abc import Sequence

from tokenctl.audit import query
from tokenctl.backends.base import Backend
from tokenctl.backends.local.telling import Life, life_of
from tokenctl.commands.audit import screen
from tokenctl.commands.audit.log import document
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, NotFound
from tokenctl.model.record import Record

_LONGEST_NUMBER = 18  # digits; an id has 22 characters


def show(context: Context, target: str) -> int:
    """Tell the life of a token or a key by its id, or of tokens that prove themselves on standard input (``-``).

    Args:
        target: That, or the number of a record: of one that is about no token that can be named, a refused issue for example.

    Raises:
        InvalidRequest: not an id (exit 2).
        NotFound: no record speaks of it, or none has that number (exit 5).
    """
    if target == "-":
        return _show_presented(context)
    if target.isascii() and target.isdigit() and len(target) <= _LONGEST_NUMBER:
        return _show_record(context, int(target))
    with context.backend() as backend:
        identifier = backend.id_of(target)
        if identifier is None:
            raise InvalidRequest(
                "an argument is neither an id, 22 letters and digits, nor a record's number", hint="tokenctl audit log"
            )
        _show(context, backend, identifier)
    return 0


def _show_record(context: Context, number: int) -> int:
    with context.backend() as backend:
        with backend.journal.reading() as view:
            record = next(query.fetch(view.store, [number]), None) if view is not None else None
            quarantine = view.quarantine if view is not None else None
        if record is None:
            raise NotFound(f"no record {number} in profile {backend.name} ({backend.place})")
    if quarantine is not None:
        context.console.warn(f"the store is quarantined: {quarantine}")
    if context.console.output == "json":
        told = {"token": None, "key": None, "records": [document(record)], "warnings": list(context.console.warnings)}
        context.console.document(told)
    else:
        _print_records(context, [record])
    return 0


def _show_presented(context: Context) -> int:
    from tokenctl.commands.audit import presented

    with context.backend() as backend:
        proved = presented.read(backend)
        if len(proved.ids) > 1 and context.console.output == "json":
            raise InvalidRequest("several tokens, and -o json is one document", hint="tokenctl audit show - -o jsonl")
        code = presented.complain(context, backend, proved)
        for number, identifier in enumerate(proved.ids):
            if number and context.console.on_terminal and not context.console.machine:
                context.console.answer("")
            _show(context, backend, identifier)
    return code


def _show(context: Context, backend: Backend, identifier: str) -> None:
    console = context.console
    with backend.journal.reading() as view:
        records = list(query.records(view.store, query.Filter(target=(identifier,)))) if view is not None else []
        if view is None:
            raise NotFound(f"no record of {identifier}: profile {backend.name} has no store ({backend.place})")
        if not records:
            raise NotFound(f"no record of {identifier} in profile {backend.name} ({backend.place})")
        if view.quarantine is not None:
            console.warn(f"the store is quarantined: {view.quarantine}")
        life = life_of(view, identifier, records)
        now = view.now
    if not life.intact:
        console.warn(f"the row of {identifier} does not check out: its records alone can be believed")
    if console.output == "json":
        console.document(_members(context, life, now) | {"warnings": list(console.warnings)})
        return
    if console.on_terminal and not console.machine:
        from tokenctl.commands.audit import life as life_screen

        life_screen.print_life(context, life, now)
    _print_records(context, records)


def _print_records(context: Context, records: Sequence[Record]) -> None:
    for record in records:
        if context.console.output == "jsonl":
            context.console.document(document(record))
        elif context.console.on_terminal:
            screen.block(context, record)
        else:
            screen.line(context, record)


def _members(context: Context, life: Life, now: int) -> dict[str, object]:
    from tokenctl.commands.audit.life import key_members, token_members

    return {
        "token": token_members(context, life, now), "key": key_members(life),
        "records": [document(record) for record in life.records],
    }  # fmt: skip
