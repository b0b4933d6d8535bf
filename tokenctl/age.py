"""The only owner of the age library: a stream encrypted to recipients or a passphrase, and back (age-encryption.org/v1).

Its exceptions are translated here; their text is never shown.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from tokenctl import process
from tokenctl.errors import AccessDenied, IntegrityError, InvalidRequest, TemporarilyUnavailable
from tokenctl.secret import Secret

_Answer = TypeVar("_Answer")
PASSPHRASE_LIMIT = 256 * 1024 * 1024  # bytes of plaintext: the library holds all of it, and three times as much, in memory
_FIRST_WORK = 10  # powers of two: what the library measures first
_SANE = 4  # powers of two above its own work that the library still does
_MARGIN = 32 * 1024 * 1024  # bytes
_MAGIC = b"age-encryption.org/v1\n"
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
HEAD_LENGTH = 4096  # bytes that tell what a file is encrypted to
_SSH = ("ssh-ed25519", "ssh-rsa")
_FORMS = "a recipient is age1..., ssh-ed25519 ... or ssh-rsa ..."


class Source(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes: ...


class Sink(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


def _library() -> Any:
    import pyrage  # type: ignore[import-untyped]

    return pyrage


def parse_recipient(text: str) -> Any:
    """Read a public key that a file may be encrypted to; the text is not repeated, it may be anything.

    Raises:
        InvalidRequest: it is none (exit 2).
    """
    pyrage = _library()

    kind: Any = pyrage.ssh.Recipient if text.startswith(_SSH) else pyrage.x25519.Recipient
    try:
        return kind.from_str(text)
    except pyrage.RecipientError:
        raise InvalidRequest("not a recipient", hint=_FORMS) from None


def parse_recipients(data: bytes, *, what: str) -> list[Any]:
    """Read a file of recipients, one a line; a line that begins with # is a comment.

    Raises:
        InvalidRequest: a line is no recipient, or there is none (exit 2).
    """
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.upper().startswith("AGE-SECRET-KEY-"):
            told = f"{what}, line {number}: an identity, not a recipient"
            raise InvalidRequest(told, hint="age-keygen -y prints its recipient")
        try:
            found.append(parse_recipient(text))
        except InvalidRequest as error:
            raise InvalidRequest(f"{what}, line {number}: {error.message}", hint=error.hint) from None
    if not found:
        raise InvalidRequest(f"{what} names no recipient", hint=_FORMS)
    return found


def parse_identities(data: bytes, *, what: str) -> list[Any]:
    """Read an identity file: that of age-keygen, or an SSH private key without a passphrase.

    Raises:
        InvalidRequest: it holds none (exit 2).
    """
    pyrage = _library()

    none = InvalidRequest(f"{what} holds no age identity", hint="age-keygen makes one; an SSH key must have no passphrase")
    if data.lstrip().startswith(b"-----BEGIN") and not data.lstrip().startswith(_ARMOR):
        try:
            return [pyrage.ssh.Identity.from_buffer(data)]
        except pyrage.IdentityError:
            raise none from None
    if kind_of(data[:HEAD_LENGTH]) is not None:
        raise InvalidRequest(f"{what} is encrypted itself", hint="age -d opens it; hand the identity in by --identity /dev/fd/N")
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                found.append(pyrage.x25519.Identity.from_str(text))
            except pyrage.IdentityError:
                raise InvalidRequest(f"{what}, line {number}: not an age identity", hint=none.hint) from None
    if not found:
        raise none
    return found


def _plain_head(head: bytes) -> bytes:
    """Return the beginning of a file without its armor, where it has one."""
    if head.startswith(_ARMOR):
        lines = re.findall(rb"^[A-Za-z0-9+/=]+\r?$", head.partition(b"\n")[2], re.MULTILINE)
        with suppress(ValueError):
            return base64.b64decode(b"".join(line.strip() for line in lines[:-1] or lines))
    return head


def kind_of(head: bytes) -> str | None:
    """Return what a file that begins so is encrypted to: ``passphrase`` or ``recipients``; ``None`` where it is no age file."""
    head = _plain_head(head)
    if not head.startswith(_MAGIC):
        return None
    return "passphrase" if head[len(_MAGIC) :].startswith(b"-> scrypt ") else "recipients"


def encrypt(source: Source, sink: Sink, recipients: Sequence[Any]) -> None:
    """Encrypt a stream; what ``source`` and ``sink`` raise passes through."""
    pyrage = _library()

    guard = _Guard(source, sink)
    with guard.passing():
        pyrage.encrypt_io(guard, guard, list(recipients))


def encrypt_with_passphrase(source: Source, sink: Sink, passphrase: Secret) -> None:
    """Encrypt a stream of at most ``PASSPHRASE_LIMIT`` bytes, held in memory.

    Raises:
        InvalidRequest: it is longer (exit 2).
        TemporarilyUnavailable: there is too little memory (exit 7).
    """
    pyrage = _library()

    plain = source.read(PASSPHRASE_LIMIT + 1)
    if len(plain) > PASSPHRASE_LIMIT:
        raise InvalidRequest(
            f"a passphrase is for at most {PASSPHRASE_LIMIT // 2**20} MiB", hint="age-keygen -o FILE, then --recipient age1..."
        )
    _require_memory(_work(), len(plain), hint="encrypt to a recipient: age-keygen -o FILE, then --recipient age1...")
    sink.write(pyrage.passphrase.encrypt(plain, passphrase.reveal().decode("utf-8")))


def decrypt(source: Source, sink: Sink, identities: Sequence[Any]) -> None:
    """Decrypt a stream: what ``sink`` is given is authentic, and whole only when this returns.

    Raises:
        AccessDenied: none of the identities opens it (exit 4).
        IntegrityError: it was cut or changed (exit 10).
    """
    pyrage = _library()

    guard = _Guard(source, sink)
    try:
        with guard.passing():
            pyrage.decrypt_io(guard, guard, list(identities))
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise AccessDenied("no identity given opens the file", hint="give the one it was made for: --identity FILE") from None
        raise _damaged() from None
    except OSError:
        if guard.failure is not None:
            raise
        raise _damaged() from None


def decrypt_with_passphrase(source: Source, sink: Sink, passphrase: Secret) -> None:
    """Decrypt a stream that a passphrase opens, held in memory.

    Raises:
        AccessDenied: the passphrase is another one (exit 4).
        InvalidRequest: it is longer than a passphrase is used for (exit 2).
        TemporarilyUnavailable: there is too little memory (exit 7).
        IntegrityError: it was cut or changed, or asks for too much work (exit 10).
    """
    pyrage = _library()

    limit = PASSPHRASE_LIMIT + PASSPHRASE_LIMIT // 2  # armored, with the tags
    parts, left = [], limit + 1
    while left and (part := source.read(left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise InvalidRequest(f"a file with a passphrase is at most {PASSPHRASE_LIMIT // 2**20} MiB", hint="age -d opens it")
    data = b"".join(parts)
    told = re.match(rb"-> scrypt [^ \n]+ ([0-9]{1,2})\n", _plain_head(data[:HEAD_LENGTH]).removeprefix(_MAGIC))
    if told is not None and int(told[1]) <= _work() + _SANE:
        _require_memory(int(told[1]), len(data), hint="free memory or raise its limit; age -d opens it elsewhere")
    try:
        plain = pyrage.passphrase.decrypt(data, passphrase.reveal().decode("utf-8"))
    except pyrage.DecryptError as error:
        if "Decryption failed" in str(error):
            raise AccessDenied("the passphrase does not open the file") from None
        if "Excessive work" in str(error):
            raise IntegrityError("the file's passphrase asks for more work than is sane here", hint="age -d opens it") from None
        raise _damaged() from None
    except OSError:
        raise _damaged() from None
    sink.write(plain)


def _work() -> int:
    """Return the work factor that the library chooses on this machine: the power of two that takes it a second or more."""
    least = 1.0
    for _ in range(3):
        began = time.perf_counter()
        hashlib.scrypt(b"", salt=b"", n=2**_FIRST_WORK, r=8, p=1)
        least = min(least, time.perf_counter() - began)
    return _FIRST_WORK + math.ceil(math.log2(1 / least))


def _require_memory(work: int, length: int, *, hint: str) -> None:
    """Refuse what the library would abort the process for: scrypt takes 1 KiB for each unit of work."""
    needed, left = 1024 * 2**work + 3 * length + _MARGIN, process.memory_left()
    if left is not None and left < needed:
        told = f"a passphrase needs {needed // 2**20:,} MiB of memory here, and {left // 2**20:,} MiB are free"
        raise TemporarilyUnavailable(told, hint=hint)


def _damaged() -> IntegrityError:
    return IntegrityError("the file was cut or changed, or is no age file", hint="take another copy of it")


class _Guard:
    """Remembers what reading or writing raised: the library wraps it in an error of its own, or lets it through."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self.failure: BaseException | None = None

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Raise what reading or writing raised, whatever the library made of it."""
        try:
            yield
        except BaseException:
            if self.failure is not None:
                raise self.failure from None
            raise

    def read(self, size: int = -1) -> bytes:
        return self._kept(lambda: self._source.read(size))

    def write(self, data: bytes) -> int:
        return self._kept(lambda: self._sink.write(data))

    def flush(self) -> None:
        self._kept(self._sink.flush)

    def _kept(self, act: Callable[[], _Answer]) -> _Answer:
        if self.failure is not None:  # the library goes on all the same
            raise self.failure
        try:
            return act()
        except BaseException as error:
            self.failure = error
            raise
