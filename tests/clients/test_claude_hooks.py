"""Our hooks in a settings file: put in, taken out, and everything else left byte for byte."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import unittest

from lattice.clients import claude_hooks, config_files, record
from lattice.clients.claude_hooks import HooksFile, entries
from lattice.clients.config_files import Unreadable, append_items, remove_items

FOREIGN = """{
    "model" : "opus",   "permissions": {"allow": ["Bash(ls:*)"]},
    "hooks": {
        "PreToolUse": [
            { "matcher":"Bash", "hooks":[ {"type":"command","command":"/x/y.sh"} ] }
        ],
        "Notification": []
    },
    "last": 1.50
}
"""


class InSettings(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, ".claude", "settings.json")
        self.home = os.path.join(self.folder, ".c2-lattice")
        os.makedirs(self.home, mode=0o700)
        self.file = HooksFile(self.path, self.home, "2026")

    def write(self, text: str) -> None:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "wb") as file:
            file.write(text.encode())

    def text(self) -> str:
        with open(self.path, "rb") as file:
            return file.read().decode()

    def test_the_bytes_are_restored(self) -> None:
        short = ("{}", "", '{"hooks":{}}', '{"hooks": {"Stop": []}}\n', '\ufeff{"a":1}', '{\n\t"a": 1\n}')
        for text in (FOREIGN, FOREIGN.replace("\n", "\r\n"), *short):
            with self.subTest(text):
                self.write(text)
                self.assertTrue(self.file.put(False))
                self.assertEqual(self.file.look().word, "ours")
                self.file.drop()
                self.assertEqual(self.text(), text)
                self.assertEqual(record.read(self.home), {})
                self.assertEqual(os.listdir(os.path.join(self.home, "backups")), [])

    def test_a_file_and_folder_that_were_made_go_again(self) -> None:
        self.file.put(False)
        self.assertEqual(json.loads(self.text()), {"hooks": entries()})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode) & 0o077, 0)
        self.file.drop()
        self.assertEqual(sorted(os.listdir(self.folder)), [".c2-lattice"])

    def test_twice_is_once(self) -> None:
        self.write(FOREIGN)
        self.file.put(False)
        once = self.text()
        self.assertEqual(self.file.put(False), [])
        self.assertEqual(self.text(), once)
        self.assertTrue(self.file.drop())
        self.assertEqual(self.file.drop(), [])

    def test_what_stands_there_stays_byte_for_byte_while_ours_are_in(self) -> None:
        self.write(FOREIGN)
        self.file.put(False)
        text = self.text()
        group = '{ "matcher":"Bash", "hooks":[ {"type":"command","command":"/x/y.sh"} ] }'
        for part in ('"model" : "opus",   "permissions"', group, '"last": 1.50'):
            self.assertIn(part, text)
        self.assertEqual(json.loads(text)["hooks"]["PreToolUse"][1:], entries()["PreToolUse"])

    def test_what_others_wrote_meanwhile_stays(self) -> None:
        self.write(FOREIGN)
        self.file.put(False)
        state = json.loads(self.text())
        state["theme"] = "dark"
        state["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "say done"}]})
        state["hooks"]["SessionStart"][0]["hooks"].append({"type": "command", "command": "theirs"})
        self.write(json.dumps(state, indent=2))
        self.file.drop()
        wanted = json.loads(FOREIGN)
        wanted["theme"] = "dark"
        wanted["hooks"]["Stop"] = [{"hooks": [{"type": "command", "command": "say done"}]}]
        wanted["hooks"]["SessionStart"] = [{"hooks": [{"type": "command", "command": "theirs"}]}]
        self.assertEqual(json.loads(self.text()), wanted)

    def test_a_file_we_made_stays_when_others_wrote_into_it(self) -> None:
        self.file.put(False)
        state = json.loads(self.text())
        state["theme"] = "dark"
        self.write(json.dumps(state))
        self.file.drop()
        self.assertEqual(json.loads(self.text()), {"theme": "dark"})

    def test_the_waking_hook_is_put_in_when_asked_for_and_kept(self) -> None:
        self.write("{}")
        self.file.put(False)
        self.assertFalse(self.file.look().rewake)
        self.assertTrue(self.file.put(True))
        self.assertTrue(self.file.look().rewake)
        self.assertEqual(self.file.put(False), [])
        self.file.drop()
        self.assertEqual(self.text(), "{}")

    def test_those_of_another_checkout_are_replaced_and_said(self) -> None:
        other = os.path.join(os.sep, "old place", "lattice", "hooks", "main.py")
        self.write(json.dumps({"hooks": entries(main=other)}))
        self.assertEqual(self.file.look(), (self.path, "other", False, (other,), False))
        self.assertEqual(self.file.drop(), [])  # not ours to remove
        said = self.file.put(False)
        self.assertIn(other, said[-1])
        self.assertEqual(json.loads(self.text()), {"hooks": entries()})
        self.file.drop()
        self.assertEqual(json.loads(self.text()), {})

    def test_a_dry_run_does_nothing(self) -> None:
        self.assertTrue(self.file.put(False, dry_run=True))
        self.assertFalse(os.path.exists(self.path))
        self.file.put(False)
        before = self.text()
        self.assertTrue(self.file.drop(dry_run=True))
        self.assertEqual(self.text(), before)

    def test_what_does_not_parse_is_left_alone(self) -> None:
        for text in ("{ // mine\n}", '{"hooks": []}', '{"hooks": {"Stop": {}}}', '{"hooks": {"PreToolUse": 5}}'):
            with self.subTest(text):
                self.write(text)
                with self.assertRaises(Unreadable):
                    self.file.put(False)
                self.assertEqual(self.text(), text)


class TheEntries(unittest.TestCase):
    def test_nothing_of_ours_is_in_a_shells_text(self) -> None:
        """A path may hold a quote, a blank, a dollar: it is an argument, and the shell never reads it."""
        for groups in entries(rewake=True, main="/a b$(id)'\"/lattice/hooks/main.py").values():
            for group in groups:
                for hook in group["hooks"]:  # type: ignore[attr-defined]
                    self.assertEqual(hook["command"], "/bin/sh")
                    self.assertEqual(hook["args"][0], "-c")
                    self.assertNotIn("lattice/hooks", hook["args"][1])
                    self.assertEqual(hook["args"][2], os.path.realpath(sys.executable))
                    self.assertIs(type(hook["timeout"]), int)

    def test_on_windows_it_is_the_interpreter_at_once(self) -> None:
        for groups in entries(windows=True).values():
            for group in groups:
                for hook in group["hooks"]:  # type: ignore[attr-defined]
                    self.assertEqual(hook["command"], os.path.realpath(sys.executable))
                    self.assertEqual(hook["args"][:3], ["-I", "-S", claude_hooks.MAIN])

    def test_a_hook_is_known_by_its_script_alone(self) -> None:
        self.assertEqual(claude_hooks.script_of({"args": ["x", claude_hooks.MAIN]}), claude_hooks.MAIN)
        other: object
        for other in ({}, {"args": "x"}, {"args": [1]}, {"command": claude_hooks.MAIN}, None, [], {"args": ["/x/hooks/main.py"]}):
            self.assertEqual(claude_hooks.script_of(other), "")


class Lists(unittest.TestCase):
    def test_items_go_in_at_the_end_and_out_again(self) -> None:
        lists = ("[1,2]", '[ 1 , {"x": "]"} ]', "[\n  1,\n  2\n]", "[\n    [1]\n  ]")
        for text in ('{"a": {"b":' + one + "}}" for one in lists):
            with self.subTest(text):
                there = json.loads(text)["a"]["b"]
                more = append_items(text, ("a", "b"), [{"y": [3]}, 4], "f")
                self.assertEqual(json.loads(more)["a"]["b"], [*there, {"y": [3]}, 4])
                back = remove_items(more, ("a", "b"), [len(there), len(there) + 1], "f")
                self.assertEqual(back, text)
                first = remove_items(more, ("a", "b"), [0], "f")
                self.assertEqual(json.loads(first)["a"]["b"], [*there[1:], {"y": [3]}, 4])

    def test_a_list_is_made_or_emptied(self) -> None:
        self.assertEqual(json.loads(append_items("{}", ("a", "b"), [1], "f")), {"a": {"b": [1]}})
        self.assertEqual(json.loads(append_items('{"a":[]}', ("a",), [1], "f")), {"a": [1]})
        self.assertEqual(json.loads(remove_items('{"a":[ 1 ]}', ("a",), [0], "f")), {"a": []})
        with self.assertRaises(config_files.Unreadable):
            append_items('{"a":{}}', ("a",), [1], "f")


if __name__ == "__main__":
    unittest.main()
