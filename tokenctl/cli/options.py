"""Option groups that verbs share, and the rules that hold for every option.

The global options stand before and after the verb: one decorator adds them to a declaration, so that an action never sees them.
"""

import gc
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from tokenctl.cli.invocation import Invocation
from tokenctl.errors import InvalidRequest

_Texts = list[str] | None
GLOBAL_OPTIONS: dict[str, tuple[Any, Any]] = {
    "profile": (_Texts, typer.Option("-p", "--profile", metavar="NAME", help="The profile to work on.")),
    "output": (_Texts, typer.Option("-o", "--output", metavar="FORMAT", help="text, json or jsonl.")),
    "quiet": (bool, typer.Option("-q", "--quiet", help="Only the answer; an outcome is the exit code.")),
    "verbose": (bool, typer.Option("-v", "--verbose", help="Say more on stderr.")),
    "no_input": (bool, typer.Option("--no-input", help="Never ask.")),
    "timeout": (_Texts, typer.Option("--timeout", metavar="D", help="Wait at most this long, default 30s.")),
    "debug": (bool, typer.Option("--debug", help="On a bug, show where it happened.")),
    "credential_file": (_Texts, typer.Option("--credential-file", metavar="FILE", help="The credential of a remote profile.")),
    "credential_fd": (_Texts, typer.Option("--credential-fd", metavar="N", help="The same, from a descriptor.")),
}
_PATH_OPTIONS = frozenset(  # a path may be any bytes
    [
        *("file", "out", "proof", "source", "jwks", "plan", "recipients_file", "passphrase_file", "identity"),
        *("baseline", "write_baseline", "archive", "known_head", "ca_file"),
    ]
)
_INSTANT_OPTIONS = frozenset(
    ["not_before", "issued_after", "issued_before", "expires_after", "expires_before", "since", "until", "before"]
)  # fmt: skip
# Servers make these up, and some begin with a dash; no option of one dash is as long.
_GIVEN_NAMES = frozenset(["client_id", "role_id"])
_LONG_NAME = 8  # characters


def with_globals(function: Callable[..., int], *, outputs: tuple[str, ...] = ()) -> Callable[..., int]:
    """Add the global options to a verb's declaration, and check what every option must keep.

    Args:
        outputs: What the verb can write beside text, json and jsonl.
    """
    signature = inspect.signature(function)
    options = dict(GLOBAL_OPTIONS)
    if outputs:
        told = f"text, json, jsonl or {' or '.join(outputs)}."
        options["output"] = (_Texts, typer.Option("-o", "--output", metavar="FORMAT", help=told))
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if kind is bool else None, annotation=Annotated[kind, option]
        )
        for name, (kind, option) in options.items()
    ]

    def verb(**values: Any) -> int:
        given = {name: values.pop(name) for name in GLOBAL_OPTIONS}
        invocation: Invocation = values["ctx"].obj
        invocation.merge(given, last=values["ctx"].invoked_subcommand is None, outputs=outputs)
        refuse_swallowed(values)
        if values["ctx"].invoked_subcommand is not None:
            refuse_parental(values)
            return 0
        gc.freeze()
        gc.enable()
        try:
            return function(**values)
        except KeyboardInterrupt as interrupt:
            invocation.interrupt = interrupt  # the parser would make an exit code of it
            raise

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]
    verb.__signature__ = signature.replace(parameters=[*parameters, *shared])  # type: ignore[attr-defined]
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, *shared]}
    verb.__name__, verb.__doc__ = function.__name__, function.__doc__
    return verb


def refuse_swallowed(values: Mapping[str, Any]) -> None:
    """Refuse a value that looks like an option: the parser would take ``--subject --scope`` without a word (exit 2)."""
    for name, value in values.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if not isinstance(text, str) or name == "command":  # whose words are its own
                continue
            if name not in _PATH_OPTIONS and any("\ud800" <= character <= "\udfff" for character in text):
                raise InvalidRequest(f"--{name.replace('_', '-')}: not valid UTF-8")
            if not text.startswith("-") or text == "-":
                continue
            if name in _INSTANT_OPTIONS and text[1:2].isdigit():
                continue
            if name in _GIVEN_NAMES and not text.startswith("--") and len(text) >= _LONG_NAME:
                continue
            raise InvalidRequest(f"--{name.replace('_', '-')} has a value that looks like an option")


def refuse_parental(values: Mapping[str, Any]) -> None:
    """Refuse options of a group before its sub-verb: they would be dropped (exit 2)."""
    for name, value in values.items():
        if name != "ctx" and value not in (None, False, [], ()):
            raise InvalidRequest(f"--{name.replace('_', '-')} stands before the sub-verb: put it behind")
