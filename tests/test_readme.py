"""README tells what the program does: its tables are the program's output, its commands run.

``python tests/test_readme.py`` writes the generated parts anew.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tokenctl import errors

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
VERBS = (
    "issue", "inspect", "list", "revoke", "rotate-keys", "audit", "login", "logout", "whoami",
    "profile", "store", "doctor", "completion",
)  # fmt: skip
NOTICE = "notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)\n"


def block(name: str) -> str:
    """Return what stands between the markers of a generated part."""
    found = re.search(rf"<!-- begin: {name} -->\n(.*?)<!-- end: {name} -->", TEXT, re.DOTALL)
    assert found is not None, f"README lacks the markers of: {name}"
    return found[1]


def command(name: str) -> str:
    """Return the one command under a marker; ``.ci/run`` finds it the same way."""
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*)\n```\n", TEXT)
    assert found is not None, f"README lacks the command: {name}"
    return found[1]


def exit_code_table() -> str:
    """Return the exit codes as Markdown, from the classes that carry them."""
    classes = sorted(errors.TokenctlError.__subclasses__(), key=lambda kind: kind.exit_code)
    rows = ["| 0 | – | Done; every token named is active, or every target is denied. |"]
    rows += [f"| {kind.exit_code} | `{kind.slug}` | {kind.__doc__} |" for kind in classes]
    return "\n".join(["| code | slug | when |", "|--:|---|---|", *rows]) + "\n"


def help_block(text: str) -> str:
    return f"```\n$ tokenctl --help\n{text}```\n"


def examples() -> list[str]:
    """Return every tokenctl command of README's shell blocks."""
    lines = [line for shell in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in shell.splitlines()]
    ours = [line.partition(" -- ")[0] for line in lines]
    found = [re.split(r"\s[#<>]|\|\|", part)[0] for line in ours for part in re.split(r" \| |\$\(", line)]
    return [part.strip().rstrip(")") for part in found if part.strip().startswith("tokenctl ")]


def test_the_exit_code_table_is_that_of_the_errors():
    assert block("exit codes") == exit_code_table()


def test_the_help_is_that_of_the_program(cli):
    done = cli("--help")
    assert (done.code, done.err) == (0, "")
    assert block("help") == help_block(done.out)


def test_the_first_command_issues_one_token_and_tells_only_of_the_secret(cli):
    typed = shlex.split(command("start").rpartition("&&")[2])
    assert typed[0] == ".venv/bin/tokenctl"
    done = cli(*typed[1:])
    assert (done.code, done.err) == (0, NOTICE)
    assert re.fullmatch(r"tkc_at_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}\n", done.out)


def test_the_first_command_tells_the_next_steps_on_a_terminal(cli):
    typed = shlex.split(command("start").rpartition("&&")[2])
    ours, theirs = pty.openpty()
    try:
        done = cli(*typed[1:], stdout=subprocess.PIPE, stderr=theirs)
        told = os.read(ours, 4096).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.code == 0
    token = done.out.split("_")[2]
    assert re.sub(r"\d\d:\d\d:\d\dZ", "TIME", told) == (
        f"{NOTICE}"
        f"issued  {token}  access, opaque, until TIME (15m)\n"
        f"for     ci-deployer, scope deploy:write, profile local\n"
        f"look    python -m tokenctl inspect {token}\n"
        f"kill    python -m tokenctl revoke {token}\n"
    )


@pytest.mark.parametrize("example", examples())
def test_an_example_uses_options_that_exist(cli, example):
    words = shlex.split(example)
    verb = next(word for word in words if word in VERBS)
    sub = [word for word in words[words.index(verb) + 1 :][:1] if verb in VERBS[4:] and not word.startswith("-")]
    told = cli(verb, *sub, "--help")
    assert told.code == 0
    for option in (word for word in words if re.match(r"--?[a-z]", word)):
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", told.out), option


def main() -> None:
    """Write the generated parts of README anew."""
    shown = subprocess.run([sys.executable, "-m", "tokenctl", "--help"], capture_output=True, check=True, text=True)
    text = TEXT
    for name, made in (("help", help_block(shown.stdout)), ("exit codes", exit_code_table())):
        text = text.replace(f"<!-- begin: {name} -->\n{block(name)}", f"<!-- begin: {name} -->\n{made}")
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
