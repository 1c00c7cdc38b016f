"""The wall clock is set while the broker and sessions run: nothing ends before its time, and the order of things stays.

libfaketime stands between these programs and the system's clock; the monotonic clock is left alone, as by a person or NTP.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
import unittest
from typing import Any

from lattice import names
from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, Dropped, Peer, Session, figure, until

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), "")
# libfaketime 0.9.10 spoils a sleep to a moment of the monotonic clock, which `time.sleep` of Python 3.11 is: here it waits otherwise.
RUN = (
    "import runpy, select, sys, time; time.sleep = lambda s: select.select([], [], [], max(0.0, s)) and None;"
    " sys.argv = sys.argv[-1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
YEAR_S = 365 * 86_400.0
SUMMER_ENDS = 1_792_890_000.0  # 2026-10-25 01:00 UTC: in Berlin 3:00 becomes 2:00
SUMMER_BEGINS = 1_806_195_600.0  # 2027-03-28 01:00 UTC: 2:00 becomes 3:00
HOUSEKEEPING_S = 61.0


def jumps() -> list[tuple[str, float]]:
    """What the clock is set to, as seconds ahead of the right time."""
    now = time.time()
    return [
        ("an hour back", -3600.0), ("an hour ahead", 3600.0), ("ten years ahead", 10 * YEAR_S), ("1970", 86_400.0 - now),
        ("to the end of summer time", SUMMER_ENDS - 1.0 - now), ("to its beginning", SUMMER_BEGINS - 1.0 - now), ("right again", 0.0),
    ]  # fmt: skip


class SetBroker(Broker):
    """A broker whose wall clock is where `set` puts it."""

    def __init__(self) -> None:
        super().__init__(TZ="Europe/Berlin", C2_LATTICE_SPAWN="ask")
        self.ahead_s = 0.0
        self.clock = os.path.join(self.home, "clock")
        self.set(0.0)
        self.faked = {
            "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": self.clock, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1", "TZ": "Europe/Berlin",
        }  # fmt: skip
        self.environ |= self.faked

    def set(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        with open(self.clock + ".new", "w", encoding="utf-8") as file:
            file.write(f"{ahead_s:+.0f}\n")
        os.replace(self.clock + ".new", self.clock)

    def now(self) -> float:
        return time.time() + self.ahead_s

    def ticket(self, peer: str, role: str = "worker", workspace: str = "", *, now: float = 0.0) -> str:
        return super().ticket(peer, role, workspace, now=now or self.now())

    def start(self, *, under: Any = ()) -> SetBroker:
        super().start(under=[*PYTHON, "-c", RUN])
        return self


@unittest.skipUnless(sys.platform == "linux" and LIBRARY, "libfaketime: apt-get install libfaketime")
class TheClockIsSet(unittest.TestCase):
    time_bound_s = 180.0

    def setUp(self) -> None:
        self.wrong: list[str] = []
        self.broker = self.enterContext(SetBroker())
        self.person = self.broker.person()
        self.viewer = self.broker.adopt(Peer(self.broker.port, "viewer", self.person.enrolled["viewer"]))
        self.plain = self.broker.enrol("plain", workspace="w")
        self.arch = self.broker.enrol("arch", "architect", "w")
        self.keeper = self.broker.enrol("keeper", workspace="w")
        self.waiter = self.broker.enrol("waiter", workspace="w")
        beating = self.broker.beat_all([self.plain, self.arch, self.keeper, self.waiter], 1.0)
        self.addCleanup(beating.close)

    def session(self, id: str) -> Session:
        session = self.enterContext(
            Session(
                self.broker.home, command=[*PYTHON, "-c", RUN, os.path.join(TOP, "mcp_server.py")], PEER_ID=id,
                C2_LATTICE_PORT=str(self.broker.port), C2_LATTICE_WORKSPACE="w", **self.broker.faked,
            )
        )  # fmt: skip
        session.initialize()
        self.assertEqual(id, session.call("list_peers")["your_id"])
        return session

    def expect(self, when: str, what: str, is_so: bool) -> None:
        if not is_so:
            self.wrong.append(f"{when}: {what}")

    def test_nothing_ends_before_its_time_and_the_order_of_mail_and_events_stays(self) -> None:
        alice = self.session("alice")
        token = self.token_of("alice")
        task = alice.call("create_task", title="long")["task_id"]
        claim = alice.call("claim_task", task_id=task)["token"]
        lock = alice.call("lock_file", file_path="a.py")["token"]
        term = self.plain.post("/lock", {"file_path": "/b.py", "ttl_s": 20})["token"]
        self.keep_a_place()
        self.leave_with_mail()
        asked = self.arch.post("/spawn", {"working_dir": "/"})["escalation_id"]
        key = names.new_key()
        letter = self.send("once", key)
        sent = [letter]
        steps = jumps() if figure(0, 1) else jumps()[2:4] + jumps()[-1:]
        for number, (when, ahead_s) in enumerate(steps):
            used, unused = self.broker.ticket(f"used{number}"), self.broker.ticket(f"unused{number}")
            self.expect(when, "a ticket enrols", self.enrols(f"used{number}", used) == 200)
            self.broker.set(ahead_s)
            for again in range(2):
                if again:  # once with what the sweep has not seen, once after it has looked
                    time.sleep(2.2)
                for peer in (self.plain, self.person, self.viewer):
                    self.expect(when, f"the token of {peer.id} is good", peer.call("GET", "/tasks")[0] == 200)
                self.expect(when, "a session's tools work", not alice.result("list_tasks").get("isError"))
                self.expect(when, "its token is as it was", self.token_of("alice") == token)
                self.expect(when, "its claim stands", alice.call("get_task", task_id=task)["task"]["assigned_to"] == "alice")
                self.expect(when, "its lock is the same", alice.call("lock_file", file_path="a.py")["token"] == lock)
                self.expect(
                    when, "a lock with a term stands", self.plain.post("/lock", {"file_path": "/b.py", "ttl_s": 20})["token"] == term
                )
                self.expect(when, "a key still counts", self.send("once", key) == letter)
                self.expect(when, "who left keeps its mailbox", self.person.get("/peer/nobody")["status"] == "away")
                self.expect(when, "a question is open", self.escalation(asked) == "open")
                self.expect(when, "a place is kept", self.keeper.call("POST", "/lock", {"file_path": "/kept.py"})[0] == 409)
            self.expect(when, "a ticket of before is good", self.enrols(f"unused{number}", unused) == 200)
            self.expect(when, "a ticket of now is good", self.enrols(f"now{number}", self.broker.ticket(f"now{number}")) == 200)
            self.expect(when, "no ticket works twice", self.enrols(f"used{number}", used) in (401, 409))
            sent.append(self.send(f"letter {number}"))
            shown = self.person.get("/messages-for/plain?limit=1")["messages"][0]["created_at"]
            self.assertAlmostEqual(self.broker.now(), shown, delta=10, msg=f"the broker's clock was not set {when}")
            self.waiter.post("/lock", {"file_path": "/kept.py"})
            if when == "ten years ahead" and figure(0, 1):
                time.sleep(HOUSEKEEPING_S)  # the chores of the minute see it too
            self.keep_a_place()
        self.assertGreater(claim, 0)
        disorder = self.disorder(sent)
        print(f"{len(steps)} settings of the clock; {len(self.wrong)} wrong: {self.wrong[:5]}")
        measured(self, "R19", jumps=len(steps), wrong_expiries=len(self.wrong), out_of_order=len(disorder))
        self.assertEqual(([], []), (self.wrong, disorder))

    # -- what is looked at ------------------------------------------------------------------------------------

    def token_of(self, id: str) -> object:
        from lattice.agent import identity

        return identity.read(os.path.join(self.broker.state, "sessions", f"{id}@{self.broker.port}.json")).get("token")

    def keep_a_place(self) -> None:
        """A free path is kept for the waiter, for a minute."""
        self.waiter.post("/unlock", {"file_path": "/kept.py"})
        self.keeper.post("/lock", {"file_path": "/kept.py"})
        self.waiter.call("POST", "/lock", {"file_path": "/kept.py", "queue": True})
        self.keeper.post("/unlock", {"file_path": "/kept.py"})

    def leave_with_mail(self) -> None:
        """An unnamed peer that left just now: it is forgotten in an hour, and its mail with it."""
        nobody = self.broker.enrol("nobody", workspace="w", named=False)
        self.plain.post("/send", {"recipient_id": "nobody", "category": "finding", "content": "for later"})
        nobody.post("/leave", {})

    def send(self, text: str, key: str = "") -> int:
        body = {"recipient_id": "arch", "category": "finding", "content": text, "idempotency_key": key or names.new_key()}
        return int(self.plain.post("/send", body)["message_id"])

    def escalation(self, id: int) -> str:
        found = {one["id"]: one["state"] for one in self.person.get("/escalations?everywhere=1")["escalations"]}
        return str(found.get(id))

    def enrols(self, id: str, ticket: str) -> int:
        with contextlib.suppress(OSError, Dropped):
            answer = Peer(self.broker.port, id, "")
            try:
                return answer.call("POST", "/register", {"id": id}, {"Authorization": f"Ticket {ticket}"})[0]
            finally:
                answer.close()
        return 0

    def disorder(self, sent: list[int]) -> list[str]:
        """What of mail and log does not stand in the order in which it came."""
        found = []
        if sent != sorted(set(sent)):
            found.append(f"ids of messages {sent}")
        mail: list[int] = []
        while more := self.arch.post("/inbox/take", {})["messages"]:
            mail += [one["id"] for one in more if one["from"] == "plain"]
            self.arch.post("/inbox/ack", {"receipts": [one["receipt"] for one in more]})
        if mail != sent:
            found.append(f"mail {mail} instead of {sent}")
        listed = [one["id"] for one in self.person.get("/messages-for/plain?limit=100")["messages"] if one["recipient_id"] == "arch"]
        if listed != sorted(sent, reverse=True):
            found.append(f"the list {listed}")
        events = self.person.get("/events?follow=0&limit=1000&everywhere=1")["events"]
        seen = [event["subjects"][0] for event in events if event["kind"] == "message" and event["subjects"][0] in sent]
        if seen != sent or [event["seq"] for event in events] != sorted(event["seq"] for event in events):
            found.append(f"the log {seen}")
        if not self.person.get("/events/verify")["ok"]:
            found.append("the chain")
        until(lambda: self.plain.get("/peers")["peers"], "and it serves on")
        return found


if __name__ == "__main__":
    unittest.main()
