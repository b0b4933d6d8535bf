"""What protects the rows of a store.

Every token and key row carries an HMAC over all its columns but the observations; a token's also covers its tags.
"""

import json
import json.encoder
from collections.abc import Callable, Mapping
from hashlib import sha256
from operator import itemgetter

from tokenctl.model.token import Key, Token
from tokenctl.store.schema import ADDED_COLUMNS

NONCE_TAG_LENGTH = 16  # bytes
TAGS = ("scope", "audience", "labels")
_UNPROTECTED = frozenset({"last_used_at", "delivered_at"})
_FIRST_COLUMNS = [name for name in Token._fields if name not in {*TAGS, *ADDED_COLUMNS, *_UNPROTECTED}]
_AT = {name: place for place, name in enumerate(Token._fields)}
_limited_columns = itemgetter(*(_AT[name] for name in _FIRST_COLUMNS))
# Uses are an observation where they are not limited.
_unlimited_columns = itemgetter(*(_AT[name] for name in _FIRST_COLUMNS if name != "uses"))
_added_columns = [(name, _AT[name]) for name in ADDED_COLUMNS]
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_BLOCK = 64  # bytes


def _encoder() -> Callable[[object], str]:
    """Return what writes compact ASCII JSON; one encoder for all, where the interpreter has the one in C."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(separators=(",", ":"), default=bytes.hex).encode
    write = make(None, bytes.hex, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda value: "".join(write(value, 0))


_written = _encoder()


class Mac:
    """HMAC-SHA-256 under one key for many messages: what the key alone decides is hashed once. Source: RFC 2104 section 4."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner, self._outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class Protector:
    """Makes and checks the MACs of one store's rows."""

    __slots__ = ("_digest", "_nonces", "key", "store_id")

    def __init__(self, key: bytes, store_id: str) -> None:
        self.key = key
        self.store_id = store_id
        self._digest = Mac(key).digest
        self._nonces = f'["tokenctl/row/v1","{store_id}","nonce",['  # an id needs no escaping

    def token_mac(self, token: Token) -> bytes:
        columns = _limited_columns(token) if token.max_uses is not None else _unlimited_columns(token)
        # A column that came later counts where it is filled, so that the rows of an older store keep their MAC.
        added = [[name, token[place]] for name, place in _added_columns if token[place] is not None]
        return self._mac("token", [*columns, sorted(token.scope), sorted(token.audience), sorted(token.labels), *added])

    def key_mac(self, key: Key) -> bytes:
        return self._mac("key", [_plain(getattr(key, name)) for name in Key._fields])

    def meta_mac(self, meta: Mapping[str, object]) -> bytes:
        return self._mac("meta", [[name, _plain(value)] for name, value in sorted(meta.items()) if name != "mac"])

    def nonce_tag(self, seq: int, nonce: bytes) -> bytes:
        # What _mac would write: every record has such a tag.
        return self._digest(f'{self._nonces}{seq},"{nonce.hex()}"]]'.encode("ascii"))[:NONCE_TAG_LENGTH]

    def _mac(self, table: str, columns: list[object]) -> bytes:
        return self._digest(_written(["tokenctl/row/v1", self.store_id, table, columns]).encode("ascii"))


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
