"""Issuing: one transaction for the row, its record and its request; then delivery is awaited."""

from __future__ import annotations

import hmac
import json

from tokenctl.backends.local import sealing
from tokenctl.backends.local.journal import Change
from tokenctl.backends.local.standing import DEEPEST, event_about, look, record_about
from tokenctl.config import Profile
from tokenctl.errors import Conflict, IntegrityError, NotFound, PolicyDenied, TemporarilyUnavailable
from tokenctl.formats import opaque
from tokenctl.model import policy
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event, canonical
from tokenctl.model.times import LAST_INSTANT, MINUTE, SECOND, format_duration
from tokenctl.model.token import IssuedToken, Key, Token, TokenRequest
from tokenctl.secret import Secret

DEFAULT_ALGORITHM = "ES256"
CLOCK_TOLERANCE = 5 * MINUTE


def issue(change: Change, request: TokenRequest, profile: Profile, clock: int) -> IssuedToken:
    """Make one token inside a change.

    Raises:
        PolicyDenied: the policy or the parent forbids it (exit 12); the caller records the refusal.
        Conflict: the request id is used, or no key of that algorithm is active (exit 6).
        TemporarilyUnavailable: the clock stands far behind the last record (exit 7).
    """
    if clock < change.last_time - CLOCK_TOLERANCE:
        behind = format_duration(change.last_time - clock)
        raise TemporarilyUnavailable(
            f"the clock stands {behind} behind the last record",
            hint="set the clock; or, if it is right, accept it: tokenctl store accept-clock", reason="clock",
        )  # fmt: skip
    broken = policy.faults(request)
    if broken:
        raise policy.denied(broken)
    request_id = request.request_id or new_id(change.now)
    token = _draft(change, request, request_id)
    _check_parent(change, token)
    if request.request_id is not None:
        _claim_request(change, request)
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
    record = change.append(
        event_about("token.issue", token, request_id=request_id, policy=policy.policy_hash(), parameters=parameters)
    )
    token = token._replace(leaf=record.seq)
    change.rows.insert_token(token)
    return IssuedToken(token=token, text=text, request_id=request_id)


def refusal(request: TokenRequest, error: PolicyDenied) -> Event:
    """Return the record of a refused issue."""
    return Event(
        operation="token.deny", subject=request.subject, owner=request.owner, kind=request.kind, format=request.format,
        scope=tuple(sorted(request.scope)), audience=tuple(sorted(request.audience)), parent=request.parent,
        outcome="denied", reason=error.reason, request_id=request.request_id, policy=policy.policy_hash(),
    )  # fmt: skip


def _draft(change: Change, request: TokenRequest, request_id: str) -> Token:
    issued_at = change.now - change.now % SECOND
    start = max(issued_at, request.not_before or 0)
    expires_at = start + policy.lifetime_of(request)
    if expires_at > LAST_INSTANT:
        raise policy.denied(["max-lifetime: it would end after the year 9999"])
    return Token(
        id=new_id(change.now), kind=request.kind, format=request.format, subject=request.subject, owner=request.owner,
        issued_by=str(change.actor), issued_at=issued_at, not_before=request.not_before,
        expires_at=expires_at - expires_at % SECOND, parent=request.parent, max_uses=request.max_uses, note=request.note,
        request=request_id, scope=tuple(sorted(set(request.scope))), audience=tuple(sorted(set(request.audience))),
        labels=tuple(sorted(request.labels)),
    )  # fmt: skip


def _claim_request(change: Change, request: TokenRequest) -> None:
    """Bind the request id to these parameters; an earlier token that was never delivered makes way."""
    fingerprint = hmac.digest(change.keys.row, b"tokenctl/request/v1\0" + canonical(request.parameters or {}), "sha256")
    actor = str(change.actor)
    known = change.store.value("SELECT hmac FROM request WHERE actor = ? AND id = ?", actor, request.request_id)
    if known is None:
        change.store.run("INSERT INTO request VALUES (?, ?, ?, ?)", actor, request.request_id, fingerprint, change.now)
    elif not isinstance(known, bytes) or not hmac.compare_digest(known, fingerprint):
        raise Conflict(f"request id {request.request_id} was used with other parameters", hint="choose another --request-id")
    rows = change.store.rows("SELECT id FROM token WHERE request = ? AND issued_by = ?", request.request_id, actor)
    for identifier in [str(row[0]) for row in rows]:
        stored = change.rows.token(identifier)
        assert stored is not None
        if stored.row.delivered_at is not None:
            raise Conflict(
                f"request id {request.request_id} was answered by {identifier}",
                hint=f"tokenctl inspect {identifier}", reason="request_id_used",
            )  # fmt: skip
        if stored.row.revoked_at is None:
            record_about(
                change, stored, "token.revoke", {"reason": "undelivered", "request_id": request.request_id},
                revoked_at=change.now, revoked_by=actor, reason="undelivered", revoked_request=request.request_id,
            )  # fmt: skip


def _check_parent(change: Change, token: Token) -> None:
    """A child's rights are a subset of its parent's, and it does not outlive it."""
    if token.parent is None:
        return
    stored = change.rows.token(token.parent)
    if stored is None:
        raise NotFound(f"no token {token.parent} to be the parent")
    found = look(change, stored)
    if not found.intact:
        raise IntegrityError(f"the row of the parent {token.parent} does not check out", hint="tokenctl audit verify")
    parent = found.token
    broken = []
    if _depth(change, parent) + 1 >= DEEPEST:
        broken.append(f"parent-depth: at most {DEEPEST} generations")
    if not found.standing.active:
        broken.append(f"parent: {token.parent} is {found.standing.state}")
    beyond = sorted(set(token.scope) - set(parent.scope))
    if beyond:
        broken.append(f"parent-scope: the parent lacks {beyond[0]}")
    if parent.audience and not (token.audience and set(token.audience) <= set(parent.audience)):
        broken.append("parent-audience: the parent is for other audiences")
    if token.expires_at > parent.expires_at:
        broken.append("parent-lifetime: the parent expires earlier")
    if broken:
        raise policy.denied(broken)


def _depth(change: Change, token: Token) -> int:
    """Return how many ancestors a token has."""
    depth = 0
    while token.parent is not None and depth < DEEPEST:
        above = change.rows.token(token.parent)
        if above is None:
            break
        token, depth = above.row, depth + 1
    return depth


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
