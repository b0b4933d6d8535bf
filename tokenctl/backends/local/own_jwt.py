"""JWTs under the keys of the store: verified by the published part, then looked up by their id."""

from __future__ import annotations

import json

from tokenctl.backends.local.introspecting import conclude, lifetime_check, state_checks
from tokenctl.backends.local.standing import look, require_intact
from tokenctl.backends.local.view import View
from tokenctl.backends.verification import Judgement, introspect_foreign, judge
from tokenctl.formats import jwt
from tokenctl.formats.jwk import KeySet, read_key_set
from tokenctl.model.checks import Check
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.token import Key


def introspect(
    view: View | None, text: str, expectations: Expectations, now: int, *, count_children: bool = True
) -> Introspection:
    """Judge a JWT: ours by key, issuer, claims and state; any other is decoded, and not accepted."""
    key = _signer(view, text)
    if view is None or key is None:
        return introspect_foreign(text, None, expectations, now)
    judgement = judge(text, _key_set(key), expectations, now, leeway=0, own=True)
    claims = judgement.claims or {}
    if expectations.offline:
        passed = judgement.passed
        extra = [Check(name="state", ok=None, detail="not asked: --offline")]
        return judgement.answer(active=None if passed else False, state="not_checked", extra=extra)
    if judgement.signature != "valid":
        return judgement.answer(active=False, state="unknown")
    identifier = claims.get("jti")
    stored = view.rows.token(identifier) if isinstance(identifier, str) else None
    if stored is None or stored.row.kid != key.kid or stored.row.issuer != claims.get("iss"):
        unknown = Check(name="known", ok=False, detail="signed by our key, but never issued by this profile")
        return judgement.answer(active=False, state="unknown", extra=[unknown])
    found = look(view, stored, count_children=count_children)
    if found.token.grace_until is not None:  # its claims say when it expires, not that it is replaced
        kept = [check for check in judgement.checks if check.name != "valid_for"]
        judgement = judgement._replace(checks=[*kept, *lifetime_check(found.token.ends_at, expectations, now)])
    checks = [*judgement.checks, Check(name="known", ok=True), *_merged_state(judgement, state_checks(found))]
    return conclude(
        view, found, checks, signature=judgement.signature, header=judgement.header, claims=judgement.claims,
        findings=judgement.findings,
    )  # fmt: skip


def is_foreign(view: View | None, text: str) -> bool:
    """Whether a JWT names none of our keys."""
    return _signer(view, text) is None


def _merged_state(judgement: Judgement, checks: list[Check]) -> list[Check]:
    """Time was judged by the claims already; say it once."""
    judged = {check.name for check in judgement.checks}
    return [check for check in checks if check.name not in judged]


def prove(view: View | None, text: str) -> str | None:
    """Return the id of a JWT whose signature holds under one of our keys, retired ones included, and whose issuer is ours."""
    key = _signer(view, text)
    if view is None or key is None:
        return None
    try:
        result = jwt.verify_signature(jwt.decode_unverified(text), _key_set(key))
    except jwt.MalformedToken:
        return None
    claims = result.token.claims if result.token is not None else None
    identifier = claims.get("jti") if claims else None
    stored = view.rows.token(identifier) if isinstance(identifier, str) else None
    if claims is None or stored is None or stored.row.kid != key.kid or stored.row.issuer != claims.get("iss"):
        return None
    return stored.row.id


def _signer(view: View | None, text: str) -> Key | None:
    """Return our key that a JWT's header names; the name alone proves nothing."""
    if view is None:
        return None
    try:
        kid = jwt.decode_unverified(text).header.get("kid")
    except jwt.MalformedToken:
        return None
    stored = view.rows.key(kid) if isinstance(kid, str) else None
    if stored is None:
        return None
    require_intact(view, stored)
    return stored.row


def _key_set(key: Key) -> KeySet:
    return read_key_set(json.dumps({"keys": [json.loads(key.public)]}).encode("ascii"))
