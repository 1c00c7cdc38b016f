"""Coverage-guided fuzzing of what reads foreign bytes: six targets, a minute each, begun with seeds from the grammars."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest

from tests.field import programs
from tests.fuzz import targets
from tests.running import TOP, chance, figure

SECONDS = figure(5, 10, 60)


class Atheris(unittest.TestCase):
    time_bound_s = 240.0

    def fuzz(self, name: str) -> None:
        python = programs.python_with("atheris")
        seed = chance(self).randrange(1, 2**31)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        corpus = os.path.join(folder, "corpus")
        os.mkdir(corpus)
        options = [
            f"-max_total_time={SECONDS}", f"-seed={seed}", f"-artifact_prefix={folder}/", "-timeout=10", "-max_len=8192",
            "-rss_limit_mb=1024", "-print_final_stats=1",
        ]  # fmt: skip
        done = subprocess.run(
            [python, "-m", "tests.fuzz.targets", name, corpus, *options],
            cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS + 120, check=False,
        )  # fmt: skip
        found = []
        for entry in sorted(os.listdir(folder)):
            if entry != "corpus":
                with open(os.path.join(folder, entry), "rb") as file:
                    found.append(f"{entry}: {file.read()[:2000]!r}")
        ran = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        print(f"{name}: {ran[1] if ran else '?'} inputs in {SECONDS} s, seed {seed}")
        self.assertEqual((0, []), (done.returncode, found), done.stdout[-2000:] + done.stderr[-4000:])
        self.assertGreater(int(ran[1]) if ran else 0, 100 * SECONDS)

    def test_every_target_has_its_test(self) -> None:
        self.assertEqual(set(targets.TARGETS), {name.removeprefix("test_the_") for name in dir(self) if name.startswith("test_the_")})

    def test_the_head(self) -> None:
        self.fuzz("head")

    def test_the_body(self) -> None:
        self.fuzz("body")

    def test_the_line(self) -> None:
        self.fuzz("line")

    def test_the_filter(self) -> None:
        self.fuzz("filter")

    def test_the_path(self) -> None:
        self.fuzz("path")

    def test_the_shell(self) -> None:
        self.fuzz("shell")


if __name__ == "__main__":
    unittest.main()
