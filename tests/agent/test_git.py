"""Git, seen from outside: where sessions meet, and what is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest

from lattice.agent import git


class WithRepositories(unittest.TestCase):
    def setUp(self) -> None:
        self.top = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))

    def path(self, *parts: str) -> str:
        return os.path.join(self.top, *parts)

    def git(self, *argv: str, folder: str = "") -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": self.top, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *who, *argv], cwd=folder or self.top, env=environ, check=True, capture_output=True)

    def repository(self, name: str, origin: str = "") -> str:
        self.git("init", "-q", name)
        if origin:
            self.git("remote", "add", "origin", origin, folder=self.path(name))
        return self.path(name)

    def committed(self, name: str, origin: str = "") -> str:
        folder = self.repository(name, origin)
        self.git("commit", "-q", "--allow-empty", "-m", "first", folder=folder)
        return folder


@unittest.skipUnless(shutil.which("git"), "needs git")
class TheWorkspace(WithRepositories):
    def test_it_is_the_origins_host_and_path_however_that_is_written(self) -> None:
        for number, origin in enumerate(
            (
                "https://github.com/who/What.git",
                "https://user:pw@github.com/who/What",
                "git@github.com:who/What.git",
                "ssh://git@GitHub.com:22/who/What.git/",
                "git://github.com//who/What",
                "https://github.com/who/What.git?x#y",
            )
        ):
            with self.subTest(origin=origin):
                self.assertEqual(git.workspace(self.repository(f"r{number}", origin)), "github.com/who/What")

    def test_a_folder_inside_belongs_to_its_repository(self) -> None:
        folder = self.repository("r", "https://h/p")
        os.makedirs(os.path.join(folder, "a", "b"))
        self.assertEqual(git.workspace(os.path.join(folder, "a", "b")), "h/p")
        self.assertEqual(git.root(os.path.join(folder, "a", "b")), folder)

    def test_worktrees_of_one_repository_meet(self) -> None:
        folder = self.committed("r")
        self.git("worktree", "add", "-q", self.path("tree"), folder=folder)
        self.assertTrue(os.path.isfile(self.path("tree", ".git")))
        self.assertEqual(git.workspace(self.path("tree")), git.workspace(folder))
        self.assertEqual(git.workspace(folder), os.path.join(folder, ".git"))
        self.git("remote", "add", "origin", "https://h/p", folder=folder)
        self.assertEqual(git.workspace(self.path("tree")), "h/p")

    def test_clones_of_a_local_repository_meet_it(self) -> None:
        folder = self.committed("r")
        self.git("clone", "-q", folder, "copy")
        self.git("clone", "-q", f"file://{folder}", "other")
        self.git("clone", "-q", "--bare", folder, "bare.git")
        self.git("clone", "-q", "bare.git", "of-bare")
        for name in ("copy", "other"):
            self.assertEqual(git.workspace(self.path(name)), git.workspace(folder), name)
        self.assertEqual(git.workspace(self.path("of-bare")), git.workspace(self.path("bare.git")))

    def test_origins_that_point_at_each_other_end(self) -> None:
        self.repository("a", self.path("b"))
        self.repository("b", self.path("a"))
        self.assertTrue(git.workspace(self.path("a")))

    def test_outside_of_any_it_is_the_real_path(self) -> None:
        os.makedirs(self.path("plain"))
        os.symlink(self.path("plain"), self.path("link"))
        self.assertEqual(git.workspace(self.path("link")), self.path("plain"))

    def test_a_submodule_is_a_workspace_of_its_own(self) -> None:
        inner = self.committed("inner")
        outer = self.committed("outer")
        self.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", inner, "sub", folder=outer)
        self.assertEqual(git.workspace(os.path.join(outer, "sub")), git.workspace(inner))

    def test_damaged_git_files_do_no_harm(self) -> None:
        folder = self.path("x")
        os.makedirs(folder)
        for content in (b"", b"gitdir: /no/such", b"\xff\0", b"gitdir:" + b"a" * 300_000):
            with open(os.path.join(folder, ".git"), "wb") as file:
                file.write(content)
            self.assertEqual(git.workspace(folder), folder)


@unittest.skipUnless(shutil.which("git"), "needs git")
class TheState(WithRepositories):
    def test_branch_commit_and_every_kind_of_change(self) -> None:
        folder = self.repository("r")
        for name in ("kept.py", "old name.py", "gone.py"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(name * 20)
        self.git("add", ".", folder=folder)
        self.git("commit", "-q", "-m", "first", folder=folder)
        self.git("mv", "old name.py", "new name.py", folder=folder)
        os.unlink(os.path.join(folder, "gone.py"))
        with open(os.path.join(folder, 'quote " ünï.py'), "w", encoding="utf-8") as file:
            file.write("x")
        said = git.state(folder)
        self.assertEqual((said["git_branch"], said["git_more"]), ("main", 0))
        self.assertRegex(str(said["git_last_commit"]), r"\A[0-9a-f]{12}\Z")
        self.assertEqual(set(said["git_dirty_files"]), {"new name.py", "gone.py", 'quote " ünï.py'})  # type: ignore[call-overload]

    def test_a_repository_without_a_commit_and_a_folder_without_one(self) -> None:
        self.assertEqual(
            git.state(self.repository("r")), {"git_branch": "main", "git_dirty_files": [], "git_more": 0, "git_last_commit": ""}
        )
        self.assertEqual(git.state(self.top), {})

    def test_it_changes_nothing_in_the_repository(self) -> None:
        folder = self.committed("r")
        with open(os.path.join(folder, "a"), "w", encoding="utf-8") as file:
            file.write("x")
        index = os.path.join(folder, ".git", "index")
        before = os.stat(index).st_mtime_ns if os.path.exists(index) else 0
        git.state(folder)
        self.assertEqual(os.stat(index).st_mtime_ns if os.path.exists(index) else 0, before)

    def test_names_beyond_the_cap_are_dropped_whole_and_counted(self) -> None:
        lines = [b"# branch.oid " + b"a" * 40, b"# branch.head main"]
        many = [b"? f%d" % number for number in range(1000)]
        said = git.shape(b"\0".join(lines + many) + b"\0")
        self.assertEqual((len(said["git_dirty_files"]), said["git_more"]), (git.MAX_NAMES, 800))  # type: ignore[arg-type]
        long = [b"? " + b"x" * 900 for _ in range(20)]
        said = git.shape(b"\0".join(lines + long) + b"\0")
        names = said["git_dirty_files"]
        assert isinstance(names, list)
        self.assertTrue(all(len(name) == 900 for name in names))
        self.assertEqual(len(names) + int(str(said["git_more"])), 20)
        self.assertLessEqual(sum(map(len, names)), git.MAX_NAMES_BYTES)
        self.assertEqual(git.shape(b"? " + b"y" * 2000 + b"\0")["git_more"], 1)


if __name__ == "__main__":
    unittest.main()
