"""What a restored store takes over from the one that it replaces: what was denied there stays denied.

Only rows of the present store that check out are believed, but for a revocation: that can only deny.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokenctl.backends.local import rotating
from tokenctl.backends.local.batches import Known
from tokenctl.backends.local.standing import event_about, revoke_due
from tokenctl.backends.local.terms import suspend, terms_of
from tokenctl.backends.local.view import Change, View
from tokenctl.model.rotation import SERVED_STATES
from tokenctl.model.token import Reason, Token
from tokenctl.store.rows import Stored

_CHUNK = 200  # tokens read at once
_NOTE = "suspended in the store that was replaced"


class Inherited(NamedTuple):
    """What was taken over: how many revocations, suspensions and uses; the keys denied since, and those retired since."""

    revoked: int = 0
    suspended: int = 0
    uses: int = 0
    compromised: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()


def inherit(change: Change, present: View | None, request_id: str, *, suspensions: bool) -> Inherited:
    """Take over what the present store denies and the restored one would not.

    Args:
        suspensions: Also what is suspended there: only where not everything is suspended anyway.
    """
    if present is None:
        return Inherited()
    return Inherited(
        revoked=_revocations(change, present, request_id),
        uses=_uses(change, present),
        suspended=_suspensions(change, present, request_id) if suspensions else 0,
        compromised=_compromised(change, present),
        retired=_retired(change, present),
    )


def _pairs(change: Change, present: View, condition: str) -> Iterator[tuple[Stored[Token], Stored[Token], bool]]:
    """Yield tokens as the restored and as the present store have them, and whether the latter is to be believed."""
    for chunk in present.rows.in_chunks(condition, size=_CHUNK):
        leaves = present.rows.newest_leaves(chunk)
        theirs = present.rows.tokens(chunk)
        for identifier, ours in change.rows.tokens(chunk).items():
            there = theirs[identifier]
            yield ours, there, there.intact and leaves.get(identifier) == there.row.leaf


def _revocations(change: Change, present: View, request_id: str) -> int:
    revoked = 0
    for ours, there, intact in _pairs(change, present, "revoked_at IS NOT NULL"):
        if ours.row.revoked_at is not None:
            continue
        if not intact and present.rows.newest_operation(there.row.id) != "token.revoke":
            continue
        row = there.row if intact else there.row._replace(reason=None, revoked_note=None, ticket=None, children_kept=0)
        revoke_due(
            change, ours, reason=row.reason or "other", note=row.revoked_note, ticket=row.ticket, request=request_id,
            keep_children=bool(row.children_kept),
        )  # fmt: skip
        revoked += 1
    return revoked


def _uses(change: Change, present: View) -> int:
    """Count again the uses of tokens that have only so many."""
    added = 0
    for ours, there, intact in _pairs(change, present, "max_uses IS NOT NULL AND uses > 0 AND revoked_at IS NULL"):
        token = ours.row
        if not intact or token.revoked_at is not None or token.max_uses is None:
            continue
        while token.uses < there.row.uses:
            token = token._replace(uses=token.uses + 1, last_used_at=there.row.last_used_at)
            record = change.append(event_about("token.use", token, parameters={"uses": token.uses}))
            token = token._replace(leaf=record.seq)
            added += 1
        if token is not ours.row:
            change.rows.update_token(token, "uses", "last_used_at", "leaf")
    return added


def _suspensions(change: Change, present: View, request_id: str) -> int:
    suspended = 0
    for ours, there, intact in _pairs(change, present, "suspended_at IS NOT NULL AND revoked_at IS NULL"):
        terms = terms_of(there.row)
        if not intact or terms is None or ours.row.revoked_at is not None or terms_of(ours.row) == terms:
            continue
        known = Known(change, [ours.row.id])
        suspend(change, known, ours, Reason(note=_NOTE, request_id=request_id), terms)
        known.flush()
        suspended += 1
    return suspended


def _compromised(change: Change, present: View) -> tuple[str, ...]:
    """Deny the keys that are denied there; where one of them signs here, a fresh one signs in its place."""
    from tokenctl.formats import signing

    denied = []
    for there in present.rows.every_key():
        ours = change.rows.key(there.row.kid) if there.row.state == "compromised" else None
        if ours is None or ours.row.state == "compromised":
            continue
        key, trusted = ours.row, change.quarantine is None
        signed = key.state == "active"
        rotating.compromise(change, key, replaced=trusted or not signed)
        if signed:  # the private part of its successor lay beside it
            for other in [stored.row for stored in change.rows.every_key()]:
                if (other.state, other.alg) == ("published", key.alg):
                    rotating.retire(change, other)
        if signed and trusted:
            rotating.make_key(change, signing.generate(key.alg), "active")
        denied.append(key.kid)
    return tuple(denied)


def _retired(change: Change, present: View) -> tuple[str, ...]:
    """Return the keys that are out of service there and in service here."""
    here = {key.row.kid: key.row.state for key in change.rows.every_key()}
    gone = [key.row.kid for key in present.rows.every_key() if key.row.state == "retired"]
    return tuple(kid for kid in gone if here.get(kid) in SERVED_STATES)
