"""A town of sessions under a broker, with everything going wrong: after each step nothing that must be so is not, and all mail arrives."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import unittest
from collections.abc import Callable

from tests.running import TOP, chance, figure
from tests.simulator.planted import FAULTS
from tests.simulator.seeds import SEEDS
from tests.simulator.town import Town
from tests.simulator.watch import Violation
from tests.simulator.world import World

SECONDS = 400.0
BITES_WITHIN = 10  # worlds


def town(seed: int, seconds: float = SECONDS, *, listen: Callable[[World, str, str, str], None] | None = None) -> World:
    """Let a town live for so long, and come to rest. Violation names seed and step."""
    with World(seed) as world:
        world.listen = listen
        its = Town(world)
        world.run(seconds)
        its.rest()
        return world


class Simulated(unittest.TestCase):
    time_bound_s = 1800.0

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)  # of ticks that come late, and what else is meant to happen
        self.addCleanup(logging.disable, logging.NOTSET)


class Towns(Simulated):
    def test_whatever_goes_wrong_nothing_that_must_be_so_is_not(self) -> None:
        chosen = chance(self)
        befell: dict[str, int] = {}
        steps = looked = 0
        for _ in range(figure(1, 14, 400)):
            world = town(chosen.randrange(2**31))
            steps, looked = steps + world.steps, looked + world.watch.looked
            for what, count in world.befell.items():
                befell[what] = befell.get(what, 0) + count
        print(f"{steps} steps, {looked} of them wrote; {befell}")
        self.assertGreater(befell["peer died"], 0)

    def test_what_was_found_once_is_not_found_again(self) -> None:
        for seed, what in SEEDS:
            with self.subTest(what, seed=seed):
                town(seed)

    def test_a_seed_is_a_history(self) -> None:
        """The same in another process, where sets and hashes have another order."""
        seed = chance(self).randrange(2**31)
        line = f"from tests.simulator.test_simulation import town; print(town({seed}, 60.0).history())"
        said = {
            subprocess.run(
                [sys.executable, "-c", line],
                cwd=TOP,
                env={**os.environ, "PYTHONHASHSEED": order},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for order in ("1", "2")
        }
        self.assertEqual({town(seed, 60.0).history()}, said)


class TheSimulatorBites(Simulated):
    def test_a_planted_fault_is_found(self) -> None:
        chosen = chance(self)
        names = list(FAULTS)
        for name in chosen.sample(names, figure(3, len(names))):
            with self.subTest(name):
                self.assertTrue(any(self.finds(name, seed) for seed in range(1, BITES_WITHIN + 1)), f"not found in {BITES_WITHIN} worlds")

    def finds(self, name: str, seed: int) -> bool:
        try:
            with FAULTS[name]():
                town(seed, 300.0)
        except Violation as fault:
            print(f"{name}: {str(fault)[:200]}")
            return True
        return False


if __name__ == "__main__":
    unittest.main()
