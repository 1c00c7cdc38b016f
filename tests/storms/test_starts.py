"""Many sessions start at once and no broker runs: they end up with one broker, and all of them are peers of it."""

from __future__ import annotations

import os
import subprocess
import unittest

from tests.running import PYTHON, TOP, Broker, Session, brokers_of, environment, figure, free_port, temporary_home, until

SESSIONS = figure(12, 40, 200)
ROUNDS = figure(2, 3)


class AllAtOnce(unittest.TestCase):
    time_bound_s = 240.0

    def test_sessions_without_a_broker_start_one_and_all_are_registered(self) -> None:
        for _ in range(ROUNDS):
            with temporary_home() as home:
                port = str(free_port())
                sessions = [Session(home, C2_LATTICE_PORT=port, PEER_ID=f"s{number}") for number in range(SESSIONS)]
                try:
                    asked = [(session, session.ask("tools/call", {"name": "list_peers", "arguments": {}})) for session in sessions]
                    answers = [session.answer(id, 120)["result"] for session, id in asked]
                    self.assertEqual([answer["content"] for answer in answers if answer.get("isError")], [])
                    ids = {answer["structuredContent"]["your_id"] for answer in answers}
                    self.assertEqual(ids, {f"s{number}" for number in range(SESSIONS)})
                    self.assertEqual(len(processes_of(home)), 1, "one broker process")
                    self.assertEqual(len(brokers_of(home)), 1)
                    broker = Broker(home, C2_LATTICE_PORT=port)
                    self.assertEqual({peer["id"] for peer in broker.person().get("/dashboard/data")["peers"]}, ids)
                    broker.close()
                finally:
                    for session in sessions:
                        session.close()

    def test_of_many_brokers_on_one_database_one_serves_and_the_others_say_why_and_go(self) -> None:
        for _ in range(ROUNDS):
            with temporary_home() as home:
                running = [
                    subprocess.Popen(
                        [*PYTHON, os.path.join(TOP, "broker.py")], env=environment(home, C2_LATTICE_PORT=str(free_port())), cwd=home,
                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    )
                    for _ in range(figure(5, 20))
                ]  # fmt: skip
                try:
                    survivors = self.losers_go(running)
                    self.assertEqual(len(survivors), 1)
                    cards = until(lambda home=home: brokers_of(home), "the one that is left says where it is")
                    self.assertEqual([card["pid"] for card in cards], [survivors[0].pid])
                finally:
                    for process in running:
                        process.kill()
                        process.communicate()

    def losers_go(self, running: list[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
        left = list(running)
        for _ in range(600):
            for process in list(left):
                try:
                    said = process.communicate(timeout=0.1 if len(left) > 1 else 0.5)[0]
                except subprocess.TimeoutExpired:
                    continue
                left.remove(process)
                self.assertNotEqual(process.returncode, 0)
                self.assertNotIn(b"Traceback", said)
            if len(left) <= 1:
                return left
        return left


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
