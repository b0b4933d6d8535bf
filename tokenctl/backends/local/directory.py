"""The tokens of a store by id and by selector, read in transactions of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.standing import look, look_at, survey
from tokenctl.errors import NotFound
from tokenctl.model.introspection import Found
from tokenctl.model.token import Standing

if TYPE_CHECKING:
    from tokenctl.model.selector import Selector  # most verbs choose nothing

_CHUNK = 500  # ids asked for at once
_FIRST_PAGE = 64  # ids; more than a screen shows


class LocalDirectory:
    """The seam's directory over a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def get(self, identifier: str) -> Found | None:
        with self._journal.reading() as view:
            stored = view.rows.token(identifier) if view is not None else None
            if view is None or stored is None:
                return None
            return look(view, stored, count_children=True)

    def look_up(self, identifiers: Sequence[str]) -> Iterator[tuple[str, Found | None]]:
        """Yield :meth:`get` of each of these ids, in few questions to the store."""
        with self._journal.reading() as view:
            for start in range(0, len(identifiers), _CHUNK):
                chunk = identifiers[start : start + _CHUNK]
                known = look_at(view, chunk, count_children=True) if view is not None else {}
                yield from ((identifier, known[identifier][1] if identifier in known else None) for identifier in chunk)

    def survey(self, identifiers: Sequence[str]) -> Iterator[tuple[str, Standing | None]]:
        """Yield how the tokens of ids seem to stand: for counting, not for believing."""
        with self._journal.reading() as view:
            for start in range(0, len(identifiers), _CHUNK):
                chunk = identifiers[start : start + _CHUNK]
                known = dict(survey(view, view.rows.survey(chunk))) if view is not None else {}
                yield from ((identifier, known.get(identifier)) for identifier in chunk)

    def survey_of(self, selector: Selector) -> Iterator[tuple[str, Standing]]:
        """Yield :meth:`survey` of the tokens that a selector chooses."""
        with self._journal.reading() as view:
            if view is None:
                return
            undelivered = "undelivered" in selector.states
            for identifier, standing in survey(view, view.rows.survey_of(selector, now=view.now)):
                if standing.state in selector.states or (undelivered and standing.cause == "undelivered"):
                    yield identifier, standing

    def kin(self, identifiers: Sequence[str]) -> int:
        """Return how many unrevoked descendants these tokens have that are not among them."""
        with self._journal.reading() as view:
            if view is None:
                return 0
            seen, layer, living = set(identifiers), list(identifiers), 0
            while layer:
                below: list[str] = []
                for start in range(0, len(layer), _CHUNK):
                    for child, alive in view.rows.offspring(layer[start : start + _CHUNK]):
                        if child not in seen:
                            seen.add(child)
                            below.append(child)
                            living += alive
                layer = below
            return living

    def find(self, selector: Selector, *, after: str | None = None) -> Iterator[Found]:
        """Yield the chosen tokens by (expires_at, id), from the one behind ``after`` on.

        They are read page by page, so that a slow taker keeps no transaction open.

        Raises:
            NotFound: ``after`` is no token here (exit 5).
        """
        position = self._position_of(after) if after is not None else None
        size = _FIRST_PAGE
        while True:
            with self._journal.reading() as view:
                page = view.rows.page(selector, now=view.now, after=position, limit=size) if view is not None else []
                known = look_at(view, [identifier for _, identifier in page]) if view is not None else {}
            for place in page:
                found = known[place[1]][1]
                if found.standing.state in selector.states or ("undelivered" in selector.states and _undelivered(found)):
                    yield found
            if len(page) < size:
                return
            position, size = page[-1], _CHUNK

    def _position_of(self, identifier: str) -> tuple[int, str]:
        with self._journal.reading() as view:
            last = view.rows.token(identifier) if view is not None else None
        if last is None:
            raise NotFound(f"no token {identifier} to go on after")
        return last.row.expires_at, last.row.id

    def total(self) -> int:
        """Return how many tokens there are, of whatever state."""
        with self._journal.reading() as view:
            return view.rows.total() if view is not None else 0


def _undelivered(found: Found) -> bool:
    return found.token.undelivered or found.standing.cause == "undelivered"
