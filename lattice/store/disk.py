"""The disk under the database: why it does not take a write.

SQLite says "disk I/O error" of a quota that is used up and of a file system that has become read-only, as of a disk
that fails. The first two pass, so they are told apart: by writing, and taking away, a small file beside the database.
"""

from __future__ import annotations

import errno
import os

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
READ_ONLY = frozenset((errno.EROFS, errno.EACCES, errno.EPERM))
PROBE_BYTES = 64 * 1024  # more than is free by rounding, and what a small write of ours needs


def refuses(path: str, room: int = PROBE_BYTES) -> int:
    """The errno that a write of `room` bytes beside the file `path` ends with; 0 when it is taken."""
    probe = f"{path}.probe"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(probe, flags, 0o600)
        try:
            _write(descriptor, max(_size(path), _size(path + "-wal")), room)  # as far out: files may have a largest size
        finally:
            os.close(descriptor)
            os.unlink(probe)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _write(descriptor: int, start: int, room: int) -> None:
    left = room
    while left:  # a disk with a little room takes a part of it first
        if hasattr(os, "pwrite"):
            left -= os.pwrite(descriptor, bytes(left), start + room - left)
        else:
            left -= os.write(descriptor, bytes(left))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
