"""What a check finds, and who is examined."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple, TypeVar

from tokenctl import config, wiring
from tokenctl.backends.local import clock, root_places, root_secret
from tokenctl.backends.local import journal as journals
from tokenctl.backends.local.facts import StoreFacts, facts_of
from tokenctl.backends.local.journal import Journal
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidConfiguration, TemporarilyUnavailable, TokenctlError

Result = TypeVar("Result")

OK, WARN, FAIL = "ok", "warn", "fail"
_TOLD_CODES = frozenset({4, 7, 9, 10})
_LOOKS = 3
_PAUSE = 0.02  # seconds
_COMMANDS = ("tokenctl ", "chmod ", "chown ")


class Finding(NamedTuple):
    """One line of the doctor's answer.

    Attributes:
        mend: The command that mends it, where there is one.
        code: Of a failure, the exit code that the next verb would meet.
        place: The path that it is about, so that nothing else tells of it again.
    """

    check: str
    status: str
    detail: str
    mend: str | None = None
    code: int = 0
    place: str | None = None


def ok(check: str, detail: str) -> Finding:
    return Finding(check, OK, detail)


def warn(check: str, detail: str, mend: str | None = None) -> Finding:
    return Finding(check, WARN, detail, mend)


def fail(check: str, error: TokenctlError, mend: str | None = None, place: str | None = None) -> Finding:
    """Tell of a failure; of its advice, what is a command mends it and the rest is told beside the fact."""
    told = re.sub(rf"(?:, or)?(?<!, then): (?={'|'.join(_COMMANDS)})", ";", error.hint or "")
    parts = [part.strip() for part in told.split(";")]
    advice = "; ".join([error.message, *(part for part in parts if part and not part.startswith(_COMMANDS))])
    commands = "; ".join(part for part in parts if part.startswith(_COMMANDS))
    code = error.exit_code if error.exit_code in _TOLD_CODES else InvalidConfiguration.exit_code
    return Finding(check, FAIL, advice, mend or commands or None, code, place)


def shell(*words: str) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(words)


class Opened(NamedTuple):
    """What opening the store as a verb does has shown: its facts, or why not.

    Attributes:
        secret: Its root secret, and where it lies.
    """

    facts: StoreFacts | None = None
    behind: int = 0
    error: TokenctlError | None = None
    secret: journals.Opened | None = None


class Examined:
    """Whom the checks look at; each part is found once, and only when a check asks for it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._begun = time.monotonic()

    def time(self) -> int:
        """Return the clock as it goes on from this command's one reading, milliseconds."""
        return self.now + int((time.monotonic() - self._begun) * 1000)

    @property
    def now(self) -> int:
        return self.context.now

    @property
    def environment(self) -> Mapping[str, str]:
        return self.context.surroundings.environment

    @cached_property
    def places(self) -> config.Places:
        return self.context.places

    @cached_property
    def profile(self) -> str:
        """The name of the profile; raises where it cannot be found out."""
        return wiring.profile_name(self.context.profile, self.context.surroundings)

    @property
    def store(self) -> str:
        return self.places.store(self.profile)

    @cached_property
    def settings(self) -> config.Profile:
        """What is told of the profile; nothing where its file is not understood, which another check tells."""
        try:
            return config.load_profile(self.places, self.profile)
        except TokenctlError:
            return config.Profile(name=self.profile)

    @cached_property
    def root_place(self) -> root_places.Place | None:
        """Where the store says that its root secret lies; ``None`` where there is none, or it cannot be asked."""
        try:
            journal = self.journal()
            recorded = journal.recorded()
            return None if recorded is None else root_secret.place_named(recorded[1], journal.whereabouts, recorded[0])
        except TokenctlError:
            return None

    def journal(self) -> Journal:
        """Return a journal that changes nothing and says nothing."""
        silent = self.context.surroundings._replace(notice=lambda _: None, warn=lambda _: None)
        journal = wiring.open_journal(self.settings, silent)
        journal.only_looks = True
        return journal

    @cached_property
    def opened(self) -> Opened:
        """Open the store as the next verb will, but only to look."""
        try:
            return patiently(self._open)
        except TokenctlError as error:
            return Opened(error=error)

    def _open(self) -> Opened:
        journal = self.journal()
        try:
            with journal.reading() as view:
                if view is None:
                    return Opened()
                return Opened(facts=facts_of(view), behind=clock.behind(view), secret=journal.opened)
        finally:
            journal.close()


def patiently(look: Callable[[], Result]) -> Result:
    """Look again where a look failed for now: one that must not touch the store gives way to a writer that opens it."""
    for _ in range(_LOOKS - 1):
        try:
            return look()
        except TemporarilyUnavailable:
            time.sleep(_PAUSE)
    return look()
