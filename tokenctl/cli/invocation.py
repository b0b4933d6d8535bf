"""One run of the program: the global options merged from both sides of the verb, and the context made from them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

from tokenctl.commands.context import Context
from tokenctl.config import CEILING, Places, check_name, current_name
from tokenctl.errors import InvalidRequest, TokenctlError, naming
from tokenctl.model.times import SECOND, parse_duration
from tokenctl.render.console import MACHINE, Console
from tokenctl.terminal import is_terminal
from tokenctl.wiring import Surroundings

_OUTPUTS = ("text", "json", "jsonl")  # of every verb
_TIMEOUT = 30.0  # seconds


class Invocation:
    """What surrounds one run; the boundary makes it, the verbs take their context from it."""

    def __init__(
        self, *, environment: Mapping[str, str], now: int, console: Console, command: tuple[str, ...] | None = None,
        ceiling: str | None = None,
    ) -> None:  # fmt: skip
        self.environment = environment
        self.ceiling = ceiling or CEILING
        self.now = now
        self.console = console
        self.debug = False
        self.given: dict[str, str] = {}
        self.interrupt: KeyboardInterrupt | None = None
        self._command = command

    def merge(self, values: Mapping[str, Any], *, last: bool, outputs: tuple[str, ...] = ()) -> None:
        """Take global options of one side of the verb, ``last`` behind it; twice with different values is refused (exit 2).

        Args:
            outputs: What the verb can write beside the outputs of every verb; in front of it that is not known yet.
        """
        for name, value in values.items():
            if isinstance(value, bool):
                self._flag(name, given=value)
                continue
            for text in value or []:
                if self.given.setdefault(name, text) != text:
                    raise InvalidRequest(f"--{name.replace('_', '-')} is given twice with different values")
                if text.startswith("-") and text != "-":
                    raise InvalidRequest(f"--{name.replace('_', '-')} has a value that looks like an option")
        output, choices = self.given.get("output"), (*_OUTPUTS, *outputs)
        if output is not None and output not in choices and (last or output not in MACHINE):
            raise InvalidRequest(f"--output: one of {', '.join(choices)}")
        if last or output is not None:  # what stands behind the verb is not read yet, and an error there keeps to it
            self.console.output = output

    def _flag(self, name: str, *, given: bool) -> None:
        if name == "quiet":
            self.console.quiet = self.console.quiet or given
        elif name == "verbose":
            self.console.verbose = self.console.verbose or given
        elif name == "no_input" and given:
            self.console.may_ask = False
        elif name == "debug":
            self.debug = self.debug or given

    def command_of(self, words: list[str] | None) -> tuple[str, ...] | None:
        """Return the words behind a literal ``--``; the parser takes others for them too, which is refused (exit 2)."""
        if tuple(words or ()) != (self._command or ()):
            raise InvalidRequest("a command stands behind a literal --", hint="tokenctl issue --subject S -- CMD")
        return self._command

    def context(self) -> Context:
        """Return what an action is given; raises InvalidRequest for a malformed ``--timeout`` (exit 2)."""
        timeout = _TIMEOUT
        if "timeout" in self.given:
            with naming("--timeout"):
                timeout = parse_duration(self.given["timeout"]) / SECOND
        surroundings = Surroundings(
            environment=self.environment, now=self.now, notice=self.console.notice, warn=self.console.warn, timeout=timeout,
            ceiling=self.ceiling, announce=self.console.complain if self._may_wait_for_a_person() else None,
            credential_file=self.given.get("credential_file"), credential_fd=self._descriptor("credential_fd"),
        )  # fmt: skip
        self.console.named = partial(profile_to_name, self.given.get("profile"), self.environment)
        if surroundings.credential_file is not None and surroundings.credential_fd is not None:
            raise InvalidRequest("--credential-file and --credential-fd exclude each other")
        return Context(console=self.console, surroundings=surroundings, profile=self.given.get("profile"))

    def _descriptor(self, name: str) -> int | None:
        text = self.given.get(name)
        if text is None:
            return None
        if not text.isdecimal() or not text.isascii() or len(text) > 6:
            raise InvalidRequest(f"--{name.replace('_', '-')}: the number of an open descriptor")
        return int(text)

    def _may_wait_for_a_person(self) -> bool:
        return self.console.may_ask and is_terminal(2)


def profile_to_name(given: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the chosen profile where a call without ``--profile`` and ``TOKENCTL_PROFILE`` means another one."""
    chosen = given or environment.get("TOKENCTL_PROFILE")
    if not chosen:
        return None
    from tokenctl.formats.pasted import looks_secret

    try:
        check_name(chosen)
    except TokenctlError:
        return None  # no command can name it
    if looks_secret(chosen):
        return None
    try:
        return None if chosen == current_name(Places(environment), {}) else chosen
    except TokenctlError:
        return chosen


def program_name(argument: str) -> str:
    """Return how the program was called, as a shell takes it: for hints that are commands."""
    name = os.path.basename(argument)
    if name == "__main__.py":
        return "python -m tokenctl"
    return shlex.quote(argument) if name == "tokenctl" and os.sep in argument and not _on_path(argument) else "tokenctl"


def _on_path(argument: str) -> bool:
    return os.path.dirname(os.path.abspath(argument)) in os.environ.get("PATH", "").split(os.pathsep)
