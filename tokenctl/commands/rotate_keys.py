"""``rotate-keys``: every due step of the signing keys, or only a look at them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from tokenctl import files
from tokenctl.backends.parts import SigningKeys
from tokenctl.commands import rotate_named, rotate_verifiers
from tokenctl.commands import rotate_screen as screen
from tokenctl.commands.context import Context
from tokenctl.commands.parts import signing_keys_of
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable, naming
from tokenctl.model.rotation import Outlook, Step, Wish
from tokenctl.model.times import parse_duration
from tokenctl.store import copies
from tokenctl.workflows.rotation import Observation, Run, observe, obstacles


class Order(NamedTuple):
    """What is to be rotated, as it was typed."""

    algorithm: str | None = None
    if_older_than: str | None = None
    check: bool = False
    dry_run: bool = False
    verifiers: tuple[str, ...] = ()
    unobserved: bool = False
    compromised: str | None = None


def rotate(context: Context, order: Order) -> int:
    """Take every due step, or say which are due.

    Returns:
        3 where ``--check`` finds a step due, else 0.

    Raises:
        Conflict: a step is blocked, by a verifier that lacks the key or because nobody was asked (exit 6).
        TemporarilyUnavailable, InvalidConfiguration: the published file cannot be written (exit 7, 9).
        Partial: a retired or compromised key is still published (exit 11).
        IntegrityError: the store is quarantined (exit 10).
    """
    wish = _read(order)
    if order.compromised is not None:
        return rotate_named.compromise(context, order.compromised, verifiers=order.verifiers, dry_run=order.dry_run)
    with context.backend() as backend:
        backend.require_trust()
        keys = signing_keys_of(backend)
        if order.dry_run or order.check:
            outlook, blocked = keys.outlook(wish), []
            if any(step.action == "activate" for step in outlook.due):
                asked = rotate_verifiers.observation(context, backend, order.verifiers, unobserved=order.unobserved)
                blocked = obstacles(keys, outlook.due, asked, now=outlook.now)
            screen.tell_due(context, keys, outlook, screen.Told(blocked_by=blocked, dry_run=order.dry_run))
            return 3 if order.check and outlook.due else 0
        observation = rotate_verifiers.observation(context, backend, order.verifiers, unobserved=order.unobserved)
        backend.housekeep()
        backend.forget()
        run = Run(keys, wish, observation)
        for step in run.steps():
            screen.tell_step(context, step, now=context.now)
        _warn_of_nobody(context, keys, run.did, observation)
        screen.conclude(context, keys, keys.outlook(wish), screen.Told(did=run.did, blocked_by=run.blocked_by))
    return rotate_named.end(context, run.errors)


def _warn_of_nobody(context: Context, keys: SigningKeys, did: Sequence[Step], observation: Observation) -> None:
    """Warn at once of a key that is going to be refused when its time has come."""
    if keys.publishes or observation.verifiers or observation.unobserved:
        return
    signing = {step.kid for step in did if step.action == "activate"}
    for step in did:
        if step.action == "publish" and step.kid not in signing:
            context.console.warn(f"{step.kid} will not sign without a jwks_file or a verifier, by which it can be fetched")


def _read(order: Order) -> Wish:
    rotate_named.check_algorithm(order.algorithm)
    if order.compromised is not None and order._replace(compromised=None, verifiers=(), dry_run=False) != Order():
        raise InvalidRequest("--compromised goes with --verifier and --dry-run alone")
    if order.check and order.dry_run:
        raise InvalidRequest("--check and --dry-run are two questions: ask one")
    rotate_verifiers.check(order.verifiers)
    if order.unobserved and order.verifiers:
        raise InvalidRequest("--unobserved asks no verifier: leave --verifier or --unobserved out")
    with naming("--if-older-than"):
        older_than = None if order.if_older_than is None else parse_duration(order.if_older_than, zero=True)
    return Wish(algorithm=order.algorithm, older_than=older_than)


def status(context: Context, *, verifiers: tuple[str, ...]) -> int:
    """Print every signing key: its state, since when, how many living tokens it signed, and its next step.

    Args:
        verifiers: Asked in every form of output; those of the profile only where the form has room for what they say.
    """
    from tokenctl.commands import rotate_status

    rotate_verifiers.check(verifiers)
    with context.backend() as backend:
        keys = signing_keys_of(backend)
        outlook = keys.outlook(Wish())
        told = screen.Told()
        if verifiers or context.console.machine or context.console.on_terminal:
            observation = rotate_verifiers.observation(context, backend, verifiers)
            told = _asked(keys, outlook, observation)
        rotate_status.tell(context, keys, outlook, told, kept=len(copies.kept(backend.journal.path)))
    return 0


def _asked(keys: SigningKeys, outlook: Outlook, observation: Observation) -> screen.Told:
    """Ask which verifiers have the keys that sign or are to sign."""
    known = keys.keys()
    listed = {key.kid: key for key, _ in known}
    needed = {kid: key.alg for kid, key in listed.items() if key.state in ("published", "active")}
    asked = observe(keys, needed, observation, now=outlook.now)
    if observation.verifiers:
        blocked = [seen for seen in asked if not seen.holds and listed[seen.kid].state == "published"]
    else:
        blocked = obstacles(keys, outlook.steps, observation, now=outlook.now)
    return screen.Told(blocked_by=blocked, verifiers=asked)


def jwks(context: Context, *, out: str | None) -> int:
    """Print the JWK Set that verifiers need, or write it to a file for them to read.

    Raises:
        InvalidRequest: the file cannot be written (exit 2).
        IntegrityError: a key or the store does not check out (exit 10).
    """
    with context.backend() as backend:
        text = json.dumps(signing_keys_of(backend).jwks(), sort_keys=True)
    if out is None or out == "-":
        context.console.answer(text)
        return 0
    context.refuse_own(out)
    delivery = files.Delivery(out, mode=0o644)
    try:
        delivery.write(f"{text}\n".encode("ascii"))
    except OSError as error:
        raise TemporarilyUnavailable(f"cannot write {out}: {files.cause_of(error)}", hint="make room and run again") from None
    console, count = context.console, text.count('"kid":')
    console.chat(f"wrote {count} key{'s' * (count != 1)} to {out}", folded=True)
    if console.machine:
        console.document({"action": "jwks", "profile": console.profile, "out": out, "warnings": list(console.warnings)})
    return 0
