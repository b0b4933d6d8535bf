"""What happened, as the audit log keeps it.

A record's body is sorted compact ASCII JSON. It is written once and kept verbatim: the tree hashes these bytes.
"""

import hmac
import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii as _quoted
from typing import NamedTuple

RECORD_VERSION = 1
NONCE_LENGTH = 32  # bytes
LONGEST_MARK = 19  # bytes of what stands in the place of a body that was archived; every body is longer
OPERATIONS = (
    "token.issue", "token.deny", "token.revoke", "token.suspend", "token.lift", "token.replace", "token.use",
    "token.reveal_failed",
    "key.create", "key.publish", "key.activate", "key.retire", "key.compromise", "key.roll_back",
    "store.create", "store.backup", "store.restore", "store.move_secret", "store.rotate_root", "store.clock", "store.policy",
    "store.seal", "store.release",
    "plan.create", "log.rotate_key", "log.archive", "remote.intent", "remote.outcome",
    "credential.rotate", "credential.revoke",
)  # fmt: skip
MEMBERS = (  # of a body, as they stand in it
    "actor", "audience", "commitment", "duration_ms", "expires_at", "format", "kid", "kind", "operation", "outcome", "owner",
    "parent", "policy", "reason", "request_id", "scope", "seq", "subject", "target", "ticket", "time", "v",
)  # fmt: skip
ACTOR_MEMBERS = ("host", "loginuid", "machine", "name", "profile", "remote_subject", "sudo_uid", "uid")
KEPT = "kept"  # the outcome of a suspension that was softer than the one at hand, which therefore goes on as it was
UNREPLACED = "unreplaced"  # the outcome of the compromise of an active key where no fresh one could be made
_written = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Event(NamedTuple):
    """One thing that happens, before it has a number, a time and an actor.

    ``parameters`` are bound by a commitment and do not stand in the body; as bytes they are canonical already.
    """

    operation: str
    target: str | None = None
    subject: str | None = None
    owner: str | None = None
    kind: str | None = None
    format: str | None = None
    scope: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    expires_at: int | None = None
    parent: str | None = None
    kid: str | None = None
    outcome: str = "done"
    reason: str | None = None
    ticket: str | None = None
    request_id: str | None = None
    policy: str | None = None
    duration_ms: int | None = None
    parameters: dict[str, object] | bytes | None = None


class Record(NamedTuple):
    """One record as it stands in the log: ``hash`` is the leaf hash, ``nonce`` opens the commitment and ends in a tag."""

    seq: int
    time: int
    operation: str
    target: str | None
    request: str | None
    actor: str
    body: bytes
    hash: bytes
    nonce: bytes
    ticket: str | None = None

    @property
    def archived(self) -> int | None:
        """The number of the record that tells where the body lies; ``None`` where it is here."""
        return archive_of(self.body)

    def facts(self) -> dict[str, object]:
        """Return the body's members; raises ValueError where it is archived, or cannot be read."""
        try:
            members = json.loads(self.body)
        except RecursionError:
            members = None
        if not isinstance(members, dict):
            raise ValueError("the body is no JSON object")  # noqa: TRY004  # a value of the log, not a type of ours
        return members

    def commits_to(self, parameters: dict[str, object]) -> bool:
        """Whether these are the parameters that the record was made with."""
        try:
            commitment = self.facts().get("commitment")
        except ValueError:
            return False
        return commitment == commitment_to(parameters, self.nonce[:NONCE_LENGTH])


def archive_of(body: bytes) -> int | None:
    """Return what stands in the place of a body that was archived; ``None`` for a body."""
    return int(body) if len(body) <= LONGEST_MARK and body.isdigit() and not body.startswith(b"0") else None


def commitment_to(parameters: dict[str, object], nonce: bytes) -> str:
    """Return what binds a record to parameters that its body does not show."""
    return hmac.digest(nonce, canonical(parameters), "sha256").hex()


def suspension_parameters(until: int | None, then: str | None, *, keep_children: bool, note: str | None) -> dict[str, object]:
    """Return what the record of a suspension commits to: all of it stands in the token's row, so that it can be compared."""
    return {"until": until, "then": then, "keep_children": keep_children, "note": note}


def issue_parameters(
    labels: Iterable[tuple[str, str]], max_uses: int | None, not_before: int | None, note: str | None,
    *, replaces: str | None = None, grace: int | None = None, verifier: bytes | None = None,
) -> dict[str, object]:  # fmt: skip
    """Return what the record of an issue commits to; all of it stands in the token's row."""
    parameters: dict[str, object] = {"labels": dict(labels), "max_uses": max_uses, "not_before": not_before, "note": note}
    if replaces is not None:
        parameters |= {"replaces": replaces, "grace": grace}
    return parameters if verifier is None else parameters | {"verifier": verifier.hex()}


def with_verifier(parameters: bytes, verifier: bytes) -> bytes:
    """Return canonical :func:`issue_parameters`, which many tokens share, with the verifier of one: its name is the last."""
    return b'%b,"verifier":"%b"}' % (parameters[:-1], verifier.hex().encode("ascii"))


def replacement_parameters(replaced_by: str | None, grace_until: int | None) -> dict[str, object]:
    """Return what the record of a replacement commits to, as it stands in the row of the token that is replaced."""
    return {"replaced_by": replaced_by, "grace_until": grace_until}


def body_of(event: Event, *, seq: int, time: int, actor: str, commitment: str) -> bytes:
    """Write the body of a record: :func:`canonical` of all members, always present, ``null`` where nothing is known.

    Args:
        actor: The actor's members, canonical already.
    """
    # Written by hand, in the order of the names: this is the hottest line of a bulk issue.
    return (
        f'{{"actor":{actor},"audience":{_texts(event.audience)},"commitment":"{commitment}",'
        f'"duration_ms":{_number(event.duration_ms)},"expires_at":{_number(event.expires_at)},"format":{_text(event.format)},'
        f'"kid":{_text(event.kid)},"kind":{_text(event.kind)},"operation":{_text(event.operation)},'
        f'"outcome":{_text(event.outcome)},"owner":{_text(event.owner)},"parent":{_text(event.parent)},'
        f'"policy":{_text(event.policy)},"reason":{_text(event.reason)},"request_id":{_text(event.request_id)},'
        f'"scope":{_texts(event.scope)},"seq":{seq},"subject":{_text(event.subject)},"target":{_text(event.target)},'
        f'"ticket":{_text(event.ticket)},"time":{time},"v":{RECORD_VERSION}}}'
    ).encode("ascii")


def _text(value: str | None) -> str:
    return "null" if value is None else _quoted(value)


def _texts(values: tuple[str, ...] | None) -> str:
    return "null" if values is None else f"[{','.join(map(_quoted, values))}]"


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def canonical_text(value: str) -> str:
    """Write a text as :func:`canonical` does."""
    return _quoted(value)


def canonical(members: Mapping[str, object]) -> bytes:
    """Write sorted compact ASCII JSON."""
    return _written(members).encode("ascii")
