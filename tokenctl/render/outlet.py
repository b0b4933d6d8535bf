"""A stream that never holds up the work: what its reader does not take waits in memory."""

from __future__ import annotations

import os
import select
import stat

from tokenctl import files


class Outlet:
    """Writes to a pipe or socket only while it takes more; files and terminals are written at once.

    After poll(2) a pipe takes ``PIPE_BUF`` bytes without blocking. ``O_NONBLOCK`` would change it for whoever shares it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waits = _may_block(descriptor)
        self._queue = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def put(self, data: bytes) -> None:
        """Write what can be written now, and keep the rest; raises OSError, and then keeps nothing."""
        if not self._waits:
            files.write_all(self._descriptor, data)
            return
        self._queue += data
        self._write(0)

    def drain(self, patience: float | None = None) -> None:
        """Write the rest, however long the reader takes, or until it took nothing for ``patience`` seconds."""
        self._write(None if patience is None else int(patience * 1000))
        self._queue.clear()

    def _write(self, milliseconds: int | None) -> None:
        try:
            while self._queue and self._poll.poll(milliseconds):
                try:
                    del self._queue[: os.write(self._descriptor, self._piece())]
                except BlockingIOError:  # who shares the pipe made it so, and was quicker
                    if milliseconds == 0:
                        return
        except OSError:
            self._queue.clear()
            raise

    def _piece(self) -> bytes:
        """Return whole lines where there are any, so that those of others who share the pipe stand between ours."""
        piece = bytes(self._queue[: select.PIPE_BUF])
        return piece[: piece.rfind(b"\n") + 1] or piece


def _may_block(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
