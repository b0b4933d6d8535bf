"""What an authorization server publishes, kept between commands in the cache directory, never in the store.

Its metadata for some minutes, its keys as long as it says itself within bounds. A kid that is not there is asked for anew,
at most once a minute for the profile, so that made-up tokens make no load.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import NamedTuple

from tokenctl import files
from tokenctl.errors import ServerError, TemporarilyUnavailable, TokenctlError
from tokenctl.formats import strict_json
from tokenctl.formats.jwk import MAX_KEY_SET, KeySet, read_key_set
from tokenctl.http.peer import Answer, Peer, origin_of
from tokenctl.model.times import MINUTE, SECOND

METADATA_LIFETIME = 10 * MINUTE
_SHORTEST, _DEFAULT, _LONGEST = 60, 3_600, 86_400  # seconds that keys are kept
_ASKED_ANEW = MINUTE


class Kept(NamedTuple):
    """A document of a URL; times in milliseconds UTC.

    Attributes:
        asked_at: When somebody last asked for what it lacks.
    """

    url: str
    fetched_at: int
    fresh_until: int
    body: str
    asked_at: int = 0


class Cache:
    """The cache of one profile.

    Args:
        folder: Its directory; made when it is first needed.
        now: Milliseconds since the epoch.
    """

    def __init__(self, folder: str, now: int) -> None:
        self._folder = folder
        self._now = now

    def get(self, name: str, url: str) -> Kept | None:
        """Return what is kept under a name, if it is of that URL and of the past; whatever is not understood is not there."""
        try:
            data = files.read_owned(os.path.join(self._folder, name), limit=2 * MAX_KEY_SET)
            members = strict_json.read_object(data, what="the cache") if data is not None else {}
            kept = Kept(**members)  # type: ignore[arg-type]  # judged below
        except (TokenctlError, TypeError):
            return None
        texts = isinstance(kept.url, str) and isinstance(kept.body, str)
        times = (kept.fetched_at, kept.fresh_until, kept.asked_at)
        numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in times)
        return kept if texts and numbers and kept.url == url and kept.fetched_at <= self._now else None

    def put(self, name: str, kept: Kept) -> None:
        """Keep a document; a cache that cannot be written is none."""
        with suppress(OSError, TokenctlError):
            files.make_directory(self._folder)
            files.replace_owned(os.path.join(self._folder, name), json.dumps(kept._asdict()).encode("ascii"), durable=False)

    def document(self, name: str, url: str) -> str | None:
        """Return a document that is still fresh."""
        kept = self.get(name, url)
        return kept.body if kept is not None and self._now < kept.fresh_until else None

    def keep(self, name: str, url: str, body: bytes, lifetime: int) -> None:
        self.put(name, Kept(url, self._now, self._now + lifetime, body.decode("utf-8", "replace")))

    def keys(self, peer: Peer, url: str, kid: str | None, *, offline: bool = False) -> KeySet | None:
        """Return the keys of a ``jwks_uri``; ``None`` where nothing is kept and nobody may be asked.

        Raises:
            TemporarilyUnavailable: not reached, and nothing fresh is kept (exit 7).
            ServerError: no key set (exit 8).
        """
        kept, known = self._known_keys(url)
        if offline:
            return known
        if kept is not None and known is not None and self._now < kept.fresh_until:
            if kid is None or any(key.kid == kid for key in known.keys):
                return known
            if self._now - kept.fetched_at < _ASKED_ANEW:
                return known
            if 0 <= self._now - kept.asked_at < _ASKED_ANEW:
                raise TemporarilyUnavailable(
                    f"{origin_of(url)} was asked for an unknown key less than a minute ago, and did not answer",
                    hint="run again in a minute", reason="unanswered",
                )  # fmt: skip
            self.put("jwks", kept._replace(asked_at=self._now))
        answer = peer.ask("GET", url, repeatable=True)
        keys = _key_set(answer)
        lifetime = min(max(answer.fresh_for if answer.fresh_for is not None else _DEFAULT, _SHORTEST), _LONGEST)
        self.keep("jwks", url, answer.body, lifetime * SECOND)
        return keys

    def _known_keys(self, url: str) -> tuple[Kept | None, KeySet | None]:
        kept = self.get("jwks", url)
        if kept is not None:
            with suppress(TokenctlError):  # what is not understood is asked for anew
                return kept, _asymmetric(kept.body.encode("utf-8"))
        return None, None


def _key_set(answer: Answer) -> KeySet:
    if answer.status != 200 or len(answer.body) > MAX_KEY_SET:
        raise ServerError(f"{answer.place} answered {answer.status} where a key set was expected", reason="no_keys")
    try:
        return _asymmetric(answer.body)
    except TokenctlError as error:
        raise ServerError(f"{answer.place} broke its contract: {error.message}", reason="no_keys") from None


def _asymmetric(body: bytes) -> KeySet:
    """Read a key set without its shared keys: one that everybody can fetch proves nothing."""
    keys = read_key_set(body)
    return KeySet(keys=tuple(key for key in keys.keys if key.kty != "oct"), rejected=keys.rejected)
