"""Killed at any single call to the disk: what was answered is there, and nothing is there by half."""

from __future__ import annotations

import collections
import logging
import os
import shutil
import signal
import tempfile
import unittest
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests import tracing
from tests.figures import measured
from tests.running import chance, figure
from tests.storms import crash_life
from tests.storms.remains import Judge, Lives

POINTS = {"whole": figure(6, 440, 100_000), "upgrade": figure(4, 100, 100_000)}  # at night: all that there are
TOGETHER = 50  # crash points that are near each other, for which one strace serves: so few harmless calls go before
# By the kernel's own names, which differ between machines.
CALLS = {kind: kind for kind in crash_life.PADS} | {"unlink": "?unlink,?unlinkat", "link": "?link,?linkat"}
FEW = [kind for kind in CALLS if kind != "pwrite64"]


class Point(NamedTuple):
    """Where a life ends: at its n-th call of a kind, before the kernel does it."""

    life: str
    kind: str
    n: int


@unittest.skipIf(tracing.missing(), tracing.missing())
class KilledAtAnyCall(unittest.TestCase):
    time_bound_s = 600.0

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.judge = Judge(os.path.realpath(self.enterContext(tempfile.TemporaryDirectory())))

    def test_at_whichever_call_it_dies_all_that_was_answered_is_there_and_nothing_by_half(self) -> None:
        chosen, groups = chance(self), []
        for life in crash_life.LIVES:
            counted = self.count(life)
            rare = [Point(life, kind, n) for kind in FEW for n in range(1, counted[kind] + 1)]
            writes = [Point(life, "pwrite64", n) for n in range(1, counted["pwrite64"] + 1)]
            rare = chosen.sample(rare, min(len(rare), POINTS[life] // 2))
            writes = sorted(chosen.sample(writes, min(len(writes), POINTS[life] - len(rare))), key=lambda point: point.n)
            groups.append((rare, {kind: counted[kind] + 1 for kind in FEW}))
            groups += [(part, {"pwrite64": part[-1].n}) for part in (writes[at : at + TOGETHER] for at in range(0, len(writes), TOGETHER))]
        with ThreadPoolExecutor(2) as side_by_side:
            deaths = sum(side_by_side.map(lambda group: self.die_at_each(*group), groups))
        self.assertEqual(self.judge.faults, [], "\n".join(self.judge.faults))
        self.assertEqual(deaths, sum(len(points) for points, _ in groups), "every one was killed where it should be")
        measured(self, "R2", crash_points=deaths, **self.judge.found)

    def test_the_same_eyes_see_a_writer_without_transactions_and_an_answer_before_the_write(self) -> None:
        points = [Point("whole", "pwrite64", n) for n in chance(self).sample(range(560, 600), 5)]
        for fault, what in (("no transactions", "torn"), ("answered early", "lost")):
            with self.subTest(fault):
                self.die_at_each(points, {"pwrite64": 600}, fault)
                self.assertGreater(self.judge.found[what], 0, self.judge.found)

    def count(self, life: str) -> collections.Counter[str]:
        """How often a whole life makes each kind of call."""
        log = os.path.join(self.judge.fresh(), "trace")
        with Lives(",".join(CALLS.values()), log=log) as lives:
            answer = lives.ask(life=life, folder=self.judge.fresh(life), kind="pwrite64", pads=0, fault="")
        self.assertEqual((answer["steps"], answer["ended"]), (len(crash_life.LIVES[life]), 0))
        counted = collections.Counter(call.name.removesuffix("at") for call in tracing.calls(log) if call.pid == answer["pid"])
        self.assertGreater(min(counted[kind] for kind in CALLS), 0, counted)
        self.assertGreater(counted["fdatasync"], len(crash_life.LIVES[life]), "each step waits for the disk")
        return counted

    def die_at_each(self, points: list[Point], last: Mapping[str, int], fault: str = "") -> int:
        """How many of these points were deaths. `last`: of each kind, the call that kills, whatever came before it."""
        kinds = {point.kind for point in points}
        inject = [f"{CALLS[kind]}:signal=SIGKILL:when={last[kind]}" for kind in kinds]
        deaths = 0
        with Lives(",".join(CALLS[kind] for kind in kinds), inject=inject) as lives:
            for point in points:
                folder = self.judge.fresh(point.life)
                pads = last[point.kind] - point.n
                answer = lives.ask(life=point.life, folder=folder, kind=point.kind, pads=pads, fault=fault)
                deaths += answer["ended"] == signal.SIGKILL
                self.judge.judge(point.life, answer["steps"], folder, point)
                shutil.rmtree(folder)
        return deaths


if __name__ == "__main__":
    unittest.main()
