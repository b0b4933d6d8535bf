"""What was checked about a presented token, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a presented token.

    Attributes:
        name: A stable machine string, for example ``form``, ``signature``, ``time``, ``audience``, ``state``.
        ok: Whether it passed; ``None`` where it was not asked.
        detail: The fact behind a failure, lower case, without anything of a secret.
    """

    name: str
    ok: bool | None
    detail: str | None = None
