"""From a profile to its backend: the only place that chooses concrete things."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tokenctl import config
from tokenctl.audit.actor import identify
from tokenctl.backends.base import Backend
from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.root_secret import Whereabouts


class Surroundings(NamedTuple):
    """What a command is given from outside: environment, clock, and where it speaks.

    Attributes:
        now: Milliseconds since the epoch; read once for the whole command.
        timeout: Seconds the command may wait in all.
        ceiling: The file of the machine's policy above every profile's.
        announce: Says what a person at the terminal is waited for with; ``None`` where nobody may be asked.
    """

    environment: Mapping[str, str]
    now: int
    notice: Callable[[str], None]
    warn: Callable[[str], None]
    timeout: float
    ceiling: str = config.CEILING
    announce: Callable[[str], None] | None = None


def places(surroundings: Surroundings) -> config.Places:
    """Return where this user's files lie."""
    return config.Places(surroundings.environment, surroundings.ceiling)


def profile_name(name: str | None, surroundings: Surroundings) -> str:
    """Return the profile that a command means."""
    if name is not None:
        return config.check_name(name)
    return config.current_name(places(surroundings), surroundings.environment)


def open_journal(profile: config.Profile, surroundings: Surroundings) -> Journal:
    """Return the journal of a profile; nothing is opened or made yet."""
    return Journal(
        places(surroundings), profile.name, whereabouts=whereabouts(profile, surroundings), clock=surroundings.now,
        actor=identify(surroundings.environment, profile.name),
        notice=surroundings.notice, warn=surroundings.warn, lock_deadline=surroundings.timeout,
    )  # fmt: skip


def whereabouts(profile: config.Profile, surroundings: Surroundings) -> Whereabouts:
    """Return where the root secret of a profile's store can lie."""
    return Whereabouts(
        places(surroundings), profile.name, surroundings.environment,
        keyring_backend=profile.keyring_backend, announce=surroundings.announce,
    )  # fmt: skip


def _local(profile: config.Profile, surroundings: Surroundings) -> LocalAuthority:
    return LocalAuthority(
        profile, open_journal(profile, surroundings), policy=lambda: config.load_policy(places(surroundings), profile)
    )


BACKENDS: dict[str, Callable[[config.Profile, Surroundings], Backend]] = {"local": _local}


def open_profile(name: str | None, surroundings: Surroundings) -> config.Profile:
    """Return the profile that a command means.

    Raises:
        NotFound: no such profile (exit 5).
        InvalidConfiguration: its file or places cannot be used (exit 9).
    """
    return config.load_profile(places(surroundings), profile_name(name, surroundings))


def open_backend(name: str | None, surroundings: Surroundings) -> Backend:
    """Return the backend of a profile; raises like :func:`open_profile`."""
    profile = open_profile(name, surroundings)
    return BACKENDS[profile.backend](profile, surroundings)
