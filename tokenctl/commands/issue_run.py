"""``issue … -- CMD``: a token that lives exactly as long as a command."""

import fcntl
import os
import re

from tokenctl import process, runs
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.commands.issue import Manner, preview
from tokenctl.commands.issue_delivery import note_delivery, until_denied
from tokenctl.commands.issue_request import Wish, read_wish
from tokenctl.errors import InvalidRequest, Partial, TemporarilyUnavailable, TokenctlError
from tokenctl.model.times import HOUR
from tokenctl.model.token import IssuedToken, Reason, Target
from tokenctl.workflows import run_child

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_LIFETIME = HOUR  # bounds what outlives a kill of us that nobody notices


def issue_for_command(context: Context, wish: Wish, manner: Manner) -> int:
    """Mint a token, run the command with it, revoke it however the command ends.

    Returns:
        The command's status, minus its signal, or 11 where the command succeeded and the revocation did not.

    Raises:
        InvalidRequest: every fault of the request, together (exit 2).
        CommandNotFound, CommandNotExecutable: nothing was minted, or what was is revoked (exit 127, 126).
        PolicyDenied: the policy forbids it (exit 12).
    """
    command = _command(context, manner)
    with context.backend() as backend:
        request = read_wish(wish, context, backend)._replace(default_lifetime=_LIFETIME)
        if manner.dry_run:
            return preview(context, backend, request)
        # Until here an interrupt ends us as ever: a token that was made by then ends with this process.
        issued = next(backend.issue([request._replace(run=runs.current() if backend.kind == "local" else None)]))
        with run_child.signals_held() as mask:
            return _run(context, backend, issued, command, mask)


def _command(context: Context, manner: Manner) -> run_child.Command:
    """Check how the token is handed over, and find the command."""
    words = manner.command or ()
    if not words or not words[0]:
        raise InvalidRequest("no command stands behind --", hint="tokenctl issue --subject S -- CMD")
    if manner.variable is not None and manner.child_fd is not None:
        raise InvalidRequest("--env and --child-fd exclude each other")
    variable = manner.variable if manner.variable is not None else run_child.TOKEN_VARIABLE
    if not re.fullmatch(_VARIABLE, variable, re.ASCII):
        raise InvalidRequest("--env: letters, digits and _ are admitted, no digit first")
    if variable.startswith("TOKENCTL_") and variable != run_child.TOKEN_VARIABLE:
        raise InvalidRequest("--env: a name that begins with TOKENCTL_ means something to tokenctl itself")
    if manner.child_fd is not None:
        _check_descriptor(manner.child_fd)
    path = run_child.locate(words[0], context.surroundings.environment)
    return run_child.Command(path=path, words=words, variable=variable, descriptor=manner.child_fd, masked=manner.masked)


def _check_descriptor(number: int) -> None:
    if not 3 <= number < process.first_own_descriptor():
        raise InvalidRequest(f"--child-fd: 3 to {process.first_own_descriptor() - 1}")
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return
    raise InvalidRequest(f"--child-fd {number} is open already", hint="choose another number")


def _run(
    context: Context, backend: Backend, issued: IssuedToken, command: run_child.Command, mask: frozenset[int]
) -> int:
    """Run the command; its token is revoked on every way out of here."""
    failures: list[TokenctlError] = []
    over: list[bool] = []

    def revoke() -> None:
        if not over:
            over.append(True)
            failures.extend(_revoke(backend, issued))

    try:
        note_delivery(backend, issued)
        backend.close()  # the command may take long, and inherits nothing
        status, unwritten = run_child.run(command, issued.text, issued.token.id, os.environ, mask, ended=revoke)
    finally:
        revoke()
        for failure in failures:
            context.console.error(failure)
    if unwritten is not None:
        lost = TemporarilyUnavailable(f"the command's output could not be written: {unwritten}", hint="check where it goes")
        context.console.error(lost)
        failures.append(lost)
    return failures[0].exit_code if failures and status == 0 else status


def _revoke(backend: Backend, issued: IssuedToken) -> list[TokenctlError]:
    """Revoke the token of a run that is over; return what kept it from being recorded."""
    identifier = issued.token.id
    backend.journal.catch_up()
    reason = Reason(reason="other", note="its run ended", request_id=issued.request_id)
    try:
        outcomes = list(backend.revoke([Target(id=identifier, text=issued.text)], reason))
    except TokenctlError as error:
        cause = error.message
    else:
        if outcomes and outcomes[0].outcome in ("revoked", "already_revoked"):
            return []
        cause = (outcomes[0].detail if outcomes else None) or "the store does not deny it"
    if issued.token.remote:
        fate, hint = until_denied(issued), "its id and time are in the log: tokenctl audit show " + identifier
    else:
        fate, hint = "it is not accepted once this process has ended", f"tokenctl revoke {identifier}"
    return [Partial(f"token {identifier} was not revoked ({cause}): {fate}", hint=hint, reason="not_revoked")]
