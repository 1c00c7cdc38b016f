"""Backups: a checked copy of the database each hour in which it changed; a day of hours and a week of days are kept.

`hourly-20261120-090000Z.db` in the database's own folder of copies, made while the broker serves and, when one is due,
as soon as it starts, however soon it stops. Copies made for another reason (before a migration, by a fresh start) have
other names and are nobody's to delete. Names are in UTC, so that no hour comes twice. A copy from the future, made while
the clock was wrong, keeps none from being made and is left alone.
"""

from __future__ import annotations

import calendar
import os
import re
import shutil
import sqlite3
import time

from lattice.domain import events
from lattice.errors import OutOfSpace
from lattice.store import backup
from lattice.store.database import Database, Tx
from lattice.store.still import still

EVERY_S = 3600.0
HOURS = 24
DAYS = 7
_NAMED = "hourly-%Y%m%d-%H%M%SZ"
_NAME = re.compile(r"hourly-(\d{8}-\d{6})Z(?:-\d+)?\.db")
_AHEAD_S = 60.0  # so far may the clock be corrected backwards without a copy counting as of the future


class Hourly:
    """Makes the copies of one database into `folder`. Not for use by several threads at once."""

    def __init__(self, database: Database, folder: str) -> None:
        self._database = database
        self._folder = folder
        self._last: tuple[float, float, int] | None = None  # the newest copy: wall time, monotonic time, its last event

    def make_if_due(self, now: float, monotonic: float) -> str:
        """The new copy's path, "" when none was due. OSError, sqlite3.Error or OutOfSpace when it cannot be made."""
        database, folder = self._database, self._folder
        live = database.read(events.newest)[0]
        if self._last is None:
            when, copied = _newest(folder, live) or (database.read(events.oldest_at), -1)
            since = 0.0 if when is None else now - when if when <= now else EVERY_S  # from the future: the clock was wrong once
            self._last = (now - since, monotonic - since, copied)
        at, tick, copied = self._last
        since = max(now - at, monotonic - tick)  # whatever the wall clock has done, and though a machine slept
        if since < EVERY_S or copied == live:
            return ""
        backup.forget_partials(folder)
        backup.make_private_folder(folder)
        _need_space(database.path, folder)
        target = database.back_up(backup.free_name(folder, time.strftime(_NAMED, time.gmtime(now))))
        self._last = (now, monotonic, _last_event(target))
        for path in _too_many(_made(folder, now)):
            os.unlink(path)
        return target


def every_copy(folder: str) -> list[str]:
    """All copies of a database that lie there, whoever made them and why."""
    found = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names if name.endswith(".db")]
    return sorted(found)


def _newest(folder: str, live: int) -> tuple[float, int] | None:
    """(when, last event) of the copy that shows most of this log; None when there is none."""
    found = [(_last_event(path), when) for when, path in _made(folder, float("inf"))]
    event, when = max(((event, when) for event, when in found if 0 <= event <= live), default=(-1, 0.0))
    return (when, event) if event >= 0 else None


def _made(folder: str, now: float) -> list[tuple[float, str]]:
    """(when, path) of the copies made by this rule, oldest first."""
    try:
        found = [(match[1], match[0]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name))]
    except FileNotFoundError:
        return []
    dated = [(_when(stamp), os.path.join(folder, name)) for stamp, name in sorted(found)]
    return [(when, path) for when, path in dated if when <= now + _AHEAD_S]


def _when(stamp: str) -> float:
    try:
        return float(calendar.timegm(time.strptime(stamp, "%Y%m%d-%H%M%S")))
    except ValueError:  # no date: not our naming after all
        return float("inf")


def _last_event(path: str) -> int:
    """The last event in a copy; -1 when that cannot be read."""
    try:
        with still(path) as connection:
            connection.row_factory = sqlite3.Row
            return events.newest(Tx(connection, 0.0))[0]
    except (sqlite3.Error, OSError):
        return -1


def _need_space(path: str, folder: str) -> None:
    """A copy must not take the space that the broker writes to: it is made where twice as much is free."""
    needed = 2 * sum(os.path.getsize(name) for name in (path, path + "-wal") if os.path.exists(name))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutOfSpace(f"no hourly copy: only {free // 1_048_576:,} MB are free in {folder}, and {needed // 1_048_576:,} MB are wanted")


def _too_many(made: list[tuple[float, str]]) -> list[str]:
    """All but the newest HOURS, and of what is older all but the last of each of the newest DAYS days."""
    older = made[:-HOURS]
    last_of_day = {int(when // 86_400): path for when, path in older}
    kept = {last_of_day[day] for day in sorted(last_of_day)[-DAYS:]}
    return [path for _, path in older if path not in kept]
