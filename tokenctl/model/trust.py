"""Whose JWTs a profile believes beside its own: the tables ``[[trust]]`` of its file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SAFE = re.compile(r"[\x21-\x7e]{1,2048}")
_SETTINGS = ("issuer", "origins", "ca_file")


class Trusted(NamedTuple):
    """An issuer that is trusted.

    Attributes:
        issuer: To the letter what its JWTs carry as ``iss``.
        origins: Where its keys may lie beside its own origin, as that was confirmed.
        ca_file: The certificates that alone are trusted; ``None`` for those of the machine.
    """

    issuer: str
    origins: tuple[str, ...] = ()
    ca_file: str | None = None

    def table(self) -> dict[str, object]:
        """Return what :func:`read_trust` reads."""
        told: dict[str, object] = {"issuer": self.issuer}
        told |= {"origins": list(self.origins)} if self.origins else {}
        return told | ({"ca_file": self.ca_file} if self.ca_file is not None else {})


def read_trust(tables: Sequence[Mapping[str, object]]) -> tuple[Trusted, ...] | str:
    """Read the tables ``[[trust]]`` of a profile; return what is wrong with them where something is."""
    found: list[Trusted] = []
    for table in tables:
        issuer, origins, ca_file = table.get("issuer"), table.get("origins", []), table.get("ca_file")
        if not isinstance(issuer, str) or not _SAFE.fullmatch(issuer):
            return "[[trust]]: issuer is a URL"
        if not isinstance(origins, list) or not all(isinstance(each, str) and _SAFE.fullmatch(each) for each in origins):
            return "[[trust]]: origins is a list of origins"
        if ca_file is not None and not (isinstance(ca_file, str) and ca_file.startswith("/") and ca_file.isprintable()):
            return "[[trust]]: ca_file is an absolute path"
        if table.keys() - set(_SETTINGS):
            return f"[[trust]] has an unknown setting; known: {', '.join(_SETTINGS)}"
        if issuer in {trusted.issuer for trusted in found}:
            return "[[trust]]: an issuer stands there twice"
        found.append(Trusted(issuer, tuple(origins), ca_file))
    return tuple(found)
