"""One connection to a store: opened with every defence on, checked before it is believed, closed cleanly.

Readers take no lock. A store that was closed cleanly can be read from a full or read-only medium.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apsw

from tokenctl import files
from tokenctl.errors import IntegrityError, InvalidConfiguration, TemporarilyUnavailable, TokenctlError
from tokenctl.model.record import LONGEST_MARK
from tokenctl.store import schema

_BUSY_DEADLINE = 10_000  # milliseconds; only recovery and checkpoints of other processes are waited for
_READERS_DEADLINE = 1_000  # milliseconds that the end of readers is waited for
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "lustre"}
)


class Store:
    """An open store.

    Attributes:
        read_only: Whether it was opened from a medium that cannot be written.
    """

    def __init__(self, path: str, connection: apsw.Connection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection

    @classmethod
    def open(cls, path: str, *, only_look: bool = False) -> Store | None:
        """Open an existing store; ``None`` where there is none.

        Args:
            only_look: Leave every byte as it is: no log is moved into the file, nothing is made.

        Raises:
            InvalidConfiguration: planted, too open, on a network file system, made by a newer tokenctl (exit 9).
            IntegrityError: not a store, or not the schema that was made (exit 10).
            TemporarilyUnavailable: cannot be read now (exit 7).
        """
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise files.unusable(path, error) from None
        files.check_owned(path, facts, secret=True)
        _refuse_planted_companions(path)
        files.check_parents(os.path.dirname(path))
        refuse_network(os.path.dirname(path))
        with translated():
            store = cls._look(path) if only_look else cls._open(path)
        try:
            with translated():
                store.check_schema()
                # A page that was cut may read as if its end were empty.
                if facts.st_size % store.integer("PRAGMA page_size") and _closed_cleanly(path):
                    raise IntegrityError("the store's file is damaged: it was cut", hint="restore it from a backup")
        except TokenctlError:
            store.close()
            raise
        return store

    @classmethod
    def _open(cls, path: str) -> Store:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
        try:
            defend(connection)
            # The first read opens the write-ahead log, which a read-only medium cannot give.
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            _persist_log(connection)
            return cls(path, connection, read_only=bool(connection.readonly("main")))
        except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.FullError, apsw.IOError):
            connection.close()
            if not _closed_cleanly(path):
                raise
        return cls._read(path, "immutable=1")

    @classmethod
    def _look(cls, path: str) -> Store:
        # Both are there while another process writes. A log that is gone would be made anew beside its index.
        if os.path.lexists(f"{path}-shm") and os.path.lexists(f"{path}-wal"):
            return cls._read(path, "mode=ro&readonly_shm=1")
        if not _closed_cleanly(path):
            raise TemporarilyUnavailable(
                f"the log beside {path} is not moved into it yet", hint="tokenctl store info", reason="log"
            )
        return cls._read(path, "immutable=1")

    @classmethod
    def _read(cls, path: str, how: str) -> Store:
        connection = apsw.Connection(f"file:{_quoted(path)}?{how}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        defend(connection)
        return cls(path, connection, read_only=True)

    @classmethod
    def create(cls, path: str) -> Store:
        """Make a store under a temporary name; :meth:`adopt` gives it its name."""
        fresh = f"{path}.new"
        for leftover in (fresh, f"{fresh}-wal", f"{fresh}-shm", f"{fresh}-journal"):
            with suppress(FileNotFoundError):
                os.unlink(leftover)
        try:
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE))
        except OSError as error:
            raise files.unusable(fresh, error) from None
        with translated():
            connection = apsw.Connection(
                fresh, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOFOLLOW
            )
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            connection.execute("PRAGMA journal_mode = DELETE")
            defend(connection)
        return cls(fresh, connection, read_only=False)

    def adopt(self, path: str) -> Store:
        """Close, give the store its name durably, and open it."""
        with translated():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.close()
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(self.path, path)
            files.sync_directory(os.path.dirname(path))
        except OSError as error:
            raise files.unusable(path, error) from None
        store = Store.open(path)
        assert store is not None
        return store

    def close(self) -> None:
        """Close; the last one to close moves the log into the file."""
        with translated():
            self._connection.close()

    def check_schema(self) -> None:
        """Refuse a file of another application, another version or with another schema than the one built in."""
        application = self.value("PRAGMA application_id")
        if application != schema.APPLICATION_ID:
            raise IntegrityError(f"{self.path} is not a tokenctl store", hint="restore it from a backup")
        version = self.version
        if version > schema.VERSION:
            raise InvalidConfiguration(
                f"{self.path} was made by a newer tokenctl (schema {version}, this one knows {schema.VERSION})",
                hint="upgrade tokenctl",
            )
        found = sorted(str(row[0]) for row in self.rows("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))
        if found != schema.statements_of(schema.MIGRATIONS[:version]):
            raise IntegrityError(f"{self.path} has a schema that tokenctl did not make", hint="restore it from a backup")

    @property
    def version(self) -> int:
        return self.integer("PRAGMA user_version")

    @property
    def library(self) -> str:
        """The version of SQLite at work."""
        return str(apsw.sqlite_lib_version())

    def migrate(self) -> None:
        """Bring the schema to the newest version; called inside a write transaction."""
        for number in range(self.version, schema.VERSION):
            for statement in schema.MIGRATIONS[number]:
                self.run(statement)
            self.run(f"PRAGMA user_version = {number + 1}")

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[None]:
        """Run the body in one transaction: committed at its end, rolled back by any exception."""
        with translated():
            self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
            with translated():
                # What was only read is not committed: that would tell once more of a damaged page that the body has dealt with.
                self._connection.execute("COMMIT" if write else "ROLLBACK")
        except BaseException:
            with suppress(apsw.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            raise

    def truncate_log(self, *, wait: bool = True) -> bool:
        """Move the log into the file and empty it, so that what was overwritten lies in neither; false while someone reads."""
        with translated():
            self._connection.set_busy_timeout(_READERS_DEADLINE if wait else 0)
            try:
                return self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0] == 0
            finally:
                self._connection.set_busy_timeout(_BUSY_DEADLINE)

    def rows(self, sql: str, *parameters: object) -> Iterator[tuple[object, ...]]:
        """Run a question and yield its rows."""
        with translated():
            yield from self._connection.execute(sql, parameters)

    def row(self, sql: str, *parameters: object) -> tuple[object, ...] | None:
        """Return the first row, if any."""
        with translated():
            return next(iter(self._connection.execute(sql, parameters)), None)

    def value(self, sql: str, *parameters: object) -> object:
        """Return the first column of the first row; ``None`` where there is no row."""
        row = self.row(sql, *parameters)
        return None if row is None else row[0]

    def integer(self, sql: str, *parameters: object) -> int:
        """Return :meth:`value` as an integer; zero for none."""
        value = self.value(sql, *parameters)
        return value if isinstance(value, int) else 0

    def run(self, sql: str, *parameters: object) -> int:
        """Run a change; return how many rows it changed."""
        with translated():
            self._connection.execute(sql, parameters)
            return self._connection.changes()

    def run_many(self, sql: str, parameters: Iterable[Sequence[object]]) -> int:
        """Run a change for each of many sets of values; return how many rows all of it changed."""
        with translated():
            before = self._connection.total_changes()
            self._connection.executemany(sql, parameters)
            return self._connection.total_changes() - before

    @contextmanager
    def bodies_from(self, body: Callable[..., Any]) -> Iterator[None]:
        """Read records with bodies that lie elsewhere: questions about ``record`` get them, those about ``main.record`` do not.

        Args:
            body: Given a record's number and what stands in the place of its body, returns its body.
        """
        # A view of the connection alone; the store's own schema has none. It goes again before anything is written.
        columns = [str(row[1]) for row in self.rows("PRAGMA main.table_info(record)")]
        here = f"CASE WHEN length(body) <= {LONGEST_MARK} THEN body_of(seq, body) ELSE body END AS body"
        shown = ", ".join(here if name == "body" else name for name in columns)
        with translated():
            self._connection.create_scalar_function("body_of", body, 2)
            self._connection.execute(f"CREATE TEMP VIEW record AS SELECT {shown} FROM main.record")
        try:
            yield
        finally:
            with translated():
                self._connection.execute("DROP VIEW temp.record")
                self._connection.create_scalar_function("body_of", None, 2)

    def copy_into(self, path: str) -> None:
        """Write one state of the store into a file that is empty, without free pages: nothing that was erased is in it.

        Raises:
            IntegrityError: the store's file is damaged (exit 10); TemporarilyUnavailable where there is no room (exit 7).
        """
        with translated():
            self._connection.execute("VACUUM INTO ?", (path,))

    def write_over(self, target: apsw.Connection) -> None:
        """Make another database hold what this one does, in one transaction of that one."""
        with translated(), target.backup("main", self._connection, "main") as copying:
            copying.step(-1)

    def damage(self, check: str = "integrity_check(20)") -> list[str]:
        """Return what SQLite's own check of the whole file, or another of its checks, finds; empty when it is sound."""
        try:
            found = [str(row[0]) for row in self._connection.execute(f"PRAGMA {check}")]
        except apsw.Error:
            return ["the file cannot be read through"]
        return [] if found == ["ok"] else found

    def damage_checks(self) -> list[str]:
        """Return the checks that together say what the one of the whole file says, the heaviest first."""
        tables = [str(row[0]) for row in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        tables.sort(key=lambda name: (name != "record", name != "token"))
        return [*(f"integrity_check({table})" for table in tables), "quick_check"]


def defend(connection: apsw.Connection) -> None:
    """Turn on every defence and the durability that an exit status 0 promises."""
    connection.set_busy_timeout(_BUSY_DEADLINE)
    for option, value in (
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
    ):
        connection.config(option, value)
    # The cache grows as it is used: a bulk change of a large store touches pages all over its indexes.
    connection.execute(
        "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA cell_size_check = ON; PRAGMA cache_size = -65536"
    ).fetchall()  # one of them answers, and those behind it wait until that is read
    if sys.platform == "darwin":
        connection.execute("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON").fetchall()
    connection.execute("PRAGMA journal_size_limit = 0")


def _persist_log(connection: apsw.Connection) -> None:
    # The log file stays, empty, so that a reader of a read-only medium needs to make nothing.
    flag = array("i", [1])
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, flag.buffer_info()[0])


def refuse_network(directory: str) -> None:
    """Refuse a directory on a network file system, whose locks and durability cannot be trusted (exit 9)."""
    try:
        device = os.stat(directory).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                fields, _, rest = line.partition(" - ")
                if fields.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    kind = rest.split()[0]
                    if kind in _NETWORK_FILE_SYSTEMS:
                        raise InvalidConfiguration(
                            f"{directory} is on a network file system ({kind})", hint="set XDG_DATA_HOME to a local disk"
                        )
                    return
    except FileNotFoundError:
        return  # no /proc: not Linux
    except OSError as error:
        raise files.unusable(directory, error) from None


def _refuse_planted_companions(path: str) -> None:
    for companion in (f"{path}-wal", f"{path}-shm"):
        try:
            facts = os.lstat(companion)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise files.unusable(companion, error) from None
        files.check_owned(companion, facts, secret=True)


def _closed_cleanly(path: str) -> bool:
    try:
        return os.lstat(f"{path}-wal").st_size == 0
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


@contextmanager
def translated() -> Iterator[None]:
    """Turn an exception of the database library into one of ours; its text is never shown."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError):
        raise IntegrityError("the store's file is damaged", hint="tokenctl audit verify; then restore a backup") from None
    except (apsw.BusyError, apsw.LockedError):
        raise TemporarilyUnavailable("the store is busy", hint="run again", reason="lock") from None
    except apsw.FullError:
        raise TemporarilyUnavailable("the store's medium is full", hint="make room and run again") from None
    except apsw.ReadOnlyError:
        raise TemporarilyUnavailable("the store's medium is read-only", hint="make it writable and run again") from None
    except (apsw.IOError, apsw.CantOpenError):
        raise TemporarilyUnavailable(
            "the store's file cannot be read or written", hint="check its medium and permissions, then run again"
        ) from None
    except (apsw.MismatchError, apsw.ConstraintError):
        raise IntegrityError("the store refused a value", hint="tokenctl audit verify") from None
    except UnicodeDecodeError:
        raise IntegrityError(
            "the store holds text that is not UTF-8", hint="tokenctl audit verify; then restore a backup"
        ) from None
    except apsw.NoMemError:
        raise TemporarilyUnavailable("out of memory", hint="run again") from None
