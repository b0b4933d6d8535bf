"""``audit checkpoint`` and ``rotate-keys --log-key``: heads of the log that leave the store, and the key that signs them."""

from __future__ import annotations

from tokenctl import files
from tokenctl.backends.local import log_key
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.log_key import Signed
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest

_PUBLIC_FILE = 0o644


def checkpoint(context: Context, *, out: str | None, key: bool) -> int:
    """Print the signed head of the log, or the key that verifies it.

    Raises:
        InvalidRequest: the file cannot be written, or ``--key`` goes with ``--out`` (exit 2).
        NotFound: there is no store, or for ``key`` no key yet (exit 5).
        IntegrityError: the store is quarantined, or the key does not check out (exit 10).
    """
    if key and out is not None:
        raise InvalidRequest("--key prints the key of the log alone", hint="leave --out out")
    if out is not None:
        context.refuse_own(out)
    console = context.console
    with context.backend() as backend:
        if key:
            return _print_key(context, backend.journal)
        delivery = files.Delivery(out, mode=_PUBLIC_FILE) if out is not None else None
        signed = log_key.export(backend.journal)
        if not signed.recorded:
            console.warn("the store cannot be written to: the log does not remember that this head left")
        if delivery is not None:
            delivery.write(signed.text.encode())
    if console.machine:
        console.document(_members(context, signed, out))
    elif out is None:
        console.answer_bytes(signed.text.encode())
    size = signed.checkpoint.size
    where = f", in {out}" if out is not None else ""
    console.chat(f"the head of {size:,} record{'s' * (size != 1)}{where}: keep it where nobody can write who can write here")
    console.chat(f"its key: {signed.keys[-1]}")
    return 0


def _print_key(context: Context, journal: Journal) -> int:
    with journal.reading() as view:
        if view is None:
            raise journal.absent()
        key = log_key.present_key(view)
    if context.console.machine:
        context.console.document({"origin": key.name, "key": str(key), "warnings": list(context.console.warnings)})
    else:
        context.console.answer(str(key))
    return 0


def rotate(context: Context, *, alone: bool) -> int:
    """Replace the key of the log, and print the head of that moment, signed by the former key and the new one.

    Args:
        alone: Whether no other option of ``rotate-keys`` was given: none of them has a meaning here.

    Raises:
        InvalidRequest: another option was given (exit 2).
        NotFound: there is no store, or no key yet (exit 5).
        IntegrityError: the store is quarantined, or the key does not check out (exit 10).
    """
    if not alone:
        raise InvalidRequest("--log-key goes with no other option of rotate-keys", hint="tokenctl rotate-keys --log-key")
    console = context.console
    with context.backend() as backend:
        signed = log_key.rotate(backend.journal)
    if console.machine:
        console.document(_members(context, signed, None))
    else:
        console.answer_bytes(signed.text.encode())
    console.chat(f"signed by the former key and the new one, which is {signed.keys[-1]}")
    return 0


def _members(context: Context, signed: Signed, out: str | None) -> dict[str, object]:
    head = signed.checkpoint
    return {
        "profile": context.console.profile, "origin": head.origin, "size": head.size, "root": head.root.hex(),
        "checkpoint": signed.text, "key": str(signed.keys[-1]), "keys": [str(key) for key in signed.keys],
        "recorded": signed.recorded, "out": out, "warnings": list(context.console.warnings),
    }  # fmt: skip
