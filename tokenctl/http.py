"""The only owner of httpx: what is fetched, from where, how much and how long.

No redirect, no proxy and no credential from the environment, a cap on the decoded body, one deadline over all of it.
"""

from __future__ import annotations

from tokenctl import deadline as timer
from tokenctl.errors import InvalidRequest, ServerError, TemporarilyUnavailable

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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
    import ssl

    import httpx

    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise InvalidRequest("not a URL", hint="https://HOST/PATH") from None
    if address.userinfo or (address.scheme != "https" and address.host not in _LOOPBACK) or not address.host:
        raise InvalidRequest("a URL is https without user name, or http to this machine", hint="https://HOST/PATH")
    # Built by hand: the default context writes its keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    place = f"{address.scheme}://{address.host}"
    try:
        with (
            timer.deadline(deadline),
            httpx.Client(verify=context, trust_env=False, follow_redirects=False, timeout=deadline) as client,
            client.stream("GET", address, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code in (429, 500, 502, 503, 504):
                raise TemporarilyUnavailable(f"{place} answered {response.status_code}", hint="run again later")
            if response.status_code != 200:
                raise ServerError(f"{place} answered {response.status_code} where a document was expected")
            body = b""
            for part in response.iter_bytes(16 * 1024):
                body += part
                if len(body) > limit:
                    raise ServerError(f"{place} sent more than {limit // 1024} KiB")
            return body
    except (httpx.TimeoutException, timer.DeadlineReached):
        raise TemporarilyUnavailable(f"{place} did not answer in time", hint="run again, or raise --timeout") from None
    except httpx.TransportError as error:
        what = "its certificate was refused" if isinstance(error.__cause__, ssl.SSLError) else "no connection"
        raise TemporarilyUnavailable(f"{place} was not reached: {what}", hint="check the address and the network") from None
    except httpx.HTTPError:
        raise ServerError(f"{place} sent an answer that cannot be read") from None
