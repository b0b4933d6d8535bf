"""The ways in which an operator of OpenBao comes to a fresh credential: another secret id of the AppRole, another token.

Source: the HTTP API, ``auth/approle`` and ``auth/token``. Each is made beside the one in use, which is destroyed in the end;
what that one has of policies, lifetime and bindings the fresh one has too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import quote

from tokenctl.backends.openbao.exchange import Exchanges
from tokenctl.errors import AccessDenied, InvalidConfiguration, ServerError, TokenctlError
from tokenctl.http.peer import Answer, require_header
from tokenctl.operators import Credential, Kept
from tokenctl.secret import Secret

_ROLE = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_SECRET_ID = re.compile(r"[\x21-\x7e]{1,4096}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_BOUND = ("cidr_list", "token_bound_cidrs", "metadata")  # of a secret id: what its successor must have too


class AnotherSecretId:
    """Another secret id of the same AppRole takes the place of the one in use, which is destroyed in the end."""

    way = "another_secret_id"
    told = "make another secret id of the AppRole, and destroy this one"

    def __init__(self, service: Exchanges) -> None:
        self._service = service
        self._mount = service.settings.approle_mount

    def check(self, credential: Credential) -> None:
        if credential.method != "approle" or credential.role_id is None:
            raise InvalidConfiguration("the credential is no AppRole's", hint="tokenctl login - --role-id ID < FILE")

    def make(self, kept: Kept) -> None:
        with self._logged_in(kept.credential) as (token, role):
            bound = self._bindings(token, role, kept.credential)
            answer = self._call(token, f"{role}/secret-id", bound, repeatable=False)
            self._require(answer, f"auth/{self._mount}/role/{role}/secret-id")
            made = _part(answer, "data").get("secret_id")
            if not isinstance(made, str) or not _SECRET_ID.fullmatch(made):
                raise _broken(self._service, "it makes no secret id")
            kept.save(kept.credential._replace(fresh=kept.credential._replace(secret=Secret(made), fresh=None)))

    def _bindings(self, token: str, role: str, credential: Credential) -> dict[str, object]:
        """Return what the secret id in use is bound to."""
        answer = self._call(token, f"{role}/secret-id/lookup", {"secret_id": _text(credential.secret)}, repeatable=True)
        self._require(answer, f"auth/{self._mount}/role/{role}/secret-id/lookup")
        data = _part(answer, "data")
        bound = {name: data[name] for name in _BOUND if data.get(name)}
        if isinstance(bound.get("metadata"), dict):
            import json

            bound["metadata"] = json.dumps(bound["metadata"])  # as this call alone takes it
        return bound

    def accepted(self, credential: Credential) -> bool:
        try:
            with self._logged_in(credential):
                return True
        except AccessDenied as error:
            if error.reason != "credential_refused":
                raise
            return False

    def discard(self, kept: Kept) -> None:
        kept.save(kept.credential._replace(fresh=None))

    def retire(self, kept: Kept) -> str | None:
        former = kept.credential.former
        assert former is not None
        with self._logged_in(kept.credential) as (token, role):
            return self._destroy(token, role, former)

    def _destroy(self, token: str, role: str, former: Credential) -> str | None:
        answer = self._call(token, f"{role}/secret-id/destroy", {"secret_id": _text(former.secret)}, repeatable=True)
        if answer.status == 403:
            return f"the credential may not use auth/{self._mount}/role/{role}/secret-id/destroy"
        return None  # an unknown one is gone already; the proof that follows tells

    def end(self, credential: Credential) -> str | None:
        """Destroy the secret id in use; return why it may still be accepted."""
        with self._logged_in(credential) as (token, role):
            return self._destroy(token, role, credential)

    @contextmanager
    def _logged_in(self, credential: Credential) -> Iterator[tuple[str, str]]:
        """Yield a token of the AppRole, revoked in the end, and the name of the role; raises where it is refused (exit 4)."""
        document = {"role_id": credential.role_id, "secret_id": _text(credential.secret)}
        answer = self._service.ask("POST", f"auth/{self._mount}/login", repeatable=False, document=document, anonymous=True)
        if answer.status in (400, 403):
            raise AccessDenied(
                f"{self._service.authority} refuses the AppRole", hint="tokenctl login", reason="credential_refused"
            )  # fmt: skip
        auth = _part(answer, "auth")
        token, told = auth.get("client_token"), auth.get("metadata")
        role = told.get("role_name") if isinstance(told, dict) else None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not isinstance(role, str) or not _ROLE.fullmatch(role):
            raise _broken(self._service, "its login grants no token, or names no role")
        try:
            yield token, role
        finally:
            with suppress(TokenctlError):  # it ends by itself too
                self._service.ask("POST", "auth/token/revoke-self", repeatable=True, token=token)

    def _call(self, token: str, path: str, document: Mapping[str, object], *, repeatable: bool) -> Answer:
        return self._service.ask(
            "POST", f"auth/{self._mount}/role/{path}", document=document, token=token, repeatable=repeatable
        )  # fmt: skip

    def _require(self, answer: Answer, path: str) -> None:
        if answer.status == 403:
            raise _lacking(self._service, path)


class AnotherToken:
    """Another token with the same policies takes the place of the one in use, which is revoked in the end.

    It is an orphan: as a child it would die with the one in use. What that one issued lives on.

    Args:
        issued: How many living tokens this profile knows of which the one in use is the parent, as far as that can be told.
    """

    way = "another_token"
    told = "make another token with the same policies, and revoke this one"

    def __init__(self, service: Exchanges, issued: Callable[[], int]) -> None:
        self._service = service
        self._issued = issued

    def check(self, credential: Credential) -> None:
        data = self._lookup(credential)
        if data is None:
            raise AccessDenied(
                f"{self._service.authority} refuses the credential", hint="tokenctl login", reason="credential_refused"
            )  # fmt: skip
        path, why = str(data.get("path")), None
        if data.get("type") != "service":
            why = "it is a batch token, which nothing revokes"
        elif not path.startswith("auth/token/") or data.get("identity_policies") or data.get("entity_id"):
            why = "it was made by a login elsewhere"
        elif data.get("num_uses") or data.get("bound_cidrs") or data.get("role"):
            why = "it has a role, a binding or a number of uses that no token made by it would have"
        if why is not None:
            raise InvalidConfiguration(
                f"{self._service.authority} makes no successor of this token: {why}",
                hint="make or log in for another one there, then: tokenctl login -", reason="part_lacking",
            )  # fmt: skip

    def make(self, kept: Kept) -> None:
        if kept.credential.fresh is not None:
            self.discard(kept)
        data = self._lookup(kept.credential) or {}
        answer = self._call(kept.credential, "auth/token/create-orphan", _same(data), repeatable=False)
        if answer.status == 403:
            raise _lacking(self._service, "auth/token/create-orphan")
        if answer.status == 400:
            raise InvalidConfiguration(
                f"{self._service.authority} makes no successor of this token",
                hint="make another one there, then: tokenctl login -", reason="part_lacking",
            )  # fmt: skip
        auth = _part(answer, "auth")
        token = auth.get("client_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _broken(self._service, "it grants no token")
        kept.save(kept.credential._replace(fresh=kept.credential._replace(secret=Secret(token), fresh=None)))
        if _texts(auth.get("token_policies")) != _texts(data.get("policies")):
            self.discard(kept)
            raise ServerError(
                f"{self._service.authority} makes a successor with other policies: the token before stays in use",
                hint="make another one there, then: tokenctl login -", reason="fresh_differs",
            )  # fmt: skip

    def accepted(self, credential: Credential) -> bool:
        return self._lookup(credential) is not None

    def discard(self, kept: Kept) -> None:
        fresh = kept.credential.fresh
        if fresh is not None:
            self._call(fresh, "auth/token/revoke-self", {}, repeatable=True)
        kept.save(kept.credential._replace(fresh=None))

    def retire(self, kept: Kept) -> str | None:
        former = kept.credential.former
        assert former is not None
        answer = self._call(kept.credential, "auth/token/revoke-orphan", {"token": _text(former.secret)}, repeatable=True)
        if answer.status != 403 or not self.accepted(former):
            return None
        issued = self._issued()
        if issued:
            return (
                f"what was issued through this profile may die with it (living: {issued:,}), and the credential may not use"
                " auth/token/revoke-orphan"
            )
        self._call(former, "auth/token/revoke-self", {}, repeatable=True)
        return None

    def _lookup(self, credential: Credential) -> dict[str, object] | None:
        """Return what the service knows of a token; ``None`` where it refuses it."""
        answer = self._call(credential, "auth/token/lookup-self", None, repeatable=True)
        return None if answer.status == 403 else _part(answer, "data")

    def _call(
        self, credential: Credential, path: str, document: Mapping[str, object] | None, *, repeatable: bool
    ) -> Answer:  # fmt: skip
        token = require_header(credential.secret.reveal(), "the credential")
        method = "GET" if document is None else "POST"
        return self._service.ask(method, path, document=document, token=token, repeatable=repeatable)


def _same(data: Mapping[str, object]) -> dict[str, object]:
    """Return the request for a token that has what another has."""
    policies = sorted(_texts(data.get("policies")))
    asked: dict[str, object] = {
        "policies": policies, "no_default_policy": "default" not in policies, "renewable": data.get("renewable") is True,
        "display_name": re.sub(r"[^A-Za-z0-9_-]", "-", str(data.get("display_name") or "")).removeprefix("token-"),
    }  # fmt: skip
    if isinstance(data.get("meta"), dict):
        asked["meta"] = data["meta"]
    for name, told in (("ttl", "creation_ttl"), ("explicit_max_ttl", "explicit_max_ttl"), ("period", "period")):
        seconds = data.get(told)
        if isinstance(seconds, int) and seconds > 0:
            asked[name] = f"{seconds}s"
    return asked


def _part(answer: Answer, name: str) -> dict[str, object]:
    value = answer.members().get(name) if answer.status == 200 else None
    if not isinstance(value, dict):
        raise ServerError(f"{answer.place} answered {answer.status} where {name} was expected", reason="unexpected_status")
    return value


def _texts(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _text(secret: Secret) -> str:
    return secret.reveal().decode("utf-8", "replace")


def _lacking(service: Exchanges, path: str) -> AccessDenied:
    return AccessDenied(
        f"the credential may not use {quote(path)} at {service.authority}: nothing was changed",
        hint="ask for a policy that allows it, or for another credential, then: tokenctl login -",
        reason="credential_lacks_rights",
    )  # fmt: skip


def _broken(service: Exchanges, what: str) -> ServerError:
    return ServerError(f"{service.authority} broke its contract: {what}", reason="malformed_answer")
