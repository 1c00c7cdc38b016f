"""The sliding window."""

from __future__ import annotations

import random
import threading
import unittest

from lattice.errors import TooMany
from lattice.guard.rate import Rate


class RateTest(unittest.TestCase):
    def test_the_limit_passes_and_the_next_is_told_in_how_many_seconds(self) -> None:
        rate = Rate(3)
        for now in (0.0, 10.0, 20.0):
            rate.spend("alice", now)
        with self.assertRaises(TooMany) as caught:
            rate.spend("alice", 30.5)
        self.assertEqual(30, caught.exception.details["retry_after_s"])
        self.assertEqual(429, caught.exception.status)
        self.assertIn("30 s", caught.exception.message)

    def test_waiting_as_long_as_it_says_is_always_enough(self) -> None:
        for seed in range(30):
            chance = random.Random(seed)
            rate, now = Rate(chance.randrange(1, 6), chance.choice((0.25, 1.0, 60.0))), 0.0
            for _ in range(60):
                now += chance.random() * rate.window_s / 2
                try:
                    rate.spend("k", now)
                except TooMany as refusal:
                    now += refusal.details["retry_after_s"]  # type: ignore[operator]
                    rate.spend("k", now)

    def test_no_window_ever_holds_more_than_the_limit(self) -> None:
        chance, rate, passed, now = random.Random(7), Rate(5, 10.0), [], 0.0
        for _ in range(3000):
            now += chance.random()
            try:
                rate.spend("k", now)
                passed.append(now)
            except TooMany:
                pass
        self.assertGreater(len(passed), 100)
        for first, sixth in zip(passed, passed[5:], strict=False):
            self.assertGreaterEqual(sixth - first, 10.0)

    def test_a_refused_spend_costs_nothing(self) -> None:
        rate = Rate(1, 10.0)
        rate.spend("k", 0.0)
        for now in range(1, 10):
            with self.assertRaises(TooMany):
                rate.spend("k", float(now))
        rate.spend("k", 10.0)

    def test_keys_do_not_share(self) -> None:
        rate = Rate(1)
        rate.spend("a", 0.0)
        rate.spend("b", 0.0)

    def test_idle_keys_are_forgotten(self) -> None:
        rate = Rate(2, 60.0)
        for number in range(2000):
            rate.spend(f"peer-{number}", float(number))
        self.assertLess(len(rate), 400)

    def test_a_clock_that_stands_still_or_steps_back_never_lets_more_through(self) -> None:
        rate = Rate(2, 10.0)
        rate.spend("k", 100.0)
        rate.spend("k", 90.0)
        with self.assertRaises(TooMany) as caught:
            rate.spend("k", 95.0)
        self.assertGreaterEqual(caught.exception.details["retry_after_s"], 1)  # type: ignore[arg-type]

    def test_threads_together_pass_exactly_the_limit(self) -> None:
        rate, gate, passed = Rate(100), threading.Barrier(8), []

        def spender() -> None:
            gate.wait()
            for _ in range(50):
                try:
                    rate.spend("k", 0.0)
                    passed.append(1)
                except TooMany:
                    pass

        threads = [threading.Thread(target=spender) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(100, len(passed))

    def test_a_rate_of_nothing_cannot_be_made(self) -> None:
        for limit, window_s in ((0, 60.0), (-1, 60.0), (10, 0.0)):
            with self.assertRaises(ValueError):
                Rate(limit, window_s)


if __name__ == "__main__":
    unittest.main()
