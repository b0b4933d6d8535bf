"""A true log of many records, made fast: each token is issued, then revoked, with right hashes, tree, head, tags and MACs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenctl import wiring
from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.backends.local.standing import event_about
from tokenctl.backends.local.view import Change
from tokenctl.model.identifier import new_id
from tokenctl.model.record import canonical, issue_parameters, with_verifier
from tokenctl.model.times import DAY
from tokenctl.model.token import Token

_AT_ONCE = 5_000  # tokens of one transaction
_REASON = {"reason": "unused", "parameters": {"note": None}}


@contextmanager
def authority(home: Path) -> Iterator[LocalAuthority]:
    """The authority of the store in a home, in this process."""
    said: list[str] = []
    surroundings = wiring.Surroundings(
        environment={"HOME": str(home)}, now=time.time_ns() // 1_000_000, notice=said.append, warn=said.append, timeout=30
    )
    backend = wiring.open_backend(None, surroundings)
    try:
        yield backend
    finally:
        backend.close()


def fill(home: Path, records: int) -> None:
    """Bring the log of a home to so many records: half of them issue a token, half revoke one issued before."""
    with authority(home) as backend:
        waiting: list[Token] = []
        while True:
            with backend.journal.changing(create=True) as change:
                assert change is not None
                left = records - change.next_seq + 1
                _revoke(change, waiting[:left])
                waiting = _issue(change, max(0, min(_AT_ONCE, left - len(waiting))))
            if change.next_seq > records:
                return


def _issue(change: Change, count: int) -> list[Token]:
    now = change.now
    whole = now - now % 1000
    parameters = canonical(issue_parameters((), None, None, None))
    made, records = [], []
    for number in range(count):
        token = Token(
            id=new_id(now), kind="access", format="opaque", subject=f"svc-{number % 1000}", owner=f"owner-{number % 200}",
            issued_by=change.actor_name, issued_at=whole, expires_at=whole + DAY, delivered_at=now, scope=("deploy:write",),
            pepper_version=1, verifier=(verifier := os.urandom(32)), request=new_id(now),
        )  # fmt: skip
        told = with_verifier(parameters, verifier)
        record = change.prepare(event_about("token.issue", token, request_id=token.request, parameters=told))
        records.append(record)
        made.append(token._replace(leaf=record.seq))
    change.write_records(records)
    change.rows.insert_tokens(made)
    return made


def _revoke(change: Change, tokens: list[Token]) -> None:
    request = new_id(change.now)
    revoked, records = [], []
    for token in tokens:
        record = change.prepare(event_about("token.revoke", token, request_id=request, **_REASON))
        records.append(record)
        revoked.append(
            token._replace(
                revoked_at=record.time, revoked_by=change.actor_name, reason="unused", revoked_request=request, leaf=record.seq
            )
        )
    change.write_records(records)
    change.rows.update_tokens(revoked, "revoked_at", "revoked_by", "reason", "revoked_request", "leaf")
