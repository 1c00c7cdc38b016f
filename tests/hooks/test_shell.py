"""The shell guard: its table of command lines, where it looks, how it says no, and that nothing makes it slow or raise."""

from __future__ import annotations

import os
import tempfile
import time
import unittest

from lattice import reach
from lattice.hooks.shell import Reading, Verdict, Write, read, verdict
from tests.hooks import commands
from tests.hooks.commands import AUTH, HELD, HOME, REPO, THERE
from tests.running import chance, figure

NOTHING = Reading((), (), False, True)


def reading_of(command: str, cwd: str = REPO) -> Reading:
    return read(command, cwd, HOME, THERE.__contains__)


def judged(command: str, *held: tuple[str, str, str], cwd: str = REPO) -> Verdict:
    return verdict(reading_of(command, cwd), held or HELD)


class TheTable(unittest.TestCase):
    def test_it_has_enough_rows_and_no_row_twice(self) -> None:
        harmless = commands.READS + commands.PASSES
        rows = [*(command for command, _ in commands.DENIED), *commands.ASKED, *commands.WATCHED, *harmless]
        self.assertEqual(len(rows), len(set(rows)))
        self.assertGreaterEqual(len(rows), 160)
        self.assertGreaterEqual(len(harmless), 60)

    def test_a_line_that_surely_writes_what_is_held_is_denied_and_told_which(self) -> None:
        for command, path in commands.DENIED:
            with self.subTest(command=command):
                said = judged(command)
                self.assertEqual("deny", said.word, said.why)
                self.assertEqual(path, said.lock[1])
                self.assertIn(said.lock[2], said.why)
                self.assertIn(said.write.how, said.why)

    def test_a_line_that_may_write_what_is_held_asks_the_person(self) -> None:
        for command in commands.ASKED:
            with self.subTest(command=command):
                said = judged(command)
                self.assertEqual("ask", said.word, said.why)
                self.assertTrue(reach.overlap(said.write.kind, said.write.path, said.lock[0], said.lock[1]))

    def test_a_line_that_cannot_be_read_runs_and_is_watched(self) -> None:
        for command in commands.WATCHED:
            with self.subTest(command=command):
                self.assertEqual("watch", judged(command).word, judged(command).why)

    def test_a_line_that_only_reads_passes_and_is_known_to_read(self) -> None:
        for command in commands.READS:
            with self.subTest(command=command):
                self.assertEqual(("pass", NOTHING), (judged(command).word, reading_of(command)))

    def test_a_line_that_writes_elsewhere_passes(self) -> None:
        for command in commands.PASSES:
            with self.subTest(command=command):
                said = judged(command)
                self.assertEqual("pass", said.word, said.why)
                self.assertFalse(reading_of(command).reads_only)

    def test_a_harmless_line_stays_harmless_behind_and_in_front_of_another_and_within_parentheses(self) -> None:
        for command in commands.READS + commands.PASSES:
            for shape in (
                "ls\n{}", "{}\nls", "(\n{}\n)", "{{\n{}\n}}", "if true; then\n:\n{}\nfi", "for i in 1 2; do\n:\n{}\ndone",
                "f() {{\n:\n{}\n}}\nf",
            ):  # fmt: skip
                line = shape.format(command)
                with self.subTest(line=line):
                    said = judged(line)
                    # a function that calls itself, and a directory that was left, may end in `watch`, never in a refusal
                    self.assertNotIn(said.word, ("deny", "ask"), said.why)

    def test_a_denied_line_is_denied_behind_another_and_within_parentheses(self) -> None:
        for command, path in commands.DENIED:
            for shape in (
                "ls\n{}", "true && {{\n{}\n}}", "(\n{}\n)", "echo $(\n{}\n)", "if true; then\n{}\nfi", "while true; do\n{}\ndone",
            ):  # fmt: skip
                line = shape.format(command)
                with self.subTest(line=line):
                    self.assertEqual(("deny", path), (judged(line).word, judged(line).lock[1]))

    def test_with_nothing_held_everything_passes(self) -> None:
        for command in [*(command for command, _ in commands.DENIED), *commands.ASKED, *commands.WATCHED]:
            with self.subTest(command=command):
                self.assertEqual("pass", verdict(reading_of(command), ()).word)


class WhatIsRead(unittest.TestCase):
    def test_paths_are_absolute_and_normal_whatever_was_written(self) -> None:
        for command, path in (
            ("echo > a", "/repo/a"), ("echo > ./x/../a", "/repo/a"), ("echo > ../a", "/a"), ("echo > /x//y/./z", "/x/y/z"),
            ("echo > //x", "/x"),
            ("echo > ~/a", "/home/u/a"), ("echo > $HOME/a", "/home/u/a"), ("echo > \"${HOME}/a b\"", "/home/u/a b"),
            ("echo > '~/a'", "/repo/~/a"),
            ("cd /x && echo > a", "/x/a"), ("cd /x && cd y && echo > a", "/x/y/a"), ("(cd /x); echo > a", "/repo/a"),
            ("cd /x | echo > a", "/repo/a"),
            ("cd && echo > a", "/home/u/a"), ("pushd /x && popd && echo > a", "/repo/a"), ("env -C /x touch a", "/x/a"),
            ("cd -- /x; > a", "/x/a"),
            ("trap 'touch a' EXIT; cd /x", "/x/a"), ("(trap 'touch a' EXIT; cd /x); ls", "/x/a"),
        ):  # fmt: skip
            with self.subTest(command=command):
                self.assertEqual((path,), tuple(write.path for write in reading_of(command).writes))

    def test_a_relative_path_after_a_directory_that_cannot_be_told_is_unknown(self) -> None:
        self.assertTrue(reading_of("cd $X && rm a").unknown)
        self.assertTrue(reading_of("rm a", cwd="").unknown)
        self.assertEqual((Write("file", "/x/a", "rm"),), reading_of("cd $X; rm /x/a").writes)
        self.assertTrue(read("rm ~/a", REPO).unknown)
        self.assertTrue(reading_of("rm ~bob/a").unknown)

    def test_letters_that_would_be_signs_are_in_brackets_in_a_glob(self) -> None:
        self.assertEqual((Write("glob", "/repo/a[[]1]/*.py", "rm"),), reading_of("rm 'a[1]'/*.py").writes)
        self.assertEqual((Write("glob", "/repo/[!a]?.py", "rm"), Write("file", "/repo/[^a]?.py", "rm")), reading_of("rm [^a]?.py").writes)
        self.assertEqual((Write("file", "/repo/a*[b", "rm"),), reading_of("rm 'a*'[b").writes)
        self.assertTrue(reach.overlap("glob", "/repo/a[[]1]/*.py", "file", "/repo/a[1]/x.py"))

    def test_how_names_the_command(self) -> None:
        for command, how in (
            ("sudo sed -Ei s/a/b/ x", "sed -i"), ("rm -rf x", "rm -r"), ("git -C y reset --hard", "git reset --hard"),
            ("git stash -u", "git stash"),
            ("git stash pop", "git stash pop"), ("ruff format x", "ruff format"), ("ruff check x --fix", "ruff check --fix"),
            ("a >> x", ">>"),
            ("git checkout .", "git checkout ."), ("find x -delete", "find -delete"), ("terraform fmt x", "terraform fmt"),
        ):  # fmt: skip
            with self.subTest(command=command):
                found = reading_of(command)
                self.assertEqual(how, (found.writes + found.tree)[0].how)

    def test_a_git_operation_reaches_its_own_work_tree_and_no_other(self) -> None:
        for command, root in (
            ("git reset --hard", "/repo"), ("cd src && git reset --hard", "/repo"), ("git -C src/deep stash", "/repo"),
            ("git -C /other stash", "/other"),
            ("cd vendor/lib && git pull", "/repo/vendor/lib"), ("git --work-tree /other checkout -f", "/other"),
            ("GIT_WORK_TREE=/other git stash", "/other"),
        ):  # fmt: skip
            with self.subTest(command=command):
                self.assertEqual([root], [write.path for write in reading_of(command).tree])
        self.assertEqual(["/repo/src"], [write.path for write in reading_of("cd src && git clean -fd").tree])

    def test_the_root_of_a_work_tree_is_looked_up_on_disk(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, "tree", "a", "b"))
            with open(os.path.join(folder, "tree", ".git"), "w", encoding="utf-8") as file:  # a linked work tree has a file there
                file.write("gitdir: elsewhere\n")
            root = os.path.join(folder, "tree")
            self.assertEqual(root, read("git stash", os.path.join(root, "a", "b")).tree[0].path)

    def test_git_takes_a_word_for_a_file_only_when_it_is_there(self) -> None:
        there, gone, branch = (reading_of(f"git checkout {word}") for word in ("src/other.py", "src/gone.py", "topic/auth"))
        self.assertEqual(([Write("dir", "/repo/src/other.py", "git checkout")], ()), (list(there.writes), there.tree))
        self.assertEqual(("/repo/src/gone.py", "/repo"), (gone.writes[0].path, gone.tree[0].path))
        self.assertEqual(((), "/repo"), (branch.writes, branch.tree[0].path))

    def test_what_comes_before_a_part_that_cannot_be_parsed_is_kept(self) -> None:
        found = reading_of("rm src/auth.py\necho 'oh")
        self.assertEqual((True, AUTH), (found.unknown, found.writes[0].path))

    def test_the_order_of_writes_is_that_of_the_line(self) -> None:
        self.assertEqual(["/repo/a", "/repo/b", "/repo/c"], [write.path for write in reading_of("rm a; rm b\nrm c; rm a").writes])

    def test_reading_runs_nothing_and_writes_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for command in ("touch x", "echo $(touch x)", "`touch x`", "cat <(touch x)", "eval 'touch x'", "git init"):
                read(command, folder)
            self.assertEqual([], os.listdir(folder))


class WhatIsDecided(unittest.TestCase):
    def test_a_named_write_below_a_held_directory_is_denied_and_one_beside_it_passes(self) -> None:
        docs = ("dir", "/repo/docs", "ann")
        self.assertEqual("deny", judged("touch docs/a/b.md", docs).word)
        self.assertEqual("deny", judged("rm docs/*.md", docs).word)
        self.assertEqual("deny", judged("black docs/sub", docs).word)
        self.assertEqual("pass", judged("touch docs.md docs2/a", docs).word)
        self.assertEqual("ask", judged("rm */a.md", docs).word)

    def test_a_held_glob_denies_what_it_matches_and_asks_where_both_are_globs(self) -> None:
        sheets = ("glob", "/repo/web/**/*.css", "ann")
        self.assertEqual("deny", judged("touch web/a/b.css", sheets).word)
        self.assertEqual("deny", judged("mv web/a.css x.css", sheets).word)
        self.assertEqual("deny", judged("rm -rf web", sheets).word)
        self.assertEqual("ask", judged("rm -rf web/a", sheets).word)
        self.assertEqual("ask", judged("rm web/a/*", sheets).word)
        self.assertEqual("pass", judged("rm web/a/*.js", sheets).word)
        self.assertEqual("pass", judged("touch web/a.js", sheets).word)

    def test_a_refusal_goes_before_a_question_and_a_question_before_watching(self) -> None:
        self.assertEqual("deny", judged("git reset --hard; rm *.py; make; rm src/auth.py").word)
        self.assertEqual("ask", judged("make; git reset --hard").word)
        self.assertEqual("ask", judged("make; rm src/*.py").word)

    def test_the_sentence_says_what_would_be_written_and_who_holds_it(self) -> None:
        said = judged("cd docs && sed -i s/a/b/ x.md")
        self.assertEqual("`sed -i` would write /repo/docs/x.md; ben holds /repo/docs/", said.why)
        self.assertEqual("`git stash` may change any file in /repo; ann holds /repo/src/auth.py", judged("git stash").why)


SCRAPS = (
    "rm", "sed -i", "git", "checkout", "reset --hard", "--", "src/auth.py", "a.txt", ">", ">>", "<", "<<EOF", "<<'X'", "<<<", "EOF", "X",
    "|", "||", "&&",
    "&", ";", ";;", "\n", "(", ")", "((", "))", "{", "}", "{a,b}", "{1..9}", "[[", "]]", "[", "]", "$",
    "$(", "${", "}", "$x", "${x%.py}", "${x/a/b}", "$((",
    "`", "'",
    '"', "\\", "\\\n", "#", "~", "*", "**", "?", "[a-z]", "!", "if", "then", "else", "fi", "for", "in", "do", "done", "while", "case",
    "esac", "f()",
    "function", "x=1",
    "x=(", "-c", "-i", "-n", "xargs", "find . -exec", "{}", "\\;", "+", "eval", "bash -c", "env", "cd", "tee", "cp", "mv", "tar x", "awk",
    "'{print > $1}'", "perl -pi -e", "curl -o", "2>&1", "&>",
    "<(", ">(", "@(", "$'\\x41'", "\t", "\r\n", "\x00", "\x07", "\ue000", "é", "日本", "\u202e", "\ud800",
)  # fmt: skip


class NothingBreaksIt(unittest.TestCase):
    def test_no_text_makes_it_raise(self) -> None:
        dice = chance(self)
        rows = [*(command for command, _ in commands.DENIED), *commands.ASKED, *commands.WATCHED, *commands.READS, *commands.PASSES]
        for turn in range(figure(3000, 60_000, 400_000)):
            if turn % 3 == 0:
                line = dice.choice((" ", "")).join(dice.choice(SCRAPS) for _ in range(dice.randrange(1, 40)))
            elif turn % 3 == 1:  # an honest line with a wound
                line = dice.choice(rows)
                at = dice.randrange(len(line) + 1)
                line = line[:at] + dice.choice(SCRAPS) + line[at + dice.randrange(3) :]
            else:
                line = "".join(chr(dice.randrange(dice.choice((128, 0x300, 0x11000)))) for _ in range(dice.randrange(60)))
            try:
                found = reading_of(line)
                said = verdict(found, HELD)
            except Exception as error:  # any is the failure that is looked for
                self.fail(f"turn {turn}: {line!r} raised {error!r}")
            self.assertIn(said.word, ("deny", "ask", "watch", "pass"))
            for write in found.writes + found.tree:
                self.assertIn(write.kind, ("file", "dir", "glob"))
                self.assertTrue(write.path.startswith("/") and "/../" not in write.path and "//" not in write.path, (line, write))
                self.assertFalse(any(ord(letter) < 9 or "\ue000" <= letter <= "\uf8ff" for letter in write.path), (line, write))
            if found.reads_only:
                self.assertEqual(NOTHING, found, line)

    def test_fifty_thousand_hostile_signs_take_less_than_a_second_each_and_twice_as_many_about_twice_that(self) -> None:
        for piece in (
            "(", "((", "((a)", "$(", "$((", "${", "${a", "`", "\\`", "'", '"', "{", "{a,", "{a,b}", "{1..99} ", "<<E ", "cat <<E\n",
            "cat <<E\nx\nE\n", "[", "a[", "a[ ",
            "[[ ", "<", ">", "> a ", "a|", "a&&", "a&", "a;", "\\", "\\\n", "\n", "#", "if ", "if a; then b; fi;", "case x in ",
            "for i in 1 2 3; do ", "~", "*", "**/",
            "../", "a/", "rm a* ", "x=$x$x;", "sudo ", "xargs ", "find . -exec ", "bash -c ", "eval ", "f(){ f|f& };f;", "$(a)",
            "a <(a) ", "@(", "$'\\x", "é", "\0", "w ",
        ):  # fmt: skip
            with self.subTest(piece=piece):
                half, whole = (self._seconds(piece * (size // len(piece))) for size in (25_000, 50_000))
                self.assertLess(whole, 1.0)
                self.assertLess(whole, 5 * half + 0.1)  # a square would be at 4, and each of these far above the tenth

    def test_loops_functions_and_variables_cannot_multiply_the_work(self) -> None:
        many = " ".join("abcdefgh")
        for name, line in {
            "loops": "".join(f"for {v} in {{1..60}}; do " for v in many.split()) + "rm $a$b$c;" + "done;" * 8,
            "functions": "".join(f"{x}(){{ {y};{y};{y}; }};" for x, y in zip(many.split(), many.split()[1:], strict=False)) + "a",
            "itself": "f(){ f | f & }; f",
            "doubling": "x=aaaaaaaa;" + "x=$x$x$x$x;" * 2000 + "echo $x",
            "evaluating": "x='" + "ls;" * 300 + "';" + 'eval "$x";' * 3000,
            "replacing": "echo " + "a " * 4000 + "| xargs -I{} echo " + "{} " * 4000,
            "nesting": "echo " + "$(echo " * 20 + "a" + ")" * 20,
            "braces": "echo " + "{a,b}" * 40,
            "paths": "rm " + " ".join(f"{n}*/**/[a-z]?{n}" for n in range(3000)),
            "document": "cat > x <<'EOF'\n" + "rm src/auth.py\n" * 20_000 + "EOF",
        }.items():
            with self.subTest(name=name):
                self.assertLess(self._seconds(line), 1.0)

    def test_an_ordinary_line_takes_less_than_a_millisecond(self) -> None:
        rows = [*(command for command, _ in commands.DENIED), *commands.ASKED, *commands.WATCHED, *commands.READS, *commands.PASSES]
        self.assertLess(min(self._seconds("", *rows) for _ in range(3)) / len(rows), 0.001)

    def test_a_line_beyond_the_bound_is_watched(self) -> None:
        self.assertEqual("watch", judged("x" * (512 * 1024 + 1)).word)

    def _seconds(self, *lines: str) -> float:
        """This thread's processor time, so that a busy machine does not count."""
        began = time.thread_time()
        for line in lines:
            judged(line)
        return time.thread_time() - began


if __name__ == "__main__":
    unittest.main()
