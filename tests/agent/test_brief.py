"""What a session is shown of long lists: short, and never cut in silence."""

from __future__ import annotations

import json
import unittest
from typing import Any

from lattice.agent import brief
from tests.running import Broker, Session


def task(number: int, **more: Any) -> dict[str, Any]:
    """A row as the broker answers it."""
    row = {
        "id": number, "title": f"task {number}", "description": "", "status": "pending", "priority": "medium", "created_by": "arch",
        "assigned_to": None, "reserved_for": None, "needs_review": False, "attempts": 0, "artifacts": "", "note": "", "run_id": None,
        "workspace": "shop", "created_at": 1795885103.2129188, "updated_at": 1795885103.2129188, "blocked_by": "", "depends_on": [],
        "claimable": False,
    }  # fmt: skip
    return {**row, **more}


class Lists(unittest.TestCase):
    def test_a_row_says_what_it_has_to_say_and_no_more(self) -> None:
        said = brief.shaped("list_tasks", {"tasks": [task(1, claimable=True), task(2, blocked_by="1", depends_on=[1])], "more": False})
        self.assertEqual(
            {
                "tasks": [
                    {"id": 1, "title": "task 1", "status": "pending", "priority": "medium", "created_by": "arch", "assigned_to": None,
                     "claimable": True},
                    {"id": 2, "title": "task 2", "status": "pending", "priority": "medium", "created_by": "arch", "assigned_to": None,
                     "blocked_by": "1", "depends_on": [1], "claimable": False},
                ],
                "more": False,
            },
            said,
        )  # fmt: skip

    def test_what_fits_is_whole(self) -> None:
        artifacts = json.dumps({"summary": "s" * 500, "files_touched": ["a.py"]})
        (row,) = brief.shaped("list_tasks", {"tasks": [task(1, description="d" * 1500, artifacts=artifacts)]})["tasks"]
        self.assertEqual(("d" * 1500, artifacts), (row["description"], row["artifacts"]))

    def test_however_long_it_is_it_stays_in_bounds_and_says_how_to_see_the_rest(self) -> None:
        artifacts = json.dumps({"summary": "s" * 5000, "files_touched": ["a.py"] * 100})
        for count, longest in ((40, 400), (200, 100)):
            said = brief.shaped("list_tasks", {"tasks": [task(one, description="d" * 9000, artifacts=artifacts) for one in range(count)]})
            self.assertEqual(count, len(said["tasks"]))
            self.assertLessEqual(len(json.dumps(said)), 1.6 * brief.BYTES)
            self.assertIn("get_task", said["cut"])
            for row in said["tasks"]:
                self.assertLessEqual(len(row.get("description", "")), longest)
                self.assertLessEqual(set(json.loads(row.get("artifacts") or "{}")), {"summary"})

    def test_one_thing_is_never_cut(self) -> None:
        whole = {"key": "k", "value": "v" * 50_000}
        self.assertEqual(whole, brief.shaped("get_memory", whole))
        self.assertEqual({"task": task(1)}, brief.shaped("get_task", {"task": task(1)}))

    def test_lists_that_are_empty_are_said_to_be(self) -> None:
        self.assertEqual({"tasks": []}, brief.shaped("list_tasks", {"tasks": []}))
        self.assertEqual({"locks": []}, brief.shaped("list_locks", {"locks": [], "queue": []}))


class AtASession(unittest.TestCase):
    def test_a_day_of_tasks_and_memory_costs_a_session_little(self) -> None:
        broker = self.enterContext(Broker())
        session = self.enterContext(Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID="arch", PEER_ROLE="architect"))
        for part in range(3):
            batch = [{"title": f"part {part}.{one}", "description": "what has to be done. " * 60} for one in range(40)]
            session.call("create_task", tasks=batch, run_id="day")
        for key in range(30):
            session.call("set_memory", key=f"k{key}", value="what was decided. " * 200)
        for tool, arguments in (("list_tasks", {}), ("get_memory", {}), ("resume_run", {"run_id": "day"})):
            with self.subTest(tool):
                result = session.result(tool, **arguments)
                self.assertLess(len(result["content"][0]["text"].encode()), 2 * brief.BYTES)
                self.assertEqual(result["structuredContent"], json.loads(result["content"][0]["text"]))
                self.assertIn("cut", result["structuredContent"])
        self.assertEqual(3600, len(session.call("get_memory", key="k3")["value"]))


if __name__ == "__main__":
    unittest.main()
