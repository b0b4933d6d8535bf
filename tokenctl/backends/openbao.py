"""OpenBao, and Vault, whose API it keeps: its token store behind the seam.

Source: the HTTP API, ``auth/token`` and ``auth/approle``. A token's accessor is its handle. An unknown or revoked token is
answered with 403, as one that this operator may not see: the two are told apart by what the operator may do itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from tokenctl.backends.remote.service import Denial, Facts, Identity, Obtained, Reference
from tokenctl.errors import AccessDenied, InvalidRequest, ServerError
from tokenctl.http.peer import Answer, Peer, Unanswered, require_header
from tokenctl.model.service import ServiceSettings
from tokenctl.model.times import SECOND
from tokenctl.model.token import TokenRequest
from tokenctl.operators import Credential
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.formats.jwk import KeySet

_ACCESSOR = re.compile(r"[A-Za-z0-9]{24}(?:\.[A-Za-z0-9]{1,64})?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKEN = re.compile(rb"[\x21-\x7e]{1,65536}")
_LONGEST_NAME = 128  # characters of a display name


class OpenBao:
    """One token store; see :class:`tokenctl.backends.remote.service.Service`.

    Args:
        address: Where it answers.
        credential: Finds the operator's; called when it is first needed.
        clock: Milliseconds since the epoch; the one reading of the command.
    """

    kind = "openbao"
    lacks = frozenset({"audience", "format", "kind", "claims", "not_before", "parent", "replaces", "exchange"})
    by_handle = True

    def __init__(
        self, peer: Peer, address: str, settings: ServiceSettings, credential: Callable[[], Credential], clock: int
    ) -> None:  # fmt: skip
        self.authority = address
        self._peer = peer
        self._base = address.rstrip("/")
        self._settings = settings
        self._find_credential = credential
        self._clock = clock

    @cached_property
    def _credential(self) -> Credential:
        return self._find_credential()

    def close(self) -> None:
        self._peer.close()

    @property
    def subject(self) -> str | None:
        return None

    def ready(self) -> None:
        self._credential  # noqa: B018  # looked for where it is not known yet

    def keys(self, *, kid: str | None = None, offline: bool = False) -> KeySet | None:
        return None

    # The operator

    @cached_property
    def _token(self) -> str:
        """The operator's token; an AppRole logs in for one that lives as long as this command needs it."""
        credential = self._credential
        if credential.method == "token":
            return require_header(credential.secret.reveal(), "the credential")
        if credential.method != "approle" or credential.role_id is None:
            raise AccessDenied(
                f"the credential from {credential.source} is no token and no AppRole",
                hint="tokenctl login, or tokenctl login --role-id ID", reason="credential_malformed",
            )  # fmt: skip
        answer = self._exchange(
            "POST", f"auth/{self._settings.approle_mount}/login", repeatable=True, token=None,
            document={"role_id": credential.role_id, "secret_id": credential.secret.reveal().decode("utf-8", "replace")},
        )  # fmt: skip
        if answer.status in (400, 403):
            raise AccessDenied(f"{self.authority} refuses the AppRole", hint="tokenctl login", reason="credential_refused")
        return require_header(_granted(answer).reveal(), "the answer of the service")

    @cached_property
    def operator(self) -> Facts:
        """What the service says of the operator's own token; raises AccessDenied where it does not accept it (exit 4)."""
        answer = self._exchange("GET", "auth/token/lookup-self", repeatable=True)
        if answer.status == 403:
            raise AccessDenied(f"{self.authority} refuses the credential", hint="tokenctl login", reason="credential_refused")
        return _facts(_data(answer))

    def own(self, handle: str) -> bool:
        return self.operator.handle == handle

    def whoami(self) -> Identity:
        members = self.operator.members
        end, policies = members.get("exp"), members.get("scope")
        return Identity(
            subject=str(members.get("sub") or self.operator.handle), scope=tuple(str(policies).split()) if policies else None,
            expires_at=end * SECOND if isinstance(end, int) else None,
        )  # fmt: skip

    def revoke_self(self) -> None:
        answer = self._exchange("POST", "auth/token/revoke-self", repeatable=True)
        if answer.status == 403:
            raise AccessDenied(f"{self.authority} refuses the credential", hint="tokenctl login", reason="credential_refused")

    # Tokens

    def obtain(self, request: TokenRequest, lifetime: int, named: str) -> Obtained:
        meta = dict(request.labels) | {"subject": request.subject, "owner": request.owner, "request_id": named}
        document: dict[str, object] = {
            "policies": sorted(request.scope) or ["default"], "no_default_policy": bool(request.scope),
            "ttl": f"{lifetime // SECOND}s", "explicit_max_ttl": f"{lifetime // SECOND}s", "renewable": False,
            "display_name": re.sub(r"[^A-Za-z0-9_-]", "-", request.subject)[:_LONGEST_NAME], "meta": _texts(meta, request.note),
        }  # fmt: skip
        if request.max_uses is not None:
            document["num_uses"] = request.max_uses
        answer = self._exchange("POST", "auth/token/create", repeatable=False, document=document)
        if answer.status == 403:
            raise self._forbidden("create tokens with these policies")
        if answer.status == 400:
            raise InvalidRequest(f"{self.authority} refuses the request: {_why(answer)}")
        auth = _member(answer, "auth")
        accessor, lease, policies = (
            auth.get("accessor"),
            auth.get("lease_duration"),
            auth.get("token_policies", auth.get("policies")),
        )
        if not isinstance(accessor, str) or not _ACCESSOR.fullmatch(accessor) or not isinstance(lease, int) or lease < 0:
            raise self._broken("it names no accessor or no lease")
        return Obtained(
            text=_granted(answer), handle=accessor, subject=request.subject, issued_at=self._clock,
            expires_at=self._clock - self._clock % SECOND + lease * SECOND if lease else None,
            scope=_granted_policies(policies, request),
        )  # fmt: skip

    def find(self, named: str, since: int) -> list[str] | None:
        answer = self._exchange("LIST", "auth/token/accessors", repeatable=True)
        if answer.status == 403:
            raise self._forbidden("list accessors")
        keys = _data(answer).get("keys") if answer.status == 200 else []
        found = []
        for accessor in keys if isinstance(keys, list) else []:
            if not isinstance(accessor, str) or not _ACCESSOR.fullmatch(accessor):
                continue
            looked = self._exchange("POST", "auth/token/lookup-accessor", repeatable=True, document={"accessor": accessor})
            meta = _data(looked).get("meta") if looked.status == 200 else None
            if isinstance(meta, dict) and meta.get("request_id") == named:
                found.append(accessor)
        return found

    def ask(self, reference: Reference) -> Facts | None:
        if reference.text is not None:
            path, document = "auth/token/lookup", {"token": _plain(reference.text)}
        else:
            path, document = "auth/token/lookup-accessor", {"accessor": reference.handle or ""}
        answer = self._exchange("POST", path, repeatable=True, document=document)
        if answer.status in (403, 404) or (answer.status == 400 and _unknown(answer)):
            self._require_sight(path, answer)
            return Facts(active=False, members={})
        return _facts(_data(answer))

    def deny(self, reference: Reference, *, keep_children: bool) -> Denial:
        if reference.text is not None:
            path = "auth/token/revoke-orphan" if keep_children else "auth/token/revoke"
            document = {"token": _plain(reference.text)}
        else:
            path, document = "auth/token/revoke-accessor", {"accessor": reference.handle or ""}
        answer = self._exchange("POST", path, repeatable=True, document=document)
        if answer.status == 403:
            self._require_sight(path, answer)
        if answer.status not in (200, 204):
            return Denial(done=False, detail=f"the service answered {answer.status}: {_why(answer)}")
        return Denial(done=True)

    def _require_sight(self, path: str, answer: Answer) -> None:
        """Refuse to take a 403 for an unknown token where it may mean that this operator is not allowed to ask (exit 4)."""
        if answer.status == 404 or _unknown(answer):
            return
        _ = self.operator  # refused itself: exit 4
        allowed = self._exchange("POST", "sys/capabilities-self", repeatable=True, document={"paths": [path]})
        listed = _data(allowed).get(path) if allowed.status == 200 else None
        if not isinstance(listed, list) or not {"update", "root", "sudo", "create"} & set(map(str, listed)):
            raise self._forbidden(f"use {path}")

    # Exchanges

    def _exchange(
        self, method: str, path: str, *, repeatable: bool, document: Mapping[str, object] | None = None, token: str | None = ""
    ) -> Answer:  # fmt: skip
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token or self._token
        if self._settings.namespace is not None:
            headers["X-Vault-Namespace"] = self._settings.namespace
        url = f"{self._base}/v1/{quote(path)}"
        try:
            answer = self._peer.ask(method, url, repeatable=repeatable, document=document, headers=headers)
        except Unanswered as error:
            if error.message.endswith("answered 503"):
                error.message += ": it is sealed, or has no active node"
            raise
        if answer.status >= 400 and answer.status not in (400, 403, 404):
            raise ServerError(f"{self.authority} answered {answer.status}: {_why(answer)}", reason="unexpected_status")
        return answer

    def _forbidden(self, what: str) -> AccessDenied:
        return AccessDenied(f"the credential may not {what} at {self.authority}", hint="ask for a policy that allows it",
                            reason="credential_lacks_rights")  # fmt: skip

    def _broken(self, what: str) -> ServerError:
        return ServerError(f"{self.authority} broke its contract: {what}", reason="malformed_answer")


def is_accessor(text: str) -> bool:
    """Whether a text has the form of an accessor."""
    return _ACCESSOR.fullmatch(text) is not None


def _member(answer: Answer, name: str) -> dict[str, object]:
    if answer.status != 200:
        raise ServerError(f"{answer.place} answered {answer.status} where {name} was expected", reason="unexpected_status")
    value = answer.members().get(name)
    if not isinstance(value, dict):
        raise ServerError(f"{answer.place} broke its contract: no {name} in its answer", reason="malformed_answer")
    return value


def _data(answer: Answer) -> dict[str, object]:
    return _member(answer, "data")


def _unknown(answer: Answer) -> bool:
    """Whether an answer says that there is no such token."""
    return "bad token" in _why(answer) or "invalid accessor" in _why(answer)


def _granted(answer: Answer) -> Secret:
    token = _member(answer, "auth").get("client_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.encode("utf-8")):
        raise ServerError(f"{answer.place} broke its contract: it grants no token", reason="malformed_answer")
    return Secret(token)


def _granted_policies(policies: object, request: TokenRequest) -> tuple[str, ...]:
    listed = tuple(str(policy) for policy in policies) if isinstance(policies, list) else ()
    return listed if request.scope else ()


def _why(answer: Answer) -> str:
    """Return the errors that an answer lists, of plain characters alone."""
    try:
        errors = answer.members().get("errors")
    except ServerError:
        return "an answer that is not understood"
    told = "; ".join(error for error in errors if isinstance(error, str)) if isinstance(errors, list) else ""
    return re.sub(r"[^\x20-\x7e]+", " ", told)[:200].strip() or "no reason given"


def _facts(data: Mapping[str, object]) -> Facts:
    """Return a lookup's answer by the names of RFC 7662."""
    accessor, written = data.get("accessor"), data.get("meta")
    meta = written if isinstance(written, dict) else {}
    policies = data.get("policies")
    told = {
        "sub": meta.get("subject") or data.get("entity_id") or data.get("display_name"), "username": meta.get("owner"),
        "scope": " ".join(map(str, policies)) if isinstance(policies, list) else None,
        "iat": data.get("creation_time"), "exp": _expiry(data), "jti": accessor,
    }  # fmt: skip
    members: dict[str, object] = {"active": True, "token_type": "bearer"}
    members |= {name: value for name, value in told.items() if value not in (None, "")}
    handle = accessor if isinstance(accessor, str) and _ACCESSOR.fullmatch(accessor) else None
    return Facts(active=True, members=members, handle=handle)


def _expiry(data: Mapping[str, object]) -> int | None:
    written = data.get("expire_time")
    if not isinstance(written, str):
        return None
    try:
        return int(datetime.fromisoformat(re.sub(r"\.[0-9]+", "", written)).timestamp())
    except (ValueError, OverflowError):
        return None


def _texts(meta: Mapping[str, str], note: str | None) -> dict[str, str]:
    return dict(meta) | ({"note": note} if note is not None else {})


def _plain(text: Secret) -> str:
    return text.reveal().decode("utf-8", "replace")
