"""Identifiers and the base62 they are written in.

An id is a 128-bit UUIDv7 (RFC 9562 section 5.7) in 22 base62 characters: it sorts by time of issue and a double click selects it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 22
ID_BITS = 128
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def encode_base62(value: int, width: int) -> str:
    """Write ``value`` in ``width`` base62 characters, most significant first."""
    pairs = _pairs()
    digits = []
    for _ in range((width + 1) // 2):
        value, pair = divmod(value, len(pairs))
        digits.append(pairs[pair])
    digits.reverse()
    return "".join(digits)[-width:]


@cache
def _pairs() -> list[str]:
    """Return every two digits: two at once take half the time."""
    return [first + second for first in ALPHABET for second in ALPHABET]


def decode_base62(text: str) -> int | None:
    """Read base62 text; ``None`` where a character is not of the alphabet."""
    value = 0
    for character in text:
        digit = _VALUES.get(character)
        if digit is None:
            return None
        value = value * 62 + digit
    return value


def new_id(now: int, random: Callable[[int], bytes] = os.urandom) -> str:
    """Make an id.

    Args:
        now: Milliseconds since the epoch.
        random: The source of randomness.

    Source: RFC 9562 section 5.7.
    """
    low = int.from_bytes(random(10))
    value = (now & 0xFFFFFFFFFFFF) << 80
    value |= 0x7 << 76 | (low >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | low & 0x3FFFFFFFFFFFFFFF
    return encode_base62(value, ID_LENGTH)


def is_id(text: str) -> bool:
    """Tell whether ``text`` is an id: 22 base62 characters of a value below 2^128."""
    if len(text) != ID_LENGTH:
        return False
    value = decode_base62(text)
    return value is not None and value < 1 << ID_BITS
