"""The key of a store's log: it signs the heads that leave the store, as checkpoints.

Made with the first checkpoint, sealed like a private signing key. A head that does not check out is never signed.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from tokenctl.audit import log_keys
from tokenctl.audit.proof import path_of
from tokenctl.backends.local import sealing
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import IntegrityError, InvalidRequest, NotFound, TemporarilyUnavailable
from tokenctl.formats import note
from tokenctl.formats.note import Checkpoint, VerifierKey
from tokenctl.formats.proof import Proof
from tokenctl.model.identifier import ID_BITS, ID_LENGTH, encode_base62
from tokenctl.model.record import Event
from tokenctl.secret import Secret

_ALGORITHM = "Ed25519"
_ORIGIN = "tokenctl/"


class SignedHead(NamedTuple):
    """A head and the note that it is signed in.

    Attributes:
        leaf: The hash of its newest leaf.
    """

    checkpoint: Checkpoint
    key: VerifierKey
    note: str
    leaf: bytes


class Handover(NamedTuple):
    """A head that a former key and the new one signed, and the proof under it of the record that names the new one."""

    head: SignedHead
    proof: str


def known(view: View) -> list[VerifierKey]:
    """Return the keys that sign and have signed this log, the present one first; none before the first checkpoint.

    Raises:
        IntegrityError: they cannot be read (exit 10).
    """
    told = view.fact(log_keys.KEYS)
    try:
        return [VerifierKey.parse(line) for line in told.split("\n")] if isinstance(told, str) else []
    except InvalidRequest:
        raise IntegrityError("what the store says of its log key cannot be read", hint="restore it from a backup") from None


def exported(view: View) -> int | None:
    """Return the size of the largest log of which a signed head has left the store; ``None`` where none has."""
    size = view.fact(log_keys.EXPORTED)
    return size if isinstance(size, int) else None


def handover(view: View) -> str | None:
    """Return the proof by which a holder of the key before believes the present one; ``None`` where there was none before."""
    told = view.fact(log_keys.HANDOVER)
    return told if isinstance(told, str) else None


def provide(journal: Journal) -> None:
    """Make the log key where the store has none yet; of two that do so at once one makes it.

    Raises:
        NotFound: there is no store (exit 5).
        IntegrityError: the store is quarantined (exit 10).
        TemporarilyUnavailable: it cannot be written (exit 7).
    """
    with journal.reading() as view:
        if view is None:
            raise journal.absent()
        if known(view):
            return
    key, seed = note.fresh(_ORIGIN + encode_base62(int.from_bytes(os.urandom(ID_BITS // 8)), ID_LENGTH))
    with journal.changing(trusted=True) as change:
        if change is None:
            raise journal.absent()
        if not known(change):
            reason = log_keys.told(None, str(key))
            change.append(Event(log_keys.OPERATION, target=change.store_id, outcome=log_keys.MADE, reason=reason))
            change.write_facts({log_keys.KEYS: str(key), log_keys.SEALED: _sealed(change, change.keys, key, seed)}, change.keys)


def sign_head(view: View) -> SignedHead:
    """Sign the head as it stands now.

    Raises:
        NotFound: there is no log key yet (exit 5).
        IntegrityError: the store is quarantined, or the private key does not check out (exit 10).
    """
    view.require_trust()
    keys = known(view)
    if not keys:
        raise _no_key()
    if (exported(view) or 0) > view.head.size:
        raise IntegrityError("the log is shorter than one of which a signed head has left", hint="tokenctl audit verify")
    leaf = view.store.value("SELECT hash FROM record WHERE seq = ?", view.head.size)
    if not isinstance(leaf, bytes):
        raise IntegrityError("the newest record is missing", hint="tokenctl audit verify")
    checkpoint = Checkpoint(keys[0].name, view.head.size, view.head.root)
    return SignedHead(checkpoint, keys[0], note.sign(checkpoint.text, [(keys[0], _unsealed(view, keys[0]))]), leaf)


def remember(journal: Journal, head: SignedHead) -> bool:
    """Remember that a signed head has left the store; false where that cannot be written, or the log is another one by now."""
    size = head.checkpoint.size
    with journal.reading() as view:
        if view is None or journal.read_only:
            return False
        if (exported(view) or 0) >= size:
            return True
    try:
        with journal.changing() as change:
            if change is None or change.store.value("SELECT hash FROM record WHERE seq = ?", size) != head.leaf:
                return False
            # An observation, as that of a delivery: a record for each would let the log grow by being looked at.
            if (exported(change) or 0) < size:
                change.write_facts({log_keys.EXPORTED: size}, change.keys)
    except TemporarilyUnavailable:
        return False
    return True


def rotate(journal: Journal) -> Handover:
    """Let a new key sign from here on; what whoever knows the former key believes it by stays in the store until the next time.

    Raises:
        NotFound: there is no store, or no log key yet (exit 5).
        IntegrityError: the store is quarantined, or the private key does not check out (exit 10).
        TemporarilyUnavailable: it cannot be written (exit 7).
    """
    with journal.reading() as view:
        if view is None:
            raise journal.absent()
        keys = known(view)
    if not keys:
        raise _no_key()
    key, seed = note.fresh(keys[0].name)
    with journal.changing(trusted=True) as change:
        if change is None:
            raise journal.absent()
        keys = known(change)
        former = _unsealed(change, keys[0])
        record = change.append(
            Event(log_keys.OPERATION, target=change.store_id, reason=log_keys.told(str(keys[0]), str(key)))
        )  # fmt: skip
        head = change.coming()
        checkpoint = Checkpoint(key.name, head.size, head.root)
        text = note.sign(checkpoint.text, [(keys[0], former), (key, seed)])
        path = path_of(change.store, head, record.seq - 1)
        proof = Proof(record.body, record.seq - 1, path, text.encode()).to_bytes().decode()
        facts = {
            log_keys.KEYS: "\n".join(map(str, (key, *keys))), log_keys.HANDOVER: proof,
            log_keys.SEALED: _sealed(change, change.keys, key, seed),
        }  # fmt: skip
        change.write_facts(facts, change.keys)
    journal.wipe("the former log key, sealed,")
    return Handover(SignedHead(checkpoint, key, text, record.hash), proof)


def facts_under(view: View, keys: sealing.Keys) -> dict[str, object]:
    """Return the private key sealed under new keys; nothing where there is none.

    Raises:
        IntegrityError: it does not check out (exit 10).
    """
    present = known(view)
    return {log_keys.SEALED: _sealed(view, keys, present[0], _unsealed(view, present[0]))} if present else {}


def inherit(change: Change, there: View | None, request_id: str) -> str | None:
    """Let a restored store go on with the key of the store that it replaces; return the origin of its log, if it has one.

    The records that tell of that key may be lost with all that came after the backup; who holds it is not to be lost with them.
    """
    ours = known(change)
    theirs = known(there) if there is not None else []
    if there is not None and len(theirs) > len(ours) and theirs[len(theirs) - len(ours) :] == ours:
        for number in reversed(range(len(theirs) - len(ours))):
            former = str(theirs[number + 1]) if number + 1 < len(theirs) else None
            change.append(
                Event(
                    log_keys.OPERATION, target=change.store_id, outcome=log_keys.TAKEN_OVER, request_id=request_id,
                    reason=log_keys.told(former, str(theirs[number])),
                )
            )  # fmt: skip
        facts = {name: there.fact(name) for name in (log_keys.KEYS, log_keys.SEALED, log_keys.HANDOVER)}
        change.write_facts(facts, change.keys)
        ours = theirs
    return ours[0].name if ours else None


def _sealed(view: View, keys: sealing.Keys, key: VerifierKey, seed: Secret) -> bytes:
    return sealing.seal(keys, view.store_id, str(key), _ALGORITHM, seed.reveal())


def _unsealed(view: View, key: VerifierKey) -> Secret:
    sealed = view.fact(log_keys.SEALED)
    seed = sealing.unseal(view.keys, view.store_id, str(key), _ALGORITHM, sealed) if isinstance(sealed, bytes) else None
    if seed is None or not note.belongs(seed, key):
        raise IntegrityError("the private part of the log key does not check out", hint="tokenctl audit verify")
    return seed


def _no_key() -> NotFound:
    return NotFound("the log has no key yet", hint="tokenctl audit checkpoint makes it")
