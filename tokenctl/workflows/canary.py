"""Asking verifiers which keys they have: before a key signs, and until a compromised one is gone.

A verifier is the URL of a JWK Set as a gateway sees it, or of a health answer ``{"kids": ["…"]}``. It learns nothing of
ours: not the key, not who asks. What it answers is data from outside: read strictly, never shown.
Each is asked by a thread of its own, so that one that hangs takes no time of the others, and nothing that blocks, the
look-up of a name included, outlasts the deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed, wait
from functools import partial
from typing import NamedTuple, TypeVar

from tokenctl.deadline import apart
from tokenctl.errors import InvalidRequest
from tokenctl.formats.jwk import MAX_KEY_SET, MAX_KEYS, UnusableKey, thumbprint
from tokenctl.formats.strict_json import read_object
from tokenctl.http import documents, transport
from tokenctl.model.times import SECOND

T = TypeVar("T")

_FIRST_PAUSE = 0.2  # seconds between two looks at one verifier
_LONGEST_PAUSE = 5.0
_LEAST = 0.1  # seconds that a look needs; with less left there is no other
_GROWTH = 1.5
_LONGEST_LOOK = 5.0  # of many looks at one verifier; what a lost packet may cost
_MAX_KID = 256  # characters


class Seen(NamedTuple):
    """What one verifier has of a key.

    Attributes:
        verifier: Its URL, as it was named.
        holds: Whether it has this kid with this key; ``None`` where it could not be asked.
        detail: That in words of ours, to be read behind the URL.
        asked_at: When.
        cached_until: Until when its answer may come out of a cache, where that is told.
    """

    verifier: str
    holds: bool | None
    detail: str
    asked_at: int
    cached_until: int | None


class Gone(NamedTuple):
    """Whether one verifier has dropped a key.

    Attributes:
        verifier: Its URL, as it was named.
        gone: Whether it answered, and without the kid; ``False`` at the deadline.
        detail: That in words of ours.
        at: When it was first seen without; ``None`` where it was not.
        waited_ms: How long it took or was waited for.
    """

    verifier: str
    gone: bool
    detail: str
    at: int | None
    waited_ms: int


class _Answer(NamedTuple):
    """What a verifier answered: keys by kid (``None`` of a health answer, which tells no keys), or why that is unknown."""

    keys: Mapping[str, Mapping[str, object] | None]
    repeated: bool = False
    fault: str | None = None
    fresh_for: int | None = None


class _Time:
    """When the asking began, and how long it may go on."""

    def __init__(self, now: int, seconds: float) -> None:
        self._now = now
        self._begun = time.monotonic()
        self._until = self._begun + seconds

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(self._until - time.monotonic(), 0.0)

    def waited(self) -> int:
        """Return how long it has been going on, in milliseconds."""
        return int((time.monotonic() - self._begun) * SECOND)

    def instant(self) -> int:
        """Return the present by the caller's clock."""
        return self._now + self.waited()


def check_verifier(url: str) -> str:
    """Return the URL of a verifier; raises InvalidRequest where it is none that may be asked (exit 2)."""
    transport.public_url(url)
    return url


def ask_all(verifiers: Sequence[str], key: Mapping[str, object], *, seconds: float, now: int) -> list[Seen]:
    """Ask every verifier once whether it has a key: :func:`ask_about` of this key alone, one answer a verifier."""
    return [seen for (seen,) in ask_about(verifiers, [key], seconds=seconds, now=now)]


def ask_about(
    verifiers: Sequence[str], keys: Sequence[Mapping[str, object]], *, seconds: float, now: int
) -> list[tuple[Seen, ...]]:  # fmt: skip
    """Ask every verifier once which of these keys it has, all at the same time.

    Args:
        verifiers: Their URLs; one that is named twice is asked once.
        keys: Public JWKs with their ``kid``.
        seconds: For all of them together.
        now: The instant of this call.

    Returns:
        One a verifier, in their order; in each one a key, in theirs.

    Raises:
        InvalidRequest: a URL that may not be asked; none was asked then (exit 2).
    """
    clock = _Time(now, seconds)
    asked = _start(verifiers, lambda url: _seen(url, keys, clock))
    wait(asked, timeout=clock.left())
    late = transport.TOO_LATE.words
    return [
        asking.result() if asking.done() else (Seen(url, None, late, now, None),) * len(keys) for asking, url in asked.items()
    ]


def watch_gone(verifiers: Sequence[str], kid: str, *, seconds: float, now: int) -> Iterator[Gone]:
    """Ask every verifier again and again until it no longer has a kid; yield each when that is known.

    Arguments and errors as of :func:`ask_all`, raised when the first is taken. The last come at the deadline.
    """
    clock = _Time(now, seconds)
    last: dict[str, str] = {}
    watched = _start(verifiers, lambda url: _watch(url, kid, clock, last))
    try:
        for done in as_completed(tuple(watched), timeout=clock.left()):
            del watched[done]
            yield done.result()
    except TimeoutError:
        for watching, url in watched.items():
            given_up = Gone(url, False, last.get(url, transport.TOO_LATE.words), None, clock.waited())
            yield watching.result() if watching.done() else given_up


def _start(verifiers: Sequence[str], work: Callable[[str], T]) -> dict[Future[T], str]:
    """Begin the work for each verifier at the same time."""
    return {apart(partial(work, url)): url for url in [check_verifier(url) for url in dict.fromkeys(verifiers)]}


def _seen(url: str, keys: Sequence[Mapping[str, object]], clock: _Time) -> tuple[Seen, ...]:
    asked_at = clock.instant()
    answer = _ask(url, clock.left())
    cached_until = None if answer.fresh_for is None else clock.instant() + answer.fresh_for * SECOND
    judged = [(None, answer.fault) if answer.fault is not None else _judge(answer, key) for key in keys]
    return tuple(Seen(url, holds, detail, asked_at, cached_until) for holds, detail in judged)


def _judge(answer: _Answer, key: Mapping[str, object]) -> tuple[bool | None, str]:
    kid = str(key["kid"])
    if answer.repeated:
        return False, "has two keys of one kid"
    if kid not in answer.keys:
        return False, "does not have the key"
    served = answer.keys[kid]
    try:
        if served is not None and thumbprint(served) != thumbprint(key):
            return False, "has another key of this kid"
    except UnusableKey:
        return False, "has a key of this kid that cannot be read"
    return True, "has the key"


def _watch(url: str, kid: str, clock: _Time, last: dict[str, str]) -> Gone:
    pause = _FIRST_PAUSE
    while True:
        answer = _ask(url, min(clock.left(), _LONGEST_LOOK))
        if answer.fault is None and kid not in answer.keys:
            return Gone(url, True, "no longer has the key", clock.instant(), clock.waited())
        ended = clock.left() < _LEAST
        if not (ended and answer.fault and url in last):  # cut by our deadline, it says less than the one before
            last[url] = answer.fault or "still has the key"
        if ended:
            return Gone(url, False, last[url], None, clock.waited())
        time.sleep(min(pause, clock.left() / 2))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def _ask(url: str, seconds: float) -> _Answer:
    answer = documents.get(transport.public_url(url), limit=MAX_KEY_SET, seconds=max(seconds, 0.001))
    if isinstance(answer, transport.Fault):
        return _Answer({}, fault=answer.words)
    try:
        keys, repeated = _keys(read_object(answer.body, what="its answer"))
    except InvalidRequest as error:
        return _Answer({}, fault=error.message, fresh_for=answer.fresh_for)
    return _Answer(keys, repeated=repeated, fresh_for=answer.fresh_for)


def _keys(document: Mapping[str, object]) -> tuple[Mapping[str, Mapping[str, object] | None], bool]:
    """Return what an answer tells, by kid, and whether it tells a kid twice; raises InvalidRequest (exit 2)."""
    if ("keys" in document) == ("kids" in document):
        raise InvalidRequest("its answer is no JWK Set and no list of kids")
    name, of = ("keys", dict) if "keys" in document else ("kids", str)
    listed = document[name]
    if not isinstance(listed, list) or not all(isinstance(each, of) for each in listed):
        raise InvalidRequest(f"its {name} is no list of {'objects' if of is dict else 'strings'}")
    if len(listed) > MAX_KEYS:
        raise InvalidRequest(f"it has more than {MAX_KEYS} keys")
    pairs = [(each.get("kid"), each) if isinstance(each, dict) else (each, None) for each in listed]
    named = [(kid, each) for kid, each in pairs if isinstance(kid, str) and len(kid) <= _MAX_KID]
    # RFC 7517 section 4.5: of two keys of one kid a verifier may take either, or none.
    return dict(named), len({kid for kid, _ in named}) < len(named)
