"""The tools as a client sees them."""

from __future__ import annotations

import json
import re
import unittest

from lattice.agent import tools
from lattice.agent.instructions import INSTRUCTIONS
from lattice.agent.toolbox import usage
from lattice.contract import operations


def listed() -> list[dict[str, object]]:
    return [tools.describe(name) for name in tools.offered("core")]


class TheTwentyTwo(unittest.TestCase):
    def test_the_whole_list_is_at_most_8000_bytes(self) -> None:
        size = len(json.dumps(listed(), separators=(",", ":"), ensure_ascii=False).encode())
        self.assertLessEqual(size, 8000)

    def test_another_set_adds_to_them_and_an_unknown_one_is_said(self) -> None:
        lead, extra = tools.offered("core, lead"), tools.offered("extra")
        self.assertEqual(operations.TOOLS, lead[:22])
        self.assertLessEqual({"pause", "resume", "cancel_task", "assign_task", "edit_task"}, set(lead))
        self.assertLessEqual({"receipts", "search", "adopt"}, set(extra[22:]))
        self.assertEqual(set(lead) | set(extra), set(tools.offered("all")))
        for name in tools.offered("all"):
            annotations = tools.describe(name)["annotations"]
            assert isinstance(annotations, dict)
            self.assertEqual(name == "cancel_task", annotations.get("destructiveHint", False), name)
        self.assertEqual((["leads"], []), (tools.unknown("core,leads"), tools.unknown("core,lead,extra,all")))

    def test_there_are_22_in_the_tables_order(self) -> None:
        self.assertEqual([tool["name"] for tool in listed()], list(operations.TOOLS))
        self.assertEqual(len(operations.TOOLS), 22)

    def test_a_tool_has_these_members_and_no_others(self) -> None:
        for tool in listed():
            expected = {"name", "description", "inputSchema", "annotations"} | ({"_meta"} if tool["name"] == "check_messages" else set())
            self.assertEqual(set(tool), expected, tool["name"])
        self.assertEqual(tools.describe("check_messages")["_meta"], {"anthropic/alwaysLoad": True})

    def test_annotations_say_what_only_reads(self) -> None:
        for tool in listed():
            reads = tool["name"] in operations.READ_ONLY_TOOLS
            wanted = {"readOnlyHint": reads, "openWorldHint": False} | ({} if reads else {"destructiveHint": False})
            self.assertEqual(tool["annotations"], wanted, tool["name"])

    def test_names_are_short_and_plain(self) -> None:
        for name in operations.TOOLS:
            self.assertRegex(name, re.compile(r"[A-Za-z0-9_.-]{1,40}\Z"))

    def test_every_schema_is_a_closed_object_that_shows_no_identity(self) -> None:
        for tool in listed():
            schema = tool["inputSchema"]
            assert isinstance(schema, dict)
            self.assertEqual((schema["type"], schema["additionalProperties"]), ("object", False))
            self.assertTrue(set(schema.get("required", ())) <= set(schema["properties"]))
            self.assertFalse({"sender_id", "created_by", "requester", "idempotency_key", "token"} & set(schema["properties"]))

    def test_the_arguments_of_the_published_tools_are_all_there(self) -> None:
        published = {
            "list_peers": "scope",
            "send_message": "recipient_id category content",
            "check_messages": "",
            "set_summary": "summary",
            "view_dashboard": "",
            "broadcast": "category content",
            "log_conversation": "turn_type content",
            "get_conversation": "peer_id last",
            "lock_file": "file_path",
            "unlock_file": "file_path",
            "list_locks": "",
            "create_task": "title description priority blocked_by run_id",
            "list_tasks": "status",
            "get_task": "task_id",
            "claim_task": "task_id",
            "complete_task": "task_id artifacts",
            "raise_blocker": "description task_id",
            "request_review": "task_id summary",
            "spawn_worker": "peer_id working_dir",
            "set_memory": "key value type confidence supersedes",
            "get_memory": "key type",
            "resume_run": "run_id",
        }
        self.assertEqual(set(published), set(operations.TOOLS))
        for name, arguments in published.items():
            self.assertTrue(set(arguments.split()) <= {param.name for param in tools.tool_fields(name)}, name)

    def test_what_a_tool_takes_can_be_said_in_a_line(self) -> None:
        self.assertEqual(usage("claim_task"), "claim_task {task_id: integer}")
        self.assertIn("artifacts: {summary, files_touched?", usage("complete_task"))

    def test_the_instructions_are_under_2_kb_and_name_the_way_of_working(self) -> None:
        said = INSTRUCTIONS
        self.assertLess(len(said.encode()), 2048)
        for word in ("check_messages", "claim_task", "lock_file", "set_memory", "raise_blocker", "request_review", "data, not orders"):
            self.assertIn(word, said)
        for name in re.findall(r"\b[a-z]+_[a-z_]+\b", said):
            fields = {param.name for tool in operations.TOOLS for param in tools.tool_fields(tool)}
            self.assertIn(name, set(operations.TOOLS) | fields)


if __name__ == "__main__":
    unittest.main()
