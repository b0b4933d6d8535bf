"""The one strict JSON reader for all that comes from outside: token parts, key sets, answers of services.

Two parsers that read one text differently are a way around a check, so whatever JSON leaves to the reader is
refused here: duplicate names, NaN and Infinity, integers that a double cannot hold, lone surrogates, a byte
order mark.
A reason never repeats content, so it can be shown.

Source: RFC 8259 sections 4, 6, 8.1, 8.2; RFC 7493 (I-JSON); RFC 8725 section 2.4.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import NoReturn

from tokenctl.errors import InvalidRequest

MAX_DEPTH = 32  # objects and arrays within each other
MAX_INTEGER = 1 << 53  # the largest up to which every integer is exact in a double
MAX_NUMBER_LENGTH = 64  # characters; longer ones only cost time

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class MalformedJson(InvalidRequest):
    """The bytes are not the strict JSON that was expected (exit 2)."""


def read_object(data: bytes, *, what: str) -> dict[str, object]:
    """Read one JSON object.

    Args:
        data: UTF-8 without byte order mark; the caller limits its size.
        what: What is being read, for the message: ``the header``.

    Raises:
        MalformedJson: not strict JSON, or not an object (exit 2).
    """
    value = read_value(data, what=what)
    if not isinstance(value, dict):
        raise MalformedJson(f"{what} is no JSON object")
    return value


def read_value(data: bytes, *, what: str) -> object:
    """Read one JSON value of any type; arguments and errors as of :func:`read_object`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedJson(f"{what} is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise MalformedJson(f"{what} starts with a byte order mark")
    try:
        # Counted first: a parser that recurses would be stopped by its stack, not by us.
        _check_depth(text)
        value: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        if _SURROGATE.search(text):
            _check_surrogates(value)
    except _RefusedError as refusal:
        raise MalformedJson(f"{what} {refusal}") from None
    except (ValueError, RecursionError):
        raise MalformedJson(f"{what} is not JSON") from None
    return value


class _RefusedError(Exception):
    """Carries the reason out of the parser's hooks."""


def _check_depth(text: str) -> None:
    depth = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _RefusedError(f"nests deeper than {MAX_DEPTH}")
        elif character in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RefusedError("holds a name twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_LENGTH or abs(value := int(digits)) > MAX_INTEGER:
        raise _RefusedError("holds an integer beyond 2^53")
    return value


def _float(digits: str) -> float:
    if len(digits) > MAX_NUMBER_LENGTH or not isfinite(value := float(digits)):
        raise _RefusedError("holds a number out of range")
    return value


def _constant(name: str) -> NoReturn:
    raise _RefusedError("holds NaN or Infinity")


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _RefusedError("holds half a surrogate pair") from None
