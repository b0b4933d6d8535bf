"""The verifiers that ``rotate-keys`` asks: those of the command line, else the profile's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenctl.backends.base import Backend
from tokenctl.commands import rotate_toll
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidConfiguration, InvalidRequest, Partial, TokenctlError, naming
from tokenctl.workflows.rotation import Observation

if TYPE_CHECKING:
    from tokenctl.workflows.canary import Gone


def check(urls: tuple[str, ...]) -> None:
    """Refuse a URL on the command line that may not be asked (exit 2)."""
    with naming("--verifier"):
        _check(urls)


def _check(urls: tuple[str, ...]) -> None:
    if urls:
        from tokenctl.workflows.canary import check_verifier

        for url in urls:
            check_verifier(url)


def observation(context: Context, backend: Backend, urls: tuple[str, ...], *, unobserved: bool = False) -> Observation:
    """Return who is asked; raises InvalidConfiguration where the profile names what cannot be (exit 9)."""
    verifiers = urls or (() if unobserved else backend.verifiers)
    for number, url in enumerate(verifiers, 1):
        try:
            _check((url,))
        except InvalidRequest as error:
            # The URL itself is not told: it may hold a password.
            message = f"the file of profile {context.console.profile}: verifiers: number {number}: {error.message}"
            raise InvalidConfiguration(message, hint="mend it with an editor") from None
    return Observation(verifiers, unobserved, context.surroundings.timeout)


def watch(context: Context, backend: Backend, urls: tuple[str, ...], kid: str) -> tuple[list[Gone], list[TokenctlError]]:
    """Wait until verifiers have dropped a key; return what each did, and what may go on for that."""
    try:
        asked = observation(context, backend, urls)
    except InvalidConfiguration as error:  # a mistake in the profile keeps nobody from denying a key
        message = f"what {kid} signed may still be accepted, no verifier was asked: {error.message}"
        return [], [Partial(message, hint=error.hint, reason="not_asked")]
    if not asked.verifiers:
        return [], []
    from tokenctl.workflows.canary import watch_gone

    watched = []
    for seen in watch_gone(asked.verifiers, kid, seconds=asked.seconds, now=context.now):
        watched.append(seen)
        rotate_toll.tell_gone(context, seen)
    serving = [f"{seen.verifier} {seen.detail}" for seen in watched if not seen.gone]
    if not serving:
        return watched, []
    message = f"what {kid} signed may still be accepted: {'; '.join(serving)}"
    return watched, [Partial(message, hint="purge their caches and run again", reason="served")]
