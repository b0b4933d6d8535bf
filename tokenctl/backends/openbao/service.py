"""OpenBao's token store behind the seam.

Source: the HTTP API, ``auth/token`` and ``auth/approle``. A token's accessor is its handle. An unknown or revoked token is
answered with 403, as one that this operator may not see: the two are told apart by what the operator may do itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tokenctl.backends.openbao import answers
from tokenctl.backends.openbao.exchange import Exchanges
from tokenctl.backends.remote.service import Denial, Facts, Identity, Obtained, Reference
from tokenctl.deadline import in_order
from tokenctl.errors import AccessDenied, InvalidRequest, Partial, ServerError, TokenctlError
from tokenctl.http.peer import PARALLEL, Answer, Peer
from tokenctl.model.service import ServiceSettings
from tokenctl.model.times import SECOND, format_instant
from tokenctl.model.token import TokenRequest
from tokenctl.operators import Credential
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.openbao.audit_hash import AuditDevices
    from tokenctl.formats.jwk import KeySet

_LONGEST_NAME = 128  # characters of a display name
_POLICY = re.compile(r"[\x21-\x7e]{1,256}")
_LAG = 1.0  # seconds that a node which lags is given
_CREATE, _CREATE_ORPHAN = "auth/token/create", "auth/token/create-orphan"
_MAY_CHANGE = frozenset({"create", "update", "sudo", "root"})


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
        self.exchanges = Exchanges(peer, address, settings, credential)
        self._clock = clock

    def close(self) -> None:
        self.exchanges.close()

    @property
    def subject(self) -> str | None:
        return None

    def ready(self, requests: Sequence[TokenRequest] = ()) -> None:
        self.exchanges.credential  # noqa: B018  # looked for where it is not known yet

    def keys(self, *, kid: str | None = None, offline: bool = False) -> KeySet | None:
        return None

    @cached_property
    def foreign_log(self) -> AuditDevices:
        from tokenctl.backends.openbao.audit_hash import AuditDevices

        return AuditDevices(self.exchanges)

    # The operator

    @cached_property
    def operator(self) -> Facts:
        """What the service says of the operator's own token; raises AccessDenied where it does not accept it (exit 4)."""
        answer = self.exchanges.ask("GET", "auth/token/lookup-self", repeatable=True)
        if answer.status == 403:
            raise self._refused()
        return answers.facts(answers.data(answer))

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
        if self.exchanges.credential.method == "approle":
            self._destroy_secret_id()
            return
        answer = self.exchanges.ask("POST", "auth/token/revoke-self", repeatable=True)
        if answer.status == 403:
            raise self._refused()
        self.exchanges.keep_login()  # it is gone

    def _destroy_secret_id(self) -> None:
        from tokenctl.backends.openbao.renewal import AnotherSecretId

        ending, credential = AnotherSecretId(self.exchanges), self.exchanges.credential
        why = ending.end(credential)
        if why is not None or ending.accepted(credential):
            raise Partial(
                f"{self.authority} may still accept the AppRole: {why or 'its secret id lives'}; nothing was forgotten",
                hint="destroy the secret id there, then: tokenctl logout", reason="still_active",
            )  # fmt: skip

    def _refused(self) -> AccessDenied:
        return AccessDenied(f"{self.authority} refuses the credential", hint="tokenctl login", reason="credential_refused")

    # Tokens

    def obtain(self, request: TokenRequest, lifetime: int, named: str) -> Obtained:
        answer, parent, told = self._create(_document(request, lifetime, named), lifetime)
        if answer.status in (400, 404):
            raise InvalidRequest(f"{self.authority} refuses the request: {answers.why(answer)}", reason="refused_by_service")
        auth = answers.member(answer, "auth")
        accessor, lease = answers.accessor_of(auth), answers.seconds(auth.get("lease_duration"))
        text = answers.granted(answer)
        policies = auth.get("token_policies", auth.get("policies", []))
        plain = isinstance(policies, list) and all(isinstance(name, str) and _POLICY.fullmatch(name) for name in policies)
        if accessor is None or lease is None or not plain:
            # What is not understood is not handed out, and not left behind either.
            try:
                fate = "was revoked" if self.deny(Reference(text=text), keep_children=False).done else "may still be accepted"
            except TokenctlError:
                fate = "may still be accepted"
            raise ServerError(
                f"{self.authority} broke its contract: it names no accessor, no lease or no policies; the token {fate}",
                reason="malformed_answer",
            )  # fmt: skip
        end = self._clock - self._clock % SECOND + lease * SECOND if lease else None
        if parent is not None and parent.members.get("exp") is not None:
            told += self._outlived(parent, end)
        if end is not None and lease * SECOND < lifetime:
            told += (f"the service cut the lifetime to {lease} s",)
        return Obtained(
            text=text, handle=accessor, subject=request.subject, issued_at=self._clock, expires_at=end,
            scope=_granted_policies(policies, request),
            parent=parent.handle if parent is not None else None, warnings=(*answers.warnings(answer), *told),
        )  # fmt: skip

    def _create(self, document: Mapping[str, object], lifetime: int) -> tuple[Answer, Facts | None, tuple[str, ...]]:
        """Ask for a token; return the answer, and the token that it dies with, where it is known.

        What an AppRole makes would die with its login: it is made an orphan, or where that is not allowed and the login
        lives as long, a child of it.
        """
        login = self.exchanges.login
        path = _CREATE if login is None else _CREATE_ORPHAN
        answer = self.exchanges.ask("POST", path, repeatable=False, document=document)
        if answer.status == 403 and login is not None:
            if login.lease and login.lease * SECOND < lifetime:
                raise self._forbidden(
                    f"use {_CREATE_ORPHAN}, and what it creates otherwise dies with the login of its AppRole in {login.lease} s"
                )  # fmt: skip
            answer = self.exchanges.ask("POST", _CREATE, repeatable=False, document=document)
            self.exchanges.keep_login()
        if answer.status == 403:
            raise self._forbidden("create tokens with these policies")
        if login is not None or answer.status != 200:
            return answer, None, ()
        try:
            return answer, self.operator, ()
        except TokenctlError:  # it may create, and not look at itself; what was created is not lost over that
            return answer, None, ("when the credential ends is not known, and the token dies with it",)

    def _outlived(self, parent: Facts, end: int | None) -> tuple[str, ...]:
        last = parent.members.get("exp")
        if not isinstance(last, int) or (end is not None and last * SECOND >= end):
            return ()
        return (f"it dies with the credential that made it, at {format_instant(last * SECOND)} unless that is renewed",)

    def find(self, named: str, since: int) -> list[str] | None:
        if not self.exchanges.catch_up():
            return None  # a node that lags may not list it
        answer = self.exchanges.ask("LIST", "auth/token/accessors", repeatable=True)
        if answer.status == 403:
            raise self._forbidden("list accessors (auth/token/accessors, with sudo)")
        keys = answers.data(answer).get("keys") if answer.status == 200 else []
        accessors = [key for key in keys if isinstance(key, str) and answers.is_accessor(key)] if isinstance(keys, list) else []

        def is_named(accessor: str) -> bool:
            looked = self._look_up(Reference(accessor))
            meta = answers.data(looked).get("meta") if looked.status == 200 else None
            return isinstance(meta, dict) and meta.get("request_id") == named

        return [accessor for accessor, hit in zip(accessors, in_order(is_named, accessors, PARALLEL), strict=True) if hit]

    def ask(self, reference: Reference) -> Facts | None:
        if reference.text is not None and not answers.may_be_token(reference.text):
            return Facts(active=False, members={})
        facts = self._asked(reference)
        if facts.active or self.exchanges.caught_up:
            return facts
        # A node that lags does not know a new token, and calls it what it calls a revoked one.
        sure = self.exchanges.catch_up()
        if not sure:
            time.sleep(_LAG)
        return self._asked(reference)._replace(sure=sure)

    def _asked(self, reference: Reference) -> Facts:
        answer = self._look_up(reference)
        if answer.status in (400, 403, 404):
            self._require_sight(_look_up_path(reference), answer)
            return Facts(active=False, members={})
        return answers.facts(answers.data(answer))

    def _look_up(self, reference: Reference) -> Answer:
        return self.exchanges.ask("POST", _look_up_path(reference), repeatable=True, document=_naming(reference))

    def deny(self, reference: Reference, *, keep_children: bool) -> Denial:
        self.exchanges.catch_up()  # a node that lags says that it revoked a new token, and does nothing
        path, sudo = "auth/token/revoke-accessor", False
        if reference.text is not None:
            path, sudo = ("auth/token/revoke-orphan", True) if keep_children else ("auth/token/revoke", False)
        answer = self.exchanges.ask("POST", path, repeatable=True, document=_naming(reference))
        if answer.status == 403 or (sudo and answer.status == 400 and "sudo" in answers.why(answer)):
            self._require_sight(path, answer, sudo=sudo)
        if answer.status >= 400:
            return Denial(done=False, detail=f"the service answered {answer.status}: {answers.why(answer)}")
        if answer.status == 200 and (told := answers.warnings(answer)):
            return Denial(done=False, detail=f"the service says: {'; '.join(told)}")
        return Denial(done=True)

    def _require_sight(self, path: str, answer: Answer, *, sudo: bool = False) -> None:
        """Refuse to take a refusal for an unknown token where it may mean that this operator is not allowed to ask (exit 4)."""
        if answers.knows_no_such_token(answer):
            return
        if answer.status == 400 and not sudo:
            raise ServerError(f"{self.authority} answered 400: {answers.why(answer)}", reason="unexpected_status")
        _ = self.operator  # refused itself: exit 4
        allowed = self.exchanges.ask("POST", "sys/capabilities-self", repeatable=True, document={"paths": [path]})
        listed = answers.data(allowed).get(path) if allowed.status == 200 else None
        held = set(map(str, listed)) if isinstance(listed, list) else set()
        if not held & _MAY_CHANGE or (sudo and not held & {"sudo", "root"}):
            raise self._forbidden(f"use {path}{' (which takes sudo)' if sudo else ''}")

    def _forbidden(self, what: str) -> AccessDenied:
        return AccessDenied(f"the credential may not {what} at {self.authority}", hint="ask for a policy that allows it",
                            reason="credential_lacks_rights")  # fmt: skip


def _document(request: TokenRequest, lifetime: int, named: str) -> dict[str, object]:
    """Return what is asked for; without a scope the policy ``default`` alone, for no policy at all means all the operator's."""
    meta = dict(request.labels) | {"subject": request.subject, "owner": request.owner, "request_id": named}
    document: dict[str, object] = {
        "policies": sorted(request.scope) or ["default"],
        "no_default_policy": bool(request.scope) and "default" not in request.scope,
        "ttl": f"{lifetime // SECOND}s", "explicit_max_ttl": f"{lifetime // SECOND}s", "renewable": False, "type": "service",
        "display_name": re.sub(r"[^A-Za-z0-9_-]", "-", request.subject)[:_LONGEST_NAME],
        "meta": meta | ({"note": request.note} if request.note is not None else {}),
    }  # fmt: skip
    if request.max_uses is not None:
        document["num_uses"] = request.max_uses
    return document


def _look_up_path(reference: Reference) -> str:
    return "auth/token/lookup-accessor" if reference.text is None else "auth/token/lookup"


def _naming(reference: Reference) -> dict[str, object]:
    return {"accessor": reference.handle or ""} if reference.text is None else {"token": _plain(reference.text)}


def _granted_policies(policies: object, request: TokenRequest) -> tuple[str, ...]:
    listed = tuple(str(policy) for policy in policies) if isinstance(policies, list) else ()
    return listed if request.scope else tuple(policy for policy in listed if policy != "default")


def _plain(text: Secret) -> str:
    return text.reveal().decode("utf-8", "replace")
