"""What a piece of work costs, told without a clock on the wall: in turns with a loop that does nothing, by the thread's own time."""

from __future__ import annotations

import time
from collections.abc import Callable

SIZE = 10 * 1024  # signs of the texts that are tried, and turns of the loop: it takes 0.2 ms


def loops(work: Callable[..., object], *given: object, times: int = 3) -> float:
    """How long it takes, in loops of SIZE turns that do nothing. Loop and work in turns, the best of some times: what else the
    machine does slows both.
    """
    return min(took(work, *given) / took(_loop) for _ in range(times))


def growth(read: Callable[[str], object], text: str, *, times: int = 5) -> float:
    """How much longer it takes for a text four times as long: 4 when it takes time in proportion, 16 when it goes with the square.

    The text's last sign stays the last: it may be what spoils it.
    """
    longer = text[:-1] * 4 + text[-1:]
    return min(took(read, longer) / took(read, text) for _ in range(times))


def took(work: Callable[..., object], *given: object) -> float:
    """Seconds of this thread."""
    began = time.thread_time()
    work(*given)
    return time.thread_time() - began


def _loop() -> None:
    for _ in "a" * SIZE:
        pass
