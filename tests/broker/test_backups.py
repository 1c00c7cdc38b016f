"""Backups: an hourly copy while the broker serves, and which of them are kept."""

from __future__ import annotations

import os
import sqlite3
import time
import unittest
from contextlib import closing

from lattice.broker import backups
from tests.broker.broking import BrokerCase


class Hourly(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = self.house.broker.database
        self.folder = os.path.join(self.house.broker.settings.home, "backups")

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []

    def test_a_copy_is_made_when_the_hour_is_over_and_something_changed(self) -> None:
        now = time.time()
        self.house.enrol("ann")
        made = backups.make_if_due(self.database, self.folder, now)
        self.assertEqual([os.path.basename(made)], self.names())
        self.assertEqual(0o600, os.stat(made).st_mode & 0o777)
        with closing(sqlite3.connect(made)) as copy:
            self.assertEqual([("ann",)], copy.execute("SELECT id FROM peers WHERE id = 'ann'").fetchall())
        self.assertEqual("", backups.make_if_due(self.database, self.folder, now + 60), "not within the hour")
        os.utime(made, (now + 7200, now + 7200))  # nothing was written since
        self.assertEqual("", backups.make_if_due(self.database, self.folder, now + 4 * 3600))
        os.utime(made, (now - 7200, now - 7200))
        self.assertNotEqual("", backups.make_if_due(self.database, self.folder, now + 3600))

    def test_a_day_of_hours_and_a_week_of_days_are_kept_and_nothing_else_is_touched(self) -> None:
        self.house.enrol("ann")
        os.makedirs(self.folder, exist_ok=True)
        other = os.path.join(self.folder, "before-2.db")
        start = time.time() - 20 * 86_400
        for path in [other, *(self.named(start + hour * 3600) for hour in range(0, 19 * 24, 2))]:
            with open(path, "w", encoding="utf-8") as file:
                file.write("x")
            os.utime(path, (start, start))
        self.assertNotEqual("", backups.make_if_due(self.database, self.folder, time.time()))
        left = [name for name in self.names() if name.startswith("hourly-")]
        self.assertEqual(backups.HOURS + backups.DAYS, len(left))
        older = left[: -backups.HOURS]
        self.assertEqual(backups.DAYS, len({name[:15] for name in older}), "one of each day")
        self.assertIn("before-2.db", self.names())

    def named(self, at: float) -> str:
        return os.path.join(self.folder, time.strftime("hourly-%Y%m%d-%H%M.db", time.localtime(at)))

    def test_the_sweep_makes_it(self) -> None:
        self.house.enrol("ann")
        self.house.sweep.backup()
        self.house.settle()
        self.assertEqual(1, len([name for name in self.names() if name.startswith("hourly-")]))


if __name__ == "__main__":
    unittest.main()
