"""The architect's seat: one per workspace, whoever asks how fast; the person gives it and takes it."""

from __future__ import annotations

import random
import unittest
from functools import partial

from tests.broker.broking import PERSON, BrokerCase, at_once

SEED = 20_261_120
ROUNDS = 40
RACERS = 8


class TheSeat(BrokerCase):
    def test_one_active_architect_per_workspace(self) -> None:
        self.house.enrol("arch", "architect")
        status, said = self.house.register("arch2", "architect")
        self.assertEqual((409, "seat_taken", "arch"), (status, said["code"], said["holder"]))
        self.assertIn("Architect role already held by 'arch'", said["error"])
        self.assertEqual("architect", self.house.enrol("other", "architect", "bank")["role"])

    def test_with_fallback_who_finds_the_seat_taken_is_a_worker_and_is_told_who_has_it(self) -> None:
        self.house.enrol("arch", "architect")
        said = self.house.enrol("arch2", "architect", fallback=True)
        self.assertEqual(("worker", {"held_by": "arch"}), (said["role"], said["seat"]))
        self.assertIn("'arch'", said["note"])
        self.assertIn("launch.py --architect arch2", said["note"])

    def test_eight_at_once_have_one_winner_in_every_round(self) -> None:
        dice = random.Random(SEED)
        for number in range(ROUNDS):
            workspace = f"w{number}"
            tickets = [(f"r{number}-{racer}", self.house.ticket(f"r{number}-{racer}", "architect", workspace)) for racer in range(RACERS)]
            dice.shuffle(tickets)
            got = at_once(*(partial(self.house.register, id, "architect", ticket=ticket) for id, ticket in tickets))
            winners = [said["id"] for _, said in got if said.get("role") == "architect"]
            self.assertEqual(1, len(winners), f"seed {SEED}, round {number}: {got}")
            self.assertEqual({winners[0]}, {said.get("holder") for _, said in got if said.get("id") != winners[0]})

    def test_each_grant_of_the_seat_has_a_larger_token(self) -> None:
        self.house.crew("w1", "w2")
        seen = []
        for id in ("w1", "w2", "arch"):
            self.house.post(PERSON, "/seat", peer_id=id)
            seen.append(self.house.value("SELECT token FROM seats WHERE workspace = 'shop'"))
        self.assertEqual(sorted(set(seen)), seen)

    def test_the_person_seats_and_unseats_and_it_counts_at_once(self) -> None:
        self.house.crew("w1")
        said = self.house.post(PERSON, "/seat", peer_id="w1")
        self.assertEqual(("w1", "arch"), (said["architect"], said["was"]))
        self.refused(403, "arch", "/pause", {"peer_id": "w1"}, code="role")
        self.house.post("w1", "/pause", peer_id="arch")
        self.assertEqual("architect", self.house.beat("w1")["role"])
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        self.refused(403, "w1", "/resume", {"peer_id": "arch"}, code="role")

    def test_nobody_else_seats_and_the_person_takes_no_seat(self) -> None:
        self.house.crew("w1")
        self.refused(403, "arch", "/seat", {"peer_id": "w1"}, code="role")
        self.refused(403, "w1", "/seat", {"peer_id": "w1"}, code="role")
        self.refused(400, PERSON, "/seat", {"peer_id": PERSON})
        self.refused(404, PERSON, "/seat", {"peer_id": "ghost"})
        self.assertEqual("system", self.house.value("SELECT role FROM peers WHERE id = ?", PERSON))

    def test_an_away_architect_that_comes_back_in_time_has_its_seat(self) -> None:
        self.house.enrol("arch", "architect", process="first")
        self.house.post("arch", "/leave", process="first")
        self.house.pass_time(10)
        self.assertEqual(409, self.house.register("arch2", "architect")[0])
        self.assertEqual("architect", self.house.enrol("arch", process="second")["role"])

    def test_one_that_is_away_is_not_seated(self) -> None:
        """It would hold the seat until it came back, should it ever."""
        self.house.crew("w1")
        self.house.post("w1", "/leave")
        self.refused(409, PERSON, "/seat", {"peer_id": "w1"})
        self.assertEqual("arch", self.house.value("SELECT peer FROM seats"))
        self.house.post("arch", "/leave")
        self.house.post(PERSON, "/seat", peer_id="arch")
        self.house.enrol("w1")
        self.house.post(PERSON, "/seat", peer_id="w1")

    def test_the_seat_of_one_that_is_lost_is_free_and_it_comes_back_as_a_worker(self) -> None:
        self.house.enrol("arch", "architect")
        self.house.pass_time(16)
        self.assertEqual("architect", self.house.enrol("arch2", "architect")["role"])
        self.assertEqual("worker", self.house.beat("arch")["role"])
        self.assertEqual("worker", self.house.enrol("arch", "architect", fallback=True)["role"])

    def test_a_seat_does_not_travel_to_another_workspace(self) -> None:
        self.house.enrol("arch", "architect", "shop")
        self.house.post("arch", "/leave")
        self.house.enrol("arch", "architect", "bank")
        self.assertEqual([{"workspace": "bank", "peer": "arch"}], self.house.rows("SELECT workspace, peer FROM seats"))
        self.assertEqual("architect", self.house.enrol("arch2", "architect", "shop")["role"])

    def test_with_no_architect_its_powers_are_the_persons(self) -> None:
        self.house.enrol("w1")
        self.house.enrol("w2")
        task = self.house.task("w1")
        self.house.post(PERSON, f"/tasks/{task}/assign", peer_id="w2")
        self.house.send(PERSON, "broadcast", "good morning")
        self.house.post(PERSON, "/pause", peer_id="w1")
        asked = self.house.post("w1", "/escalations", kind="blocker", text="stuck")["escalation_id"]
        self.house.post(PERSON, f"/escalations/{asked}/resolve", verdict="answer", answer="go left")


if __name__ == "__main__":
    unittest.main()
