"""Rates, the automatic pause, and pause itself: enforced by the broker, whatever a session's own server does."""

from __future__ import annotations

import unittest

from tests.broker.broking import PERSON, BrokerCase

BAD = {"recipient_id": "w2", "category": "finding", "content": "<tool_use>"}


class Rates(BrokerCase):
    rate = 3

    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def test_more_than_the_rate_in_any_minute_is_429_that_says_when(self) -> None:
        for _ in range(3):
            self.house.send("w1", "w2", f"number {_}")
            self.house.clock.advance(10)
        said = self.refused(429, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "x"})
        self.assertEqual(30, said["retry_after_s"])
        self.house.clock.advance(29.9)
        self.refused(429, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "x"})
        self.house.clock.advance(0.1)
        self.house.send("w1", "w2", "now it is well")

    def test_one_peers_rate_is_not_anothers(self) -> None:
        for number in range(3):
            self.house.send("w1", "w2", f"number {number}")
            self.house.send("w2", "w1", f"number {number}")

    def test_mail_escalations_and_turns_have_buckets_of_their_own(self) -> None:
        for number in range(3):
            self.house.send("w1", "w2", f"number {number}")
            self.house.post("w1", "/escalations", kind="blocker", text=f"number {number}")
            self.house.post("w1", "/conversation", turn_type="user", content=f"number {number}")
        self.refused(429, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "x"})
        self.refused(429, "w1", "/escalations", {"kind": "blocker", "text": "x"})
        self.refused(429, "w1", "/conversation", {"turn_type": "user", "content": "x"})

    def test_the_person_is_bound_by_neither_rate_nor_filter(self) -> None:
        for number in range(10):
            self.house.send(PERSON, "w2", f"<tool_use> {number}")

    def test_turns_recorded_too_fast_do_not_count_towards_the_pause(self) -> None:
        for _ in range(40):
            self.house.ask("w1", "POST", "/conversation", {"turn_type": "user", "content": "x"})
        peer = self.house.get(PERSON, "/peer/w1")
        self.assertEqual((False, 0), (peer["paused"], peer["rejections_count"]))


class TheAutomaticPause(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def reject(self, times: int, every_s: float = 0.0) -> None:
        for _ in range(times):
            self.refused(422, "w1", "/send", BAD, code="rejected")
            self.house.clock.advance(every_s)

    def test_the_twentieth_rejection_pauses_and_is_logged_and_says_why(self) -> None:
        self.reject(19)
        self.assertFalse(self.house.beat("w1")["paused"])
        self.reject(1)
        said = self.refused(403, "w1", "/send", BAD, code="paused")
        self.assertIn("too many rejected messages", said["paused_by"])
        peer = self.house.get(PERSON, "/peer/w1")
        self.assertEqual((True, 20, "content_blocked"), (peer["paused"], peer["rejections_count"], peer["last_stop_reason"]))
        self.assertEqual(20, self.house.value("SELECT COUNT(*) FROM events WHERE op = 'rejected' AND kind = 'note'"))

    def test_a_rejection_is_forgotten_after_an_hour(self) -> None:
        self.reject(60, every_s=190)  # nineteen in any hour, for three hours
        self.assertFalse(self.house.beat("w1")["paused"])
        self.reject(2)
        self.assertTrue(self.house.beat("w1")["paused"])

    def test_resume_clears_them(self) -> None:
        self.reject(20)
        self.house.post("arch", "/resume", peer_id="w1")
        self.reject(19)
        self.assertFalse(self.house.beat("w1")["paused"])
        self.assertEqual(19, self.house.get(PERSON, "/peer/w1")["rejections_count"])
        self.reject(1)
        self.assertTrue(self.house.beat("w1")["paused"])

    def test_refusals_for_other_reasons_do_not_count(self) -> None:
        for _ in range(30):
            self.refused(404, "w1", "/send", {"recipient_id": "nobody", "category": "finding", "content": "x"})
            self.refused(413, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "x" * 10_241})
        self.assertEqual(0, self.house.get(PERSON, "/peer/w1")["rejections_count"])

    def test_a_rejection_names_the_rule_and_the_place(self) -> None:
        said = self.refused(422, "w1", "/send", {**BAD, "content": "look: <tool_use>"})
        self.assertEqual(("markup", 6), (said["rule"], said["place"]))
        self.assertIn("markup", said["error"])
        self.assertTrue(said["hint"])

    def test_tasks_memory_summaries_and_artifacts_know_only_the_markup_rules(self) -> None:
        path = "see /a/b/c/d/e/f.py and data:text/plain;base64,QUJD"
        self.refused(422, "w1", "/send", {**BAD, "content": path})
        task = self.house.task("w1", path, description=path)
        self.house.post("w1", "/memory", key="k", value=path)
        self.house.post("w1", "/summary", summary=path)
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.post("w1", "/tasks/complete", task_id=task, artifacts={"summary": path, "files_touched": [path]})
        for where, body in {
            "/tasks": {"title": "<tool_use>"},
            "/tasks/batch": {"tasks": [{"title": "x", "description": "<tool_use>"}]},
            "/memory": {"key": "k", "value": "<tool_use>"},
            "/summary": {"summary": "<tool_use>"},
            "/runs": {"id": "r", "name": "r", "goal": "<tool_use>"},
            "/lock": {"file_path": "/a", "reason": "<tool_use>"},
            f"/tasks/{task}/fail": {"reason": "<tool_use>"},
            "/escalations": {"kind": "blocker", "text": "<tool_use>"},
        }.items():
            self.refused(422, "w1", where, body, code="rejected")
        self.house.post("w1", "/conversation", turn_type="tool_call", content="<tool_use>")  # the record of tool calls themselves

    def test_paths_below_the_folders_of_live_peers_are_daily_speech(self) -> None:
        body = {"recipient_id": "w2", "category": "finding", "content": "see /home/me/secret/b/c/d/e/main.py"}
        self.refused(422, "w1", "/send", body)
        self.house.enrol("w3", working_dir="/home/me/secret")
        self.house.post("w1", "/send", **body)


class Pausing(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def test_pause_all_pauses_all_but_the_caller_and_resume_all_resumes_them(self) -> None:
        self.house.enrol("far", workspace="bank")
        self.assertEqual(2, self.house.post("arch", "/pause-all")["paused_count"])
        self.assertEqual(
            [True, True, False, False], [self.house.get(PERSON, f"/peer/{id}")["paused"] for id in ("w1", "w2", "arch", "far")]
        )
        self.assertEqual(2, self.house.post("arch", "/resume-all")["resumed_count"])
        self.assertEqual(4, self.house.post(PERSON, "/pause-all")["paused_count"])

    def test_an_architect_pauses_nobody_of_another_workspace_whatever_it_asks_for(self) -> None:
        self.house.enrol("far", workspace="bank")
        self.assertEqual(2, self.house.post("arch", "/pause-all", everywhere=True)["paused_count"])
        self.assertFalse(self.house.get(PERSON, "/peer/far")["paused"])
        for path in ("/pause", "/resume", "/config", "/budget", "/kill-peer", "/unregister", "/ping"):
            self.refused(403, "arch", path, {"peer_id": "far"})

    def test_nobody_pauses_kills_or_budgets_the_person(self) -> None:
        self.house.enrol("plain", "architect", "")
        for path in ("/pause", "/kill-peer", "/unregister", "/budget", "/config"):
            self.refused(403, "plain", path, {"peer_id": PERSON})
        self.assertEqual("active", self.house.status(PERSON))

    def test_a_pause_outlives_a_restart_and_a_new_enrolment(self) -> None:
        self.house.post("arch", "/pause", peer_id="w1")
        self.house.restart()
        self.refused(403, "w1", "/tasks", {"title": "x"}, code="paused")
        self.house.enrol("w1")
        self.refused(403, "w1", "/tasks", {"title": "x"}, code="paused")

    def test_a_budget_stops_claims_and_can_be_lifted(self) -> None:
        task = self.house.task("arch")
        self.assertTrue(self.house.post("arch", "/budget", peer_id="w1", token_budget=100, tokens_used=100)["budget_exceeded"])
        said = self.refused(403, "w1", "/tasks/claim", {"task_id": task}, code="budget_exceeded")
        self.assertIn("(100/100 tokens)", said["error"])
        self.house.post("arch", "/budget", peer_id="w1", token_budget=-1)
        self.house.post("w1", "/tasks/claim", task_id=task)

    def test_a_beats_figure_counts_against_the_budget(self) -> None:
        self.house.post("arch", "/budget", peer_id="w1", token_budget=100)
        self.assertNotIn("budget_exceeded", self.house.beat("w1", tokens_used=99))
        self.assertTrue(self.house.beat("w1", tokens_used=100)["budget_exceeded"])


if __name__ == "__main__":
    unittest.main()
