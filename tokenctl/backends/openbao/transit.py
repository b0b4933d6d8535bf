"""The signing keys of OpenBao's transit engine behind ``rotate-keys``.

Source: the HTTP API, ``transit/keys``. A key there has versions; the newest signs, and those from ``min_decryption_version`` on
are verified. So a version is ``active`` or ``retiring``, and ``NAME.vN`` is its kid; a retired one is shown no more. What it
signed is in no record, here or there: nobody counts its tokens, and none is retired by itself.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from tokenctl.backends.local.journal import Journal
from tokenctl.backends.openbao import answers
from tokenctl.backends.openbao.exchange import Exchanges
from tokenctl.backends.remote import ledger
from tokenctl.config import Profile
from tokenctl.errors import AccessDenied, Conflict, InvalidConfiguration, NotFound, ServerError, TokenctlError
from tokenctl.formats.jwk import encode_base64url
from tokenctl.http.peer import Answer, Unanswered
from tokenctl.model.identifier import new_id
from tokenctl.model.rotation import Outlook, Rotation, Step, Wish
from tokenctl.model.times import SECOND
from tokenctl.model.token import Key

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ALGORITHMS = {
    "ecdsa-p256": ("ES256",), "ecdsa-p384": ("ES384",), "ecdsa-p521": ("ES512",), "ed25519": ("EdDSA", "Ed25519"),
    "rsa-2048": ("PS256", "RS256"), "rsa-3072": ("PS256", "RS256"), "rsa-4096": ("PS256", "RS256"),
}  # fmt: skip  # the first is what it signs with unless it is told otherwise


class Version(NamedTuple):
    """One version of a key; ``created_at`` and ``stopped_at`` in milliseconds UTC, ``stopped_at`` ``None`` of the newest."""

    name: str
    number: int
    kind: str
    jwk: dict[str, str]
    created_at: int
    stopped_at: int | None

    @property
    def kid(self) -> str:
        return f"{self.name}.v{self.number}"

    @property
    def alg(self) -> str:
        return _ALGORITHMS[self.kind][0]


class TransitKeys:
    """The keys of one mount; the contract is :class:`tokenctl.backends.parts.SigningKeys`.

    Args:
        exchanges: Returns what speaks to the server.
    """

    publishes = False

    def __init__(self, journal: Journal, profile: Profile, place: str, exchanges: Callable[[], Exchanges]) -> None:
        self._journal = journal
        self._profile = profile
        self._place = place
        self._mount = str(profile.service.transit_mount)
        self._connect = exchanges
        self._renewed: set[str] = set()  # by this command

    @property
    def rotation(self) -> Rotation:
        return self._profile.rotation

    def keys(self) -> list[tuple[Key, int | None]]:
        return [
            (
                Key(
                    kid=version.kid, alg=version.alg, state="active" if version.stopped_at is None else "retiring",
                    public=json.dumps(version.jwk, sort_keys=True), sealed=None, kek_version=0, created_at=version.created_at,
                    activated_at=version.created_at, retiring_at=version.stopped_at,
                ),
                None,
            )
            for version in self._versions()
        ]  # fmt: skip

    def jwks(self) -> dict[str, object]:
        """Return the keys; of RSA ones the signer chooses the algorithm, so none is named."""
        return {
            "keys": [
                {**version.jwk, "kid": version.kid, "use": "sig"} | ({} if version.jwk["kty"] == "RSA" else {"alg": version.alg})
                for version in self._versions()
            ]
        }

    def last_expiry(self, kid: str) -> int | None:
        return None

    # Steps

    def outlook(self, wish: Wish) -> Outlook:
        now = self._journal.time()
        return Outlook(self._plan(wish), now)

    def _plan(self, wish: Wish) -> list[Step]:
        age = self.rotation.age if wish.older_than is None else wish.older_than
        newest = [version for version in self._versions() if version.stopped_at is None]
        chosen = [version for version in newest if wish.algorithm is None or wish.algorithm in _ALGORITHMS[version.kind]]
        if wish.algorithm is not None and not chosen:
            raise InvalidConfiguration(
                f"{self._shown} has no key that signs {wish.algorithm}, and a first one is made there",
                hint=f"bao write -f {self._mount}/keys/NAME type=TYPE", reason="part_lacking",
            )  # fmt: skip
        steps = [Step("renew", version.kid, version.alg, version.created_at + age) for version in chosen
                 if version.name not in self._renewed]  # fmt: skip
        return sorted(steps, key=lambda step: (step.at, step.kid or ""))

    def advance(self, step: Step, wish: Wish) -> list[Step]:
        now = self._journal.time()
        if not any(due.kid == step.kid and due.at <= now for due in self._plan(wish)):
            return []
        version = self._named(str(step.kid))
        following = f"{version.name}.v{version.number + 1}"
        self._renewed.add(version.name)  # once, whatever is known of it afterwards
        self._change("rotate_key", following, f"{version.name}/rotate", None)
        return [Step("activate", following, version.alg, now), Step("retiring", version.kid, version.alg, now)]

    def retire(self, kid: str) -> list[Step]:
        version = self._named(kid)
        if version.stopped_at is None:
            raise Conflict(
                f"{kid} is the version that signs", reason="key_active",
                hint=f"let another one sign: tokenctl rotate-keys --algorithm {version.alg} --if-older-than 0s",
            )  # fmt: skip
        older = [other.kid for other in self._versions() if other.name == version.name and other.number < version.number]
        if older:
            raise Conflict(
                f"{kid} is retired after {', '.join(older)}", hint=f"tokenctl rotate-keys retire {older[0]}", reason="key_needed"
            )
        least = version.number + 1
        self._change(
            "retire_key", kid, f"{version.name}/config", {"min_decryption_version": least, "min_encryption_version": least}
        )  # fmt: skip
        try:
            self._change("destroy_key", kid, f"{version.name}/trim", {"min_available_version": least})
        except AccessDenied as error:
            error.message = f"{kid} is verified no more, but its private part is not destroyed: {error.message}"
            raise
        return [Step("retire", kid, version.alg, self._journal.time())]

    def mend(self) -> list[Step]:
        return []

    def roll_back(self, algorithm: str | None) -> NoReturn:
        raise self._lacks("goes back to no version", "let a new one sign: tokenctl rotate-keys --if-older-than 0s")

    def compromise(self, kid: str) -> NoReturn:
        self._lack_account(kid)

    def toll(self, kid: str) -> NoReturn:
        self._lack_account(kid)

    def _lack_account(self, kid: str) -> NoReturn:
        version = self._named(kid)
        first = f"tokenctl rotate-keys --algorithm {version.alg} --if-older-than 0s; then: "
        raise self._lacks(
            "keeps no account of what a key signed",
            f"{first if version.stopped_at is None else ''}tokenctl rotate-keys retire {kid}",
        )  # fmt: skip

    def _lacks(self, what: str, hint: str) -> InvalidConfiguration:
        return InvalidConfiguration(f"{self._shown} {what}", hint=hint, reason="part_lacking")

    # Exchanges

    @property
    def _shown(self) -> str:
        return f"profile {self._profile.name} ({self._place}, {self._mount})"

    def _named(self, kid: str) -> Version:
        found = next((version for version in self._versions() if version.kid == kid), None)
        if found is None:
            raise NotFound(f"no key {kid} in {self._shown}", hint="tokenctl rotate-keys status")
        return found

    def _versions(self) -> list[Version]:
        """Return the versions of every key that signs, by name and number; the server is asked each time."""
        answer = self._connect().ask("LIST", f"{self._mount}/keys", repeatable=True)
        if answer.status == 404 and "no handler" in answers.why(answer):
            raise InvalidConfiguration(f"{self._shown} is no transit engine", hint="transit_mount, in its table [service]")
        if answer.status == 404:
            return []
        self._require(answer, f"list {self._mount}/keys")
        names = answers.data(answer).get("keys")
        found: list[Version] = []
        for name in names if isinstance(names, list) else []:
            if isinstance(name, str) and _NAME.fullmatch(name):
                told = self._connect().ask("GET", f"{self._mount}/keys/{name}", repeatable=True)
                if told.status != 404:  # deleted meanwhile
                    self._require(told, f"read {self._mount}/keys/{name}")
                    found += _versions_of(name, answers.data(told))
        return found

    def _change(self, what: str, kid: str, path: str, document: dict[str, object] | None) -> None:
        """Change a key, with an intent before and an outcome after it."""
        request = new_id(self._journal.time())
        with self._journal.changing(create=True, trusted=True) as change:
            assert change is not None
            ledger.intend(change, what, target=kid, request_id=request)
        outcome = "failed"
        try:
            answer = self._connect().ask("POST", f"{self._mount}/keys/{path}", repeatable=False, document=document)
            self._require(answer, f"change {self._mount}/keys/{path}")
            outcome = "done"
        except TokenctlError as error:
            if isinstance(error, Unanswered) and error.carried_out is None:
                outcome = "unknown"
                error.message += ": whether it was done is not known"
                error.hint = "tokenctl rotate-keys status tells; tokenctl audit reconcile records it"
            raise
        finally:
            with self._journal.changing() as change:
                assert change is not None
                ledger.conclude(change, what, outcome, target=kid, request_id=request)

    def _require(self, answer: Answer, what: str) -> None:
        if answer.status == 403:
            raise AccessDenied(f"the credential may not {what} at {self._connect().authority}",
                               hint="ask for a policy that allows it", reason="credential_lacks_rights")  # fmt: skip
        if answer.status >= 400:
            raise ServerError(
                f"{self._connect().authority} answered {answer.status}: {answers.why(answer)}", reason="unexpected_status"
            )  # fmt: skip


def _versions_of(name: str, told: dict[str, object]) -> list[Version]:
    """Return the versions of a key; none of one that signs no JWT, or has a public key for each context."""
    kind, listed, newest = str(told.get("type")), told.get("keys"), told.get("latest_version")
    if kind not in _ALGORITHMS or told.get("derived") is True or not isinstance(listed, dict):
        return []
    read: dict[int, tuple[dict[str, str], int]] = {}
    for number, facts in listed.items():
        created = answers.instant(facts.get("creation_time")) if isinstance(facts, dict) else None
        public = facts.get("public_key") if isinstance(facts, dict) else None
        if not re.fullmatch(r"[1-9][0-9]{0,8}", str(number)) or created is None or not isinstance(public, str):
            raise ServerError(f"transit key {name} is not what its interface says", reason="malformed_answer")
        read[int(number)] = (_jwk(name, kind, public), int(created * SECOND))
    return [
        Version(name, number, kind, jwk, created, None if number == newest else read.get(number + 1, (jwk, created))[1])
        for number, (jwk, created) in sorted(read.items())
    ]


def _jwk(name: str, kind: str, public: str) -> dict[str, str]:
    from tokenctl.formats.pem import public_members

    try:
        if kind == "ed25519":
            return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(b64decode(public, validate=True))}
        return public_members(public)
    except (TokenctlError, binascii.Error):
        raise ServerError(f"transit key {name} shows no public key of its type", reason="malformed_answer") from None
