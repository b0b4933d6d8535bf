"""The opaque token: ``tkc_<kind>_<id>_<secret><crc>``.

kind is ``at``, ``pat`` or ``svc``; id 22, secret 43 (256 random bits) and crc 6 base62 characters.
The CRC-32 covers all before it.
The checksum tells a typing mistake from a token offline; it proves nothing, only the secret does.
"""

import os
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from tokenctl.model.identifier import ID_LENGTH, decode_base62, encode_base62, is_id
from tokenctl.secret import Secret

PREFIX_OF_KIND = {"access": "at", "personal": "pat", "service": "svc"}
KIND_OF_PREFIX = {prefix: kind for kind, prefix in PREFIX_OF_KIND.items()}

_SECRET_LENGTH = 43
_SECRET_BITS = 256
_CRC_LENGTH = 6
_NO_TOKEN = "not of the form tkc_<kind>_<id>_<secret>"
# The same form as ``parse`` reads, for finding tokens in other text.
PATTERN = r"tkc_(?:at|pat|svc)_([0-9A-Za-z]{22})_[0-9A-Za-z]{49}"


class OpaqueToken(NamedTuple):
    """An opaque token of the right form; its secret is not proved by that."""

    kind: str
    id: str
    text: Secret


def mint(kind: str, identifier: str, random: Callable[[int], bytes] = os.urandom) -> Secret:
    """Make the text of a new token with a fresh secret."""
    secret = encode_base62(int.from_bytes(random(_SECRET_BITS // 8)), _SECRET_LENGTH)
    body = f"tkc_{PREFIX_OF_KIND[kind]}_{identifier}_{secret}"
    return Secret(body + _checksum(body))


def parse(text: str) -> OpaqueToken | str:
    """Read a token.

    Returns:
        The token, or the reason why the text is none; the reason holds nothing of the text.
    """
    parts = text.split("_")
    if len(parts) != 4 or parts[0] != "tkc" or parts[1] not in KIND_OF_PREFIX:
        return _NO_TOKEN
    _, prefix, identifier, tail = parts
    secret, crc = tail[:_SECRET_LENGTH], tail[_SECRET_LENGTH:]
    if len(identifier) != ID_LENGTH or len(crc) != _CRC_LENGTH or decode_base62(identifier + tail) is None:
        return _NO_TOKEN
    if _checksum(text[:-_CRC_LENGTH]) != crc:
        return "the checksum does not match: mistyped or cut"
    value = decode_base62(secret)
    if not is_id(identifier) or value is None or value >= 1 << _SECRET_BITS:
        return "a value beyond its range"
    return OpaqueToken(kind=KIND_OF_PREFIX[prefix], id=identifier, text=Secret(text))


def named_id(text: str) -> str | None:
    """Return the id that ``text`` names: an id, or a token's beginning without its secret part."""
    parts = text.split("_")
    candidate = parts[2] if len(parts) == 3 and parts[0] == "tkc" and parts[1] in KIND_OF_PREFIX else text
    return candidate if is_id(candidate) else None


def _checksum(text: str) -> str:
    return encode_base62(crc32(text.encode("ascii")), _CRC_LENGTH)
