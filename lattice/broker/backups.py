"""Backups: a checked copy of the database each hour in which it changed; a day of hours and a week of days are kept.

`backups/hourly-20261120-0900.db` in the state directory, made while the broker serves. Copies made for
another reason (before a migration, by a fresh start) have other names and are nobody's to delete.
"""

from __future__ import annotations

import os
import time

from lattice.store.database import Database

EVERY_S = 3600.0
HOURS = 24
DAYS = 7
_PREFIX = "hourly-"


def make_if_due(database: Database, folder: str, now: float) -> str:
    """The new copy's path, "" when none was due. `now` is wall time; OSError or sqlite3.Error when it cannot be made."""
    made = _made(folder)
    newest = os.path.getmtime(made[-1]) if made else 0.0
    if now - newest < EVERY_S or _changed(database.path) <= newest:
        return ""
    target = os.path.join(folder, time.strftime(f"{_PREFIX}%Y%m%d-%H%M.db", time.localtime(now)))
    if os.path.lexists(target):  # the clock was set back
        return ""
    database.back_up(target)
    for path in _too_many(_made(folder)):
        os.unlink(path)
    return target


def every_copy(folder: str) -> list[str]:
    """All copies of a database that lie there, whoever made them and why."""
    found = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names if name.endswith(".db")]
    return sorted(found)


def _made(folder: str) -> list[str]:
    """Oldest first: the names sort by time."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(_PREFIX) and name.endswith(".db"))
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in names]


def _changed(path: str) -> float:
    return max(os.path.getmtime(name) for name in (path, path + "-wal") if os.path.exists(name))


def _too_many(made: list[str]) -> list[str]:
    """All but the newest HOURS, and of what is older all but the last of each of the newest DAYS days."""
    older = made[:-HOURS]
    last_of_day = {os.path.basename(path)[len(_PREFIX) :][:8]: path for path in older}
    kept = set(sorted(last_of_day.values())[-DAYS:])
    return [path for path in older if path not in kept]
