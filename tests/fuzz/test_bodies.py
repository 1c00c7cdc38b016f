"""Malformed bodies and queries over every route (R35): each gets an answer that is JSON, none of them is our fault, and what
breaks a rule of the table is never taken. The broker is as well as before: its log has no traceback, its chain verifies.
"""

from __future__ import annotations

import random
import unittest

from lattice.contract.operations import TICKET, Operation
from tests.figures import measured
from tests.fuzz import bodies
from tests.running import Broker, Dropped, Peer, chance, figure

BODIES = figure(500, 10_000, 50_000)
QUERIES = figure(200, 2_000, 10_000)
HANG_S = 15.0
WHO_IS_GONE = ("not_registered", "token_expired", "killed")


class OverEveryRoute(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.people = {"worker": self.broker.enrol("worker"), "architect": self.broker.enrol("arch", "architect")}
        self.people["system"] = self.broker.person()
        self.wire.timeout_s = HANG_S
        self.unintended: list[str] = []
        self.dropped: list[str] = []
        self.hangs: list[str] = []
        self.counted: dict[int, int] = {}
        self.taken: set[str] = set()  # operations that did something

    def test_every_body_is_answered_and_what_is_wrong_is_refused(self) -> None:
        chosen = chance(self)
        beating = self.broker.beat_all([self.people["worker"], self.people["architect"]])
        self.addCleanup(beating.close)
        accepted = []
        for number in range(BODIES):
            if number % 25 == 0:
                self.put_right()
            operation = bodies.POSTS[number % len(bodies.POSTS)]
            spoiled = bodies.spoiled(chosen, operation)
            path = bodies.path_of(chosen, operation)
            status = self.answer_to(self.caller(chosen, operation), "POST", path, spoiled.body, f"body {number} ({spoiled.what})")
            if status == 200:
                self.taken.add(operation.name)
                if spoiled.is_wrong:
                    accepted.append(f"POST {path}: {spoiled.what}: {spoiled.body[:300]!r}")
        for number in range(QUERIES):
            operation = bodies.GETS[number % len(bodies.GETS)]
            path = bodies.path_of(chosen, operation) + bodies.query(chosen, operation)
            self.answer_to(self.caller(chosen, operation), "GET", path, b"", f"query {number}")
        print(f"{BODIES} bodies, {QUERIES} queries: {dict(sorted(self.counted.items()))}")
        tracebacks = self.broker.log().count("Traceback")
        verdict = self.people["system"].get("/events/verify")
        measured(
            self, "R35", bodies=BODIES, queries=QUERIES, unintended_5xx=len(self.unintended), dropped=len(self.dropped),
            hangs=len(self.hangs), tracebacks=tracebacks, wrong_and_taken=len(accepted),
        )  # fmt: skip
        self.assertEqual(([], [], [], []), (self.unintended[:5], self.dropped[:5], self.hangs[:5], accepted[:5]))
        self.assertEqual(0, tracebacks, self.broker.output())
        self.assertTrue(verdict["ok"], verdict)
        self.assertEqual(self.people["system"].get("/health")["status"], "ok")
        self.assertGreater(self.counted[400], BODIES // 4)
        self.assertGreater(len(self.taken), len(bodies.POSTS) // 3, "right ones are among them")

    def caller(self, chosen: random.Random, operation: Operation) -> dict[str, str]:
        """The headers of somebody: of one who may more often than not."""
        if operation.roles == TICKET:
            peer = chosen.choice(("newcomer", "command-center", "worker"))
            return {"Authorization": f"Ticket {self.broker.ticket(peer, 'system' if peer == 'command-center' else 'worker')}"}
        names = [name for name in self.people if not (operation.name == "shutdown" and name == "system")]
        fit = [name for name in names if name in operation.roles]
        name = chosen.choice(fit if fit and chosen.random() < 0.8 else names)
        return dict(self.people[name].headers)

    def put_right(self) -> None:
        """What bodies that were right have done: a peer that left, was paused, lost its seat."""
        person = self.people["system"]
        for role, id in (("worker", "worker"), ("architect", "arch")):
            if self.people[role].call("POST", "/heartbeat", {})[1].get("code") in WHO_IS_GONE:
                self.people[role] = self.broker.enrol(id, role, resume=self.people[role].enrolled["resume"])
        person.post("/resume-all", {"everywhere": True})
        if person.call("GET", "/peer/arch")[1].get("role") != "architect":
            person.call("POST", "/seat", {"peer_id": "arch"})
        if person.call("GET", "/peer/victim")[1].get("status") != "active":
            person.call("POST", "/unregister", {"peer_id": "victim"})
            self.broker.register("victim", beat_ms=60_000)

    def answer_to(self, headers: dict[str, str], method: str, path: str, body: bytes, what: str) -> int:
        """The status; 0 where there was none."""
        line = f"{what}: {method} {path} {body[:300]!r}"
        try:
            status, said = self.wire.raw(method, path, body, headers)
        except Dropped as dropped:
            (self.hangs if "Timeout" in str(dropped) else self.dropped).append(f"{line}: {dropped}")
            return 0
        self.counted[status] = self.counted.get(status, 0) + 1
        if status >= 500 and not (status == 503 and path.startswith("/ready")):
            self.unintended.append(f"{line}: {status} {said}")
        if status != 200 and not {"error", "code", "retryable"} <= set(said):
            self.unintended.append(f"{line}: {status} without the one shape: {said}")
        return status

    @property
    def wire(self) -> Peer:
        """One connection for all: whose token a request has decides, not which connection it comes on."""
        return self.people["system"]


if __name__ == "__main__":
    unittest.main()
