"""A service that is spoken to with a credential: to the origins that were confirmed alone, and never past a redirect.

Every exchange has one deadline over all its tries. What changes something is tried again only where the service surely
did nothing; where that is not known, the failure says so, and whoever asked reconciles.
"""

from __future__ import annotations

import re
import secrets
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from tokenctl.deadline import apart
from tokenctl.errors import AccessDenied, InvalidConfiguration, ServerError, TemporarilyUnavailable, TokenctlError
from tokenctl.http.attempt import Answer as Answer  # noqa: PLC0414  # whoever asks knows this module alone
from tokenctl.http.attempt import Sending, Try, exchange, late, origin
from tokenctl.http.transport import context, public_url, silence

if TYPE_CHECKING:
    import httpx

PARALLEL = 8  # exchanges at once
_TRIES = 4  # where nobody said how long to wait
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds
_SECRETS = frozenset({"token", "client_secret", "client_assertion", "secret_id", "subject_token"})  # of forms and documents
_HEADERS = {"User-Agent": "tokenctl", "Accept": "application/json", "Accept-Encoding": "gzip"}


class Unanswered(TemporarilyUnavailable):
    """No answer that tells what became of a request (exit 7).

    Attributes:
        carried_out: ``False`` where the service surely did nothing; ``None`` where that is not known.
        body: The beginning of what stood in the place of an answer.
    """

    def __init__(self, message: str, *, carried_out: bool | None, hint: str | None = None, body: bytes = b"") -> None:
        super().__init__(message, hint=hint, reason="unanswered")
        self.carried_out = carried_out
        self.body = body


def maybe_done(error: TokenctlError) -> bool:
    """Whether a change may have been carried out although it failed so: a refusal says no, an answer that is none does not."""
    if isinstance(error, Unanswered):
        return error.carried_out is None
    return isinstance(error, ServerError) and error.reason == "malformed_answer"


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL that may be spoken to; raises InvalidRequest (exit 2)."""
    return origin(public_url(url))


class Peer:
    """Speaks to one service.

    Args:
        origins: Where it may be spoken to, as :func:`origin_of` writes them.
        ca_file: The certificates that alone are trusted; ``None`` for those of this machine.
        seconds: How long each exchange may take, all tries together.
        pause: Seconds before the second try; each further one waits twice as long, up to some seconds.
    """

    def __init__(self, origins: Collection[str], *, ca_file: str | None, seconds: float, pause: float = _FIRST_PAUSE) -> None:
        self.origins = frozenset(origins)
        self.seconds = seconds
        self._ca_file = ca_file
        self._pause = pause
        self._lock = Lock()
        self._clients: dict[int, httpx.Client] = {}

    def ask(
        self, method: str, url: str, *, repeatable: bool, form: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        document: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Exchange one request for an answer of whatever status but redirects, 429, and what says that the service fails.

        Args:
            repeatable: Whether asking twice does no more than asking once.
            form, document: The body; a form that is made anew for each try holds what a service takes once.
            headers: Credentials and what else the service wants.

        Raises:
            AccessDenied: the address lies at no confirmed origin: nothing was sent (exit 4).
            Unanswered: not reached, not in time, or not now (exit 7).
            ServerError: an answer that cannot be read, or a redirect (exit 8).
        """
        address = public_url(url)
        if origin(address) not in self.origins:
            raise AccessDenied(
                f"{origin(address)} is no confirmed origin of the service: nothing was sent", reason="foreign_origin"
            )  # fmt: skip

        fields: Mapping[str, str] | None = None

        def request() -> httpx.Request:
            import httpx

            nonlocal fields
            fields = form() if callable(form) else form
            return httpx.Request(
                method, address, headers={**_HEADERS, **(headers or {})}, data=dict(fields) if fields is not None else None,
                json=dict(document) if document is not None else None,
            )  # fmt: skip

        until, pause, number = time.monotonic() + self.seconds, self._pause, 0
        while True:
            number += 1
            tried = self._try(request(), until, keep=PARALLEL if repeatable else 0)
            if tried.answer is not None:
                return _without_echo(tried.answer, headers, fields if form is not None else document)
            # However soon it may be asked again: who says 0 is not asked a thousand times.
            wait = max(tried.pause or 0.0, _jittered(pause))
            again = (repeatable or tried.carried_out is False) and not tried.final
            if not again or time.monotonic() + wait >= until or (tried.pause is None and number >= _TRIES):
                raise _failure(address, tried)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _try(self, request: httpx.Request, until: float, *, keep: int) -> Try:
        import httpx

        left, sending, client = max(until - time.monotonic(), 0.001), Sending(), self._client(keep=keep)
        request.extensions = {"timeout": httpx.Timeout(left).as_dict(), "trace": sending.traced}
        # The library's own limits are for each wait, and a name may be looked up for ever.
        future = apart(lambda: exchange(client, request, until, sending))
        try:
            return future.result(timeout=left)
        except TimeoutError:
            return late(sending.give_up())
        except BaseException:
            sending.give_up()
            raise

    def _client(self, *, keep: int) -> httpx.Client:
        import httpx

        with self._lock:  # many threads ask at once
            if keep not in self._clients:
                silence()
                https = any(origin.startswith("https:") for origin in self.origins)
                self._clients[keep] = httpx.Client(
                    verify=context("https" if https else "http", self._ca_file, credentials=True),
                    trust_env=False, follow_redirects=False,
                    limits=httpx.Limits(max_connections=2 * PARALLEL, max_keepalive_connections=keep),
                )  # fmt: skip
            return self._clients[keep]

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _failure(address: httpx.URL, tried: Try) -> Unanswered | ServerError:
    told = f"{origin(address)} {tried.words}"
    if tried.broken:
        return ServerError(told, hint=tried.hint, reason="malformed_answer")
    return Unanswered(told, carried_out=tried.carried_out, hint=tried.hint or "run again later", body=tried.body)


def _without_echo(answer: Answer, headers: Mapping[str, str] | None, body: Mapping[str, object] | None) -> Answer:
    """Take out of a refusal, whose words may be shown, the secrets that were sent."""
    if answer.status < 400:
        return answer
    proofs = [value for name, value in (headers or {}).items() if name in ("Authorization", "X-Vault-Token")]
    sent = [proof.rpartition(" ")[2] for proof in proofs] + [_password(proof) for proof in proofs if proof.startswith("Basic ")]
    sent += [value for name, value in (body or {}).items() if name in _SECRETS and isinstance(value, str)]
    return answer.without(sent)


def _password(header: str) -> str:
    return unquote_plus(b64decode(header.removeprefix("Basic ")).decode("utf-8", "replace").partition(":")[2])


def _jittered(pause: float) -> float:
    return pause * (0.5 + secrets.randbelow(1000) / 2000)


def require_header(value: bytes, what: str) -> str:
    """Return a credential as it enters a header; raises InvalidConfiguration where it would break one (exit 9)."""
    if not re.fullmatch(rb"[\x21-\x7e]+", value):
        raise InvalidConfiguration(f"{what} holds characters that no header admits")
    return value.decode("ascii")
