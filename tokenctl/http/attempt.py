"""One try of one exchange over httpx: an answer, or why there is none and whether the service may have done what it was asked.

Whatever the library raises ends here, told in our words.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_plus

from tokenctl.errors import ServerError
from tokenctl.formats import strict_json
from tokenctl.http.transport import Fault, decoded, fresh_for, read, tls_fault, why
from tokenctl.model.times import SECOND, format_duration

if TYPE_CHECKING:
    import httpx

LARGEST_ANSWER = 8 * 1024 * 1024  # bytes, decoded
_LONGEST_EXCUSE = 4096  # bytes read of an answer that is none
_LONGEST_TOLD = 10**9  # seconds
_KEPT = ("content-type", "date", "www-authenticate", "x-vault-index")  # of the headers of an answer
_WORDS = re.compile(r"[a-z][a-z_. -]{0,63}|[A-Z][A-Z_. -]{0,63}")
_FINAL = frozenset({501, 505})  # of the errors of a server those that say what it will never do


class Answer(NamedTuple):
    """What a service answered.

    Attributes:
        place: The origin, for messages.
        headers: Those that somebody reads, by their names in lower case.
        body: Decoded.
        fresh_for: Seconds for which a cache may go on answering it; ``None`` where that is not told.
    """

    place: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    fresh_for: int | None = None

    def without(self, secrets: Iterable[str]) -> Answer:
        """Return it with nothing of these texts in its body."""
        body = self.body
        for secret in filter(None, secrets):
            for written in (secret, json.dumps(secret)[1:-1], secret.replace("/", "\\/"), quote_plus(secret)):
                body = body.replace(written.encode("utf-8"), b"***")
        return self._replace(body=body)

    def members(self) -> dict[str, object]:
        """Return the JSON object of the body; raises ServerError for anything else (exit 8)."""
        try:
            return strict_json.read_object(self.body, what="the answer")
        except strict_json.MalformedJson as error:
            raise ServerError(f"{self.place} broke its contract: {error.message}", reason="malformed_answer") from None

    def refusal(self) -> str | None:
        """Return the ``error`` that the answer names, if it is of plain words (RFC 6749 section 5.2), as no secret is."""
        try:
            error = strict_json.read_object(self.body, what="the answer").get("error")
        except strict_json.MalformedJson:
            return None
        return error if isinstance(error, str) and _WORDS.fullmatch(error) else None


class Try(NamedTuple):
    """What came of one try: an answer, or why there is none.

    Attributes:
        carried_out: ``False`` where the service surely did nothing; ``None`` where that is not known.
        pause: Seconds that the service asks to wait; ``None`` where it says nothing.
        final: Whether the next try would end alike.
        broken: Whether something came that is no answer.
        body: As of :class:`Unanswered`.
    """

    answer: Answer | None = None
    words: str = ""
    carried_out: bool | None = None
    pause: float | None = None
    hint: str | None = None
    final: bool = False
    broken: bool = False
    body: bytes = b""


class _GivenUp(Exception):
    """The request was given up before it began to leave."""


class Sending:
    """Whether a request has begun to leave, settled once: what is given up before that never leaves."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = self._given_up = False

    def traced(self, event: str, _facts: object) -> None:
        """Hear of a step, as httpcore tells it; the first byte of a request goes over a connection that stands, TLS included."""
        if event.endswith("send_request_headers.started"):
            with self._lock:
                if self._given_up:
                    raise _GivenUp
                self._begun = True

    def give_up(self) -> bool | None:
        """Return ``carried_out`` of a request that has no answer."""
        with self._lock:
            self._given_up = True
            return None if self._begun else False


def exchange(client: httpx.Client, request: httpx.Request, until: float, sending: Sending) -> Try:
    """Do one exchange; what the library raises is told in our words, and by what was sent before it."""
    import httpx

    try:
        response = client.send(request, stream=True)
        try:
            return _taken(request.url, response, until)
        finally:
            response.close()
    except (httpx.TimeoutException, _GivenUp):
        return late(sending.give_up())
    except httpx.ConnectError as error:
        return _unreached(request.url, error, until)
    except (httpx.ProtocolError, httpx.DecodingError, zlib.error) as error:
        if _is_silence(error):
            return Try(words="closed the connection without an answer", carried_out=sending.give_up())
        return Try(words="sent an answer that cannot be read", carried_out=sending.give_up(), broken=True)
    except httpx.HTTPError:
        return Try(words="broke the connection off", carried_out=sending.give_up())


def origin(address: httpx.URL) -> str:
    """Return scheme, host and port of an address."""
    port = f":{address.port}" if address.port is not None else ""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{address.scheme}://{host}{port}"


def late(carried_out: bool | None) -> Try:
    """Return what came of a try whose time is over."""
    hint = "check the address and the network" if carried_out is False else "run again, or raise --timeout"
    return Try(words="did not answer in time", carried_out=carried_out, hint=hint)


def _taken(address: httpx.URL, response: httpx.Response, until: float) -> Try:
    status, place = response.status_code, origin(address)
    if 300 <= status < 400:
        raise ServerError(f"{place} answered {status}: redirects are not followed", reason="redirected")
    if status == 429 or (status >= 500 and status not in _FINAL):
        return _busy(response, until)
    body = read(decoded(response, LARGEST_ANSWER), LARGEST_ANSWER, until)
    if isinstance(body, Fault):
        if body.passing:
            return Try(words=body.words, hint=body.hint)
        raise ServerError(f"{place} {body.words}", reason="malformed_answer")
    kept = {name: response.headers.get(name, "") for name in _KEPT}
    return Try(answer=Answer(place, status, kept, body, fresh_for(response.headers)))


def _busy(response: httpx.Response, until: float) -> Try:
    """Take what stands for an answer: whoever names a time to come again did nothing; a plain 503 is also that of a proxy that
    lost the answer.
    """
    import httpx

    status = response.status_code
    pause = _retry_after(response.headers.get("Retry-After"))
    hint = None
    if pause is not None and time.monotonic() + pause >= until:
        hint = f"it asks to wait {format_duration(round(pause) * SECOND)}: run again then, or raise --timeout"
    nothing = status == 429 or (status == 503 and pause is not None)
    body: bytes | Fault = b""
    with suppress(httpx.HTTPError, zlib.error):
        body = read(decoded(response, _LONGEST_EXCUSE), _LONGEST_EXCUSE, min(until, time.monotonic() + 1))
    return Try(
        words=f"answered {status}", carried_out=False if nothing else None, pause=pause if status in (429, 503) else None,
        hint=hint, body=body if isinstance(body, bytes) else b"",
    )  # fmt: skip


def _unreached(address: httpx.URL, error: BaseException, until: float) -> Try:
    import ssl

    cause = tls_fault(error)
    told, refused = f"was not reached: {why(cause)}", isinstance(cause, ssl.SSLCertVerificationError)
    shown = _fingerprint(address, until) if refused else None
    told += f" (SHA-256 {shown})" if shown else ""
    hint = "compare it with what the service's operator says; its authority: ca_file in the table [service]"
    return Try(words=told, carried_out=False, hint=hint if refused else "check the address and the network", final=refused)


def _is_silence(error: BaseException) -> bool:
    """Whether the connection was closed before any byte of an answer: no parser's fault lies behind it."""
    cause = error.__cause__
    return cause is not None and cause.__cause__ is None and cause.__context__ is None


def _retry_after(said: str | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait; ``None`` where it says nothing. Source: RFC 9110 section 10.2.3."""
    if said is None:
        return None
    if re.fullmatch(r"[0-9]+", said, re.ASCII):
        return min(float(said), _LONGEST_TOLD)
    try:
        moment = parsedate_to_datetime(said)
        at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return min(max(0.0, at.timestamp() - time.time()), _LONGEST_TOLD)
    except (ValueError, OverflowError, TypeError, IndexError):  # by whatever its parser stumbles
        return None


def _fingerprint(address: httpx.URL, until: float) -> str | None:
    """Return the SHA-256 of the certificate that was refused, asked for anew without sending anything of ours."""
    import hashlib
    import socket
    import ssl

    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    # What is known already has to be told within the deadline.
    seconds = min(2.0, (until - time.monotonic()) / 3)
    if seconds <= 0:
        return None
    try:
        with (
            socket.create_connection((address.host, address.port or 443), timeout=seconds) as plain,
            unverified.wrap_socket(plain, server_hostname=address.host) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    return hashlib.sha256(certificate).hexdigest() if certificate else None
