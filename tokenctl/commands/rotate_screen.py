"""What ``rotate-keys`` prints: steps, keys, and what a compromised key had signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenctl.backends.base import SigningKeys
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidConfiguration
from tokenctl.model.rotation import Outlook, Step, Toll, Wish, retires_at
from tokenctl.model.times import format_clock, format_distance, format_duration, parse_instant
from tokenctl.render.escape import escape
from tokenctl.render.machine import instant, key_object

if TYPE_CHECKING:
    from tokenctl.workflows.canary import Gone, Seen

_OWNERS_SHOWN = 10
_TOLD = {
    "publish": "published", "activate": "signs", "retiring": "signs no more", "retire": "retired", "roll_back": "signs again",
    "compromise": "compromised", "mend": "file written",
}  # fmt: skip
_COMING = {
    "publish": "publish a new {alg} key", "activate": "activate {kid}", "retire": "retire {kid}", "mend": "write the jwks_file",
    "renew": "make a new {alg} key and sign with it",
}  # fmt: skip


# Steps


def step_object(step: Step) -> dict[str, object]:
    return {"action": step.action, "kid": step.kid, "alg": step.alg, "at": instant(step.at)}


def tell_step(context: Context, step: Step) -> None:
    """Print a step that was taken."""
    if context.console.output == "jsonl":
        context.console.document(step_object(step))
    elif not context.console.machine:
        context.console.result(_line(context, step, _TOLD.get(step.action, step.action)))


def _line(context: Context, step: Step, told: str) -> str:
    if context.console.on_terminal:
        return f"{step.kid or '-':<22}  {told:<13}  {step.alg or '-'}"
    return "\t".join((step.kid or "-", step.action, step.alg or "-", instant(step.at) or "-"))


def coming(step: Step) -> str:
    """Say what is to come, for a person."""
    if step.action == "publish" and step.kid is not None:
        return f"publish {step.kid} again: the jwks_file lost it"
    return _COMING[step.action].format(kid=step.kid, alg=step.alg)


def tell_due(context: Context, keys: SigningKeys, outlook: Outlook) -> None:
    """Print the steps that are due, none of which is taken."""
    console = context.console
    if console.output == "json":
        _document(context, keys, outlook)
        return
    for step in outlook.due:
        if console.output == "jsonl":
            console.document(step_object(step))
        else:
            console.result(_line(context, step, coming(step)))
    if not outlook.due:
        _tell_next(context, outlook)


def conclude(
    context: Context, keys: SigningKeys, outlook: Outlook, *, did: Sequence[Step], blocked: Sequence[tuple[str, str]] = ()
) -> None:  # fmt: skip
    """Print the document of a run, or say what comes next."""
    if context.console.output == "json":
        _document(context, keys, outlook, did=did, blocked=blocked)
    elif not context.console.machine:
        _tell_next(context, outlook)


def _tell_next(context: Context, outlook: Outlook) -> None:
    context.console.chat(_next_line(outlook))


def _next_line(outlook: Outlook) -> str:
    if not outlook.steps:
        return "nothing due, and nothing to come: the first JWT makes the first key"
    step = outlook.steps[0]
    if step.at <= outlook.now:
        return f"due: {coming(step)}"
    at = f"{format_clock(step.at, outlook.now)} ({format_distance(step.at, outlook.now)})"
    return f"next: {coming(step)} at {at}; nothing due now"


def _document(
    context: Context, keys: SigningKeys, outlook: Outlook | None, *, did: Sequence[Step] = (),
    blocked: Sequence[tuple[str, str]] = (), compromised: dict[str, object] | None = None,
) -> None:  # fmt: skip
    steps = outlook.steps if outlook is not None else []
    following = step_object(steps[0]) if steps else None
    context.console.document(
        {
            "keys": _key_objects(keys), "did": [step_object(step) for step in did],
            "due": bool(outlook is not None and outlook.due), "next": following,
            "steps": [step_object(step) for step in (outlook.due if outlook is not None else [])],
            "blocked_by": [{"verifier": verifier, "detail": detail} for verifier, detail in blocked],
            "compromised": compromised, "warnings": list(context.console.warnings),
        }
    )  # fmt: skip


# Keys


def _key_objects(keys: SigningKeys) -> list[dict[str, object]]:
    objects, listed = [], keys.keys()
    for key, tokens in listed:
        last = keys.last_expiry(key.kid)
        after = None
        if key.state == "retiring" or (key.state == "active" and last is not None):
            after = retires_at(key, keys.rotation, last)
        objects.append(key_object(key, tokens, after))
    return objects


def _next_of(members: dict[str, object], outlook: Outlook) -> Step | None:
    """Return the next step of one key; what follows an active key is its own next step."""
    own = (step for step in outlook.steps if step.kid == members["kid"])
    after = (step for step in outlook.steps if members["state"] == "active" and step.alg == members["alg"] and step.kid is None)
    taking = (step for step in outlook.steps if members["state"] == "active" and step.alg == members["alg"])
    return next(own, None) or next(after, None) or next((step for step in taking if step.action == "activate"), None)


def tell_status(context: Context, keys: SigningKeys, outlook: Outlook, seen: Sequence[Seen], kept: int) -> None:
    """Print every key, and on a terminal what comes next and what verifiers have.

    Args:
        kept: How many stores from before a restore lie beside the present one.
    """
    console = context.console
    if console.output == "json":
        lacking = [(answer.verifier, answer.detail) for answer in seen if not answer.holds]
        _document(context, keys, outlook, blocked=lacking)
        return
    objects = _key_objects(keys)
    if console.on_terminal and objects:
        head = f"{'KID':<22}  {'ALG':<6}  {'STATE':<11}  {'SINCE':<10}  {'TOKENS':>7}  NEXT"
        console.answer(console.paint(head, "bold"))
    for members in objects:
        step = _next_of(members, outlook)
        if console.output == "jsonl":
            console.document(members)
        elif console.on_terminal:
            console.answer(_row(context, members, step, outlook.now))
        else:
            told = "-" if step is None else f"{step.action} {instant(step.at)}"
            names = ("kid", "alg", "state", "since", "tokens")
            console.answer("\t".join([*("-" if members[name] is None else str(members[name]) for name in names), told]))
    if not objects:
        console.chat("no signing key yet: the first JWT makes it")
    elif console.on_terminal and not console.machine:
        _tell_more(context, objects, outlook, seen, kept)


def _row(context: Context, members: dict[str, object], step: Step | None, now: int) -> str:
    since = "-"
    if isinstance(members["since"], str):
        since = f"{format_duration(now - parse_instant(members['since'], context.now)).split()[0]} ago"
    told = "-"
    if step is not None:
        words = {"publish": "successor", "activate": "signs" if step.kid == members["kid"] else "retiring", "retire": "retire"}
        when = "due" if step.at <= now else f"in {format_duration(step.at - now).split()[0]}"
        told = f"{words.get(step.action, step.action)} {when}"
    columns = f"{members['kid']!s:<22}  {members['alg']!s:<6}  {members['state']!s:<11}  {since:<10}"
    return f"{columns}  {members['tokens']:>7,}  {told}"


def _tell_more(
    context: Context, objects: Sequence[dict[str, object]], outlook: Outlook, seen: Sequence[Seen], kept: int
) -> None:  # fmt: skip
    console = context.console
    console.answer(console.fold("", _next_line(outlook)))
    for answer in seen:
        asked = f"asked {format_clock(answer.asked_at, outlook.now)}"
        cached = f", cached until {format_clock(answer.cached_until, outlook.now)}" if answer.cached_until is not None else ""
        console.answer(console.fold("verifier: ", escape(f"{answer.verifier} {answer.detail} ({asked}{cached})")))
    if any(members["state"] in ("retired", "compromised") for members in objects):
        told = "private parts of retired keys are destroyed here; backups made before still hold them until they age out"
        if kept:
            told += f", and so do {kept} stores" if kept > 1 else ", and so does 1 store"
            told += " kept from before a restore: " + f"{console.command} doctor"
        console.answer(console.fold("", told))


# A compromised key


def preview_compromise(context: Context, keys: SigningKeys, kid: str, toll: Toll) -> None:
    """Print what a compromise would do."""
    listed = keys.keys()
    state, alg = next((key.state, key.alg) for key, _ in listed if key.kid == kid)
    steps = [Step("compromise", kid, alg, context.now)] if state != "compromised" else []
    if state == "active":
        steps.append(Step("renew", None, alg, context.now))
    if context.console.machine:
        facts = _compromised(kid, toll, did=(), watched=())
        _document(context, keys, Outlook(steps, context.now), compromised=facts)
        return
    for step in steps:
        context.console.answer(_line(context, step, coming(step) if step.action == "renew" else "compromised"))
    tell_toll(context, toll)


def tell_toll(context: Context, toll: Toll) -> None:
    """Print whose tokens a key had signed; what a thief signed with it nobody can count."""
    if context.console.machine:
        return
    _tell_fact(context, "tokens", str(toll.tokens))
    for owner, count in toll.owners[:_OWNERS_SHOWN]:
        _tell_fact(context, "owner", escape(owner), str(count))
    if len(toll.owners) > _OWNERS_SHOWN:
        _tell_fact(context, "owners", f"{len(toll.owners) - _OWNERS_SHOWN} more: -o json names all")
    _tell_fact(context, "forged", "unknown: what was signed elsewhere is in no record")
    _tell_fact(context, "offline_until", instant(toll.offline_until) or "-")


def tell_gone(context: Context, seen: Gone) -> None:
    """Print that a verifier dropped a key, and after how long, or that it did not."""
    if not context.console.machine:
        told = "dropped" if seen.gone else "not dropped"
        _tell_fact(context, "verifier", escape(seen.verifier), told, f"{seen.waited_ms}ms")


def _tell_fact(context: Context, name: str, *values: str) -> None:
    if context.console.on_terminal:
        context.console.result(context.console.fold(f"{name:<14}  ", "  ".join(values)))
    else:
        context.console.result("\t".join((name, *values)))


def conclude_compromise(
    context: Context, keys: SigningKeys, kid: str, *, did: Sequence[Step], toll: Toll, watched: Sequence[Gone]
) -> None:  # fmt: skip
    """Print the document of a compromise."""
    if not context.console.machine:
        return
    try:
        outlook = keys.outlook(Wish())
    except InvalidConfiguration as error:  # a mistake in the policy keeps nobody from denying a key
        context.console.warn(error.message)
        outlook = None
    _document(context, keys, outlook, did=did, compromised=_compromised(kid, toll, did=did, watched=watched))


def _compromised(kid: str, toll: Toll, *, did: Sequence[Step], watched: Sequence[Gone]) -> dict[str, object]:
    return {
        "kid": kid, "tokens": toll.tokens, "owners": [{"owner": owner, "tokens": count} for owner, count in toll.owners],
        "forged": None, "offline_until": instant(toll.offline_until),
        "replaced_by": next((step.kid for step in did if step.action == "activate"), None),
        "verifiers": [seen._asdict() | {"at": instant(seen.at)} for seen in watched],
    }  # fmt: skip
