"""Age: how old a thing is that bears a time of the wall clock, when that clock may jump.

The tables hold wall times; but a wall clock is set, and goes on while the machine sleeps. So what is old is judged by the
time that this broker has been awake: `before(age_s)` is a wall time such that whatever bears an earlier one has that age,
and nothing looks older by a jump, in whichever direction. What was there before the broker started is as old as it says.

Threads: `look` is the sweep's; the list is replaced whole, so `before` may be asked on any thread.
"""

from __future__ import annotations

JUMP_S = 1.0  # between two looks; what is less is the clock being disciplined
JUMPS = 1000  # as many are remembered


class Age:
    def __init__(self, wall: float, monotonic: float) -> None:
        self._now = monotonic
        self._offsets = [(float("-inf"), wall - monotonic)]  # since when by the monotonic clock, wall minus monotonic

    def look(self, wall: float, monotonic: float) -> None:
        """What the two clocks say now; often enough that few things are made between a jump and the look."""
        self._now = monotonic
        offset = wall - monotonic
        if abs(offset - self._offsets[-1][1]) > JUMP_S:
            (_, first), *rest = [*self._offsets, (monotonic, offset)][-JUMPS:]
            self._offsets = [(float("-inf"), first), *rest]

    def before(self, age_s: float) -> float:
        """All that bears an earlier wall time than this is at least so old."""
        since = self._now - age_s
        ends = [at for at, _ in self._offsets[1:]] + [float("inf")]
        return min(max(since, began) + offset for (began, offset), end in zip(self._offsets, ends, strict=True) if end > since)
