"""What OpenBao answers, read strictly: what is not as its API has it breaks its contract (exit 8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from tokenctl.backends.remote.service import Facts
from tokenctl.errors import ServerError
from tokenctl.http.peer import Answer
from tokenctl.secret import Secret

_ACCESSOR = re.compile(r"[A-Za-z0-9]{24}(?:\.[A-Za-z0-9]{1,64})?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKEN = re.compile(rb"[\x21-\x7e]{1,65536}")
_LONGEST = 200  # characters of a text that is told
_MOST_WARNINGS = 5


def is_accessor(text: str) -> bool:
    """Whether a text has the form of an accessor."""
    return _ACCESSOR.fullmatch(text) is not None


def may_be_token(text: Secret) -> bool:
    """Whether a text can be a token; the empty one, to OpenBao, is the token of whoever asks."""
    return _TOKEN.fullmatch(text.reveal()) is not None


def accessor_of(members: Mapping[str, object]) -> str | None:
    """Return the accessor that is named, if it is one; a batch token has none."""
    accessor = members.get("accessor")
    return accessor if isinstance(accessor, str) and is_accessor(accessor) else None


def member(answer: Answer, name: str) -> dict[str, object]:
    """Return an object of an answer; raises ServerError where it is not there (exit 8)."""
    if answer.status != 200:
        raise ServerError(f"{answer.place} answered {answer.status} where {name} was expected", reason="unexpected_status")
    value = answer.members().get(name)
    if not isinstance(value, dict):
        raise ServerError(f"{answer.place} broke its contract: no {name} in its answer", reason="malformed_answer")
    return value


def data(answer: Answer) -> dict[str, object]:
    return member(answer, "data")


def granted(answer: Answer) -> Secret:
    """Return the token that an answer grants."""
    token = member(answer, "auth").get("client_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.encode("utf-8", "replace")):
        raise ServerError(f"{answer.place} broke its contract: it grants no token", reason="malformed_answer")
    return Secret(token)


def why(answer: Answer) -> str:
    """Return the errors that an answer lists, of plain characters alone."""
    return "; ".join(_texts(answer, "errors")[:_MOST_WARNINGS]) or "no reason given"


def warnings(answer: Answer) -> tuple[str, ...]:
    """Return what an answer warns of, of plain characters alone."""
    return tuple(_texts(answer, "warnings")[:_MOST_WARNINGS])


def _texts(answer: Answer, name: str) -> list[str]:
    try:
        listed = answer.members().get(name) if answer.body else None
    except ServerError:
        return ["an answer that is not understood"]
    texts = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    return [re.sub(r"[^\x20-\x7e]+", " ", text)[:_LONGEST].strip() for text in texts]


def knows_no_such_token(answer: Answer) -> bool:
    """Whether an answer to a look-up says that there is no such token, and not that this operator may not ask.

    An accessor whose token is not there, or no more, is an ``invalid request``: its revocation was cut off, or its node lags.
    """
    told = why(answer)
    return "bad token" in told or "invalid accessor" in told or (answer.status == 400 and told.endswith("* invalid request"))


def seconds(value: object) -> int | None:
    """Return a count of seconds; ``None`` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def instant(written: object) -> float | None:
    """Return an instant as it writes them, in seconds; ``None`` for anything else."""
    if not isinstance(written, str):
        return None
    try:
        return datetime.fromisoformat(re.sub(r"\.[0-9]+", "", written)).timestamp()
    except (ValueError, OverflowError):
        return None


def facts(members: Mapping[str, object]) -> Facts:
    """Return what a look-up tells by the names of RFC 7662."""
    written, policies, end = members.get("meta"), members.get("policies"), instant(members.get("expire_time"))
    meta = written if isinstance(written, dict) else {}
    told = {
        "sub": meta.get("subject") or members.get("entity_id") or members.get("display_name"), "username": meta.get("owner"),
        "scope": " ".join(map(str, policies)) if isinstance(policies, list) else None,
        "iat": members.get("creation_time"), "exp": int(end) if end is not None else None, "jti": members.get("accessor"),
    }  # fmt: skip
    named: dict[str, object] = {"active": True, "token_type": "bearer"}
    named |= {name: value for name, value in told.items() if value not in (None, "")}
    uses = members.get("num_uses")
    if isinstance(uses, int) and uses < 0:  # its revocation was cut off: it is shown, and accepted no more
        return Facts(active=False, members={"active": False}, handle=accessor_of(members))
    left = seconds(uses)
    return Facts(active=True, members=named, handle=accessor_of(members), uses_left=left or None)
