"""Task graphs: whatever is made to wait for whatever, no cycle comes to be, nothing can be claimed early, and all of it is done.

Each step is a write of its own, as a call is, but the nouns are asked directly: ten thousand graphs are many calls.
"""

from __future__ import annotations

import os
import tempfile
import unittest
from collections.abc import Callable
from random import Random
from typing import Any

from lattice.domain import adoptions, departures, peers, tasks
from lattice.domain.caller import Caller
from lattice.errors import Conflict
from tests.broker.broking import House
from tests.figures import measured
from tests.running import chance, figure

WORKERS = ("ann", "bob", "cleo")
SIZES = (2, 3, 3, 4, 4, 5, 6, 9)
OF_ONE_BROKER = 500  # then the next, so that no list grows long


class Graph:
    """One batch of tasks with what each waits for, as the broker was told and as it agreed to."""

    def __init__(self, house: House, chosen: Random) -> None:
        self.house, self.chance = house, chosen
        self.callers = {who: Caller(who, "worker", "shop") for who in WORKERS}
        wanted = [[one for one in range(index) if chosen.random() < 0.35] for index in range(chosen.choice(SIZES))]
        plain = {"description": "", "priority": "medium", "needs_review": False}
        batch = [{"title": f"t{index}", "blocked_by": [-one - 1 for one in needs], **plain} for index, needs in enumerate(wanted)]
        made = self.do(lambda tx: tasks.create_batch(tx, self.callers["ann"], tasks=batch, run_id=None))["task_ids"]
        self.needs = {task: {made[one] for one in needs} for task, needs in zip(made, wanted, strict=True)}
        self.status = dict.fromkeys(made, "pending")
        self.owner: dict[int, str] = {}
        self.cycles = self.early = self.refused = self.deaths = 0

    def do(self, fn: Callable[[Any], Any]) -> Any:
        return self.house.broker.write(fn, "test")

    def reaches(self, task: int, other: int) -> bool:
        return task == other or any(self.reaches(one, other) for one in self.needs[task])

    def is_free(self, task: int) -> bool:
        return all(self.status[one] == "completed" for one in self.needs[task])

    def edit(self) -> None:
        """Make one wait for another, or not any more. A cycle must be refused; all else is done."""
        one, two = self.chance.choice(list(self.needs)), self.chance.choice(list(self.needs))
        if self.status[one] != "pending":
            return
        add, remove = ([two], None) if self.chance.random() < 0.75 else (None, [two])
        closes = add is not None and self.reaches(two, one)
        try:
            self.do(lambda tx: tasks.depend(tx, self.callers["ann"], task_id=one, add=add, remove=remove))
        except Conflict as refusal:
            assert closes and refusal.code == "cycle", refusal
            self.refused += 1
            return
        self.cycles += closes
        if add:
            self.needs[one].add(two)
        else:
            self.needs[one].discard(two)

    def work(self) -> bool:
        """One worker does one thing. Whether anything is left to do."""
        left = [task for task, status in self.status.items() if status != "completed"]
        if not left:
            return False
        who, task = self.chance.choice(WORKERS), self.chance.choice(left)
        if task not in self.owner:
            self.claim(who, task)
        elif self.chance.random() < 0.05:
            self.die(self.owner[task])
        else:
            self.complete(task, left)
        return True

    def claim(self, who: str, task: int) -> None:
        is_free = self.is_free(task)
        try:
            self.do(lambda tx: tasks.claim(tx, self.callers[who], task_id=task))
        except Conflict as refusal:
            assert not is_free, refusal
            waits_for = sorted(one for one in self.needs[task] if self.status[one] != "completed")
            assert refusal.details["blocked_by"] == waits_for, refusal
            return
        self.early += not is_free
        self.status[task], self.owner[task] = "in_progress", who

    def complete(self, task: int, left: list[int]) -> None:
        before = {one for one in left if self.status[one] == "pending" and self.is_free(one)}
        caller = self.callers[self.owner.pop(task)]
        said = self.do(lambda tx: tasks.complete(tx, caller, task_id=task, artifacts={"summary": "done"}))
        self.status[task] = "completed"
        freed = {one for one in left if self.status[one] == "pending" and self.is_free(one)} - before
        assert {one["id"] for one in said["newly_unblocked"]} == freed, (said, freed)

    def die(self, who: str) -> None:
        """An owner is lost; others take some of what it was at; it comes back and has the rest again."""
        self.deaths += 1
        held = sorted(task for task, owner in self.owner.items() if owner == who)
        released = self.do(lambda tx: departures.lost(tx, who, may_be_frozen=False))
        assert released["tasks"] == held, (released, held)
        for task in held:
            self.status[task] = "pending"
            del self.owner[task]
            if self.chance.random() < 0.5:
                self.claim(self.chance.choice([one for one in WORKERS if one != who]), task)
        rest = [task for task in held if task not in self.owner]

        def back(tx: Any) -> Any:
            peers.revive(tx, self.callers[who])
            return adoptions.come_back(tx, self.callers[who])

        assert self.do(back)["tasks"] == rest
        for task in rest:
            self.status[task], self.owner[task] = "in_progress", who


class ManyGraphs(unittest.TestCase):
    time_bound_s = 600.0

    def test_no_cycle_comes_to_be_nothing_is_claimed_early_and_all_is_done(self) -> None:
        chosen = chance(self)
        graphs = figure(200, 10_000)
        count = {"cycles": 0, "early": 0, "refused": 0, "deaths": 0, "unfinished": 0, "tasks": 0}
        for first in range(0, graphs, OF_ONE_BROKER):
            with tempfile.TemporaryDirectory() as folder:
                house = House(os.path.realpath(folder))
                house.crew(*WORKERS)
                for _ in range(min(OF_ONE_BROKER, graphs - first)):
                    graph = Graph(house, chosen)
                    while graph.work():
                        if chosen.random() < 0.2:
                            graph.edit()
                    for name in ("cycles", "early", "refused", "deaths"):
                        count[name] += getattr(graph, name)
                    count["tasks"] += len(graph.needs)
                count["unfinished"] += house.value("SELECT COUNT(*) FROM tasks WHERE status <> 'completed' OR n_open <> 0")
                house.close()
        print(f"{graphs} graphs: {count}")
        self.assertGreater(min(count["refused"], count["deaths"]), graphs / 20, "cycles are tried, and owners die")
        measured(self, "R17", graphs=graphs, cycles=count["cycles"], early=count["early"], unfinished=count["unfinished"])
        self.assertEqual((0, 0, 0), (count["cycles"], count["early"], count["unfinished"]))


if __name__ == "__main__":
    unittest.main()
