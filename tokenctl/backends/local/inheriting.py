"""What a restored store takes over from the one that it replaces: what was denied there stays denied.

The backup was checked up to the last record that both logs have, so what it lacks is told by the records behind that. They
are gone by, for the log was checked too; a row of the present store only adds what its records commit to and do not show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.backends.local import rotating
from tokenctl.backends.local.batches import Known
from tokenctl.backends.local.standing import due, event_about, record_about, revoke_due
from tokenctl.backends.local.terms import Terms, suspend, terms_of
from tokenctl.backends.local.view import Change, View
from tokenctl.model.identifier import new_id
from tokenctl.model.record import KEPT, Event, Record, replacement_parameters
from tokenctl.model.rotation import SERVED_STATES
from tokenctl.model.token import Reason, Token
from tokenctl.store.rows import Stored

_NOTE = "suspended in the store that was replaced"
_HARDEST = Terms(None, None, keep_children=False)
_SEALED = "SEALED:"
_ANY = 1_000_000_000


class Inherited(NamedTuple):
    """What was taken over: how many revocations, suspensions and uses; the keys denied since, and those retired since."""

    revoked: int = 0
    suspended: int = 0
    uses: int = 0
    compromised: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()


def inherit(change: Change, present: View | None, agreed: int, request_id: str) -> Inherited:
    """Take over what the present store denies and the restored one would not.

    Args:
        present: The store that is replaced, its log checked; ``None`` for none that is believed.
        agreed: How many records both logs begin with.
    """
    if present is None:
        return Inherited()
    since = _Since(change, present, agreed, request_id)
    taken = Inherited(
        revoked=since.revocations() + since.replacements() + since.ended(), uses=since.uses(),
        suspended=since.suspensions(), compromised=since.compromised(), retired=since.retired(),
    )  # fmt: skip
    since.seal()
    return taken


class _Since:
    """What the log of the present store tells behind what the restored one has."""

    def __init__(self, change: Change, present: View, agreed: int, request_id: str) -> None:
        self._change = change
        self._present = present
        self._agreed = agreed
        self._request_id = request_id

    def _records(self, *operations: str) -> Iterator[tuple[Record, dict[str, object]]]:
        for record in query.records(self._present.store, query.Filter(operation=operations, behind=self._agreed)):
            if record.target is not None:
                yield record, self._facts(record)

    def _facts(self, record: Record) -> dict[str, object]:
        """Return what a record says; of one whose body is archived, what its columns and the token's row tell."""
        if record.archived is None:
            return record.facts()
        row = self._theirs(str(record.target))
        told: dict[str, object] = {"reason": row.reason, "parent": row.parent} if row is not None else {}
        return told | {"ticket": record.ticket, "request_id": record.request}

    def _ours(self, identifier: str) -> Stored[Token] | None:
        """Return a token that the restored store has and does not deny for good."""
        stored = self._change.rows.token(identifier)
        return stored if stored is not None and stored.row.revoked_at is None else None

    def _theirs(self, identifier: str) -> Token | None:
        """Return the row of the present store, where it is what its newest record left."""
        stored = self._present.rows.token(identifier)
        newest = self._present.rows.newest_leaf(identifier)
        return stored.row if stored is not None and stored.intact and stored.row.leaf == newest else None

    def _revoke(self, ours: Stored[Token], **told: object) -> None:
        revoke_due(self._change, ours, request=self._request_id, **told)  # type: ignore[arg-type]  # as named below

    def revocations(self) -> int:
        revoked = 0
        for record, facts in self._records("token.revoke"):
            ours, row = self._ours(str(record.target)), self._theirs(str(record.target))
            if ours is None:
                continue
            ticket = facts.get("ticket")
            self._revoke(
                ours, reason=str(facts.get("reason") or "other"), note=row.revoked_note if row is not None else None,
                ticket=None if ticket is None else str(ticket), keep_children=row is not None and bool(row.children_kept),
            )  # fmt: skip
            revoked += 1
        return revoked

    def replacements(self) -> int:
        """Let what was replaced go on as long as it would have; what a changed row no longer tells ends now.

        A token whose successor is lost with the records goes on as if nobody had replaced it.
        """
        revoked = 0
        for record, _ in self._records("token.replace"):
            ours, row = self._ours(str(record.target)), self._theirs(str(record.target))
            if ours is None:
                continue
            until = row.grace_until if row is not None else None
            if row is None or until is None or until <= self._present.now:
                self._revoke(ours, reason="superseded", note="replaced in the store that was replaced")
                revoked += 1
                continue
            if row.replaced_by is None or self._change.rows.token(row.replaced_by) is None:
                continue
            parameters = replacement_parameters(row.replaced_by, until)
            told: dict[str, object] = {"request_id": self._request_id, "parameters": parameters}
            record_about(self._change, ours, "token.replace", told, replaced_by=row.replaced_by, grace_until=until)
        return revoked

    def ended(self) -> int:
        """Revoke what every reader of the present store denies and no record tells yet."""
        revoked = 0
        for identifier, cause in due(self._present, most=_ANY):
            ours, row = self._ours(identifier), self._theirs(identifier)
            if ours is None or row is None or (cause == "suspension" and row.suspended_then != "revoke"):
                continue
            if cause == "undelivered" and ours.row.delivered_at is not None:
                continue
            reason = {"undelivered": "undelivered", "grace": "superseded"}.get(cause, "other")
            self._revoke(ours, reason=reason, note="it had ended in the store that was replaced")
            revoked += 1
        return revoked

    def uses(self) -> int:
        """Count again the uses of tokens that have only so many; those of a lost child were its parent's."""
        lost = {str(record.target): facts.get("parent") for record, facts in self._records("token.issue")}
        counts: Counter[str] = Counter()
        for record, _ in self._records("token.use"):
            user: object = record.target
            while isinstance(user, str) and user in lost and self._change.rows.token(user) is None:
                user = lost[user]
            if isinstance(user, str):
                counts[user] += 1
        added = 0
        for identifier, count in counts.items():
            ours = self._ours(identifier)
            if ours is None or ours.row.max_uses is None:
                continue
            token = ours.row
            for _ in range(count):
                token = token._replace(uses=token.uses + 1, last_used_at=self._present.now)
                record = self._change.append(event_about("token.use", token, parameters={"uses": token.uses}))
                token = token._replace(leaf=record.seq)
            self._change.rows.update_token(token, "uses", "last_used_at", "leaf")
            added += count
        return added

    def suspensions(self) -> int:
        """Suspend again under an id of its own, so that nobody takes it for what the restoring suspended."""
        request_id = new_id(self._change.clock)
        newest = {}
        for record, facts in self._records("token.suspend", "token.lift"):
            if facts.get("outcome") != KEPT:
                newest[str(record.target)] = record.operation
        suspended = 0
        for identifier in (identifier for identifier, operation in newest.items() if operation == "token.suspend"):
            ours, row = self._ours(identifier), self._theirs(identifier)
            terms = terms_of(row) if row is not None else _HARDEST
            if ours is None or terms is None or terms_of(ours.row) == terms:
                continue
            known = Known(self._change, [identifier])
            suspend(self._change, known, ours, Reason(note=_NOTE, request_id=request_id), terms)
            known.flush()
            suspended += 1
        return suspended

    def compromised(self) -> tuple[str, ...]:
        """Deny the keys that are denied there; where one of them signs here, a fresh one signs in its place."""
        from tokenctl.formats import signing

        change, denied = self._change, []
        for record, _ in self._records("key.compromise"):
            ours = change.rows.key(str(record.target))
            if ours is None or ours.row.state == "compromised":
                continue
            key, trusted = ours.row, change.quarantine is None
            signed = key.state == "active"
            rotating.compromise(change, key, replaced=trusted or not signed, intact=True)
            if signed:  # the private part of its successor lay beside it
                for other in [stored.row for stored in change.rows.every_key()]:
                    if (other.state, other.alg) == ("published", key.alg):
                        rotating.retire(change, other)
            if signed and trusted:
                rotating.make_key(change, signing.generate(key.alg), "active")
            denied.append(key.kid)
        return tuple(denied)

    def retired(self) -> tuple[str, ...]:
        """Return the keys that are out of service there and in service here."""
        here = {key.row.kid: key.row.state for key in self._change.rows.every_key()}
        gone = [str(record.target) for record, facts in self._records("key.retire") if facts.get("outcome") == "retired"]
        return tuple(kid for kid in gone if here.get(kid) in SERVED_STATES)

    def seal(self) -> None:
        """Keep a store sealed that was sealed by hand: a release is said, not restored."""
        verdict = self._present.head.quarantine or ""
        if _SEALED in verdict and self._change.quarantine is None:
            reason = verdict[verdict.index(_SEALED) + len(_SEALED) :].strip()
            self._change.seal(f"{_SEALED} {reason}")
            self._change.append(
                Event(operation="store.seal", target=self._change.store_id, reason=reason, request_id=self._request_id)
            )
