"""Locks and claims are linearizable: what eight clients at once were told fits one order, through cut connections and kill -9.

The histories are recorded and judged by `tests.linear.recorder`, each part by a process of its own with a broker of its
own. That the search would have seen a fault is shown by brokers that are broken on purpose, each in one way.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import unittest
from typing import Any

from tests.figures import measured
from tests.linear.bugs import BUGS
from tests.running import TOP, chance, figure

SIDE_BY_SIDE = 2
PLAIN, BY_HAND = figure(8, 840, 3200), figure(4, 160, 800)  # histories; by hand: with a clock that is moved, so that leases run out
KILLS = figure(2, 40, 200)
PARTS = figure(1, 4, 20)
PLANTED = figure(4, len(BUGS))
AT_MOST = 30  # histories until a bug must have been found; most show in the first


def record(plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What came of each plan, in their order; as many at once as there are cores to do it."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    found: list[dict[str, Any]] = [{} for _ in plans]
    for number in range(len(plans)):
        waiting.put(number)

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            done = subprocess.run(
                [sys.executable, "-m", "tests.linear.recorder", json.dumps(plans[number])],
                cwd=TOP, env=dict(os.environ), capture_output=True, text=True, timeout=900,
            )  # fmt: skip
            found[number] = json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr[-3000:]}

    threads = [threading.Thread(target=work) for _ in range(SIDE_BY_SIDE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Linearizable(unittest.TestCase):
    time_bound_s = figure(300, 900, 2700)

    def test_what_clients_at_once_are_told_of_locks_and_tasks_fits_one_order(self) -> None:
        chosen = chance(self)
        plans = [
            {"seed": chosen.getrandbits(32), "histories": histories // PARTS, "kills": kills // PARTS, "by_hand": by_hand, "bug": ""}
            for by_hand, histories, kills in ((True, BY_HAND, 0), (False, PLAIN, KILLS))
            for _ in range(PARTS)
        ]
        found = record(plans)
        self.assertEqual([one["failed"] for one in found if "failed" in one], [])
        total = {name: sum(one[name] for one in found) for name in ("histories", "operations", "unknown", "retried", "kills")}
        violations = [violation for one in found for violation in one["violations"]]
        print(total)
        measured(self, "R14", **total, violations=len(violations))
        self.assertEqual(violations, [], "\n".join(violations[:3]))
        self.assertEqual((total["histories"], total["kills"]), (PLAIN + BY_HAND, KILLS))
        self.assertGreater(min(total["unknown"], total["retried"]), 0)

    def test_each_bug_that_is_planted_is_found(self) -> None:
        chosen = chance(self)
        planted = chosen.sample(sorted(BUGS), PLANTED)
        plans = [
            {
                "seed": chosen.getrandbits(32), "histories": AT_MOST, "kills": AT_MOST if BUGS[name].kind == "killed" else 0,
                "by_hand": BUGS[name].kind == "by_hand", "bug": name,
            }
            for name in planted
        ]  # fmt: skip
        found = record(plans)
        self.assertEqual([one["failed"] for one in found if "failed" in one], [])
        missed = []
        for name, one in zip(planted, found, strict=True):
            print(f"{name}: {'found' if one['violations'] else 'MISSED'} in {one['histories']} histories")
            if not one["violations"]:
                missed.append(name)
        measured(self, "R14", planted_bugs=len(planted), planted_bugs_missed=len(missed))
        self.assertEqual(missed, [])


if __name__ == "__main__":
    unittest.main()
