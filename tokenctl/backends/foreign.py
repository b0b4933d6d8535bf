"""JWTs of other issuers: verified by the keys of those that the profile trusts, and of nobody else."""

from __future__ import annotations

from typing import Protocol

from tokenctl.backends.verification import introspect_foreign
from tokenctl.config import Profile
from tokenctl.formats import jwt
from tokenctl.formats.jwk import KeySet
from tokenctl.model.checks import Check
from tokenctl.model.introspection import Expectations, Introspection


class IssuerKeys(Protocol):
    """Returns the keys of an issuer that is trusted; ``None`` where nothing is known of them and nobody may be asked."""

    def __call__(self, issuer: str, *, kid: str | None, offline: bool) -> KeySet | None: ...


def introspect(
    profile: Profile, keys_of: IssuerKeys | None, text: str, expectations: Expectations, now: int
) -> Introspection:  # fmt: skip
    """Judge a JWT by the keys of its issuer, where that is trusted; else it is decoded, and not accepted.

    Raises:
        Unanswered: the issuer is out of reach (exit 7); ServerError: it breaks its contract (exit 8).
    """
    try:
        token = jwt.decode_unverified(text)
    except jwt.MalformedToken:
        return introspect_foreign(text, None, expectations, now)
    issuer, kid = (token.claims or {}).get("iss"), token.header.get("kid")
    if keys_of is None or not isinstance(issuer, str) or issuer not in {trusted.issuer for trusted in profile.trusted}:
        return introspect_foreign(text, None, expectations, now)
    keys = keys_of(issuer, kid=kid if isinstance(kid, str) else None, offline=expectations.offline)
    answer = introspect_foreign(text, keys, expectations, now)
    trust = Check(name="trust", ok=True, detail=f"the profile trusts {issuer}")
    unasked = Check(name="state", ok=None, detail="not asked: whether its issuer has revoked it")
    return answer._replace(checks=[*answer.checks, trust, unasked])
