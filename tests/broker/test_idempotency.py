"""Every write takes a key: repeated with it, it is done once and answered alike. Every write is in the log."""

from __future__ import annotations

import json
import unittest
from typing import Any

from tests.broker.broking import PERSON, WRITES, BrokerCase, House
from tests.broker.examples import EXAMPLES, KEEPING


class EveryWrite(BrokerCase):
    def fresh(self) -> House:
        """A broker of its own for each operation."""
        self.house.close()
        self.setUp()
        self.house.crew("w1", "w2")
        return self.house

    def ask(self, house: House, made: tuple[str, str, dict[str, Any]], key: str = "") -> tuple[int, dict[str, Any]]:
        who, path, body = made
        if path.startswith("GET "):
            return house.ask(who, "GET", path[4:] + (f"?idempotency_key={key}" if key else ""))
        return house.ask(who, "POST", path, {**body, **({"idempotency_key": key} if key else {})})

    def test_the_examples_are_whole(self) -> None:
        self.assertEqual({operation.name for operation in WRITES} - {"register"}, set(EXAMPLES))

    def test_each_write_repeated_with_its_key_is_done_once_and_answered_alike(self) -> None:
        for name, prepare in EXAMPLES.items():
            with self.subTest(operation=name):
                house = self.fresh()
                made = prepare(house)
                status, first = self.ask(house, made, "key-1")
                self.assertEqual(200, status, first)
                before = self.tables(house)
                status, second = self.ask(house, made, "key-1")
                self.assertEqual((200, {**first, "repeated": True}), (status, second))
                self.assertEqual(before, self.tables(house))

    def test_a_key_used_for_another_call_is_refused(self) -> None:
        house = self.fresh()
        house.task("w1", "one", idempotency_key="k")
        self.refused(409, "w1", "/tasks", {"title": "two", "idempotency_key": "k"}, code="key_reused")
        self.refused(409, "w1", "/memory", {"key": "a", "value": "b", "idempotency_key": "k"}, code="key_reused")

    def test_a_key_is_its_callers_own(self) -> None:
        house = self.fresh()
        self.assertNotEqual(house.task("w1", "one", idempotency_key="k"), house.task("w2", "one", idempotency_key="k"))

    def test_a_refused_call_leaves_its_key_free(self) -> None:
        house = self.fresh()
        self.refused(404, "w1", "/send", {"recipient_id": "w3", "category": "finding", "content": "x", "idempotency_key": "k"})
        house.enrol("w3")
        house.send("w1", "w3", "x", idempotency_key="k")

    def test_a_take_that_is_repeated_shows_only_what_is_still_offered(self) -> None:
        """Else a session whose first answer was lost is shown a message twice, the second time without a mark."""
        house = self.fresh()
        house.send("w1", "w2", "one")
        for path, body in (("/inbox/take", {}), ("/hook", {"event": "PostToolUse", "max": 5})):
            [first] = house.post("w2", path, **body, idempotency_key=path)["messages"]
            self.assertEqual([first], house.post("w2", path, **body, idempotency_key=path)["messages"])
            house.post("w2", "/inbox/return", receipts=[first["receipt"]])
            self.assertEqual([], house.post("w2", path, **body, idempotency_key=path)["messages"])
        [again] = house.take("w2")
        self.assertEqual((first["id"], 2), (again["id"], again["redelivered"]))

    def test_what_was_shown_to_the_person_is_shown_again_to_who_asks_again(self) -> None:
        house = self.fresh()
        house.send("w1", PERSON, "one")
        taken = [house.post(PERSON, "/inbox/take", idempotency_key="k")["messages"] for _ in range(2)]
        self.assertEqual(taken[0], taken[1])

    def test_a_call_whose_caller_hung_up_is_not_done_after_its_repeat_was_refused(self) -> None:
        house = self.fresh()
        house.post("w2", "/lock", file_path="/src/a.py")
        call = {"file_path": "/src/a.py", "idempotency_key": "k"}
        self.refused(409, "w1", "/lock", call, code="locked")
        house.post("w2", "/unlock", file_path="/src/a.py")
        house.broker.has_left = lambda request: True  # the first copy, held up on its way, comes to its turn now
        self.refused(503, "w1", "/lock", call, code="hung_up")
        house.broker.has_left = lambda request: False
        self.assertEqual([], house.get("w1", "/locks")["locks"])

    def test_a_repeat_spends_no_quota_and_wakes_nobody(self) -> None:
        house = self.fresh()
        house.broker.limits.per_minute = 1
        first = house.send("w1", "w2", idempotency_key="k")
        house.woken.clear()
        self.assertEqual(first["message_id"], house.send("w1", "w2", idempotency_key="k")["message_id"])
        self.assertEqual([], house.woken)

    def test_a_key_counts_over_a_restart_for_a_day(self) -> None:
        house = self.fresh()
        task = house.task("w1", "one", idempotency_key="k")
        house.restart()
        self.assertEqual(task, house.task("w1", "one", idempotency_key="k"))

    def test_each_write_that_changes_something_is_in_the_log_under_its_own_name(self) -> None:
        for name, prepare in EXAMPLES.items():
            with self.subTest(operation=name):
                house = self.fresh()
                made = prepare(house)
                newest = house.value("SELECT MAX(seq) FROM events")
                status, said = self.ask(house, made)
                self.assertEqual(200, status, said)
                logged = house.rows("SELECT op, actor FROM events WHERE seq > ? ORDER BY seq", newest)
                if name in KEEPING:
                    self.assertEqual([], logged)
                else:
                    self.assertTrue(logged)
                    self.assertEqual({name}, {one["op"] for one in logged})
                    self.assertIn(made[0], {one["actor"] for one in logged})

    def test_what_has_no_key_is_in_the_log_too(self) -> None:
        house = self.fresh()
        ticket = house.ticket(PERSON, "system", "")
        for op, act in {
            "register": lambda: house.enrol("w3"),
            "sign_in": lambda: house.ask("", "POST", "/sign-in", {"code": ticket}),
            "shutdown": lambda: house.post(PERSON, "/shutdown"),
        }.items():
            newest = house.value("SELECT MAX(seq) FROM events")
            act()
            self.assertEqual(op, house.value("SELECT op FROM events WHERE seq > ?", newest), op)

    def tables(self, house: House) -> dict[str, Any]:
        names = [
            row["name"]
            for row in house.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
        ]
        return {name: json.dumps(house.rows(f"SELECT * FROM {name}")) for name in names}


if __name__ == "__main__":
    unittest.main()
