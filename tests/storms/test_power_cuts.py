"""The power goes at any moment, and the disk has kept what it had to and any part of the rest: what was answered is there, whole."""

from __future__ import annotations

import logging
import os
import random
import shutil
import tempfile
import unittest

from tests import tracing
from tests.figures import measured
from tests.running import chance, figure
from tests.storms import crash_life, power
from tests.storms.remains import Judge, Lives

CUTS = {"whole": figure(8, 260, 4_000), "upgrade": figure(4, 60, 1_000)}
CONTROL = 12


@unittest.skipIf(tracing.missing(), tracing.missing())
class ThePowerGoes(unittest.TestCase):
    time_bound_s = 1200.0

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.judge = Judge(os.path.realpath(self.enterContext(tempfile.TemporaryDirectory())))

    def test_whatever_of_the_unsynced_the_disk_has_kept_all_that_was_answered_is_there_and_nothing_by_half(self) -> None:
        chosen = chance(self)
        cuts = sum(self.cut(life, CUTS[life], chosen) for life in crash_life.LIVES)
        self.assertEqual(self.judge.faults, [], "\n".join(self.judge.faults))
        measured(self, "R2", power_cuts=cuts, **{f"{what}_by_a_cut": count for what, count in self.judge.found.items()})

    def test_the_same_eyes_see_a_broker_that_does_not_sync(self) -> None:
        self.cut("whole", CONTROL, chance(self), fault="no sync")
        self.assertGreater(self.judge.found["lost"], 0, self.judge.found)

    def cut(self, life: str, count: int, chosen: random.Random, fault: str = "") -> int:
        """Live once, and have the power go at so many moments of that life."""
        log, folder = os.path.join(self.judge.fresh(), "trace"), self.judge.fresh(life)
        disk, steps = power.Disk(folder), 0
        with Lives(power.CALLS, log=log, more=power.MORE) as lives:
            answer = lives.ask(life=life, folder=folder, kind="pwrite64", pads=0, fault=fault)
        changes = power.recorded(log, folder, answer["pid"])
        said = [change for change in changes if change.kind == "said"]
        self.assertEqual((answer["ended"], len(said)), (0, len(crash_life.LIVES[life])))
        moments = set(chosen.sample(range(len(changes)), min(count, len(changes))))
        for number, change in enumerate(changes):
            disk.change(change)
            steps += change.kind == "said"
            if number in moments:
                found = self.judge.fresh()
                disk.cut(found, chosen)
                self.judge.judge(life, steps, found, f"change {number} ({change.kind} {change.path})")
                shutil.rmtree(found)
        return len(moments)


if __name__ == "__main__":
    unittest.main()
