"""``store backup``: the store, and its root secret, encrypted in the age format to a file or to standard output."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tokenctl import age, files, terminal
from tokenctl.backends.base import Backend
from tokenctl.backends.local import backing_up
from tokenctl.commands import backup_keys
from tokenctl.commands.context import Context
from tokenctl.commands.store_info import megabytes
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable
from tokenctl.formats.archive import Manifest, Packed
from tokenctl.model.times import format_instant
from tokenctl.render.escape import escape
from tokenctl.secret import Secret

_ELSEWHERE = "name another file"


class Lock(NamedTuple):
    """What a backup is encrypted to: recipients, or a passphrase."""

    recipients: Sequence[Any]
    passphrase: Secret | None

    def __str__(self) -> str:
        count = len(self.recipients)
        return "passphrase" if self.passphrase is not None else f"{count} recipient{'s' * (count != 1)}"

    def encrypt(self, source: age.Source, sink: age.Sink) -> None:
        if self.passphrase is not None:
            age.encrypt_with_passphrase(source, sink, self.passphrase)
        else:
            age.encrypt(source, sink, self.recipients)


class Target(Protocol):
    """Where the encrypted bytes go: given in parts, made durable, and finished once the record is durable too."""

    def append(self, data: bytes) -> None: ...

    def sync(self) -> None: ...

    def finish(self) -> None: ...

    def discard(self) -> None: ...


def backup(
    context: Context, file: str, *, recipients: tuple[str, ...], recipients_file: str | None,
    passphrase: backup_keys.Passphrase, without_keys: bool, yes: bool,
) -> int:  # fmt: skip
    """Copy, encrypt, record, and only then let the file have its name.

    Raises:
        InvalidRequest: no recipient and no passphrase, a file that is not to be written, or not confirmed (exit 2).
        AccessDenied: the root secret is out of reach (exit 4).
        NotFound: there is no store (exit 5).
        TemporarilyUnavailable: no room, or the record cannot be written (exit 7).
        IntegrityError: the store cannot be read through (exit 10).
    """
    named = bool(recipients) or recipients_file is not None
    if named and passphrase.given:
        raise InvalidRequest("recipients and a passphrase: age takes only one of them", hint="leave one of them out")
    if file == "-" and context.console.machine:
        raise InvalidRequest("stdout cannot hold the backup and an answer", hint="leave -o out, or name a file")
    known = backup_keys.recipients(recipients, recipients_file) if named else []
    with context.backend() as backend:
        if backend.authority() is None:
            raise backend.journal.absent()
        target = _target(context, backend.name, file, yes=yes)
        try:
            lock = Lock(known, None if named else backup_keys.new_passphrase(context, passphrase))
            _write(context, backend, file, target, lock, with_keys=not without_keys)
        finally:
            target.discard()
    return 0


def _target(context: Context, profile: str, file: str, *, yes: bool) -> Target:
    if file == "-":
        if terminal.is_terminal(1):
            raise InvalidRequest("a backup is not for a terminal", hint="tokenctl store backup FILE, or pipe it on")
        return _ToStdout(context)
    if context.places.owns(file, profile):
        raise InvalidRequest(f"{file} lies among tokenctl's own files", hint=_ELSEWHERE)
    try:
        facts = os.lstat(file)
    except FileNotFoundError:
        return _ToFile(file, replacing=False)
    except (OSError, ValueError) as error:
        cause = files.cause_of(error) if isinstance(error, OSError) else "not a file name"
        raise InvalidRequest(f"cannot write {file}: {cause}", hint=_ELSEWHERE) from None
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1 or facts.st_uid != os.geteuid():
        raise InvalidRequest(f"{file} is no regular file of yours, or has a second name", hint=_ELSEWHERE)
    if not yes:
        context.console.confirm(f"Replace {file}?", 1, "written")
    return _ToFile(file, replacing=True)


class _ToFile:
    """A file that has no name before :meth:`finish`, so that nothing is left of a backup that did not end."""

    def __init__(self, path: str, *, replacing: bool) -> None:
        try:
            self._delivery = files.Delivery(path)
        except InvalidRequest as error:
            raise InvalidRequest(error.message, hint=_ELSEWHERE) from None
        self._path = path
        self._replacing = replacing
        self.append, self.sync, self.discard = self._delivery.append, self._delivery.sync, self._delivery.discard

    def finish(self) -> None:
        try:
            self._delivery.place(replacing=self._replacing)
        except FileExistsError:
            raise InvalidRequest(f"{self._path} is there already", hint="run again, and name another file or add --yes") from None


class _ToStdout:
    """Standard output, one part behind: what reads it has a whole backup only once that is recorded."""

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._held = b""

    def append(self, data: bytes) -> None:
        held, self._held = self._held, data
        if held:
            self._console.answer_bytes(held)

    def sync(self) -> None:
        """What is read elsewhere cannot be waited for."""

    def finish(self) -> None:
        self.append(b"")

    def discard(self) -> None:
        self._held = b""


class _Measured:
    """Passes bytes on, and counts and hashes them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._target.append(data)
        self.size += len(data)
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _write(context: Context, backend: Backend, file: str, target: Target, lock: Lock, *, with_keys: bool) -> None:
    console, measured = context.console, _Measured(target)
    with backing_up.copied(backend.journal, backend.name, with_keys=with_keys) as copy:
        if copy is None:
            raise backend.journal.absent()
        if copy.quarantine is not None:
            invalid = copy.quarantine.startswith("INVALID")
            told = "no restore accepts what does not check out" if invalid else "so will be what is restored from this"
            console.warn(f"the store is quarantined, and {told}: {copy.quarantine}")
        try:
            lock.encrypt(Packed(copy.manifest, copy.root, copy.descriptor, copy.size), measured)
            target.sync()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(file, error) from None
    digest = measured.digest.hexdigest()
    backing_up.record(backend.journal, copy.manifest, sealed_to=str(lock), digest=digest)
    try:
        target.finish()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(file, error) from None
    if file != "-":
        _tell(context, file, measured.size, digest, copy.manifest, lock)


def _unwritable(file: str, error: OSError) -> TemporarilyUnavailable:
    where = "standard output" if file == "-" else file
    return TemporarilyUnavailable(f"cannot write {where}: {files.cause_of(error)}", hint="make room and run again")


def _tell(context: Context, file: str, size: int, digest: str, manifest: Manifest, lock: Lock) -> None:
    console = context.console
    if console.machine:
        console.document(
            {"action": "backup", "profile": manifest.profile, "path": file, "size": size, "sha256": digest,
             "store_id": manifest.store_id, "made_at": format_instant(manifest.made_at), "records": manifest.records,
             "tokens": manifest.tokens, "with_keys": manifest.with_keys, "recipients": len(lock.recipients),
             "passphrase": lock.passphrase is not None, "warnings": list(console.warnings)}
        )  # fmt: skip
    elif console.on_terminal:
        root = "with" if manifest.with_keys else "without"
        told = f"{megabytes(size)}: {manifest.records:,} records, {manifest.tokens:,} tokens, {root} the root secret; for {lock}"
        console.result(f"{escape(file)}, {told}")
        if not manifest.with_keys:
            console.chat("without the root secret no backup opens: keep it apart, and keep it")
    else:
        root = "with-root-secret" if manifest.with_keys else "without-root-secret"
        console.result("\t".join((escape(file), str(size), str(manifest.records), str(manifest.tokens), root)))
