"""Public documents: what is fetched, from where, how much and how long.

No redirect, no proxy and no credential from the environment, a cap on the decoded body, one deadline over all of it.
A request carries the address that was named and nothing of this program or its user.
"""

from __future__ import annotations

import re
import time
import zlib
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.deadline import apart
from tokenctl.errors import ServerError, TemporarilyUnavailable
from tokenctl.http.transport import TOO_LATE, Fault, context, decoded, fresh_for, public_url, read, silence, tls_fault, why

if TYPE_CHECKING:
    import httpx

# No name and version of a library: the one who is asked learns that somebody asks, as of every gateway.
_HEADERS = {
    "User-Agent": "Mozilla/5.0",
    "Accept": "application/json, */*;q=0.8",
    "Accept-Encoding": "gzip",
    "Connection": "close",
}
_AGE = re.compile(r"[0-9]{1,9}", re.ASCII)


class Fetched(NamedTuple):
    """A document as it was answered.

    Attributes:
        body: Decoded.
        fresh_for: Seconds for which a cache may go on answering it: ``max-age`` less ``Age``, at least 0; ``None``
            where that is not told. Source: RFC 9111 sections 4.2.1 and 5.1.
    """

    body: bytes
    fresh_for: int | None


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
    import httpx

    silence()
    until = time.monotonic() + seconds
    try:
        with (
            httpx.Client(verify=context(address.scheme), trust_env=False, follow_redirects=False, timeout=seconds) as client,
            client.stream("GET", address, headers=_HEADERS) as response,
        ):
            if fault := _status_fault(response.status_code):
                return fault
            body = read(decoded(response, limit), limit, until)
            return body if isinstance(body, Fault) else Fetched(body, fresh_for(response.headers))
    except httpx.TimeoutException:
        return TOO_LATE
    except (httpx.ProtocolError, zlib.error):
        return Fault("sent an answer that cannot be read")
    except httpx.TransportError as error:
        return Fault(f"was not reached: {why(tls_fault(error))}", passing=True, hint="check the address and the network")
    except httpx.HTTPError:
        return Fault("sent an answer that cannot be read")


def _status_fault(status: int) -> Fault | None:
    if status == 200:
        return None
    if status in (429, 500, 502, 503, 504):
        return Fault(f"answered {status}", passing=True, hint="run again later")
    if 300 <= status < 400:
        return Fault(f"answered {status}: redirects are not followed", hint="name the address that it leads to")
    return Fault(f"answered {status} where a document was expected")
