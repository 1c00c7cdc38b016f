"""What the terminal gets: what peers wrote, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import re
import unittest

from lattice.cli import show, told
from lattice.contract.operations import OPERATIONS

SEQUENCES = (
    "\x1b[2J", "\x1b[31m", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07", "\x1b]8;;http://e\x1b\\x", "\x1bP1\x1b\\",
    "\x1b_x\x1b\\", "\x9b2J",
    "\r overwritten", "ab\x08\x08cd", "\x07", "\x0b", "\x0c", "\x7f", "\x00", "\x85", "\u202egpj", "\u2066x\u2069", "\u200b",
    "\x1b[200~", "\x0e", "\x9d0;t\x9c", "\x1bc", "\x1b[?1049h", "\x1b[6n", "\x1b[8m", "\x1b[1A\x1b[2K", "\x1b]2;t\x1b\\", "\x1b]4;1;?\x07",
    "\x1b]1337;File=:\x07", "\x1b]9;x\x07", "\x1b^pm\x1b\\", "\x1bX\x1b\\",
    "\x1b(0", "\x1b#8", "\x1b[20t", "\x90q\x9c", "\x84", "\x9f", "\x02", "\x05",
)  # fmt: skip
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069\u200b]")


class Shown(unittest.TestCase):
    def test_there_are_forty_of_them(self) -> None:
        self.assertGreaterEqual(len(set(SEQUENCES)), 40)

    def test_no_answer_of_any_operation_carries_a_sequence_to_the_terminal(self) -> None:
        for text in SEQUENCES:
            row = {
                name: text for name in ("id", "role", "summary", "git_branch", "from", "category", "content", "sent", "title",
                "assigned_to",
                "file_path", "peer_id", "key", "value", "text", "kind", "state", "name", "goal", "recipient", text)
            }  # fmt: skip
            answer = {
                **{name: [row] for name in ("peers", "messages", "tasks", "locks", "memory", "escalations", "receipts", "runs", "others")},
                "task": {**row, "description": text, "artifacts": {"summary": text, "files_touched": [text]}}, "note": text, text: text,
                "more": 1, "value": text, "message": text, "message_id": text, "recipients": [text], "task_id": text, "escalation_id": text,
                "peer_id": text, "key": text, "version": text, "holder": text, "released": True, "held": text, "status": text,
                "inner": {"deep": {"er": text}}, "list": [text],
            }  # fmt: skip
            for operation in OPERATIONS:
                with self.subTest(repr(text) + operation.name):
                    self.assertIsNone(FORBIDDEN.search(told.said(operation.name, answer)))

    def test_json_has_the_same_values_and_no_sequence_either(self) -> None:
        for text in SEQUENCES:
            answer = {"messages": [{"content": f"a{text}b", text: 1}], "more": 0}
            self.assertIsNone(FORBIDDEN.search(show.as_json(answer)), repr(text))
            self.assertEqual(answer, json.loads(show.as_json(answer)))
        family = {"content": "می‌خواهم 👨‍👩‍👧 ✈️"}
        self.assertEqual(json.dumps(family, ensure_ascii=False), show.as_json(family, indent=None), "what people write stays legible")

    def test_a_body_stands_behind_a_bar_on_every_line(self) -> None:
        said = show.said(
            "check_messages",
            {"messages": [{"id": 4, "from": "alice", "category": "finding", "content": "one\n#9  boss\ntwo", "sent": "now"}]},
        )
        self.assertEqual(said.splitlines()[1:4], ["│ one", "│ #9  boss", "│ two"])

    def test_a_repeat_and_what_is_left_are_said(self) -> None:
        said = show.said("check_messages", {"messages": [{"id": 4, "from": "a", "content": "x", "redelivered": 2}], "more": 3})
        self.assertIn("repeated 2", said)
        self.assertIn("3 more", said)

    def test_nothing_is_said_as_nothing(self) -> None:
        self.assertEqual(show.said("check_messages", {"messages": []}), "no unread messages")
        self.assertEqual(show.said("list_peers", {"peers": []}), "nobody is here")
        self.assertEqual(show.said("list_tasks", {"tasks": []}), "no tasks")
        self.assertEqual(show.said("pause", {"ok": True}), "ok")

    def test_what_was_done_is_a_sentence(self) -> None:
        held = {"message_id": 4, "recipients": ["ann"], "held": "too often", "message": "held."}
        resolved = {"escalation_id": 2, "verdict": "approve", "message_id": 7}
        done = {"task_id": 3, "status": "completed", "newly_unblocked": [{"id": 4, "title": "docs"}]}
        for name, answer, sentence in (
            ("send_message", {"message_id": 4, "recipient": "away", "recipients": ["ann"]}, "message 4 to ann (away: it waits there)"),
            ("send_message", held, "message 4 to ann is held: too often. held."),
            ("create_task", {"task_id": 3, "claimable": True, "workspace": "shop"}, "task 3, free to claim, in shop"),
            ("claim_task", {"task_id": 3, "token": 9, "title": "parser"}, "task 3 is yours: parser"),
            ("complete_task", done, "task 3 is completed; free now: 4 docs"),
            ("resolve", resolved, "escalation 2: approve; who asked is told by message 7"),
            ("unlock_file", {"file_path": "/a", "released": False, "left_the_queue": True}, "you no longer wait for /a"),
            ("pause", {"peer_id": "ann", "paused": True}, "ann is paused"),
            ("set_memory", {"key": "k", "version": 2}, "k is at version 2"),
        ):
            self.assertEqual(sentence, told.said(name, answer))

    def test_lists_are_tables_with_one_line_for_each_row(self) -> None:
        said = show.said(
            "list_peers", {"peers": [{"id": "a", "role": "worker", "summary": "x\ny"}, {"id": "longer", "role": "architect"}]}, "a"
        )
        self.assertEqual(len(said.splitlines()), 3)
        self.assertTrue(said.splitlines()[1].startswith("a (you)"))

    def test_a_receipt_is_a_ladder_for_each_recipient(self) -> None:
        at = 1_700_000_000.0
        message = {"id": 12, "from": "w1", "to": "broadcast", "category": "finding", "sent": at}
        none = {"way": "", "attempts": 0, "reason": "", "queued_at": at, "offered_at": None, "read_at": None, "acted_at": None, "proof": ""}
        rows = [
            {
                **none,
                "recipient": "a",
                "state": "acted",
                "way": "hook",
                "offered_at": at + 1,
                "read_at": at + 2,
                "acted_at": at + 3,
                "proof": "hook Stop",
            },
            {**none, "recipient": "b", "state": "queued", "attempts": 2},
            {**none, "recipient": "c", "state": "held", "reason": "3 rounds"},
            {**none, "recipient": "d", "state": "dead", "attempts": 5, "reason": "offered 5 times"},
            {**none, "recipient": "e", "state": "offered", "way": "tool", "offered_at": at + 1},
        ]
        said = show.said("receipts", {"message": message, "deliveries": rows})
        lines = said.splitlines()
        self.assertRegex(lines[0], r"^#12  w1 → broadcast  finding  20")
        self.assertEqual(
            ["acted on", "waits", "held back", "given up", "handed over, not proven read yet"],
            [line[3:] for line in lines if line[1:2] == ":"],
        )
        self.assertRegex(
            said, r"a: acted on\n  queued +20\S+ \S+\n  offered +20\S+ \S+ by hook\n  read +20\S+ \S+, proven by hook Stop\n  acted on +20"
        )
        self.assertRegex(said, r"b: waits\n  queued +20\S+ \S+\n  came back +2× unproven\n")
        self.assertRegex(said, r"  held +3 rounds\n")
        self.assertRegex(said, r"  dead +offered 5 times\n")

    def test_locks_say_how_far_they_reach_in_which_mode_and_who_waits(self) -> None:
        locks = [
            {
                "file_path": "/r/src",
                "reach": "dir",
                "mode": "exclusive",
                "peer_id": "a",
                "locked_at": 1_700_000_000.0,
                "state": "held",
                "task_id": 7,
            },
            {"file_path": "/r/*.md", "reach": "glob", "mode": "shared", "peer_id": "b", "locked_at": 1_700_000_000.0, "state": "held"},
            {"file_path": "/r/x", "reach": "file", "mode": "exclusive", "peer_id": "c", "locked_at": 1_700_000_000.0, "state": "closed"},
        ]
        queue = [
            {
                "file_path": "/r/src/y",
                "reach": "file",
                "mode": "exclusive",
                "peer_id": "d",
                "queued_at": 1_700_000_000.0,
                "offered_at": 1_700_000_001.0,
            }
        ]
        said = show.said("list_locks", {"locks": locks, "queue": queue})
        for words in ("/r/src/\n", "/r/*.md (pattern)", "shared", "closed: its holder was lost", "WAITS", "exclusive, it is kept for it"):
            self.assertIn(words, said)
        self.assertEqual("no locks", show.said("list_locks", {"locks": [], "queue": []}))
        self.assertEqual("locked: /r/x, with token 7", show.said("lock_file", {"ok": True, "file_path": "/r/x", "token": 7}))
        said = show.said(
            "lock_file", {"ok": False, "file_path": "/r/x", "queued": 2, "holder": "a", "message": "you are told when it is free"}
        )
        self.assertEqual("/r/x is held by a; you are number 2 of those who wait. you are told when it is free", said)

    def test_a_capsule_an_adoption_and_held_mail_are_said_in_words(self) -> None:
        self.assertEqual("│ you are w1\n│ task #7", show.said("capsule", {"capsule": "you are w1\ntask #7"}))
        said = show.said("adopt", {"ok": True, "peer_id": "w1", "tasks": [7], "locks": ["/r/a"], "messages": 2})
        self.assertEqual("you go on with what w1 left: 2 message(s) waiting\n  task 7\n  lock /r/a", said)
        released = {"ok": True, "message_id": 9, "verdict": "let_through", "recipients": ["w1", "w2"], "messages": [9]}
        self.assertEqual("message 9: let through (w1, w2)", show.said("release_held", released))
        copies = show.said("release_held", {**released, "verdict": "stop", "messages": [9, 11, 12]})
        self.assertEqual("message 9: stopped; its sender is told (w1, w2); with it 2 more of the same text", copies)


if __name__ == "__main__":
    unittest.main()
