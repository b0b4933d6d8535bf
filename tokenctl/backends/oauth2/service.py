"""Any OAuth 2.0 authorization server behind the seam.

Source: RFC 6749 (client credentials), RFC 8707 (resource), RFC 7662 (introspection), RFC 7009 (revocation).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.oauth2 import client_auth
from tokenctl.backends.oauth2.discovery import Metadata
from tokenctl.backends.remote.service import Denial, Facts, Identity, Obtained, Reference
from tokenctl.errors import AccessDenied, InvalidConfiguration, InvalidRequest, PolicyDenied, ServerError
from tokenctl.http.peer import Answer, Peer
from tokenctl.model.service import ServiceSettings
from tokenctl.model.times import SECOND
from tokenctl.model.token import TokenRequest
from tokenctl.operators import Credential
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenctl.formats.jwk import KeySet

_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_SHORTEST, _LONGEST = 1, 10 * 366 * 86_400  # seconds of an expires_in
_REFUSED_CLIENT = frozenset({"invalid_client", "unauthorized_client"})


class AuthorizationServer:
    """One authorization server; see :class:`tokenctl.backends.remote.service.Service`.

    Args:
        metadata: What it says of itself, its origins confirmed.
        credential: Finds the operator's; called when it is first needed.
        keys: Returns the keys of its ``jwks_uri``, from a cache where that holds the kid.
        clock: Milliseconds since the epoch; the one reading of the command.
    """

    kind = "oauth2"
    lacks = frozenset({"subject", "format", "kind", "claims", "not_before", "max_uses", "parent", "replaces", "lifetime"})
    by_handle = False

    def __init__(
        self, peer: Peer, metadata: Metadata, settings: ServiceSettings, credential: Callable[[], Credential], clock: int,
        keys: Callable[[str | None], KeySet | None],
    ) -> None:  # fmt: skip
        self.authority = metadata.issuer
        self.metadata = metadata
        self._peer = peer
        self._settings = settings
        self._find_credential = credential
        self._clock = clock
        self._keys = keys

    @cached_property
    def _credential(self) -> Credential:
        return self._find_credential()

    def close(self) -> None:
        self._peer.close()

    @property
    def subject(self) -> str | None:
        return self._settings.client_id or self._credential.client_id

    def own(self, handle: str) -> bool:
        return False  # a client proves itself by no token

    def keys(self, *, kid: str | None = None) -> KeySet | None:
        return self._keys(kid)

    def whoami(self) -> Identity:
        """Prove the client, by a question that changes nothing where that is possible, else by a token that is given back."""
        if "introspection" in self.metadata.endpoints:
            self.ask(Reference(text=Secret(secrets.token_urlsafe(32))))
        else:
            answer = self._ask("token", {"grant_type": "client_credentials"}, repeatable=False)
            if answer.status != 200:
                raise self._refused(answer)
            text = answer.members().get("access_token")
            if isinstance(text, str) and _TOKEN.fullmatch(text):
                self.deny(Reference(text=Secret(text)), keep_children=False)
        return Identity(subject=self.subject or "-")

    def revoke_self(self) -> None:
        raise InvalidConfiguration(
            f"{self.authority} revokes no client by itself",
            hint="delete the client there; to forget the secret here: tokenctl logout", reason="part_lacking",
        )  # fmt: skip

    def obtain(self, request: TokenRequest, lifetime: int, named: str) -> Obtained:
        form = {"grant_type": "client_credentials"}
        if request.scope:
            form["scope"] = " ".join(sorted(request.scope))
        if len(request.audience) > 1:
            raise InvalidConfiguration(f"{self.authority} takes one --audience a token", reason="part_lacking")
        if request.audience:
            form["resource"] = request.audience[0]
        answer = self._ask("token", form, repeatable=False)
        if answer.status != 200:
            raise self._refused(answer)
        return self._granted(answer, request)

    def find(self, named: str, since: int) -> list[str] | None:
        return None  # no server lists the tokens of a client

    def _granted(self, answer: Answer, request: TokenRequest) -> Obtained:
        """Read a token response. Source: RFC 6749 section 5.1."""
        members = answer.members()
        text, kind, lifetime = members.get("access_token"), members.get("token_type"), members.get("expires_in")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise self._broken("it grants no access_token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise self._broken("its token is of another type than bearer")
        if isinstance(lifetime, str) and re.fullmatch(r"[0-9]{1,10}", lifetime):
            lifetime = int(lifetime)
        plain = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and _SHORTEST <= lifetime <= _LONGEST
        if lifetime is not None and not plain:
            raise self._broken("its expires_in is no time")
        scope = members.get("scope")
        issued_at = self._clock - self._clock % SECOND
        return Obtained(
            text=Secret(text), handle=None, subject=self.subject or request.subject, issued_at=issued_at,
            expires_at=issued_at + int(lifetime) * SECOND if isinstance(lifetime, int | float) else self._expiry(Secret(text)),
            scope=tuple(scope.split()) if isinstance(scope, str) else request.scope,
        )  # fmt: skip

    def _expiry(self, text: Secret) -> int | None:
        """Return when a token ends whose response does not say it, by introspection."""
        facts = self.ask(Reference(text=text))
        end = facts.members.get("exp") if facts is not None else None
        return int(end * SECOND) if isinstance(end, int | float) and not isinstance(end, bool) and 0 < end < 1 << 40 else None

    def ask(self, reference: Reference) -> Facts | None:
        if reference.text is None or "introspection" not in self.metadata.endpoints:
            return None
        answer = self._ask("introspection", {"token": _plain(reference.text), "token_type_hint": "access_token"}, repeatable=True)
        if answer.status == 400 and answer.refusal() == "unsupported_token_type":
            return None
        if answer.status != 200:
            raise self._refused(answer)
        members = answer.members()
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
        proof = client_auth.prove(
            self._credential, client_id=self._settings.client_id, method=self._settings.client_auth, audience=self.authority,
            now=self._clock,
        )  # fmt: skip
        return self._peer.ask("POST", url, repeatable=repeatable, form={**form, **proof.form}, headers=proof.headers)

    def _refused(self, answer: Answer) -> AccessDenied | InvalidRequest | PolicyDenied | ServerError:
        """Return the error for an answer that refuses. Source: RFC 6749 section 5.2; real servers add their own words."""
        error = answer.refusal()
        if answer.status in (401, 403) or error in _REFUSED_CLIENT:
            told = f": {error}" if error is not None else ""
            return AccessDenied(f"{self.authority} refuses the client{told}", hint="tokenctl login", reason="credential_refused")
        if error in ("invalid_scope", "scope_invalid", "invalid_target", "invalid_resource", "access_denied"):
            return PolicyDenied(f"{self.authority} refuses what is asked for: {error}", reason=error)
        if answer.status == 400 and error is not None:
            return InvalidRequest(f"{self.authority} refuses the request: {error}", reason=error)
        return ServerError(f"{self.authority} answered {answer.status}", reason="unexpected_status")

    def _broken(self, what: str) -> ServerError:
        return ServerError(f"{self.authority} broke its contract: {what}", reason="malformed_answer")


def _plain(text: Secret) -> str:
    return text.reveal().decode("utf-8", "replace")
