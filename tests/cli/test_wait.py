"""c2-lattice wait, against a real broker: it ends when mail is there, when the time is up, when its shell is gone, and not before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import unittest

from tests.cli.house import TOP
from tests.running import PYTHON, Broker, Peer, free_port, until

COMMAND = [*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py")]


class Waiting(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.person = self.broker.person()
        self.sender = self.broker.enrol("w2")
        # A peer of the command line alone: its first call enrols it.
        self.environ = {**self.broker.environ, "PEER_ID": "w1"}
        self.run_c2("peers")

    def run_c2(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *words], env=self.environ, capture_output=True, text=True, timeout=60, check=False)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """A wait that has reached the broker."""
        waits = self.calls()
        waiting = subprocess.Popen([*COMMAND, "wait", *words], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.finish, waiting)
        until(lambda: self.calls() > waits, "the wait is at the broker")
        return waiting

    def finish(self, waiting: subprocess.Popen[str]) -> None:
        if waiting.poll() is None:
            waiting.kill()
        waiting.communicate()

    def calls(self) -> int:
        """How often the broker was asked to wait."""
        said = self.person.get("/metrics")["text"]
        return next((int(line.split()[-1]) for line in said.splitlines() if 'op="wait_mail"' in line), 0)

    def send(self, sender: Peer, category: str = "finding") -> int:
        return int(sender.post("/send", {"recipient_id": "w1", "category": category, "content": "look"})["message_id"])

    def test_it_ends_with_one_line_when_mail_comes_and_takes_nothing(self) -> None:
        waiting = self.begin()
        message = self.send(self.sender)
        out, err = waiting.communicate(timeout=20)
        self.assertEqual((0, "1 unread from w2\n", ""), (waiting.returncode, out, err))
        self.assertEqual("queued", self.sender.get(f"/receipts/{message}")["deliveries"][0]["state"])
        self.assertIn("│ look", self.run_c2("inbox").stdout)

    def test_a_time_that_never_comes_is_waited_for_as_none_at_all(self) -> None:
        waiting = self.begin("--timeout", "9" * 400)
        self.send(self.sender)
        self.assertEqual(("1 unread from w2\n", ""), waiting.communicate(timeout=20))

    def test_mail_that_is_there_already_ends_it_at_once(self) -> None:
        self.send(self.sender)
        done = self.run_c2("wait", "--json")
        self.assertEqual((0, 1), (done.returncode, json.loads(done.stdout)["unread"]))

    def test_the_time_that_is_up_is_status_one_and_a_line_that_says_so(self) -> None:
        for timeout in ("0", "0.2"):
            done = self.run_c2("wait", "--timeout", timeout)
            self.assertEqual((1, f"no mail within {timeout} s\n", ""), (done.returncode, done.stdout, done.stderr))
        done = self.run_c2("wait", "--timeout", "0", "--json")
        self.assertEqual((1, {"unread": 0, "unread_from": [], "urgent": 0}), (done.returncode, json.loads(done.stdout)))
        self.send(self.sender)
        done = self.run_c2("wait", "--timeout", "0", "--urgent")
        self.assertEqual((1, "nothing urgent within 0 s (1 unread from w2)\n"), (done.returncode, done.stdout))

    def test_who_waits_for_urgent_mail_waits_on_for_it(self) -> None:
        waiting = self.begin("--urgent")
        self.send(self.sender)
        self.assertIsNone(waiting.poll())
        self.send(self.sender, "review_request")
        out, _ = waiting.communicate(timeout=20)
        self.assertEqual((0, "2 unread from w2, 1 urgent\n"), (waiting.returncode, out))

    def test_it_survives_a_restart_of_the_broker(self) -> None:
        waiting = self.begin()
        self.broker.kill()
        self.broker.start()
        self.person = self.broker.person()
        until(lambda: self.calls() > 0, "it waits at the new broker", 20)
        self.send(self.broker.enrol("w3"))
        out, err = waiting.communicate(timeout=20)
        self.assertEqual((0, "1 unread from w3\n", ""), (waiting.returncode, out, err))

    def test_without_a_broker_it_says_so_and_does_not_wait(self) -> None:
        self.environ["C2_LATTICE_PORT"] = str(free_port())
        done = self.run_c2("wait")
        self.assertEqual(3, done.returncode)
        self.assertIn("c2-lattice start", done.stderr)

    def test_a_wrong_line_is_two(self) -> None:
        for words in (("--timeout",), ("--timeout", "soon"), ("--for", "3"), ("bob",)):
            self.assertEqual(2, self.run_c2("wait", *words).returncode, words)

    @unittest.skipIf(sys.platform == "win32", "a process keeps its parent's number there")
    def test_it_ends_when_its_shell_is_gone(self) -> None:
        waits = self.calls()
        line = " ".join(f"'{word}'" for word in [*COMMAND, "wait"])
        shell = subprocess.Popen(["sh", "-c", f"{line} & echo $!; wait"], env=self.environ, stdout=subprocess.PIPE, text=True)
        assert shell.stdout is not None
        with shell.stdout:
            waiting = int(shell.stdout.readline())
            until(lambda: self.calls() > waits, "the wait is at the broker")
            shell.send_signal(signal.SIGKILL)
            shell.wait()
            until(lambda: not _lives(waiting), "the wait has ended with its shell", 10)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
