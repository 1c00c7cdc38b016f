"""What may be opened, and how an older database becomes a newer one.

A database is ours when its application_id says so; its user_version is the number of the last
migration it has been through. A file that is not ours, is damaged, or was written by a newer
program is refused with what to do, and not a byte of it is changed; nothing is ever replaced.
A migration and its number are one transaction: after a crash the database is as before it or as
after it. A database that has something in it is copied first. One whose tables are not those that
its number says is damaged.

Migrations are files `0001_initial.sql`, `0002_...`, without gaps. One must not begin, commit or
attach; foreign keys are off while it runs and checked before it commits. A released one is never
edited: write the next, and change `schema.sql` to what both lead to.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import stat
import struct
from contextlib import closing

from lattice import typed
from lattice.errors import Unavailable
from lattice.store import backup
from lattice.store.still import forget_views, has_bytes, still

log = logging.getLogger(__name__)

APPLICATION_ID = 0x63324C61  # "c2La"
MIGRATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")

_MAGIC = b"SQLite format 3\0"
_NAME = re.compile(r"(\d{4})_\w+\.sql\Z")


class CannotOpen(Unavailable):
    """This database is not opened; the message says why, the hint what to do.

    `code`: foreign_database, damaged_database, newer_database, unfinished_restore (exit_status 65, as in
    sysexits.h), no_folder (73), database_busy (75), no_permission (77).
    """

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(message, hint=hint, code=code)
        self.exit_status = {"no_folder": 73, "database_busy": 75, "no_permission": 77}.get(code, 65)

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}"


def check_file(path: str, backups_dir: str, migrations_dir: str = MIGRATIONS) -> bool:
    """True when there is a database of ours at `path`, False when there is nothing yet; else CannotOpen.

    Reads the file's header only, so a file that is refused is not even opened as a database.
    """
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):  # opening a pipe would wait for somebody to write to it
            raise foreign(path, "it is a folder" if stat.S_ISDIR(kind) else "it is no file")
        with open(path, "rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        header = b""
    except PermissionError as error:
        raise not_permitted(path) from error
    if not header:
        if has_bytes(path + "-wal"):
            raise damaged(path, backups_dir, "the database is empty or missing, but its -wal file is not")
        if os.path.exists(path) and backup.newest(backups_dir):  # who wants to begin anew takes the file away
            raise damaged(path, backups_dir, "it is empty, but there are copies of it that are not")
        return False
    if not header.startswith(_MAGIC) or len(header) < 100:
        raise damaged(path, backups_dir, "it is not a SQLite database")
    (version,) = struct.unpack(">I", header[60:64])
    (application,) = struct.unpack(">I", header[68:72])
    if application != APPLICATION_ID:
        raise foreign(path, "it is a SQLite database of another program")
    _refuse_newer(path, version, len(_scripts(migrations_dir)))
    page, pages = struct.unpack(">H10xI", header[16:32])
    wanted, there = (page if page > 1 else 65_536) * pages, os.path.getsize(path)
    if there < wanted and not has_bytes(path + "-wal"):  # with that there, a crash may have left the rest in it
        raise damaged(path, backups_dir, f"it is cut off, {there:,} bytes of {wanted:,} are left")
    return True


def look(path: str, backups_dir: str, migrations_dir: str = MIGRATIONS) -> None:
    """Check the whole database, reading only, so that one that is refused stays as it is. CannotOpen when damaged or newer."""
    forget_views(path)
    try:
        with still(path) as looking:
            version = looking.execute("PRAGMA user_version").fetchone()[0]  # the header lags behind the -wal file
            application = looking.execute("PRAGMA application_id").fetchone()[0]
            found = looking.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found == "ok":
                found = misshapen(looking, migrations_dir) or "ok"
    except sqlite3.OperationalError as error:
        match (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF:
            case sqlite3.SQLITE_READONLY:
                return  # a crash left a journal, which only a connection that writes can play back
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                raise not_permitted(path) from error
            case sqlite3.SQLITE_ERROR:  # its own schema is no SQL
                raise damaged(path, backups_dir, str(error)) from error
        raise  # locked, an I/O error: not a word about what is in it
    except sqlite3.DatabaseError as error:
        raise damaged(path, backups_dir, str(error)) from error
    except IsADirectoryError as error:
        raise damaged(path, backups_dir, f"{error.filename} is a folder") from error
    if application != APPLICATION_ID:  # opened for writing, the one would be written into the other
        raise damaged(path, backups_dir, "its -wal file is another database's")
    if found != "ok":
        raise damaged(path, backups_dir, " ".join(found.split()))
    _refuse_newer(path, version, len(_scripts(migrations_dir)))


def misshapen(connection: sqlite3.Connection, migrations_dir: str = MIGRATIONS) -> str:
    """What of its tables and indexes is not as its number says, in words; "" when all is, or the number is unknown here."""
    scripts = _scripts(migrations_dir)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(scripts):
        return ""
    found, wanted = _shape(connection), _made_by(scripts[:version])
    for shape in sorted(wanted - found, key=str):
        return f"its {shape[0]} {shape[1]} ({shape[2]}) is not as version {version} made it"
    try:
        later = _made_by(scripts) - wanted
    except sqlite3.Error:
        return ""  # whoever applies them hears of it
    for shape in sorted(later & found, key=str):
        return f"its number says version {version}, but it has the {shape[0]} {shape[1]} ({shape[2]}) of a later one"
    return ""


_SHAPE = (
    "SELECT 'table', m.name, x.name, x.type, x.\"notnull\", x.dflt_value, x.pk, x.hidden"
    " FROM sqlite_master m, pragma_table_xinfo(m.name) x WHERE m.type = 'table'",
    "SELECT 'index', m.name, m.tbl_name, x.seqno, x.name, x.\"desc\", x.coll, x.key FROM sqlite_master m, pragma_index_xinfo(m.name) x"
    " WHERE m.type = 'index'",
    'SELECT \'reference\', m.name, x."table", x."from", x."to" FROM sqlite_master m, pragma_foreign_key_list(m.name) x'
    " WHERE m.type = 'table'",
)


def _made_by(scripts: list[str]) -> set[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for script in scripts:
            connection.executescript(script)
        return _shape(connection)


def _shape(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    """Every column, indexed column and reference. (Not the SQL that made them: SQLite's versions write that differently.)"""
    return {tuple(row) for sql in _SHAPE for row in connection.execute(sql)}


def mark(connection: sqlite3.Connection) -> None:
    """Make an empty database ours. Before WAL mode: the mark is then in the file itself, where `check_file` looks."""
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


def open_schema(connection: sqlite3.Connection, path: str, backups_dir: str, migrations_dir: str = MIGRATIONS) -> str:
    """Bring the database on `connection` up to the last migration; the name of the backup made first, or ''.

    The connection is in autocommit mode. CannotOpen when the database is foreign or newer (`look`
    and `check_file` say so earlier, and of damage too); sqlite3.Error or OSError when a migration or
    the backup fails: then it is as it was.
    """
    scripts = _scripts(migrations_dir)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise foreign(path, "it is a SQLite database of another program")
    _refuse_newer(path, version, len(scripts))
    if version == len(scripts):
        return ""
    saved = ""
    if version:
        stem = f"{os.path.splitext(os.path.basename(path))[0].lstrip('.')}-v{version}-before-v{len(scripts)}"
        saved = backup.copy_once(connection, backups_dir, stem)
        log.warning("migrating %s from version %d to %d; a copy of it as it was: %s", path, version, len(scripts), saved)
    connection.execute("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
    try:
        for number in range(version + 1, len(scripts) + 1):
            _apply(connection, number, scripts[number - 1])
    finally:
        connection.execute("PRAGMA foreign_keys=ON")
    return saved


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    """One migration and its number, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(script):
            connection.execute(statement)
        orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
        if orphan is not None:
            raise sqlite3.IntegrityError(f"migration {number} would leave a row of {orphan[0]} that points to nothing in {orphan[2]}")
        connection.execute(f"PRAGMA user_version={number:d}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def statements(script: str) -> list[str]:
    """The SQL statements of a script. (executescript would commit what is open.)"""
    found = []
    piece = ""
    for part in re.split(r"(?<=;)", script):
        piece += part
        if sqlite3.complete_statement(piece):
            found.append(piece.strip())
            piece = ""
    rest = re.sub(r"--[^\n]*|/\*.*?\*/", "", piece, flags=re.DOTALL).strip()
    if rest:
        raise ValueError(f"a statement of the script does not end: {rest[:80]}")
    return found


def _scripts(folder: str) -> list[str]:
    """The migrations' texts in order. ValueError when a number is missing or twice there."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".sql"))
    except FileNotFoundError:
        return []
    texts = []
    for number, name in enumerate(names, start=1):
        match = _NAME.match(name)
        if match is None or int(match[1]) != number:
            raise ValueError(f"{folder}: expected migration {number:04d}_<name>.sql, found {name}")
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            texts.append(file.read())
    return texts


def _refuse_newer(path: str, version: int, newest: int) -> None:
    if version > newest:
        raise CannotOpen(
            f"{path} was written by a newer c2-lattice (its version is {version}, this program knows {newest}); nothing was changed",
            hint="Update c2-lattice, or choose another file with C2_LATTICE_DB, or go back to a copy that this program made:"
            f" {_launch('--restore', path)}",
            code="newer_database",
        )


def foreign(path: str, why: str) -> CannotOpen:
    return CannotOpen(
        f"{path} is not a c2-lattice database: {why}; nothing was changed",
        hint="Move it away, or choose another file with C2_LATTICE_DB",
        code="foreign_database",
    )


def damaged(path: str, backups_dir: str, why: str) -> CannotOpen:
    """A damaged database, and the way out: the last good copy in its place, and it put aside, whole."""
    saved = backup.newest(backups_dir)
    if saved:
        way = f"Put the newest good copy ({saved}) in its place: {_launch('--restore', path)} (or --fresh: an empty one)"
    else:
        way = f"There is no copy of it yet. Begin with an empty one: {_launch('--fresh', path)}"
    return CannotOpen(
        f"{path} is damaged: {why}; nothing was changed",
        hint=f"{way}; the damaged one is put aside whole, into {backups_dir}",
        code="damaged_database",
    )


def unfinished(path: str) -> CannotOpen:
    return CannotOpen(
        f"another database was being put in the place of {path} when that was interrupted; nothing was lost",
        hint=f"Do it again: {_launch('--restore', path)} (or --fresh: an empty one)",
        code="unfinished_restore",
    )


def _launch(option: str, path: str) -> str:
    return typed.own_script("launch.py", option, "--db", path)


def not_permitted(path: str) -> CannotOpen:
    return CannotOpen(
        f"{path} cannot be opened for reading and writing",
        hint="Make the file and its folder yours and writable, or choose another file with C2_LATTICE_DB",
        code="no_permission",
    )
