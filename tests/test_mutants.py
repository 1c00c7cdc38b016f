"""The mutants fit the code they are made for: what one of them takes away is there."""

from __future__ import annotations

import unittest

from tests import mutants
from tests.__main__ import discover


class TheMutants(unittest.TestCase):
    def test_each_fits_the_code_once_and_is_python(self) -> None:
        for mutant in mutants.MUTANTS:
            with self.subTest(mutant.name):
                mutants.apply(mutant, mutants.TOP)

    def test_there_are_enough_and_each_names_tests_that_are_there(self) -> None:
        self.assertGreaterEqual(len(mutants.MUTANTS), 40)
        self.assertEqual(len({mutant.name for mutant in mutants.MUTANTS}), len(mutants.MUTANTS))
        modules = discover()
        for mutant in mutants.MUTANTS:
            for word in mutant.tests:
                there = any(module == f"tests.{word}" or module.startswith(f"tests.{word}.") for module in modules)
                self.assertTrue(there, f"{mutant.name}: no tests.{word}")


if __name__ == "__main__":
    unittest.main()
