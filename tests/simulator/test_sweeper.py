"""The sweep cannot die: an error at each statement that it runs, one at a time, and the next ticks do what was left undone."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from lattice.broker import backups, spawning, sweep
from lattice.domain import events, forgetting
from lattice.store.writer import Tx
from tests.broker.broking import House
from tests.figures import measured
from tests.running import chance, figure

DAY_S = 86_400.0
AFTERWARDS = 65  # ticks: the chores come again after a minute


class Planted(Exception):
    """An error that nothing expects."""


ERRORS: tuple[Callable[[], Exception], ...] = (
    Planted,
    lambda: sqlite3.OperationalError("planted"),
    lambda: KeyError("planted"),
    lambda: OSError("planted"),
)


class Overdue:
    """A broker for whose sweep there is something to do in every job and chore."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        house = self.house = House(folder, environ={"C2_LATTICE_KEEP_DAYS": "2"})
        house.crew("ann", "bob", "cleo", "dan")
        house.enrol("temp-1", named=False)
        house.post("temp-1", "/leave")
        house.enrol("old-1", named=False)
        house.post("command-center", "/unregister", peer_id="old-1")
        house.post("arch", "/spawn", working_dir="/", peer_id="helper")
        house.raw("cleo", "POST", "/permission", {"tool": "Bash", "text": "ls", "wait_s": 5})
        self.old_things()
        house.sleep(5 * DAY_S)
        house.sweep._last = house.clock.monotonic()  # the ticks were on time all the while
        house.broker.presence.forgive(house.clock.monotonic())
        self.late_things()
        step, steps = house.sweep.retention.step, len(forgetting.KINDS) + 2
        house.sweep.retention.step = lambda: [step() for _ in range(steps)] and None  # type: ignore[method-assign]  # a round in one tick
        self.worst_age_s = 0.0

    def old_things(self) -> None:
        """What is over in five days."""
        house = self.house
        for number in range(3):
            house.send("ann", "bob", f"m{number}", idempotency_key=f"k{number}")
            house.post("ann", "/memory", key="port", value=str(number))
        house.texts("bob")
        for _ in range(2):
            house.post("ann", f"/tasks/{house.task('ann', run_id='spring')}/cancel")
        house.post("ann", "/conversation", turn_type="user", content="hi")
        house.post("dan", "/lock", file_path="/w/lost.py")
        house.post("command-center", "/unlock", file_path="/w/lost.py")

    def late_things(self) -> None:
        """Who is late, what has lapsed, what is closed and open again, what was kept and not taken."""
        house = self.house
        house.renew_tokens()
        for id in ("arch", "bob"):
            house.enrol(id)
        for id in ("ann", "cleo", "dan"):
            house.enrol(id, pid=4242 if id == "dan" else None)
        house.post("dan", "/lock", file_path="/w/closed.py")
        for _ in range(17):
            house.clock.advance(1)
            house.beat("ann", "bob", "cleo", "arch")
        house.sweep._last = house.clock.monotonic() - 1
        house.sweep.late_peers()  # dan: its lock is closed
        house.post("arch", "/lock", file_path="/w/kept.py")
        house.post("bob", "/lock", file_path="/w/kept.py", queue=True)
        house.post("arch", "/unlock", file_path="/w/kept.py")  # kept for bob, who does not come
        house.post("cleo", "/lock", file_path="/w/short.py", ttl_s=5)
        house.post("ann", "/tasks/claim", task_id=house.task("ann", "late"))
        house.post("ann", "/lock", file_path="/w/late.py")
        for _ in range(62):
            house.clock.advance(1)
            house.beat("bob", "arch")
        house.sweep._last = house.broker.swept = house.clock.monotonic() - 1

    def tick(self, at: int = 0, error: Callable[[], Exception] = Planted) -> int:
        """One tick, in which the statement of that number fails (0: none does). How many were run."""
        self.house.clock.advance(1)
        self.house.beat("bob", "arch")
        self.worst_age_s = max(self.worst_age_s, self.house.broker.about()["sweep_age_s"])
        with failing(at, error) as count:
            self.house.sweep.tick()
        self.house.settle()
        return count[0]

    def state(self) -> dict[str, Any]:
        """All that a sweep decides, without the times at which it did."""
        found: dict[str, Any] = dict(self.house.broker.read(events.tables))
        for table in ("lost_locks", "lock_queue", "memory_history", "idempotency", "receipts"):
            found[table] = self.house.value(f"SELECT COUNT(*) FROM {table}")
        found["mail"] = self.house.rows("SELECT recipient, COUNT(*) AS n FROM deliveries GROUP BY recipient ORDER BY recipient")
        for kind in ("message", "delivery", "conversation"):
            found[kind] = len(found[kind])
        for task in found["task"].values():
            task["token"] = 0
        found["snapshots"] = self.house.value("SELECT COUNT(*) FROM events WHERE kind = 'snapshot'") > 0
        found["copies"] = len(backups.every_copy(self.house.broker.backups))
        return found


@contextmanager
def failing(at: int, error: Callable[[], Exception]) -> Iterator[list[int]]:
    """The `at`th statement that is run fails (0: none does). Answers how many were run."""
    run, count = Tx._execute, [0]

    def counted(tx: Tx, sql: str, params: Any) -> Any:
        count[0] += 1
        if count[0] == at:
            raise error()
        return run(tx, sql, params)

    with mock.patch.object(Tx, "_execute", counted):
        yield count


class TheSweepCannotDie(unittest.TestCase):
    time_bound_s = 600.0

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.enterContext(mock.patch.object(sweep, "may_be_frozen", lambda card: bool(card and card["pid"])))
        self.enterContext(mock.patch.object(events, "SNAPSHOT_EVERY", 10))
        self.enterContext(mock.patch.object(spawning, "REFUSED_AFTER_S", 60.0))
        self.made = self.enterContext(tempfile.TemporaryDirectory())
        self.number = 0

    def overdue(self) -> Overdue:
        """A fresh one."""
        self.number += 1
        folder = os.path.join(os.path.realpath(self.made), str(self.number))
        os.mkdir(folder)
        one = Overdue(folder)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return one

    def test_after_an_error_at_any_statement_it_runs_again_and_does_what_was_left(self) -> None:
        chosen = chance(self)
        well = self.overdue()
        statements = well.tick()
        for _ in range(AFTERWARDS):
            well.tick()
        wanted = well.state()
        well.house.close()
        status = {id: wanted["peer"][f'"{id}"']["status"] for id in ("ann", "cleo", "dan", "temp-1")}
        self.assertEqual({"ann": "dead", "cleo": "dead", "dan": "dead", "temp-1": "gone"}, status)
        self.assertEqual(({}, {}, 1, True), (wanted["run"], wanted["lock"], wanted["copies"], wanted["snapshots"]))
        self.assertNotIn('"old-1"', wanted["peer"])
        places = range(1, statements + 1)
        faults = did_not_run_again = 0
        worst_age_s = 0.0
        for at in places if figure(0, 1) else sorted(chosen.sample(places, 12)):
            one = self.overdue()
            one.tick(at, chosen.choice(ERRORS))
            faults += 1
            for _ in range(AFTERWARDS):
                one.tick()
            worst_age_s = max(worst_age_s, one.worst_age_s)
            if one.state() != wanted:
                did_not_run_again += 1
                there = one.state()
                print(
                    f"statement {at}: "
                    + "; ".join(f"{name}: {there[name]} for {wanted[name]}" for name in wanted if there[name] != wanted[name])[:600]
                )
            one.house.close()
        print(f"{statements} statements")
        measured(self, "R21", faults=faults, did_not_run_again=did_not_run_again, worst_sweep_age_s=worst_age_s)
        self.assertEqual(0, did_not_run_again)
        self.assertLess(worst_age_s, 20)


if __name__ == "__main__":
    unittest.main()
