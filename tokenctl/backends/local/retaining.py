"""What a rotation of the root secret keeps of the version before: its pepper and its row key, sealed under the new one.

Opaque tokens are known by the pepper that they were made with, and a request id by the row key of its time. Both are kept
until the last unexpired token of their version ends, and forgotten by the next rotation, of keys or of the secret, after that.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenctl.backends.local import sealing
from tokenctl.backends.local.view import Change, View
from tokenctl.model.record import Event

OPERATION = "store.rotate_root"
FORGOTTEN = "forgotten"  # the outcome where only what was kept of earlier versions goes
_PREFIX = "retained.v"
_TIME = 8  # bytes


class Retained(NamedTuple):
    """The keys of an earlier version that are still needed."""

    pepper: bytes
    row: bytes

    def __repr__(self) -> str:
        return "Retained(***)"


def versions(view: View) -> list[int]:
    """Return the earlier versions of which something is kept, the newest first."""
    names = view.store.rows("SELECT name FROM meta WHERE name GLOB ?", f"{_PREFIX}[0-9]*")
    return sorted((int(str(name).removeprefix(_PREFIX)) for (name,) in names), reverse=True)


def retained(view: View, version: int) -> Retained | None:
    """Return what is kept of a version; ``None`` where nothing is.

    Raises:
        IntegrityError: what is kept was changed (exit 10).
    """
    kept = view.fact(f"{_PREFIX}{version}")
    if not isinstance(kept, bytes):
        return None
    opened = sealing.unseal(view.keys, view.store_id, f"{_PREFIX}{version}", "root", kept[_TIME:]).reveal()
    return Retained(opened[: sealing.ROOT_LENGTH], opened[sealing.ROOT_LENGTH :])


def facts_under(view: View, keys: sealing.Keys) -> dict[str, object]:
    """Return the facts that keep under new keys what is still needed of the present version and those before.

    One that is needed no more is ``None``.
    """
    facts: dict[str, object] = {f"{_PREFIX}{version}": None for version in versions(view)}
    kept = {version: (replaced_at(view, version), retained(view, version)) for version in versions(view)}
    kept[view.keys.version] = (view.now, Retained(view.keys.pepper, view.keys.row))
    for version, (at, secrets) in kept.items():
        if secrets is not None and needed(view, version, at):
            name = f"{_PREFIX}{version}"
            sealed = sealing.seal(keys, view.store_id, name, "root", secrets.pepper + secrets.row)
            facts[name] = at.to_bytes(_TIME, "big") + sealed
    return facts


def ended(view: View) -> list[int]:
    """Return the versions of which something is kept that nothing needs any more."""
    return [version for version in versions(view) if not needed(view, version, replaced_at(view, version))]


def forget(change: Change) -> None:
    """Forget what is needed no more, with a record."""
    gone = ended(change)
    if gone:
        change.write_facts({f"{_PREFIX}{version}": None for version in gone}, change.keys)
        parameters: dict[str, object] = {"versions": gone}
        change.append(Event(operation=OPERATION, target=change.store_id, outcome=FORGOTTEN, parameters=parameters))


def replaced_at(view: View, version: int) -> int:
    """Return when a version was replaced, milliseconds UTC."""
    kept = view.fact(f"{_PREFIX}{version}")
    return int.from_bytes(kept[:_TIME], "big") if isinstance(kept, bytes) else 0


def needed(view: View, version: int, replaced: int) -> bool:
    """Whether a token that was made under a version may still be presented, or its request made again."""
    sql = """SELECT 1 FROM token WHERE expires_at > ?1 AND (pepper_version = ?2 OR (pepper_version IS NULL AND issued_at <= ?3
             AND EXISTS (SELECT 1 FROM request WHERE actor = token.issued_by AND id = token.request))) LIMIT 1"""
    return view.store.value(sql, view.now, version, replaced) is not None
