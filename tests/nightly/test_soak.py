"""A soak: half an hour of real sessions and plain peers at work, some killed all the while; the broker grows neither fatter nor wider."""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import threading
import time
import unittest

from tests.figures import measured
from tests.footprint import footprint
from tests.running import Broker, Dropped, Peer, Session, ToolFailed, chance, figure

SECONDS = figure(20, 120, 1800)
WARM = 1 / 3  # of it: caches fill, statements are prepared, the first session of each id has been killed
SAMPLE_S = 2.0
PLAIN = 6
SESSIONS = 3
PAUSE_S = 0.1  # between two calls of a plain peer
KILLED_EVERY_S = 10.0


class Worker(threading.Thread):
    """A plain peer that works as fast as a person's sessions do together."""

    def __init__(self, peer: Peer, others: list[str], chosen: random.Random, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.peer, self.others, self.chance, self.over = peer, others, chosen, over
        self.done = 0
        self.unexpected: list[str] = []

    def run(self) -> None:
        while not self.over.wait(PAUSE_S):
            try:
                self.chance.choice((self.talk, self.talk, self.read, self.read, self.work, self.lock, self.remember, self.beat))()
                self.done += 1
            except (Dropped, OSError) as fault:
                self.unexpected.append(repr(fault))

    def say(self, path: str, **body: object) -> dict[str, object]:
        status, said = self.peer.call("POST", path, body)
        if status not in (200, 404, 409):
            self.unexpected.append(f"{path}: {status} {said}")
        return said if status == 200 else {}

    def beat(self) -> None:
        self.say("/heartbeat")

    def talk(self) -> None:
        self.say("/send", recipient_id=self.chance.choice(self.others), category="finding", content=f"{self.peer.id} says {self.done} " * 5)

    def read(self) -> None:
        said = self.say("/inbox/take")
        receipts = [one["receipt"] for one in said.get("messages", ())]  # type: ignore[attr-defined]
        if receipts:
            self.say("/inbox/ack", receipts=receipts)

    def work(self) -> None:
        made = self.say("/tasks", title=f"{self.peer.id} {self.done}")
        if made and self.say("/tasks/claim", task_id=made["task_id"]):
            self.say("/tasks/complete", task_id=made["task_id"], artifacts={"summary": "done"})

    def lock(self) -> None:
        path = f"/soak/{self.chance.randrange(8)}.py"
        if self.say("/lock", file_path=path):
            self.say("/unlock", file_path=path)

    def remember(self) -> None:
        self.say("/memory", key=f"k{self.chance.randrange(20)}", value=f"{self.done} " * 20)


class Soak(unittest.TestCase):
    time_bound_s = SECONDS + 300.0

    def test_memory_descriptors_and_threads_stay_where_they_are(self) -> None:
        chosen, over = chance(self), threading.Event()
        broker = self.enterContext(Broker())
        names = [f"plain{number}" for number in range(PLAIN)]
        peers = [broker.enrol(name) for name in names]
        self.enterContext(contextlib.closing(broker.beat_all(peers)))
        workers = [Worker(peer, [one for one in names if one != peer.id], random.Random(chosen.random()), over) for peer in peers]
        for worker in workers:
            worker.start()
        self.addCleanup(over.set)
        sessions = [self.session(broker, number) for number in range(SESSIONS)]
        calls = killed = 0
        samples: list[tuple[float, float, int, int]] = []
        began = last_kill = last_sample = time.monotonic()
        pid = broker.pid
        while (now := time.monotonic()) < began + SECONDS:
            for session in sessions:
                calls += self.use(session)
            if now - last_kill > KILLED_EVERY_S:
                number, last_kill = chosen.randrange(SESSIONS), now
                sessions[number].kill()
                sessions[number].close()
                sessions[number] = self.session(broker, number)
                killed += 1
            if now - last_sample > SAMPLE_S:
                last_sample = now
                found = footprint(pid)
                samples.append((now - began, found.resident_mb, found.descriptors, found.threads))
            time.sleep(0.2)
        over.set()
        for worker in workers:
            worker.join(30)
        for session in sessions:
            session.close()
        unexpected = [one for worker in workers for one in worker.unexpected]
        self.assertEqual([], unexpected[:5])
        warm = [sample for sample in samples if SECONDS * WARM <= sample[0] < SECONDS * (WARM + 0.15)]
        last = [sample for sample in samples if sample[0] >= SECONDS * 0.85]
        before, after = ([statistics.median(one[index] for one in found) for index in (1, 2, 3)] for found in (warm, last))
        size_mb = os.path.getsize(broker.database) / 2**20
        rounds, course = sum(worker.done for worker in workers), [round(one[1], 1) for one in samples[:: max(1, len(samples) // 20)]]
        print(f"{rounds} rounds of plain peers, {calls} calls of sessions, {killed} of them killed; {size_mb:.0f} MB of database")
        print(f"resident MB, descriptors, threads: {before} warm, {after} at the end; resident MB all along: {course}")
        measured(
            self, "R22", soak_minutes=SECONDS / 60, memory_growth_percent=100 * (after[0] / before[0] - 1),
            descriptors_more=after[1] - before[1], threads_more=after[2] - before[2],
        )  # fmt: skip

    def session(self, broker: Broker, number: int) -> Session:
        session = Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID=f"session{number}")
        session.initialize()
        return session

    def use(self, session: Session) -> int:
        """A few calls; how many."""
        with contextlib.suppress(ToolFailed):  # a file that another has
            session.call("check_messages")
            session.call("lock_file", file_path="/soak/session.py")
            session.call("unlock_file", file_path="/soak/session.py")
            session.call("list_peers")
        return 4


if __name__ == "__main__":
    unittest.main()
