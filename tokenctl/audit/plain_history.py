"""The histories that nearly all tokens have, judged fast: issued, perhaps used, perhaps revoked.

It only ever says that nothing is to be told. Whatever is not as plain as that is left to ``token_history``, which replays all.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted

from tokenctl.model.record import NONCE_LENGTH, canonical, issue_parameters, with_verifier
from tokenctl.model.token import Token

_STRING = r'"[ !#-\[\]-~]*"'  # without an escape, so that it stands for itself
_INTEGER = r"(?:0|-?[1-9][0-9]*)"
_TEXT, _NUMBER = rf"(?:null|{_STRING})", rf"(?:null|{_INTEGER})"
_LIST = rf"(?:null|\[(?:{_STRING}(?:,{_STRING})*)?\])"
_FACT = rf"{_STRING}:(?:null|{_STRING}|{_INTEGER})"
# The whole of a canonical body, in the order that `record.body_of` writes.
_body = re.compile(
    rf'\{{"actor":\{{{_FACT}(?:,{_FACT})*\}},'
    rf'"audience":(?P<audience>{_LIST}),"commitment":"(?P<commitment>[0-9a-f]{{64}})","duration_ms":{_NUMBER},'
    rf'(?P<form>"expires_at":{_NUMBER},"format":{_TEXT},"kid":{_TEXT},"kind":{_TEXT}),"operation":{_STRING},"outcome":{_TEXT},'
    rf'(?P<kin>"owner":{_TEXT},"parent":{_TEXT}),"policy":{_TEXT},"reason":(?P<reason>{_TEXT}),"request_id":{_TEXT},'
    rf'"scope":(?P<scope>{_LIST}),"seq":{_INTEGER},"subject":(?P<subject>{_TEXT}),"target":{_TEXT},"ticket":{_TEXT},'
    rf'"time":{_INTEGER},"v":1\}}'
).fullmatch


# What a token's history needs of a record: target, seq, time, operation, body, nonce.
Told = tuple[str, int, int, str, bytes, bytes]


def plainly_sound(token: Token, history: Sequence[Told]) -> bool:
    """Whether a token's row, taken as intact, is what a plain history leads to; false wherever that is not plain."""
    _, _, _, operation, body, nonce = history[0]
    _, newest, time, ending, _, _ = history[-1]
    if (
        newest != token.leaf
        or operation != "token.issue"
        or token.suspended_at is not None
        or token.replaces is not None
        or token.replaced_by is not None
        or token.grace is not None
        or token.grace_until is not None
        or not _issued(token, body, nonce)
    ):
        return False
    revoked = ending == "token.revoke"
    uses = history[1:-1] if revoked else history[1:]
    if any(told[3] != "token.use" or _body(str(told[4], "latin-1")) is None for told in uses):
        return False
    if token.max_uses is not None and token.uses != len(uses):
        return False
    if revoked:
        return token.revoked_at == time and _revoked(token, history[-1])
    return (token.reason, token.revoked_at, token.suspended_until, token.suspended_then, token.children_kept) == (
        None, None, None, None, 0,
    )  # fmt: skip


def _issued(token: Token, written: bytes, nonce: bytes) -> bool:
    body = _body(str(written, "latin-1"))
    if body is None:
        return False
    audience, form, kin, scope, subject = body.group("audience", "form", "kin", "scope", "subject")
    return (
        form
        == f'"expires_at":{token.expires_at},"format":{quoted(token.format)},"kid":{_text(token.kid)},"kind":{quoted(token.kind)}'
        and kin == f'"owner":{quoted(token.owner)},"parent":{_text(token.parent)}'
        and subject == quoted(token.subject)
        and scope == _texts(token.scope)
        and audience == _texts(token.audience)
        and _issue_fits(token, body["commitment"], nonce[:NONCE_LENGTH])
    )


def _issue_fits(token: Token, commitment: str, nonce: bytes) -> bool:
    terms = _terms(token.labels, token.max_uses, token.not_before, token.note)
    if token.verifier is not None and commitment == hmac.digest(nonce, with_verifier(terms, token.verifier), "sha256").hex():
        return True
    return commitment == hmac.digest(nonce, terms, "sha256").hex()  # of a JWT, and of records of 0.1.0


def _revoked(token: Token, told: Told) -> bool:
    body = _body(str(told[4], "latin-1"))
    if body is None or body["reason"] != _text(token.reason):
        return False
    # Other revocations commit to more than the row tells, but only one that keeps the children says so.
    terms = f'{{"keep_children":true,"note":{_text(token.revoked_note)}}}'
    keeps = body["commitment"] == hmac.digest(told[5][:NONCE_LENGTH], terms.encode("ascii"), "sha256").hex()
    return keeps == bool(token.children_kept)


def _text(value: str | None) -> str:
    return "null" if value is None else quoted(value)


@lru_cache(maxsize=1_000)
def _terms(labels: tuple[tuple[str, str], ...], max_uses: int | None, not_before: int | None, note: str | None) -> bytes:
    return canonical(issue_parameters(labels, max_uses, not_before, note))


@lru_cache(maxsize=1_000)
def _texts(values: tuple[str, ...]) -> str:
    return f"[{','.join(map(quoted, sorted(values)))}]"
