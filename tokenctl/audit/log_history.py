"""Replaying what the log tells of its own key, and comparing it with what the store says of it."""

from __future__ import annotations

from collections.abc import Iterator

from tokenctl.audit import query
from tokenctl.audit.token_history import replay
from tokenctl.store.connection import Store

MADE, DONE = "made", "done"  # outcomes of the records of a first and of a later key
ROTATED, EXPORTED = "log.rotate_key", "log.checkpoint"
PUBLIC = "log_public_key"  # the name in meta of the public key


def log_key_flaws(store: Store) -> Iterator[str]:
    """Yield what the records of the log's keys say against the present one."""
    newest: str | None = None
    for _, facts in replay(list(query.records(store, query.Filter(operation=(ROTATED,))))):
        key = str(facts.get("reason"))
        if facts.get("outcome") != (MADE if newest is None else DONE):
            yield "a key of the log was made beside the one before"
        elif newest is not None and newest.partition("+")[0] != key.partition("+")[0]:
            yield "a key of the log has another origin than the one before"
        newest = key
    if store.value("SELECT value FROM meta WHERE name = ?", PUBLIC) != newest:
        yield "the public key of the log is not the one last recorded"
