"""The bar and its page: complete, fed by real tests, and saying what the figures say."""

from __future__ import annotations

import os
import re
import unittest

from tests import bar, figures
from tests.__main__ import TOP, discover

CALLED = re.compile(r"""measured\(\s*self,\s*["'](R\d+)["']""")


def sources(place: str) -> list[str]:
    """The files of a module or folder of tests."""
    path = os.path.join(TOP, *place.split("."))
    if os.path.isfile(path + ".py"):
        return [path + ".py"]
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(".py")] if os.path.isdir(path) else []


class TheBar(unittest.TestCase):
    def test_it_has_every_row_once_and_in_order(self) -> None:
        self.assertEqual([row.id for row in bar.ROWS], [f"R{number}" for number in range(1, 46)])

    def test_every_row_is_measured_where_it_says_or_says_why_not(self) -> None:
        for row in bar.ROWS:
            if not row.bars:
                self.assertTrue(row.not_run, f"{row.id} has no bar and no reason")
                continue
            for place in row.where:
                called = [name for path in sources(place) for name in CALLED.findall(open_text(path))]
                self.assertIn(row.id, called, f"{place} does not measure {row.id}")

    def test_no_test_measures_a_row_elsewhere(self) -> None:
        for module in discover():
            for path in sources(module):
                for name in CALLED.findall(open_text(path)):
                    places = bar.BY_ID[name].where
                    self.assertTrue(any(module == place or module.startswith(place + ".") for place in places), f"{name} in {module}")

    def test_a_missed_figure_is_named_and_a_met_one_is_not(self) -> None:
        row = bar.BY_ID["R13"]
        good = {"clients": 64, "rounds": 1000, "rounds_without_one_winner": 0}
        self.assertEqual(bar.misses(row, "C", good), [])
        self.assertEqual(bar.misses(row, "C", {**good, "rounds": 10}), ["10 rounds instead of ≥ 1,000"])
        self.assertEqual(bar.misses(row, "C", {"clients": 64, "rounds": 1000}), ["rounds without one winner not measured"])


class ThePage(unittest.TestCase):
    def test_it_says_what_the_figures_say(self) -> None:
        self.assertEqual(open_text(figures.PAGE), figures.page(figures.load()), "python -m tests --publish writes it")

    def test_a_row_that_is_missed_or_not_run_is_shown_as_that(self) -> None:
        entry = {"seed": 1, "commit": "abc", "date": "2026-01-01", "machine": "m", "figures": {"clients": 64, "rounds": 7}}
        page = figures.page({"R13": {"C": entry}})
        self.assertIn("- **R13** (C): 7 rounds instead of ≥ 1,000; rounds without one winner not measured.", page)
        self.assertIn("| R14 |", page)
        self.assertIn("not run", page)


def open_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    unittest.main()
