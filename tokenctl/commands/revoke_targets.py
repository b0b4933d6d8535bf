"""What ``revoke`` is pointed at: ids, selectors, and text in which tokens prove themselves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenctl.backends.base import Backend
from tokenctl.commands import inputs
from tokenctl.errors import IntegrityError, InvalidRequest
from tokenctl.formats import opaque, pasted
from tokenctl.model.selector import Selector
from tokenctl.model.token import Outcome, Standing, Target
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.commands.everywhere import Everywhere, Place

_LARGEST_DOCUMENT = 64 * 1024 * 1024  # characters of one JSON document that is printed over many lines

_OUR_LIST = '{"tokens": ['  # how the documents of list and of a bulk issue begin


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What was named, what proved itself, and what was only mentioned or belongs to others.

    ``standings`` tells how each target seems to stand, ``None`` for an unknown one.
    """

    targets: dict[str, Target] = field(default_factory=dict)
    standings: dict[str, Standing | None] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)
    unverified: dict[str, Outcome] = field(default_factory=dict)
    foreign: Counter[str] = field(default_factory=Counter)

    def name(self, identifier: str) -> None:
        self.targets.setdefault(identifier, Target(id=identifier))

    def prove(self, identifier: str, text: Secret) -> None:
        self.targets[identifier] = Target(id=identifier, proved=True, text=text)

    def doubt(self, secret: Secret, error: IntegrityError) -> None:
        """Keep a token that may be ours, but whose row or key does not check out: nothing proves it, nothing clears it."""
        token = opaque.parse(secret.reveal().decode("ascii"))
        identifier = "a JWT under one of our keys" if isinstance(token, str) else token.id
        self.unverified[identifier] = Outcome(id=identifier, outcome="unverified", detail=error.message)

    @property
    def doubted(self) -> list[Outcome]:
        return [outcome for outcome in self.unverified.values() if outcome.id not in self.targets]

    @property
    def named_only(self) -> list[str]:
        return sorted(self.mentioned - self.targets.keys())


@dataclass(slots=True, kw_only=True)
class Scattered:
    """What was named or proved, by the profile that it belongs to.

    Attributes:
        rest: What belongs to none.
    """

    by_profile: dict[str, tuple[Place, Gathered]] = field(default_factory=dict)
    rest: Gathered = field(default_factory=Gathered)

    def at(self, place: Place) -> Gathered:
        return self.by_profile.setdefault(place.backend.name, (place, Gathered()))[1]

    def name(self, identifier: str, place: Place | None) -> None:
        (self.at(place) if place is not None else self.rest).name(identifier)


def select(backend: Backend, selector: Selector, gathered: Gathered) -> None:
    """Take what a selector chooses."""
    _take(gathered, backend.directory.survey_of(selector))


def survey(backend: Backend, gathered: Gathered) -> None:
    """Look how the targets stand that no selector told of."""
    unseen = [identifier for identifier in gathered.targets if identifier not in gathered.standings]
    _take(gathered, backend.directory.survey(unseen))


def _take(gathered: Gathered, standings: Iterable[tuple[str, Standing | None]]) -> None:
    same: dict[Standing | None, Standing | None] = {}  # thousands of targets share a few standings
    for identifier, standing in standings:
        gathered.name(identifier)
        gathered.standings[identifier] = same.setdefault(standing, standing)


def read_sources(backend: Backend, sources: Iterable[str], gathered: Gathered, *, stdin: bool) -> None:
    """Read files and standard input; raises InvalidRequest where one cannot be read (exit 2)."""
    for source in sources:
        descriptor = inputs.open_file(source)
        try:
            _read_lines(backend, inputs.lines_of(descriptor, what=source), gathered)
        finally:
            os.close(descriptor)
    if stdin:
        _read_lines(backend, inputs.lines_of(0, what="standard input"), gathered)


def read_everywhere(everywhere: Everywhere, sources: Iterable[str], ids: Iterable[str], *, stdin: bool) -> Scattered:
    """Read ids, files and standard input, and give each target to the profile that it belongs to."""
    scattered = Scattered()
    for identifier in ids:
        scattered.name(identifier, everywhere.keeper_of(identifier))
    for source in sources:
        descriptor = inputs.open_file(source)
        try:
            _scatter(everywhere, inputs.lines_of(descriptor, what=source), scattered)
        finally:
            os.close(descriptor)
    if stdin:
        _scatter(everywhere, inputs.lines_of(0, what="standard input"), scattered)
    return scattered


def _scatter(everywhere: Everywhere, lines: Iterable[str], scattered: Scattered) -> None:
    form = everywhere.form
    for text in _documents(lines, form):
        line = pasted.recognise(text, form)
        for identifier in line.ids:
            scattered.name(identifier, everywhere.keeper_of(identifier))
        scattered.rest.mentioned.update(line.mentioned)
        scattered.rest.foreign.update(line.foreign)
        for secret in (*line.secrets, *line.words):
            place = everywhere.owner_of(secret)
            proved = place.backend.prove(secret) if place is not None else None
            if place is not None and proved is not None:
                scattered.at(place).prove(proved, secret)
                kind = pasted.foreign_kind(secret.reveal().decode("ascii", "replace"))
                scattered.rest.foreign -= Counter([kind] if kind is not None else [])


def _read_lines(backend: Backend, lines: Iterable[str], gathered: Gathered) -> None:
    """Take from each line what names a token or proves itself; count the rest."""
    for text in _documents(lines, backend.form):
        line = pasted.recognise(text, backend.form)
        for identifier in line.ids:
            gathered.name(identifier)
        gathered.mentioned.update(line.mentioned)
        gathered.foreign.update(line.foreign)
        _prove_words(backend, line.words, gathered)
        for secret in line.secrets:
            try:
                proved = backend.prove(secret)
            except IntegrityError as error:
                gathered.doubt(secret, error)
                continue
            if proved is not None:
                gathered.prove(proved, secret)
                continue
            token = opaque.parse(secret.reveal().decode("ascii"))
            if isinstance(token, str):
                gathered.foreign["jwt"] += 1
            else:
                gathered.mentioned.add(token.id)


def _prove_words(backend: Backend, words: Iterable[Secret], gathered: Gathered) -> None:
    """Take what proves itself of texts without a form; what looks like another's secret counts as that no more."""
    for word in words:
        proved = backend.prove(word)
        if proved is not None:
            gathered.prove(proved, word)
            kind = pasted.foreign_kind(word.reveal().decode("ascii", "replace"))
            if kind is not None:
                gathered.foreign -= Counter([kind])


def _documents(lines: Iterable[str], form: pasted.Form) -> Iterator[str]:
    """Yield lines; a JSON document that was printed over many lines is joined to one first, or taken apart where it is ours."""
    rest = iter(lines)
    for line in rest:
        if line.startswith(_OUR_LIST) and not pasted.recognise(line, form).ids:
            yield from _elements(line, rest)
        elif line.strip() in ("{", "["):
            yield from _joined(line, rest, form)
            return
        else:
            yield line


def _elements(line: str, rest: Iterator[str]) -> Iterator[str]:
    """Yield the objects of a list of ours, each on a line of its own, until it ends."""
    line = line.removeprefix(_OUR_LIST)
    while not line.startswith("]"):
        element = line.strip().strip(",")
        yield element if element.startswith("{") else line
        following = next(rest, None)
        if following is None:
            return
        line = following


def _joined(line: str, rest: Iterator[str], form: pasted.Form) -> Iterator[str]:
    whole = [line]
    size = 0
    for more in rest:
        size += len(more)
        if size > _LARGEST_DOCUMENT:
            raise InvalidRequest(
                f"the JSON document in it is larger than {_LARGEST_DOCUMENT // (1024 * 1024)} MiB",
                hint="write it as JSON lines: -o jsonl",
            )
        whole.append(more)
    joined = "\n".join(whole)
    yield from [joined] if pasted.recognise(joined, form).ids else whole
