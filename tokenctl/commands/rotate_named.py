"""``rotate-keys`` of one key by name: ``--compromised``, ``retire``, ``rollback``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tokenctl import process
from tokenctl.backends.parts import SigningKeys
from tokenctl.commands import rotate_screen as screen
from tokenctl.commands import rotate_toll, rotate_verifiers
from tokenctl.commands.context import Context
from tokenctl.commands.parts import signing_keys_of
from tokenctl.errors import IntegrityError, InvalidRequest, TokenctlError, worst
from tokenctl.formats.signing import ALGORITHMS
from tokenctl.model.rotation import Step, Wish
from tokenctl.workflows.rotation import still_published


def check_algorithm(algorithm: str | None) -> None:
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise InvalidRequest(f"--algorithm: one of {', '.join(ALGORITHMS)}")


def compromise(context: Context, kid: str, *, verifiers: tuple[str, ...], dry_run: bool) -> int:
    """Deny a key and what it signed, and wait until verifiers have dropped it.

    Raises:
        NotFound: no such key (exit 5).
        Partial: it is still published, or a verifier still serves it (exit 11).
        IntegrityError: denied, but in quarantine no fresh key is made (exit 10).
    """
    if not kid:
        raise InvalidRequest("--compromised: names no key", hint="tokenctl rotate-keys status")
    with context.backend() as backend:
        keys = signing_keys_of(backend)
        if dry_run:
            rotate_toll.preview(context, keys, kid, keys.toll(kid))
            return 0
        did, errors = _take(context, keys, lambda: keys.compromise(kid), gone=kid)
        toll = keys.toll(kid)  # from now on it signs nothing more
        rotate_toll.tell_toll(context, toll)
        watched, unseen = rotate_verifiers.watch(context, backend, verifiers, kid)
        errors += unseen
        try:
            backend.require_trust()
            keys.keys()
        except IntegrityError as error:
            errors.append(IntegrityError(f"no fresh key was made: {error.message}", hint=error.hint, reason=error.reason))
        with suppress(IntegrityError):  # told above
            rotate_toll.conclude(context, keys, kid, did=did, toll=toll, watched=watched)
    return end(context, errors)


def roll_back(context: Context, *, algorithm: str | None) -> int:
    """Let the key sign again that stopped last.

    Raises:
        Conflict: none is retiring (exit 6).
        InvalidRequest: several algorithms could go back, and none is named (exit 2).
    """
    check_algorithm(algorithm)
    with context.backend() as backend:
        keys = signing_keys_of(backend)
        did, errors = _take(context, keys, lambda: keys.roll_back(algorithm), mending=False)
        listed = keys.keys()
        for kid in [key.kid for key, _ in listed if (key.state, key.alg) == ("published", did[0].alg)]:
            told = f"{kid} is published and signs when its time has come; to keep it from that: tokenctl rotate-keys retire {kid}"
            context.console.chat(context.console.advice(told), folded=True)
        screen.conclude(context, keys, keys.outlook(Wish()), screen.Told(did=did))
    return end(context, errors)


def retire(context: Context, kid: str) -> int:
    """Destroy a key that no token needs.

    Raises:
        NotFound: no such key (exit 5).
        Conflict: it is active, or tokens need it (exit 6).
        Partial: it is still published (exit 11).
    """
    with context.backend() as backend:
        keys = signing_keys_of(backend)
        did, errors = _take(context, keys, lambda: keys.retire(kid), gone=kid)
        if not any(step.kid == kid for step in did):
            listed = keys.keys()
            state = next((key.state for key, _ in listed if key.kid == kid), "gone")
            context.console.chat(f"{kid} is {state} already", folded=True)
        screen.conclude(context, keys, keys.outlook(Wish()), screen.Told(did=did))
    return end(context, errors)


def _take(
    context: Context, keys: SigningKeys, take: Callable[[], list[Step]], *, gone: str | None = None, mending: bool = True,
) -> tuple[list[Step], list[TokenctlError]]:
    """Take a step that was named, mend the published file after it, and tell both; an interrupt waits until then.

    Args:
        gone: The key that is to be published no more.
        mending: Whether the step leaves the published file to be mended after it.
    """
    errors: list[TokenctlError] = []
    with process.Unbroken() as unbroken:
        unbroken.resume()
        did = take()
        try:
            did += keys.mend() if mending else []
        except TokenctlError as error:
            errors.append(still_published(error, [gone] if gone is not None else []))
        for step in did:
            screen.tell_step(context, step, now=context.now)
    return did, errors


def end(context: Context, errors: list[TokenctlError]) -> int:
    """Tell every error, the worst one last; as JSON they are one."""
    if not errors:
        return 0
    code = worst([error.exit_code for error in errors])
    last = next(error for error in errors if error.exit_code == code)
    others = {error.message: error for error in errors if error.message != last.message}
    if context.console.machine:
        raise type(last)("; ".join([last.message, *others]), hint=last.hint, reason=last.reason)
    for error in others.values():
        hint = error.hint if error.hint != last.hint else None
        context.console.error(type(error)(error.message, hint=hint, reason=error.reason))
    raise last
