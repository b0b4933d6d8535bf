"""Which tokens are meant: the selectors of ``list`` and ``revoke``.

The same selector twice means any of its values, different selectors mean all of them.
Matches are exact; ``*`` stands for any text in subject, owner, audience and label only.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.model.token import FORMATS, KINDS, LIVING_STATES


class Selector(NamedTuple):
    """A choice of tokens; empty fields choose nothing away. Instants and durations in milliseconds.

    Attributes:
        labels: ``K`` or ``K=V``.
        states: States that may pass; ``undelivered`` is a filter on the reason, not a state.
        unused_for: Not used for this long (never used counts from its issue).
        untracked: Tokens checked without us pass the two selectors of use as well.
    """

    subject: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    format: tuple[str, ...] = ()
    kid: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    issued_after: int | None = None
    issued_before: int | None = None
    expires_after: int | None = None
    expires_before: int | None = None
    unused_for: int | None = None
    never_used: bool = False
    untracked: bool = False
    states: tuple[str, ...] = LIVING_STATES

    @property
    def everything(self) -> bool:
        """Whether nothing but the state narrows the choice; a pattern that fits any text does not, nor do all kinds."""
        patterns = (self.subject, self.owner, self.audience, self.labels)
        chosen = (self.scope, self.kid, self.parent, self.batch)
        return not (
            any(map(_narrows, patterns)) or any(chosen) or _leaves_out(self.kind, KINDS) or _leaves_out(self.format, FORMATS)
            or self.never_used or any(getattr(self, name) is not None for name in _INSTANTS)
        )  # fmt: skip


_INSTANTS = ("issued_after", "issued_before", "expires_after", "expires_before", "unused_for")


def _narrows(patterns: Sequence[str]) -> bool:
    return bool(patterns) and all(pattern.strip("*") not in ("", "=") for pattern in patterns)


def _leaves_out(chosen: Sequence[str], choices: Sequence[str]) -> bool:
    return bool(chosen) and not set(choices) <= set(chosen)
