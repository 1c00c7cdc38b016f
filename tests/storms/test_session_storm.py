"""Many sessions start at once and no broker runs: they end up with one broker, and all of them are peers of it."""

from __future__ import annotations

import os
import time
import unittest

from tests.figures import measured
from tests.running import Broker, Session, brokers_of, figure, free_port, temporary_home

SESSIONS = figure(8, 40, 200)


class AllAtOnce(unittest.TestCase):
    time_bound_s = 240.0

    def test_sessions_without_a_broker_start_one_and_all_are_registered(self) -> None:
        home = self.enterContext(temporary_home())
        port = str(free_port())
        wanted = {f"s{number}" for number in range(SESSIONS)}
        began = time.monotonic()
        sessions = [Session(home, C2_LATTICE_PORT=port, PEER_ID=id) for id in sorted(wanted)]
        try:
            asked = [(session, session.ask("tools/call", {"name": "list_peers", "arguments": {}})) for session in sessions]
            answers = [session.answer(id, 120)["result"] for session, id in asked]
            took_s = time.monotonic() - began
            ids = {answer["structuredContent"].get("your_id") for answer in answers}
            brokers = len(processes_of(home))
            broker = Broker(home, C2_LATTICE_PORT=port)
            here = {peer["id"] for peer in broker.person().get("/peers?everywhere=true")["peers"]}
            broker.close()
            measured(self, "R24", sessions=SESSIONS, brokers=brokers, not_registered=len(wanted - here), took_s=took_s)
            self.assertEqual([], [answer["content"] for answer in answers if answer.get("isError")])
            self.assertEqual((wanted, wanted), (ids, here))
            self.assertEqual((1, 1), (brokers, len(brokers_of(home))), "one broker process, and it says where it is")
            self.assertLessEqual(took_s, 40.0)
        finally:
            for session in sessions:
                session.close()


def processes_of(home: str) -> list[int]:
    """The pids of all broker processes whose environment names this home."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as command, open(f"/proc/{entry}/environ", "rb") as environ:
                    if b"broker.py" in command.read() and home.encode() in environ.read():
                        found.append(int(entry))
            except OSError:
                continue  # it ended while we looked, or is another user's
    return found


if __name__ == "__main__":
    unittest.main()
