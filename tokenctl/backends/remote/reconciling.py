"""Intents without an outcome: what a command that died, or lost its service, may have left there; found, told and settled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.backends.local.view import View
from tokenctl.backends.remote import ledger
from tokenctl.backends.remote.revoking import denied_now
from tokenctl.backends.remote.service import Reference
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.model.times import MINUTE, format_duration, format_instant
from tokenctl.model.token import LIFETIME_CAP, Reason
from tokenctl.store.schema import REMOTE

if TYPE_CHECKING:
    from tokenctl.backends.remote.authority import RemoteAuthority

UNDER_WAY = 5 * MINUTE  # for which a command may still be at it
_ISSUE, _REVOKE, _ROTATE_KEY = "issue", "revoke", "rotate_key"
_SETTLED = ("revoked", "already_revoked", "unknown", "absent", "lapsed")
# An outcome closes the intent before it; one that is not known closes nothing.
_CLOSED = "o.operation = 'remote.outcome' AND instr(o.body, CAST('\"outcome\":\"unknown\"' AS BLOB)) = 0"
_NEXT = """coalesce((SELECT min(n.seq) FROM record AS n
      WHERE n.{by} = i.{by} AND n.target IS i.target AND n.seq > i.seq AND n.operation = 'remote.intent'), i.seq + (1 << 53))"""
_CLOSING = f"SELECT 1 FROM record AS o WHERE o.{{by}} = i.{{by}} AND o.seq > i.seq AND o.seq < {_NEXT} AND {_CLOSED}"
# A request for a token may have revoked others under the same name.
_OF_ISSUE = "instr({}.body, CAST('\"reason\":\"revoke\"' AS BLOB)) = 0"
# Once no command could be at it, all that a name had brought was settled, whatever was asked for under it since.
_FOUND = f"""SELECT 1 FROM record AS d WHERE d.request = i.request AND d.seq > i.seq AND d.time - i.time >= {UNDER_WAY}
    AND d.operation = 'remote.outcome' AND {_OF_ISSUE.format("d")} AND (instr(d.body, CAST('"outcome":"absent"' AS BLOB))
      OR instr(d.body, CAST('"outcome":"revoked"' AS BLOB)) OR instr(d.body, CAST('"outcome":"lapsed"' AS BLOB)))"""
# A later revocation that the service was seen to keep settles every earlier one of the token.
_DENIED = """SELECT 1 FROM record AS d WHERE d.target = i.target AND d.seq > i.seq AND d.operation = 'remote.outcome'
    AND (instr(d.body, CAST('"outcome":"revoked"' AS BLOB)) OR instr(d.body, CAST('"outcome":"already_revoked"' AS BLOB)))"""
_ORPHANS = f"""SELECT i.seq, i.time, i.target, i.request, i.body FROM record AS i WHERE i.operation = 'remote.intent'
    AND CASE WHEN i.target IS NULL THEN NOT EXISTS ({_CLOSING.format(by="request")} AND {_OF_ISSUE.format("o")})
        AND NOT EXISTS ({_FOUND})
      ELSE NOT EXISTS ({_CLOSING.format(by="target")}) AND NOT EXISTS ({_DENIED}) END"""
_TOLD = "SELECT max(seq) FROM record WHERE request = ? AND operation = 'remote.outcome'"


class Orphan(NamedTuple):
    """An intent whose outcome is not known.

    Attributes:
        what: ``issue`` or ``revoke``, or of a signing key ``rotate_key``, ``retire_key``, ``destroy_key``.
        target: The token that was to be revoked.
        time: When it was recorded, milliseconds UTC.
    """

    seq: int
    time: int
    what: str
    target: str | None
    request: str


class Settled(NamedTuple):
    """What became of an intent.

    Attributes:
        outcome: ``revoked``: what was issued, or was to be revoked, is denied now; ``absent``: the service knows nothing of
            it; ``done``: it did that to a key; ``lapsed``: whatever was issued has expired by now; ``pending``: a command may
            still be at it; ``waiting``: it cannot be settled yet, and ``detail`` says why.
        token: The token that it is about, where one is known.
    """

    orphan: Orphan
    outcome: str
    token: str | None = None
    detail: str | None = None


def orphans(view: View, *, request: str | None = None) -> list[Orphan]:
    """Return the intents without an outcome, the oldest first; ``request`` for those of one request alone."""
    chosen, values = ("", ()) if request is None else (" AND i.request = ?", (request,))
    found = []
    for seq, time, target, named, body in view.store.rows(f"{_ORPHANS}{chosen} ORDER BY i.seq", *values):
        what = str(_members(body).get("reason") or (_ISSUE if target is None else _REVOKE))
        about = None if target is None else str(target)
        found.append(Orphan(int(str(seq)), int(str(time)), what, about, str(named)))
    return found


def settle_before(authority: RemoteAuthority, request: str) -> list[Settled]:
    """Settle what an earlier attempt at the same request may have left, before the request is made again.

    Returns:
        What cannot be settled yet.

    Raises:
        TemporarilyUnavailable: that attempt may still be under way (exit 7).
    """
    with authority.journal.reading() as view:
        left = [orphan for orphan in orphans(view, request=request) if orphan.what == _ISSUE] if view is not None else []
        now = view.now if view is not None else authority.journal.clock
        told = view.store.integer(_TOLD, request) if view is not None and left else 0
    if left and told < left[-1].seq and now - left[-1].time < UNDER_WAY:
        over = format_duration(left[-1].time + UNDER_WAY - now)
        raise TemporarilyUnavailable(
            f"request {request} is under way, or was cut off", hint=f"run again in {over}", reason="under_way"
        )  # fmt: skip
    waiting = []
    for orphan in left:
        settled = _settle_issue(authority, orphan, now)
        if settled.outcome == "waiting":
            waiting.append(settled)
        else:
            _note(authority, settled)
    return waiting


def unfinished(view: View) -> list[tuple[str, str, int]]:
    """Return the tokens that the service did not deny the last time: id, outcome, and when that was, milliseconds UTC."""
    sql = f"""SELECT token.id, o.body, o.time FROM token
        JOIN record AS o ON o.seq = (SELECT max(seq) FROM record WHERE target = token.id AND +operation = 'remote.outcome')
        WHERE {REMOTE} AND token.revoked_at IS NULL AND token.expires_at > ? ORDER BY token.id"""
    found = []
    for identifier, body, at in view.store.rows(sql, view.now):
        members = _members(body)
        if members.get("reason") == _REVOKE and members.get("outcome") not in _SETTLED:
            found.append((str(identifier), str(members.get("outcome")), int(str(at))))
    return found


def _members(body: object) -> dict[str, object]:
    """Return the members of a record's body; none of one that is archived."""
    try:
        members = json.loads(body) if isinstance(body, bytes) else None
    except ValueError:
        members = None
    return members if isinstance(members, dict) else {}


def reconcile(authority: RemoteAuthority, *, dry_run: bool) -> Iterator[Settled]:
    """Settle each intent, and yield it once that is durable.

    Args:
        dry_run: Ask nobody and change nothing: what would be asked about is ``waiting``.

    Raises:
        AccessDenied: the operator's credential is missing or refused (exit 4); Unanswered: the service is away (exit 7).
    """
    with authority.journal.reading() as view:
        found = orphans(view) if view is not None else []
        now = view.now if view is not None else authority.journal.clock
    for orphan in found:
        if now - orphan.time < UNDER_WAY:
            yield Settled(
                orphan, "pending", orphan.target, f"a command may be at it until {format_instant(orphan.time + UNDER_WAY)}"
            )
        elif dry_run:
            yield Settled(orphan, "waiting", orphan.target, "the service is to be asked")
        else:
            settled = _settle(authority, orphan, now)
            if settled.outcome != "waiting":
                _note(authority, settled)
            yield settled


def _settle(authority: RemoteAuthority, orphan: Orphan, now: int) -> Settled:
    if orphan.what == _ISSUE:
        return _settle_issue(authority, orphan, now)
    return _settle_revoke(authority, orphan, now) if orphan.what == _REVOKE else _settle_key(authority, orphan)


def _settle_key(authority: RemoteAuthority, orphan: Orphan) -> Settled:
    """Look whether the key is there that was to be made, or that was to go."""
    keys = authority.signing_keys
    if keys is None:
        return Settled(orphan, "waiting", orphan.target, "the profile names no transit_mount: its keys are not seen")
    listed = keys.keys()
    there = any(key.kid == orphan.target for key, _ in listed)
    if orphan.what == _ROTATE_KEY:
        return Settled(orphan, "done" if there else "absent", orphan.target)
    return Settled(orphan, "absent" if there else "done", orphan.target)


def _settle_issue(authority: RemoteAuthority, orphan: Orphan, now: int) -> Settled:
    """Revoke what was issued and reached nobody; where the service cannot find it, wait until it has expired."""
    found = authority.service.find(orphan.request, orphan.time)
    if found is not None:
        with authority.journal.reading() as view:  # what has a row was handed out; a bulk issue has one name for all its tokens
            found = [handle for handle in found if view is None or view.rows.token(handle) is None]
        for handle in found:
            kept = denied_now(authority.service, Reference(handle))
            if kept is not None:
                return Settled(orphan, "waiting", handle, kept)
        return Settled(orphan, "revoked" if found else "absent", found[0] if found else None)
    end = orphan.time + LIFETIME_CAP["access"]
    if now >= end:
        return Settled(orphan, "lapsed")
    told = f"if a token was issued, nobody here has it, and it is accepted until {format_instant(end)} at the latest"
    return Settled(orphan, "waiting", None, told)


def _settle_revoke(authority: RemoteAuthority, orphan: Orphan, now: int) -> Settled:
    """Ask whether the token is denied by now; where only its text can be asked about, wait until it has expired."""
    target = str(orphan.target)
    with authority.journal.reading() as view:
        stored = view.rows.token(target) if view is not None else None
    if authority.service.by_handle:
        facts = authority.service.ask(Reference(target))
        if facts is not None and not facts.active:
            if not facts.sure:
                return Settled(orphan, "waiting", target, "the service does not know it, and may lag: run again later")
            return Settled(orphan, "revoked", target)
        return Settled(orphan, "waiting", target, "the service still accepts it: revoke it again")
    if stored is not None and stored.row.revoked_at is not None:
        return Settled(orphan, "revoked", target)
    if stored is not None and stored.row.expires_at <= now:
        return Settled(orphan, "lapsed", target)
    return Settled(orphan, "waiting", target, "only the token itself tells: pipe it into revoke again")


def _note(authority: RemoteAuthority, settled: Settled) -> None:
    orphan = settled.orphan
    with authority.journal.changing() as change:
        assert change is not None
        stored = change.rows.token(orphan.target) if orphan.target is not None else None
        if stored is None:
            ledger.conclude(
                change, orphan.what, settled.outcome, target=orphan.target or settled.token, request_id=orphan.request
            )
            return
        if settled.outcome == "revoked" and stored.row.revoked_at is None:
            reason = Reason(reason="other", note="its revocation was reconciled", request_id=orphan.request)
            stored = stored._replace(row=ledger.revoke(change, stored, reason))
        ledger.conclude_about(change, stored, orphan.what, settled.outcome, orphan.request)
