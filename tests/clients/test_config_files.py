"""Other people's JSON: what we put in comes out again, and nothing else moves."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import unittest

from lattice.clients import config_files
from lattice.clients.config_files import Unreadable

NAMES = ("mcpServers", "c2-lattice")
VALUE = {"type": "stdio", "command": "/usr/bin/python3", "args": ["-I", "-S", "/x/mcp_server.py"], "env": {}}

TEXTS = {
    "two spaces": '{\n  "a": 1,\n  "mcpServers": {\n    "other": {\n      "command": "x"\n    }\n  },\n  "z": [1, 2]\n}\n',
    "no servers": '{\n  "a": 1\n}',
    "four spaces, last": '{\n    "mcpServers": {\n        "o": {}\n    }\n}\n',
    "tabs": '{\n\t"b": "é\\u00e9",\n\t"mcpServers": {\n\t\t"o": {"command": "x"}\n\t}\n}\n',
    "one line": '{"a":1,"mcpServers":{"o":{"command":"x"}},"b":1.0e3}',
    "one line, spaced": '{"a": 1, "b": {"mcpServers": {"c2-lattice": 1}}}\n',
    "line ends of Windows": '{\r\n  "a": 1,\r\n  "mcpServers": {\r\n    "o": {}\r\n  }\r\n}\r\n',
    "byte order mark": '\ufeff{\n  "mcpServers": {\n    "o": {}\n  }\n}\n',
    "odd spacing": '{ "b" : 2 ,\n "mcpServers" :\n   { "o" : { "x":[ ] } } }',
    "numbers as written": '{\n  "n": 1.50,\n  "big": 12345678901234567890123,\n  "mcpServers": {"o": 1}\n}\n',
    "braces in text": '{\n  "s": "}{\\"mcpServers\\":{",\n  "mcpServers": {\n    "o": "}"\n  }\n}\n',
}


class Members(unittest.TestCase):
    def test_what_was_put_in_is_there_and_everything_else_is_the_same(self) -> None:
        for name, text in TEXTS.items():
            with self.subTest(name):
                changed = config_files.set_member(text, NAMES, VALUE, "f")
                wanted = config_files.parse(text, "f")
                wanted.setdefault("mcpServers", {})["c2-lattice"] = VALUE  # type: ignore[index]
                self.assertEqual(config_files.parse(changed, "f"), wanted)
                self.assertEqual(list(config_files.parse(changed, "f")), list(wanted))

    def test_taking_it_out_again_leaves_the_same_bytes(self) -> None:
        for name, text in TEXTS.items():
            with self.subTest(name):
                changed = config_files.set_member(text, NAMES, VALUE, "f")
                out = config_files.remove_member(changed, NAMES, "f")
                if "mcpServers" not in config_files.parse(text, "f"):
                    self.assertEqual(config_files.get_member(out, NAMES[:1], "f"), {})
                    out = config_files.remove_member(out, NAMES[:1], "f")
                self.assertEqual(out, text)

    def test_the_first_and_the_middle_one_can_be_taken_out(self) -> None:
        text = '{"mcpServers": {"c2-lattice": 1, "b": 2}}'
        self.assertEqual(config_files.remove_member(text, NAMES, "f"), '{"mcpServers": {"b": 2}}')
        text = '{"mcpServers": {"a": 0, "c2-lattice": 1, "b": 2}}'
        self.assertEqual(config_files.remove_member(text, NAMES, "f"), '{"mcpServers": {"a": 0, "b": 2}}')

    def test_an_entry_that_is_there_is_replaced_where_it_stands(self) -> None:
        text = '{\n  "mcpServers": {\n    "c2-lattice": {"command": "old"},\n    "b": 2\n  }\n}\n'
        changed = config_files.set_member(text, NAMES, VALUE, "f")
        self.assertEqual(config_files.get_member(changed, NAMES, "f"), VALUE)
        self.assertTrue(changed.endswith(',\n    "b": 2\n  }\n}\n'))

    def test_the_written_text_has_the_indent_and_line_ends_of_the_file(self) -> None:
        changed = config_files.set_member(TEXTS["tabs"], NAMES, VALUE, "f")
        self.assertIn('\n\t\t"c2-lattice": {\n\t\t\t"type": "stdio"', changed)
        changed = config_files.set_member(TEXTS["line ends of Windows"], NAMES, VALUE, "f")
        self.assertNotIn("\n", changed.replace("\r\n", ""))

    def test_taking_out_what_is_not_there_changes_nothing(self) -> None:
        for text in ("", "{}", '{"mcpServers": {}}', '{"mcpServers": 3}', '{"a": {"c2-lattice": 1}}'):
            self.assertEqual(config_files.remove_member(text, NAMES, "f"), text)

    def test_what_is_no_json_object_is_refused(self) -> None:
        for text in ('{"a": 1,}', '{"a": 1 // why\n}', "[]", "3", '{"mcpServers": []}', '{"mcpServers": null}', "{" * 5, "[" * 100_000):
            with self.subTest(text[:20]), self.assertRaises(Unreadable):
                config_files.set_member(text, NAMES, VALUE, "f")

    def test_a_file_that_is_empty_gets_a_whole_object(self) -> None:
        self.assertEqual(json.loads(config_files.set_member("", NAMES, VALUE, "f")), {"mcpServers": {"c2-lattice": VALUE}})


@unittest.skipIf(os.name == "nt", "modes and links of POSIX")
class Writing(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "f.json")

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_a_new_file_is_for_its_owner_alone(self) -> None:
        config_files.write(self.path, "{}")
        self.assertEqual(self.mode(self.path), 0o600)

    def test_the_mode_is_kept_and_no_temporary_file_stays(self) -> None:
        config_files.write(self.path, "{}")
        os.chmod(self.path, 0o640)
        config_files.write(self.path, '{"a": 1}')
        self.assertEqual(self.mode(self.path), 0o640)
        self.assertEqual(os.listdir(self.folder), ["f.json"])

    def test_a_link_stays_a_link_and_its_target_changes(self) -> None:
        target = os.path.join(self.folder, "dotfiles", "real.json")
        os.makedirs(os.path.dirname(target))
        config_files.write(target, "{}")
        os.symlink(target, self.path)
        config_files.write(self.path, '{"a": 1}')
        self.assertTrue(os.path.islink(self.path))
        self.assertEqual(config_files.read(target), '{"a": 1}')

    def test_a_failed_write_leaves_the_old_text_and_no_litter(self) -> None:
        config_files.write(self.path, "{}")
        with self.assertRaises(UnicodeEncodeError):
            config_files.write(self.path, "\ud800")
        self.assertEqual(config_files.read(self.path), "{}")
        self.assertEqual(os.listdir(self.folder), ["f.json"])

    def test_backups_do_not_overwrite_each_other(self) -> None:
        config_files.write(self.path, "{}")
        backups = os.path.join(self.folder, "b")
        first, second = (config_files.back_up(self.path, backups, "now") for _ in range(2))
        self.assertNotEqual(first, second)
        self.assertEqual((self.mode(first), self.mode(backups)), (0o600, 0o700))


if __name__ == "__main__":
    unittest.main()
