"""Brokers broken on purpose: each bug replaces one function of the real one, so that the search can show that it finds it.

Each fires whenever it can. `kind` says which histories bring it out: plain ones, ones with a kill, or ones with a clock moved by hand.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from lattice.broker import app, handlers
from lattice.broker.presence import Presence
from lattice.domain import idempotency, locks, peers, tasks
from lattice.store import writer
from lattice.store.database import Database, Tx


class Bug(NamedTuple):
    kind: Literal["plain", "killed", "by_hand"]
    plant: Callable[[], None]


def token_not_increased() -> None:
    def next_token(tx: Tx) -> int:
        tx.run("INSERT OR IGNORE INTO counters (name, value) VALUES ('token', 1)")
        return int(tx.one("SELECT value FROM counters WHERE name = 'token'")["value"])  # type: ignore[index]

    peers.next_token = next_token


def double_grant() -> None:
    """An exclusive lock is granted though somebody holds it."""
    locks._why_not = lambda *_: None


def stale_release_accepted() -> None:
    """The newest token need not be shown: an old one does."""
    locks._must_be_current = lambda *_: None


def unlock_does_nothing() -> None:
    """It answers ok."""
    locks._remove = lambda *_, **__: None


def shared_beside_exclusive() -> None:
    """A reader gets in beside a writer."""
    locks._goes_with = lambda mode, other: mode == "shared"


def lost_is_forgotten() -> None:
    """Whose lock another released is not told at its next edit."""
    locks._remember_lost = lambda *_, **__: None


def claim_of_a_blocked_task() -> None:
    claim = tasks.claim

    def wrong(tx: Tx, caller: Any, *, task_id: int, **more: object) -> dict[str, Any]:
        tx.run("UPDATE tasks SET n_open = 0 WHERE id = ?", (task_id,))
        return claim(tx, caller, task_id=task_id, **more)

    _handler("claim_task", wrong)


def claim_of_a_held_task() -> None:
    claim = tasks.claim

    def wrong(tx: Tx, caller: Any, *, task_id: int, **more: object) -> dict[str, Any]:
        tx.run("UPDATE tasks SET status = 'pending' WHERE id = ? AND status = 'in_progress' AND assigned_to <> ?", (task_id, caller.id))
        return claim(tx, caller, task_id=task_id, **more)

    _handler("claim_task", wrong)


def complete_by_a_non_owner() -> None:
    tasks._mine = lambda tx, caller, task_id, token: tasks._row(tx, caller, task_id)


def stale_complete_accepted() -> None:
    """The token of a claim is not looked at."""
    mine = tasks._mine
    tasks._mine = lambda tx, caller, task_id, token: mine(tx, caller, task_id, None)


def claim_not_written() -> None:
    """The claim is answered, and undone."""
    claim = tasks.claim

    def wrong(tx: Tx, caller: Any, *, task_id: int, **more: object) -> dict[str, Any]:
        answer = claim(tx, caller, task_id=task_id, **more)
        tx.run("UPDATE tasks SET status = 'pending', assigned_to = NULL WHERE id = ?", (task_id,))
        return answer

    _handler("claim_task", wrong)


def retry_is_done_twice() -> None:
    """The key of a call is not looked at."""
    idempotency.answered = lambda *_: None
    idempotency.remember = lambda *_: None


def reads_of_the_past() -> None:
    """Every reader goes on seeing the moment at which it first read, for fifty reads."""
    read = Database.read

    def stale_read(self: Database, fn: Callable[[Tx], Any], *, at: float = 0.0, **more: Any) -> Any:
        if fn.__qualname__.startswith("Broker._answer"):
            with self._readers:
                kept = self.__dict__.setdefault("_kept", [_snapshot(self.path), 0])
                kept[1] += 1
                if kept[1] % 50 == 0:
                    kept[0].close()
                    kept[0] = _snapshot(self.path)
                return fn(Tx(kept[0], at))
        return read(self, fn, at=at, **more)

    Database.read = stale_read  # type: ignore[method-assign]


def _snapshot(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN")
    connection.execute("SELECT COUNT(*) FROM locks").fetchone()
    return connection


def answered_before_the_commit() -> None:
    """Nineteen of twenty batches stay in an open transaction: whoever is killed meanwhile has lost them."""
    run = writer.Writer._run

    class Late:
        """The connection, whose commits come late."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self.real, self.count = connection, 0

        def execute(self, sql: str, *values: Any) -> Any:
            if sql == "COMMIT":
                self.count += 1
                if self.count % 20:
                    return None
            if sql == "BEGIN IMMEDIATE" and self.real.in_transaction:
                return None
            return self.real.execute(sql, *values)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    def wrong(self: writer.Writer, batch: Any) -> None:
        if not isinstance(self._connection, Late):
            self._connection = Late(self._connection)  # type: ignore[assignment]
        run(self, batch)

    writer.Writer._run = wrong  # type: ignore[method-assign]
    Database.read = lambda self, fn, *, at=0.0, **_: self.write(fn, at=at)  # type: ignore[method-assign]  # so that it sees what it wrote
    writer.Writer.look = lambda self, fn: fn(Tx(self._connection, 0.0))  # type: ignore[method-assign]


def the_last_writes_lost_in_a_crash() -> None:
    """As on a disk that had not written what it said: the last three commits are not in the log when the broker starts again."""
    path = os.environ["C2_LATTICE_DB"] + "-wal"
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        log = file.read()
    size = 24 + int.from_bytes(log[8:12], "big")  # of a frame: its head, and a page
    frames = [log[at : at + 24] for at in range(32, len(log), size)]
    commits = [number for number, head in enumerate(frames) if head[8:16] == log[16:24] and any(head[4:8])]  # of this log, and a last one
    if len(commits) > 3:
        os.truncate(path, 32 + size * (commits[-4] + 1))


def tokens_begin_again_after_a_crash() -> None:
    begin = app.Broker._begin

    def wrong(self: app.Broker) -> None:
        begin(self)
        self.write(lambda tx: tx.run("UPDATE counters SET value = MAX(1, value - 50) WHERE name = 'token'"), "begin")

    app.Broker._begin = wrong  # type: ignore[method-assign]


def lease_does_not_expire() -> None:
    Presence.has_lapsed = lambda *_: False  # type: ignore[method-assign]


def lease_expires_early() -> None:
    lapsed = Presence.has_lapsed
    Presence.has_lapsed = lambda self, token, peer_id, term_s, now: lapsed(self, token, peer_id, term_s / 2, now)  # type: ignore[method-assign]


def renewal_revives_a_lapsed_lock() -> None:
    renew = handlers.renew_locks

    def wrong(tx: Tx, call: Any) -> dict[str, Any]:
        for row in tx.all("SELECT * FROM lost_locks WHERE peer_id = ?", (call.caller.id,)):
            tx.run(
                "INSERT OR IGNORE INTO locks (file_path, peer_id, token, state, mode, reach, workspace, locked_at)"
                " VALUES (?, ?, ?, 'held', ?, ?, '', ?)",
                (row["file_path"], row["peer_id"], row["token"], row["mode"], row["reach"], tx.at),
            )
        return renew(tx, call)

    handlers.HANDLERS["renew_locks"] = wrong


def renewal_renews_nothing() -> None:
    handlers.HANDLERS["renew_locks"] = lambda tx, call: {"ok": True, "locks": locks.holdings(tx, call.caller.id), "lost": [], "task": None}


def _handler(name: str, fn: Callable[..., dict[str, Any]]) -> None:
    handlers.HANDLERS[name] = handlers.plain(fn)


BUGS: dict[str, Bug] = {
    bug.__name__: Bug(kind, bug)  # type: ignore[arg-type]
    for kind, bugs in {
        "plain": (
            token_not_increased, double_grant, stale_release_accepted, unlock_does_nothing, shared_beside_exclusive, lost_is_forgotten,
            claim_of_a_blocked_task, claim_of_a_held_task, complete_by_a_non_owner, stale_complete_accepted, claim_not_written,
            retry_is_done_twice, reads_of_the_past,
        ),
        "killed": (answered_before_the_commit, the_last_writes_lost_in_a_crash, tokens_begin_again_after_a_crash),
        "by_hand": (lease_does_not_expire, lease_expires_early, renewal_revives_a_lapsed_lock, renewal_renews_nothing),
    }.items()
    for bug in bugs
}  # fmt: skip
