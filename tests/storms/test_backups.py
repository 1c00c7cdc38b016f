"""R10: copies made while the broker works, each restored into a home where nothing was, are moments of what was acknowledged.

The order of commits is the log's: a copy whose newest event has the hash that the living log has there is a prefix of it. What had
been acknowledged before the copy was begun must be in it; what was first asked for after it was made must not.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import NamedTuple

from lattice.store import backup
from tests.figures import measured
from tests.running import TOP, Broker, Dropped, Peer, chance, figure, until

DRILLS = figure(2, 20, 20)
WRITERS = 6


class Made(NamedTuple):
    """A copy, what was acknowledged before it was begun, and what had been asked for when it was made."""

    path: str
    acknowledged: frozenset[str]
    asked: frozenset[str]


class Writers:
    """Peers that write all the time, each a letter, a memory and a batch of tasks in turn, and remember what was acknowledged."""

    def __init__(self, broker: Broker) -> None:
        self.done = threading.Event()
        self.lock = threading.Lock()  # guards asked and acknowledged
        self.asked: set[str] = set()
        self.acknowledged: set[str] = set()
        self.faults: list[str] = []
        peers = [broker.enrol(f"w{number}") for number in range(WRITERS)]
        self.threads = [threading.Thread(target=self.write, args=(peer,)) for peer in peers]
        for thread in self.threads:
            thread.start()

    def write(self, peer: Peer) -> None:
        count = 0
        try:
            while not self.done.is_set():
                count += 1
                name = f"{peer.id} {count}"
                path, body = (
                    ("/send", {"recipient_id": "w0", "category": "finding", "content": f"letter {name}"}),
                    ("/memory", {"key": f"memory {name}".replace(" ", "-"), "value": name}),
                    ("/tasks/batch", {"tasks": [{"title": f"task {name} {part}"} for part in range(3)]}),
                )[count % 3]
                with self.lock:
                    self.asked.add(name)
                peer.post(path, body)
                with self.lock:
                    self.acknowledged.add(name)
        except (AssertionError, OSError, Dropped) as fault:
            self.faults.append(f"{peer.id}: {fault}")

    def now(self) -> tuple[frozenset[str], frozenset[str]]:
        with self.lock:
            return frozenset(self.acknowledged), frozenset(self.asked)

    def end(self) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(60)


class Drills(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.chosen = chance(self)
        self.broker = self.enterContext(Broker())
        self.copies = os.path.join(self.broker.home, "copies")

    def copies_under_load(self) -> list[Made]:
        writers = Writers(self.broker)
        made = []
        try:
            for number in range(DRILLS):
                before = len(writers.acknowledged)
                until(lambda before=before: writers.faults or len(writers.acknowledged) > before + 20, "the writers write")
                writers.done.wait(self.chosen.random() * 0.05)
                acknowledged, _ = writers.now()
                path = backup.back_up(self.broker.database, os.path.join(self.copies, f"hot-{number}.db"))
                made.append(Made(path, acknowledged, writers.now()[1]))
        finally:
            writers.end()
        self.assertEqual([], writers.faults)
        self.assertGreater(len(made[-1].acknowledged), 20 * DRILLS)
        return made

    def test_each_is_restored_whole_and_is_a_moment_of_what_was_acknowledged(self) -> None:
        made = self.copies_under_load()
        self.assertEqual(0, self.broker.stop())
        living = hashes(self.broker.database)
        wrong = 0
        took = []
        for copy in made:
            with self.subTest(os.path.basename(copy.path)):
                faults = self.drill(copy, living, took)
                wrong += bool(faults)
                self.assertEqual([], faults)
        measured(self, "R10", drills=len(made), not_a_prefix_of_what_was_acknowledged=wrong, longest_restore_s=round(max(took), 2))

    def drill(self, copy: Made, living: list[str], took: list[float]) -> list[str]:
        """Restore into a home where nothing was, start, verify, compare."""
        home = os.path.realpath(tempfile.mkdtemp(prefix="c2d"))
        fresh = Broker(home)
        try:
            began = time.monotonic()
            self.launch(fresh, "--restore", copy.path, "--no-browser")
            took.append(time.monotonic() - began)
            try:
                verdict = fresh.person().get("/events/verify")
            finally:
                self.launch(fresh, "--stop")
            faults = [] if verdict["ok"] else [verdict["message"]]
            there = hashes(copy.path)
            if living[: len(there)] != there:
                faults.append("its log is no prefix of the living one")
            if hashes(fresh.database)[: len(there)] != there:
                faults.append("what was restored is not the copy")
            found = names_in(fresh.database)
            if copy.acknowledged - found:
                faults.append(f"acknowledged and not there: {sorted(copy.acknowledged - found)[:5]}")
            if found - copy.asked:
                faults.append(f"there and not asked for yet: {sorted(found - copy.asked)[:5]}")
            return faults
        finally:
            fresh.close()
            shutil.rmtree(home, ignore_errors=True)

    def launch(self, broker: Broker, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-I", "-S", os.path.join(TOP, "launch.py"), *words], env=broker.environ, cwd=broker.home,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual((0, ""), (done.returncode, done.stderr), done.stdout)

    def test_the_brokers_own_copy_is_made_under_load_too(self) -> None:
        """The hourly one, by the sweep of a real broker: its log began more than an hour ago."""
        self.broker.enrol("early")
        self.assertEqual(0, self.broker.stop())
        with contextlib.closing(sqlite3.connect(self.broker.database)) as database, database:
            database.execute("UPDATE events SET at = at - 7200 WHERE seq = 1")
        folder = backup.folder_of(self.broker.database, os.path.join(self.broker.state, "backups"))
        self.broker.start()
        writers = Writers(self.broker)
        try:
            until(lambda: os.path.isdir(folder) and [name for name in os.listdir(folder) if name.endswith("Z.db")], "the copy of this hour")
        finally:
            writers.end()
        self.assertEqual([], writers.faults)
        (name,) = [name for name in os.listdir(folder) if name.startswith("hourly-")]
        self.assertEqual(0o600, os.stat(os.path.join(folder, name)).st_mode & 0o777)
        self.assertEqual(0, self.broker.stop())
        there = hashes(os.path.join(folder, name))
        self.assertEqual(there, hashes(self.broker.database)[: len(there)])

    def test_a_full_disk_in_the_middle_costs_no_write_and_no_copy(self) -> None:
        """The copy's disk is a small one of its own, where this can be had."""
        disk = os.path.join(self.broker.home, "disk")
        os.mkdir(disk)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True, check=False).returncode:
            self.skipTest("needs a tmpfs of its own (mount as root)")
        try:
            writers = Writers(self.broker)
            try:
                until(lambda: len(writers.acknowledged) > 300, "more is there than fits")
                before = len(writers.acknowledged)
                with self.assertRaises((OSError, sqlite3.Error)):
                    backup.back_up(self.broker.database, os.path.join(disk, "hot.db"))
                self.assertEqual([], os.listdir(disk))
                until(lambda: writers.faults or len(writers.acknowledged) > before + 20, "the writers write on")
            finally:
                writers.end()
            self.assertEqual([], writers.faults)
        finally:
            subprocess.run(["umount", "-l", disk], capture_output=True, check=True)


def hashes(path: str) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [row[0] for row in database.execute("SELECT hash FROM events ORDER BY seq")]


def names_in(path: str) -> frozenset[str]:
    """What of the writers' work is there; of a batch all of it, or it counts as not there."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        letters = [row[0].removeprefix("letter ") for row in database.execute("SELECT content FROM messages WHERE content LIKE 'letter %'")]
        memories = [row[0] for row in database.execute("SELECT value FROM memory")]
        parts = [row[0].removeprefix("task ").rpartition(" ")[0] for row in database.execute("SELECT title FROM tasks")]
    batches = [name for name, count in collections.Counter(parts).items() if count == 3]
    return frozenset([*letters, *memories, *batches])


if __name__ == "__main__":
    unittest.main()
