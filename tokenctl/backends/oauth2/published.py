"""What one issuer publishes: its metadata and its keys, asked for as seldom as the cache allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.oauth2.cache import Cache
from tokenctl.backends.oauth2.discovery import Metadata, kept_metadata, known_or_discovered
from tokenctl.http.peer import Peer

if TYPE_CHECKING:
    from tokenctl.formats.jwk import KeySet


class Published:
    """An issuer, spoken to when something of it is needed that the cache does not hold.

    Args:
        peer: Speaks to the origins that were confirmed for it.
        overrides: Addresses that stand for those of its metadata.
        endpoints: Which of them matter, by their names; at an origin that was never confirmed none of these may lie.
        remedy: What to do where one does.
    """

    def __init__(
        self, peer: Peer, issuer: str, overrides: Mapping[str, str], cache: Cache, *, endpoints: Collection[str], remedy: str
    ) -> None:  # fmt: skip
        self.issuer = issuer
        self._peer = peer
        self._overrides = overrides
        self._cache = cache
        self._endpoints = endpoints
        self._remedy = remedy

    @cached_property
    def metadata(self) -> Metadata:
        """What it says of itself.

        Raises:
            ServerError: it names an endpoint at an origin that was not confirmed, or shows no metadata (exit 8).
            Unanswered: not reached (exit 7).
        """
        found = known_or_discovered(self._peer, self.issuer, self._overrides, self._cache)
        found.require_confirmed(self._peer.origins, self._endpoints, self._remedy)
        return found

    def keys(self, *, kid: str | None = None, offline: bool = False) -> KeySet | None:
        """Return the keys that verify its JWTs; ``None`` where it shows none.

        Args:
            kid: The key that is looked for: keys known from before that lack it are asked for anew.
            offline: Ask nobody; what is kept counts, however old.

        Raises:
            Unanswered: not reached, and nothing fresh is kept (exit 7).
            ServerError: no key set (exit 8).
        """
        metadata = kept_metadata(self.issuer, self._overrides, self._cache) if offline else self.metadata
        url = metadata.endpoints.get("jwks") if metadata is not None else None
        return self._cache.keys(self._peer, url, kid, offline=offline) if url is not None else None
