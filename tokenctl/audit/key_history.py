"""Replaying what the log tells of signing keys, and comparing it with their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from tokenctl.model.record import UNREPLACED, Record
from tokenctl.model.token import Key

_STATE_AFTER = {
    "key.create": "created", "key.publish": "published", "key.activate": "active", "key.roll_back": "active",
    "key.retire": "retired", "key.compromise": "compromised",
}  # fmt: skip
KEY_OPERATIONS = tuple(_STATE_AFTER)
_TIME_OF = {
    "published": "published_at", "active": "activated_at", "retiring": "retiring_at", "retired": "retired_at",
    "compromised": "compromised_at",
}  # fmt: skip
_SEALED = ("published", "active", "retiring")
# What a record may follow: a key that ended never returns, and only one that others could see signs.
_BEFORE = {
    "created": (None,), "published": ("created", "published"), "active": ("created", "published", "retiring"),
    "retiring": ("active", "retiring"), "retired": ("published", "retiring"),
    "compromised": ("published", "active", "retiring", "retired"),
}  # fmt: skip


def _state_after(record: Record) -> str | None:
    """Return the state that a record leads to; ``None`` where it is about no state of a key."""
    state = _STATE_AFTER.get(record.operation)
    if record.operation != "key.retire":
        return state
    try:
        outcome = record.facts().get("outcome")
    except ValueError:
        return "unreadable"
    return outcome if isinstance(outcome, str) else "unreadable"


def key_flaws(key: Key, history: Sequence[Record], *, intact: bool) -> Iterator[str]:
    """Replay a key's records and compare what they lead to with its row."""
    if not intact:
        yield "its row was changed"
    if not history or history[0].operation != "key.create":
        yield "no record of its making"
        return
    if history[-1].seq != key.leaf:
        yield "its newest record is not the one that its row says"
    told = [(state, record) for record in history if (state := _state_after(record)) is not None]
    before: str | None = None
    for state, record in told:
        if before not in _BEFORE.get(state, ()):
            yield f"record {record.seq} makes it {state}, and it was {before}"
        before = state
    state, newest = told[-1]
    if state != key.state:
        yield f"its state is {key.state}, its records say {state}"
    elif state in _TIME_OF and getattr(key, _TIME_OF[state]) != newest.time:
        yield "since when it is so differs from its records"
    if (key.sealed is not None) != (key.state in _SEALED):
        yield "its private part is destroyed too early" if key.sealed is None else "its private part is not destroyed"
    try:
        public = json.loads(key.public)
    except ValueError:
        public = None
    if not isinstance(public, dict) or (public.get("kid"), public.get("alg")) != (key.kid, key.alg):
        yield "its public key is not readable"
    elif not history[0].commits_to({"public": public, "alg": key.alg}):
        yield "its public key is not the one that was made"


def signer_flaws(keys: Iterable[Key], history: Iterable[Record]) -> Iterator[str]:
    """Yield which algorithms have signed and have not exactly one active key now.

    One whose key was denied in a store that could not be trusted waits for its next key: its record says so.
    """
    active: dict[str, int] = {}
    for key in keys:
        active[key.alg] = active.get(key.alg, 0) + (key.state == "active")
    signing: dict[str, bool] = {}
    for record in history:
        try:
            facts = record.facts()
        except ValueError:
            continue  # told of its record already
        algorithm = facts.get("format")
        if not isinstance(algorithm, str):
            continue
        if record.operation in ("key.activate", "key.roll_back"):
            signing[algorithm] = True
        elif record.operation == "key.compromise" and facts.get("outcome") == UNREPLACED:
            signing[algorithm] = False
    for algorithm, signs in sorted(signing.items()):
        count = active.get(algorithm, 0)
        if count != signs:
            yield f"{algorithm} has {count or 'no'} active key{'s' * (count > 1)}, its records say {'one' if signs else 'none'}"
