"""Rotating the operator's own credential: a fresh one is made, proved, switched to, and only then the former one ends.

Killed at whatever step, the credential in use is kept and accepted, and the same command goes on where it ended.
"""

from __future__ import annotations

from tokenctl.backends.remote.renewal import Renewal
from tokenctl.errors import Partial, ServerError
from tokenctl.operators import Credential, Kept


def rotate(kept: Kept, renewal: Renewal, authority: str) -> Credential:
    """Do what is left of a rotation; return the credential in use.

    Raises:
        ServerError: the service does not accept what it handed out itself: the credential before stays (exit 8).
        Partial: the fresh one is in use, and the service may still accept the former one (exit 11).
        Unanswered: run again (exit 7); as of the renewal.
    """
    if kept.credential.former is None:
        _prove_fresh(kept, renewal, authority)
        _switch(kept)
    former = kept.credential.former
    assert former is not None
    why = renewal.retire(kept)
    if why is None and renewal.accepted(former):
        why = "the service still accepts it"
    if why is not None:
        raise Partial(
            f"the fresh credential is in use, and the former one may still be accepted at {authority}: {why}",
            hint="tokenctl login --rotate ends it, once the service does", reason="still_active",
        )  # fmt: skip
    kept.save(kept.credential._replace(former=None))
    return kept.credential


def _prove_fresh(kept: Kept, renewal: Renewal, authority: str) -> None:
    """Make a fresh credential and see that it works; one that was made before is used where it works."""
    waiting = kept.credential.fresh
    if waiting is not None and renewal.accepted(waiting):
        return
    renewal.make(kept)
    fresh = kept.credential.fresh
    assert fresh is not None
    if not renewal.accepted(fresh):
        renewal.discard(kept)
        raise ServerError(
            f"{authority} does not accept the credential that it handed out: the one before stays in use",
            hint="tell whoever runs the service", reason="fresh_refused",
        )  # fmt: skip


def _switch(kept: Kept) -> None:
    before, fresh = kept.credential, kept.credential.fresh
    assert fresh is not None
    kept.save(fresh._replace(origins=before.origins, source=before.source, former=before._replace(fresh=None)))
