"""What ``profile add`` is told of a remote service, and what the service shows of itself before the profile is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from tokenctl.commands.context import Context
from tokenctl.config import Profile
from tokenctl.errors import InvalidConfiguration, InvalidRequest, naming
from tokenctl.model.service import ENDPOINTS, ServiceSettings, read_service


class Remote(NamedTuple):
    """The options for a remote service, as they were typed."""

    address: str | None = None
    namespace: str | None = None
    client_id: str | None = None
    client_auth: str | None = None
    endpoint: tuple[str, ...] = ()
    ca_file: str | None = None
    approle_mount: str | None = None
    transit_mount: str | None = None


NOT_REMOTE = Remote()


def remotely(context: Context, profile: Profile, remote: Remote, *, yes: bool) -> Profile:
    """Return the profile with what belongs to its service; origins of endpoints beside the issuer's are asked for.

    Raises:
        InvalidRequest: an option that does not fit the backend, or an origin that nobody confirmed (exit 2).
        ServerError, Unanswered: as of ``discover`` (exit 8, 7).
    """
    _check_fit(profile, remote)
    if profile.backend == "local":
        return profile
    from tokenctl.http.peer import origin_of

    with naming("--issuer" if profile.backend == "oauth2" else "--address"):
        origin_of(str(profile.issuer if profile.backend == "oauth2" else remote.address))
    settings = ServiceSettings(
        address=remote.address, namespace=remote.namespace, client_id=remote.client_id, endpoints=_endpoints(remote.endpoint),
        approle_mount=remote.approle_mount or ServiceSettings().approle_mount, transit_mount=remote.transit_mount,
        client_auth=remote.client_auth or ServiceSettings().client_auth,
        ca_file=os.path.abspath(remote.ca_file) if remote.ca_file is not None else None,
    )  # fmt: skip
    wrong = read_service(settings.table())
    if isinstance(wrong, str):
        raise InvalidRequest(wrong.removeprefix("[service]: "))
    if profile.backend == "oauth2":
        settings = settings._replace(origins=_confirmed(context, profile, settings, yes=yes))
    return profile._replace(service_table=settings.table() or None)


def _check_fit(profile: Profile, remote: Remote) -> None:
    of_backend: Mapping[str, tuple[str, ...]] = {
        "local": (), "oauth2": ("client_id", "client_auth", "endpoint", "ca_file"),
        "openbao": ("address", "namespace", "ca_file", "approle_mount", "transit_mount"),
    }  # fmt: skip
    for name in Remote._fields:
        if getattr(remote, name) and name not in of_backend[profile.backend]:
            raise InvalidRequest(f"--{name.replace('_', '-')} does not go with --backend {profile.backend}")
    if profile.backend == "oauth2" and profile.issuer is None:
        raise InvalidRequest("--issuer: an authorization server is named by its issuer", hint="--issuer https://HOST")
    if profile.backend == "openbao" and remote.address is None:
        raise InvalidRequest("--address: where OpenBao answers", hint="--address https://HOST:8200")
    if profile.backend != "local" and (profile.jwks_file or profile.verifiers):
        raise InvalidRequest("--jwks-file and --verifier are for keys of a local profile")
    if profile.backend == "openbao" and (profile.issuer or profile.default_audience):
        raise InvalidRequest("--issuer and --default-audience do not go with --backend openbao")


def _endpoints(written: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    from tokenctl.http.peer import origin_of

    found: dict[str, str] = {}
    for text in written:
        name, _, url = text.partition("=")
        if name not in ENDPOINTS or name in found:
            raise InvalidRequest(f"--endpoint: NAME=URL, each name once, one of {', '.join(ENDPOINTS)}")
        with naming(f"--endpoint {name}"):
            origin_of(url)
        found[name] = url
    return tuple(sorted(found.items()))


def _confirmed(context: Context, profile: Profile, settings: ServiceSettings, *, yes: bool) -> tuple[str, ...]:
    """Ask the server for its metadata, and whoever is there for the origins that are not its issuer's."""
    from tokenctl.backends.oauth2.discovery import discover
    from tokenctl.http.peer import Peer, origin_of

    issuer, overrides = str(profile.issuer), dict(settings.endpoints)
    named = {origin_of(issuer), *map(origin_of, overrides.values())}
    peer = Peer(named, ca_file=settings.ca_file, seconds=context.surroundings.timeout)
    try:
        metadata = discover(peer, issuer, overrides)
    finally:
        peer.close()
    if "token" not in metadata.endpoints:
        raise InvalidConfiguration(f"{issuer} names no token endpoint", hint="--endpoint token=URL")
    if settings.client_auth not in metadata.client_auth:
        context.console.warn(f"{issuer} does not say that clients may use {settings.client_auth}")
    foreign = sorted(metadata.origins - named)
    if foreign and not yes:
        for origin in foreign:
            names = ", ".join(name for name, url in metadata.endpoints.items() if origin_of(url) == origin)
            context.console.notice(f"{issuer} has endpoints at {origin}: {names}")
        context.console.confirm(f"Give the credential of {profile.name} to {', '.join(foreign)} too?", 1, "added")
    return tuple(foreign)
