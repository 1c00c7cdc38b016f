"""The runner itself: a test that fails, crashes or hangs is counted as failed, and the others still run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLE = """
import os, threading, unittest

class Sample(unittest.TestCase):
    time_bound_s = 1.0

    def test_a_passes(self):
        pass

    def test_b_fails(self):
        self.assertEqual(1, 2)

    def test_c_ends_the_process(self):
        os._exit(3)

    def test_d_hangs(self):
        threading.Event().wait()

    def test_e_fails_in_a_thread(self):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()

    def test_f_warns(self):
        import warnings
        warnings.warn("old", DeprecationWarning)

    @unittest.skip("needs a frobnicator: pip install frobnicator")
    def test_g_skips(self):
        pass

    def test_h_fails_in_two_subtests(self):
        for number in (1, 2):
            with self.subTest(number=number):
                self.assertEqual(number, 0)

    def test_i_passes_after_all_that(self):
        pass
"""


class TheRunner(unittest.TestCase):
    def run_worker(self, **extra: object) -> tuple[dict[str, str], list[dict[str, object]], int]:
        """One worker over the sample; (outcome by test, its lines, exit code)."""
        with tempfile.TemporaryDirectory() as scratch:
            with open(os.path.join(scratch, "sample_tests.py"), "w", encoding="utf-8") as file:
                file.write(SAMPLE)
            results = os.path.join(scratch, "results")
            task = {"module": "sample_tests", "done": [], "results": results, "pattern": "", "bound_s": 20, "field": "tests.field",
                    "require_field": False} | extra  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-W", "error", "-m", "tests", "--worker", json.dumps(task)],
                cwd=TOP, env={**os.environ, "PYTHONPATH": scratch}, capture_output=True, timeout=60, check=False,
            )  # fmt: skip
            with open(results, encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
        outcomes = {line["id"].rpartition(".")[2][5:6]: line["outcome"] for line in lines if "outcome" in line}
        return outcomes, lines, done.returncode

    def test_a_crash_is_seen_and_names_the_test_it_hit(self) -> None:
        outcomes, lines, code = self.run_worker()
        self.assertEqual(outcomes, {"a": "passed", "b": "failed"})
        self.assertEqual(lines[-1], {"begin": "sample_tests.Sample.test_c_ends_the_process"})
        self.assertEqual(code, 3)

    def test_a_hanging_test_is_ended(self) -> None:
        done = [f"sample_tests.Sample.{name}" for name in ("test_a_passes", "test_b_fails", "test_c_ends_the_process")]
        outcomes, lines, code = self.run_worker(done=done)
        self.assertEqual(outcomes, {})
        self.assertEqual(lines[-1], {"begin": "sample_tests.Sample.test_d_hangs"})
        self.assertNotEqual(code, 0)

    def test_threads_and_warnings_fail_a_test_and_subtests_count_once(self) -> None:
        names = ("test_a_passes", "test_b_fails", "test_c_ends_the_process", "test_d_hangs")
        outcomes, lines, _ = self.run_worker(done=[f"sample_tests.Sample.{name}" for name in names])
        self.assertEqual(outcomes, {"e": "failed", "f": "failed", "g": "skipped", "h": "failed", "i": "passed"})
        self.assertTrue(lines[-1].get("end"))

    def test_where_everything_is_required_a_skip_is_a_failure(self) -> None:
        outcomes, _, _ = self.run_worker(pattern="test_g", require_field=True)
        self.assertEqual(outcomes, {"g": "failed"})

    @unittest.skipUnless(os.path.isdir("/proc/self"), "only on systems with /proc")
    def test_what_a_test_left_running_in_a_session_of_its_own_is_ended(self) -> None:
        from tests.__main__ import _end_detached

        with tempfile.TemporaryDirectory() as scratch:
            ours, others = (
                subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"X": place}, start_new_session=True)
                for place in (os.path.join(scratch, "home"), "/elsewhere")
            )
            try:
                _end_detached(scratch)
                self.assertEqual(ours.wait(10), -9)
                self.assertIsNone(others.poll())
            finally:
                others.communicate(b"\n", timeout=10)
                ours.communicate()

    def test_added_up_runs_count_each_test_once_and_no_failure_is_lost(self) -> None:
        def say(**outcomes: str) -> str:
            path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "record.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump([{"id": name, "outcome": outcome} for name, outcome in outcomes.items()], file)
            return path

        first, second = say(a="passed", b="skipped", c="failed", d="skipped"), say(b="passed", c="passed")
        done = subprocess.run(
            [sys.executable, "-m", "tests", "--sum", first, second], cwd=TOP, capture_output=True, text=True, timeout=30, check=False
        )
        self.assertEqual(done.stdout.splitlines()[-1], "2 passed, 1 failed, 1 skipped")
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
