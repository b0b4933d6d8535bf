"""How a token of the store stands now: its row checked, its ancestors and its key looked at."""

from __future__ import annotations

from tokenctl.backends.local.journal import Change, View
from tokenctl.errors import IntegrityError
from tokenctl.model.introspection import Found
from tokenctl.model.record import Event
from tokenctl.model.token import DELIVERY_DEADLINE, Key, Token, standing_of
from tokenctl.store.rows import Stored

SERVED_STATES = ("published", "active", "retiring")  # keys that verifiers need
DEEPEST = 64  # generations; a longer chain, or a ring, is no chain we made
_MOST_AT_ONCE = 1000  # tokens that one command records as due


def look(view: View, stored: Stored[Token], *, count_children: bool = False) -> Found:
    """Return a token with its standing; ``intact`` is false where its row, its chain or its key does not check out."""
    token = stored.row
    intact = stored.intact and view.rows.newest_leaf(token.id) == token.leaf
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
        signer = view.rows.key(token.kid)
        intact = intact and signer is not None and signer.intact and view.rows.newest_leaf(token.kid) == signer.row.leaf
        key = signer.row if signer is not None else None
    children = sum(1 for _ in view.rows.descendants(token.id)) if count_children else 0
    ended = {kin.id for kin in (token, *ancestors) if kin.run is not None and kin.revoked_at is None and view.run_ended(kin.run)}
    standing = standing_of(token, now=view.now, ancestors=ancestors, key=key, ended=ended)
    return Found(token=token, standing=standing, intact=intact, children=children)


def intact_keys(view: View) -> list[Key]:
    """Return every signing key; raises IntegrityError where a row does not check out (exit 10)."""
    keys = []
    for stored in view.rows.every_key():
        require_intact(view, stored)
        keys.append(stored.row)
    return keys


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
    token = stored.row._replace(leaf=record.seq, **columns)  # type: ignore[arg-type]
    write = change.rows.update_token if stored.intact else change.rows.condemn_token
    write(token, "leaf", *columns)
    return token


def due(view: View) -> list[tuple[str, dict[str, object]]]:
    """Return what has come due and is not recorded yet: each token's id, and how its revocation is told."""
    waiting = view.rows.undelivered(view.now - DELIVERY_DEADLINE, limit=_MOST_AT_ONCE)
    found: list[tuple[str, dict[str, object]]] = [(identifier, {"reason": "undelivered"}) for identifier in waiting]
    found += [
        (identifier, {"reason": "other", "revoked_note": "its run ended"})
        for identifier, run in view.rows.running()
        if view.run_ended(run) and identifier not in waiting
    ]
    return found[:_MOST_AT_ONCE]


def housekeep(change: Change) -> int:
    """Record what has come due; return how much. Every reader denies it already, so the rest of a long list may wait."""
    found = due(change)
    for identifier, columns in found:
        stored = change.rows.token(identifier)
        assert stored is not None
        record_about(
            change, stored, "token.revoke",
            {"reason": columns["reason"], "parameters": {"note": columns.get("revoked_note")}},
            revoked_at=change.now, revoked_by=str(change.actor), **columns,
        )  # fmt: skip
    return len(found)
