"""Checking the rows against the log: every row is what its records say, nothing is without one, and what a corrected clock
had ended or lifted is denied again.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenctl.audit import log_keys, query
from tokenctl.audit.chain import Correction
from tokenctl.audit.key_history import KEY_OPERATIONS, key_flaws, signer_flaws
from tokenctl.audit.lifting import OPERATIONS, lifted_ahead
from tokenctl.audit.token_history import replay, token_flaws
from tokenctl.audit.verdict import Report
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows


def check_state(store: Store, rows: Rows, corrections: Sequence[Correction], report: Report) -> None:
    """Check all rows, and the nonces, which open what records commit to; flaws go to the report."""
    for seq, nonce in store.rows("SELECT seq, nonce FROM record ORDER BY seq"):
        if not rows.nonce_intact(seq, nonce):  # type: ignore[arg-type]  # STRICT columns
            report.flaw(f"record {seq}: its nonce was changed")
    for stored in rows.every_token():
        report.tokens += 1
        history = list(query.records(store, query.Filter(target=(stored.row.id,))))
        for flaw in token_flaws(stored.row, history, intact=stored.intact):
            report.flaw(f"token {stored.row.id}: {flaw}")
    for key in rows.every_key():
        report.keys += 1
        history = list(query.records(store, query.Filter(target=(key.row.kid,))))
        for flaw in key_flaws(key.row, history, intact=key.intact):
            report.flaw(f"key {key.row.kid}: {flaw}")
    for flaw in signer_flaws([key.row for key in rows.every_key()], query.records(store, query.Filter(operation=KEY_OPERATIONS))):
        report.flaw(flaw)
    for operation, table, column in (("token.issue", "token", "id"), ("key.create", "key", "kid")):
        sql = f"SELECT target FROM record WHERE operation = ? AND target NOT IN (SELECT {column} FROM {table})"
        for (target,) in store.rows(sql, operation):
            report.flaw(f"the row of {target} is missing")
    for actor, request in store.rows("SELECT actor, id FROM request"):
        # The records of a bulk issue carry the request id of the whole, its tokens their own.
        sql = """SELECT EXISTS (SELECT 1 FROM record WHERE request = ?1 AND +actor = ?2)
                 OR EXISTS (SELECT 1 FROM token WHERE request = ?1 AND issued_by = ?2)"""
        if not store.integer(sql, request, actor):
            report.flaw(f"no record speaks of the request {request}")
    _check_root_facts(store, report)
    _check_log_key(store, report)
    changes = list(query.records(store, query.Filter(operation=("store.policy",))))
    policies = [facts.get("policy") for _, facts in replay(changes)]
    if store.value("SELECT value FROM meta WHERE name = 'policy'") != (policies[-1] if policies else None):
        report.flaw("the policy of the store is not the one last recorded")
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
    for (token,) in store.rows("SELECT DISTINCT token FROM tag WHERE token NOT IN (SELECT id FROM token)"):
        report.flaw(f"a tag belongs to no token: {token}")
    _check_corrections(store, corrections, report)


def _check_corrections(store: Store, corrections: Sequence[Correction], report: Report) -> None:
    """What the log's time had ended before it was turned back must have been revoked with it, and what it had lifted
    too early suspended again: nothing is revived.
    """
    sql = (
        "SELECT id FROM token WHERE revoked_at IS NULL AND expires_at > ?1 AND (expires_at <= ?2 OR issued_at > ?1"
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
