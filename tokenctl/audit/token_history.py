"""Replaying what the log tells of tokens, and comparing it with their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import dropwhile

from tokenctl.model.record import KEPT, Record, issue_parameters, replacement_parameters, suspension_parameters
from tokenctl.model.token import Token


def replay(history: Sequence[Record]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the operation and the members of each record; ``unreadable`` where its body is none."""
    for record in history:
        try:
            yield record.operation, record.facts()
        except ValueError:
            yield "unreadable", {}


def token_flaws(token: Token, history: Sequence[Record], *, intact: bool) -> Iterator[str]:
    """Replay a token's records and compare what they lead to with its row."""
    if not intact:
        yield "its row or its tags were changed"
    if token.remote:  # a service names its tokens: it may have been asked about one by that name before it was issued here
        history = list(dropwhile(lambda record: record.operation in ("remote.intent", "remote.outcome"), history))
    if not history or history[0].operation != "token.issue":
        yield "no record of its issue"
        return
    if history[-1].seq != token.leaf:
        yield "its newest record is not the one that its row says"
    if any(record.archived for record in history):
        yield from _flaws_by_columns(token, history)
        return
    identity: dict[str, object] = {}
    revoked: object = None
    revoked_at: int | None = None
    suspended_at: int | None = None
    terms: Record | None = None  # the record that the terms of a suspension or revocation must fit
    replaced: Record | None = None
    uses = 0
    for (operation, facts), record in zip(replay(history), history, strict=True):
        if operation == "token.issue":
            identity = facts
        elif operation == "token.revoke":
            revoked, revoked_at, terms = facts.get("reason"), record.time, record
        elif operation == "token.suspend" and facts.get("outcome") != KEPT:
            suspended_at, terms = record.time if suspended_at is None else suspended_at, record
        elif operation == "token.lift":
            suspended_at, terms = None, None
        elif operation == "token.replace":
            replaced = record
        elif operation == "token.use":
            uses += 1
    said = {name: identity.get(name) for name in ("subject", "owner", "kind", "format", "expires_at", "parent", "kid")}
    if said != {name: getattr(token, name) for name in said}:
        yield "its row differs from the record of its issue"
    if [identity.get("scope"), identity.get("audience")] != [sorted(token.scope), sorted(token.audience)]:
        yield "its scope or audience differs from the record of its issue"
    if not _issue_fits(token, history[0]):
        yield "its secret, labels, limits or note differ from the record of its issue"
    if (revoked, revoked_at) != (token.reason, token.revoked_at):
        yield "its revocation differs from its records"
    if suspended_at != token.suspended_at or not _terms_fit(token, terms):
        yield "its suspension, or what becomes of its children, differs from its records"
    if not _replacements_fit(token, history[0], replaced):
        yield "what it replaces, or what replaces it, differs from its records"
    if token.max_uses is not None and uses != token.uses:
        yield "its uses differ from its records"


def _flaws_by_columns(token: Token, history: Sequence[Record]) -> Iterator[str]:
    """Compare a row with what the columns of its records tell: of an archived token, bodies cannot contradict its MAC."""
    revoked_at = next((record.time for record in reversed(history) if record.operation == "token.revoke"), None)
    if revoked_at != token.revoked_at:
        yield "its revocation differs from its records"
    uses = sum(record.operation == "token.use" for record in history)
    if token.max_uses is not None and uses != token.uses:
        yield "its uses differ from its records"


def _terms_fit(token: Token, record: Record | None) -> bool:
    """Whether a row says of its end and its children what its newest such record commits to."""
    if record is None:
        return (token.suspended_until, token.suspended_then, token.children_kept) == (None, None, 0)
    if record.operation == "token.suspend":
        terms = suspension_parameters(
            token.suspended_until, token.suspended_then, keep_children=bool(token.children_kept), note=token.revoked_note
        )
        return record.commits_to(terms)
    # Other revocations commit to more than the row tells, but only one that keeps the children says so.
    return record.commits_to({"note": token.revoked_note, "keep_children": True}) == bool(token.children_kept)


def _replacements_fit(token: Token, issued: Record, replaced: Record | None) -> bool:
    """Whether a row says of the tokens before and after it what its issue and its newest replacement commit to."""
    if replaced is None and (token.replaced_by, token.grace_until) != (None, None):
        return False
    if replaced is not None and not replaced.commits_to(replacement_parameters(token.replaced_by, token.grace_until)):
        return False
    return (token.replaces, token.grace) == (None, None) or _issue_fits(token, issued)


def _issue_fits(token: Token, issued: Record) -> bool:
    """Whether a row says what the record of its issue commits to; records of 0.1.0 did not commit to the verifier."""
    told = (token.labels, token.max_uses, token.not_before, token.note)
    terms = (
        issue_parameters(*told, replaces=token.replaces, grace=token.grace, verifier=verifier)
        for verifier in dict.fromkeys((token.verifier, None))
    )
    return any(issued.commits_to(each) for each in terms)
