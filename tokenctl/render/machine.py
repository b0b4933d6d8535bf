"""The JSON that machines read: the token object, outcomes, records. Every key is always present, unknown is null."""

from __future__ import annotations

from collections.abc import Mapping

from tokenctl.model.introspection import Found, Introspection
from tokenctl.model.times import LAST_INSTANT, SECOND, format_instant
from tokenctl.model.token import Outcome, Standing, Token


def instant(value: int | None) -> str | None:
    """Return RFC 3339 UTC."""
    return None if value is None else format_instant(value)


def token_object(token: Token, standing: Standing, *, profile: str, now: int, children: int | None = None) -> dict[str, object]:
    """Return the token object of the contract."""
    revoked = None
    if standing.state == "revoked":
        revoked = {
            "at": instant(standing.since if token.revoked_at is None else token.revoked_at), "by": token.revoked_by,
            "reason": token.reason or _reason(standing.cause),
            "note": token.revoked_note, "ticket": token.ticket,
        }  # fmt: skip
    suspended = None
    if token.suspended_at is not None:
        suspended = {"at": instant(token.suspended_at), "until": instant(token.suspended_until), "then": token.suspended_then}
    return {
        "id": token.id, "profile": profile, "kind": token.kind, "format": token.format,
        "state": standing.state, "active": standing.active,
        "subject": token.subject, "owner": token.owner, "scope": sorted(token.scope), "audience": sorted(token.audience),
        "labels": dict(token.labels), "issuer": token.issuer, "kid": token.kid, "parent": token.parent, "children": children,
        "issued_at": instant(token.issued_at or None), "not_before": instant(token.not_before),
        "expires_at": instant(token.expires_at) if token.expires_at < LAST_INSTANT else None,
        "expires_in": max(token.expires_at - now, 0) // SECOND if token.expires_at < LAST_INSTANT else None,
        "revoked": revoked, "suspended": suspended, "replaces": token.replaces,
        "replaced_by": token.replaced_by, "grace_until": instant(token.grace_until),
        "uses": token.uses, "max_uses": token.max_uses, "last_used_at": instant(token.last_used_at),
        "use_tracking": "none" if token.format == "jwt" or token.remote else "store",
        "delivered_at": instant(token.delivered_at), "request_id": token.request or token.batch, "note": token.note,
    }  # fmt: skip


def _reason(cause: str | None) -> str | None:
    """Return the reason of a revocation that no record tells yet: the one that it is going to have, else what is known."""
    return "superseded" if cause is not None and cause.startswith("replaced by ") else cause


_UNKNOWN_TOKEN: dict[str, object] = dict.fromkeys(
    (
        "id", "profile", "kind", "format", "state", "active", "subject", "owner", "scope", "audience", "labels", "issuer",
        "kid", "parent", "children", "issued_at", "not_before", "expires_at", "expires_in", "revoked", "suspended",
        "replaces", "replaced_by", "grace_until", "uses", "max_uses", "last_used_at", "use_tracking", "delivered_at",
        "request_id", "note",
    )
)  # fmt: skip


def found_object(found: Found, *, profile: str, now: int) -> dict[str, object]:
    return token_object(found.token, found.standing, profile=profile, now=now, children=found.children)


def introspection_object(answer: Introspection, *, profile: str, now: int) -> dict[str, object]:
    """Return the token object with the checks; of a token that is not known here, what the JWT itself says."""
    members = dict(_UNKNOWN_TOKEN)
    if answer.found is not None:
        members = found_object(answer.found, profile=profile, now=now)
    else:
        members |= _from_claims(answer.claims or {}, now)
        members |= {"profile": profile, "format": "jwt" if answer.signature else None}
    members |= {
        "active": answer.active, "state": answer.state,
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in answer.checks],
        "findings": [{"rule": rule, "detail": detail} for rule, detail in answer.findings],
    }  # fmt: skip
    if answer.signature is not None:
        members |= {"header": answer.header, "claims": answer.claims, "signature": answer.signature}
    return members


def rfc7662_object(answer: Introspection) -> dict[str, object]:
    """Return the members of RFC 7662 section 2.2: of a token that is not active, that alone."""
    if not answer.active:
        return {"active": False}
    if answer.members is not None:
        return {**answer.members, "active": True}
    if answer.found is None or (answer.found.token.remote and answer.signature == "valid"):
        return {**(answer.claims or {}), "active": True}
    token = answer.found.token
    members: dict[str, object] = {
        "active": True, "sub": token.subject, "username": token.owner, "token_type": "Bearer", "jti": token.id,
        "iss": token.issuer, "iat": token.issued_at // SECOND, "exp": token.ends_at // SECOND,
        "nbf": None if token.not_before is None else token.not_before // SECOND,
        "scope": " ".join(sorted(token.scope)) or None, "aud": sorted(token.audience) or None,
    }  # fmt: skip
    return {name: value for name, value in members.items() if value is not None}


def unknown_object(identifier: str | None, *, profile: str) -> dict[str, object]:
    """Return the answer about an id that is unknown here."""
    unknown: dict[str, object] = {
        "id": identifier,
        "profile": profile,
        "state": "unknown",
        "active": False,
        "checks": [],
        "findings": [],
    }
    return _UNKNOWN_TOKEN | unknown


def _from_claims(claims: Mapping[str, object], now: int) -> dict[str, object]:
    def text(name: str) -> str | None:
        value = claims.get(name)
        return value if isinstance(value, str) else None

    def time(name: str) -> int | None:
        value = claims.get(name)
        plain = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_402_300_800
        return int(value * SECOND) if plain and isinstance(value, int | float) else None

    audience = claims.get("aud")
    expires_at = time("exp")
    scope = text("scope")
    return {
        "id": text("jti"), "subject": text("sub"), "issuer": text("iss"),
        "scope": sorted(scope.split()) if scope is not None else None,
        "audience": [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else None,
        "issued_at": instant(time("iat")), "not_before": instant(time("nbf")), "expires_at": instant(expires_at),
        "expires_in": None if expires_at is None else max(expires_at - now, 0) // SECOND, "use_tracking": "none",
    }  # fmt: skip


def outcome_object(outcome: Outcome) -> dict[str, object]:
    """Return one target of a revocation."""
    return {
        "id": outcome.id, "outcome": outcome.outcome, "state_before": outcome.state_before, "at": instant(outcome.at),
        "by": outcome.by, "reason": outcome.reason, "offline_until": instant(outcome.offline_until),
        "children": outcome.children, "places": [], "probe": None, "detail": outcome.detail,
    }  # fmt: skip


def record_object(facts: Mapping[str, object]) -> dict[str, object]:
    """Return a record for reading: its body with times in RFC 3339."""
    members = dict(facts)
    for name in ("time", "expires_at"):
        value = members.get(name)
        if isinstance(value, int):
            members[name] = format_instant(value)
    return members
