"""``list``: which tokens there are, in the order in which they end."""

from __future__ import annotations

from itertools import islice

from tokenctl import terminal
from tokenctl.commands.context import Context
from tokenctl.commands.selection import Typed, read_selector
from tokenctl.errors import InvalidRequest
from tokenctl.formats import opaque
from tokenctl.model.introspection import Found
from tokenctl.model.times import format_duration, format_instant
from tokenctl.model.token import Token
from tokenctl.render.escape import cell, cut, escape
from tokenctl.render.machine import found_object

_SCREENFUL = 50
_MOST = 1_000_000_000


def list_tokens(context: Context, typed: Typed, *, limit: int | None, after: str | None) -> int:
    """Print the chosen tokens; none is an answer too.

    Raises:
        InvalidRequest: a selector is malformed (exit 2).
        NotFound: ``after`` is unknown (exit 5).
        IntegrityError: the store, or a row of it, does not check out (exit 10).
    """
    if limit is not None and not 1 <= limit <= _MOST:
        raise InvalidRequest(f"--limit: 1 to {_MOST}")
    selector = read_selector(typed, context.now)
    position = None
    if after is not None:
        position = opaque.named_id(after)
        if position is None:
            raise InvalidRequest("--after: not a token id")
    console = context.console
    screen = console.on_terminal and not console.machine
    shown = limit if limit is not None else _SCREENFUL if screen else None
    with context.backend() as backend:
        backend.housekeep()
        backend.require_trust()
        hidden = backend.hidden(selector.states) if console.chatty else 0
        found = backend.find(selector, after=position)
        taken = found if shown is None else islice(found, shown + 1)
        broken: list[str] = []
        count, last, more = 0, "", None
        documents: list[dict[str, object]] = []
        rows = []
        for entry in taken:
            if count == shown:
                more = last
                break
            count, last = count + 1, entry.token.id
            if not entry.intact:
                broken.append(entry.token.id)
                continue
            if console.output == "json":
                documents.append(found_object(entry, profile=backend.name, now=context.now))
            elif console.output == "jsonl":
                console.document(found_object(entry, profile=backend.name, now=context.now))
            elif screen:
                rows.append(entry)
            else:
                console.answer(_columns(entry))
        if console.output == "json":
            console.document({"tokens": documents, "next": more, "warnings": list(console.warnings)})
        if screen:
            _show(context, rows)
        _tell(context, count, more, hidden, backend.name)
        return _verdict(context, broken)


def _verdict(context: Context, broken: list[str]) -> int:
    for identifier in broken:
        context.console.complain(
            f"not shown: {identifier}, its row does not check out; run: {context.console.program} audit verify"
        )
    return 10 if broken else 0


def _columns(found: Found) -> str:
    """Return the frozen columns of a pipe."""
    token = found.token
    values = (
        token.id, found.standing.state, token.kind, cell(token.subject), cell(token.owner), cell(" ".join(token.scope)),
        cell(" ".join(token.audience)), format_instant(token.issued_at), format_instant(token.expires_at),
        "-" if token.last_used_at is None else format_instant(token.last_used_at),
    )  # fmt: skip
    return "\t".join(values)


def _show(context: Context, rows: list[Found]) -> None:
    """Print a table for a person; ids are never cut."""
    console, now = context.console, context.now
    if not rows:
        return
    table = [("ID", "STATUS", "USED", "SUBJECT", "SCOPE")]
    for found in rows:
        token = found.token
        status = found.standing.state + (f", {_largest(token.expires_at - now)}" if token.expires_at > now else "")
        table.append((token.id, status, _used(token, now), escape(token.subject), _scope(token)))
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    room = max(terminal.width() - sum(widths[:3]) - 8, 20)
    widths[3] = min(widths[3], max(room // 2, 10))
    for number, row in enumerate(table):
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].ljust(widths[2])]
        cells += [cut(row[3], widths[3]).ljust(widths[3]), cut(row[4], max(room - widths[3], 8))]
        line = "  ".join(cells).rstrip()
        console.answer(console.paint(line, "bold") if number == 0 else line)


def _largest(duration: int) -> str:
    return format_duration(duration).split()[0]


def _used(token: Token, now: int) -> str:
    if token.last_used_at is not None:
        return f"{_largest(now - token.last_used_at)} ago"
    return "offline" if token.format == "jwt" else "never"


def _scope(token: Token) -> str:
    if len(token.scope) > 1:
        return f"({len(token.scope)}) {escape(' '.join(token.scope))}"
    return cell(" ".join(token.scope))


def _tell(context: Context, count: int, more: str | None, hidden: int, profile: str) -> None:
    console = context.console
    told = f"{count} token{'s' * (count != 1)}, profile {profile}"
    if more is not None:
        told += f"; more follow: --after {more}"
    if hidden:
        told += f"; {hidden} expired or revoked not shown: --state all"
    console.chat(told)
