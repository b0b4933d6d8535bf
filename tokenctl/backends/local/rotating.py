"""The steps of signing keys, each with its record, inside the caller's transaction.

An algorithm that has signed once has exactly one active key at every commit: the old key stops before the new one begins.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tokenctl.backends.local import sealing
from tokenctl.backends.local.view import Change
from tokenctl.model.identifier import new_id
from tokenctl.model.record import UNREPLACED, Event
from tokenctl.model.rotation import Step
from tokenctl.model.token import Key

if TYPE_CHECKING:
    from tokenctl.formats.signing import SigningKey

# What each step is in the log, and the column of its time.
_BEGINNINGS = {"published": ("key.publish", "published_at"), "active": ("key.activate", "activated_at")}


def make_key(change: Change, fresh: SigningKey, state: str) -> Key:
    """Take in a new key, ``published`` or ``active``, its private part sealed."""
    kid, algorithm = new_id(change.now), fresh.algorithm
    public = fresh.public_jwk(kid)
    sealed = sealing.seal(change.keys, change.store_id, kid, algorithm, fresh.private_bytes())
    parameters: dict[str, object] = {"public": public, "alg": algorithm}
    change.append(Event(operation="key.create", target=kid, kid=kid, format=algorithm, parameters=parameters))
    record = change.append(Event(operation=_BEGINNINGS[state][0], target=kid, kid=kid, format=algorithm))
    key = Key(
        kid=kid, alg=algorithm, state=state, public=json.dumps(public, sort_keys=True), sealed=sealed,
        kek_version=change.keys.version, created_at=change.now, published_at=change.now,
        activated_at=change.now if state == "active" else None, leaf=record.seq,
    )  # fmt: skip
    change.rows.insert_key(key)
    return key


def publish_again(change: Change, key: Key) -> Step:
    """Let the time for which a key must be published begin now."""
    _move(change, key, "key.publish", state="published", published_at=change.now)
    return Step("publish", key.kid, key.alg, change.now)


def activate(change: Change, key: Key, *, old: Key | None, operation: str = "key.activate") -> list[Step]:
    """Let a key sign from now on, and the old one stop."""
    done = [stop(change, old)] if old is not None else []
    _move(change, key, operation, state="active", activated_at=change.now)
    return [*done, Step(operation.partition(".")[2], key.kid, key.alg, change.now)]


def stop(change: Change, key: Key) -> Step:
    """Let an active key sign no more; its tokens hold."""
    _move(change, key, "key.retire", outcome="retiring", state="retiring", retiring_at=change.now)
    return Step("retiring", key.kid, key.alg, change.now)


def retire(change: Change, key: Key) -> Step:
    """Destroy the private part of a key that no token needs."""
    _move(change, key, "key.retire", outcome="retired", state="retired", retired_at=change.now, sealed=None)
    return Step("retire", key.kid, key.alg, change.now)


def compromise(change: Change, key: Key, *, replaced: bool, intact: bool) -> Step:
    """Deny a key and every token that it signed: by this one row.

    Args:
        replaced: Whether another key signs in its place, if it was the one that did.
        intact: Whether its row checks out; one that does not stays broken.
    """
    outcome = "done" if replaced else UNREPLACED
    _move(
        change, key, "key.compromise", outcome=outcome, reason="compromised", state="compromised",
        compromised_at=change.now, sealed=None, intact=intact,
    )  # fmt: skip
    return Step("compromise", key.kid, key.alg, change.now)


def _move(
    change: Change, key: Key, operation: str, *, outcome: str = "done", reason: str | None = None, intact: bool = True,
    **columns: object,
) -> None:  # fmt: skip
    event = Event(operation=operation, target=key.kid, kid=key.kid, format=key.alg, outcome=outcome, reason=reason)
    moved = key._replace(leaf=change.append(event).seq, **columns)  # type: ignore[arg-type]  # names are checked by the tuple
    write = change.rows.update_key if intact else change.rows.condemn_key
    write(moved, "leaf", *columns)
