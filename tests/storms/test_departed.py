"""Sessions that died give back what they held, within 20 seconds, once, whoever looks on meanwhile."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from typing import Any

from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, Peer, Session, figure, until

DEATHS = figure(2, 10, 100)
AT_ONCE = 50  # sessions that run side by side
WITHIN_S = 20.0
# A coding client that starts the MCP server as its own child and dies with it.
CLIENT = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


class ASessionDied(unittest.TestCase):
    time_bound_s = 300.0

    def test_its_tasks_and_locks_are_free_within_twenty_seconds_once_and_their_work_is_told(self) -> None:
        self.broker = self.enterContext(Broker())
        self.arch = self.broker.enrol("arch", "architect", "w")
        self.heir = self.broker.enrol("heir", "worker", "w")
        beating = self.broker.beat_all([self.arch, self.heir])
        self.addCleanup(beating.close)
        onlooker = Onlooker(self.heir.again())
        self.addCleanup(onlooker.close)
        took: list[float] = []
        for first in range(0, DEATHS, AT_ONCE):
            took += self.die(range(first, min(DEATHS, first + AT_ONCE)))
        onlooker.close()
        self.assertEqual([], onlooker.faults)
        self.assertGreater(onlooker.looks, len(took))
        freed = self.freed()
        wrong = {what: count for what, count in freed.items() if count != 1}
        print(f"free after {min(took):.1f} to {max(took):.1f} s; {onlooker.looks} looks at the peers meanwhile")
        measured(self, "R20", deaths=DEATHS, worst_s=max(took), freed_twice=len(wrong))
        self.assertEqual({}, wrong)
        self.assertEqual({f"victim{number}" for number in range(DEATHS)}, set(freed))
        self.assertLessEqual(max(took), WITHIN_S)

    def die(self, numbers: range) -> list[float]:
        """Sessions with a task and a lock each, killed at once; after how many seconds each one's holdings were another's."""
        dead: list[tuple[Session, int, str]] = []
        for number in numbers:
            command = (sys.executable, "-I", "-S", "-c", CLIENT, *PYTHON, os.path.join(TOP, "mcp_server.py"))
            session = Session(
                self.broker.home,
                command=command,
                C2_LATTICE_PORT=str(self.broker.port),
                PEER_ID=f"victim{number}",
                C2_LATTICE_WORKSPACE="w",
            )
            self.addCleanup(session.close)
            session.initialize()
            task = session.call("create_task", title=f"work {number}")["task_id"]
            session.call("claim_task", task_id=task)
            lock = session.call("lock_file", file_path=f"{number}.py")
            dead.append((session, task, os.path.join(self.broker.home, f"{number}.py")))
            self.assertTrue(lock["ok"])
        begun = time.monotonic()
        for session, _, _ in dead:
            kill_with_child(session.process)
        took: dict[int, float] = {}

        def taken_over() -> bool:
            for _, task, path in dead:
                if task not in took and self.heir.call("POST", "/tasks/claim", {"task_id": task})[0] == 200:
                    until(
                        lambda path=path: self.heir.call("POST", "/lock", {"file_path": path})[0] == 200,
                        "its lock is free as well",
                        WITHIN_S,
                    )  # type: ignore[misc]
                    took[task] = time.monotonic() - begun
            return len(took) == len(dead)

        until(taken_over, "all of it is free", WITHIN_S + 10, 0.1)
        told = self.told(len(dead))
        for number, (_, task, _) in zip(numbers, dead, strict=True):
            self.assertIn(f"victim{number} is gone; open again: #{task}", told)
        return list(took.values())

    def told(self, count: int) -> str:
        """What the architect heard, once there is so much of it."""
        heard: list[str] = []

        def hear() -> bool:
            mail = self.arch.post("/inbox/take", {})["messages"]
            self.arch.post("/inbox/ack", {"receipts": [one["receipt"] for one in mail]})
            heard.extend(one["content"] for one in mail)
            return len(heard) >= count

        until(hear, "the architect hears of it", every_s=0.05)
        return "\n".join(heard)

    def freed(self) -> collections.Counter[str]:
        """How often the log says of a peer that its holdings were let go."""
        found: collections.Counter[str] = collections.Counter()
        after = 0
        person = self.broker.person()
        while True:
            said: dict[str, Any] = person.get(f"/events?follow=0&limit=1000&everywhere=1&after={after}")
            if not said["events"]:
                return found
            after = said["after"]
            for event in said["events"]:
                if event["kind"] == "note" and event["data"].get("what") == "departed":
                    found.update(event["subjects"])


class Onlooker:
    """Somebody who lists the peers all the time."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.looks = 0
        self.faults: list[str] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.done.wait(0.02):
            status, said = self.peer.call("GET", "/peers")
            self.looks += 1
            if status != 200:
                self.faults.append(f"{status} {said}")

    def close(self) -> None:
        self.done.set()
        self.thread.join(20)
        self.peer.close()


def kill_with_child(client: subprocess.Popen[bytes]) -> None:
    """Kill a coding client and the MCP server that it started, at once."""
    with open(f"/proc/{client.pid}/task/{client.pid}/children", encoding="utf-8") as file:
        children = [int(pid) for pid in file.read().split()]
    for pid in (client.pid, *children):
        os.kill(pid, signal.SIGKILL)
    client.wait()


if __name__ == "__main__":
    unittest.main()
