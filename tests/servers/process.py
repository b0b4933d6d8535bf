"""A server as a process of its own: its log in a file, ready by a deadline, gone at the end however the test ended.

``LIVING`` holds what runs now, so that a failed test shows what its servers said meanwhile (``fixtures.py``).
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

READY = 30  # seconds; a machine with work for many cores is slow
_STOPPED = 10  # seconds
_PORTS = range(20_000, 32_000)  # below those that the kernel gives to connections
LIVING: list[Process] = []


class Process:
    """A server that can be started, killed and started again.

    Attributes:
        name: What it is called in reports.
        folder: Its own; ``log`` lies in it and holds everything that it wrote.
        seconds: How long it took until it was ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        """``talks``: it obeys orders, as ``node/control.mjs`` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.log = folder / "log"
        self.seconds = 0.0
        # The kernel ends it with the test run that started it, where the kernel can.
        guard = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        self._command = [*guard, *map(str, command)]
        self._env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **(env or {})}
        self._talks = talks
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], object] | None = None, *, listener: socket.socket | None = None) -> None:
        """Start it and wait until ``ready`` says so; without that, it is ready at once.

        Args:
            listener: What it inherits as a descriptor of the same number.

        Raises:
            AssertionError: it ended, or is late; with its log.
        """
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command, env=self._env, cwd=self.folder, stderr=log,
                stdin=subprocess.PIPE if self._talks else subprocess.DEVNULL, stdout=subprocess.PIPE if self._talks else log,
                pass_fds=() if listener is None else (listener.fileno(),), start_new_session=True,
            )  # fmt: skip
        LIVING.append(self)
        while ready is not None and not ready():
            ended = self._popen.poll()
            if ended is not None or time.monotonic() > begun + READY:
                self.stop()
                why = f"ended with {ended}" if ended is not None else f"was not ready after {READY} s"
                raise AssertionError(f"{self.name} {why}:\n{self.said()[-4000:]}")
            time.sleep(0.01)
        self.seconds = time.monotonic() - begun

    @property
    def runs(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def said(self, since: int = 0) -> str:
        """Return what it wrote after the first so many bytes."""
        with suppress(FileNotFoundError):
            return self.log.read_bytes()[since:].decode(errors="replace")
        return ""

    def hear(self) -> object:
        """Return the next line of JSON that it says."""
        assert self._popen is not None
        assert self._popen.stdout is not None
        if not select.select([self._popen.stdout], [], [], READY)[0] or not (line := self._popen.stdout.readline()):
            raise AssertionError(f"{self.name} said nothing:\n{self.said()[-4000:]}")
        return json.loads(line)

    def order(self, order: str, argument: object = None) -> object:
        """Give it an order; return its answer."""
        assert self._popen is not None
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps([order, argument]).encode() + b"\n")
        self._popen.stdin.flush()
        return self.hear()

    def kill(self) -> None:
        """End it as a machine that is lost does (SIGKILL), and the processes that it started."""
        if self._popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._gone()

    def stop(self) -> None:
        """End it as its operator does (SIGTERM); what does not obey is killed."""
        if self._popen is not None:
            self._popen.terminate()
            self.resume()
            try:
                self._popen.wait(timeout=_STOPPED)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
            self._gone()

    def pause(self) -> None:
        """Take its processor away: the kernel accepts connections, and nobody answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    def _gone(self) -> None:
        popen, self._popen = self._popen, None
        assert popen is not None
        LIVING.remove(self)
        popen.wait(timeout=_STOPPED)
        for stream in (popen.stdin, popen.stdout):
            if stream is not None:
                stream.close()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has now, for servers that cannot be given a listener."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in found:
                found.append(port)
    return found
