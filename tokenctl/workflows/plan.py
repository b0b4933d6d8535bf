"""Plans: exactly which tokens will be acted on, how, and where, agreed on before it is done.

A plan is a file without a secret. Making it is a record that holds the hash of the file's bytes, so that a changed file is
no plan; it can be carried out for an hour, by anyone who may work with the store. The file is hostile input when it is read.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import NamedTuple

from tokenctl.errors import Conflict, InvalidRequest
from tokenctl.formats import strict_json
from tokenctl.model.identifier import is_id
from tokenctl.model.times import HOUR, LONGEST_DURATION, format_duration, format_instant
from tokenctl.model.token import REASONS, STATES, Action, Reason

LARGEST_PLAN = 64 * 1024 * 1024  # bytes; some 900,000 targets
LIFETIME = HOUR
_VERSION = 1
_AGAIN = "make it anew: tokenctl revoke … --dry-run --out FILE"
_VERBS = ("revoke", "suspend", "lift")
_LONGEST_TEXT = 1024  # characters
_MEMBERS = {
    "tokenctl_plan", "action", "for_seconds", "then", "keep_children", "reason", "note", "ticket", "profile", "authority",
    "made_at", "expires_at", "request_id", "targets",
}  # fmt: skip


class Plan(NamedTuple):
    """What will be done, and to what. ``targets`` are ids with the state they were in, sorted."""

    action: Action
    profile: str
    authority: str
    made_at: int
    targets: tuple[tuple[str, str], ...]

    def to_bytes(self) -> bytes:
        """Write the file: one target a line, so that two plans can be compared by eye and by diff."""
        action, reason = self.action, self.action.reason
        members: dict[str, object] = {
            "tokenctl_plan": _VERSION, "action": action.verb,
            "for_seconds": None if action.duration is None else action.duration // 1000,
            "then": action.then, "keep_children": action.keep_children,
            "reason": reason.reason, "note": reason.note, "ticket": reason.ticket,
            "profile": self.profile, "authority": self.authority,
            "made_at": format_instant(self.made_at), "expires_at": format_instant(self.made_at + LIFETIME),
            "request_id": reason.request_id,
        }  # fmt: skip
        head = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members.items()]
        rows = [json.dumps({"id": identifier, "state_before": state}) for identifier, state in self.targets]
        data = "{" + ",\n ".join([*head, '"targets": [\n  ' + ",\n  ".join(rows) + "\n ]"]) + "}\n"
        return data.encode("ascii")


def hash_of(data: bytes) -> str:
    """Return the name of a plan's file in the log."""
    return hashlib.sha256(data).hexdigest()


def read(data: bytes) -> Plan:
    """Read a plan's file; whether it may be carried out is for :func:`check` to say.

    Raises:
        InvalidRequest: it is no plan (exit 2).
        Conflict: it is a plan with something in it that we never write: it was changed (exit 6).
    """
    members = strict_json.read_object(data, what="the plan")
    if members.get("tokenctl_plan") != _VERSION or isinstance(members.get("tokenctl_plan"), bool):
        raise InvalidRequest("the file is no plan of this version", hint="make one: tokenctl revoke … --dry-run --out FILE")
    lacking = sorted(_MEMBERS - members.keys())
    if lacking:
        raise InvalidRequest(f"the plan lacks {', '.join(lacking)}")
    try:
        if members.keys() - _MEMBERS:
            raise InvalidRequest("the plan has members that no plan has")
        return Plan(
            action=_action(members), profile=_text(members, "profile"), authority=_text(members, "authority"), made_at=0,
            targets=_targets(members["targets"]),
        )  # fmt: skip
    except InvalidRequest as error:
        raise _changed(f" ({error.message})") from None


def _changed(how: str = "") -> Conflict:
    return Conflict(f"the plan was changed since it was made{how}: nothing was touched", hint=_AGAIN, reason="plan_changed")


def _action(members: dict[str, object]) -> Action:
    verb, then, seconds, keep = (members[name] for name in ("action", "then", "for_seconds", "keep_children"))
    good = verb in _VERBS and isinstance(keep, bool) and then in (None, "lift", "revoke")
    if seconds is not None:
        good = good and type(seconds) is int and 0 < seconds <= LONGEST_DURATION // 1000
    good = good and (seconds is None) == (then is None) and (verb == "suspend" or then is None) and not (verb == "lift" and keep)
    if not good:
        raise InvalidRequest("the plan's action is none that tokenctl knows")
    reason = _text(members, "reason")
    request_id = _text(members, "request_id")
    if reason not in REASONS or not is_id(request_id):
        raise InvalidRequest("the plan's reason or request id is none that tokenctl makes")
    note, ticket = (_text(members, name) if members[name] is not None else None for name in ("note", "ticket"))
    return Action(
        verb=str(verb), reason=Reason(reason=reason, note=note, ticket=ticket, request_id=request_id),
        duration=int(str(seconds)) * 1000 if seconds is not None else None, then=None if then is None else str(then),
        keep_children=keep is True,
    )  # fmt: skip


def _text(members: dict[str, object], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT:
        raise InvalidRequest(f"the plan's {name} is no text of at most {_LONGEST_TEXT} characters")
    return value


def _targets(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise InvalidRequest("the plan's targets are no list")
    targets = []
    for number, entry in enumerate(value, 1):
        identifier, state = (entry.get("id"), entry.get("state_before")) if isinstance(entry, dict) else (None, None)
        if not isinstance(identifier, str) or not is_id(identifier) or state not in STATES or len(entry) != 2:
            raise InvalidRequest(f"target {number} of the plan is no token id with its state")
        targets.append((identifier, str(state)))
    if any(before[0] >= after[0] for before, after in pairwise(targets)):
        raise InvalidRequest("the plan's targets are not sorted, or one stands there twice")
    return tuple(targets)


def check(
    plan: Plan, *, profile: str, authority: str | None, made_at: int | None, now: int, turned_back: bool = False
) -> None:  # fmt: skip
    """Refuse a plan that may not be carried out here and now.

    Args:
        authority: The store at hand; ``None`` where there is none.
        made_at: When the record of its file was made; ``None`` where the log knows no file of this hash.
        turned_back: Whether the log's time was turned back to before that since: then nobody knows the plan's age.

    Raises:
        Conflict: of another place, changed, or too old: nothing was touched (exit 6).
    """
    if plan.authority != authority or plan.profile != profile:
        raise Conflict(
            f"the plan is for profile {plan.profile}, store {plan.authority}: nothing was touched",
            hint=f"choose its profile with --profile, or {_AGAIN}", reason="plan_elsewhere",
        )  # fmt: skip
    if made_at is None:
        raise _changed()
    if turned_back or now < made_at:
        raise Conflict(
            f"the plan was made at {format_instant(made_at)}, ahead of the clock accepted since: nothing was touched",
            hint=_AGAIN, reason="plan_expired",
        )  # fmt: skip
    if now >= made_at + LIFETIME:
        age = format_duration(now - made_at)
        raise Conflict(
            f"the plan was made {age} ago and holds for {format_duration(LIFETIME)}: nothing was touched",
            hint=_AGAIN, reason="plan_expired",
        )  # fmt: skip
