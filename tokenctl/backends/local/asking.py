"""Which tokens a question to the log is about: those of a selector as they stand now, and those that were never made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tokenctl.audit import query
from tokenctl.audit.query import DENIED, Filter, Tokens
from tokenctl.backends.local.standing import survey
from tokenctl.backends.local.view import View
from tokenctl.model.record import Record, canonical_text
from tokenctl.model.rules import fits
from tokenctl.model.selector import Selector
from tokenctl.model.token import STATES

EVERY_STATE = (*STATES, "undelivered")
_FEW = 5_000  # tokens whose records are found by their ids; of more, each record's token is looked at
_WORDS = 20  # values that are sought in a body before it is read
_REMEMBERED = 100_000  # tokens that were judged


def tokens_of(view: View, selector: Selector, *, many: bool = False) -> Tokens:
    """Return the tokens that a selector means, of whatever age.

    Args:
        many: Look at each record's token, however few they are: for a question about few records.
    """
    condition, values = view.rows.choosing("record.target", selector, now=view.now)
    judged = _judged(selector)
    holds = _judge(view, selector) if judged else None
    ids = None if many else view.rows.chosen(selector, now=view.now, limit=_FEW + 1)
    if ids is not None and len(ids) > _FEW:
        ids = None
    if ids is not None:
        # A key is what its own records are about, where nothing but the key is asked for.
        alone = selector == Selector(kid=selector.kid, states=selector.states) and not judged
        ids = [*filter(holds, ids), *(selector.kid if alone else ())]
        holds = None
    return Tokens(
        ids=None if ids is None else tuple(ids), condition=condition, values=tuple(values), holds=holds,
        told=_teller_of(selector), words=_words(selector),
    )  # fmt: skip


def _judged(selector: Selector) -> bool:
    """Whether a state is asked for, which only a token has."""
    return set(selector.states) != set(EVERY_STATE)


def _judge(view: View, selector: Selector) -> Callable[[str], bool]:
    known: dict[str, bool] = {}

    def holds(identifier: str) -> bool:
        if identifier not in known:
            if len(known) >= _REMEMBERED:
                known.clear()
            standing = next((standing for _, standing in survey(view, view.rows.survey([identifier]))), None)
            known[identifier] = standing is not None and (
                standing.state in selector.states or ("undelivered" in selector.states and _undelivered(view, identifier))
            )
        return known[identifier]

    return holds


def _undelivered(view: View, identifier: str) -> bool:
    token = next(iter(view.rows.survey([identifier])), None)
    if token is None:
        return False
    standing = next(standing for _, standing in survey(view, [token]))
    return token.undelivered or standing.cause == "undelivered"


def _teller_of(selector: Selector) -> Callable[[Record], bool] | None:
    """Return what tells by a refused issue's record alone whether it is meant; ``None`` where no such record says enough."""
    times = (
        selector.issued_after, selector.issued_before, selector.expires_after, selector.expires_before, selector.unused_for,
    )  # fmt: skip
    of_tokens = _judged(selector) or selector.kid or selector.labels or selector.never_used
    if of_tokens or any(instant is not None for instant in times):
        return None

    def told(record: Record) -> bool:
        if record.archived is not None:
            return not _reads_bodies(selector) and record.request in selector.batch
        try:
            return _says(record.facts(), selector)
        except ValueError:
            return False

    return told


def _words(selector: Selector) -> tuple[tuple[bytes, ...], ...]:
    """Return what the body of a refused issue that is meant holds, one of each group, as it is written there."""
    named = (
        ("subject", selector.subject), ("owner", selector.owner), ("kind", selector.kind), ("format", selector.format),
        ("parent", selector.parent),
    )  # fmt: skip
    return tuple(
        tuple(f'"{name}":{_written(value)}'.encode("ascii") for value in values)
        for name, values in named
        if 0 < len(values) <= _WORDS and not any(value.startswith("*") for value in values)
    )


def _written(value: str) -> str:
    """Return a text in JSON, up to its first asterisk, which is any text."""
    head, star, _ = value.partition("*")
    return canonical_text(head)[: -len('"') if star else None]


def untold(view: View, selector: Selector, chosen: Filter) -> int:
    """Return how many refused issues may be meant of which an archive alone can tell: no column says whom they were for."""
    if _teller_of(selector) is None or not _reads_bodies(selector) or chosen.target:
        return 0
    if chosen.operation and DENIED not in chosen.operation:
        return 0
    requests = set(chosen.request_id).intersection(selector.batch) if chosen.request_id else set(selector.batch)
    if selector.batch and not requests:
        return 0
    return query.count_archived(
        view.store, chosen._replace(operation=(DENIED,), request_id=tuple(sorted(requests)) or chosen.request_id)
    )


def _reads_bodies(selector: Selector) -> bool:
    """Whether more is asked for than the columns of a record tell."""
    return any(
        (selector.subject, selector.owner, selector.kind, selector.format, selector.parent, selector.scope, selector.audience)
    )


def _says(facts: Mapping[str, object], selector: Selector) -> bool:
    patterns = (("subject", selector.subject), ("owner", selector.owner))
    exact = (("kind", selector.kind), ("format", selector.format), ("parent", selector.parent), ("request_id", selector.batch))
    for name, wanted in patterns:
        if wanted and not fits(wanted, str(facts.get(name) or "")):
            return False
    if any(wanted and facts.get(name) not in wanted for name, wanted in exact):
        return False
    scopes, audiences = (_list(facts.get(name)) for name in ("scope", "audience"))
    if selector.scope and not set(selector.scope) & set(scopes):
        return False
    return not selector.audience or any(fits(selector.audience, audience) for audience in audiences)


def _list(value: object) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []
