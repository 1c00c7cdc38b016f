"""The demo, as a person starts it: everything happens, it says so by itself, and whatever happens nothing is left.

The two whole demos run side by side while the other tests do theirs: each waits 15 s for the broker to give a
killed session up, and that time cannot be made shorter.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from unittest import mock

from lattice.agent import process
from lattice.cli import demo
from lattice.cli.demo import PLAN, all_written_once
from tests.running import TOP, Wire, environment, free_port, until

QUICK_S = 0.02
SCRIPT = """
import functools, sys
sys.path.insert(0, sys.argv[1])
from lattice.cli import demo, launch
demo.run = functools.partial(demo.run, pace_s=float(sys.argv[2]))
demo.BOUND_S = float(sys.argv[3])
raise SystemExit(launch.main(["--demo", "--no-browser", *sys.argv[4:]]))
"""


class Run:
    """A demo in a process of its own, in an empty home; its lines are read as they come."""

    def __init__(self, *words: str, pace_s: float = QUICK_S, bound_s: float = 60.0) -> None:
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="c2d"))
        self.temporary = os.path.join(self.home, "tmp")
        os.mkdir(self.temporary)
        # What the user's own sessions have set must be without effect.
        environ = environment(self.home, PEER_ID="somebody", C2_LATTICE_PORT="1", C2_LATTICE_RATE="1", C2_LATTICE_SECRET="s" * 40)
        environ |= {"TMPDIR": self.temporary, "TMP": self.temporary, "TEMP": self.temporary}
        if "SYSTEMROOT" in os.environ:
            environ["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT, TOP, str(pace_s), str(bound_s), *words],
            env=environ, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
            start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.readers = [
            threading.Thread(target=lambda: self.lines.extend(self.process.stdout or ()), daemon=True),
            threading.Thread(target=lambda: self.errors.extend(self.process.stderr or ()), daemon=True),
        ]  # fmt: skip
        for reader in self.readers:
            reader.start()

    def said(self) -> str:
        return "".join(self.lines)

    def until_said(self, pattern: str) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.said())
            if not found and self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}:\n{self.said()}\n{''.join(self.errors)}")
            return found

        found: re.Match[str] = until(look, pattern)
        return found

    def end(self) -> int:
        code = self.process.wait(50)
        for reader in self.readers:
            reader.join(10)
        return code

    def pids(self) -> list[int]:
        """Every process that it said it started."""
        return [int(pid) for pid in re.findall(r"process (\d+)", self.said())]

    def is_ours(self, pid: int) -> bool:
        """Whether this very process is of this run, and no other that has its number by now."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self.home.encode() in file.read()
        except OSError:
            return False  # it has ended, or cannot be told here: then it is left alone

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        for pid in self.pids():  # what a failed test left
            if self.is_ours(pid):
                kill(pid)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self.home, ignore_errors=True)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    except OSError:
        pass  # it has ended meanwhile


class TheDemo(unittest.TestCase):
    time_bound_s = 90.0
    whole: Run
    kept: Run

    @classmethod
    def setUpClass(cls) -> None:
        cls.whole = Run()
        cls.addClassCleanup(cls.whole.close)
        cls.kept = Run("--keep")
        cls.addClassCleanup(cls.kept.close)

    def run_for(self, *words: str, pace_s: float = QUICK_S, bound_s: float = 60.0) -> Run:
        run = Run(*words, pace_s=pace_s, bound_s=bound_s)
        self.addCleanup(run.close)
        return run

    def assert_nothing_is_left(self, run: Run) -> None:
        self.assertEqual(os.listdir(run.temporary), [], run.said())
        self.assertEqual(sorted(os.listdir(run.home)), ["tmp"], "nothing outside of its own folder")
        self.assertEqual([pid for pid in run.pids() if process.is_alive(pid)], [], run.said())
        self.assertGreaterEqual(len(set(run.pids())), 2, "it said what it started")
        self.assertEqual("".join(run.errors), "")

    def test_a_run_cut_short_says_what_did_not_happen_and_leaves_nothing(self) -> None:
        run = self.run_for(bound_s=3.0)
        self.assertEqual(run.end(), 1, run.said())
        said = run.said()
        for wrong in (
            "not everything was done within 3 s", "#3 import of the old card index is in_progress", "was taken over: attempt 1",
            "release has none",
        ):  # fmt: skip
            self.assertRegex(said, f"wrong: .*{wrong}")
        self.assertIn("so it is: the chain of the log verifies", said)
        self.assertIn("the demo failed", said)
        self.assert_nothing_is_left(run)

    def test_a_session_that_ends_by_itself_is_a_failure_that_is_told(self) -> None:
        run = self.run_for(pace_s=0.5)
        kill(int(run.until_said(r"ada +is here: process (\d+)")[1]))
        self.assertEqual(run.end(), 1, run.said())
        self.assertRegex(run.said(), r"wrong: ada: its process \d+ ended with -9")
        self.assert_nothing_is_left(run)

    @unittest.skipIf(os.name == "nt", "only on POSIX: a signal to one process")
    def test_an_interrupt_ends_all_that_was_started_while_the_page_lives(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                run = self.run_for(pace_s=0.5)
                port = int(run.until_said(r"page: +http://127\.0\.0\.1:(\d+)/dashboard")[1])
                run.until_said("locks ")
                wire = Wire(port)
                self.addCleanup(wire.close)
                self.assertEqual(wire.call("GET", "/dashboard")[0], 200, "the page is there meanwhile")
                run.process.send_signal(number)
                self.assertEqual(run.end(), 130, run.said())
                self.assertIn("cleared away", run.said())
                self.assert_nothing_is_left(run)

    def test_a_port_that_was_taken_meanwhile_is_left_for_another(self) -> None:
        show = demo.Show(keep=False)
        self.addCleanup(show.clear_away)
        with socket.create_server(("127.0.0.1", 0)) as theirs:
            ports = [theirs.getsockname()[1], free_port()]
            with mock.patch.object(demo, "_free_port", lambda: ports.pop(0)):
                show._start_broker()
        self.assertEqual([], ports)

    def test_a_part_that_is_missing_or_written_twice_is_found(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        for job in PLAN:
            with open(os.path.join(folder, job.path), "a", encoding="utf-8") as file:
                file.write(f"{job.line}1 of 2, by ben\n{job.line}2 of 2, by dan\n")
        self.assertTrue(all_written_once(folder)[0])
        with open(os.path.join(folder, "import.md"), "a", encoding="utf-8") as file:
            file.write("import, part 2 of 2, by cleo\n")
        self.assertEqual(all_written_once(folder), (False, "every part of the work was written once, but import has 1, 2, 2"))

    def test_the_whole_plan_happens_and_nothing_is_left(self) -> None:
        run = self.whole
        self.assertEqual(run.end(), 0, run.said() + "".join(run.errors))
        said = run.said()
        for step in (
            r"ada +creates 10 tasks at once", r"raises a blocker: Due dates", r"ada +answers \w+: UTC", r"asks for a review of #7",
            r"ada +approves", r"is killed half-way through #3: process \d+ is gone", r"waiting: \w+ is silent",
            r"hears from the broker: \w+ is gone; open again: #3",
            r"takes #3 over", r"goes on with part 2", r"so it is: 10 of 10 tasks are completed", r"so it is: #3 was taken over: attempt 2",
            r"so it is: no lock is left", r"so it is: the chain of the log verifies, \d\d+ events", r"the demo is done",
        ):  # fmt: skip
            self.assertRegex(said, step)
        self.assertNotIn("wrong:", said)
        victim = re.search(r"(\w+) +is killed half-way", said)
        heir = re.search(r"(\w+) +takes #3 over", said)
        assert victim and heir
        self.assertNotEqual(victim[1], heir[1])
        self.assert_nothing_is_left(run)

    def test_what_is_kept_lives_and_the_line_that_is_said_stops_it(self) -> None:
        run = self.kept
        self.assertEqual(run.end(), 0, run.said() + "".join(run.errors))
        self.assertEqual("".join(run.errors), "")
        kept = re.search(r"kept: the broker on 127\.0\.0\.1:(\d+) \(process (\d+)\), its database (.+), all in (.+)\n", run.said())
        stop = re.search(r"to stop it: +(.+)\n", run.said())
        assert kept and stop, run.said()
        port, pid, database, folder = int(kept[1]), int(kept[2]), kept[3], kept[4]
        wire = Wire(port)
        self.addCleanup(wire.close)
        self.assertEqual(wire.call("GET", "/health")[1]["pid"], pid)
        wire.close()
        self.assertTrue(os.path.isfile(database))
        self.assertEqual([other for other in run.pids() if other != pid and process.is_alive(other)], [], "the sessions have ended")
        stopped = subprocess.run(
            stop[1], shell=True, env={"PATH": os.environ["PATH"], "HOME": run.home}, cwd=run.home, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, encoding="utf-8", timeout=30, check=False,
        )  # fmt: skip
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        until(lambda: not process.is_alive(pid), "the broker has ended")
        self.assertTrue(os.path.isdir(folder))


if __name__ == "__main__":
    unittest.main()
