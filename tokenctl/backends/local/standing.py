"""How a token of the store stands now: its row checked, its ancestors and its key looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.audit.lifting import ENDED
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import IntegrityError
from tokenctl.model.introspection import Found
from tokenctl.model.record import KEPT, Event
from tokenctl.model.token import DELIVERY_DEADLINE, Key, Standing, Token, standing_of
from tokenctl.store.rows import Stored

DEEPEST = 64  # generations; a longer chain, or a ring, is no chain we made
_MOST_AT_ONCE = 1000  # tokens that one command records as due
# What a token's row says when nothing suspends it.
NOT_SUSPENDED: Mapping[str, object] = MappingProxyType(
    {"suspended_at": None, "suspended_until": None, "suspended_then": None, "children_kept": 0, "revoked_note": None}
)


def look(view: View, stored: Stored[Token], *, count_children: bool = False, own_uses: bool = False) -> Found:
    """Return a token with its standing; ``intact`` is false where its row, its chain or its key does not check out.

    Args:
        own_uses: Leave aside which uses its children have.
    """
    newest = view.rows.newest_leaf(stored.row.id)
    return _judge(view, stored, newest, {}, count_children=count_children, own_uses=own_uses)


def look_at(view: View, identifiers: Sequence[str], *, count_children: bool = False) -> dict[str, tuple[Stored[Token], Found]]:
    """Return :meth:`look` of those of these ids that there are, in few questions to the store."""
    leaves = view.rows.newest_leaves(identifiers)
    parents = view.rows.parents_among(identifiers) if count_children else set()
    keys: dict[str, tuple[Key | None, bool]] = {}
    found = {}
    for identifier, stored in view.rows.tokens(identifiers).items():
        judged = _judge(view, stored, leaves.get(identifier, 0), keys, count_children=identifier in parents)
        found[identifier] = (stored, judged)
    return found


def _judge(
    view: View, stored: Stored[Token], newest: int, keys: dict[str, tuple[Key | None, bool]], *, count_children: bool,
    own_uses: bool = False,
) -> Found:  # fmt: skip
    token = stored.row
    intact = stored.intact and newest == token.leaf
    ancestors: list[Token] = []
    parent = token.parent
    while parent is not None:
        above = view.rows.token(parent) if len(ancestors) < DEEPEST else None
        if above is None:
            intact = False
            break
        intact = intact and above.intact and view.rows.newest_leaf(parent) == above.row.leaf
        ancestors.append(above.row)
        parent = above.row.parent
    key: Key | None = None
    if token.kid is not None:
        if token.kid not in keys:
            keys[token.kid] = _signer(view, token.kid)
        key, sound = keys[token.kid]
        intact = intact and sound
    children = sum(1 for _ in view.rows.descendants(token.id)) if count_children else 0
    standing = _stand(view, token, ancestors, key, own_uses=own_uses)
    return Found(token=token, standing=standing, intact=intact, children=children)


def _signer(view: View, kid: str) -> tuple[Key | None, bool]:
    """Return a key, and whether its row checks out."""
    signer = view.rows.key(kid)
    if signer is None:
        return None, False
    return signer.row, signer.intact and view.rows.newest_leaf(kid) == signer.row.leaf


def _stand(view: View, token: Token, ancestors: Sequence[Token], key: Key | None, *, own_uses: bool = False) -> Standing:
    ended = {kin.id for kin in (token, *ancestors) if kin.run is not None and kin.revoked_at is None and view.run_ended(kin.run)}
    standing = standing_of(token, now=view.now, ancestors=ancestors, key=key, ended=ended)
    if own_uses or not standing.active or token.max_uses is None:
        return standing
    left = token.max_uses - token.uses - given(view, token.id)
    return standing if left > 0 else Standing(state="spent", cause="its children have what is left of its uses")


def denied_for_good(view: View, found: Found) -> bool:
    """Whether a token is revoked already: by a row that checks out, or, where the row does not, by its newest record."""
    if found.intact:
        return found.standing.state == "revoked"
    return view.rows.newest_operation(found.token.id) == "token.revoke"


def given(view: View, identifier: str) -> int:
    """Return how many uses of a token its children have: those are not its own to spend or to give again."""
    if not view.rows.parents_among([identifier]):
        return 0
    ended = [running for running, run in view.rows.running() if view.run_ended(run)]
    return view.rows.given(identifier, now=view.now, undelivered_since=view.now - DELIVERY_DEADLINE, ended=ended)


def survey(view: View, tokens: Iterable[Token]) -> Iterator[tuple[str, Standing]]:
    """Yield how tokens of :meth:`Rows.survey` seem to stand: nothing is checked, so it is good for counting alone."""
    keys: dict[str, Key | None] = {}
    for token in tokens:
        ancestors: list[Token] = []
        parent = token.parent
        while parent is not None and len(ancestors) < DEEPEST:
            above = next(view.rows.survey([parent]), None)
            if above is None:
                break
            ancestors.append(above)
            parent = above.parent
        if token.kid is not None and token.kid not in keys:
            keys[token.kid] = _signer(view, token.kid)[0]
        yield token.id, _stand(view, token, ancestors, keys[token.kid] if token.kid is not None else None)


def intact_keys(view: View) -> list[Key]:
    """Return every signing key; raises IntegrityError where a row does not check out, or is gone (exit 10)."""
    stored = view.rows.every_key()
    for each in stored:
        require_intact(view, each)
    require_all(view, len(stored))
    return [each.row for each in stored]


def keys_as_they_are(view: View) -> tuple[list[Key], bool]:
    """Return every signing key as its row says, for denying alone, and whether all of them check out and none is gone."""
    try:
        return intact_keys(view), True
    except IntegrityError:
        return [stored.row for stored in view.rows.every_key()], False


def require_all(view: View, found: int) -> None:
    """Refuse to go by keys of which the log knows more (exit 10): rows are never deleted."""
    if found != view.rows.keys_made():
        raise IntegrityError("the row of a signing key is gone", hint="tokenctl audit verify")


def require_intact(view: View, stored: Stored[Key]) -> None:
    """Refuse a key whose row does not check out (exit 10)."""
    if not stored.intact or view.rows.newest_leaf(stored.row.kid) != stored.row.leaf:
        raise IntegrityError("the row of a signing key does not check out", hint="tokenctl audit verify")


def event_about(operation: str, token: Token, **facts: object) -> Event:
    """Return an event that tells the identity and rights of a token."""
    known: dict[str, object] = {
        "target": token.id, "subject": token.subject, "owner": token.owner, "kind": token.kind, "format": token.format,
        "scope": tuple(sorted(token.scope)), "audience": tuple(sorted(token.audience)), "expires_at": token.expires_at,
        "parent": token.parent, "kid": token.kid,
    }  # fmt: skip
    return Event(operation=operation, **(known | facts))  # type: ignore[arg-type]  # names are checked by the dataclass


def record_about(change: Change, stored: Stored[Token], operation: str, facts: dict[str, object], **columns: object) -> Token:
    """Append the record of a change of a token and write the changed columns with it."""
    record = change.append(event_about(operation, stored.row, **facts))
    token = stored.row._replace(leaf=record.seq, **columns)  # type: ignore[arg-type]  # names are checked by the tuple
    write = change.rows.update_token if stored.intact else change.rows.condemn_token
    write(token, "leaf", *columns)
    return token


class Due(NamedTuple):
    """A token about which something has come due that no record tells yet."""

    id: str
    cause: str  # undelivered, run, suspension or grace


def due(view: View, *, most: int = _MOST_AT_ONCE) -> list[Due]:
    """Return what has come due and is not recorded yet."""
    causes = dict.fromkeys(_ended_suspensions(view, most), "suspension")
    causes |= {identifier: "run" for identifier, run in view.rows.running() if view.run_ended(run)}
    causes |= dict.fromkeys(view.rows.ended_graces(view.now, limit=most), "grace")
    causes |= dict.fromkeys(view.rows.undelivered(view.now - DELIVERY_DEADLINE, limit=most), "undelivered")
    return [Due(identifier, cause) for identifier, cause in causes.items()][:most]


def unliftable(view: View, *, most: int = _MOST_AT_ONCE) -> list[str]:
    """Return the tokens whose suspension was to end in a lift by now, and that nothing may lift as the store stands."""
    due_now = set(_ended_suspensions(view, most))
    return [identifier for identifier, _ in view.rows.ended_suspensions(view.now, limit=most) if identifier not in due_now]


def _ended_suspensions(view: View, most: int) -> list[str]:
    """Return the tokens whose suspension has ended. One that ends in a lift waits for what could lift it: a row that checks
    out, in a store that does, by a clock that does not stand behind the log.
    """
    ended = view.rows.ended_suspensions(view.now, limit=most)
    lifts = [identifier for identifier, then in ended if then != "revoke"]
    lifted: set[str] = set()
    if lifts and view.quarantine is None and view.last_time <= view.clock:
        leaves = view.rows.newest_leaves(lifts)
        known = view.rows.tokens(lifts).items()
        lifted = {identifier for identifier, stored in known if stored.intact and leaves.get(identifier) == stored.row.leaf}
    return [identifier for identifier, then in ended if then == "revoke" or identifier in lifted]


def housekeep(change: Change) -> list[Due]:
    """Record what has come due; return it. Every reader denies it already, so the rest of a long list may wait."""
    found = due(change)
    for identifier, cause in found:
        stored = change.rows.token(identifier)
        assert stored is not None
        if cause == "suspension":
            _end_suspension(change, stored)
        elif cause == "run":
            revoke_due(change, stored, reason="other", note="its run ended")
        elif cause == "grace":
            supersede(change, stored)
        else:
            revoke_due(change, stored, reason="undelivered")
    return found


def revoke_due(
    change: Change, stored: Stored[Token], *, reason: str, note: str | None = None, ticket: str | None = None,
    request: str | None = None, keep_children: bool = False,
) -> None:  # fmt: skip
    """Revoke a token that something else than ``revoke`` ends; its children die with it unless they are kept."""
    parameters: dict[str, object] = {"note": note, "keep_children": True} if keep_children else {"note": note}
    record_about(
        change, stored, "token.revoke", {"reason": reason, "ticket": ticket, "request_id": request, "parameters": parameters},
        revoked_at=change.now, revoked_by=change.actor_name, reason=reason, revoked_note=note, ticket=ticket,
        revoked_request=request, children_kept=int(keep_children),
    )  # fmt: skip


def supersede(change: Change, stored: Stored[Token]) -> None:
    """Revoke a token that its successor has taken the place of; its children die with it."""
    revoke_due(change, stored, reason="superseded", note=f"replaced by {stored.row.replaced_by}")


def _end_suspension(change: Change, stored: Stored[Token]) -> None:
    """Record how a suspension ended, for the reason that it began with."""
    facts: dict[str, object] = {}
    for began in query.records(change.store, query.Filter(target=(stored.row.id,), operation=("token.suspend",))):
        with suppress(ValueError):  # a damaged record ends no housekeeping
            facts = told if (told := began.facts()).get("outcome") != KEPT else facts
    reason, ticket, request = (facts.get(name) for name in ("reason", "ticket", "request_id"))
    if stored.row.suspended_then == "revoke":
        revoke_due(
            change, stored, reason=str(reason or "other"), note=ENDED,
            ticket=None if ticket is None else str(ticket), request=None if request is None else str(request),
            keep_children=bool(stored.row.children_kept),
        )  # fmt: skip
    else:
        parameters: dict[str, object] = {"note": ENDED, "keep_children": True} if stored.row.children_kept else {"note": ENDED}
        facts = {"reason": reason, "ticket": ticket, "request_id": request, "parameters": parameters}
        record_about(change, stored, "token.lift", facts, **NOT_SUSPENDED)
