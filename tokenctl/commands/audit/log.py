"""``audit log`` and ``audit show``: the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tokenctl import terminal
from tokenctl.audit import query
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidRequest, NotFound, naming
from tokenctl.formats import opaque
from tokenctl.model.record import Record
from tokenctl.model.times import format_instant, parse_instant
from tokenctl.render.escape import cell, cut, escape, pad
from tokenctl.render.machine import record_object

_SCREENFUL = 50
_MOST = 1_000_000_000
_SHORT_HASH = 12  # characters of a policy's hash for a person
_LABELS = {
    "subject": "subject", "owner": "owner", "kind": "kind", "format": "format", "scope": "scope", "audience": "audience",
    "expires_at": "expires", "parent": "parent", "kid": "key", "reason": "reason", "ticket": "ticket", "request_id": "request",
    "policy": "policy",
}  # fmt: skip


def log(
    context: Context, *, since: str | None, until: str | None, operation: tuple[str, ...], actor: tuple[str, ...],
    request_id: tuple[str, ...], limit: int | None,
) -> int:  # fmt: skip
    """Print the records that were asked for, oldest first; none is an answer too."""
    if limit is not None and not 1 <= limit <= _MOST:
        raise InvalidRequest(f"--limit: 1 to {_MOST}")
    with naming("--since"):
        begin = parse_instant(since, context.now, ago=True) if since is not None else None
    with naming("--until"):
        end = parse_instant(until, context.now, ago=True) if until is not None else None
    chosen = query.Filter(since=begin, until=end, operation=operation, actor=actor, request_id=request_id)
    console = context.console
    if limit is None and console.on_terminal and not console.machine:
        limit = _SCREENFUL
    with context.backend() as backend, backend.journal.reading() as view:
        found = query.records(view.store, chosen, limit=limit) if view is not None else iter(())
        shown = _print(context, found, _line)
        total = query.count(view.store) if view is not None else 0
        if view is not None and view.quarantine is not None:
            console.warn(f"the store is quarantined: {view.quarantine}")
    console.chat(f"{shown:,} of {total:,} records, profile {backend.name}")
    return 0


def show(context: Context, target: str) -> int:
    """Print the life of one token or key.

    Raises:
        InvalidRequest: not an id (exit 2).
        NotFound: no record speaks of it (exit 5).
    """
    identifier = opaque.named_id(target)
    if identifier is None:
        raise InvalidRequest("an argument is no id: an id is 22 letters and digits", hint="tokenctl audit show ID")
    console = context.console
    with context.backend() as backend, backend.journal.reading() as view:
        found = list(query.records(view.store, query.Filter(target=(identifier,)))) if view is not None else []
        if not found:
            raise NotFound(f"no record of {identifier} in profile {backend.name} ({backend.place})")
        _print(context, found, _block if console.on_terminal and not console.machine else _line)
    return 0


def _print(context: Context, found: Iterable[Record], show_one: Callable[[Context, Record], None]) -> int:
    console = context.console
    shown = 0
    documents = []
    for record in found:
        shown += 1
        if console.machine:
            members = record_object(_facts(record))
            if console.output == "jsonl":
                console.document(members)
            else:
                documents.append(members)
            continue
        show_one(context, record)
    if console.output == "json":
        console.document({"records": documents, "warnings": list(console.warnings)})
    return shown


def _line(context: Context, record: Record) -> None:
    facts = _facts(record)
    outcome = str(facts.get("reason") or facts.get("outcome"))
    if context.console.on_terminal:
        what = ", ".join(told for told in (record.actor, _text(facts.get("reason")), _text(facts.get("subject"))) if told)
        line = f"{_moment(record.time)}  {pad(cell(record.operation), 13)}  {cell(record.target):<22}  {escape(what)}"
        context.console.answer(cut(line, max(terminal.width(), 68)))
        return
    values = [
        str(record.seq), format_instant(record.time - record.time % 1000), cell(record.operation), cell(record.target),
        cell(record.actor), cell(_text(facts.get("subject"))), cell(outcome),
    ]  # fmt: skip
    context.console.answer("\t".join(values))


def _block(context: Context, record: Record) -> None:
    """Print everything that a record says, for a person."""
    console, facts = context.console, _facts(record)
    outcome = _text(facts.get("outcome")) or "-"
    console.answer(f"{_moment(record.time)}  {cell(record.operation)}{'' if outcome == 'done' else f', {escape(outcome)}'}")
    told: dict[str, object] = {"record": str(record.seq), "target": record.target, "by": record.actor}
    told |= {label: facts.get(name) for name, label in _LABELS.items()}
    for label, value in told.items():
        text = _told(label, value)
        if text:
            console.answer(console.fold(f"  {label:<9} ", text))


def _told(label: str, value: object) -> str:
    if isinstance(value, list):
        return escape(" ".join(map(str, value)))
    if label == "expires" and isinstance(value, int):
        return _moment(value)
    if label == "policy" and isinstance(value, str):
        return escape(value[:_SHORT_HASH])
    return escape(str(value)) if value is not None else ""


def _moment(instant: int) -> str:
    return format_instant(instant - instant % 1000).replace("T", " ")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _facts(record: Record) -> dict[str, object]:
    try:
        return record.facts()
    except (ValueError, AssertionError):
        raise IntegrityError(f"record {record.seq} cannot be read", hint="tokenctl audit verify") from None
