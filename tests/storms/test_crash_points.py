"""Killed at any single call to the disk: what was answered is there, and nothing is there by half."""

from __future__ import annotations

import collections
import contextlib
import difflib
import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from lattice.domain import events
from lattice.domain.caller import BROKER
from lattice.store.database import Database
from tests import tracing
from tests.figures import measured
from tests.running import TOP, chance, figure
from tests.storms import crash_life

POINTS = {"whole": figure(10, 440, 100_000), "upgrade": figure(6, 100, 100_000)}  # at night: all that there are
TOGETHER = 50  # crash points that are near each other, for which one strace serves: so few harmless calls go before
# By the kernel's own names, which differ between machines.
CALLS = {kind: kind for kind in crash_life.PADS} | {"unlink": "?unlink,?unlinkat", "link": "?link,?linkat"}
FEW = [kind for kind in CALLS if kind != "pwrite64"]


class Point(NamedTuple):
    """Where a life ends: at its n-th call of a kind, before the kernel does it."""

    life: str
    kind: str
    n: int


class Lives:
    """The program that lives and dies, under one strace."""

    def __init__(self, trace: str, **options: Any) -> None:
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*tracing.command(trace, **options), sys.executable, "-m", "tests.storms.crash_life"],
            cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip

    def __enter__(self) -> Lives:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=20)
        self.errors.close()

    def ask(self, **order: object) -> dict[str, int]:
        """Live, and say how it ended: see `crash_life.main`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        self.errors.seek(0)
        said = self.errors.read().decode("utf-8", "replace")
        assert line and not said, f"a life ended by itself: {said[-4000:]}"
        answer: dict[str, int] = json.loads(line)
        return answer


@unittest.skipIf(tracing.missing(), tracing.missing())
class KilledAtAnyCall(unittest.TestCase):
    time_bound_s = 600.0

    def setUp(self) -> None:
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.found = {"lost": 0, "torn": 0, "corrupt": 0}
        self.faults: list[str] = []
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.recorded = {life: crash_life.record(life, self.fresh()) for life in crash_life.LIVES}
        with contextlib.closing(sqlite3.connect(os.path.join(self.fresh("upgrade"), crash_life.DATABASE))) as before:
            first = crash_life.contents(before)
        states, ends = self.recorded["whole"]
        step = [name for name, _ in crash_life.WHOLE].index("backup")
        self.copies = {("upgrade", "lattice-v1-before-v2.db"): first, ("whole", os.path.basename(crash_life.COPY)): states[ends[step]]}

    def fresh(self, life: str = "") -> str:
        folder = tempfile.mkdtemp(dir=self.folder)
        crash_life.prepare(life, folder)
        return folder

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
        self.assertEqual(self.faults, [], "\n".join(self.faults))
        self.assertEqual(deaths, sum(len(points) for points, _ in groups), "every one was killed where it should be")
        measured(self, "R2", crash_points=deaths, **self.found)

    def test_the_same_eyes_see_a_writer_without_transactions_and_an_answer_before_the_write(self) -> None:
        points = [Point("whole", "pwrite64", n) for n in chance(self).sample(range(560, 600), 5)]
        for fault, what in (("no transactions", "torn"), ("answered early", "lost")):
            with self.subTest(fault):
                self.die_at_each(points, {"pwrite64": 600}, fault)
                self.assertGreater(self.found[what], 0, self.found)

    def count(self, life: str) -> collections.Counter[str]:
        """How often a whole life makes each kind of call."""
        log = os.path.join(self.fresh(), "trace")
        with Lives(",".join(CALLS.values()), log=log) as lives:
            answer = lives.ask(life=life, folder=self.fresh(life), kind="pwrite64", pads=0, fault="")
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
                folder = self.fresh(point.life)
                pads = last[point.kind] - point.n
                answer = lives.ask(life=point.life, folder=folder, kind=point.kind, pads=pads, fault=fault)
                deaths += answer["ended"] == signal.SIGKILL
                try:
                    self.judge(point, answer["steps"], folder)
                except Exception as problem:
                    self.report("corrupt", point, answer["steps"], f"{type(problem).__name__}: {problem}")
                shutil.rmtree(folder)
        return deaths

    def judge(self, point: Point, steps: int, folder: str) -> None:
        """Open what is left as the next broker would; compare it with what must be there, and go on with it."""
        states, ends = self.recorded[point.life]
        oldest, newest = (ends[steps - 1] if steps else 0), ends[min(steps, len(ends) - 1)]
        path = os.path.join(folder, crash_life.DATABASE)
        database = Database(path, backups_dir=os.path.join(folder, "state", "backups"))
        try:
            with contextlib.closing(sqlite3.connect(path)) as look:
                damage = [*look.execute("PRAGMA integrity_check"), *look.execute("PRAGMA foreign_key_check")]
                found = crash_life.contents(look)
            if damage != [("ok",)]:
                self.report("corrupt", point, steps, f"{damage}")
            elif found in states[:oldest] and found not in states[oldest : newest + 1]:
                self.report("lost", point, steps, f"what was answered led to state {oldest}, found is state {states.index(found)}")
            elif found not in states[oldest : newest + 1]:
                differ = difflib.unified_diff(states[oldest].split("\n"), found.split("\n"), n=0, lineterm="")
                self.report("torn", point, steps, "\n".join(differ)[:2000])
            verdict = database.read(events.verify)
            if not verdict["ok"]:
                self.report("corrupt", point, steps, f"the log: {verdict}")
            if database.read(events.tables) != database.read(lambda tx: events.state_at(tx, None)[1]):
                self.report("torn", point, steps, "the log folds to something else than the tables")
            database.write(lambda tx: events.note(tx, BROKER, "it goes on", []), at=0.0)
        finally:
            database.close()
        self.look_beside_it(point, steps, folder)

    def look_beside_it(self, point: Point, steps: int, folder: str) -> None:
        """Closed, there is one file; and a copy that bears its name is whole."""
        beside = [name for name in os.listdir(folder) if name not in (crash_life.DATABASE, "state")]
        if beside:
            self.report("corrupt", point, steps, f"left beside it: {beside}")
        backups = os.path.join(folder, "state", "backups")
        for path in (os.path.join(folder, name) for folder, _, names in os.walk(backups) for name in names):
            name = os.path.basename(path)
            if not name.endswith(".db"):
                self.assertIn(".partial", name)
                continue
            with contextlib.closing(sqlite3.connect(path)) as copy:
                found = crash_life.contents(copy)
                if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)] or found != self.copies.get((point.life, name), found):
                    self.report("corrupt", point, steps, f"the copy {name} is not whole")

    def report(self, what: str, point: Point, steps: int, detail: str) -> None:
        self.found[what] += 1
        names = [name for name, _ in crash_life.LIVES[point.life]]
        self.faults.append(f"{what} at {point}, in '{names[steps] if steps < len(names) else 'the end'}': {detail}")


if __name__ == "__main__":
    unittest.main()
