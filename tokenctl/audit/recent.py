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
    _check_indexes(store, behind, report)
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


def _check_indexes(store: Store, behind: int, report: Report) -> None:
    """Hold the indexes against the records behind a number: what one of them leaves out, no question and no judgement finds.

    A check of all leaves that to SQLite's own check of the whole file.
    """
    indexes = store.rows("SELECT name FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = 'record' AND sql IS NOT NULL")
    for name, column in [(str(name), _column_of(str(name))) for (name,) in indexes]:
        if column is None:
            continue
        there = f"SELECT 1 FROM main.record AS it INDEXED BY {name} WHERE it.{column} = told.{column} AND it.seq = told.seq"
        sql = f"SELECT seq FROM main.record AS told WHERE seq > ? AND {column} IS NOT NULL AND NOT EXISTS ({there}) LIMIT 5"
        for (seq,) in store.rows(sql, behind):
            report.flaw(f"record {seq} is not in the index of {column}s")


def _column_of(index: str) -> str | None:
    """Return the column that an index of records begins with; ``None`` for one of records of some kind alone."""
    _, _, column = index.partition("record_by_")
    return column or None
