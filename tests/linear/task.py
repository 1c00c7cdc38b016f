"""Two tasks as they should be, the second waiting for the first: the plain model that the search holds histories against.

A task is pending, in progress with one owner and token, completed or failed. A claim whose answer nobody heard has the
token 0 until somebody is told it.

    asked                               answers
    claim who n                         claimed token · held owner · ended · blocked
    complete who n token                completed unblocked · fault
    release, fail who n token           done · fault           fault: ended · stale · pending · held owner
    renew who n token                   holds token · fault
    get n                               is status owner token claimable
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Task(NamedTuple):
    status: str = "pending"
    owner: str = ""
    token: int = 0
    newest: int = 0  # the greatest token that was told of it


class Pair(NamedTuple):
    first: Task = Task()
    second: Task = Task()


ENDED = ("completed", "failed")


def step(pair: Pair, asked: tuple[Any, ...], answer: tuple[Any, ...] | None) -> Pair | None:
    return ASKED[asked[0]](pair, answer, *asked[1:])


def claim(pair: Pair, answer: tuple[Any, ...] | None, who: str, n: int) -> Pair | None:
    task = pair[n]
    if task.status == "in_progress" and task.owner == who:
        return _told(pair, n, answer) if answer is None or answer[0] == "claimed" else None
    if task.status == "in_progress":
        return pair if answer in (None, ("held", task.owner)) else None
    if task.status in ENDED:
        return pair if answer in (None, ("ended",)) else None
    if n == 1 and pair.first.status != "completed":
        return pair if answer in (None, ("blocked",)) else None
    if answer is None:
        return _with(pair, n, Task("in_progress", who, 0, task.newest))
    if answer[0] != "claimed" or answer[1] <= task.newest:
        return None
    return _with(pair, n, Task("in_progress", who, answer[1], answer[1]))


def complete(pair: Pair, answer: tuple[Any, ...] | None, who: str, n: int, token: int) -> Pair | None:
    unblocks = n == 0 and pair.second.status == "pending"
    return _end(pair, answer, who, n, token, "completed", ("completed", unblocks))


def fail(pair: Pair, answer: tuple[Any, ...] | None, who: str, n: int, token: int) -> Pair | None:
    return _end(pair, answer, who, n, token, "failed", ("done",))


def release(pair: Pair, answer: tuple[Any, ...] | None, who: str, n: int, token: int) -> Pair | None:
    return _end(pair, answer, who, n, token, "pending", ("done",))


def renew(pair: Pair, answer: tuple[Any, ...] | None, who: str, n: int, token: int) -> Pair | None:
    fault = _fault(pair[n], who, token)
    if fault is not None:
        return pair if answer in (None, fault) else None
    return _told(pair, n, answer) if answer is None or answer[0] == "holds" else None


def get(pair: Pair, answer: tuple[Any, ...] | None, n: int) -> Pair | None:
    if answer is None:
        return pair
    task = pair[n]
    claimable = task.status == "pending" and (n == 0 or pair.first.status == "completed")
    _, status, owner, token, open_to_all = answer
    if (status, owner, open_to_all) != (task.status, task.owner, claimable):
        return None
    return pair if status == "pending" else _told(pair, n, ("is", token))


ASKED: dict[str, Callable[..., Pair | None]] = {
    "claim": claim, "complete": complete, "fail": fail, "release": release, "renew": renew, "get": get,
}  # fmt: skip


def _fault(task: Task, who: str, token: int) -> tuple[Any, ...] | None:
    """Why who shows this token (0: none) may not end the task."""
    if task.status in ENDED:
        return ("ended",)
    if token and (task.status == "pending" or token != task.token or task.owner != who):
        return ("stale",)
    if task.status == "pending":
        return ("pending",)
    return ("held", task.owner) if task.owner != who else None


def _end(pair: Pair, answer: tuple[Any, ...] | None, who: str, n: int, token: int, status: str, right: tuple[Any, ...]) -> Pair | None:
    fault = _fault(pair[n], who, token)
    if answer not in (None, right if fault is None else fault):
        return None
    if fault is not None:
        return pair
    task = pair[n]
    return _with(pair, n, Task(newest=task.newest) if status == "pending" else task._replace(status=status))


def _with(pair: Pair, n: int, task: Task) -> Pair:
    return Pair(task if n == 0 else pair.first, task if n == 1 else pair.second)


def _told(pair: Pair, n: int, answer: tuple[Any, ...] | None) -> Pair | None:
    """The answer names the token of the claim: it must be that one, or the first that is heard of it."""
    task = pair[n]
    if answer is None or task.token == answer[1]:
        return pair
    if task.token or answer[1] <= task.newest:
        return None
    return _with(pair, n, task._replace(token=answer[1], newest=answer[1]))
