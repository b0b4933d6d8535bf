"""stdout is the answer, stderr the conversation.

Everything tokenctl prints goes through here. A write that fails is told, never swallowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from tokenctl import files, terminal
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable, TokenctlError
from tokenctl.render.escape import escape, fold

if TYPE_CHECKING:
    from tokenctl.render.outlet import Outlet  # what is over at once holds nothing back

MACHINE = ("json", "jsonl", "sarif", "introspection")  # outputs that no person reads
_MANY = 20  # more targets than this are confirmed by typing their number
_DIM, _BOLD, _RED, _GREEN, _YELLOW, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
# A command of ours in a hint, and whether it works on a profile's store.
_COMMAND = (
    r"(?<![\w/])tokenctl (?P<on>(?:issue|inspect|list|revoke|rotate-keys|audit|store|doctor|login|logout|whoami|profile show\Z)"
    r"(?![\w-])(?! (?:[\w-]+ )?--help))?"
)
_COLOURS = {"dim": _DIM, "bold": _BOLD, "red": _RED, "green": _GREEN, "yellow": _YELLOW}


class Console:
    """Where one command speaks.

    Attributes:
        output: ``text``, ``json``, ``jsonl``, ``sarif`` or ``None`` where the command line does not say.
        quiet: Whether outcomes are left to the exit code.
        verbose: Whether details are asked for.
        may_ask: Whether a question may be asked at all.
        program: How tokenctl was called.
        named: Finds the profile that a command in a hint must name to mean the same one as this run.
        profile: The profile at work, once it is known.
        warnings: What was warned of, for a JSON document.
    """

    def __init__(self, *, environment: Mapping[str, str], may_ask: bool = True, output: str | None = None) -> None:
        self.environment = environment
        self.program = "tokenctl"
        self.named: Callable[[], str | None] = lambda: None
        self.output = output
        self.quiet = False
        self.verbose = False
        self.may_ask = may_ask
        self.profile: str | None = None
        self.warnings: list[str] = []
        self._held: dict[int, Outlet] = {}

    @property
    def machine(self) -> bool:
        return self.output in MACHINE

    @property
    def command(self) -> str:
        """How a hint calls tokenctl on the profile at work: the program, and ``-p`` where a bare call means another."""
        named = self.named()
        return self.program if named is None else f"{self.program} -p {named}"

    def advice(self, text: str) -> str:
        """Write the commands in a hint as they are to be typed here."""
        if "tokenctl " not in text:
            return text
        return re.sub(_COMMAND, lambda found: f"{self.command if found['on'] else self.program} {found['on'] or ''}", text)

    @property
    def on_terminal(self) -> bool:
        """Whether stdout is a person's terminal."""
        return terminal.is_terminal(1)

    @property
    def chatty(self) -> bool:
        """Whether stderr may carry more than errors."""
        return terminal.is_terminal(2) and not self.quiet and not self.machine

    def paint(self, text: str, colour: str, descriptor: int = 1) -> str:
        if not terminal.wants_colour(dict(self.environment), descriptor):
            return text
        return f"{_COLOURS[colour]}{text}{_PLAIN}"

    def fold(self, head: str, text: str) -> str:
        """Put a text behind a head, folded as the terminal would break it anywhere; off a terminal it stays one line."""
        return fold(head, text, terminal.width()) if self.on_terminal else head + text

    # The answer

    def answer(self, text: str) -> None:
        """Print a line of the answer.

        Raises:
            BrokenPipeError: the reader went away; the boundary ends quietly by SIGPIPE.
            TemporarilyUnavailable: stdout cannot be written (exit 7).
        """
        self.answer_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))

    def answer_bytes(self, data: bytes) -> None:
        try:
            self._write(1, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(error) from None

    def hold(self) -> None:
        """Wait for no reader from here on: what is said waits in memory, until :meth:`let_go`."""
        from tokenctl.render.outlet import Outlet

        self._held = {descriptor: Outlet(descriptor) for descriptor in (1, 2)}

    def let_go(self, patience: float | None = None) -> None:
        """Write what waits, as long as it takes, or until a reader took nothing for ``patience`` seconds.

        Raises:
            BrokenPipeError, TemporarilyUnavailable: as :meth:`answer`.
        """
        held, self._held = self._held, {}
        if held:
            with suppress(OSError):
                held[2].drain(patience)
            try:
                held[1].drain(patience)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise _unwritable(error) from None

    def _write(self, descriptor: int, data: bytes) -> None:
        if descriptor in self._held:
            self._held[descriptor].put(data)
        else:
            files.write_all(descriptor, data)

    def document(self, members: Mapping[str, object]) -> None:
        """Print one JSON object: ASCII, on one line."""
        self.answer(json.dumps(members, ensure_ascii=True, allow_nan=False))

    def result(self, text: str) -> None:
        """Print a line of an outcome, which ``--quiet`` leaves to the exit code."""
        if not self.quiet:
            self.answer(text)

    # The conversation

    def _say(self, line: str, *, end: str = "\n") -> None:
        try:
            self._write(2, f"{line}{end}".encode("utf-8", "backslashreplace"))
        except OSError:
            return  # nobody listens; the exit code still speaks

    def overwrite(self, line: str) -> None:
        """Write over the line that the cursor stands on, at a terminal; an empty one wipes it."""
        if self.chatty:
            self._say(f"\r{escape(line)}\x1b[K", end="" if line else "\r")

    def chat(self, text: str, *, folded: bool = False) -> None:
        """Say something to a person; off a terminal nobody is there."""
        if self.chatty:
            self._say(self._between_words("", text) if folded else escape(text))

    def _between_words(self, head: str, text: str) -> str:
        """Fold what a person reads on stderr as the terminal would break it anywhere."""
        return fold(head, escape(text), terminal.width()) if terminal.is_terminal(2) else head + escape(text)

    def detail(self, text: str) -> None:
        """Say what only ``--verbose`` asks for, on a terminal or off it."""
        if self.verbose:
            self._say(escape(text))

    def notice(self, text: str) -> None:
        """Say a line that is never hidden: a secret was created, lost, or less was granted."""
        if self.machine:
            self.warnings.append(text)
        self._say(f"notice: {escape(text)}")

    def warn(self, text: str) -> None:
        """Say a warning; with JSON output it stands in the document."""
        self.warnings.append(text)
        if self.output not in ("json", "sarif"):
            self._say(self._between_words("warning: ", text))

    def complain(self, text: str) -> None:
        """Say on stderr what was not done, also where ``--quiet`` hides the answer."""
        self._say(escape(text))

    def error(self, error: TokenctlError) -> None:
        """Say a failure: the fact, then the advice; as one JSON object where JSON was asked for."""
        hint = None if error.hint is None else self.advice(error.hint)
        if self.machine:
            members = {
                "error": error.slug, "reason": error.reason, "message": error.message, "hint": hint,
                "exit_code": error.exit_code, "profile": self.profile,
            }  # fmt: skip
            self._say(json.dumps(members, ensure_ascii=True))
            return
        self._say(self._between_words("tokenctl: ", error.message))
        if hint:
            self._say(f"hint: {escape(hint)}")

    # Questions

    def confirm(self, question: str, count: int, verb: str) -> None:
        """Ask whether to go on; more than 20 targets are confirmed by their number.

        Raises:
            InvalidRequest: no, or no way to ask: nothing was done (exit 2, reason ``not_confirmed``).
        """
        refused = InvalidRequest(
            f"not confirmed: nothing was {verb}", hint="add --yes to go on without the question", reason="not_confirmed"
        )
        if not self.may_ask:
            raise refused
        many = count > _MANY
        tail = f"type {count} to go on: " if many else "[y/N] "
        answer = terminal.ask(f"{escape(question)} {tail}")
        if answer is None or (answer != str(count) if many else answer.lower() not in ("y", "yes")):
            raise refused


def _unwritable(error: OSError) -> TemporarilyUnavailable:
    return TemporarilyUnavailable(
        f"cannot write to stdout: {files.cause_of(error)}", hint="check where stdout goes, then run again"
    )  # fmt: skip
