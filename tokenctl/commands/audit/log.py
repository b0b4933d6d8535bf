"""``audit log``: the records that a question is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.backends.base import Backend
from tokenctl.backends.local.view import View
from tokenctl.commands.audit import screen
from tokenctl.commands.context import Context
from tokenctl.commands.selection import Typed, read_selector
from tokenctl.errors import InvalidRequest, Partial, naming
from tokenctl.model.record import OPERATIONS, Record
from tokenctl.model.selector import Selector
from tokenctl.model.times import parse_instant
from tokenctl.render.machine import record_object

_SCREENFUL = 50
_MOST = 1_000_000_000
_LAST_NUMBER = 2**62
_PAGE = 1_000  # records of one transaction: a slow reader of the answer keeps none open


class Question(NamedTuple):
    """What is asked, as it was typed.

    Attributes:
        token: ``-`` where tokens are read from standard input.
        after, before: Numbers of records between which the answer lies.
        follow: Go on with what is recorded from now on.
        raw: Print the bodies as they are kept.
        patience: Seconds after which following ends; ``None`` for never.
        ask: The profile whose service is sent whatever is presented.
    """

    selectors: Typed = Typed()
    since: str | None = None
    until: str | None = None
    operation: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    ticket: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    token: str | None = None
    limit: int | None = None
    after: int | None = None
    before: int | None = None
    follow: bool = False
    raw: bool = False
    patience: float | None = None
    all_profiles: bool = False
    ask: str | None = None


class Choice(NamedTuple):
    """Which records are meant, ready to be asked for; ``selector`` is ``None`` where no tokens are selected."""

    filter: query.Filter
    selector: Selector | None = None

    def among(self, view: View, *, few: bool = False) -> query.Filter:
        """Return the filter with the tokens of the selector as they stand now; ``few`` where few records are asked for."""
        if self.selector is None:
            return self.filter
        from tokenctl.backends.local.asking import tokens_of

        return self.filter._replace(tokens=tokens_of(view, self.selector, many=few))


def log(context: Context, question: Question) -> int:
    """Print the records that were asked for, oldest first; none is an answer too.

    Returns:
        0; 5 or 10 for ``--token``; 11 where the bodies of some are archived and ``--raw`` was asked for, or a selector of which
        only the body of a refused issue tells.

    Raises:
        InvalidRequest: malformed (exit 2).
        NotFound: no token that was presented is known by its secret (exit 5).
        IntegrityError: a record cannot be read, or what is followed was restored or cut (exit 10).
    """
    if question.all_profiles:
        from tokenctl.commands.audit.everywhere import log_everywhere

        return log_everywhere(context, question)
    if question.ask is not None and question.token is None:
        raise InvalidRequest("--ask goes with --token -")
    context = context.asking(question.ask)
    console, limit, forward = context.console, question.limit, question.after is not None
    if limit is None and console.on_terminal and not console.machine and not question.raw:
        limit = _SCREENFUL
    code, found = 0, list[dict[str, str]]()
    with context.backend() as backend:
        choice = _read(context, backend, question)
        if question.token is not None:
            from tokenctl.commands.audit import presented, traces

            proved = presented.read(backend)
            code = presented.complain(context, backend, proved)
            if not proved.ids:
                return code
            choice = choice._replace(filter=choice.filter._replace(target=proved.ids))
            found, missed = ([], 0) if question.raw else traces.of(context, backend, proved.texts)
            code = code or missed
        size = _warn(context, backend)
        ended = choice._replace(filter=_up_to(choice.filter, size))
        first, last, shown, archived, documents = None, None, 0, 0, []
        for record in pages(backend, ended, limit=limit, forward=forward):
            first, last, shown = first or record.seq, record.seq, shown + 1
            if console.output == "json":
                documents.append(document(record))
            elif question.raw and record.archived is not None:
                archived += 1
            elif question.raw:
                screen.raw(context, record)
            else:
                print_record(context, record)
        left_out = _warn_of_untold(context, backend, ended, _bounds(ended, first, last, limit == shown, forward=forward))
        if console.output == "json":
            newer = _neighbour(backend, ended, behind=last) if forward else None
            older = _neighbour(backend, ended, before=first) if not forward and limit is not None else None
            console.document(
                {"records": documents, "next": newer, "previous": older, "traces": found, "warnings": list(console.warnings)}
            )
        elif found:
            traces.tell(context, found)
        if question.follow:
            from tokenctl.commands.audit.follow import follow

            follow(context, backend, choice, size, patience=question.patience)
        else:
            console.chat(f"{shown:,} of {size:,} records, profile {backend.name}{_more(question, limit, shown, first, last)}")
    if archived:
        plural = "bodies lie" if archived > 1 else "body lies"
        console.complain(f"{archived:,} {plural} in archives and not in the store: tokenctl-log(5) tells how to add them")
    return code or (Partial.exit_code if archived or left_out else 0)


def _bounds(choice: Choice, first: int | None, last: int | None, full: bool, *, forward: bool) -> query.Filter:
    """Return the filter of what was looked through: with a limit that was reached not all that was asked for."""
    chosen = choice.filter
    if full and forward and last is not None:
        return chosen._replace(before=last + 1)
    return chosen._replace(behind=first - 1) if full and first is not None else chosen


def _warn_of_untold(context: Context, backend: Backend, choice: Choice, chosen: query.Filter) -> int:
    """Warn of refused issues that cannot be judged by a selector any more; return how many those are."""
    if choice.selector is None:
        return 0
    from tokenctl.backends.local.asking import untold

    with backend.journal.reading() as view:
        count = untold(view, choice.selector, chosen) if view is not None else 0
    if count:
        many = "1 refused issue whose body is archived was"
        if count > 1:
            many = f"{count:,} refused issues whose bodies are archived were"
        listing = f"{context.console.command} audit log --operation token.deny"
        context.console.warn(f"{many} left out: only the archive tells for whom; all of them: {listing}")
    return count


def _more(question: Question, limit: int | None, shown: int, first: int | None, last: int | None) -> str:
    if limit is None or shown < limit:
        return ""
    return f"; newer: --after {last}" if question.after is not None else f"; older: --before {first}"


def _read(context: Context, backend: Backend, question: Question) -> Choice:
    """Read a question; raises InvalidRequest (exit 2)."""
    for option, number, least in (
        ("--limit", question.limit, 1),
        ("--after", question.after, 0),
        ("--before", question.before, 1),
    ):
        if number is not None and not least <= number <= (_MOST if option == "--limit" else _LAST_NUMBER):
            raise InvalidRequest(f"{option}: {least} to {_MOST if option == '--limit' else 'the number of a record'}")
    if question.follow and context.console.output == "json":
        raise InvalidRequest("--follow has no end, and -o json is one document", hint="-o jsonl prints a record a line")
    if question.raw and (question.follow or context.console.machine):
        raise InvalidRequest("--raw prints bodies as they are kept: leave -o and --follow out")
    if question.follow and (question.until is not None or question.before is not None):
        raise InvalidRequest("--follow has no end: leave --until and --before out")
    if question.token not in (None, "-"):
        raise InvalidRequest("--token reads the token from standard input", hint="tokenctl audit log --token - < FILE")
    if question.token is not None and (question.target or question.selectors.any):
        raise InvalidRequest("--token names the tokens: leave --target and the selectors out")
    for option, texts in (("--ticket", question.ticket), ("--request-id", question.request_id)):
        if not all(texts):
            raise InvalidRequest(f"{option}: is empty")
    if any("*" in request for request in question.request_id):
        raise InvalidRequest("--request-id: is taken whole, and none has an asterisk")
    with naming("--since"):
        since = parse_instant(question.since, context.now, ago=True) if question.since is not None else None
    with naming("--until"):
        until = parse_instant(question.until, context.now, ago=True) if question.until is not None else None
    if since is not None and until is not None and until < since:
        raise InvalidRequest("--until lies before --since: nothing is between them")
    selector = None
    if question.selectors.any:
        from tokenctl.backends.local.asking import EVERY_STATE

        selector = read_selector(question.selectors, context.now)
        if not question.selectors.state:
            selector = selector._replace(states=EVERY_STATE)
    chosen = query.Filter(
        since=since, until=until, operation=_operations(question.operation), actor=_actors(question.actor),
        request_id=question.request_id, target=_targets(backend, question.target), ticket=question.ticket,
        behind=question.after, before=question.before,
    )  # fmt: skip
    return Choice(chosen, selector)


def _operations(typed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the operations that are named, ``token.*`` for a whole group; raises InvalidRequest (exit 2)."""
    meant: list[str] = []
    for name in typed:
        found = [known for known in OPERATIONS if known == name or (name.endswith(".*") and known.startswith(name[:-1]))]
        if not found:
            raise InvalidRequest("--operation: no such operation", hint=f"one of {', '.join(OPERATIONS)}, or a group, token.*")
        meant += found
    return tuple(dict.fromkeys(meant))


def _actors(typed: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is no actor: that nothing is found would be taken for an answer (exit 2)."""
    for actor in typed:
        if "*" in actor or not all(actor.rpartition("@")):
            raise InvalidRequest("--actor: an actor is NAME@HOST, whole, as the log tells it", hint="tokenctl audit log")
    return typed


def _targets(backend: Backend, typed: tuple[str, ...]) -> tuple[str, ...]:
    named = [backend.id_of(target) for target in typed]
    if None in named:
        raise InvalidRequest("--target: not an id: an id is 22 letters and digits")
    return tuple(name for name in named if name is not None)


def _warn(context: Context, backend: Backend) -> int:
    """Warn of a quarantined store; return how many records there are."""
    with backend.journal.reading() as view:
        if view is not None and view.quarantine is not None:
            context.console.warn(f"the store is quarantined: {view.quarantine}")
        return query.count(view.store) if view is not None else 0


def _up_to(chosen: query.Filter, size: int) -> query.Filter:
    """Leave out what is recorded while the answer is printed."""
    return chosen._replace(before=size + 1 if chosen.before is None else min(chosen.before, size + 1))


def pages(backend: Backend, choice: Choice, *, limit: int | None = None, forward: bool = False) -> Iterator[Record]:
    """Yield records, page by page, each read in a transaction of its own: the newest of a limit, or the first."""
    if limit is not None and not forward:
        with backend.journal.reading() as view:
            numbers = query.newest(view.store, choice.among(view), limit) if view is not None else []
        for start in range(0, len(numbers), _PAGE):
            with backend.journal.reading() as view:
                page = list(query.fetch(view.store, numbers[start : start + _PAGE])) if view is not None else []
            yield from page
        return
    left = limit
    while left is None or left > 0:
        with backend.journal.reading() as view:
            size = _PAGE if left is None else min(left, _PAGE)
            page = list(query.records(view.store, choice.among(view), limit=size, first=True)) if view is not None else []
        yield from page
        if len(page) < size:
            return
        left = None if left is None else left - len(page)
        choice = choice._replace(filter=choice.filter._replace(behind=page[-1].seq))


def _neighbour(
    backend: Backend, choice: Choice, *, behind: int | None = None, before: int | None = None
) -> int | None:  # fmt: skip
    """Return the number to go on from where there is more in that direction; ``None`` where there is none."""
    if behind is None and before is None:
        return None
    filtered = choice.filter
    bounds = {"behind": behind} if behind is not None else {"before": before, "behind": None}
    more = pages(backend, choice._replace(filter=filtered._replace(**bounds)), limit=1, forward=behind is not None)
    return (behind if behind is not None else before) if next(more, None) is not None else None


def document(record: Record) -> dict[str, object]:
    """Return a record as JSON has it."""
    return record_object(screen.facts_of(record)) | {"archived": record.archived}


def print_record(context: Context, record: Record) -> None:
    """Print one record on a line: as JSON, in columns, or for a person."""
    if context.console.output == "jsonl":
        context.console.document(document(record))
    else:
        screen.line(context, record)
