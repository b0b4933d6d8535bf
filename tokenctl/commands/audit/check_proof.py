"""``audit verify --proof``: whether a proof holds, by a key that somebody vouches for; no store is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.audit.proof import root_from
from tokenctl.audit.tree import leaf_hash
from tokenctl.commands.audit import screen
from tokenctl.commands.audit.log import document
from tokenctl.commands.context import Context
from tokenctl.commands.inputs import read_file
from tokenctl.errors import IntegrityError, InvalidRequest, naming
from tokenctl.formats import note, proof
from tokenctl.formats.note import Checkpoint, VerifierKey
from tokenctl.formats.proof import Proof
from tokenctl.model.record import Record, canonical, commitment_to
from tokenctl.render.escape import escape

_GIVEN, _PRESENT, _FORMER = "given", "present", "former"
_WHOSE = {
    _GIVEN: "the key given with --key", _PRESENT: "the key of this profile's store",
    _FORMER: "a key that this profile's store had before",
}  # fmt: skip


class Trusted(NamedTuple):
    """A key that may vouch for a proof, and why: ``given``, or ``present`` or ``former`` of a store."""

    key: VerifierKey
    source: str


class Finding(NamedTuple):
    """What came of checking a proof.

    Attributes:
        trusted: The key by which it was verified; ``None`` where by none.
        record: What it proves; ``None`` where its body is no record.
    """

    flaws: list[str]
    checkpoint: Checkpoint
    trusted: Trusted | None
    record: Record | None


def check(context: Context, path: str, *, keys: Sequence[str], alone: bool) -> int:
    """Check a proof and print what the record says; return 0 or 10.

    Args:
        keys: Verifier keys of the log; by default those of the profile's store.
        alone: Whether no other option of ``audit verify`` was given: none of them has a meaning here.

    Raises:
        InvalidRequest: another option was given, or unreadable, no proof, or no key to check it with (exit 2).
    """
    if not alone:
        raise InvalidRequest("--proof goes with --key alone", hint="tokenctl audit verify --proof FILE --key VKEY")
    with naming("--key"):
        given = [VerifierKey.parse(text) for text in keys]
    shown = proof.parse(read_file(path, limit=proof.MAX_PROOF))
    trusted = [Trusted(each, _GIVEN) for each in given] or _of_store(context)
    found = examine(shown, trusted)
    _print(context, shown, found)
    return IntegrityError.exit_code if found.flaws else 0


def _of_store(context: Context) -> list[Trusted]:
    from tokenctl.backends.local import log_key

    with context.backend() as backend, backend.journal.reading() as view:
        keys = log_key.known(view) if view is not None else []
        if view is not None and view.quarantine is not None:
            context.console.warn(f"the store is quarantined: {view.quarantine}")
    if not keys:
        raise InvalidRequest(
            "no key to check the proof with: this profile has no store with a log key",
            hint="name the log's verifier key, by a way that you trust: --key VKEY",
        )
    return [Trusted(each, _FORMER if number else _PRESENT) for number, each in enumerate(keys)]


def examine(shown: Proof, trusted: Sequence[Trusted]) -> Finding:
    """Check a proof: the signature under its checkpoint, the way from its record to the root, and what it discloses."""
    checkpoint, signed = note.parse_checkpoint(shown.note)
    flaws = []
    by, fault = _signer(checkpoint, signed, trusted)
    if fault is not None:
        flaws.append(fault)
    if root_from(leaf_hash(shown.body), shown.leaf_index, checkpoint.size, shown.path) != checkpoint.root:
        flaws.append("the record is not in the log that the checkpoint speaks of")
    record = _read(shown)
    if record is None:
        flaws.append("what it shows is no record")
    elif record.seq != shown.leaf_index + 1:
        flaws.append(f"the record says that its number is {record.seq}, and stands as number {shown.leaf_index + 1}")
    if record is not None and shown.disclosed is not None:
        parameters, nonce = shown.disclosed
        if record.facts().get("commitment") != commitment_to(parameters, nonce):
            flaws.append("what it discloses is not what the record commits to")
    return Finding(flaws, checkpoint, by, record)


def _signer(checkpoint: Checkpoint, signed: note.Note, trusted: Sequence[Trusted]) -> tuple[Trusted | None, str | None]:
    """Return the key that vouches for a checkpoint, or why none does."""
    own = [each for each in trusted if each.key.name == checkpoint.origin]
    if not own:
        return None, f"the checkpoint is of another log than the key: {checkpoint.origin}"
    try:
        by = signed.signed_by([each.key for each in own])
    except IntegrityError as error:
        return None, error.message
    if by is None:
        return None, f"the checkpoint is not signed by {_WHOSE[own[0].source]}"
    return next(each for each in own if each.key == by), None


def _read(shown: Proof) -> Record | None:
    """Return the record of a body; ``None`` where it is none of ours."""
    made = Record(
        seq=0, time=0, operation="", target=None, request=None, actor="", body=shown.body, hash=leaf_hash(shown.body), nonce=b""
    )
    try:
        facts = made.facts()
        written = canonical(facts)
    except (ValueError, RecursionError):
        return None
    seq, time, operation, target = (facts.get(name) for name in ("seq", "time", "operation", "target"))
    actor = facts.get("actor")
    if (
        written != shown.body
        or not (type(seq) is int and type(time) is int and isinstance(operation, str) and isinstance(actor, dict))
        or not isinstance(target, str | None)
        or not 0 <= time < 253_402_300_800_000
    ):
        return None
    return made._replace(
        seq=seq, time=time, operation=operation, target=target, actor=f"{actor.get('name')}@{actor.get('host')}"
    )


def _print(context: Context, shown: Proof, found: Finding) -> None:
    console, record = context.console, found.record
    parameters = shown.disclosed.parameters if shown.disclosed is not None else None
    verdict = "INVALID" if found.flaws else "OK"
    if console.machine:
        console.document(
            {"verdict": verdict, "flaws": found.flaws,
             "verifier_key": str(found.trusted.key) if found.trusted is not None else None,
             "key_source": found.trusted.source if found.trusted is not None else None,
             "origin": found.checkpoint.origin, "size": found.checkpoint.size, "root": found.checkpoint.root.hex(),
             "record": document(record) if record is not None else None, "parameters": parameters,
             "warnings": list(console.warnings)}
        )  # fmt: skip
        return
    meaning = "the proof does not hold" if found.flaws else "the record is in the log that the checkpoint speaks of"
    line = console.fold(f"{verdict}: ", meaning)
    console.result(line.replace(verdict, console.paint(verdict, "red" if found.flaws else "green"), 1))
    for flaw in found.flaws:
        console.result(f"flaw: {escape(flaw)}")
    if found.flaws or record is None or found.trusted is None or console.quiet:
        return  # what a proof says that does not hold is not worth reading
    console.answer(f"key: {escape(str(found.trusted.key))}, {_WHOSE[found.trusted.source]}")
    console.answer(f"checkpoint: {found.checkpoint.size:,} records, root {found.checkpoint.root.hex()}")
    (screen.block if console.on_terminal else screen.line)(context, record)
    if parameters is not None:
        console.answer(f"parameters: {escape(canonical(parameters).decode('ascii'))}")
