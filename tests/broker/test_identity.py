"""You are who your token says: no field of a request can make you someone else (S15)."""

from __future__ import annotations

import unittest
from typing import Any

from tests.broker.broking import ON_HTTP, PERSON, BrokerCase

# Fields that name somebody else on purpose: whom to write to, whom to look at, whom to act on.
OTHERS = {"recipient_id", "peer_id", "assigned_to"}
NAMING = {(operation.name, param.name) for operation in ON_HTTP for param in operation.params if param.identity}


class StatedIdentity(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def call(self, who: str, operation: Any, stated: str, field: str) -> tuple[int, dict[str, Any]]:
        path = operation.path.replace("{peer_id}", who)
        if operation.method == "GET":
            return self.house.ask(who, "GET", f"{path}?{field}={stated}")
        return self.house.ask(who, operation.method, path, {field: stated})

    def test_every_field_that_names_the_caller_is_refused_when_it_names_another_whatever_the_role(self) -> None:
        tried = 0
        for operation in ON_HTTP:
            for param in operation.params:
                if not param.identity:
                    continue
                for who in ("w1", "arch"):
                    if ("architect" if who == "arch" else "worker") not in operation.roles:
                        continue
                    for other in ("w2", PERSON, "ghost", "W1"):
                        with self.subTest(operation=operation.name, field=param.name, who=who, other=other):
                            status, said = self.call(who, operation, other, param.name)
                            self.assertEqual((403, "not_you"), (status, said["code"]))
                            tried += 1
        self.assertGreater(tried, 50)

    def test_every_field_that_names_the_caller_may_name_the_caller_or_be_left_out(self) -> None:
        for operation in ON_HTTP:
            for param in operation.params:
                if param.identity and "worker" in operation.roles:
                    with self.subTest(operation=operation.name, field=param.name):
                        status, said = self.call("w1", operation, "w1", param.name)
                        self.assertNotEqual("not_you", said.get("code"))

    def test_a_field_of_another_type_is_400_not_a_way_around(self) -> None:
        for value in (7, ["w2"], {"id": "w2"}, True):
            self.refused(400, "w1", "/send", {"sender_id": value, "recipient_id": "w2", "category": "finding", "content": "x"})

    def test_the_fields_that_name_the_caller_are_these(self) -> None:
        """A new field with such a name must be marked in the contract, or said here to name somebody else."""
        names = {"id", "peer_id", "sender_id", "created_by", "requester", "caller", "actor", "from"}
        unmarked = {
            (operation.name, param.name)
            for operation in ON_HTTP
            for param in operation.params
            if param.name in names and not param.identity and param.name not in OTHERS
        }
        self.assertEqual({("register", "id"), ("create_run", "id")}, unmarked)
        for name in (
            "send_message",
            "create_task",
            "claim_task",
            "complete_task",
            "lock_file",
            "unlock_file",
            "set_memory",
            "set_summary",
            "heartbeat",
            "log_conversation",
        ):
            self.assertTrue(any(operation == name for operation, _ in NAMING), name)

    def test_peer_id_and_sender_id_together_do_not_help(self) -> None:
        """v4 took the first of them for the caller."""
        self.refused(400, "w1", "/send", {"peer_id": "w1", "sender_id": "w1", "recipient_id": "w2", "category": "finding", "content": "x"})
        self.refused(
            403,
            "w1",
            "/send",
            {"peer_id": "w1", "sender_id": "arch", "recipient_id": "broadcast", "category": "finding", "content": "x"},
            code="not_you",
        )


class WhoDidIt(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def actors(self, since: int) -> set[str]:
        return {row["actor"] for row in self.house.rows("SELECT actor FROM events WHERE seq > ?", since)}

    def newest(self) -> int:
        return int(self.house.value("SELECT MAX(seq) FROM events"))

    def test_the_log_names_the_tokens_subject(self) -> None:
        since = self.newest()
        self.house.send("w1", "w2", sender_id="w1")
        self.house.task("w1", created_by="w1")
        self.assertEqual({"w1"}, self.actors(since))

    def test_the_person_may_act_for_a_peer_and_the_log_names_both(self) -> None:
        since = self.newest()
        sent = self.house.send(PERSON, "w2", "in your name", sender_id="w1")["message_id"]
        self.assertEqual({"w1 (by command-center)"}, self.actors(since))
        mail = self.house.take("w2")[0]
        self.assertEqual(("w1", sent), (mail["from"], mail["id"]))
        self.assertEqual("shop", self.house.value("SELECT workspace FROM messages WHERE id = ?", sent))
        task = self.house.task(PERSON, "for w1", created_by="w1")
        self.assertEqual(
            ("w1", "shop"), tuple(self.house.get("w2", f"/tasks/{task}")["task"][name] for name in ("created_by", "workspace"))
        )

    def test_the_person_acts_for_nobody_who_is_unknown_or_was_ended(self) -> None:
        self.refused(404, PERSON, "/lock", {"peer_id": "ghost", "file_path": "/a"})
        self.house.post(PERSON, "/kill-peer", peer_id="w1")
        self.refused(404, PERSON, "/lock", {"peer_id": "w1", "file_path": "/a"})
        self.assertEqual([], self.house.get(PERSON, "/locks")["locks"])

    def test_what_the_person_takes_for_a_peer_has_the_peers_folder(self) -> None:
        self.house.enrol("w3", working_dir="/src/shop")
        self.assertEqual("/src/shop/a.py", self.house.post(PERSON, "/lock", peer_id="w3", file_path="a.py")["file_path"])

    def test_what_leads_do_to_others_is_logged_as_theirs_in_the_workspace_of_the_thing(self) -> None:
        task = self.house.task("w1")
        for path, body in {
            "/pause": {"peer_id": "w1"},
            "/resume": {"peer_id": "w1"},
            "/budget": {"peer_id": "w1", "token_budget": 5},
            "/config": {"peer_id": "w1", "poll_interval_ms": 4000},
            f"/tasks/{task}/edit": {"title": "new"},
            f"/tasks/{task}/assign": {"peer_id": "w1"},
            "/seat": {"peer_id": "w2"},
            "/kill-peer": {"peer_id": "w1"},
        }.items():
            since = self.newest()
            self.house.post(PERSON, path, **body)
            events = self.house.rows(
                "SELECT actor, kind, workspace FROM events WHERE seq > ? AND kind NOT IN ('message', 'delivery', 'note')", since
            )
            self.assertTrue(events, path)
            self.assertEqual({(PERSON, "shop")}, {(one["actor"], one["workspace"]) for one in events}, path)


if __name__ == "__main__":
    unittest.main()
