"""How records look: a line or a block for a person, columns in a frozen order for a pipe."""

from __future__ import annotations

from tokenctl import terminal
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError
from tokenctl.model.record import ACTOR_MEMBERS, MEMBERS, RECORD_VERSION, Record
from tokenctl.model.times import format_distance, format_instant
from tokenctl.render.escape import cell, cut, escape, pad

_SHORT_HASH = 12  # characters of a policy's hash for a person
_NARROWEST = 68  # columns that hold time, operation and id whole
_ID = 22  # characters
_OPERATION = 14  # characters of most names
_LABELS = {
    "subject": "subject", "owner": "owner", "kind": "kind", "format": "format", "scope": "scope", "audience": "audience",
    "expires_at": "expires", "parent": "parent", "kid": "key", "reason": "reason", "ticket": "ticket", "request_id": "request",
    "policy": "policy",
}  # fmt: skip


def line(context: Context, record: Record) -> None:
    """Print a record on one line; columns are only ever added behind the last."""
    facts = facts_of(record)
    if context.console.on_terminal:
        told = (record.actor, text(facts.get("reason")), text(facts.get("ticket")), text(facts.get("subject")), _gone(record))
        target = cut(cell(record.target), _ID)  # the hash of a file is told whole by the record
        shown = f"{moment(record.time)}  {pad(cell(record.operation), _OPERATION)}  {pad(target, _ID)}  "
        what = escape(", ".join(part for part in told if part))
        context.console.answer(cut(shown + what, max(terminal.width(), _NARROWEST)))
        return
    values = [
        str(record.seq), format_instant(record.time - record.time % 1000), cell(record.operation), cell(record.target),
        cell(record.actor), cell(text(facts.get("subject"))), cell(str(facts.get("reason") or _outcome(record, facts))),
        cell(text(facts.get("ticket"))), cell(text(facts.get("request_id"))),
    ]  # fmt: skip
    context.console.answer("\t".join(values))


def raw(context: Context, record: Record) -> None:
    """Print the body of a record as it is kept; a terminal sees no control character that somebody wrote into it."""
    if context.console.on_terminal:
        context.console.answer(escape(record.body.decode("latin-1")))
    else:
        context.console.answer_bytes(record.body + b"\n")


def block(context: Context, record: Record) -> None:
    """Print everything that a record says, for a person."""
    console, facts = context.console, facts_of(record)
    outcome = _outcome(record, facts) or "-"
    head = f"{moment(record.time)}  {cell(record.operation)}{'' if outcome == 'done' else f', {escape(outcome)}'}"
    console.answer(f"{head}  {format_distance(record.time, context.now)}")
    told: dict[str, object] = {"record": str(record.seq), "target": record.target, "by": actor_in_words(facts.get("actor"))}
    told |= {label: facts.get(name) for name, label in _LABELS.items()} | {"more": _gone(record)}
    for label, value in told.items():
        shown = _told(label, value)
        if shown:
            console.answer(console.fold(f"  {label:<9} ", shown))


def _outcome(record: Record, facts: dict[str, object]) -> str | None:
    return text(facts.get("outcome")) if record.archived is None else "archived"


def _gone(record: Record) -> str | None:
    """Say where the rest of an archived record lies."""
    return None if record.archived is None else f"in the archive that record {record.archived} names"


def _told(label: str, value: object) -> str:
    if isinstance(value, list):
        return escape(" ".join(map(str, value)))
    if label == "expires" and isinstance(value, int):
        return moment(value)
    if label == "policy" and isinstance(value, str):
        return escape(value[:_SHORT_HASH])
    return escape(str(value)) if value is not None else ""


def actor_in_words(actor: object) -> str:
    """Say who did it and how that is known: what the system vouches for, and what the environment only asserts."""
    if not isinstance(actor, dict):
        return "-"
    told = [f"{actor.get('name')}@{actor.get('host')}"]
    if actor.get("uid") is not None:
        told[0] += f", uid {actor['uid']}"
    if actor.get("loginuid") is not None:
        told.append(f"logged in as uid {actor['loginuid']}")
    if actor.get("sudo_uid") is not None:
        told.append(f"sudo from uid {actor['sudo_uid']} (asserted by the environment)")
    if isinstance(actor.get("machine"), str):
        told.append(f"machine {actor['machine'][:_SHORT_HASH]} (hashed)")
    if actor.get("profile") is not None:
        told.append(f"profile {actor['profile']}")
    if actor.get("remote_subject") is not None:
        told.append(f"at the service as {actor['remote_subject']}")
    return ", ".join(told)


def moment(instant: int) -> str:
    """Write an instant to the second."""
    return format_instant(instant - instant % 1000).replace("T", " ")


def told_moment(instant: int, now: int) -> str:
    """Write an instant with its distance."""
    return f"{moment(instant)}   {format_distance(instant, now)}"


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def facts_of(record: Record) -> dict[str, object]:
    """Return what a record says; of one that is archived what its columns say, the rest ``None``.

    Raises:
        IntegrityError: it cannot be read (exit 10).
    """
    if record.archived is not None:
        name, _, host = record.actor.rpartition("@")
        actor = dict.fromkeys(ACTOR_MEMBERS) | {"name": name, "host": host}
        return dict.fromkeys(MEMBERS) | {
            "seq": record.seq, "time": record.time, "operation": record.operation, "target": record.target,
            "request_id": record.request, "ticket": record.ticket, "actor": actor, "v": RECORD_VERSION,
        }  # fmt: skip
    try:
        return record.facts()
    except (ValueError, AssertionError):
        raise IntegrityError(f"record {record.seq} cannot be read", hint="tokenctl audit verify") from None
