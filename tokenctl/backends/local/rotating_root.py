"""Rotating the root secret: a new version of all that is derived from it, in one change.

The new secret is written and read back in a second slot of its place before the change, and takes the main slot after it.
Whichever of the two fits the store's check value is the store's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tokenctl.backends.local import log_key, retaining, sealing
from tokenctl.backends.local.journal import Journal, Opened
from tokenctl.backends.local.root_places import Place
from tokenctl.backends.local.view import Change
from tokenctl.errors import Conflict, TemporarilyUnavailable, TokenctlError
from tokenctl.model.record import Event
from tokenctl.model.token import Key
from tokenctl.secret import Secret
from tokenctl.store import remaking
from tokenctl.store.protection import Protector


class Rotated(NamedTuple):
    """What a rotation did.

    Attributes:
        version: Of the new secret; the first one of a store is 1.
        kept: The earlier versions of which something is kept for tokens that have not ended.
        keys: How many private keys were sealed anew.
        rows: How many tokens and records were rewritten.
    """

    version: int
    place: Place
    kept: list[int]
    keys: int
    rows: int


def rotate(journal: Journal, begin: Callable[[int], Callable[[int], None]]) -> Rotated:
    """Replace the root secret.

    Args:
        begin: Told how many rows there are to be rewritten; returns what is told how many are done.

    Raises:
        NotFound: there is no store (exit 5).
        AccessDenied: the secret, or its place, is out of reach (exit 4); nothing was changed.
        Conflict: it lies where nothing can be written (exit 6).
        IntegrityError: the store is quarantined, or a key does not check out (exit 10).
        TemporarilyUnavailable: the rotation before did not end (exit 7).
    """
    from tokenctl.formats import signing  # noqa: F401  # a slow import must not happen inside the lock

    with journal.changing(trusted=True) as change:
        opened = journal.opened
        if change is None or opened is None:
            raise journal.absent()
        journal.whereabouts.hurry()
        slot = _slot(opened)
        root = Secret(os.urandom(sealing.ROOT_LENGTH))
        slot.write(root)
        try:
            return _exchange(journal, change, opened, root, begin)
        except BaseException:
            with suppress(TokenctlError):  # what made it necessary is told
                slot.wipe()
            raise


def _slot(opened: Opened) -> Place:
    slot = opened.place.pending()
    if slot is None:
        raise Conflict(
            f"{opened.place.shown} can be exchanged by its operator alone",
            hint="tokenctl store move-secret file; tokenctl rotate-keys --root; then place the new one, and move it on",
        )
    if opened.unsettled:  # the slot holds the secret in use
        raise TemporarilyUnavailable(
            f"the rotation before did not end: {opened.place.shown} is not the new root secret yet", hint="tokenctl doctor"
        )
    return slot


def _exchange(
    journal: Journal, change: Change, opened: Opened, root: Secret, begin: Callable[[int], Callable[[int], None]]
) -> Rotated:  # fmt: skip
    old, store_id = change.keys, change.store_id
    keys = sealing.derive(root, old.version + 1)
    resealed = 0

    def reseal(key: Key) -> Key:
        nonlocal resealed
        if key.sealed is None:
            return key._replace(kek_version=keys.version)
        resealed += 1
        private = sealing.unseal(old, store_id, key.kid, key.alg, key.sealed)
        sealed = sealing.seal(keys, store_id, key.kid, key.alg, private.reveal())
        return key._replace(sealed=sealed, kek_version=keys.version)

    kept = retaining.facts_under(change, keys) | log_key.facts_under(change, keys)
    count = remaking.total(change.store)
    remaking.remake(change.store, change.rows, Protector(keys.row, store_id), reseal=reseal, progress=begin(count))
    check = sealing.check_value(root, store_id)
    change.write_facts(kept | {"root_check": check, "root_version": keys.version}, keys)
    change.append(Event(operation=retaining.OPERATION, target=store_id, parameters={"version": keys.version, "keys": resealed}))
    change.afterwards = lambda: _settle(journal, keys, root)
    return Rotated(keys.version, opened.place, retaining.versions(change), resealed, count)


def _settle(journal: Journal, keys: sealing.Keys, root: Secret) -> None:
    opened = journal.opened
    assert opened is not None
    journal.rekeyed(keys, root)
    # What was sealed under the old secret is not to stay in the log beside the store. Where someone reads from that, the last
    # one to close the store does it.
    if not opened.store.truncate_log(wait=False):
        journal.warn_left("what was sealed under the old root secret")
