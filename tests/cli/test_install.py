"""install.py, run as a person runs it, in homes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest

from lattice.cli import bin_command
from lattice.clients.claude_hooks import entries
from tests.cli.house import TOP, House


class Installing(House):
    def setUp(self) -> None:
        super().setUp()
        self.file = os.path.join(self.folder, ".claude.json")
        self.command = os.path.join(self.folder, ".local", "bin", "c2-lattice")

    def test_installing_and_uninstalling_leaves_everything_as_it_was(self) -> None:
        with open(self.file, "w", encoding="utf-8") as file:
            file.write('{ "theme":"dark" ,\n "mcpServers" : { "x":{"command":"y"} } }')
        before = self.files()
        done = self.run_script("install.py")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(self.file, encoding="utf-8") as file:
            entry = json.load(file)["mcpServers"]["c2-lattice"]
        self.assertEqual(entry["command"], os.path.realpath(sys.executable))
        self.assertEqual(entry["args"], ["-I", "-S", os.path.join(TOP, "mcp_server.py")])
        after = self.files()
        again = self.run_script("install.py")
        self.assertIn("already", again.stdout)
        self.assertEqual(self.files(), after)
        self.assertEqual(self.run_script("install.py", "--status").returncode, 0)
        done = self.run_script("install.py", "--uninstall")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.files(), before)
        self.assertEqual(self.run_script("install.py", "--uninstall").returncode, 0)
        self.assertEqual(self.run_script("install.py", "--status").returncode, 1)
        self.assertEqual(self.files(), before)

    def test_a_dry_run_says_what_and_does_nothing(self) -> None:
        done = self.run_script("install.py", "--dry-run")
        self.assertIn(self.file, done.stdout)
        self.assertIn("command", done.stdout)
        self.assertEqual(self.files(), {})
        self.run_script("install.py")
        before = self.files()
        self.assertIn("take c2-lattice out", self.run_script("install.py", "--uninstall", "--dry-run").stdout)
        self.assertEqual(self.files(), before)

    def test_a_project_gets_its_own_file_and_nothing_else_changes(self) -> None:
        project = os.path.join(self.folder, "a repo")
        os.makedirs(project)
        self.assertEqual(self.run_script("install.py", "--project", project).returncode, 0)
        self.assertEqual(os.listdir(project), [".mcp.json"])
        self.assertFalse(os.path.exists(self.file) or os.path.exists(self.command))
        self.assertEqual(self.run_script("install.py", "--uninstall", "--project", project).returncode, 0)
        self.assertEqual(os.listdir(project), [])
        done = self.run_script("install.py", "--project", os.path.join(self.folder, "none"))
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))

    def test_a_broken_file_is_one_sentence_and_stays(self) -> None:
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("{ // mine\n}")
        done = self.run_script("install.py")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("not valid JSON", done.stderr)
        with open(self.file, encoding="utf-8") as file:
            self.assertEqual(file.read(), "{ // mine\n}")

    @unittest.skipIf(os.name == "nt", "a script of POSIX")
    def test_the_command_runs_with_its_arguments_as_they_were(self) -> None:
        self.run_script("install.py")
        done = subprocess.run([self.command, "help", "send"], env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("RECIPIENT_ID CONTENT", done.stdout)
        done = subprocess.run([self.command, "no such; `verb`"], env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such; `verb`", done.stderr)

    def test_a_foreign_command_is_never_overwritten_nor_removed(self) -> None:
        os.makedirs(os.path.dirname(self.command))
        with open(self.command, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho mine\n")
        self.assertIn("left alone", self.run_script("install.py").stdout)
        self.run_script("install.py", "--uninstall")
        with open(self.command, encoding="utf-8") as file:
            self.assertIn("echo mine", file.read())

    def test_a_bin_folder_that_is_not_on_path_is_said(self) -> None:
        self.assertIn("not on your PATH", self.run_script("install.py").stdout)
        self.run_script("install.py", "--uninstall")
        self.assertNotIn("not on your PATH", self.run_script("install.py", PATH="/usr/bin:" + os.path.dirname(self.command)).stdout)

    def test_uninstalling_keeps_data_and_says_where(self) -> None:
        self.run_script("install.py")
        with open(os.path.join(self.home, "secret"), "w", encoding="utf-8") as file:
            file.write("x" * 64)
        database = os.path.join(self.folder, ".c2-lattice.db")
        with open(database, "w", encoding="utf-8"):
            pass
        said = self.run_script("install.py", "--uninstall").stdout
        self.assertIn(f"your data stays in {self.home} and {database};", said)
        self.assertTrue(os.path.exists(os.path.join(self.home, "secret")))

    def test_a_wrong_setting_and_a_wrong_line_are_status_two(self) -> None:
        self.assertEqual(self.run_script("install.py", C2_LATTICE_PORT="x").returncode, 2)
        self.assertEqual(self.run_script("install.py", "--what").returncode, 2)


class WithHooks(House):
    def setUp(self) -> None:
        super().setUp()
        self.settings = os.path.join(self.folder, ".claude", "settings.json")

    def hooks(self) -> object:
        with open(self.settings, encoding="utf-8") as file:
            return json.load(file).get("hooks")

    def test_the_hooks_come_with_it_and_the_settings_are_again_as_they_were(self) -> None:
        os.makedirs(os.path.dirname(self.settings))
        with open(self.settings, "w", encoding="utf-8") as file:
            file.write('{ "model":"opus" ,\n "hooks" : { "Stop": [ {"hooks":[]} ] } }')
        before = self.files()
        self.assertIn(self.settings, self.run_script("install.py").stdout)
        self.assertEqual(set(entries()), set(self.hooks()))  # type: ignore[call-overload]
        status = self.run_script("install.py", "--status").stdout
        self.assertIn(f"hooks: in {self.settings}\n", status)
        self.assertIn("hooks are there already", self.run_script("install.py").stdout)
        self.run_script("install.py", "--uninstall")
        self.assertEqual(self.files(), before)
        self.assertIn("none of ours", self.run_script("install.py", "--status").stdout)

    def test_without_hooks_means_without(self) -> None:
        self.run_script("install.py", "--no-hooks")
        self.assertFalse(os.path.exists(os.path.dirname(self.settings)))
        self.run_script("install.py", "--rewake")
        self.assertIn("asyncRewake", json.dumps(self.hooks()))
        self.assertIn("wakes an idle session", self.run_script("install.py", "--status").stdout)
        self.run_script("install.py", "--no-hooks")
        self.assertFalse(os.path.exists(os.path.dirname(self.settings)))
        self.assertEqual(self.run_script("install.py", "--status").returncode, 0)

    def test_settings_that_do_not_parse_are_one_sentence_and_stay(self) -> None:
        os.makedirs(os.path.dirname(self.settings))
        with open(self.settings, "w", encoding="utf-8") as file:
            file.write("{ // mine\n}")
        for words, done_anyway in (((), "wrote the command"), (("--uninstall",), "removed the command")):
            done = self.run_script("install.py", *words)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
            self.assertIn("Mend that", done.stderr)
            self.assertIn(done_anyway, done.stdout)
        self.assertEqual(self.run_script("install.py", "--status").returncode, 1)
        self.assertIn("not valid JSON", self.run_script("install.py", "--status").stdout)
        with open(self.settings, encoding="utf-8") as file:
            self.assertEqual(file.read(), "{ // mine\n}")

    def test_a_plugin_folder_is_written_instead_and_nothing_else_changes(self) -> None:
        before = self.files()
        done = self.run_script("install.py", "--plugin", "plug")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "plug", "hooks", "hooks.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file), {"hooks": entries()})
        self.run_script("install.py", "--plugin", "plug", "--uninstall")
        self.assertEqual(self.files(), before)

    def test_the_status_of_a_plugin_folder_is_told_and_changes_nothing(self) -> None:
        before = self.files()
        done = self.run_script("install.py", "--plugin", "plug", "--status")
        self.assertEqual((done.returncode, done.stdout), (0, f"{os.path.join(self.folder, 'plug')}: no plugin\n"))
        self.assertEqual(self.files(), before)
        self.run_script("install.py", "--plugin", "plug")
        self.assertIn("plug: a plugin of ours\n", self.run_script("install.py", "--plugin", "plug", "--status").stdout)
        with open(os.path.join(self.folder, "plug", "README.md"), "w", encoding="utf-8"):
            pass
        there = self.files()
        self.assertIn("run install.py --plugin)", self.run_script("install.py", "--plugin", "plug", "--status").stdout)
        self.assertEqual(self.files(), there)

    def test_a_plugin_folder_without_a_name_is_refused_and_nothing_is_installed_instead(self) -> None:
        before = self.files()
        done = self.run_script("install.py", "--plugin", "")
        self.assertEqual((done.returncode, done.stderr), (1, "c2-lattice: --plugin needs the name of a folder\n"))
        self.assertEqual(self.files(), before)


class TheCommandOnWindows(House):
    def test_it_is_a_batch_file_with_quoted_names_in_the_folder_that_is_on_path(self) -> None:
        apps = os.path.join(self.folder, "Microsoft", "WindowsApps")
        os.makedirs(apps)
        os.makedirs(self.home)
        environ = {"LOCALAPPDATA": self.folder, "PATH": apps}
        self.assertTrue(bin_command.install(environ, self.home, windows=True))
        with open(os.path.join(apps, "c2-lattice.cmd"), encoding="utf-8", newline="") as file:
            said = file.read()
        self.assertIn(f'" -I -S "{bin_command.LAUNCHER}" %*\r\n', said)
        self.assertEqual(bin_command.install(environ, self.home, windows=True), [])
        bin_command.uninstall(environ, self.home, windows=True)
        self.assertEqual(os.listdir(apps), [])


class OlderPython(unittest.TestCase):
    def test_the_scripts_say_which_python_they_need_before_anything_newer_is_read(self) -> None:
        for script in ("install.py", "launch.py"):
            with open(os.path.join(TOP, script), encoding="utf-8") as file:
                head = file.read().partition("sys.path.insert")[0]
            older = "import sys\nsys.version_info, sys.version = (3, 9, 1), '3.9.1 (x)'\n"
            code = older + "exec(compile(sys.argv[1], 's', 'exec'))\nprint('went on')"
            done = subprocess.run([sys.executable, "-c", code, head], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("needs Python 3.11 or newer; this is 3.9", done.stderr)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
