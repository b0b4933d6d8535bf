"""The operator's credential for a remote service: where it comes from, and to whom alone it may be given.

Looked up in one order: a descriptor, a file, what systemd handed over, the keyring; the first that is there counts. It is
kept with the origins that it was stored for. One that comes as a bare secret has none: it goes to the service of the profile,
but not where a configuration directory from the environment says what that profile is.

A rotation keeps what it is at beside the credential, in one item that is replaced as a whole: wherever it ends, the credential
that is in use is there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, cast

from tokenctl import files
from tokenctl.credentials import Keyring, systemd_credential
from tokenctl.errors import AccessDenied, InvalidConfiguration
from tokenctl.formats import strict_json
from tokenctl.secret import Secret

METHODS = ("secret", "private_key", "token", "approle")
LARGEST = 64 * 1024  # bytes
_KEYRING = "the keyring's item"
_REMEDY = "tokenctl login; without a keyring: --credential-file FILE (0600)"
_VERSION = 1
_TEXTS = ("client_id", "role_id", "registration_uri")
_BESIDE = ("fresh", "former")


class Credential(NamedTuple):
    """What an operator proves itself with.

    Attributes:
        method: One of :data:`METHODS`: a client secret, a private key of a client (RFC 7523), a token, or a secret id.
        secret: It, without a newline at its end.
        origins: Whom it may be given to; ``None`` for a bare secret.
        client_id: The client that it belongs to, where it is stored with it.
        role_id: Of an AppRole.
        registration_uri, registration_token: How the client manages itself (RFC 7592).
        source: Where it came from, for people.
        fresh: What is to take its place, and was not proved yet.
        former: Whose place it took, and what the service may still accept.
    """

    method: str
    secret: Secret
    origins: frozenset[str] | None = None
    client_id: str | None = None
    role_id: str | None = None
    registration_uri: str | None = None
    registration_token: Secret | None = None
    source: str = ""
    fresh: Credential | None = None
    former: Credential | None = None

    @property
    def rotating(self) -> bool:
        """Whether a rotation of it was begun and did not end."""
        return self.fresh is not None or self.former is not None

    def require(self, origins: Collection[str], profile: str) -> None:
        """Refuse to be given to an origin that it was not stored for (exit 4)."""
        foreign = sorted(set(origins) - self.origins) if self.origins is not None else []
        if foreign:
            raise AccessDenied(
                f"the credential of profile {profile} was stored for {', '.join(sorted(self.origins or ()))},"
                f" not for {foreign[0]}: nothing was sent",
                hint="if the service moved: tokenctl login", reason="foreign_origin",
            )  # fmt: skip

    def to_secret(self) -> Secret:
        """Return it with all that belongs to it, as it is kept."""
        return Secret(json.dumps(self.members() | {"v": _VERSION}, sort_keys=True))

    def members(self) -> dict[str, object]:
        """Return it as a JSON object has it, in the clear."""
        members: dict[str, object] = {"method": self.method, "secret": self.secret.reveal().decode("utf-8")}
        members |= {name: getattr(self, name) for name in _TEXTS}
        members["origins"] = sorted(self.origins) if self.origins is not None else None
        token = self.registration_token
        members["registration_token"] = token.reveal().decode("ascii") if token is not None else None
        for name in _BESIDE:
            beside: Credential | None = getattr(self, name)
            members[name] = beside._replace(origins=None, fresh=None, former=None).members() if beside is not None else None
        return {name: value for name, value in members.items() if value is not None}


def read(text: Secret, *, method: str, source: str) -> Credential:
    """Read a credential: what :meth:`Credential.to_secret` writes, what a server answers to the registration of a client
    (RFC 7591 section 3.2.1), or a bare secret of a method.

    Raises:
        AccessDenied: it is none of them (exit 4).
    """
    data = text.reveal().removesuffix(b"\n").removesuffix(b"\r")
    if not data or len(data) > LARGEST:
        raise AccessDenied(f"{source} holds no credential", reason="credential_malformed")
    if not data.startswith(b"{"):
        if not _is_text(data):
            raise AccessDenied(f"{source} holds a credential that is no text", reason="credential_malformed")
        return Credential(method=method, secret=Secret(data), source=source)
    malformed = AccessDenied(f"{source} holds a credential that is not understood", reason="credential_malformed")
    try:
        members = strict_json.read_object(data, what="the credential")
    except strict_json.MalformedJson:
        raise malformed from None
    if "v" not in members and "kty" in members:  # a JWK is a bare secret
        return Credential(method="private_key", secret=Secret(data), source=source)
    if "v" not in members and "client_secret" in members:
        members = _registered(members)
    elif members.get("v") != _VERSION:
        raise malformed
    found = _of_members(members, source, None)
    if found is None:
        raise malformed
    return found


def _registered(members: Mapping[str, object]) -> dict[str, object]:
    """Return the members of a credential from the answer to a registration."""
    return {
        "method": "secret", "secret": members["client_secret"], "client_id": members.get("client_id"),
        "registration_uri": members.get("registration_client_uri"),
        "registration_token": members.get("registration_access_token"),
    }  # fmt: skip


def _of_members(members: Mapping[str, object], source: str, origins: frozenset[str] | None) -> Credential | None:
    """Return the credential of a JSON object; ``None`` for what is none."""
    listed, token, method, secret = (members.get(name) for name in ("origins", "registration_token", "method", "secret"))
    texts = {name: members.get(name) for name in _TEXTS}
    if listed is not None:
        if not (isinstance(listed, list) and listed and all(isinstance(origin, str) for origin in listed)):
            return None
        origins = frozenset(map(str, listed))
    plain = all(value is None or (isinstance(value, str) and value and value.isprintable()) for value in texts.values())
    token_fits = token is None or (isinstance(token, str) and is_token(token.encode("utf-8", "replace")))
    if method not in METHODS or not isinstance(secret, str) or not secret or not plain or not token_fits:
        return None
    beside: dict[str, Credential | None] = {}
    for name in _BESIDE:
        told = members.get(name)
        beside[name] = _of_members(told, source, origins) if isinstance(told, dict) else None
        if told is not None and beside[name] is None:
            return None
    known = cast("dict[str, str | None]", texts)
    return Credential(
        method=str(method), secret=Secret(secret), origins=origins, client_id=known["client_id"], role_id=known["role_id"],
        registration_uri=known["registration_uri"], registration_token=Secret(token) if isinstance(token, str) else None,
        source=source, fresh=beside["fresh"], former=beside["former"],
    )  # fmt: skip


class Kept:
    """A credential, and the place where another can take its place.

    Args:
        write: Replaces what is kept there as a whole, and sees that it is kept.
    """

    def __init__(self, credential: Credential, write: Callable[[Secret], None]) -> None:
        self.credential = credential
        self._write = write

    def save(self, credential: Credential) -> None:
        """Keep another one in its place; raises as the place does, which then has one of the two."""
        self._write(credential.to_secret())
        self.credential = credential


class Lookup:
    """Where the credential of a profile may come from, seen from this process.

    Args:
        file, descriptor: What the command line hands it in by.
        keyring: Returns the keyring.
    """

    def __init__(
        self, profile: str, environment: Mapping[str, str], *, file: str | None, descriptor: Callable[[], int] | None,
        keyring: Callable[[], Keyring],
    ) -> None:  # fmt: skip
        self._profile = profile
        self._environment = environment
        self._file = file
        self._descriptor = descriptor
        self.keyring = keyring

    def handed(self) -> Secret | None:
        """Return what the command line hands in; ``None`` for nothing. A descriptor is read once."""
        if self._file is not None:
            return read_file(self._file)
        return read_open(self._descriptor()) if self._descriptor is not None else None

    @property
    def account(self) -> str:
        """The account of the keyring's item."""
        return f"profile/{self._profile}"

    def find(self, *, method: str) -> Credential:
        """Return the credential.

        Args:
            method: What a bare secret is.

        Raises:
            AccessDenied: there is none, or none that may be used (exit 4).
            InvalidConfiguration: its file is too open or unreadable (exit 9).
        """
        typed = self.handed()
        if typed is not None:
            return read(typed, method=method, source="what --credential-file or --credential-fd names")
        path = self._environment.get("TOKENCTL_CREDENTIAL_FILE")
        if path:
            return self._bare_where_home(read(read_file(path), method=method, source="TOKENCTL_CREDENTIAL_FILE"))
        handed = systemd_credential(self._environment, f"tokenctl.{self._profile}", limit=LARGEST)
        if handed is not None:
            return self._bare_where_home(read(handed, method=method, source=f"the credential tokenctl.{self._profile}"))
        return self._in_keyring(method)

    def kept(self, *, method: str) -> Kept:
        """Return the credential with the place where another can be kept; raises as :meth:`find`.

        Raises:
            InvalidConfiguration: it comes from where nothing can be kept (exit 9).
        """
        found = self.find(method=method)
        path = self._file or self._environment.get("TOKENCTL_CREDENTIAL_FILE")
        if self._descriptor is not None:
            raise self._unwritable("a descriptor")
        if path:
            place = os.path.abspath(path)
            return Kept(found, lambda secret: _replace(place, secret))
        if not found.source.startswith(_KEYRING):
            raise self._unwritable(found.source)
        return Kept(found, lambda secret: self.keyring().write(self.account, secret))

    def _unwritable(self, source: str) -> InvalidConfiguration:
        return InvalidConfiguration(
            f"the credential of profile {self._profile} comes from {source}, where no other can be kept",
            hint="name a file of yours: --credential-file FILE; or keep it in the keyring: tokenctl login", reason="part_lacking",
        )  # fmt: skip

    def _in_keyring(self, method: str) -> Credential:
        try:
            kept = self.keyring().read(self.account)
        except AccessDenied as error:
            raise AccessDenied(
                f"no credential for profile {self._profile}: {error.message}", hint=_REMEDY, reason=error.reason
            ) from None
        if kept is None:
            raise AccessDenied(f"no credential for profile {self._profile}", hint=_REMEDY, reason="no_credential")
        return read(kept, method=method, source=f"{_KEYRING} {self.account}")

    def _bare_where_home(self, found: Credential) -> Credential:
        """Refuse a bare secret from the environment where the environment also says where it would go."""
        named = next((name for name in ("TOKENCTL_CONFIG", "XDG_CONFIG_HOME") if self._bends(name)), None)
        if found.origins is None and named is not None:
            raise AccessDenied(
                f"{found.source} holds a bare secret, and {named} says where it would be sent",
                hint="name its file yourself: --credential-file FILE; or let it name its origins (man 5 tokenctl-config)",
                reason="foreign_origin",
            )  # fmt: skip
        return found

    def _bends(self, name: str) -> bool:
        """Whether a variable leads to another configuration than the one in the home directory."""
        value = self._environment.get(name)
        usual = os.path.join(self._environment.get("HOME", ""), ".config")
        return bool(value) and (name != "XDG_CONFIG_HOME" or os.path.normpath(str(value)) != usual)


def _replace(path: str, secret: Secret) -> None:
    """Replace the credential in a file of ours, durably; raises as :func:`read_file` and TemporarilyUnavailable (exit 7)."""
    try:
        files.replace_owned(path, secret.reveal() + b"\n")
    except OSError as error:
        raise files.unusable(path, error) from None
    if read_file(path).reveal().rstrip() != secret.reveal():
        raise AccessDenied(f"{path} did not keep what was put into it", reason="credential_malformed")


def read_file(path: str) -> Secret:
    """Read a credential from a file of ours that is open to nobody else.

    Raises:
        AccessDenied: there is none (exit 4); InvalidConfiguration: too open, planted or unreadable (exit 9).
    """
    data = files.read_owned(os.path.abspath(path), limit=LARGEST, secret=True)
    if data is None:
        raise AccessDenied(f"no file {path}", hint="name one that holds the credential, 0600", reason="no_credential")
    return Secret(data)


def read_open(descriptor: int) -> Secret:
    """Read a credential from a descriptor to its end; raises AccessDenied where it cannot be read (exit 4)."""
    data = b""
    try:
        while len(data) <= LARGEST and (part := os.read(descriptor, LARGEST + 1 - len(data))):
            data += part
    except OSError:
        raise AccessDenied("--credential-fd cannot be read", reason="no_credential") from None
    finally:
        os.close(descriptor)
    return Secret(data)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def is_token(text: bytes) -> bool:
    """Whether a secret may stand in a header."""
    return re.fullmatch(rb"[\x21-\x7e]{1,65536}", text) is not None
