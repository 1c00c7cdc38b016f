"""Ten obedient sessions that answer everything they get: their talk stops by itself, and the person sees what was stopped."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import unittest
from collections import Counter
from typing import Any

from lattice.domain.chains import MAX_HOPS, MAX_ROUNDS, SAME_TEXT
from tests.running import Broker, Peer, chance, figure

NAMES = ("arch", *(f"w{number}" for number in range(1, 10)))
PASSES = 400  # far more than a swarm that stops needs
THANKS = ("Thanks!", "Got it, thanks.", "Understood.", "👍", "Noted, much appreciated!", "Will do.")


class Agent:
    """One session that does as it is told by whatever it reads, after its manner."""

    def __init__(self, peer: Peer, manner: str, luck: random.Random) -> None:
        self.peer, self.manner, self.luck = peer, manner, luck
        self.words = 0
        self.outcomes: Counter[str] = Counter()

    def turn(self) -> int:
        """Read what there is, and answer all of it. How many messages it read."""
        mail = self.peer.post("/inbox/take", {"max": 20})["messages"]
        if mail:
            self.peer.post("/inbox/ack", {"receipts": [one["receipt"] for one in mail]})
        for one in mail:
            self.answer(one)
        return len(mail)

    def answer(self, mail: dict[str, Any]) -> None:
        sender = mail["from"]
        if sender not in NAMES:
            return  # the broker's own notice: there is nobody to answer
        match self.manner:
            case "thanks":
                self.say(sender, self.luck.choice(THANKS), reply_to=mail["id"])
            case "same":
                self.say(sender, "I will look into it and come back to you.")
            case "relay":
                to = NAMES[(NAMES.index(self.peer.id) + 1) % len(NAMES)]
                self.say(to, f"{sender} says something that concerns you: {self.new_words()}")
            case "forgets":  # does not say what it answers
                self.say(sender, f"As to what you wrote, {self.new_words()}")
            case _:
                self.say(sender, f"Good point. Have you considered {self.new_words()}?", category="question", reply_to=mail["id"])

    def new_words(self) -> str:
        self.words += 1
        return f"thought {self.words} of {self.peer.id}"

    def say(self, to: str, text: str, category: str = "finding", **more: Any) -> None:
        status, said = self.peer.call("POST", "/send", {"recipient_id": to, "category": category, "content": text, **more})
        assert status == 200, said
        self.outcomes["held" if "held" in said else "folded" if said.get("folded") else "sent"] += 1


class TheSwarm(unittest.TestCase):
    time_bound_s = 180.0

    def swarm(self, manners: tuple[str, ...], starts: int) -> tuple[Broker, list[Agent], int]:
        """Let them talk until nobody has anything to answer. The broker, the agents, and how many passes it took."""
        luck = chance(self)
        broker = self.enterContext(Broker())
        agents = [
            Agent(broker.enrol(name, "architect" if name == "arch" else "worker"), manners[number % len(manners)], luck)
            for number, name in enumerate(NAMES)
        ]
        beating = broker.beat_all([agent.peer for agent in agents])
        self.addCleanup(beating.close)
        agents[0].say("broadcast", "What do you all think of the plan?", category="question")
        for number in range(starts):
            agent = agents[1 + number % 9]
            agent.say(luck.choice([name for name in NAMES if name != agent.peer.id]), f"I begin with part {number}.")
        for passed in range(PASSES):
            luck.shuffle(agents)
            if sum([agent.turn() for agent in agents]) == 0:
                return broker, agents, passed
        self.fail(f"after {PASSES} passes they still talk: {sum((agent.outcomes for agent in agents), Counter())}")

    def check(self, broker: Broker, agents: list[Agent], starts: int) -> Counter[str]:
        outcomes = sum((agent.outcomes for agent in agents), Counter[str]())
        with contextlib.closing(sqlite3.connect(f"file:{broker.database}?mode=ro", uri=True)) as database:
            heard = {id: (parent, sender) for id, parent, sender in database.execute(
                "SELECT id, parent, sender_id FROM messages WHERE id NOT IN (SELECT message_id FROM deliveries WHERE state = 'held')"
            )}  # fmt: skip
            same = database.execute(
                "SELECT MAX(n) FROM (SELECT COUNT(*) AS n FROM messages m JOIN deliveries d ON d.message_id = m.id WHERE d.state <> 'held'"
                " AND m.sender_id IN (SELECT id FROM peers WHERE role <> 'system') GROUP BY m.sender_id, d.recipient, m.gist)"
            ).fetchone()[0]
            waiting = database.execute("SELECT COUNT(*) FROM deliveries WHERE state IN ('queued', 'offered')").fetchone()[0]
        longest = max(self.chain(heard, id) for id in heard)
        self.assertLessEqual(longest, MAX_HOPS, "a longer chain was let through")
        self.assertLess(same, SAME_TEXT, "the same text was let through too often")
        person = broker.person()
        held = [one for one in person.get("/dashboard/data?everywhere=true")["attention"] if one["type"] == "held"]
        self.assertEqual(bool(outcomes["held"]), bool(held), "the person sees what was stopped")
        self.assertGreaterEqual(waiting, 0)
        # Each of the first messages is the root of one chain; with a broadcast, of one for each who heard it.
        self.assertLessEqual(outcomes["sent"], (starts + len(NAMES)) * MAX_HOPS + len(NAMES))
        return outcomes

    def chain(self, heard: dict[int, tuple[int | None, str]], id: int | None) -> int:
        length = 0
        while id in heard:
            length += 1
            id = heard[id][0]
        return length

    def test_ten_who_answer_everything_in_five_manners_fall_silent(self) -> None:
        starts = figure(20, 60)
        broker, agents, passed = self.swarm(("asks", "thanks", "same", "relay", "forgets"), starts)
        outcomes = self.check(broker, agents, starts)
        saved = f"{outcomes['held']} held and {outcomes['folded']} folded, each with all that would have followed"
        print(f"{outcomes['sent']} messages in {passed} passes; saved: {saved}")
        self.assertTrue(outcomes["held"] and outcomes["folded"])

    def test_ten_who_only_ask_back_stop_after_three_rounds_of_each_two(self) -> None:
        starts = 9
        broker, agents, _ = self.swarm(("asks",), starts)
        outcomes = self.check(broker, agents, starts)
        pairs = starts + 9  # each beginning, and each answer to the broadcast
        self.assertLessEqual(outcomes["sent"], pairs * 2 * MAX_ROUNDS + 1)
        self.assertEqual(pairs, outcomes["held"], "one for each talk: its next word")

    def test_ten_who_only_thank_each_other_send_nothing_at_all(self) -> None:
        broker, agents, passed = self.swarm(("thanks",), 9)
        outcomes = self.check(broker, agents, 9)
        self.assertEqual(0, outcomes["held"])
        self.assertEqual(9 + 1 + 9, outcomes["sent"], "the beginnings, the broadcast, and an answer of each to its question")
        self.assertLess(passed, 5)

    def test_work_is_not_held_up_by_it(self) -> None:
        """In the middle of such talk somebody who does something is heard."""
        starts = 9
        broker, agents, _ = self.swarm(("asks",), starts)
        one = next(agent for agent in agents if agent.peer.id == "w1")
        two = next(agent for agent in agents if agent.peer.id == "w2")
        task = one.peer.post("/tasks", {"title": "real work"})["task_id"]
        one.peer.post("/tasks/claim", {"task_id": task})
        one.say("w2", "I have claimed the real work; please lock nothing below src.")
        self.assertEqual(1, len(two.peer.post("/inbox/take", {})["messages"]))


if __name__ == "__main__":
    unittest.main()
