"""The store of the profile: its file, its root secret, its log, its clock, its lock, the room it has, what waits in it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator

from tokenctl.audit import anchor as anchors
from tokenctl.backends.local import clock as clocks
from tokenctl.backends.local import root_places, root_secret
from tokenctl.backends.local.journal import Opened
from tokenctl.commands.doctor.finding import Examined, Finding, fail, ok, patiently, shell, warn
from tokenctl.commands.store_info import megabytes
from tokenctl.errors import AccessDenied, IntegrityError, InvalidConfiguration, TemporarilyUnavailable, TokenctlError
from tokenctl.model.times import DAY, format_distance, format_duration, format_instant
from tokenctl.store import connection, copies, schema

_LAST_BELIEVED = 47_482 * DAY  # 2100-01-01
_OLD_BACKUP = 30 * DAY
_LITTLE_ROOM = 64 * 1024 * 1024  # bytes
_NO_ROOM = 1024 * 1024  # bytes; a change may need this much beside the file


def store(examined: Examined) -> Iterator[Finding]:
    """Check that the store's file can be opened and is one of this version."""
    path = examined.store
    yield from _leftovers(path)
    if not os.path.lexists(path):
        yield from _no_store(examined)
        return
    try:
        version, tokens = patiently(lambda: _measured(path))
    except TemporarilyUnavailable as busy:
        if busy.reason != "log":
            raise
        yield warn("store", busy.message, busy.hint)  # any verb can, only a look without a trace cannot
        return
    error = examined.opened.error
    if error is not None and not _about_secret(examined, error):
        raise error
    facts = os.stat(path)
    later = f", the next change brings it to {schema.VERSION}" if version < schema.VERSION else ""
    yield ok(
        "store",
        f"{examined.places.shown(path)}, {stat.S_IMODE(facts.st_mode):04o}, schema {version}{later}, "
        f"{tokens:,} token{'s' * (tokens != 1)}, {megabytes(facts.st_size)}",
    )


def _measured(path: str) -> tuple[int, int]:
    """Return the schema version and the number of tokens, whatever the root secret."""
    opened = connection.Store.open(path, only_look=True)
    if opened is None:
        raise TemporarilyUnavailable(f"{path} went away", hint="run again")
    try:
        return opened.version, opened.integer("SELECT count(*) FROM token")
    finally:
        opened.close()


def _no_store(examined: Examined) -> Iterator[Finding]:
    anchor = examined.places.anchor(examined.profile)
    if anchors.read(anchor) is not None:
        gone = IntegrityError(
            f"{examined.places.shown(examined.store)} is gone, but its anchor is there; put it back, or begin anew"
        )
        yield fail("store", gone, shell("rm", anchor))
        return
    place = os.path.dirname(examined.store)
    if os.path.isdir(place):
        connection.refuse_network(place)
    yield ok("store", f"none yet at {examined.places.shown(examined.store)}: the first issue makes it")


def _leftovers(path: str) -> Iterator[Finding]:
    left = [f"{path}.new{suffix}" for suffix in ("", "-wal", "-shm", "-journal") if os.path.lexists(f"{path}.new{suffix}")]
    if left and not holders(f"{os.path.dirname(path)}/store.lock"):
        yield warn("store", f"{left[0]} was left by a first run that did not end", shell("rm", *left))
    for purpose in ("backup", "restore"):
        left = copies.unfinished(path, purpose)
        if left and not holders(f"{os.path.dirname(path)}/{purpose}.lock"):
            yield warn("store", f"{left[0]} was left by a store {purpose} that did not end", shell("rm", *left))


def _about_secret(examined: Examined, error: TokenctlError) -> bool:
    path = examined.places.root_secret(examined.profile)
    names = (path, examined.places.shown(path), f"tokenctl.{examined.profile}.root", "CREDENTIALS_DIRECTORY", "root secret")
    return any(name in error.message for name in names) or isinstance(error, AccessDenied)


def secret(examined: Examined) -> Iterator[Finding]:
    """Check that the root secret is in reach, and is this store's."""
    path = examined.places.root_secret(examined.profile)
    shown = examined.places.shown(path)
    if not os.path.lexists(examined.store):
        yield ok("secret", f"{shown} waits for its store" if os.path.lexists(path) else "none yet: it is made with the store")
        return
    error = examined.opened.error
    if error is not None and _about_secret(examined, error):
        raise error
    opened = examined.opened.secret
    place = opened.place if opened is not None else examined.root_place
    if place is None:
        return  # the store cannot be asked where it lies
    if opened is None:
        place.read()
    mode = f", {stat.S_IMODE(os.stat(path).st_mode):04o}" if place.name == "file" and os.path.lexists(path) else ""
    belongs = "belongs to the store" if error is None else "whether it is the store's cannot be told"
    yield ok("secret", f"{place.shown}{mode}, {belongs}")
    if opened is not None:
        yield from _secrets_left(examined, opened)


def _secrets_left(examined: Examined, opened: Opened) -> Iterator[Finding]:
    """Tell of what a rotation or a move of the root secret that did not end has left."""
    place, mend = opened.place, f"tokenctl store move-secret {opened.place.name}"
    slot = place.pending()
    if opened.unsettled:
        yield warn("secret", f"{place.shown} is not the new root secret yet: the next change finishes its rotation", mend)
    elif slot is not None and _holds_something(slot):
        yield warn("secret", f"{slot.shown} was left by a rotation that did not end", mend)
    yield from _copies(examined, opened)


def _copies(examined: Examined, opened: Opened) -> Iterator[Finding]:
    """Tell of what lies in the places where the root secret could lie and does not."""
    whereabouts = examined.journal().whereabouts
    whereabouts.hurry()
    for name in root_secret.PLACES:
        if name == opened.place.name or (name == "keyring" and not _has_keyring(examined)):
            continue
        other = root_secret.place_named(name, whereabouts, opened.store_id)
        for each in (other, other.pending()):
            if each is None:
                continue
            try:
                held = each.holds(opened.root)
            except AccessDenied:
                break  # a keyring out of reach: move-secret tells of it
            if held:
                yield _copy(each, opened.place)
            elif each is other and name == "file" and os.path.lexists(each.locator):
                yield warn("secret", f"{each.shown} is not the root secret, which lies elsewhere")


def _copy(there: root_places.Place, place: root_places.Place) -> Finding:
    if there.name == "credential":
        mend = "tokenctl store move-secret credential" if place.name == "file" else None
        return warn("secret", f"{there.shown} holds a copy of the root secret", mend)
    told = f"{there.shown} holds a copy of the root secret, or the rest of one"
    return warn("secret", told, f"tokenctl store move-secret {place.name}")


def _has_keyring(examined: Examined) -> bool:
    """Whether this is a session that may have a keyring: a look elsewhere would only cost time."""
    return sys.platform == "darwin" or bool(examined.environment.get("DBUS_SESSION_BUS_ADDRESS"))


def _holds_something(place: root_places.Place) -> bool:
    try:
        place.read()
    except TokenctlError as error:
        return error.reason != "root_missing"
    return True


def audit(examined: Examined) -> Iterator[Finding]:
    """Check the head of the log, and the anchor against it; ``audit verify`` checks the rest."""
    facts = examined.opened.facts
    if facts is None:
        return
    records = f"{facts.records:,} record{'s' * (facts.records != 1)}"
    if facts.quarantine is not None:
        yield fail(
            "audit", IntegrityError(f"the store is quarantined: {facts.quarantine}"),
            "tokenctl audit verify; tokenctl store release --reason WHY",
        )  # fmt: skip
    elif facts.anchor == "absent":
        yield warn("audit", f"{records}, no anchor to compare with: an old copy would not be noticed; the next change makes it")
    elif facts.anchor == "behind":
        yield warn("audit", f"{records}, but the anchor speaks of {facts.anchor_size:,}: the next change makes it anew")
    else:
        at = os.stat(examined.places.anchor(examined.profile)).st_mtime_ns // 1_000_000
        yield ok("audit", f"{records}, head anchored {format_distance(at, max(examined.now, at))}")


def clock(examined: Examined) -> Iterator[Finding]:
    """Check the clock against the last record, and against sense."""
    now, facts = examined.now, examined.opened.facts
    if examined.opened.behind:
        behind = format_duration(examined.opened.behind)
        yield fail(
            "clock",
            TemporarilyUnavailable(f"it stands {behind} behind the last record: issue refuses; set it, or accept it"),
            "tokenctl store accept-clock",
        )  # fmt: skip
        return
    if not clocks.FIRST_BELIEVED <= now < _LAST_BELIEVED:
        mend = "sudo timedatectl set-ntp true" if shutil.which("timedatectl") else None
        yield warn("clock", f"it says {format_instant(now)}: it was never set", mend)
        return
    shown = format_instant(now - now % 1000)
    if facts is None:
        yield ok("clock", shown)
    elif facts.last_record_at > now:
        yield ok("clock", f"{shown}, the last record is {format_duration(facts.last_record_at - now)} ahead: borne")
    else:
        yield ok("clock", f"{shown}, {format_duration(now - facts.last_record_at)} after the last record")


def lock(examined: Examined) -> Iterator[Finding]:
    """Say who writes to the store now; nothing is waited for."""
    held = holders(os.path.join(os.path.dirname(examined.store), "store.lock"))
    if held:
        yield ok("lock", f"a tokenctl writes to the store now: process {', '.join(map(str, held))}")


def holders(path: str) -> list[int]:
    """Return the processes that hold or await a lock, as far as the system tells without asking for it."""
    try:
        facts = os.stat(path)
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = [line.replace("->", "").split() for line in file]
    except OSError:
        return []
    place = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    return sorted({int(line[4]) for line in lines if len(line) > 5 and line[1] == "FLOCK" and line[5] == place})


def space(examined: Examined) -> Iterator[Finding]:
    """Check that the medium of the store has room and can be written."""
    place = os.path.dirname(examined.store)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    if facts.f_flag & os.ST_RDONLY:
        point = _mount_point(place)
        yield fail(
            "space", TemporarilyUnavailable(f"{point} is mounted read-only: nothing can be issued or revoked"),
            shell("mount", "-o", "remount,rw", point),
        )  # fmt: skip
    elif not facts.f_blocks:
        error = InvalidConfiguration(f"{place} lies on nothing that can hold a store", hint="set XDG_DATA_HOME to a local disk")
        yield fail("space", error)
    elif free < _NO_ROOM or (facts.f_files and not facts.f_favail):
        yield fail("space", TemporarilyUnavailable(f"the medium of {place} is full; make room"))
    elif free < _LITTLE_ROOM:
        yield warn("space", f"{megabytes(free)} are free on the medium of {place}; make room")
    else:
        yield ok("space", f"{megabytes(free)} free on the store's medium")


def backup(examined: Examined) -> Iterator[Finding]:
    """Say how old the newest backup is that the log tells of; whether it is still there nobody here knows."""
    yield from _kept(examined)
    facts = examined.opened.facts
    if facts is None:
        return
    made = facts.last_backup_at
    if made is None:
        yield warn("backup", "none yet", "tokenctl store backup FILE")
    elif examined.now - made > _OLD_BACKUP:
        yield warn("backup", f"the newest was made {format_distance(made, examined.now)}", "tokenctl store backup FILE")
    else:
        yield ok("backup", f"the newest was made {format_distance(made, max(examined.now, made))}")


def _kept(examined: Examined) -> Iterator[Finding]:
    """Tell of the stores before a restore: what is destroyed in the store lies in them still."""
    kept = copies.kept(examined.store)
    if not kept:
        return
    newest = max(os.lstat(path).st_mtime_ns // 1_000_000 for path in kept)
    shown = ", ".join(examined.places.shown(path) for path in kept)
    told = f"kept from before a restore, with the private keys of then, sealed: {shown}"
    if examined.now - newest > _OLD_BACKUP:
        yield warn("backup", told, shell("rm", *(name for path in kept for name in _with_log(path))))
    else:
        yield ok("backup", told)


def _with_log(path: str) -> list[str]:
    return [path, *(f"{path}{end}" for end in ("-wal", "-shm") if os.path.lexists(f"{path}{end}"))]


def _mount_point(place: str) -> str:
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return place


def delivery(examined: Examined) -> Iterator[Finding]:
    """Tell of tokens that never reached their taker: denied already, recorded by the next list, issue or revoke."""
    facts = examined.opened.facts
    if facts is None:
        return
    if facts.waiting:
        many = f"{facts.waiting:,} token{'s' * (facts.waiting != 1)}"
        yield warn("delivery", f"{many} never reached the taker: denied, not yet recorded", "tokenctl list --limit 1")
    else:
        yield ok("delivery", "no token waits for its taker")
