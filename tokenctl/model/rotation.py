"""When signing keys change: which step of a key is due, and which comes next.

``published -> active -> retiring -> retired``, and ``compromised`` from any of them. A key is published long enough for
every verifier to fetch it before it signs, and kept for verifiers until the last token that it signed has ended.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from tokenctl.errors import InvalidRequest
from tokenctl.model.times import DAY, HOUR, parse_duration
from tokenctl.model.token import Key

SERVED_STATES = ("published", "active", "retiring")  # keys that verifiers need


class Rotation(NamedTuple):
    """How a profile's signing keys change; durations in milliseconds.

    Attributes:
        age: How long a key signs before another follows it.
        publication: How long verifiers can see a key before it signs.
        grace: How long after the last expiry of its tokens a key is kept for verifiers.
    """

    age: int = 90 * DAY
    publication: int = 24 * HOUR
    grace: int = HOUR


def read_rotation(table: Mapping[str, object]) -> Rotation | str:
    """Read the table ``[rotation]`` of a profile; return what is wrong with it where something is."""
    known: dict[str, int] = {}
    for name, value in table.items():
        if name not in Rotation._fields:
            return f"[rotation] has an unknown setting; known: {', '.join(Rotation._fields)}"
        try:
            known[name] = parse_duration(value if isinstance(value, str) else "", zero=name != "age")
        except InvalidRequest:
            return f'[rotation]: {name} is a duration in quotes, like "{"30d" if name == "age" else "1h"}"'
    return Rotation(**known)


class Wish(NamedTuple):
    """What one run rotates: one algorithm alone, and keys older than ``older_than`` milliseconds instead of the policy's age."""

    algorithm: str | None = None
    older_than: int | None = None


class Step(NamedTuple):
    """One step of a key.

    Attributes:
        action: ``publish``, ``activate``, ``retire``; ``renew`` where an algorithm that signed has no active key;
            ``mend`` where the published file does not hold what it should. Of what was done also ``retiring`` (it signs no
            more), ``roll_back`` and ``compromise``.
        kid: ``None`` where the key is made by the step, or where it is about no single key.
        at: When it is due, or was done; milliseconds UTC.
        detail: The file that ``mend`` writes.
    """

    action: str
    kid: str | None
    alg: str | None
    at: int
    detail: str | None = None


class Outlook(NamedTuple):
    """The steps that are to come, soonest first, and the time that they are judged by."""

    steps: list[Step]
    now: int

    @property
    def due(self) -> list[Step]:
        return [step for step in self.steps if step.at <= self.now]


class Toll(NamedTuple):
    """What a compromised key had signed: its living tokens by owner, most first, and until when a verifier that asks nobody
    may accept them.
    """

    owners: list[tuple[str, int]]
    offline_until: int | None

    @property
    def tokens(self) -> int:
        return sum(count for _, count in self.owners)


def plan(
    keys: Sequence[Key], rotation: Rotation, *, now: int, last_expiry: Mapping[str, int], lacking: Collection[str] = (),
    algorithm: str | None = None,
) -> list[Step]:  # fmt: skip
    """Return the next steps of all keys, soonest first; those at or before ``now`` are due.

    Args:
        last_expiry: By kid, when the last unrevoked token that a key signed ends.
        lacking: Published keys that the published file does not hold: their time has not begun.
        algorithm: Plan for this one alone, and a first key where it has none.
    """
    chosen = {key.alg for key in keys} if algorithm is None else {algorithm}
    steps: list[Step] = []
    for alg in chosen:
        own = [key for key in keys if key.alg == alg]
        steps += _successor(alg, own, rotation, now=now, lacking=lacking, first=algorithm is not None)
        for key in own:
            if key.state == "retiring" and _believed(key.retiring_at, now) is None:
                steps.append(Step("retiring", key.kid, alg, now))  # its time begins anew
            elif key.state == "retiring":
                steps.append(Step("retire", key.kid, alg, retires_at(key, rotation, last_expiry.get(key.kid))))
    return sorted(steps, key=lambda step: (step.at, step.alg, step.action, step.kid or ""))


def retires_at(key: Key, rotation: Rotation, last_expiry: int | None) -> int:
    """Return when a retiring key is needed no more."""
    return max(key.retiring_at or 0, last_expiry or 0) + rotation.grace


def _believed(at: int | None, now: int) -> int | None:
    """Return a time that has come; one that lies ahead was told by a clock that was set back since."""
    return at if at is not None and at <= now else None


def _successor(
    alg: str, keys: Sequence[Key], rotation: Rotation, *, now: int, lacking: Collection[str], first: bool
) -> Iterator[Step]:
    """Yield the step that leads to the next key that signs."""
    active = next((key for key in keys if key.state == "active"), None)
    published = next((key for key in keys if key.state == "published"), None)
    if active is None and any(key.activated_at is not None for key in keys):
        yield Step("renew", None, alg, now)
    elif published is not None:
        since = _believed(published.published_at, now)
        if published.kid in lacking or since is None:
            yield Step("publish", published.kid, alg, now)
        else:
            yield Step("activate", published.kid, alg, since + rotation.publication)
    elif active is not None:
        since = _believed(active.activated_at, now)
        yield Step("publish", None, alg, now if since is None else since + rotation.age)
    elif first:
        yield Step("publish", None, alg, now)
