"""The record of a client at its authorization server: made by RFC 7591, read, changed and deleted by RFC 7592.

The registration access token may be another one in every answer: whoever asks keeps it before anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tokenctl.errors import AccessDenied, InvalidConfiguration, InvalidRequest, ServerError
from tokenctl.http.peer import Answer, Peer, origin_of, require_header
from tokenctl.operators import Credential
from tokenctl.secret import Secret

# What no request may carry (RFC 7592 section 2.2), and what is the client's alone.
_NOT_SENT = (
    "registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at", "client_secret"
)  # fmt: skip
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_SECRET = re.compile(r"[\x20-\x7e]{1,65536}")  # VSCHAR (RFC 6749 appendix A)
_CLIENT = re.compile(r"[\x20-\x7e]{1,256}")


class Information(NamedTuple):
    """What a server answers of a client.

    Attributes:
        metadata: Of the client, without what belongs to nobody but itself.
        credential: The one that was asked with, with what the answer has anew: id, secret, how it manages itself.
        secret_told: Whether the answer has a secret.
    """

    metadata: dict[str, object]
    credential: Credential
    secret_told: bool


class Unmanaged(AccessDenied):
    """The server does not take the registration access token (exit 4)."""


class Registration:
    """Speaks of clients to one server.

    Args:
        endpoint: Where clients are registered; ``None`` where the server names none.
    """

    def __init__(self, peer: Peer, authority: str, endpoint: str | None) -> None:
        self._peer = peer
        self._authority = authority
        self.endpoint = endpoint

    def read(self, credential: Credential) -> Information:
        """Return what the server knows of a client (RFC 7592 section 2.1)."""
        return self._information(self._managed("GET", credential, None), credential)

    def update(self, credential: Credential, metadata: Mapping[str, object]) -> Information:
        """Replace the metadata of a client (RFC 7592 section 2.2)."""
        document = {**metadata, "client_id": credential.client_id}
        return self._information(self._managed("PUT", credential, document), credential)

    def delete(self, credential: Credential) -> str | None:
        """Delete a client (RFC 7592 section 2.3); return why it may still be there."""
        try:
            self._managed("DELETE", credential, None)
        except Unmanaged:
            return None  # as it is where the client is gone already; the proof that follows tells
        except InvalidConfiguration as error:
            return error.message
        return None

    def register(self, metadata: Mapping[str, object], before: Credential, initial: Secret | None) -> Information:
        """Make another client (RFC 7591 section 3).

        Args:
            initial: The initial access token, where the server wants one.
        """
        assert self.endpoint is not None
        headers = {} if initial is None else _bearer(initial, "the initial access token")
        document = {name: value for name, value in metadata.items() if name != "client_id"}
        answer = self._peer.ask("POST", self.endpoint, repeatable=False, document=document, headers=headers)
        if answer.status in (401, 403):
            told = "the initial access token" if initial is not None else "a registration without an initial access token"
            raise AccessDenied(
                f"{self._authority} refuses {told}", hint="tokenctl login --rotate - < FILE, which holds that token",
                reason="registration_refused",
            )  # fmt: skip
        if answer.status not in (200, 201):
            raise self._failed(answer, "register a client")
        fresh = Credential(method=before.method, secret=before.secret, origins=before.origins, source=before.source)
        information = self._information(answer, fresh)
        if not information.secret_told or information.credential.client_id == before.client_id:
            raise self._broken("it registers a client without a secret or an id of its own")
        return information

    def _managed(self, method: str, credential: Credential, document: Mapping[str, object] | None) -> Answer:
        uri, token = credential.registration_uri, credential.registration_token
        if uri is None or token is None:
            raise unmanageable(self._authority)
        answer = self._peer.ask(
            method, uri, repeatable=method != "PUT", document=document, headers=_bearer(token, "the registration access token")
        )  # fmt: skip
        if answer.status in (401, 404):
            raise Unmanaged(
                f"{self._authority} refuses the registration access token of the client",
                hint="let whoever runs the service give the client a new one, then: tokenctl login -",
                reason="registration_refused",
            )  # fmt: skip
        if answer.status not in (200, 204):
            raise self._failed(answer, {"GET": "read", "PUT": "change", "DELETE": "delete"}[method] + " its clients")
        return answer

    def _information(self, answer: Answer, before: Credential) -> Information:
        members = answer.members()
        client, secret = members.get("client_id", before.client_id), members.get("client_secret")
        token, uri = members.get("registration_access_token"), members.get("registration_client_uri")
        if not isinstance(client, str) or not _CLIENT.fullmatch(client):
            raise self._broken("it names no client_id")
        if before.client_id is not None and client != before.client_id:
            raise self._broken("it answers of another client")
        credential = before._replace(client_id=client)
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            credential = credential._replace(registration_token=Secret(token))
        if isinstance(uri, str) and self._is_ours(uri):
            credential = credential._replace(registration_uri=uri)
        told = before.method == "secret" and isinstance(secret, str) and _SECRET.fullmatch(secret) is not None
        if told:
            credential = credential._replace(secret=Secret(str(secret)))
        metadata = {name: value for name, value in members.items() if name not in _NOT_SENT and value is not None}
        return Information(metadata, credential, told)

    def _is_ours(self, uri: str) -> bool:
        """Whether a client may be managed there: the credential goes to confirmed origins alone."""
        try:
            return origin_of(uri) in self._peer.origins
        except InvalidRequest:
            return False

    def _failed(self, answer: Answer, what: str) -> InvalidConfiguration | ServerError:
        told = f": {answer.refusal()}" if answer.refusal() is not None else ""
        if answer.status in (400, 403, 405, 501):
            return InvalidConfiguration(f"{self._authority} does not let a client {what}{told}", reason="part_lacking")
        return ServerError(f"{self._authority} answered {answer.status}{told}", reason="unexpected_status")

    def _broken(self, what: str) -> ServerError:
        return ServerError(f"{self._authority} broke its contract: {what}", reason="malformed_answer")


def unmanageable(authority: str) -> InvalidConfiguration:
    """Return what is raised where a client does not manage itself (exit 9)."""
    return InvalidConfiguration(
        f"the credential for {authority} has no registration access token (RFC 7592): nothing was started",
        hint="make a new secret at the service, then: tokenctl login -", reason="part_lacking",
    )  # fmt: skip


def _bearer(token: Secret, what: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {require_header(token.reveal(), what)}"}
