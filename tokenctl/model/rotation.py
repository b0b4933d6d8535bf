"""When signing keys change."""

from collections.abc import Mapping
from typing import NamedTuple

from tokenctl.errors import InvalidRequest
from tokenctl.model.times import DAY, HOUR, parse_duration


class Rotation(NamedTuple):
    """How a profile's signing keys change; durations in milliseconds.

    Attributes:
        age: How long a key signs before another follows it.
        publication: How long verifiers can see a key before it signs.
        grace: How long after the last expiry of its tokens a key is kept for verifiers.
    """

    age: int = 90 * DAY
    publication: int = 24 * HOUR
    grace: int = HOUR


def read_rotation(table: Mapping[str, object]) -> Rotation | str:
    """Read the table ``[rotation]`` of a profile; return what is wrong with it where something is."""
    known: dict[str, int] = {}
    for name, value in table.items():
        if name not in Rotation._fields:
            return f"[rotation] has an unknown setting; known: {', '.join(Rotation._fields)}"
        try:
            known[name] = parse_duration(value if isinstance(value, str) else "", zero=name != "age")
        except InvalidRequest:
            return f'[rotation]: {name} is a duration in quotes, like "{"30d" if name == "age" else "1h"}"'
    return Rotation(**known)
