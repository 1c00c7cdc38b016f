"""The person's mail on the command line, against a real broker: read when a terminal showed it, there again when a pipe took it."""

from __future__ import annotations

import os
import subprocess
import unittest

from tests.cli.house import TOP
from tests.running import PYTHON, Broker

COMMAND = [*PYTHON, os.path.join(TOP, "lattice", "cli", "command.py")]


class ThePersonsMail(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.sender = self.broker.enrol("w1")
        said = self.sender.post("/send", {"recipient_id": "command-center", "category": "question", "content": "may I?"})
        self.message = said["message_id"]

    def inbox(self, *words: str) -> str:
        done = subprocess.run([*COMMAND, *words], env=self.broker.environ, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(("", 0), (done.stderr, done.returncode))
        return done.stdout

    def state(self) -> str:
        return str(self.sender.get(f"/receipts/{self.message}")["deliveries"][0]["state"])

    def test_a_pipe_takes_nothing(self) -> None:
        for _ in range(2):
            self.assertIn("may I?", self.inbox("inbox"))
            self.assertEqual("queued", self.state())
        self.assertIn("may I?", self.inbox("inbox", "--json"))

    @unittest.skipIf(os.name == "nt", "pseudo terminals are POSIX")
    def test_a_terminal_shows_it_and_it_is_read(self) -> None:
        ours, theirs = os.openpty()
        try:
            subprocess.run([*COMMAND, "inbox"], env=self.broker.environ, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60, check=True)
            self.assertIn(b"may I?", os.read(ours, 65536))
        finally:
            os.close(ours)
            os.close(theirs)
        self.assertEqual("read", self.state())
        self.assertIn("no unread messages", self.inbox("inbox"))


if __name__ == "__main__":
    unittest.main()
