"""A service that is spoken to with a credential: to the origins that were confirmed alone, and never past a redirect.

Every exchange has one deadline over all its tries. What changes something is tried again only where the service surely
did nothing; where that is not known, the failure says so, and whoever asked reconciles.
"""

from __future__ import annotations

import re
import secrets
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.deadline import apart
from tokenctl.errors import AccessDenied, InvalidConfiguration, ServerError, TemporarilyUnavailable
from tokenctl.formats import strict_json
from tokenctl.http.transport import Fault, context, decoded, fresh_for, public_url, read, why

if TYPE_CHECKING:
    import ssl

    import httpx

LARGEST_ANSWER = 8 * 1024 * 1024  # bytes, decoded
PARALLEL = 8  # exchanges at once
_TRIES = 4  # where nobody said how long to wait
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds
_HEADERS = {"User-Agent": "tokenctl", "Accept": "application/json", "Accept-Encoding": "gzip"}
_KEPT = ("content-type", "date", "www-authenticate", "x-vault-index")  # of the headers of an answer
_BUSY = frozenset({429, 503})  # the service says that it did nothing
_FAILING = frozenset({500, 502, 504})  # whoever answers does not know what was done


class Unanswered(TemporarilyUnavailable):
    """No answer that tells what became of a request (exit 7).

    Attributes:
        carried_out: ``False`` where the service surely did nothing; ``None`` where that is not known.
    """

    def __init__(self, message: str, *, carried_out: bool | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, reason="unanswered")
        self.carried_out = carried_out


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

    def members(self) -> dict[str, object]:
        """Return the JSON object of the body; raises ServerError for anything else (exit 8)."""
        try:
            return strict_json.read_object(self.body, what="the answer")
        except strict_json.MalformedJson as error:
            raise ServerError(f"{self.place} broke its contract: {error.message}", reason="malformed_answer") from None

    def refusal(self) -> str | None:
        """Return the ``error`` that the answer names, if it is a plain word (RFC 6749 section 5.2)."""
        try:
            error = strict_json.read_object(self.body, what="the answer").get("error")
        except strict_json.MalformedJson:
            return None
        return error if isinstance(error, str) and re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,80}", error) else None


class _Try(NamedTuple):
    """What came of one try: an answer, or why there is none.

    Attributes:
        carried_out: ``False`` where the service surely did nothing; ``None`` where that is not known.
        pause: Seconds that the service asks to wait; ``None`` where it says nothing.
    """

    answer: Answer | None = None
    words: str = ""
    carried_out: bool | None = None
    pause: float | None = None
    hint: str | None = None


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL that may be spoken to; raises InvalidRequest (exit 2)."""
    return _origin(public_url(url))


def _origin(address: httpx.URL) -> str:
    port = f":{address.port}" if address.port is not None else ""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{address.scheme}://{host}{port}"


class Peer:
    """Speaks to one service.

    Args:
        origins: Where it may be spoken to, as :func:`origin_of` writes them.
        ca_file: The certificates that alone are trusted; ``None`` for those of this machine.
        seconds: How long each exchange may take, all tries together.
    """

    def __init__(self, origins: Collection[str], *, ca_file: str | None, seconds: float) -> None:
        self.origins = frozenset(origins)
        self.seconds = seconds
        self._ca_file = ca_file

    def ask(
        self, method: str, url: str, *, repeatable: bool, form: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        document: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Exchange one request for an answer of whatever status below 500, redirects and 429 excepted.

        Args:
            repeatable: Whether asking twice does no more than asking once.
            form, document: The body; a form that is made anew for each try holds what a service takes once.
            headers: Credentials and what else the service wants.

        Raises:
            AccessDenied: the address lies at no confirmed origin: nothing was sent (exit 4).
            Unanswered: not reached, not in time, or not now (exit 7).
            ServerError: an answer that cannot be read, or a redirect (exit 8).
        """
        import httpx

        address = public_url(url)
        if _origin(address) not in self.origins:
            raise AccessDenied(
                f"{_origin(address)} is no confirmed origin of the service: nothing was sent", reason="foreign_origin"
            )  # fmt: skip
        until = time.monotonic() + self.seconds

        def request() -> httpx.Request:
            fields = form() if callable(form) else form
            return httpx.Request(
                method, address, headers={**_HEADERS, **(headers or {})}, data=dict(fields) if fields is not None else None,
                json=dict(document) if document is not None else None,
            )  # fmt: skip

        pause = _FIRST_PAUSE
        for number in range(1, 1_000):
            tried = self._try(request(), until, fresh=not repeatable)
            if tried.answer is not None:
                return tried.answer
            again = repeatable or tried.carried_out is False
            wait = tried.pause if tried.pause is not None else _jittered(pause)
            if not again or time.monotonic() + wait >= until or (tried.pause is None and number >= _TRIES):
                raise self._unanswered(address, tried)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise self._unanswered(address, tried)

    def _unanswered(self, address: httpx.URL, tried: _Try) -> Unanswered:
        hint = tried.hint or "run again later"
        return Unanswered(f"{_origin(address)} {tried.words}", carried_out=tried.carried_out, hint=hint)

    def _try(self, request: httpx.Request, until: float, *, fresh: bool) -> _Try:
        left = until - time.monotonic()
        future = apart(lambda: self._exchange(request, until, fresh=fresh))
        try:
            return future.result(timeout=max(left, 0.001))
        except TimeoutError:
            return _Try(words="did not answer in time", hint="run again, or raise --timeout")

    def _exchange(self, request: httpx.Request, until: float, *, fresh: bool) -> _Try:
        """Do one exchange; what the library raises is told in our words, and by what was sent before it."""
        import httpx

        client = self._fresh if fresh else self._pooled
        try:
            response = client.send(request, stream=True)
            try:
                return self._taken(request.url, response, until)
            finally:
                response.close()
        except (httpx.ConnectTimeout, httpx.PoolTimeout):
            return _Try(words="did not answer in time", carried_out=False, hint="check the address and the network")
        except httpx.TimeoutException:
            return _Try(words="did not answer in time", hint="run again, or raise --timeout")
        except httpx.ConnectError as error:
            return _Try(words=self._unreached(request.url, error), carried_out=False, hint="check the address and the network")
        except (httpx.ProtocolError, httpx.DecodingError, zlib.error):
            return _Try(words="sent an answer that cannot be read")
        except httpx.HTTPError:
            return _Try(words="broke the connection off")

    def _taken(self, address: httpx.URL, response: httpx.Response, until: float) -> _Try:
        status, place = response.status_code, _origin(address)
        if 300 <= status < 400:
            raise ServerError(f"{place} answered {status}: redirects are not followed", reason="redirected")
        if status in _BUSY:
            return _busy(status, response.headers.get("Retry-After"), until)
        if status in _FAILING:
            return _Try(words=f"answered {status}")
        body = read(decoded(response, LARGEST_ANSWER), LARGEST_ANSWER, until)
        if isinstance(body, Fault):
            if body.passing:
                return _Try(words=body.words, hint=body.hint)
            raise ServerError(f"{place} {body.words}", reason="malformed_answer")
        kept = {name: response.headers.get(name, "") for name in _KEPT}
        return _Try(answer=Answer(place, status, kept, body, fresh_for(response.headers)))

    def _unreached(self, address: httpx.URL, error: BaseException) -> str:
        import ssl

        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        told = f"was not reached: {why(cause)}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            shown = _fingerprint(address)
            told += f" (SHA-256 {shown})" if shown else ""
        return told

    @cached_property
    def _pooled(self) -> httpx.Client:
        return self._client(keep=PARALLEL)

    @cached_property
    def _fresh(self) -> httpx.Client:
        return self._client(keep=0)

    def _client(self, *, keep: int) -> httpx.Client:
        import httpx

        limits = httpx.Limits(max_connections=2 * PARALLEL, max_keepalive_connections=keep)
        return httpx.Client(
            verify=self._context, trust_env=False, follow_redirects=False, timeout=self.seconds, limits=limits
        )  # fmt: skip

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return context("https" if any(origin.startswith("https:") for origin in self.origins) else "http", self._ca_file)

    def close(self) -> None:
        for name in ("_pooled", "_fresh"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _jittered(pause: float) -> float:
    return pause * (0.5 + secrets.randbelow(1000) / 2000)


def _busy(status: int, said: str | None, until: float) -> _Try:
    pause = _retry_after(said)
    hint = None
    if pause is not None and time.monotonic() + pause >= until:
        hint = f"it asks to wait {pause:.0f} s: run again then, or raise --timeout"
    return _Try(words=f"answered {status}", carried_out=False, pause=pause, hint=hint)


def _retry_after(said: str | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait; ``None`` where it says nothing. Source: RFC 9110 section 10.2.3."""
    if said is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", said.strip()):
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _fingerprint(address: httpx.URL) -> str | None:
    """Return the SHA-256 of the certificate that was refused, asked for anew without sending anything of ours."""
    import hashlib
    import socket
    import ssl

    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port or 443), timeout=2) as plain,
            unverified.wrap_socket(plain, server_hostname=address.host) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    digest = hashlib.sha256(certificate or b"").hexdigest()
    return digest if certificate else None


def require_header(value: bytes, what: str) -> str:
    """Return a credential as it enters a header; raises InvalidConfiguration where it would break one (exit 9)."""
    if not re.fullmatch(rb"[\x21-\x7e]+", value):
        raise InvalidConfiguration(f"{what} holds characters that no header admits")
    return value.decode("ascii")
