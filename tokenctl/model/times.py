"""Instants and durations: how they are read, written and told.

Inside the program an instant is an ``int`` of milliseconds since the epoch, UTC, and a duration an ``int`` of milliseconds.
NumericDate seconds appear only on the wire, RFC 3339 only on the screen and in JSON.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from tokenctl.errors import InvalidRequest

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LAST_INSTANT = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that RFC 3339 can write
LONGEST_DURATION = 3_650 * DAY

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "w": 7 * DAY}
_SHORT = r"(?:[0-9]{1,9}[wdhms])+"
_PART = r"([0-9]+)([wdhms])"
_ISO = r"P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str, *, zero: bool = False) -> int:
    """Read ``90s 15m 12h 30d 1d12h`` or an ISO 8601 duration without years and months.

    Args:
        zero: Whether nothing (``0s``) is a duration too.

    Returns:
        Milliseconds, more than zero, at most ten years.

    Raises:
        InvalidRequest: not a duration; the hint gives the nearest form (exit 2).
    """
    if re.fullmatch(_SHORT, text):
        parts = [(int(number), unit) for number, unit in re.findall(_PART, text)]
        units = [unit for _, unit in parts]
        if len(set(units)) == len(units):
            return _bounded(sum(number * _UNITS[unit] for number, unit in parts), zero=zero)
    iso = re.fullmatch(_ISO, text)
    if iso and text[-1] not in "PT":
        sizes = (7 * DAY, DAY, HOUR, MINUTE, SECOND)
        return _bounded(sum(int(number) * size for number, size in zip(iso.groups(), sizes, strict=True) if number), zero=zero)
    raise InvalidRequest("not a duration", hint=_duration_hint(text))


def _bounded(duration: int, *, zero: bool) -> int:
    if not 0 < duration <= LONGEST_DURATION and not (zero and duration == 0):
        raise InvalidRequest("a duration is more than 0s and at most 3650d", hint="for example 15m, 12h or 30d")
    return duration


def _duration_hint(text: str) -> str:
    together = "".join(text.split())
    if together != text and re.fullmatch(_SHORT, together):
        return f"{together}?"
    number = re.match(r"[0-9]{1,9}", text)
    if number is None:
        return "write 90s, 15m, 12h, 30d or 1d12h"
    rest = text[number.end() :].strip().lower()
    if rest == "":
        return f"a bare number has no unit: {number[0]}s or {number[0]}m?"
    if rest in {"y", "yr", "year", "years"}:
        return f"years differ in length: {365 * int(number[0])}d?"
    if rest in {"mo", "mon", "month", "months"}:
        return f"months differ in length: {30 * int(number[0])}d?"
    if rest[0] in "dhmsw":
        return f"{number[0]}{rest[0]}?"
    return "write 90s, 15m, 12h, 30d or 1d12h"


def parse_instant(text: str, now: int, *, ago: bool = False) -> int:
    """Read RFC 3339, ``2026-11-23``, ``2026-11-23T14:00`` (UTC), ``now today yesterday``, ``-7d`` or ``+1h``.

    Args:
        text: What was given.
        now: The one reading of the clock, milliseconds.
        ago: A bare duration means that long before now (``--since 2h``); elsewhere it is refused.

    Raises:
        InvalidRequest: not a time, or outside 1970 to 9999 (exit 2).
    """
    midnight = now - now % DAY
    words = {"now": now, "today": midnight, "yesterday": midnight - DAY}
    if text in words:
        return words[text]
    if text[:1] in ("-", "+"):
        distance = parse_duration(text[1:])
        return _in_range(now - distance if text[0] == "-" else now + distance)
    if re.fullmatch(_SHORT, text) or re.fullmatch(_ISO, text):
        if ago:
            return _in_range(now - parse_duration(text))
        raise InvalidRequest("a time, not a duration, is needed", hint=f"-{text} (ago) or +{text} (from now)?")
    return _in_range(_parse_calendar(text))


def _parse_calendar(text: str) -> int:
    try:
        if not re.match(r"\d{4}-\d\d-\d\d(?:$|[Tt ]\d\d:\d\d)", text, re.ASCII):
            raise ValueError
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "not a time", hint="write 2026-11-23T14:00Z, 2026-11-23, now, today, -7d (ago) or +1h (from now)"
        ) from None


def _in_range(instant: int) -> int:
    if not 0 <= instant <= LAST_INSTANT:
        raise InvalidRequest("a time lies between 1970 and 9999")
    return instant


@lru_cache(maxsize=1024)
def format_instant(instant: int) -> str:
    """Write RFC 3339 UTC, to the second, or to the millisecond where it has some."""
    instant = min(max(instant, 0), LAST_INSTANT)
    moment = _EPOCH + timedelta(milliseconds=instant)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").zfill(19)
    return f"{text}.{instant % SECOND:03}Z" if instant % SECOND else f"{text}Z"


def format_clock(instant: int, now: int) -> str:
    """Write an instant for a person: the time alone where it is within twelve hours, else date and time."""
    text = format_instant(instant - instant % SECOND)
    return text[11:] if abs(instant - now) < 12 * HOUR else text.replace("T", " ")


def format_duration(duration: int) -> str:
    """Write a duration for a person, in its two largest units: ``14m 12s``, ``1d 12h``, ``0s``."""
    rest = max(duration, 0) // SECOND
    parts = []
    for letter, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{letter}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts) or "0s"


def format_exactly(duration: int) -> str:
    """Write a duration of whole seconds as it can be read again, in the largest unit that holds it: ``90d``, ``90s``."""
    sizes = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND))
    return next((f"{duration // size}{letter}" for letter, size in sizes if not duration % size), f"{duration // SECOND}s")


def format_distance(instant: int, now: int) -> str:
    """Write how far an instant is from now: ``in 14m``, ``48s ago``."""
    if instant > now:
        return f"in {format_duration(instant - now)}"
    return f"{format_duration(now - instant)} ago"
