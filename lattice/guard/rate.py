"""Rate: how often one key may do a thing within a window that slides.

Exact: in no span of `window_s` seconds are there more than `limit` spends, however they are placed.
A refused spend costs nothing. Any thread may call; one lock. Keys that have been idle for a window
are forgotten, so the keys of departed peers do not add up.
"""

from __future__ import annotations

import threading
from collections import deque

from lattice.errors import TooMany

_LOOK_EVERY = 256  # spends between two looks for idle keys


class Rate:
    def __init__(self, limit: int, window_s: float = 60.0) -> None:
        if limit < 1 or window_s <= 0:
            raise ValueError("a rate needs a limit of at least 1 and a window")
        self.limit = limit
        self.window_s = window_s
        self._spent: dict[str, deque[float]] = {}  # when, oldest first
        self._spends = 0
        self._lock = threading.Lock()  # guards _spent and _spends

    def spend(self, key: str, now: float) -> None:
        """Count one. TooMany with `retry_after_s`, the seconds until one would pass. `now`: seconds that only grow."""
        with self._lock:
            self._forget_idle(now)
            times = self._spent.setdefault(key, deque())
            while times and now - times[0] >= self.window_s:
                times.popleft()
            if len(times) < self.limit:
                times.append(now)
                return
            wait_s = self.window_s - (now - times[0])
        retry_after_s = max(1, -int(-wait_s // 1))  # up to whole seconds: waiting that long is always enough
        raise TooMany(
            f"more than {self.limit} in {self.window_s:g} s; the next passes in {retry_after_s} s",
            retry_after_s=retry_after_s,
            limit=self.limit,
        )

    def _forget_idle(self, now: float) -> None:
        self._spends += 1
        if self._spends % _LOOK_EVERY == 0:
            for key in [key for key, times in self._spent.items() if not times or now - times[-1] >= self.window_s]:
                del self._spent[key]

    def __len__(self) -> int:
        """How many keys are remembered."""
        with self._lock:
            return len(self._spent)
