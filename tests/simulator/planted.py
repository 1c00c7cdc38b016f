"""Planted faults: the product with one thing broken, to see that the simulator notices.

Each is a context manager that breaks one rule while it is open. A fault in SQL is planted by taking a clause out of the
statement as it is run; all others by replacing one function. `FAULTS` says what each one breaks, in words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from lattice.broker import handlers
from lattice.broker.flags import Flags
from lattice.broker.presence import Presence
from lattice.broker.sweep import Sweep
from lattice.domain import events, idempotency, locks, memory, messages, peers, tasks
from lattice.store.writer import Tx, Writer

Planted = contextlib.AbstractContextManager[Any]


def without(clause: str, instead: str = "") -> Planted:
    """SQL without a clause."""
    run = Tx._execute

    def broken(tx: Tx, sql: str, params: Any) -> Any:
        return run(tx, sql.replace(clause, instead), params)

    return mock.patch.object(Tx, "_execute", broken)


def nothing(owner: Any, name: str, answer: Any = None) -> Planted:
    """A function that does nothing."""
    return mock.patch.object(owner, name, lambda *_, **__: answer() if callable(answer) else answer)


def every(number: int, owner: Any, name: str, answer: Any = None) -> Planted:
    """A function that does nothing each so many times."""
    real: Callable[..., Any] = getattr(owner, name)
    count = [0]

    def broken(*given: Any, **named: Any) -> Any:
        count[0] += 1
        return answer if count[0] % number == 0 else real(*given, **named)

    return mock.patch.object(owner, name, broken)


@contextlib.contextmanager
def acknowledged_and_undone() -> Iterator[None]:
    """One commit in fifty answers ok, and is rolled back."""
    real = Writer._run
    count = [0]

    def broken(writer: Writer, batch: list[Any]) -> None:
        count[0] += 1
        if count[0] % 50:
            real(writer, batch)
            return
        writer._connection.execute("BEGIN IMMEDIATE")
        writer._run_one(batch[0], own=True)
        writer._connection.execute("ROLLBACK")

    with mock.patch.object(Writer, "_run", broken):
        yield


@contextlib.contextmanager
def no_keys() -> Iterator[None]:
    """No answer is kept for who asks again."""
    with nothing(idempotency, "answered"), nothing(idempotency, "remember"):
        yield


@contextlib.contextmanager
def read_at_once() -> Iterator[None]:
    """Mail is marked read by whoever takes it, as it was in v4."""
    real = messages.take

    def broken(tx: Tx, caller: Any, **more: Any) -> Any:
        taken = real(tx, caller, **more)
        messages.ack(tx, caller, receipts=[mail["receipt"] for mail in taken["messages"]], proof="taken")
        return taken

    with mock.patch.object(messages, "take", broken):
        yield


@contextlib.contextmanager
def reverts_the_done() -> Iterator[None]:
    """A departure opens the finished tasks of the departed as well."""
    with without("SELECT id FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY id",
                 "SELECT id FROM tasks WHERE assigned_to = ? AND status IN ('in_progress', 'completed') ORDER BY id"):  # fmt: skip
        yield


@contextlib.contextmanager
def unlogged_locks() -> Iterator[None]:
    """Changes of locks are not in the log."""
    real = events.record

    def broken(tx: Tx, caller: Any, kind: str, *more: Any, **named: Any) -> None:
        if kind != "lock":
            real(tx, caller, kind, *more, **named)

    with mock.patch.object(events, "record", broken):
        yield


def any_version() -> Planted:
    """The version that a caller expects is not looked at."""
    stored = handlers.plain(lambda tx, caller, **said: memory.put(tx, caller, **{**said, "expect_version": None}))
    return mock.patch.dict(handlers.HANDLERS, {"set_memory": stored})


def _same_token(tx: Tx) -> int:
    row = tx.one("SELECT value FROM counters WHERE name = 'token'")
    return int(row["value"]) if row is not None else 1


FAULTS: dict[str, Callable[[], Planted]] = {
    "after a late tick nobody gets a new term": lambda: nothing(Presence, "forgive"),
    "a grant has no larger token": lambda: mock.patch.object(peers, "next_token", _same_token),
    "mail is read as soon as it is taken": read_at_once,
    "a departed peer's locks stay": lambda: nothing(locks, "let_go", list),
    "a departed peer's tasks stay": lambda: nothing(tasks, "let_go", list),
    "a departed peer's seat stays": lambda: nothing(peers, "vacate", list),
    "a departed peer's offers stay": lambda: nothing(messages, "return_offers", 0),
    "what waits for others can be claimed": lambda: without(" AND status = 'pending' AND n_open = 0", " AND status = 'pending'"),
    "what is held can be claimed": lambda: without(" AND status = 'pending' AND n_open = 0"),
    "a lock is granted twice, now and then": lambda: every(5, locks, "_why_not"),
    "the done is done no more": reverts_the_done,
    "a repeated call is done twice": no_keys,
    "an old version of a memory overwrites": any_version,
    "locks are not in the log": unlogged_locks,
    "ok is said before the commit": acknowledged_and_undone,
    "a cycle is accepted": lambda: nothing(tasks, "_waits_for", False),
    "dependents are not freed": lambda: without("n_open = n_open - 1", "n_open = n_open"),
    "flags are not put up": lambda: nothing(Flags, "_raise"),
    "nobody is told that a lock is free": lambda: nothing(locks, "_tell_next"),
    "the late are not looked for": lambda: nothing(Sweep, "late_peers"),
}
