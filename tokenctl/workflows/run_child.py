"""Run one command with a token of its own: found before anything is minted, started as if we had not been there, waited for.

The child gets what its caller gave us (working directory, process group, descriptors, umask, limits, ignored signals but
SIGPIPE and SIGXFSZ, which the interpreter takes for itself) and nothing of ours. The signals that reach us reach it; what it
ends with is for the caller to hand on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn

from tokenctl import files, process, terminal
from tokenctl.errors import CommandNotExecutable, CommandNotFound, TemporarilyUnavailable, TokenctlError
from tokenctl.secret import Secret
from tokenctl.workflows.masking import Passage

TOKEN_VARIABLE = "TOKENCTL_TOKEN"
_ID_VARIABLE = "TOKENCTL_TOKEN_ID"
_OURS = "TOKENCTL_"  # variables that begin so are not for the child
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_HELD = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD}
)  # fmt: skip
_LEAVING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_FROM_KERNEL = 0x80  # si_code SI_KERNEL, sigaction(2): the terminal sent it


class Command(NamedTuple):
    """A command that was found, and how it is handed its token.

    Attributes:
        path: The file that is executed.
        words: Its ``argv``.
        variable: The environment variable that holds the token; not used where ``descriptor`` is given.
        descriptor: The number of the descriptor that the token is read from.
        masked: Whether output that goes to no terminal passes through us, the token replaced.
    """

    path: str
    words: tuple[str, ...]
    variable: str = TOKEN_VARIABLE
    descriptor: int | None = None
    masked: bool = True


# Finding the command


def locate(word: str, environment: Mapping[str, str]) -> str:
    """Find what a command's first word means, as a shell does.

    Raises:
        CommandNotFound: there is no such file (exit 127).
        CommandNotExecutable: it, or the interpreter that it names, cannot be executed (exit 126).
    """
    # A PATH that is set and empty means the working directory, as in execvp(3).
    folders = [""] if "/" in word else environment.get("PATH", _DEFAULT_PATH).split(":")
    found = None
    for folder in folders:
        path = os.path.join(folder, word) if folder else word if "/" in word else os.path.join(".", word)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            _check_interpreter(path)
            return path
        if found is None and os.path.lexists(path):
            found = path
    if found is None or not word:
        raise CommandNotFound("no such command: nothing was minted", hint="check its name and PATH")
    what = "is a directory" if os.path.isdir(found) else "cannot be executed"
    raise CommandNotExecutable(f"{found} {what}: nothing was minted", hint="check its mode, or name its interpreter")


def _check_interpreter(path: str) -> None:
    """Refuse a script whose ``#!`` line names no executable; what cannot be read may still be executed."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return
    words = line[2:].split(None, 1) if line.startswith(b"#!") else []
    if words and not os.access(words[0], os.X_OK):
        raise CommandNotExecutable(
            f"the interpreter of {path} cannot be executed: nothing was minted", hint="mend its first line"
        )


# Running it


@contextmanager
def signals_held() -> Iterator[frozenset[int]]:
    """Keep back the signals that a child is to get; yields the mask before, for the child. What came meanwhile comes after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield frozenset(int(number) for number in before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Ending(NamedTuple):
    """How a command ended.

    Attributes:
        status: Its exit status, or minus the number of the signal that ended it.
        unwritten: Why some of its output that passed through us could not be written; ``None`` where all of it was.
    """

    status: int
    unwritten: str | None = None


def run(
    command: Command, token: Secret, identifier: str, environment: Mapping[str, str], mask: frozenset[int],
    *, ended: Callable[[], None],
) -> Ending:  # fmt: skip
    """Start the command and wait for its end; called with the signals held.

    Args:
        mask: The signals that the caller blocked; the command gets them so.
        ended: Called once the command has ended; a reader that is slow to take its output delays it not.

    Raises:
        CommandNotExecutable, CommandNotFound: the system refused to execute it (exit 126, 127).
        KeyboardInterrupt: a signal that ends us came before the command was there to get it; nothing was started.
        TemporarilyUnavailable: no process could be made (exit 7).
    """
    child_signals = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    passages: list[Passage] = []
    hurried = True
    try:
        passages += _passages(command, token)
        variables = _variables(command, token, identifier, environment)
        if signal.sigpending() & _LEAVING:
            raise KeyboardInterrupt
        child = _start(command, token, variables, passages, mask, ignores_children=child_signals == signal.SIG_IGN)
        for passage in passages:
            passage.begin()
        status, hurried = _wait(child)
        ended()
    finally:
        for passage in passages:
            passage.finish(_LEAVING, hurried=hurried)
        signal.signal(signal.SIGCHLD, child_signals)
    causes = [passage.failure for passage in passages if passage.failure is not None]
    return Ending(os.waitstatus_to_exitcode(status), causes[0] if causes else None)


def _passages(command: Command, token: Secret) -> list[Passage]:
    """Return what the child's output passes through: none to a terminal, one for both streams where they are one file."""
    if not command.masked:
        return []
    through = [descriptor for descriptor in (1, 2) if not terminal.is_terminal(descriptor) and _writable(descriptor)]
    groups = [(1, 2)] if through == [1, 2] and os.path.sameopenfile(1, 2) else [(descriptor,) for descriptor in through]
    with _starting():
        return [Passage(group, token) for group in groups]


def _writable(descriptor: int) -> bool:
    """Whether a descriptor takes output; what fills one that was closed does not, and is the child's to meet."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


@contextmanager
def _starting() -> Iterator[None]:
    """Turn a failure to make pipes or a process into ours (exit 7)."""
    try:
        yield
    except OSError as error:
        few = error.errno in (errno.EMFILE, errno.ENFILE)
        raise TemporarilyUnavailable(
            f"cannot start the command: {files.cause_of(error)}", hint="allow more open files: ulimit -n" if few else "run again"
        ) from None


def _readable(token: Secret) -> int:
    """Return a descriptor that the token is read from, once."""
    reader, writer = os.pipe()
    reader = process.move_up(reader)
    try:
        os.set_blocking(writer, False)
        files.write_all(writer, token.reveal() + b"\n")
    finally:
        os.close(writer)
    return reader


def _variables(command: Command, token: Secret, identifier: str, environment: Mapping[str, str]) -> dict[str, str]:
    variables = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    variables[_ID_VARIABLE] = identifier
    if command.descriptor is None:
        variables[command.variable] = token.reveal().decode("ascii")
    return variables


def _start(
    command: Command, token: Secret, variables: Mapping[str, str], passages: Sequence[Passage], mask: frozenset[int],
    *, ignores_children: bool,
) -> int:  # fmt: skip
    """Fork and execute; return the child, once it is executing."""
    handed = -1
    try:
        with _starting():
            if command.descriptor is not None:
                handed = _readable(token)
            reader, writer = map(process.move_up, os.pipe())
            child = os.fork()
        if not child:
            _become(command, variables, passages, handed, mask, writer, ignores_children=ignores_children)
    finally:
        if handed >= 0:
            os.close(handed)
    os.close(writer)
    for passage in passages:
        passage.started()
    try:
        told = os.read(reader, 16)
    finally:
        os.close(reader)
    if told:
        os.waitpid(child, 0)
        raise _refusal(command, int(told))
    return child


def _become(
    command: Command, variables: Mapping[str, str], passages: Sequence[Passage], handed: int, mask: frozenset[int], writer: int,
    *, ignores_children: bool,
) -> NoReturn:  # fmt: skip
    """Become the command: in the child, after the fork; never returns."""
    try:
        for passage in passages:
            passage.take_over()
        if command.descriptor is not None:
            os.dup2(handed, command.descriptor, inheritable=True)
        process.restore()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        if ignores_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _execute(command, variables)
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent must hear of it
        with suppress(OSError):
            os.write(writer, str(getattr(error, "errno", None) or errno.EINVAL).encode())
    finally:
        os._exit(CommandNotFound.exit_code)


def _execute(command: Command, variables: Mapping[str, str]) -> NoReturn:
    try:
        os.execve(command.path, command.words, variables)  # noqa: S606  # what argv asked for
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without a first line that names its interpreter is the shell's, as in execvp(3).
    os.execve("/bin/sh", ("/bin/sh", command.path, *command.words[1:]), variables)  # noqa: S606  # argv only, no shell text


def _refusal(command: Command, number: int) -> TokenctlError:
    cause = os.strerror(number).lower()
    kind = CommandNotFound if number == errno.ENOENT else CommandNotExecutable
    return kind(
        f"{command.path} could not be executed ({cause}): its token was revoked", hint="check the file, or name its interpreter"
    )


def _wait(child: int) -> tuple[int, bool]:
    """Wait for the child's end, handing on every signal but those that a terminal sent to it as well.

    Returns:
        Its wait status, and whether a signal came that ends us.
    """
    leaving = False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, leaving
        number, from_terminal = _next_signal()
        if number == signal.SIGCHLD:
            continue
        leaving = leaving or number in _LEAVING
        with suppress(ProcessLookupError, PermissionError):
            if not (from_terminal and os.getpgid(child) == os.getpgrp()):
                os.kill(child, number)


def _next_signal() -> tuple[int, bool]:
    """Wait for a signal; tell whether the terminal sent it, which sends it to its whole foreground process group."""
    if hasattr(signal, "sigwaitinfo"):
        told = signal.sigwaitinfo(_HELD)
        return told.si_signo, told.si_code == _FROM_KERNEL and told.si_signo in (signal.SIGINT, signal.SIGQUIT)
    number = signal.sigwait(_HELD)  # pragma: no cover  # macOS does not say where a signal came from
    return number, number in (signal.SIGINT, signal.SIGQUIT) and terminal.is_terminal(0)
