"""One exchange with OpenBao: who asks, in which namespace, and how new the state has to be that answers.

A node that is not the active one answers from its own copy, which may lag. Every answer names the state that it was given in
(``X-Vault-Index``); whoever names it again with ``X-Vault-Inconsistent: forward-active-node`` is answered from no older one.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import cached_property
from threading import RLock
from typing import NamedTuple
from urllib.parse import quote

from tokenctl.backends.openbao import answers
from tokenctl.errors import AccessDenied, ServerError, TokenctlError
from tokenctl.http.peer import Answer, Peer, Unanswered, require_header
from tokenctl.model.service import ServiceSettings
from tokenctl.operators import Credential

_INDEX = re.compile(r"[A-Za-z0-9+/=_-]{1,1024}")
_PLACE_OF_NOTHING = "cubbyhole/tokenctl"  # of the operator's own; nothing is ever there
_EXPECTED = (400, 403, 404)  # errors that a caller tells apart


class Login(NamedTuple):
    """A token that an AppRole was given for this command; ``lease``: seconds, 0 for no end."""

    token: str
    lease: int


class Exchanges:
    """What is sent to one OpenBao, with the operator's token.

    Args:
        address: Where it answers.
        credential: Finds the operator's; called when it is first needed.
    """

    def __init__(self, peer: Peer, address: str, settings: ServiceSettings, credential: Callable[[], Credential]) -> None:
        self.authority = address
        self.settings = settings
        self._peer = peer
        self._base = address.rstrip("/")
        self._find_credential = credential
        self._lock = RLock()  # several threads revoke, and one of them logs in
        self._login: Login | None = None
        self._in_use = self._lost = False
        self._index: str | None = None
        self._caught_up: bool | None = None

    # The operator

    @cached_property
    def credential(self) -> Credential:
        return self._find_credential()

    @property
    def login(self) -> Login | None:
        """What an AppRole was given; ``None`` for an operator with a token."""
        _ = self.token
        return self._login

    @property
    def token(self) -> str:
        """The operator's token; an AppRole logs in for one that lives no longer than the command needs it."""
        with self._lock:
            if self._login is not None:
                return self._login.token
            credential = self.credential
            if credential.method == "token":
                return require_header(credential.secret.reveal(), "the credential")
            if credential.method != "approle" or credential.role_id is None:
                raise AccessDenied(
                    f"the credential from {credential.source} is no token and no AppRole",
                    hint="tokenctl login, or tokenctl login --role-id ID", reason="credential_malformed",
                )  # fmt: skip
            self._login = self._log_in(credential.role_id, credential)
            return self._login.token

    def _log_in(self, role: str, credential: Credential) -> Login:
        # Not repeatable: a secret id may be good for one login.
        answer = self.ask(
            "POST", f"auth/{self.settings.approle_mount}/login", repeatable=False, anonymous=True,
            document={"role_id": role, "secret_id": credential.secret.reveal().decode("utf-8", "replace")},
        )  # fmt: skip
        if answer.status in (400, 403):
            raise AccessDenied(f"{self.authority} refuses the AppRole", hint="tokenctl login", reason="credential_refused")
        if answer.status == 404:
            raise AccessDenied(
                f"{self.authority} has no AppRole at auth/{self.settings.approle_mount}",
                hint="approle_mount, in the profile's table [service]", reason="credential_refused",
            )  # fmt: skip
        token = require_header(answers.granted(answer).reveal(), "the answer of the service")
        return Login(token, answers.seconds(answers.member(answer, "auth").get("lease_duration")) or 0)

    def keep_login(self) -> None:
        """Leave what an AppRole was given to its own end: what was made with it lives no longer."""
        self._in_use = True

    def close(self) -> None:
        """End what an AppRole was given for this command."""
        try:
            if self._login is not None and not self._in_use and not self._lost:
                self.ask("POST", "auth/token/revoke-self", repeatable=False)
        except TokenctlError:
            pass  # it ends by itself; what the command was for is done and told
        finally:
            self._peer.close()

    # The state that answers

    def catch_up(self) -> bool:
        """Make every later answer one of a state no older than the active node's is now.

        Returns:
            ``False`` where the operator may not do what that takes, at a cluster whose other nodes answer themselves.
        """
        with self._lock:
            if self._caught_up is None:
                # A write, which only the active node can do, and which changes nothing.
                answer = self.ask("DELETE", _PLACE_OF_NOTHING, repeatable=True)
                self._caught_up = answer.status < 300 or not self._is_cluster()
            return self._caught_up

    def _is_cluster(self) -> bool:
        answer = self.ask("GET", "sys/leader", repeatable=True, anonymous=True)
        return answer.status != 200 or answer.members().get("ha_enabled") is not False

    @property
    def caught_up(self) -> bool:
        return self._caught_up is True

    def _note(self, answer: Answer) -> None:
        told = answer.headers.get("x-vault-index", "")
        if not _INDEX.fullmatch(told):
            return
        with self._lock:
            if self._index is None or _newer(told, self._index):
                self._index = told

    # Exchanges

    def ask(
        self, method: str, path: str, *, repeatable: bool, document: Mapping[str, object] | None = None, anonymous: bool = False,
        token: str | None = None,
    ) -> Answer:  # fmt: skip
        """Exchange one request for an answer: of success, 400, 403 or 404.

        Args:
            anonymous: Without a token.
            token: Another than the operator's.

        Raises:
            Unanswered: not reached, sealed, without a leader, or busy (exit 7); ServerError: any other status (exit 8).
        """
        headers = {"X-Vault-Request": "true"}
        if not anonymous:
            headers["X-Vault-Token"] = token if token is not None else self.token
        if self.settings.namespace is not None:
            headers["X-Vault-Namespace"] = self.settings.namespace
        if self._index is not None:
            headers |= {"X-Vault-Index": self._index, "X-Vault-Inconsistent": "forward-active-node"}
        url = f"{self._base}/v1/{quote(path)}"
        try:
            answer = self._peer.ask(method, url, repeatable=repeatable, document=document, headers=headers)
        except Unanswered as error:
            self._lost = True  # nobody waits for it at the end once more
            if b"sealed" in error.body:  # so says the server itself, which did nothing
                error.carried_out = False
            if error.message.endswith("answered 503"):
                error.message += self._seal()
            raise
        except ServerError as error:
            if error.reason != "redirected":
                raise
            raise Unanswered(
                f"{self.authority} is not the active node and does not reach it: where it redirects to is not asked",
                carried_out=False, hint="run again later, or name another node",
            ) from None  # fmt: skip
        if answer.status >= 400 and answer.status not in _EXPECTED:
            raise ServerError(
                f"{self.authority} answered {answer.status}: {answers.why(answer)}", reason="unexpected_status"
            )  # fmt: skip
        self._note(answer)
        return answer

    def _seal(self) -> str:
        """Say why it does nothing, as far as it tells that anybody."""
        try:
            status = self._peer.ask("GET", f"{self._base}/v1/sys/seal-status", repeatable=False).members()
        except TokenctlError:
            return ""
        if status.get("sealed") is True:
            return ": it is sealed"
        return ": it has no active node" if status.get("sealed") is False else ""


def _newer(index: str, known: str) -> bool:
    """Whether a state is newer than another one, or cannot be compared with it."""
    try:
        one, other = (json.loads(b64decode(text, validate=True)) for text in (index, known))
        return bool(one["cluster"] != other["cluster"] or int(one["value"]) > int(other["value"]))
    except (ValueError, KeyError, TypeError):
        return True
