"""Runs: what is kept of one is enough to take it up again. And the turns that a session records for itself."""

from __future__ import annotations

import unittest
from unittest import mock

from lattice.domain import runs
from tests.broker.broking import PERSON, BrokerCase


class Runs(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        house = self.house
        house.crew("w1", "w2")
        house.post("arch", "/runs", id="spring", name="the spring", goal="ship it", success_criteria="all green")
        self.one = house.task("arch", "first", run_id="spring", priority="high")
        self.two = house.task("arch", "second", run_id="spring", blocked_by=[self.one])
        house.post("w1", "/tasks/claim", task_id=self.one)

    def test_a_runs_record_is_enough_to_resume_it(self) -> None:
        """Its tasks with what came of them and what waits for what, the decisions, the mail, the open escalations."""
        house = self.house
        house.post("w1", "/memory", key="port", value="8080", type="decision")
        house.send("w1", "w2", "the port is 8080")
        house.post("w1", "/escalations", kind="blocker", text="which host?", task_id=self.one)
        house.complete("w1", self.one)
        for said in (house.get("w2", "/runs/spring/summary"), house.post("w2", "/runs/spring/resume")):
            self.assertEqual(
                ("ship it", "all green", "active"), tuple(said["run"][name] for name in ("goal", "success_criteria", "status"))
            )
            first, second = said["tasks"]
            self.assertEqual(("completed", "w1", {"summary": "done"}), (first["status"], first["assigned_to"], first["artifacts"]))
            self.assertEqual(("pending", [self.one], str(self.one)), (second["status"], second["depends_on"], second["blocked_by"]))
            self.assertEqual([("port", "8080", "decision")], [(one["key"], one["value"], one["type"]) for one in said["memory"]])
            self.assertIn("the port is 8080", [one["content"] for one in said["recent_messages"]])
            self.assertEqual([("blocker", "which host?")], [(one["kind"], one["text"]) for one in said["escalations"]])
            for words in ("ship it", "all green", f"Free to claim: #{self.two} second", "1 open escalation"):
                self.assertIn(words, said["summary"])

    def test_all_its_tasks_are_counted_and_those_that_are_free_are_named_whatever_is_shown(self) -> None:
        """Also one that waited for a task outside the run."""
        outside = self.house.task("arch", "outside")
        three = self.house.task("arch", "third", run_id="spring", blocked_by=[outside])
        self.assertNotIn("third", self.house.get("w1", "/runs/spring/summary")["summary"])
        self.house.post("w2", "/tasks/claim", task_id=outside)
        self.house.complete("w2", outside)
        with mock.patch.object(runs, "SHOWN_TASKS", 1):
            said = self.house.get("w1", "/runs/spring/summary")
        self.assertEqual(([self.one], {"in_progress": 1, "pending": 2}), ([task["id"] for task in said["tasks"]], said["counts"]))
        self.assertIn(f"Free to claim: #{three} third", said["summary"])

    def test_tasks_and_messages_made_inside_a_run_carry_its_id(self) -> None:
        self.house.send("w1", "w2", "inside")
        self.house.send("w2", "w1", "outside")
        said = self.house.get("w1", "/runs/spring")
        self.assertEqual(([self.one, self.two], 1), ([task["id"] for task in said["tasks"]], said["message_count"]))

    def test_an_unknown_run_in_a_new_task_makes_the_run_and_a_bad_id_does_not(self) -> None:
        self.house.task("w1", run_id="autumn")
        self.assertEqual("autumn", self.house.get("w1", "/runs/autumn")["run"]["name"])
        self.refused(400, "w1", "/tasks", {"title": "x", "run_id": "no good"})

    def test_an_id_that_is_there_is_changed_only_on_purpose(self) -> None:
        self.refused(409, "w1", "/runs", {"id": "spring", "name": "again"})
        self.assertEqual("paused", self.house.post("w1", "/runs", id="spring", status="paused")["status"])
        self.house.post("w1", "/runs", id="spring", goal="ship it soon")
        self.assertEqual(
            ("ship it soon", "paused"), tuple(self.house.get("w1", "/runs/spring")["run"][name] for name in ("goal", "status"))
        )
        self.refused(400, "w1", "/runs", {"id": "spring", "status": "odd"})
        self.refused(400, "w1", "/runs", {"id": "new one", "name": "x"})
        self.refused(400, "w1", "/runs", {"id": "new"})

    def test_resuming_a_paused_run_makes_it_active_and_a_finished_one_is_only_read(self) -> None:
        for status, after in (("paused", "active"), ("completed", "completed"), ("failed", "failed")):
            self.house.post("arch", "/runs", id="spring", status=status)
            self.assertEqual(after, self.house.post("w1", "/runs/spring/resume")["run"]["status"])
        self.refused(404, "w1", "/runs/nowhere/resume")

    def test_runs_are_listed_newest_first_and_by_status(self) -> None:
        self.house.clock.advance(1)
        self.house.post("w1", "/runs", id="autumn", name="a", status="paused")
        self.assertEqual(["autumn", "spring"], [run["id"] for run in self.house.get("w1", "/runs")["runs"]])
        self.assertEqual(["autumn"], [run["id"] for run in self.house.get("w1", "/runs?status=paused")["runs"]])

    def test_an_export_has_the_events_of_the_run_in_order(self) -> None:
        events = self.house.get("w1", "/runs/spring/export")["events"]
        self.assertEqual({"spring"}, {one["run_id"] for one in events})
        self.assertEqual(sorted(one["seq"] for one in events), [one["seq"] for one in events])
        self.assertLessEqual({"run", "task", "dependency"}, {one["kind"] for one in events})


class Turns(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")
        for number in range(4):
            self.house.post("w1", "/conversation", turn_type="user", content=f"turn {number}")

    def test_the_last_turns_come_in_the_order_they_were_said(self) -> None:
        said = self.house.get("w1", "/conversation/w1?last=2")["conversation"]
        self.assertEqual(["turn 2", "turn 3"], [one["content"] for one in said])
        self.assertEqual({"id", "peer_id", "turn_type", "content", "timestamp"}, set(said[0]))

    def test_ones_own_and_others_only_for_who_leads(self) -> None:
        for who in ("arch", PERSON):
            self.assertEqual(4, len(self.house.get(who, "/conversation/w1")["conversation"]))
        said = self.refused(403, "w2", "/conversation/w1", method="GET")
        self.assertEqual("can only view your own conversation (or be architect)", said["error"])
        self.refused(403, "w2", "/conversation/w1?requester=w1", method="GET", code="not_you")

    def test_a_turn_is_of_one_of_the_kinds(self) -> None:
        self.refused(400, "w1", "/conversation", {"turn_type": "thought", "content": "x"})
        self.refused(400, "w1", "/conversation", {"turn_type": "user"})

    def test_who_is_forgotten_leaves_no_turns(self) -> None:
        self.house.post(PERSON, "/unregister", peer_id="w1")
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM conversations"))


if __name__ == "__main__":
    unittest.main()
