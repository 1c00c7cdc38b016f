"""Going back to a copy: a sound one is chosen, what is there is put aside, whole, and the copy is put in its place.

Nothing is deleted. The copy itself stays where it is; what takes the place is a copy of it, which is brought up to date,
numbers on from what is there (`domain/restoring.py`) and is put there in one step. Killed half-way, the same call goes on
from there; until then the broker does not open what is half done (`store/swap.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from typing import NamedTuple

from lattice import names, settings, typed
from lattice.cli import copies, show
from lattice.domain import restoring, soundness
from lattice.domain.caller import Caller
from lattice.errors import NotFound, Refusal, Unavailable
from lattice.exclusive import Exclusive
from lattice.store import backup, migrate, swap
from lattice.store.database import Database
from lattice.store.still import still

PERSON = Caller(names.PERSON, "system")


class Unsound(Refusal):
    """The copy that was asked for is damaged, or none that can be used."""

    code, status = "damaged_copy", 409


class Chosen(NamedTuple):
    """A copy that is sound, and the moment it shows."""

    path: str
    as_of: float | None


def choose(chosen, wanted: str) -> Chosen:  # type: ignore[no-untyped-def]
    """The copy to go back to: `wanted`, or with "" the newest good one. NotFound, or Unsound with the reason."""
    if wanted:
        return _judged(_file(os.path.abspath(os.path.expanduser(wanted)), settings.database_file(chosen.db)))
    for copy in copies.made(chosen):
        try:
            return _judged(copy.path)
        except Unsound as problem:
            print(f"copy: passed over: {problem.message}", flush=True)
    raise NotFound(
        f"there is no good copy of {chosen.db} in {copies.folder(chosen)}",
        hint="--backups shows what there is, --restore FILE takes one from elsewhere, --fresh begins with an empty database",
    )


def put(chosen, copy: Chosen | None) -> None:  # type: ignore[no-untyped-def]
    """Put the copy (None: nothing) in the place of the database, and say what was done. Its broker is stopped."""
    logging.getLogger("lattice").addHandler(logging.NullHandler())  # what goes wrong is raised, and what is done is printed
    path = settings.database_file(chosen.db)
    folder = copies.folder(chosen)
    if os.path.lexists(path):
        _refuse_foreign(path, folder)
    with _alone(path):
        room = swap.room(path, folder)
        try:
            new = _made_ready(path, room, copy) if copy else ""
        except (sqlite3.Error, OSError, Refusal) as problem:
            raise Unavailable(
                f"the copy could not be made ready in {room}: {problem}; nothing was changed",
                hint=f"the broker starts again with what there is: {typed.own_script('launch.py')}",
            ) from problem
        aside = swap.replace(path, new, room, time.strftime("%Y%m%d-%H%M%S"))
    if aside:
        print(f"database: what was there is kept in {aside}", flush=True)
    else:
        print(f"database: none at {chosen.db}, nothing to keep", flush=True)
    if copy:
        print(f"database: {chosen.db} is now as of {show.cell(copy.as_of)}; what was done since then is not in it", flush=True)


def _judged(path: str) -> Chosen:
    try:
        said = soundness.of_file(path)
    except migrate.CannotOpen as problem:
        raise Unsound(problem.message) from problem  # its hint is about a database that is in use
    if not said["ok"]:
        raise Unsound(f"{path} is damaged: {said['message']}")
    found = Chosen(path, copies.look(path, "copy").as_of)
    print(f"copy: {path} as of {show.cell(found.as_of)} is {said['message']}", flush=True)
    return found


def _file(wanted: str, database: str) -> str:
    """The file that was meant: of a folder that has something put aside, the database in it."""
    inside = os.path.join(wanted, os.path.basename(database))
    found = inside if os.path.isdir(wanted) and os.path.isfile(inside) else wanted
    if not os.path.isfile(found):
        raise NotFound(f"there is no copy at {wanted}", hint="--backups shows which there are")
    if os.path.realpath(found) == os.path.realpath(database):
        raise NotFound(f"{wanted} is the database itself, not a copy of it", hint="--backups shows which there are")
    return found


def _refuse_foreign(path: str, folder: str) -> None:
    """What is not ours is not moved."""
    try:
        migrate.check_file(path, folder)
    except migrate.CannotOpen as problem:
        if problem.code not in ("damaged_database", "newer_database"):
            raise


def _made_ready(path: str, room: str, copy: Chosen) -> str:
    """A copy of the copy, in `room`: up to date, synced, and numbering on from the database that it will take the place of."""
    backup.forget_partials(room)
    new = os.path.join(room, f"restoring-{os.getpid()}-{os.urandom(4).hex()}{backup.PARTIAL}")
    try:
        with still(copy.path) as source:
            backup.copy(source, new)
        database = Database(new, backups_dir=room)
        try:
            there = restoring.numbers(path) if os.path.lexists(path) else None
            said = {"copy": os.path.basename(copy.path), "as_of": copy.as_of}
            database.write(lambda tx: restoring.take_place(tx, PERSON, there, **said), at=time.time(), op="restore")
        finally:
            database.close()
            if database.backup:
                os.unlink(database.backup)  # of the copy as it was: that is the copy
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
    return new


@contextlib.contextmanager
def _alone(path: str):  # type: ignore[no-untyped-def]
    lock = Exclusive(path + ".lock")
    if not lock.acquire(2.0):
        raise Unavailable(f"{path} is in use by another broker; nothing was moved", hint="stop that one first (--stop --port N)")
    try:
        yield
    finally:
        lock.release()
