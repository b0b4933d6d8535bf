"""Checking the log and the state against it.

The whole log: numbers without a gap, bodies that hash to their leaves, columns that say what the body says, times that
never go back but where a record accepts the clock, and the root of all of it in the authenticated head. The state: every
row is what its records say, nothing is without one, and what a corrected clock had ended or lifted is denied again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.audit.key_history import KEY_OPERATIONS, key_flaws, signer_flaws
from tokenctl.audit.lifting import OPERATIONS, lifted_ahead
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.model.record import KEPT, Record, issue_parameters, replacement_parameters, suspension_parameters
from tokenctl.model.token import Token
from tokenctl.store.connection import Store
from tokenctl.store.rows import Rows

_MOST_TOLD = 20


class Correction(NamedTuple):
    """A record that accepted the clock: its number, the time of the log before it, and its own."""

    seq: int
    before: int
    clock: int


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found: the verdict, the flaws behind it, and how much was looked at."""

    verdict: str = "OK"
    flaws: list[str] = field(default_factory=list)
    records: int = 0
    tokens: int = 0
    keys: int = 0
    root: bytes = b""

    @property
    def sound(self) -> bool:
        return self.verdict in ("OK (anchored locally only)", "UNANCHORED")

    def flaw(self, text: str) -> None:
        if len(self.flaws) < _MOST_TOLD:
            self.flaws.append(text)
        self.verdict = "INVALID"


def verify(
    store: Store, rows: Rows, head: Head, *, head_intact: bool, judged: str | None, anchored: bool,
    state: bool = True, progress: Callable[[int], None] = lambda _: None,
) -> Report:  # fmt: skip
    """Check the log, and with ``state`` the rows.

    Args:
        head: The head as it stands in the store.
        head_intact: Whether its MAC holds.
        judged: What opening the store found against head and anchor, for example ``TRUNCATED: …``.
        anchored: Whether an anchor was there to compare with.
        progress: Told the number of records checked.
    """
    report = Report()
    for damage in store.damage():
        report.flaw(f"the store's file is damaged: {damage}")
    if not head_intact:
        report.flaw("the head of the log is not authentic")
    corrections = _check_log(store, rows, head, report, progress)
    if state:
        _check_state(store, rows, report)
        _check_corrections(store, corrections, report)
    if report.verdict == "OK" and judged is not None:
        report.verdict = judged.partition(":")[0]
        report.flaws.append(judged)
    elif report.verdict == "OK":
        report.verdict = "OK (anchored locally only)" if anchored else "UNANCHORED"
    return report


def _check_log(store: Store, rows: Rows, head: Head, report: Report, progress: Callable[[int], None]) -> list[Correction]:
    tree = CompactRange()
    last_time = 0
    corrections: list[Correction] = []
    for record in query.records(store, query.Filter()):
        if record.seq != tree.size + 1:
            report.flaw(f"record {tree.size + 1} is missing")
            return corrections
        if leaf_hash(record.body) != record.hash:
            report.flaw(f"record {record.seq} does not hash to its leaf")
        elif not _columns_agree(record):
            report.flaw(f"record {record.seq}: its columns differ from its body")
        if not rows.nonce_intact(record.seq, record.nonce):
            report.flaw(f"record {record.seq}: its nonce was changed")
        if record.time < last_time and record.operation == "store.clock":
            corrections.append(Correction(seq=record.seq, before=last_time, clock=record.time))
        elif record.time < last_time:
            report.flaw(f"record {record.seq} is older than the one before")
        last_time = record.time
        tree.append(leaf_hash(record.body))
        if tree.size % 10_000 == 0:
            progress(tree.size)
    report.records, report.root = tree.size, tree.root()
    if tree.size != head.size:
        report.flaw(f"the log has {tree.size} records, its head says {head.size}")
    elif tree.root() != head.root or tree.to_bytes() != head.range:
        report.flaw("the records do not have the root that the head says")
    return corrections


def _columns_agree(record: Record) -> bool:
    try:
        facts = record.facts()
    except ValueError:
        return False
    actor = facts.get("actor")
    name = f"{actor.get('name')}@{actor.get('host')}" if isinstance(actor, dict) else None
    told = [facts.get(name) for name in ("seq", "time", "operation", "target", "request_id")]
    return told == [record.seq, record.time, record.operation, record.target, record.request] and name == record.actor


def _check_state(store: Store, rows: Rows, report: Report) -> None:
    for stored in rows.every_token():
        report.tokens += 1
        history = list(query.records(store, query.Filter(target=(stored.row.id,))))
        for flaw in _token_flaws(stored.row, history, intact=stored.intact):
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
        sql = """SELECT EXISTS (SELECT 1 FROM record WHERE request = ?1 AND actor = ?2)
                 OR EXISTS (SELECT 1 FROM token WHERE request = ?1 AND issued_by = ?2)"""
        if not store.integer(sql, request, actor):
            report.flaw(f"no record speaks of the request {request}")
    _check_root_facts(store, report)
    changes = list(query.records(store, query.Filter(operation=("store.policy",))))
    policies = [facts.get("policy") for _, facts in _replay(changes)]
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


def _check_corrections(store: Store, corrections: list[Correction], report: Report) -> None:
    """What the log's time had ended before it was turned back must have been revoked with it, and what it had lifted
    too early suspended again: nothing is revived.
    """
    sql = (
        "SELECT id FROM token WHERE revoked_at IS NULL AND expires_at > ?1 AND (expires_at <= ?2 OR issued_at > ?1"
        # A grace that began after the correction has nothing to do with it.
        " OR (grace_until <= ?2 AND (SELECT max(seq) FROM record WHERE target = token.id AND operation = 'token.replace') < ?3))"
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


def _check_root_facts(store: Store, report: Report) -> None:
    """Replay where the root secret went, and how many there were."""
    place, version = "file", 1
    meta = {str(name): value for name, value in store.rows("SELECT name, value FROM meta")}
    own = query.Filter(operation=("store.move_secret", "store.rotate_root"), target=(str(meta.get("store_id")),))
    for operation, facts in _replay(list(query.records(store, own))):
        if operation == "store.rotate_root":
            version += facts.get("outcome") == "done"
            continue
        before, _, name = str(facts.get("reason")).partition(" to ")
        if before != place:
            report.flaw(f"the root secret was moved from {before}, where its records do not put it")
        place = name
    if (meta.get("root_place"), meta.get("root_version")) != (place, version):
        report.flaw("the place or the version of the root secret is not the one last recorded")


def _replay(history: list[Record]) -> Iterator[tuple[str, dict[str, object]]]:
    for record in history:
        try:
            yield record.operation, record.facts()
        except ValueError:
            yield "unreadable", {}


def _token_flaws(token: Token, history: list[Record], *, intact: bool) -> Iterator[str]:
    """Replay a token's records and compare what they lead to with its row."""
    if not intact:
        yield "its row or its tags were changed"
    if not history or history[0].operation != "token.issue":
        yield "no record of its issue"
        return
    if history[-1].seq != token.leaf:
        yield "its newest record is not the one that its row says"
    identity: dict[str, object] = {}
    revoked: object = None
    revoked_at: int | None = None
    suspended_at: int | None = None
    terms: Record | None = None  # the record that the terms of a suspension or revocation must fit
    replaced: Record | None = None
    uses = 0
    for (operation, facts), record in zip(_replay(history), history, strict=True):
        if operation == "token.issue":
            identity = facts
        elif operation == "token.revoke":
            revoked, revoked_at, terms = facts.get("reason"), record.time, record
        elif operation == "token.suspend" and facts.get("outcome") != KEPT:
            suspended_at, terms = record.time if suspended_at is None else suspended_at, record
        elif operation == "token.lift":
            suspended_at, terms = None, None
        elif operation == "token.replace":
            replaced = record
        elif operation == "token.use":
            uses += 1
    said = {name: identity.get(name) for name in ("subject", "owner", "kind", "format", "expires_at", "parent", "kid")}
    if said != {name: getattr(token, name) for name in said}:
        yield "its row differs from the record of its issue"
    if [identity.get("scope"), identity.get("audience")] != [sorted(token.scope), sorted(token.audience)]:
        yield "its scope or audience differs from the record of its issue"
    if (revoked, revoked_at) != (token.reason, token.revoked_at):
        yield "its revocation differs from its records"
    if suspended_at != token.suspended_at or not _terms_fit(token, terms):
        yield "its suspension, or what becomes of its children, differs from its records"
    if not _replacements_fit(token, history[0], replaced):
        yield "what it replaces, or what replaces it, differs from its records"
    if token.max_uses is not None and uses != token.uses:
        yield "its uses differ from its records"


def _terms_fit(token: Token, record: Record | None) -> bool:
    """Whether a row says of its end and its children what its newest such record commits to."""
    if record is None:
        return (token.suspended_until, token.suspended_then, token.children_kept) == (None, None, 0)
    if record.operation == "token.suspend":
        terms = suspension_parameters(
            token.suspended_until, token.suspended_then, keep_children=bool(token.children_kept), note=token.revoked_note
        )
        return record.commits_to(terms)
    # Other revocations commit to more than the row tells, but only one that keeps the children says so.
    return record.commits_to({"note": token.revoked_note, "keep_children": True}) == bool(token.children_kept)


def _replacements_fit(token: Token, issued: Record, replaced: Record | None) -> bool:
    """Whether a row says of the tokens before and after it what its issue and its newest replacement commit to."""
    if replaced is None and (token.replaced_by, token.grace_until) != (None, None):
        return False
    if replaced is not None and not replaced.commits_to(replacement_parameters(token.replaced_by, token.grace_until)):
        return False
    if (token.replaces, token.grace) == (None, None):
        return True
    told = issue_parameters(
        token.labels, token.max_uses, token.not_before, token.note, replaces=token.replaces, grace=token.grace
    )  # fmt: skip
    return issued.commits_to(told)
