"""Every failure tokenctl can end with: a slug, an exit code, a fact and a piece of advice.

One root, one class a code. The message is a fact in lower case, the hint is advice, a command where one exists.
Neither ever carries a secret or the text of a foreign exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TokenctlError(Exception):
    """The root of every failure that tokenctl foresees.

    Args:
        message: What happened, lower case, no full stop.
        hint: What to do about it.
        reason: A machine string finer than the slug, for example ``not_confirmed``.
    """

    slug = "internal_error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason


class InternalError(TokenctlError):
    """A bug of ours; never a "no"."""


class InvalidRequest(TokenctlError):
    """Usage, a malformed value, a secret in argv, unreadable input, not confirmed; nothing was touched."""

    slug = "invalid_request"
    exit_code = 2


class TokenNotActive(TokenctlError):
    """The answer is no: the presented or named token is not accepted."""

    slug = "token_not_active"
    exit_code = 3


class AccessDenied(TokenctlError):
    """The operator credential is missing or refused, or the root secret is out of reach."""

    slug = "access_denied"
    exit_code = 4


class NotFound(TokenctlError):
    """A named id, key or profile is unknown here."""

    slug = "not_found"
    exit_code = 5


class Conflict(TokenctlError):
    """The request id is used, a plan differs, a key is still needed or missing."""

    slug = "conflict"
    exit_code = 6


class TemporarilyUnavailable(TokenctlError):
    """Timeout, lock, full disk, output not writable: safe to run again."""

    slug = "temporarily_unavailable"
    exit_code = 7


class ServerError(TokenctlError):
    """The service broke its contract."""

    slug = "server_error"
    exit_code = 8


class InvalidConfiguration(TokenctlError):
    """An unreadable or too open file, an unknown backend, a part the backend lacks, a newer store."""

    slug = "invalid_configuration"
    exit_code = 9


class IntegrityError(TokenctlError):
    """The log, the store or key material does not check out."""

    slug = "integrity_error"
    exit_code = 10


class Partial(TokenctlError):
    """Something may still be accepted, or was not looked at."""

    slug = "partial"
    exit_code = 11


class PolicyDenied(TokenctlError):
    """The token policy forbids it."""

    slug = "policy_denied"
    exit_code = 12


class CommandNotExecutable(TokenctlError):
    """`-- CMD`: it is there and cannot be executed; nothing was minted, or what was is revoked."""

    slug = "command_not_executable"
    exit_code = 126


class CommandNotFound(TokenctlError):
    """`-- CMD`: there is no such command; nothing was minted, or what was is revoked."""

    slug = "command_not_found"
    exit_code = 127


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Name the option in the fault of a value that was given to it."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"{option}: {error.message}", hint=error.hint) from None


def worst(codes: list[int]) -> int:
    """Merge exit codes of one run into one: 10 beats 11 beats the rest, then the larger wins."""
    return max(codes, key=lambda code: {10: 102, 11: 101}.get(code, code), default=0)
