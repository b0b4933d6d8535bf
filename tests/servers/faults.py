"""What a network and a server can do to an answer: for ``tests.stub.serving``, byte by byte.

Each is an answer as bytes, or a function that sends one; they can be given by path (``serving({"/token": cut(...)})``) and in
turn (:class:`InTurn`). The faults of TLS are the certificates of ``authority.py``; those of a real server in front of which
something breaks are in ``breaker.py``.
"""

from __future__ import annotations

import gzip
import json
import socket
import time

from tests.stub import Answering, answer, send

JSON = "Content-Type: application/json"
_LINGER = b"\1\0\0\0\0\0\0\0"  # on, for no time: what is sent last is a reset


def document(value: object, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer as it should be."""
    return answer(json.dumps(value).encode(), JSON, *headers, status=status)


def drip(part: bytes, *, first: bytes = b"") -> Answering:
    """Send ``first``, and then a part every 50 ms without an end."""

    def dripping(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(part)
            time.sleep(0.05)

    return dripping


def endless(first: bytes, part: bytes) -> Answering:
    """Send ``first``, and then the part again and again as fast as it is taken."""

    def sending(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(part)

    return sending


def slow(whole: bytes, *, seconds: float, parts: int = 10) -> Answering:
    """Send an answer that is whole, in parts, over so many seconds."""

    def sending(connection: socket.socket) -> None:
        size = -(-len(whole) // parts)
        for start in range(0, len(whole), size):
            time.sleep(seconds / parts)
            connection.sendall(whole[start : start + size])

    return sending


def late(whole: bytes | Answering, *, seconds: float) -> Answering:
    """Send an answer after so many seconds."""

    def sending(connection: socket.socket) -> None:
        time.sleep(seconds)
        send(connection, whole)

    return sending


def silent(connection: socket.socket) -> None:
    """Say nothing until the other side goes away."""
    connection.recv(1)


def reset(connection: socket.socket) -> None:
    """Reset the connection instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def reset_after(part: bytes) -> Answering:
    """Reset the connection in the middle of an answer."""

    def sending(connection: socket.socket) -> None:
        connection.sendall(part)
        time.sleep(0.05)  # so that the part arrives before the reset discards it
        reset(connection)

    return sending


def cut(whole: bytes, missing: int = 1) -> bytes:
    """Return an answer that ends before its end; the length it claims is that of the whole."""
    return whole[:-missing]


def wrong_length(body: bytes, claimed: int) -> bytes:
    """Return an answer with another Content-Length than its body has."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % claimed + body


def bomb(size: int = 1 << 28) -> bytes:
    """Return an answer of some kilobytes that unpacks to so many bytes of JSON."""
    return answer(gzip.compress(b'{"a": "' + b" " * size + b'"}'), JSON, "Content-Encoding: gzip")


def huge_headers(size: int = 100 << 20) -> Answering:
    """Send so many bytes of headers, and then a body that would be right."""

    def sending(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        line = b"X-Filler: " + b"x" * 65_000 + b"\r\n"
        for _ in range(size // len(line)):
            connection.sendall(line)
        connection.sendall(b"Content-Length: 2\r\n\r\n{}")

    return sending


def many_headers(count: int = 20_000) -> bytes:
    return answer(b"{}", JSON, *(f"X-{number}: x" for number in range(count)))


def redirect(to: str, status: str = "307 Temporary Redirect") -> bytes:
    """Return what sends a client, method and body included, somewhere else."""
    return answer(b"", f"Location: {to}", status=status)


def try_later(retry_after: str | None, status: str = "429 Too Many Requests") -> bytes:
    """Return a refusal for now; ``RETRY_AFTER`` has what may stand in it."""
    return answer(b"", *(() if retry_after is None else (f"Retry-After: {retry_after}",)), status=status)


# Seconds, a date (RFC 9110 section 10.2.3), and everything else that is seen there.
RETRY_AFTER = (
    None, "0", "1", "120", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "1.5", "-1", "soon", "",
    "99999999999999999999", "1, 2",
)  # fmt: skip

# No answer that a client of JSON can take, each with status 200.
GARBAGE = {
    "empty": answer(b"", JSON),
    "html": answer(b"<html><body>Sign in</body></html>", "Content-Type: text/html"),
    "half": document({"access_token": "x", "token_type": "Bearer"})[:-10] + b" " * 10,
    "not utf-8": answer(b'{"access_token": "\xff\xfe"}', JSON),
    "byte order mark": answer(b"\xef\xbb\xbf{}", JSON),
    "utf-16": answer('{"active": true}'.encode("utf-16"), JSON),
    "names twice": answer(b'{"active": false, "active": true}', JSON),
    "not a number": answer(b'{"active": true, "exp": NaN}', JSON),
    "infinite": answer(b'{"active": true, "exp": 1e999}', JSON),
    "deep": answer(b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, JSON),
    "list": answer(b'[{"active": true}]', JSON),
    "string": answer(b'"active"', JSON),
    "null": answer(b"null", JSON),
    "two documents": answer(b'{"active": true}{"active": false}', JSON),
    "escape sequences": document({"error": "\x1b[2J\x1b]0;owned\x07", "error_description": "\u202egnp"}),
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "no gzip": answer(b'{"active": true}', JSON, "Content-Encoding: gzip"),
    "half a gzip": answer(gzip.compress(b'{"active": true}' * 100)[:-8], JSON, "Content-Encoding: gzip"),
}


class InTurn:
    """Answers with one after the other, the last again and again."""

    def __init__(self, *answers: bytes | Answering) -> None:
        self._answers = list(answers)

    def __call__(self, connection: socket.socket) -> None:
        send(connection, self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
