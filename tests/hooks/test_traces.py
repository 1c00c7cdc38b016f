"""What one hook leaves for the next: told by its time and its process, also where the clock was set between them."""

from __future__ import annotations

import os
import tempfile
import time
import unittest

from lattice.hooks.traces import STANDS_S, Traces


class Beside(unittest.TestCase):
    def setUp(self) -> None:
        self.traces = Traces(self.enterContext(tempfile.TemporaryDirectory()), 4711)

    def said_mail(self, at: float) -> None:
        self.traces.handed(self.traces.keep("call", "1", {}))
        os.utime(self.traces.path("handed"), (at, at))

    def test_a_hook_that_said_mail_since_this_one_began_is_beside_it_and_an_earlier_one_is_not(self) -> None:
        now = time.time()
        self.said_mail(now)
        self.assertTrue(self.traces.is_beside_another(now - 1))
        self.assertFalse(self.traces.is_beside_another(now + 1))

    def test_one_that_said_mail_before_the_clock_was_set_back_is_not_beside_all_that_come_for_an_hour(self) -> None:
        self.said_mail(time.time() + 3600)
        self.assertFalse(self.traces.is_beside_another(time.time()))

    def test_a_call_that_stands_in_the_future_was_left_before_the_clock_was_set_back(self) -> None:
        path = self.traces.keep("call", str(os.getppid()), {"event": "Stop"})
        self.assertIsNone(self.traces.abandoned(), "its hook is at it")
        for at in (time.time() + 3600, time.time() - STANDS_S - 1):
            os.utime(path, (at, at))
            taken, call = self.traces.abandoned() or ("", {})
            self.assertEqual({"event": "Stop"}, call)
            os.rename(taken, path)


if __name__ == "__main__":
    unittest.main()
