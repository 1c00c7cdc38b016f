"""Eight hours of sleep, of the broker, of the sessions or of all: nobody is given up, nothing is lost, and who is dead is found soon."""

from __future__ import annotations

import logging
import os
import tempfile
import unittest
from collections.abc import Callable
from unittest import mock

from lattice.broker import sweep
from tests.broker.broking import House
from tests.figures import measured
from tests.running import chance
from tests.simulator.schedule import VirtualClock

SLEEP_H = 8
CREW = ("arch", "ann", "bob", "cleo")
FOUND_S = 30  # a term, and fifteen seconds


class Machine:
    """A broker, sessions that hold something, and one of them that dies meanwhile."""

    def __init__(self, folder: str) -> None:
        self.clock = VirtualClock()
        self.house = House(folder, clock=self.clock)
        self.gone: set[int] = set()
        self.house.enrol("arch", "architect", pid=1, process="arch")
        for pid, id in enumerate(CREW[1:], start=2):
            self.house.enrol(id, pid=pid, process=id)
        for id in CREW:
            self.house.post(id, "/tasks/claim", task_id=self.house.task("arch", id))
            self.house.post(id, "/lock", file_path=f"/w/{id}.py")
        self.house.post("bob", "/lock", file_path="/w/short.py", ttl_s=60)
        self.house.post("cleo", "/lock", file_path="/w/ann.py", queue=True)
        self.house.pass_time(3, *CREW)

    def is_there(self, card: object) -> bool:
        return card is not None and card["pid"] not in self.gone  # type: ignore[index]

    # -- who sleeps

    def everything(self, seconds: float) -> None:
        """Stopped and continued; or a machine whose monotonic clock goes on."""
        self.clock.advance(seconds)

    def everything_and_its_clock(self, seconds: float) -> None:
        """A machine whose monotonic clock stands still with it: only the wall clock has gone on."""
        self.clock.jump(seconds)

    def the_broker(self, seconds: float) -> None:
        """Its sessions go on, and their beats are not answered."""
        self.clock.advance(seconds)

    def the_sessions(self, seconds: float) -> None:
        """The broker goes on, and hears nobody."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.house.sweep.tick()

    SLEEPERS: tuple[Callable[[Machine, float], None], ...] = (everything, everything_and_its_clock, the_broker, the_sessions)

    def dead_found_after(self, dead: str) -> int:
        """Everybody else is awake again. Seconds until the dead one has nothing any more."""
        others = [id for id in CREW if id != dead]
        for seconds in range(1, 120):
            self.clock.advance(1.0)
            for id in others:
                if self.house.ask(id, "POST", "/heartbeat", {})[0] == 401:  # a token lasts a day at most
                    self.house.enrol(id, "architect" if id == "arch" else "", process=id, pid=1 + CREW.index(id))
            self.house.sweep.tick()
            if self.house.status(dead) == "dead":
                held = self.house.rows("SELECT 1 FROM locks WHERE peer_id = ? AND state = 'held'", dead)
                return seconds if not held else 120
        return 120

    def lost(self, but: str = "") -> tuple[int, int]:
        """(peers that were given up, locks and claims that are not their owners' any more), but those of one."""
        house, others = self.house, [id for id in CREW if id != but]
        dead = sum(house.status(id) != "active" for id in others)
        held = {(row["peer_id"], row["file_path"]) for row in house.rows("SELECT * FROM locks WHERE state = 'held'")}
        wanted = {(id, f"/w/{id}.py") for id in others} | ({("bob", "/w/short.py")} if but != "bob" else set())
        claims = {row["assigned_to"] for row in house.rows("SELECT assigned_to FROM tasks WHERE status = 'in_progress'")}
        return dead, len(wanted - held) + len(set(others) - claims)


class EightHours(unittest.TestCase):
    time_bound_s = 120.0

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def machine(self) -> Machine:
        one = Machine(os.path.realpath(self.enterContext(tempfile.TemporaryDirectory())))
        self.addCleanup(one.house.close)
        self.enterContext(mock.patch.object(sweep, "may_be_frozen", one.is_there))
        return one

    def test_nobody_is_given_up_nothing_is_lost_and_the_dead_are_found_soon(self) -> None:
        chosen, worst_s = chance(self), 0
        for sleep in Machine.SLEEPERS:
            with self.subTest(sleep.__name__):
                one = self.machine()
                sleep(one, SLEEP_H * 3600.0)
                one.house.sweep.tick()
                self.assertEqual((0, 0), one.lost(), "at once")
                dead = chosen.choice(CREW)
                one.gone.add(1 + CREW.index(dead))
                worst_s = max(worst_s, one.dead_found_after(dead))
                self.assertEqual((0, 0), one.lost(but=dead), "after a while")
        measured(self, "R18", virtual_sleep_h=SLEEP_H, worst_dead_found_s=worst_s)
        self.assertLessEqual(worst_s, FOUND_S)

    def test_who_died_while_the_others_slept_is_found_while_they_sleep(self) -> None:
        one = self.machine()
        one.gone.add(1 + CREW.index("ann"))
        one.the_sessions(60)
        self.assertEqual("dead", one.house.status("ann"))
        self.assertEqual((0, 0), one.lost(but="ann"))

    def test_one_that_sleeps_while_others_work_is_given_up(self) -> None:
        one = self.machine()
        one.house.pass_time(17, "arch", "bob", "cleo")
        self.assertEqual("dead", one.house.status("ann"))

    def test_a_newcomer_ends_the_silence_for_those_that_do_not_wake(self) -> None:
        one = self.machine()
        one.the_sessions(600)
        one.house.enrol("dan")
        one.house.pass_time(14, "dan")
        self.assertEqual((0, 0), one.lost())
        one.house.pass_time(3, "dan")
        self.assertEqual({"dead"}, {one.house.status(id) for id in CREW})

    def test_a_plain_client_without_a_process_is_given_up_as_ever(self) -> None:
        one = self.machine()
        one.house.enrol("plain")
        self.enterContext(mock.patch.object(sweep, "may_be_frozen", lambda card: bool(card and card["pid"])))
        one.the_sessions(20)
        self.assertEqual(("dead", "active"), (one.house.status("plain"), one.house.status("ann")))


if __name__ == "__main__":
    unittest.main()
