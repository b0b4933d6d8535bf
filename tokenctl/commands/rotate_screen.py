"""What ``rotate-keys`` prints of steps: those that were taken, those that are due, and what keeps them from being taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.backends.parts import SigningKeys
from tokenctl.commands.context import Context
from tokenctl.model.rotation import Outlook, Step, retires_at
from tokenctl.model.times import SECOND, format_distance, format_instant
from tokenctl.render.escape import cell, escape
from tokenctl.render.machine import instant
from tokenctl.workflows.rotation import Asked

_COMING = {
    "publish": "publish a new {alg} key", "activate": "activate {kid}", "retire": "retire {kid}", "mend": "write {file}",
    "renew": "make a new {alg} key and sign with it",
}  # fmt: skip


class Told(NamedTuple):
    """What a document says beside the keys and the outlook.

    Attributes:
        did: The steps that were taken.
        blocked_by: What keeps a published key from signing.
        verifiers: What verifiers have, of whatever key.
        dry_run: Whether this only says what would be done.
        compromised: What a compromised key had signed.
    """

    did: Sequence[Step] = ()
    blocked_by: Sequence[Asked] = ()
    verifiers: Sequence[Asked] = ()
    dry_run: bool = False
    compromised: dict[str, object] | None = None


def moment(at: int, now: int) -> str:
    """Write an instant for a person, with its distance."""
    return f"{format_instant(at - at % SECOND)}, {format_distance(at, now)}"


def second(at: int | None, now: int | None = None) -> str | None:
    """Write an instant to the second, as every one of a document is; what is to come after ``now`` never too early."""
    if at is None:
        return None
    return instant(at + -at % SECOND if now is not None and at > now else at - at % SECOND)


# Steps


def step_object(step: Step, now: int | None = None) -> dict[str, object]:
    return {"action": step.action, "kid": step.kid, "alg": step.alg, "at": second(step.at, now), "detail": step.detail}


def blocked_object(asked: Asked) -> dict[str, object]:
    return {"kid": asked.kid, "alg": asked.alg, "verifier": asked.verifier, "detail": asked.detail}


def asked_object(asked: Asked) -> dict[str, object]:
    times = {"asked_at": second(asked.asked_at), "cached_until": second(asked.cached_until)}
    return blocked_object(asked) | {"holds": asked.holds} | times


def blocking(step: Step | None, blocked: Sequence[Asked]) -> list[Asked]:
    """Return what keeps a step from being taken."""
    if step is None or step.action not in ("activate", "retiring"):
        return []
    return [asked for asked in blocked if step.kid == asked.kid or (step.action == "retiring" and step.alg == asked.alg)]


def tell_step(context: Context, step: Step, *, now: int, blocked: Sequence[Asked] = ()) -> None:
    """Print a step that was taken, or would be."""
    console, stopped = context.console, blocking(step, blocked)
    if console.output == "jsonl":
        console.document(step_object(step, now) | {"blocked_by": [blocked_object(asked) for asked in stopped]})
    elif not console.machine:
        told = [f"blocked: {'; '.join(asked.told for asked in stopped)}"] if stopped else []
        tell_line(context, step, "; ".join(([step.detail] if step.detail else []) + told), now=now)


def tell_line(context: Context, step: Step, detail: str, *, now: int) -> None:
    """Print a step with what there is to say of it."""
    console = context.console
    if console.on_terminal:
        columns = f"{step.kid or '-':<22}  {step.action:<10}  {step.alg or '-':<6}"
        console.result(console.fold(f"{columns}  ", escape(detail)).rstrip())
    else:
        console.result("\t".join((step.kid or "-", step.action, step.alg or "-", second(step.at, now) or "-", cell(detail))))


def coming(step: Step) -> str:
    """Say what is to come, for a person."""
    if step.action == "publish" and step.kid is not None:
        return f"publish {step.kid} again: the jwks_file lost it"
    return _COMING[step.action].format(kid=step.kid, alg=step.alg, file=step.detail)


def tell_due(context: Context, keys: SigningKeys, outlook: Outlook, told: Told) -> None:
    """Print the steps that are due, none of which is taken."""
    if context.console.output == "json":
        document(context, keys, outlook, told)
        return
    for step in outlook.due:
        tell_step(context, step, now=outlook.now, blocked=told.blocked_by)
    if not outlook.due:
        tell_next(context, outlook)


def conclude(context: Context, keys: SigningKeys, outlook: Outlook, told: Told) -> None:
    """Print the document of a run, or say what comes next."""
    if context.console.output == "json":
        document(context, keys, outlook, told)
    elif not context.console.machine:
        tell_next(context, outlook)


def tell_next(context: Context, outlook: Outlook) -> None:
    context.console.chat(next_line(outlook), folded=True)


def next_line(outlook: Outlook) -> str:
    if not outlook.steps:
        return "nothing due, and nothing to come: the first JWT makes the first key"
    step = outlook.steps[0]
    if step.at <= outlook.now:
        return f"due: {coming(step)}"
    return f"next: {coming(step)} at {moment(step.at, outlook.now)}; nothing due now"


def document(context: Context, keys: SigningKeys, outlook: Outlook | None, told: Told) -> None:
    """Print the one document of ``-o json``."""
    now = outlook.now if outlook is not None else context.now
    steps, due = (outlook.steps, outlook.due) if outlook is not None else ([], [])
    context.console.document(
        {
            "keys": key_objects(keys, now), "dry_run": told.dry_run, "did": [step_object(step) for step in told.did],
            "due": bool(due), "next": step_object(steps[0], now) if steps else None,
            "steps": [step_object(step, now) for step in due],
            "blocked_by": [blocked_object(asked) for asked in told.blocked_by],
            "verifiers": [asked_object(asked) for asked in told.verifiers],
            "compromised": told.compromised, "warnings": list(context.console.warnings),
        }
    )  # fmt: skip


def key_objects(keys: SigningKeys, now: int) -> list[dict[str, object]]:
    """Return every key; when one can retire, where that is known."""
    objects, listed = list[dict[str, object]](), keys.keys()
    for key, tokens in listed:
        last = keys.last_expiry(key.kid)
        after = None
        if tokens is not None and (key.state == "retiring" or (key.state == "active" and last is not None)):
            after = retires_at(key, keys.rotation, last)
        since = {
            "published": key.published_at, "active": key.activated_at, "retiring": key.retiring_at,
            "retired": key.retired_at, "compromised": key.compromised_at,
        }.get(key.state)  # fmt: skip
        objects.append(
            {"kid": key.kid, "alg": key.alg, "state": key.state, "since": second(since), "tokens": tokens,
             "retire_after": second(after, now)}
        )  # fmt: skip
    return objects
