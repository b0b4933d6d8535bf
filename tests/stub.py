"""A server of bytes on loopback: for the faults that no real server produces on request."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answering = Callable[[socket.socket], None]


class Stub:
    """Answers every connection by a function of its own thread, after the request's head was read.

    Attributes:
        heads: The head of each request, as it came.
    """

    def __init__(self, answering: Answering, context: ssl.SSLContext | None) -> None:
        self.heads: list[bytes] = []
        self.stopping = threading.Event()
        self._answering = answering
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._address[1])

    def url(self, path: str = "/jwks.json") -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def _accept(self) -> None:
        while not self.stopping.is_set():
            connection, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        # The other side goes away in the middle of nearly everything that is sent here.
        with suppress(OSError), connection:
            if self._context is None:
                self._exchange(connection)
            else:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self._exchange(secured)

    def _exchange(self, connection: socket.socket) -> None:
        head = b""
        self._open.add(connection)
        # A TLS client that came to the wrong door says hello, and waits.
        while b"\r\n\r\n" not in head and not head.startswith(b"\x16") and (part := connection.recv(4096)):
            head += part
        if head:
            self.heads.append(head)
            self._answering(connection)

    def stop(self) -> None:
        self.stopping.set()
        socket.create_connection(self._address, timeout=30).close()
        self._threads[0].join(timeout=30)
        self._listener.close()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive()


@contextmanager
def serving(answering: bytes | Answering, context: ssl.SSLContext | None = None) -> Iterator[Stub]:
    """Serve these bytes, or what a function sends, on a free port of 127.0.0.1."""
    stub = Stub(answering if callable(answering) else lambda connection: connection.sendall(answering), context)
    try:
        yield stub
    finally:
        stub.stop()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole HTTP answer."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return f"{head}\r\n".encode("latin-1") + body
