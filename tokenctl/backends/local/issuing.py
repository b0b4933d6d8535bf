"""Issuing: one transaction for rows, records and requests of some tokens; then their delivery is awaited."""

from __future__ import annotations

import hmac
import json
from functools import cache
from typing import TYPE_CHECKING

from tokenctl.backends.local import sealing
from tokenctl.backends.local.journal import Change, View
from tokenctl.backends.local.standing import DEEPEST, event_about, look, record_about
from tokenctl.config import Profile
from tokenctl.errors import Conflict, IntegrityError, NotFound, PolicyDenied, TemporarilyUnavailable
from tokenctl.formats import opaque
from tokenctl.model import policy
from tokenctl.model.identifier import new_id
from tokenctl.model.introspection import Found
from tokenctl.model.record import Event, Record, canonical
from tokenctl.model.times import LAST_INSTANT, MINUTE, SECOND, format_duration
from tokenctl.model.token import IssuedToken, Key, Token, TokenRequest
from tokenctl.secret import Secret
from tokenctl.store.rows import Stored

if TYPE_CHECKING:
    from tokenctl.formats.signing import SigningKey

DEFAULT_ALGORITHM = "ES256"
_CLOCK_TOLERANCE = 5 * MINUTE


class Minting:
    """The tokens of one change: each is checked and made by :meth:`add`, all rows are written by :meth:`write`."""

    def __init__(self, change: Change, profile: Profile, clock: int) -> None:
        if clock < change.last_time - _CLOCK_TOLERANCE:
            behind = format_duration(change.last_time - clock)
            raise TemporarilyUnavailable(
                f"the clock stands {behind} behind the last record", hint="set the clock, then run again", reason="clock"
            )
        self.made: list[IssuedToken] = []
        self._change = change
        self._profile = profile
        self._records: list[Record] = []
        self._parents: dict[str, Found] = {}
        self._signers: dict[str | None, tuple[Key, SigningKey]] = {}
        self._policy = policy.policy_hash()
        self._parameters = cache(_parameters)

    def add(self, request: TokenRequest) -> IssuedToken:
        """Make one token.

        Raises:
            PolicyDenied: the policy or the parent forbids it (exit 12); the caller records the refusal.
            Conflict: the request id is used, or no key of that algorithm is active (exit 6).
            NotFound: there is no such parent (exit 5).
        """
        broken = policy.faults(request)
        if broken:
            raise policy.denied(broken)
        change = self._change
        own = request.request_id or (None if request.batch is not None else new_id(change.now))
        named = request.batch or own or ""
        token = _draft(change, request, own, change.actor_name)
        self._check_parent(token)
        signer = self._signer(request.algorithm) if request.format == "jwt" else None
        if request.request_id is not None:
            _claim_request(change, request)
        text: Secret
        if signer is not None:
            token, text = _sign(change, token, request, self._profile, signer)
        else:
            text = opaque.mint(token.kind, token.id)
            verifier = sealing.verifier(change.keys, change.store_id, text)
            token = token._replace(verifier=verifier, pepper_version=sealing.VERSION, leaf=change.next_seq)
        parameters = self._parameters(token.labels, token.max_uses, token.not_before, token.note)
        event = event_about("token.issue", token, request_id=named, policy=self._policy, parameters=parameters)
        self._records.append(change.prepare(event))
        issued = IssuedToken(token=token, text=text, request_id=request.request_id or named)
        self.made.append(issued)
        return issued

    def write(self) -> None:
        """Write what was made; it becomes durable with the change."""
        self._change.write_records(self._records)
        self._change.rows.insert_tokens([issued.token for issued in self.made])
        self._records = []

    def _signer(self, algorithm: str | None) -> tuple[Key, SigningKey]:
        """Return the signing key of an algorithm, opened once."""
        if algorithm not in self._signers:
            from tokenctl.formats import signing

            key = _signing_key(self._change, algorithm)
            assert key.sealed is not None
            private = sealing.unseal(self._change.keys, self._change.store_id, key.kid, key.alg, key.sealed)
            self._signers[algorithm] = key, signing.load(key.alg, private.reveal())
        return self._signers[algorithm]

    def _check_parent(self, token: Token) -> None:
        if token.parent is None:
            return
        if token.parent not in self._parents:
            self._parents[token.parent] = _parent(self._change, token.parent)
        check_parent(self._change, token, self._parents[token.parent])


def _parameters(
    labels: tuple[tuple[str, str], ...], max_uses: int | None, not_before: int | None, note: str | None
) -> bytes:  # fmt: skip
    """Return what the record of an issue is bound to and does not show; the same for many tokens of a bulk issue."""
    return canonical({"labels": dict(labels), "max_uses": max_uses, "not_before": not_before, "note": note})


def refusal(request: TokenRequest, error: PolicyDenied) -> Event:
    """Return the record of a refused issue."""
    return Event(
        operation="token.deny", subject=request.subject, owner=request.owner, kind=request.kind, format=request.format,
        scope=tuple(sorted(request.scope)), audience=tuple(sorted(request.audience)), parent=request.parent,
        outcome="denied", reason=error.reason, request_id=request.batch or request.request_id, policy=policy.policy_hash(),
    )  # fmt: skip


def foresee(view: View | None, request: TokenRequest, actor: str) -> None:
    """Say what would become of a request, as :meth:`Minting.add` would; nothing is changed."""
    broken = policy.faults(request)
    if broken:
        raise policy.denied(broken)
    if request.parent is not None:
        if view is None:
            raise NotFound(f"no token {request.parent} to be the parent")
        check_parent(view, _draft(view, request, request.request_id, actor), _parent(view, request.parent))
    if view is not None and request.request_id is not None:
        _earlier(view, request, actor)


def _draft(view: View, request: TokenRequest, request_id: str | None, issued_by: str) -> Token:
    issued_at = view.now - view.now % SECOND
    start = max(issued_at, request.not_before or 0)
    expires_at = start + policy.lifetime_of(request)
    if expires_at > LAST_INSTANT:
        raise policy.denied(["max-lifetime: it would end after the year 9999"])
    return Token(
        id=new_id(view.now), kind=request.kind, format=request.format, subject=request.subject, owner=request.owner,
        issued_by=issued_by, issued_at=issued_at, not_before=request.not_before,
        expires_at=expires_at - expires_at % SECOND, parent=request.parent, max_uses=request.max_uses, note=request.note,
        request=request_id, scope=tuple(sorted(set(request.scope))), audience=tuple(sorted(set(request.audience))),
        labels=tuple(sorted(request.labels)), batch=request.batch, run=request.run,
    )  # fmt: skip


def _claim_request(change: Change, request: TokenRequest) -> None:
    """Bind the request id to these parameters; an earlier token that was never delivered makes way."""
    actor = change.actor_name
    waiting = _earlier(change, request, actor)
    if waiting is None:
        change.store.run(
            "INSERT INTO request VALUES (?, ?, ?, ?)", actor, request.request_id, _fingerprint(change, request), change.now
        )
    for stored in waiting or []:
        record_about(
            change, stored, "token.revoke", {"reason": "undelivered", "request_id": request.batch or request.request_id},
            revoked_at=change.now, revoked_by=actor, reason="undelivered", revoked_request=request.batch or request.request_id,
        )  # fmt: skip


def _earlier(view: View, request: TokenRequest, actor: str) -> list[Stored[Token]] | None:
    """Return the unrevoked, undelivered tokens of an earlier run of a request; ``None`` where its id is new.

    Raises:
        Conflict: the id was used with other parameters, or was answered (exit 6).
    """
    known = view.store.value("SELECT hmac FROM request WHERE actor = ? AND id = ?", actor, request.request_id)
    if known is None:
        return None
    if not isinstance(known, bytes) or not hmac.compare_digest(known, _fingerprint(view, request)):
        raise Conflict(f"request id {request.request_id} was used with other parameters", hint="choose another --request-id")
    waiting = []
    for (identifier,) in view.store.rows("SELECT id FROM token WHERE request = ? AND issued_by = ?", request.request_id, actor):
        stored = view.rows.token(str(identifier))
        assert stored is not None
        if stored.row.delivered_at is not None:
            raise Conflict(
                f"request id {request.request_id} was answered by {identifier}",
                hint=f"tokenctl inspect {identifier}", reason="request_id_used",
            )  # fmt: skip
        if stored.row.revoked_at is None:
            waiting.append(stored)
    return waiting


def _fingerprint(view: View, request: TokenRequest) -> bytes:
    return hmac.digest(view.keys.row, b"tokenctl/request/v1\0" + (request.parameters or b"{}"), "sha256")


def _parent(view: View, identifier: str) -> Found:
    stored = view.rows.token(identifier)
    if stored is None:
        raise NotFound(f"no token {identifier} to be the parent")
    return look(view, stored)


def check_parent(view: View, token: Token, found: Found) -> None:
    """A child's rights are a subset of its parent's, and it does not outlive it.

    Raises:
        PolicyDenied: it would have more (exit 12).
        IntegrityError: the parent's row does not check out (exit 10).
    """
    parent = found.token
    if not found.intact:
        raise IntegrityError(f"the row of the parent {parent.id} does not check out", hint="tokenctl audit verify")
    broken = []
    if _depth(view, parent) + 1 >= DEEPEST:
        broken.append(f"parent-depth: at most {DEEPEST} generations")
    if not found.standing.active:
        broken.append(f"parent: {parent.id} is {found.standing.state}")
    beyond = sorted(set(token.scope) - set(parent.scope))
    if beyond:
        broken.append(f"parent-scope: the parent lacks {beyond[0]}")
    if parent.audience and not (token.audience and set(token.audience) <= set(parent.audience)):
        broken.append("parent-audience: the parent is for other audiences")
    if token.expires_at > parent.expires_at:
        broken.append("parent-lifetime: the parent expires earlier")
    if broken:
        raise policy.denied(broken)


def _depth(view: View, token: Token) -> int:
    """Return how many ancestors a token has."""
    depth = 0
    while token.parent is not None and depth < DEEPEST:
        above = view.rows.token(token.parent)
        if above is None:
            break
        token, depth = above.row, depth + 1
    return depth


def _sign(
    change: Change, token: Token, request: TokenRequest, profile: Profile, signer: tuple[Key, SigningKey]
) -> tuple[Token, Secret]:  # fmt: skip
    """Make an RFC 9068 access token."""
    from tokenctl.formats import jwt

    key, private = signer
    issuer = profile.issuer or f"urn:tokenctl:{change.store_id}"
    token = token._replace(issuer=issuer, kid=key.kid, leaf=change.next_seq)
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
    return token, Secret(jwt.encode(header, claims, private))


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
