"""Many ask for one thing at the same moment: one gets it, and the others are told who."""

from __future__ import annotations

import threading
import unittest

from tests.figures import measured
from tests.running import Broker, chance, figure
from tests.storms.racers import Racers

CLIENTS = 64
ROUNDS = figure(40, 1000)
BATCH = 100


class OneWinner(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.arch = self.broker.enrol("arch", "architect")

    def test_sixty_four_peers_claim_one_task_and_one_gets_it_every_time(self) -> None:
        chosen = chance(self)
        peers = [self.broker.enrol(f"w{number}") for number in range(CLIENTS)]
        beating = self.broker.beat_all([self.arch, *peers])
        self.addCleanup(beating.close)
        tasks: list[int] = []
        for first in range(0, ROUNDS, BATCH):
            made = [{"title": f"round {number}"} for number in range(first, min(first + BATCH, ROUNDS))]
            tasks += self.arch.post("/tasks/batch", {"tasks": made})["task_ids"]
        grants: list[tuple[str, int]] = []
        wrong: list[str] = []
        with Racers(self.broker.port, [peer.token for peer in peers]) as racers:
            for task in tasks:
                answers = racers.race("/tasks/claim", {"task_id": task}, turn=chosen.randrange(CLIENTS))
                won = [(peer.id, said) for peer, (status, said) in zip(peers, answers, strict=True) if status == 200]
                lost = [(status, said) for status, said in answers if status != 200]
                if len(won) != 1 or any(
                    status != 409 or said["holder"] != won[0][0] or won[0][0] not in said["error"] for status, said in lost
                ):
                    wrong.append(f"task {task}: {won} {lost}")
                grants += [(winner, said["token"]) for winner, said in won[:1]]
        measured(self, "R13", clients=CLIENTS, rounds=len(tasks), rounds_without_one_winner=len(wrong))
        self.assertEqual(wrong, [], wrong[:1])
        numbers = [token for _, token in grants]
        self.assertEqual(numbers, sorted(set(numbers)), "each grant has a greater number")
        self.assertGreater(len({winner for winner, _ in grants}), 1, "not always the same one")
        for task, grant in zip(tasks, grants, strict=True):
            row = self.arch.get(f"/tasks/{task}")["task"]
            self.assertEqual((row["status"], (row["assigned_to"], row["token"])), ("in_progress", grant))

    def test_one_lock_has_one_holder(self) -> None:
        peers = [self.broker.enrol(f"w{number}") for number in range(16)]
        with Racers(self.broker.port, [peer.token for peer in peers], processes=2) as racers:
            for number in range(figure(20, 200)):
                answers = racers.race("/lock", {"file_path": f"/tmp/c2-lattice-test/{number}.py"}, turn=number)
                self.assertEqual(sorted(status for status, _ in answers), [200] + [409] * 15)
                holder = next(peer.id for peer, (status, _) in zip(peers, answers, strict=True) if status == 200)
                self.assertEqual({said["holder"] for status, said in answers if status == 409}, {holder})

    def test_one_seat_has_one_architect(self) -> None:
        for number in range(figure(10, 100)):
            where = f"workspace-{number}"
            barrier = threading.Barrier(8)
            roles: list[str] = []

            def enrol(index: int, where: str = where, barrier: threading.Barrier = barrier, roles: list[str] = roles) -> None:
                barrier.wait(30)
                status, said = self.broker.register(f"{where}-{index}", "architect", where)
                roles.append(str(said.get("role")) if status == 200 else str(status))

            threads = [threading.Thread(target=enrol, args=(index,)) for index in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            self.assertEqual(roles.count("architect"), 1, roles)
            self.assertEqual(len(roles), 8)

    def test_one_key_is_one_write_however_often_it_is_sent(self) -> None:
        sender = self.broker.enrol("sender")
        with Racers(self.broker.port, [sender.token] * 12, processes=2) as racers:
            for number in range(figure(10, 100)):
                letter = {"recipient_id": "arch", "category": "finding", "content": f"letter {number}", "idempotency_key": f"key-{number}"}
                answers = racers.race("/send", letter, turn=number)
                self.assertEqual({status for status, _ in answers}, {200})
                self.assertEqual(len({str(said["message_id"]) for _, said in answers}), 1)
        contents = [letter["content"] for letter in self.arch.get("/messages-for/sender?limit=100")["messages"]]
        self.assertEqual(len(contents), len(set(contents)))


if __name__ == "__main__":
    unittest.main()
