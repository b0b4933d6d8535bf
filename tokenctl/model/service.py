"""Where a remote token service is, and how an operator speaks to it, as a profile's table ``[service]`` says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

CLIENT_AUTHENTICATION = ("client_secret_basic", "client_secret_post", "private_key_jwt")  # RFC 7591 section 2, RFC 7523
ENDPOINTS = ("token", "introspection", "revocation", "jwks", "registration")
_TEXTS = ("address", "client_id", "client_auth", "ca_file", "namespace", "approle_mount", "transit_mount")
_LISTS = ("origins",)
_SAFE = re.compile(r"[\x21-\x7e]{1,2048}")
_NAME = re.compile(r"[A-Za-z0-9._~/-]{1,256}")  # what enters a path or a header


class ServiceSettings(NamedTuple):
    """What a profile says of its service.

    Attributes:
        address: Where OpenBao answers; an authorization server is named by its issuer instead.
        client_id: The operator's client (RFC 6749 section 2.2).
        client_auth: How that client proves itself; one of :data:`CLIENT_AUTHENTICATION`.
        ca_file: The certificates that alone are trusted; ``None`` for those of the machine.
        namespace: The namespace at OpenBao or Vault.
        approle_mount: Where AppRoles log in.
        transit_mount: Where the engine lies whose keys are the profile's signing keys; ``None`` for none.
        origins: Origins of endpoints beside that of the issuer, as they were confirmed.
        endpoints: Addresses that stand for those of the discovery, by their names in :data:`ENDPOINTS`.
    """

    address: str | None = None
    client_id: str | None = None
    client_auth: str = CLIENT_AUTHENTICATION[0]
    ca_file: str | None = None
    namespace: str | None = None
    approle_mount: str = "approle"
    transit_mount: str | None = None
    origins: tuple[str, ...] = ()
    endpoints: tuple[tuple[str, str], ...] = ()

    def table(self) -> dict[str, object]:
        """Return what :func:`read_service` reads."""
        told: dict[str, object] = {
            name: value for name, value in self._asdict().items() if value != ServiceSettings._field_defaults[name]
        }
        told |= {name: list(value) for name in _LISTS if (value := getattr(self, name))}
        if self.endpoints:
            told["endpoints"] = dict(self.endpoints)
        return told


def read_service(table: Mapping[str, object]) -> ServiceSettings | str:
    """Read the table ``[service]`` of a profile; return what is wrong with it where something is."""
    told: dict[str, object] = {}
    for name, value in table.items():
        if name in _TEXTS and isinstance(value, str) and _SAFE.fullmatch(value):
            told[name] = value
        elif name in _LISTS and isinstance(value, list) and all(isinstance(url, str) and _SAFE.fullmatch(url) for url in value):
            told[name] = tuple(value)
        elif name == "endpoints" and isinstance(value, dict) and all(_is_endpoint(*pair) for pair in value.items()):
            told[name] = tuple(sorted(value.items()))
        elif name in (*_TEXTS, *_LISTS, "endpoints"):
            return f"[service]: {name} is not what it has to be"
        else:
            return f"[service] has an unknown setting; known: {', '.join((*_TEXTS, *_LISTS, 'endpoints'))}"
    settings = ServiceSettings(**told)  # type: ignore[arg-type]  # the names and types were checked
    if settings.client_auth not in CLIENT_AUTHENTICATION:
        return f"[service]: client_auth is one of {', '.join(CLIENT_AUTHENTICATION)}"
    for name in ("namespace", "approle_mount", "transit_mount"):
        value = getattr(settings, name)
        if value is not None and (not _NAME.fullmatch(value) or ".." in value.split("/")):
            return f"[service]: {name} is of letters, digits and . _ ~ / -"
    return settings


def _is_endpoint(name: object, url: object) -> bool:
    return name in ENDPOINTS and isinstance(url, str) and _SAFE.fullmatch(url) is not None
