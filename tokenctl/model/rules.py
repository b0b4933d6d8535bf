"""The rules of a policy file, and how they decide.

The first rule that is for a request decides it, alone. A rule is for a request when its ``subject``, ``kinds`` and
``owners`` all match; a request that no rule is for is refused. Of the rule that decides, scopes and claims are rights:
what it does not name is refused. Its other keys narrow where they are written and leave free where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tokenctl.model.policy import Fault, Limit, Limits, Verdict, seconds
from tokenctl.model.token import DEFAULT_LIFETIME, FORMATS, KINDS, LIFETIME_CAP, TokenRequest

_MOST_TOLD = 8  # values of a list that an error repeats
# What a rule may require beside ``label:NAME``: the option, and whether a request has it.
REQUIREMENTS: dict[str, Callable[[TokenRequest], bool]] = {
    "audience": lambda request: bool(request.audience),
    "max-uses": lambda request: request.max_uses is not None,
    "note": lambda request: request.note is not None,
    "parent": lambda request: request.parent is not None,
    "request-id": lambda request: request.request_id is not None,
    "scope": lambda request: bool(request.scope),
    "ttl": lambda request: request.lifetime is not None,
}


class Rule(NamedTuple):
    """One ``[[rule]]``; every text but those of ``wildcard_scopes`` and ``require`` is a pattern.

    Attributes:
        scopes: Scopes without ``*`` that are admitted.
        wildcard_scopes: Scopes with ``*`` that are admitted, letter by letter.
        audiences: Where written, a token names its audience, and only these.
        labels: ``PATTERN=PATTERN``, for the name and for the value.
        notes: Where written, a token has a note that fits one of them.
        limit_per_owner: How many living tokens an owner has at most of those that this rule is for.
    """

    name: str
    subjects: tuple[str, ...]
    kinds: tuple[str, ...] = KINDS
    owners: tuple[str, ...] | None = None
    formats: tuple[str, ...] = tuple(sorted(FORMATS))
    scopes: tuple[str, ...] = ()
    wildcard_scopes: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    audiences: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] | None = None
    require: tuple[str, ...] = ()
    limit_per_owner: int | None = None
    default_lifetime: dict[str, int] | None = None
    max_lifetime: dict[str, int] | None = None

    def is_for(self, request: TokenRequest) -> bool:
        return (
            request.kind in self.kinds
            and fits(self.subjects, request.subject)
            and (self.owners is None or fits(self.owners, request.owner))
        )

    def faults(self, request: TokenRequest) -> list[tuple[str, str]]:
        """Return every demand that a request does not meet: its name and what is wrong."""
        found = []
        if request.format not in self.formats:
            found.append(("format", f"{request.format} (admitted: {listed(self.formats)})"))
        plain = [scope for scope in request.scope if "*" not in scope and not fits(self.scopes, scope)]
        if plain:
            found.append(("scope", f"{listed(plain)} (admitted: {listed(self.scopes)})"))
        wild = [scope for scope in request.scope if "*" in scope and scope not in self.wildcard_scopes]
        if wild:
            found.append(("wildcard-scope", f"{listed(wild)} (admitted: {listed(self.wildcard_scopes)})"))
        claims = [name for name, _ in request.claims if not fits(self.claims, name)]
        if claims:
            found.append(("claim", f"{listed(claims)} (admitted: {listed(self.claims)})"))
        return found + self._narrowed(request) + self._missing(request)

    def _narrowed(self, request: TokenRequest) -> list[tuple[str, str]]:
        found = []
        if self.audiences is not None:
            strange = [audience for audience in request.audience if not fits(self.audiences, audience)]
            # Every service that asks accepts a token without audience: it is the widest of all.
            if strange or not request.audience:
                found.append(("audience", f"{listed(strange)} (admitted: {listed(self.audiences)})"))
        if self.labels is not None:
            strange = [f"{name}={value}" for name, value in request.labels if not _label_fits(self.labels, name, value)]
            if strange:
                found.append(("label", f"{listed(strange)} (admitted: {listed(self.labels)})"))
        if self.notes is not None and not fits(self.notes, request.note or ""):
            found.append(("note", f"{request.note or 'none'} (admitted: {listed(self.notes)})"))
        return found

    def _missing(self, request: TokenRequest) -> list[tuple[str, str]]:
        names = {name for name, _ in request.labels}
        found = []
        for word in self.require:
            label = word.removeprefix("label:")
            if label not in names if word != label else not REQUIREMENTS[word](request):
                found.append(("require", f"--label {label}=…" if word != label else f"--{word}"))
        return found

    def plain(self) -> dict[str, object]:
        lifetimes = {
            name: None if value is None else seconds(value)
            for name, value in (("default_lifetime", self.default_lifetime), ("max_lifetime", self.max_lifetime))
        }
        members = {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}
        return members | lifetimes


class Rules(Limits):
    """What one file says: its rules in their order, and the lifetimes for all of them."""

    def __init__(
        self, rules: Sequence[Rule] = (), *, place: str = "",
        default_lifetime: dict[str, int] | None = None, max_lifetime: dict[str, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(place)
        self.rules = tuple(rules)
        self.default_lifetime = default_lifetime or {}
        self.max_lifetime = max_lifetime or {}

    def judge(self, request: TokenRequest) -> Verdict:
        rule = next((rule for rule in self.rules if rule.is_for(request)), None)
        default, longest = self.lifetimes(request.kind, rule)
        if rule is None:
            faults = [Fault("no-rule", self._nearest(request), self.place)] if self.rules else self.wild(request)
            return self.verdict(request, faults, default, longest)
        name = self.name_of(rule)
        faults = [Fault(demand, text, name) for demand, text in rule.faults(request)]
        most = rule.limit_per_owner
        limit = Limit(name, most, rule.kinds, rule.subjects) if most is not None else None
        return self.verdict(request, faults, default, longest, rule=name, limit=limit)

    def lifetimes(self, kind: str, rule: Rule | None = None) -> tuple[int, int]:
        """Return the default and the longest lifetime of a kind: the rule's, else the file's, else the built-in one."""
        default = self.default_lifetime.get(kind, DEFAULT_LIFETIME[kind])
        longest = self.max_lifetime.get(kind, LIFETIME_CAP[kind])
        if rule is not None:
            default = (rule.default_lifetime or {}).get(kind, default)
            longest = (rule.max_lifetime or {}).get(kind, longest)
        return min(default, longest), longest

    def name_of(self, rule: Rule) -> str:
        return f"{self.place} rule {rule.name}".lstrip()

    def _nearest(self, request: TokenRequest) -> str:
        """Say why no rule is for a request: what the rules for its subject, else all of them, are for."""
        told = f"no rule is for subject {request.subject}, kind {request.kind}, owner {request.owner}"
        near = [rule for rule in self.rules if fits(rule.subjects, request.subject)]
        if near:
            heads = [f"{rule.name} is for {_head(rule)}" for rule in near]
            return f"{told} ({listed(heads, '; ')})"
        return f"{told} (rules: {listed([rule.name for rule in self.rules])})"

    def plain(self) -> dict[str, object] | None:
        return {
            "default_lifetime": seconds(self.default_lifetime), "max_lifetime": seconds(self.max_lifetime),
            "rules": [rule.plain() for rule in self.rules],
        }  # fmt: skip


def _head(rule: Rule) -> str:
    owners = "" if rule.owners is None else f", owner {listed(rule.owners)}"
    return f"kind {listed(rule.kinds)}{owners}"


def listed(values: Sequence[str], separator: str = ", ") -> str:
    """Write a list for a person; a long one is cut."""
    more = [f"and {len(values) - _MOST_TOLD} more"] if len(values) > _MOST_TOLD else []
    return separator.join([*values[:_MOST_TOLD], *more]) or "none"


def fits(patterns: Sequence[str], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


def _label_fits(patterns: Sequence[str], name: str, value: str) -> bool:
    """Match name and value each alone: a star of the one never reaches into the other."""
    parted = (pattern.partition("=") for pattern in patterns)
    return any(matches(named, name) and matches(valued, value) for named, _, valued in parted)


def matches(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says: ``*`` is any text, also none; all else is itself.

    Each part is sought once, from left to right, so that no pattern takes more than linear time.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    position, end = len(first), len(text) - len(last)
    if position > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in rest:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
