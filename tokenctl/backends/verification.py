"""Judging a JWT by keys alone: form, signature and claims; what the authority knows of it comes on top."""

from collections.abc import Sequence
from typing import NamedTuple

from tokenctl.formats import jwt
from tokenctl.formats.jwk import KeySet
from tokenctl.model.checks import OWN_TYPE, Check, check_claims, findings
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.times import LAST_INSTANT, SECOND, format_duration

FOREIGN_LEEWAY = 60 * SECOND


class Judgement(NamedTuple):
    """What a JWT's own bytes say, and every check of them."""

    signature: str
    checks: list[Check]
    header: dict[str, object] | None = None
    claims: dict[str, object] | None = None
    findings: Sequence[tuple[str, str]] = ()

    @property
    def passed(self) -> bool:
        return self.signature == "valid" and all(check.ok is not False for check in self.checks)

    def answer(self, *, active: bool | None, state: str, extra: Sequence[Check] = ()) -> Introspection:
        return Introspection(
            active=active, state=state, checks=[*self.checks, *extra], signature=self.signature, header=self.header,
            claims=self.claims, findings=self.findings,
        )  # fmt: skip


def judge(text: str, keys: KeySet | None, expectations: Expectations, now: int, *, leeway: int, own: bool = False) -> Judgement:
    """Check everything that can be checked without the authority; every failed check is named.

    Args:
        text: Exactly the token.
        keys: The trusted keys; ``None`` leaves the signature unchecked, and the token unaccepted.
        now: Milliseconds since the epoch.
        leeway: Milliseconds of skew allowed.
        own: Whether our own rules for an access token hold (RFC 9068), or those for JWTs of others.
    """
    try:
        token = jwt.decode_unverified(text)
    except jwt.MalformedToken as error:
        return Judgement(signature="not_checked", checks=[Check(name="form", ok=False, detail=error.message)])
    result = jwt.verify_signature(token, keys)
    checks = [Check(name="form", ok=True), *result.checks]
    checks += check_claims(
        token.header, token.claims, now=now // SECOND, leeway=leeway // SECOND, issuer=expectations.issuer,
        audiences=expectations.audiences, any_audience=expectations.any_audience, scopes=expectations.scopes,
        ignore_binding=expectations.ignore_binding, expect_type=OWN_TYPE if own else None,
    )  # fmt: skip
    checks += _valid_for(token.claims or {}, expectations, now)
    found = [(finding.id, finding.text) for finding in findings(token.header, token.claims)]
    return Judgement(signature=result.verdict, checks=checks, header=token.header, claims=token.claims, findings=found)


def _valid_for(claims: dict[str, object], expectations: Expectations, now: int) -> list[Check]:
    if expectations.valid_for is None:
        return []
    expiry = claims.get("exp")
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        return [Check(name="valid_for", ok=False, detail="the token does not say when it expires")]
    left = int(min(max(expiry, 0), LAST_INSTANT // SECOND) * SECOND) - now
    ok = left >= expectations.valid_for
    return [Check(name="valid_for", ok=ok, detail=None if ok else f"only {format_duration(left)} left")]


def introspect_foreign(text: str, keys: KeySet | None, expectations: Expectations, now: int) -> Introspection:
    """Judge a JWT of another issuer by that issuer's keys; without keys it is only decoded, and not accepted."""
    leeway = FOREIGN_LEEWAY if expectations.leeway is None else expectations.leeway
    judgement = judge(text, keys, expectations, now, leeway=leeway)
    lacking = Check(name="issuer_keys", ok=False, detail="no key of its issuer: give --jwks, or let the profile trust it")
    extra = [] if keys is not None else [lacking]
    accepted = judgement.passed
    return judgement.answer(active=accepted, state="active" if accepted else "not_active", extra=extra)
