"""A child's output on its way through us: byte for byte, but for the token, which is replaced."""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
import time

from tokenctl import files, process
from tokenctl.secret import Secret

MASK = b"***"
_CHUNK = 64 * 1024  # bytes
_TURN = 0.05  # seconds between looks at what waits
_MOMENT = 1.0  # seconds for a reader when we are told to leave


class Masker:
    """Replaces a secret in a stream, also where it is cut between two pieces."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece; return what can be shown by now: all but an end that may begin the secret."""
        secret = self._secret.reveal()
        data = (self._kept + data).replace(secret, MASK)
        start = data.find(secret[:1], max(len(data) - len(secret) + 1, 0))
        while start >= 0 and not secret.startswith(data[start:]):
            start = data.find(secret[:1], start + 1)
        shown = len(data) if start < 0 else start
        self._kept = data[shown:]
        return data[:shown]

    def end(self) -> bytes:
        """Return what was kept: the stream ended in the middle, so it is no secret."""
        kept, self._kept = self._kept, b""
        return kept


class Passage:
    """A pipe in place of some of the child's standard descriptors, and the thread that empties it into the first of them.

    Where the output cannot be written, the pipe is closed.
    """

    def __init__(self, descriptors: tuple[int, ...], secret: Secret) -> None:
        self._descriptors = descriptors
        self._target = descriptors[0]
        self._masker = Masker(secret)
        self._source, self._entry = map(process.move_up, os.pipe())
        self._over, self._ring = map(process.move_up, os.pipe())
        self._thread: threading.Thread | None = None
        self.failure: str | None = None  # why output was lost, but for a reader that went away

    def take_over(self) -> None:
        """Put the pipe in its place; in the child."""
        for descriptor in self._descriptors:
            os.dup2(self._entry, descriptor, inheritable=True)

    def started(self) -> None:
        """Leave the pipe's entry to the child alone."""
        os.close(self._entry)
        self._entry = -1

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._pass, daemon=True)
        self._thread.start()

    def finish(self, leaving: frozenset[int], *, hurried: bool) -> None:
        """Pass on what the child has written, then stop: what others still hold the pipe for is theirs to lose.

        Args:
            leaving: Held signals; when one of them waits, a reader that does not read is not waited for.
            hurried: Whether one of them came already: then such a reader has a moment.
        """
        os.close(self._ring)
        end = time.monotonic() + _MOMENT
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_TURN)
            if signal.sigpending() & leaving or (hurried and time.monotonic() > end):
                return  # the thread still uses the descriptors; they end with the process
        for descriptor in (self._source, self._over, self._entry):
            if descriptor >= 0:
                os.close(descriptor)

    def _pass(self) -> None:
        waiting = select.poll()
        waiting.register(self._source, select.POLLIN)
        waiting.register(self._over, 0)  # its other end is closed when the child has ended
        patience: int | None = None
        try:
            while True:
                ready = dict(waiting.poll(patience))
                if self._source in ready:
                    data = os.read(self._source, _CHUNK)
                    if not data:
                        break
                    _write(self._target, self._masker.feed(data))
                elif patience == 0:
                    break
                if self._over in ready:
                    waiting.unregister(self._over)
                    patience = 0
            _write(self._target, self._masker.end())
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.failure = files.cause_of(error)
            os.close(self._source)  # the child meets what it would have met without us
            self._source = -1


def _write(descriptor: int, data: bytes) -> None:
    """Write every byte, also where whoever gave us the descriptor does not let it block; raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            room.poll()
