"""How the operator's own credential at a service gives way to a fresh one, in steps of which each can be the last.

What is kept has the credential in use at every moment. What a service hands out once is kept before anything else is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from tokenctl.errors import Partial, TokenctlError
from tokenctl.http.peer import Unanswered
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event
from tokenctl.operators import Credential, Kept

if TYPE_CHECKING:
    from tokenctl.backends.local.journal import Journal


class Renewal(Protocol):
    """One way of it.

    Attributes:
        way: Its name, for the log and for documents.
        told: What it does, for people.
    """

    way: str
    told: str

    def check(self, credential: Credential) -> None:
        """Refuse, before anything is started, a credential that it cannot renew (exit 9, 4)."""
        ...

    def make(self, kept: Kept) -> None:
        """Let the service have a fresh credential, which ``kept`` has as ``fresh`` from the moment that it is known.

        A call after one that did not end goes on from what is kept.
        """
        ...

    def accepted(self, credential: Credential) -> bool:
        """Whether the service accepts a credential; raises what leaves that open."""
        ...

    def discard(self, kept: Kept) -> None:
        """Give up a fresh credential that the service does not accept."""
        ...

    def retire(self, kept: Kept) -> str | None:
        """Let the service refuse ``former``; return why it may still accept it."""
        ...


@contextmanager
def recorded(journal: Journal, operation: str, subject: str | None, way: str) -> Iterator[None]:
    """Record that a change of the operator's credential is begun, and after the block what came of it.

    Args:
        operation: One of :data:`tokenctl.model.record.OPERATIONS`.
        subject: Whose credential: the client, the role or the accessor.
        way: How it is changed.
    """
    named = new_id(journal.clock)
    about = Event(operation=operation, subject=subject, reason=way, request_id=named)
    _append(journal, about._replace(outcome="pending"))
    outcome = "unknown"
    try:
        yield
        outcome = "done"
    except TokenctlError as error:
        outcome, about = _outcome_of(error), about._replace(parameters={"error": error.slug})
        raise
    finally:
        journal.catch_up()
        _append(journal, about._replace(outcome=outcome))


def _append(journal: Journal, event: Event) -> None:
    with journal.changing(create=True) as change:
        assert change is not None
        change.append(event)


def _outcome_of(error: TokenctlError) -> str:
    """Return ``failed`` where the service surely did nothing, or where that was taken back."""
    if isinstance(error, Partial):
        return "still_active"
    return "unknown" if isinstance(error, Unanswered) and error.carried_out is None else "failed"
