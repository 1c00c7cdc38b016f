"""R31: a million messages and a million events. What a session asks all day, the page, and the start are as quick as with few.

The database is filled offline, in large transactions, with what a broker would have written: each message is read, has its event,
and the log folds to the tables. Then a broker serves it, and begins with its snapshot, its copy and its forgetting meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import time
import unittest
from collections.abc import Callable
from functools import partial

from lattice.domain import events
from lattice.domain.caller import Caller
from lattice.store.database import Database, Tx
from tests.figures import measured
from tests.footprint import footprint
from tests.running import Broker, Peer, figure

MESSAGES = figure(20_000, 100_000, 1_000_000)
AT_ONCE = 2_000
SENDERS = 20
CALLS = figure(30, 100, 300)
PAGES = 10


class Millions(unittest.TestCase):
    time_bound_s = 900.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.arch = self.broker.enrol("arch", "architect", beat_ms=60_000)
        self.peers = [self.broker.enrol(f"w{number}", beat_ms=60_000) for number in range(SENDERS)]
        self.arch.post("/tasks", {"tasks": [{"title": f"task {number}"} for number in range(CALLS)]})
        self.assertEqual(0, self.broker.stop())

    def fill(self) -> None:
        database = Database(self.broker.database, synchronous="OFF")
        try:
            for begin in range(0, MESSAGES, AT_ONCE):
                database.write(lambda tx, begin=begin: self.some(tx, begin), at=time.time(), op="send")  # type: ignore[misc]
        finally:
            database.close()

    def some(self, tx: Tx, begin: int) -> None:
        """Messages from one to the next, that were read."""
        number = begin // AT_ONCE
        sender, reader = f"w{number % SENDERS}", f"w{(number + 1) % SENDERS}"
        caller, keys = Caller(sender, "worker"), []
        for count in range(begin, begin + AT_ONCE):
            message_id = tx.insert(
                "INSERT INTO messages (sender_id, address, category, content, workspace, created_at) VALUES (?, ?, 'finding', ?, '', ?)",
                (sender, reader, f"letter {count}: what was found in file {count % 977} of the project, in a line or two", tx.at),
            )
            tx.run(
                "INSERT INTO deliveries (message_id, recipient, state, queued_at, read_at) VALUES (?, ?, 'read', ?, ?)",
                (message_id, reader, tx.at, tx.at),
            )
            tx.run(
                "INSERT INTO receipts (receipt, message_id, recipient, way, process, offered_at, proof, proved_at, ended_at)"
                " VALUES (HEX(RANDOMBLOB(16)), ?, ?, 'tool', 'one of before', ?, 'next call', ?, ?)",
                (message_id, reader, tx.at, tx.at, tx.at),
            )
            events.record(tx, caller, "message", [message_id])
            keys.append((reader, message_id))
        events.record(tx, caller, "delivery", keys)

    def test_what_is_asked_all_day_is_as_quick_as_with_few(self) -> None:
        filled_s = self.time_of(self.fill)
        with contextlib.closing(sqlite3.connect(self.broker.database)) as database:
            counts = {name: database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in ("messages", "events")}
            quick_check_s = self.time_of(lambda: self.assertEqual(("ok",), database.execute("PRAGMA quick_check(1)").fetchone()))
        size_mb = os.path.getsize(self.broker.database) / 2**20
        start_s = self.time_of(self.broker.start)
        person = self.broker.person()
        took = {what: [self.time_of(partial(call, n)) for n in range(CALLS)] for what, call in self.asked(person).items()}
        p99_ms = {what: 1000 * percentile(times, 0.99) for what, times in took.items()}
        dashboard_s = [self.time_of(lambda: person.get("/dashboard/data")) for _ in range(PAGES)]
        for what, times in took.items():
            print(f"{what:>30}: p50 {1000 * statistics.median(times):6.2f} ms, p99 {p99_ms[what]:6.2f} ms")
        print(f"filled in {filled_s:.0f} s; {footprint(self.broker.pid).resident_mb:.0f} MB resident")
        measured(
            self, "R31", **counts, worst_p99_ms=max(p99_ms.values()), dashboard_ms=1000 * max(dashboard_s), start_s=start_s,
            quick_check_s=quick_check_s, database_mb=size_mb,
        )  # fmt: skip
        self.assertGreaterEqual(min(counts.values()), MESSAGES)

    def time_of(self, call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    def asked(self, person: Peer) -> dict[str, Callable[[int], object]]:
        """What sessions, hooks and the person ask all day; each is given the number of the call."""
        arch, one, two = self.enterContext(contextlib.closing(self.arch.again())), *self.peers[:2]
        return {
            "beat": lambda n: one.post("/heartbeat", {"id": one.id}),
            "list_peers": lambda n: one.get("/peers"),
            "send_message": lambda n: two.post("/send", {"recipient_id": one.id, "category": "finding", "content": f"news {n}: it is so"}),
            "check_messages": lambda n: self.assertEqual(1, len(one.post("/inbox/take", {"max": 1})["messages"])),
            "peek": lambda n: one.get("/inbox/peek"),
            "receipts": lambda n: one.get(f"/receipts/{1 + n * (MESSAGES // CALLS) // AT_ONCE // SENDERS * AT_ONCE * SENDERS}"),
            "list_tasks": lambda n: one.get("/tasks"),
            "claim_task": lambda n: one.post("/tasks/claim", {"task_id": 1 + n}),
            "complete_task": lambda n: one.post("/tasks/complete", {"task_id": 1 + n, "artifacts": {"summary": "done"}}),
            "lock_file": lambda n: one.post("/lock", {"file_path": f"/src/{n}.py"}),
            "list_locks": lambda n: two.get("/locks"),
            "guard": lambda n: two.post("/guard", {"paths": [f"/src/other{n}.py"]}),
            "set_memory": lambda n: one.post("/memory", {"key": f"k{n}", "value": "v"}),
            "get_memory": lambda n: two.get("/memory"),
            "get_memory of a key": lambda n: two.get(f"/memory?key=k{n}"),
            "raise_blocker": lambda n: two.post("/escalations", {"kind": "blocker", "text": f"where is {n}"}),
            "list_escalations": lambda n: arch.get("/escalations"),
            "the log": lambda n: arch.get("/log?last=100"),
            "all messages": lambda n: arch.get("/messages-all"),
            "mail of one": lambda n: arch.get("/messages-for/arch"),
            "the capsule": lambda n: one.get("/capsule"),
            "a hook": lambda n: one.post("/hook", {"event": "UserPromptSubmit"}),
            "metrics": lambda n: person.call("GET", "/metrics"),
        }


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    unittest.main()
