"""``issue --exchange``: the identity of a job that a service gives a token for; read once, kept and shown nowhere."""

from __future__ import annotations

from tokenctl import process, terminal
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest
from tokenctl.secret import Secret

_LARGEST = 64 * 1024  # bytes


def read_identity(context: Context, place: str | None, descriptor: int | None, *, rows_from: str | None) -> Secret:
    """Read it from standard input, a file or a descriptor.

    Args:
        rows_from: Where the rows of a bulk issue come from.

    Raises:
        InvalidRequest: unreadable, empty, or more than one line (exit 2).
    """
    if place is not None and descriptor is not None:
        raise InvalidRequest("--exchange and --exchange-fd exclude each other")
    if place == "-" and rows_from == "-":
        raise InvalidRequest("standard input is read once: --exchange - and --from - exclude each other", hint="--exchange FILE")
    if descriptor is not None:
        own = process.adopt_descriptor(
            descriptor, writing=False, forbidden=context.own_files(), option=f"--exchange-fd {descriptor}"
        )
        data, what = inputs.read_all(own, f"--exchange-fd {descriptor}", limit=_LARGEST), f"--exchange-fd {descriptor}"
    elif place == "-":
        data = terminal.read_pasted(0) if terminal.is_terminal(0) else inputs.read_all(0, "standard input", limit=_LARGEST)
        what = "standard input"
    else:
        data, what = inputs.read_file(str(place), limit=_LARGEST), str(place)
    words = data.split()
    if len(words) != 1:
        raise InvalidRequest(
            f"{what} holds {'nothing' if not words else 'more than one word'}: one token in one line is exchanged",
            hint="tokenctl issue --exchange - < IDENTITY", reason="nothing_named" if not words else None,
        )  # fmt: skip
    return Secret(words[0])
