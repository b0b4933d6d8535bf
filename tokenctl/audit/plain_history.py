"""The histories that nearly all tokens have, judged fast: issued, perhaps used, perhaps revoked.

It only ever says that nothing is to be told. Whatever is not as plain as that is left to ``token_history``, which replays all.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from tokenctl.model.record import NONCE_LENGTH
from tokenctl.model.token import Token

_STRING = r'"[ !#-\[\]-~]*"'  # without an escape, so that it stands for itself
_TEXT, _NUMBER, _LIST = rf"(?:null|{_STRING})", r"(?:null|-?\d+)", rf"(?:null|\[(?:{_STRING}(?:,{_STRING})*)?\])"
# The whole of a canonical body, in the order that `record.body_of` writes.
_body = re.compile(
    r'\{"actor":\{[^{}]*\},'
    rf'"audience":(?P<audience>{_LIST}),"commitment":"(?P<commitment>[0-9a-f]{{64}})","duration_ms":{_NUMBER},'
    rf'(?P<form>"expires_at":{_NUMBER},"format":{_TEXT},"kid":{_TEXT},"kind":{_TEXT}),"operation":{_STRING},"outcome":{_TEXT},'
    rf'(?P<kin>"owner":{_TEXT},"parent":{_TEXT}),"policy":{_TEXT},"reason":(?P<reason>{_TEXT}),"request_id":{_TEXT},'
    rf'"scope":(?P<scope>{_LIST}),"seq":\d+,"subject":(?P<subject>{_TEXT}),"target":{_TEXT},"ticket":{_TEXT},'
    r'"time":-?\d+,"v":1\}'
).fullmatch


class Told(NamedTuple):
    """What a token's history needs of a record."""

    seq: int
    time: int
    operation: str
    body: bytes
    nonce: bytes


def plainly_sound(token: Token, history: Sequence[Told]) -> bool:
    """Whether a token's row, taken as intact, is what a plain history leads to; false wherever that is not plain."""
    first, last = history[0], history[-1]
    if (
        last.seq != token.leaf
        or first.operation != "token.issue"
        or token.suspended_at is not None
        or (token.replaces, token.replaced_by, token.grace, token.grace_until) != (None, None, None, None)
        or not _issued(token, first)
    ):
        return False
    others = history[1:]
    ending = others[-1] if others and others[-1].operation == "token.revoke" else None
    uses = others if ending is None else others[:-1]
    if any(told.operation != "token.use" or _body(str(told.body, "latin-1")) is None for told in uses):
        return False
    if token.max_uses is not None and token.uses != len(uses):
        return False
    if ending is not None:
        return _revoked(token, ending)
    return (token.reason, token.revoked_at, token.suspended_until, token.suspended_then, token.children_kept) == (
        None, None, None, None, 0,
    )  # fmt: skip


def _issued(token: Token, told: Told) -> bool:
    body = _body(str(told.body, "latin-1"))
    if body is None:
        return False
    audience, form, kin, scope, subject = body.group("audience", "form", "kin", "scope", "subject")
    return (
        form
        == f'"expires_at":{token.expires_at},"format":{_text(token.format)},"kid":{_text(token.kid)},"kind":{_text(token.kind)}'
        and kin == f'"owner":{_text(token.owner)},"parent":{_text(token.parent)}'
        and subject == _text(token.subject)
        and scope == _texts(token.scope)
        and audience == _texts(token.audience)
    )


def _revoked(token: Token, told: Told) -> bool:
    body = _body(str(told.body, "latin-1"))
    if body is None or token.revoked_at != told.time or body.group("reason") != _text(token.reason):
        return False
    # Other revocations commit to more than the row tells, but only one that keeps the children says so.
    terms = f'{{"keep_children":true,"note":{_text(token.revoked_note)}}}'
    keeps = body.group("commitment") == hmac.digest(told.nonce[:NONCE_LENGTH], terms.encode("ascii"), "sha256").hex()
    return keeps == bool(token.children_kept)


def _text(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def _texts(values: Sequence[str]) -> str:
    return f"[{','.join(map(quoted, sorted(values)))}]"
