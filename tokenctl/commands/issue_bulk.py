"""``issue --count`` and ``issue --from``: many tokens, all checked before the first is minted, delivered batch by batch.

A rerun with the same request id makes and prints only what was not delivered.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from tokenctl import files, process
from tokenctl.backends.base import Backend
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.commands.issue import Manner
from tokenctl.commands.issue_delivery import group_of, mode_of, token_members
from tokenctl.commands.issue_request import Wish, check_batch, read_row, read_wish
from tokenctl.errors import InvalidConfiguration, InvalidRequest, PolicyDenied, TemporarilyUnavailable, TokenctlError
from tokenctl.model.identifier import new_id
from tokenctl.model.times import format_instant
from tokenctl.model.token import IssuedToken, Reason, Target, TokenRequest
from tokenctl.render.progress import Progress

_MOST = 1_000_000  # tokens of one run
_LONGEST_INPUT = 1024 * 1024 * 1024  # bytes
_TOLD = 20  # faults
_FIRST_BATCH = 64  # tokens; the next ones follow from how long it took
_LARGEST_BATCH = 5_000
_BATCH_SECONDS = 0.1


class Row(NamedTuple):
    """One token of a bulk issue: where it is asked for, and what is asked."""

    line: int
    request: TokenRequest


def issue_many(context: Context, wish: Wish, manner: Manner) -> int:
    """Check every row, then mint, write and note as delivered, a batch at a time.

    Raises:
        InvalidRequest: a row is malformed: nothing was made (exit 2).
        PolicyDenied, Conflict, NotFound: a row is refused: nothing was made (exit 12, 6, 5).
        TemporarilyUnavailable: it stopped in between; what was delivered stays, a rerun makes the rest (exit 7).
    """
    batch = wish.request_id if wish.request_id is not None else new_id(context.now)
    with context.backend() as backend:
        rows = _rows_of(context, wish, manner, backend, batch)
        waiting = _checked(context, backend, rows, batch)
        if manner.dry_run:
            return _preview(context, rows, waiting)
        bulk = _Bulk(context, backend, batch, waiting, before=len(rows) - len(waiting))
        return bulk.run(manner)


# The rows


def _rows_of(context: Context, wish: Wish, manner: Manner, backend: Backend, batch: str) -> list[Row]:
    if manner.source is not None:
        check_batch(wish.request_id)
        return _read_rows(context, wish, manner.source, backend, batch)
    number = manner.number or 0
    if not 1 <= number <= _MOST:
        raise InvalidRequest(f"--count: 1 to {_MOST}")
    request = read_wish(wish, context, backend)._replace(batch=batch, request_id=None)
    if wish.request_id is None:
        return [Row(line=line, request=request) for line in range(1, number + 1)]
    return [Row(line=line, request=request._replace(request_id=_item(batch, line))) for line in range(1, number + 1)]


def _item(batch: str, line: int) -> str:
    """Return the request id of a row without one: with a character that none that is typed can hold, so that none is the same."""
    return f"{batch}/{line}"


def _read_rows(context: Context, wish: Wish, source: str, backend: Backend, batch: str) -> list[Row]:
    rows: list[Row] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    what = "standard input" if source == "-" else source
    for line, text in _lines(source, what):
        if len(rows) == _MOST:
            raise InvalidRequest(f"{what} has more than {_MOST} rows", hint="part it")
        try:
            row = read_row(text, wish)
            request = read_wish(row, context, backend)
        except InvalidRequest as error:
            faults.append(f"line {line}: {error.message}")
            continue
        except InvalidConfiguration as error:
            error.message = f"line {line}: {error.message}: nothing was made"
            raise
        own = row.request_id if row.request_id != wish.request_id else None
        if own is not None and seen.setdefault(own, line) != line:
            faults.append(f"line {line}: its request_id stands in line {seen[own]} too")
        named = own or (_item(batch, line) if wish.request_id is not None else None)
        rows.append(Row(line=line, request=request._replace(batch=batch, request_id=named)))
    if faults:
        raise _together(what, faults)
    if not rows:
        raise InvalidRequest(f"{what} is empty", hint='a row is a line of JSON: {"subject": "alice"}')
    return rows


def _lines(source: str, what: str) -> Iterator[tuple[int, str]]:
    descriptor = 0 if source == "-" else inputs.open_file(source)
    try:
        for line, text in enumerate(inputs.lines_of(descriptor, what=what, limit=_LONGEST_INPUT), 1):
            if text.strip():
                yield line, text
    finally:
        if descriptor:
            os.close(descriptor)


def _together(what: str, faults: list[str]) -> InvalidRequest:
    told = "; ".join(faults[:_TOLD]) + (f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else "")
    return InvalidRequest(f"{what}: {told}: nothing was made", hint="tokenctl issue --help")


def _checked(context: Context, backend: Backend, rows: list[Row], batch: str) -> list[Row]:
    """Return the rows that are not delivered yet, all admitted; refuse all of them for one that is not."""
    waiting: list[Row] = []
    refused: list[tuple[Row, TokenctlError]] = []
    for row, error in zip(rows, backend.foresee(row.request for row in rows), strict=True):
        if error is None:
            waiting.append(row)
        elif error.reason != "request_id_used":
            refused.append((row, error))
    denied = [(row.request, error) for row, error in refused if isinstance(error, PolicyDenied)]
    if denied:
        backend.refuse(denied[:_TOLD])
    if refused:
        told = "; ".join(f"line {row.line}: {error.message}" for row, error in refused[:_TOLD])
        told += f"; and {len(refused) - _TOLD} more" if len(refused) > _TOLD else ""
        worst = next((error for _, error in refused if not isinstance(error, PolicyDenied)), refused[0][1])
        raise type(worst)(f"{told}: nothing was made", hint=worst.hint, reason=worst.reason)
    return waiting


def _preview(context: Context, rows: list[Row], waiting: list[Row]) -> int:
    before = len(rows) - len(waiting)
    if context.console.machine:
        warnings = list(context.console.warnings)
        context.console.document(
            {"dry_run": True, "allowed": True, "rows": len(rows), "delivered_before": before, "warnings": warnings}
        )
    else:
        told = f"; {before} were delivered before" if before else ""
        context.console.answer(f"would issue  {len(waiting)} token{'s' * (len(waiting) != 1)}{told}")
    return 0


# The work


class _Sink:
    """Where the lines go: standard output, a descriptor, or a file that grows by whole, durable batches.

    With ``-o json`` standard output gets one document, written as its tokens come.
    """

    def __init__(self, context: Context, manner: Manner, batch: str, unbroken: process.Unbroken) -> None:
        self._context = context
        self._batch = batch
        self._unbroken = unbroken
        self._out = manner.out
        self._plain = context.console.output == "text"
        self._begun = False
        if manner.fd is not None:
            self._descriptor = process.adopt_descriptor(manner.fd, writing=True, forbidden=context.own_files())
        elif manner.out is not None:
            context.refuse_own(manner.out)
            self._descriptor = files.create_exclusive(manner.out, mode=mode_of(manner.mode), group=group_of(manner.group))
        else:
            self._descriptor = 1

    def deliver(self, rows: list[Row], made: list[IssuedToken]) -> None:
        """Write a batch with its secrets; of a file that did not take all of it, nothing of it is left.

        Raises:
            OSError, KeyboardInterrupt: it was not delivered.
        """
        if self._descriptor == 1:
            self._answer(rows, made, secret=True)
            return
        size = os.fstat(self._descriptor).st_size
        lines = [self._line(row, issued, secret=True) for row, issued in zip(rows, made, strict=False)]
        try:
            self._unbroken.write(self._descriptor, b"".join(line + b"\n" for line in lines))
            if self._out is not None:
                os.fsync(self._descriptor)
        except BaseException:
            if self._out is not None:
                os.ftruncate(self._descriptor, size)
            raise

    def tell(self, rows: list[Row], made: list[IssuedToken]) -> None:
        """Say on standard output what went into the file; raises OSError, KeyboardInterrupt."""
        if self._out is not None:
            self._answer(rows, made, secret=False)

    def _answer(self, rows: list[Row], made: list[IssuedToken], *, secret: bool) -> None:
        lines = [self._line(row, issued, secret=secret) for row, issued in zip(rows, made, strict=False)]
        if self._context.console.output != "json":
            self._unbroken.write(1, b"".join(line + b"\n" for line in lines))
            return
        begin = b", " if self._begun else b'{"tokens": ['
        self._begun = True
        self._unbroken.write(1, begin + b", ".join(lines))

    def _line(self, row: Row, issued: IssuedToken, *, secret: bool) -> bytes:
        if self._plain or (self._context.console.output is None and not secret):
            return issued.text.reveal() if secret else issued.token.id.encode("ascii")
        members = token_members(self._context, issued, now=issued.token.issued_at)
        members |= {"line": row.line, "token": issued.text.reveal().decode("ascii") if secret else None, "out": self._out}
        return json.dumps(members).encode("ascii")

    def end(self) -> None:
        """Close what was opened: the document, and the file, which goes where nothing was delivered into it."""
        if self._descriptor != 1:
            if self._out is not None and not os.fstat(self._descriptor).st_size:
                os.unlink(self._out)
            os.close(self._descriptor)
        if self._context.console.output == "json" and (self._descriptor == 1 or self._out is not None):
            rest = json.dumps({"request_id": self._batch, "warnings": list(self._context.console.warnings)})
            begin = "" if self._begun else '{"tokens": ['
            with suppress(OSError):  # what could not be delivered was told already
                files.write_all(1, f"{begin}], {rest[1:]}\n".encode("ascii"))


class _Bulk:
    """One run over the rows that wait."""

    def __init__(self, context: Context, backend: Backend, batch: str, rows: list[Row], *, before: int) -> None:
        self._context = context
        self._backend = backend
        self._batch = batch
        self._rows = rows
        self._before = before
        self._done = 0
        self._position = 0

    def run(self, manner: Manner) -> int:
        """Mint and deliver; raises what stopped it, after telling how far it came. An interrupt waits for its batch."""
        progress = Progress(self._context.console, "issued", len(self._rows))
        size = _FIRST_BATCH
        with process.Unbroken() as unbroken:
            sink = _Sink(self._context, manner, self._batch, unbroken)
            try:
                while self._position < len(self._rows):
                    unbroken.pause()
                    unbroken.resume()
                    started = time.monotonic()
                    self._deliver(self._rows[self._position : self._position + size], sink)
                    progress.reach(self._done)
                    quickness = _BATCH_SECONDS / max(time.monotonic() - started, 0.001)
                    size = max(1, min(int(size * min(quickness, 4)), _LARGEST_BATCH))
            except BaseException:
                progress.finish()
                self._tell_rest()
                raise
            finally:
                sink.end()
        progress.finish()
        self._tell_end()
        return 0

    def _deliver(self, rows: list[Row], sink: _Sink) -> None:
        """Mint a batch, write it, note its delivery; what could not be written is revoked."""
        self._backend.journal.catch_up()
        made: list[IssuedToken] = []
        skipped = 0
        failed: TokenctlError | None = None
        try:
            for issued in self._backend.issue(row.request for row in rows):
                made.append(issued)  # noqa: PERF402  # what was made before an error must be known
        except TokenctlError as error:
            if error.reason == "request_id_used":  # another run of the same request was quicker with this row
                skipped = 1
            else:
                failed = _stopped(error)
        if made:
            self._write(rows, made, sink)
        self._position += len(made) + skipped
        self._before += skipped
        if failed is not None:
            raise failed

    def _write(self, rows: list[Row], made: list[IssuedToken], sink: _Sink) -> None:
        many = f"{len(made)} token{'s' * (len(made) != 1)}"
        try:
            sink.deliver(rows, made)
        except (OSError, KeyboardInterrupt) as error:
            reason = Reason(reason="undelivered", request_id=self._batch)
            fate = self._revoked(made, reason)
            if isinstance(error, KeyboardInterrupt):
                self._context.console.complain(f"{many} of the last batch {fate}: nobody was taking them")
                raise
            raise TemporarilyUnavailable(
                f"{many} could not be delivered ({files.cause_of(error)}): {fate}",
                hint="mend the output and run again", reason="undelivered",
            ) from None  # fmt: skip
        late = set(self._backend.delivery.delivered([issued.token.id for issued in made]))
        self._done += len(made) - len(late)
        if late:
            lines = [str(row.line) for row, issued in zip(rows, made, strict=False) if issued.token.id in late]
            told = ", ".join(lines[:_TOLD]) + (f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else "")
            raise TemporarilyUnavailable(
                f"{len(late)} of {many} just written are not accepted, lines {told}: they reached their taker too late, "
                "or another run of the same request replaced them",
                hint="run again for others", reason="undelivered",
            )  # fmt: skip
        try:
            sink.tell(rows, made)
        except OSError as error:
            raise TemporarilyUnavailable(
                f"cannot write to stdout: {files.cause_of(error)}", hint="check where stdout goes, then run again"
            ) from None

    def _revoked(self, made: list[IssuedToken], reason: Reason) -> str:
        """Revoke what nobody took; say what became of it."""
        targets = [Target(id=issued.token.id, text=issued.text) for issued in made]
        outcomes = list(self._backend.revoke(targets, reason))
        left = [outcome for outcome in outcomes if outcome.outcome not in ("revoked", "already_revoked")]
        if not left:
            return "revoked"
        until = max(issued.token.expires_at for issued in made)
        return f"revoked, but {len(left)} that may be accepted until {format_instant(until)}"

    def _tell_rest(self) -> None:
        console = self._context.console
        console.complain(f"{self._done} issued and delivered, {len(self._rows) - self._done} not; request {self._batch}")
        if self._rows[0].request.request_id is not None:
            console.complain("run again with the same request id for the rest")
        elif self._done:
            console.complain(f"undo: {console.command} revoke --batch {self._batch}")

    def _tell_end(self) -> None:
        console = self._context.console
        before = f", {self._before:,} before" if self._before else ""
        console.chat(f"issued  {self._done:,} token{'s' * (self._done != 1)}{before}, profile {self._backend.name}")
        if self._done:
            console.chat(f"undo    {console.command} revoke --batch {self._batch}")


def _stopped(error: TokenctlError) -> TokenctlError:
    """Return what stopped a run that has made tokens by now: it is never exit 2, which says that nothing was touched."""
    if error.exit_code != InvalidRequest.exit_code:
        return error
    return TemporarilyUnavailable(error.message, hint=error.hint, reason=error.reason)
