"""Files that others might have tampered with: opened without following links, checked, replaced whole.

Every open of a path that tokenctl does not itself create goes through here or through ``store``.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from tokenctl.errors import InvalidConfiguration, InvalidRequest, TemporarilyUnavailable, TokenctlError

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
_ROOT = 0  # the user id
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def cause_of(error: OSError) -> str:
    """Return the system's words for an error number, never the exception's own text."""
    return os.strerror(error.errno).lower() if error.errno else "input or output error"


def is_transient(error: OSError) -> bool:
    """Whether the same call may work later: a full or failing medium, not a wrong path."""
    return error.errno in _FULL


def unusable(path: str, error: OSError) -> TokenctlError:
    """Translate an error on one of our own files: a full or failing medium is 7, a wrong file 9."""
    if is_transient(error):
        return TemporarilyUnavailable(f"cannot write {path}: {cause_of(error)}", hint="make room and run again")
    return InvalidConfiguration(f"cannot use {path}: {cause_of(error)}", hint=_access_hint(error))


def _access_hint(error: OSError) -> str | None:
    if error.errno == errno.ELOOP:
        return "a symbolic link stands there: remove it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "check its owner and mode, or choose another place by XDG_DATA_HOME, XDG_CONFIG_HOME and XDG_STATE_HOME"
    return None


def make_directory(path: str) -> None:
    """Make a directory of ours and its missing parents, 0700 each.

    Raises:
        InvalidConfiguration: it cannot be made (exit 9); TemporarilyUnavailable where the medium is full (exit 7).
    """
    try:
        os.makedirs(path, PRIVATE_DIRECTORY, exist_ok=True)
    except OSError as error:
        raise unusable(path, error) from None
    check_parents(path)


def check_parents(directory: str, user: int | None = None) -> None:
    """Refuse a directory that another user could exchange, as sshd does for its files.

    Every directory up to the root belongs to root or to the user and is not writable by others, unless it is sticky.

    Args:
        directory: The innermost one.
        user: Whose files lie there; ours by default.

    Raises:
        InvalidConfiguration: one of them is too open (exit 9).
    """
    place = os.path.realpath(directory)
    user = os.geteuid() if user is None else user
    while True:
        try:
            facts = os.lstat(place)
        except FileNotFoundError:
            facts = None
        except OSError as error:
            raise unusable(place, error) from None
        if facts is not None:
            if facts.st_uid not in (0, user):
                raise InvalidConfiguration(f"{place} belongs to another user", hint=f"run as its owner, or: chown {user} {place}")
            if facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
                raise InvalidConfiguration(f"{place} is writable by other users", hint=f"chmod go-w {place}")
        parent = os.path.dirname(place)
        if parent == place:
            return
        place = parent


def check_owned(path: str, facts: os.stat_result, *, secret: bool, user: int | None = None) -> None:
    """Refuse a file that is no regular file, has a second name, another owner than us (or ``user``) or too open a mode.

    Raises:
        InvalidConfiguration: with the command that mends it (exit 9).
    """
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidConfiguration(f"{path} is not a regular file", hint="remove what stands there")
    if facts.st_uid != (os.geteuid() if user is None else user):
        hint = "run tokenctl as its owner" if user is None else f"chown {user} {path}"
        raise InvalidConfiguration(f"{path} belongs to another user", hint=hint)
    if facts.st_nlink > 1:
        raise InvalidConfiguration(f"{path} has a second hard link", hint="remove the other name")
    forbidden = 0o077 if secret else 0o022
    if facts.st_mode & forbidden:
        hint = f"chmod 600 {path}" if user is None else f"chmod go-w {path}"
        raise InvalidConfiguration(f"{path} is open to other users", hint=hint)


def read_owned(path: str, *, limit: int, secret: bool = False) -> bytes | None:
    """Read a small file of ours; ``None`` where it is absent.

    Raises:
        InvalidConfiguration: too open, planted, too large or unreadable (exit 9).
    """
    return _read_checked(path, limit=limit, secret=secret, user=None)


def read_system(path: str, *, limit: int) -> bytes | None:
    """Read a small file that only root can have written; ``None`` where it is absent.

    Raises:
        InvalidConfiguration: it, or a directory above it, is not root's alone, or it cannot be read (exit 9).
    """
    data = _read_checked(path, limit=limit, secret=False, user=_ROOT)
    # Who can write the directory can also take the file away.
    if data is not None or os.path.lexists(os.path.dirname(path)):
        check_parents(os.path.dirname(path), _ROOT)
    return data


def _read_checked(path: str, *, limit: int, secret: bool, user: int | None) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if user is not None and isinstance(error, PermissionError):
            raise InvalidConfiguration(f"cannot read {path}: {cause_of(error)}", hint=f"chmod a+r {path}") from None
        raise unusable(path, error) from None
    try:
        check_owned(path, os.fstat(descriptor), secret=secret, user=user)
        data = os.read(descriptor, limit + 1)
    except OSError as error:
        raise unusable(path, error) from None
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise InvalidConfiguration(f"{path} is larger than {limit} bytes")
    return data


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_owned(path: str, data: bytes, *, durable: bool = True) -> None:
    """Replace a file of ours by rename, 0600.

    Args:
        path: The file; its directory exists.
        data: The new content, no secret.
        durable: Whether to wait until it is on the medium.

    Raises:
        OSError: it was not replaced; the old content still stands.
    """
    fresh = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(fresh, path)
    if durable:
        sync_directory(os.path.dirname(path))


def sync_directory(directory: str) -> None:
    """Make names in a directory durable; raises OSError."""
    descriptor = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_stream(path: str, option: str) -> None:
    """Refuse the name ``-`` where a file is to be written (exit 2): everywhere else it is a stream."""
    if path == "-":
        raise InvalidRequest(f"{option}: - is no file", hint="a file of that name is written ./-")


def create_exclusive(path: str, *, mode: int, group: int | None) -> int:
    """Make a file that grows by whole batches; return its descriptor.

    Raises:
        InvalidRequest: it is there already, or cannot be made (exit 2).
    """
    refuse_stream(path, "--out")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_APPEND
    try:
        descriptor = os.open(path, flags, PRIVATE_FILE)
    except FileExistsError:
        raise InvalidRequest(f"{path} is there already", hint="in bulk, name a new file with --out") from None
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {cause_of(error)}", hint="name another file with --out") from None
    try:
        if group is not None:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
        sync_directory(os.path.dirname(path))
    except OSError as error:
        os.close(descriptor)
        raise InvalidRequest(f"cannot write {path}: {cause_of(error)}", hint="name another file with --out") from None
    return descriptor


class Delivery:
    """A file that receives a token: opened before anything is minted, filled and named at the end.

    The bytes lie in an unnamed file until they are durable, so that a process that dies leaves no token behind;
    where the system has no unnamed files, in a named one beside it.

    Raises:
        InvalidRequest: the target cannot be written, or is no regular file (exit 2); with ``setting``, the name of what
            named the file, InvalidConfiguration (exit 9), or TemporarilyUnavailable where the medium is full (exit 7).
            A path that is ``-`` alone is refused: everywhere else it is a stream.
    """

    def __init__(
        self, path: str, *, mode: int = PRIVATE_FILE, group: int | None = None, setting: str | None = None, option: str = "--out"
    ) -> None:  # fmt: skip
        self._setting = setting
        self._option = option
        if not os.path.basename(path):
            raise self._refusal("no file is named")
        refuse_stream(path, option)
        self._path = path
        self._directory = os.path.dirname(path) or "."
        self._fresh = os.path.join(self._directory, f".{os.path.basename(path)}.tokenctl-new")
        self._mode = mode
        self._group = group
        try:
            self._refuse_planted()
            self._named = False
            self._descriptor = self._open()
            if group is not None:
                os.fchown(self._descriptor, -1, group)
            os.fchmod(self._descriptor, mode)
        except OSError as error:
            if setting is not None and is_transient(error):
                raise unusable(path, error) from None
            raise self._refusal(f"cannot write {path}: {cause_of(error)}") from None

    def _refusal(self, message: str) -> TokenctlError:
        if self._setting is None:
            return InvalidRequest(message, hint=f"name another file with {self._option}")
        return InvalidConfiguration(message, hint=f"mend it, or name another file as {self._setting}")

    def _refuse_planted(self) -> None:
        try:
            facts = os.lstat(self._path)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            raise self._refusal(f"{self._path} is a link or no regular file")

    def _open(self) -> int:
        unnamed = getattr(os, "O_TMPFILE", None)
        if unnamed is not None:
            try:
                return os.open(self._directory, unnamed | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
        self._named = True
        with suppress(FileNotFoundError):
            os.unlink(self._fresh)
        return os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)

    def write(self, data: bytes) -> None:
        """Write, sync and name the file; raises OSError, and then nothing of it is left."""
        try:
            self.append(data)
            self.sync()
        except BaseException:
            self.discard()
            raise
        self.place()

    def append(self, data: bytes) -> None:
        """Write a part of what comes in parts; raises OSError. The caller discards what is not placed."""
        write_all(self._descriptor, data)

    def sync(self) -> None:
        """Wait until what was written is on the medium; raises OSError."""
        os.fsync(self._descriptor)

    def place(self, *, replacing: bool = True) -> None:
        """Give the file its name; raises OSError, and then nothing of it is left.

        Args:
            replacing: Whether a file of that name may be replaced.
        """
        try:
            self._refuse_planted()
            if not replacing and os.path.lexists(self._path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            if self._named or not self._link_to(self._path):
                if not replacing and not self._named:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                if not self._named:
                    with suppress(FileNotFoundError):
                        os.unlink(self._fresh)
                    self._named = self._link_to(self._fresh)
                os.rename(self._fresh, self._path)
                self._named = False
            sync_directory(self._directory)
        finally:
            self.discard()

    def _link_to(self, path: str) -> bool:
        """Give the unnamed file a name; false where the name is taken."""
        try:
            # src_dir_fd makes Python use linkat, which alone can give an unnamed file its name.
            os.link(f"/proc/self/fd/{self._descriptor}", path, src_dir_fd=0, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def discard(self) -> None:
        """Forget what was not named; safe to call twice."""
        if self._named:
            with suppress(OSError):
                os.unlink(self._fresh)
            self._named = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
