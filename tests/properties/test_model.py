"""Random walks through the core: the broker and a plain model of it never disagree, and the log always folds to the tables."""

from __future__ import annotations

import tempfile
import unittest

from tests.properties.machine import Machine
from tests.running import chance, figure

WALKS = figure(12, 60, 1000)
STEPS = 150


class TheModel(unittest.TestCase):
    time_bound_s = 900.0

    def test_broker_and_model_agree_after_every_walk_and_the_log_folds_to_the_tables(self) -> None:
        chosen = chance(self)
        answers: dict[int, int] = {}
        for walk in range(WALKS):
            with tempfile.TemporaryDirectory() as folder:
                machine = Machine(folder)
                steps: list[str] = []
                try:
                    for step in range(STEPS):
                        numbers = [chosen.randrange(12) for _ in range(3)]
                        action = chosen.randrange(len(Machine.ACTIONS))
                        steps.append(f"{Machine.ACTIONS[action].__name__}{tuple(numbers)}")
                        machine.step(action, *numbers)
                        if step % 10 == 9:
                            machine.check()
                except AssertionError as fault:
                    raise AssertionError(f"walk {walk}: {fault}\nafter {', '.join(steps)}") from fault
                finally:
                    machine.close()
                for status, count in machine.answers.items():
                    answers[status] = answers.get(status, 0) + count
        print(f"{WALKS} walks of {STEPS} steps: {dict(sorted(answers.items()))}")
        for status in (200, 403, 404, 409):
            self.assertGreater(answers.get(status, 0), WALKS, "the walks meet every kind of answer")


if __name__ == "__main__":
    unittest.main()
