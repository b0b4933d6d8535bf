"""The keys that sign the heads of a log: where a store keeps them, and what its records tell of them.

In ``meta``: ``log_keys`` holds the verifier keys, the present one first; ``log_sealed`` the private part of that one;
``log_exported`` is the size of the largest log of which a signed head has left the store. ``log_handover`` proves the record that
names the present key under a head that it and the key before it signed: by that the former key vouches for it. Two signatures
alone would not: anybody can put a second one under a head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tokenctl.audit.token_history import replay
from tokenctl.model.record import Record

OPERATION = "log.rotate_key"
MADE = "made"  # the outcome where a log had no key before
TAKEN_OVER = "taken_over"  # the outcome where a restored store takes over a key that its backup does not know
KEYS, SEALED, HANDOVER, EXPORTED = "log_keys", "log_sealed", "log_handover", "log_exported"
_TO = " to "


def told(former: str | None, key: str) -> str:
    """Return what a record says of a key that follows another one, both as verifier keys."""
    return key if former is None else f"{former}{_TO}{key}"


def key_flaws(meta: Mapping[str, object], history: Iterable[Record], *, size: int) -> list[str]:
    """Replay the records of log keys, and compare what they lead to with what the store says of itself.

    Args:
        size: How many records the log has.
    """
    keys: list[str] = []
    flaws = []
    records = list(history)
    for (_, facts), record in zip(replay(records), records, strict=True):
        former, _, key = str(facts.get("reason")).rpartition(_TO)
        if former != (keys[0] if keys else "") or (former and _origin(former) != _origin(key)):
            flaws.append(f"record {record.seq}: a log key follows one that was not the present one, or is of another log")
        keys.insert(0, key)
    if meta.get(KEYS) != ("\n".join(keys) if keys else None):
        flaws.append("the log key is not the one last recorded")
    if (meta.get(SEALED) is not None) != bool(keys):
        flaws.append("the private part of the log key is missing" if keys else "a private log key is there without its record")
    exported = meta.get(EXPORTED)
    if isinstance(exported, int) and exported > size:
        flaws.append(f"the log has {size} records, and a signed head of {exported} has left the store")
    return flaws


def _origin(key: str) -> str:
    return key.partition("+")[0]
