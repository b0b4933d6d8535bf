"""What every start pays for: modules that are not compiled, files that run at each start of Python, a shim before the program."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util

from tokenctl.commands.doctor.finding import Examined, Finding, ok, shell, warn

_CHECK = "start-up"
_PACKAGES = ("tokenctl", "typer", "apsw")
_SLOW = 0.02  # seconds of the processor that a file may take from each start
_AGAIN = 3
_TYPER_LIMIT = (0, 29)


def start_up(examined: Examined) -> Iterator[Finding]:
    """Check what makes a start slow."""
    found = [*_compiled(), *_run_at_start(), *_shim(examined), *_typer()]
    yield from found
    if not found:
        yield ok(_CHECK, "modules are compiled, nothing slow runs before the program")


def _compiled() -> Iterator[Finding]:
    """Modules without a .pyc that this user's next run will not write either."""
    missing: list[str] = []
    folders: list[str] = []
    for folder in map(_folder, _PACKAGES):
        lacking = [path for path in _modules(folder) if not _has_compiled(path)] if folder else []
        if folder and lacking and (sys.flags.dont_write_bytecode or not _writable(lacking[0])):
            missing += lacking
            folders.append(folder)
    if missing:
        yield warn(
            _CHECK, f"{len(missing)} modules are not compiled: every start takes longer",
            shell(*_sudo(all(map(_writable, missing))), sys.executable, "-m", "compileall", "-q", *folders),
        )  # fmt: skip


def _sudo(writable: bool) -> list[str]:
    return [] if writable else ["sudo"]


def _folder(package: str) -> str | None:
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    return os.path.dirname(file) if isinstance(file, str) and file.endswith("__init__.py") else None


def _modules(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names if name.endswith(".py"))


def _has_compiled(path: str) -> bool:
    """Whether Python would take the .pyc of a module: it is there, and made from this source."""
    cached = util.cache_from_source(path)
    try:
        with open(cached, "rb") as file:
            header = file.read(16)
        source = os.stat(path)
    except OSError:
        return False
    if header[:4] != util.MAGIC_NUMBER or len(header) < 16:
        return False
    if int.from_bytes(header[4:8], "little"):
        return True  # made by hash, for installations whose times mean nothing
    made_from = (int(source.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (source.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    return header[8:] == made_from


def _writable(path: str) -> bool:
    folder = os.path.dirname(util.cache_from_source(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK)


def _run_at_start() -> Iterator[Finding]:
    """Lines of .pth files that run code, where they are felt."""
    files = [path for folder in _site_folders() for path in _pth_files(folder) if _runs_code(path)]
    floor = _seconds("import site, sys") if files else 0.0
    for path in files:
        cost = _cost_of(path, floor)
        if cost > _SLOW:
            told = f"{path} runs code at every start of Python: {round(cost * 1000)} ms"
            yield warn(_CHECK, told, shell(*_sudo(os.access(os.path.dirname(path), os.W_OK)), "mv", path, f"{path}.off"))


def _cost_of(path: str, floor: float) -> float:
    """Return what a file takes above the floor; what is slow once is measured again before it is believed."""
    folder, name = os.path.split(path)
    code = f"import site, sys; sys.path.append({folder!r}); site.addpackage({folder!r}, {name!r}, set())"
    cost = _seconds(code) - floor
    for _ in range(_AGAIN):
        if cost <= _SLOW:
            break
        cost = min(cost, _seconds(code) - floor)
    return cost


def _site_folders() -> list[str]:
    return [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]


def _pth_files(folder: str) -> list[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".pth"))
    except OSError:
        return []


def _runs_code(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(line.startswith(("import ", "import\t")) for line in file)
    except OSError:
        return False


def _seconds(code: str) -> float:
    """Return the processor time that this interpreter, without its start files, takes for some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-S", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  # our own interpreter
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _shim(examined: Examined) -> Iterator[Finding]:
    """A pyenv shim starts a shell before the program: about 80 ms."""
    called = shutil.which("tokenctl", path=examined.environment.get("PATH", os.defpath))
    if called is None or os.path.basename(os.path.dirname(called)) != "shims":
        return
    real = os.path.join(os.path.dirname(sys.executable), "tokenctl")
    mend = f'export PATH={shell(os.path.dirname(real))}:"$PATH"' if os.path.exists(real) else None
    yield warn(_CHECK, f"{called} is a shim: it starts a shell before every run", mend)


def _typer() -> Iterator[Finding]:
    try:
        version = metadata.version("typer")
    except metadata.PackageNotFoundError:
        return
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= _TYPER_LIMIT:
        mend = shell(sys.executable, "-m", "pip", "install", "typer<0.29")
        yield warn(_CHECK, f"typer {version} doubles the time of every start", mend)
