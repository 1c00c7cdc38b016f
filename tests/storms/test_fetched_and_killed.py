"""A message that was fetched is not read: its session killed anywhere on the way to the next call, it comes back, marked."""

from __future__ import annotations

import random
import threading
import time
import unittest
from collections.abc import Callable

from lattice.agent.mail import PROOF_AFTER_S
from tests.apart import needed
from tests.figures import measured
from tests.proxy import THROUGH, Asked, Behind, Fault
from tests.running import Session, chance, figure, until

LANES = figure(2, 5)
ROUNDS = figure(3, 20)  # of each lane
LATER_S = PROOF_AFTER_S + 0.02


class Lane(threading.Thread):
    """One peer, life after life. `came_back` and `kills` by the point at which it was killed."""

    def __init__(self, broker: Behind, number: int, send: Callable[[str, str], int], seed: float) -> None:
        self.first, id = number, f"alice{number}"
        super().__init__(name=id, daemon=True)
        self.broker, self.id, self.send, self.luck = broker, id, send, random.Random(seed)
        self.spoils: dict[str, Fault] = {}  # path: what happens to its next request
        self.kills: dict[str, int] = {}
        self.faults: list[str] = []
        self.session: Session | None = None

    def run(self) -> None:
        points = [
            self.before_the_answer, self.while_it_answers, self.before_the_reply_is_read, self.after_the_reply, self.at_a_call_too_soon,
            self.before_its_proof_is_heard,
        ]  # fmt: skip
        try:
            b = self.live()
            for number in range(ROUNDS):
                point = points[(number + self.first) % len(points)]
                sent = self.send(self.id, f"{self.id} {number}")
                point(b)
                b.kill()
                self.kills[point.__name__] = self.kills.get(point.__name__, 0) + 1
                self.spoils.clear()
                b = self.live()
                mail = [(one["id"], one["content"], one.get("redelivered", 0)) for one in b.call("check_messages")["messages"]]
                if mail != [(sent, f"{self.id} {number}", 1)]:
                    self.faults.append(f"{point.__name__}: {sent} came back as {mail}")
                self.prove(b)
        except BaseException as fault:
            self.faults.append(f"{type(fault).__name__}: {fault}")
            raise

    def prove(self, b: Session) -> None:
        heard = self.spoils["/inbox/ack"] = Fault()
        self.call_until(b, heard.done)
        self.spoils.clear()

    def call_until(self, b: Session, happened: threading.Event) -> None:
        """Later calls, one of which proves what was taken."""
        until(lambda: happened.wait(LATER_S) or (b.call("list_tasks") and happened.is_set()), "its word leaves for the broker")

    def live(self) -> Session:
        self.close()
        self.session = Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID=self.id)
        self.session.initialize()
        assert self.session.call("list_peers")["your_id"] == self.id
        return self.session

    def close(self) -> None:
        if self.session is not None:
            self.session.close()

    def spoil(self, asked: Asked) -> Fault:
        fault = self.spoils.get(asked.path, THROUGH)
        if fault.kind == "hold":
            del self.spoils[asked.path]  # once; the others until it is killed
        return fault

    def take(self, b: Session) -> None:
        assert b.call("check_messages")["messages"]

    # -- where it is killed -----------------------------------------------------------------------------------

    def before_the_answer(self, b: Session) -> None:
        """The broker has committed the offer, its answer is on the way."""
        held = self.spoils["/inbox/take"] = Fault("hold")
        b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        assert held.done.wait(20)
        b.process.kill()
        held.go.set()

    def while_it_answers(self, b: Session) -> None:
        """The answer has come; the result is being written, or not yet."""
        held = self.spoils["/inbox/take"] = Fault("hold")
        b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        assert held.done.wait(20)
        held.go.set()
        time.sleep(self.luck.choice((0.0, 0.0005, 0.001, 0.002, 0.005)))

    def before_the_reply_is_read(self, b: Session) -> None:
        """The result stands in the pipe."""
        id = b.ask("tools/call", {"name": "check_messages", "arguments": {}})
        with b.news:
            assert b.news.wait_for(lambda: id in b.answers, 20)

    def after_the_reply(self, b: Session) -> None:
        self.take(b)
        time.sleep(self.luck.choice((0.0, LATER_S)))

    def at_a_call_too_soon(self, b: Session) -> None:
        """It may have been sent before the result was seen."""
        self.take(b)
        b.call("list_tasks")

    def before_its_proof_is_heard(self, b: Session) -> None:
        """A later call has proven it to the session's server, whose word did not reach the broker."""
        unheard = self.spoils["/inbox/ack"] = Fault("reset_before")
        self.take(b)
        self.call_until(b, unheard.met)


@needed
class FetchedAndKilled(unittest.TestCase):
    time_bound_s = 300.0

    def test_it_reappears_every_time_with_the_same_id_and_marked(self) -> None:
        luck = chance(self)
        lanes: dict[str, Lane] = {}
        broker = Behind(lambda asked: lanes[asked.who].spoil(asked) if asked.who in lanes else THROUGH)
        self.addCleanup(broker.close)
        broker.start()
        person = broker.person()
        writing = threading.Lock()

        def send(to: str, text: str) -> int:
            with writing:
                return int(person.post("/send", {"recipient_id": to, "category": "finding", "content": text})["message_id"])

        for number in range(LANES):
            lane = Lane(broker, number, send, luck.random())
            lanes[lane.id] = lane
            self.addCleanup(lane.close)
        for lane in lanes.values():
            lane.start()
        for lane in lanes.values():
            lane.join(200)
        faults = [fault for lane in lanes.values() for fault in lane.faults]
        kills = sum(sum(lane.kills.values()) for lane in lanes.values())
        points = {point for lane in lanes.values() for point in lane.kills}
        measured(self, "R12", kills=kills, points=len(points), came_back_percent=100 * (kills - len(faults)) / max(1, kills))
        self.assertEqual([], faults)
        self.assertEqual((LANES * ROUNDS, 6 if LANES * ROUNDS > 10 else len(points)), (kills, len(points)))


if __name__ == "__main__":
    unittest.main()
