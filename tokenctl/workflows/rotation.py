"""Rotating signing keys: every due step, one transaction each; the network is asked outside of them.

What keeps one step from being taken keeps no other: the run goes on, and what went wrong is told at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tokenctl import process
from tokenctl.backends.parts import SigningKeys
from tokenctl.errors import Conflict, IntegrityError, Partial, TokenctlError
from tokenctl.model.rotation import Step, Wish

NOBODY = "no jwks_file and no verifier says that it can be fetched"
NOBODY_HINT = (
    "name a verifier: tokenctl rotate-keys --verifier URL; or write jwks_file into the profile; "
    "or go without: tokenctl rotate-keys --unobserved"
)
_MOST_OFTEN = 2  # how often one run takes the same step


class Observation(NamedTuple):
    """Who is asked whether a key can be fetched before it signs.

    Attributes:
        verifiers: URLs.
        unobserved: Let a key sign that nobody was asked about.
        seconds: How long to wait for their answers in all.
    """

    verifiers: tuple[str, ...] = ()
    unobserved: bool = False
    seconds: float = 30.0


class Asked(NamedTuple):
    """What one verifier has of one key of ours.

    Attributes:
        kid: The key.
        alg: Its algorithm, as verifiers see it.
        verifier: The URL; ``None`` where there is nobody to ask.
        holds: Whether it has the key; ``None`` where it could not be asked.
        detail: That in words of ours, to be read behind the URL.
        asked_at: When, milliseconds UTC.
        cached_until: Until when its answer may come out of a cache, where that is told.
    """

    kid: str
    alg: str
    verifier: str | None
    holds: bool | None
    detail: str
    asked_at: int | None
    cached_until: int | None

    @property
    def told(self) -> str:
        return self.detail if self.verifier is None else f"{self.verifier} {self.detail}"


class Run:
    """One run of every due step.

    Attributes:
        did: The steps that were taken.
        blocked_by: What kept a key from signing: the verifiers that lack it, or that there is none to ask.
        errors: What kept steps from being taken.
    """

    def __init__(self, keys: SigningKeys, wish: Wish, observation: Observation) -> None:
        self._keys = keys
        self._wish = wish
        self._observation = observation
        self._tried: Counter[tuple[object, ...]] = Counter()
        self._now = 0
        self.did: list[Step] = []
        self.blocked_by: list[Asked] = []
        self.errors: list[TokenctlError] = []

    def steps(self) -> Iterator[Step]:
        """Take every due step; yield each once it is durable. An interrupt waits until the step under way was told."""
        with process.Unbroken() as unbroken:
            yield from self._taken(unbroken)
            if self._gone():
                yield from self._cleared()

    def _taken(self, unbroken: process.Unbroken) -> Iterator[Step]:
        while (step := self._next()) is not None:
            unbroken.pause()
            self._tried[step[:3]] += 1
            try:
                if step.action == "activate":
                    self._observe(step)
                unbroken.resume()
                done = self._keys.advance(step, self._wish)
            except TokenctlError as error:
                self._tried[step[:3]] = _MOST_OFTEN
                self.errors.append(error)
                if isinstance(error, IntegrityError) or error.reason == "lock":
                    return
                continue
            self.did += done
            yield from done

    def _cleared(self) -> list[Step]:
        """Make sure that what was retired is published no more: the file could perhaps not be written before."""
        try:
            done = self._keys.mend()
        except TokenctlError as error:
            self.errors = [other for other in self.errors if other.message != error.message]
            self.errors.append(still_published(error, self._gone()))
            return []
        self.did += done
        return done

    def _next(self) -> Step | None:
        outlook = self._keys.outlook(self._wish)
        self._now = outlook.now
        return next((step for step in outlook.due if self._tried[step[:3]] < _MOST_OFTEN and not self._renewed(step)), None)

    def _renewed(self, step: Step) -> bool:
        """Whether a key is to be followed that began to sign in this very run: an age of 0s would never come to an end."""
        fresh = {done.alg for done in self.did if done.action == "activate"}
        return step.action == "publish" and step.kid is None and step.alg in fresh

    def _gone(self) -> list[str]:
        return [step.kid for step in self.did if step.action == "retire" and step.kid is not None]

    def _observe(self, step: Step) -> None:
        """Make sure that verifiers can fetch a key before it signs; raises Conflict (exit 6)."""
        lacking = obstacles(self._keys, [step], self._observation, now=self._now)
        self.blocked_by += lacking
        if lacking:
            raise _blocked(step, lacking)


def obstacles(keys: SigningKeys, steps: Iterable[Step], observation: Observation, *, now: int) -> list[Asked]:
    """Return what keeps these steps from being taken: each verifier that lacks a key which is to sign, or that none is asked."""
    named = {step.kid: step.alg for step in steps if step.action == "activate" and step.kid is not None and step.alg is not None}
    if observation.unobserved or not named:
        return []
    if not observation.verifiers:
        nobody = (None, False, NOBODY, None, None)
        return [] if keys.publishes else [Asked(kid, alg, *nobody) for kid, alg in named.items()]
    return [asked for asked in observe(keys, named, observation, now=now) if not asked.holds]


def _blocked(step: Step, lacking: Sequence[Asked]) -> Conflict:
    message = f"{step.kid} ({step.alg}) may not sign yet: {'; '.join(asked.told for asked in lacking)}"
    if any(asked.verifier is None for asked in lacking):
        return Conflict(message, reason="unobserved", hint=NOBODY_HINT)
    return Conflict(
        message, reason="verifier_lacks_key",
        hint="run again when they have fetched it, or go without them: tokenctl rotate-keys --unobserved",
    )  # fmt: skip


def observe(keys: SigningKeys, algorithms: Mapping[str, str], observation: Observation, *, now: int) -> list[Asked]:
    """Ask every verifier which keys it has; one that verifiers do not need is asked about nowhere.

    Args:
        algorithms: The keys, by kid.
    """
    from tokenctl.workflows.canary import ask_about

    listed = keys.jwks()["keys"]
    served = [key for key in listed if key["kid"] in algorithms] if isinstance(listed, list) else []
    if not served or not observation.verifiers:
        return []
    told = ask_about(observation.verifiers, served, seconds=observation.seconds, now=now)
    return [Asked(key["kid"], algorithms[key["kid"]], *each[number]) for number, key in enumerate(served) for each in told]


def still_published(error: TokenctlError, gone: Sequence[str]) -> TokenctlError:
    """Say what it means that the published keys could not be written after these were to be taken out of them."""
    if not gone:
        return error
    return Partial(
        f"what {', '.join(gone)} signed may still be accepted: {error.message}", hint=error.hint or "run again",
        reason="still_published",
    )  # fmt: skip
