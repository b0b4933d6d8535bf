"""A token authority elsewhere: the seam's verbs over a service, each change of it recorded before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tokenctl.backends.base import Backend
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.remote import ledger
from tokenctl.backends.remote.service import Obtained, Reference, Service
from tokenctl.config import Profile
from tokenctl.errors import InvalidConfiguration, PolicyDenied, ServerError, TokenctlError
from tokenctl.formats import pasted
from tokenctl.http.peer import maybe_done
from tokenctl.model.identifier import new_id
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.times import SECOND, format_duration, format_instant
from tokenctl.model.token import IssuedToken, Outcome, Reason, Target, Token, TokenRequest
from tokenctl.secret import Secret
from tokenctl.store.rows import Stored

if TYPE_CHECKING:
    from tokenctl.backends.local.judging import Judgement
    from tokenctl.backends.parts import ForeignLog, SigningKeys
    from tokenctl.model.policy import Policy

_FIELDS = {  # what a request may ask for, as the command line names it
    "subject": "--subject", "format": "--format jwt", "kind": "--kind", "audience": "--audience", "not_before": "--not-before",
    "max_uses": "--max-uses", "parent": "--parent", "claims": "--claim", "replaces": "--replace",
    "exchange": "--exchange",
}  # fmt: skip
_PLAIN = {"kind": "access", "format": "opaque"}  # what stands for nothing asked


class RemoteAuthority(Backend):
    """A token authority over a service; see :mod:`tokenctl.backends.base` for the contract.

    Args:
        service: Connects, when it is first needed.
        is_handle: Whether a text has the form of a handle of such a service.
        logs_itself: Whether such a service shows how its own log names a token.
        signing_keys: Makes the part of that name, where there is one.
    """

    def __init__(
        self, profile: Profile, journal: Journal, *, policy: Callable[[], Policy], kind: str, authority: str,
        service: Callable[[], Service], is_handle: Callable[[str], bool], logs_itself: bool = False,
        signing_keys: Callable[[RemoteAuthority], SigningKeys] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(profile, journal, policy=policy)
        self.kind = kind
        self.authority_url = authority
        self._connect = service
        self.is_handle = is_handle
        self._logs_itself = logs_itself
        self._signing_keys = signing_keys
        self._service: Service | None = None
        self._told: set[str] = set()

    @property
    def place(self) -> str:
        return f"{self.kind} at {self.authority_url}"

    @property
    def service(self) -> Service:
        """The service; nothing is looked up or sent by taking it."""
        if self._service is None:
            self._service = self._connect()
        return self._service

    def begin(self, requests: Sequence[TokenRequest] = ()) -> None:
        """Find out whether the service can be asked for a change at all, and whom it takes the operator for."""
        self.service.ready(requests)
        self.journal.actor = self.journal.actor._replace(remote_subject=self.service.subject)

    @property
    def by_id(self) -> bool:  # type: ignore[override]  # known when the service is
        return self.service.by_handle

    @property
    def delivery(self) -> RemoteAuthority:
        return self

    @property
    def signing_keys(self) -> SigningKeys | None:
        return self._signing_keys(self) if self._signing_keys is not None else None

    @property
    def foreign_log(self) -> ForeignLog | None:
        return self.service.foreign_log if self._logs_itself else None

    @property
    def default_subject(self) -> str | None:
        return self.service.subject

    def close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None  # a command that goes on after it connects anew
        super().close()

    # Issue and delivery

    def require_granted(self, request: TokenRequest) -> None:
        for field, option in _FIELDS.items():
            value = getattr(request, field)
            asked = value not in (None, (), _PLAIN.get(field))
            if field == "subject":
                fixed = "subject" in self.service.lacks and request.exchange is None
                asked = fixed and value != self.service.subject
            elif field not in self.service.lacks:
                continue
            if asked:
                raise InvalidConfiguration(
                    f"profile {self.name} ({self.place}) grants no {option}", hint="leave it out", reason="part_lacking"
                )

    def judge(self, request: TokenRequest) -> tuple[Judgement, TokenRequest]:
        self.require_granted(request)
        return super().judge(request)

    def issue(self, requests: Iterable[TokenRequest]) -> Iterator[IssuedToken]:
        asked = list(requests)
        for request in asked:
            self.require_granted(request)
        if asked:
            self.begin(asked)
        for number, request in enumerate(asked):
            if number:
                self.journal.catch_up()
            yield self._issue(request)

    def _issue(self, request: TokenRequest) -> IssuedToken:
        from tokenctl.backends.local import issuing
        from tokenctl.backends.local.judging import Counts, judge
        from tokenctl.model.policy import denied

        policy, own = self.policy, request.request_id
        if own is not None:
            self._settle_before(own)
        with self.journal.changing(create=True, trusted=True) as change:
            assert change is not None
            issuing.require_clock(change, self.journal.clock)
            issuing.note_policy(change, policy)
            waiting = issuing.earlier(change, request, change.actor_name)
            judgement = judge(change, request, policy, change.now, change.actor_name, Counts(change, change.now))
            refused = denied(judgement.faults) if judgement.faults else None
            named = request.batch or own or new_id(change.now)
            if refused is not None:
                change.append(issuing.refusal(request, policy, refused))
            else:
                if own is not None:
                    issuing.claim_request(change, request, [])
                ledger.intend(
                    change, "issue", target=None, request_id=named, subject=request.subject, owner=request.owner,
                    kind=request.kind, scope=tuple(sorted(request.scope)), audience=tuple(sorted(request.audience)),
                    policy=policy.hash,
                )  # fmt: skip
        if refused is not None:
            raise refused
        self._deny_undelivered([stored.row for stored in waiting], named)
        lifetime = judgement.decision.lifetime
        begun = time.monotonic()
        try:
            obtained = self.service.obtain(request, lifetime, named)
            self._require_new(obtained)
        except TokenctlError as error:
            self._note_failure(named, error)
            raise
        try:
            self.journal.catch_up()
            excess = _excess(request, obtained, policy, named_subject=request.subject != self.service.subject)
            if excess is None:
                self._tell_difference(request, obtained)
                return self._keep(request, obtained, named, begun)
        except BaseException as failure:
            # Nothing happens unrecorded: what cannot be recorded is not handed out.
            self._take_back(obtained, failure)
            raise
        self._give_back(named, obtained, excess)
        raise excess

    def _keep(self, request: TokenRequest, obtained: Obtained, named: str, begun: float) -> IssuedToken:
        own = request.request_id
        with self.journal.changing(trusted=False) as change:
            assert change is not None
            elapsed = round((time.monotonic() - begun) * 1000)
            assert obtained.expires_at is not None
            token = ledger.keep(
                change, request, obtained, authority=self.authority_url, expires_at=obtained.expires_at, named=named,
                own=own or (None if request.batch is not None else named), policy=self.policy.hash,
            )  # fmt: skip
            token = ledger.conclude_about(change, Stored(token, intact=True), "issue", "done", named, duration_ms=elapsed)
        for warning in obtained.warnings:
            self.journal.warn(f"{token.id}: {warning}")
        return IssuedToken(token=token, text=obtained.text, request_id=own or named)

    def _settle_before(self, named: str) -> None:
        """Deny what an earlier attempt may have brought; where the service cannot find it, say until when it lives."""
        from tokenctl.backends.remote import reconciling

        for settled in reconciling.settle_before(self, named):
            self.journal.warn(f"request {named} was begun before: {settled.detail}")

    def _require_new(self, obtained: Obtained) -> None:
        """Refuse a token that has its row already (exit 8): whoever has that goes on with it, so it is not revoked."""
        with self.journal.reading() as view:
            known = ledger.recognise(view, obtained.text) if view is not None else None
        if known is not None:
            raise ServerError(
                f"{self.authority_url} grants a token that it granted before: {known.stored.row.id}",
                hint="revoke that one first, or wait until it has expired", reason="granted_before",
            )  # fmt: skip

    def _take_back(self, obtained: Obtained, failure: BaseException) -> None:
        """Revoke what cannot be recorded; the failure then says what came of that."""
        _, fate = self._revoked(obtained)
        if isinstance(failure, TokenctlError):
            failure.message = f"{failure.message}; a token was granted: {fate}"

    def _revoked(self, obtained: Obtained) -> tuple[bool, str]:
        """Revoke at once what nobody gets; return whether it is denied now, and that in words."""
        from tokenctl.backends.remote.revoking import denied_now

        try:
            kept = denied_now(self.service, Reference(obtained.handle, obtained.text))
        except TokenctlError as error:
            kept = error.message
        until = f" until {format_instant(obtained.expires_at)}" if obtained.expires_at is not None else ""
        return kept is None, "it was revoked" if kept is None else f"nobody has it, and it may still be accepted{until} ({kept})"

    def _deny_undelivered(self, waiting: Sequence[Token], named: str) -> None:
        """Deny what the same request brought before and never reached its taker, where its handle is enough."""
        if waiting and self.service.by_handle:
            targets = [Target(id=token.id) for token in waiting]
            list(self.revoke(targets, Reason(reason="undelivered", request_id=named)))
        elif waiting:
            ends = max(token.expires_at for token in waiting)
            left = format_duration(max(ends - self.journal.clock, 0))
            self.journal.warn(f"{waiting[0].id} never reached its taker, and is accepted for {left}: only its text revokes it")

    def _note_failure(self, named: str, error: TokenctlError) -> None:
        """Record that nothing was obtained, or that this is not known; the error then says how to find out."""
        unknown = maybe_done(error)
        if unknown:
            error.message = f"{error.message}: whether a token was issued is not known"
            error.hint = "tokenctl audit reconcile; to ask for another one: run again"
        try:
            with self.journal.changing() as change:
                assert change is not None
                outcome = "unknown" if unknown else "failed"
                ledger.conclude(change, "issue", outcome, target=None, request_id=named, parameters={"error": error.slug})
        except TokenctlError as failure:  # the intent stands, and what is not concluded is not known
            error.message = f"{error.message}; that could not be recorded: {failure.message}"

    def _give_back(self, named: str, obtained: Obtained, excess: PolicyDenied) -> None:
        """Revoke at once what is more, or less, than may be taken; the refusal then says what came of that (exit 12)."""
        gone, fate = self._revoked(obtained)
        with self.journal.changing() as change:
            assert change is not None
            identifier = ledger.derived_id(change, obtained.text)
            ledger.conclude(
                change, "issue", "denied" if gone else "unverified", target=identifier, request_id=named,
                parameters={"reason": excess.reason},
            )  # fmt: skip
        excess.message = f"{excess.message}; {fate}"

    def _tell_difference(self, request: TokenRequest, obtained: Obtained) -> None:
        """Say what was granted otherwise than it was asked for, once for each difference of a command."""
        told = []
        less = sorted(set(request.scope) - set(obtained.scope))
        if less:
            told.append(f"the service granted less scope than was asked for: {' '.join(less)} is missing")
        if not request.scope and obtained.scope:
            told.append(f"the service granted a scope that was not asked for: {' '.join(sorted(obtained.scope))}")
        granted = (obtained.expires_at or 0) - obtained.issued_at
        if request.lifetime is not None and request.lifetime - granted >= SECOND:
            asked = format_duration(request.lifetime)
            told.append(f"the service granted {format_duration(granted)}, and {asked} was asked for")
        for line in told:
            if line not in self._told:
                self._told.add(line)
                self.journal.notice(line)

    def delivered(self, identifiers: Sequence[str]) -> list[str]:
        """Note that tokens reached their taker; a service accepts them whenever they do, so none is too late."""
        with self.journal.changing() as change:
            assert change is not None
            change.rows.observe_delivery(identifiers, max(self.journal.time(), change.now), issued_after=-1)
        return []

    # Introspection

    @property
    def form(self) -> pasted.Form:
        return pasted.Form(named=self._named, words=self._words)

    def _named(self, text: str) -> str | None:
        """Return what stands as an id in a paste: one that has a row here, or the form of the service's handles."""
        identifier = self.id_of(text)
        if identifier is None or self.is_handle(text):
            return identifier
        with self.journal.reading() as view:
            return identifier if view is not None and view.rows.token(identifier) is not None else None

    def _words(self, line: str) -> Iterator[Secret]:
        """Yield what may be tokens of the service: every word; one that no row knows is sent nowhere."""
        with self.journal.reading() as view:
            if view is not None or self.asked:
                yield from map(Secret, pasted.words(line))

    def id_of(self, argument: str) -> str | None:
        return argument if ledger.HANDLE.fullmatch(argument) and not pasted.looks_secret(argument) else None

    def introspect(self, presented: Secret, expectations: Expectations) -> Introspection:
        from tokenctl.backends.remote import introspecting

        return introspecting.presented(self, presented, expectations)

    def named(self, identifier: str, expectations: Expectations) -> Introspection | None:
        from tokenctl.backends.remote import introspecting

        return introspecting.named(self, identifier, expectations)

    def prove(self, presented: Secret) -> str | None:
        from tokenctl.backends.remote import introspecting

        return introspecting.prove(self, presented)

    # Revocation

    def require_reach(self, targets: Iterable[Target], *, keep_children: bool = False) -> None:
        from tokenctl.backends.remote import revoking

        revoking.require_reach(self, targets, keep_children=keep_children)

    def revoke(self, targets: Iterable[Target], reason: Reason, *, keep_children: bool = False) -> Iterator[Outcome]:
        from tokenctl.backends.remote import revoking

        return revoking.carry_out(self, list(targets), reason, keep_children=keep_children)


def _excess(request: TokenRequest, obtained: Obtained, policy: Policy, *, named_subject: bool) -> PolicyDenied | None:
    """Return what a granted token has beyond what was asked for, or beyond the policy; ``None`` where it may be taken.

    Args:
        named_subject: Whether it is to stand for the subject of the request, and no other.
    """
    from tokenctl.model.policy import denied

    if obtained.expires_at is None:
        return PolicyDenied("the service does not say when the token expires", reason="lifetime_unknown")
    granted = obtained.expires_at - obtained.issued_at
    if request.lifetime is not None and granted > request.lifetime:
        told = f"the service grants {format_duration(granted)}, and {format_duration(request.lifetime)} was asked for"
        return PolicyDenied(told, hint=f"ask for what it grants: --ttl {format_duration(granted)}", reason="longer_lifetime")
    subject = obtained.subject or request.subject
    if named_subject and subject != request.subject:
        return PolicyDenied("the service grants a token of another subject than was asked for", reason="other_subject")
    more = sorted(set(obtained.scope) - set(request.scope)) if request.scope else []
    if more:
        told = f"the service grants more than was asked for: {' '.join(more)}"
        return PolicyDenied(told, hint="ask for that too, or let the service grant less", reason="more_scope")
    faults = policy.decide(request._replace(subject=subject, scope=obtained.scope, lifetime=granted)).faults
    if faults:
        return denied(faults)
    less = sorted(set(request.scope) - set(obtained.scope))
    if less and not request.accept_less:
        return PolicyDenied(
            f"the service grants less than was asked for: {' '.join(less)} is missing", hint="take what there is: --accept-less",
            reason="less_scope",
        )  # fmt: skip
    return None
