"""``store release``: accept a quarantined store as it is, with a record that says why."""

from __future__ import annotations

from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, NotFound
from tokenctl.model.record import Event
from tokenctl.render.escape import escape

_LONGEST_REASON = 200  # characters


def release(context: Context, *, reason: str | None, yes: bool) -> int:
    """Lift the quarantine; nothing to lift is done too.

    Raises:
        InvalidRequest: no reason, or not confirmed (exit 2).
        NotFound: there is no store (exit 5).
    """
    if reason is None or not reason.strip() or len(reason) > _LONGEST_REASON:
        raise InvalidRequest(
            f"--reason: is required, at most {_LONGEST_REASON} characters", hint="say why the store may be believed"
        )
    console = context.console
    with context.backend() as backend:
        with backend.journal.reading() as view:
            if view is None:
                raise NotFound(f"profile {backend.name} has no store")
            verdict = view.quarantine
        if verdict is None:
            console.chat("not quarantined: nothing to release")
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
        told = escape(str(verdict))
        console.result(f"released\t{told}" if not console.on_terminal else f"released: {told}")
    return 0
