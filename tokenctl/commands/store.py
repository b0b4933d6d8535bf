"""``store seal``, ``release`` and ``accept-clock``: to quarantine a store, or accept it, or a clock behind the log."""

from __future__ import annotations

from tokenctl.audit import verified
from tokenctl.backends.base import Backend
from tokenctl.backends.local import clock
from tokenctl.commands.audit.verify import examine
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidRequest
from tokenctl.model.identifier import new_id
from tokenctl.model.record import Event
from tokenctl.model.times import format_duration, format_instant
from tokenctl.render.escape import escape

_LONGEST_REASON = 200  # characters


def seal(context: Context, *, reason: str | None) -> int:
    """Quarantine the store; one that is quarantined already is left as it is.

    Raises:
        InvalidRequest: no reason (exit 2).
        NotFound: there is no store (exit 5).
    """
    reason = _required(reason, hint="say why nothing in the store may be believed")
    sealed = False
    with context.backend() as backend, backend.journal.changing() as change:
        if change is None:
            raise backend.journal.absent()
        if change.quarantine is None or change.head.quarantine is None:
            change.seal(change.quarantine or f"SEALED: {reason}")
            change.append(Event(operation="store.seal", target=change.store_id, reason=reason, parameters={"flaws": []}))
            sealed = True
        verdict = change.quarantine
    console = context.console
    if console.machine:
        told = {"sealed": sealed, "profile": console.profile, "verdict": verdict}
        console.document({**told, "warnings": list(console.warnings)})
    elif sealed:
        console.result(f"sealed: {escape(str(verdict))}" if console.on_terminal else f"sealed\t{escape(str(verdict))}")
    else:
        console.chat(f"quarantined already: {verdict}")
    return 0


def _required(reason: str | None, *, hint: str) -> str:
    if reason is None or not reason.strip() or len(reason) > _LONGEST_REASON:
        raise InvalidRequest(f"--reason: is required, at most {_LONGEST_REASON} characters", hint=hint)
    return reason


def release(context: Context, *, reason: str | None, yes: bool) -> int:
    """Lift the quarantine; nothing to lift is done too.

    Raises:
        InvalidRequest: no reason, or not confirmed (exit 2).
        NotFound: there is no store (exit 5).
    """
    reason = _required(reason, hint="say why the store may be believed")
    console = context.console
    with context.backend() as backend:
        with backend.journal.reading() as view:
            if view is None:
                raise backend.journal.absent()
            verdict = view.quarantine
        if verdict is None:
            console.chat("not quarantined: nothing to release")
            _tell_release(context, backend.name, None)
            return 0
        console.chat(f"profile {backend.name} ({backend.place}): {verdict}")
        console.chat("tokens revoked in what was lost are accepted again: revoke them first if you know them")
        if not yes:
            console.confirm("Accept this store as it is?", 1, "released")
        with backend.journal.changing() as change:
            assert change is not None
            verdict = change.quarantine
            change.lift_quarantine()
            change.append(
                Event(operation="store.release", target=change.store_id, reason=reason, parameters={"verdict": verdict})
            )
            # Before it is durable: what is killed behind that must not leave it. No check of a quarantined store writes it.
            verified.forget(backend.journal.anchor_path)
        _tell_release(context, backend.name, str(verdict))
    return 0


def _tell_release(context: Context, profile: str, verdict: str | None) -> None:
    console = context.console
    if console.machine:
        told = {"released": verdict is not None, "profile": profile, "verdict": verdict}
        console.document({**told, "warnings": list(console.warnings)})
    elif verdict is not None:
        console.result(f"released: {escape(verdict)}" if console.on_terminal else f"released\t{escape(verdict)}")


def accept_clock(context: Context, *, reason: str | None, yes: bool) -> int:
    """Let the log go on from the present clock; a clock that is not behind is nothing to accept.

    What the last record's time had ended is revoked with it, what it had lifted is suspended again, and the whole log is
    checked afterwards.

    Raises:
        InvalidRequest: a malformed reason, or not confirmed (exit 2).
        NotFound: there is no store (exit 5).
        TemporarilyUnavailable: the clock was never set (exit 7).
        IntegrityError: the store is quarantined, or does not check out afterwards (exit 10).
    """
    if reason is not None and (not reason.strip() or len(reason) > _LONGEST_REASON):
        raise InvalidRequest(f"--reason: is empty or longer than {_LONGEST_REASON} characters")
    with context.backend() as backend:
        with backend.journal.reading() as view:
            if view is None:
                raise backend.journal.absent()
            view.require_trust()
            distance, last = clock.behind(view), view.last_time
            counts = (len(clock.doomed(view)), len(clock.revived(view))) if distance else (0, 0)
        accepted = None
        if distance:
            clock.require_believable(context.now)
            _ask(context, backend, distance, last, counts, yes=yes)
            with backend.journal.changing(trusted=True) as change:
                assert change is not None
                if clock.behind(change):
                    accepted = clock.accept(change, reason=reason, request_id=new_id(context.now))
        _tell(context, backend.name, accepted)
        if accepted is not None:
            _check_after(context, backend)
    return 0


def _ask(context: Context, backend: Backend, distance: int, last: int, counts: tuple[int, int], *, yes: bool) -> None:
    ended, lifted = counts
    console = context.console
    console.chat(f"profile {backend.name} ({backend.place}): the clock stands {format_duration(distance)} behind the last record")
    console.chat(f"clock        {format_instant(context.now)}")
    console.chat(f"last record  {format_instant(last)}")
    console.chat(f"{_tokens(ended)} will be revoked: ended by the time of the last record, or issued ahead of the clock")
    if lifted:
        console.chat(f"{_tokens(lifted)} will be suspended again: lifted ahead of the clock")
    if not yes:
        console.confirm("Go on from this clock?", ended + lifted, "accepted")


def _tell(context: Context, profile: str, accepted: clock.Accepted | None) -> None:
    console = context.console
    if console.machine:
        console.document(
            {"accepted": accepted is not None, "profile": profile, "clock": format_instant(context.now),
             "last_record": format_instant(accepted.before) if accepted else None,
             "request_id": accepted.request_id if accepted else None,
             "ended": accepted.ended if accepted else [], "suspended": accepted.suspended if accepted else [],
             "warnings": list(console.warnings)}
        )  # fmt: skip
    elif accepted is None:
        console.chat("the clock is not behind the last record: nothing to accept")
    elif console.on_terminal:
        told = f"{_tokens(len(accepted.ended))} revoked"
        told += f", {len(accepted.suspended)} suspended again" if accepted.suspended else ""
        console.result(f"accepted: the log goes on from {format_instant(accepted.clock)}; {told}")
        console.chat(f"look    {console.command} audit log --request-id {accepted.request_id}")
    else:
        columns = (format_instant(accepted.before), format_instant(accepted.clock), str(len(accepted.ended)), accepted.request_id)
        console.result("\t".join(("accepted", *columns)))


def _tokens(count: int) -> str:
    return f"{count:,} token{'s' * (count != 1)}"


def _check_after(context: Context, backend: Backend) -> None:
    """Check log and rows: a row that was hidden from the correction is found now, before anyone relies on it."""
    report = examine(context, backend)
    if report is not None and not report.sound:
        raise IntegrityError(
            f"the clock is accepted, but the store does not check out: {report.flaws[0]}", hint="tokenctl audit verify"
        )
