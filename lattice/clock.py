"""Time, as a thing that is handed in.

Only the doors (`broker/app`, the `main`s, the session's threads) hold a clock; everyone below is
given the time. `ManualClock` is the one thing tests script.
"""

from __future__ import annotations

import threading
import time


def of_day(at: float | None) -> str:
    """14:05, the local time of day at that moment, as a sentence names it; ? for none."""
    return time.strftime("%H:%M", time.localtime(at)) if at else "?"


class SystemClock:
    """Wall time for display, monotonic time for deadlines; both in seconds."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock(SystemClock):
    """Stands still until `advance` is called; `sleep` advances it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
