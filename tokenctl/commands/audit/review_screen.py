"""How findings look: by rule for a person, a line each for a pipe, objects for a machine."""

from __future__ import annotations

import json
import shlex
from itertools import islice
from typing import TYPE_CHECKING

from tokenctl.backends.base import Backend
from tokenctl.backends.local.reviewing import Finding, Reviewer
from tokenctl.commands.context import Context
from tokenctl.model.review import BY_ID, Rule
from tokenctl.render.console import Console
from tokenctl.render.escape import cell, escape

if TYPE_CHECKING:
    from tokenctl.commands.audit.review import Tally

_SHOWN = 10  # findings of one rule at a terminal
_NAMED = 5  # ids of one finding that is about several
_COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def mend_of(console: Console, finding: Finding) -> str:
    """Return what ends a finding, complete, as it is to be typed here."""
    return " | ".join(f"{console.command} {shlex.join(words)}" for words in finding.mend)


def told_of(finding: Finding) -> str:
    """Return what is wrong, with the first of the ids where those are not what it is about."""
    if finding.hit == 1:
        return finding.detail
    named = " ".join(islice(finding.ids, _NAMED))
    more = f" and {finding.hit - _NAMED:,} more" if finding.hit > _NAMED else ""
    return f"{finding.detail}: {named}{more}"


def members_of(console: Console, finding: Finding, mark: str) -> dict[str, object]:
    """Return a finding for a machine, but for the ids, which may be too many to hold."""
    return {
        "rule": finding.rule.id, "severity": finding.rule.severity, "id": finding.id, "detail": finding.detail,
        "mend": mend_of(console, finding), "fingerprint": mark,
    }  # fmt: skip


def write_object(console: Console, before: str, members: dict[str, object], finding: Finding, after: str = "}") -> None:
    """Write an object whose last member is the list of the ids, as they come."""
    separator = f'{before}{json.dumps(members)[:-1]}, "ids": ['
    for identifier in finding.ids:
        console.answer_bytes(f"{separator}{json.dumps(identifier)}".encode("ascii"))
        separator = ", "
    console.answer_bytes(f"{'' if separator == ', ' else separator}]{after}".encode("ascii"))


class Document:
    """One JSON object, written as its findings come."""

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._before = '{"findings": ['

    def add(self, finding: Finding, mark: str) -> None:
        write_object(self._console, self._before, members_of(self._console, finding, mark), finding)
        self._before = ", "

    def end(self, tally: Tally) -> None:
        rest = json.dumps(
            {"counts": tally.counts, "known": tally.known, "absent": [entry._asdict() for entry in tally.absent],
             "profile": self._console.profile, "exit_code": tally.code, "warnings": list(self._console.warnings)}
        )  # fmt: skip
        begun = "" if self._before == ", " else self._before
        self._console.answer(f"{begun}], {rest[1:]}")


class Lines:
    def __init__(self, context: Context) -> None:
        self._console = context.console

    def add(self, finding: Finding, mark: str) -> None:
        write_object(self._console, "", members_of(self._console, finding, mark), finding, "}\n")

    def end(self, tally: Tally) -> None:
        return


class Silence:
    def add(self, finding: Finding, mark: str) -> None:
        return

    def end(self, tally: Tally) -> None:
        return


class Columns:
    """The frozen columns of a pipe: rule, severity, id, detail, mend."""

    def __init__(self, context: Context) -> None:
        self._console = context.console

    def add(self, finding: Finding, mark: str) -> None:
        mend = escape(mend_of(self._console, finding))  # to be typed: a backslash of its own stays one
        values = (finding.rule.id, finding.rule.severity, cell(finding.id), cell(told_of(finding)), mend)
        self._console.answer("\t".join(values))

    def end(self, tally: Tally) -> None:
        return


class Screen:
    """For a person: each rule once, with its first findings, and how many more there are."""

    def __init__(self, context: Context, backend: Backend, reviewer: Reviewer) -> None:
        self._console = context.console
        self._place = f"profile {backend.name} ({backend.place})"
        self._no_store = reviewer.store_id is None
        self._first: dict[str, list[Finding]] = {}
        self._counts: dict[str, int] = {}

    def add(self, finding: Finding, mark: str) -> None:
        name = finding.rule.id
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] <= _SHOWN:
            self._first.setdefault(name, []).append(finding)

    def end(self, tally: Tally) -> None:
        for name, rule in BY_ID.items():
            if name in self._first:
                self._rule(rule, self._first[name], self._counts[name])
        self._console.answer(self._console.fold("", escape(self._summary(tally))))

    def _rule(self, rule: Rule, first: list[Finding], count: int) -> None:
        console = self._console
        console.answer(f"{console.paint(rule.severity, _COLOURS[rule.severity])}  {console.paint(rule.id, 'bold')}  {count:,}")
        console.answer(console.fold("  ", f"{rule.what}. {rule.why}"))
        for finding in first:
            console.answer(console.fold(f"  {escape(finding.id)}  ", escape(told_of(finding))))
            console.answer(f"    {escape(mend_of(console, finding))}")
        if count > len(first):
            console.answer(f"  and {count - len(first):,} more: {console.command} audit review --rule {rule.id} -o jsonl")
        console.answer("")

    def _summary(self, tally: Tally) -> str:
        if self._no_store:
            return f"nothing to review: {self._place} has no store yet"
        total = sum(tally.counts.values())
        known = f"; {tally.known:,} known left out" if tally.known else ""
        if not total:
            return f"nothing found: {self._place}{known}"
        parts = [f"{count:,} {severity}{'s' * (count != 1)}" for severity, count in tally.counts.items() if count]
        return f"{', '.join(parts)}: {self._place}{known}"
