"""An exclusive lock on a file, held for the life of the process that took it.

The system frees it when the process ends, however it ends. Inherited by nobody.
"""

from __future__ import annotations

import os
import time


class Exclusive:
    """`with`-less on purpose: a broker holds its lock until it exits."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take it; False when another process has it (still, after `wait_s`). The file is 0600 and stays."""
        until = time.monotonic() + wait_s
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor = os.open(self.path, flags, 0o600)
        while not _try(self._descriptor):
            if time.monotonic() >= until:
                self.release()
                return False
            time.sleep(0.02 + os.urandom(1)[0] / 5000)  # jitter: 200 sessions may be waiting
        return True

    def write(self, text: str) -> None:
        """Say in the file who holds it, for people; nobody reads it to decide."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0) if hasattr(os, "pwrite") else os.write(self._descriptor, text.encode())

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)  # closing frees the lock
            self._descriptor = -1


def _try(descriptor: int) -> bool:
    if os.name == "nt":
        import msvcrt

        try:
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far behind the text, so that others can still read that
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
