"""Checking the rows that the newest records speak of: for a check that goes on from an earlier one."""

from __future__ import annotations

from tokenctl.audit import query
from tokenctl.audit.key_history import KEY_OPERATIONS, key_flaws, signer_flaws
from tokenctl.audit.state import check_facts
from tokenctl.audit.token_history import token_flaws
from tokenctl.audit.verdict import Report
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows


def check_recent(store: Store, rows: Rows, behind: int, report: Report) -> None:
    """Check every row that a record behind a number is about, the nonces of those records, and what the store says about
    itself; flaws go to the report.
    """
    targets: dict[str, str] = {}
    for seq, operation, target, nonce in store.rows("SELECT seq, operation, target, nonce FROM record WHERE seq > ?", behind):
        if not rows.nonce_intact(seq, nonce):  # type: ignore[arg-type]  # STRICT columns
            report.flaw(f"record {seq}: its nonce was changed")
        if target is not None:
            targets[str(target)] = str(operation).partition(".")[0]
    keys = {key.row.kid: key for key in rows.every_key()}
    for target, kind in targets.items():
        history = list(query.records(store, query.Filter(target=(target,))))
        if kind == "token":
            stored = rows.token(target)
            if stored is not None:
                report.tokens += 1
                for flaw in token_flaws(stored.row, history, intact=stored.intact):
                    report.flaw(f"token {target}: {flaw}")
            elif any(record.operation == "token.issue" for record in history):
                report.flaw(f"the row of {target} is missing")
        elif kind == "key":
            key = keys.get(target)
            if key is None:
                report.flaw(f"the row of {target} is missing")
                continue
            report.keys += 1
            for flaw in key_flaws(key.row, history, intact=key.intact):
                report.flaw(f"key {target}: {flaw}")
    for flaw in signer_flaws([key.row for key in keys.values()], query.records(store, query.Filter(operation=KEY_OPERATIONS))):
        report.flaw(flaw)
    check_facts(store, report)
