"""What ``audit reconcile`` tells of intents at a remote service whose outcome is not known."""

from __future__ import annotations

from collections.abc import Iterator

from tokenctl.backends.base import Backend
from tokenctl.backends.remote.authority import RemoteAuthority
from tokenctl.backends.remote.reconciling import Settled, reconcile
from tokenctl.commands.audit.reconcile import Told
from tokenctl.commands.context import Context
from tokenctl.model.times import format_distance

_FATES = {
    "revoked": "the service denies it", "absent": "the service knows of no token", "lapsed": "whatever there was has expired",
    "done": "the service did it",
}  # fmt: skip


def found(context: Context, backend: Backend, *, dry_run: bool) -> Iterator[Told]:
    """Settle the intents, and yield what became of each."""
    assert isinstance(backend, RemoteAuthority)
    for each in reconcile(backend, dry_run=dry_run):
        orphan = each.orphan
        about = each.token or orphan.target or orphan.request
        detail = f"asked for {format_distance(orphan.time, context.now)}; {each.detail or _FATES[each.outcome]}"
        yield Told(about, f"{orphan.what} intent", each.outcome, orphan.time, detail, _mend(context, backend, each))


def _mend(context: Context, backend: RemoteAuthority, each: Settled) -> str | None:
    if each.outcome != "waiting" or each.orphan.target is None or each.orphan.what != "revoke":
        return None
    if backend.service.by_handle:
        return f"{context.console.command} revoke {each.orphan.target}"
    return f"{context.console.command} revoke - < FILE"
