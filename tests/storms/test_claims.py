"""Many ask for one thing at the same moment: one gets it, and the others are told who."""

from __future__ import annotations

import threading
import unittest

from tests.running import Broker, Peer, chance, figure

CLIENTS = 64
ROUNDS = figure(40, 300, 1000)


class OneWinner(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.arch = self.broker.enrol("arch", "architect")

    def race(self, peers: list[Peer], ask: list[tuple[str, dict[str, object]]]) -> list[tuple[int, dict[str, object]]]:
        """All peers send their request at once."""
        answers: list[tuple[int, dict[str, object]]] = [(0, {})] * len(peers)
        barrier = threading.Barrier(len(peers))

        def run(index: int) -> None:
            barrier.wait(30)
            answers[index] = peers[index].call("POST", *ask[index])

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(peers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return answers

    def test_sixty_four_peers_claim_one_task_and_one_gets_it_every_time(self) -> None:
        chosen = chance(self)
        peers = [self.broker.enrol(f"w{number}") for number in range(CLIENTS)]
        beating = self.broker.beat_all([self.arch, *peers])
        self.addCleanup(beating.close)
        tokens: list[int] = []
        winners: dict[str, int] = {}
        for number in range(ROUNDS):
            task = self.arch.post("/tasks", {"title": f"round {number}"})["task_id"]
            chosen.shuffle(peers)
            answers = self.race(peers, [("/tasks/claim", {"task_id": task, "peer_id": peer.id}) for peer in peers])
            won = [(peer, said) for peer, (status, said) in zip(peers, answers, strict=True) if status == 200]
            lost = [(status, said) for status, said in answers if status != 200]
            self.assertEqual(len(won), 1, answers)
            winner, grant = won[0]
            self.assertEqual({status for status, _ in lost}, {409})
            self.assertTrue(all(winner.id in str(said["error"]) for _, said in lost), lost)
            tokens.append(int(str(grant["token"])))
            winners[winner.id] = winners.get(winner.id, 0) + 1
            winner.post("/tasks/complete", {"task_id": task, "artifacts": {"summary": "won"}})
        self.assertEqual(tokens, sorted(set(tokens)), "each grant has a greater number")
        self.assertGreater(len(winners), 1, "not always the same one")
        print(f"{ROUNDS} rounds of {CLIENTS}, {len(winners)} different winners")

    def test_one_lock_has_one_holder(self) -> None:
        peers = [self.broker.enrol(f"w{number}") for number in range(16)]
        for number in range(figure(20, 100)):
            path = f"/tmp/c2-lattice-test/{number}.py"
            answers = self.race(peers, [("/lock", {"file_path": path})] * len(peers))
            self.assertEqual(sorted(status for status, _ in answers), [200] + [409] * 15)

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
        links = [sender.again() for _ in range(12)]
        for link in links:
            self.broker.adopt(link)
        for number in range(figure(10, 100)):
            body: dict[str, object] = {
                "recipient_id": "arch",
                "category": "finding",
                "content": f"letter {number}",
                "idempotency_key": f"key-{number}",
            }
            answers = self.race(links, [("/send", body)] * len(links))
            self.assertEqual({status for status, _ in answers}, {200})
            self.assertEqual(len({str(said["message_id"]) for _, said in answers}), 1)
        contents = [letter["content"] for letter in self.arch.get("/messages-for/sender?limit=100")["messages"]]
        self.assertEqual(len(contents), len(set(contents)))


if __name__ == "__main__":
    unittest.main()
