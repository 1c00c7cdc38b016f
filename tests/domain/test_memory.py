"""Memory: nothing is overwritten without a trace, versions grow by one, and who knows only the old value is refused."""

from __future__ import annotations

import unittest
from functools import partial
from typing import Any

from tests.broker.broking import BrokerCase, at_once


class OfMemory(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def put(self, who: str = "w1", key: str = "port", value: str = "8080", **more: Any) -> int:
        return int(self.house.post(who, "/memory", key=key, value=value, **more)["version"])

    def test_a_value_is_never_overwritten_without_a_history_row(self) -> None:
        for number in range(4):
            self.put("w1" if number % 2 else "w2", value=f"v{number}", type="decision", confidence="low")
        history = self.house.get("w1", "/memory/history?key=port")["history"]
        self.assertEqual(
            [("v3", 4, "w1"), ("v2", 3, "w2"), ("v1", 2, "w1"), ("v0", 1, "w2")],
            [(one["value"], one["version"], one["peer_id"]) for one in history],
        )
        self.assertEqual(history, self.house.get("w1", "/memory?key=port&history=1")["history"])
        self.assertEqual([], self.house.get("w1", "/memory/history?key=nothing")["history"])

    def test_versions_grow_by_one_also_when_the_value_is_the_same(self) -> None:
        self.assertEqual([1, 2, 3], [self.put() for _ in range(3)])

    def test_a_write_that_names_an_old_version_is_refused_with_the_newer_value(self) -> None:
        self.put(value="old")
        self.put("w2", value="new", expect_version=1)
        said = self.refused(409, "w1", "/memory", {"key": "port", "value": "mine", "expect_version": 1}, code="version_conflict")
        self.assertEqual((2, "new", True), (said["version"], said["value"], "w2" in said["error"]))
        self.assertEqual(3, self.put(value="merged", expect_version=2))

    def test_to_expect_version_0_is_to_expect_nothing_there(self) -> None:
        self.assertEqual(1, self.put(expect_version=0))
        self.refused(409, "w2", "/memory", {"key": "port", "value": "x", "expect_version": 0})
        self.refused(409, "w2", "/memory", {"key": "other", "value": "x", "expect_version": 3})

    def test_of_eight_who_expect_one_version_one_writes(self) -> None:
        self.put()
        for version in range(1, 10):
            bodies = ({"key": "port", "value": str(number), "expect_version": version} for number in range(8))
            got = at_once(*(partial(self.house.ask, "w1", "POST", "/memory", body) for body in bodies))
            self.assertEqual([200] + [409] * 7, sorted(status for status, _ in got))

    def test_type_and_confidence_come_from_their_lists(self) -> None:
        self.put()
        value = self.house.get("w1", "/memory?key=port")
        self.assertEqual(("fact", "high"), (value["type"], value["confidence"]))
        for body in ({"type": "rumour"}, {"confidence": "total"}, {"type": 5}):
            self.refused(400, "w1", "/memory", {"key": "port", "value": "x", **body})
        for missing in (
            {"key": "port"},
            {"value": "x"},
            {"key": " ", "value": "x"},
            {"key": "port", "value": ""},
            {"key": "a\nb", "value": "x"},
        ):
            self.refused(400, "w1", "/memory", missing)

    def test_lists_are_newest_first_and_by_type(self) -> None:
        for number, type in enumerate(("fact", "decision", "fact")):
            self.house.clock.advance(1)
            self.put(key=f"k{number}", type=type)
        self.assertEqual(["k2", "k1", "k0"], [one["key"] for one in self.house.get("w2", "/memory")["memory"]])
        self.assertEqual(["k1"], [one["key"] for one in self.house.get("w2", "/memory?type=decision")["memory"]])
        self.assertEqual("key 'nothing' not found", self.refused(404, "w1", "/memory?key=nothing", method="GET")["error"])

    def test_one_value_says_what_it_supersedes_and_of_which_run_it_is(self) -> None:
        task = self.house.task("w1", run_id="r")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.put(supersedes="old-port")
        value = self.house.get("w2", "/memory?key=port")
        self.assertEqual(("old-port", "r"), (value["supersedes"], value["run_id"]))


if __name__ == "__main__":
    unittest.main()
