"""The parts of an authority that a verb needs; one that is lacking ends the verb before anything starts (exit 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tokenctl.errors import InvalidConfiguration

if TYPE_CHECKING:
    from tokenctl.backends.base import Backend
    from tokenctl.backends.parts import SigningKeys, Suspension, Usage

Part = TypeVar("Part")


def suspension_of(backend: Backend) -> Suspension:
    """Return what suspends and lifts; raises InvalidConfiguration (exit 9)."""
    return _had(backend, backend.suspension, "suspends no tokens", "tokenctl revoke denies for good")


def usage_of(backend: Backend) -> Usage:
    """Return what accepts tokens and counts their uses; raises InvalidConfiguration (exit 9)."""
    return _had(backend, backend.usage, "counts no uses for others", "tokenctl inspect - asks whether a token is accepted")


def signing_keys_of(backend: Backend) -> SigningKeys:
    """Return the keys that sign its JWTs; raises InvalidConfiguration (exit 9)."""
    return _had(backend, backend.signing_keys, "shows and changes none of its signing keys", "rotate them at the service itself")


def _had(backend: Backend, part: Part | None, lack: str, hint: str) -> Part:
    if part is None:
        raise InvalidConfiguration(f"profile {backend.name} ({backend.place}) {lack}", hint=hint, reason="part_lacking")
    return part
