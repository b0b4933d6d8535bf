"""Revoking: a target and its descendants in one change with their records."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from tokenctl.backends.local.batches import Known, Settled
from tokenctl.backends.local.standing import denied_for_good, look
from tokenctl.backends.local.terms import suspend, terms_of
from tokenctl.backends.local.view import Change, View
from tokenctl.model.introspection import Found
from tokenctl.model.record import canonical
from tokenctl.model.token import Outcome, Reason, Target, Token
from tokenctl.store.rows import Stored

BROKEN = "its row does not check out: tokenctl audit verify"


class Revocation:
    """Denies for good; a child dies with its parent unless it is kept."""

    def __init__(self, targets: Collection[Target], reason: Reason, *, keep_children: bool) -> None:
        self._targets = frozenset(target.id for target in targets)
        self._reason = reason
        self._keep_children = keep_children
        self._along: dict[str, str] = {}  # targets that died with another one: what they were
        self._parameters = lru_cache(maxsize=16)(self._written)

    def settle(self, change: Change, known: Known, identifier: str) -> Settled:
        read = known.get(identifier)
        if read is None:
            return Settled(Outcome(id=identifier, outcome="unknown"))
        stored, found = read
        if identifier in self._along:
            return self._died_along(found.token, change.now)
        if denied_for_good(change, found):
            return self._known_dead(change, known, found)
        details = [BROKEN] if not found.intact else []
        children = 0
        if self._keep_children:
            kept = sum(child not in self._targets for child in known.descendants(identifier))
            details += [f"{kept} {'child' if kept == 1 else 'children'} kept"] if kept else []
            details += self._suspend_children(change, known, stored.row)
            token = self._revoke(change, known, stored, None)
        else:
            self._remember(change, known, identifier)
            token = self._revoke(change, known, stored, None)
            children = self._revoke_descendants(change, known, token)
        outcome = Outcome(
            id=token.id, outcome="revoked", state_before=found.standing.state, at=change.now, by=change.actor_name,
            reason=self._reason.reason, offline_until=offline_until(token, change.now), children=children,
            detail="; ".join(details) or None,
        )  # fmt: skip
        return Settled(outcome, token)

    def holds(self, view: View, found: Found) -> bool:
        return denied_for_good(view, found)

    def _known_dead(self, change: Change, known: Known, found: Found) -> Settled:
        token = found.token
        details = [found.standing.cause] if found.standing.cause else []
        children = 0
        if token.children_kept and any(True for _ in known.descendants(token.id)):
            details.append(f"its children were kept: tokenctl revoke --parent {token.id}")
        elif not self._keep_children:
            # Descendants that a write once missed are finished by a rerun.
            children = self._revoke_descendants(change, known, token)
        outcome = Outcome(
            id=token.id, outcome="already_revoked", state_before="revoked", at=token.revoked_at, by=token.revoked_by,
            reason=token.reason, offline_until=offline_until(token, change.now), children=children,
            detail="; ".join(details) or None,
        )  # fmt: skip
        return Settled(outcome, token)

    def _died_along(self, token: Token, now: int) -> Settled:
        before = self._along[token.id]
        outcome = Outcome(
            id=token.id, outcome="revoked", state_before=before, at=token.revoked_at, by=token.revoked_by,
            reason=token.reason, offline_until=offline_until(token, now), detail="with its parent",
        )  # fmt: skip
        return Settled(outcome, token)

    def _remember(self, change: Change, known: Known, ancestor: str) -> None:
        """Note what the targets below a token are before they die with it."""
        for identifier in known.descendants(ancestor):
            stored = change.rows.token(identifier) if identifier in self._targets else None
            if stored is not None:
                found = look(change, stored)
                if not denied_for_good(change, found):
                    self._along[identifier] = found.standing.state

    def _revoke_descendants(self, change: Change, known: Known, ancestor: Token) -> int:
        revoked = 0
        for identifier in list(known.descendants(ancestor.id)):
            stored = change.rows.token(identifier)
            if stored is None or _revoked_itself(change, stored):
                continue
            self._revoke(change, known, stored, ancestor.id)
            known.renew(identifier)
            revoked += 1
        return revoked

    def _suspend_children(self, change: Change, known: Known, parent: Token) -> list[str]:
        """Suspend what was suspended along with a token that goes without its children: only ``--lift`` revives."""
        terms = terms_of(parent)
        if terms is None or terms.keep_children:
            return []
        known.flush()
        waiting, seen, suspended = [parent.id], {parent.id}, 0
        while waiting:
            for identifier in change.rows.children(waiting.pop()):
                stored = change.rows.token(identifier) if identifier not in seen else None
                seen.add(identifier)
                if stored is None:
                    continue
                row = stored.row
                if row.children_kept:  # what suspends it is not passed on to its own children
                    waiting.append(identifier)
                if row.expires_at > change.now and not denied_for_good(change, look(change, stored)):
                    spared = bool(row.children_kept) and row.suspended_at is not None
                    suspend(change, known, stored, self._reason, terms._replace(keep_children=spared))
                    known.renew(identifier)
                    suspended += 1
        return [f"{suspended} suspended without it, {terms.end}"] if suspended else []

    def _written(self, ancestor: str | None) -> bytes:
        """Return what a record is bound to and does not show: the same for all that no ancestor takes along."""
        parameters: dict[str, object] = {"note": self._reason.note}
        if ancestor is not None:
            parameters["with"] = ancestor
        elif self._keep_children:
            parameters["keep_children"] = True
        return canonical(parameters)

    def _revoke(self, change: Change, known: Known, stored: Stored[Token], ancestor: str | None) -> Token:
        reason = self._reason
        kept = self._keep_children and ancestor is None
        facts: dict[str, object] = {
            "reason": reason.reason, "ticket": reason.ticket, "request_id": reason.request_id,
            "parameters": self._parameters(ancestor),
        }  # fmt: skip
        return known.record(
            stored, "token.revoke", facts,
            revoked_at=change.now, revoked_by=change.actor_name, reason=reason.reason, revoked_note=reason.note,
            ticket=reason.ticket, revoked_request=reason.request_id, children_kept=int(kept),
        )  # fmt: skip


def _revoked_itself(view: View, stored: Stored[Token]) -> bool:
    if stored.intact and view.rows.newest_leaf(stored.row.id) == stored.row.leaf:
        return stored.row.revoked_at is not None
    return view.rows.newest_operation(stored.row.id) == "token.revoke"


def offline_until(token: Token, now: int) -> int | None:
    """A verifier that holds our keys and does not ask accepts a JWT until it expires."""
    return token.expires_at if token.format == "jwt" and token.expires_at > now else None
