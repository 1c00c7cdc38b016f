"""Retention: by age and by size, a little at a tick; the file stops growing."""

from __future__ import annotations

import logging
import os
import time
import unittest
from unittest import mock

from lattice.broker import retention
from lattice.domain import events
from tests.broker.broking import PERSON, BrokerCase

DAY_S = 86_400.0


class KeepCase(BrokerCase):
    environ = {"C2_LATTICE_KEEP_DAYS": "4", "C2_LATTICE_KEEP_MB": "1"}

    def setUp(self) -> None:
        super().setUp()
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.house.crew("ann", "bob")

    @property
    def retention(self) -> retention.Retention:
        return self.house.sweep.retention

    def mail(self, count: int, size: int = 10) -> None:
        """So much mail that is read."""
        for number in range(count):
            self.house.send("ann", "bob", f"{number} ".ljust(size, "x"))
            if number % 20 == 19 or number == count - 1:
                while self.house.texts("bob"):
                    pass

    def days_later(self, days: float) -> None:
        self.house.sleep(days * DAY_S)
        self.house.sweep.tick()
        self.house.renew_tokens()
        for id in ("ann", "bob"):
            self.house.enrol(id)

    def round(self) -> int:
        """Ticks until the round that is due is over; how many."""
        left = max(0.0, self.retention._next - self.house.clock.monotonic())
        self.house.pass_time(left, "ann", "bob")
        for ticks in range(1, 2000):
            self.house.pass_time(1, "ann", "bob")
            if not self.retention._left and self.house.clock.monotonic() < self.retention._next:
                return ticks
        raise AssertionError("a round that does not end")

    def count(self, table: str) -> int:
        return int(self.house.value(f"SELECT COUNT(*) FROM {table}"))


class ByAge(KeepCase):
    def test_what_is_over_goes_after_so_many_days_and_not_before(self) -> None:
        self.mail(5)
        self.days_later(3.9)
        self.round()
        self.assertEqual(5, self.count("messages"))
        self.days_later(0.2)
        self.round()
        self.assertEqual((0, 0, 0), (self.count("messages"), self.count("deliveries"), self.count("receipts")))
        said = self.refused(404, "ann", "/receipts/1", method="GET", code="forgotten")
        self.assertIn("older than 4 days", said["error"])

    def test_it_goes_a_little_at_a_tick_and_each_is_short(self) -> None:
        self.mail(500)
        self.days_later(5)
        self.house.pass_time(max(0.0, self.retention._next - self.house.clock.monotonic() - 1), "ann", "bob")
        before, most, longest = self.count("messages"), 0, 0.0
        for _ in range(40):
            self.house.clock.advance(1)
            began = time.thread_time()
            self.house.sweep.old_things()
            longest = max(longest, time.thread_time() - began)
            left = self.count("messages")
            before, most = left, max(most, before - left)
        self.assertEqual((0, retention.LOOKED_AT), (before, most))
        self.assertLess(longest, 0.25, "a tick that takes long holds up every write")

    def test_a_round_of_nothing_writes_nothing(self) -> None:
        self.mail(3)
        self.round()
        newest = self.house.value("SELECT MAX(seq) FROM events")
        self.round()
        self.assertEqual(newest, self.house.value("SELECT MAX(seq) FROM events"))

    def test_the_log_goes_before_its_last_old_snapshot(self) -> None:
        with mock.patch.object(events, "SNAPSHOT_EVERY", 20):
            self.mail(20)
            self.house.pass_time(61, "ann", "bob")
            first = self.house.value("SELECT MIN(seq) FROM events WHERE kind = 'snapshot'")
            self.assertEqual(1, self.house.value("SELECT MIN(seq) FROM events"))
            for _ in range(3):
                self.mail(20)
                self.house.pass_time(61, "ann", "bob")
            last = self.house.value("SELECT MAX(seq) FROM events WHERE kind = 'snapshot'")
            self.days_later(5)
            for _ in range(60):
                self.house.pass_time(1, "ann", "bob")
                self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"], "at each step")
            self.round()
        self.assertLess(first, last)
        self.assertEqual(last, self.house.value("SELECT MIN(seq) FROM events"))
        self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"])
        self.refused(404, PERSON, "/state?seq=2", method="GET")

    def test_what_became_open_between_the_look_and_the_write_stays(self) -> None:
        self.mail(1)
        self.days_later(5)
        write = self.house.broker.write

        def answered_first(fn: object, op: str) -> object:
            if op == "forget":
                write(lambda tx: tx.run("UPDATE deliveries SET state = 'queued'"), "test")
            return write(fn, op)  # type: ignore[arg-type]

        with mock.patch.object(self.house.broker, "write", answered_first):
            self.round()
        self.assertEqual(1, self.count("messages"))


class BySize(KeepCase):
    def test_a_database_that_is_too_large_keeps_what_is_over_for_shorter_but_for_a_day(self) -> None:
        self.days_later(1)
        for _ in range(3):
            self.mail(80, 9_000)
            self.days_later(1)
        self.mail(120, 9_000)  # over a megabyte
        self.assertGreater(self.house.broker.database.used_bytes(), retention.MB)
        self.round()
        self.assertEqual(DAY_S, self.retention.keep_s)
        self.assertEqual(120, self.count("messages"), "what is younger than a day")

    def test_with_room_again_it_is_kept_for_as_long_as_before(self) -> None:
        self.retention.shortened = 0.25
        for kept in (2, 4, 4):
            self.round()
            self.assertEqual(kept * DAY_S, self.retention.keep_s)

    def test_unread_mail_is_not_touched_however_large_it_is(self) -> None:
        for number in range(200):
            self.house.send("ann", "bob", f"{number} ".ljust(9_000, "x"))
        self.days_later(5)
        self.round()
        self.assertEqual(200, self.count("messages"))

    def test_pages_that_are_free_are_used_again_so_the_file_stops_growing(self) -> None:
        path, sizes = self.house.config.db, []  # type: ignore[attr-defined]
        for _ in range(12):
            self.mail(20, 9_000)
            self.days_later(1.01)
            self.round()
            sizes.append(os.path.getsize(path))
        self.assertLess(max(sizes[6:]), 1.3 * sizes[5], sizes)


if __name__ == "__main__":
    unittest.main()
