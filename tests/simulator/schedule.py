"""Virtual time: one clock, one heap of what is to happen, nothing that happens by itself.

What is due at the same time happens in the order in which it was put there, so a run is the same each time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from lattice.clock import ManualClock


class VirtualClock(ManualClock):
    """Stands still until the schedule moves it. One thread only, so it needs no lock."""

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """The wall clock is set, or the machine slept and its monotonic clock with it (as on Linux and macOS)."""
        self._now += seconds


class Schedule:
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._put = 0

    def after(self, seconds: float, what: Callable[..., None], *about: Any) -> None:
        self._put += 1
        heapq.heappush(self._due, (self.clock._monotonic + seconds, self._put, what, about))

    def step(self, until: float) -> Callable[..., None] | None:
        """Do what is next; None when nothing is due before `until`, which it then is. What is late happens now."""
        clock = self.clock
        if not self._due or self._due[0][0] > until:
            if until > clock._monotonic:
                clock.advance(until - clock._monotonic)
            return None
        at, _, what, about = heapq.heappop(self._due)
        if at > clock._monotonic:
            clock.advance(at - clock._monotonic)
        what(*about)
        return what
