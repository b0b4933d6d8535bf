"""``audit reconcile``: what is left half done, told one by one and settled."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenctl.backends.base import Backend
from tokenctl.backends.local import reconciling
from tokenctl.backends.local.reconciling import Settled
from tokenctl.commands.context import Context
from tokenctl.errors import Partial
from tokenctl.model.times import SECOND, format_distance, format_exactly, format_instant
from tokenctl.render.escape import cell, escape
from tokenctl.render.machine import instant

OUTCOMES = ("revoked", "lifted", "absent", "lapsed", "pending", "waiting")


class Told(NamedTuple):
    """What is told of one thing that was left half done.

    Attributes:
        mend: The command that does again what was not done; ``None`` where none does.
    """

    id: str
    what: str
    outcome: str
    at: int | None
    detail: str
    mend: str | None


def reconcile(context: Context, *, dry_run: bool) -> int:
    """Settle what is due and tell each; what may still arrive in time is only told.

    Returns:
        0; 11 where a suspension that ended cannot be lifted as the store stands, or an intent cannot be settled yet.

    Raises:
        TemporarilyUnavailable: the store is busy or cannot be written (exit 7); what was told is settled.
    """
    with context.backend() as backend:
        with backend.journal.reading() as view:
            if view is not None and view.quarantine is not None:
                context.console.warn(f"the store is quarantined: {view.quarantine}")
            no_store = view is None
        counts = _tell(context, _found(context, backend, dry_run=dry_run), dry_run=dry_run)
        place = f"profile {backend.name} ({backend.place})"
    if no_store:
        context.console.chat(f"nothing to settle: {place} has no store yet", folded=True)
    else:
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count) or "nothing to settle"
        context.console.chat(f"{told}{', not done yet' if dry_run and counts.total() else ''}: {place}", folded=True)
    return Partial.exit_code if counts["waiting"] else 0


def _found(context: Context, backend: Backend, *, dry_run: bool) -> Iterator[Told]:
    settled = reconciling.foresee(backend.journal) if dry_run else reconciling.reconcile(backend.journal)
    for each in settled:
        token = each.token
        yield Told(token.id, each.what, each.outcome, each.at, _detail(context, each), _mend(context, each))
    if backend.kind != "local":
        from tokenctl.commands.audit.reconcile_remote import found

        yield from found(context, backend, dry_run=dry_run)


def _tell(context: Context, found: Iterable[Told], *, dry_run: bool) -> Counter[str]:
    console = context.console
    counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    before = '{"settled": ['
    for each in found:
        counts[each.outcome] += 1
        if console.output == "json":
            console.answer_bytes(f"{before}{_dumped(each)}".encode("ascii"))
            before = ", "
        elif console.output == "jsonl":
            console.answer(_dumped(each))
        elif dry_run or not console.quiet:
            _line(context, each, dry_run=dry_run)
        elif each.outcome == "waiting":
            console.complain(f"not settled: {each.id}, {each.detail}")
    if console.output == "json":
        rest = {"dry_run": dry_run, "counts": dict(counts), "profile": console.profile, "warnings": list(console.warnings)}
        console.answer(f"{'' if before == ', ' else before}], {json.dumps(rest)[1:]}")
    return counts


def _dumped(each: Told) -> str:
    return json.dumps(
        {"id": each.id, "what": each.what, "outcome": each.outcome, "at": instant(each.at),
         "detail": each.detail, "mend": each.mend}
    )  # fmt: skip


def _line(context: Context, each: Told, *, dry_run: bool) -> None:
    console, mend = context.console, each.mend
    if console.on_terminal and not dry_run:
        told = f"{each.what}, {each.detail}"
        console.answer(console.fold(f"{each.outcome:<8} {each.id}  ", escape(told)))
        if mend is not None:
            console.answer(f"  again: {escape(mend)}")
        return
    at = "-" if each.at is None else format_instant(each.at - each.at % SECOND)
    console.answer("\t".join((each.id, each.what, each.outcome, at, cell(each.detail), escape(mend or "-"))))


def _detail(context: Context, each: Settled) -> str:
    token = each.token
    about = f"{token.kind} token of {token.owner} for {token.subject or '-'}"
    if each.outcome == "pending":
        return f"{about}, may still arrive; denied {format_distance(each.at or 0, context.now)}"
    if each.outcome == "waiting":
        return f"{about}, its suspension ended and it cannot be lifted: run audit verify, or set the clock"
    return f"{about}, issued {format_distance(token.issued_at, context.now)}"


def _mend(context: Context, each: Settled) -> str | None:
    """Return the command that issues a token again that did not arrive; claims of its own are not kept and not in it."""
    token = each.token
    if each.what != "undelivered" or each.outcome != "revoked" or token.run is not None:
        return None
    if token.replaces is not None:
        options = [("--replace", token.replaces)]
        options += [("--grace", format_exactly(token.grace))] if token.grace is not None else []
    else:
        options = [("--subject", token.subject), ("--owner", token.owner), ("--kind", token.kind), ("--format", token.format)]
        options += [("--scope", scope) for scope in token.scope] + [("--audience", audience) for audience in token.audience]
        options += [("--label", f"{name}={value}") for name, value in token.labels]
        more = (("--algorithm", each.algorithm), ("--parent", token.parent), ("--max-uses", token.max_uses))
        options += [(option, str(value)) for option, value in more if value is not None]
    options += [("--note", token.note)] if token.note is not None else []
    lifetime = token.expires_at - max(token.issued_at, token.not_before or 0)
    options += [("--ttl", format_exactly(lifetime)), ("--out", f"{token.id}.token")]
    if any(not value.isprintable() or value.startswith("-") for _, value in options):
        return None  # no line can hold it
    return f"{context.console.command} issue {shlex.join(word for option in options for word in option)}"
