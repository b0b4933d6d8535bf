"""What may be issued: the built-in limits, a profile's rules in their place, and the machine's ceiling above them.

A request is judged by the profile and, where there is one, by the ceiling, each alone; both must admit it. Without rules
the built-in limits hold: lifetimes are capped by kind, a lasting token names its scope, and no scope is a wildcard.
The rules themselves are in :mod:`tokenctl.model.rules`, which nothing imports before a file has some.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tokenctl.errors import PolicyDenied
from tokenctl.model.record import canonical
from tokenctl.model.times import SECOND, format_duration
from tokenctl.model.token import DEFAULT_LIFETIME, LIFETIME_CAP, TokenRequest

SCOPE_REQUIRED = ("personal", "service")  # kinds that outlive the hour they were made in


class Fault(NamedTuple):
    """One demand that a request does not meet.

    Attributes:
        demand: The demand's name, for example ``scope``.
        rule: Whose demand it is: ``rule NAME``, ``ceiling``, ``ceiling rule NAME``; empty for the built-in limits.
    """

    demand: str
    text: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.demand}: {self.text}" if self.rule else f"{self.demand}: {self.text}"

    @property
    def reason(self) -> str:
        """The machine string: ``scope``, ``NAME/scope``, ``ceiling:scope``, ``ceiling:NAME/scope``."""
        place, _, name = self.rule.rpartition("rule ")
        ceiling = "ceiling:" if self.rule.startswith("ceiling") else ""
        return f"{ceiling}{name}/{self.demand}" if place or self.rule.startswith("rule ") else f"{ceiling}{self.demand}"


class Limit(NamedTuple):
    """How many living tokens one owner may have of those that a rule is for; counted where they lie."""

    rule: str
    most: int
    kinds: tuple[str, ...]
    subjects: tuple[str, ...]

    def faults(self, living: int, owner: str) -> list[Fault]:
        """Return what is wrong with one more."""
        if living < self.most:
            return []
        return [Fault("limit-per-owner", f"{owner} has {living} living tokens of at most {self.most}", self.rule)]


class Verdict(NamedTuple):
    """What one file, or the built-in limits, say to a request.

    Attributes:
        rule: The rule that decides, as ``Fault.rule`` names it.
        default: The lifetime where none is asked for, milliseconds.
        longest: The longest lifetime, milliseconds.
    """

    rule: str
    faults: list[Fault]
    default: int
    longest: int
    limit: Limit | None = None


class Decision(NamedTuple):
    """What the whole policy says to a request; ``verdicts`` are the profile's and, where there is one, the ceiling's."""

    lifetime: int
    verdicts: tuple[Verdict, ...]
    faults: list[Fault]

    def late(self, request: TokenRequest, now: int) -> list[Fault]:
        """Return what is wrong with a start that lies further ahead than a token may live.

        A lifetime counts from the start: without a bound a token would lie ready, and fill a limit, for as long as it likes.
        """
        ahead = (request.not_before or now) - now
        return [
            Fault("not-before", f"a token of kind {request.kind} begins at most {format_duration(longest)} from now", rule)
            for rule, _, _, longest, _ in self.verdicts
            if ahead > longest
        ]

    @property
    def limits(self) -> list[Limit]:
        return [verdict.limit for verdict in self.verdicts if verdict.limit is not None]


class Limits:
    """The built-in limits: what holds where a file says nothing.

    Args:
        place: ``ceiling``, or nothing for a profile; it stands in every fault.
    """

    def __init__(self, place: str = "") -> None:
        self.place = place

    def judge(self, request: TokenRequest) -> Verdict:
        """Say whether one file admits a request, and every demand of it that is not met."""
        return self.verdict(request, self.wild(request), DEFAULT_LIFETIME[request.kind], LIFETIME_CAP[request.kind])

    def wild(self, request: TokenRequest) -> list[Fault]:
        """Check that no scope is a wildcard, which only a rule can admit."""
        wild = any("*" in scope for scope in request.scope)
        return [Fault("no-wildcard-scope", "a scope with * is not allowed", self.place)] if wild else []

    def verdict(
        self, request: TokenRequest, faults: list[Fault], default: int, longest: int,
        *, rule: str = "", limit: Limit | None = None,
    ) -> Verdict:  # fmt: skip
        """Add the check of the lifetime; above the longest is refused, never cut."""
        if request.lifetime is not None and request.lifetime > longest:
            told = f"a token of kind {request.kind} lives at most {format_duration(longest)}"
            faults = [Fault("max-lifetime", told, rule or self.place), *faults]
        return Verdict(rule or self.place, faults, min(default, longest), longest, limit)

    def plain(self) -> dict[str, object] | None:
        """Return what the file says, for JSON and for the hash; ``None`` for nothing."""
        return None


class Policy:
    """The effective policy of a profile."""

    def __init__(self, profile: Limits | None = None, ceiling: Limits | None = None) -> None:
        self.profile = profile or Limits()
        self.ceiling = ceiling
        self._hash: str | None = None

    def decide(self, request: TokenRequest) -> Decision:
        """Judge a request by all that can be known without a store.

        Returns:
            The lifetime the token would have, and every demand that is not met. What is not asked for is the shorter of
            the default, the request's own or else the profile's, and every longest lifetime.
        """
        verdicts = tuple(layer.judge(request) for layer in (self.profile, self.ceiling) if layer is not None)
        faults = [fault for verdict in verdicts for fault in verdict.faults]
        if request.kind in SCOPE_REQUIRED and not request.scope:
            faults.append(Fault("scope-required", f"a token of kind {request.kind} names its scope"))
        lifetime = request.lifetime
        if lifetime is None:
            default = verdicts[0].default if request.default_lifetime is None else request.default_lifetime
            lifetime = min(default, *(verdict.longest for verdict in verdicts))
        return Decision(lifetime, verdicts, faults)

    def plain(self) -> dict[str, object]:
        """Return all of it as values of JSON; durations in seconds."""
        return {
            "built_in": {
                "default_lifetime": seconds(DEFAULT_LIFETIME), "max_lifetime": seconds(LIFETIME_CAP),
                "scope_required": list(SCOPE_REQUIRED), "wildcard_scope": False,
            },
            "profile": self.profile.plain(),
            "ceiling": self.ceiling.plain() if self.ceiling is not None else None,
        }  # fmt: skip

    @property
    def built_in(self) -> bool:
        """Whether no file says anything."""
        return self.ceiling is None and self.profile.plain() is None

    @property
    def hash(self) -> str:
        """The SHA-256 of its canonical JSON, which stands in each record of an issue."""
        if self._hash is None:
            self._hash = hashlib.sha256(canonical(self.plain())).hexdigest()
        return self._hash


def seconds(lifetimes: dict[str, int]) -> dict[str, int]:
    """Return lifetimes by kind, for JSON."""
    return {kind: lifetime // SECOND for kind, lifetime in lifetimes.items()}


def denied(faults: Sequence[Fault]) -> PolicyDenied:
    """Return the error that names every rule and demand (exit 12)."""
    ruled = any(fault.rule or fault.demand == "no-rule" for fault in faults)
    lacks = all(fault.demand == "scope-required" for fault in faults)
    advice = "the rules: tokenctl profile show" if ruled else "add --scope SCOPE" if lacks else "ask for less"
    return PolicyDenied(
        f"the policy forbids it: {together(faults)}",
        hint=advice, reason=faults[0].reason,
    )  # fmt: skip


def together(faults: Iterable[Fault]) -> str:
    return "; ".join(map(str, faults))
