"""The same model, driven by hypothesis: it looks for the shortest sequence of steps on which broker and model differ."""

from __future__ import annotations

import importlib.util
import tempfile
import unittest

from tests.figures import measured
from tests.properties.machine import Machine
from tests.running import chance, figure

STEPS = 50


@unittest.skipUnless(importlib.util.find_spec("hypothesis"), "needs hypothesis: pip install hypothesis (.ci/run does)")
class TheModelByHypothesis(unittest.TestCase):
    time_bound_s = 900.0

    def test_no_sequence_of_steps_makes_them_differ(self) -> None:
        import hypothesis
        from hypothesis import strategies

        small = strategies.integers(0, 11)
        step = strategies.tuples(strategies.integers(0, len(Machine.ACTIONS) - 1), small, small, small)
        walks = [0]

        @hypothesis.seed(chance(self).randrange(2**32))
        @hypothesis.settings(
            max_examples=figure(15, 2000), deadline=None, database=None, phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(strategies.lists(step, min_size=STEPS, max_size=STEPS))
        def differ(steps: list[tuple[int, int, int, int]]) -> None:
            with tempfile.TemporaryDirectory() as folder:
                machine = Machine(folder)
                try:
                    for one in steps:
                        machine.step(*one)
                    machine.check()
                finally:
                    machine.close()
            walks[0] += 1

        differ()
        measured(self, "R16", walks=walks[0], steps_each=STEPS, differences=0)


if __name__ == "__main__":
    unittest.main()
