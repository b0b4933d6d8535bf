"""Any OAuth 2.0 authorization server behind the seam.

Source: RFC 6749 (client credentials), RFC 8707 (resource), RFC 8693 (token exchange), RFC 7662 (introspection), RFC 7009
(revocation).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.oauth2 import client_auth, granting
from tokenctl.backends.oauth2.discovery import Metadata
from tokenctl.backends.oauth2.published import Published
from tokenctl.backends.oauth2.registration import Registration
from tokenctl.backends.remote.service import Denial, Facts, Identity, Obtained, Reference
from tokenctl.errors import (
    AccessDenied,
    InvalidConfiguration,
    InvalidRequest,
    Partial,
    PolicyDenied,
    ServerError,
    TokenctlError,
)
from tokenctl.http.peer import Answer, Peer
from tokenctl.model.service import ServiceSettings
from tokenctl.model.token import TokenRequest
from tokenctl.operators import Credential
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenctl.formats.jwk import KeySet

_REFUSED_CLIENT = frozenset({"invalid_client", "unauthorized_client"})
_REFUSED_REQUEST = frozenset({"invalid_scope", "scope_invalid", "invalid_target", "unsupported_grant_type"})  # of a known client
_GRANT = {"grant_type": "client_credentials"}


class AuthorizationServer:
    """One authorization server; see :class:`tokenctl.backends.remote.service.Service`.

    Args:
        published: What it says of itself, its origins confirmed, and its keys.
        credential: Finds the operator's; called when it is first needed.
        clock: Milliseconds since the epoch, as they go on: an assertion is good for a minute, and a command may take longer.
    """

    kind = "oauth2"
    lacks = frozenset({"subject", "format", "kind", "claims", "not_before", "max_uses", "parent", "replaces", "lifetime"})
    by_handle = False

    def __init__(
        self, peer: Peer, published: Published, settings: ServiceSettings, credential: Callable[[], Credential],
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self.authority = published.issuer
        self._published = published
        self._peer = peer
        self._settings = settings
        self._find_credential = credential
        self._clock = clock

    @property
    def metadata(self) -> Metadata:
        _ = self._credential  # one that is another's is refused before anybody is asked for anything
        return self._published.metadata

    @cached_property
    def _credential(self) -> Credential:
        return self._find_credential()

    @property
    def foreign_log(self) -> None:
        return None

    def close(self) -> None:
        self._peer.close()

    @property
    def subject(self) -> str | None:
        return self._credential.client_id or self._settings.client_id

    def ready(self, requests: Sequence[TokenRequest] = ()) -> None:
        grants = self.metadata.grants
        self._proof()
        for request in requests:
            if request.exchange is not None and grants is not None and granting.TOKEN_EXCHANGE not in grants:
                raise self._lacks_exchange()
            granting.form_of(request, self.authority, self._clock())

    def own(self, handle: str) -> bool:
        return False  # a client proves itself by no token

    def keys(self, *, kid: str | None = None, offline: bool = False) -> KeySet | None:
        return self._published.keys(kid=kid, offline=offline)

    def whoami(self) -> Identity:
        """Prove the client, by a question that changes nothing where that is possible, else by a token that is given back."""
        asked = self._ask_anything()
        if asked is None or asked.status != 200:
            answer = self._ask("token", _GRANT, repeatable=False)
            self._give_back(answer)
            if answer.status != 200 and answer.refusal() not in _REFUSED_REQUEST:
                raise self._refused(answer)
        return Identity(subject=self.subject or "-")

    def accepted(self) -> bool:
        """Whether the server takes the credential for that of its client: by a token, for a question may be free for all."""
        answer = self._ask("token", _GRANT, repeatable=False)
        self._give_back(answer)
        if answer.status == 200:
            return True
        if self._refuses_client(answer):
            return False
        asked = self._ask_anything()
        if asked is None or not (asked.status == 200 or self._refuses_client(asked)):
            raise self._refused(answer)
        return asked.status == 200

    def _ask_anything(self) -> Answer | None:
        """Ask about a token that nobody has; ``None`` where the server answers no such questions."""
        if "introspection" not in self.metadata.endpoints:
            return None
        answer = self._ask("introspection", {"token": secrets.token_urlsafe(32)}, repeatable=True)
        if answer.status == 200 and not isinstance(answer.members().get("active"), bool):
            raise self._broken("its introspection says neither yes nor no")
        return answer

    def _give_back(self, answer: Answer) -> None:
        if answer.status == 200:
            with suppress(TokenctlError):  # it ends by itself, and what was to be proved is proved
                self.deny(Reference(text=granting.read(answer, self.authority, exchanged=False).text), keep_children=False)

    def _refuses_client(self, answer: Answer) -> bool:
        return answer.status in (401, 403) or answer.refusal() in _REFUSED_CLIENT

    @cached_property
    def registration(self) -> Registration:
        """Where its clients are registered and managed."""
        return Registration(self._peer, self.authority, self.metadata.endpoints.get("registration"))

    def revoke_self(self) -> None:
        """Delete the client, where it manages itself (RFC 7592 section 2.3)."""
        credential = self._credential
        if credential.registration_uri is None or credential.registration_token is None:
            raise InvalidConfiguration(
                f"{self.authority} revokes no client by itself",
                hint="delete the client there; to forget the secret here: tokenctl logout", reason="part_lacking",
            )  # fmt: skip
        why = self.registration.delete(credential)
        if why is not None or self.accepted():
            raise Partial(
                f"{self.authority} may still accept the client: {why or 'it was not deleted'}; nothing was forgotten",
                hint="delete the client there, then: tokenctl logout", reason="still_active",
            )  # fmt: skip

    def obtain(self, request: TokenRequest, lifetime: int, named: str) -> Obtained:
        exchanged = request.exchange is not None
        answer = self._ask("token", granting.form_of(request, self.authority, self._clock()), repeatable=False)
        if answer.status != 200:
            raise self._refused_exchange(answer) if exchanged else self._refused(answer)
        try:
            granted = granting.read(answer, self.authority, exchanged=exchanged)
        except granting.Broken as error:
            if error.token is not None:
                with suppress(TokenctlError):  # that it broke its contract is told, and the token is in nobody's hands
                    self.deny(Reference(text=error.token), keep_children=False)
            raise
        reference = Reference(text=granted.text)
        return granting.complete(
            granted, request, now=self._clock(), client=self.subject, ask=lambda: self.ask(reference)
        )

    def find(self, named: str, since: int) -> list[str] | None:
        return None  # no server lists the tokens of a client

    def ask(self, reference: Reference) -> Facts | None:
        if reference.text is None or "introspection" not in self.metadata.endpoints:
            return None
        answer = self._ask("introspection", {"token": _plain(reference.text), "token_type_hint": "access_token"}, repeatable=True)
        if answer.status == 400 and answer.refusal() == "unsupported_token_type":
            return None
        if answer.status != 200:
            raise self._refused(answer)
        members = answer.without([_plain(reference.text)]).members()  # some servers give the token back among what they say of it
        if not isinstance(members.get("active"), bool):
            raise self._broken("its introspection says neither yes nor no")
        return Facts(active=members["active"] is True, members=members)

    def deny(self, reference: Reference, *, keep_children: bool) -> Denial:
        assert reference.text is not None
        if "revocation" not in self.metadata.endpoints:
            return Denial(done=False, detail="the service names no revocation endpoint")
        answer = self._ask("revocation", {"token": _plain(reference.text), "token_type_hint": "access_token"}, repeatable=True)
        if answer.status == 200 or answer.status == 204:
            return Denial(done=True)
        if answer.refusal() == "unsupported_token_type":
            return Denial(done=False, detail="the service cannot revoke a token of this kind")
        if answer.status in (401, 403) or answer.refusal() in _REFUSED_CLIENT:
            raise self._refused(answer)
        return Denial(done=False, detail=f"the service refuses: {answer.refusal() or answer.status}")

    def _ask(self, endpoint: str, form: Mapping[str, str], *, repeatable: bool) -> Answer:
        url = self.metadata.endpoints.get(endpoint)
        if url is None:
            raise InvalidConfiguration(
                f"{self.authority} names no {endpoint} endpoint",
                hint=f"if it has one: [service.endpoints] {endpoint} in the profile", reason="part_lacking",
            )  # fmt: skip
        # An assertion is taken once: each try has its own.
        return self._peer.ask(
            "POST", url, repeatable=repeatable, form=lambda: {**form, **self._proof().form}, headers=self._proof().headers
        )

    def _proof(self) -> client_auth.Proof:
        return client_auth.prove(
            self._credential, client_id=self._settings.client_id, method=self._settings.client_auth, audience=self.authority,
            now=self._clock(),
        )  # fmt: skip

    def _refused(self, answer: Answer) -> AccessDenied | InvalidRequest | PolicyDenied | ServerError:
        """Return the error for an answer that refuses. Source: RFC 6749 section 5.2; real servers add their own words."""
        error = answer.refusal()
        if self._refuses_client(answer):
            told = f": {error}" if error is not None else ""
            return AccessDenied(f"{self.authority} refuses the client{told}", hint="tokenctl login", reason="credential_refused")
        if error in ("invalid_scope", "scope_invalid", "invalid_target", "invalid_resource", "access_denied"):
            return PolicyDenied(f"{self.authority} refuses what is asked for: {error}", reason=error)
        if answer.status == 400 and error is not None:
            return InvalidRequest(f"{self.authority} refuses the request: {error}", reason=error)
        return ServerError(f"{self.authority} answered {answer.status}", reason="unexpected_status")

    def _refused_exchange(self, answer: Answer) -> TokenctlError:
        """Return the error for an identity that is not taken. Source: RFC 8693 section 2.2.2."""
        error = answer.refusal()
        if error == "unsupported_grant_type":
            return self._lacks_exchange()
        if error in ("invalid_request", "invalid_grant"):
            return AccessDenied(
                f"{self.authority} does not take the identity in exchange: {error}",
                hint="there its issuer has to be trusted, its aud expected, and this client allowed to exchange",
                reason="identity_refused",
            )  # fmt: skip
        return self._refused(answer)

    def _lacks_exchange(self) -> InvalidConfiguration:
        return InvalidConfiguration(
            f"{self.authority} exchanges no tokens (RFC 8693)", hint="leave --exchange out", reason="part_lacking"
        )

    def _broken(self, what: str) -> ServerError:
        return ServerError(f"{self.authority} broke its contract: {what}", reason="malformed_answer")


def _plain(text: Secret) -> str:
    return text.reveal().decode("utf-8", "replace")
