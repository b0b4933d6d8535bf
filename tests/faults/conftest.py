"""What the tests of faults share: looking into a store from outside, strace, and media that fill up."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tests.conftest import PROGRAM, Cli, Result, missing

_OPAQUE = re.compile(rb"tkc_[a-z]+_[0-9A-Za-z]{22}_")
_JWT = re.compile(rb"eyJ[0-9A-Za-z_-]{16,}\.eyJ[0-9A-Za-z_-]+\.")
ISSUE = ("issue", "--subject", "ci", "--scope", "deploy:write", "-q")


@contextmanager
def database(path: Path) -> Iterator[apsw.Connection]:
    """A connection of a stranger: none of the program's defences."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


def change(path: Path, *statements: str) -> None:
    with database(path) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(path: Path, question: str) -> list[tuple[object, ...]]:
    with database(path) as connection:
        return connection.execute(question).fetchall()


def assert_sound(cli: Cli) -> None:
    verified = cli("audit", "verify", "-q")
    assert (verified.code, verified.out, verified.err) == (0, "", "")


def assert_refused(result: Result, code: int) -> None:
    """A refusal is its code, an empty answer, and a line of cause with at most one of remedy."""
    assert (result.code, result.out) == (code, ""), result
    lines = result.err.splitlines()
    assert 1 <= len([line for line in lines if not line.startswith("warning: ")]) <= 2, result.err
    assert any(line.startswith("tokenctl: ") for line in lines), result.err
    assert "a bug" not in result.err
    assert "Traceback" not in result.err


def assert_no_secret(folder: Path, *, but: Iterable[Path] = (), root_secret: Path | None = None) -> None:
    """No token and no root secret lies in any file below a folder, but where it belongs."""
    root = root_secret.read_bytes().strip() if root_secret is not None and root_secret.exists() else b""
    excepted = set(but)
    for file in folder.rglob("*"):
        if not file.is_file() or file in excepted:
            continue
        data = file.read_bytes()
        assert not _OPAQUE.search(data), file
        assert not _JWT.search(data), file
        if len(root) == 64 and file != root_secret:
            assert root not in data, file
            assert bytes.fromhex(root.decode()) not in data, file


@functools.cache
def strace_works() -> bool:
    try:
        tried = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


def under_strace(
    cli: Cli, expressions: Iterable[str], *arguments: str, output: Path | str = "/dev/null", input: str | None = None,
    at: Path | None = None,
) -> Result:  # fmt: skip
    """Run the program under strace with ``-e`` expressions, on calls ``at`` a file alone; it dies as the program dies."""
    if not strace_works():
        missing("strace")
    options = [part for expression in expressions for part in ("-e", expression)]
    options += ["-P", str(at)] if at is not None else []
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", str(output), *options, *PROGRAM, *arguments],
        env=cli.env | {"PYTHONDONTWRITEBYTECODE": "1"}, cwd=cli.home, input=(input or "").encode(),
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def waiting(cli: Cli, name: str, *arguments: str, then: Sequence[tuple[str, ...]] = ()) -> Iterator[list[Result]]:
    """Hold a lock beside the store until the block ends, with the program waiting for it in there.

    The list holds its result once the block has ended, and those of the commands of ``then``, which wait behind it in order.
    """
    results: list[Result] = []
    descriptor = os.open(cli.store.with_name(name), os.O_RDWR | os.O_CREAT, 0o600)
    started: list[subprocess.Popen[str]] = []
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for command in (arguments, *then):
            one = subprocess.Popen(
                [*PROGRAM, *command],
                env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            started.append(one)
            wanted = re.compile(rf"-> FLOCK .* {one.pid} ")
            deadline = time.monotonic() + 30
            while not wanted.search(Path("/proc/locks").read_text()):
                assert one.poll() is None, one.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield results
    finally:
        os.close(descriptor)
        for one in started:
            out, err = one.communicate(timeout=60)
            results.append(Result(one.returncode, out, err))


class Homes:
    """One prepared home, put back before every attempt."""

    def __init__(self, cli: Cli, spare: Path) -> None:
        self._home = cli.home
        self._spare = spare
        shutil.copytree(cli.home, spare)

    def put_back(self) -> None:
        shutil.rmtree(self._home)
        shutil.copytree(self._spare, self._home)


@contextmanager
def in_memory(fallback: Path) -> Iterator[Path]:
    """A folder that no disk has to sync, for what is about neither; another one where the machine has none."""
    if not os.access("/dev/shm", os.W_OK):
        yield fallback
        return
    with tempfile.TemporaryDirectory(prefix="tokenctl-test-", dir="/dev/shm") as folder:
        yield Path(folder)


def _mount(*arguments: str) -> bool:
    for command in (["mount"], ["sudo", "-n", "mount"]):
        try:
            if subprocess.run([*command, *arguments], capture_output=True, check=False).returncode == 0:
                return True
        except OSError:
            continue
    return False


class Medium:
    """A small disk of its own under the home."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self, leave: int = 0) -> None:
        """Take all the room but some bytes."""
        with (self.place / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError:
                pass
            if leave:
                filler.truncate(max(0, os.fstat(filler.fileno()).st_size - leave))

    def free(self) -> None:
        (self.place / "filler").unlink()

    def read_only(self) -> None:
        assert _mount("-o", "remount,ro", str(self.place))

    def writable(self) -> None:
        assert _mount("-o", "remount,rw", str(self.place))


@pytest.fixture
def medium(cli: Cli) -> Iterator[Medium]:
    options = f"size=1m,mode=0700,uid={os.getuid()},gid={os.getgid()}"
    if not _mount("-t", "tmpfs", "-o", options, "tokenctl-test", str(cli.home)):
        missing("the right to mount a tmpfs")
    try:
        yield Medium(cli.home)
    finally:
        for command in (["umount"], ["sudo", "-n", "umount"]):
            if subprocess.run([*command, str(cli.home)], capture_output=True, check=False).returncode == 0:
                break
