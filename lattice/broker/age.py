"""Age: how old a thing is that bears a time of the wall clock, when that clock may jump.

The tables hold wall times; but a wall clock is set, and goes on while the machine sleeps. So what is old is judged by the
time that this broker has been awake: `before(age_s)` is a wall time such that whatever bears an earlier one has that age,
`of(wall)` the age of a single thing; nothing looks older by a jump, in whichever direction. What was there before the
broker started is as old as it says.

Threads: `look` is the sweep's; the list is replaced whole, so the rest may be asked on any thread.
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

    def of(self, wall: float, monotonic: float) -> float:
        """How old at least what bears this wall time is, `monotonic` being now. What seems to come is new."""
        offsets = self._offsets
        moment = wall - offsets[-1][1]
        if len(offsets) > 1:
            ends = [at for at, _ in offsets[1:]] + [monotonic + JUMP_S]  # what is made this moment may bear a time that was rounded up
            fitting = [wall - offset for (began, offset), end in zip(offsets, ends, strict=True) if began <= wall - offset <= end]
            moment = max(fitting, default=moment)
        return max(0.0, monotonic - moment)

    def left(self, until: float, term_s: float, monotonic: float) -> float:
        """How much is left of a term of so many seconds that was to end at this wall time; below 0 when it is over."""
        return term_s - self.of(until - term_s, monotonic)

    def readings(self, monotonic: float, within_s: float) -> list[float]:
        """What the wall clock shows now, and would show had it not been set within the last so many seconds."""
        offsets = self._offsets
        ends = [at for at, _ in offsets[1:]] + [float("inf")]
        return [monotonic + offset for (_, offset), end in zip(offsets, ends, strict=True) if end > monotonic - within_s]
