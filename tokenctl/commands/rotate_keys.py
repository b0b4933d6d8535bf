"""``rotate-keys``: every due step of the signing keys, or only a look at them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from tokenctl import files
from tokenctl.commands import rotate_named, rotate_verifiers
from tokenctl.commands import rotate_screen as screen
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable, naming
from tokenctl.model.rotation import Wish
from tokenctl.model.times import parse_duration
from tokenctl.store import copies
from tokenctl.workflows.rotation import Run, observe

if TYPE_CHECKING:
    from tokenctl.workflows.canary import Seen


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
        keys = backend.signing_keys
        if order.dry_run or order.check:
            outlook = keys.outlook(wish)
            screen.tell_due(context, keys, outlook)
            return 3 if order.check and outlook.due else 0
        observation = rotate_verifiers.observation(context, backend, order.verifiers, unobserved=order.unobserved)
        backend.housekeep()
        backend.forget()
        run = Run(keys, wish, observation)
        for step in run.steps():
            screen.tell_step(context, step)
        blocked = [(seen.verifier, seen.detail) for seen in run.blocked_by]
        screen.conclude(context, keys, keys.outlook(wish), did=run.did, blocked=blocked)
    return rotate_named.end(context, run.errors)


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
        older_than = None if order.if_older_than is None else parse_duration(order.if_older_than)
    return Wish(algorithm=order.algorithm, older_than=older_than)


def status(context: Context, *, verifiers: tuple[str, ...]) -> int:
    """Print every signing key: its state, since when, how many living tokens it signed, and its next step."""
    rotate_verifiers.check(verifiers)
    with context.backend() as backend:
        keys = backend.signing_keys
        outlook = keys.outlook(Wish())
        seen: list[Seen] = []
        if context.console.output == "json" or context.console.on_terminal:
            observation = rotate_verifiers.observation(context, backend, verifiers)
            listed = keys.keys() if observation.verifiers else []
            published = [key.kid for key, _ in listed if key.state == "published"]
            seen = [answer for kid in published for answer in observe(keys, kid, observation, now=outlook.now)]
        screen.tell_status(context, keys, outlook, seen, len(copies.kept(backend.journal.path)))
    return 0


def jwks(context: Context, *, out: str | None) -> int:
    """Print the JWK Set that verifiers need, or write it to a file for them to read.

    Raises:
        InvalidRequest: the file cannot be written (exit 2).
        IntegrityError: a key or the store does not check out (exit 10).
    """
    with context.backend() as backend:
        text = json.dumps(backend.signing_keys.jwks(), sort_keys=True)
    if out is None:
        context.console.answer(text)
        return 0
    context.refuse_own(out)
    delivery = files.Delivery(out, mode=0o644)
    try:
        delivery.write(f"{text}\n".encode("ascii"))
    except OSError as error:
        raise TemporarilyUnavailable(f"cannot write {out}: {files.cause_of(error)}", hint="make room and run again") from None
    console = context.console
    if console.machine:
        console.document({"action": "jwks", "profile": console.profile, "out": out, "warnings": list(console.warnings)})
    return 0
