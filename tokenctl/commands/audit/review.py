"""``audit review``: what is wrong before an attacker finds it, and the command that mends each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tokenctl.backends.base import Backend
from tokenctl.backends.local.reviewing import Finding, Reviewer, fingerprint
from tokenctl.commands.audit.baseline import Baseline, Entry, read_baseline, write_baseline
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidRequest, TokenNotActive
from tokenctl.model.review import BY_ID, SEVERITIES


class Asked(NamedTuple):
    """What is asked for, as it was typed."""

    rules: tuple[str, ...] = ()
    fail_on: str | None = None
    baseline: str | None = None
    write_baseline: str | None = None


class Tally(NamedTuple):
    """How a review ended.

    Attributes:
        counts: How many findings were told, by severity.
        known: How many the baseline knew and were left out.
        absent: What the baseline knows and no longer is.
    """

    counts: dict[str, int]
    known: int
    absent: Sequence[Entry]
    code: int


class Printer(Protocol):
    """Tells the findings as they come, so that very many take no memory."""

    def add(self, finding: Finding, mark: str) -> None: ...

    def end(self, tally: Tally) -> None: ...


def review(context: Context, asked: Asked) -> int:
    """Look for mistakes and tell each; nothing is changed.

    Returns:
        3 where something was found, with ``fail_on`` where it is that severe or worse; else 0. 10 where the row of a token
        does not check out.

    Raises:
        InvalidRequest: an unknown rule or severity, or a baseline that is none (exit 2).
        IntegrityError: the store is quarantined, or the row of a key does not check out (exit 10).
        InvalidConfiguration: the profile's thresholds are not understood (exit 9).
    """
    _check(asked)
    known = read_baseline(asked.baseline) if asked.baseline is not None else Baseline({})
    with context.backend() as backend:
        reviewer = Reviewer(backend, asked.rules or tuple(BY_ID), backend.review)
        if asked.write_baseline is not None:
            write_baseline(context, asked.write_baseline, reviewer)
            return _complain(context, reviewer)
        printer = _printer(context, backend, reviewer, compared=asked.baseline is not None)
        return _tell(context, reviewer, printer, known, asked.fail_on or SEVERITIES[-1])


def _check(asked: Asked) -> None:
    if not set(asked.rules) <= BY_ID.keys():
        raise InvalidRequest(f"--rule: there is no such rule; known: {', '.join(BY_ID)}")
    if asked.fail_on not in (None, *SEVERITIES):
        raise InvalidRequest(f"--fail-on: one of {', '.join(SEVERITIES)}")
    if asked.baseline is not None and asked.write_baseline is not None:
        raise InvalidRequest("--baseline leaves out what is known, --write-baseline writes it: give one of them")


def _tell(context: Context, reviewer: Reviewer, printer: Printer, known: Baseline, fail_on: str) -> int:
    counts = dict.fromkeys(SEVERITIES, 0)
    left_out = 0
    for finding in reviewer.findings():
        mark = fingerprint(str(reviewer.store_id), finding)
        if known.knows(mark):
            left_out += 1
            continue
        counts[finding.rule.severity] += 1
        printer.add(finding, mark)
    absent = known.absent(reviewer.rules)
    for entry in absent[:_MOST_TOLD]:
        context.console.warn(f"the baseline knows what is no longer found: {entry.rule} {entry.id}")
    if len(absent) > _MOST_TOLD:
        context.console.warn(f"and {len(absent) - _MOST_TOLD:,} more; make it anew with --write-baseline")
    severe = any(counts[severity] for severity in SEVERITIES[: SEVERITIES.index(fail_on) + 1])
    code = _complain(context, reviewer) or (TokenNotActive.exit_code if severe else 0)
    printer.end(Tally(counts, left_out, absent, code))
    return code


_MOST_TOLD = 20  # lines


def _complain(context: Context, reviewer: Reviewer) -> int:
    for identifier in reviewer.doubted:
        context.console.complain(
            f"not reviewed: {identifier}, its row does not check out; run: {context.console.command} audit verify"
        )
    return IntegrityError.exit_code if reviewer.doubted else 0


def _printer(context: Context, backend: Backend, reviewer: Reviewer, *, compared: bool) -> Printer:
    from tokenctl.commands.audit import review_screen as screen

    if context.console.output == "sarif":
        from tokenctl.commands.audit.sarif import Sarif

        return Sarif(context, backend.name, compared=compared)
    if context.console.output == "json":
        return screen.Document(context)
    if context.console.output == "jsonl":
        return screen.Lines(context)
    if context.console.quiet:
        return screen.Silence()
    return screen.Screen(context, backend, reviewer) if context.console.on_terminal else screen.Columns(context)
