"""Which rows a selector means, as one SQL question in the order (expires_at, id).

Each condition that has an index of its own in that order can lead; the planner chooses among those of the token table,
and a question about one tag is led by the index of the tags, so that its first rows come without reading the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tokenctl.model.selector import Selector
from tokenctl.model.token import LIVING_STATES

_COLUMNS = ("kind", "format", "kid", "parent")
_UNDELIVERED = "token.reason = 'undelivered' OR token.delivered_at IS NULL"
# What must hold of a row, so that it can be in a state; ``?`` is now.
_NECESSARY = {
    "active": "token.suspended_at IS NULL",
    "suspended": "token.suspended_at IS NOT NULL OR token.parent IS NOT NULL",
    "not_yet_valid": "token.not_before > ?",
    "spent": "token.max_uses IS NOT NULL",  # its children may have what it did not use
    "expired": "expires_at <= ?",
    "undelivered": _UNDELIVERED,
    # By its own row, or by its parent, its key, its delivery, its run, its suspension's end, its successor.
    "revoked": f"""token.revoked_at IS NOT NULL OR token.parent IS NOT NULL OR {_UNDELIVERED} OR token.suspended_until <= ?
        OR token.grace_until <= ? OR token.kid IN (SELECT kid FROM key WHERE state = 'compromised')""",
}
_LEADERS = ("subject", "owner", "kid", "parent", "batch")  # selectors with an index on the token table


class _Tagged(NamedTuple):
    """A selector over tags: any of these values, or patterns, under one name."""

    name: str
    values: tuple[str, ...]

    @property
    def operator(self) -> str:
        return "GLOB" if any("*" in value for value in self.values) else "="

    @property
    def bound(self) -> list[object]:
        return [_glob(value) if self.operator == "GLOB" else value for value in self.values]


class _Conditions:
    """Conditions that all must hold, and the values bound in them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: list[object] = []

    def add(self, text: str, *values: object) -> None:
        self.texts.append(text)
        self.values.extend(values)

    def any_of(self, column: str, values: Sequence[object], operator: str = "=") -> None:
        if values:
            self.add(f"({' OR '.join([f'{column} {operator} ?'] * len(values))})", *values)

    def pattern(self, column: str, values: Sequence[str]) -> None:
        if any("*" in value for value in values):
            self.any_of(column, [_glob(value) for value in values], "GLOB")
        else:
            self.any_of(column, values)


def statement(
    select: str, selector: Selector, *, now: int, after: tuple[int, str] | None = None, batches: bool = True
) -> tuple[str, list[object]]:
    """Return the question and its parameters; states beyond a token's own row are the caller's to judge.

    Args:
        select: What is asked, up to ``FROM token``.
        after: Where the last page ended: (expires_at, id).
        batches: Whether the store is new enough to know of batches and runs.
    """
    conditions = _Conditions()
    expiry = "token.expires_at"
    tagged = _tags_of(selector)
    leading = _leading(selector, tagged)
    if leading is not None:
        # CROSS JOIN keeps the order of the tables: SQLite has no statistics to know better by.
        select = select.replace(" FROM token", " FROM tag CROSS JOIN token ON token.id = tag.token")
        expiry = "tag.expires_at"
        conditions.add("tag.name = ? AND tag.value = ?", leading.name, leading.values[0])
        tagged.remove(leading)
    order = f"{expiry}, {'token.id' if leading is None else 'tag.token'}"
    _add_columns(conditions, selector, batches=batches)
    for tag in tagged:
        _add_tag(conditions, tag)
    _add_times(conditions, selector, now, expiry)
    _add_states(conditions, selector.states, now, expiry, runs=batches)
    if after is not None:
        conditions.add(f"({order}) > (?, ?)", *after)
    where = f" WHERE {' AND '.join(conditions.texts)}" if conditions.texts else ""
    return f"{select}{where} ORDER BY {order}", conditions.values


def condition(column: str, selector: Selector, *, now: int, batches: bool = True) -> tuple[str, list[object]]:
    """Return what holds where a column names one of the tokens that a selector means, and the values bound in it."""
    conditions = _Conditions()
    conditions.add(f"token.id = {column}")
    _add_columns(conditions, selector, batches=batches)
    for tag in _tags_of(selector):
        _add_tag(conditions, tag)
    _add_times(conditions, selector, now, "token.expires_at")
    _add_states(conditions, selector.states, now, "token.expires_at", runs=batches)
    return f"EXISTS (SELECT 1 FROM token WHERE {' AND '.join(conditions.texts)})", conditions.values


def _tags_of(selector: Selector) -> list[_Tagged]:
    labels = tuple(label if "=" in label else f"{label}=*" for label in selector.labels)
    named = (("scope", selector.scope), ("audience", selector.audience), ("label", labels))
    return [_Tagged(name, values) for name, values in named if values]


def _leading(selector: Selector, tagged: Sequence[_Tagged]) -> _Tagged | None:
    """Return the tag whose index gives the rows in order, where no column of the token does it better."""
    if any(getattr(selector, name) for name in _LEADERS):
        return None
    return next((tag for tag in tagged if len(tag.values) == 1 and tag.operator == "="), None)


def _add_columns(conditions: _Conditions, selector: Selector, *, batches: bool) -> None:
    conditions.pattern("token.subject", selector.subject)
    conditions.pattern("token.owner", selector.owner)
    for column in _COLUMNS:
        conditions.any_of(f"token.{column}", getattr(selector, column))
    if selector.batch:
        columns = ("token.request", "token.batch") if batches else ("token.request",)
        alternatives = " OR ".join(f"{column} = ?" for column in columns for _ in selector.batch)
        conditions.add(f"({alternatives})", *[*selector.batch] * len(columns))


def _add_tag(conditions: _Conditions, tag: _Tagged) -> None:
    alternatives = " OR ".join([f"held.value {tag.operator} ?"] * len(tag.values))
    conditions.add(
        f"EXISTS (SELECT 1 FROM tag AS held WHERE held.token = token.id AND held.name = ? AND ({alternatives}))",
        tag.name, *tag.bound,
    )  # fmt: skip


def _add_times(conditions: _Conditions, selector: Selector, now: int, expiry: str) -> None:
    for column, operator, instant in (
        ("token.issued_at", ">=", selector.issued_after),
        ("token.issued_at", "<", selector.issued_before),
        (expiry, ">=", selector.expires_after),
        (expiry, "<", selector.expires_before),
    ):
        if instant is not None:
            conditions.add(f"{column} {operator} ?", instant)
    if selector.unused_for is not None:
        conditions.add("coalesce(token.last_used_at, token.issued_at) <= ?", now - selector.unused_for)
    if selector.never_used:
        conditions.add("token.last_used_at IS NULL")
    if (selector.never_used or selector.unused_for is not None) and not selector.untracked:
        conditions.add("token.format <> 'jwt'")
    if not {"expired", "revoked", "undelivered"} & set(selector.states):
        conditions.add(f"{expiry} > ? AND token.revoked_at IS NULL", now)


def _add_states(conditions: _Conditions, states: Collection[str], now: int, expiry: str, *, runs: bool) -> None:
    """Leave out rows that can be in none of these states; what is in one of them is judged later."""
    if {*LIVING_STATES} <= set(states):
        return
    wanted = [_NECESSARY[state].replace("expires_at", expiry) for state in states]
    wanted += ["token.run IS NOT NULL"] if runs and "revoked" in states else []
    conditions.add(f"({' OR '.join(f'({text})' for text in wanted)})", *[now] * sum(text.count("?") for text in wanted))


def _glob(text: str) -> str:
    """Translate: only ``*`` is special to us, ``?`` and ``[`` are too to SQLite."""
    return "".join(f"[{character}]" if character in "?[" else character for character in text)
