"""Moving the root secret of a store to another place: written and read back there, recorded, and only then wiped here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tokenctl.audit import query
from tokenctl.backends.local import root_places, root_secret
from tokenctl.backends.local.journal import Journal, Opened
from tokenctl.backends.local.root_places import Place
from tokenctl.backends.local.view import Change
from tokenctl.errors import AccessDenied, Conflict, IntegrityError, TemporarilyUnavailable, TokenctlError
from tokenctl.model.record import Event

OPERATION = "store.move_secret"


class Moved(NamedTuple):
    """Where the root secret lies now, and where it lay; the same where there was nothing to move."""

    place: Place
    before: str


def move(journal: Journal, name: str, warn: Callable[[str], None]) -> Moved:
    """Move the root secret to the place of a name; what an earlier move that died has left behind is wiped.

    Raises:
        NotFound: there is no store (exit 5).
        AccessDenied: it, or the place, is out of reach (exit 4); nothing was changed.
        Conflict: it cannot go there from here, or another secret lies there (exit 6); nothing was changed.
        IntegrityError: the credential holds another secret (exit 10); nothing was changed.
    """
    with journal.reading() as view:
        if view is None or journal.opened is None:
            raise journal.absent()
        target, source = root_secret.place_named(name, journal.whereabouts, view.store_id), journal.opened.place
    if source.name != name:
        _require_reach(target, source)  # a person may be asked for a password now, and nobody waits for the lock
    copied = False
    try:
        with journal.changing() as change:
            opened = journal.opened
            if change is None or opened is None:
                raise journal.absent()
            journal.whereabouts.hurry()
            source = opened.place
            if source.name == name:
                before = _came_from(change)
                change.afterwards = lambda: _wipe_left(journal, opened, before, warn)
                return Moved(source, name)
            _require_reach(target, source)
            _copy(change, opened, target, warn)
            copied = True
            change.afterwards = lambda: _leave(journal, source, target)
    except BaseException:
        # Whether a commit that failed is durable after all nobody knows now, and another command may hold the lock.
        if copied and journal.opened is not None and journal.opened.place is not target:
            _tell_of_copy(target, source, warn)
        raise
    return Moved(target, source.name)


def told(before: str, name: str) -> str:
    """Return how a record says from where to where the secret was moved."""
    return f"{before} to {name}"


def _require_reach(target: Place, source: Place) -> None:
    if target.name == "credential" and source.name != "file":
        raise Conflict(
            f"from the {source.name} the root secret goes to a credential by way of a file",
            hint="tokenctl store move-secret file; then place it with systemd-creds, and move it on",
        )
    try:
        with _staying(target, source):
            target.read()
    except (AccessDenied, IntegrityError) as error:
        if error.reason not in root_places.UNFIT or target.name == "credential":
            raise


@contextmanager
def _staying(target: Place, source: Place) -> Iterator[None]:
    """Tell of a place that the root secret cannot come to, and that it stays where it is."""
    try:
        yield
    except root_places.Unreachable as error:
        where, hint = "the keyring", error.cause.hint or "unlock the keyring, or run this in a session that has one"
        if target.name == "credential":
            where, hint = target.shown, _how_to_place(target, source)
        raise AccessDenied(
            f"{where} is out of reach, {error.cause.message}; the root secret stays in {source.shown}", hint=hint,
            reason=error.reason,
        ) from None  # fmt: skip


def _how_to_place(target: Place, source: Place) -> str:
    """Return what its operator does before the root secret can lie in a credential. Source: systemd-creds(1)."""
    name = target.locator
    command = shlex.join(["systemd-creds", "encrypt", f"--name={name}", source.locator, f"/etc/credstore.encrypted/{name}"])
    return f"as root: {command}; then run this as a service with LoadCredentialEncrypted={name}: man 7 tokenctl-security"


def _copy(change: Change, opened: Opened, target: Place, warn: Callable[[str], None]) -> None:
    source = opened.place
    try:
        with _staying(target, source):
            _put(opened, target)
        change.write_fact("root_place", target.name)
        change.append(Event(operation=OPERATION, target=change.store_id, reason=told(source.name, target.name)))
    except BaseException:
        _take_back(target, opened, warn)
        raise


def _put(opened: Opened, target: Place) -> None:
    if target.name != "credential":
        target.write(opened.root)
    elif target.read() != opened.root:
        raise IntegrityError(f"{target.shown} is not the root secret of this store", hint="place the one that is in the file")


def _take_back(target: Place, opened: Opened, warn: Callable[[str], None]) -> None:
    if target.name == "credential":
        return  # its operator placed it
    try:
        if target.holds(opened.root):
            target.wipe()
    except TokenctlError:  # what made it necessary is told
        _tell_of_copy(target, opened.place, warn)


def _tell_of_copy(target: Place, source: Place, warn: Callable[[str], None]) -> None:
    if target.name != "credential":
        mend = f"tokenctl store move-secret {source.name}"
        warn(f"a copy of the root secret may be left at {target.shown}: {mend} wipes it")


def _leave(journal: Journal, source: Place, target: Place) -> None:
    journal.moved(target)
    try:
        _wipe(source)
    except TokenctlError as error:
        raise TemporarilyUnavailable(
            f"the root secret lies at {target.shown} now, but is not wiped from {source.shown}: {error.message}",
            hint=f"tokenctl store move-secret {target.name}", reason="not_wiped",
        ) from None  # fmt: skip


def _wipe(place: Place) -> None:
    slot = place.pending()
    for each in (place, slot):
        if each is not None:
            each.wipe()


def _came_from(change: Change) -> str | None:
    """Return from where the newest move came; ``None`` where the secret was never moved."""
    before = None
    for record in query.records(change.store, query.Filter(operation=(OPERATION,), target=(change.store_id,))):
        with suppress(ValueError):  # a damaged record says nothing
            before = str(record.facts().get("reason")).partition(" ")[0]
    return before


def _wipe_left(journal: Journal, opened: Opened, before: str | None, warn: Callable[[str], None]) -> None:
    """Wipe what a move or a rotation that died has left: copies in the other places, and the slot of a new secret."""
    slot = opened.place.pending()
    if slot is not None and not opened.unsettled:
        slot.wipe()
    for name in ("file", "keyring"):
        if name == opened.place.name:
            continue
        place = root_secret.place_named(name, journal.whereabouts, opened.store_id)
        try:
            for each in (place, place.pending()):
                if each is not None and each.holds(opened.root):
                    each.wipe()
        except TokenctlError as error:
            if error.reason != "keyring_absent" or name == before:
                warn(f"whether a copy is left at {place.shown} cannot be told: {_cause(error)}")


def _cause(error: TokenctlError) -> str:
    return error.cause.message if isinstance(error, root_places.Unreachable) else error.message
