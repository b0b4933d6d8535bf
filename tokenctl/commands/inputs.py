"""What is read by a command: standard input, files, descriptors and the keyboard; bounded, bytes that may be anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from tokenctl import files, process, terminal
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest
from tokenctl.formats.pasted import LONGEST_LINE

_PRESENTED_LIMIT = 16 * 1024 * 1024  # bytes of one input to inspect
_CHUNK = 256 * 1024  # bytes


def id_of(text: str, backend: Backend) -> str:
    """Return the id that an argument names; the argument is never repeated, it may be a secret.

    Raises:
        InvalidRequest: it names none (exit 2).
    """
    named = backend.id_of(text)
    if named is None:
        raise InvalidRequest(
            f"an argument is no token id{': an id is 22 letters and digits' if backend.kind == 'local' else ''}",
            hint="to hand in a token itself, pipe it: - reads standard input",
        )
    return named


def lines_of(descriptor: int, *, what: str, limit: int | None = None) -> Iterator[str]:
    """Yield the lines of a descriptor without their newline; a line that is too long is refused.

    Raises:
        InvalidRequest: unreadable, or beyond a limit (exit 2).
    """
    if terminal.is_terminal(descriptor):
        for line in terminal.read_pasted(descriptor).splitlines():
            yield line.decode("utf-8", "replace")
        return
    rest, taken = b"", 0
    while True:
        try:
            part = os.read(descriptor, _CHUNK)
        except OSError as error:
            raise InvalidRequest(f"cannot read {what}: {files.cause_of(error)}") from None
        taken += len(part)
        if limit is not None and taken > limit:
            raise InvalidRequest(f"{what} is larger than {limit // (1024 * 1024)} MiB")
        *complete, rest = (rest + part).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise InvalidRequest(f"{what} has a line longer than {LONGEST_LINE // (1024 * 1024)} MiB")
        for line in complete:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if not part:
            if rest:
                yield rest.removesuffix(b"\r").decode("utf-8", "replace")
            return


def open_file(path: str) -> int:
    """Open a file named on the command line for reading.

    Raises:
        InvalidRequest: it cannot be read (exit 2).
    """
    # What the shell hands over by name may be a pipe; a pipe that lies in a folder could keep us waiting for ever.
    handed = path.startswith(("/dev/fd/", "/proc/self/fd/")) or path == "/dev/stdin"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if handed else os.O_NONBLOCK))
        regular = handed or stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (OSError, ValueError) as error:
        cause = files.cause_of(error) if isinstance(error, OSError) else "not a file name"
        raise InvalidRequest(f"cannot read {path}: {cause}") from None
    if not regular:
        os.close(descriptor)
        raise InvalidRequest(f"cannot read {path}: not a regular file", hint="pipe it in instead")
    return descriptor


def read_file(path: str, *, limit: int) -> bytes:
    """Read a whole file named on the command line; raises InvalidRequest (exit 2)."""
    descriptor = open_file(path)
    try:
        return read_all(descriptor, path, limit=limit)
    finally:
        os.close(descriptor)


def read_all(descriptor: int, what: str, *, limit: int) -> bytes:
    """Read a descriptor to its end; raises InvalidRequest (exit 2)."""
    data = b""
    try:
        while len(data) <= limit:
            part = os.read(descriptor, limit + 1 - len(data))
            if not part:
                return data
            data += part
    except OSError as error:
        raise InvalidRequest(f"cannot read {what}: {files.cause_of(error)}") from None
    raise InvalidRequest(f"{what} is larger than {limit} bytes")


def presented_lines(context: Context, *, stdin: bool, file: str | None, fd: int | None) -> list[str]:
    """Return the lines of the one place that tokens are presented from.

    Raises:
        InvalidRequest: unreadable, too large, or nothing in it (exit 2).
    """
    if file is not None:
        descriptor, what = open_file(file), file
    elif fd is not None:
        descriptor, what = process.adopt_descriptor(fd, writing=False, forbidden=context.own_files()), f"--fd {fd}"
    elif stdin:
        descriptor, what = 0, "standard input"
    else:
        return _prompted(context)
    lines = [line for line in lines_of(descriptor, what=what, limit=_PRESENTED_LIMIT) if line.strip()]
    if not lines:
        raise InvalidRequest(f"{what} is empty", hint="pipe the token: tokenctl inspect - < FILE")
    return lines


def _prompted(context: Context) -> list[str]:
    typed = terminal.read_hidden("Token (not shown): ") if context.console.may_ask else None
    if not typed:
        raise InvalidRequest(
            "no token named", hint="tokenctl inspect ID, or pipe the token: tokenctl inspect - < FILE", reason="nothing_named"
        )
    return [typed.decode("utf-8", "replace")]
