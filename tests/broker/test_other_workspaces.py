"""Workspaces: one broker for all repositories of the user, and what is one's own stays there.

`everywhere` crosses lists of peers, tasks, locks, memory and runs. It never crosses mail, turns or what may be changed.
"""

from __future__ import annotations

import json
import unittest

from tests.broker.broking import PERSON, BrokerCase

MARK = "only-of-the-bank"
LISTS = ("/peers", "/tasks", "/locks", "/memory", "/runs", "/escalations", f"/search?q={MARK}")


class TwoWorkspaces(BrokerCase):
    """The shop's peers arch and w1 look at what the bank's b1 and its architect have."""

    def setUp(self) -> None:
        super().setUp()
        house = self.house
        house.crew("w1")
        house.enrol("barch", "architect", "bank")
        house.enrol("b1", workspace="bank", summary=MARK)
        self.mail = house.send("b1", "barch", MARK)["message_id"]
        house.send(PERSON, "b1", MARK)
        house.post("b1", "/runs", id="bank-run", name=MARK)
        self.task = house.task("b1", MARK, run_id="bank-run")
        house.post("b1", "/memory", key="bank-key", value=MARK)
        house.post("b1", "/lock", file_path="/bank/" + MARK)
        house.post("b1", "/conversation", turn_type="user", content=MARK)
        self.asked = house.post("b1", "/escalations", kind="blocker", text=MARK)["escalation_id"]

    def test_nothing_of_another_workspace_shows_in_what_is_ones_own(self) -> None:
        for who in ("w1", "arch"):
            for path in (
                *LISTS,
                "/state",
                "/events?follow=0&limit=1000",
                "/inbox/peek",
                "/conversation/" + who,
                "/messages-for/" + who,
                "/capsule",
                "/locks/held",
            ):
                self.assertNotIn(MARK, json.dumps(self.house.get(who, path)), f"{who} {path}")
        for path in ("/messages-all?everywhere=1", "/log"):
            self.assertNotIn(MARK, json.dumps(self.house.get("arch", path)), path)

    def test_nor_by_its_number_or_name(self) -> None:
        for who in ("w1", "arch"):
            for path in (
                "/peer/b1",
                f"/tasks/{self.task}",
                "/memory?key=bank-key",
                "/runs/bank-run",
                "/runs/bank-run/summary",
                "/runs/bank-run/export",
                f"/receipts/{self.mail}",
            ):
                self.refused(404, who, path, method="GET")
            for path in ("/messages-for/b1", "/conversation/b1", "/inbox/peek?peer_id=b1", "/messages/b1"):
                self.refused(403, who, path, method="GET")
            self.assertEqual([], self.house.get(who, "/memory/history?key=bank-key")["history"])

    def test_everywhere_crosses_lists_and_never_mail(self) -> None:
        for path in ("/peers?everywhere=1", "/tasks?everywhere=1", "/locks?everywhere=1", "/memory?everywhere=1", "/runs?everywhere=1"):
            self.assertIn(MARK, json.dumps(self.house.get("w1", path)), path)
        for who in ("w1", "arch"):
            kinds = {one["kind"] for one in self.house.get(who, f"/search?q={MARK}&everywhere=1")["results"]}
            self.assertEqual({"task", "memory"}, kinds)

    def test_nothing_of_another_workspace_is_changed(self) -> None:
        for who in ("w1", "arch"):
            for path, body in {
                "/tasks/claim": {"task_id": self.task},
                f"/tasks/{self.task}/edit": {"title": "x"},
                f"/tasks/{self.task}/cancel": {},
                f"/tasks/{self.task}/depend": {"add": []},
                "/runs/bank-run/resume": {},
                "/send": {"recipient_id": "barch", "category": "finding", "content": "x", "run_id": "bank-run"},
                "/escalations": {"kind": "blocker", "text": "x", "task_id": self.task},
            }.items():
                self.refused(404, who, path, body)
            self.refused(400, who, "/tasks", {"title": "x", "blocked_by": [self.task]})
            self.refused(409, who, "/runs", {"id": "bank-run", "name": "x", "status": "failed"}, code="id_taken")
            self.refused(409, who, "/tasks", {"title": "x", "run_id": "bank-run"}, code="id_taken")
        self.refused(404, "arch", f"/tasks/{self.task}/assign", {"peer_id": "w1"})
        self.refused(403, "arch", f"/escalations/{self.asked}/resolve", {"verdict": "answer"})
        self.refused(403, "arch", "/unlock", {"file_path": "/bank/" + MARK})
        self.house.post("w1", "/memory", key="bank-key", value="the shop's own")
        self.assertEqual(MARK, self.house.get("b1", "/memory?key=bank-key")["value"])

    def test_the_person_is_in_all(self) -> None:
        for path in (
            *LISTS,
            f"/tasks/{self.task}",
            "/peer/b1",
            "/runs/bank-run",
            "/messages-all",
        ):
            self.assertIn(MARK, json.dumps(self.house.get(PERSON, path)), path)
        self.house.post(PERSON, f"/tasks/{self.task}/edit", title="edited")

    def test_ids_are_global_and_so_is_mail_to_a_name(self) -> None:
        self.house.send("w1", "b1", "across")
        self.assertIn("across", self.house.texts("b1"))
        self.house.send("arch", "broadcast", "in the shop")
        self.assertNotIn("in the shop", self.house.texts("b1"))
        self.assertEqual(["in the shop"], self.house.texts("w1"))

    def test_who_was_given_a_task_across_sees_it(self) -> None:
        self.house.post(PERSON, f"/tasks/{self.task}/assign", peer_id="w1")
        self.house.post("w1", "/tasks/claim", task_id=self.task)
        self.house.get("w1", f"/tasks/{self.task}")
        self.house.complete("w1", self.task)

    def test_at_architect_means_ones_own_and_the_persons_mean_all_who_are_seated(self) -> None:
        self.assertEqual(["barch"], self.house.send("b1", "@architect", "help")["recipients"])
        self.assertEqual(["arch"], self.house.send("w1", "@architect", "help")["recipients"])
        self.assertEqual(["arch", "barch"], self.house.send(PERSON, "@architect", "good morning")["recipients"])


if __name__ == "__main__":
    unittest.main()
