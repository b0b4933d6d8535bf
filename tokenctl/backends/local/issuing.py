"""Issuing: one transaction for rows, records and requests of some tokens; then their delivery is awaited."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from tokenctl.backends.local import sealing
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.judging import Counts, Judgement, judge
from tokenctl.backends.local.standing import event_about, revoke_due
from tokenctl.backends.local.view import Change, View
from tokenctl.config import Profile
from tokenctl.errors import Conflict, PolicyDenied, TemporarilyUnavailable, TokenctlError
from tokenctl.formats import opaque
from tokenctl.model.identifier import new_id
from tokenctl.model.policy import Policy
from tokenctl.model.record import Event, Record, canonical, issue_parameters, with_verifier
from tokenctl.model.times import MINUTE, SECOND, format_duration
from tokenctl.model.token import IssuedToken, Token, TokenRequest
from tokenctl.secret import Secret
from tokenctl.store.rows import Stored

if TYPE_CHECKING:
    from tokenctl.backends.local.signers import ForeseenKeys, Signer, Signers

CLOCK_TOLERANCE = 5 * MINUTE


def note_policy(change: Change, policy: Policy) -> None:
    """Record that the effective policy is another than the last one; a store begins with the built-in limits."""
    known = change.fact("policy")
    if known == policy.hash or (known is None and policy.built_in):
        return
    change.write_fact("policy", policy.hash)
    change.append(Event(operation="store.policy", target=change.store_id, policy=policy.hash, parameters=policy.plain()))


def require_clock(view: View, clock: int) -> None:
    """Refuse to issue by a clock that stands too far behind the last record (exit 7)."""
    if clock < view.last_time - CLOCK_TOLERANCE:
        behind = format_duration(view.last_time - clock)
        raise TemporarilyUnavailable(
            f"the clock stands {behind} behind the last record",
            hint="set the clock; or, if it is right, accept it: tokenctl store accept-clock", reason="clock",
        )  # fmt: skip


class Minting:
    """The tokens of one change: each is checked and made by :meth:`add`, all rows are written by :meth:`write`.

    Args:
        publish: Puts the public keys where the profile says, should the store make its first one.
    """

    def __init__(
        self, change: Change, policy: Policy, profile: Profile, clock: int, publish: Callable[[View], None]
    ) -> None:  # fmt: skip
        require_clock(change, clock)
        self.made: list[IssuedToken] = []
        self._change = change
        self._policy = policy
        self._records: list[Record] = []
        self._counts = Counts(change, change.now)
        self._profile = profile
        self._publish = publish
        self._signers: Signers | None = None
        self._parameters = cache(_parameters)
        self.asked: TokenRequest | None = None  # the request at hand, with the rights of what it replaces

    def add(self, request: TokenRequest) -> IssuedToken:
        """Make one token.

        Raises:
            PolicyDenied: the policy, a limit or the parent forbids it (exit 12); the caller records the refusal of ``asked``.
            Conflict: the request id is used, no key of that algorithm is active, or what it replaces cannot be (exit 6).
            NotFound: there is no such parent, or no such token to replace (exit 5).
            InvalidRequest: the JWT would be too long (exit 2).
        """
        change = self._change
        # A rerun is told of the token it has, not of the limit that this token fills.
        waiting = earlier(change, request, change.actor_name)
        self.asked = request = with_rights(change, request, waiting)
        judgement = judge(change, request, self._policy, change.now, change.actor_name, self._counts)
        judgement.require()
        signer = self._signer(request.algorithm) if request.format == "jwt" else None
        own = request.request_id or (None if request.batch is not None else new_id(change.now))
        named = request.batch or own or ""
        token = _draft(change, request, own, judgement.expires_at)
        if request.request_id is not None:
            claim_request(change, request, waiting)
        text: Secret
        if signer is not None:
            token, text = signer.sign(token, request, leaf=change.next_seq)
        else:
            text = opaque.mint(token.kind, token.id)
            verifier = sealing.verifier(change.keys.pepper, change.store_id, text)
            token = token._replace(verifier=verifier, pepper_version=change.keys.version, leaf=change.next_seq)
        parameters = self._parameters(
            token.labels, token.max_uses, token.not_before, token.note, replaces=token.replaces, grace=token.grace
        )
        if token.verifier is not None:
            parameters = with_verifier(parameters, token.verifier)
        event = event_about("token.issue", token, request_id=named, policy=self._policy.hash, parameters=parameters)
        self._records.append(change.prepare(event))
        self._counts.add(request, judgement, gone=True)
        issued = IssuedToken(token=token, text=text, request_id=request.request_id or named)
        self.made.append(issued)
        return issued

    def _signer(self, algorithm: str | None) -> Signer:
        from tokenctl.backends.local.signers import Signers  # opaque tokens need none

        if self._signers is None:
            self._signers = Signers(self._change, self._profile, self._publish)
        return self._signers.of(algorithm)

    def write(self) -> None:
        """Write what was made; it becomes durable with the change."""
        self._change.write_records(self._records)
        self._change.rows.insert_tokens([issued.token for issued in self.made])
        self._records = []


class Foresight:
    """What would become of requests, one after the other; nothing is changed.

    Args:
        view: The store as it is; ``None`` where there is none yet.
    """

    def __init__(self, view: View | None, policy: Policy, profile: Profile, journal: Journal) -> None:
        if view is not None:
            view.require_trust()
            require_clock(view, journal.clock)
        self._view = view
        self._policy = policy
        self._now = view.now if view is not None else journal.clock
        self._actor = str(journal.actor)
        self._counts = Counts(view, self._now)
        self._profile = profile
        self._keys: ForeseenKeys | None = None
        self._plain: TokenRequest | None = None

    def judge(self, request: TokenRequest) -> tuple[Judgement, TokenRequest]:
        """Return the judgement, and the request with the rights of what it replaces; raises like :meth:`Minting.add`."""
        waiting = earlier(self._view, request, self._actor) if self._view is not None else []
        request = with_rights(self._view, request, waiting)
        judgement = judge(self._view, request, self._policy, self._now, self._actor, self._counts)
        if request.format == "jwt" and not judgement.faults:
            from tokenctl.backends.local.signers import ForeseenKeys

            self._keys = self._keys or ForeseenKeys(self._view, self._profile)
            self._keys.require(request)
        return judgement, request

    def error(self, request: TokenRequest) -> TokenctlError | None:
        """Return what would keep a request from being answered; one that would be, counts for the next ones."""
        if request is self._plain:
            return None  # asked for again, and nothing counts or changes its answer
        try:
            judgement, request = self.judge(request)
            judgement.require()
        except TokenctlError as error:
            return error
        self._counts.add(request, judgement, gone=False)
        if not judgement.living and request.request_id is None and (request.parent is None or request.max_uses is None):
            self._plain = request
        return None


def with_rights(view: View | None, request: TokenRequest, waiting: list[Stored[Token]]) -> TokenRequest:
    """Return a request as it is judged: one that replaces a token has that one's rights."""
    if request.replaces is None:
        return request
    from tokenctl.backends.local import succeeding

    return succeeding.inherit(view, request, waiting)


def _parameters(
    labels: tuple[tuple[str, str], ...], max_uses: int | None, not_before: int | None, note: str | None,
    *, replaces: str | None, grace: int | None,
) -> bytes:  # fmt: skip
    """Return what the record of an issue is bound to and does not show; the same for many tokens of a bulk issue."""
    return canonical(issue_parameters(labels, max_uses, not_before, note, replaces=replaces, grace=grace))


def refusal(request: TokenRequest, policy: Policy, error: PolicyDenied) -> Event:
    """Return the record of a refused issue."""
    return Event(
        operation="token.deny", subject=request.subject, owner=request.owner, kind=request.kind, format=request.format,
        scope=tuple(sorted(request.scope)), audience=tuple(sorted(request.audience)), parent=request.parent,
        outcome="denied", reason=error.reason, request_id=request.batch or request.request_id, policy=policy.hash,
    )  # fmt: skip


def _draft(change: Change, request: TokenRequest, request_id: str | None, expires_at: int) -> Token:
    return Token(
        id=new_id(change.now), kind=request.kind, format=request.format, subject=request.subject, owner=request.owner,
        issued_by=change.actor_name, issued_at=change.now - change.now % SECOND, not_before=request.not_before,
        expires_at=expires_at, parent=request.parent, max_uses=request.max_uses, note=request.note, request=request_id,
        scope=tuple(sorted(set(request.scope))), audience=tuple(sorted(set(request.audience))),
        labels=tuple(sorted(request.labels)), batch=request.batch, run=request.run,
        replaces=request.replaces, grace=request.grace,
    )  # fmt: skip


def earlier(view: View, request: TokenRequest, actor: str) -> list[Stored[Token]]:
    """Return what a request id has brought so far and never reached its taker; raises Conflict where it is used (exit 6)."""
    if request.request_id is None:
        return []
    known = view.store.value("SELECT hmac FROM request WHERE actor = ? AND id = ?", actor, request.request_id)
    # A row that is gone lets nobody mint twice: the token of the request is looked for all the same.
    if known is not None and not _same_request(view, request, known):
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


def claim_request(change: Change, request: TokenRequest, waiting: list[Stored[Token]]) -> None:
    """Bind the request id to these parameters; earlier tokens that were never delivered make way."""
    actor, named = change.actor_name, request.batch or request.request_id
    fingerprint = _fingerprint(change.keys.row, request)
    change.store.run("INSERT OR IGNORE INTO request VALUES (?, ?, ?, ?)", actor, request.request_id, fingerprint, change.now)
    for stored in waiting:
        revoke_due(change, stored, reason="undelivered", request=named)


def _same_request(view: View, request: TokenRequest, known: object) -> bool:
    """Whether a request id was used with these parameters, under the present root secret or one before."""
    if not isinstance(known, bytes):
        return False
    if hmac.compare_digest(known, _fingerprint(view.keys.row, request)):
        return True
    if view.keys.version == sealing.FIRST_VERSION:
        return False
    from tokenctl.backends.local import retaining  # only a request from before a rotation needs it

    kept = (retaining.retained(view, version) for version in retaining.versions(view))
    return any(hmac.compare_digest(known, _fingerprint(each.row, request)) for each in kept if each is not None)


def _fingerprint(key: bytes, request: TokenRequest) -> bytes:
    return hmac.digest(key, b"tokenctl/request/v1\0" + (request.parameters or b"{}"), "sha256")
