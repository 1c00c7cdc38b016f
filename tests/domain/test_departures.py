"""Departures: one place lets go of what a peer held. Said once, whoever says it, however often."""

from __future__ import annotations

import ast
import os
import unittest

from lattice import domain
from lattice.domain import departures
from lattice.domain.caller import BROKER
from tests.broker.broking import PERSON, BrokerCase


class LettingGo(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        house = self.house
        house.crew("w1", "w2")
        house.post(PERSON, "/seat", peer_id="w1")
        self.task, self.reserved = house.task("arch"), house.task("arch")
        house.post("w1", "/tasks/claim", task_id=self.task)
        house.post(PERSON, f"/tasks/{self.reserved}/assign", peer_id="w1")
        house.post("w1", "/lock", file_path="/src/a.py")
        house.post("w1", "/lock", file_path="/src/b.py", shared=True)
        house.send("w2", "w1")
        self.offered = house.take("w1")

    def let_go(self) -> dict[str, object]:
        return self.house.broker.write(lambda tx: departures.let_go(tx, BROKER, "w1", "tested"), "test")  # type: ignore[no-any-return]

    def test_it_says_what_it_released(self) -> None:
        released = self.let_go()
        self.assertEqual(
            ([self.task], ["/src/a.py", "/src/b.py"], ["shop"], 2), tuple(released[name] for name in ("tasks", "locks", "seats", "offers"))
        )

    def test_it_is_idempotent(self) -> None:
        self.let_go()
        newest = self.house.value("SELECT MAX(seq) FROM events")
        self.assertEqual({"tasks": [], "locks": [], "seats": [], "offers": 0}, self.let_go())
        self.assertEqual(newest, self.house.value("SELECT MAX(seq) FROM events"))

    def test_afterwards_nothing_is_held(self) -> None:
        self.let_go()
        for sql in (
            "SELECT COUNT(*) FROM tasks WHERE assigned_to = 'w1' OR reserved_for = 'w1'",
            "SELECT COUNT(*) FROM locks WHERE peer_id = 'w1'",
            "SELECT COUNT(*) FROM seats",
            "SELECT COUNT(*) FROM deliveries WHERE recipient = 'w1' AND state = 'offered'",
            "SELECT COUNT(*) FROM receipts WHERE recipient = 'w1' AND ended_at IS NULL",
            "SELECT COUNT(*) FROM lock_queue WHERE peer_id = 'w1'",
        ):
            self.assertEqual(0, self.house.value(sql), sql)

    def test_the_sweep_kill_and_unregister_let_go_of_the_same(self) -> None:
        self.house.pass_time(16, "arch", "w2")
        self.test_afterwards_nothing_is_held()
        note = self.house.rows("SELECT data FROM events WHERE kind = 'note' AND data LIKE '%departed%'")
        self.assertEqual(1, len(note))

    def test_a_kill_says_how_many_and_twice_is_as_well(self) -> None:
        said = self.house.post(PERSON, "/kill-peer", peer_id="w1")
        self.assertEqual((2, 1), (said["locks_released"], said["tasks_unassigned"]))
        said = self.house.post(PERSON, "/kill-peer", peer_id="w1")
        self.assertEqual((0, 0), (said["locks_released"], said["tasks_unassigned"]))
        self.assertEqual(1, self.house.value("SELECT COUNT(*) FROM messages WHERE content LIKE '[KILL]%'"))

    def test_who_is_forgotten_is_forgotten_once(self) -> None:
        self.house.post(PERSON, "/unregister", peer_id="w1")
        self.refused(404, PERSON, "/unregister", {"peer_id": "w1"})
        self.refused(404, PERSON, "/kill-peer", {"peer_id": "w1"})
        self.assertEqual("arch", self.house.get("arch", f"/tasks/{self.task}")["task"]["created_by"])

    def test_the_architect_hears_of_work_that_is_open_again(self) -> None:
        self.house.post(PERSON, "/seat", peer_id="arch")
        self.house.pass_time(16, "arch", "w2")
        self.assertIn(f"w1 is gone; open again: #{self.task}", self.house.texts("arch"))

    def test_without_an_architect_whoever_made_the_work_hears(self) -> None:
        self.house.pass_time(16, "arch", "w2")  # the architect was w1 itself
        self.assertEqual([f"w1 is gone; open again: #{self.task}"], self.house.texts("arch"))
        self.assertEqual([], [text for text in self.house.texts("w2") if "gone" in text])

    def test_no_other_place_lets_go(self) -> None:
        """Outside of departures (and of a session's own ways to adopt), nobody calls the parts of it."""
        allowed = {"departures.py", "adoptions.py"}
        folder = os.path.dirname(os.path.dirname(os.path.abspath(domain.__file__ or "")))
        for top, _, names in os.walk(folder):
            for name in names:
                if name.endswith(".py") and name not in allowed:
                    with open(os.path.join(top, name), encoding="utf-8") as file:
                        tree = ast.parse(file.read())
                    for node in ast.walk(tree):
                        if isinstance(node, ast.Attribute) and node.attr in ("let_go", "vacate") and isinstance(node.value, ast.Name):
                            self.assertEqual("departures", node.value.id, f"{name}:{node.lineno}")


if __name__ == "__main__":
    unittest.main()
