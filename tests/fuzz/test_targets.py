"""The targets of the coverage-guided fuzzer take what the grammars give them. (At night atheris goes on from there.)"""

from __future__ import annotations

import unittest

from tests.fuzz import targets
from tests.running import chance, figure


class TheTargets(unittest.TestCase):
    def test_each_takes_its_own_seeds_and_those_of_the_others(self) -> None:
        chosen = chance(self)
        for name, target in targets.TARGETS.items():
            for kind in targets.TARGETS:
                for seed in targets.seeds(kind, figure(30, 300, 3000), chosen):
                    with self.subTest(name, seed=seed[:300]):
                        target(seed)


if __name__ == "__main__":
    unittest.main()
