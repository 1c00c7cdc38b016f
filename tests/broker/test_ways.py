"""How mail reaches a session: said by its own process and by its hooks, kept by the broker, shown to all. And waiting for mail."""

from __future__ import annotations

import unittest
from typing import Any

from lattice.web.server import Answer, Parked
from tests.broker.broking import PERSON, BrokerCase


class HowMailReachesASession(BrokerCase):
    def ways(self, who: str = "w1") -> list[str]:
        listed = {peer["id"]: peer["ways"] for peer in self.house.get(PERSON, "/peers")["peers"]}[who]
        self.assertEqual(listed, self.house.get(PERSON, f"/peer/{who}")["ways"])
        return listed  # type: ignore[no-any-return]

    def test_it_is_what_the_session_says_at_its_start_in_the_order_of_the_list(self) -> None:
        self.house.enrol("w1", ways=["tool", "socket", "carrier pigeon"])
        self.assertEqual(["socket", "tool"], self.ways())

    def test_one_that_says_nothing_has_none(self) -> None:
        self.house.enrol("w1")
        self.assertEqual([], self.ways())

    def test_a_beat_changes_it_and_a_beat_without_it_does_not(self) -> None:
        self.house.enrol("w1", ways=["socket", "tool"])
        self.house.beat("w1", ways=["tool"])
        self.house.beat("w1")
        self.assertEqual(["tool"], self.ways())

    def test_a_hook_that_ran_adds_itself_and_no_beat_takes_it_away(self) -> None:
        self.house.enrol("w1", ways=["socket", "tool"])
        self.house.post("w1", "/hook", event="PostToolUse")
        self.house.post("w1", "/hook", event="Wake")
        self.assertEqual(["socket", "rewake", "hook", "tool"], self.ways())
        self.house.beat("w1", ways=["tool"])
        self.assertEqual(["rewake", "hook", "tool"], self.ways())

    def test_the_one_that_waits_proves_nothing_of_what_the_hook_beside_it_hands_in(self) -> None:
        self.house.enrol("w1", process="one")
        self.house.enrol("w2")
        self.house.post("w2", "/send", recipient_id="w1", category="blocker", content="stop")
        self.assertEqual(1, len(self.house.post("w1", "/hook", event="Stop", max=5)["messages"]))
        self.assertEqual(0, self.house.post("w1", "/hook", event="Wake")["proven"])
        self.assertEqual(1, self.house.post("w1", "/hook", event="PreToolUse")["proven"])

    def test_a_new_life_of_the_peer_says_anew(self) -> None:
        self.house.enrol("w1", ways=["socket", "tool"], process="one")
        self.house.post("w1", "/hook", event="Stop")
        self.house.post("w1", "/leave", process="one")
        self.house.enrol("w1", ways=["tool"], process="two")
        self.assertEqual(["tool"], self.ways())


class WaitingForMail(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def wait(self, who: str = "w1", **body: Any) -> Any:
        """An Answer, or Parked."""
        return self.house.raw(who, "POST", "/inbox/wait", body)

    def test_mail_that_waits_is_told_at_once_and_not_taken(self) -> None:
        self.house.send("w2", "w1")
        answer = self.wait()
        assert isinstance(answer, Answer)
        self.assertEqual({"unread": 1, "unread_from": ["w2"], "urgent": 0}, answer.body)
        self.assertEqual("queued", self.house.value("SELECT state FROM deliveries WHERE recipient = 'w1'"))

    def test_it_goes_on_when_mail_comes_and_waits_on_when_something_else_did(self) -> None:
        waiting = self.wait()
        assert isinstance(waiting, Parked)
        self.assertEqual(("beat:w1", 30.0), (waiting.key, waiting.wait_s))
        self.house.post("w2", "/lock", file_path="/a")
        self.assertIn("beat:w1", self.house.woken)
        again: Any = waiting.then()
        self.assertIsInstance(again, Parked)
        self.house.send("w2", "w1")
        self.assertEqual(1, again.then().body["unread"])

    def test_its_time_is_bounded(self) -> None:
        waiting = self.wait(wait_s=5)
        assert isinstance(waiting, Parked)
        self.house.clock.advance(5.1)
        answer = waiting.then()
        assert isinstance(answer, Answer)
        self.assertEqual({"unread": 0, "unread_from": [], "urgent": 0}, answer.body)
        self.refused(400, "w1", "/inbox/wait", {"wait_s": 301})

    def test_who_waits_for_urgent_mail_is_not_woken_by_other(self) -> None:
        waiting = self.wait(who="arch", urgent_only=True)
        self.house.send("w2", "arch")
        again = waiting.then()
        self.assertIsInstance(again, Parked)
        self.house.send("w2", "arch", category="blocker")
        answer = again.then()
        self.assertEqual((2, 1), (answer.body["unread"], answer.body["urgent"]))

    def test_the_person_waits_for_the_persons_mail(self) -> None:
        waiting = self.wait(who=PERSON)
        self.house.send("w2", PERSON)
        self.assertIn(f"beat:{PERSON}", self.house.woken)
        self.assertEqual(1, waiting.then().body["unread"])

    def test_a_paused_peer_may_wait_and_a_killed_one_hears_that_it_is(self) -> None:
        self.house.post("arch", "/pause", peer_id="w1")
        waiting = self.wait()
        assert isinstance(waiting, Parked)
        self.house.post("arch", "/kill-peer", peer_id="w1")
        with self.assertRaisesRegex(Exception, "ended by arch"):
            waiting.then()

    def test_to_ask_is_a_sign_of_life_of_a_peer_that_is_alive_and_revives_none(self) -> None:
        self.house.pass_time(10, "arch", "w2")
        self.wait()
        self.house.pass_time(10, "arch", "w2")
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(10, "arch", "w2")
        self.assertEqual("dead", self.house.status("w1"))
        self.wait()
        self.assertEqual("dead", self.house.status("w1"))


if __name__ == "__main__":
    unittest.main()
