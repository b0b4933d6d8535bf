"""``rotate-keys``: every due step of the signing keys, one of them by name, or only a look at them."""

from __future__ import annotations

import json
from typing import NamedTuple

from tokenctl import files
from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.commands import rotate_screen as screen
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidRequest, Partial, TemporarilyUnavailable, TokenctlError, naming, worst
from tokenctl.formats.signing import ALGORITHMS
from tokenctl.model.rotation import Step, Wish
from tokenctl.model.times import parse_duration
from tokenctl.workflows.rotation import Observation, Run, observe, still_published


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
        return _compromise(context, order, order.compromised)
    with context.backend() as backend:
        backend.require_trust()
        keys = backend.signing_keys
        if order.dry_run or order.check:
            outlook = keys.outlook(wish)
            screen.tell_due(context, keys, outlook)
            return 3 if order.check and outlook.due else 0
        backend.housekeep()
        backend.forget()
        run = Run(keys, wish, _observation(context, order, backend))
        for step in run.steps():
            screen.tell_step(context, step)
        blocked = [(seen.verifier, seen.detail) for seen in run.blocked_by]
        screen.conclude(context, keys, keys.outlook(wish), did=run.did, blocked=blocked)
    return _end(context, run.errors)


def _read(order: Order) -> Wish:
    if order.algorithm is not None and order.algorithm not in ALGORITHMS:
        raise InvalidRequest(f"--algorithm: one of {', '.join(ALGORITHMS)}")
    if order.compromised is not None and order._replace(compromised=None, verifiers=(), dry_run=False) != Order():
        raise InvalidRequest("--compromised goes with --verifier and --dry-run alone")
    if order.check and order.dry_run:
        raise InvalidRequest("--check and --dry-run are two questions: ask one")
    _check_verifiers(order.verifiers)
    if order.unobserved and order.verifiers:
        raise InvalidRequest("--unobserved asks no verifier: leave --verifier or --unobserved out")
    with naming("--if-older-than"):
        older_than = None if order.if_older_than is None else parse_duration(order.if_older_than)
    return Wish(algorithm=order.algorithm, older_than=older_than)


def _check_verifiers(urls: tuple[str, ...]) -> None:
    if urls:
        from tokenctl.workflows.canary import check_verifier

        with naming("--verifier"):
            for url in urls:
                check_verifier(url)


def _observation(context: Context, order: Order, backend: LocalAuthority) -> Observation:
    return Observation(order.verifiers or backend.verifiers, order.unobserved, context.surroundings.timeout)


def _end(context: Context, errors: list[TokenctlError]) -> int:
    """Tell every error, the worst one last."""
    if not errors:
        return 0
    code = worst([error.exit_code for error in errors])
    last = next(error for error in errors if error.exit_code == code)
    for message in dict.fromkeys(error.message for error in errors if error.message != last.message):
        if not context.console.machine:
            context.console.complain(message)
    raise last


def _compromise(context: Context, order: Order, kid: str) -> int:
    """Deny a key and what it signed, and wait until verifiers have dropped it."""
    with context.backend() as backend:
        keys = backend.signing_keys
        toll = keys.toll(kid)
        if order.dry_run:
            screen.preview_compromise(context, keys, kid, toll)
            return 0
        did = keys.compromise(kid)
        errors: list[TokenctlError] = []
        try:
            did += keys.mend()
        except TokenctlError as error:
            errors.append(still_published(error, [Step("compromise", kid, None, 0)]))
        for step in did:
            screen.tell_step(context, step)
        screen.tell_toll(context, toll)
        watched = []
        observation = _observation(context, order, backend)
        if observation.verifiers:
            from tokenctl.workflows.canary import watch_gone

            for seen in watch_gone(observation.verifiers, kid, seconds=observation.seconds, now=context.now):
                watched.append(seen)
                screen.tell_gone(context, seen)
        serving = [seen for seen in watched if not seen.gone]
        if serving:
            told = "; ".join(f"{seen.verifier} {seen.detail}" for seen in serving)
            message = f"what {kid} signed may still be accepted: {told}"
            errors.append(Partial(message, hint="purge their caches and run again", reason="served"))
        try:
            backend.require_trust()
        except IntegrityError as error:
            errors.append(IntegrityError(f"no fresh key was made: {error.message}", hint=error.hint, reason=error.reason))
        screen.conclude_compromise(context, keys, kid, did=did, toll=toll, watched=watched)
    return _end(context, errors)


def roll_back(context: Context, *, algorithm: str | None) -> int:
    """Let the key sign again that stopped last.

    Raises:
        Conflict: none is retiring (exit 6).
        InvalidRequest: several algorithms could go back, and none is named (exit 2).
    """
    wish = _read(Order(algorithm=algorithm))
    with context.backend() as backend:
        did = backend.signing_keys.roll_back(algorithm)
        return _told(context, backend, wish, did)


def retire(context: Context, kid: str) -> int:
    """Destroy a key that no token needs.

    Raises:
        NotFound: no such key (exit 5).
        Conflict: it is active, or tokens need it (exit 6).
        Partial: it is still published (exit 11).
    """
    with context.backend() as backend:
        did = backend.signing_keys.retire(kid)
        return _told(context, backend, Wish(), did)


def _told(context: Context, backend: LocalAuthority, wish: Wish, did: list[Step]) -> int:
    """Mend the published file after a step that was named, and tell both."""
    keys, errors = backend.signing_keys, list[TokenctlError]()
    try:
        did += keys.mend()
    except TokenctlError as error:
        errors.append(still_published(error, did))
    for step in did:
        screen.tell_step(context, step)
    screen.conclude(context, keys, keys.outlook(wish), did=did)
    return _end(context, errors)


def status(context: Context, *, verifiers: tuple[str, ...]) -> int:
    """Print every signing key: its state, since when, how many living tokens it signed, and its next step."""
    _check_verifiers(verifiers)
    with context.backend() as backend:
        keys = backend.signing_keys
        outlook = keys.outlook(Wish())
        observation = Observation(verifiers or backend.verifiers, seconds=context.surroundings.timeout)
        listed = keys.keys()
        published = [key.kid for key, _ in listed if key.state == "published"]
        asking = context.console.output == "json" or context.console.on_terminal
        seen = [
            answer
            for kid in (published if observation.verifiers and asking else [])
            for answer in observe(keys, kid, observation, now=outlook.now)
        ]
        screen.tell_status(context, keys, outlook, seen)
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
