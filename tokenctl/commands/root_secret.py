"""``store move-secret`` and ``rotate-keys --root``: where the root secret lies, and a new one in its place."""

from __future__ import annotations

from collections.abc import Callable

from tokenctl.backends.local.root_secret import PLACES
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest
from tokenctl.render.console import Console
from tokenctl.render.progress import Progress


def move(context: Context, place: str) -> int:
    """Move the root secret to another place; one that is there already is done too.

    Raises:
        InvalidRequest: no such place (exit 2).
        Others: as :func:`tokenctl.backends.local.moving_root.move`; nothing was changed.
    """
    from tokenctl.backends.local import moving_root

    if place not in PLACES:
        raise InvalidRequest(f"a root secret lies in one of {', '.join(PLACES)}", hint="tokenctl store move-secret --help")
    console = context.console
    with context.backend() as backend:
        moved = moving_root.move(backend.journal, place, lambda text: console.warn(console.advice(text)))
    where = f"root secret: {moved.place.shown}{' (0600)' if place == 'file' else ''}"
    if moved.before == place:
        console.chat(f"nothing to move; {where}")
    else:
        console.notice(where)
    if moved.before == "credential" != place:
        console.chat("the systemd credential is its operator's to remove")
    if console.machine:
        console.document(
            {"action": "move_secret", "profile": console.profile, "moved": moved.before != place, "before": moved.before,
             "root_secret_place": place, "root_secret": moved.place.locator, "warnings": list(console.warnings)}
        )  # fmt: skip
    return 0


def rotate(context: Context, *, alone: bool) -> int:
    """Replace the root secret, and everything that is derived from it.

    Args:
        alone: Whether no other option of ``rotate-keys`` was given: none of them has a meaning here.

    Raises:
        InvalidRequest: another option was given (exit 2).
        Others: as :func:`tokenctl.backends.local.rotating_root.rotate`; nothing was changed.
    """
    from tokenctl.backends.local import rotating_root

    if not alone:
        raise InvalidRequest("--root goes with no other option of rotate-keys", hint="tokenctl rotate-keys --root")

    console = context.console
    with context.backend() as backend:
        rotated = rotating_root.rotate(backend.journal, lambda total: _progress(console, total))
    console.notice(f"made a new root secret, version {rotated.version}: {rotated.place.shown}")
    if rotated.kept:
        versions = ", ".join(map(str, sorted(rotated.kept)))
        console.chat(f"tokens of version {versions} hold: what proves them is kept, sealed, until the last of them ends")
    if console.machine:
        console.document(
            {"action": "rotate_root", "profile": console.profile, "version": rotated.version,
             "kept_versions": sorted(rotated.kept), "keys": rotated.keys, "rows": rotated.rows,
             "root_secret_place": rotated.place.name,
             "root_secret": rotated.place.locator, "warnings": list(console.warnings)}
        )  # fmt: skip
    return 0


def _progress(console: Console, total: int) -> Callable[[int], None]:
    progress = Progress(console, "rewritten", total)

    def reach(done: int) -> None:
        progress.reach(done)
        if done >= total:
            progress.finish()

    return reach
