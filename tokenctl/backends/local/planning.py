"""The records of plans: which files were made, by their hash."""

from __future__ import annotations

from tokenctl.audit import query
from tokenctl.audit.tree import leaf_hash
from tokenctl.backends.local.journal import Change, View
from tokenctl.model.record import Event
from tokenctl.model.token import Action

_OPERATION = "plan.create"


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


def made_at(view: View, digest: str) -> int | None:
    """Return the time of the newest record of a plan; one whose columns differ from its body tells nothing."""
    for found in query.records(view.store, query.Filter(target=(digest,), operation=(_OPERATION,)), limit=1):
        try:
            facts = found.facts()
        except ValueError:
            return None
        said = (facts.get("operation"), facts.get("target"), facts.get("time"))
        if said == (_OPERATION, digest, found.time) and leaf_hash(found.body) == found.hash:
            return found.time
    return None
