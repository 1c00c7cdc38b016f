"""How the broker ends: its exit status, as in sysexits.h, and the sentence on stderr that says why and what to do.

0   stopped                                 75  another program is writing to the database
65  the database cannot be used             77  a file or folder of ours may not be written, or others can read it
69  the port is taken                       78  a setting cannot be used
73  there is no place for it: another broker has the database, its folder is missing, the disk is full
74  the disk failed
"""

from __future__ import annotations

import errno
import os
import sys

from lattice.store import disk

OK, UNAVAILABLE, NO_PLACE, IO_FAILED, NO_PERMISSION, BAD_CONFIG = 0, 69, 73, 74, 77, 78


def say(status: int, message: str) -> int:
    """The sentence, and the status to end with."""
    try:
        print(f"c2-lattice broker: {message}", file=sys.stderr, flush=True)
    except OSError:
        pass  # stderr is a file on the disk that is full: the status says it still
    return status


def is_of_the_disk(number: int) -> bool:
    """Is this errno one of a disk, or of what may be written on it?"""
    return number in disk.FULL or number in disk.READ_ONLY or number == errno.EIO


def refused(path: str, number: int, variable: str) -> int:
    """`path`, which `variable` places, cannot be made or written: `number` is the errno."""
    if number in disk.FULL:
        return say(NO_PLACE, f"{path} cannot be written: the disk is full, or a quota is; free some space, then start again")
    if number in disk.READ_ONLY:
        remedy = f"make it and its folder yours and writable, or name another place with {variable}"
        return say(NO_PERMISSION, f"{path} cannot be written: {os.strerror(number)}; {remedy}")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return say(NO_PLACE, f"{os.path.dirname(path)} is no folder; make it, or name another place with {variable}")
    return say(IO_FAILED, f"{path}: {os.strerror(number)}; is its disk in order?")
