"""Rotating signing keys: every due step, one transaction each; the network is asked outside of them.

What keeps one step from being taken keeps no other: the run goes on, and what went wrong is told at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenctl import process
from tokenctl.backends.base import SigningKeys
from tokenctl.errors import Conflict, IntegrityError, Partial, TokenctlError
from tokenctl.model.rotation import Step, Wish

if TYPE_CHECKING:
    from tokenctl.workflows.canary import Seen

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


class Run:
    """One run of every due step.

    Attributes:
        did: The steps that were taken.
        blocked_by: The verifiers that lack a key which was to sign.
        errors: What kept steps from being taken.
    """

    def __init__(self, keys: SigningKeys, wish: Wish, observation: Observation) -> None:
        self._keys = keys
        self._wish = wish
        self._observation = observation
        self._tried: Counter[tuple[object, ...]] = Counter()
        self._now = 0
        self.did: list[Step] = []
        self.blocked_by: list[Seen] = []
        self.errors: list[TokenctlError] = []

    def steps(self) -> Iterator[Step]:
        """Take every due step; yield each once it is durable. An interrupt waits until the step under way was told."""
        with process.Unbroken() as unbroken:
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
                    self.errors.append(still_published(error, self._gone()) if step.action == "mend" else error)
                    if isinstance(error, IntegrityError) or error.reason == "lock":
                        return
                    continue
                self.did += done
                yield from done

    def _next(self) -> Step | None:
        outlook = self._keys.outlook(self._wish)
        self._now = outlook.now
        return next((step for step in outlook.due if self._tried[step[:3]] < _MOST_OFTEN), None)

    def _gone(self) -> list[str]:
        return [step.kid for step in self.did if step.action == "retire" and step.kid is not None]

    def _observe(self, step: Step) -> None:
        """Make sure that verifiers can fetch a key before it signs; raises Conflict (exit 6)."""
        if self._observation.unobserved:
            return
        if self._observation.verifiers:
            lacking = [seen for seen in observe(self._keys, step.kid, self._observation, now=self._now) if not seen.holds]
            self.blocked_by += lacking
            if lacking:
                raise _blocked(step, lacking)
        elif not self._keys.publishes:
            raise Conflict(
                f"{step.kid} may not sign yet: no jwks_file and no verifier says that it can be fetched",
                hint="name one: tokenctl rotate-keys --verifier URL, or go without: tokenctl rotate-keys --unobserved",
                reason="unobserved",
            )


def _blocked(step: Step, lacking: Sequence[Seen]) -> Conflict:
    told = "; ".join(f"{seen.verifier} {seen.detail}" for seen in lacking)
    return Conflict(
        f"{step.kid} may not sign yet: {told}", reason="verifier_lacks_key",
        hint="run again when they have fetched it, or go without them: tokenctl rotate-keys --unobserved",
    )  # fmt: skip


def observe(keys: SigningKeys, kid: str | None, observation: Observation, *, now: int) -> list[Seen]:
    """Ask every verifier whether it holds a key."""
    from tokenctl.workflows.canary import ask_all

    served = keys.jwks()["keys"]
    key = next((key for key in served if key["kid"] == kid), None) if isinstance(served, list) else None
    if key is None:
        return []
    return ask_all(observation.verifiers, key, seconds=observation.seconds, now=now)


def still_published(error: TokenctlError, gone: Sequence[str]) -> TokenctlError:
    """Say what it means that the published keys could not be written after these were to be taken out of them."""
    if not gone:
        return error
    return Partial(
        f"what {', '.join(gone)} signed may still be accepted: {error.message}", hint=error.hint or "run again",
        reason="still_published",
    )  # fmt: skip
