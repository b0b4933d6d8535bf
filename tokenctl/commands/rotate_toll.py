"""What ``rotate-keys --compromised`` prints: what a key had signed, and which verifiers have dropped it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenctl.backends.parts import SigningKeys
from tokenctl.commands import rotate_screen as screen
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidConfiguration
from tokenctl.model.rotation import Outlook, Step, Toll, Wish
from tokenctl.model.token import Key
from tokenctl.render.escape import cell, escape

if TYPE_CHECKING:
    from tokenctl.workflows.canary import Gone

_OWNERS_SHOWN = 10
_WOULD = {
    "compromise": "would be compromised", "retire": "would be retired: its private part lay beside",
    "renew": "would be made, and sign",
}  # fmt: skip


def preview(context: Context, keys: SigningKeys, kid: str, toll: Toll) -> None:
    """Print what a compromise would do."""
    listed = _listed(keys)
    key = next(key for key in listed if key.kid == kid)
    steps = [Step("compromise", kid, key.alg, context.now)] if key.state != "compromised" else []
    if key.state == "active":
        beside = [other for other in listed if other.state == "published" and other.alg == key.alg]
        steps += [Step("retire", other.kid, other.alg, context.now) for other in beside]
        steps.append(Step("renew", None, key.alg, context.now))
    if context.console.machine:
        facts = _facts(context, keys, kid, toll, watched=())
        screen.document(context, keys, Outlook(steps, context.now), screen.Told(dry_run=True, compromised=facts))
        return
    for step in steps:
        screen.tell_line(context, step, _WOULD[step.action], now=context.now)
    if not steps:
        context.console.chat(f"{kid} is compromised already", folded=True)
    tell_toll(context, toll)


def _listed(keys: SigningKeys) -> list[Key]:
    known = keys.keys()
    return [key for key, _ in known]


def tell_toll(context: Context, toll: Toll) -> None:
    """Print whose tokens a key had signed; what a thief signed with it nobody can count."""
    if context.console.machine:
        return
    _tell_fact(context, "tokens", str(toll.tokens))
    for owner, count in toll.owners[:_OWNERS_SHOWN]:
        _tell_fact(context, "owner", owner, str(count))
    if len(toll.owners) > _OWNERS_SHOWN:
        _tell_fact(context, "owners", f"{len(toll.owners) - _OWNERS_SHOWN} more: -o json names all")
    _tell_fact(context, "forged", "unknown: what was signed elsewhere is in no record")
    until = toll.offline_until
    if until is not None and context.console.on_terminal:
        _tell_fact(context, "offline_until", screen.moment(until, context.now))
    else:
        _tell_fact(context, "offline_until", screen.second(until, context.now) or "-")


def tell_gone(context: Context, seen: Gone) -> None:
    """Print that a verifier dropped a key, and after how long, or that it did not."""
    if not context.console.machine:
        told = "dropped" if seen.gone else "not dropped"
        _tell_fact(context, "verifier", seen.verifier, told, f"{seen.waited_ms}ms")


def _tell_fact(context: Context, name: str, *values: str) -> None:
    if context.console.on_terminal:
        context.console.result(context.console.fold(f"{name:<14}  ", escape("  ".join(values))))
    else:
        context.console.result("\t".join((name, *map(cell, values))))


def conclude(
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
    facts = _facts(context, keys, kid, toll, watched=watched)
    screen.document(context, keys, outlook, screen.Told(did=did, compromised=facts))


def _facts(context: Context, keys: SigningKeys, kid: str, toll: Toll, *, watched: Sequence[Gone]) -> dict[str, object]:
    return {
        "kid": kid, "tokens": toll.tokens, "owners": [{"owner": owner, "tokens": count} for owner, count in toll.owners],
        "forged": None, "offline_until": screen.second(toll.offline_until, context.now), "replaced_by": _replaced_by(keys, kid),
        "verifiers": [seen._asdict() | {"at": screen.second(seen.at)} for seen in watched],
    }  # fmt: skip


def _replaced_by(keys: SigningKeys, kid: str) -> str | None:
    """Return the key that was made when this one was compromised, to sign in its place."""
    listed = _listed(keys)
    gone = next(key for key in listed if key.kid == kid)
    made = [key for key in listed if key.alg == gone.alg and key.created_at == key.activated_at == gone.compromised_at]
    return next((key.kid for key in made), None)
