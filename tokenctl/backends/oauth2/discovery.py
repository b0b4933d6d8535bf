"""Where an authorization server has its endpoints, by its own metadata.

Source: RFC 8414 sections 3 and 5; OpenID Connect Discovery 1.0 section 4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from tokenctl.backends.oauth2.cache import METADATA_LIFETIME, Cache
from tokenctl.errors import InvalidRequest, ServerError
from tokenctl.http.peer import Answer, Peer, origin_of
from tokenctl.model.service import ENDPOINTS

_MEMBERS = {
    "token": "token_endpoint", "introspection": "introspection_endpoint", "revocation": "revocation_endpoint",
    "jwks": "jwks_uri", "registration": "registration_endpoint",
}  # fmt: skip


class Metadata(NamedTuple):
    """What a server says of itself.

    Attributes:
        endpoints: Addresses by their names in :data:`tokenctl.model.service.ENDPOINTS`; what is lacking is left out.
        client_auth: How clients may authenticate at the token endpoint.
        grants: The grant types it knows; ``None`` where it does not say.
    """

    issuer: str
    endpoints: Mapping[str, str]
    client_auth: tuple[str, ...]
    grants: tuple[str, ...] | None = None

    @property
    def origins(self) -> frozenset[str]:
        """Where its endpoints lie, the issuer's own origin included."""
        return self.origins_of(self.endpoints)

    def origins_of(self, names: Collection[str]) -> frozenset[str]:
        """Return where some of its endpoints lie, the issuer's own origin included."""
        return frozenset({origin_of(self.issuer), *(origin_of(url) for name, url in self.endpoints.items() if name in names)})

    def require_confirmed(self, confirmed: Collection[str], names: Collection[str], remedy: str) -> None:
        """Refuse endpoints at an origin that nobody confirmed (exit 8): what is meant for the issuer would go there."""
        foreign = sorted(self.origins_of(names) - set(confirmed))
        if foreign:
            raise ServerError(
                f"{self.issuer} names an endpoint at {foreign[0]}, which was never confirmed: nothing was sent there",
                hint=f"if that is right: {remedy}", reason="foreign_origin",
            )  # fmt: skip


def locations(issuer: str) -> tuple[str, str]:
    """Return where the metadata of an issuer may lie: by RFC 8414, then by OpenID Connect Discovery."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}",
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
    )


def discover(peer: Peer, issuer: str, overrides: Mapping[str, str]) -> Metadata:
    """Ask a server for its metadata.

    Args:
        overrides: Addresses that stand for those of the metadata.

    Raises:
        ServerError: none of the places holds metadata, it names another issuer, or an address that is none (exit 8).
        Unanswered: not reached (exit 7).
    """
    return _asked(peer, issuer, overrides)[0]


def _asked(peer: Peer, issuer: str, overrides: Mapping[str, str]) -> tuple[Metadata, bytes]:
    refused: Answer | None = None
    for location in locations(issuer):
        answer = peer.ask("GET", location, repeatable=True)
        if answer.status == 200 and answer.body.lstrip()[:1] == b"{":
            return _read(answer, issuer, overrides), answer.body
        refused = answer
    assert refused is not None
    raise ServerError(
        f"{issuer} shows no metadata (RFC 8414): it answered {refused.status}",
        hint="check the issuer; its path counts", reason="no_metadata",
    )  # fmt: skip


def known_or_discovered(peer: Peer, issuer: str, overrides: Mapping[str, str], cache: Cache) -> Metadata:
    """Return :func:`discover`, from the cache where what it holds is fresh."""
    kept = cache.document("metadata", issuer)
    if kept is not None:
        with suppress(ServerError):
            return _read(Answer(issuer, 200, {}, kept.encode("utf-8")), issuer, overrides)
    found, body = _asked(peer, issuer, overrides)
    cache.keep("metadata", issuer, body, METADATA_LIFETIME)
    return found


def kept_metadata(issuer: str, overrides: Mapping[str, str], cache: Cache) -> Metadata | None:
    """Return the metadata that the cache holds, however old; ``None`` where it holds none."""
    kept = cache.get("metadata", issuer)
    if kept is not None:
        with suppress(ServerError):
            return _read(Answer(issuer, 200, {}, kept.body.encode("utf-8")), issuer, overrides)
    return None


def _read(answer: Answer, issuer: str, overrides: Mapping[str, str]) -> Metadata:
    members = answer.members()
    if members.get("issuer") != issuer:
        said = members.get("issuer")
        shown = said if isinstance(said, str) and said.isprintable() and len(said) < 200 else "another one, or none"
        raise ServerError(
            f"the metadata of {issuer} is of another issuer: {shown}",
            hint="name that one, to the letter, if it is the one you mean", reason="issuer_differs",
        )  # fmt: skip
    endpoints: dict[str, str] = {}
    for name in ENDPOINTS:
        url = overrides.get(name, members.get(_MEMBERS[name]))
        if url is None:
            continue
        try:
            origin_of(url if isinstance(url, str) else "")
        except InvalidRequest as error:
            raise ServerError(f"the {_MEMBERS[name]} of {issuer} is none: {error.message}", reason="malformed_metadata") from None
        endpoints[name] = str(url)
    methods, grants = members.get("token_endpoint_auth_methods_supported"), members.get("grant_types_supported")
    return Metadata(
        issuer, endpoints, client_auth=_texts(methods) or ("client_secret_basic",),  # its default by RFC 8414 section 2
        grants=_texts(grants) if isinstance(grants, list) else None,
    )  # fmt: skip


def _texts(value: object) -> tuple[str, ...]:
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, list) else ()
