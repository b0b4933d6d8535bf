"""Text for roff: what would be read as a request or a mark is escaped, and what is typed stays as it is typed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

_TYPED = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_WIDTH = 78  # characters; mandoc complains of lines beyond 80


def text(words: str) -> str:
    """Return running text: one sentence a line at least, hyphens only inside words."""
    lines: list[str] = []
    for paragraph in words.strip().split("\n\n"):
        lines += [".Pp"] * bool(lines)
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(paragraph.split())):
            lines += textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line if line == ".Pp" else _line(line) for line in lines)


def literal(rows: Iterable[str]) -> str:
    """Return lines as they are typed."""
    shown = "\n".join(_first("".join(_TYPED.get(character, character) for character in row)) for row in rows)
    return f".Bd -literal\n{shown}\n.Ed"


def argument(metavar: str, *, item: bool = False) -> str:
    """Return an argument as its metavar draws it: ``[ID... | -]``, ``FILE|URL``, ``[-- CMD...]``."""
    inner = metavar[1:-1] if metavar.startswith("[") and metavar.endswith("]") else metavar
    words = []
    for word in inner.replace("...", " ...").split():
        if re.fullmatch(r"-+", word):
            words.append(f"Fl {word[1:]}".rstrip())
        elif word in ("|", "..."):
            words.append(word)
        elif re.fullmatch(r"[a-z0-9-]+(\|[a-z0-9-]+)+", word):
            words.append(" | ".join(f"Cm {choice}" for choice in word.split("|")))
        else:
            words.append(f"Ar {word}")
    drawn = " ".join(words)
    return drawn if item else f".Op {drawn}" if inner != metavar else f".{drawn}"


def _line(line: str) -> str:
    """Escape a line of running text."""
    escaped = line.replace("\\", "\\e").replace("'", "\\(aq").replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    return _first(re.sub(r"(?<![A-Za-z0-9])-", r"\\-", escaped))


def _first(line: str) -> str:
    return f"\\&{line}" if line.startswith((".", "'")) else line
