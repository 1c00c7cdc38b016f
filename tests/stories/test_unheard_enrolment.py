"""An enrolment that was done and of which nobody heard: whoever asked for it comes back, and is who it wanted to be."""

from __future__ import annotations

import json
import os
import subprocess
import unittest

from tests.apart import needed
from tests.proxy import THROUGH, Asked, Behind, Fault
from tests.running import PYTHON, TOP, Session, environment


@needed
class Unheard(unittest.TestCase):
    def setUp(self) -> None:
        self.lost: list[Fault] = []  # what happens to the next enrolments
        self.broker = Behind(self.plan)
        self.addCleanup(self.broker.close)
        self.broker.start()
        self.person = self.broker.person()

    def plan(self, asked: Asked) -> Fault:
        return self.lost.pop(0) if asked.path == "/register" and self.lost else THROUGH

    def peers(self) -> list[str]:
        return [peer["id"] for peer in self.person.get("/peers?everywhere=true")["peers"]]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line of a session that has no server: it enrols by itself."""
        return subprocess.run(
            [*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py"), *words],
            env=environment(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="bob"), cwd=self.broker.home,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def session(self, **environ: str) -> Session:
        session = Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), **environ)
        self.addCleanup(session.close)
        session.initialize()
        return session

    def killed_while_it_enrols(self, **environ: str) -> None:
        held = Fault("hold")
        self.lost.append(held)
        session = self.session(**environ)
        session.ask("tools/call", {"name": "list_peers", "arguments": {}})
        self.assertTrue(held.done.wait(20))
        session.kill()
        held.go.set()

    def test_the_command_line_enrols_again_when_the_answer_was_lost(self) -> None:
        self.lost.append(Fault("reset"))
        done = self.command("summary", "at work")
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertEqual(["bob"], self.peers())

    def test_and_so_does_the_next_command_when_this_one_never_heard(self) -> None:
        self.lost += [Fault("reset")] * 8
        self.assertNotEqual(0, self.command("summary", "at work").returncode)
        self.assertEqual(["bob"], self.peers())
        self.lost.clear()
        done = self.command("summary", "at work")
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_a_server_killed_before_it_heard_its_name_is_followed_by_one_with_that_name(self) -> None:
        self.killed_while_it_enrols(PEER_ID="alice")
        self.assertEqual("alice", self.session(PEER_ID="alice").call("list_peers")["your_id"])
        self.assertEqual(["alice"], self.peers())

    def test_also_when_nobody_chose_the_name(self) -> None:
        self.killed_while_it_enrols()
        [name] = self.peers()
        self.assertEqual(name, self.session().call("list_peers")["your_id"])
        self.assertEqual([name], self.peers())

    def test_what_is_promised_to_one_is_not_left_behind_when_the_name_is_anothers(self) -> None:
        self.broker.enrol("alice", beat_ms=60_000)
        session = self.session(PEER_ID="alice")
        self.assertEqual("alice-2", session.call("list_peers")["your_id"])
        folder = os.path.join(self.broker.state, "sessions")
        records = {}
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                records[name.partition("@")[0]] = json.load(file)
        self.assertNotIn("alice", records)
        self.assertEqual("alice-2", records["alice-2"]["peer"])


if __name__ == "__main__":
    unittest.main()
