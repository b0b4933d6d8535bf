"""``list``: which tokens there are, in the order in which they end."""

from __future__ import annotations

import json
from typing import Protocol

from tokenctl import terminal
from tokenctl.commands.context import Context
from tokenctl.commands.selection import Typed, read_selector
from tokenctl.errors import InvalidRequest
from tokenctl.model.introspection import Found
from tokenctl.model.times import format_duration, format_instant
from tokenctl.model.token import Token
from tokenctl.render.console import Console
from tokenctl.render.escape import cell, cut, escape, pad, width
from tokenctl.render.machine import found_object

_SCREENFUL = 50
_MOST = 1_000_000_000
_GAP = "  "
_NARROWEST = 10  # columns of a subject, or of scopes


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
    console = context.console
    screen = console.on_terminal and not console.machine
    shown = limit if limit is not None else _SCREENFUL if screen else None
    with context.backend() as backend:
        position = backend.id_of(after) if after is not None else None
        if after is not None and position is None:
            raise InvalidRequest("--after: not a token id")
        backend.housekeep()
        backend.require_trust()
        printer = _printer(context, backend.name)
        broken: list[str] = []
        count, last, more = 0, "", None
        for entry in backend.directory.find(selector, after=position):
            if count == shown:
                more = last
                break
            count, last = count + 1, entry.token.id
            if entry.intact:
                printer.add(entry)
            else:
                broken.append(entry.token.id)
        printer.end(more)
        if console.chatty:
            whole = typed == Typed() and more is None and after is None
            unshown = backend.directory.total() - count if whole else None
            _tell(context, count, more, unshown, backend.name, states=bool(typed.state))
    for identifier in broken:
        console.complain(f"not shown: {identifier}, its row does not check out; run: {console.command} audit verify")
    return 10 if broken else 0


class _Printer(Protocol):
    """Prints the tokens as they come, so that a long list takes no memory."""

    def add(self, found: Found) -> None: ...

    def end(self, more: str | None) -> None: ...


def _printer(context: Context, profile: str) -> _Printer:
    console = context.console
    if console.output == "json":
        return _Document(context, profile)
    if console.output == "jsonl":
        return _Lines(context, profile)
    return _Table(context) if console.on_terminal else _Columns(console)


class _Document:
    """One JSON object, written as its tokens come."""

    def __init__(self, context: Context, profile: str) -> None:
        self._context = context
        self._profile = profile
        self._before = '{"tokens": ['

    def add(self, found: Found) -> None:
        members = json.dumps(found_object(found, profile=self._profile, now=self._context.now))
        self._context.console.answer_bytes(f"{self._before}{members}".encode("ascii"))
        self._before = ", "

    def end(self, more: str | None) -> None:
        rest = json.dumps({"next": more, "warnings": list(self._context.console.warnings)})
        begun = "" if self._before == ", " else self._before
        self._context.console.answer(f"{begun}], {rest[1:]}")


class _Lines:
    def __init__(self, context: Context, profile: str) -> None:
        self._context = context
        self._profile = profile

    def add(self, found: Found) -> None:
        self._context.console.document(found_object(found, profile=self._profile, now=self._context.now))

    def end(self, more: str | None) -> None:
        return


class _Columns:
    """The frozen columns of a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def add(self, found: Found) -> None:
        token = found.token
        values = (
            token.id, found.standing.state, token.kind, cell(token.subject), cell(token.owner), cell(" ".join(token.scope)),
            cell(" ".join(token.audience)), format_instant(token.issued_at), format_instant(token.expires_at),
            "-" if token.last_used_at is None else format_instant(token.last_used_at),
        )  # fmt: skip
        self._console.answer("\t".join(values))

    def end(self, more: str | None) -> None:
        return


class _Table:
    """A table for a person, as wide as the terminal; ids are never cut. More rows than a screen come in parts."""

    _HEAD = ("ID", "STATUS", "USED", "SUBJECT", "SCOPE")
    _PART = 1000  # rows whose widths are one

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._now = context.now
        self._rows: list[tuple[str, ...]] = []
        self._headed = False

    def add(self, found: Found) -> None:
        token = found.token
        status = found.standing.state
        if token.revoked_at is not None:
            status += f", {_largest(self._now - token.revoked_at)} ago"
        elif token.ends_at > self._now:
            status += f", {_largest(token.ends_at - self._now)}"
        self._rows.append((token.id, status, _used(token, self._now), escape(token.subject), _scope(token)))
        if len(self._rows) == self._PART:
            self._flush()

    def end(self, more: str | None) -> None:
        self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        table = self._rows if self._headed else [self._HEAD, *self._rows]
        first = [max(width(row[column]) for row in table) for column in range(3)]
        room = max(terminal.width() - sum(first) - 4 * len(_GAP), 2 * _NARROWEST)
        subject = min(max(width(row[3]) for row in table), max(room - _NARROWEST, _NARROWEST))
        scopes = max(width(row[4]) for row in table)
        if subject + scopes > room:  # both give way, the wider one first
            subject = min(subject, max(room - scopes, room // 2))
        for row in table:
            cells = [pad(text, columns) for text, columns in zip(row, first, strict=False)]
            cells += [pad(cut(row[3], subject), subject), cut(row[4], room - subject)]
            line = _GAP.join(cells).rstrip()
            self._console.answer(self._console.paint(line, "bold") if row is self._HEAD else line)
        self._rows, self._headed = [], True


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


def _tell(context: Context, count: int, more: str | None, hidden: int | None, profile: str, *, states: bool) -> None:
    told = f"{count:,} token{'s' * (count != 1)}, profile {profile}"
    if more is not None:
        told += f"; more follow: --after {more}"
    if hidden:
        told += f"; {hidden:,} expired, revoked or spent not shown: --state all"
    elif hidden is None and more is None and not states:
        told += "; living ones only, all with --state all"
    context.console.chat(told)
