"""Where the log of the service itself tells of a presented token: the hash that stands there for it."""

from __future__ import annotations

from collections.abc import Mapping

from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.errors import Partial, TokenctlError
from tokenctl.render.escape import cell
from tokenctl.secret import Secret


def of(context: Context, backend: Backend, texts: Mapping[str, Secret]) -> tuple[list[dict[str, str]], int]:
    """Return the traces of tokens that proved themselves, by id, and 11 where the service was not to be asked, else 0."""
    if backend.foreign_log is None:
        return [], 0
    try:
        return [
            {"id": identifier, "device": device, "hash": told}
            for identifier, text in texts.items()
            for device, told in backend.foreign_log.marks(text)
        ], 0
    except TokenctlError as error:
        context.console.complain(f"what stands for it in the service's own log was not asked: {error.message}")
        return [], Partial.exit_code


def tell(context: Context, traces: list[dict[str, str]]) -> None:
    """Print the traces behind the records; a document has them in it."""
    console = context.console
    for trace in traces:
        if console.output == "jsonl":
            console.document({"trace": trace})
        elif console.on_terminal:
            console.answer(console.fold(f"{cell(trace['device'])}  ", f"the service's own log has it as {cell(trace['hash'])}"))
        else:
            console.answer("\t".join(("trace", *(cell(trace[name]) for name in ("id", "device", "hash")))))
