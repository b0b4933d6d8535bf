"""Whole copies of a store: a compact one to back up, one that is examined before it is believed, and putting one in place.

A store is replaced from inside, in one transaction: whoever has it open sees the old content or the new. A file that is
no database any more is replaced by rename.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from tokenctl import files
from tokenctl.errors import IntegrityError, TemporarilyUnavailable
from tokenctl.store import lock
from tokenctl.store.connection import Store, defend, translated

_COMPANIONS = ("-wal", "-shm", "-journal")
ASIDE = ".lost"  # what a person is told to call a store whose root secret is gone
_UNKEPT = (".new", *_COMPANIONS)
_PAGE = 4096  # bytes; that of every store


@contextmanager
def turn(store_path: str, purpose: str, *, deadline: float) -> Iterator[str]:
    """Hold the one place for a copy beside a store; yield its path, where nothing stands. Nothing is left there.

    Args:
        purpose: What the copy is for, part of its name.

    Raises:
        TemporarilyUnavailable: another one is being made (exit 7).
    """
    path = f"{store_path}.{purpose}"
    with lock.exclusive(os.path.join(os.path.dirname(store_path), f"{purpose}.lock"), deadline=deadline):
        remove(path)
        try:
            yield path
        finally:
            remove(path)


def remove(path: str) -> None:
    """Remove a copy and what SQLite laid beside it."""
    for name in (path, *(f"{path}{companion}" for companion in _COMPANIONS)):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise files.unusable(name, error) from None


def kept(store_path: str) -> list[str]:
    """Return the stores that were put aside for one that was restored: they hold the private keys of then, sealed."""
    found = [name for end in (".replaced-*", ASIDE) for name in glob.glob(f"{glob.escape(store_path)}{end}")]
    return sorted(name for name in found if not name.endswith(_UNKEPT))


def unfinished(store_path: str, purpose: str) -> list[str]:
    """Return what a copy of a purpose left that was killed; one that is being made is among it."""
    names = [f"{store_path}.{purpose}"]
    if purpose == "restore":
        names += [f"{store_path}.replaced.new", *glob.glob(f"{glob.escape(store_path)}.replaced-*.new")]
    return [f"{name}{end}" for name in names for end in ("", *_COMPANIONS) if os.path.lexists(f"{name}{end}")]


def create(path: str) -> int:
    """Make the file of a copy, private; return its descriptor for writing."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE)
    except OSError as error:
        raise files.unusable(path, error) from None


def examine(path: str) -> Store:
    """Open a copy that nobody else has open, by every check of a store's file.

    Raises:
        InvalidConfiguration: made by a newer tokenctl (exit 9); IntegrityError: no store (exit 10).
    """
    with translated():
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    store = Store(path, connection, read_only=False)
    try:
        with translated():
            defend(connection)
            store.check_schema()
            page = store.integer("PRAGMA page_size")
            if page != _PAGE or os.stat(path).st_size != page * store.integer("PRAGMA page_count"):
                raise IntegrityError("the store in it is damaged: its length is wrong")
    except BaseException:
        store.close()
        raise
    return store


def is_readable(path: str) -> bool:
    """Whether a file is a database that can be replaced from inside."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    except apsw.Error:
        return False
    try:
        defend(connection)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        ours = (connection.pragma("journal_mode"), connection.pragma("page_size")) == ("wal", _PAGE)
        return ours and not connection.readonly("main")
    except apsw.BusyError:
        raise TemporarilyUnavailable("the store is busy", hint="run again", reason="lock") from None
    except apsw.Error:
        return False
    finally:
        connection.close()


def replace_content(path: str, source: Store) -> None:
    """Replace what a store holds by another one, in one durable transaction; called under the writers' lock.

    Raises:
        TemporarilyUnavailable: busy or full (exit 7); nothing was changed.
    """
    with translated():
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
        try:
            defend(connection)
            source.write_over(connection)
        finally:
            connection.close()


def put_in_place(path: str, source: Store) -> None:
    """Give a copy the store's name, durably, where there is no store that could be replaced from inside."""
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{companion}")
    source.adopt(path).close()


def keep_aside(path: str, name: str) -> str:
    """Copy a store, with what its log holds, to ``path.name`` before it is replaced; return that path.

    A copy of that name is of the same content and is replaced.
    """
    aside = f"{path}.{name}"
    fresh = f"{aside}.new"
    remove(fresh)
    os.close(create(fresh))
    with translated():
        source = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
        copy = apsw.Connection(fresh, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
        try:
            with copy.backup("main", source, "main") as backup:
                backup.step(-1)
        finally:
            copy.close()
            source.close()
    _name(fresh, aside)
    return aside


def keep_bytes_aside(path: str) -> str:
    """Copy a file that is no database any more, byte by byte, and its log, durably; return its path."""
    fresh = f"{path}.replaced.new"
    remove(fresh)
    try:
        aside = f"{path}.replaced-damaged-{_copy_bytes(path, fresh)}"
        with suppress(FileNotFoundError):
            _copy_bytes(f"{path}-wal", f"{fresh}-wal")
            _name(f"{fresh}-wal", f"{aside}-wal")  # first: a copy that has its name has its log
    except OSError as error:
        raise files.unusable(path, error) from None
    _name(fresh, aside)
    return aside


def _copy_bytes(path: str, fresh: str) -> str:
    """Copy a file into a new one; return the beginning of its SHA-256. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as damaged, open(create(fresh), "wb") as copy:
        while part := damaged.read(1024 * 1024):
            digest.update(part)
            copy.write(part)
    return digest.hexdigest()[:8]


def _name(fresh: str, path: str) -> None:
    try:
        descriptor = os.open(fresh, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, path)
        files.sync_directory(os.path.dirname(path))
    except OSError as error:
        raise files.unusable(path, error) from None

