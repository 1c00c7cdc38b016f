"""git's pre-commit hook: put into a repository, taken out, and what it refuses."""

from __future__ import annotations

import os
import stat
import subprocess
import unittest

from lattice.cli import git_hook
from lattice.clients.base import Refused
from tests.cli.house import House
from tests.running import Broker, Session

GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
WHO = {f"GIT_{role}_{what}": "t@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Repository(House):
    def setUp(self) -> None:
        super().setUp()
        self.environ |= {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **GIT, **WHO}
        self.repo = os.path.join(self.folder, "a repo")
        self.git("init", "-q", self.repo, cwd=self.folder)
        self.hook = os.path.join(self.repo, ".git", "hooks", "pre-commit")

    def git(self, *words: str, cwd: str = "") -> subprocess.CompletedProcess[str]:
        how = {"cwd": cwd or self.repo, "env": self.environ, "timeout": 60}
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload,no-any-return]

    def text(self, path: str = "") -> str:
        with open(path or self.hook, encoding="utf-8") as file:
            return file.read()

    def write(self, text: str, path: str = "", mode: int = 0o755) -> None:
        with open(path or self.hook, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path or self.hook, mode)


class PutIn(Repository):
    def test_it_is_made_found_and_goes_again(self) -> None:
        before = self.files()
        self.assertIn("would", self.run_script("install.py", "--git-hook", self.repo, "--dry-run").stdout)
        self.assertEqual(self.files(), before)
        done = self.run_script("install.py", "--git-hook", self.repo)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(os.stat(self.hook).st_mode & stat.S_IXUSR)
        self.assertIn("nothing to do", self.run_script("install.py", "--git-hook", self.repo).stdout)
        self.assertIn("checks locks", self.run_script("install.py", "--git-hook", self.repo, "--status").stdout)
        self.assertEqual(self.run_script("install.py", "--git-hook", self.repo, "--uninstall").returncode, 0)
        self.assertEqual(self.files(), before)
        self.assertIn("no check", self.run_script("install.py", "--git-hook", self.repo, "--status").stdout)

    def test_a_hook_that_is_there_keeps_its_lines_and_still_runs(self) -> None:
        for head in ("#!/bin/sh\n", "#!/usr/bin/env bash\n", "#! /bin/dash -e\n"):
            mine = head + "echo mine >&2\nexit 3\n"
            self.write(mine)
            git_hook.add(self.repo, self.environ)
            self.assertTrue(self.text().startswith(head) and self.text().endswith("echo mine >&2\nexit 3\n"))
            git_hook.remove(self.repo, self.environ)
            self.assertEqual(self.text(), mine)

    def test_what_it_cannot_join_it_refuses_untouched(self) -> None:
        for text, mode in (("#!/usr/bin/env python3\nprint(1)\n", 0o755), ("\x7fELF", 0o755), ("#!/bin/sh\nexit 1\n", 0o644)):
            if os.name == "nt" and mode == 0o644:
                continue
            self.write(text, mode=mode)
            with self.assertRaises(Refused):
                git_hook.add(self.repo, self.environ)
            self.assertEqual(self.text(), text)
        with self.assertRaises(Refused):
            git_hook.add(self.folder, self.environ)

    def test_the_folder_that_git_is_told_to_use_is_used(self) -> None:
        self.git("config", "core.hooksPath", "my-hooks")
        git_hook.add(self.repo, self.environ)
        self.assertIn("c2-lattice", self.text(os.path.join(self.repo, "my-hooks", "pre-commit")))
        self.assertFalse(os.path.exists(self.hook))


class Commits(Repository):
    def setUp(self) -> None:
        super().setUp()
        git_hook.add(self.repo, self.environ)
        self.broker = Broker(self.folder, C2_LATTICE_HOME=self.home, C2_LATTICE_DB=os.path.join(self.folder, "db")).start()
        self.addCleanup(self.broker.close)
        self.environ |= {"C2_LATTICE_HOME": self.home, "C2_LATTICE_PORT": str(self.broker.port)}
        self.alice = self.broker.enrol("alice", working_dir=self.repo)
        self.path = os.path.join(self.repo, "app.py")
        self.write("x\n", self.path, 0o644)
        self.git("add", "-A")

    def test_a_session_cannot_commit_what_another_holds(self) -> None:
        environ = {"C2_LATTICE_HOME": self.home, "C2_LATTICE_PORT": str(self.broker.port), "C2_LATTICE_WAKE": "off"}
        with Session(self.folder, cwd=self.repo, PEER_ID="bob", **environ) as session:
            session.initialize()
            session.call("list_peers")
            self.alice.post("/lock", {"file_path": self.path, "reason": "mine"})
            done = self.git("commit", "-q", "-m", "x")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("alice", done.stderr)
            self.assertIn("app.py", done.stderr)
            self.alice.post("/unlock", {"file_path": self.path})
            session.call("lock_file", file_path=self.path)
            done = self.git("commit", "-q", "-m", "x")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.alice.post("/lock", {"file_path": os.path.join(self.repo, "other.py")})
            self.assertEqual(session.call("unlock_file", file_path=self.path)["ok"], True)
            self.alice.post("/lock", {"file_path": self.path})
            self.git("rm", "-q", "app.py")
            self.assertNotEqual(self.git("commit", "-q", "-m", "gone").returncode, 0)  # taking it away changes it too
            self.assertEqual(self.git("commit", "-q", "--no-verify", "-m", "gone").returncode, 0)

    def test_the_person_is_refused_as_well_and_without_a_broker_nobody(self) -> None:
        self.alice.post("/lock", {"file_path": self.path})
        done = self.git("commit", "-q", "-m", "x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--no-verify", done.stderr)
        self.broker.kill()
        done = self.git("commit", "-q", "-m", "x")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_session_that_is_nobody_yet_is_told_so_and_commits(self) -> None:
        self.alice.post("/lock", {"file_path": self.path})
        self.environ["CLAUDECODE"] = "1"
        done = self.git("commit", "-q", "-m", "x")
        self.assertEqual(done.returncode, 0)
        self.assertIn("not looked at", done.stderr)


if __name__ == "__main__":
    unittest.main()
