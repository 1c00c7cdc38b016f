"""SIGKILL at any moment: what was acknowledged is there, what was not can be repeated, and no message is lost with a session."""

from __future__ import annotations

import collections
import contextlib
import random
import sqlite3
import threading
import time
import unittest

from tests.running import Broker, Dropped, Peer, chance, figure, until

KILLS = figure(4, 20, 200)
WRITERS = 8


class TheBrokerIsKilled(unittest.TestCase):
    time_bound_s = 400.0

    def test_nothing_acknowledged_is_lost_nothing_is_doubled_and_the_chain_verifies(self) -> None:
        chosen = chance(self)
        broker = self.enterContext(Broker())
        broker.enrol("arch", "architect")
        writers = [broker.enrol(f"w{number}") for number in range(WRITERS)]
        done = threading.Event()
        acked: list[collections.Counter[str]] = [collections.Counter() for _ in writers]
        faults: list[str] = []
        repeated = [0] * WRITERS

        def write(index: int) -> None:
            random_of = random.Random(chosen_seeds[index])
            count = 0
            while not done.is_set() and not faults:
                count += 1
                kind = random_of.choice(("send", "memory", "batch"))
                key = f"{index}-{count}"
                try:
                    repeated[index] += deliver(writers[index], kind, key)
                except AssertionError as fault:
                    faults.append(str(fault))
                else:
                    acked[index][f"{kind} {key}"] += 1

        def deliver(peer: Peer, kind: str, key: str) -> int:
            """Send until it is acknowledged, always with one key; how often it had to be repeated."""
            path, body = request(kind, key)
            deadline = time.monotonic() + 60
            for attempt in range(100_000):
                try:
                    status, said = peer.call("POST", path, body)
                except (Dropped, OSError):
                    if time.monotonic() > deadline:
                        raise AssertionError(f"{kind} {key}: no answer for a minute") from None
                    time.sleep(0.01)  # the broker is down: not to order anything, only not to spin
                    continue
                if status == 503 and time.monotonic() < deadline:
                    continue
                assert status == 200, f"{kind} {key}: {status} {said}"
                return attempt
            raise AssertionError(f"{kind} {key}: repeated too often")

        chosen_seeds = [chosen.random() for _ in writers]
        threads = [threading.Thread(target=write, args=(index,)) for index in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(KILLS):
                before = sum(map(len, acked))
                until(lambda before=before: faults or sum(map(len, acked)) >= before + 20, "writes go on", 60)
                done.wait(chosen.random() * 0.25)
                broker.kill()
                broker.start()
        finally:
            done.set()
            for thread in threads:
                thread.join(90)
        self.assertEqual(faults, [])
        person = broker.person()
        verdict = person.get("/events/verify")
        self.assertTrue(verdict["ok"], verdict)
        self.assertEqual(broker.stop(), 0)
        self.check(broker.database, acked)
        print(f"{KILLS} kills, {sum(map(len, acked))} acknowledged, {sum(repeated)} repeats")

    def check(self, path: str, acked: list[collections.Counter[str]]) -> None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            messages = collections.Counter(row[0] for row in database.execute("SELECT content FROM messages"))
            memory = dict(database.execute("SELECT key, version FROM memory"))
            tasks = collections.Counter(row[0] for row in database.execute("SELECT title FROM tasks"))
        for counter in acked:
            for entry in counter:
                kind, key = entry.split()
                if kind == "send":
                    self.assertEqual(messages[f"letter {key}"], 1, entry)
                elif kind == "memory":
                    self.assertEqual(memory.get(f"memory-{key}"), 1, entry)
                else:
                    self.assertEqual([tasks[f"task {key} {part}"] for part in range(3)], [1, 1, 1], entry)
        for title, count in tasks.items():
            self.assertEqual(count, 1, title)
        whole = collections.Counter(title.rpartition(" ")[0] for title in tasks)
        self.assertEqual({count for count in whole.values()} - {3}, set(), "no half of a batch")

    def test_the_stop_that_is_asked_for_answers_what_is_under_way_and_takes_two_seconds_at_most(self) -> None:
        for _ in range(figure(2, 10)):
            with Broker() as broker:
                peer = broker.enrol("w")
                done = threading.Event()
                outcomes: collections.Counter[object] = collections.Counter()

                def load(peer: Peer = peer, done: threading.Event = done, outcomes: collections.Counter[object] = outcomes) -> None:
                    while not done.is_set():
                        try:
                            outcomes[peer.call("POST", "/memory", {"key": "k", "value": "v"})[0]] += 1
                        except (Dropped, OSError):
                            return

                thread = threading.Thread(target=load)
                thread.start()
                until(lambda outcomes=outcomes: outcomes[200] > 20, "it writes")
                started = time.monotonic()
                code = broker.stop()
                took_s = time.monotonic() - started
                done.set()
                thread.join(30)
                self.assertEqual(code, 0, broker.output())
                self.assertLess(took_s, 3.0)
                self.assertLessEqual(set(outcomes), {200, 503})
                with contextlib.closing(sqlite3.connect(broker.database)) as database:
                    self.assertEqual(database.execute("SELECT version FROM memory WHERE key = 'k'").fetchone()[0], outcomes[200])


def request(kind: str, key: str) -> tuple[str, dict[str, object]]:
    if kind == "send":
        return "/send", {"recipient_id": "arch", "category": "finding", "content": f"letter {key}", "idempotency_key": f"s-{key}"}
    if kind == "memory":
        return "/memory", {"key": f"memory-{key}", "value": "v" * 50, "idempotency_key": f"m-{key}"}
    return "/tasks/batch", {"tasks": [{"title": f"task {key} {part}"} for part in range(3)], "idempotency_key": f"b-{key}"}


if __name__ == "__main__":
    unittest.main()
