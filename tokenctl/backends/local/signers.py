"""Signing JWTs: which key does, each opened once a change, the claims, and what can be foreseen of it.

The store's first key is made when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.backends.local import rotating, sealing
from tokenctl.backends.local.standing import require_all
from tokenctl.backends.local.view import Change, View
from tokenctl.config import Profile
from tokenctl.errors import Conflict, IntegrityError
from tokenctl.model.identifier import ID_LENGTH
from tokenctl.model.times import LAST_INSTANT, SECOND
from tokenctl.model.token import Key, Token, TokenRequest
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.formats.signing import SigningKey

DEFAULT_ALGORITHM = "ES256"
_SHORT = 8_000  # characters of a request that surely fit into a token, however they are escaped


def choose(active: Collection[str], algorithm: str | None) -> str:
    """Return the algorithm that signs, of those with an active key; raises Conflict where none does (exit 6)."""
    if algorithm is None:
        algorithm = DEFAULT_ALGORITHM if DEFAULT_ALGORITHM in active or len(active) != 1 else next(iter(active))
    if algorithm not in active:
        have = ", ".join(sorted(active)) or "none"
        raise Conflict(
            f"no active key for {algorithm}; active: {have}", reason="no_key",
            hint=f"publish one: tokenctl rotate-keys --algorithm {algorithm}; what is to come: tokenctl rotate-keys status",
        )  # fmt: skip
    return algorithm


def _header(profile: Profile, algorithm: str, kid: str) -> dict[str, object]:
    return {"alg": profile.eddsa_name if algorithm == "EdDSA" else algorithm, "kid": kid, "typ": "at+jwt"}


def _claims(request: TokenRequest, *, issuer: str, identifier: str, issued_at: int, expires_at: int) -> dict[str, object]:
    """Return the claims of an access token. Source: RFC 9068 section 2.2."""
    audience = sorted(set(request.audience))
    claims: dict[str, object] = {
        "iss": issuer, "sub": request.subject, "aud": audience[0] if len(audience) == 1 else audience,
        "exp": expires_at // SECOND, "iat": issued_at // SECOND, "jti": identifier, "client_id": request.subject,
    }  # fmt: skip
    if request.not_before is not None:
        claims["nbf"] = request.not_before // SECOND
    if request.scope:
        claims["scope"] = " ".join(sorted(set(request.scope)))
    return claims | dict(request.claims)


class Signer(NamedTuple):
    """An active key, opened."""

    key: Key
    private: SigningKey
    profile: Profile
    issuer: str

    def sign(self, token: Token, request: TokenRequest, *, leaf: int) -> tuple[Token, Secret]:
        """Return the token as a JWT, and its text."""
        from tokenctl.formats import jwt

        claims = _claims(request, issuer=self.issuer, identifier=token.id, issued_at=token.issued_at, expires_at=token.expires_at)
        header = _header(self.profile, self.key.alg, self.key.kid)
        return token._replace(issuer=self.issuer, kid=self.key.kid, leaf=leaf), Secret(jwt.encode(header, claims, self.private))


class Signers:
    """The keys of one change that sign, each opened when it is first needed.

    Args:
        publish: Puts the public keys where the profile says; called for a first key before anything is signed by it.
    """

    def __init__(self, change: Change, profile: Profile, publish: Callable[[View], None]) -> None:
        self._change = change
        self._profile = profile
        self._publish = publish
        self._opened: dict[str | None, Signer] = {}

    def of(self, algorithm: str | None) -> Signer:
        """Return the signer of an algorithm; raises Conflict where no key of it is active (exit 6)."""
        if algorithm not in self._opened:
            from tokenctl.formats import signing

            change, key = self._change, self._key(algorithm)
            assert key.sealed is not None
            private = sealing.unseal(change.keys, change.store_id, key.kid, key.alg, key.sealed)
            issuer = _issuer(self._profile, change.store_id)
            self._opened[algorithm] = Signer(key, signing.load(key.alg, private.reveal()), self._profile, issuer)
        return self._opened[algorithm]

    def _key(self, algorithm: str | None) -> Key:
        stored = self._change.rows.every_key()
        require_all(self._change, len(stored))
        if not stored:
            return self._first(algorithm or DEFAULT_ALGORITHM)
        active = {key.row.alg: key for key in stored if key.row.state == "active"}
        chosen = active[choose(active, algorithm)]
        if not chosen.intact or self._change.rows.newest_leaf(chosen.row.kid) != chosen.row.leaf:
            raise IntegrityError(f"the row of the key {chosen.row.kid} does not check out", hint="tokenctl audit verify")
        return chosen.row

    def _first(self, algorithm: str) -> Key:
        from tokenctl.formats import signing

        key = rotating.make_key(self._change, signing.generate(algorithm), "active")
        self._publish(self._change)
        return key


def _issuer(profile: Profile, store_id: str) -> str:
    return profile.issuer or f"urn:tokenctl:{store_id}"


class ForeseenKeys:
    """Whether JWTs could be signed, one after the other; nothing is made."""

    def __init__(self, view: View | None, profile: Profile) -> None:
        self._view = view
        self._profile = profile
        self._active: set[str] | None = None

    def require(self, request: TokenRequest) -> None:
        """Refuse what could not be signed.

        Raises:
            Conflict: no active key of that algorithm (exit 6).
            InvalidRequest: the JWT would be too long (exit 2).
        """
        if self._active is None:
            keys = self._view.rows.every_key() if self._view is not None else []
            if self._view is not None:
                require_all(self._view, len(keys))
            # The first JWT of a store makes its first key.
            first = {request.algorithm or DEFAULT_ALGORITHM}
            self._active = {key.row.alg for key in keys if key.row.state == "active"} if keys else first
        algorithm = choose(self._active, request.algorithm)
        texts = (request.subject, request.subject, *request.audience, *request.scope, self._profile.issuer or "")
        if sum(map(len, texts)) + len(str(request.claims)) > _SHORT:
            from tokenctl.formats import jwt

            unknown = "0" * ID_LENGTH
            issuer = _issuer(self._profile, unknown)
            claims = _claims(request, issuer=issuer, identifier=unknown, issued_at=LAST_INSTANT, expires_at=LAST_INSTANT)
            jwt.require_length(_header(self._profile, algorithm, unknown), claims, algorithm)
