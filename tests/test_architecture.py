"""Imports point one way, each library has one owner, and a verb imports only what it needs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tokenctl"
# From the bottom up; a room imports from rooms below it only.
FLOORS = (
    {"errors", "secret", "deadline"},
    {"model", "files", "process", "runs"},
    {"formats"},
    {"terminal", "config", "credentials", "http", "age", "store"},
    {"operators"},
    {"audit"},
    {"backends"},
    {"wiring", "render"},
    {"workflows"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
OWNERS = {
    "apsw": ("tokenctl/store/",),
    "keyring": ("tokenctl/credentials.py",),
    "httpx": ("tokenctl/http/",),
    "typer": ("tokenctl/cli/",),
    "cryptography": ("tokenctl/formats/", "tokenctl/backends/local/sealing.py"),
    "pyrage": ("tokenctl/age.py",),
    "tomli_w": ("tokenctl/config.py",),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    return name.split(".")[1]


def place(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def test_every_room_stands_on_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert rooms <= set().union(*FLOORS)


@pytest.mark.parametrize("path", modules(), ids=place)
def test_imports_point_one_way(path: Path) -> None:
    floor_of = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert list(imports(path)) == []
        return
    for name in imports(path):
        if name.split(".")[0] != "tokenctl" or name == "tokenctl.__version__":
            continue
        other = room(name)
        assert other == own or floor_of[other] < floor_of[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=place)
def test_each_library_has_one_owner(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        if top == "tokenctl" or top in sys.stdlib_module_names:
            continue
        assert top in OWNERS, f"{top} has no owner"
        assert place(path).startswith(OWNERS[top]), f"{top} belongs to {OWNERS[top]}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").glob("*.py")), ids=place)
def test_the_model_knows_the_standard_library_only(path: Path) -> None:
    for name in imports(path):
        assert name.split(".")[0] in sys.stdlib_module_names or name.startswith(
            ("tokenctl.model.", "tokenctl.errors.", "tokenctl.secret.")
        ), name


def test_actions_never_see_the_grammar() -> None:
    for path in sorted((PACKAGE / "commands").rglob("*.py")):
        assert not [name for name in imports(path) if name.startswith(("typer", "click", "tokenctl.cli"))], path


def loaded(home: Path, *arguments: str, presented: bytes = b"") -> tuple[set[str], str]:
    """Run the program in a process of its own; return the modules it ended with, and its stdout."""
    code = (
        "import json, os, sys\n"
        "from tokenctl import process\n"
        "from tokenctl.cli.boundary import run\n"
        "process.harden()\n"
        "code = run(sys.argv[1:], environment=os.environ, program='tokenctl')\n"
        "os.write(2, json.dumps([code, sorted(sys.modules)]).encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        input=presented,
        capture_output=True,
        timeout=60,
        check=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
    )
    exit_code, names = json.loads(done.stderr.splitlines()[-1])
    assert exit_code == 0, done.stderr
    return set(names), done.stdout.decode()


SLOW = {"cryptography", "jwt", "httpx", "rich", "keyring", "pydantic", "tomllib", "tomli_w", "asyncio", "email", "http"}


def test_an_opaque_token_costs_no_cryptography_and_no_network(tmp_path: Path) -> None:
    loaded(tmp_path, "issue", "--subject", "a", "-q")
    issuing, out = loaded(tmp_path, "issue", "--subject", "a", "-q")
    inspecting, _ = loaded(tmp_path, "inspect", "-", presented=out.encode())
    for names in (issuing, inspecting):
        assert {name.split(".")[0] for name in names} & SLOW == set()
        assert names & {"tokenctl.credentials", "tokenctl.backends.local.retaining"} == set()


def test_keys_rotate_without_the_network_where_nobody_is_asked(tmp_path: Path) -> None:
    loaded(tmp_path, "issue", "--subject", "a", "--format", "jwt", "--audience", "x", "-q")
    for arguments in (("rotate-keys",), ("rotate-keys", "--check"), ("rotate-keys", "status")):
        names, _ = loaded(tmp_path, *arguments)
        assert {name.split(".")[0] for name in names} & {"httpx", "http", "socket", "ssl", "concurrent"} == set(), arguments
        assert "tokenctl.workflows.canary" not in names, arguments


def test_one_verb_does_not_import_another(tmp_path: Path) -> None:
    names, _ = loaded(tmp_path, "issue", "--subject", "a", "-q")
    assert {name for name in names if name.startswith("tokenctl.commands.")} <= {
        "tokenctl.commands.issue",
        "tokenctl.commands.issue_request",
        "tokenctl.commands.issue_delivery",
        "tokenctl.commands.context",
    }


@pytest.mark.parametrize("arguments", [("--help",), ("issue", "--help"), ("--version",), ("completion", "bash")])
def test_help_touches_no_store(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    _, out = loaded(tmp_path, *arguments)
    assert out
    assert list(tmp_path.iterdir()) == []
