"""The only owner of httpx: what is fetched, from where, how much and how long.

No redirect, no proxy and no credential from the environment, a cap on the decoded body, one deadline over all of it.
A request carries the address that was named and nothing of this program or its user.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.deadline import apart
from tokenctl.errors import InvalidRequest, ServerError, TemporarilyUnavailable

if TYPE_CHECKING:
    import ssl

    import httpx

_MAX_URL = 2048  # characters
# No name and version of a library: the one who is asked learns that somebody asks, as of every gateway.
_HEADERS = {
    "User-Agent": "Mozilla/5.0",
    "Accept": "application/json, */*;q=0.8",
    "Accept-Encoding": "gzip",
    "Connection": "close",
}
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age\s*=\s*"?([0-9]{1,9})"?(?=\s*(?:,|$))', re.ASCII | re.IGNORECASE)
_AGE = re.compile(r"[0-9]{1,9}", re.ASCII)
# What OpenSSL's verification found (X509_verify_cert_error_string), in our words.
_CERTIFICATE = {
    9: "its certificate is not yet valid",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate is self-signed",
    20: "its certificate is of no authority that this machine trusts",
    21: "its certificate is of no authority that this machine trusts",
    23: "its certificate is revoked",
    62: "its certificate is for another host",
    64: "its certificate is for another address",
}


class Fetched(NamedTuple):
    """A document as it was answered.

    Attributes:
        body: Decoded.
        fresh_for: Seconds for which a cache may go on answering it: ``max-age`` less ``Age``, at least 0; ``None``
            where that is not told. Source: RFC 9111 sections 4.2.1 and 5.1.
    """

    body: bytes
    fresh_for: int | None


class Fault(NamedTuple):
    """Why there is no document.

    Attributes:
        words: What happened, in our own words, to be read behind the name of the place.
        passing: Whether asking again may help.
        hint: What to do about it.
    """

    words: str
    passing: bool = False
    hint: str | None = None


TOO_LATE = Fault("did not answer in time", passing=True, hint="run again, or raise --timeout")


def public_url(url: str) -> httpx.URL:
    """Read a URL that may be fetched: https, or http from this machine, without user name and fragment.

    Raises:
        InvalidRequest: any other (exit 2).
    """
    import httpx

    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise InvalidRequest("not a URL", hint="https://HOST/PATH") from None
    port = 443 if address.port is None else address.port
    if not re.fullmatch(r"[\x21-\x7e]+", url) or len(url) > _MAX_URL or not 0 < port < 1 << 16:
        raise InvalidRequest("not a URL", hint="https://HOST/PATH")
    named = "#" in url or "@" in url.partition("://")[2].partition("/")[0]
    allowed = address.scheme == "https" or (address.scheme == "http" and _is_loopback(address.host))
    if named or not allowed or not address.host:
        raise InvalidRequest(
            "a URL is https without user name and fragment, or http to this machine", hint="https://HOST/PATH"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fetch_public(url: str, *, limit: int, deadline: float) -> bytes:
    """Fetch a public document over https, or over http from this machine.

    Args:
        url: What the command line names.
        limit: The most bytes taken of the decoded body.
        deadline: Seconds for everything.

    Raises:
        InvalidRequest: not such a URL (exit 2).
        TemporarilyUnavailable: not reached, not in time, or not now (exit 7).
        ServerError: any other answer than the document (exit 8).
    """
    address = public_url(url)
    asking = apart(lambda: get(address, limit=limit, seconds=deadline))
    try:
        answer = asking.result(timeout=deadline)
    except TimeoutError:
        answer = TOO_LATE
    if isinstance(answer, Fetched):
        return answer.body
    failure = TemporarilyUnavailable if answer.passing else ServerError
    raise failure(f"{address.scheme}://{address.host} {answer.words}", hint=answer.hint)


def get(address: httpx.URL, *, limit: int, seconds: float) -> Fetched | Fault:
    """Fetch a document with one GET.

    The seconds bound each wait and the body as a whole, not the look-up of a name nor a header that drips: whoever asks
    does it :func:`~tokenctl.deadline.apart`, and waits no longer than they want.
    """
    import ssl

    import httpx

    until = time.monotonic() + seconds
    try:
        with (
            httpx.Client(verify=_context(address.scheme), trust_env=False, follow_redirects=False, timeout=seconds) as client,
            client.stream("GET", address, headers=_HEADERS) as response,
        ):
            if fault := _status_fault(response.status_code):
                return fault
            body = _read(_decoded(response, limit), limit, until)
            return body if isinstance(body, Fault) else Fetched(body, _fresh_for(response.headers))
    except httpx.TimeoutException:
        return TOO_LATE
    except (httpx.ProtocolError, zlib.error):
        return Fault("sent an answer that cannot be read")
    except httpx.TransportError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        return Fault(f"was not reached: {_why(cause)}", passing=True, hint="check the address and the network")
    except httpx.HTTPError:
        return Fault("sent an answer that cannot be read")


@cache
def _context(scheme: str) -> ssl.SSLContext:
    """Return what servers are trusted by: built by hand, for the default context writes its keys where SSLKEYLOGFILE says."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if scheme == "https":
        context.load_default_certs()
    return context


def _why(error: BaseException | None) -> str:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "its certificate was refused")
    return "no TLS connection" if error is not None else "no connection"


def _status_fault(status: int) -> Fault | None:
    if status == 200:
        return None
    if status in (429, 500, 502, 503, 504):
        return Fault(f"answered {status}", passing=True, hint="run again later")
    if 300 <= status < 400:
        return Fault(f"answered {status}: redirects are not followed", hint="name the address that it leads to")
    return Fault(f"answered {status} where a document was expected")


def _decoded(response: httpx.Response, limit: int) -> Iterator[bytes]:
    """Yield the body in pieces, each decoded to little more than the limit at most: one packet can hold many megabytes."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding not in ("gzip", "x-gzip"):
        raise zlib.error
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for part in response.iter_raw():
        yield decoder.decompress(part, limit + 1)
    if not decoder.eof:
        raise zlib.error


def _read(parts: Iterator[bytes], limit: int, until: float) -> bytes | Fault:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > limit:
            return Fault(f"sent more than {limit // 1024} KiB")
        if time.monotonic() > until:
            return TOO_LATE
    return bytes(body)


def _fresh_for(headers: httpx.Headers) -> int | None:
    said = _MAX_AGE.search(headers.get("Cache-Control", ""))
    if said is None:
        return None
    age = headers.get("Age", "0").strip()
    return max(0, int(said[1]) - (int(age) if _AGE.fullmatch(age) else 0))
