"""The places of a root secret: a file, an item of the keyring, a systemd credential; each with a slot for a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from tokenctl import files
from tokenctl.backends.local import sealing
from tokenctl.errors import AccessDenied, Conflict, IntegrityError, TokenctlError
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.credentials import Keyring  # only a secret that lies there needs it

_FILE_LIMIT = 256  # bytes
_REMEDY = (
    "unlock the keyring, or run this in the session that has it; for cron move the secret to a file there: "
    "tokenctl store move-secret file"
)
_LOST = "put it back from a backup; none is made anew"
UNFIT = frozenset({"root_missing", "root_malformed"})  # reasons that say that no secret lies there: it was reached


class Unreachable(AccessDenied):
    """The root secret cannot be asked for, or put, where it lies or is to lie (exit 4).

    Attributes:
        cause: Why, whichever of these was to be done.
    """

    def __init__(self, shown: str, cause: AccessDenied, remedy: str) -> None:
        super().__init__(f"the root secret, {shown}, is out of reach: {cause.message}", hint=remedy, reason=cause.reason)
        self.cause = cause


class Place(Protocol):
    """One place of one store's root secret.

    Attributes:
        name: As the store records it.
        shown: For a person.
        locator: For a program: the path of the file, the account of the keyring's item, the name of the credential.
    """

    name: str
    shown: str
    locator: str

    def read(self) -> Secret:
        """Return the secret.

        Raises:
            AccessDenied: out of reach, or not there (exit 4).
            IntegrityError: a file that holds no root secret (exit 10).
            InvalidConfiguration: open to others, or planted (exit 9).
        """
        ...

    def write(self, root: Secret) -> None:
        """Put a secret there, whole and durable, and read it back; raises as :meth:`read`.

        Raises:
            Conflict: another secret lies there, or nothing can be put there (exit 6).
            TemporarilyUnavailable: the medium is full (exit 7).
        """
        ...

    def holds(self, root: Secret) -> bool:
        """Whether a secret lies there, or what a cut writing or wiping of it leaves; raises as :meth:`read` if unknown."""
        ...

    def wipe(self) -> bool:
        """Destroy what lies there; return whether anything did. Raises as :meth:`write`."""
        ...

    def pending(self) -> Place | None:
        """Return the slot of a new secret on its way here; ``None`` where none can be put."""
        ...

    def settle(self, fits: Callable[[Secret], bool]) -> None:
        """Let the new secret take the main slot, and destroy the old one; safe to call again after a crash.

        Args:
            fits: Whether a secret is the store's: nothing else comes to lie in the main slot, nor anything there away.
        """
        ...


def _ready(fresh: Place, main: Place, fits: Callable[[Secret], bool]) -> bool:
    """Whether a slot holds the secret that is to take the main one; where it holds none, the main one must hold it already."""
    try:
        if fits(fresh.read()):
            return True
        fault: TokenctlError = IntegrityError(f"{fresh.shown} is not the root secret of the store", reason="root_differs")
    except (AccessDenied, IntegrityError) as error:
        if error.reason not in UNFIT:
            raise
        fault = error
    if fits(main.read()):
        return False
    raise fault


def _parse(text: bytes) -> Secret | None:
    text = text.removesuffix(b"\n")
    if len(text) != 2 * sealing.ROOT_LENGTH or not set(text) <= set(b"0123456789abcdef"):
        return None
    return Secret(bytes.fromhex(text.decode("ascii")))


def _written(root: Secret) -> Secret:
    return Secret(root.reveal().hex())


def _is_rest(data: bytes, root: Secret) -> bool:
    """Whether data is what a cut writing or wiping of a root secret leaves: whatever else it is, is somebody's."""
    return not data.strip(b"\0") or _written(root).reveal().startswith(data)


# The place "file"


class FilePlace:
    """A file of 64 hexadecimal digits and a newline, 0600, apart from the store."""

    name = "file"

    def __init__(self, path: str, shown: Callable[[str], str], *, own_slot: bool = False) -> None:
        self._path = self.locator = path
        self._shown = shown
        self._own_slot = own_slot  # the slot of a new secret: whatever lies there is ours to replace
        self.shown = shown(path)

    def read(self) -> Secret:
        data = files.read_owned(self._path, limit=_FILE_LIMIT, secret=True)
        if data is None:
            raise AccessDenied(
                f"the root secret {self._path} is missing", hint="put the file back from a backup; none is made anew",
                reason="root_missing",
            )  # fmt: skip
        files.check_parents(os.path.dirname(self._path))
        root = _parse(data)
        if root is None:
            raise IntegrityError(
                f"{self._path} holds no root secret", hint="put the file back from a backup", reason="root_malformed"
            )  # fmt: skip
        return root

    def write(self, root: Secret) -> None:
        files.make_directory(os.path.dirname(self._path))
        data = files.read_owned(self._path, limit=_FILE_LIMIT, secret=True)
        there = _parse(data) if data is not None else None
        if there != root:
            if not self._own_slot and data is not None and not _is_rest(data, root):
                what = "something" if there is None else "another root secret"
                raise Conflict(f"{what} lies at {self.shown}", hint="look whose it is, and move it away")
            self.wipe()
            _make(self._path, root)
        if self.read() != root:
            raise IntegrityError(f"{self.shown} does not hold what was written", hint="check its medium")

    def holds(self, root: Secret) -> bool:
        data = files.read_owned(self._path, limit=_FILE_LIMIT, secret=True)
        return data is not None and (_parse(data) == root or _is_rest(data, root))

    def wipe(self) -> bool:
        try:
            there = self._overwrite()
            if there:
                os.unlink(self._path)
                files.sync_directory(os.path.dirname(self._path))
        except OSError as error:
            raise files.unusable(self._path, error) from None
        return there

    def _overwrite(self) -> bool:
        """Write zeros over the content; return whether there is a file. Raises OSError."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            facts = os.fstat(descriptor)
            files.check_owned(self._path, facts, secret=False)
            files.write_all(descriptor, bytes(min(facts.st_size, _FILE_LIMIT)))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def pending(self) -> Place | None:
        # No profile's name holds a plus sign: it would be another's main slot.
        return FilePlace(f"{self._path}+new", self._shown, own_slot=True)

    def settle(self, fits: Callable[[Secret], bool]) -> None:
        fresh = FilePlace(f"{self._path}+new", self._shown, own_slot=True)
        if not _ready(fresh, self, fits):
            return
        try:
            self._overwrite()
            os.rename(fresh.locator, self._path)
            files.sync_directory(os.path.dirname(self._path))
        except OSError as error:
            raise files.unusable(self._path, error) from None


def make_root(path: str) -> tuple[Secret, bool]:
    """Make the root secret while no store exists; called under the lock.

    A whole secret left by a first run that died before its store had a name is taken; a cut one is written anew.

    Returns:
        The secret, read back, and whether it was made now.

    Raises:
        InvalidConfiguration: the file cannot be made or read (exit 9).
        TemporarilyUnavailable: the medium is full (exit 7).
    """
    files.make_directory(os.path.dirname(path))
    data = files.read_owned(path, limit=_FILE_LIMIT, secret=True)
    root = _parse(data) if data is not None else None
    if root is not None:
        return root, False
    try:
        if data is not None:
            os.unlink(path)
    except OSError as error:
        raise files.unusable(path, error) from None
    _make(path, Secret(os.urandom(sealing.ROOT_LENGTH)))
    return FilePlace(path, str).read(), True


def _make(path: str, root: Secret) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE)
        try:
            files.write_all(descriptor, _written(root).reveal() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_directory(os.path.dirname(path))
    except OSError as error:
        raise files.unusable(path, error) from None


# The place "keyring"


class KeyringPlace:
    """An item of the keyring of the operating system, named by profile and store."""

    name = "keyring"

    def __init__(self, keyring: Keyring, account: str) -> None:
        self._keyring = keyring
        self._account = self.locator = account
        self.shown = f"the keyring's item {account}"

    def read(self) -> Secret:
        try:
            text = self._keyring.read(self._account)
        except AccessDenied as error:
            raise self._told(error) from None
        if text is None:
            raise AccessDenied(f"{self.shown} is missing", hint=_LOST, reason="root_missing")
        root = _parse(text.reveal())
        if root is None:
            raise AccessDenied(f"{self.shown} holds no root secret", hint=_LOST, reason="root_malformed")
        return root

    def write(self, root: Secret) -> None:
        try:
            self._keyring.write(self._account, _written(root))
        except AccessDenied as error:
            raise self._told(error) from None

    def holds(self, root: Secret) -> bool:
        try:
            return self.read() == root
        except AccessDenied as error:
            if error.reason not in UNFIT:
                raise
            return error.reason == "root_malformed"  # nobody else's: the account names the store

    def wipe(self) -> bool:
        try:
            return self._keyring.delete(self._account)
        except AccessDenied as error:
            raise self._told(error) from None

    def pending(self) -> Place | None:
        return KeyringPlace(self._keyring, f"{self._account}/new")

    def settle(self, fits: Callable[[Secret], bool]) -> None:
        fresh = KeyringPlace(self._keyring, f"{self._account}/new")
        if _ready(fresh, self, fits):
            self.write(fresh.read())
            fresh.wipe()

    def _told(self, cause: AccessDenied) -> Unreachable:
        return Unreachable(self.shown, cause, cause.hint or _REMEDY)


# The place "credential"


class CredentialPlace:
    """A credential that systemd hands to the service; only its operator can put it there or take it away."""

    name = "credential"

    def __init__(self, environment: Mapping[str, str], name: str) -> None:
        self._environment = environment
        self._name = self.locator = name
        self.shown = f"the systemd credential {self._name}"

    def read(self) -> Secret:
        from tokenctl import credentials

        text = credentials.systemd_credential(self._environment, self._name)
        if text is None:
            missing = AccessDenied("it is not handed to this process", reason="root_missing")
            raise Unreachable(self.shown, missing, f"run it as the service that has LoadCredentialEncrypted={self._name}")
        root = _parse(text.reveal())
        if root is None:
            raise IntegrityError(
                f"{self.shown} holds no root secret", hint="place it again: man 7 tokenctl-security", reason="root_malformed"
            )  # fmt: skip
        return root

    def write(self, root: Secret) -> None:
        raise Conflict(f"only its operator can place {self.shown}", hint="tokenctl store move-secret file")

    def holds(self, root: Secret) -> bool:
        try:
            return self.read() == root
        except (AccessDenied, IntegrityError) as error:
            if error.reason not in UNFIT:
                raise
            return False

    def wipe(self) -> bool:
        return False

    def pending(self) -> Place | None:
        return None

    def settle(self, fits: Callable[[Secret], bool]) -> None:
        return
