"""Peers, to the parts that no whole call reaches."""

from __future__ import annotations

import unittest

from tests.broker.broking import PERSON, BrokerCase


class Peers(BrokerCase):
    def test_an_id_belongs_to_its_first_registrant_until_it_leaves(self) -> None:
        self.house.enrol("w1", process="first")
        self.assertEqual(409, self.house.register("w1", process="second")[0])
        self.house.post("w1", "/leave", process="first")
        self.assertEqual(200, self.house.register("w1", process="second")[0])

    def test_who_enrols_again_keeps_what_it_said_of_itself_and_when_it_first_came(self) -> None:
        first = self.house.enrol("w1", summary="the shop", process="first")
        began = self.house.get("w1", "/peer/w1")["registered_at"]
        self.house.clock.advance(5)
        self.house.enrol("w1", process="second", resume=first["resume"])
        peer = self.house.get("w1", "/peer/w1")
        self.assertEqual(("the shop", began), (peer["summary"], peer["registered_at"]))

    def test_the_resume_secret_stays_while_it_is_shown_and_is_new_when_it_is_not(self) -> None:
        first = self.house.enrol("w1", process="first")["resume"]
        self.house.clock.advance(5)
        self.assertEqual(first, self.house.enrol("w1", process="second", resume=first)["resume"])
        self.house.post("w1", "/leave")
        self.assertNotEqual(first, self.house.enrol("w1", process="third", resume="")["resume"])

    def test_the_list_is_of_the_active_without_the_person_and_can_be_narrowed(self) -> None:
        for id, folder in (("a", "/src/shop"), ("b", "/src/shop/web"), ("c", "/src/shop-evil"), ("d", "")):
            self.house.enrol(id, working_dir=folder)
        self.house.enrol("e", working_dir="/src/shop")
        self.house.post("e", "/leave")

        def listed(query: str) -> list[str]:
            return [peer["id"] for peer in self.house.get("a", "/peers" + query)["peers"]]

        self.assertEqual(["a", "b", "c", "d"], listed(""))
        self.assertEqual(["a"], listed("?scope=same_dir"))
        self.assertEqual(["b"], listed("?scope=same_dir&working_dir=/src/shop/web"))
        for root in ("/src/shop", "/src/shop/"):
            self.assertEqual(["a", "b"], listed("?scope=same_repo&git_root=" + root))
        self.assertEqual(["a", "b", "c"], listed("?scope=same_repo&git_root=/"))
        self.refused(400, "a", "/peers?scope=odd", method="GET")

    def test_an_entry_has_what_v4_says(self) -> None:
        self.house.enrol("a", git_branch="main", git_dirty_files=["x.py", "y.py"], git_last_commit="abc")
        entry = self.house.get("a", "/peers")["peers"][0]
        v4 = {
            "id",
            "role",
            "summary",
            "working_dir",
            "last_heartbeat",
            "registered_at",
            "paused",
            "poll_interval_ms",
            "git_branch",
            "git_dirty_files",
            "git_last_commit",
        }
        self.assertLessEqual(v4, set(entry))
        self.assertEqual(("x.py,y.py", False), (entry["git_dirty_files"], entry["paused"]))
        v4 = {"status", "pid", "token_budget", "tokens_used", "tool_calls_count", "errors_count", "rejections_count", "last_stop_reason"}
        self.assertLessEqual(v4, set(self.house.get("a", "/peer/a")))

    def test_a_ping_says_whether_somebody_is_stuck_and_at_what(self) -> None:
        self.house.crew("w1")
        self.house.post("arch", "/config", peer_id="w1", poll_interval_ms=60_000)
        task = self.house.task("w1", "long")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.pass_time(21, "arch")
        said = self.house.post("arch", "/ping", peer_id="w1")
        self.assertEqual(
            (True, 21.0, {"id": task, "title": "long"}, "active"),
            tuple(said[name] for name in ("possibly_stuck", "seconds_since_heartbeat", "current_task", "status")),
        )
        self.assertEqual(["w1"], [one["peer_id"] for one in self.house.post("arch", "/ping-all")["peers"]])
        self.refused(404, "arch", "/ping", {"peer_id": "ghost"})

    def test_a_killed_peer_finds_its_kill_as_mail_once_it_is_resumed(self) -> None:
        self.house.crew("w1")
        self.house.post(PERSON, "/kill-peer", peer_id="w1")
        self.house.post(PERSON, "/resume", peer_id="w1")
        self.house.enrol("w1")
        self.assertEqual(["[KILL] Terminated by command center."], self.house.texts("w1"))


if __name__ == "__main__":
    unittest.main()
