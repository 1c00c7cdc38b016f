"""Held means held: edits and commands of a session whose file another one has."""

from __future__ import annotations

import os
import subprocess
import unittest
from typing import Any

from tests.hooks.hooking import Hooked, Ran
from tests.running import until

CHANGE = {"old_string": "x", "new_string": "y"}
EDITS: dict[str, dict[str, object]] = {"Write": {"content": "mine"}, "Edit": {**CHANGE}, "MultiEdit": {"edits": [CHANGE]}}


class Guarded(Hooked):
    def setUp(self) -> None:
        super().setUp()
        self.mine = self.session()
        self.alice = self.other()
        self.file = self.path("src/app.py")

    def lock(self, path: str = "", **more: object) -> None:
        self.alice.post("/lock", {"file_path": path or self.file, "reason": "new parser", **more})
        self.until_flag("locks")

    def edit(self, path: str, tool: str = "Edit", **environ: str) -> Ran:
        given: dict[str, Any] = {"file_path": path, **EDITS.get(tool, {})}
        return self.run_hook("PreToolUse", tool, given, environ=environ)

    def bash(self, command: str, **said: Any) -> Ran:
        return self.run_hook("PreToolUse", "Bash", {"command": command, "description": "x"}, **said)

    def refused(self, ran: Ran) -> None:
        self.assertEqual((ran.status, ran.stderr, ran.decision), (0, "", "deny"), ran.stdout)
        self.assertIn(self.alice.id, ran.reason)

    def let_go_on(self, ran: Ran) -> None:
        self.assertEqual((ran.status, ran.stdout, ran.stderr), (0, "", ""))


class Edits(Guarded):
    def test_a_held_file_is_refused_with_who_why_since_when_and_what_to_do(self) -> None:
        task = self.alice.post("/tasks", {"title": "parser"})["task_id"]
        self.lock(task_id=task)
        for tool in EDITS:
            ran = self.edit(self.file, tool)
            self.refused(ran)
            for part in ("new parser", f"#{task}", "since", "as long as", "lock_file", '"queue": true', self.file):
                self.assertIn(part, ran.reason, tool)

    def test_a_notebook_and_a_foreign_servers_absolute_path_are_files_too(self) -> None:
        notebook = self.path("n.ipynb", "{}")
        self.lock(notebook)
        self.refused(self.run_hook("PreToolUse", "NotebookEdit", {"notebook_path": notebook, "new_source": "x"}))
        self.refused(self.run_hook("PreToolUse", "mcp__files__write_file", {"path": notebook, "content": "x"}))
        self.refused(self.run_hook("PreToolUse", "mcp__files__move_file", {"source": "/elsewhere", "destination": notebook}))
        self.let_go_on(self.run_hook("PreToolUse", "mcp__forge__create_file", {"path": "n.ipynb"}))  # of a repository elsewhere

    def test_what_lies_in_a_held_folder_or_glob_is_held(self) -> None:
        self.lock(self.project + "/src/")
        self.refused(self.edit(os.path.join(self.project, "src", "new.py")))
        self.lock(self.project + "/**/*.sql")
        self.refused(self.edit(os.path.join(self.project, "db", "a.sql"), "Write"))
        self.let_go_on(self.edit(os.path.join(self.project, "db", "a.py"), "Write"))

    def test_other_files_ones_own_and_released_ones_are_let_through(self) -> None:
        self.lock()
        self.let_go_on(self.edit(self.path("other.py")))
        own = self.path("own.py")
        self.mine.call("lock_file", file_path=own)
        self.let_go_on(self.edit(own))
        self.alice.post("/unlock", {"file_path": self.file})
        until(lambda: "locks" not in self.flag(), "nobody else holds anything")
        self.let_go_on(self.edit(self.file))

    def test_the_late_edit_of_whoever_lost_the_lock_is_refused(self) -> None:
        self.mine.call("lock_file", file_path=self.file)
        self.broker.person().post("/unlock", {"file_path": self.file})
        self.until_flag("lost")
        ran = self.edit(self.file)
        self.assertEqual(ran.decision, "deny")
        self.assertIn("lost", ran.reason)

    def test_a_session_that_was_ended_edits_nothing_any_more(self) -> None:
        self.lock(self.path("other.py"))
        self.broker.person().post("/kill-peer", {"peer_id": self.peer})
        ran = self.edit(self.file)
        self.assertEqual((ran.status, ran.decision), (0, "deny"), ran.stdout)
        self.assertIn("was ended", ran.reason)
        self.assertEqual(self.bash(f"sed -i s/a/b/ {self.file}").decision, "deny")
        self.let_go_on(self.bash("git status"))

    def test_auto_takes_what_is_free_for_the_turn(self) -> None:
        self.let_go_on(self.edit(self.file, C2_LATTICE_AUTOLOCK="on"))
        [lock] = [one for one in self.alice.get("/locks")["locks"] if one["file_path"] == self.file]
        self.assertEqual(lock["peer_id"], self.peer)
        self.run_hook("Stop", stop_hook_active=False, environ={"C2_LATTICE_AUTOLOCK": "on"})
        self.assertEqual([one for one in self.alice.get("/locks")["locks"] if one["file_path"] == self.file], [])
        self.lock()
        self.refused(self.edit(self.file, C2_LATTICE_AUTOLOCK="on"))

    def test_a_tool_without_a_path_is_let_through(self) -> None:
        self.lock()
        for given in ({}, {"file_path": ""}, {"file_path": 5}, {"file_path": ["a"]}):
            self.let_go_on(self.run_hook("PreToolUse", "Write", given))


class Commands(Guarded):
    def test_a_command_that_writes_a_held_file_is_refused(self) -> None:
        self.lock()
        commands = ("echo x > src/app.py", f"sed -i s/x/y/ {self.file}", "cd src && tee app.py < /dev/null", "git checkout -- src/app.py")
        for command in (*commands, "rm src/app.py", "echo x > \ud800.py; echo x > src/app.py"):
            with self.subTest(ascii(command)):
                self.refused(self.bash(command))

    def test_a_command_that_goes_through_a_link_is_refused(self) -> None:
        self.lock()
        os.symlink(os.path.join(self.project, "src"), os.path.join(self.project, "link"))
        self.refused(self.bash("echo x > link/app.py"))

    def test_harmless_commands_and_those_elsewhere_are_let_through(self) -> None:
        self.lock()
        elsewhere = ("echo x > src/other.py", "cp src/app.py /tmp/nowhere-else")
        for command in ("cat src/app.py", "grep -rn x src | sort", "git status", "", *elsewhere):
            with self.subTest(command):
                self.let_go_on(self.bash(command))

    def test_one_that_may_touch_it_is_for_the_person_to_decide(self) -> None:
        subprocess.run(["git", "init", "-q", self.project], check=True)
        self.lock()
        ran = self.bash("git reset --hard")
        self.assertEqual(ran.decision, "ask")
        self.assertIn(self.alice.id, ran.reason)

    def test_one_that_cannot_be_read_is_compared_and_a_breach_told_to_both(self) -> None:
        self.lock()
        for event in ("PostToolUse", "PostToolUseFailure"):
            self.let_go_on(self.bash("./do-it.sh", tool_use_id=event))
            self.path("src/app.py", "changed by " + event)
            ran = self.run_hook(event, "Bash", {"command": "./do-it.sh"}, tool_use_id=event)
            self.assertEqual((ran.status, ran.stderr), (0, ""))
            self.assertIn(self.file, ran.context)
            self.assertIn(self.alice.id, ran.context)
            self.assertEqual(ran.said["hookSpecificOutput"]["hookEventName"], event)
            [told] = self.alice.post("/inbox/take")["messages"]
            self.assertIn(f"{self.peer} changed what you hold by: ./do-it.sh", told["content"])

    def test_one_that_changed_nothing_held_is_told_to_nobody(self) -> None:
        self.lock()
        self.lock(self.project + "/docs/")
        self.path("docs/a.md")
        self.let_go_on(self.bash("./do-it.sh", tool_use_id="t"))
        self.path("src/free.py")
        self.let_go_on(self.run_hook("PostToolUse", "Bash", {"command": "./do-it.sh"}, tool_use_id="t"))
        self.assertEqual(self.alice.post("/inbox/take")["messages"], [])

    def test_what_was_added_to_or_removed_from_a_held_folder_is_seen(self) -> None:
        gone = self.path("docs/a.md")
        self.lock(self.project + "/docs/")
        self.bash("./do-it.sh", tool_use_id="t")
        os.unlink(gone)
        self.path("docs/new.md")
        context = self.run_hook("PostToolUse", "Bash", {"command": "./do-it.sh"}, tool_use_id="t").context
        self.assertIn("docs/a.md", context)
        self.assertIn("docs/new.md", context)

    def test_the_comparison_is_made_though_the_lock_was_given_back_meanwhile(self) -> None:
        self.lock()
        self.bash("./do-it.sh", tool_use_id="t")
        self.alice.post("/unlock", {"file_path": self.file})
        until(lambda: not self.flag(), "the flag is down")
        self.let_go_on(self.run_hook("PostToolUse", "Bash", {"command": "./do-it.sh"}, tool_use_id="t"))
        left = [name for name in os.listdir(os.path.join(self.broker.state, "hooks")) if ".watch." in name]
        self.assertEqual(left, [])


class FarTooManyFiles(unittest.TestCase):
    def test_beyond_the_bound_git_says_what_is_dirty(self) -> None:
        import tempfile
        from unittest import mock

        from lattice.hooks import after

        top = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        subprocess.run(["git", "init", "-q", top], check=True)
        for number in range(20):
            with open(os.path.join(top, f"f{number}"), "w", encoding="utf-8") as file:
                file.write("x")
        git = ["git", "-C", top, "-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
        with mock.patch.object(after, "LOOK_AT", 1):
            before = after.states([["dir", top]], top)
            os.unlink(os.path.join(top, "f7"))
            now = after.states([["dir", top]], top)
        self.assertEqual({path for path in {*before, *now} if before.get(path) != now.get(path)}, {os.path.join(top, "f7")})


if __name__ == "__main__":
    unittest.main()
