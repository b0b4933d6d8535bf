"""The ways in which a client of an authorization server comes to a fresh secret or key.

By default whatever answer is lost, the credential in use goes on: another client is registered, or a second key is published.
An update that changes the secret in its place (RFC 7592 section 2.2) has no such net, and is for who asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tokenctl.backends.oauth2.registration import Information, Registration, Unmanaged, unmanageable
from tokenctl.errors import AccessDenied, InvalidConfiguration, TokenctlError
from tokenctl.formats import client_key
from tokenctl.http.peer import Unanswered
from tokenctl.operators import Credential, Kept
from tokenctl.secret import Secret

Accepted = Callable[[Credential], bool]


class Parts(NamedTuple):
    """What every way needs.

    Attributes:
        accepts: Whether the server accepts a credential.
        initial: The initial access token for a registration.
    """

    authority: str
    registration: Registration
    accepts: Accepted
    initial: Secret | None = None


class _Managed:
    """What the ways share: the client manages itself."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._registration = parts.registration

    def check(self, credential: Credential) -> None:
        if credential.registration_uri is None or credential.registration_token is None:
            raise unmanageable(self._parts.authority)

    def accepted(self, credential: Credential) -> bool:
        return self._parts.accepts(credential)

    def _read(self, kept: Kept) -> Information:
        """Ask for the client's record; what manages it from now on is kept."""
        information = self._registration.read(kept.credential)
        self._keep_token(kept, information)
        return information

    def _keep_token(self, kept: Kept, information: Information) -> None:
        before, told = kept.credential, information.credential
        anew = before._replace(registration_token=told.registration_token, registration_uri=told.registration_uri)
        if before.fresh is not None and before.fresh.client_id == before.client_id:
            anew = anew._replace(
                fresh=before.fresh._replace(registration_token=told.registration_token, registration_uri=told.registration_uri)
            )
        if anew != before:
            kept.save(anew)


class AnotherClient(_Managed):
    """Another client with the same metadata takes the place of the client, which is deleted in the end."""

    way = "another_client"
    told = "register another client, and delete this one"

    def make(self, kept: Kept) -> None:
        if kept.credential.fresh is not None:
            self.discard(kept)
        metadata = self._read(kept).metadata
        made = self._registration.register(metadata, kept.credential, self._parts.initial)
        kept.save(kept.credential._replace(fresh=made.credential))

    def discard(self, kept: Kept) -> None:
        fresh = kept.credential.fresh
        kept.save(kept.credential._replace(fresh=None))
        if fresh is not None and fresh.registration_uri is not None:
            self._registration.delete(fresh)

    def retire(self, kept: Kept) -> str | None:
        former = kept.credential.former
        assert former is not None
        return self._registration.delete(former)


class SecondKey(_Managed):
    """The server is shown a second public key beside that in use, which is taken away in the end."""

    way = "second_key"
    told = "publish a second key for the client, and take the first away"

    def make(self, kept: Kept) -> None:
        fresh = kept.credential.fresh
        if fresh is None:
            # Kept before the server hears of it: whatever it does then, the key is here.
            fresh = kept.credential._replace(secret=client_key.successor(kept.credential.secret), former=None)
            kept.save(kept.credential._replace(fresh=fresh))
        metadata = self._read(kept).metadata
        if "jwks_uri" in metadata:
            self.discard(kept)
            raise InvalidConfiguration(
                f"{self._parts.authority} takes the keys of this client from its jwks_uri",
                hint="publish a new key there, then: tokenctl login -", reason="part_lacking",
            )  # fmt: skip
        self._publish(kept, metadata, [kept.credential, fresh])

    def discard(self, kept: Kept) -> None:
        kept.save(kept.credential._replace(fresh=None))

    def retire(self, kept: Kept) -> str | None:
        try:
            self._publish(kept, self._read(kept).metadata, [kept.credential])
        except Unmanaged as error:
            return error.message
        return None

    def _publish(self, kept: Kept, metadata: dict[str, object], credentials: list[Credential]) -> None:
        keys = [client_key.public_jwk(credential.secret) for credential in credentials]
        self._keep_token(kept, self._registration.update(kept.credential, metadata | {"jwks": {"keys": keys}}))


class InPlace(_Managed):
    """The client stays, and an update of its record (PUT) brings a fresh secret."""

    way = "in_place"
    told = "let the service replace the secret of the client; if its answer is lost, so may be the client"

    def make(self, kept: Kept) -> None:
        before = kept.credential
        if not self.accepted(before):
            self._recover(kept)
            return
        metadata = self._read(kept).metadata
        try:
            answered = self._registration.update(kept.credential, metadata)
        except Unanswered as error:
            if error.carried_out is False:
                raise
            if not self._told_anew(kept, error):
                raise
            return
        self._take(kept, answered)
        if kept.credential.fresh is None:
            raise InvalidConfiguration(
                f"{self._parts.authority} does not replace a secret by an update of its client",
                hint="leave --in-place out, or make a new secret at the service, then: tokenctl login -", reason="part_lacking",
            )  # fmt: skip

    def _take(self, kept: Kept, answered: Information) -> None:
        """Keep in one step what manages the client from now on, and the fresh secret, if there is one."""
        told, before = answered.credential, kept.credential
        anew = before._replace(registration_token=told.registration_token, registration_uri=told.registration_uri)
        if answered.secret_told and told.secret != before.secret:
            anew = anew._replace(fresh=told._replace(fresh=None, former=None))
        if anew != before:
            kept.save(anew)

    def _told_anew(self, kept: Kept, lost: Unanswered) -> bool:
        """After a lost answer, ask what the secret is now; return whether there is another one."""
        try:
            self._take(kept, self._registration.read(kept.credential))
        except TokenctlError:
            lost.message = f"{lost.message}: whether the secret was replaced is not known"
            lost.hint = "tokenctl login --rotate --in-place goes on"
            return False
        return kept.credential.fresh is not None

    def _recover(self, kept: Kept) -> None:
        """The secret is refused: an update was done whose answer was lost. The record may tell the one that counts."""
        stranded = AccessDenied(
            f"{self._parts.authority} refuses the client, and tells its secret no more",
            hint="let whoever runs the service give the client a new secret, then: tokenctl login -", reason="credential_refused",
        )  # fmt: skip
        try:
            self._take(kept, self._registration.read(kept.credential))
        except Unmanaged:
            raise stranded from None
        if kept.credential.fresh is None:
            raise stranded

    def discard(self, kept: Kept) -> None:
        """Keep both: which of them counts, the next run finds out."""

    def retire(self, kept: Kept) -> str | None:
        return None  # its place is taken
