"""A database read as it lies there: no byte of it is changed, and no file stays beside it.

For who judges a file that nobody has open: the broker before it opens one, a copy, what a killed broker left. Where the
-wal file has something in it, SQLite wants to write its index (-shm) beside both; so it is given another name for them, in a
folder of their own.

It does not keep others from writing meanwhile: who reads the database of a broker holds its lock.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

from lattice.store import backup, wal

_VIEW = ".look-"
_TAKEN = 16  # where the -shm file says how many frames of the -wal file are in force; https://sqlite.org/walformat.html


@contextmanager
def still(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that reads the database at `path` and what its -wal file adds.

    sqlite3.Error when that cannot be, DatabaseError also when something in the -wal file was committed and would be passed
    over. A text that is no UTF-8 is read with its broken bytes spelled out.
    """
    if not has_bytes(path + "-wal"):
        # A journal, which only a crash at the very first write leaves, must be seen, to be left to a connection that writes.
        query = "mode=ro" if has_bytes(path + "-journal") else "immutable=1"
        with _reading(path, query) as connection:
            yield connection
        return
    damage = wal.damaged_header(path + "-wal")
    if damage:
        raise sqlite3.DatabaseError(damage)
    with _other_name(path) as name, _reading(name, "mode=ro") as connection:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # now the -wal file is read
        damage = wal.passed_over(path + "-wal", _frames_taken(name))
        if damage:
            raise sqlite3.DatabaseError(damage)
        yield connection


def forget_views(path: str) -> None:
    """Remove the other names that a reading which was killed left beside `path`. The files themselves stay."""
    folder, start = os.path.dirname(path), os.path.basename(path) + _VIEW
    for name in os.listdir(folder):
        if name.startswith(start):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def has_bytes(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


@contextmanager
def _reading(path: str, query: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(backup.uri(path, query), uri=True, isolation_level=None)) as connection:
        connection.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
        connection.execute("PRAGMA query_only=1")
        connection.execute("PRAGMA trusted_schema=OFF")
        try:
            yield connection
        except UnicodeDecodeError as error:  # in what SQLite says of a broken schema
            raise sqlite3.DatabaseError(f"its schema cannot be read: {error}") from error


@contextmanager
def _other_name(path: str) -> Iterator[str]:
    """A second name for the database and its -wal file; the first where the file system knows no second ones."""
    folder = ""
    try:
        try:
            folder = tempfile.mkdtemp(prefix=os.path.basename(path) + _VIEW, dir=os.path.dirname(path))
            name = os.path.join(folder, "database")
            for end in ("", "-wal"):
                os.link(path + end, name + end)
        except OSError:
            name = path
        yield name
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _frames_taken(name: str) -> int:
    with open(name + "-shm", "rb") as file:
        file.seek(_TAKEN)
        return int(struct.unpack("=I", file.read(4))[0])
