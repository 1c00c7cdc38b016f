"""Backups: an hourly copy while the broker serves, which of them are kept, and that no clock and no full disk upsets it."""

from __future__ import annotations

import calendar
import os
import shutil
import sqlite3
import threading
import time
import types
import unittest
from contextlib import closing
from unittest import mock

from lattice.broker import backups, sweep
from lattice.errors import OutOfSpace
from lattice.store import backup
from tests.broker.broking import BrokerCase

NINE = float(calendar.timegm((2026, 3, 28, 9, 0, 0, 0, 0, 0)))
HOUR = 3600.0


class Hourly(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = self.house.broker.database
        self.folder = self.house.broker.backups
        self.house.change("UPDATE events SET at = ? WHERE seq = 1", NINE)  # which is when this database began
        self.house.enrol("ann")
        self.hourly = backups.Hourly(self.database, self.folder)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []

    def make(self, hours: float, *, changed: bool = True, up: float | None = None) -> str:
        """What is made so long after nine, if there is anything new; `up`: hours on the clock that is never set."""
        if changed:
            self.house.task("ann", f"at {hours}")
        return os.path.basename(self.hourly.make_if_due(NINE + hours * HOUR, (hours if up is None else up) * HOUR))

    def put(self, hours: float, text: str = "x") -> str:
        """A file that looks like the copy of that moment."""
        os.makedirs(self.folder, exist_ok=True)
        name = time.strftime("hourly-%Y%m%d-%H%M%SZ.db", time.gmtime(NINE + hours * HOUR))
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)
        return name

    def test_a_copy_is_made_when_the_hour_is_over_and_something_changed(self) -> None:
        self.assertEqual("", self.make(0.9), "the database is not an hour old")
        made = self.make(1)
        self.assertEqual(("hourly-20260328-100000Z.db", [made]), (made, self.names()))
        path = os.path.join(self.folder, made)
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)
        with closing(sqlite3.connect(path)) as copy:
            self.assertEqual([("ann",)], copy.execute("SELECT id FROM peers WHERE id = 'ann'").fetchall())
        self.assertEqual("", self.make(1.9), "not within the hour")
        self.assertEqual("hourly-20260328-110000Z.db", self.make(2))
        self.assertEqual("", self.make(9, changed=False), "nothing was written since")
        self.assertEqual("hourly-20260328-180100Z.db", self.make(9 + 1 / 60))

    def test_a_copy_that_cannot_be_read_is_none(self) -> None:
        self.put(1)
        self.assertEqual("hourly-20260328-110000Z.db", self.make(2, changed=False))

    def test_a_day_of_hours_and_a_week_of_days_are_kept_and_nothing_else_is_touched(self) -> None:
        others = ["lattice-v1-before-v2.db", "hourly-by-hand.db", "hourly-20260301-090000Z.db.mine"]
        for hour in range(-19 * 24, 0, 2):
            self.put(hour)
        for name in others:
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write("x")
        self.assertNotEqual("", self.make(1))
        left = [name for name in self.names() if name not in others]
        self.assertEqual(backups.HOURS + backups.DAYS, len(left))
        older = left[: -backups.HOURS]
        self.assertEqual(backups.DAYS, len({name[:15] for name in older}), "one of each day")
        self.assertLessEqual(set(others), set(self.names()))

    def test_a_clock_that_was_wrong_stops_nothing_and_costs_no_copy(self) -> None:
        of_the_future = [self.put(24 * 365 * 10 + hour) for hour in range(30)]
        made = [self.make(hour) for hour in range(1, 40)]
        self.assertNotIn("", made)
        self.assertLessEqual({*of_the_future, *made[-backups.HOURS :]}, set(self.names()))

    def test_a_clock_that_is_set_back_while_the_broker_runs_costs_no_hour(self) -> None:
        before = [self.make(hour) for hour in (1, 2, 3, 4)]
        made = [name for tenth in range(1, 41) if (name := self.make(2 + tenth / 10, up=4 + tenth / 10))]  # it is eleven once more
        names = ["hourly-20260328-120000Z-2.db", "hourly-20260328-130000Z-2.db", "hourly-20260328-140000Z.db", "hourly-20260328-150000Z.db"]
        self.assertEqual(names, made)
        self.assertLessEqual({*before, *made}, set(self.names()))

    def test_a_machine_that_slept_has_its_copy_when_it_wakes(self) -> None:
        self.make(1, up=1)
        self.assertNotEqual("", self.make(9, up=1.1))

    def test_a_broker_that_starts_after_the_clock_was_set_back_makes_one_at_once(self) -> None:
        for hour in (1, 2, 3, 4):
            self.make(hour)
        self.hourly = backups.Hourly(self.database, self.folder)
        self.assertEqual("", self.make(2.5, changed=False))
        self.assertEqual("hourly-20260328-113000Z.db", self.make(2.5))

    def test_a_broker_that_starts_within_the_hour_does_not(self) -> None:
        self.make(1)
        self.hourly = backups.Hourly(self.database, self.folder)
        self.assertEqual(["", "hourly-20260328-110000Z.db"], [self.make(1.9), self.make(2)])

    def test_summer_time_changes_no_name(self) -> None:
        with mock.patch.dict(os.environ, {"TZ": "Europe/Berlin"}):
            time.tzset()
            try:
                made = [self.make(hour) for hour in range(14, 20)]  # 02:00 local time is 03:00 that night
            finally:
                os.environ.pop("TZ")
                time.tzset()
        time.tzset()
        self.assertEqual(
            [f"hourly-20260328-{hour}0000Z.db" for hour in ("23",)] + [f"hourly-20260329-0{hour}0000Z.db" for hour in range(5)], made
        )

    def test_a_disk_without_space_for_it_is_left_as_it_is(self) -> None:
        usage = types.SimpleNamespace(free=os.path.getsize(self.database.path))
        with mock.patch.object(shutil, "disk_usage", return_value=usage), self.assertRaisesRegex(OutOfSpace, "no hourly copy"):
            self.make(1)
        self.assertEqual([], self.names())
        self.assertNotEqual("", self.make(1, changed=False))

    def test_a_copy_that_fails_in_the_middle_leaves_nothing_and_costs_no_other(self) -> None:
        kept = [self.make(hour) for hour in range(1, 31)][-backups.HOURS :]
        before = self.names()
        for failing in ("fsync", "link"):
            with mock.patch.object(backup.os, failing, side_effect=OSError(28, "No space left on device")), self.assertRaises(OSError):
                self.make(32)
            self.assertEqual(before, self.names())
        self.assertLessEqual(set(kept), set(before))

    def test_what_a_killed_broker_left_half_copied_is_removed_and_what_is_being_copied_is_not(self) -> None:
        old, young = self.put(0) + ".4711-0a1b2c3d.partial", self.put(0) + ".4712-0a1b2c3d.partial-journal"
        for name, age_s in ((old, 2 * HOUR), (young, 10.0)):
            path = os.path.join(self.folder, name)
            open(path, "w").close()
            os.utime(path, (time.time() - age_s,) * 2)
        self.make(1)
        self.assertEqual([young], [name for name in self.names() if "partial" in name])

    def test_two_databases_of_one_home_have_their_copies_apart(self) -> None:
        folders = {backup.folder_of(path, "/home/backups") for path in ("/a/lattice.db", "/b/lattice.db", "/a/other.db", "/a/.lattice.db")}
        self.assertEqual(4, len(folders))
        self.assertTrue(all(folder.startswith(("/home/backups/lattice-", "/home/backups/other-")) for folder in folders), folders)

    def test_a_link_and_its_file_have_one_folder(self) -> None:
        link = os.path.join(self.house.folder, "link.db")
        os.symlink(self.database.path, link)
        self.assertEqual(backup.folder_of(self.database.path, "/x"), backup.folder_of(link, "/x"))


class BySweep(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.enrol("ann")

    def made(self) -> int:
        self.house.settle()
        folder = self.house.broker.backups
        return len(os.listdir(folder)) if os.path.isdir(folder) else 0

    def test_the_sweep_makes_it(self) -> None:
        self.house.clock.advance(HOUR)
        self.house.sweep.backup()
        self.assertEqual(1, self.made())

    def test_a_broker_that_never_lives_for_a_minute_makes_them_too(self) -> None:
        for _ in range(3):
            self.house.clock.advance(HOUR)
            self.house.task("ann", "work")
            self.house.restart()
            started = threading.Event()
            self.house.sweep._stopped = started  # the loop ends before its first tick
            started.set()
            self.house.sweep.start()
            self.house.sweep._thread.join(10)
            self.made()
            self.house.sweep = sweep.Sweep(self.house.broker)
        self.assertEqual(3, self.made())

    def test_one_that_cannot_be_made_is_tried_each_minute_and_said_once(self) -> None:
        self.house.clock.advance(HOUR)
        for refusing in ({"return_value": types.SimpleNamespace(free=1)}, {"side_effect": PermissionError("not yours")}):
            with mock.patch.object(shutil, "disk_usage", **refusing), self.assertLogs("lattice.broker", "WARNING") as said:
                for _ in range(5):
                    self.house.sweep.backup()
                    self.house.settle()
                    self.house.clock.advance(60)
            self.assertEqual(1, len(said.output), said.output)
            self.assertNotIn("Traceback", said.output[0])
        self.assertEqual(0, self.made())
        self.house.sweep.backup()
        self.assertEqual(1, self.made())


if __name__ == "__main__":
    unittest.main()
