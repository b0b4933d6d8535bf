"""What is kept of the tokens of a service: a row for each that was obtained, an intent before and an outcome after a call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tokenctl.backends.local import sealing
from tokenctl.backends.local.standing import event_about, look, record_about
from tokenctl.backends.local.view import Change, View
from tokenctl.backends.remote.service import Obtained
from tokenctl.formats import jwt
from tokenctl.model.identifier import encode_base62
from tokenctl.model.introspection import Found
from tokenctl.model.record import Event, issue_parameters
from tokenctl.model.times import SECOND
from tokenctl.model.token import Reason, Token, TokenRequest
from tokenctl.secret import Secret
from tokenctl.store.rows import Stored
from tokenctl.store.schema import REMOTE

INTENT, OUTCOME = "remote.intent", "remote.outcome"
HANDLE = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_ID_BYTES, _ID_LENGTH = 16, 22


class Known(NamedTuple):
    """A token of this profile that a text was recognised as."""

    stored: Stored[Token]
    found: Found


def recognise(view: View, text: Secret) -> Known | None:
    """Return the row of the token that a text is; ``None`` for no token of this profile."""
    for pepper in _peppers(view):
        identifier = view.rows.id_by_verifier(sealing.verifier(pepper, view.store_id, text))
        stored = view.rows.token(identifier) if identifier is not None else None
        if stored is not None:
            return Known(stored, look(view, stored, count_children=True))
    return None


def living(view: View) -> int:
    """Return how many tokens of this profile the service may still accept, as far as its rows tell."""
    return view.store.integer(
        f"SELECT count(*) FROM token WHERE {REMOTE} AND revoked_at IS NULL AND expires_at > ?", view.now
    )  # fmt: skip


def _peppers(view: View) -> Iterable[bytes]:
    yield view.keys.pepper
    if view.keys.version > sealing.FIRST_VERSION:
        from tokenctl.backends.local import retaining

        for version in retaining.versions(view):
            kept = retaining.retained(view, version)
            if kept is not None:
                yield kept.pepper


def derived_id(view: View, text: Secret) -> str:
    """Return the id of a token that has no other: 22 base62 digits of what its text leaves here."""
    verifier = sealing.verifier(view.keys.pepper, view.store_id, text)
    return encode_base62(int.from_bytes(verifier[:_ID_BYTES], "big"), _ID_LENGTH)


def intend(change: Change, what: str, *, target: str | None, request_id: str, **facts: object) -> None:
    """Record that a service is about to be asked for a change."""
    event = Event(operation=INTENT, target=target, outcome="pending", reason=what, request_id=request_id)
    change.append(event._replace(**facts))  # type: ignore[arg-type]  # names are checked by the tuple


def conclude(
    change: Change, what: str, outcome: str, *, target: str | None, request_id: str,
    parameters: Mapping[str, object] | None = None, duration_ms: int | None = None,
) -> None:  # fmt: skip
    """Record what came of an intent.

    Args:
        outcome: ``done``; ``failed`` where the service surely did nothing; ``unknown`` where that is not known; or that of
            a revocation.
    """
    change.append(
        Event(
            operation=OUTCOME, target=target, outcome=outcome, reason=what, request_id=request_id, duration_ms=duration_ms,
            parameters=dict(parameters) if parameters is not None else None,
        )
    )  # fmt: skip


def intend_about(change: Change, stored: Stored[Token], what: str, reason: Reason) -> Stored[Token]:
    """Record that a change of a token of ours is about to be asked for; return its row with that."""
    facts: dict[str, object] = {
        "outcome": "pending", "reason": what, "request_id": reason.request_id, "ticket": reason.ticket
    }  # fmt: skip
    return stored._replace(row=record_about(change, stored, INTENT, facts))


def conclude_about(
    change: Change, stored: Stored[Token], what: str, outcome: str, request_id: str, *, duration_ms: int | None = None
) -> Token:
    """Record what came of an intent about a token of ours; return its row with that."""
    facts: dict[str, object] = {"outcome": outcome, "reason": what, "request_id": request_id, "duration_ms": duration_ms}
    return record_about(change, stored, OUTCOME, facts)


def keep(
    change: Change, request: TokenRequest, obtained: Obtained, *, authority: str, expires_at: int, named: str, own: str | None,
    policy: str,
) -> Token:  # fmt: skip
    """Write the row of a token that was obtained, and its record."""
    text = obtained.text
    is_jwt = _is_jwt(text)
    token = Token(
        id=_id_of(change, obtained, is_jwt=is_jwt), kind="access", format="jwt" if is_jwt else "opaque",
        subject=obtained.subject or request.subject, owner=request.owner, issued_by=change.actor_name,
        issued_at=obtained.issued_at - obtained.issued_at % SECOND, expires_at=expires_at, issuer=authority,
        max_uses=request.max_uses, note=request.note, request=own,
        verifier=sealing.verifier(change.keys.pepper, change.store_id, text), pepper_version=change.keys.version,
        leaf=change.next_seq, scope=tuple(sorted(set(obtained.scope))), audience=tuple(sorted(set(request.audience))),
        labels=tuple(sorted(request.labels)), batch=request.batch, parent=_parent_of(change, obtained),
    )  # fmt: skip
    parameters = issue_parameters(
        token.labels, token.max_uses, token.not_before, token.note, verifier=token.verifier
    )  # fmt: skip
    change.append(event_about("token.issue", token, request_id=named, policy=policy, parameters=parameters))
    change.rows.insert_tokens([token])
    return token


def _parent_of(change: Change, obtained: Obtained) -> str | None:
    """Return the token that it dies with, where that is one of this profile: of others nothing is known here."""
    return obtained.parent if obtained.parent is not None and change.rows.token(obtained.parent) is not None else None


def _is_jwt(text: Secret) -> bool:
    return claims_of(text) is not None


def claims_of(text: Secret) -> dict[str, object] | None:
    """Return the claims set that a text would carry as a JWT, believed by nobody; ``None`` for no JWT."""
    try:
        return jwt.decode_unverified(text.reveal().decode("ascii")).claims
    except (jwt.MalformedToken, UnicodeDecodeError):
        return None


def _id_of(change: Change, obtained: Obtained, *, is_jwt: bool) -> str:
    """Return the handle, the ``jti``, or what is derived from the text; never one that another token has."""
    jti = (claims_of(obtained.text) or {}).get("jti") if is_jwt else None
    for identifier in (obtained.handle, jti):
        if isinstance(identifier, str) and HANDLE.fullmatch(identifier) and change.rows.token(identifier) is None:
            return identifier
    return derived_id(change, obtained.text)


def revoke(change: Change, stored: Stored[Token], reason: Reason, *, keep_children: bool = False) -> Token:
    """Write into a row that its service denies the token now, with the record."""
    parameters: dict[str, object] = {"note": reason.note} | ({"keep_children": True} if keep_children else {})
    facts: dict[str, object] = {
        "reason": reason.reason, "ticket": reason.ticket, "request_id": reason.request_id, "parameters": parameters,
    }  # fmt: skip
    return record_about(
        change, stored, "token.revoke", facts,
        revoked_at=change.now, revoked_by=change.actor_name, reason=reason.reason, revoked_note=reason.note,
        ticket=reason.ticket, revoked_request=reason.request_id, children_kept=int(keep_children),
    )  # fmt: skip


def was_begun(view: View, identifier: str) -> bool:
    """Whether a token that has no row here was known when its revocation was asked for, or that was never answered.

    The newest intent is that of the revocation under way.
    """
    sql = "SELECT operation, body FROM record WHERE target = ? AND +operation IN (?, ?) ORDER BY seq DESC LIMIT -1 OFFSET 1"
    for operation, body in view.store.rows(sql, identifier, INTENT, OUTCOME):
        if operation == INTENT:
            return True
        try:
            outcome = json.loads(body).get("outcome") if isinstance(body, bytes) else None
        except ValueError:
            outcome = None
        if outcome != "unreachable":
            return outcome in ("revoked", "already_revoked", "unverified", "still_active")
    return False
