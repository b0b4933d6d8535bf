"""The audit devices of OpenBao: under which hash each of them logs a value.

Source: the HTTP API, ``sys/audit`` and ``sys/audit-hash``. A device logs secrets as an HMAC under a key of its own.
"""

from __future__ import annotations

import re

from tokenctl.backends.openbao import answers
from tokenctl.backends.openbao.exchange import Exchanges
from tokenctl.errors import AccessDenied, ServerError
from tokenctl.secret import Secret

_DEVICE = re.compile(r"[A-Za-z0-9_.~-][A-Za-z0-9_./~-]{0,255}")
_HASH = re.compile(r"hmac-[a-z0-9]{1,16}:[0-9a-f]{32,128}")


class AuditDevices:
    """The devices that one server logs to; see :class:`tokenctl.backends.parts.ForeignLog`."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._known: list[str] | None = None

    def marks(self, presented: Secret) -> list[tuple[str, str]]:
        if not answers.may_be_token(presented):
            return []
        return [(device, self._mark(device, presented)) for device in self._devices()]

    def _devices(self) -> list[str]:
        """Return the paths of the devices; raises AccessDenied where this operator may not list them (exit 4)."""
        if self._known is None:
            answer = self._exchanges.ask("GET", "sys/audit", repeatable=True)
            if answer.status != 200:
                raise self._forbidden("sys/audit (which takes sudo)")
            named = answer.members().get("data")
            paths = named if isinstance(named, dict) else {}
            self._known = sorted(path for path in paths if _DEVICE.fullmatch(path) and ".." not in path.split("/"))
        return self._known

    def _mark(self, device: str, presented: Secret) -> str:
        value = presented.reveal().decode("ascii")
        answer = self._exchanges.ask(
            "POST", f"sys/audit-hash/{device.rstrip('/')}", repeatable=True, document={"input": value}
        )  # fmt: skip
        if answer.status != 200:
            raise self._forbidden(f"sys/audit-hash/{device.rstrip('/')}")
        told = answers.data(answer).get("hash")
        if not isinstance(told, str) or not _HASH.fullmatch(told):
            raise ServerError(f"{self._exchanges.authority} broke its contract: it tells no hash", reason="malformed_answer")
        return told

    def _forbidden(self, path: str) -> AccessDenied:
        return AccessDenied(
            f"the credential may not use {path} at {self._exchanges.authority}", hint="ask for a policy that allows it",
            reason="credential_lacks_rights",
        )  # fmt: skip
