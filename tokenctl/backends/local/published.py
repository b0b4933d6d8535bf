"""The public keys that verifiers need: as a JWK Set, and in the file that is published for them.

The file is written whole, under the lock of the store alone, so that an older set never replaces a newer one.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Collection, Sequence

from tokenctl import files
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.standing import keys_as_they_are
from tokenctl.backends.local.view import View
from tokenctl.config import Profile
from tokenctl.errors import InvalidConfiguration, InvalidRequest
from tokenctl.formats.jwk import MAX_KEY_SET
from tokenctl.formats.strict_json import read_object
from tokenctl.model.rotation import SERVED_STATES
from tokenctl.model.token import Key

_PUBLIC_FILE = 0o644
_KID = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_TOLD = 5  # foreign keys that are named


def public_jwk(key: Key, profile: Profile) -> dict[str, object]:
    """Return a key as verifiers see it."""
    members: dict[str, object] = json.loads(key.public)
    # A strict verifier compares the header's name with the key's.
    return members | {"alg": profile.eddsa_name} if members["alg"] == "EdDSA" else members


def key_set(keys: Sequence[Key], profile: Profile) -> dict[str, object]:
    """Return the JWK Set of those of these keys that verifiers need. Source: RFC 7517 section 5."""
    return {"keys": [public_jwk(key, profile) for key in keys if key.state in SERVED_STATES]}


class JwksFile:
    """The file that a profile names for its public keys."""

    def __init__(self, path: str, profile: Profile, journal: Journal) -> None:
        self.path = path
        self._profile = profile
        self._journal = journal

    def lacking(self, keys: Sequence[Key]) -> set[str]:
        """Return which published keys it does not hold."""
        held = self._held() or []
        return {key.kid for key in keys if key.state == "published" and public_jwk(key, self._profile) not in held}

    def holds(self, keys: Sequence[Key], *, trusted: bool = True) -> bool:
        """Whether it holds exactly the keys that verifiers need."""
        held = self._held()
        if held is None:
            return not trusted and not self._there()  # then there is nothing to take away
        return sorted(map(_canonical, held)) == sorted(map(_canonical, self._wanted(keys, trusted=trusted)))

    def _wanted(self, keys: Sequence[Key], *, trusted: bool) -> list[dict[str, object]]:
        wanted = [public_jwk(key, self._profile) for key in keys if key.state in SERVED_STATES]
        if trusted:
            return wanted
        # A store that does not check out may not know what became of a key: it takes away, and brings nothing back.
        there = self._there()
        return [key for key in wanted if key in there]

    def write(self, view: View) -> None:
        """Publish the keys as they stand in the caller's transaction; durable when this returns.

        Raises:
            InvalidConfiguration: it lies at a wrong place, or a link stands there (exit 9).
            TemporarilyUnavailable: the medium is full or failing (exit 7).
        """
        if self._journal.owns(self.path):
            raise InvalidConfiguration(f"the jwks_file {self.path} lies among tokenctl's own files", hint="name another one")
        keys, sound = keys_as_they_are(view)
        wanted = self._wanted(keys, trusted=sound and view.quarantine is None)
        self._tell_of_foreign({key.kid for key in keys})
        data = json.dumps({"keys": wanted}, sort_keys=True).encode("ascii") + b"\n"
        delivery = files.Delivery(self.path, mode=_PUBLIC_FILE, setting="jwks_file")
        try:
            delivery.write(data)
        except OSError as error:
            raise files.unusable(self.path, error) from None

    def _tell_of_foreign(self, own: Collection[str]) -> None:
        """Warn of keys that the file held and that are none of this store's.

        A publication that was killed behind the file and before its commit leaves one, and so does anybody else who writes there.
        """
        kids = [key.get("kid") if isinstance(key, dict) else None for key in self._there()]
        foreign = [kid for kid in kids if not isinstance(kid, str) or kid not in own]
        named = [kid if isinstance(kid, str) and _KID.fullmatch(kid) else "one without a usual kid" for kid in foreign[:_TOLD]]
        if foreign:
            self._journal.warn(
                f"{self.path} held keys that are not this store's, taken out now: {', '.join(named)}"
                " (left by a step that was killed, or written by another)"
            )

    def _held(self) -> list[object] | None:
        """Return the keys in it; ``None`` where it is absent, or a strict verifier could not read it: it is written anew then."""
        data, mode = self._read()
        if mode & _PUBLIC_FILE != _PUBLIC_FILE or len(data) > MAX_KEY_SET:  # the server in front of it could not read it
            return None
        try:
            keys = read_object(data, what="it").get("keys")
        except InvalidRequest:
            return None
        return keys if isinstance(keys, list) else None

    def _there(self) -> list[object]:
        """Return the keys that even a lenient verifier may find in it."""
        try:
            document = json.loads(self._read()[0])
        except (ValueError, RecursionError):
            return []
        keys = document.get("keys") if isinstance(document, dict) else None
        return keys if isinstance(keys, list) else []

    def _read(self) -> tuple[bytes, int]:
        """Return what stands in it, up to one byte beyond the limit, and its mode; nothing where it is no regular file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b"", 0
        try:
            mode = os.fstat(descriptor).st_mode
            return (os.read(descriptor, MAX_KEY_SET + 1), mode) if stat.S_ISREG(mode) else (b"", 0)
        except OSError:
            return b"", 0
        finally:
            os.close(descriptor)


def _canonical(key: object) -> str:
    return json.dumps(key, sort_keys=True)


def file_of(profile: Profile, journal: Journal) -> JwksFile | None:
    """Return the published file of a profile, if it names one."""
    return JwksFile(profile.jwks_file, profile, journal) if profile.jwks_file is not None else None
