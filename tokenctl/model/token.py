"""A token and what may be said about it: its facts, its state, a request for one, a target and an outcome."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tokenctl.model.times import DAY, HOUR, MINUTE
from tokenctl.secret import Secret

KINDS = ("access", "personal", "service")
FORMATS = ("opaque", "jwt")
STATES = ("active", "suspended", "not_yet_valid", "spent", "expired", "revoked")
LIVING_STATES = ("active", "suspended", "not_yet_valid")
REASONS = ("compromised", "superseded", "unused", "owner_left", "policy", "undelivered", "test", "other")
OUTCOMES = (
    "revoked", "already_revoked", "suspended", "lifted", "unknown", "named_only",
    "denied", "unreachable", "still_active", "unverified", "queued",
)  # fmt: skip

LABEL_NAME = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,63}"

DEFAULT_LIFETIME = {"access": 15 * MINUTE, "personal": 30 * DAY, "service": 30 * DAY}
LIFETIME_CAP = {"access": 24 * HOUR, "personal": 90 * DAY, "service": 90 * DAY}
DELIVERY_DEADLINE = MINUTE  # a token whose delivery is not known by then denies


class Token(NamedTuple):
    """One token as the authority knows it; every time in milliseconds UTC. It never holds the secret.

    ``issued_at``, ``not_before`` and ``expires_at`` are whole seconds. ``verifier`` is the HMAC of an opaque token's text.
    ``leaf`` is the number of the newest audit record about this token. ``run`` names the process that a token lives with.
    ``revoked_note`` is the note of the suspension while it is suspended. With ``children_kept`` the command that ended
    or suspended it leaves its children alone. ``replaces`` names the token that this one was issued for, which goes on for
    ``grace`` milliseconds once this one was delivered; there ``replaced_by`` names this one, and ``grace_until`` is its end.
    One that a remote service issued has its ``issuer`` and a ``verifier`` too: what the service says of it counts, and the row
    is what is known here.
    """

    id: str
    kind: str
    format: str
    subject: str
    owner: str
    issued_by: str
    issued_at: int
    expires_at: int
    issuer: str | None = None
    kid: str | None = None
    parent: str | None = None
    not_before: int | None = None
    revoked_at: int | None = None
    revoked_by: str | None = None
    reason: str | None = None
    revoked_note: str | None = None
    ticket: str | None = None
    revoked_request: str | None = None
    children_kept: int = 0
    suspended_at: int | None = None
    suspended_until: int | None = None
    suspended_then: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    grace_until: int | None = None
    max_uses: int | None = None
    note: str | None = None
    request: str | None = None
    verifier: bytes | None = None
    pepper_version: int | None = None
    leaf: int = 0
    uses: int = 0
    last_used_at: int | None = None
    delivered_at: int | None = None
    scope: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    batch: str | None = None
    run: str | None = None
    grace: int | None = None

    @property
    def ends_at(self) -> int:
        """When it ends by itself: it expires, or the grace is over that its successor leaves it."""
        return self.expires_at if self.grace_until is None else min(self.expires_at, self.grace_until)

    @property
    def remote(self) -> bool:
        """Whether a remote service issued it, and decides on it."""
        return self.issuer is not None and self.verifier is not None

    @property
    def undelivered(self) -> bool:
        """Whether it was revoked because its delivery is not known."""
        return self.reason == "undelivered"


class Key(NamedTuple):
    """One signing key as the authority knows it; the private part stays sealed. Times in milliseconds UTC."""

    kid: str
    alg: str
    state: str
    public: str
    sealed: bytes | None
    kek_version: int
    created_at: int
    published_at: int | None = None
    activated_at: int | None = None
    retiring_at: int | None = None
    retired_at: int | None = None
    compromised_at: int | None = None
    leaf: int = 0


class Standing(NamedTuple):
    """The state of a token at one instant, and the fact behind it.

    Attributes:
        state: One of ``STATES``.
        cause: Where the state comes from elsewhere than the row itself, for example ``key compromised``.
        since: Since when that is, milliseconds UTC, where it is known.
    """

    state: str
    cause: str | None = None
    since: int | None = None

    @property
    def active(self) -> bool:
        return self.state == "active"


def standing_of(
    token: Token, *, now: int, ancestors: Sequence[Token] = (), key: Key | None = None, ended: Collection[str] = ()
) -> Standing:
    """Decide the state of a token: the first of the states that holds.

    Args:
        token: The token.
        now: max(system clock, time of the last record), so that a clock set back revives nothing.
        ancestors: Parent, its parent and so on.
        key: The key that signed it, if any.
        ended: Ids among these tokens whose run has ended.
    """
    revoked = _revocation_of(token, now=now, ancestors=ancestors, key=key, ended=ended)
    if revoked:
        return revoked
    if now >= token.expires_at:
        return Standing(state="expired")
    if token.suspended_at is not None:
        return Standing(state="suspended")
    for ancestor in ancestors:
        if ancestor.suspended_at is not None and not ancestor.children_kept:
            return Standing(state="suspended", cause=f"parent {ancestor.id} suspended", since=ancestor.suspended_at)
    if token.not_before is not None and now < token.not_before:
        return Standing(state="not_yet_valid")
    if token.max_uses is not None and token.uses >= token.max_uses:
        return Standing(state="spent")
    return Standing(state="active")


def _revocation_of(
    token: Token, *, now: int, ancestors: Sequence[Token], key: Key | None, ended: Collection[str]
) -> Standing | None:
    if token.revoked_at is not None:
        return Standing(state="revoked")
    if key is not None and key.state == "compromised":
        return Standing(state="revoked", cause=f"key {key.kid} compromised", since=key.compromised_at)
    for ancestor in ancestors:  # one that kept its children does not shield them from those above it
        ended_alone = ancestor.revoked_at is not None or suspension_kills(ancestor, now)
        if (ended_alone and not ancestor.children_kept) or _abandoned(ancestor, now, ended):
            return Standing(state="revoked", cause=f"parent {ancestor.id} revoked", since=ancestor.revoked_at)
    if suspension_kills(token, now):
        return Standing(state="revoked", cause="its suspension ended", since=token.suspended_until)
    if undelivered_by(token, now):
        return Standing(state="revoked", cause="undelivered", since=token.issued_at + DELIVERY_DEADLINE)
    if token.id in ended:
        return Standing(state="revoked", cause="its run ended")
    if grace_over(token, now):
        return Standing(state="revoked", cause=f"replaced by {token.replaced_by}", since=token.grace_until)
    return None


def _abandoned(token: Token, now: int, ended: Collection[str]) -> bool:
    """Whether a token ended without a command that could have kept its children."""
    return token.revoked_at is None and (token.id in ended or undelivered_by(token, now) or grace_over(token, now))


def undelivered_by(token: Token, now: int) -> bool:
    """Whether the time for its delivery has passed without word of it."""
    return not token.remote and token.delivered_at is None and now >= token.issued_at + DELIVERY_DEADLINE


def suspension_kills(token: Token, now: int) -> bool:
    """Whether its suspension was to end in its revocation, and has ended."""
    return token.suspended_then == "revoke" and token.suspended_until is not None and now >= token.suspended_until


def grace_over(token: Token, now: int) -> bool:
    """Whether the grace of a replaced token is over; what its suspension revoked before that did not end by it."""
    if token.grace_until is None or now < token.grace_until:
        return False
    return not (suspension_kills(token, now) and (token.suspended_until or 0) <= token.grace_until)


class TokenRequest(NamedTuple):
    """A wish for one token, already checked for form; the authority adds policy, id and time.

    ``lifetime`` in milliseconds; ``None`` asks for the default of the kind, or for ``default_lifetime`` where
    the verb has one of its own. ``parameters`` is what the operator typed, as
    canonical JSON: a request id stands for exactly this. ``batch`` is the request id of a bulk issue as a whole.
    ``claims`` reach only the JWT and are never stored. ``run`` names the process that the token lives with.
    ``replaces`` names a token whose rights are asked for anew, whatever the request says of them itself: subject, owner,
    kind, format, algorithm, scope, audience, labels and parent; lifetime and note too where it says none. That token goes on
    for ``grace`` milliseconds from the delivery of the new one. With ``accept_less`` a service may grant less scope.
    ``exchange`` is the identity of a job that a service gives the token for; it is kept nowhere.
    """

    subject: str
    owner: str
    kind: str = "access"
    format: str = "opaque"
    algorithm: str | None = None
    scope: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    lifetime: int | None = None
    default_lifetime: int | None = None
    not_before: int | None = None
    max_uses: int | None = None
    parent: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    claims: tuple[tuple[str, object], ...] = ()
    note: str | None = None
    request_id: str | None = None
    batch: str | None = None
    run: str | None = None
    parameters: bytes | None = None
    replaces: str | None = None
    grace: int | None = None
    accept_less: bool = False
    exchange: Secret | None = None


class IssuedToken(NamedTuple):
    """A token that was just made: its facts, and its text, which leaves once."""

    token: Token
    text: Secret
    request_id: str


class Reason(NamedTuple):
    """Why something is revoked."""

    reason: str = "other"
    note: str | None = None
    ticket: str | None = None
    request_id: str = ""


class Action(NamedTuple):
    """What is done to tokens.

    Attributes:
        verb: ``revoke``, ``suspend`` or ``lift``.
        duration: Milliseconds until a suspension ends; ``None`` suspends until it is lifted.
        then: How a suspension with an end ends: ``lift`` or ``revoke``.
        keep_children: What is done to a token is not done to its children.
        planned: The number of the record of the plan that is carried out; ``None`` without one.
    """

    verb: str
    reason: Reason
    duration: int | None = None
    then: str | None = None
    keep_children: bool = False
    planned: int | None = None

    def changes(self, standing: Standing | None) -> bool:
        """Whether a token that stands so is changed; ``None`` stands for an unknown one."""
        if standing is None or standing.state == "revoked":
            return False
        if self.verb == "lift":
            return standing == Standing(state="suspended")
        return self.verb == "revoke" or standing.state != "expired"


class Target(NamedTuple):
    """One token to act on: by its id, which the operator named or whose secret was proved.

    ``text`` is the token itself, where it came in and a remote authority needs it.
    """

    id: str
    proved: bool = False
    text: Secret | None = None


class Outcome(NamedTuple):
    """What became of one target; yielded once it is durable.

    Attributes:
        outcome: One of ``OUTCOMES``.
        state_before: One of ``STATES``, or ``None`` for an unknown id.
        at: When it was denied or lifted, milliseconds UTC.
        offline_until: Until when a verifier that does not ask the authority may accept it.
        children: How many descendants share its fate.
        failure: The exit code of what kept it from being done, where something did.
    """

    id: str
    outcome: str
    state_before: str | None = None
    at: int | None = None
    by: str | None = None
    reason: str | None = None
    offline_until: int | None = None
    children: int = 0
    checked_ms: int | None = None
    detail: str | None = None
    failure: int | None = None
