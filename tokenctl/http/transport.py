"""What every exchange over httpx shares: admitted addresses, whom TLS trusts, what is read of an answer, and why none is."""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.errors import InvalidConfiguration, InvalidRequest

if TYPE_CHECKING:
    import ssl

    import httpx

_MAX_URL = 2048  # characters
_MAX_LABEL = 63  # characters between two dots of a name (RFC 1035 section 2.3.4)
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
    if ":" not in address.host and not all(0 < len(label) <= _MAX_LABEL for label in address.host.removesuffix(".").split(".")):
        raise InvalidRequest("not a URL: no such host name", hint="https://HOST/PATH")
    named = "#" in url or "@" in url.partition("://")[2].partition("/")[0]
    allowed = address.scheme == "https" or (address.scheme == "http" and _is_loopback(address.host))
    if named or not allowed or not address.host:
        raise InvalidRequest("a URL is https without user name and fragment, or http to this machine", hint="https://HOST/PATH")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def context(scheme: str, ca_file: str | None = None, *, credentials: bool = False) -> ssl.SSLContext:
    """Return what servers are trusted by: built by hand, for the default context writes its keys where SSLKEYLOGFILE says.

    Args:
        ca_file: The authorities that alone are trusted; ``None`` for those of this machine.
        credentials: Whether servers are given any: then no SSL_CERT_FILE of the environment says whom this machine trusts.

    Raises:
        InvalidConfiguration: the file holds no certificates (exit 9).
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if scheme != "https":
        return context
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            raise InvalidConfiguration(
                f"{ca_file} holds no certificates to trust", hint="a PEM file of the service's CA"
            ) from None
    elif credentials:
        places = ssl.get_default_verify_paths()
        for name, place in (("cafile", places.openssl_cafile), ("capath", places.openssl_capath)):
            if os.path.exists(place):
                context.load_verify_locations(**{name: place})
    else:
        context.load_default_certs()
    return context


def silence() -> None:
    """Let the library log nothing, whoever set up logging in this interpreter: it writes addresses and headers."""
    import logging

    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def tls_fault(error: BaseException) -> ssl.SSLError | None:
    """Return the fault of TLS that lies behind a failed connection."""
    import ssl

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause


def why(error: BaseException | None) -> str:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "its certificate was refused")
    return "no TLS connection" if error is not None else "no connection"


def decoded(response: httpx.Response, limit: int) -> Iterator[bytes]:
    """Yield the body in pieces, each decoded to little more than the limit at most: one packet can hold many megabytes."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding not in ("gzip", "x-gzip"):
        raise zlib.error
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for part in response.iter_raw():
        if decoder.eof:  # it would keep what follows, without a limit
            raise zlib.error
        yield decoder.decompress(part, limit + 1)
    if not decoder.eof:
        raise zlib.error


def read(parts: Iterator[bytes], limit: int, until: float) -> bytes | Fault:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > limit:
            return Fault(f"sent more than {limit // 1024} KiB")
        if time.monotonic() > until:
            return TOO_LATE
    return bytes(body)


def fresh_for(headers: Mapping[str, str]) -> int | None:
    """Return the seconds for which a cache may go on answering a document: ``max-age`` less ``Age``, at least 0.

    ``None`` where that is not told. Source: RFC 9111 sections 4.2.1 and 5.1.
    """
    said = _MAX_AGE.search(headers.get("Cache-Control", ""))
    if said is None:
        return None
    age = headers.get("Age", "0").strip()
    return max(0, int(said[1]) - (int(age) if _AGE.fullmatch(age) else 0))
