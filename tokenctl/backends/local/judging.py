"""Judging a request where its owner's tokens and its parent lie: inside the transaction that issues, or to say what would be."""

from typing import NamedTuple

from tokenctl.backends.local.journal import View
from tokenctl.backends.local.standing import DEEPEST, look
from tokenctl.errors import IntegrityError, NotFound
from tokenctl.model.introspection import Found
from tokenctl.model.policy import Decision, Fault, Limit, Policy, denied
from tokenctl.model.times import LAST_INSTANT, SECOND
from tokenctl.model.token import DELIVERY_DEADLINE, Token, TokenRequest


class Judgement(NamedTuple):
    """What becomes of a request now.

    Attributes:
        living: Every limit that applies, and how many tokens its owner has under it.
        faults: Every demand of policy, limits and parent that is not met.
    """

    decision: Decision
    living: list[tuple[Limit, int]]
    expires_at: int
    faults: list[Fault]

    def require(self) -> None:
        """Raise PolicyDenied where it is refused (exit 12)."""
        if self.faults:
            raise denied(self.faults)


def judge(
    view: View | None, request: TokenRequest, policy: Policy, now: int, actor: str, counts: dict[tuple[str, str], int]
) -> Judgement:  # fmt: skip
    """Judge a request by the policy, by its owner's living tokens and by its parent.

    Args:
        view: The store as it is; ``None`` where there is none yet.
        request: What is wished for.
        policy: What may be issued.
        now: Milliseconds since the epoch, as the store counts them.
        actor: Who asks: a request id is theirs.
        counts: Living tokens by limit and owner, as far as they were counted; see :func:`count_issued`.

    Raises:
        NotFound: its parent is unknown, and nothing else is wrong (exit 5).
    """
    decision = policy.decide(request)
    faults = list(decision.faults)
    start = max(now - now % SECOND, request.not_before or 0)
    expires_at = start + decision.lifetime - (start + decision.lifetime) % SECOND
    if expires_at > LAST_INSTANT:
        faults.append(Fault("max-lifetime", "it would end after the year 9999"))
    living = [(limit, _living(view, limit, request, now, actor, counts)) for limit in decision.limits]
    for limit, count in living:
        faults += limit.faults(count, request.owner)
    if request.parent is not None:
        parent = _parent(view, request.parent)
        if parent is None and not faults:
            raise NotFound(f"no token {request.parent} to be the parent")
        if view is None or parent is None:
            faults.append(Fault("parent", f"no token {request.parent} to be the parent"))
        else:
            faults += _beyond(view, request, parent, expires_at)
    return Judgement(decision, living, expires_at, faults)


def _parent(view: View | None, identifier: str) -> Found | None:
    """Return the parent as it stands; raises IntegrityError where its row does not check out (exit 10)."""
    stored = view.rows.token(identifier) if view is not None else None
    if view is None or stored is None:
        return None
    found = look(view, stored)
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
    if parent.max_uses is not None and (request.max_uses is None or request.max_uses > parent.max_uses - parent.uses):
        faults.append(Fault("parent-max-uses", f"the parent has {parent.max_uses - parent.uses} uses left"))
    if expires_at > parent.expires_at:
        faults.append(Fault("parent-lifetime", "the parent expires earlier"))
    return faults


def _depth(view: View, token: Token) -> int:
    """Return how many ancestors a token has."""
    depth = 0
    while token.parent is not None and depth < DEEPEST:
        above = view.rows.token(token.parent)
        if above is None:
            break
        token, depth = above.row, depth + 1
    return depth


def _living(
    view: View | None, limit: Limit, request: TokenRequest, now: int, actor: str, counts: dict[tuple[str, str], int]
) -> int:  # fmt: skip
    """Count the living tokens of an owner that a limit is about, without the one that this request would replace."""
    key = (limit.rule, request.owner)
    if view is None:
        return counts.setdefault(key, 0)
    if key not in counts:
        from tokenctl.model.rules import fits

        since = now - DELIVERY_DEADLINE
        counts[key] = sum(
            count
            for subject, run, count in view.rows.living_of(request.owner, limit.kinds, now=now, undelivered_since=since)
            if fits(limit.subjects, subject) and not (run is not None and view.run_ended(run))
        )
    replaced = 0
    if request.request_id is not None:
        replaced = view.rows.replaceable(request.request_id, actor, undelivered_since=now - DELIVERY_DEADLINE)
    return counts[key] - replaced


def count_issued(counts: dict[tuple[str, str], int], decision: Decision, owner: str) -> None:
    """Keep the counts of one transaction true after an issue: one more where a rule decided, unknown elsewhere."""
    if not counts:
        return
    decided = {limit.rule for limit in decision.limits}
    for key in [key for key in counts if key[1] == owner]:
        if key[0] in decided:
            counts[key] += 1
        else:
            del counts[key]
