"""Which place a store's root secret lies in, and whether what lies there is the store's.

The place is recorded in the store and never guessed: a secret that is out of reach ends the command, no other place is tried
and none is made anew. While the secret is exchanged the new one lies in a second slot of the same place.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.backends.local import sealing
from tokenctl.backends.local.root_places import UNFIT, CredentialPlace, FilePlace, KeyringPlace, Place
from tokenctl.errors import AccessDenied, IntegrityError, InvalidConfiguration, TokenctlError
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.config import Places
    from tokenctl.credentials import Keyring  # only a secret that lies there needs it

PLACES = ("file", "keyring", "credential")
MAY_BE_MOVING = UNFIT | {"root_differs"}  # reasons that another process may be the cause of


class Whereabouts:
    """Where root secrets of one profile can lie, seen from this process.

    Args:
        keyring_backend: The class of a keyring that the profile admits.
        announce: Tells that a keyring's dialog is waited for; ``None`` where nobody could answer one.
    """

    def __init__(
        self, places: Places, profile: str, environment: Mapping[str, str], *, keyring_backend: str | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.path = places.root_secret(profile)
        self.shown = places.shown
        self.environment = environment
        self.name = f"{profile}.root"
        self._keyring_backend = keyring_backend
        self._announce = announce

    @cached_property
    def keyring(self) -> Keyring:
        """The keyring; one for the whole command, which has its time in all."""
        from tokenctl import credentials

        return credentials.Keyring(self.environment, backend=self._keyring_backend, announce=self._announce)

    def hurry(self) -> None:
        """Let no dialog be waited for: called under the lock."""
        self._announce = None
        if "keyring" in self.__dict__:
            self.keyring.hurry()


def place_named(name: object, whereabouts: Whereabouts, store_id: str) -> Place:
    """Return the place that a store records.

    Raises:
        InvalidConfiguration: a place this version does not know (exit 9).
    """
    if name == "file":
        return FilePlace(whereabouts.path, whereabouts.shown)
    if name == "keyring":
        return KeyringPlace(whereabouts.keyring, f"{whereabouts.name}/{store_id}")
    if name == "credential":
        return CredentialPlace(whereabouts.environment, f"tokenctl.{whereabouts.name}")
    raise InvalidConfiguration("the store's root secret lies in a place this tokenctl does not know", hint="upgrade it")


class Unlocked(NamedTuple):
    """A root secret that is the store's, and whether it still lies in the slot of a new one."""

    root: Secret
    unsettled: bool


def unlock(place: Place, check: object, store_id: str, store_shown: str) -> Unlocked:
    """Read the root secret that fits a store's check value.

    Raises:
        IntegrityError: another secret lies there, or a file holds none (exit 10).
        AccessDenied, InvalidConfiguration: as :meth:`Place.read`.
    """
    fault: TokenctlError = IntegrityError(
        f"{place.shown} is not the root secret of {store_shown}", hint="put back the one that belongs to this store",
        reason="root_differs",
    )  # fmt: skip
    try:
        root = place.read()
        if fits(root, check, store_id):
            return Unlocked(root, unsettled=False)
    except (AccessDenied, IntegrityError) as error:
        if error.reason not in UNFIT:
            raise
        fault = error
    other = place.pending()
    if other is not None:
        try:
            root = other.read()
        except (AccessDenied, IntegrityError):
            raise fault from None
        if fits(root, check, store_id):
            return Unlocked(root, unsettled=True)
    raise fault


def fits(root: Secret, check: object, store_id: str) -> bool:
    """Whether a root secret is the one of a store's check value."""
    return isinstance(check, bytes) and hmac.compare_digest(check, sealing.check_value(root, store_id))
