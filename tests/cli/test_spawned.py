"""The launcher in a spawned window: it acts on a ticket that is ours alone, and on nothing else."""

from __future__ import annotations

import json
import os
import unittest

from lattice.cli import spawned
from lattice.clients.claude import OF_ONE_SESSION
from tests.cli.house import House

SCRIPT = os.path.join("lattice", "cli", "spawned.py")


class Tickets(House):
    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(self.folder, "t.json")
        self.card: dict[str, object] = {
            "peer": "w1", "role": "worker", "ticket": "T", "workspace": "ws", "port": 7899, "prompt": "go", "working_dir": self.folder,
            "home": self.home, "client": "claude", "program": os.path.join(self.folder, "claude"),
        }  # fmt: skip
        self.write(json.dumps(self.card))

    def write(self, text: str, mode: int = 0o600) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path, mode)

    def refused(self, path: str = "") -> None:
        done = self.run_script(SCRIPT, path or self.path)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (78, "", 1), done.stderr)

    @unittest.skipIf(os.name == "nt", "modes, links and pipes of POSIX")
    def test_a_file_that_others_may_read_or_that_is_no_file_is_refused(self) -> None:
        link, pipe = os.path.join(self.folder, "link"), os.path.join(self.folder, "pipe")
        os.symlink(self.path, link)
        os.mkfifo(pipe, 0o600)
        for path in (link, pipe, self.folder, os.path.join(self.folder, "none")):
            with self.subTest(path):
                self.refused(path)
        os.chmod(self.path, 0o644)
        self.refused()

    def test_a_ticket_that_says_too_little_or_too_much_is_refused(self) -> None:
        for name in self.card:
            with self.subTest(name):
                self.write(json.dumps({**self.card, name: None}))
                with self.assertRaises(spawned.BadTicket):
                    spawned.read_ticket(self.path)
        for text in ("", "[]", "{", "\x00", json.dumps({**self.card, "client": "sh"}), json.dumps({**self.card, "prompt": "x" * 70_000})):
            with self.subTest(text[:20]):
                self.write(text)
                with self.assertRaises(spawned.BadTicket):
                    spawned.read_ticket(self.path)

    def test_a_folder_that_has_gone_and_a_client_that_has_gone_are_said(self) -> None:
        done = self.run_script(SCRIPT, self.path)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (127, 1))
        self.write(json.dumps({**self.card, "working_dir": os.path.join(self.folder, "none")}))
        self.refused()
        self.assertEqual(self.run_script(SCRIPT).returncode, 64)

    def test_what_another_session_said_about_itself_is_gone(self) -> None:
        inherited = {name: "other" for name in (*OF_ONE_SESSION, *spawned.IDENTITY)} | {"KEPT": "1"}
        environ = spawned.session_environment({**self.card, "workspace": ""}, self.path, inherited)
        self.assertNotIn("other", environ.values())
        self.assertEqual((environ["PEER_ID"], environ["C2_LATTICE_TICKET"], environ["KEPT"]), ("w1", self.path, "1"))
        self.assertNotIn("C2_LATTICE_WORKSPACE", environ)

    def test_without_a_prompt_it_is_told_who_it_is(self) -> None:
        self.assertIn("worker, w1", spawned.session_line({**self.card, "prompt": " "}, self.environ)[2])


if __name__ == "__main__":
    unittest.main()
