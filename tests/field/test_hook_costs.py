"""What the hooks cost is printed beside `sh -c true` and a bare interpreter of the same run; nothing fails for being slow."""

from __future__ import annotations

import os
import unittest

from tests.bench import hooks
from tests.running import figure


@unittest.skipIf(os.name == "nt", "the hooks are started by /bin/sh elsewhere")
class Costs(unittest.TestCase):
    time_bound_s = 180.0

    def test_each_hook_does_its_part_and_its_cost_is_told(self) -> None:
        """Fails when an idle hook says something, or a busy one does not say what it must."""
        cases, took = hooks.measure(figure(20, 20, 100))
        print(f"{self.id()}:\n{hooks.report(cases, took)}", flush=True)
        self.assertEqual(set(took), {case.name for case in cases})


if __name__ == "__main__":
    unittest.main()
