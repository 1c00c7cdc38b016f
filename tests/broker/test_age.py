"""Age: a wall clock that jumps, in whichever direction, makes nothing older; and what was made after a jump grows old as all else."""

from __future__ import annotations

import random
import unittest

from lattice.broker.age import JUMPS, Age
from lattice.domain.departures import FORGET_UNNAMED_S
from tests import running
from tests.broker.broking import PERSON, BrokerCase

DAY_S = 86_400.0


class OldByTimeAwake(unittest.TestCase):
    def setUp(self) -> None:
        self.wall, self.monotonic = 1_700_000_000.0, 50.0
        self.age = Age(self.wall, self.monotonic)

    def pass_time(self, seconds: float, *, jump: float = 0.0) -> None:
        self.wall += seconds + jump
        self.monotonic += seconds
        self.age.look(self.wall, self.monotonic)

    def test_without_a_jump_it_is_the_wall_clock(self) -> None:
        self.pass_time(100)
        for age_s in (0.0, 30.0, 100.0, 40 * DAY_S):
            self.assertAlmostEqual(self.wall - age_s, self.age.before(age_s))

    def test_a_jump_forward_makes_nothing_old_and_later_things_grow_old_in_their_time(self) -> None:
        before = self.wall
        self.pass_time(10, jump=10 * 365 * DAY_S)
        after = self.wall
        self.assertLessEqual(self.age.before(60), before)
        self.pass_time(59)
        self.assertLess(self.age.before(60), after)
        self.pass_time(2)
        self.assertGreater(self.age.before(60), before)
        self.assertGreater(self.age.before(60), after)

    def test_a_jump_back_makes_nothing_old_either(self) -> None:
        self.pass_time(100)
        self.pass_time(1, jump=-3600)
        made = self.wall
        self.assertLessEqual(self.age.before(60), made)
        self.pass_time(59)
        self.assertLessEqual(self.age.before(60), made)
        self.pass_time(2)
        self.assertGreater(self.age.before(60), made)

    def test_whatever_the_clock_does_nothing_is_old_before_its_time_and_in_the_end_all_is(self) -> None:
        chance: random.Random = running.chance(self)
        for _ in range(200):
            self.setUp()
            made: list[tuple[float, float]] = []
            for _ in range(60):
                self.pass_time(chance.choice((0.5, 1.0, 300.0)), jump=chance.choice((0.0, 0.0, 0.0, 0.3, -0.3, 3600.0, -3600.0, -1e9, 1e8)))
                made.append((self.wall, self.monotonic))
                age_s = chance.choice((1.0, 60.0, 600.0))
                for wall, monotonic in made:
                    if self.monotonic - monotonic < age_s - 1e-3:
                        self.assertGreaterEqual(wall + 1.0, self.age.before(age_s))
            self.pass_time(10_000)
            self.assertTrue(all(wall < self.age.before(600) + 1.0 for wall, _ in made[-1:]))

    def test_the_age_of_one_thing_is_never_more_than_it_is_and_exact_but_where_a_jump_back_makes_it_younger(self) -> None:
        chance: random.Random = running.chance(self)
        for _ in range(30):
            self.setUp()
            made: list[tuple[float, float]] = []
            jumps = False
            for _ in range(30):
                made.append((self.wall, self.monotonic))
                jump = chance.choice((0.0, 0.0, 0.0, 3600.0, -3600.0, -1e9, 1e8))
                jumps = jumps or jump < 0
                self.pass_time(chance.choice((0.5, 1.0, 300.0)), jump=jump)
                for wall, monotonic in made:
                    age = self.age.of(wall, self.monotonic)
                    self.assertLessEqual(age, self.monotonic - monotonic + 1e-3)
                    self.assertTrue(jumps or abs(age - (self.monotonic - monotonic)) < 1e-3)
            self.pass_time(10_000)
            self.assertGreater(self.age.of(made[-1][0], self.monotonic), 6_000)  # an hour set back comes twice

    def test_what_seems_to_come_is_new_and_what_was_there_before_us_is_as_old_as_it_says(self) -> None:
        self.assertEqual(0.0, self.age.of(self.wall + DAY_S, self.monotonic))
        self.assertAlmostEqual(DAY_S, self.age.of(self.wall - DAY_S, self.monotonic), 3)
        self.pass_time(10, jump=-2 * DAY_S)
        self.assertAlmostEqual(10.0, self.age.of(self.wall + 2 * DAY_S - 10, self.monotonic), 3)
        self.assertAlmostEqual(50.0, self.age.left(self.wall + 2 * DAY_S + 50, 60.0, self.monotonic), 3)

    def test_what_is_made_this_moment_is_new_although_its_time_was_rounded_up(self) -> None:
        """Else a token that was minted just after the clock was set back by a day would be one of yesterday."""
        self.pass_time(100, jump=-2 * DAY_S)
        self.pass_time(100)
        self.assertEqual(0.0, self.age.of(self.wall + 0.0005, self.monotonic))

    def test_the_clock_is_read_as_it_is_and_as_it_would_be_had_it_not_been_set_lately(self) -> None:
        self.pass_time(10, jump=3600)
        self.assertEqual([self.wall - 3600, self.wall], self.age.readings(self.monotonic, 60))
        self.pass_time(61)
        self.assertEqual([self.wall], self.age.readings(self.monotonic, 60))

    def test_a_clock_that_never_rests_costs_no_more_and_more_memory(self) -> None:
        for _ in range(2 * JUMPS):
            self.pass_time(1, jump=2)
        self.assertLessEqual(len(self.age._offsets), JUMPS + 1)
        self.assertLess(self.age.before(60), self.wall - 60)


class TheClockIsSet(BrokerCase):
    def jump(self, seconds: float) -> None:
        self.house.clock._now += seconds
        self.house.pass_time(61, "w1")

    def test_what_is_kept_for_an_hour_or_a_day_is_kept_for_that_whatever_the_wall_clock_does(self) -> None:
        self.house.crew("w1")
        self.house.enrol("nobody-1", named=False)
        self.house.post("nobody-1", "/leave")
        made = self.house.task("w1", "once", idempotency_key="k")
        self.house.post("w1", "/conversation", turn_type="user", content="hi")
        for jump in (2 * FORGET_UNNAMED_S, -4 * FORGET_UNNAMED_S, 9 * DAY_S, 3650 * DAY_S):
            self.jump(jump)
            self.assertEqual("away", self.house.status("nobody-1"), jump)
            self.assertEqual(made, self.house.task("w1", "once", idempotency_key="k"))
            self.assertEqual(1, self.house.value("SELECT COUNT(*) FROM conversations"))

    def test_tokens_last_their_term_whatever_the_clock_does_and_end_then(self) -> None:
        self.house.crew("w1")
        for jump in (3600, -3600, 3650 * DAY_S, -20_000 * DAY_S):
            self.house.clock._now += jump
            for who in ("w1", PERSON, "viewer"):
                self.house.get(who, "/tasks")  # at once, before any tick has seen it
            self.house.pass_time(5, "w1")
            for who in ("w1", PERSON, "viewer"):
                self.house.get(who, "/tasks")
        self.house.sleep(DAY_S - 30)
        self.assertNotEqual("", self.house.beat("w1").get("token", ""), "renewed in its last hour")
        self.house.get("w1", "/tasks")
        self.house.sleep(20)
        self.refused(401, "w1", "/tasks", method="GET", code="token_expired")

    def test_a_ticket_minted_just_before_the_clock_is_set_enrols_and_none_enrols_twice(self) -> None:
        for number, jump in enumerate((3600, -3600, 3650 * DAY_S, -20_000 * DAY_S)):
            with self.subTest(jump=jump):
                used, unused = self.house.ticket(f"a{number}"), self.house.ticket(f"b{number}")
                self.assertEqual(200, self.house.register(f"a{number}", ticket=used)[0])
                self.house.clock._now += jump
                self.house.pass_time(2)
                self.assertEqual(200, self.house.register(f"b{number}", ticket=unused)[0])
                self.assertEqual(200, self.house.register(f"c{number}", ticket=self.house.ticket(f"c{number}"))[0])
                self.house.pass_time(61)
                self.house.clock._now -= jump  # set right again
                for minted in (used, unused):
                    status, said = self.house.register(f"a{number}" if minted == used else f"b{number}", ticket=minted)
                    self.assertIn((status, said["code"]), ((401, "ticket_expired"), (409, "ticket_used")))
                self.house.pass_time(2)

    def test_a_ticket_is_good_for_no_longer_than_it_was_meant_to_be_because_the_clock_is_set_back(self) -> None:
        ticket = self.house.ticket("late")
        self.house.clock._now -= 7200
        self.house.pass_time(61)
        self.assertEqual(
            (401, "ticket_expired"), (lambda status, said: (status, said["code"]))(*self.house.register("late", ticket=ticket))
        )

    def test_used_tickets_are_forgotten_after_a_day(self) -> None:
        self.house.crew("w1")
        self.house.pass_time(120, "w1")
        self.assertLess(0, self.house.value("SELECT COUNT(*) FROM tickets"))
        self.house.sleep(DAY_S + 60)
        self.house.sweep.tick()
        self.house.pass_time(61)
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM tickets"))

    def test_the_person_has_its_time_to_answer(self) -> None:
        self.house.crew("w1")
        asked = self.house.post("arch", "/spawn", working_dir="/")["escalation_id"]
        self.house.raw("w1", "POST", "/permission", {"tool": "Bash", "text": "ls", "wait_s": 300})
        self.jump(3600)
        self.assertEqual({"open"}, {one["state"] for one in self.house.get(PERSON, "/escalations?everywhere=1")["escalations"]})
        self.house.pass_time(600, "w1")
        self.assertEqual("resolved", self.house.value("SELECT state FROM escalations WHERE id = ?", asked))
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM escalations WHERE state = 'open'"))


if __name__ == "__main__":
    unittest.main()
