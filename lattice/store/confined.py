"""Confined: what a connection may do once the broker serves, whatever SQL reaches it.

A writer reads and changes rows; a reader reads. Neither attaches a file, changes the schema, loads code,
or sets a pragma; a few pragmas may be asked. A read that has run longer than it may is ended.
The judgement is SQLite's own, made when a statement is prepared, so statements that are kept cost nothing.

It is the second lock on a door: no text from outside becomes SQL anyway.
"""

from __future__ import annotations

import sqlite3
import time

STEPS = 250_000  # of SQLite's machine between two looks at the time: 5 to 20 ms, so short reads are never looked at
MAX_SQL = 100_000  # bytes of a statement: ours have a few hundred, those with a list of ids some thousands
MAX_PATTERN = 1_000  # bytes of a LIKE pattern: a long one with many % takes time out of proportion

_READS = frozenset(
    (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_TRANSACTION)
)
_WRITES = _READS | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_SAVEPOINT}
_ASKED = frozenset(
    ("user_version", "application_id", "journal_mode", "synchronous", "foreign_keys", "page_size", "page_count", "freelist_count")
)
_LOOKS = frozenset(("integrity_check", "foreign_key_check", "table_xinfo"))  # and changes nothing, whatever it is asked
_LOADS_CODE = frozenset(("load_extension", "fts3_tokenizer"))


class Patience:
    """Until when what runs on a reader may go on; whoever borrows it says so anew."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = 0.0

    def begins(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def is_over(self) -> bool:
        return time.monotonic() > self.until


def confine(connection: sqlite3.Connection, *, writes: bool = False) -> None:
    """From now on the connection only reads (`writes`: and changes rows). It is set up and migrated before."""
    allowed = _WRITES if writes else _READS

    def judge(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_PRAGMA:
            return sqlite3.SQLITE_OK if first in _LOOKS or (second is None and first in _ASKED) else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and second in _LOADS_CODE:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            # json_each declares its columns so. A statement that would change the schema is no UPDATE, and
            # one that says UPDATE sqlite_master is refused without the pragma that allows it.
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY

    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN)
    connection.set_authorizer(judge)


def release(connection: sqlite3.Connection) -> None:
    """Take the judgement away again, for who closes the database."""
    connection.set_authorizer(None)


def bound(connection: sqlite3.Connection) -> Patience:
    """End what runs on the connection when its patience is over: SQLITE_INTERRUPT."""
    patience = Patience()
    connection.set_progress_handler(patience.is_over, STEPS)
    return patience
