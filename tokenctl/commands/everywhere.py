"""``--all-profiles``: each token goes to the profile that it belongs to, and to no other.

A token belongs to a profile where its secret or signature proves itself, or where that profile has its row; an id, where
there is its row. What belongs to none is sent nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from tokenctl import config
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TokenctlError
from tokenctl.formats import pasted
from tokenctl.secret import Secret


class Place(NamedTuple):
    """A profile that was opened, and the context to act in it."""

    context: Context
    backend: Backend


class Everywhere(NamedTuple):
    """All profiles of this user.

    Attributes:
        places: Those that could be opened.
        closed: The names of the others, each told already: what belongs to them was not looked at.
    """

    places: list[Place]
    closed: list[str]

    @property
    def form(self) -> pasted.Form:
        """What ids and tokens of any of them look like in a paste."""
        forms = [place.backend.form for place in self.places]

        def named(text: str) -> str | None:
            return next((found for form in forms if (found := form.named(text)) is not None), None)

        def words(line: str) -> Iterator[Secret]:
            return map(Secret, pasted.words(line)) if any(form.words is not None for form in forms) else iter(())

        return pasted.Form(named=named, words=words)

    def owner_of(self, token: Secret) -> Place | None:
        """Return where a token belongs to."""
        proves = (place for place in self.places if self._can(place, lambda backend: backend.prove(token) is not None))
        return next(proves, None)

    def keeper_of(self, identifier: str) -> Place | None:
        """Return where there is a row of an id."""
        named = (place for place in self.places if place.backend.id_of(identifier) is not None)
        has = (place for place in named if self._can(place, lambda backend: backend.directory.get(identifier) is not None))
        return next(has, None)

    def _can(self, place: Place, asks: Callable[[Backend], bool]) -> bool:
        try:
            return asks(place.backend)
        except TokenctlError as error:
            if place.backend.name not in self.closed:
                self.closed.append(place.backend.name)
                _tell(place.context, place.backend.name, error)
            return False


@contextmanager
def every_profile(context: Context) -> Iterator[Everywhere]:
    """Open all profiles; one that cannot be opened is told, and stops nothing.

    Raises:
        InvalidRequest: a profile is named, or a credential handed in (exit 2).
    """
    if context.profile is not None or context.asked:
        raise InvalidRequest("--all-profiles goes with neither --profile nor --ask")
    surroundings = context.surroundings
    handed = surroundings.credential_file is not None or surroundings.credential_fd is not None
    if handed or surroundings.environment.get("TOKENCTL_CREDENTIAL_FILE"):  # a secret of one service would reach the others
        raise InvalidRequest(
            "--all-profiles looks up the credential of each profile: hand none in",
            hint="keep each: tokenctl login, or LoadCredential= of systemd",
        )
    places: list[Place] = []
    closed: list[str] = []
    with ExitStack() as stack:
        for name in config.profile_names(context.places):
            own = context._replace(profile=name)
            try:
                backend = stack.enter_context(own.backend())
                with backend.journal.reading():
                    places.append(Place(own, backend))
            except TokenctlError as error:
                closed.append(name)
                _tell(context, name, error)
        yield Everywhere(places, closed)


def at(place: Place) -> Place:
    """Speak of this profile from here on."""
    place.context.console.profile = place.backend.name
    return place


def names(places: Iterable[Place]) -> str:
    return ", ".join(place.backend.name for place in places)


def _tell(context: Context, name: str, error: TokenctlError) -> None:
    context.console.complain(f"profile {name} was not looked at: {error.message}")
