"""The key of the log: signs its heads where they leave the store.

An Ed25519 key, made at the first checkpoint and sealed in ``meta``. Its records name each public part, so that a replaced one
is found and a head that a former one signed can still be verified.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.audit.log_history import DONE, EXPORTED, MADE, PUBLIC, ROTATED
from tokenctl.backends.local import sealing
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import IntegrityError, InvalidRequest, NotFound
from tokenctl.formats import note
from tokenctl.formats.note import Checkpoint, VerifierKey
from tokenctl.model.identifier import random_name
from tokenctl.model.record import Event
from tokenctl.secret import Secret

SEALED = "log_key"  # the name in meta of the private part
_ALGORITHM = "Ed25519"


class Signed(NamedTuple):
    """A head that leaves the store.

    Attributes:
        keys: Who signed it, the present key last.
        recorded: Whether the log remembers that it left.
    """

    checkpoint: Checkpoint
    text: str
    keys: tuple[VerifierKey, ...]
    recorded: bool


def log_keys(view: View) -> list[VerifierKey]:
    """Return the public keys that the log names, the present one first.

    Raises:
        IntegrityError: a record of one cannot be read (exit 10).
    """
    found: list[VerifierKey] = []
    for record in query.records(view.store, query.Filter(operation=(ROTATED,))):
        try:
            found.insert(0, VerifierKey.parse(str(record.facts().get("reason"))))
        except (ValueError, InvalidRequest):
            raise IntegrityError(f"record {record.seq} names no key of the log", hint="tokenctl audit verify") from None
    return found


def exported_size(view: View) -> int:
    """Return the size of the newest head that left the store, as its log remembers; zero for none."""
    return max(query.newest(view.store, query.Filter(operation=(EXPORTED,)), 1), default=0)


def present_key(view: View) -> VerifierKey:
    """Return the public key of the log.

    Raises:
        NotFound: there is none yet (exit 5).
        IntegrityError: it is not the one that the records name last (exit 10).
    """
    public = view.fact(PUBLIC)
    if public is None:
        raise NotFound("this log has no key yet", hint="tokenctl audit checkpoint")
    key = VerifierKey.parse(str(public))
    if log_keys(view)[:1] != [key]:
        raise IntegrityError("the public key of the log is not the one last recorded", hint="tokenctl audit verify")
    return key


def sign_head(view: View) -> Signed:
    """Sign the head of the log as it stands; nothing is recorded.

    Raises:
        NotFound: no key was made yet (exit 5).
        IntegrityError: the store is quarantined, or the key does not check out (exit 10).
    """
    view.require_trust()
    key = present_key(view)
    checkpoint = Checkpoint(key.name, view.head.size, view.head.root)
    return Signed(checkpoint, note.sign(checkpoint.text, [(key, _unsealed(view, key))]), (key,), recorded=False)


def export(journal: Journal) -> Signed:
    """Sign the head of the log and record that it leaves, under a key that is made where there is none.

    The head that is signed holds its own record; where that is the newest already, it is signed again. A store that cannot
    be written to is signed as it stands.

    Raises:
        NotFound: there is no store (exit 5), or it has no key and cannot be written to.
        IntegrityError: it is quarantined, or the key does not check out (exit 10).
    """
    with journal.reading() as view:
        if view is None:
            raise journal.absent()
        if journal.read_only or (view.fact(PUBLIC) is not None and exported_size(view) == view.head.size):
            return sign_head(view)._replace(recorded=not journal.read_only)
    seed = note.new_seed()  # the slow import is not to happen inside the lock
    with journal.changing(trusted=True) as change:
        if change is None:
            raise journal.absent()
        if change.fact(PUBLIC) is None:
            _install(change, seed, f"tokenctl/{random_name()}", MADE)
        key = present_key(change)
        seed = _unsealed(change, key)
        change.append(Event(operation=EXPORTED, target=change.store_id))
    return _signed(change, [(key, seed)])


def rotate(journal: Journal) -> Signed:
    """Replace the key of the log; the head of that moment is signed by both.

    Raises:
        NotFound: there is no store, or no key yet (exit 5).
        IntegrityError: the store is quarantined, or the key does not check out (exit 10).
    """
    seed = note.new_seed()
    with journal.changing(trusted=True) as change:
        if change is None:
            raise journal.absent()
        old = present_key(change)
        before = _unsealed(change, old)
        key = _install(change, seed, old.name, DONE)
        change.append(Event(operation=EXPORTED, target=change.store_id))
    journal.wipe("the former key of the log")
    return _signed(change, [(old, before), (key, seed)])


def resealed(change: Change, keys: sealing.Keys) -> dict[str, object]:
    """Return the facts that keep the key under other keys of the store; nothing where there is none."""
    if change.fact(PUBLIC) is None:
        return {}
    key = present_key(change)
    return {SEALED: sealing.seal(keys, change.store_id, key.identifier.hex(), _ALGORITHM, _unsealed(change, key).reveal())}


def _install(change: Change, seed: Secret, origin: str, outcome: str) -> VerifierKey:
    key = VerifierKey(origin, note.public_of(seed))
    sealed = sealing.seal(change.keys, change.store_id, key.identifier.hex(), _ALGORITHM, seed.reveal())
    change.write_facts({PUBLIC: str(key), SEALED: sealed}, change.keys)
    change.append(Event(operation=ROTATED, target=change.store_id, outcome=outcome, reason=str(key)))
    return key


def _unsealed(view: View, key: VerifierKey) -> Secret:
    sealed = view.fact(SEALED)
    if not isinstance(sealed, bytes):
        raise IntegrityError("the key of the log is gone", hint="tokenctl audit verify")
    return sealing.unseal(view.keys, view.store_id, key.identifier.hex(), _ALGORITHM, sealed)


def _signed(change: Change, keys: list[tuple[VerifierKey, Secret]]) -> Signed:
    checkpoint = Checkpoint(keys[0][0].name, change.head.size, change.head.root)
    return Signed(checkpoint, note.sign(checkpoint.text, keys), tuple(key for key, _ in keys), recorded=True)
