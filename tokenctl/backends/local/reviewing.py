"""Finding the mistakes that a review looks for. Nothing is changed, and what comes due is not recorded either.

The living tokens are read once, page by page, so that a million of them take no memory. A source that finds mistakes of
another kind is one more function in ``_SOURCES``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from tokenctl.backends.base import Backend
from tokenctl.backends.local import log_key
from tokenctl.model.introspection import Found
from tokenctl.model.review import BY_ID, Review, Rule
from tokenctl.model.rotation import Step, Wish
from tokenctl.model.selector import Selector
from tokenctl.model.times import SECOND, format_distance, format_duration, format_exactly, format_instant
from tokenctl.model.token import DELIVERY_DEADLINE, Token
from tokenctl.store.schema import REMOTE

_DOMAIN = b"tokenctl/review/v1"
_UNDELIVERED = f"""SELECT id, issued_at FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL AND issued_at <= ?
                  AND NOT ({REMOTE}) AND (issued_at, id) > (?, ?) ORDER BY issued_at, id LIMIT ?"""
_PAGE = 500  # rows
# Counted in the index alone; who has that many unexpired tokens may have that many living ones.
_CROWDED = """SELECT owner FROM token INDEXED BY token_by_owner WHERE expires_at > ? GROUP BY owner HAVING count(*) > ?
              ORDER BY owner"""
_ONE_BY_ONE = 100  # ids that one command names
_GRACE = "1d"


class Finding(NamedTuple):
    """One mistake.

    Attributes:
        id: What it is about: a token, a key, an owner, the store. Text from outside, as an owner is, comes as it is.
        ids: The tokens, keys or stores that are hit; they may be very many and are read anew each time.
        hit: How many those are.
        mend: The commands of one pipeline that end it, each without the program's name.
        step: What is overdue of a key: who accepts one step has not accepted the next.
    """

    rule: Rule
    id: str
    ids: Iterable[str]
    hit: int
    detail: str
    mend: tuple[tuple[str, ...], ...]
    step: str = ""


class Reviewer:
    """Looks through one store; to be asked for the findings once.

    Attributes:
        store_id: ``None`` where there is no store.
        doubted: Tokens whose rows do not check out, as far as they were met.

    Args:
        rules: Ids of the rules that are asked for.
        review: From where on something is a mistake.
    """

    def __init__(self, backend: Backend, rules: Collection[str], review: Review) -> None:
        self.backend = backend
        self.rules = rules
        self.review = review
        self.doubted: list[str] = []
        self.now = 0
        with backend.journal.reading() as view:
            self.store_id = view.store_id if view is not None else None
            if view is not None:
                view.require_trust()
                self.now = view.now

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong, first of the tokens in the order in which they end.

        Raises:
            IntegrityError: the row of a key does not check out (exit 10).
        """
        if self.store_id is None:
            return
        for rules, source in _SOURCES:
            if rules & set(self.rules):
                yield from (self._mendable(finding) for finding in source(self) if finding.rule.id in self.rules)

    def _mendable(self, finding: Finding) -> Finding:
        """Where an authority revokes by the token itself alone, the command that mends takes tokens, not ids."""
        last = finding.mend[-1] if finding.mend else ()
        if self.backend.by_id or last[:1] != ("revoke",):
            return finding
        return finding._replace(mend=(("revoke", "-", *(last[last.index("--reason") :] if "--reason" in last else ())),))


def fingerprint(store_id: str, finding: Finding) -> str:
    """Return what a finding is known by as long as it is about the same thing in the same store."""
    parts = [_DOMAIN, store_id.encode(), finding.rule.id.encode(), finding.id.encode()]
    if finding.step:
        parts.append(finding.step.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


# Tokens


def _tokens(reviewer: Reviewer) -> Iterator[Finding]:
    with reviewer.backend.journal.reading() as view:
        related = view is not None and bool(view.store.integer("SELECT EXISTS (SELECT 1 FROM token WHERE parent IS NOT NULL)"))
    for found in reviewer.backend.directory.find(Selector()):
        if not found.intact:
            reviewer.doubted.append(found.token.id)
            continue
        for judge, rule, mend in _OF_TOKENS:
            detail = judge(found, reviewer.review, reviewer.now) if rule in reviewer.rules else None
            if detail is not None:
                token = found.token
                kin = reviewer.backend.directory.kin([token.id]) if related and mend is not _replacing else 0
                dies = f"; revoking it ends {kin:,} descendant{'s' * (kin != 1)} too" if kin else ""
                told = f"{token.kind} token of {token.owner} for {token.subject or '-'}, {detail}{dies}"
                yield Finding(BY_ID[rule], token.id, (token.id,), 1, told, (mend(token),))


def _too_long(found: Found, review: Review, now: int) -> str | None:
    lifetime, longest = _lifetime(found.token), review.max_lifetime[found.token.kind]
    return f"made for {format_exactly(lifetime)}, at most {format_exactly(longest)}" if lifetime > longest else None


def _never_used(found: Found, review: Review, now: int) -> str | None:
    token = found.token
    since = _begin(token)
    if token.format == "jwt" or token.remote or token.last_used_at is not None or token.uses or now - since < review.never_used:
        return None
    return f"never used in {format_duration(now - since)}"


def _unused(found: Found, review: Review, now: int) -> str | None:
    token = found.token
    if token.format == "jwt" or token.last_used_at is None or now - token.last_used_at < review.unused:
        return None
    return f"not used for {format_duration(now - token.last_used_at)}"


def _broad(found: Found, review: Review, now: int) -> str | None:
    broad = [scope for scope in found.token.scope if review.broad(scope)]
    return f"scope {' '.join(broad)}" if broad else None


def _no_audience(found: Found, review: Review, now: int) -> str | None:
    return None if found.token.audience else "for any audience"


def _expiring(found: Found, review: Review, now: int) -> str | None:
    """A child ends with its parent, a run's token with the run; one that is short-lived from the start is meant to end."""
    token = found.token
    lasting = token.kind != "access" and token.parent is None and token.run is None and found.standing.active
    if not lasting or token.replaced_by is not None or _lifetime(token) <= review.expiring:
        return None
    left = token.expires_at - now
    return f"ends in {format_duration(left)}" if left <= review.expiring else None


def _begin(token: Token) -> int:
    return max(token.issued_at, token.not_before or 0)


def _lifetime(token: Token) -> int:
    return token.expires_at - _begin(token)


def _revoking(reason: str) -> Callable[[Token], tuple[str, ...]]:
    return lambda token: ("revoke", token.id, "--reason", reason, "--yes")


def _replacing(token: Token) -> tuple[str, ...]:
    return ("issue", "--replace", token.id, "--grace", _GRACE, "--out", f"{token.id}.token")


_Judge = Callable[[Found, Review, int], str | None]
_OF_TOKENS: tuple[tuple[_Judge, str, Callable[[Token], tuple[str, ...]]], ...] = (
    (_expiring, "token-expiring", _replacing),  # first: what is revoked cannot be replaced any more
    (_too_long, "token-too-long-lived", _revoking("policy")),
    (_never_used, "token-never-used", _revoking("unused")),
    (_unused, "token-unused", _revoking("unused")),
    (_broad, "token-broad-scope", _revoking("policy")),
    (_no_audience, "token-no-audience", _revoking("policy")),
)


def _undelivered(reviewer: Reviewer) -> Iterator[Finding]:
    last: tuple[int, str] = (0, "")
    while True:
        with reviewer.backend.journal.reading() as view:
            store = view.store if view is not None else None
            rows = list(store.rows(_UNDELIVERED, reviewer.now - DELIVERY_DEADLINE, *last, _PAGE)) if store is not None else []
        for identifier, issued_at in rows:
            last = (int(str(issued_at)), str(identifier))
            detail = f"issued {format_duration(reviewer.now - last[0])} ago, its delivery is not known"
            yield Finding(BY_ID["token-undelivered"], last[1], (last[1],), 1, detail, (("audit", "reconcile"),))
        if len(rows) < _PAGE:
            return


# Owners


class _OfOwner:
    """The first living tokens of an owner, by their end: read when they are asked for."""

    def __init__(self, backend: Backend, owner: str, count: int | None = None) -> None:
        self._backend = backend
        self._owner = owner
        self._count = count

    def __iter__(self) -> Iterator[str]:
        # An asterisk in the name would choose others too.
        chosen = self._backend.directory.find(Selector(owner=(self._owner,)))
        return islice((found.token.id for found in chosen if found.token.owner == self._owner), self._count)


def _owners(reviewer: Reviewer) -> Iterator[Finding]:
    most = reviewer.review.tokens_per_owner
    with reviewer.backend.journal.reading() as view:
        crowded = [str(row[0]) for row in view.store.rows(_CROWDED, reviewer.now, most)] if view is not None else []
    for owner in crowded:
        living = sum(1 for _ in _OfOwner(reviewer.backend, owner))
        if living > most:
            ids = _OfOwner(reviewer.backend, owner, living - most)
            detail = f"{living:,} living tokens, at most {most:,}"
            mend = _thinning(reviewer.backend, owner, ids, living - most)
            yield Finding(BY_ID["owner-many-tokens"], owner, ids, living - most, detail, mend)


def _thinning(backend: Backend, owner: str, ids: Iterable[str], count: int) -> tuple[tuple[str, ...], ...]:
    """Return what revokes as many as are too many, and no others when it is run again: their ids, or where those are very many
    the last of their ends; a name that a selector or a line cannot hold goes by ids always.
    """
    hard = "*" in owner or owner.startswith("-") or not (owner.isprintable() and owner.isascii())
    if hard or count <= _ONE_BY_ONE:
        return (("revoke", *ids, "--reason", "policy", "--yes"),)
    last = next(islice(backend.directory.find(Selector(owner=(owner,))), count - 1, None))
    bounds = ("--expires-before", format_instant(last.token.expires_at + 1), "--limit", str(count))
    return (("list", "--owner", owner, *bounds), ("revoke", "-", "--reason", "policy", "--yes"))


# Keys, the root secret and the log


def _keys(reviewer: Reviewer) -> Iterator[Finding]:
    with reviewer.backend.journal.reading() as view:
        if view is None or not view.rows.keys_made():
            return
    signing = reviewer.backend.signing_keys
    if signing is None:
        return
    outlook = signing.outlook(Wish())
    listed = signing.keys() if outlook.due else []
    active = {key.alg: key.kid for key, _ in listed if key.state == "active"}
    unasked = not signing.publishes and not reviewer.backend.verifiers
    for step in outlook.due:
        # Nobody could be asked whether verifiers have it, and a step that is refused mends nothing.
        mend = ("rotate-keys", "--unobserved") if step.action == "activate" and unasked else ("rotate-keys",)
        about = step.kid or active.get(step.alg or "") or step.alg or "jwks_file"
        yield Finding(BY_ID["key-overdue"], about, (about,), 1, _late(step, outlook.now, unasked=unasked), (mend,), step.action)


def _late(step: Step, now: int, *, unasked: bool) -> str:
    if step.action == "mend":
        return "the jwks_file does not hold exactly the keys that verifiers need"
    if step.action == "renew":
        return f"no key signs {step.alg}"
    since = f"since {format_distance(step.at, now)}" if now - step.at >= SECOND else "since now"
    if step.action == "publish" and step.kid is None:
        return f"the active {step.alg} key is to be followed by another {since}"
    told = f"{step.action} {step.alg} is due {since}"
    return f"{told}; without jwks_file and verifiers nobody is asked" if step.action == "activate" and unasked else told


def _intents(reviewer: Reviewer) -> Iterator[Finding]:
    """What was begun at a remote service and has no end that is known."""
    if reviewer.backend.kind == "local":
        return
    from tokenctl.backends.remote import reconciling

    with reviewer.backend.journal.reading() as view:
        found = reconciling.orphans(view) if view is not None else []
        open_ = reconciling.unfinished(view) if view is not None else []
    for orphan in found:
        if reviewer.now - orphan.time >= reconciling.UNDER_WAY:
            about = orphan.target or orphan.request
            detail = f"{orphan.what} was begun {format_distance(orphan.time, reviewer.now)}, and nothing tells how it ended"
            yield Finding(BY_ID["intent-orphaned"], about, (about,), 1, detail, (("audit", "reconcile"),))
    for token, outcome, at in open_:
        detail = f"{outcome} {format_distance(at, reviewer.now)}"
        yield Finding(BY_ID["revocation-unfinished"], token, (token,), 1, detail, (("revoke", token),))


def _root_secret(reviewer: Reviewer) -> Iterator[Finding]:
    with reviewer.backend.journal.reading() as view:
        opened = reviewer.backend.journal.opened
        if view is None or opened is None or opened.place.name != "file":
            return
    mend = (("store", "move-secret", "keyring"),)
    yield Finding(BY_ID["root-secret-in-file"], opened.store_id, (opened.store_id,), 1, f"it lies in {opened.place.shown}", mend)


def _log(reviewer: Reviewer) -> Iterator[Finding]:
    """What left the store in a signed head is out of reach for who rewrites the log; what came behind that is not."""
    with reviewer.backend.journal.reading() as view:
        if view is None:
            return
        size = log_key.exported(view) or 0
        oldest = view.store.value("SELECT time FROM record WHERE seq = ?", size + 1)
        records = view.head.size
    if not isinstance(oldest, int) or reviewer.now - oldest < reviewer.review.checkpoint:
        return
    left = records - size
    detail = f"{left:,} record{'s' * (left != 1)} in no checkpoint, the oldest is {format_duration(reviewer.now - oldest)} old"
    mend = (("audit", "checkpoint", "--out", f"{reviewer.backend.name}-{records}.checkpoint"),)
    yield Finding(BY_ID["log-not-anchored"], view.store_id, (view.store_id,), 1, detail, mend)


_SOURCES: tuple[tuple[frozenset[str], Callable[[Reviewer], Iterator[Finding]]], ...] = (
    (frozenset(rule for _, rule, _ in _OF_TOKENS), _tokens),
    (frozenset({"token-undelivered"}), _undelivered),
    (frozenset({"owner-many-tokens"}), _owners),
    (frozenset({"key-overdue"}), _keys),
    (frozenset({"intent-orphaned", "revocation-unfinished"}), _intents),
    (frozenset({"root-secret-in-file"}), _root_secret),
    (frozenset({"log-not-anchored"}), _log),
)
