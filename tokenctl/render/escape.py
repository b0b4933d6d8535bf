"""Text from outside, made safe to print: no control character, no bidirectional trick, no markup."""

from __future__ import annotations


def escape(text: str) -> str:
    """Return the text with everything that a terminal or a reader could be fooled by written as an escape."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if character in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell(text: str | None) -> str:
    """Return a column's text: escaped, ``-`` for empty."""
    return escape(text) if text else "-"


def cut(text: str, columns: int) -> str:
    """Cut an escaped text to a number of columns, with ``…``; only for a terminal, and never for an id."""
    return text if len(text) <= columns else f"{text[: max(columns - 1, 0)]}…"
