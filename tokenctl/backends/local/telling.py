"""The life of a token or a key: its row as it stands now, its kin, and what its records tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.backends.local.standing import look, survey
from tokenctl.backends.local.view import View
from tokenctl.model.introspection import Found
from tokenctl.model.record import KEPT, Record
from tokenctl.model.token import LIVING_STATES, Key

_NAMED = 10  # children that are named
_SURVEYED = 10_000  # children whose state is looked at


class Suspension(NamedTuple):
    """A time for which a token was denied: the facts of the record that began it, and of the one that ended it, if any."""

    began: Record
    lifted: Record | None = None


class Life(NamedTuple):
    """What is known of a token or a key.

    Attributes:
        found: The token; ``None`` where it is a key, or no row is there.
        key: The key; ``None`` where it is a token.
        intact: Whether its row checks out, or is not there at all.
        children: Its direct children, the first ones.
        children_total: How many those are.
        children_living: How many of them are active, suspended or not yet valid; ``None`` where they are too many for that.
        successors: Tokens that were issued to replace it.
        tokens: How many tokens a key signed, and how many of them are unexpired and unrevoked.
        needed_until: When the last of these ends, milliseconds; ``None`` where there is none.
    """

    records: Sequence[Record]
    found: Found | None = None
    key: Key | None = None
    intact: bool = True
    children: tuple[str, ...] = ()
    children_total: int = 0
    children_living: int | None = 0
    successors: tuple[str, ...] = ()
    uses: tuple[Record, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    needed_until: int | None = None

    def first(self, operation: str) -> Record | None:
        return next((record for record in self.records if record.operation == operation), None)


def life_of(view: View, identifier: str, records: Sequence[Record]) -> Life:
    """Gather what is known of what an id names; its records are read already."""
    stored = view.rows.token(identifier)
    if stored is not None:
        found = look(view, stored, count_children=True)
        children = view.rows.children(identifier)
        living = None
        if len(children) <= _SURVEYED:
            living = sum(standing.state in LIVING_STATES for _, standing in survey(view, view.rows.survey(children)))
        return Life(
            records, found=found, intact=found.intact, children=tuple(children[:_NAMED]), children_total=len(children),
            children_living=living, successors=tuple(view.rows.successors_of(identifier)),
            uses=tuple(record for record in records if record.operation == "token.use"), suspensions=_suspensions(records),
        )  # fmt: skip
    signer = view.rows.key(identifier)
    if signer is None:
        return Life(records)
    intact = signer.intact and view.rows.newest_leaf(identifier) == signer.row.leaf
    compromised = signer.row.state == "compromised"
    living = 0 if compromised else view.rows.living_under(identifier, view.now)
    return Life(
        records, key=signer.row, intact=intact, tokens=(view.rows.signed_by(identifier), living),
        needed_until=view.rows.last_expiry_under(identifier) if living else None,
    )  # fmt: skip


def _suspensions(records: Sequence[Record]) -> tuple[Suspension, ...]:
    told: list[Suspension] = []
    for record in records:
        if record.operation == "token.suspend" and not _kept(record):
            told.append(Suspension(record))
        elif record.operation == "token.lift" and told and told[-1].lifted is None:
            told[-1] = Suspension(told[-1].began, record)
    return tuple(told)


def _kept(record: Record) -> bool:
    try:
        return record.facts().get("outcome") == KEPT
    except ValueError:
        return False
