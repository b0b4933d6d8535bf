"""How an issued token leaves: to standard output, a descriptor or a file, once; what did not arrive is revoked."""

import json
import re

from tokenctl import files, process
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable, TokenctlError
from tokenctl.model.times import format_instant
from tokenctl.model.token import IssuedToken, Reason, Target, standing_of


class Stream:
    """Delivery to a descriptor that is open already."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        files.write_all(self._descriptor, data)

    def discard(self) -> None:
        return


def delivery_of(
    context: Context, *, out: str | None, mode: str | None, group: str | None, fd: int | None
) -> files.Delivery | Stream:
    """Open where the token goes, before it is minted."""
    if out is not None:
        context.refuse_own(out)
        return files.Delivery(out, mode=mode_of(mode), group=group_of(group))
    if fd is not None:
        return Stream(process.adopt_descriptor(fd, writing=True, forbidden=context.own_files()))
    return Stream(1)


def mode_of(mode: str | None) -> int:
    if mode is None:
        return files.PRIVATE_FILE
    if not re.fullmatch(r"0?[0-7]{3}", mode) or not int(mode, 8) & 0o400 or int(mode, 8) & 0o137:
        raise InvalidRequest("--mode: 600, 400, 640 or 440", hint="a token is no program, and never for everybody")
    return int(mode, 8)


def group_of(group: str | None) -> int | None:
    if group is None:
        return None
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidRequest("--group: no such group") from None


def deliver_token(context: Context, backend: Backend, issued: IssuedToken, delivery: files.Delivery | Stream) -> None:
    """Write the token, then record that it was delivered; a token that did not arrive is revoked at once."""
    identifier = issued.token.id
    data = issued.text.reveal() + b"\n"
    if context.console.machine and isinstance(delivery, Stream):
        data = json_line(context, issued, out=None)
    try:
        delivery.write(data)
    except OSError as error:
        cause = files.cause_of(error)
        target, reason = Target(id=identifier, text=issued.text), Reason(reason="undelivered", request_id=issued.request_id)
        fate = _revoked(backend, issued, [target], reason) or "it was revoked"
        raise TemporarilyUnavailable(
            f"token {identifier} could not be delivered ({cause}): {fate}",
            hint="mend the output and run again",
            reason="undelivered",
        ) from None
    note_delivery(backend, issued)


def _revoked(backend: Backend, issued: IssuedToken, targets: list[Target], reason: Reason) -> str | None:
    """Revoke what did not arrive; return what becomes of it otherwise, ``None`` where it is denied."""
    try:
        outcomes = list(backend.revoke(targets, reason))
    except TokenctlError as error:
        if not issued.token.remote:
            raise
        return f"{error.message}; {until_denied(issued)}"
    if all(outcome.outcome in ("revoked", "already_revoked") for outcome in outcomes):
        return None
    return until_denied(issued)


def until_denied(issued: IssuedToken) -> str:
    """Say how long a token may be accepted that did not arrive and was not revoked."""
    if issued.token.remote:
        return f"it may be accepted until {format_instant(issued.token.expires_at)}"
    return "it denies from 60 s on"


def note_delivery(backend: Backend, issued: IssuedToken) -> None:
    """Record that a token reached its taker; raises TemporarilyUnavailable where it is not accepted for that (exit 7)."""
    identifier = issued.token.id
    try:
        late = backend.delivery.delivered([identifier])
    except TokenctlError as error:
        raise TemporarilyUnavailable(
            f"token {identifier} was written, but its delivery was not recorded ({error.message}): {until_denied(issued)}",
            hint="run again for another one", reason="undelivered",
        ) from None  # fmt: skip
    if late:
        raise TemporarilyUnavailable(
            f"token {identifier} reached its taker too late: it is not accepted", hint="run again for another one",
            reason="undelivered",
        )  # fmt: skip


def json_line(context: Context, issued: IssuedToken, out: str | None) -> bytes:
    text = None if out is not None else issued.text.reveal().decode("ascii")
    members = token_members(context, issued) | {"token": text, "out": out, "warnings": list(context.console.warnings)}
    return json.dumps(members, ensure_ascii=True).encode("ascii") + b"\n"


def token_members(context: Context, issued: IssuedToken, *, now: int | None = None) -> dict[str, object]:
    """Return the token object of a token that was just made, at ``now`` or at the moment it was issued."""
    from tokenctl.render.machine import token_object

    now = issued.token.issued_at if now is None else now
    standing = standing_of(issued.token, now=now)
    return token_object(issued.token, standing, profile=context.console.profile or "", now=now, children=0)
