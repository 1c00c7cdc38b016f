"""R10 at night: a copy of a million rows while eight peers write, by another process and by the broker itself; nobody waits for it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import unittest

from lattice.store import backup
from tests.figures import measured
from tests.running import Broker, Dropped, Peer, figure, until

ROWS = figure(20_000, 200_000, 1_000_000)
WRITERS = 8
COPIES = 5  # by another process; the slowest counts


class AMillionRows(unittest.TestCase):
    time_bound_s = 600.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.peers = [self.broker.enrol(f"w{number}") for number in range(WRITERS)]
        self.assertEqual(0, self.broker.stop())
        self.fill()
        self.longest_s = 0.0
        self.writes = 0
        self.faults: list[str] = []
        self.done = threading.Event()

    def fill(self) -> None:
        """As many messages and deliveries, all read, and a log that began two hours ago, so that a copy of this hour is due."""
        now = time.time()
        said = "what was found in file {} of the project, in a line or two"
        letters = ((f"letter {number}: {said.format(number % 977)}", now) for number in range(ROWS // 2))
        with contextlib.closing(sqlite3.connect(self.broker.database)) as database, database:
            database.execute("PRAGMA synchronous=OFF")
            database.executemany(
                "INSERT INTO messages (sender_id, address, category, content, created_at) VALUES ('w1', 'w0', 'finding', ?, ?)", letters
            )
            database.execute(
                "INSERT INTO deliveries (message_id, recipient, state, queued_at, read_at) SELECT id, 'w0', 'read', ?, ? FROM messages",
                (now, now),
            )
            database.execute("UPDATE events SET at = at - 7200 WHERE seq = 1")
            self.rows = sum(database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("messages", "deliveries"))

    def write(self, peer: Peer) -> None:
        try:
            while not self.done.is_set():
                began = time.perf_counter()
                peer.post("/memory", {"key": f"k {peer.id}".replace(" ", "-"), "value": "v" * 200})
                self.longest_s = max(self.longest_s, time.perf_counter() - began)
                self.writes += 1
        except (AssertionError, OSError, Dropped) as fault:
            self.faults.append(str(fault))

    def own_copy(self) -> float:
        """How long the broker took for the copy of this hour, from its first byte to its name."""
        folder = backup.folder_of(self.broker.database, os.path.join(self.broker.state, "backups"))

        def there(end: str) -> bool:
            return os.path.isdir(folder) and any(name.startswith("hourly-") and name.endswith(end) for name in os.listdir(folder))

        until(lambda: there(backup.PARTIAL) or there("Z.db"), "the broker begins its copy", every_s=0.001)
        began = time.perf_counter()
        until(lambda: there("Z.db"), "the broker ends its copy", 60, every_s=0.001)
        return time.perf_counter() - began

    def test_a_copy_under_load_takes_two_seconds_at_most_and_holds_nobody_up(self) -> None:
        self.broker.start()
        threads = [threading.Thread(target=self.write, args=(peer,)) for peer in self.peers]
        for thread in threads:
            thread.start()
        try:
            took = [self.own_copy()]
            for number in range(COPIES):
                until(lambda before=self.writes: self.faults or self.writes > before + 100, "the writers write")
                began = time.perf_counter()
                backup.back_up(self.broker.database, os.path.join(self.broker.home, f"hot-{number}.db"))
                took.append(time.perf_counter() - began)
        finally:
            self.done.set()
            for thread in threads:
                thread.join(60)
        self.assertEqual([], self.faults)
        print(f"copies in {[round(one, 2) for one in took]} s; {self.writes} writes, the longest {self.longest_s:.2f} s")
        measured(
            self, "R10", rows=self.rows, hot_backup_s=round(max(took), 2), size_mb=round(os.path.getsize(self.broker.database) / 1e6),
            longest_write_beside_it_ms=round(1000 * self.longest_s),
        )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
