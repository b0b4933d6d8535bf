"""A real Secret Service for the tests: gnome-keyring on a bus of its own, whose keyring can be locked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing

PROGRAMS = ("dbus-run-session", "gnome-keyring-daemon")
_START = """printf '%s\\n' password | gnome-keyring-daemon --unlock --components=secrets >/dev/null
echo "$DBUS_SESSION_BUS_ADDRESS"
exec cat"""
_LOCK = "import secretstorage; secretstorage.get_default_collection(secretstorage.dbus_init()).lock()"
_ITEMS = """import json, secretstorage
items = secretstorage.get_default_collection(secretstorage.dbus_init()).search_items({"service": "tokenctl"})
print(json.dumps({item.get_attributes()["username"]: item.get_secret().decode() for item in items}))"""


class Session:
    """A session with a keyring: ``env`` leads to it."""

    def __init__(self, address: str) -> None:
        self.env = {"DBUS_SESSION_BUS_ADDRESS": address}

    def _run(self, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | self.env, capture_output=True, timeout=30, check=True, text=True
        )
        return done.stdout

    def lock(self) -> None:
        """Lock the keyring, as a screen saver does."""
        self._run(_LOCK)

    def items(self) -> dict[str, str]:
        """What it keeps for this program, by account."""
        import json

        return dict(json.loads(self._run(_ITEMS)))


@contextmanager
def session(folder: Path) -> Iterator[Session]:
    """Start one; an ordinary account needs nothing more for it."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            missing(program)
    places = {name: folder / name for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "HOME")}
    for place in places.values():
        place.mkdir(mode=0o700)
    env = {"PATH": os.environ["PATH"], **{name: str(place) for name, place in places.items()}}
    started = subprocess.Popen(
        ["dbus-run-session", "--", "sh", "-c", _START],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert started.stdin is not None
    assert started.stdout is not None
    try:
        yield Session(started.stdout.readline().strip())
    finally:
        started.stdin.close()
        started.stdout.close()
        started.wait(timeout=30)
