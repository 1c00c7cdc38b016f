"""The copies of a database: which there are, and what is in each. Only looks.

In the database's own folder below backups/: those of each hour, those from before a migration, and the folders with
databases that were put aside.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import NamedTuple

from lattice import settings, typed
from lattice.cli import show
from lattice.domain import events
from lattice.store import backup
from lattice.store.database import Tx
from lattice.store.still import still


class Copy(NamedTuple):
    """`as_of`: the time of its newest event; None when it cannot be read, `why` then says so."""

    path: str
    written: float
    size: int
    was: str
    as_of: float | None
    events: int
    why: str


def folder(chosen) -> str:  # type: ignore[no-untyped-def]
    """Where the copies of the chosen database are."""
    return backup.folder_of(settings.database_file(chosen.db), os.path.join(chosen.home, "backups"))


def made(chosen) -> list[Copy]:  # type: ignore[no-untyped-def]
    """The copies, the one that was written last first."""
    return sorted((look(path, "copy") for path in _files(folder(chosen))), key=lambda copy: -copy.written)


def put_aside(chosen) -> list[Copy]:  # type: ignore[no-untyped-def]
    """The databases that --fresh and --restore put aside, the last one first."""
    path = settings.database_file(chosen.db)
    found = []
    for parent in (folder(chosen), path + ".aside"):
        for name in os.listdir(parent) if os.path.isdir(parent) else ():
            inside = os.path.join(parent, name, os.path.basename(path))
            if os.path.isfile(inside):
                found.append(look(inside, "put aside"))
    return sorted(found, key=lambda copy: -copy.written)


def look(path: str, was: str) -> Copy:
    about = os.stat(path)
    try:
        with still(path) as connection:
            connection.row_factory = sqlite3.Row
            seq, as_of = events.newest(Tx(connection, 0.0))
        return Copy(path, about.st_mtime, about.st_size, was, as_of, seq, "")
    except (sqlite3.Error, OSError) as problem:
        return Copy(path, about.st_mtime, about.st_size, was, None, 0, f"cannot be read: {problem}")


def tell(chosen) -> int:  # type: ignore[no-untyped-def]
    """Print them."""
    found = [*made(chosen), *put_aside(chosen)]
    if not found:
        print(f"no copies of {chosen.db} yet, in {folder(chosen)}: the broker makes one each hour in which something changed")
        return 0
    print(f"copies of {chosen.db}:")
    rows = [
        {"as_of": copy.as_of, "what": copy.was, "events": copy.events, "mb": f"{copy.size / 1e6:.1f}", "path": copy.why or copy.path}
        for copy in found
    ]
    print(show.table(rows, (("as_of", "AS OF"), ("what", "WHAT"), ("events", "EVENTS"), ("mb", "MB"), ("path", "FILE"))))
    print(f"back to the newest good copy: {typed.own_script('launch.py', '--restore')}; to another: --restore FILE")
    return 0


def _files(where: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(where) if entry.name.endswith(".db") and stat.S_ISREG(entry.stat().st_mode)]
    except FileNotFoundError:
        return []
