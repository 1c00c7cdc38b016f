"""A session that died gives back what it held, within 20 seconds, once, whoever looks on meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import unittest

from tests.running import PYTHON, TOP, Broker, Session, figure, until

WITHIN_S = 20.0
# A coding client that starts the MCP server as its own child and dies with it.
CLIENT = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


class ASessionDied(unittest.TestCase):
    time_bound_s = 120.0

    def test_its_tasks_and_locks_are_free_within_twenty_seconds_and_their_work_is_told(self) -> None:
        broker = self.enterContext(Broker())
        port = str(broker.port)
        arch = self.enterContext(Session(broker.home, C2_LATTICE_PORT=port, PEER_ID="arch", PEER_ROLE="architect"))
        heir = self.enterContext(Session(broker.home, C2_LATTICE_PORT=port, PEER_ID="heir"))
        for session in (arch, heir):
            session.initialize()
            session.call("list_peers")
        dead = []
        for number in range(figure(2, 10)):
            command = (sys.executable, "-I", "-S", "-c", CLIENT, *PYTHON, os.path.join(TOP, "mcp_server.py"))
            session = Session(broker.home, command=command, C2_LATTICE_PORT=port, PEER_ID=f"victim{number}")
            self.addCleanup(session.close)
            session.initialize()
            task = session.call("create_task", title=f"work {number}")["task_id"]
            session.call("claim_task", task_id=task)
            session.call("lock_file", file_path=f"{number}.py")
            dead.append((session, task))
        killed_at = time.monotonic()
        for session, _ in dead:
            kill_with_child(session.process)
        for number, (_, task) in enumerate(dead):
            left = WITHIN_S - (time.monotonic() - killed_at)
            until(
                lambda task=task: heir.call("list_peers") and heir.call("get_task", task_id=task)["task"]["status"] == "pending",
                "free",
                left,
                0.1,
            )
            heir.call("claim_task", task_id=task)
            until(
                lambda number=number: not heir.result("lock_file", file_path=f"{number}.py").get("isError"), "its lock is free", left, 0.1
            )
        print(f"free after {time.monotonic() - killed_at:.1f} s")
        told = until(lambda: arch.call("check_messages")["messages"], "the architect hears of it")
        self.assertIn("victim0", str(told))
        log = broker.person().get("/log?last=200&everywhere=1")["logs"]
        for number in range(len(dead)):
            said = [entry for entry in log if '"what":"departed"' in entry["details"] and f'["victim{number}"]' in entry["details"]]
            self.assertEqual(len(said), 1, "once")


def kill_with_child(client: subprocess.Popen[bytes]) -> None:
    """Kill a coding client and the MCP server that it started, at once."""
    with open(f"/proc/{client.pid}/task/{client.pid}/children", encoding="utf-8") as file:
        children = [int(pid) for pid in file.read().split()]
    for pid in (client.pid, *children):
        os.kill(pid, signal.SIGKILL)
    client.wait()


if __name__ == "__main__":
    unittest.main()
