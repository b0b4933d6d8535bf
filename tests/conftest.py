"""A home of its own for every test, and the real program as a process of its own in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.fixtures"]
PROGRAM = (sys.executable, "-m", "tokenctl")
_KEPT = ("PATH", "LANG", "SYSTEMROOT", "TMPDIR", "COVERAGE_PROCESS_START")


@dataclass(frozen=True)
class Result:
    """How one run ended: its exit code, and what it said as text."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """tokenctl in a home of its own; ``home`` is empty at first, no other file of the machine is read or written."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"HOME": str(home)}

    def __call__(
        self, *arguments: str, input: str | bytes | None = None, env: Mapping[str, str] | None = None, **options: object
    ) -> Result:
        """Run to the end; ``env`` is added to the environment, ``options`` go to subprocess.run."""
        data = input.encode() if isinstance(input, str) else input
        defaults = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        if not {"stdout", "stderr"} & options.keys():
            defaults["capture_output"] = True
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env=self.env | dict(env or {}), cwd=self.home, timeout=60, check=False, **(defaults | options),
        )
        return Result(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())

    def at(self, now: int, *arguments: str, input: str | bytes = b"") -> Result:
        """Run with the clock at ``now`` milliseconds since the epoch."""
        code = (
            "import os, sys; from tokenctl.cli.boundary import run; "
            f"sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl', now={now}))"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            env=self.env, cwd=self.home, input=input.encode() if isinstance(input, str) else input,
            timeout=60, check=False, capture_output=True,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def token(self, *arguments: str) -> str:
        """Issue a token for the subject ``someone``; return its text."""
        done = self("issue", "--subject", "someone", "-q", *arguments)
        assert done.code == 0, done.err
        return done.out.strip()

    @staticmethod
    def id_of(token: str) -> str:
        return token.split("_")[2]

    @property
    def store(self) -> Path:
        return self.home / ".local/share/tokenctl/local/store.db"

    @property
    def root_secret(self) -> Path:
        return self.home / ".config/tokenctl/keys/local"

    @property
    def anchor(self) -> Path:
        return self.home / ".local/state/tokenctl/local/head"


@pytest.fixture(autouse=True, scope="session")
def _signals_as_at_a_terminal() -> None:
    """Whoever started the tests may ignore signals, as a shell does for a job in the background; no program inherits that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Cli(home)


def missing(what: str) -> None:
    """Skip where a part of the machine is missing; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and in CI nothing may be")
    pytest.skip(f"{what} is missing")
