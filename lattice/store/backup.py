"""Copies of the database, made while it is in use.

A copy is one moment of the database, checked, 0600, and under its name only once it is whole and
on disk; an existing file is never written over. Copying the file with `cp` while the broker runs
is wrong: what is still in the -wal file would be missing.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lattice.lasting import sync_folder

PARTIAL = ".partial"  # in the name of what is not whole yet
_OLD_S = 3600.0


def back_up(path: str, target: str) -> str:
    """Copy the database at `path` to the new file `target`; `target`.

    FileExistsError when there is one; FileNotFoundError without a database; OSError or sqlite3.Error
    when it cannot be read or the copy cannot be written: then there is no `target`.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no database at {path}")
    with closing(sqlite3.connect(uri(path, "mode=ro"), uri=True, timeout=5.0)) as source:
        return copy(source, target)


def copy(source: sqlite3.Connection, target: str) -> str:
    """`back_up` from an open connection that is in no transaction."""
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; a backup is never written over")
    make_private_folder(os.path.dirname(os.path.abspath(target)))
    partial = f"{target}.{os.getpid()}-{os.urandom(4).hex()}{PARTIAL}"
    make_private(partial)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as copied:
            copied.execute("PRAGMA synchronous=OFF")  # synced once, below
            source.backup(copied)  # in one step: in steps, each write to the source would begin it anew
        with closing(sqlite3.connect(uri(partial, "immutable=1"), uri=True)) as copied:
            found = copied.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy of the database is damaged: {found}")
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        _give_name(partial, target)
    finally:
        for name in (partial, *beside(partial)):
            if os.path.lexists(name):
                os.unlink(name)
    return target


def folder_of(path: str, parent: str) -> str:
    """Where copies of the database at `path` are kept: its own folder in `parent`, which other databases may share."""
    real = os.path.realpath(path)
    stem = os.path.splitext(os.path.basename(real))[0].lstrip(".") or "database"
    return os.path.join(parent, f"{stem}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:8]}")


def forget_partials(folder: str) -> None:
    """Remove what copying that was killed left in `folder`: one that goes on is written to all the time."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if PARTIAL in name and abs(time.time() - os.lstat(path).st_mtime) > _OLD_S:
            os.unlink(path)


def free_name(folder: str, stem: str) -> str:
    """`folder/stem.db`, or `folder/stem-2.db` and so on when that is taken."""
    for number in range(1, 10_000):
        name = os.path.join(folder, f"{stem}.db" if number == 1 else f"{stem}-{number}.db")
        if not os.path.lexists(name):
            return name
    raise FileExistsError(f"{folder} has ten thousand backups named {stem}; remove some")


def copy_once(source: sqlite3.Connection, folder: str, stem: str) -> str:
    """`copy` to a free name of that stem; the last copy of that stem, where it is already what the new one would be."""
    target = free_name(folder, stem)
    before = [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(stem)] if os.path.isdir(folder) else []
    made = copy(source, target)
    last = max(before, key=os.path.getmtime, default="")
    if last and filecmp.cmp(last, made, shallow=False):
        os.unlink(made)  # a start that fails each time must not fill the disk
        return last
    return made


def newest(folder: str) -> str:
    """The backup in `folder` that was written last, or ''."""
    try:
        names = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".db")]
    except OSError:
        return ""
    return max(names, key=os.path.getmtime, default="")


def make_private_folder(path: str) -> None:
    """Make a folder, 0700, and the one it is in."""
    for folder in (os.path.dirname(path), path):
        os.makedirs(folder, mode=0o700, exist_ok=True)


def make_private(path: str) -> None:
    """Make an empty file, 0600 whatever the umask. FileExistsError when there is one."""
    number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(number, 0o600)  # a umask such as 0777 takes bits away
    finally:
        os.close(number)


def beside(path: str) -> Iterator[str]:
    """The files that SQLite keeps beside a database."""
    return (path + end for end in ("-wal", "-shm", "-journal"))


def uri(path: str, query: str) -> str:
    """`path` as SQLite takes it where it needs a parameter such as mode=ro."""
    return f"{Path(os.path.abspath(path)).as_uri()}?{query}"


def _give_name(partial: str, target: str) -> None:
    """Rename, but never over another file; and make the name last."""
    if os.name == "nt":
        os.rename(partial, target)  # refuses an existing target there
        return
    os.link(partial, target)
    os.unlink(partial)
    sync_folder(os.path.dirname(os.path.abspath(target)))
