"""The plugin folder: the same entry and hooks as in the settings, written and taken away."""

from __future__ import annotations

import json
import os
import re
import tempfile
import unittest

from lattice.clients import claude_hooks, claude_plugin
from lattice.clients.base import Refused, own_entry
from lattice.clients.claude import as_json
from lattice.contract.operations import TOOLS


class ThePlugin(unittest.TestCase):
    def setUp(self) -> None:
        self.top = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = os.path.join(self.top, "plugin")

    def read(self, *names: str) -> str:
        with open(os.path.join(self.folder, *names), encoding="utf-8") as file:
            return file.read()

    def test_it_says_the_same_as_the_settings(self) -> None:
        claude_plugin.write(self.folder)
        self.assertEqual(json.loads(self.read("hooks", "hooks.json")), {"hooks": claude_hooks.entries()})
        self.assertEqual(json.loads(self.read(".mcp.json")), {"mcpServers": {"c2-lattice": as_json(own_entry())}})
        self.assertEqual(json.loads(self.read(".claude-plugin", "plugin.json"))["name"], "c2-lattice")

    def test_its_skill_has_a_head_and_names_only_tools_that_there_are(self) -> None:
        claude_plugin.write(self.folder)
        skill = self.read("skills", "c2-lattice", "SKILL.md")
        head = re.match(r"---\nname: c2-lattice\ndescription: [^\n]{50,1024}\n---\n", skill)
        self.assertIsNotNone(head)
        named = set(re.findall(r"`([a-z]+_[a-z_]+)`", skill))
        self.assertLessEqual({"list_peers", "claim_task", "lock_file", "check_messages", "raise_blocker", "complete_task"}, named)
        fields = {"reply_to", "blocked_by", "run_id"}
        self.assertLessEqual(named - fields, set(TOOLS))

    def test_twice_is_once_and_it_goes_again(self) -> None:
        self.assertTrue(claude_plugin.write(self.folder, dry_run=True))
        self.assertFalse(os.path.exists(self.folder))
        self.assertEqual(len(claude_plugin.write(self.folder)), len(claude_plugin.files()))
        self.assertEqual(claude_plugin.write(self.folder), [])
        self.assertTrue(claude_plugin.write(self.folder, rewake=True))
        self.assertTrue(claude_plugin.remove(self.folder))
        self.assertEqual(os.listdir(self.top), [])
        self.assertEqual(claude_plugin.remove(self.folder), [])

    def test_a_removal_that_failed_half_way_is_done_by_the_next(self) -> None:
        claude_plugin.write(self.folder)
        blocked = os.path.join(self.folder, ".mcp.json")
        os.unlink(blocked)
        os.mkdir(blocked)  # no file, so it cannot be unlinked
        with self.assertRaises(OSError):
            claude_plugin.remove(self.folder)
        os.rmdir(blocked)
        self.assertTrue(claude_plugin.remove(self.folder))
        self.assertEqual(os.listdir(self.top), [])

    def test_a_folder_with_something_else_is_left_alone(self) -> None:
        os.makedirs(self.folder)
        with open(os.path.join(self.folder, "mine"), "w", encoding="utf-8") as file:
            file.write("x")
        for change in (claude_plugin.write, claude_plugin.remove):
            with self.assertRaises(Refused):
                change(self.folder)
        self.assertEqual(os.listdir(self.folder), ["mine"])
        with self.assertRaises(Refused):
            claude_plugin.write(os.path.join(self.folder, "mine"))


if __name__ == "__main__":
    unittest.main()
