"""``audit show ID --proof``: one record, shown to be in the log to someone who has only the file and the verifier key."""

from __future__ import annotations

from collections.abc import Iterator

from tokenctl.audit import proof as proofs
from tokenctl.audit import query
from tokenctl.audit.tree import leaf_hash
from tokenctl.backends.base import Backend
from tokenctl.backends.local import log_key
from tokenctl.backends.local.log_key import SignedHead
from tokenctl.backends.local.view import View
from tokenctl.commands.audit import checkpoint
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidRequest, NotFound
from tokenctl.files import PRIVATE_FILE
from tokenctl.formats.proof import Disclosed, Proof
from tokenctl.model.record import (
    NONCE_LENGTH,
    Record,
    issue_parameters,
    replacement_parameters,
    suspension_parameters,
)
from tokenctl.model.token import Token


def prove(context: Context, target: str, *, seq: int | None, disclose: bool, out: str | None) -> int:
    """Print the proof of the newest record about an id, or of another one by its number.

    Args:
        disclose: Whether the parameters that the record commits to are told with it.

    Raises:
        InvalidRequest: not an id, or the file cannot be written (exit 2).
        NotFound: no such record about it, or its parameters are not known any more (exit 5).
        IntegrityError: the store is quarantined, or record and log do not check out (exit 10).
        TemporarilyUnavailable: the first log key cannot be recorded, or the output cannot be written (exit 7).
    """
    out = checkpoint.file_of(context, out)
    with context.backend() as backend:
        identifier = backend.id_of(target)
        if identifier is None:
            raise InvalidRequest(
                "a proof is of one record about an id: an id is 22 letters and digits", hint="tokenctl audit log"
            )  # fmt: skip
        with backend.journal.reading() as view:  # a question that has no answer makes no key
            _disclosed_of(backend, view, identifier, seq, disclose=disclose)
        log_key.provide(backend.journal)
        with backend.journal.reading() as view:
            view, record, disclosed = _disclosed_of(backend, view, identifier, seq, disclose=disclose)
            head = log_key.sign_head(view)
            proof = _proof(view, record, head, disclosed)
        if backend.journal.read_only:
            context.console.warn("the store cannot remember that this head left it")
        _hand_out(context, record, head, proof, out)
        checkpoint.left(context, backend, head)
        context.console.chat(f"verifier key: {head.key}")
    return 0


def _disclosed_of(
    backend: Backend, view: View | None, identifier: str, seq: int | None, *, disclose: bool
) -> tuple[View, Record, Disclosed | None]:  # fmt: skip
    """Return the record that is to be proved, and what is to be disclosed of it; raises as :func:`prove`."""
    if view is None:
        raise backend.journal.absent()
    record = _record(view, identifier, seq)
    if record is None:
        which = "no record" if seq is None else f"no record {seq}"
        raise NotFound(f"{which} of {identifier} in profile {backend.name} ({backend.place})")
    return view, record, _disclosed(view, record) if disclose else None


def _record(view: View, identifier: str, seq: int | None) -> Record | None:
    """Return the newest record about an id, or the one of that number where it is about it."""
    number = view.rows.newest_leaf(identifier) if seq is None else seq
    found = next(query.fetch(view.store, [number]), None)
    if found is None or found.target != identifier:
        return None
    if found.archived is not None:
        raise NotFound(
            f"the body of record {found.seq} was moved to an archive: it is not proved from here",
            hint=f"tokenctl audit show {found.archived}",
        )
    return found


def _proof(view: View, record: Record, head: SignedHead, disclosed: Disclosed | None) -> Proof:
    index = record.seq - 1
    path = proofs.path_of(view.store, view.head, index)
    leaf = leaf_hash(record.body)
    if proofs.root_from(leaf, index, view.head.size, path) != head.checkpoint.root:
        raise IntegrityError(f"record {record.seq} is not in the log as its head has it", hint="tokenctl audit verify")
    return Proof(record.body, index, path, head.note.encode(), disclosed)


def _disclosed(view: View, record: Record) -> Disclosed:
    """Return what a record commits to, as far as the row of its token still tells it.

    Raises:
        NotFound: it does not (exit 5).
        IntegrityError: the nonce or the row was changed (exit 10).
    """
    if not view.rows.nonce_intact(record.seq, record.nonce):
        raise IntegrityError(f"the nonce of record {record.seq} was changed", hint="tokenctl audit verify")
    for parameters in _candidates(view, record):
        if record.commits_to(parameters):
            return Disclosed(parameters, record.nonce[:NONCE_LENGTH])
    raise NotFound(
        f"the parameters of record {record.seq} are not known here any more: only what a row still tells is disclosed",
        hint=f"without --disclose: tokenctl audit show {record.target} --seq {record.seq} --proof",
    )


def _candidates(view: View, record: Record) -> Iterator[dict[str, object]]:
    """Yield what a record may commit to; only its commitment tells which it is."""
    yield {}
    stored = view.rows.token(record.target) if record.target is not None else None
    if stored is None:
        return
    if not stored.intact:
        raise IntegrityError(f"the row of {record.target} does not check out", hint="tokenctl audit verify")
    yield from _of_token(stored.row, record)


def _of_token(token: Token, record: Record) -> Iterator[dict[str, object]]:
    note = token.revoked_note
    if record.operation == "token.issue":
        told = (token.labels, token.max_uses, token.not_before, token.note)
        for verifier in (token.verifier, None):
            yield issue_parameters(*told, verifier=verifier)
            yield issue_parameters(*told, replaces=token.replaces, grace=token.grace, verifier=verifier)
    elif record.operation == "token.replace":
        yield replacement_parameters(token.replaced_by, token.grace_until)
    elif record.operation == "token.suspend":
        keep = bool(token.children_kept)
        yield suspension_parameters(token.suspended_until, token.suspended_then, keep_children=keep, note=note)
    elif record.operation in ("token.revoke", "token.lift"):
        yield {"note": note}
        yield {"note": None}
        yield {"note": note, "keep_children": True}
        if token.parent is not None:
            yield {"note": note, "with": token.parent}
    elif record.operation == "token.use" and token.max_uses is not None:
        for count in range(1, token.uses + 1):
            yield {"uses": count}


def _hand_out(context: Context, record: Record, head: SignedHead, proof: Proof, out: str | None) -> None:
    console = context.console
    data = proof.to_bytes()
    if out is not None:
        # What a proof says is for whom it is handed to, and not for everybody on this machine.
        checkpoint.write_out(out, data, mode=PRIVATE_FILE)
        console.chat(f"wrote the proof of record {record.seq} to {out}", folded=True)
    if console.machine:
        console.document(
            {"action": "proof", "profile": console.profile, "seq": record.seq, "target": record.target,
             "origin": head.checkpoint.origin, "size": head.checkpoint.size, "root": head.checkpoint.root.hex(),
             "disclosed": proof.disclosed is not None, "proof": data.decode(), "verifier_key": str(head.key), "out": out,
             "warnings": list(console.warnings)}
        )  # fmt: skip
    elif out is None:
        console.answer_bytes(data)
