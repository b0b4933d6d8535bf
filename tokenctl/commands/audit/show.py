"""``audit show``: the life of one token or key, and its records."""

from __future__ import annotations

from tokenctl.audit import query
from tokenctl.backends.base import Backend
from tokenctl.backends.local.telling import Life, life_of
from tokenctl.commands.audit import screen
from tokenctl.commands.audit.log import document
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, NotFound
from tokenctl.formats import opaque


def show(context: Context, target: str) -> int:
    """Tell the life of a token or a key by its id, or of tokens that prove themselves on standard input (``-``).

    Raises:
        InvalidRequest: not an id (exit 2).
        NotFound: no record speaks of it (exit 5).
    """
    if target == "-":
        return _show_presented(context)
    identifier = opaque.named_id(target)
    if identifier is None:
        raise InvalidRequest("an argument is no id: an id is 22 letters and digits", hint="tokenctl audit show ID")
    with context.backend() as backend:
        _show(context, backend, identifier)
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
    elif console.output == "jsonl":
        for record in records:
            console.document(document(record))
    elif console.on_terminal:
        from tokenctl.commands.audit import life as life_screen

        life_screen.print_life(context, life, now)
        for record in records:
            screen.block(context, record)
    else:
        for record in records:
            screen.line(context, record)


def _members(context: Context, life: Life, now: int) -> dict[str, object]:
    from tokenctl.commands.audit.life import key_members, token_members

    return {
        "token": token_members(context, life, now), "key": key_members(life),
        "records": [document(record) for record in life.records],
    }  # fmt: skip
