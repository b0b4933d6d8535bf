"""Text from outside, made safe to print: no control character, no bidirectional trick, no markup."""

from __future__ import annotations

_IGNORABLE = frozenset((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0))
_NARROWEST = 20  # columns that text is folded into


def escape(text: str) -> str:
    """Return the text with everything that a terminal or a reader could be fooled by written as an escape."""
    if text.isprintable() and text.isascii():
        return text
    return "".join(_escaped(character) if _hidden(character) else character for character in text)


def _hidden(character: str) -> bool:
    """Whether a character is not printable, or is by its class and yet shows nothing (Default_Ignorable_Code_Point)."""
    if not character.isprintable():
        return True
    code = ord(character)
    return code in _IGNORABLE or 0x180B <= code <= 0x180F or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _escaped(character: str) -> str:
    code = ord(character)
    if character in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell(text: str | None) -> str:
    """Return a column's text: escaped, a backslash of its own too, so that it reads back one way; ``-`` for empty."""
    return escape(text.replace("\\", "\\\\")) if text else "-"


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 0 if combining(character) else 1 for character in text)


def pad(text: str, columns: int) -> str:
    """Fill a text with spaces to a number of columns."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """Cut an escaped text to a number of columns, with ``…``; only for a terminal, and never for an id."""
    if width(text) <= columns:
        return text
    shown = text[: max(columns - 1, 0)]
    while width(shown) > columns - 1 and shown:
        shown = shown[:-1]
    return f"{shown}…" if columns > 0 else ""


def fold(head: str, text: str, columns: int) -> str:
    """Put an escaped text behind a head, folded between words into the columns beside it; a long word stays whole."""
    room = columns - width(head)
    if width(text) <= room or room < _NARROWEST:
        return head + text
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and width(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return head + f"\n{' ' * width(head)}".join(lines)
