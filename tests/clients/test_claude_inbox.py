"""The inbox of a Claude Code session, against a socket that takes what it would."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import unittest
from unittest import mock

from lattice.clients import claude_inbox
from tests.clients.inbox import Inbox


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "this platform has no AF_UNIX sockets")
class TheInbox(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.inbox = self.enterContext(Inbox(self.folder))

    def test_a_post_is_two_lines_the_token_and_the_text(self) -> None:
        auth, user = claude_inbox.frame("t", "two\nlines ☃").splitlines()
        self.assertEqual({"type": "auth", "token": "t"}, json.loads(auth))
        self.assertEqual({"type": "user", "message": {"role": "user", "content": "two\nlines ☃"}}, json.loads(user))

    def test_what_is_posted_arrives(self) -> None:
        claude_inbox.post(self.inbox.environ, "mail")
        self.assertEqual(["mail"], self.inbox.texts(1))
        self.assertEqual(self.inbox.token, self.inbox.lines[0][1])

    def test_it_is_offered_where_the_environment_names_both_and_the_platform_has_such_sockets(self) -> None:
        self.assertTrue(claude_inbox.is_offered(self.inbox.environ))
        for name in self.inbox.environ:
            self.assertFalse(claude_inbox.is_offered({**self.inbox.environ, name: ""}))
        self.assertFalse(claude_inbox.is_offered({}))
        with mock.patch.object(claude_inbox, "_socket", object()):
            self.assertFalse(claude_inbox.is_offered(self.inbox.environ))

    def test_an_inbox_where_nobody_listens_is_an_error_at_once(self) -> None:
        self.inbox.close()
        with self.assertRaises(OSError):
            claude_inbox.post(self.inbox.environ, "mail")
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(self.inbox.path)  # there, but nobody accepts
        with self.assertRaises(OSError):
            claude_inbox.post(self.inbox.environ, "mail")

    def test_a_file_that_is_no_socket_is_not_written_to(self) -> None:
        path = os.path.join(self.folder, "file")
        with open(path, "w", encoding="utf-8") as file:
            file.write("keep")
        with self.assertRaises(OSError):
            claude_inbox.post({**self.inbox.environ, "CLAUDE_CODE_MESSAGING_SOCKET": path}, "mail")
        with open(path, encoding="utf-8") as file:
            self.assertEqual("keep", file.read())

    def test_one_that_takes_nothing_is_given_up_within_the_time_out(self) -> None:
        path = os.path.join(self.folder, "full.sock")
        with socket.socket(socket.AF_UNIX) as full, mock.patch.object(claude_inbox, "TIMEOUT_S", 0.05):
            full.bind(path)
            full.listen(0)
            environ = {**self.inbox.environ, "CLAUDE_CODE_MESSAGING_SOCKET": path}
            with self.assertRaises(OSError):
                for _ in range(4):  # the first ones fit into the queue of a client that does not accept
                    claude_inbox.post(environ, "x" * 4_000_000)


if __name__ == "__main__":
    unittest.main()
