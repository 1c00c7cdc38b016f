"""Alive means: a beat within the timeout, by the broker's clock. The beat carries news both ways."""

from __future__ import annotations

import json
import unittest

from lattice.broker.presence import Presence
from lattice.web.server import Parked
from tests.broker.broking import PERSON, BrokerCase


class Alive(BrokerCase):
    def test_a_peer_is_alive_exactly_as_long_as_a_beat_is_within_the_timeout(self) -> None:
        self.house.crew("w1")
        self.house.pass_time(15, "arch")
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(1, "arch")
        self.assertEqual("dead", self.house.status("w1"))
        self.assertEqual("active", self.house.status("arch"))

    def test_a_pid_is_a_hint_never_a_verdict(self) -> None:
        self.house.enrol("w1", pid=2**31 - 1)
        self.house.get("w1", "/peers")
        self.house.pass_time(5, "w1")
        self.assertEqual(["w1"], [peer["id"] for peer in self.house.get("w1", "/peers")["peers"]])

    def test_the_timeout_follows_the_peers_own_beat_interval(self) -> None:
        self.house.crew("w1")
        self.house.post("arch", "/config", peer_id="w1", poll_interval_ms=60_000)
        self.assertEqual(60_000, self.house.beat("w1")["poll_interval_ms"])
        self.house.pass_time(299, "arch")
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(2, "arch")
        self.assertEqual("dead", self.house.status("w1"))

    def test_who_is_told_to_beat_less_often_while_its_beat_waits_may_do_so_at_once(self) -> None:
        self.house.crew("w1")
        seen = self.house.beat("w1")["stamp"]
        waiting = self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": seen})
        self.house.post("arch", "/config", peer_id="w1", poll_interval_ms=60_000)
        self.assertIn("beat:w1", self.house.woken)
        self.assertEqual(60_000, waiting.then().body["poll_interval_ms"])
        self.house.pass_time(59, "arch")
        self.assertEqual("active", self.house.status("w1"))

    def test_who_is_told_to_beat_more_often_is_not_late_before_it_heard_it(self) -> None:
        self.house.crew("w1")
        self.house.post("arch", "/config", peer_id="w1", poll_interval_ms=60_000)
        self.house.beat("w1")
        self.house.pass_time(30, "arch")
        self.house.post("arch", "/config", peer_id="w1", poll_interval_ms=1_000)
        self.house.pass_time(29, "arch")
        self.assertEqual("active", self.house.status("w1"))
        self.house.beat("w1")
        self.house.pass_time(16, "arch")
        self.assertEqual("dead", self.house.status("w1"))

    def test_a_dead_peer_that_beats_again_lives_without_what_it_held(self) -> None:
        self.house.crew("w1")
        task = self.house.task("w1")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.pass_time(16, "arch")
        said = self.house.beat("w1")
        self.assertEqual(("active", ["/src/a.py"]), (self.house.status("w1"), said["lost"]))
        self.assertEqual([], self.house.beat("w1")["lost"])
        self.assertEqual("pending", self.house.get("w1", f"/tasks/{task}")["task"]["status"])

    def test_a_loss_is_told_until_the_next_beat_has_heard_of_it(self) -> None:
        """The answer that told it may not have arrived; one that gives no stamp is told once."""
        self.house.crew("w1", "w2")
        self.house.post("w1", "/lock", file_path="/src/a.py")
        before = self.house.beat("w1", wait_s=3)["stamp"]
        self.house.post("arch", "/unlock", file_path="/src/a.py")
        first = self.house.beat("w1", wait_s=3, seen=before)
        self.assertEqual((["/src/a.py"], True), (first["lost"], first["locks_changed"]))
        again = self.house.beat("w1", wait_s=3, seen=before)
        self.assertEqual((["/src/a.py"], True), (again["lost"], again["locks_changed"]))
        heard = self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": again["stamp"]})
        self.assertIsInstance(heard, Parked)
        self.assertEqual(([], False), (heard.then().body["lost"], heard.then().body["locks_changed"]))

    def test_what_a_peer_has_again_is_not_told_as_lost(self) -> None:
        self.house.enrol("w1", process="first")
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.post("w1", "/leave")
        self.house.pass_time(20)
        self.house.enrol("w1", process="second")
        self.assertEqual(["/src/a.py"], [lock["file_path"] for lock in self.house.get("w1", "/locks")["locks"]])
        self.assertEqual([], self.house.beat("w1", wait_s=3)["lost"])

    def test_a_peer_that_left_and_acts_again_is_here_again_and_its_last_words_do_not_bring_it_back(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/leave")
        self.house.post("w1", "/hook", event="SessionEnd")
        self.house.post("w1", "/inbox/return", receipts=["R"])
        self.assertEqual("away", self.house.status("w1"))
        self.house.post("w1", "/summary", summary="back")
        self.assertEqual("active", self.house.status("w1"))
        self.house.post("w1", "/leave")
        self.house.post("w1", "/leave")
        self.assertEqual("away", self.house.status("w1"))

    def test_a_beat_never_revives_a_killed_peer(self) -> None:
        self.house.crew("w1")
        seen = self.house.beat("w1")["stamp"]
        waiting = self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": seen})
        self.house.post("arch", "/kill-peer", peer_id="w1")
        with self.assertRaisesRegex(Exception, "ended by arch"):
            waiting.then()
        self.refused(401, "w1", "/heartbeat", code="killed")
        self.assertEqual("killed", self.house.status("w1"))

    def test_what_a_lost_peer_is_granted_afterwards_is_swept_too(self) -> None:
        """Else a claim by a client that never beats would be held for ever."""
        self.house.crew("w1")
        task = self.house.task("arch")
        self.house.pass_time(20, "arch")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(16, "arch")
        self.assertEqual(("dead", "pending"), (self.house.status("w1"), self.house.get("arch", f"/tasks/{task}")["task"]["status"]))

    def test_an_enrolment_that_is_refused_is_no_sign_of_life(self) -> None:
        self.house.crew("w1", "w2")
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.pass_time(14, "arch", "w2")
        self.assertEqual(409, self.house.register("w1", "architect", resume=self.house.resumes["w1"])[0], "the seat is taken")
        self.house.pass_time(2, "arch", "w2")
        self.assertEqual("dead", self.house.status("w1"))
        self.house.post("w2", "/lock", file_path="/src/a.py")

    def test_a_silent_peer_that_enrols_is_not_given_up_by_a_sweep_that_had_seen_its_silence(self) -> None:
        self.house.enrol("w1", process="first")
        self.house.clock.advance(16)
        presence, now = self.house.broker.presence, self.house.broker.clock.monotonic()
        self.assertEqual(["w1"], presence.late(now))
        self.house.broker.write(lambda tx: self.assertTrue(presence.is_late("w1", now)), "")
        self.house.enrol("w1", process="second")
        presence.drop_late("w1", now)
        with self.assertLogs("lattice.broker", "WARNING"):
            self.house.sweep.tick()
        self.assertEqual("active", self.house.status("w1"))
        self.assertIsNotNone(presence.age("w1", now))


class Beats(BrokerCase):
    def test_a_beat_without_git_fields_changes_no_git_fields(self) -> None:
        self.house.enrol("w1")
        self.house.beat("w1", git_branch="main", git_dirty_files="a.py,b.py", git_last_commit="abc")
        self.house.beat("w1")
        self.house.beat("w1", tokens_used=5)
        peer = self.house.get("w1", "/peer/w1")
        self.assertEqual(
            ("main", "a.py,b.py", "abc", 5),
            tuple(peer[name] for name in ("git_branch", "git_dirty_files", "git_last_commit", "tokens_used")),
        )
        self.house.beat("w1", git_branch="fix")
        self.assertEqual(
            ("fix", "a.py,b.py"), (self.house.get("w1", "/peer/w1")["git_branch"], self.house.get("w1", "/peer/w1")["git_dirty_files"])
        )
        self.house.beat("w1", git_dirty_files=[])
        self.assertEqual([], self.house.get("w1", "/peer/w1")["dirty_files"])

    def test_figures_of_a_wrong_type_count_as_not_given(self) -> None:
        self.house.enrol("w1")
        self.house.beat("w1", tokens_used=7)
        self.house.beat("w1", tokens_used="many", errors_count=None, tool_calls_count=[1])
        self.assertEqual(7, self.house.get("w1", "/peer/w1")["tokens_used"])

    def test_a_file_that_was_dirty_for_both_before_is_not_noted_again(self) -> None:
        self.house.crew("w1", "w2")
        self.house.beat("w1", git_dirty_files=["a.py"])
        self.house.beat("w2", git_dirty_files=["a.py"])
        self.house.beat("w1", git_dirty_files=["a.py", "b.py"])
        self.house.beat("w2", git_dirty_files=["a.py", "b.py"])
        files = [
            json.loads(line["details"].partition("] ")[2])["files"]
            for line in self.house.get(PERSON, "/log?last=100")["logs"]
            if line["action"] == "conflict_warning"
        ]
        self.assertEqual([["b.py"], ["a.py"]], files)

    def test_two_peers_with_one_dirty_file_are_noted_once(self) -> None:
        self.house.crew("w1", "w2")
        self.house.beat("w1", git_dirty_files=["a.py", "b.py"])
        for _ in range(3):
            self.house.beat("w2", git_dirty_files=["b.py"])
        warnings = [
            one
            for one in self.house.get(PERSON, "/events?follow=0&limit=1000")["events"]
            if one["data"] and one["data"].get("what") == "conflict_warning"
        ]
        self.assertEqual([(["w1", "w2"], ["b.py"])], [(one["subjects"], one["data"]["files"]) for one in warnings])

    def test_a_beat_tells_of_mail_pause_and_budget(self) -> None:
        self.house.crew("w1", "w2")
        said = self.house.beat("w1")
        self.assertEqual((0, [], False), (said["unread"], said["unread_from"], said["paused"]))
        self.house.send("w2", "w1")
        self.house.send("arch", "w1")
        self.house.post("arch", "/pause", peer_id="w1")
        self.house.post("arch", "/budget", peer_id="w1", token_budget=10, tokens_used=10)
        said = self.house.beat("w1")
        self.assertEqual(
            (2, ["w2", "arch"], True, "arch", True),
            tuple(said[name] for name in ("unread", "unread_from", "paused", "paused_by", "budget_exceeded")),
        )

    def test_a_waiting_beat_is_answered_at_once_on_mail_locks_pause_and_nothing_else(self) -> None:
        self.house.crew("w1", "w2")

        def waits() -> bool:
            return isinstance(
                self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": self.house.broker.presence.stamp("w1")}), Parked
            )

        def wakes() -> bool:
            woke = "beat:w1" in self.house.woken
            self.house.woken.clear()
            return woke

        self.assertTrue(waits())
        wakes()
        for about, act in {
            "mail": lambda: self.house.send("w2", "w1"),
            "a lock": lambda: self.house.post("w2", "/lock", file_path="/src/a.py"),
            "an unlock": lambda: self.house.post("w2", "/unlock", file_path="/src/a.py"),
            "pause": lambda: self.house.post("arch", "/pause", peer_id="w1"),
            "resume": lambda: self.house.post("arch", "/resume", peer_id="w1"),
        }.items():
            seen = self.house.broker.presence.stamp("w1")
            act()
            self.assertTrue(wakes(), about)
            self.assertNotIsInstance(self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": seen}), Parked, about)
        self.house.task("w2")
        self.house.send("w2", "arch")
        self.assertFalse(wakes())

    def test_a_beat_waits_no_longer_than_its_own_interval(self) -> None:
        """Who waits is not heard: a longer wait would look like silence, to the sweep and to a second process."""
        self.house.enrol("w1")
        waiting = self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 60, "seen": self.house.broker.presence.stamp("w1")})
        self.assertEqual(3.0, waiting.wait_s)

    def test_a_stamp_of_the_broker_before_is_old(self) -> None:
        self.house.enrol("w1")
        seen = self.house.beat("w1")["stamp"]
        self.house.restart()
        self.assertNotIsInstance(self.house.raw("w1", "POST", "/heartbeat", {"wait_s": 3, "seen": seen}), Parked)

    def test_a_beat_writes_nothing_when_it_brings_nothing(self) -> None:
        self.house.enrol("w1")
        self.house.beat("w1")
        before = self.house.value("SELECT last_heartbeat FROM peers WHERE id = 'w1'")
        self.house.clock.advance(5)
        self.house.beat("w1")
        self.assertEqual(before, self.house.value("SELECT last_heartbeat FROM peers WHERE id = 'w1'"))
        self.assertGreater(self.house.get("w1", "/peer/w1")["last_heartbeat"], before)  # and yet it is known

    def test_the_beat_of_the_person_is_fine_and_means_nothing(self) -> None:
        self.assertEqual({"ok": True}, self.house.beat(PERSON))


class Leaving(BrokerCase):
    def test_who_leaves_is_away_at_once_and_its_leases_run_to_their_term(self) -> None:
        self.house.crew("w1")
        task = self.house.task("w1")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.post("w1", "/leave")
        self.assertEqual(("away", "w1"), (self.house.status("w1"), self.house.get("arch", f"/tasks/{task}")["task"]["assigned_to"]))
        self.house.pass_time(14, "arch")
        self.assertEqual(1, len(self.house.get("arch", "/locks")["locks"]))
        self.house.pass_time(2, "arch")
        self.assertEqual(
            ([], "pending"), (self.house.get("arch", "/locks")["locks"], self.house.get("arch", f"/tasks/{task}")["task"]["status"])
        )
        self.assertEqual("away", self.house.status("w1"))  # a named one keeps its mailbox

    def test_a_quick_restart_finds_its_task_and_locks(self) -> None:
        self.house.enrol("w1", process="first")
        task = self.house.task("w1")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.post("w1", "/leave", process="first")
        self.house.pass_time(5)
        self.house.enrol("w1", process="second")
        self.house.pass_time(30, "w1")
        self.house.complete("w1", task)

    def test_who_was_asked_for_nothing_leaves_no_trace(self) -> None:
        self.house.enrol("passer-by", named=False)
        self.assertEqual("gone", self.house.post("passer-by", "/leave", forget=True)["status"])
        self.refused(404, PERSON, "/peer/passer-by", method="GET")

    def test_a_named_peer_with_mail_is_not_forgotten_on_leaving(self) -> None:
        self.house.crew("w1")
        self.house.send("arch", "w1")
        self.assertEqual("away", self.house.post("w1", "/leave", forget=True)["status"])
        self.house.enrol("w1")
        self.assertEqual(["hello"], self.house.texts("w1"))

    def test_the_person_never_leaves(self) -> None:
        self.house.crew("w1")
        for body in ({}, {"forget": True}):
            self.house.post(PERSON, "/leave", **body)
            self.assertEqual("active", self.house.status(PERSON))
        self.assertEqual("active", self.house.send("w1", PERSON)["recipient"])


class TheRegister(unittest.TestCase):
    """`Presence` by itself."""

    def test_a_closed_connection_of_an_earlier_beat_says_nothing(self) -> None:
        presence = Presence()
        presence.heard("w1", 100.0, 0.0, 3.0, connection=1)
        presence.heard("w1", 101.0, 0.0, 3.0, connection=2)
        presence.hung_up("w1", 1)
        self.assertEqual(frozenset({"w1"}), presence.beating(101.0))
        presence.hung_up("w1", 2)
        self.assertEqual(frozenset(), presence.beating(101.0))
        presence.heard("w1", 102.0, 0.0, 3.0)
        self.assertEqual(frozenset({"w1"}), presence.beating(102.0))

    def test_a_lock_with_a_term_counts_from_the_later_of_grant_and_last_beat(self) -> None:
        presence = Presence()
        presence.heard("w1", 100.0, 0.0, 3.0)
        presence.granted(7, 105.0)
        self.assertFalse(presence.has_lapsed(7, "w1", 10, 115.0))
        self.assertTrue(presence.has_lapsed(7, "w1", 10, 115.1))
        presence.heard("w1", 112.0, 0.0, 3.0)
        self.assertFalse(presence.has_lapsed(7, "w1", 10, 121.9))

    def test_a_grant_from_before_the_broker_started_gets_a_full_term(self) -> None:
        presence = Presence()
        self.assertFalse(presence.has_lapsed(7, "w1", 10, 5000.0))
        self.assertFalse(presence.has_lapsed(7, "w1", 10, 5010.0))
        self.assertTrue(presence.has_lapsed(7, "w1", 10, 5010.1))
        self.assertFalse(presence.is_open_again(8, 30, 5000.0))
        self.assertTrue(presence.is_open_again(8, 30, 5030.1))

    def test_who_is_forgiven_has_a_full_term(self) -> None:
        presence = Presence()
        presence.heard("w1", 0.0, 0.0, 3.0)
        presence.granted(7, 0.0)
        presence.closed(8, 0.0)
        presence.granted(9, 0.0)  # to one that is not heard at all
        presence.forgive(1000.0)
        self.assertFalse(presence.has_lapsed(9, "w2", 10, 1010.0))
        self.assertEqual([], presence.late(1015.0))
        self.assertEqual(["w1"], presence.late(1015.1))
        self.assertFalse(presence.has_lapsed(7, "w1", 10, 1010.0))
        self.assertFalse(presence.is_open_again(8, 30, 1030.0))


if __name__ == "__main__":
    unittest.main()
