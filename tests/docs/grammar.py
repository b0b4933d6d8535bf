"""The grammar as plain values, read from the program itself: verbs, options, arguments, examples, exit codes.

What the grammar does not say, which values an option takes, is derived here: from the model, from a metavar that spells
out its words (``lift|revoke``), or from one that names a file or a profile. Whatever else completes to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import typer

from tokenctl import config
from tokenctl.cli import invocation
from tokenctl.cli.app import build
from tokenctl.cli.options import GLOBAL_OPTIONS
from tokenctl.formats import signing
from tokenctl.model import token

FILES, PROFILES = "files", "profiles"
Values = str | tuple[str, ...]
_WORDS: dict[str, tuple[str, ...]] = {
    "kind": token.KINDS, "format_": token.FORMATS, "format": token.FORMATS, "state": (*token.STATES, "undelivered", "all"),
    "reason": token.REASONS, "output": invocation._OUTPUTS, "backend": config.BACKENDS,
    "algorithm": signing.ALGORITHMS, "eddsa_name": ("EdDSA", "Ed25519"),
    "then": ("lift", "revoke"),
}  # fmt: skip
_OUTPUTS_OF = {("audit", "review"): ("sarif",)}  # beside those of every verb
_REASON_OF = frozenset(["revoke"])  # elsewhere a reason is free text
_FILE_METAVAR = re.compile(r"\[?(FILE|PATH|DIR|FOLDER|PLAN)\b")
_SPELLED_OUT = re.compile(r"[a-z0-9-]+(\|[a-z0-9-]+)+")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An option or, without flags, an argument.

    Attributes:
        metavar: What stands for its value; ``None`` for a flag.
        values: ``FILES``, ``PROFILES``, the words it takes, or nothing.
    """

    flags: tuple[str, ...]
    metavar: str | None
    help: str
    many: bool
    values: Values
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb or sub-verb; the root is the one without a path."""

    path: tuple[str, ...]
    help: str
    options: tuple[Parameter, ...]
    shared: tuple[Parameter, ...]
    arguments: tuple[Parameter, ...]
    examples: tuple[str, ...]
    codes: tuple[tuple[int, str], ...]
    acts: bool
    command: bool
    verbs: tuple[Verb, ...] = field(default=())

    @property
    def name(self) -> str:
        return " ".join(self.path)

    def walk(self) -> Iterator[Verb]:
        """Yield this and everything below."""
        yield self
        for verb in self.verbs:
            yield from verb.walk()


def read(app: typer.Typer | None = None) -> Verb:
    """Return the whole grammar."""
    return _verb(typer.main.get_command(app or build([])), ())


def _verb(command: Any, path: tuple[str, ...]) -> Verb:
    examples, codes = _epilog(command.epilog or "")
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    arguments = tuple(_parameter(parameter, path) for parameter in shown if parameter.param_type_name == "argument")
    inner = getattr(command, "commands", {})
    return Verb(
        path=path, help=(command.help or "").strip(), arguments=arguments, examples=examples, codes=codes,
        options=tuple(_parameter(option, path) for option in options if option.name not in GLOBAL_OPTIONS),
        shared=(*(_parameter(option, path) for option in options if option.name in GLOBAL_OPTIONS), _HELP),
        acts=not inner or bool(path and command.invoke_without_command),
        command=any("CMD" in (argument.metavar or "") for argument in arguments) or any(" -- " in line for line in examples),
        verbs=tuple(_verb(verb, (*path, name)) for name, verb in _ordered(command, inner) if not verb.hidden),
    )  # fmt: skip


def _ordered(command: Any, inner: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the sub-verbs in the order of ``--help``."""
    return [(name, inner[name]) for name in (command.list_commands(None) if inner else ())]


_HELP = Parameter(flags=("-h", "--help"), metavar=None, help="Show help and exit.", many=False, values=())


def _parameter(parameter: Any, path: tuple[str, ...]) -> Parameter:
    is_option = parameter.param_type_name == "option"
    metavar = None if is_option and parameter.is_flag else parameter.metavar or parameter.name.upper()
    many = parameter.nargs == -1 or (getattr(parameter, "multiple", False) and parameter.name not in GLOBAL_OPTIONS)
    return Parameter(
        flags=(*parameter.opts, *parameter.secondary_opts) if is_option else (),
        metavar=metavar, help=(parameter.help or "").strip(), many=many,
        values=_values(parameter.name, metavar, path, is_option=is_option) if metavar else (), required=parameter.required,
    )  # fmt: skip


def _values(name: str, metavar: str, path: tuple[str, ...], *, is_option: bool) -> Values:
    bare = metavar.strip("[]")
    if _SPELLED_OUT.fullmatch(bare):
        return tuple(bare.split("|"))
    known = not is_option and bare == "NAME" and path[:1] == ("profile",) and path[1:] != ("add",)
    if name == "profile" or bare == "PROFILE" or known:
        return PROFILES
    if name == "file" or _FILE_METAVAR.match(metavar):
        return FILES
    if not is_option or (name == "reason" and not _REASON_OF & set(path)):
        return ()
    words = _WORDS.get(name, ())
    return (*words, *_OUTPUTS_OF.get(path, ())) if name == "output" else words


def _epilog(text: str) -> tuple[tuple[str, ...], tuple[tuple[int, str], ...]]:
    """Take the examples and exit codes out of what ``tokenctl.cli.help.epilog`` made."""
    examples: list[str] = []
    codes: list[tuple[int, str]] = []
    for part in text.split("\b\n"):
        head, _, body = part.strip().partition("\n")
        rows = [line.strip() for line in body.splitlines()]
        if head == "Examples:":
            examples += rows
        elif head == "Exit codes:":
            codes += [(int(code), meaning.strip()) for code, _, meaning in (row.partition(" ") for row in rows)]
    return tuple(examples), tuple(codes)
