"""What bash really changes is what the reading said: random lines are run in a scratch folder, and the folder is looked at.

The lines know no path above their folder: no `..` in front, no `/`, no variable that is followed by a slash. No name has a
blank in it: of a name that a command prints, the reading does not know that it would be two words.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import unittest

from lattice import reach
from lattice.hooks.shell import read
from tests.running import chance, figure

BASH = shutil.which("bash")
FILES = {"a": "x\n", "b": "y\n", "d/a": "a\nb\n", "d/b": "x\n", "d/e/a": "x\n", "[a]": "x\n", "g.txt": "x\n", "h.txt": "a b\n"}
NAMES = (
    "a", "b", "n", "'c'", 'c\\d', "d/a", "d/n", '"d/b"', "d/e/a", "./a", "d/../b", "*.txt", "d/*", "?", "[ab]", "'[a]'", "[a]", "{a,b}",
    "d/{a,b,n}",
    "n{1..3}", "$v", '"$v"', "${v}.x", "d/$v", '"d/${v}"', "$(echo a)", "d/$(echo b)", "`echo a`", "~/h", "$HOME/k",
    '"$PWD/a"', "$'\\x61'", "${v:-a}",
    '"${w[@]}"', "d", "d/e",
)  # fmt: skip
ACTS = (
    "touch {}", "echo x > {}", "echo x >> {}", "echo x | tee {}", "echo x 2> {} >> {}", "> {}", "rm -f {}", "rm -rf {}", "cp {} {}",
    "cp -r {} {}", "mv {} {}",
    "cp -t d {}", "mv -t d {}", "sed -i s/x/y/ {}", "sed -i.bak s/x/y/ {}", "sed -n p {}", "truncate -s 0 {}", "cat {} {}",
    "grep -l x {} | xargs -r rm -f", "echo {} | xargs touch", "cat {} > {}", "sort -o {} {}", "dd if=a of={} status=none", "unlink {}",
    "install {} {}",
    "find . -name {} -delete", "find d -type f -exec touch {{}} +", "find d -name a -exec sh -c 'echo x > \"$1.new\"' _ {{}} \\;",
    "cd d || exit", "cd", "cd - || exit",
    "v={}", "w=({} b)", "set -- {} {}", "touch \"$@\"", "v=$(ls {})", "[ a > {} ]", "[[ a > {} ]]", "(( 2 > 1 ))",
    "cat <<E > {}\n$(touch {})\nE",
    "cat <<'E' >> {}\n$(touch {})\nE", "tee {} <<< x", "diff <(cat {}) <(cat {})", "touch x > {}", "env A=1 touch {}", "command rm -f {}",
    "timeout 5 touch {}",
    "read v < h.txt", "gzip -f {}", "tar cf {} d", "patch -s {} < /dev/null",
)  # fmt: skip
SHAPES = (
    "{}; {}", "touch n && {}", "{} || {}", "{}\n{}", "( {}\n)", "{{ {}\n}}", "( {}\n); {}", "! {}", "if {}; then {}; else {}; fi",
    "for v in a {} n; do {}\ndone",
    "for v in a n; do {}\ndone", "while read -r v; do {}\ndone < <(ls {})", "ls | while read -r v; do {}\ndone", "f() {{ {}\n}}; f a {}",
    "f() {{ touch \"$1\"; }}; f {}",
    "case $v in a) {};; *) {};; esac", "echo $({}\n)", "eval 'touch n1; {}'", "bash -c 'touch n2; rm -f \"$1\"' _ {}", "{} | cat",
    "{} & wait", "{} # {}",
    "until true; do {}\ndone", "trap 'touch n3' EXIT; {}",
)  # fmt: skip


class Lines:
    """Random lines of shell."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def line(self, depth: int = 0) -> str:
        if depth < 3 and self.dice.random() < 0.5:
            shape = self.dice.choice(SHAPES)
            filled = shape
            while "{}" in filled:
                before = filled.partition("{}")[0]
                is_name = before.endswith((" a ", "ls ", "f ", "_ ")) or "'" in before and before.count("'") % 2 == 1
                part = self.name() if is_name else self.line(depth + 1)
                if before.count("'") % 2 == 1:
                    part = self.dice.choice(("touch n", "rm -f a", "echo x > d/n"))
                filled = filled.replace("{}", part.replace("{}", "\1"), 1)
            return filled.replace("{{", "{").replace("}}", "}").replace("\1", "{}")
        act = self.dice.choice(ACTS)
        while "{}" in act.replace("{{}}", "\1\1\1\1"):
            at = act.replace("{{}}", "\1\1\1\1").index("{}")
            act = act[:at] + self.name() + act[at + 2 :]
        return act.replace("{{}}", "{}")

    def name(self) -> str:
        return self.dice.choice(NAMES)


def seen(folder: str) -> dict[str, object]:
    """Each file below the folder, with what tells a change."""
    found: dict[str, object] = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            state = os.lstat(path)
            found[path] = (state.st_mtime_ns, state.st_ino, state.st_size)
    return found


@unittest.skipUnless(BASH, "needs bash")
class AgainstBash(unittest.TestCase):
    time_bound_s = 900.0  # a bash for each line

    def test_every_file_that_bash_changes_was_named_or_the_line_was_unknown(self) -> None:
        lines = Lines(chance(self))
        told = 0
        for _ in range(figure(150, 1500, 15_000)):
            command = "v=a; w=(a b); " + lines.line()
            with tempfile.TemporaryDirectory() as top:
                top = os.path.realpath(top)
                home, folder = os.path.join(top, "home"), os.path.join(top, "some", "deep", "work")
                os.makedirs(home)
                for name, text in FILES.items():
                    path = os.path.join(folder, name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "w", encoding="utf-8") as file:
                        file.write(text)
                    os.utime(path, (1, 1))
                before = seen(top)
                found = read(command, folder, home)
                try:
                    subprocess.run(
                        [str(BASH), "-c", command], cwd=folder, env={"PATH": os.environ.get("PATH", ""), "HOME": home, "LC_ALL": "C"},
                        stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False,
                    )  # fmt: skip
                except subprocess.TimeoutExpired:
                    continue
                after = seen(top)
            changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
            if found.reads_only:
                self.assertEqual([], changed, command)
            if found.unknown:
                continue
            told += 1
            for path in changed:
                self.assertTrue(
                    any(reach.overlap(write.kind, write.path, "file", path) for write in found.writes),
                    f"{command!r} changed {os.path.relpath(path, folder)}; told: {[(w.kind, w.path) for w in found.writes]}",
                )
        self.assertGreater(told, figure(150, 1500, 15_000) // 3, "most lines can be read")


if __name__ == "__main__":
    unittest.main()
