"""What happened, as the audit log keeps it.

A record's body is sorted compact ASCII JSON. It is written once and kept verbatim: the tree hashes these bytes.
"""

import hmac
import json
from typing import NamedTuple

RECORD_VERSION = 1
NONCE_LENGTH = 32  # bytes


class Event(NamedTuple):
    """One thing that happens, before it has a number, a time and an actor.

    ``parameters`` are bound by a commitment and do not stand in the body.
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
    parameters: dict[str, object] | None = None


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

    def facts(self) -> dict[str, object]:
        """Return the body's members."""
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


def commitment_to(parameters: dict[str, object], nonce: bytes) -> str:
    """Return what binds a record to parameters that its body does not show."""
    return hmac.digest(nonce, canonical(parameters), "sha256").hex()


def suspension_parameters(until: int | None, then: str | None, *, keep_children: bool, note: str | None) -> dict[str, object]:
    """Return what the record of a suspension commits to: all of it stands in the token's row, so that it can be compared."""
    return {"until": until, "then": then, "keep_children": keep_children, "note": note}


def body_of(event: Event, *, seq: int, time: int, actor: dict[str, object], commitment: str) -> bytes:
    """Write the body of a record: all members always present, ``null`` where nothing is known."""
    members = {name: value for name, value in event._asdict().items() if name != "parameters"}
    members |= {"v": RECORD_VERSION, "seq": seq, "time": time, "actor": actor, "commitment": commitment}
    return canonical(members)


def canonical(members: dict[str, object]) -> bytes:
    """Write sorted compact ASCII JSON."""
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
