"""Issuing: one transaction for the row, its record and its request; then delivery is awaited."""

from __future__ import annotations

import hmac
import json

from tokenctl.backends.local import sealing
from tokenctl.backends.local.journal import Change, View
from tokenctl.backends.local.judging import Judgement, count_issued, judge
from tokenctl.backends.local.standing import event_about, record_about
from tokenctl.config import Profile
from tokenctl.errors import Conflict, IntegrityError, PolicyDenied, TemporarilyUnavailable
from tokenctl.formats import opaque
from tokenctl.model.identifier import new_id
from tokenctl.model.policy import Policy
from tokenctl.model.record import Event, canonical
from tokenctl.model.times import MINUTE, SECOND, format_duration
from tokenctl.model.token import IssuedToken, Key, Token, TokenRequest
from tokenctl.secret import Secret
from tokenctl.store.rows import Stored

DEFAULT_ALGORITHM = "ES256"
_CLOCK_TOLERANCE = 5 * MINUTE


def note_policy(change: Change, policy: Policy) -> None:
    """Record that the effective policy is another than the last one; a store begins with the built-in limits."""
    known = change.fact("policy")
    if known == policy.hash or (known is None and policy.built_in):
        return
    change.write_fact("policy", policy.hash)
    change.append(Event(operation="store.policy", target=change.store_id, policy=policy.hash, parameters=policy.plain()))


def issue(change: Change, request: TokenRequest, policy: Policy, profile: Profile, clock: int) -> IssuedToken:
    """Make one token inside a change.

    Raises:
        PolicyDenied: the policy, a limit or the parent forbids it (exit 12); the caller records the refusal.
        Conflict: the request id is used, or no key of that algorithm is active (exit 6).
        TemporarilyUnavailable: the clock stands far behind the last record (exit 7).
    """
    if clock < change.last_time - _CLOCK_TOLERANCE:
        behind = format_duration(change.last_time - clock)
        raise TemporarilyUnavailable(
            f"the clock stands {behind} behind the last record", hint="set the clock, then run again", reason="clock"
        )
    # A rerun is told of the token it has, not of the limit that this token fills.
    undelivered = earlier(change, request, str(change.actor))
    judgement = judge(change, request, policy, change.now, str(change.actor))
    judgement.require()
    request_id = request.request_id or new_id(change.now)
    token = _draft(change, request, request_id, judgement)
    if request.request_id is not None:
        _claim_request(change, request, undelivered)
    text: Secret
    if request.format == "jwt":
        token, text = _sign(change, token, request, profile)
    else:
        text = opaque.mint(token.kind, token.id)
        verifier = sealing.verifier(change.keys, change.store_id, text)
        token = token._replace(verifier=verifier, pepper_version=sealing.VERSION)
    parameters: dict[str, object] = {
        "labels": dict(token.labels), "max_uses": token.max_uses, "not_before": token.not_before, "note": token.note
    }  # fmt: skip
    record = change.append(event_about("token.issue", token, request_id=request_id, policy=policy.hash, parameters=parameters))
    token = token._replace(leaf=record.seq)
    change.rows.insert_token(token)
    count_issued(change, judgement.decision, token.owner)
    return IssuedToken(token=token, text=text, request_id=request_id)


def refusal(request: TokenRequest, policy: Policy, error: PolicyDenied) -> Event:
    """Return the record of a refused issue."""
    return Event(
        operation="token.deny", subject=request.subject, owner=request.owner, kind=request.kind, format=request.format,
        scope=tuple(sorted(request.scope)), audience=tuple(sorted(request.audience)), parent=request.parent,
        outcome="denied", reason=error.reason, request_id=request.request_id, policy=policy.hash,
    )  # fmt: skip


def _draft(change: Change, request: TokenRequest, request_id: str, judgement: Judgement) -> Token:
    return Token(
        id=new_id(change.now), kind=request.kind, format=request.format, subject=request.subject, owner=request.owner,
        issued_by=str(change.actor), issued_at=change.now - change.now % SECOND, not_before=request.not_before,
        expires_at=judgement.expires_at, parent=request.parent, max_uses=request.max_uses, note=request.note,
        request=request_id, scope=tuple(sorted(set(request.scope))), audience=tuple(sorted(set(request.audience))),
        labels=tuple(sorted(request.labels)),
    )  # fmt: skip


def earlier(view: View, request: TokenRequest, actor: str) -> list[Stored[Token]]:
    """Return what a request id has brought so far and never reached its taker; raises Conflict where it is used (exit 6)."""
    if request.request_id is None:
        return []
    known = view.store.value("SELECT hmac FROM request WHERE actor = ? AND id = ?", actor, request.request_id)
    if known is not None and (not isinstance(known, bytes) or not hmac.compare_digest(known, _fingerprint(view, request))):
        raise Conflict(f"request id {request.request_id} was used with other parameters", hint="choose another --request-id")
    rows = view.store.rows("SELECT id FROM token WHERE request = ? AND issued_by = ?", request.request_id, actor)
    undelivered = []
    for identifier in [str(row[0]) for row in rows]:
        stored = view.rows.token(identifier)
        assert stored is not None
        if stored.row.delivered_at is not None:
            raise Conflict(
                f"request id {request.request_id} was answered by {identifier}",
                hint=f"tokenctl inspect {identifier}", reason="request_id_used",
            )  # fmt: skip
        undelivered.append(stored)
    return undelivered


def _claim_request(change: Change, request: TokenRequest, undelivered: list[Stored[Token]]) -> None:
    """Bind the request id to these parameters; an earlier token that was never delivered makes way."""
    actor = str(change.actor)
    change.store.run(
        "INSERT OR IGNORE INTO request VALUES (?, ?, ?, ?)", actor, request.request_id, _fingerprint(change, request), change.now
    )
    for stored in undelivered:
        if stored.row.revoked_at is None:
            record_about(
                change, stored, "token.revoke", {"reason": "undelivered", "request_id": request.request_id},
                revoked_at=change.now, revoked_by=actor, reason="undelivered", revoked_request=request.request_id,
            )  # fmt: skip
            change.living.clear()


def _fingerprint(view: View, request: TokenRequest) -> bytes:
    """Return what binds a request id to its parameters."""
    return hmac.digest(view.keys.row, b"tokenctl/request/v1\0" + canonical(request.parameters or {}), "sha256")


def _sign(change: Change, token: Token, request: TokenRequest, profile: Profile) -> tuple[Token, Secret]:
    """Make an RFC 9068 access token."""
    from tokenctl.formats import jwt, signing

    key = _signing_key(change, request.algorithm)
    assert key.sealed is not None
    private = sealing.unseal(change.keys, change.store_id, key.kid, key.alg, key.sealed)
    token = token._replace(issuer=profile.issuer or f"urn:tokenctl:{change.store_id}", kid=key.kid)
    alg = profile.eddsa_name if key.alg == "EdDSA" else key.alg
    header: dict[str, object] = {"alg": alg, "kid": key.kid, "typ": "at+jwt"}
    audience = list(token.audience)
    claims: dict[str, object] = {
        "iss": token.issuer, "sub": token.subject, "aud": audience[0] if len(audience) == 1 else audience,
        "exp": token.expires_at // SECOND, "iat": token.issued_at // SECOND, "jti": token.id, "client_id": token.subject,
    }  # fmt: skip
    if token.not_before is not None:
        claims["nbf"] = token.not_before // SECOND
    if token.scope:
        claims["scope"] = " ".join(token.scope)
    claims |= dict(request.claims)
    return token, Secret(jwt.encode(header, claims, signing.load(key.alg, private.reveal())))


def _signing_key(change: Change, algorithm: str | None) -> Key:
    """Return the active key of an algorithm; the store's first key is made when it is first needed."""
    stored = change.rows.every_key()
    if not stored:
        return _first_key(change, algorithm or DEFAULT_ALGORITHM)
    active = {key.row.alg: key for key in stored if key.row.state == "active"}
    if algorithm is None:
        algorithm = DEFAULT_ALGORITHM if DEFAULT_ALGORITHM in active or len(active) != 1 else next(iter(active))
    chosen = active.get(algorithm)
    if chosen is None:
        have = ", ".join(sorted(active)) or "none"
        raise Conflict(f"no active key for {algorithm}; active: {have}", hint="tokenctl rotate-keys status", reason="no_key")
    if not chosen.intact or change.rows.newest_leaf(chosen.row.kid) != chosen.row.leaf:
        raise IntegrityError(f"the row of the key {chosen.row.kid} does not check out", hint="tokenctl audit verify")
    return chosen.row


def _first_key(change: Change, algorithm: str) -> Key:
    from tokenctl.formats import signing

    kid = new_id(change.now)
    fresh = signing.generate(algorithm)
    public = fresh.public_jwk(kid)
    sealed = sealing.seal(change.keys, change.store_id, kid, algorithm, fresh.private_bytes())
    parameters: dict[str, object] = {"public": public, "alg": algorithm}
    change.append(Event(operation="key.create", target=kid, kid=kid, format=algorithm, parameters=parameters))
    record = change.append(Event(operation="key.activate", target=kid, kid=kid, format=algorithm))
    key = Key(
        kid=kid, alg=algorithm, state="active", public=json.dumps(public, sort_keys=True), sealed=sealed,
        kek_version=sealing.VERSION, created_at=change.now, published_at=change.now, activated_at=change.now,
        leaf=record.seq,
    )  # fmt: skip
    change.rows.insert_key(key)
    return key
