"""``rotate-keys status`` and ``jwks``: the signing keys as anyone may see them."""

from __future__ import annotations

import json

from tokenctl import files
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable
from tokenctl.model.times import format_duration, parse_instant
from tokenctl.render.machine import key_object


def status(context: Context) -> int:
    """Print every signing key: its state, since when, and how many living tokens it signed."""
    console = context.console
    with context.backend() as backend:
        keys = backend.keys()
        objects = [key_object(key, tokens, backend.last_expiry(key.kid)) for key, tokens in keys]
    if console.output == "jsonl":
        for members in objects:
            console.document(members)
    elif console.output == "json":
        nothing: dict[str, object] = {"did": [], "due": [], "next": None, "blocked_by": []}
        console.document({"keys": objects, **nothing, "warnings": list(console.warnings)})
    else:
        _print(context, objects)
        if not objects:
            console.chat("no signing key yet: the first JWT makes it")
    return 0


def _print(context: Context, objects: list[dict[str, object]]) -> None:
    console = context.console
    if console.on_terminal and objects:
        console.answer(console.paint(f"{'KID':<22}  {'ALG':<6}  {'STATE':<11}  {'SINCE':<12}  {'TOKENS':>6}", "bold"))
    for members in objects:
        key = str(members["kid"])
        if console.on_terminal:
            since = _ago(context, members["since"])
            console.answer(f"{key:<22}  {members['alg']!s:<6}  {members['state']!s:<11}  {since:<12}  {members['tokens']:>6,}")
        else:
            columns = (key, members["alg"], members["state"], members["since"] or "-", members["tokens"])
            console.answer("\t".join(map(str, columns)))


def _ago(context: Context, since: object) -> str:
    if not isinstance(since, str):
        return "-"
    return f"{format_duration(context.now - parse_instant(since, context.now)).split()[0]} ago"


def jwks(context: Context, *, out: str | None) -> int:
    """Print the JWK Set that verifiers need, or write it to a file for them to read.

    Raises:
        InvalidRequest: the file cannot be written (exit 2).
        IntegrityError: a key or the store does not check out (exit 10).
    """
    with context.backend() as backend:
        text = json.dumps(backend.jwks(), sort_keys=True)
    if out is None:
        context.console.answer(text)
        return 0
    context.refuse_own(out)
    delivery = files.Delivery(out, mode=0o644)
    try:
        delivery.write(f"{text}\n".encode("ascii"))
    except OSError as error:
        raise TemporarilyUnavailable(f"cannot write {out}: {files.cause_of(error)}", hint="make room and run again") from None
    console = context.console
    if console.machine:
        console.document({"action": "jwks", "profile": console.profile, "out": out, "warnings": list(console.warnings)})
    return 0


def rotate(context: Context) -> int:
    """Refuse what is not built yet, and name what is."""
    raise InvalidRequest("rotate-keys needs a sub-verb here: status or jwks", hint="tokenctl rotate-keys status")
