"""Checking the rows against the log: every row is what its records say, nothing is without one, and what a corrected clock
had ended or lifted is denied again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tokenctl.audit import log_keys, query
from tokenctl.audit.chain import Correction
from tokenctl.audit.key_history import KEY_OPERATIONS, key_flaws, signer_flaws
from tokenctl.audit.lifting import OPERATIONS, lifted_ahead
from tokenctl.audit.plain_history import Told, plainly_sound
from tokenctl.audit.token_history import replay, token_flaws
from tokenctl.audit.verdict import Report
from tokenctl.errors import IntegrityError
from tokenctl.model.token import Token
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows, Stored, span
from tokenctl.store.schema import REMOTE

PIECE = 8192  # tokens that another process answers for together
_AT_ONCE = 512  # tokens read at once


def check_state(store: Store, rows: Rows, corrections: Sequence[Correction], report: Report, *, alone: bool = False) -> None:
    """Check all rows, and the nonces, which open what records commit to; flaws go to the report.

    Args:
        alone: Use no other process, however many tokens there are.
    """
    try:
        _check_tokens(store, rows, report, alone=alone)
        _check_keys(store, rows, report)
        _check_requests(store, report)
        check_facts(store, report)
        _check_replacements(store, report)
        _check_corrections(store, corrections, report)
    except IntegrityError as error:
        report.flaw(f"the rows cannot be read through: {error.message}")


def _check_tokens(store: Store, rows: Rows, report: Report, *, alone: bool) -> None:
    """Check tokens, their tags and their records side by side, in the order of the ids."""
    from tokenctl.audit.division import StatePieces

    bounds = boundaries(store)
    seen = 0
    with StatePieces(store, rows, bounds, alone=alone) as pieces:
        for number, (low, high) in enumerate(pairwise(bounds)):
            counts = pieces.sound(number)
            if counts is None:
                counts = check_piece(store, rows, low or "", high, report)
            report.tokens += counts.tokens
            seen += counts.records
    if seen == query.count(store):
        return
    for seq, nonce in store.rows("SELECT seq, nonce FROM record WHERE target IS NULL ORDER BY seq"):
        if not rows.nonce_intact(seq, nonce):  # type: ignore[arg-type]  # STRICT columns
            report.flaw(f"record {seq}: its nonce was changed")


def boundaries(store: Store) -> list[str | None]:
    """Return ids that part the tokens into pieces of about :data:`PIECE`; the first and the last bound nothing."""
    newest = store.integer("SELECT max(rowid) FROM token")
    chosen = (store.value("SELECT id FROM token WHERE rowid = ?", number) for number in range(PIECE, newest, PIECE))
    return [None, *sorted({str(identifier) for identifier in chosen if identifier}), None]


class Counts(NamedTuple):
    """How many tokens and records were looked at."""

    tokens: int
    records: int


def check_piece(store: Store, rows: Rows, low: str, high: str | None, report: Report) -> Counts:
    """Check all that stands under the ids from one on and before another; memory is that of a few hundred tokens."""
    tokens = records = 0
    start: str | None = low
    while start is not None:
        stretch = rows.stretch(start, high, limit=_AT_ONCE)
        end = None if stretch.end == high else stretch.end
        histories = _histories(store, start, stretch.end)
        for history in histories.values():
            records += len(history)
            for _, seq, _, _, _, nonce in history:
                if not rows.nonce_intact(seq, nonce):
                    report.flaw(f"record {seq}: its nonce was changed")
        for stored in stretch.tokens:
            _check_token(store, stored, histories.pop(stored.row.id, []), report)
        for target, history in histories.items():
            for told in history:
                if told[3] == "token.issue":
                    report.flaw(f"the row of {target} is missing")
        for stray in stretch.strays:
            report.flaw(f"a tag belongs to no token: {stray}")
        tokens += len(stretch.tokens)
        start = end
    return Counts(tokens, records)


def _histories(store: Store, low: str, high: str | None) -> dict[object, list[Told]]:
    among, bounds = span("target", low, high)
    sql = f"SELECT target, seq, time, operation, body, nonce FROM record WHERE {among} ORDER BY target, seq"
    histories: dict[object, list[Told]] = {}
    for told in store.rows(sql, *bounds):
        histories.setdefault(told[0], []).append(told)  # type: ignore[arg-type]  # STRICT columns
    return histories


def _check_token(store: Store, stored: Stored[Token], history: Sequence[Told], report: Report) -> None:
    if stored.intact and history and plainly_sound(stored.row, history):
        return
    records = list(query.records(store, query.Filter(target=(stored.row.id,))))
    for flaw in token_flaws(stored.row, records, intact=stored.intact):
        report.flaw(f"token {stored.row.id}: {flaw}")


def _check_keys(store: Store, rows: Rows, report: Report) -> None:
    for key in rows.every_key():
        report.keys += 1
        history = list(query.records(store, query.Filter(target=(key.row.kid,))))
        for flaw in key_flaws(key.row, history, intact=key.intact):
            report.flaw(f"key {key.row.kid}: {flaw}")
    for flaw in signer_flaws([key.row for key in rows.every_key()], query.records(store, query.Filter(operation=KEY_OPERATIONS))):
        report.flaw(flaw)
    sql = "SELECT target FROM record WHERE operation = 'key.create' AND target NOT IN (SELECT kid FROM key)"
    for (target,) in store.rows(sql):
        report.flaw(f"the row of {target} is missing")


def _check_requests(store: Store, report: Report) -> None:
    # The records of a bulk issue carry the request id of the whole, its tokens their own.
    sql = """SELECT id FROM request AS asked
             WHERE NOT EXISTS (SELECT 1 FROM record WHERE request = asked.id AND +actor = asked.actor)
             AND NOT EXISTS (SELECT 1 FROM token WHERE request = asked.id AND issued_by = asked.actor)"""
    for (request,) in store.rows(sql):
        report.flaw(f"no record speaks of the request {request}")


def check_facts(store: Store, report: Report) -> None:
    """Check what the store says about itself against the few records that tell of it."""
    _check_root_facts(store, report)
    _check_log_key(store, report)
    _check_policy(store, report)


def _check_policy(store: Store, report: Report) -> None:
    changes = list(query.records(store, query.Filter(operation=("store.policy",))))
    policies = [facts.get("policy") for _, facts in replay(changes)]
    if store.value("SELECT value FROM meta WHERE name = 'policy'") != (policies[-1] if policies else None):
        report.flaw("the policy of the store is not the one last recorded")


def _check_replacements(store: Store, report: Report) -> None:
    sql = """SELECT id FROM token WHERE replaced_by IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM token AS next WHERE next.id = token.replaced_by AND next.replaces = token.id)"""
    for (token,) in store.rows(sql):
        report.flaw(f"token {token}: what replaced it does not say so")
    # One that was denied before its successor was delivered stays as it was; what denies these stands in other rows.
    sql = """SELECT next.id FROM token AS next JOIN token AS old ON old.id = next.replaces
             WHERE next.delivered_at IS NOT NULL AND next.revoked_at IS NULL AND old.revoked_at IS NULL
             AND old.replaced_by IS NULL AND old.parent IS NULL AND old.suspended_at IS NULL
             AND (old.kid IS NULL OR old.kid NOT IN (SELECT kid FROM key WHERE state = 'compromised'))"""
    for (token,) in store.rows(sql):
        report.flaw(f"token {token}: it is delivered, and what it replaces does not say so")


def _check_corrections(store: Store, corrections: Sequence[Correction], report: Report) -> None:
    """What the log's time had ended before it was turned back must have been revoked with it, and what it had lifted
    too early suspended again: nothing is revived.
    """
    sql = (
        f"SELECT id FROM token WHERE revoked_at IS NULL AND NOT ({REMOTE}) AND expires_at > ?1"
        " AND (expires_at <= ?2 OR issued_at > ?1"
        # A grace that began after the correction has nothing to do with it.
        " OR (grace_until <= ?2 AND (SELECT max(seq) FROM record WHERE target = token.id AND +operation = 'token.replace') < ?3))"
        " AND (SELECT min(seq) FROM record WHERE target = token.id) < ?3"
    )
    for correction in corrections:
        for (token,) in store.rows(sql, correction.clock, correction.before, correction.seq):
            report.flaw(f"token {token}: it had ended when record {correction.seq} accepted the clock, and is not revoked")
        for lifted in lifted_ahead(store, correction.clock, before=correction.seq):
            if store.integer("SELECT expires_at FROM token WHERE id = ?", lifted.token) <= correction.clock:
                continue
            followed = query.records(store, query.Filter(target=(lifted.token,), operation=OPERATIONS))
            after = next((record for record in followed if record.seq > correction.seq), None)
            if after is None or after.operation == "token.lift" or after.time != correction.clock:
                flaw = f"lifted ahead of the clock that record {correction.seq} accepted, and not suspended again"
                report.flaw(f"token {lifted.token}: {flaw}")


def _check_log_key(store: Store, report: Report) -> None:
    """Replay which keys signed the heads of the log."""
    meta = {str(name): value for name, value in store.rows("SELECT name, value FROM meta")}
    own = query.Filter(operation=(log_keys.OPERATION,), target=(str(meta.get("store_id")),))
    for flaw in log_keys.key_flaws(meta, query.records(store, own), size=query.count(store)):
        report.flaw(flaw)


def _check_root_facts(store: Store, report: Report) -> None:
    """Replay where the root secret went, and how many there were."""
    place, version = "file", 1
    meta = {str(name): value for name, value in store.rows("SELECT name, value FROM meta")}
    own = query.Filter(operation=("store.move_secret", "store.rotate_root"), target=(str(meta.get("store_id")),))
    for operation, facts in replay(list(query.records(store, own))):
        if operation == "store.rotate_root":
            version += facts.get("outcome") == "done"
            continue
        before, _, name = str(facts.get("reason")).partition(" to ")
        if before != place:
            report.flaw(f"the root secret was moved from {before}, where its records do not put it")
        place = name
    if (meta.get("root_place"), meta.get("root_version")) != (place, version):
        report.flaw("the place or the version of the root secret is not the one last recorded")
