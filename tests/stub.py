"""A server of bytes on loopback: for the faults that no real server produces on request."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

Answering = Callable[[socket.socket], None]
Answer = bytes | Answering
_UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"^content-length: *([0-9]+)\r$", re.IGNORECASE | re.MULTILINE)


class Request(NamedTuple):
    """A request as it came: its head to the empty line, and its body."""

    head: bytes
    body: bytes

    @property
    def target(self) -> str:
        """Path and query, as the first line has them."""
        return self.head.split(b" ")[1].decode("latin-1")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


# What answers a whole request; an Answering knows the connection alone.
Serving = Callable[[socket.socket, Request], None]


class Stub:
    """Answers every connection by a function of its own thread, after a request was read.

    Attributes:
        heads: The head of each request, as it came.
        requests: Each request whole, once its body has come.
    """

    def __init__(self, answering: Serving, context: ssl.SSLContext | None, host: str) -> None:
        self.heads: list[bytes] = []
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._answering = answering
        self._context = context
        self._host = f"[{host}]" if ":" in host else host
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._address = self._listener.getsockname()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._address[1])

    def url(self, path: str = "/jwks.json") -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{self._host}:{self.port}{path}"

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
        came = b""
        self._open.add(connection)
        # A TLS client that came to the wrong door says hello, and waits.
        while b"\r\n\r\n" not in came and not came.startswith(b"\x16") and (part := connection.recv(4096)):
            came += part
        if not came:
            return
        head, end, body = came.partition(b"\r\n\r\n")
        head += end
        self.heads.append(head)
        length = _LENGTH.search(head)
        while length is not None and len(body) < int(length[1]) and (part := connection.recv(65536)):
            body += part
        if length is not None and len(body) < int(length[1]):
            return
        request = Request(head, body)
        self.requests.append(request)
        self._answering(connection, request)

    def stop(self) -> None:
        self.stopping.set()
        socket.create_connection(self._address[:2], timeout=30).close()
        self._threads[0].join(timeout=30)
        self._listener.close()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive()


def send(connection: socket.socket, answering: Answer) -> None:
    if callable(answering):
        answering(connection)
    else:
        connection.sendall(answering)


@contextmanager
def serving(
    answering: Answer | Mapping[str, Answer], context: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> Iterator[Stub]:
    """Serve these bytes, or what a function sends, or one of both by the path that is asked, on a free port of this host."""

    def serve(connection: socket.socket, request: Request) -> None:
        send(connection, answering.get(request.path, _UNKNOWN) if isinstance(answering, Mapping) else answering)

    with serving_requests(serve, context, host=host) as stub:
        yield stub


@contextmanager
def serving_requests(
    answering: Serving, context: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> Iterator[Stub]:
    """Serve what a function makes of each request."""
    stub = Stub(answering, context, host)
    try:
        yield stub
    finally:
        stub.stop()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole HTTP answer."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return f"{head}\r\n".encode("latin-1") + body
