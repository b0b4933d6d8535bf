"""What every action is given: where to speak, and the way to its profile's backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tokenctl import config, wiring
from tokenctl.backends.base import Backend
from tokenctl.errors import InvalidConfiguration, InvalidRequest, NotFound
from tokenctl.render.console import Console


class Context(NamedTuple):
    """One run of one verb.

    Attributes:
        asked: Whether presented tokens may be sent to its service, whatever they are.
        profile: The name given by ``--profile``; ``None`` leaves it to the environment and ``current``.
    """

    console: Console
    surroundings: wiring.Surroundings
    profile: str | None = None
    asked: bool = False

    @property
    def now(self) -> int:
        """Milliseconds since the epoch; the one reading of this command."""
        return self.surroundings.now

    @property
    def places(self) -> config.Places:
        return wiring.places(self.surroundings)

    def asking(self, profile: str | None) -> Context:
        """Return the context for ``--ask PROFILE``: that profile, whose service is sent whatever was presented."""
        if profile is None:
            return self
        if self.profile not in (None, profile):
            raise InvalidRequest("--ask and --profile name different profiles")
        return self._replace(profile=config.check_name(profile), asked=True)

    @contextmanager
    def backend(self) -> Iterator[Backend]:
        """Open the profile's backend and close it on every way out."""
        backend = wiring.open_backend(self.profile, self.surroundings)
        backend.asked = self.asked
        self.console.profile = backend.name
        self.console.detail(f"profile {backend.name} ({backend.place})")
        handed = self.surroundings.credential_file is not None or self.surroundings.credential_fd is not None
        if handed and backend.kind == "local":
            raise InvalidConfiguration(
                f"profile {backend.name} takes no credential", hint="leave --credential-file and --credential-fd out"
            )
        try:
            yield backend
        except NotFound as error:
            if error.hint is None:
                error.hint = self._other_profiles()
            raise
        finally:
            backend.close()

    def _other_profiles(self) -> str | None:
        from tokenctl.commands.inspect_screen import other_profiles

        return other_profiles(self)

    def refuse_own(self, path: str, option: str = "--out") -> None:
        """Refuse a path for output that lies among tokenctl's own files, of whatever profile (exit 2)."""
        name = wiring.profile_name(self.profile, self.surroundings)
        if self.places.owns(path, name):
            raise InvalidRequest(f"{option} names a place among tokenctl's own files", hint=f"name another file with {option}")

    def own_files(self) -> list[str]:
        """Return the paths that no descriptor handed in may be."""
        name = wiring.profile_name(self.profile, self.surroundings)
        store = self.places.store(name)
        return [
            store, f"{store}-wal", f"{store}-shm", f"{store.removesuffix('store.db')}store.lock",
            self.places.root_secret(name), f"{self.places.root_secret(name)}+new", self.places.anchor(name),
            self.places.profile(name), self.places.current, self.places.ceiling,
        ]  # fmt: skip
