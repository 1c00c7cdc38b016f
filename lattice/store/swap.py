"""Another database in the place of one: the old one is put aside, whole, and the new one put in its place.

    waits    the new one lies beside the database as `<path>.restoring` (empty: a new one is to begin);
             from here on the broker does not open `path`
    aside    database, -wal, -journal and -shm are renamed into a folder of the backups
    placed   the new one is renamed to `path`, in one step, which ends it

Whoever is killed on the way leaves it at one of these, and the same call goes on from there, with the same folder. Nothing
is deleted, and nothing is copied on the way, so that it needs no space. The caller holds the database's lock.
"""

from __future__ import annotations

import os
import stat

from lattice.lasting import sync_folder
from lattice.store import backup

_WAITS = ".restoring"
_UNFINISHED = ".unfinished"
_ENDS = ("", "-wal", "-journal", "-shm")


def waits(path: str) -> bool:
    """Was another database being put in the place of this one, and is not there yet?"""
    return os.path.lexists(path + _WAITS)


def room(path: str, backups_dir: str) -> str:
    """The folder to put the database aside in, made when there is none: `backups_dir`, if it is on the same file system."""
    backup.make_private_folder(backups_dir)
    if os.stat(backups_dir).st_dev == os.stat(os.path.dirname(path)).st_dev:
        return backups_dir
    beside = path + ".aside"
    os.makedirs(beside, mode=0o700, exist_ok=True)
    return beside


def replace(path: str, new: str, room: str, stamp: str) -> str:
    """Put the file `new` of the folder `room` in the place of `path`; "": none. The folder that has the old one, "" when there was none.

    `stamp` names that folder, unless an earlier call that was killed has begun one.
    """
    earlier = _unfinished(room)
    if earlier and not waits(path):  # that call came to its end but for the folder's name
        _finish(earlier)
        earlier = ""
    _wait(path, new, room)
    folder = earlier
    files = [path + end for end in _ENDS if os.path.lexists(path + end)]
    if files:
        folder = folder or _begin(room, stamp)
        for file in files:
            os.rename(file, os.path.join(folder, os.path.basename(file)))
        sync_folder(folder)
    _place(path)
    return _finish(folder) if folder else ""


def _wait(path: str, new: str, room: str) -> None:
    if not new:
        new = os.path.join(room, f"nothing-{os.getpid()}-{os.urandom(4).hex()}{backup.PARTIAL}")
        backup.make_private(new)
    os.replace(new, path + _WAITS)
    sync_folder(os.path.dirname(path))


def _place(path: str) -> None:
    if os.path.getsize(path + _WAITS):
        os.rename(path + _WAITS, path)
    else:
        os.unlink(path + _WAITS)
    sync_folder(os.path.dirname(path))


def _unfinished(room: str) -> str:
    found = [entry.path for entry in os.scandir(room) if entry.name.endswith(_UNFINISHED) and stat.S_ISDIR(entry.stat().st_mode)]
    return max(found, default="")


def _begin(room: str, stamp: str) -> str:
    for number in range(1, 10_000):
        folder = os.path.join(room, stamp if number == 1 else f"{stamp}-{number}")
        if not os.path.lexists(folder) and not os.path.lexists(folder + _UNFINISHED):
            os.mkdir(folder + _UNFINISHED, 0o700)
            sync_folder(room)
            return folder + _UNFINISHED
    raise FileExistsError(f"{room} has ten thousand databases of this second")


def _finish(folder: str) -> str:
    whole = folder.removesuffix(_UNFINISHED)
    os.rename(folder, whole)
    sync_folder(os.path.dirname(folder))
    return whole
