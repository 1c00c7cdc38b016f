"""Processes: when one was started, and whether it is still there. A pid alone is reused; with its start it is one process.

Answers "" and True where the platform does not tell: whoever asks must then treat the process as possibly alive.
"""

from __future__ import annotations

import os
import sys

_TELLS = sys.platform == "win32" or os.path.isdir("/proc/self")  # here, no start time means no process


def started(pid: int) -> str:
    """When the process started, as a word that only compares equal to itself; "" when it is gone or nothing is known."""
    if pid <= 0:
        return ""
    if sys.platform == "win32":
        return _started_windows(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold blanks and parentheses; fields count from the last one.
            fields = file.read(4096).rpartition(b")")[2].split()
        # Field 3 is the state: Z and X have ended. Field 22 is the start, in ticks since boot.
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    except (OSError, IndexError):
        return "" if _TELLS else _started_ps(pid)


def is_alive(pid: int, start: str = "") -> bool:
    """Whether that very process is there. `start` is what `started` said of it, "" if unknown."""
    if pid <= 0:
        return False
    if sys.platform != "win32":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # somebody else's: it is there
    now = started(pid)
    if not now:
        return not _TELLS
    return not start or now == start


def _started_ps(pid: int) -> str:
    import subprocess

    try:
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=2, check=False,
            env={"PATH": "/bin:/usr/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(found.stdout.decode("ascii", "replace").split())


def _started_windows(pid: int) -> str:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return ""
    try:
        times = [ctypes.c_ulonglong() for _ in range(4)]
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        if code.value != 259 or not kernel.GetProcessTimes(handle, *[ctypes.byref(time) for time in times]):  # 259: STILL_ACTIVE
            return ""
        return str(times[0].value)
    finally:
        kernel.CloseHandle(handle)
