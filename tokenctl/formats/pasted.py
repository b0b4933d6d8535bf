"""What a pasted line holds: ids that name tokens, and secrets that may prove themselves.

Recognising is not believing: a secret found here counts only after the authority proved it, and an id only where it stands
as the line's own subject, never where it is merely mentioned.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from tokenctl.formats import opaque
from tokenctl.secret import Secret

LONGEST_LINE = 1024 * 1024  # bytes
_DOTTED = r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++){2,}+"
_LONGEST_HEADER = 8192  # characters
_MOST_STARTS = 8  # places in one dotted word where a JWT is tried
_BEARER = r"(?i)(?:authorization\s*:\s*)?bearer\s+(\S+)"
# Source: the vendors' published prefixes; the shapes are kept loose on purpose.
_FOREIGN = {
    "github": r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
    "gitlab": r"gl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20,}",
    "slack": r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    "aws": r"A(?:KIA|SIA)[A-Z0-9]{16}",
    "google": r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}",
    "openai": r"sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{20,}",
    "stripe": r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "npm": r"npm_[A-Za-z0-9]{36}",
    "pypi": r"pypi-[A-Za-z0-9_-]{40,}",
    "vault": r"(?:hv[sbr]|s|b|r)\.[A-Za-z0-9_-]{24,}",
    "digitalocean": r"do[opr]_v1_[a-f0-9]{64}",
    "age": r"AGE-SECRET-KEY-[0-9A-Z-]{20,}",
    "sendgrid": r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
}


# Compiled when first needed: preparing them takes longer than a verb on a named id.
@cache
def _foreign_secret() -> re.Pattern[str]:
    return re.compile("|".join(rf"(?P<{kind}>(?<![A-Za-z0-9_.-])(?:{form}))" for kind, form in _FOREIGN.items()))


@cache
def _secret_argument() -> re.Pattern[str]:
    ours = r"tkc_(?:at|pat|svc)_[0-9A-Za-z]{22}_[0-9A-Za-z]{8,}"
    jose = r"(?<![A-Za-z0-9_-])ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*){1,3}"
    return re.compile("|".join((ours, jose, *(f"(?<![A-Za-z0-9_.-])(?:{form})" for form in _FOREIGN.values()))))


class Form(NamedTuple):
    """What ids and tokens of an authority look like.

    Attributes:
        named: Returns the id that a text names, if it is one.
        words: Yields further texts of a line that may be tokens: they have no form of their own, and one that proves
            nothing says nothing.
    """

    named: Callable[[str], str | None] = opaque.named_id
    words: Callable[[str], Iterable[Secret]] | None = None


OURS = Form()


class Pasted(NamedTuple):
    """What one line holds.

    Attributes:
        ids: Ids that the line is about.
        secrets: Tokens that may be ours, to be proved.
        mentioned: Ids in the form of a token that are no token: a wrong checksum, a missing secret.
        foreign: How many secrets of others, by kind.
        words: Texts that may be tokens of an authority without a form of its own.
    """

    ids: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    mentioned: tuple[str, ...] = ()
    foreign: Mapping[str, int] = MappingProxyType({})
    words: tuple[Secret, ...] = ()


def _opaque_in(line: str) -> Iterator[re.Match[str]]:
    return re.finditer(opaque.PATTERN, line)


def _jwts_in(line: str) -> Iterator[str]:
    """Yield what may be JWTs: three dotted parts, the first beginning as a JSON object does, whatever stands before it."""
    for match in re.finditer(_DOTTED, line):
        parts = match[0].split(".")
        for first, second, third in zip(parts, parts[1:], parts[2:], strict=False):
            start = first.find("ey")
            for _ in range(_MOST_STARTS):
                if start < 0:
                    break
                if _begins_as_header(first[start:]):
                    yield f"{first[start:]}.{second}.{third}"
                start = first.find("ey", start + 1)


def _begins_as_header(part: str) -> bool:
    """Whether a part decodes to what may be a JOSE header: cheap, so that junk costs nothing."""
    if not 12 <= len(part) <= _LONGEST_HEADER:
        return False
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return False
    return decoded.startswith(b"{") and b'"alg"' in decoded


def looks_secret(argument: str) -> bool:
    """Whether an argument of a command line looks like a secret, ours or a vendor's."""
    # Every form is a run of at least so many; most paths and words have none, and the patterns are costly to prepare.
    return re.search(r"[A-Za-z0-9_.-]{15}", argument) is not None and _secret_argument().search(argument) is not None


def masked(text: str) -> str:
    """Return a text with everything that might be a secret masked."""
    return re.sub(r"[A-Za-z0-9_+/=-]{20,}", _mask_word, _secret_argument().sub("***", text))


def _mask_word(match: re.Match[str]) -> str:
    word = match[0]
    plain = word.replace("-", "").replace("_", "").isalpha() and word.islower()
    return word if plain or opaque.named_id(word) else "***"


def recognise(line: str, form: Form = OURS) -> Pasted:
    """Read one line: a JSON object speaks by its ``id`` only, a first field may be an id, a secret may stand anywhere."""
    stripped = line.strip()
    document = _ids_of_document(stripped, form) if stripped.startswith("{") else None
    named = form.named(stripped.split(None, 1)[0]) if stripped and document is None else None
    ids = document if document is not None else (named,) if named else ()
    secrets: list[Secret] = []
    mentioned: list[str] = []
    foreign: Counter[str] = Counter()
    for match in _opaque_in(line):
        if isinstance(opaque.parse(match[0]), str):
            mentioned.append(match[1])
        else:
            secrets.append(Secret(match[0]))
    secrets += [Secret(text) for text in _jwts_in(line)]
    foreign.update(match.lastgroup or "other" for match in _foreign_secret().finditer(line))
    words = tuple(form.words(line)) if form.words is not None else ()
    return Pasted(ids=ids, secrets=tuple(secrets), mentioned=tuple(mentioned), foreign=foreign, words=words)


def foreign_kind(text: str) -> str | None:
    """Return the vendor whose secrets look like a text; ``None`` for nobody's."""
    match = _foreign_secret().search(text)
    return (match.lastgroup or "other") if match else None


def words(line: str) -> Iterator[str]:
    """Yield what may be a bearer token in a line. Source: RFC 6750 section 2.1."""
    return (match[0] for match in re.finditer(r"[A-Za-z0-9._~+/-]{16,65536}=*", line))


def _ids_of_document(text: str, form: Form) -> tuple[str, ...] | None:
    """Return the ids of a token object, or of the document of ``list``; ``None`` where the text is no JSON object."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    members = [document, *document["tokens"]] if isinstance(document.get("tokens"), list) else [document]
    ids = [member.get("id") for member in members if isinstance(member, dict)]
    return tuple(named for named in (form.named(entry) for entry in ids if isinstance(entry, str)) if named)


def bearer(line: str) -> Secret | None:
    """Return the token of a line that is an ``Authorization`` header or its value."""
    match = re.fullmatch(_BEARER, line.strip())
    return Secret(match[1]) if match else None


def presented(line: str, form: Form = OURS) -> tuple[str | None, list[Secret]]:
    """Read one line that is presented for inspection.

    A line is taken whole, so that a token with anything before or behind it is judged with that: only a ``Bearer`` prefix is cut.
    Opaque tokens carry a checksum and are found anywhere.

    Returns:
        The id it names, if it names one, and the presented tokens.
    """
    stripped = line.strip()
    named = form.named(stripped)
    if named:
        return named, []
    if stripped.startswith("{"):
        ids = _ids_of_document(stripped, form)
        if ids:
            return ids[0], []
    carried = bearer(stripped)
    if carried:
        return None, [carried]
    if " " in line or "\t" in line:
        found = [Secret(match[0]) for match in _opaque_in(line)]
        first = form.named(stripped.split(None, 1)[0])
        if found:
            return None, found
        if first:
            return first, []
    return None, [Secret(line)]
