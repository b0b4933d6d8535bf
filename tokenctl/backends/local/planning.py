"""The records of plans: which files were made, by their hash."""

from __future__ import annotations

from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.audit.tree import leaf_hash
from tokenctl.backends.local.view import Change, View
from tokenctl.model.record import Event
from tokenctl.model.token import Action

_OPERATION = "plan.create"


class Made(NamedTuple):
    """The newest record of a plan: its number and time, and whether the clock was accepted back to before it since."""

    seq: int
    at: int
    turned_back: bool


def record(change: Change, digest: str, action: Action, targets: int) -> None:
    """Append the record of a plan's making."""
    reason = action.reason
    parameters: dict[str, object] = {
        "action": action.verb, "duration": action.duration, "then": action.then, "keep_children": action.keep_children,
        "note": reason.note, "targets": targets,
    }  # fmt: skip
    change.append(
        Event(
            operation=_OPERATION, target=digest, reason=reason.reason, ticket=reason.ticket, request_id=reason.request_id,
            parameters=parameters,
        )
    )  # fmt: skip


def made(view: View, digest: str) -> Made | None:
    """Return the newest record of a plan; one whose columns differ from its body tells nothing."""
    for found in query.records(view.store, query.Filter(target=(digest,), operation=(_OPERATION,)), limit=1):
        try:
            facts = found.facts()
        except ValueError:
            return None
        said = (facts.get("operation"), facts.get("target"), facts.get("time"))
        if said == (_OPERATION, digest, found.time) and leaf_hash(found.body) == found.hash:
            accepted = query.records(view.store, query.Filter(target=(view.store_id,), operation=("store.clock",)))
            turned_back = any(record.seq > found.seq and record.time < found.time for record in accepted)
            return Made(seq=found.seq, at=found.time, turned_back=turned_back)
    return None
