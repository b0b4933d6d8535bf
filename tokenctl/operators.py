"""The operator's credential for a remote service: where it comes from, and to whom alone it may be given.

Looked up in one order: a descriptor, a file, what systemd handed over, the keyring; the first that is there counts. It is
kept with the origins that it was stored for. One that comes as a bare secret has none: it goes to the service of the profile,
but not where a configuration directory from the environment says what that profile is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from tokenctl import files
from tokenctl.credentials import Keyring, systemd_credential
from tokenctl.errors import AccessDenied
from tokenctl.formats import strict_json
from tokenctl.secret import Secret

METHODS = ("secret", "private_key", "token", "approle")
LARGEST = 64 * 1024  # bytes
_VERSION = 1
_TEXTS = ("client_id", "role_id", "registration_uri")


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
    """

    method: str
    secret: Secret
    origins: frozenset[str] | None = None
    client_id: str | None = None
    role_id: str | None = None
    registration_uri: str | None = None
    registration_token: Secret | None = None
    source: str = ""

    def require(self, origins: Collection[str], profile: str) -> None:
        """Refuse to be given to an origin that it was not stored for (exit 4)."""
        foreign = sorted(set(origins) - self.origins) if self.origins is not None else []
        if foreign:
            raise AccessDenied(
                f"the credential of profile {profile} was stored for {', '.join(sorted(self.origins or ()))},"
                f" not for {foreign[0]}: nothing was sent",
                hint=f"if the service moved: tokenctl login --profile {profile}", reason="foreign_origin",
            )  # fmt: skip

    def to_secret(self) -> Secret:
        """Return it with all that belongs to it, as the keyring keeps it."""
        members: dict[str, object] = {"v": _VERSION, "method": self.method, "secret": self.secret.reveal().decode("utf-8")}
        members |= {name: getattr(self, name) for name in _TEXTS}
        members["origins"] = sorted(self.origins) if self.origins is not None else None
        token = self.registration_token
        members["registration_token"] = token.reveal().decode("ascii") if token is not None else None
        return Secret(json.dumps({name: value for name, value in members.items() if value is not None}, sort_keys=True))


def read(text: Secret, *, method: str, source: str) -> Credential:
    """Read a credential: what :meth:`Credential.to_secret` writes, or a bare secret of a method.

    Raises:
        AccessDenied: it is neither (exit 4).
    """
    data = text.reveal().removesuffix(b"\n").removesuffix(b"\r")
    if not data or len(data) > LARGEST:
        raise AccessDenied(f"{source} holds no credential", reason="credential_malformed")
    if not data.startswith(b"{"):
        return Credential(method=method, secret=Secret(data), source=source)
    malformed = AccessDenied(f"{source} holds a credential that is not understood", reason="credential_malformed")
    try:
        members = strict_json.read_object(data, what="the credential")
    except strict_json.MalformedJson:
        raise malformed from None
    if "v" not in members and "kty" in members:  # a JWK is a bare secret
        return Credential(method="private_key", secret=Secret(data), source=source)
    origins, token = members.get("origins"), members.get("registration_token")
    texts = {name: members.get(name) for name in _TEXTS}
    if (
        members.get("v") != _VERSION
        or members.get("method") not in METHODS
        or not isinstance(members.get("secret"), str)
        or not all(value is None or isinstance(value, str) for value in (*texts.values(), token))
        or not (isinstance(origins, list) and origins and all(isinstance(origin, str) for origin in origins))
    ):
        raise malformed
    return Credential(
        method=str(members["method"]), secret=Secret(str(members["secret"])), origins=frozenset(map(str, origins)),
        registration_token=Secret(str(token)) if token is not None else None, source=source, **texts,  # type: ignore[arg-type]
    )  # fmt: skip


class Lookup:
    """Where the credential of a profile may come from, seen from this process.

    Args:
        handed: Reads what the command line hands in, ``None`` for nothing.
        keyring: Returns the keyring.
    """

    def __init__(
        self, profile: str, environment: Mapping[str, str], *, handed: Callable[[], Secret | None], keyring: Callable[[], Keyring]
    ) -> None:  # fmt: skip
        self._profile = profile
        self._environment = environment
        self._handed = handed
        self.keyring = keyring

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
        typed = self._handed()
        if typed is not None:
            return read(typed, method=method, source="what --credential-file or --credential-fd names")
        path = self._environment.get("TOKENCTL_CREDENTIAL_FILE")
        if path:
            return self._bare_where_home(read(read_file(path), method=method, source="TOKENCTL_CREDENTIAL_FILE"))
        handed = systemd_credential(self._environment, f"tokenctl.{self._profile}", limit=LARGEST)
        if handed is not None:
            return self._bare_where_home(read(handed, method=method, source=f"the credential tokenctl.{self._profile}"))
        try:
            kept = self.keyring().read(self.account)
        except AccessDenied as error:
            raise AccessDenied(
                f"no credential for profile {self._profile}: {error.message}", hint=self._remedy(), reason=error.reason
            ) from None
        if kept is None:
            raise AccessDenied(f"no credential for profile {self._profile}", hint=self._remedy(), reason="no_credential")
        return read(kept, method=method, source=f"the keyring's item {self.account}")

    def _remedy(self) -> str:
        return f"tokenctl login --profile {self._profile}; without a keyring: --credential-file FILE (0600)"

    def _bare_where_home(self, found: Credential) -> Credential:
        """Refuse a bare secret from the environment where the environment also says where it would go."""
        if found.origins is None and self._environment.get("TOKENCTL_CONFIG"):
            raise AccessDenied(
                f"{found.source} holds a bare secret, and TOKENCTL_CONFIG says where it would be sent",
                hint="name both yourself: --credential-file FILE; or store it with its origins: tokenctl login",
                reason="foreign_origin",
            )  # fmt: skip
        return found


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


def is_token(text: bytes) -> bool:
    """Whether a secret may stand in a header."""
    return re.fullmatch(rb"[\x21-\x7e]{1,65536}", text) is not None
