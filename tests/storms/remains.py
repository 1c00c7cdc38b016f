"""What is left of a life that was cut short: opened as the next broker would, and held against what must be there."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from typing import Any

from lattice.domain import events
from lattice.domain.caller import BROKER
from lattice.store.database import Database
from tests import tracing
from tests.running import TOP
from tests.storms import crash_life


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


class Judge:
    """Counts what is lost, torn or corrupt; `faults` says each in words. For several threads."""

    def __init__(self, folder: str) -> None:
        self.found = {"lost": 0, "torn": 0, "corrupt": 0}
        self.faults: list[str] = []
        self._folder = folder
        self._lock = threading.Lock()  # guards the two above
        self.recorded = {life: crash_life.record(life, self.fresh()) for life in crash_life.LIVES}
        with contextlib.closing(sqlite3.connect(os.path.join(self.fresh("upgrade"), crash_life.DATABASE))) as before:
            first = crash_life.contents(before)
        states, ends = self.recorded["whole"]
        step = [name for name, _ in crash_life.WHOLE].index("backup")
        self._copies = {("upgrade", "lattice-v1-before-v2.db"): first, ("whole", os.path.basename(crash_life.COPY)): states[ends[step]]}

    def fresh(self, life: str = "") -> str:
        """A new folder, prepared for a life if one is named."""
        folder = tempfile.mkdtemp(dir=self._folder)
        crash_life.prepare(life, folder)
        return folder

    def judge(self, life: str, steps: int, folder: str, where: object) -> None:
        """What is in the folder after so many steps were answered. `where`: how it came about."""
        try:
            self._judge(life, steps, folder, where)
        except Exception as problem:
            self._report("corrupt", life, steps, where, f"{type(problem).__name__}: {problem}")

    def _judge(self, life: str, steps: int, folder: str, where: object) -> None:
        states, ends = self.recorded[life]
        oldest, newest = (ends[steps - 1] if steps else 0), ends[min(steps, len(ends) - 1)]
        path = os.path.join(folder, crash_life.DATABASE)
        database = Database(path, backups_dir=os.path.join(folder, "state", "backups"))
        try:
            with contextlib.closing(sqlite3.connect(path)) as look:
                damage = [*look.execute("PRAGMA integrity_check"), *look.execute("PRAGMA foreign_key_check")]
                found = crash_life.contents(look)
            if damage != [("ok",)]:
                self._report("corrupt", life, steps, where, f"{damage}")
            elif found in states[:oldest] and found not in states[oldest : newest + 1]:
                self._report("lost", life, steps, where, f"what was answered led to state {oldest}, found is state {states.index(found)}")
            elif found not in states[oldest : newest + 1]:
                differ = difflib.unified_diff(states[oldest].split("\n"), found.split("\n"), n=0, lineterm="")
                self._report("torn", life, steps, where, "\n".join(line[:200] for line in differ)[:2000])
            verdict = database.read(events.verify)
            if not verdict["ok"]:
                self._report("corrupt", life, steps, where, f"the log: {verdict}")
            if database.read(events.tables) != database.read(lambda tx: events.state_at(tx, None)[1]):
                self._report("torn", life, steps, where, "the log folds to something else than the tables")
            database.write(lambda tx: events.note(tx, BROKER, "it goes on", []), at=0.0)
        finally:
            database.close()
        self._look_beside_it(life, steps, folder, where)

    def _look_beside_it(self, life: str, steps: int, folder: str, where: object) -> None:
        """Closed, there is one file; and a copy that bears its name is whole."""
        beside = [name for name in os.listdir(folder) if name not in (crash_life.DATABASE, "state")]
        if beside:
            self._report("corrupt", life, steps, where, f"left beside it: {beside}")
        backups = os.path.join(folder, "state", "backups")
        for path in (os.path.join(folder, name) for folder, _, names in os.walk(backups) for name in names if name.endswith(".db")):
            name = os.path.basename(path)
            with contextlib.closing(sqlite3.connect(path)) as copy:
                found = crash_life.contents(copy)
                if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)] or found != self._copies.get((life, name), found):
                    self._report("corrupt", life, steps, where, f"the copy {name} is not whole")

    def _report(self, what: str, life: str, steps: int, where: object, detail: str) -> None:
        names = [name for name, _ in crash_life.LIVES[life]]
        with self._lock:
            self.found[what] += 1
            self.faults.append(f"{what} at {where}, in '{names[steps] if steps < len(names) else 'the end'}': {detail}")
