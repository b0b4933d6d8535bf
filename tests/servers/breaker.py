"""What stands between a client and a real server and breaks at chosen requests: the server did it, the client cannot know.

It ends TLS with a certificate of the tests' authority and passes each request on; its address is of another origin.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit

from tests.servers.authority import Authority
from tests.servers.faults import reset, silent
from tests.stub import Answer, Request, send, serving_requests


class Passage(Enum):
    """What happens to a request that is the server's: the server answers it but for ``REFUSE``."""

    PASS = "the client has its answer"
    REFUSE = "a reset, and the server never hears of it"
    LOSE = "the server does it, then a reset"
    HANG = "the server does it, then silence"


PASS, REFUSE, LOSE, HANG = Passage
Fate = Passage | Answer
Choosing = Callable[[Request, int], Fate]


class Breaker:
    """What stands between.

    Attributes:
        url: Its address: the server's with another port.
        asked: Every request that came, passed on or not.
        passed: Those that the server has answered.
    """

    def __init__(self, upstream: str, authority: Authority, choosing: Choosing) -> None:
        address = urlsplit(upstream)
        self._upstream = (str(address.hostname), int(address.port or 443))
        self._context = authority.client()
        self._choosing = choosing
        self._lock = threading.Lock()
        self.asked: list[Request] = []
        self.passed: list[Request] = []
        self.url = ""

    def serve(self, connection: socket.socket, request: Request) -> None:
        with self._lock:
            fate = self._choosing(request, len(self.asked))
            self.asked.append(request)
        if not isinstance(fate, Passage):
            send(connection, fate)
        elif fate is REFUSE:
            reset(connection)
        else:
            answered = self._pass(request)
            with self._lock:
                self.passed.append(request)
            answers: dict[Passage, Answer] = {PASS: answered, LOSE: reset, HANG: silent}
            send(connection, answers[fate])

    def _pass(self, request: Request) -> bytes:
        """Send it to the server on a connection of its own, and return the whole answer."""
        first, _, rest = request.head.partition(b"\r\n")
        lines = [line for line in rest.split(b"\r\n") if line and not line.lower().startswith((b"connection:", b"host:"))]
        host = f"{self._upstream[0]}:{self._upstream[1]}".encode()
        head = b"\r\n".join([first, b"Host: " + host, b"Connection: close", *lines, b"", b""])
        with (
            socket.create_connection(self._upstream, timeout=10) as plain,
            self._context.wrap_socket(plain, server_hostname=self._upstream[0]) as upstream,
        ):
            upstream.sendall(head + request.body)
            answered = bytearray()
            with suppress(ssl.SSLEOFError):
                while part := upstream.recv(65536):
                    answered += part
        return bytes(answered)


def at(numbers: range | set[int], fate: Fate) -> Choosing:
    """Let these requests meet a fate, counted from 0, and the others pass."""
    return lambda _, number: fate if number in numbers else PASS


def to(path: str, fate: Fate) -> Choosing:
    """Let the requests to a path meet a fate, and the others pass."""
    return lambda request, _: fate if request.path == path else PASS


@contextmanager
def breaking(upstream: str, authority: Authority, choosing: Choosing) -> Iterator[Breaker]:
    """Stand in front of the server at this address.

    Args:
        choosing: Gives each request, in the order in which they come, its fate: a :class:`Passage`, or an answer that comes in
            the server's place.
    """
    breaker = Breaker(upstream, authority, choosing)
    with serving_requests(breaker.serve, authority.good.context()) as stub:
        breaker.url = stub.url("")
        yield breaker
