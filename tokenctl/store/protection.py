"""What protects the rows of a store.

Every token and key row carries an HMAC over all its columns but the observations; a token's also covers its tags.
"""

import hmac
import json
from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

from tokenctl.model.token import Key, Token
from tokenctl.store.schema import ADDED_COLUMNS

NONCE_TAG_LENGTH = 16  # bytes
TAGS = ("scope", "audience", "labels")
_UNPROTECTED = frozenset({"last_used_at", "delivered_at"})
_FIRST_COLUMNS = [name for name in Token._fields if name not in {*TAGS, *ADDED_COLUMNS, *_UNPROTECTED}]
_limited_columns = attrgetter(*_FIRST_COLUMNS)
# Uses are an observation where they are not limited.
_unlimited_columns = attrgetter(*(name for name in _FIRST_COLUMNS if name != "uses"))
_written = json.JSONEncoder(separators=(",", ":"), default=bytes.hex).encode


class Protector(NamedTuple):
    """Makes and checks the MACs of one store's rows."""

    key: bytes
    store_id: str

    def token_mac(self, token: Token) -> bytes:
        protected = _limited_columns if token.max_uses is not None else _unlimited_columns
        columns = protected(token)
        # A column that came later counts where it is filled, so that the rows of an older store keep their MAC.
        added = [[name, getattr(token, name)] for name in ADDED_COLUMNS if getattr(token, name) is not None]
        return self._mac("token", [*columns, sorted(token.scope), sorted(token.audience), sorted(token.labels), *added])

    def key_mac(self, key: Key) -> bytes:
        return self._mac("key", [_plain(getattr(key, name)) for name in Key._fields])

    def meta_mac(self, meta: Mapping[str, object]) -> bytes:
        return self._mac("meta", [[name, _plain(value)] for name, value in sorted(meta.items()) if name != "mac"])

    def nonce_tag(self, seq: int, nonce: bytes) -> bytes:
        # What _mac would write: an id needs no escaping, and every record has such a tag.
        text = f'["tokenctl/row/v1","{self.store_id}","nonce",[{seq},"{nonce.hex()}"]]'
        return hmac.digest(self.key, text.encode("ascii"), "sha256")[:NONCE_TAG_LENGTH]

    def _mac(self, table: str, columns: list[object]) -> bytes:
        text = _written(["tokenctl/row/v1", self.store_id, table, columns])
        return hmac.digest(self.key, text.encode("ascii"), "sha256")


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
