"""Reading heads of the log that somebody kept elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.audit.verdict import KnownHead
from tokenctl.backends.local.log_key import known
from tokenctl.backends.local.view import View
from tokenctl.commands import inputs
from tokenctl.errors import IntegrityError, InvalidRequest
from tokenctl.formats.note import MAX_NOTE, Checkpoint, Note, VerifierKey, parse_checkpoint


class Presented(NamedTuple):
    """A checkpoint as it was read, not verified yet."""

    source: str
    checkpoint: Checkpoint
    note: Note


class Witness(NamedTuple):
    """What the holder of checkpoints brought: them, and the keys that he kept with them."""

    heads: list[Presented]
    keys: list[VerifierKey]


def read(sources: Sequence[str]) -> list[Presented]:
    """Read checkpoints, not verified yet.

    Raises:
        InvalidRequest: one cannot be read, or is none (exit 2).
    """
    found = []
    for source in sources:
        shown = "standard input" if source == "-" else source
        data = inputs.read_all(0, shown, limit=MAX_NOTE) if source == "-" else inputs.read_file(source, limit=MAX_NOTE)
        try:
            checkpoint, note = parse_checkpoint(data)
        except InvalidRequest as error:
            raise InvalidRequest(f"{shown}: {error.message}", hint=error.hint) from None
        found.append(Presented(shown, checkpoint, note))
    return found


def verified(view: View, witness: Witness) -> list[KnownHead]:
    """Return the checkpoints as heads that this log can be compared with.

    Raises:
        InvalidRequest: one is of another log (exit 2).
        IntegrityError: no key signed it, or the signature is wrong (exit 10); the store is not to blame.
    """
    own = known(view)
    heads = []
    for source, checkpoint, note in witness.heads:
        keys = [key for key in (*own, *witness.keys) if key.name == checkpoint.origin]
        if not keys:
            raise InvalidRequest(
                f"{source} is a checkpoint of {checkpoint.origin}, and this log is {own[0].name if own else 'without a key'}",
                hint="name a checkpoint of this log, or the key that you kept with it: --key",
            )
        try:
            signer = note.signed_by(keys)
        except IntegrityError as error:
            hint = "fetch it anew: nothing is wrong with the store"
            raise IntegrityError(f"{source}: {error.message}", hint=hint) from None
        if signer is None:
            raise IntegrityError(
                f"none of this log's keys signed {source}, which names it",
                hint="if it is genuine, the log's key was replaced: name the key that you kept with it: --key",
            )
        origin = bool(own) and checkpoint.origin == own[0].name
        heads.append(KnownHead(source, checkpoint.size, checkpoint.root, named=signer in own, origin=origin))
    return heads
