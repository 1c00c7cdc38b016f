"""The person is in all workspaces and may say where; everybody else is where they are."""

from __future__ import annotations

import unittest

from tests.broker.broking import PERSON, BrokerCase


class WhereThePersonActs(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        house = self.house
        house.enrol("arch", "architect", "shop")
        house.enrol("w1", workspace="shop")
        house.enrol("lead", "architect", "mill")
        house.enrol("m1", workspace="mill")

    def heard(self, **message: object) -> list[str]:
        said = self.house.post(PERSON, "/send", category=message.pop("category", "finding"), content="x", **message)
        return said["recipients"]  # type: ignore[no-any-return]

    def test_a_task_a_run_and_a_memory_are_in_the_workspace_that_the_person_names(self) -> None:
        task = self.house.task(PERSON, workspace="mill")
        self.house.post(PERSON, "/tasks/batch", tasks=[{"title": "one"}, {"title": "two"}], workspace="mill")
        self.house.post(PERSON, "/runs", id="spring", name="n", goal="g", workspace="mill")
        self.house.post(PERSON, "/memory", key="k", value="v", workspace="mill")
        self.assertEqual(3, len(self.house.get("m1", "/tasks")["tasks"]))
        self.assertEqual([], self.house.get("w1", "/tasks")["tasks"])
        self.assertEqual(["spring"], [run["id"] for run in self.house.get("m1", "/runs")["runs"]])
        self.assertEqual("v", self.house.get("m1", "/memory?key=k")["value"])
        self.refused(404, "w1", "/memory?key=k", method="GET")
        self.house.post("m1", "/tasks/claim", task_id=task)
        log = self.house.rows("SELECT actor, workspace FROM events WHERE kind = 'task' AND op = 'create_task'")
        self.assertEqual({"actor": PERSON, "workspace": "mill"}, log[0], "in the person's own name")

    def test_the_architect_is_that_of_the_named_workspace_and_all_of_them_where_none_is_named(self) -> None:
        self.assertEqual(["lead"], self.heard(recipient_id="@architect", workspace="mill"))
        self.assertEqual(["arch", "lead"], self.heard(recipient_id="@architect"))
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        self.assertEqual(["lead"], self.heard(recipient_id="@architect"), "there is exactly one")

    def test_mail_to_an_empty_seat_of_the_named_workspace_waits_there(self) -> None:
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        self.assertEqual(["@architect"], self.heard(recipient_id="@architect", workspace="shop"))
        self.house.post(PERSON, "/seat", peer_id="w1")
        self.assertEqual(["x"], self.house.texts("w1"))

    def test_a_broadcast_and_an_error_reach_the_named_workspace_or_all(self) -> None:
        self.assertEqual(["lead", "m1"], self.heard(recipient_id="broadcast", workspace="mill"))
        self.assertEqual(["arch", "lead", "m1", "w1"], self.heard(recipient_id="broadcast"))
        self.assertEqual(["lead", "m1"], self.heard(recipient_id="m1", category="error", workspace="mill"))

    def test_pausing_all_stops_at_the_named_workspace(self) -> None:
        self.assertEqual(2, self.house.post(PERSON, "/pause-all", workspace="mill")["paused_count"])
        self.assertEqual(
            1,
            self.house.post(PERSON, "/pause", peer_id="w1")
            and self.house.value("SELECT COUNT(*) FROM peers WHERE paused AND workspace = 'shop'"),
        )
        self.assertEqual(2, self.house.post(PERSON, "/resume-all", workspace="mill")["resumed_count"])
        self.assertEqual(1, self.house.post(PERSON, "/resume-all")["resumed_count"])

    def test_a_peer_may_name_its_own_workspace_and_no_other(self) -> None:
        self.house.task("w1", workspace="shop")
        for path, body in (
            ("/tasks", {"title": "t"}), ("/tasks/batch", {"tasks": [{"title": "t"}]}), ("/memory", {"key": "k", "value": "v"}),
            ("/runs", {"id": "r", "name": "n"}), ("/send", {"recipient_id": "m1", "category": "finding", "content": "x"}),
        ):  # fmt: skip
            self.refused(403, "w1", path, {**body, "workspace": "mill"}, code="not_your_workspace")
        for path in ("/pause-all", "/resume-all"):
            self.refused(403, "arch", path, {"workspace": "mill"}, code="not_your_workspace")

    def test_the_person_in_the_name_of_a_peer_is_in_that_peers_workspace(self) -> None:
        self.refused(403, PERSON, "/tasks", {"title": "t", "created_by": "m1", "workspace": "shop"}, code="not_your_workspace")
        self.house.task(PERSON, created_by="m1", workspace="mill")


if __name__ == "__main__":
    unittest.main()
