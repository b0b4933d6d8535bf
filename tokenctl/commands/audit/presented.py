"""Tokens handed to a question as text: one counts only when its secret or its signature is proved, whatever became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tokenctl.backends.base import Backend
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidRequest, NotFound
from tokenctl.formats import pasted
from tokenctl.secret import Secret

_LIMIT = 16 * 1024 * 1024  # bytes of one paste


class Proved(NamedTuple):
    """What was found in a paste.

    Attributes:
        texts: The tokens that proved themselves, by their ids, in their order.
        unproved: How many texts in the form of a token proved nothing.
        doubted: Of tokens whose row or key does not check out: nothing proves them, nothing clears them.
    """

    texts: Mapping[str, Secret]
    unproved: int
    doubted: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.texts)


def read(backend: Backend) -> Proved:
    """Read standard input, without echo at a terminal, and prove what is in it; nothing of it is kept.

    Raises:
        InvalidRequest: no text in it has the form of a token (exit 2).
    """
    ids: dict[str, Secret] = {}
    doubted: dict[str, None] = {}
    unproved = others = 0
    for line in inputs.lines_of(0, what="standard input", limit=_LIMIT):
        found = pasted.recognise(line, backend.form)
        for word in found.words:
            proved = backend.prove(word)
            if proved is not None:
                ids.setdefault(proved, word)
        others += len(found.mentioned) + sum(found.foreign.values())
        for secret in found.secrets:
            try:
                identifier = backend.prove(secret)
            except IntegrityError as error:
                doubted.setdefault(error.message)
                continue
            if identifier is None:
                unproved += 1
            else:
                ids.setdefault(identifier, secret)
    if not (ids or doubted or unproved):  # what is only named, or belongs to others, does not count beside a token
        unproved = others
    if not (ids or doubted or unproved):
        raise InvalidRequest(
            "no token in standard input: an id alone proves nothing", hint="tokenctl audit show ID", reason="nothing_named"
        )
    return Proved(ids, unproved, tuple(doubted))


def complain(context: Context, backend: Backend, proved: Proved) -> int:
    """Say what was not proved, the same of an unknown token and of a wrong secret; return 0, 5 or 10."""
    for message in proved.doubted:
        context.console.error(IntegrityError(message, hint="tokenctl audit verify", reason="unproved"))
    if proved.unproved:
        what = "a token that was presented is" if proved.unproved == 1 else f"{proved.unproved} tokens that were presented are"
        where = f"profile {backend.name} ({backend.place})"
        context.console.error(
            NotFound(f"{what} unknown to {where}, or not with this secret", hint=_others(context), reason="unproved")
        )
    return IntegrityError.exit_code if proved.doubted else NotFound.exit_code if proved.unproved else 0


def _others(context: Context) -> str | None:
    from tokenctl.commands.inspect_screen import other_profiles

    return other_profiles(context)
