"""Is a history linearizable: is there one order in which each operation does, at one moment, what it answered?

The search is Wing's and Gong's ("Testing and Verifying Concurrent Objects", J. Parallel and Distributed Computing 17, 1993):
of the operations that had begun when the first return is still to come, any may be the next; try each, go back where none
fits. The memo is Lowe's ("Testing for Linearizability", Concurrency and Computation 29(4), 2017): to come again to the same set
of placed operations, kept as a bit mask, with the same state is to fail again. As in his program, calls and returns are a linked
list from which a placed operation is lifted. Objects that share nothing are checked each on its own, since a history is
linearizable exactly when its part at each object is (Herlihy and Wing 1990); that keeps each search small.

An operation of unknown outcome (its answer was lost) has the answer None. It may take effect at any moment from its call
to its return, or never; the return is FOREVER, or the moment from which it certainly can no longer begin.

A model is a function `step(state, asked, answer)`: the state after the operation, or None where that answer is impossible
in that state. With the answer None it says the state after whatever the operation then does. States are hashable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

FOREVER = math.inf

Step = Callable[[Any, Any, Any], Any]


class Operation(NamedTuple):
    """One operation as a client saw it. Times are of any one clock; only their order counts."""

    called: float
    returned: float
    who: str
    asked: tuple[Any, ...]
    answer: tuple[Any, ...] | None


class Verdict(NamedTuple):
    """`order` places every operation that was answered, or, where that cannot be, as many as could be placed."""

    is_linearizable: bool
    order: list[Operation]
    state: Any  # after `order`
    left: list[Operation]  # answered, and not placed


def judge(history: Iterable[Operation], step: Step, start: Hashable) -> Verdict:
    """Search for an order of the history that begins in the state `start`."""
    operations = sorted(history, key=lambda operation: operation.called)
    following, before = _linked(operations)
    head = 2 * len(operations)
    answered = sum(operation.answer is not None for operation in operations)
    seen: set[tuple[int, Hashable]] = set()
    path: list[tuple[int, Any]] = []  # (the entry taken, the state before it)
    longest: list[int] = []
    state, placed, missing = start, 0, answered
    entry = following[head]
    while missing:
        operation, bit = operations[entry >> 1], 1 << (entry >> 1)
        after = state if entry & 1 else step(state, operation.asked, operation.answer)
        if entry & 1:  # a return: whatever is not placed before it comes too late, but for what never took effect
            goes = operation.answer is None
        else:
            goes = after is not None and not (operation.answer is None and after == state)  # unknown and without effect: of no use
        if goes and (placed | bit, after) not in seen:
            seen.add((placed | bit, after))
            path.append((entry, state))
            _lift(entry >> 1, following, before)
            state, placed = after, placed | bit
            missing -= operation.answer is not None
            entry = following[head]
        elif not entry & 1:
            entry = following[entry]
        else:
            if len(path) > len(longest):
                longest = [taken for taken, _ in path]
            while path:
                entry, state = path.pop()
                _put_back(entry >> 1, following, before)
                placed &= ~(1 << (entry >> 1))
                missing += operations[entry >> 1].answer is not None
                if not entry & 1:
                    entry = following[entry]
                    break
            else:
                return _verdict(False, operations, longest, step, start)
    return _verdict(True, operations, [taken for taken, _ in path], step, start)


def _verdict(good: bool, operations: list[Operation], path: Sequence[int], step: Step, start: Any) -> Verdict:
    order = [operations[entry >> 1] for entry in path if not entry & 1]
    state = start
    for operation in order:
        state = step(state, operation.asked, operation.answer)
    reached = {entry >> 1 for entry in path}
    left = [one for number, one in enumerate(operations) if number not in reached and one.answer is not None]
    return Verdict(good, order, state, left)


# -- calls and returns as a linked list: entry 2n is the call of operation n, 2n + 1 its return ----------------------------------


def _linked(operations: Sequence[Operation]) -> tuple[list[int], list[int]]:
    """(following, before) of each entry, a head and a tail behind the others. At one moment calls come first: then they overlap."""
    ends = [(operation.called, 2 * number) for number, operation in enumerate(operations)]
    ends += [(operation.returned, 2 * number + 1) for number, operation in enumerate(operations) if operation.returned != FOREVER]
    ends.sort(key=lambda end: (end[0], end[1] & 1, end[1]))
    size = 2 * len(operations)
    following, before = [-1] * (size + 2), [-1] * (size + 2)
    row = [size, *(entry for _, entry in ends), size + 1]
    for one, other in zip(row, row[1:], strict=False):
        following[one], before[other] = other, one
    return following, before


def _lift(number: int, following: list[int], before: list[int]) -> None:
    for entry in (2 * number, 2 * number + 1):
        if before[entry] >= 0:
            following[before[entry]], before[following[entry]] = following[entry], before[entry]


def _put_back(number: int, following: list[int], before: list[int]) -> None:
    """The reverse of the newest lift that was not put back yet."""
    for entry in (2 * number + 1, 2 * number):
        if before[entry] >= 0:
            following[before[entry]] = before[following[entry]] = entry


# -- what to show a person ---------------------------------------------------------------------------------------------------


def explain(verdict: Verdict, last: int = 12) -> str:
    """The end of the longest order that could be found, and what could not follow it."""
    origin = min((one.called for one in [*verdict.order, *verdict.left]), default=0)

    def line(operation: Operation) -> str:
        end = "never" if operation.returned == FOREVER else f"{(operation.returned - origin) / 1e6:.3f}"
        said = "?" if operation.answer is None else operation.answer
        return f"  {(operation.called - origin) / 1e6:10.3f} .. {end:>10} ms  {operation.who:<8} {operation.asked} -> {said}"

    waiting = min((one.returned for one in verdict.left), default=FOREVER)
    next_ones = [one for one in verdict.left if one.called <= waiting]
    return "\n".join(
        [f"placed {len(verdict.order)}, of which the last are", *map(line, verdict.order[-last:]), f"then it is {verdict.state}",
         "and none of these can be next:", *map(line, next_ones)]
    )  # fmt: skip
