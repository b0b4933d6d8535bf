"""The one error boundary: from arguments to an exit code, whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tokenctl import files, process
from tokenctl.errors import InternalError, InvalidRequest, TemporarilyUnavailable, TokenctlError
from tokenctl.model.identifier import ID_LENGTH
from tokenctl.render.console import MACHINE, Console
from tokenctl.render.escape import escape

_SHORT_WORD = 15  # characters
_ID_OPTIONS = frozenset({"--replace", "--parent"})


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends like Ctrl-C, with what was done told, and then by its own signal."""


def _terminate(_number: int, _frame: object) -> None:
    raise _Terminated


def run(
    arguments: list[str], *, environment: Mapping[str, str], program: str, now: int | None = None, ceiling: str | None = None
) -> int:  # fmt: skip
    """Run one command; return its exit code.

    Args:
        arguments: Without the program's name.
        environment: The process's environment.
        program: ``argv[0]``.
        now: Milliseconds since the epoch; ``None`` reads the clock, once.
        ceiling: The machine's policy; ``None`` is the one in ``/etc``. No user can choose another.
    """
    ours, command = _parted(arguments)
    console = Console(environment=environment, may_ask=not environment.get("CI"), output=_early_output(ours))
    invocation: Any = None
    try:
        from tokenctl.cli.invocation import Invocation, profile_to_name, program_name

        console.program = program_name(program)
        console.named = lambda: profile_to_name(next(_early_values(ours, "-p", "--profile"), None), environment)
        _refuse_secrets(arguments)
        now = time.time_ns() // 1_000_000 if now is None else now
        invocation = Invocation(environment=environment, now=now, console=console, command=command, ceiling=ceiling)
        code = _dispatch(arguments, invocation)
        if invocation.interrupt is not None:
            raise invocation.interrupt
        return code if code >= 0 else _die_of(-code)
    except TokenctlError as error:
        console.error(error)
        return error.exit_code
    except _Terminated:
        return _die_of(signal.SIGTERM)
    except KeyboardInterrupt:
        return _die_of(signal.SIGINT)
    except BrokenPipeError:
        return _die_of(signal.SIGPIPE)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # the parser makes an exit of it
            return _die_of(signal.SIGPIPE)
        return leaving.code if isinstance(leaving.code, int) else 1
    except OSError as error:
        console.error(
            TemporarilyUnavailable(f"input or output failed: {files.cause_of(error)}", hint="check where it goes, then run again")
        )
        return TemporarilyUnavailable.exit_code
    except RecursionError:
        console.error(InvalidRequest("the input is nested too deeply"))
        return InvalidRequest.exit_code
    except Exception as error:  # noqa: BLE001  # the boundary: whatever else comes is a bug, told without its text
        debug = (invocation is not None and invocation.debug) or "--debug" in ours
        console.error(InternalError(f"a bug: {type(error).__name__}", hint="report it; --debug shows where it happened"))
        if debug:
            _show_trace(error)
        return InternalError.exit_code


def _dispatch(arguments: list[str], invocation: Any) -> int:
    import typer

    from tokenctl.cli.app import VERBS, build, verb_of

    verb, wants_help = verb_of(arguments), bool({"-h", "--help"} & set(arguments))
    if verb is None and {"-V", "--version"} & set(arguments) and not wants_help:
        return _print_version(invocation)
    if verb is None and not wants_help:
        print_help(build(arguments), sys.stderr, invocation)
        return InvalidRequest.exit_code
    # Typer keeps its parser private; the root of the parser's errors is found by way of one that it shows.
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    try:
        code = build(arguments)(args=arguments, prog_name="tokenctl", obj=invocation, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.Exit as leaving:
        code = leaving.exit_code
    except usage_error as error:
        raise _usage(error, arguments, list(VERBS)) from None
    return code if isinstance(code, int) else 0


def _print_version(invocation: Any) -> int:
    from tokenctl import __version__

    invocation.console.answer(f"tokenctl {__version__}")
    return 0


def print_help(app: Any, stream: Any, invocation: Any) -> None:
    """Print the program's short help on a stream."""
    import typer

    command = typer.main.get_command(app)
    context = command.make_context("tokenctl", ["--no-input"], obj=invocation)
    stream.write(command.get_help(context) + "\n")


def _usage(error: Any, arguments: list[str], verbs: list[str]) -> InvalidRequest:
    """Turn the parser's error into ours: masked, with the nearest verb of ours."""
    from tokenctl.cli.app import FOREIGN_VERBS, verb_of
    from tokenctl.formats.pasted import masked

    verb = verb_of(arguments)
    if verb == "help":
        meant = next((argument for argument in arguments if argument in verbs), None)
        return InvalidRequest("no verb help", hint=f"tokenctl {meant} --help" if meant else "tokenctl --help", reason="usage")
    if verb is not None and verb not in verbs:
        import difflib

        known = FOREIGN_VERBS.get(verb)
        near = [known] if known else difflib.get_close_matches(verb, verbs, 1)
        hint = f"tokenctl {near[0]}" if near else f"verbs: {', '.join(verbs)}"
        return InvalidRequest(f"no verb {masked(escape(verb))}", hint=hint, reason="usage")
    message = masked(escape(str(error.format_message()))).strip().rstrip(".")
    swallowing = _swallowing(error, arguments)
    if swallowing is not None:
        message = f"{swallowing} has a value that looks like an option"
    # The parser knows which sub-verb it was at.
    path = str(getattr(getattr(error, "ctx", None), "command_path", ""))
    hint = f"{path} --help" if path.startswith(f"tokenctl {verb} ") else f"tokenctl {verb} --help" if verb else "tokenctl --help"
    return InvalidRequest(message[:1].lower() + message[1:], hint=hint, reason="usage")


def _swallowing(error: Any, arguments: list[str]) -> str | None:
    """Return the option that took the next one for its value, which the parser tells as some other fault."""
    context = getattr(error, "ctx", None)
    parameters = context.command.params if context is not None else []
    taking = {flag for parameter in parameters if not getattr(parameter, "is_flag", True) for flag in parameter.opts}
    for number, argument in enumerate(arguments[:-1], 1):
        value = arguments[number]
        if argument in taking and value.startswith("-") and value != "-" and not value[1:2].isdigit():
            return argument
    return None


def _refuse_secrets(arguments: list[str]) -> None:
    """Refuse an argument that looks like a secret: it stands in the process list and the shell's history already."""
    # An id is no secret, and a short word holds none: the patterns are costly to prepare.
    if not any(len(argument) > _SHORT_WORD and not (len(argument) == ID_LENGTH and argument.isalnum()) for argument in arguments):
        return
    from tokenctl.formats.pasted import looks_secret

    for number, argument in enumerate(arguments, 1):
        if looks_secret(argument):
            raise InvalidRequest(
                f"argument {number} looks like a secret: treat it as leaked, the process list and the shell's history have it",
                hint=_instead(arguments, number - 1), reason="secret_in_argv",
            )  # fmt: skip


def _instead(arguments: list[str], position: int) -> str:
    """Say what stands where a secret was given, or where the secret goes."""
    option, joined, _ = arguments[position].partition("=")
    if not joined:
        option = arguments[position - 1] if position else ""
    if option in _ID_OPTIONS:
        return f"{option} takes an id, which is no secret: the part of a token between its underscores, or the jti of a JWT"
    if "AGE-SECRET-KEY-" in arguments[position]:
        if "backup" in arguments[:position]:
            return "a recipient is what this prints, age1...: age-keygen -y FILE"
        return "name its file instead: --identity FILE"
    verb = next((word for word in arguments if word in ("inspect", "revoke", "audit", "login")), "inspect")
    if verb == "audit":
        return "pipe it instead: tokenctl audit log --token - < FILE"
    return f"pipe it instead: tokenctl {verb} - < FILE"


def _parted(arguments: list[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """Part our own arguments from the words of a command behind a literal ``--``, which are not ours to read."""
    if "--" not in arguments:
        return arguments, None
    position = arguments.index("--")
    return arguments[:position], tuple(arguments[position + 1 :])


def _early_output(arguments: list[str]) -> str | None:
    """Find the output format before the grammar is read, so that its errors keep to it too."""
    return next((value for value in _early_values(arguments, "-o", "--output") if value in MACHINE), None)


def _early_values(arguments: list[str], short: str, long: str) -> Iterator[str]:
    for number, argument in enumerate(arguments):
        if argument in (short, long):
            yield from arguments[number + 1 : number + 2]
        elif argument.startswith(f"{long}=") or (argument.startswith(short) and not argument.startswith("--")):
            yield argument.removeprefix(long).removeprefix(short).removeprefix("=")


def _show_trace(error: BaseException) -> None:
    """Say where a bug is: file, line, function and class, never a value."""
    import traceback

    for frame in traceback.extract_tb(error.__traceback__):
        sys.stderr.write(f"  {os.path.basename(frame.filename)}:{frame.lineno} {frame.name}\n")
    sys.stderr.write(f"  {type(error).__module__}.{type(error).__qualname__}\n")


def _die_of(number: int) -> int:
    """End by the signal itself, so that a shell's loop ends too."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number


def main() -> None:
    """The program."""
    process.harden()
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _terminate)
    code = run(sys.argv[1:], environment=os.environ, program=sys.argv[0])
    try:
        sys.stdout.flush() if sys.stdout is not None else None
    except (OSError, ValueError):
        code = code or 7
    # Nothing of ours is left to clean up, and tearing down the interpreter costs time.
    os._exit(code)
