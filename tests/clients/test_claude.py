"""Registering with Claude Code: by its own program, by its file, and out again."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import unittest

from lattice.clients import record
from lattice.clients.base import Entry, Refused
from lattice.clients.claude import ClaudeCode, as_json

ENTRY = Entry("/usr/bin/python3.11", ("-I", "-S", "/opt/c2 lattice/mcp_server.py"))
OTHER = {"type": "stdio", "command": "python", "args": ["/old/mcp_server.py"], "env": {}}

# What `claude mcp add-json` and `remove` do, as far as the adapter can see; every call is written down.
PROGRAM = """#!{python} -S
import json, os, sys
home = os.environ["HOME"]
with open(home + "/calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
path = home + "/.claude.json"
state = json.load(open(path)) if os.path.exists(path) else {{}}
servers = state.setdefault("mcpServers", {{}})
mode = open(home + "/mode").read() if os.path.exists(home + "/mode") else ""
if mode == "broken":
    sys.exit("no network")
if sys.argv[2] == "add-json":
    if sys.argv[5] in servers:
        sys.exit("already exists")
    if mode != "liar":
        servers[sys.argv[5]] = json.loads(sys.argv[6])
elif servers.pop(sys.argv[5], None) is None:
    sys.exit(1)
json.dump(state, open(path, "w"), indent=2)
"""


class WithHome(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.file = os.path.join(self.folder, ".claude.json")
        self.home = os.path.join(self.folder, ".c2-lattice")
        os.makedirs(self.home, mode=0o700)
        self.environ = {"HOME": self.folder, "PATH": os.path.join(self.folder, "bin")}

    def adapter(self) -> ClaudeCode:
        return ClaudeCode(self.environ, self.home, "2026")

    def write(self, text: str, path: str = "") -> None:
        with open(path or self.file, "w", encoding="utf-8") as file:
            file.write(text)

    def text(self) -> str:
        with open(self.file, encoding="utf-8") as file:
            return file.read()

    def servers(self) -> object:
        return json.loads(self.text()).get("mcpServers")


class ByFile(WithHome):
    def test_installing_twice_changes_nothing(self) -> None:
        self.assertTrue(self.adapter().install(ENTRY))
        before = self.text()
        self.assertEqual(self.adapter().install(ENTRY), [])
        self.assertEqual(self.text(), before)
        self.assertEqual(self.servers(), {"c2-lattice": as_json(ENTRY)})
        self.assertNotIn("alwaysLoad", before)

    def test_a_new_file_is_private_and_goes_again(self) -> None:
        self.adapter().install(ENTRY)
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.adapter().uninstall(ENTRY)
        self.assertFalse(os.path.exists(self.file))
        self.assertEqual(record.read(self.home), {})

    def test_uninstalling_restores_the_bytes_and_leaves_no_copy(self) -> None:
        for text in ('{ "a" : 1 }', '{"mcpServers": { } }', "{}", "", '{\n  "mcpServers": {\n    "x": {}\n  }\n}\n'):
            with self.subTest(text):
                self.write(text)
                self.adapter().install(ENTRY)
                self.adapter().uninstall(ENTRY)
                self.assertEqual(self.text(), text)
                self.assertEqual(os.listdir(os.path.join(self.home, "backups")), [])

    def test_what_others_wrote_meanwhile_stays(self) -> None:
        self.write('{"a": 1}')
        self.adapter().install(ENTRY)
        state = json.loads(self.text())
        state["numStartups"] = 7
        self.write(json.dumps(state, indent=2))
        self.adapter().uninstall(ENTRY)
        self.assertEqual(json.loads(self.text()), {"a": 1, "numStartups": 7})

    def test_what_others_wrote_between_two_installations_stays(self) -> None:
        self.write('{"a": 1}')
        self.adapter().install(ENTRY)
        state = json.loads(self.text())
        state["numStartups"] = 7
        self.write(json.dumps(state))
        self.adapter().install(ENTRY._replace(command="/usr/bin/python3.12"))
        self.adapter().uninstall(ENTRY._replace(command="/usr/bin/python3.12"))
        self.assertEqual(json.loads(self.text()), {"a": 1, "numStartups": 7})

    def test_uninstalling_twice_and_without_an_installation_is_fine(self) -> None:
        self.assertEqual(self.adapter().uninstall(ENTRY), [])
        self.adapter().install(ENTRY)
        self.assertTrue(self.adapter().uninstall(ENTRY))
        self.assertEqual(self.adapter().uninstall(ENTRY), [])

    def test_an_entry_that_points_elsewhere_is_replaced_said_and_put_back(self) -> None:
        self.write(json.dumps({"mcpServers": {"c2-lattice": OTHER, "x": {}}}))
        before = self.text()
        said = self.adapter().install(ENTRY)
        self.assertIn("/old/mcp_server.py: replaced", said[0])
        self.assertEqual(self.servers(), {"c2-lattice": as_json(ENTRY), "x": {}})
        self.adapter().uninstall(ENTRY)
        self.assertEqual(self.text(), before)
        self.assertEqual(self.adapter().uninstall(ENTRY), [])  # what is there now is not ours
        self.assertEqual(self.text(), before)

    def test_a_moved_checkout_takes_its_old_entry_along(self) -> None:
        self.write("{}")
        self.adapter().install(Entry("/usr/bin/python3.11", ("/a/mcp_server.py",)))
        self.assertTrue(self.adapter().uninstall(ENTRY))
        self.assertEqual(self.text(), "{}")

    def test_what_a_person_added_to_our_entry_is_no_difference(self) -> None:
        self.write(json.dumps({"mcpServers": {"c2-lattice": {**as_json(ENTRY), "env": {"PEER_ID": "a"}, "timeout": 5}}}))
        self.assertEqual(self.adapter().install(ENTRY), [])

    def test_a_broken_file_is_refused_untouched(self) -> None:
        for text in ('{"a": 1,}', "[]", "{\n// mine\n}"):
            with self.subTest(text):
                self.write(text)
                for change in (self.adapter().install, self.adapter().uninstall):
                    with self.assertRaises(Refused):
                        change(ENTRY)
                self.assertEqual(self.text(), text)
                self.assertIn(self.file, self.adapter().find().problem)
        self.write('{"mcpServers": []}')
        with self.assertRaises(Refused):
            self.adapter().install(ENTRY)
        self.assertEqual(self.text(), '{"mcpServers": []}')

    def test_a_dry_run_does_nothing(self) -> None:
        self.assertIn("add c2-lattice", self.adapter().install(ENTRY, dry_run=True)[0])
        self.assertEqual(os.listdir(self.home), [])
        self.assertFalse(os.path.exists(self.file))
        self.adapter().install(ENTRY)
        self.assertIn("take c2-lattice out", self.adapter().uninstall(ENTRY, dry_run=True)[0])
        self.assertEqual(self.adapter().find().entry, ENTRY)

    def test_a_project_has_a_file_of_its_own(self) -> None:
        project = os.path.join(self.folder, "repo")
        os.makedirs(project)
        self.adapter().install(ENTRY, project=project)
        self.assertEqual(self.adapter().find(project).entry, ENTRY)
        self.assertEqual(self.adapter().find(project).file, os.path.join(project, ".mcp.json"))
        self.assertIsNone(self.adapter().find().entry)
        self.adapter().uninstall(ENTRY, project=project)
        self.assertEqual(os.listdir(project), [])

    def test_the_clients_own_folder_variable_is_honoured(self) -> None:
        self.environ["CLAUDE_CONFIG_DIR"] = os.path.join(self.folder, "elsewhere")
        self.adapter().install(ENTRY)
        self.assertTrue(os.path.exists(os.path.join(self.folder, "elsewhere", ".claude.json")))
        self.assertFalse(os.path.exists(self.file))

    def test_a_session_gets_its_prompt_as_one_argument(self) -> None:
        self.adapter().install(ENTRY)
        argv = self.adapter().session("/b/claude", "do $(x)\n`y`", headless=False, entry=ENTRY)
        self.assertEqual(["/b/claude", "do $(x)\n`y`", "--allowedTools", "mcp__c2-lattice"], argv)
        argv = self.adapter().session("/b/claude", "--dangerous", headless=True, entry=ENTRY)
        self.assertEqual(argv, ["/b/claude", "-p", " --dangerous", "--allowedTools", "mcp__c2-lattice"])

    def test_a_session_where_nothing_is_registered_brings_its_server(self) -> None:
        argv = self.adapter().session("/b/claude", "go", headless=False, entry=ENTRY)
        self.assertEqual(argv[2], "--mcp-config")
        self.assertEqual(json.loads(argv[3])["mcpServers"]["c2-lattice"], as_json(ENTRY))


@unittest.skipIf(os.name == "nt", "the stand-in is a script with a first line")
class ByProgram(WithHome):
    def setUp(self) -> None:
        super().setUp()
        os.makedirs(self.environ["PATH"])
        program = os.path.join(self.environ["PATH"], "claude")
        self.write(PROGRAM.format(python=os.path.realpath(sys.executable)), program)
        os.chmod(program, 0o755)

    def calls(self) -> list[list[str]]:
        with open(os.path.join(self.folder, "calls"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_it_is_registered_by_the_program_with_one_argument_list(self) -> None:
        self.adapter().install(ENTRY)
        self.assertEqual(self.calls(), [["mcp", "add-json", "--scope", "user", "c2-lattice", json.dumps(as_json(ENTRY))]])
        self.assertEqual(self.adapter().find().entry, ENTRY)
        self.assertEqual(self.adapter().install(ENTRY), [])
        self.assertEqual(len(self.calls()), 1)

    def test_it_is_taken_out_by_the_program_when_others_wrote_since(self) -> None:
        self.write('{"a": 1}')
        self.adapter().install(ENTRY)
        self.write(self.text() + "\n")
        self.adapter().uninstall(ENTRY)
        self.assertEqual(self.calls()[-1], ["mcp", "remove", "--scope", "user", "c2-lattice"])
        self.assertEqual(json.loads(self.text()), {"a": 1})

    def test_nothing_in_between_means_the_same_bytes(self) -> None:
        self.write('{"a":   1}')
        self.adapter().install(ENTRY)
        self.adapter().uninstall(ENTRY)
        self.assertEqual(self.text(), '{"a":   1}')

    def test_an_entry_that_points_elsewhere_is_removed_first(self) -> None:
        self.write(json.dumps({"mcpServers": {"c2-lattice": OTHER}}))
        self.assertIn("replaced", self.adapter().install(ENTRY)[0])
        self.assertEqual([call[1] for call in self.calls()], ["remove", "add-json"])
        self.assertEqual(self.servers(), {"c2-lattice": as_json(ENTRY)})
        self.adapter().uninstall(ENTRY)
        self.assertEqual(self.servers(), {"c2-lattice": OTHER})

    def test_a_program_that_fails_or_lies_is_said_and_the_file_is_edited(self) -> None:
        for mode in ("broken", "liar"):
            with self.subTest(mode):
                self.write('{"a": 1}')
                self.write(mode, os.path.join(self.folder, "mode"))
                said = self.adapter().install(ENTRY)
                self.assertIn("the file was edited instead", " ".join(said))
                self.assertEqual(self.adapter().find().entry, ENTRY)
                self.adapter().uninstall(ENTRY)
                self.assertEqual(json.loads(self.text()), {"a": 1})

    def test_a_dry_run_shows_the_command_and_runs_nothing(self) -> None:
        self.assertIn("mcp add-json --scope user c2-lattice", self.adapter().install(ENTRY, dry_run=True)[0])
        self.assertFalse(os.path.exists(os.path.join(self.folder, "calls")))


if __name__ == "__main__":
    unittest.main()
