"""``revoke``: deny tokens, and tell the truth about every one of them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.commands import inputs, revoke_screen
from tokenctl.commands.context import Context
from tokenctl.commands.selection import Typed, read_selector
from tokenctl.errors import Conflict, IntegrityError, InvalidRequest, NotFound, TokenctlError
from tokenctl.formats import opaque, pasted
from tokenctl.model.identifier import new_id
from tokenctl.model.introspection import Found
from tokenctl.model.token import REASONS, Outcome, Reason, Target
from tokenctl.secret import Secret

_DENIED = frozenset({"revoked", "already_revoked", "denied", "suspended", "lifted"})
_LONGEST_TEXT = 1024  # characters of a note or a ticket


class Order(NamedTuple):
    """What is to be revoked and why, as it was typed."""

    targets: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    selectors: Typed = Typed()
    reason: str | None = None
    note: str | None = None
    ticket: str | None = None
    expect: int | None = None
    dry_run: bool = False
    yes: bool = False
    ignore_not_found: bool = False


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What was named, what proved itself, and what was only mentioned or belongs to others."""

    targets: dict[str, Target] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)
    unverified: dict[str, Outcome] = field(default_factory=dict)
    foreign: Counter[str] = field(default_factory=Counter)

    def name(self, identifier: str) -> None:
        self.targets.setdefault(identifier, Target(id=identifier))

    def prove(self, identifier: str) -> None:
        self.targets[identifier] = Target(id=identifier, proved=True)

    def doubt(self, secret: Secret, error: IntegrityError) -> None:
        """Keep a token that may be ours, but whose row or key does not check out: nothing proves it, nothing clears it."""
        token = opaque.parse(secret.reveal().decode("ascii"))
        identifier = "a JWT under one of our keys" if isinstance(token, str) else token.id
        self.unverified[identifier] = Outcome(id=identifier, outcome="unverified", detail=error.message)

    @property
    def named_only(self) -> list[str]:
        return sorted(self.mentioned - self.targets.keys())


def revoke(context: Context, order: Order) -> int:
    """Preview, ask, revoke, and answer for every target; return the one exit code of cli.md.

    Raises:
        InvalidRequest: nothing named, malformed, or not confirmed: nothing was touched (exit 2).
        Conflict: ``--expect`` differs (exit 6).
        NotFound: there was nothing to do (exit 5).
    """
    reason = _reason(context, order)
    selects = order.selectors.any
    reads = "-" in order.targets or bool(order.sources)
    ids = [inputs.id_of(target) for target in order.targets if target != "-"]
    if selects and (ids or reads):
        raise InvalidRequest("name tokens or select them, not both")
    if not (selects or ids or reads):
        raise InvalidRequest(
            "no token named", hint="tokenctl revoke ID, or pipe what leaked: tokenctl revoke - < FILE", reason="nothing_named"
        )
    with context.backend() as backend:
        gathered = Gathered()
        for identifier in ids:
            gathered.name(identifier)
        if selects:
            _select(context, backend, order, gathered)
        _read_sources(context, backend, order, gathered)
        found = [(target, backend.get(target.id)) for target in gathered.targets.values()]
        living = [entry for _, entry in found if entry is not None and entry.standing.state != "revoked"]
        if order.expect is not None and order.expect != len(living):
            raise Conflict(
                f"--expect {order.expect}, but {len(living)} would be revoked: nothing was touched", reason="expect_differs"
            )
        if order.dry_run:
            return _dry_run(context, backend, found, gathered, reason, order)
        _confirm(context, backend, found, living, gathered, order)
        outcomes = [outcome for outcome in gathered.unverified.values() if outcome.id not in gathered.targets]
        try:
            for outcome in _run(context, backend, gathered, reason):
                outcomes.append(outcome)  # noqa: PERF402  # what was done before an interrupt must be known
        except KeyboardInterrupt:
            outcomes += _after_interrupt(backend, gathered, outcomes)
            _conclude(context, outcomes, gathered, reason, order)
            raise
    return _conclude(context, outcomes, gathered, reason, order)


# What is meant


def _reason(context: Context, order: Order) -> Reason:
    reason = {"leaked": "compromised", None: "other"}.get(order.reason, order.reason)
    faults = [] if reason in REASONS else [f"--reason: one of {', '.join(REASONS)}"]
    for option, text in (("--note", order.note), ("--ticket", order.ticket)):
        if text is not None and (not text.strip() or len(text) > _LONGEST_TEXT):
            faults.append(f"{option}: is empty or longer than {_LONGEST_TEXT} characters")
        if text is not None and any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            faults.append(f"{option}: not valid UTF-8")
    if order.expect is not None and order.expect < 0:
        faults.append("--expect: a number of tokens")
    if faults:
        raise InvalidRequest("; ".join(faults), hint="tokenctl revoke --help")
    return Reason(reason=reason or "other", note=order.note, ticket=order.ticket, request_id=new_id(context.now))


def _select(context: Context, backend: LocalAuthority, order: Order, gathered: Gathered) -> None:
    selector = read_selector(order.selectors, context.now)
    if selector.everything and order.expect is None:
        raise InvalidRequest(
            "that selects every token of the profile", hint="say how many you mean with --expect N", reason="everything"
        )
    for found in backend.find(selector):
        gathered.name(found.token.id)


def _read_sources(context: Context, backend: LocalAuthority, order: Order, gathered: Gathered) -> None:
    for source in order.sources:
        descriptor = inputs.open_file(source)
        try:
            _read_lines(backend, inputs.lines_of(descriptor, what=source), gathered)
        finally:
            os.close(descriptor)
    if "-" in order.targets:
        _read_lines(backend, inputs.lines_of(0, what="standard input"), gathered)


def _read_lines(backend: LocalAuthority, lines: Iterable[str], gathered: Gathered) -> None:
    """Take from each line what names a token or proves itself; count the rest."""
    for text in _documents(lines):
        line = pasted.recognise(text)
        for identifier in line.ids:
            gathered.name(identifier)
        gathered.mentioned.update(line.mentioned)
        gathered.foreign.update(line.foreign)
        for secret in line.secrets:
            try:
                proved = backend.prove(secret)
            except IntegrityError as error:
                gathered.doubt(secret, error)
                continue
            if proved is not None:
                gathered.prove(proved)
                continue
            token = opaque.parse(secret.reveal().decode("ascii"))
            if isinstance(token, str):
                gathered.foreign["jwt"] += 1
            else:
                gathered.mentioned.add(token.id)


def _documents(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines; a JSON document that was printed over many lines is joined to one first."""
    rest = iter(lines)
    for line in rest:
        if line.strip() in ("{", "["):
            whole = [line, *rest]
            joined = "\n".join(whole)
            yield from [joined] if pasted.recognise(joined).ids else whole
            return
        yield line


# Preview and question


def _dry_run(
    context: Context, backend: LocalAuthority, found: list[tuple[Target, Found | None]], gathered: Gathered,
    reason: Reason, order: Order,
) -> int:  # fmt: skip
    outcomes = [revoke_screen.foreseen(target, entry) for target, entry in found] + list(gathered.unverified.values())
    revoke_screen.show(context, outcomes, gathered, reason, dry_run=True)
    return exit_code(outcomes, ignore_not_found=order.ignore_not_found, gathered=gathered)


def _confirm(
    context: Context, backend: LocalAuthority, found: list[tuple[Target, Found | None]], living: list[Found],
    gathered: Gathered, order: Order,
) -> None:  # fmt: skip
    if order.yes or not living:
        return
    revoke_screen.preview(context, backend, found, gathered, order)
    count = len(living)
    context.console.confirm(f"Revoke {count} token{'s' * (count != 1)} at {backend.name}?", count, "revoked")


# The work and the answer


def _run(context: Context, backend: LocalAuthority, gathered: Gathered, reason: Reason) -> Iterator[Outcome]:
    """Yield every target's outcome; a failure in the middle leaves the rest told as not done."""
    waiting = dict(gathered.targets)
    try:
        for outcome in backend.revoke(list(gathered.targets.values()), reason):
            waiting.pop(outcome.id, None)
            yield outcome
    except TokenctlError as error:
        if len(waiting) == len(gathered.targets):
            for identifier in waiting:
                context.console.complain(f"not revoked: {identifier}")
            raise
        context.console.error(error)
        for identifier in waiting:
            yield Outcome(id=identifier, outcome="unreachable", detail=error.message)


def _after_interrupt(backend: LocalAuthority, gathered: Gathered, told: list[Outcome]) -> Iterator[Outcome]:
    """Tell of the targets without an outcome: their batch was rolled back, or is durable; the store knows which."""
    for identifier in gathered.targets.keys() - {outcome.id for outcome in told}:
        found = backend.get(identifier)
        if found is not None and found.standing.state == "revoked":
            yield Outcome(id=identifier, outcome="revoked", at=found.token.revoked_at, by=found.token.revoked_by)
        else:
            yield Outcome(id=identifier, outcome="unreachable", detail="interrupted before it")


def _conclude(context: Context, outcomes: list[Outcome], gathered: Gathered, reason: Reason, order: Order) -> int:
    revoke_screen.show(context, outcomes, gathered, reason, dry_run=False)
    if context.console.quiet and not context.console.machine:
        for outcome in outcomes:
            if outcome.outcome not in _DENIED:
                context.console.complain(f"not denied: {outcome.id} {outcome.outcome}")
    return exit_code(outcomes, ignore_not_found=order.ignore_not_found, gathered=gathered)


def exit_code(outcomes: list[Outcome], *, ignore_not_found: bool, gathered: Gathered) -> int:
    """Merge the outcomes into one code: may be accepted 11, unknown 5, nothing to do 5, else 0."""
    if any(outcome.outcome in ("unreachable", "still_active", "unverified", "queued") for outcome in outcomes):
        return 11
    unknown = any(outcome.outcome == "unknown" for outcome in outcomes)
    if (unknown or not outcomes) and not ignore_not_found:
        return NotFound.exit_code
    return 0
