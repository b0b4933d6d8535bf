"""What a backup is encrypted to, and what opens it: recipients, identities and passphrases, never from argv or environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokenctl import age, files, process, terminal
from tokenctl.commands.context import Context
from tokenctl.commands.inputs import read_all, read_file
from tokenctl.errors import InvalidConfiguration, InvalidRequest, naming
from tokenctl.secret import Secret

_LIMIT = 64 * 1024  # bytes of a file of keys
_PASSPHRASE_LIMIT = 1024  # bytes
_FORMS = "--recipient age1..., --recipients-file F, --passphrase-file F or --passphrase-fd N"
_OPENING_FORMS = "--identity F, --passphrase-file F or --passphrase-fd N"


class Passphrase(NamedTuple):
    """Where a passphrase comes from; nothing given asks for it at a terminal."""

    file: str | None = None
    fd: int | None = None

    @property
    def given(self) -> bool:
        return self.file is not None or self.fd is not None


def recipients(given: Sequence[str], file: str | None) -> list[Any]:
    """Return who a backup is encrypted to.

    Raises:
        InvalidRequest: one of them is no recipient, or the file cannot be read (exit 2).
    """
    with naming("--recipient"):
        found = [age.parse_recipient(text) for text in given]
    if file is not None:
        with naming("--recipients-file"):
            found += age.parse_recipients(read_file(file, limit=_LIMIT), what=file)
    return found


def identities(paths: Sequence[str]) -> list[Any]:
    """Return what is in identity files.

    Raises:
        InvalidRequest: one holds none, or cannot be read (exit 2); InvalidConfiguration where it is open to others (exit 9).
    """
    found = []
    for path in paths:
        with naming("--identity"):
            found += age.parse_identities(_read_private(path, limit=_LIMIT), what=path)
    return found


def new_passphrase(context: Context, source: Passphrase) -> Secret:
    """Return a passphrase to encrypt with; at a terminal it is typed twice.

    Raises:
        InvalidRequest: none is given and nobody can be asked, or it is empty, or typed differently (exit 2).
    """
    if source.given:
        return _given(context, source)
    first = _asked(context, "Passphrase (not shown): ", "it is not said who may open the backup", _FORMS)
    if first != _asked(context, "The same again: ", "it is not said who may open the backup", _FORMS):
        raise InvalidRequest("the passphrases differ: nothing was written", hint="run again")
    return first


def known_passphrase(context: Context, source: Passphrase) -> Secret:
    """Return the passphrase of a file; raises as :func:`new_passphrase`."""
    if source.given:
        return _given(context, source)
    return _asked(context, "Passphrase of the backup (not shown): ", "the backup needs its passphrase", _OPENING_FORMS)


def _asked(context: Context, prompt: str, lacking: str, forms: str) -> Secret:
    typed = terminal.read_hidden(prompt) if context.console.may_ask else None
    if typed is None:
        raise InvalidRequest(lacking, hint=forms, reason="nothing_named")
    return _checked(typed)


def _given(context: Context, source: Passphrase) -> Secret:
    if source.file is not None:
        with naming("--passphrase-file"):
            return _checked(_read_private(source.file, limit=_PASSPHRASE_LIMIT))
    assert source.fd is not None
    descriptor = process.adopt_descriptor(
        source.fd, writing=False, forbidden=context.own_files(), option=f"--passphrase-fd {source.fd}"
    )  # fmt: skip
    try:
        with naming("--passphrase-fd"):
            return _checked(read_all(descriptor, f"{source.fd}", limit=_PASSPHRASE_LIMIT))
    finally:
        os.close(descriptor)


def _checked(typed: bytes) -> Secret:
    text = typed.removesuffix(b"\n").removesuffix(b"\r")
    if not text or b"\n" in text or b"\0" in text:
        raise InvalidRequest("the passphrase is empty, or not one line")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("the passphrase is not UTF-8") from None
    return Secret(text)


def _read_private(path: str, *, limit: int) -> bytes:
    """Read a file that holds a secret; what the shell hands over by name may be a pipe.

    Raises:
        InvalidRequest: it cannot be read (exit 2); InvalidConfiguration where it is open to others (exit 9).
    """
    handed = path.startswith(("/dev/fd/", "/proc/self/fd/")) or path == "/dev/stdin"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if handed else os.O_NONBLOCK))
    except (OSError, ValueError) as error:
        cause = files.cause_of(error) if isinstance(error, OSError) else "not a file name"
        raise InvalidRequest(f"cannot read {path}: {cause}") from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) and not (handed and not stat.S_ISDIR(facts.st_mode)):
            raise InvalidRequest(f"cannot read {path}: not a regular file")
        if stat.S_ISREG(facts.st_mode):
            _require_private(path, facts)
        return read_all(descriptor, path, limit=limit)
    finally:
        os.close(descriptor)


def _require_private(path: str, facts: os.stat_result) -> None:
    if facts.st_uid not in (0, os.geteuid()):
        raise InvalidConfiguration(f"{path} belongs to another user", hint=f"chown {os.geteuid()} {path}")
    if facts.st_mode & 0o077:
        raise InvalidConfiguration(f"{path} is open to other users", hint=f"chmod 600 {path}")
