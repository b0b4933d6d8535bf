"""Which tokens are meant: the selectors of ``list`` and ``revoke``.

The same selector twice means any of its values, different selectors mean all of them.
Matches are exact; ``*`` stands for any text in subject, owner, audience and label only.
"""

from typing import NamedTuple

from tokenctl.model.token import LIVING_STATES


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
        """Whether nothing but the state narrows the choice."""
        return not any(getattr(self, name) for name in self._fields if name not in {"states", "untracked"}) and all(
            getattr(self, name) is None for name in _INSTANTS
        )


_INSTANTS = ("issued_after", "issued_before", "expires_after", "expires_before", "unused_for")
