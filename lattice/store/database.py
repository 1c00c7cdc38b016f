"""The database: write(fn), read(fn), close().

One connection writes, in one process (design D5); eight others only read, each for one thread at
a time. What `write` returned is on disk: WAL, synchronous=FULL, and on macOS fullfsync. A read
sees one moment, and every write that was answered before it began. The file and those beside it
are 0600, whatever the umask.

Once it is open, neither kind can attach a file or change the schema, and a read is ended after READ_S
(`store/confined.py`).

It does not keep other processes away: who opens it holds the lock beside it first. It does not
check whether the file lies on a network file system, where WAL does not work.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from lattice import settings
from lattice.errors import Internal, Refusal, Unavailable
from lattice.store import backup, confined, disk, migrate, swap
from lattice.store.writer import Tx, Writer, describe, unreadable

__all__ = ["Database", "Tx"]  # Tx: whoever writes a function for `write` needs only this module

log = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 8
READER_WAIT_S = 10.0  # then the reads are too slow for their number, and saying so is better than a queue
READ_S = 2.0  # a read of ours takes milliseconds, also with a million messages
STATEMENTS = 512  # prepared ones that each connection keeps: more than the program has
BUSY_MS = 5000  # a person's `sqlite3` shell may hold the file for a moment
WAL_BYTES = 64 * 1024 * 1024  # the -wal file is cut back to this after a checkpoint

SYNCHRONOUS = ("FULL", "NORMAL", "OFF")


def _ignore(_: object) -> None:
    """For who wants no after-effects, or exits in another way."""


class _Reader(NamedTuple):
    connection: sqlite3.Connection
    patience: confined.Patience


class Database:
    """`on_commit` gets the after-effects of each commit, `on_fatal` one sentence when the process must end (exit 74)."""

    def __init__(
        self,
        path: str,
        *,
        on_commit: Callable[[list[tuple[str, ...]]], None] = _ignore,
        on_fatal: Callable[[str], None] = _ignore,
        synchronous: str = "FULL",
        backups_dir: str = "",
        migrations_dir: str = migrate.MIGRATIONS,
    ) -> None:
        """Open the database at `path`, or make it, and migrate it. CannotOpen says what to do when it cannot be used.

        `synchronous` below FULL gives up durability at a power cut (not at a crash of the process).
        `backups_dir` is where a copy goes before a migration; by default `<path>.backups`.
        """
        if synchronous not in SYNCHRONOUS:
            raise ValueError(f"synchronous={synchronous}: must be one of {', '.join(SYNCHRONOUS)}")
        self.path = settings.database_file(os.path.abspath(path))
        if os.path.islink(path) and not os.path.exists(self.path):  # a new one where a disk is missing would hide the old one
            raise migrate.CannotOpen(
                f"{path} is a link to {self.path}, which is not there",
                hint="Bring that back (is its disk there?), or take the link away",
                code="no_folder",
            )
        self._on_fatal = on_fatal
        backups_dir = backups_dir or f"{self.path}.backups"
        self._connection = _open(self.path, backups_dir, migrations_dir, synchronous)
        try:
            self.backup = migrate.open_schema(self._connection, self.path, backups_dir, migrations_dir)
        except BaseException:
            self._connection.close()
            raise
        confined.confine(self._connection, writes=True)
        self._writer = Writer(self._connection, on_commit=on_commit, on_fatal=on_fatal, refuses=lambda: disk.refuses(self.path))
        self._readers = threading.Lock()  # guards _idle and _closed
        self._idle: list[_Reader] = []
        self._places = threading.Semaphore(READERS)
        self._closed = False

    def write(self, fn: Callable[[Tx], T], *, at: float, op: str = "") -> T:
        """Run `fn(tx)` in a transaction; its value, once it is on disk. See Writer.write for what it raises."""
        return self._writer.write(fn, at=at, op=op)

    def read(self, fn: Callable[[Tx], T], *, at: float = 0.0, within_s: float = READ_S) -> T:
        """Run `fn(tx)` on a read-only connection; all it reads is one moment.

        Unavailable when no connection comes free in READER_WAIT_S, after close, or (`read_too_long`)
        when SQLite is still at it after `within_s`; Internal `read_failed` when the disk or the database fails.
        """
        reader = self._borrow()
        reader.patience.begins(within_s)
        connection = reader.connection
        tx = Tx(connection, at)
        sound = False
        try:
            connection.execute("BEGIN")
            value = fn(tx)
            if tx.effects:
                raise RuntimeError("a read has no after-effects")
            sound = True
            return value
        except sqlite3.Error as error:
            refusal = self._read_failed(error)
            if refusal is None:
                raise  # a fault of the statement: the caller's
            raise refusal from error
        except BaseException:
            sound = tx.failed is None
            raise
        finally:
            tx.end()
            self._give_back(reader, sound)

    def look(self, fn: Callable[[Tx], T]) -> T:
        """For `on_commit` alone: read without a reader, so that no slow reading holds up a commit. See Writer.look."""
        return self._writer.look(fn)

    @property
    def health(self) -> dict[str, object]:
        """{sqlite_version, writable, last_error}."""
        writer = self._writer
        return {"sqlite_version": sqlite3.sqlite_version, "writable": writer.writable, "last_error": writer.last_error}

    def used_bytes(self) -> int:
        """What rows and indexes take in the file; pages that are free are used again, and not counted."""

        def ask(tx: Tx) -> int:
            size, pages, free = (tx.all(f"PRAGMA {name}")[0][0] for name in ("page_size", "page_count", "freelist_count"))
            return int(size * (pages - free))

        return self.read(ask)

    def back_up(self, target: str) -> str:
        """Copy the database, as it is now, to the new file `target`, while it is in use. See `store/backup.py`."""
        return backup.back_up(self.path, target)

    def empty_log(self) -> bool:
        """Carry all that is in the -wal file over and cut the file to nothing, so that nothing older is left in it. Whether it was done.

        False while somebody reads (longer than BUSY_MS) what is only in it.
        """
        connection = sqlite3.connect(backup.uri(self.path, "mode=rw"), uri=True, timeout=BUSY_MS / 1000, isolation_level=None)
        try:
            return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        except sqlite3.Error as error:
            log.error("the -wal file could not be emptied: %s", describe(error))
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """Let the writes under way end, refuse others, checkpoint, close. A second call does nothing."""
        with self._readers:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
        drained = self._writer.close()
        for reader in idle:
            reader.connection.close()
        if not drained:
            log.error("a write did not end; the database stays open until the process ends")
            return
        if not self._writer.dead:  # after an error of the disk the next start judges what is in the WAL
            try:
                confined.release(self._connection)
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:  # what was answered is in the WAL, and stays there
                log.error("the last checkpoint failed: %s", describe(error))
        self._connection.close()

    def _borrow(self) -> _Reader:
        if not self._places.acquire(timeout=READER_WAIT_S):
            raise Unavailable("too many reads at once; call again in a moment", code="readers_busy")
        try:
            with self._readers:
                if self._closed:
                    raise Unavailable("the broker is stopping; call again in a moment", code="stopping")
                if self._idle:
                    return self._idle.pop()
            return _reader(self.path)
        except sqlite3.Error as error:
            self._places.release()
            raise self._read_failed(error) or _failed(error) from error
        except BaseException:
            self._places.release()
            raise

    def _give_back(self, reader: _Reader, sound: bool) -> None:
        connection = reader.connection
        try:
            if sound and connection.in_transaction:
                connection.execute("ROLLBACK")  # it wrote nothing
            with self._readers:
                keep = sound and not self._closed
                if keep:
                    self._idle.append(reader)
            if not keep:
                connection.close()
        finally:
            self._places.release()

    def _read_failed(self, error: sqlite3.Error) -> Refusal | None:
        """What a read is told when the database failed it; None when the statement was wrong.

        Damage ends the process: to go on writing would make it worse.
        """
        code = getattr(error, "sqlite_errorcode", None) or 0
        match code & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
                return Unavailable("another program holds the database; call again", code="database_busy")
            case sqlite3.SQLITE_INTERRUPT:
                return Unavailable("this took too long to read, and was ended", hint="ask for less at once", code="read_too_long")
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                self._writer.condemn(error)
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_FULL | sqlite3.SQLITE_NOMEM:
                log.error("a read failed: %s", describe(error))
            case _ if unreadable(error):
                log.error("a row cannot be read: %s", describe(error))
            case _:
                return None
        return _failed(error)


def _failed(error: sqlite3.Error) -> Refusal:
    return Internal(
        f"the database could not be read: {describe(error)}", code="read_failed", hint="the person runs: c2-lattice verify"
    )  # fmt: skip


def _open(path: str, backups_dir: str, migrations_dir: str, synchronous: str) -> sqlite3.Connection:
    """The connection that writes, set up; the file made when there is none."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise migrate.CannotOpen(
            f"the folder {folder} does not exist", hint="Make it, or choose another file with C2_LATTICE_DB", code="no_folder"
        )
    if swap.waits(path):
        raise migrate.unfinished(path)
    ours = migrate.check_file(path, backups_dir, migrations_dir)
    if ours:
        migrate.look(path, backups_dir, migrations_dir)
    try:
        _close_to_others(path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise migrate.not_permitted(path) from error
        raise
    connection = sqlite3.connect(
        backup.uri(path, "mode=rw"),
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,  # the leader of the writer uses it, whichever thread that is
        cached_statements=STATEMENTS,
    )
    try:
        connection.row_factory = sqlite3.Row
        if sys.platform == "darwin":  # a plain fsync there does not reach the platter
            connection.execute("PRAGMA fullfsync=1")
            connection.execute("PRAGMA checkpoint_fullfsync=1")
        if not connection.execute("PRAGMA page_count").fetchone()[0]:  # new; or a crash while it was made, undone by its journal just now
            migrate.mark(connection)
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise migrate.CannotOpen(
                f"{path} cannot be switched to WAL mode (it stays in {mode})",
                hint="Choose a file on a local disk with C2_LATTICE_DB",
                code="damaged_database",
            )
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted or redacted is not left behind in a free page
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES:d}")
        connection.execute("PRAGMA temp_store=MEMORY")  # a file would be outside the 0600 ones
        connection.execute("BEGIN IMMEDIATE")
        migrate.mark(connection)  # a file that may only be read opens, and begins, without a word: ask now
        connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _cannot_open(error, path, backups_dir) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _cannot_open(error: sqlite3.DatabaseError, path: str, backups_dir: str) -> Exception:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return migrate.not_permitted(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return migrate.damaged(path, backups_dir, str(error))
    if code == sqlite3.SQLITE_BUSY:
        return migrate.CannotOpen(
            f"another program is writing to {path}",
            hint="Close it (a sqlite3 shell, another broker), then start again",
            code="database_busy",
        )
    return error


def _reader(path: str) -> _Reader:
    connection = sqlite3.connect(
        backup.uri(path, "mode=ro"),
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,  # one thread at a time, but not always the same one
        cached_statements=STATEMENTS,
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA temp_store=MEMORY")
    confined.confine(connection)
    return _Reader(connection, confined.bound(connection))


def _close_to_others(path: str) -> None:
    """The file, made when there is none, is 0600; SQLite gives those beside it the same mode."""
    try:
        backup.make_private(path)
    except FileExistsError:
        if os.name == "nt":
            return
        wanted = os.stat(path).st_mode & 0o700  # what we may not do with it ourselves stays so
        for name in (path, *backup.beside(path)):
            if os.path.exists(name) and os.stat(name).st_mode & 0o777 != wanted:
                os.chmod(name, wanted)
