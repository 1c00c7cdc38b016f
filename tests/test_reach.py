"""Reach: one real file is one path in all its spellings, and what overlaps is seen to."""

from __future__ import annotations

import itertools
import os
import tempfile
import unicodedata
import unittest

from lattice import names, reach
from lattice.errors import BadRequest
from tests import running


class Folder(unittest.TestCase):
    """A folder `repo` with `src/a.py`, and its look-alikes beside it."""

    def setUp(self) -> None:
        self.top = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.repo = self.make("repo/src/a.py", "repo-evil/src/a.py", "tree/src/a.py")

    def make(self, *files: str) -> str:
        for name in files:
            path = os.path.join(self.top, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8"):
                pass
        return os.path.join(self.top, "repo")

    def of(self, text: str, base: str | None = None, **more: bool) -> tuple[str, str]:
        return reach.of(text, self.repo if base is None else base, **more)


class OneFileIsOnePath(Folder):
    def test_a_file_has_one_path_however_it_is_written(self) -> None:
        os.symlink(os.path.join(self.repo, "src"), os.path.join(self.repo, "lib"))
        os.symlink(os.path.join(self.repo, "src/a.py"), os.path.join(self.repo, "alias.py"))
        os.symlink(self.repo, os.path.join(self.top, "link"))
        real = os.path.join(self.repo, "src/a.py")
        spellings = (
            "src/a.py", real, "./src/a.py", "src/./a.py", "src//a.py", "src/../src/a.py", "../repo/src/a.py", " src/a.py ", "src/a.py\t",
            "lib/a.py", "alias.py", "../link/src/a.py", f"{self.top}/link/lib/a.py", f"/{real}", f"//{real}", "src/a.py/",
            "src\\a.py", ".\\src\\..\\src\\a.py", "lib\\a.py", "src/\\a.py", "..\\repo/src\\a.py",
        )  # fmt: skip
        for text in spellings:
            self.assertEqual(("file", real), self.of(text), text)
        self.assertEqual(("file", real), self.of("a.py", os.path.join(self.repo, "src")))
        self.assertEqual(("file", real), self.of("../a.py", os.path.join(self.repo, "src/deep")))

    def test_composed_and_decomposed_letters_are_one_file(self) -> None:
        composed, apart = "caf\u00e9.py", "cafe\u0301.py"
        self.assertNotEqual(composed, apart)
        self.assertEqual(self.of(composed), self.of(apart))
        self.assertEqual(self.of(f"*/{composed}"), self.of(f"*/{apart}"))

    def test_case_counts_only_where_the_system_does_not_fold_it(self) -> None:
        self.assertNotEqual(self.of("README.md", folds=False), self.of("readme.MD", folds=False))
        self.assertEqual(self.of("README.md", folds=True), self.of("readme.MD", folds=True))
        self.assertEqual(self.of("Src/*.PY", folds=True), self.of("src/*.py", folds=True))
        turkish = names.lock_path("/x/\u0130.py", "", folds=True)
        self.assertEqual(unicodedata.normalize("NFC", turkish), turkish)
        self.assertEqual(names.lock_path("/x/I\u0307.py", "", folds=True), turkish)

    def test_what_looks_alike_is_apart(self) -> None:
        mine = self.of("src/a.py")
        for other in ("../repo-evil/src/a.py", "../tree/src/a.py", "src/a.pyc", "src/a", "rc/a.py", "src/a.py.orig", "src/\u0430.py"):
            self.assertFalse(reach.overlap(*mine, *self.of(other)), other)
        self.assertFalse(reach.overlap("dir", self.repo, *self.of("../repo-evil/src/a.py")))
        self.assertFalse(reach.overlap("dir", self.repo, "dir", self.repo + "-evil"))
        self.assertFalse(reach.overlap("glob", f"{self.repo}/**", *self.of("../repo-evil/src/a.py")))
        self.assertFalse(reach.overlap("glob", f"{self.repo}/*/a.py", *self.of("../tree/src/a.py")))

    def test_what_no_lock_may_have_is_refused(self) -> None:
        for text in (
            "",
            "  ",
            "a\nb",
            "a\x00",
            "a\x1b[2J",
            "a\x7f",
            "a\x9b",
            "x" * (names.MAX_PATH + 1),
            "src/*/../x",
            "*/./x",
            "src\\*\\..\\x",
            "src/ /",
            "src/ *.py",
            "*/" * 33 + "x",
            "src/\ud800.py",
            "src/\ud800/*.py",
        ):
            with self.assertRaises(BadRequest, msg=repr(text)):
                self.of(text)


class FileDirectoryOrGlob(Folder):
    def test_a_directory_is_one_that_is_there_or_ends_in_a_slash(self) -> None:
        self.assertEqual(("dir", f"{self.repo}/src"), self.of("src"))
        self.assertEqual(("dir", f"{self.repo}/src"), self.of("src/"))
        self.assertEqual(("dir", f"{self.repo}/src"), self.of("src\\"))
        self.assertEqual(("dir", self.repo), self.of("."))
        self.assertEqual(("dir", f"{self.repo}/new"), self.of("new/"))
        self.assertEqual(("file", f"{self.repo}/new"), self.of("new"))
        self.assertEqual(("dir", "src"), self.of("src/", ""), "no folder is known, so nothing is looked at")
        self.assertEqual(("dir", "/"), self.of("/"))

    def test_the_folder_of_the_broker_itself_means_nothing(self) -> None:
        self.make("here/[id].tsx")
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(os.path.join(self.top, "here"))
        self.assertEqual("glob", self.of("[id].tsx", "")[0])

    def test_signs_in_names_that_are_there_are_letters(self) -> None:
        self.make("repo/app/[id].tsx", "repo/app/[slug]/page.tsx", "repo/a*b")
        self.assertEqual(("file", f"{self.repo}/app/[id].tsx"), self.of("app/[id].tsx"))
        self.assertEqual(("file", f"{self.repo}/a*b"), self.of("a*b"))
        self.assertEqual(("dir", f"{self.repo}/app/[slug]"), self.of("app/[slug]"))
        self.assertEqual(("file", f"{self.repo}/app/[slug]/new.tsx"), self.of("app/[slug]/new.tsx"), "a new file in a folder that is there")
        self.assertEqual(("file", f"{self.repo}/app/x.tsx"), self.of("app/[slug]/../x.tsx"))
        self.assertEqual("glob", self.of("app/[slug]/*.tsx")[0])
        self.assertTrue(reach.overlap(*self.of("app/[slug]/*.tsx"), *self.of("app/[slug]/page.tsx")))
        self.assertEqual("glob", self.of("app/[x].tsx")[0])
        self.assertEqual(self.of("*.tsx", f"{self.repo}/app/[slug]"), self.of("app/[slug]/*.tsx"))

    def test_a_name_with_signs_is_covered_before_and_after_it_is_there(self) -> None:
        before = self.of("app/[id].tsx")
        self.assertEqual("glob", before[0])
        literal = self.of("app/[id].tsx", literal=True)
        self.assertEqual(("file", f"{self.repo}/app/[id].tsx"), literal)
        self.assertTrue(reach.overlap(*before, *literal))
        self.make("repo/app/[id].tsx")
        self.assertEqual(literal, self.of("app/[id].tsx"))
        self.assertTrue(reach.overlap(*self.of("app/**"), *literal))
        self.assertTrue(reach.overlap("dir", f"{self.repo}/app", *literal))
        self.assertTrue(reach.overlap("dir", "/r/[id]", "glob", "/r/[id]/*.py"))
        self.assertFalse(reach.overlap("dir", "/r/[id]", "glob", "/r/i/*.py"), "the signs in a directory's name are letters")

    def test_a_globs_folder_is_resolved_and_its_spelling_is_one(self) -> None:
        os.symlink(os.path.join(self.repo, "src"), os.path.join(self.repo, "lib"))
        for text in ("src/*.py", "./src//*.py", "lib/*.py", "../repo/src/*.py", f"{self.repo}/lib/*.py"):
            self.assertEqual(("glob", f"{self.repo}/src/*.py"), self.of(text), text)
        self.assertEqual(("glob", "/*.py"), self.of("/*.py"))
        self.assertEqual(("glob", "*.py"), self.of("*.py", ""))
        self.assertEqual(("glob", f"{self.repo}/src/*/**"), self.of("src/*/"), "directories reach all below them")


class WhatOverlaps(unittest.TestCase):
    def both_ways(self, expected: bool, one: tuple[str, str], two: tuple[str, str]) -> None:
        self.assertEqual(expected, reach.overlap(*one, *two), (one, two))
        self.assertEqual(expected, reach.overlap(*two, *one), (two, one))

    def test_files_directories_and_globs_overlap_both_ways(self) -> None:
        for expected, one, two in (
            (True, ("file", "/r/a"), ("file", "/r/a")), (False, ("file", "/r/a"), ("file", "/r/ab")),
            (True, ("dir", "/r"), ("file", "/r/x/y")), (True, ("dir", "/r"), ("file", "/r")), (False, ("dir", "/r"), ("file", "/rx")),
            (True, ("dir", "/"), ("file", "/r/x")), (True, ("dir", "/r"), ("dir", "/r/x")), (False, ("dir", "/r/y"), ("dir", "/r/x")),
            (True, ("glob", "/r/*.py"), ("file", "/r/a.py")), (False, ("glob", "/r/*.py"), ("file", "/r/x/a.py")),
            (True, ("glob", "/r/**/*.py"), ("file", "/r/a.py")), (True, ("glob", "/r/**/*.py"), ("file", "/r/x/y/a.py")),
            (False, ("glob", "/r/**/*.py"), ("file", "/r/x/a.js")), (True, ("glob", "/r/**"), ("file", "/r/.hidden")),
            (True, ("glob", "/r/x/*.py"), ("dir", "/r")), (True, ("glob", "/r/x/*.py"), ("dir", "/r/x")),
            (False, ("glob", "/r/x/*.py"), ("dir", "/r/y")), (True, ("glob", "/r/*"), ("dir", "/r/x")),
            (False, ("glob", "/r/*.py"), ("dir", "/r/x")), (True, ("glob", "/**/a.py"), ("dir", "/r/x")),
            (True, ("glob", "/r/*.py"), ("glob", "/r/a*")), (False, ("glob", "/r/*.py"), ("glob", "/r/*.js")),
            (True, ("glob", "/r/[ab].py"), ("glob", "/r/?.py")), (True, ("glob", "/r/[]x].py"), ("glob", "/r/?.py")),
            (True, ("glob", "/r/[!]x].py"), ("glob", "/r/a.py")), (True, ("glob", "/r/[ab"), ("file", "/r/[ab")),
            (True, ("glob", "/a/**/z"), ("glob", "/**/y/z")), (False, ("glob", "/a/**"), ("glob", "/b/**")),
        ):  # fmt: skip
            self.both_ways(expected, one, two)

    def test_a_lock_covers_what_is_wholly_inside_it(self) -> None:
        for expected, one, two in (
            (True, ("dir", "/r"), ("file", "/r/a")), (True, ("dir", "/r"), ("dir", "/r/x")), (False, ("dir", "/r/x"), ("dir", "/r")),
            (True, ("glob", "/r/*.py"), ("file", "/r/a.py")), (False, ("file", "/r/a.py"), ("glob", "/r/*.py")),
            (True, ("glob", "/r/*.py"), ("glob", "/r/*.py")), (True, ("dir", "/r"), ("glob", "/r/x/*.py")),
            (True, ("dir", "/r/x"), ("glob", "/r/x/*.py")), (False, ("dir", "/r/x/y"), ("glob", "/r/x/*/*.py")),
            (False, ("dir", "/r"), ("glob", "/rx/*.py")), (True, ("dir", "/"), ("glob", "/r/*")),
        ):  # fmt: skip
            self.assertEqual(expected, reach.covers(*one, *two), (one, two))

    def test_many_stars_take_no_time(self) -> None:
        self.assertFalse(reach.overlap("glob", "/" + "**/" * 30 + "a", "glob", "/" + "**/x*/" * 15 + "b"))
        self.assertFalse(reach.overlap("glob", "/" + "*a" * 200 + "b", "file", "/" + "a" * 900))
        self.assertFalse(reach.overlap("glob", "/" + "*a" * 200 + "b", "glob", "/" + "*a" * 200 + "c"))
        self.assertFalse(reach.overlap("glob", "/" + "**/x/" * 15 + "b", "file", "/x" * 500))


class AgainstASlowMatcher(unittest.TestCase):
    """Random globs and paths, and another way to say what matches."""

    SEGMENTS = ("a", "b", "ab", "a*", "*b", "?", "*", "**", "[ab]", "[!a]", "a?", "[]b]", "[", "*a*")

    def setUp(self) -> None:
        self.chance = running.chance(self)

    def pattern(self) -> str:
        return "/" + "/".join(self.chance.choice(self.SEGMENTS) for _ in range(self.chance.randint(1, 4)))

    def test_a_glob_and_a_file_overlap_where_the_glob_matches_it(self) -> None:
        seen = {True: 0, False: 0}
        for _ in range(running.figure(4000, 40_000)):
            glob = self.pattern()
            path = "/" + "/".join(
                self.chance.choice(("a", "b", "ab", "ba", "]", "[", "bab", "**", "a*")) for _ in range(self.chance.randint(1, 4))
            )
            expected = matches(glob.split("/"), path.split("/"))
            self.assertEqual(expected, reach.overlap("glob", glob, "file", path), (glob, path))
            self.assertEqual(expected, reach.overlap("file", path, "glob", glob), (glob, path))
            seen[expected] += 1
        self.assertGreater(min(seen.values()), 100, seen)

    def test_two_globs_with_a_file_in_common_overlap(self) -> None:
        examples = ["/" + "/".join(names) for depth in (1, 2, 3) for names in itertools.product(("a", "b", "ab", "bb", "]"), repeat=depth)]
        common = apart = 0
        for _ in range(running.figure(400, 4000)):
            one, two = self.pattern(), self.pattern()
            shared = next(
                (path for path in examples if matches(one.split("/"), path.split("/")) and matches(two.split("/"), path.split("/"))), None
            )
            found = reach.overlap("glob", one, "glob", two)
            self.assertEqual(found, reach.overlap("glob", two, "glob", one), (one, two))
            if shared is not None:
                self.assertTrue(found, (one, two, shared))
                common += 1
            apart += not found
        self.assertGreater(min(common, apart), 20, (common, apart))

    def test_without_classes_two_patterns_overlap_only_where_they_have_a_name_in_common(self) -> None:
        every = ["".join(letters) for size in range(1, 6) for letters in itertools.product("ab", repeat=size)]
        patterns = ["".join(signs) for size in (1, 2, 3) for signs in itertools.product("ab?*", repeat=size)]
        matched = {pattern: {name for name in every if segment_matches(pattern, name)} for pattern in patterns if "**" not in pattern}
        for _ in range(running.figure(3000, 30_000)):
            one, two = self.chance.choice(list(matched)), self.chance.choice(list(matched))
            expected = bool(matched[one] & matched[two])
            kinds = ["glob" if set(pattern) & set("*?") else "file" for pattern in (one, two)]
            self.assertEqual(expected, reach.overlap(kinds[0], f"/{one}", kinds[1], f"/{two}"), (one, two))


def matches(glob: list[str], path: list[str]) -> bool:
    """Segment by segment, trying everything."""
    if not glob:
        return not path
    if glob[0] == "**":
        return any(matches(glob[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and (glob[0] == path[0] or segment_matches(glob[0], path[0])) and matches(glob[1:], path[1:])


def segment_matches(pattern: str, name: str) -> bool:
    """Letter by letter, trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(segment_matches(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1))
    if pattern[0] == "[":
        negated = pattern[1:2] == "!"
        begin = 2 if negated else 1
        end = pattern.find("]", begin + 1)  # a ] that comes first is a letter of the class
        if end > 0:
            return bool(name) and (name[0] in pattern[begin:end]) != negated and segment_matches(pattern[end + 1 :], name[1:])
    return bool(name) and pattern[0] in ("?", name[0]) and segment_matches(pattern[1:], name[1:])


if __name__ == "__main__":
    unittest.main()
