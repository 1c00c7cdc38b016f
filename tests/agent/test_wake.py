"""The wake: one notice for what came, and none that is untrue. Alone, and in a session over stdio."""

from __future__ import annotations

import os
import socket
import tempfile
import time
import unittest
from typing import Any
from unittest import mock

from lattice.agent import wake
from tests.agent.scripted import ScriptedBroker
from tests.clients.inbox import Inbox
from tests.running import Session, until


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "this platform has no AF_UNIX sockets")
class Notices(unittest.TestCase):
    def setUp(self) -> None:
        self.inbox = self.enterContext(Inbox(self.enterContext(tempfile.TemporaryDirectory())))
        self.failures: list[str] = []
        self.wake = self.make()

    def make(self, **more: Any) -> wake.Wake:
        made = wake.Wake(
            more.pop("environ", self.inbox.environ),
            is_wanted=more.pop("is_wanted", True),
            on_failure=lambda what, _: self.failures.append(what),
        )
        self.addCleanup(made.stop)
        return made

    def test_the_first_is_at_once_and_says_how_many_from_whom_and_what_to_call(self) -> None:
        begun = time.monotonic()
        self.wake.heard(2, ["arch", "w2"], 7, None)
        self.assertEqual(["c2-lattice: 2 unread messages (from arch, w2): call check_messages [notice 1]"], self.inbox.texts(1))
        self.assertLess(self.inbox.lines[0][0] - begun, 0.5)

    def test_what_comes_within_a_second_is_one_further_notice(self) -> None:
        for count in range(1, 9):
            self.wake.heard(count, ["w2"], count, None)
            if count == 1:
                self.inbox.texts(1)
        self.assertEqual("c2-lattice: 8 unread messages (from w2): call check_messages [notice 2]", self.inbox.texts(2)[1])
        first, second = (at for at, _, _ in self.inbox.lines)
        self.assertGreater(second - first, 0.9)

    def test_what_comes_after_the_session_took_its_mail_is_told_at_once(self) -> None:
        begun = time.monotonic()
        for number in range(5):
            self.wake.heard(1, ["w2"], number + 1, None)
            self.inbox.texts(number + 1)
            self.wake.took(0) if number % 2 else self.wake.heard(0, [], 0, None)
        self.assertLess(time.monotonic() - begun, wake.GAP_S)

    def test_never_more_than_the_inbox_admits(self) -> None:
        with mock.patch.multiple(wake, AT_ONCE=3, ONE_MORE_S=0.4):
            self.wake = self.make()
            for number in range(5):
                self.wake.heard(1, ["w2"], number + 1, None)
                self.inbox.texts(number + 1)
                self.wake.heard(0, [], 0, None)
        at = [line[0] for line in self.inbox.lines]
        self.assertGreater(at[4] - at[0], 0.7, "three at once, and one in 0.4 s after")

    def test_the_same_mail_is_told_once_however_often_it_is_heard(self) -> None:
        for _ in range(5):
            self.wake.heard(1, ["w2"], 3, None)
        self.inbox.texts(1)
        self.wake.heard(1, ["w2"], 3, None)
        self.wake.heard(0, [], 0, None)
        self.wake.heard(1, ["w2"], 4, None)  # the next that comes is the next that is told
        self.assertEqual(2, len(self.inbox.texts(2)))
        self.assertIn("[notice 2]", self.inbox.texts()[1])

    def test_mail_that_was_taken_before_the_notice_went_out_is_not_told(self) -> None:
        self.wake.heard(1, ["w2"], 1, None)
        self.inbox.texts(1)
        self.wake.heard(2, ["w2"], 2, None)  # due in a second
        self.wake.took(0)
        self.wake.heard(0, [], 0, None)
        self.wake.heard(1, ["w3"], 3, None)
        self.assertIn("1 unread message (from w3)", self.inbox.texts(2)[1])

    def test_mail_that_came_back_unread_is_told_again(self) -> None:
        self.wake.heard(1, ["w2"], 3, None)
        self.inbox.texts(1)
        self.wake.took(0)
        self.wake.heard(0, [], 0, None)
        self.wake.heard(1, ["w2"], 3, None)
        self.assertEqual(2, len(self.inbox.texts(2)))

    def test_paused_it_hears_that_once_no_mail_and_then_that_it_may_go_on(self) -> None:
        self.wake.heard(0, [], 0, "arch")
        self.assertEqual("c2-lattice: paused by arch: change nothing until you are resumed [notice 1]", self.inbox.texts(1)[0])
        self.wake.heard(1, ["w2"], 1, "arch")
        self.wake.heard(2, ["w2"], 2, "arch")
        self.wake.heard(2, ["w2"], 2, None)
        self.assertEqual(
            "c2-lattice: you are resumed and may go on; 2 unread messages (from w2): call check_messages [notice 2]", self.inbox.texts(2)[1]
        )

    def test_without_an_inbox_or_unwanted_nothing_is_posted_and_the_ways_say_so(self) -> None:
        self.assertEqual(["socket", "tool"], self.wake.ways())
        for other in (self.make(environ={}), self.make(is_wanted=False)):
            self.assertEqual(["tool"], other.ways())
            other.heard(1, ["w2"], 1, None)
        self.wake.heard(1, ["w9"], 1, None)
        self.assertEqual(1, len(self.inbox.texts(1)))
        self.assertIn("w9", self.inbox.texts()[0])

    def test_one_that_fails_is_logged_once_and_the_ways_tell_until_it_works_again(self) -> None:
        path, self.inbox.path = self.inbox.path, self.inbox.path + ".gone"
        os.rename(path, self.inbox.path)
        self.wake.heard(1, ["w2"], 1, None)
        until(lambda: self.wake.ways() == ["tool"], "the way is not reported any more")
        self.assertEqual(1, len(self.failures))
        os.rename(self.inbox.path, path)
        self.wake.heard(2, ["w2"], 2, None)
        self.inbox.texts(1)
        until(lambda: self.wake.ways() == ["socket", "tool"], "the way is reported again")
        self.assertEqual(1, len(self.failures))


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "this platform has no AF_UNIX sockets")
class OverStdio(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())
        self.broker = self.enterContext(ScriptedBroker(os.path.join(self.home, "state")))
        self.inbox = self.enterContext(Inbox(self.home))

    def start(self, **more: str) -> Session:
        session = self.enterContext(Session(self.home, C2_LATTICE_PORT=str(self.broker.port), **self.inbox.environ, **more))
        session.initialize()
        session.result("list_peers")
        return session

    def test_a_session_says_its_ways_when_it_enrols_and_posts_when_mail_comes(self) -> None:
        self.start()
        self.assertEqual(["socket", "tool"], self.broker.bodies("/register")[0]["ways"])
        self.broker.tell(unread=1, unread_from=["arch"], newest=5)
        self.assertEqual(["c2-lattice: 1 unread message (from arch): call check_messages [notice 1]"], self.inbox.texts(1))
        self.assertNotIn("ways", self.broker.wait_for("/heartbeat", 3)[-1], "said before and not changed")

    def test_an_inbox_that_is_gone_changes_nothing_but_the_ways(self) -> None:
        session = self.start()
        self.inbox.close()
        self.broker.tell(unread=1, unread_from=["arch"], newest=5)

        def told() -> bool:
            self.broker.tell()
            return any(body.get("ways") == ["tool"] for body in self.broker.bodies("/heartbeat"))

        until(told, "a beat that says the inbox does not work")
        self.assertEqual("1 unread from arch: check_messages", session.call("list_peers")["waiting"])
        with open(os.path.join(self.home, "state", "session.log"), encoding="utf-8") as log:
            self.assertEqual(1, log.read().count("inbox takes no notice"))

    def test_switched_off_it_posts_nothing(self) -> None:
        session = self.start(C2_LATTICE_WAKE="off")
        self.assertEqual(["tool"], self.broker.bodies("/register")[0]["ways"])
        self.broker.tell(unread=1, unread_from=["arch"], newest=5)
        until(lambda: session.call("list_peers").get("waiting"), "the beat has heard of the mail")
        self.assertEqual([], self.inbox.texts())

    def test_the_clients_name_for_the_call_goes_with_the_taking(self) -> None:
        self.broker.always["/inbox/take"] = {"messages": [], "more": 0, "paused": False}
        session = self.start()
        for meta in ({"claudecode/toolUseId": "toolu_01"}, {}, {"claudecode/toolUseId": 7}):
            session.request("tools/call", {"name": "check_messages", "arguments": {}, "_meta": meta})
        self.assertEqual(["toolu_01", None, None], [body.get("tool_use_id") for body in self.broker.bodies("/inbox/take")])


if __name__ == "__main__":
    unittest.main()
