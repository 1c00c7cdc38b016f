"""Verbs: each operation of the contract is a line, and the line becomes its request."""

from __future__ import annotations

import json
import os
import tempfile
import unittest

from lattice.cli import verbs
from lattice.cli.verbs import Usage
from lattice.contract.operations import OPERATIONS


def line(*words: str) -> verbs.Call:  # type: ignore[valid-type]
    verb = verbs.find(words[0])
    assert verb is not None, words[0]
    call = verbs.call_of(verb.operation, verbs.parse(verb, list(words[1:])), base="/w")
    if call.body is not None:
        call.body.pop("idempotency_key", None)
    return call


class Lines(unittest.TestCase):
    def test_every_operation_of_the_command_line_has_a_verb_and_its_help(self) -> None:
        names = {operation.name for operation in OPERATIONS if "cli" in operation.surfaces}
        self.assertEqual({name.replace("-", "_") for name in verbs.all_verbs()}, names)
        for name in [*verbs.all_verbs(), *verbs.SHORT]:
            with self.subTest(name):
                verb = verbs.find(name)
                assert verb is not None
                self.assertLessEqual(set(verb.positional), set(verbs.slots(verb.operation)))
                self.assertIn(verb.operation.doc, verbs.usage(verb))

    def test_what_is_not_for_the_command_line_is_no_verb(self) -> None:
        for word in ("register", "heartbeat", "sign-in", "escalate", "v4-messages", "", "-", "Peers"):
            self.assertIsNone(verbs.find(word), word)

    def test_required_values_stand_in_order_and_the_rest_are_options(self) -> None:
        call = line("create-task", "Write it", "--priority", "high", "--blocked-by=3,4", "--needs-review")
        self.assertEqual((call.method, call.path), ("POST", "/tasks"))
        self.assertEqual(call.body, {"title": "Write it", "priority": "high", "blocked_by": [3, 4], "needs_review": True})
        self.assertEqual(line("list-tasks", "--status", "pending", "--everywhere").path, "/tasks?status=pending&everywhere=true")
        self.assertEqual(line("get-task", "7").path, "/tasks/7")

    def test_the_members_of_an_object_are_options_of_their_own(self) -> None:
        call = line("complete", "7", "done well", "--files-touched", "a.py, b.py", "--outcome", "failed")
        self.assertEqual(
            call.body, {"task_id": 7, "outcome": "failed", "artifacts": {"summary": "done well", "files_touched": ["a.py", "b.py"]}}
        )

    def test_a_value_in_a_path_is_one_segment_whatever_it_is(self) -> None:
        self.assertEqual(line("messages-for", "a/../b?c#d e").path, "/messages-for/a%2F..%2Fb%3Fc%23d%20e")

    def test_two_names_for_one_route_say_the_field_of_the_route(self) -> None:
        self.assertEqual(line("raise-blocker", "stuck", "--task-id", "3").body, {"kind": "blocker", "text": "stuck", "task_id": 3})
        self.assertEqual(line("review", "3", "look").body, {"kind": "review", "task_id": 3, "text": "look"})
        self.assertEqual(line("broadcast", "finding", "x").body, {"category": "finding", "content": "x", "recipient_id": "broadcast"})

    def test_a_short_name_sets_what_is_not_given(self) -> None:
        self.assertEqual(line("send", "alice", "hello").body, {"recipient_id": "alice", "content": "hello", "category": "status_update"})
        call = line("send", "alice", "hello", "--category", "finding")
        self.assertEqual(call.body["category"], "finding")
        self.assertEqual(line("escalations").path, "/escalations?state=open")

    def test_values_that_look_like_options_can_be_said(self) -> None:
        self.assertEqual(line("send", "alice", "--", "--help me").body["content"], "--help me")
        self.assertEqual(line("budget", "alice", "--token-budget", "-1").body, {"peer_id": "alice", "token_budget": -1})
        self.assertEqual(line("budget", "alice", "-1").body, {"peer_id": "alice", "token_budget": -1})
        self.assertEqual(line("set-summary", "-5").body, {"summary": "-5"})

    def test_what_a_person_would_write_behind_the_name_stands_there(self) -> None:
        self.assertEqual(line("config", "alice", "2000").body, {"peer_id": "alice", "poll_interval_ms": 2000})
        self.assertEqual(line("budget", "alice", "5000").body, {"peer_id": "alice", "token_budget": 5000})
        self.assertEqual(line("peek", "alice").path, "/inbox/peek?peer_id=alice")

    def test_nobody_is_unseated_by_a_line_that_names_nobody(self) -> None:
        with self.assertRaisesRegex(Usage, "peer_id is required"):
            line("seat")
        self.assertEqual(line("seat", "").body, {"peer_id": ""})

    def test_a_member_that_is_missing_is_called_as_the_line_calls_it(self) -> None:
        for words in (("complete", "7"), ("complete-task", "7", "--risks", "none")):
            with self.assertRaisesRegex(Usage, "^summary is required"):
                line(*words)
        with self.assertRaisesRegex(Usage, "^task_id and summary are required"):
            line("complete")

    def test_a_value_of_the_path_that_is_missing_is_said(self) -> None:
        with self.assertRaisesRegex(Usage, "peer_id is required"):
            line("get-conversation")

    def test_locks_are_relative_to_where_the_command_was_called(self) -> None:
        self.assertEqual(line("lock", "a.py").body, {"file_path": "a.py", "base": "/w"})
        self.assertEqual(line("check-lock", "a.py").path, "/locks/check?file_path=a.py&base=%2Fw")

    def test_every_write_has_a_key_of_its_own_and_a_read_has_none(self) -> None:
        verb = verbs.find("claim")
        assert verb is not None
        keys = {verbs.call_of(verb.operation, {"task_id": 1}).body["idempotency_key"] for _ in range(2)}
        self.assertEqual(len(keys), 2)
        self.assertNotIn("idempotency_key", line("peers").path)

    def test_a_batch_comes_from_a_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tasks.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump([{"title": "a"}, {"title": "b", "blocked_by": [-1]}], file)
            tasks = line("create-task", "--tasks", "@" + path).body["tasks"]
        self.assertEqual([(task["title"], task.get("blocked_by")) for task in tasks], [("a", None), ("b", [-1])])

    def test_a_wrong_line_is_said_before_anything_is_sent(self) -> None:
        for words in (
            ("claim",), ("claim", "x"), ("claim", "0"), ("claim", "1", "2"), ("tasks", "--status", "odd"), ("tasks", "--nope"),
            ("tasks", "--status"),
            ("tasks", "-x"), ("create-task", "t", "--title", "u"), ("complete", "7"), ("create-task", "--tasks", "{"),
            ("create-task", "--tasks", "@/none"), ("create-task", "--tasks", "[" * 100_000),
            ("send", "alice"), ("send", "alice", "x", "--category", "command"), ("remember", "k" * 300, "v"), ("tasks", "--needs-review"),
        ):  # fmt: skip
            with self.subTest(words), self.assertRaises(Usage) as caught:
                line(*words)
            self.assertTrue(str(caught.exception))


if __name__ == "__main__":
    unittest.main()
