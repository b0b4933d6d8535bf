"""Secrets that the system keeps: its keyring, and the credentials that systemd hands to a service.

The only owner of the keyring library, whose own choice of a backend is never asked for: a plaintext one can install itself as
the best. A keyring may hang, open a dialog, or lie: every call has a deadline, and no answer is believed unseen.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from tokenctl import files
from tokenctl.errors import AccessDenied, InvalidConfiguration
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

Answer = TypeVar("Answer")

SERVICE = "tokenctl"
PATIENCE = 3.0  # seconds that all calls of one command may take together
DIALOG_PATIENCE = 60.0  # seconds, where somebody may be typing a password into a dialog
_ANNOUNCED_AFTER = 1.0  # seconds
ALLOWED = (
    "keyring.backends.SecretService.Keyring",
    "keyring.backends.kwallet.DBusKeyring",
    "keyring.backends.kwallet.DBusKeyringKWallet4",
    "keyring.backends.macOS.Keyring",
)
_CHOICE = "PYTHON_KEYRING_BACKEND"
_PROPERTIES = "KEYRING_PROPERTY_"  # the library sets properties of a backend by these, the collection that is used too
_BUS = "DBUS_SESSION_BUS_ADDRESS"  # libdbus starts a program that unixexec: names
_LOCKED = frozenset({"InitError", "KeyringLocked", "LockedException", "PromptDismissedException"})
_ABSENT = frozenset({"NoKeyringError", "SecretServiceNotAvailableException", "ModuleNotFoundError"})
_CREDENTIAL_LIMIT = 256  # bytes
_ACL = "system.posix_acl_access"
_ACL_HEADER, _ACL_ENTRY = 4, 8  # bytes
_ACL_USER, _ACL_GROUP, _ACL_OWN_GROUP = 0x02, 0x08, 0x04


class Keyring:
    """The keyring of the operating system, within the time of one command.

    Args:
        backend: The class that the profile admits beside :data:`ALLOWED`.
        announce: Tells a person at the terminal that a dialog is waited for; ``None`` where nobody could answer one.

    Every call raises AccessDenied (exit 4): no keyring, a locked or hanging one, or one that failed; its ``reason`` is
    ``keyring_absent``, ``keyring_locked``, ``keyring_timeout``, ``keyring_refused`` or ``keyring_failed``.
    """

    def __init__(
        self, environment: Mapping[str, str], *, backend: str | None = None, announce: Callable[[str], None] | None = None
    ) -> None:  # fmt: skip
        self._environment = environment
        self._backend = backend
        shown = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")) or sys.platform == "darwin"
        self._announce = announce if shown else None
        self._left = DIALOG_PATIENCE if self._announce is not None else PATIENCE

    def hurry(self) -> None:
        """Wait for no person from here on: others wait for us."""
        if self._announce is not None:
            self._announce, self._left = None, PATIENCE

    def read(self, account: str) -> Secret | None:
        """Return what is kept under an account; ``None`` for nothing."""
        kept: object = self._ask(lambda keyring: keyring.get_password(SERVICE, account))
        if kept is None:
            return None
        if not isinstance(kept, str):
            raise AccessDenied("the keyring answers with something that is no text", reason="keyring_failed")
        return Secret(kept)

    def write(self, account: str, secret: Secret) -> None:
        """Keep a secret that is text, and see that it is kept."""
        text = secret.reveal().decode("ascii")
        self._ask(lambda keyring: keyring.set_password(SERVICE, account, text))
        if self.read(account) != secret:
            raise AccessDenied("the keyring did not keep what was put into it", reason="keyring_failed")

    def delete(self, account: str) -> bool:
        """Forget what is kept under an account; return whether there was anything."""
        if self.read(account) is None:
            return False
        self._ask(lambda keyring: keyring.delete_password(SERVICE, account))
        if self.read(account) is not None:
            raise AccessDenied("the keyring did not forget what was deleted", reason="keyring_failed")
        return True

    def _ask(self, work: Callable[[KeyringBackend], Answer]) -> Answer:
        """Do everything that the library does in a thread that nobody waits for at the end of the process."""
        names = self._names()
        done, answers, failures = threading.Event(), list[Answer](), list[BaseException]()

        def attempt() -> None:
            try:
                answers.append(work(_construct(names)))
            except BaseException as error:  # noqa: BLE001  # whatever a backend raises is told in our words
                failures.append(error)
            finally:
                done.set()

        begun = time.monotonic()
        threading.Thread(target=attempt, name="keyring", daemon=True).start()
        finished = self._wait(done)
        self._left -= time.monotonic() - begun
        if not finished:
            raise AccessDenied("the keyring does not answer", reason="keyring_timeout")
        if failures:
            raise _told(failures[0])
        return answers[0]

    def _wait(self, done: threading.Event) -> bool:
        patience = max(self._left, 0.0)
        if self._announce is None or patience <= _ANNOUNCED_AFTER:
            return done.wait(patience)
        if done.wait(_ANNOUNCED_AFTER):
            return True
        self._announce(f"waiting for the keyring: answer its dialog within {patience:.0f} s")
        return done.wait(patience - _ANNOUNCED_AFTER)

    def _names(self) -> tuple[str, ...]:
        """Return the classes that may be used, those that fit the system best first; raises what the environment bends."""
        for name in self._environment:
            if name.startswith(_PROPERTIES):
                raise AccessDenied(f"{name} would bend the keyring", hint=f"unset {name}", reason="keyring_refused")
        buses = self._environment.get(_BUS, "").split(";")
        if any(bus and not bus.startswith("unix:") for bus in buses):
            raise AccessDenied(f"{_BUS} names something else than a socket", hint=f"unset {_BUS}", reason="keyring_refused")
        chosen = self._environment.get(_CHOICE)
        if chosen and chosen != self._backend and chosen not in ALLOWED:
            raise AccessDenied(
                f"{_CHOICE} names a keyring that is not admitted",
                hint=f"unset {_CHOICE}, or name it in the profile: keyring_backend", reason="keyring_refused",
            )  # fmt: skip
        if chosen or self._backend:
            return (str(chosen or self._backend),)
        return ALLOWED


def _construct(names: tuple[str, ...]) -> KeyringBackend:
    """Return the keyring in use; runs in the thread."""
    # What libraries would say on stderr is not for people, and may hold what is not for anybody.
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    from keyring.errors import NoKeyringError

    if len(names) == 1:
        return _load(names[0])()
    found = [kind for kind in map(_load, names) if kind.viable]
    if not found:
        raise NoKeyringError
    return max(found, key=lambda kind: kind.priority)()


def _load(name: str) -> type[KeyringBackend]:
    from importlib import import_module

    from keyring.backend import KeyringBackend

    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind)
    if not isinstance(found, type) or not issubclass(found, KeyringBackend):
        raise TypeError
    return found


def _told(error: BaseException) -> AccessDenied:
    """Translate what a backend raised by its class; its text is never shown."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _LOCKED:
        return AccessDenied("the keyring is locked", reason="keyring_locked")
    if kinds & _ABSENT:
        return AccessDenied("no keyring is in reach", reason="keyring_absent")
    return AccessDenied(f"the keyring failed: {type(error).__name__}", reason="keyring_failed")


def systemd_credential(environment: Mapping[str, str], name: str, *, limit: int = _CREDENTIAL_LIMIT) -> Secret | None:
    """Read a credential that systemd handed to this service, without one trailing newline; ``None`` where there is none.

    Source: systemd.exec(5), Credentials.

    Raises:
        InvalidConfiguration: it is open to others, planted, too large or unreadable (exit 9).
    """
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    if not os.path.isabs(directory):
        raise InvalidConfiguration("CREDENTIALS_DIRECTORY is not an absolute path", hint="unset CREDENTIALS_DIRECTORY")
    path = os.path.join(directory, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise files.unusable(path, error) from None
    try:
        _refuse_open(path, descriptor)
        data = os.read(descriptor, limit + 1)
    except OSError as error:
        raise files.unusable(path, error) from None
    finally:
        os.close(descriptor)
    files.check_parents(directory)
    if len(data) > limit:
        raise InvalidConfiguration(f"{path} is larger than {limit} bytes")
    return Secret(data.removesuffix(b"\n"))


def _refuse_open(path: str, descriptor: int) -> None:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidConfiguration(f"{path} is not a regular file", hint="remove what stands there")
    if facts.st_uid not in (0, os.geteuid()):
        raise InvalidConfiguration(f"{path} belongs to another user", hint="let systemd make it: LoadCredentialEncrypted=")
    beside_read = facts.st_mode & 0o037
    if beside_read or (facts.st_mode & 0o040 and not _read_by_us_alone(descriptor)):
        raise InvalidConfiguration(f"{path} is open to other users", hint=f"chmod 400 {path}")


def _read_by_us_alone(descriptor: int) -> bool:
    """Whether the group bits are the mask of an access list that lets in nobody but us: so systemd does for ``User=``.

    Source: acl(5); the layout is that of ``linux/posix_acl_xattr.h``.
    """
    try:
        data = os.getxattr(descriptor, _ACL)
    except (OSError, AttributeError):
        return False
    for start in range(_ACL_HEADER, len(data), _ACL_ENTRY):
        tag, permissions = (int.from_bytes(data[start + at : start + at + 2], "little") for at in (0, 2))
        who = int.from_bytes(data[start + 4 : start + 8], "little")
        if tag in (_ACL_OWN_GROUP, _ACL_GROUP) and permissions:
            return False
        if tag == _ACL_USER and permissions and who != os.geteuid():
            return False
    return True
