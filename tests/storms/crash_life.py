"""The whole life of a database in one process, and the program that lives it again and again until it is killed.

    strace … python -m tests.storms.crash_life       an order on stdin (a line of JSON), an answer on stdout

`LIVES` are the steps: whatever changes more than one row goes through `Broker.call`, on a database that checkpoints often.
Chance and time are the same in every life, so what the tables hold after each commit is known (`record`): what is found
after a crash is one of two neighbouring states, or torn. strace kills a thread at its K-th call of a kind; a child that is
to die at its n-th makes K - n harmless ones first, so one strace serves many crash points.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import sqlite3
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

from lattice.domain import events
from lattice.domain.caller import BROKER
from lattice.store import confined, migrate
from lattice.store.database import Database
from lattice.store.writer import Writer
from tests.broker import databases
from tests.broker.broking import House

DATABASE = "lattice.db"
COPY = os.path.join("state", "backups", "copy.db")
PAGES_TO_CHECKPOINT = 40
Step = tuple[str, Callable[[House, dict[str, Any]], object]]


# -- the lives ----------------------------------------------------------------------------------------------------------


def _often(house: House) -> None:
    """Checkpoints come in the middle of commits, not only at the end."""
    connection = house.broker.database._connection
    confined.release(connection)
    connection.execute(f"PRAGMA wal_autocheckpoint={PAGES_TO_CHECKPOINT}")
    confined.confine(connection, writes=True)


def _again(house: House, _: dict[str, Any]) -> None:
    house.restart()
    _often(house)


def _batch(house: House, kept: dict[str, Any]) -> None:
    tasks = [{"title": "ground"}, {"title": "walls", "blocked_by": [-1]}, {"title": "roof", "blocked_by": [-2]}, {"title": "door"}]
    kept["tasks"] = house.post("arch", "/tasks/batch", tasks=tasks, run_id="r1", idempotency_key="batch")["task_ids"]


def _take(house: House, kept: dict[str, Any]) -> None:
    kept["receipts"] = [one["receipt"] for one in house.take("bob")]


def _silence(house: House, _: dict[str, Any]) -> None:
    """Who does not beat is given up, and what it held is free."""
    house.pass_time(20, "arch", "ann")


WHOLE: tuple[Step, ...] = (
    ("open", lambda h, k: _often(h)),
    ("architect", lambda h, k: h.enrol("arch", "architect")),
    ("workers", lambda h, k: [h.enrol(id) for id in ("ann", "bob", "eve")]),
    ("run", lambda h, k: h.post("arch", "/runs", id="r1", name="house", goal="a house")),
    ("batch of tasks", _batch),
    ("claim", lambda h, k: h.post("ann", "/tasks/claim", task_id=k["tasks"][0])),
    ("complete, unblocking", lambda h, k: h.complete("ann", k["tasks"][0], idempotency_key="done")),
    ("claim the next", lambda h, k: h.post("bob", "/tasks/claim", task_id=k["tasks"][1])),
    ("depend", lambda h, k: h.post("arch", f"/tasks/{k['tasks'][3]}/depend", add=[k["tasks"][2]])),
    ("assign", lambda h, k: h.post("arch", f"/tasks/{k['tasks'][2]}/assign", peer_id="eve")),
    ("lock", lambda h, k: h.post("ann", "/lock", file_path="/h/plan.md", reason="mine")),
    ("lock a folder", lambda h, k: h.post("bob", "/lock", file_path="/h/src/")),
    ("stand in the queue", lambda h, k: h.ask("eve", "POST", "/lock", {"file_path": "/h/plan.md", "queue": True})),
    ("unlock, offered to the next", lambda h, k: h.post("ann", "/unlock", file_path="/h/plan.md")),
    ("message", lambda h, k: h.send("ann", "bob", "look at the walls", idempotency_key="m1")),
    ("the same again", lambda h, k: h.send("ann", "bob", "look at the walls", idempotency_key="m1")),
    ("broadcast", lambda h, k: h.send("arch", "broadcast", "tea at four")),
    ("to a role", lambda h, k: h.send("eve", "@architect", "which colour?", "question")),
    ("take mail", _take),
    ("acknowledge it", lambda h, k: h.post("bob", "/inbox/ack", receipts=k["receipts"][:1])),
    ("give back the rest", lambda h, k: h.post("bob", "/inbox/return", receipts=k["receipts"][1:])),
    ("blocker", lambda h, k: h.post("bob", "/escalations", kind="blocker", text="no bricks", task_id=k["tasks"][1])),
    ("its answer", lambda h, k: h.post("arch", "/escalations/1/resolve", verdict="answer", answer="use wood")),
    ("memory", lambda h, k: h.post("ann", "/memory", key="walls", value="stone")),
    ("memory written over", lambda h, k: h.post("ann", "/memory", key="walls", value="wood " * 2000, expect_version=1)),
    ("conversation", lambda h, k: h.post("ann", "/conversation", turn_type="assistant", content="hm " * 500)),
    ("kill, freeing what it holds", lambda h, k: h.post("arch", "/kill-peer", peer_id="bob")),
    ("resume", lambda h, k: h.post("arch", "/resume", peer_id="bob")),
    ("pause all", lambda h, k: h.post("arch", "/pause-all")),
    ("resume all", lambda h, k: h.post("arch", "/resume-all")),
    ("snapshot", lambda h, k: h.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, every=1), "snapshot")),
    ("backup", lambda h, k: h.broker.database.back_up(os.path.join(h.folder, COPY))),
    ("start again", _again),
    ("silence, then departures", _silence),
    ("cancel", lambda h, k: h.post("arch", f"/tasks/{k['tasks'][3]}/cancel", reason="no door")),
    ("leave", lambda h, k: h.post("ann", "/leave")),
    ("unregister", lambda h, k: h.post("arch", "/unregister", peer_id="ann")),
    ("close", lambda h, k: h.close()),
)  # fmt: skip
UPGRADE: tuple[Step, ...] = (
    ("open", lambda h, k: _often(h)),
    ("architect", lambda h, k: h.enrol("arch", "architect")),
    ("memory", lambda h, k: h.post("arch", "/memory", key="walls", value="stone")),
    ("close", lambda h, k: h.close()),
)
LIVES = {"whole": WHOLE, "upgrade": UPGRADE}


def prepare(life: str, folder: str) -> None:
    """What is there before the life begins: nothing, or a database of the first schema."""
    if life != "upgrade":
        return
    first = os.path.join(folder, "first")
    os.mkdir(first)
    shutil.copy(os.path.join(migrate.MIGRATIONS, "0001_initial.sql"), first)
    database = Database(os.path.join(folder, DATABASE), migrations_dir=first)
    database.write(lambda tx: tx.run("INSERT INTO rooms (name, created_by, created_at) VALUES ('#dev', 'ann', 1)"), at=0.0)
    post = "INSERT INTO room_posts (room, peer, content, posted_at) VALUES ('#dev', 'ann', ?, 1)"
    for number in range(40):
        database.write(lambda tx, number=number: tx.run(post, (f"post {number} " + "x" * 400,)), at=0.0)
    database.close()
    shutil.rmtree(first)


def live(life: str, folder: str, done: Callable[[int], None], fault: str = "") -> None:
    """Live it from the first step to the last; `done` is told of each step that was answered. `fault`: one that is to be found."""
    kept: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("os.urandom", random.Random(7).randbytes))
        stack.enter_context(mock.patch.object(Writer, "_run", FAULTS.get(fault, Writer._run)))
        for shortcut in ("begin", "unsynced"):  # here a database is made from nothing, and waits for the disk
            if (shortcut, fault) != ("unsynced", "no sync"):
                stack.enter_context(mock.patch.object(databases, shortcut))
        house = House(folder)
        for number, (_, step) in enumerate(LIVES[life]):
            if fault == "answered early":
                done(number)
            step(house, kept)
            if fault != "answered early":
                done(number)


def _statement_by_statement(writer: Writer, batch: list[Any]) -> None:
    """A writer without transactions: each statement commits by itself."""
    for write in batch:
        write.value = write.fn(write.tx)
        write.tx.end()
    writer._on_commit([effect for write in batch for effect in write.tx.effects])


FAULTS = {"no transactions": _statement_by_statement, "answered early": Writer._run}


# -- what there is to be found ------------------------------------------------------------------------------------------


def contents(connection: sqlite3.Connection) -> str:
    """Everything that is in the database, as text: the schema, and a line for each row."""
    lines = [str(tuple(row)) for row in connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")]
    lines.append(f"version {connection.execute('PRAGMA user_version').fetchone()[0]}")
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1")
    for (name,) in tables.fetchall():
        lines += sorted(f"{name} {tuple(row)}" for row in connection.execute(f"SELECT * FROM {name}"))
    return "\n".join(lines)


class Recorded(NamedTuple):
    """One undisturbed life: the states that commits led to, the first being a database that was only opened; and by
    step, the number of the state that it ended with."""

    states: list[str]
    ends: list[int]


def record(life: str, folder: str) -> Recorded:
    """Live it in this process, looking into the tables after each commit."""
    before = os.path.join(folder, "opened")
    os.mkdir(before)
    prepare(life, before)
    Database(os.path.join(before, DATABASE)).close()
    with contextlib.closing(sqlite3.connect(os.path.join(before, DATABASE))) as opened:
        recorded = Recorded([contents(opened)], [])
    plain = Writer._run

    def watched(writer: Writer, batch: Any) -> None:
        plain(writer, batch)
        recorded.states.append(contents(writer._connection))

    prepare(life, folder)
    with mock.patch.object(Writer, "_run", watched):
        live(life, folder, lambda step: recorded.ends.append(len(recorded.states) - 1))
    return recorded


# -- the program that is run under strace -------------------------------------------------------------------------------

PADS: dict[str, Callable[[int, str], object]] = {
    "pwrite64": lambda null, missing: os.pwrite(null, b"x", 0),
    "fdatasync": lambda null, missing: os.fdatasync(null),
    "fsync": lambda null, missing: os.fsync(null),
    "ftruncate": lambda null, missing: os.ftruncate(null, 0),
    "unlink": lambda null, missing: os.unlink(missing),
    "link": lambda null, missing: os.link(missing, missing),
}


def _child(life: str, folder: str, kind: str, pads: int, fault: str, progress: int) -> None:
    """Never returns."""
    try:
        logging.disable(logging.CRITICAL)
        null = os.open(os.devnull, os.O_RDWR)
        for _ in range(pads):
            with contextlib.suppress(OSError):  # a device has nothing to sync, and the file is not there: the call is what counts
                PADS[kind](null, "/nonexistent/pad")
        os.close(null)
        live(life, folder, lambda step: os.write(progress, b"%d\n" % step), fault)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """{life, folder, kind, pads, fault} -> {pid, steps: answered, ended: 0, or the signal}"""
    for line in sys.stdin:
        order = json.loads(line)
        ear, mouth = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ear)
            _child(**order, progress=mouth)
        os.close(mouth)
        with open(ear, "rb") as heard:
            steps = len(heard.read().splitlines())
        status = os.waitpid(pid, 0)[1]
        ended = os.waitstatus_to_exitcode(status)
        print(json.dumps({"pid": pid, "steps": steps, "ended": -ended if ended < 0 else ended}), flush=True)


if __name__ == "__main__":
    main()
