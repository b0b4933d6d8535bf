"""``audit checkpoint`` and ``rotate-keys --log-key``: signed heads of the log, for those who are to hold them."""

from __future__ import annotations

from tokenctl import files
from tokenctl.backends.base import Backend
from tokenctl.backends.local import log_key
from tokenctl.backends.local.log_key import SignedHead
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, NotFound, TemporarilyUnavailable
from tokenctl.formats.note import VerifierKey

_NOT_REMEMBERED = "the store cannot remember that this head left it: audit verify goes by the one before"


def checkpoint(context: Context, *, out: str | None, key: bool, handover: bool) -> int:
    """Sign the present head and print it; or print the verifier key, or what a holder of the key before believes it by.

    Raises:
        InvalidRequest: the file cannot be written (exit 2).
        NotFound: there is no store, or no key was ever rotated (exit 5).
        IntegrityError: the store is quarantined, or the private key does not check out (exit 10).
        TemporarilyUnavailable: the first key cannot be recorded, or the output cannot be written (exit 7).
    """
    if key and handover:
        raise InvalidRequest("--key and --handover print two different things: ask for one")
    out = file_of(context, out)
    with context.backend() as backend:
        if key:
            _print_key(context, backend, out)
        elif handover:
            _print_handover(context, backend, out)
        else:
            head = signed_head(backend)
            _warn_of_medium(context, backend)
            _hand_out(context, head.note, out, _members("checkpoint", head) | {"note": head.note})
            left(context, backend, head)
            context.console.chat(f"verifier key: {head.key}")
    return 0


def file_of(context: Context, out: str | None) -> str | None:
    """Return the file that is to be written, ``None`` for standard output, which is ``-`` too; raises InvalidRequest (exit 2)."""
    if out is None or out == "-":
        return None
    context.refuse_own(out)
    return out


def signed_head(backend: Backend) -> SignedHead:
    """Return the present head, signed; makes the key where there is none. Raises as :func:`checkpoint`."""
    log_key.provide(backend.journal)
    with backend.journal.reading() as view:
        if view is None:
            raise backend.journal.absent()
        return log_key.sign_head(view)


def left(context: Context, backend: Backend, head: SignedHead) -> None:
    """Remember that a head left, once it did: what was never handed out must not count as an anchor."""
    if not log_key.remember(backend.journal, head) and not backend.journal.read_only:
        context.console.complain(f"warning: {_NOT_REMEMBERED}")


def _warn_of_medium(context: Context, backend: Backend) -> None:
    if backend.journal.read_only:
        context.console.warn(_NOT_REMEMBERED)


def rotate(context: Context, *, alone: bool) -> int:
    """Let a new key sign the log's heads, and print the proof by which holders of the former one believe it.

    Args:
        alone: Whether no other option of ``rotate-keys`` was given: none of them has a meaning here.

    Raises:
        InvalidRequest: another option was given (exit 2).
        NotFound: there is no store, or no log key yet (exit 5).
        IntegrityError: the store is quarantined, or the private key does not check out (exit 10).
        TemporarilyUnavailable: the store cannot be written (exit 7).
    """
    if not alone:
        raise InvalidRequest("--log-key goes with no other option of rotate-keys", hint="tokenctl rotate-keys --log-key")
    console = context.console
    with context.backend() as backend:
        head, proof = log_key.rotate(backend.journal)
        console.notice(f"made a new log key: {head.key}")
        if console.machine:
            told = {"note": head.note, "proof": proof, "out": None}
            console.document(_members("rotate_log_key", head) | told | _warned(context))
        elif not console.quiet:
            console.answer_bytes(proof.encode())
        if not console.quiet or console.machine:
            left(context, backend, head)
        console.chat("who holds the former key checks this by: audit verify --proof FILE --key FORMER", folded=True)
        console.chat(f"print it again: {console.command} audit checkpoint --handover", folded=True)
    return 0


def _print_key(context: Context, backend: Backend, out: str | None) -> None:
    with backend.journal.reading() as view:
        keys = log_key.known(view) if view is not None else []
        if view is not None and view.quarantine is not None:
            context.console.warn(f"the store is quarantined: {view.quarantine}")
    if not keys:
        log_key.provide(backend.journal)
        with backend.journal.reading() as view:
            keys = log_key.known(view) if view is not None else []
    if not keys:
        raise backend.journal.absent()
    _hand_out(context, f"{keys[0]}\n", out, _key_members("key", keys[0]))


def _print_handover(context: Context, backend: Backend, out: str | None) -> None:
    with backend.journal.reading() as view:
        if view is None:
            raise backend.journal.absent()
        keys, text = log_key.known(view), log_key.handover(view)
        if text is None:
            raise NotFound("the log key was never rotated", hint="tokenctl audit checkpoint --key prints it")
        if view.quarantine is not None:
            context.console.warn(f"the store is quarantined: {view.quarantine}")
    _hand_out(context, text, out, _key_members("handover", keys[0]) | {"proof": text})


def _hand_out(context: Context, text: str, out: str | None, members: dict[str, object]) -> None:
    """Print a text as it is, or put it into a file for others to read; ``members`` are for machines."""
    console = context.console
    if out is not None:
        write_out(out, text.encode())
        console.chat(f"wrote {out}", folded=True)
    if console.machine:
        console.document(members | {"out": out, **_warned(context)})
    elif out is None:
        console.answer_bytes(text.encode())


def write_out(path: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole, by default for everybody to read: it holds no secret.

    Raises:
        InvalidRequest: it cannot be written there (exit 2); TemporarilyUnavailable where there is no room (exit 7).
    """
    delivery = files.Delivery(path, mode=mode)
    try:
        delivery.write(data)
    except OSError as error:
        raise TemporarilyUnavailable(f"cannot write {path}: {files.cause_of(error)}", hint="make room and run again") from None


def _members(action: str, head: SignedHead) -> dict[str, object]:
    told = _key_members(action, head.key)
    return told | {"size": head.checkpoint.size, "root": head.checkpoint.root.hex()}


def _key_members(action: str, key: VerifierKey) -> dict[str, object]:
    return {
        "action": action, "origin": key.name, "verifier_key": str(key), "size": None, "root": None, "note": None, "proof": None
    }  # fmt: skip


def _warned(context: Context) -> dict[str, object]:
    return {"profile": context.console.profile, "warnings": list(context.console.warnings)}
