"""``completion``: print a script that lies in the package, made when the program was built."""

from __future__ import annotations

import os

from tokenctl import files
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidConfiguration, InvalidRequest

SCRIPTS = {"bash": "tokenctl.bash", "zsh": "_tokenctl", "fish": "tokenctl.fish"}
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def completion(context: Context, shell: str) -> int:
    """Print the script of a shell; no other file is touched.

    Raises:
        InvalidRequest: no such shell (exit 2).
        InvalidConfiguration: the installation lacks the script (exit 9).
    """
    if shell not in SCRIPTS:
        raise InvalidRequest("no completion for that shell", hint=f"tokenctl completion {'|'.join(SCRIPTS)}")
    script = _script(SCRIPTS[shell])
    if context.console.machine:
        context.console.document({"shell": shell, "script": script.decode(), "warnings": []})
    else:
        context.console.answer_bytes(script)
    return 0


def _script(name: str) -> bytes:
    """Read a script: of the installed package, or in a checkout from beside it."""
    for folder in (_PACKAGE, os.path.dirname(_PACKAGE)):
        try:
            with open(os.path.join(folder, "completions", name), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise files.unusable(os.path.join(folder, "completions", name), error) from None
    raise InvalidConfiguration(f"this installation lacks {name}", hint="install tokenctl again")
