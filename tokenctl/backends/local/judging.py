"""Judging a request where its owner's tokens and its parent lie: inside the transaction that issues, or to say what would be."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tokenctl.backends.local.standing import DEEPEST, given, look
from tokenctl.backends.local.view import View
from tokenctl.errors import IntegrityError, NotFound
from tokenctl.model.introspection import Found
from tokenctl.model.policy import Decision, Fault, Limit, Policy, denied
from tokenctl.model.times import LAST_INSTANT, SECOND
from tokenctl.model.token import DELIVERY_DEADLINE, Token, TokenRequest


class Judgement(NamedTuple):
    """What becomes of a request now.

    Attributes:
        living: Every limit that applies, and how many tokens its owner has under it.
        replaced: How many living tokens make way for this one: its request came before, and they never reached their taker.
        returned: How many uses those leave to its parent.
        outgoing: How many living tokens no longer count once this one replaces another.
        faults: Every demand of policy, limits and parent that is not met.
    """

    decision: Decision
    living: list[tuple[Limit, int]]
    replaced: int
    expires_at: int
    faults: list[Fault]
    returned: int = 0
    outgoing: int = 0

    def require(self) -> None:
        """Raise PolicyDenied where it is refused (exit 12)."""
        if self.faults:
            raise denied(self.faults)


class Counts:
    """What owners have under limits, and children of their parents' uses, kept true while a transaction answers many requests.

    Args:
        view: The store as it is; ``None`` where there is none yet.
        now: Milliseconds since the epoch, as the store counts them.
    """

    def __init__(self, view: View | None, now: int) -> None:
        self._view = view
        self._now = now
        self._known: dict[tuple[Limit, str], int] = {}
        self._given: dict[str, int] = {}
        self._answered: Counter[tuple[str, str, str]] = Counter()  # by owner, kind and subject; not in the store yet

    def of(self, limit: Limit, owner: str) -> int:
        """Return how many living tokens an owner has of those that a limit is about."""
        from tokenctl.model.rules import fits

        key = (limit, owner)
        if key not in self._known:
            stored = 0
            if self._view is not None:
                since = self._now - DELIVERY_DEADLINE
                rows = self._view.rows.living_of(owner, limit.kinds, now=self._now, undelivered_since=since)
                stored = sum(
                    count
                    for subject, run, count in rows
                    if fits(limit.subjects, subject) and not (run is not None and self._view.run_ended(run))
                )
            self._known[key] = stored + sum(
                count
                for (whose, kind, subject), count in self._answered.items()
                if whose == owner and kind in limit.kinds and fits(limit.subjects, subject)
            )
        return self._known[key]

    def given_by(self, view: View, parent: str) -> int:
        """Return how many of a token's uses its children have."""
        if parent not in self._given:
            self._given[parent] = given(view, parent)
        return self._given[parent]

    def returned_by(self, request: TokenRequest, actor: str) -> int:
        """Return how many uses the tokens of :meth:`replaced_by` leave to their parent."""
        if self._view is None or request.request_id is None or request.parent is None:
            return 0
        return self._view.rows.returned(request.request_id, actor, undelivered_since=self._now - DELIVERY_DEADLINE)

    def replaced_by(self, request: TokenRequest, actor: str) -> int:
        """Return how many living tokens make way for a request that is made again."""
        if self._view is None or request.request_id is None:
            return 0
        since = self._now - DELIVERY_DEADLINE
        return self._view.rows.replaceable(request.request_id, actor, undelivered_since=since)

    def outgoing(self, request: TokenRequest) -> int:
        """Return how many living tokens count no longer once a request has replaced another: that one counts with it."""
        if self._view is None or request.replaces is None:
            return 0
        from tokenctl.backends.local import succeeding

        return 1 - succeeding.reappearing(self._view, request.replaces)

    def add(self, request: TokenRequest, judgement: Judgement, *, gone: bool) -> None:
        """Count an answered request.

        Args:
            gone: Whether the tokens that make way for it are revoked in the store by now.
        """
        replaced, outgoing = judgement.replaced, judgement.outgoing
        if request.parent in self._given:
            self._given[request.parent] += (request.max_uses or 0) - judgement.returned
        self._answered[request.owner, request.kind, request.subject] += 1 - (0 if gone else replaced) - outgoing
        if not self._known:
            return
        from tokenctl.model.rules import fits

        for limit, owner in self._known:
            if owner == request.owner and request.kind in limit.kinds and fits(limit.subjects, request.subject):
                self._known[limit, owner] += 1 - replaced - outgoing


def judge(view: View | None, request: TokenRequest, policy: Policy, now: int, actor: str, counts: Counts) -> Judgement:
    """Judge a request by the policy, by its owner's living tokens and by its parent.

    Args:
        view: The store as it is; ``None`` where there is none yet.
        request: What is wished for.
        policy: What may be issued.
        now: Milliseconds since the epoch, as the store counts them.
        actor: Who asks: a request id is theirs.
        counts: What owners and children have, with what was answered before in this transaction.

    Raises:
        NotFound: its parent is unknown, and nothing else is wrong (exit 5).
    """
    decision = policy.decide(request)
    faults = [*decision.faults, *decision.late(request, now)]
    start = max(now - now % SECOND, request.not_before or 0)
    expires_at = start + decision.lifetime - (start + decision.lifetime) % SECOND
    if expires_at > LAST_INSTANT:
        faults.append(Fault("max-lifetime", "it would end after the year 9999"))
    parent = _parent(view, request.parent) if request.parent is not None else None
    if parent is not None and request.lifetime is None and start < parent.token.expires_at < expires_at:
        expires_at = parent.token.expires_at  # nobody asked for more: a default ends with the parent
        decision = decision._replace(lifetime=expires_at - start)
    limits = decision.limits
    replaced = counts.replaced_by(request, actor) if limits else 0
    outgoing = counts.outgoing(request) if limits else 0
    living = [(limit, counts.of(limit, request.owner) - replaced - outgoing) for limit in limits]
    for limit, count in living:
        faults += limit.faults(count, request.owner)
    returned = counts.returned_by(request, actor)
    if request.parent is not None:
        if parent is None and not faults:
            raise NotFound(f"no token {request.parent} to be the parent")
        if view is None or parent is None:
            faults.append(Fault("parent", f"no token {request.parent} to be the parent"))
        else:
            faults += _beyond(view, request, parent, expires_at)
            faults += _beyond_uses(view, request, parent.token, counts, returned)
    return Judgement(decision, living, replaced, expires_at, faults, returned, outgoing)


def _parent(view: View | None, identifier: str) -> Found | None:
    """Return the parent as it stands; raises IntegrityError where its row does not check out (exit 10)."""
    stored = view.rows.token(identifier) if view is not None else None
    if view is None or stored is None:
        return None
    found = look(view, stored, own_uses=True)  # what its children have is counted beside it
    if not found.intact:
        raise IntegrityError(f"the row of the parent {identifier} does not check out", hint="tokenctl audit verify")
    return found


def _beyond(view: View, request: TokenRequest, found: Found, expires_at: int) -> list[Fault]:
    """Say where a child would have more than its parent, or outlive it."""
    parent, standing = found.token, found.standing
    faults = []
    if _depth(view, parent) + 1 >= DEEPEST:
        faults.append(Fault("parent-depth", f"at most {DEEPEST} generations"))
    if not standing.active:
        faults.append(Fault("parent", f"{parent.id} is {standing.state}"))
    lacking = sorted(set(request.scope) - set(parent.scope))
    if lacking:
        faults.append(Fault("parent-scope", f"the parent lacks {', '.join(lacking)}"))
    if parent.audience and not (request.audience and set(request.audience) <= set(parent.audience)):
        faults.append(Fault("parent-audience", "the parent is for other audiences"))
    if expires_at > parent.expires_at:
        faults.append(Fault("parent-lifetime", "the parent expires earlier"))
    return faults


def _beyond_uses(view: View, request: TokenRequest, parent: Token, counts: Counts, returned: int) -> list[Fault]:
    """Say where parent and children together would have more uses than the parent was made for."""
    if parent.max_uses is None:
        return []
    theirs = counts.given_by(view, parent.id) - returned
    left = max(0, parent.max_uses - parent.uses - theirs)
    if request.max_uses is not None and request.max_uses <= left:
        return []
    told = f", its children have {theirs}" if theirs else ""
    return [Fault("parent-max-uses", f"the parent has {left} use{'s' * (left != 1)} left{told}")]


def _depth(view: View, token: Token) -> int:
    """Return how many ancestors a token has."""
    depth = 0
    while token.parent is not None and depth < DEEPEST:
        above = view.rows.token(token.parent)
        if above is None:
            break
        token, depth = above.row, depth + 1
    return depth
