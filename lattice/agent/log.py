"""The log of a session: faults of ours, in the state directory; stdout is the wire, and stderr may not be drained.

Nothing is written while all goes well. Never a token, a ticket, or the text of a message.
"""

from __future__ import annotations

import os
import time

MAX_BYTES = 262_144


def write(home: str, what: str, error: BaseException | None = None) -> None:
    """Add to `home`/session.log (0600). A log that cannot be written is no reason to end: it is dropped."""
    import traceback

    path = os.path.join(home, "session.log")
    told = "".join(traceback.format_exception(error)) if error is not None else ""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {os.getpid()} {what}\n{told}"
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        if os.path.exists(path) and os.path.getsize(path) > MAX_BYTES:
            os.replace(path, path + ".1")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            os.write(descriptor, line.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
    except OSError:
        pass  # no disk, no rights: the session itself still works
