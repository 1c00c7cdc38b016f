"""The queue of a lock: first come first served, told when it is free, kept for a minute, nobody passed and nobody forgotten."""

from __future__ import annotations

import os
import unittest
from typing import Any
from unittest import mock

from tests.domain.test_lock_reach import LockCase


class QueueCase(LockCase):
    def setUp(self) -> None:
        super().setUp()
        self.everybody = ("ann", "bob", "cleo", "dan", "arch")
        self.house.enrol("dan", working_dir=self.repo)

    def wait(self, who: str, path: str, **more: Any) -> int:
        """Stand in line; the place."""
        said = self.lock(who, path, queue=True, **more)
        self.assertFalse(said["ok"], said)
        return int(said["queued"])

    def told(self, who: str) -> bool:
        """Was this one told since that something is free?"""
        return any("is free now" in text for text in self.house.texts(who))

    def told_of(self, *who: str) -> list[str]:
        return [id for id in who if self.told(id)]

    def queue(self) -> list[str]:
        return [row["peer_id"] for row in self.house.rows("SELECT peer_id FROM lock_queue ORDER BY id")]


class FirstComeFirstServed(QueueCase):
    def test_who_waits_is_told_in_turn_and_by_mail_that_says_the_call(self) -> None:
        self.lock("ann", "src/a.py")
        self.assertEqual([1, 2, 3], [self.wait(who, "src/a.py") for who in ("bob", "cleo", "dan")])
        self.assertEqual(["bob", "cleo", "dan"], [one["peer_id"] for one in self.house.get("arch", "/locks")["queue"]])
        for holder, first in (("ann", "bob"), ("bob", "cleo"), ("cleo", "dan")):
            self.unlock(holder, "src/a.py")
            mail = self.house.texts(first)
            self.assertEqual(1, len(mail))
            self.assertIn(f'lock_file {{"file_path": "{self.repo}/src/a.py"}}', mail[0])
            self.assertEqual([], self.told_of("ann", "bob", "cleo", "dan"))
            self.lock(first, "src/a.py")
        self.assertEqual([], self.queue())

    def test_asking_again_keeps_the_place(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.wait("cleo", "src/a.py")
        self.assertEqual(1, self.wait("bob", "src/a.py"))
        self.assertEqual(1, self.wait("bob", "src/a.py", shared=True), "as a reader now")
        self.assertEqual(["bob", "cleo"], self.queue())

    def test_who_waits_for_a_directory_is_told_when_all_of_it_is_free(self) -> None:
        self.lock("ann", "src/a.py")
        self.lock("bob", "src/b.py")
        self.wait("cleo", "src/")
        self.unlock("ann", "src/a.py")
        self.assertFalse(self.told("cleo"))
        self.unlock("bob", "src/b.py")
        mail = self.house.texts("cleo")
        self.assertIn(f'"{self.repo}/src/"', mail[0])
        self.assertEqual("dir", self.lock("cleo", "src/")["reach"])

    def test_it_is_told_whatever_way_the_lock_ends(self) -> None:
        ends = {
            "released by the architect": lambda: self.unlock("arch", "src/a.py"),
            "killed": lambda: self.house.post("arch", "/kill-peer", peer_id="ann"),
            "unregistered": lambda: self.house.post("arch", "/unregister", peer_id="ann"),
            "given up": lambda: self.house.pass_time(17, "bob", "arch", "cleo", "dan"),
            "lapsed": lambda: self.house.pass_time(9, "bob", "arch", "cleo", "dan"),
            "the turn ended": lambda: self.house.post("ann", "/hook", event="Stop"),
        }
        for name, end in ends.items():
            with self.subTest(name):
                if self.house.status("ann") == "killed":
                    self.house.post("arch", "/resume", peer_id="ann")
                self.house.enrol("ann", working_dir=self.repo)
                self.unlock("ann", "src/a.py")  # it is done with what it lost before
                if name == "the turn ended":
                    self.assertEqual(1, len(self.edit("ann", "src/a.py", auto=True)["taken"]))
                else:
                    self.lock("ann", "src/a.py", **({"ttl_s": 8} if name == "lapsed" else {}))
                self.wait("bob", "src/a.py")
                end()
                self.assertTrue(self.told("bob"))
                self.lock("bob", "src/a.py")
                self.unlock("bob", "src/a.py")

    def test_a_queue_outlives_the_broker(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.wait("cleo", "src/a.py")
        self.unlock("ann", "src/a.py")
        self.house.pass_time(50, *self.everybody)
        self.house.restart()
        self.house.pass_time(50, *self.everybody)  # a full minute from now on
        self.no_lock("cleo", "src/a.py", code="kept")
        self.house.pass_time(12, *self.everybody)
        self.assertEqual(["cleo"], self.queue())
        self.lock("cleo", "src/a.py")


class TheKeptPlace(QueueCase):
    def test_it_is_kept_for_a_minute_for_the_first_only(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.wait("cleo", "src/a.py")
        self.unlock("ann", "src/a.py")
        self.house.pass_time(59, *self.everybody)
        for who in ("ann", "cleo", "dan"):
            self.assertIn("bob", self.no_lock(who, "src/a.py", code="kept")["error"])
            self.no_lock(who, "src/", code="kept")
        self.may("dan", "src/a.py")
        self.may_not("dan", "src/a.py", code="kept", auto=True)
        self.lock("bob", "src/a.py")

    def test_who_does_not_come_in_time_loses_its_place_and_the_next_is_told(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.wait("cleo", "src/a.py")
        self.unlock("ann", "src/a.py")
        self.assertEqual(["bob"], self.told_of("bob", "cleo"))
        self.house.pass_time(62, *self.everybody)
        self.assertEqual(["cleo"], self.told_of("bob", "cleo"))
        self.assertEqual(["cleo"], self.queue())
        self.no_lock("bob", "src/a.py", code="kept")
        self.house.pass_time(62, *self.everybody)
        self.assertEqual([], self.queue())
        self.lock("bob", "src/a.py")

    def test_who_asks_for_more_while_the_end_of_its_place_waits_for_the_writer_keeps_it(self) -> None:
        self.lock("cleo", "src/new/c.py")
        self.lock("ann", "src/new")
        self.wait("bob", "src/new")
        self.unlock("ann", "src/new")
        self.house.pass_time(60, *self.everybody)
        self.house.clock.advance(1)
        real = self.house.broker.write

        def asked_first(fn: Any, op: str) -> Any:
            if op == "keep":
                self.wait("bob", "src/new/")
            return real(fn, op)

        with mock.patch.object(self.house.broker, "write", asked_first):
            self.house.sweep.tick()
        self.assertEqual(["bob"], self.queue())
        self.unlock("cleo", "src/new/c.py")
        self.assertTrue(self.told("bob"))

    def test_who_leaves_the_queue_when_it_is_its_turn_passes_it_on(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.wait("cleo", "src/a.py")
        self.unlock("ann", "src/a.py")
        said = self.unlock("bob", "src/a.py")
        self.assertEqual((False, True), (said["released"], said["left_the_queue"]))
        self.assertEqual(["cleo"], self.told_of("cleo"))

    def test_a_departure_leaves_all_queues_and_the_next_is_told(self) -> None:
        self.lock("ann", "src/a.py")
        self.lock("ann", "src/b.py")
        for path in ("src/a.py", "src/b.py"):
            self.wait("bob", path)
            self.wait("cleo", path)
        self.unlock("ann", "src/a.py")
        self.assertEqual([], self.told_of("cleo"))
        before = self.house.value("SELECT COUNT(*) FROM deliveries WHERE recipient = 'bob'")
        self.house.post("arch", "/unregister", peer_id="bob")
        self.assertEqual(["cleo", "cleo"], self.queue())
        self.assertTrue(self.told("cleo"))
        self.unlock("ann", "src/b.py")
        self.assertTrue(self.told("cleo"))
        self.assertEqual(
            before, self.house.value("SELECT COUNT(*) FROM deliveries WHERE recipient = 'bob'"), "the one that leaves is told nothing"
        )


class ReadersTogether(QueueCase):
    def test_waiting_readers_come_in_together(self) -> None:
        self.lock("ann", "src/a.py")
        for who in ("bob", "cleo", "dan"):
            self.wait(who, "src/a.py", shared=True)
        self.unlock("ann", "src/a.py")
        self.assertEqual(["bob", "cleo", "dan"], self.told_of("bob", "cleo", "dan"))
        for who in ("dan", "bob", "cleo"):
            self.lock(who, "src/a.py", shared=True)

    def test_a_writer_between_them_is_not_passed(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py", shared=True)
        self.wait("cleo", "src/a.py")
        self.wait("dan", "src/a.py", shared=True)
        self.unlock("ann", "src/a.py")
        self.assertEqual(["bob"], self.told_of("bob", "cleo", "dan"))
        self.lock("bob", "src/a.py", shared=True)
        self.unlock("bob", "src/a.py")
        self.assertEqual(["cleo"], self.told_of("bob", "cleo", "dan"))

    def test_a_stream_of_readers_does_not_starve_a_writer(self) -> None:
        self.lock("ann", "src/a.py", shared=True)
        self.wait("cleo", "src/a.py")
        said = self.no_lock("bob", "src/a.py", shared=True, code="waited_for")
        self.assertEqual("cleo", said["holder"])
        self.assertEqual(2, self.wait("bob", "src/a.py", shared=True))
        self.lock("ann", "src/a.py", shared=True)
        self.unlock("ann", "src/a.py")
        self.assertEqual(["cleo"], self.told_of("bob", "cleo"))
        self.lock("cleo", "src/a.py")
        self.unlock("cleo", "src/a.py")
        self.assertEqual(["bob"], self.told_of("bob", "cleo"))


class NobodyIsPassed(QueueCase):
    def test_small_locks_do_not_starve_who_waits_for_a_directory(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("cleo", "src/")
        self.no_lock("bob", "src/b.py", code="waited_for")
        self.lock("bob", "lib/b.py")
        self.may("bob", "src/b.py")
        self.assertEqual([], self.edit("bob", "src/b.py", auto=True)["taken"], "it is free to edit, and the queue is not passed")

    def test_a_holder_that_is_waited_for_may_go_on(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("cleo", "src/")
        self.lock("ann", "src/b.py")
        self.unlock("ann", "src/a.py")
        self.assertFalse(self.told("cleo"))
        self.unlock("ann", "src/b.py")
        self.assertTrue(self.told("cleo"))

    def test_who_waits_behind_one_that_leaves_goes_on(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("cleo", "src/")
        self.wait("bob", "src/b.py")
        self.unlock("cleo", "src/")
        self.assertEqual(["bob"], self.told_of("bob"))
        self.lock("bob", "src/b.py")

    def test_what_one_has_one_does_not_wait_for(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.unlock("ann", "src/a.py")
        self.lock("bob", "src/")
        self.assertEqual([], self.queue())

    def test_who_waits_for_a_closed_lock_is_told_when_its_holder_comes_back_and_does_not_want_it(self) -> None:
        self.house.enrol("eve", working_dir=self.repo, process="one", pid=os.getpid())
        self.lock("eve", "src/a.py")
        self.house.pass_time(16, *self.everybody)
        self.wait("bob", "src/a.py")
        self.house.change("DELETE FROM lost_locks")  # what it lost is old news by now
        self.house.enrol("eve", working_dir=self.repo, process="two")
        self.assertTrue(self.told("bob"))

    def test_somebody_forgotten_in_the_queue_is_found_by_the_sweep(self) -> None:
        self.lock("ann", "src/a.py")
        self.wait("bob", "src/a.py")
        self.house.change("DELETE FROM locks")
        with self.assertLogs("lattice.broker", "ERROR"):
            self.house.pass_time(1, *self.everybody)
        self.assertTrue(self.told("bob"))


class NoCircle(QueueCase):
    def test_two_that_hold_what_the_other_wants_are_told_so(self) -> None:
        self.lock("ann", "src/a.py")
        self.lock("bob", "src/b.py")
        self.wait("ann", "src/b.py")
        said = self.no_lock("bob", "src/a.py", code="deadlock", queue=True)
        self.assertEqual("ann", said["holder"])
        self.assertIn("src/b.py", said["hint"])
        self.assertEqual(["ann"], self.queue())

    def test_so_are_three(self) -> None:
        for who, path in (("ann", "a"), ("bob", "b"), ("cleo", "c")):
            self.lock(who, path)
        self.wait("ann", "b")
        self.wait("bob", "c")
        self.no_lock("cleo", "a", code="deadlock", queue=True)
        self.wait("dan", "a")

    def test_two_readers_that_would_both_write_are_told_so(self) -> None:
        self.lock("ann", "src/a.py", shared=True)
        self.lock("bob", "src/a.py", shared=True)
        self.wait("ann", "src/a.py")
        self.no_lock("bob", "src/a.py", code="deadlock", queue=True)
        self.unlock("bob", "src/a.py")
        self.assertTrue(self.told("ann"))
        self.assertEqual("exclusive", self.lock("ann", "src/a.py")["mode"])


if __name__ == "__main__":
    unittest.main()
