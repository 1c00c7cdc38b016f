"""Frozen: a machine that sleeps kills nobody; one session that stood still past its lease can do no harm when it goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import unittest
from collections.abc import Callable
from typing import Any

from tests.figures import measured
from tests.hooks.hooking import Hooked
from tests.running import Broker, Peer, Session, figure, until

FROZEN_S = figure(17, 30, 60)  # longer than the 15 s after which a silent peer is lost
AFTERWARDS_S = 5.0  # several sweeps
ROUNDS = figure(2, 5)
SESSIONS = ("alice", "bob")


class Asleep:
    """A broker and two sessions that hold something. `who` is stopped: the broker, the sessions, or all."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.broker = Broker().start()
        self.sessions = [Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID=id) for id in SESSIONS]
        self.locks: dict[str, int] = {}
        self.tasks: dict[str, int] = {}
        for id, session in zip(SESSIONS, self.sessions, strict=True):
            session.initialize()
            self.tasks[id] = session.call("create_task", title=id)["task_id"]
            session.call("claim_task", task_id=self.tasks[id])
            self.locks[id] = session.call("lock_file", file_path=f"{id}.py")["token"]
        self.person = self.broker.person()

    def signal(self, number: signal.Signals) -> None:
        stopped = [self.broker.process] * (self.who != "sessions") + [one.process for one in self.sessions] * (self.who != "broker")
        for process in stopped:
            assert process is not None
            process.send_signal(number)

    def lost(self) -> tuple[int, int]:
        """(peers that are not active, locks and claims that are not their owners' any more)"""
        peers = {peer["id"]: peer["status"] for peer in self.person.get("/dashboard/data")["peers"]}
        held = {(lock["peer_id"], lock["token"]) for lock in self.person.get("/locks?everywhere=1")["locks"] if lock["state"] == "held"}
        claims = {self.person.get(f"/tasks/{task}")["task"]["assigned_to"] for task in self.tasks.values()}
        dead = sum(peers.get(id) != "active" for id in SESSIONS)
        return dead, len(set(self.locks.items()) - held) + len(set(SESSIONS) - claims)

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        for session in self.sessions:
            session.close()
        self.broker.close()


class TheMachineSleeps(unittest.TestCase):
    time_bound_s = 150.0

    def test_nobody_is_declared_dead_and_no_lock_and_no_claim_is_lost(self) -> None:
        worlds = [Asleep(who) for who in ("broker", "sessions", "all")]
        for world in worlds:
            self.addCleanup(world.close)
        began = time.monotonic()
        for world in worlds:
            world.signal(signal.SIGSTOP)
        time.sleep(FROZEN_S)  # it sleeps: this is the event itself
        frozen_s = time.monotonic() - began
        for world in worlds:
            world.signal(signal.SIGCONT)
        dead = locks_lost = 0
        ends = time.monotonic() + AFTERWARDS_S
        while time.monotonic() < ends:
            for world in worlds:
                found = world.lost()
                if found != (0, 0):
                    print(f"{world.who} slept: {found}")
                dead, locks_lost = max(dead, found[0]), max(locks_lost, found[1])
            time.sleep(0.25)
        for world in worlds:
            for id, session in zip(SESSIONS, world.sessions, strict=True):
                self.assertEqual(world.locks[id], session.call("lock_file", file_path=f"{id}.py")["token"], "it is the same grant")
                session.call("complete_task", task_id=world.tasks[id], artifacts={"summary": "slept well"})
            log = world.person.get("/log?last=200&everywhere=1")["logs"]
            self.assertEqual([], [entry for entry in log if '"what":"departed"' in entry["details"]], world.who)
        measured(self, "R18", frozen_s=frozen_s, dead=dead, locks_lost=locks_lost)
        self.assertEqual((0, 0), (dead, locks_lost))


class Holder:
    """A session whose MCP server is stopped while it holds a file and a task."""

    def __init__(self, case: AFrozenHolder, number: int) -> None:
        self.session = case.session(f"holder{number}-{case.workspace[-6:]}")
        self.id, self.client, self.environ = case.peer, case.client, dict(case.environ)
        self.file = case.path(f"src/{number}.py")
        self.task = self.session.call("create_task", title=f"work {number}")["task_id"]
        self.claim = case.person.get(f"/tasks/{self.task}")["task"]["token"] or self._claim(case)
        self.lock = self.session.call("lock_file", file_path=self.file)["token"]
        with open(f"/proc/{self.session.process.pid}/task/{self.session.process.pid}/children", encoding="utf-8") as file:
            self.server = int(file.read().split()[0])
        self.bearer = Peer(case.broker.port, self.id, self._token(case.broker.state))

    def _claim(self, case: AFrozenHolder) -> int:
        self.session.call("claim_task", task_id=self.task)
        return int(case.person.get(f"/tasks/{self.task}")["task"]["token"])

    def _token(self, state: str) -> str:
        """Of the session, as its hooks find it."""
        folder = os.path.join(state, "sessions")
        records = []
        for name in os.listdir(folder):
            with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, name), encoding="utf-8") as file:
                records.append(json.load(file))
        return str(next(one["token"] for one in records if one.get("peer") == self.id))

    def attempts(self) -> dict[str, Callable[[], tuple[int, dict[str, Any]]]]:
        """What a process does that does not know that it stood still, with the numbers that it has."""

        def say(path: str, **body: Any) -> Callable[[], tuple[int, dict[str, Any]]]:
            return lambda: self.bearer.call("POST", path, body)

        return {
            "unlock": say("/unlock", file_path=self.file, token=self.lock),
            "renew": say(f"/tasks/{self.task}/renew", token=self.claim),
            "complete": say("/tasks/complete", task_id=self.task, token=self.claim, artifacts={"summary": "done"}),
            "release": say(f"/tasks/{self.task}/release", token=self.claim),
            "fail": say(f"/tasks/{self.task}/fail", token=self.claim, reason="no"),
        }


class AFrozenHolder(Hooked):
    time_bound_s = 120.0

    def test_what_it_held_is_not_its_own_any_more_for_its_server_its_calls_and_its_hook(self) -> None:
        self.person = self.broker.person()
        heir = self.other("heir")
        self.enterContext(contextlib.closing(self.broker.beat_all([heir], every_s=2.0)))
        holders = [Holder(self, number) for number in range(ROUNDS)]
        for one in holders:
            self.addCleanup(one.bearer.close)
            self.addCleanup(_continue, one.server)
            os.kill(one.server, signal.SIGSTOP)
        for one in holders:
            until(lambda one=one: self.status(one.id) == "dead", f"{one.id} is given up", 40.0, 0.25)
        for number, one in enumerate(holders):
            if number % 3 == 0:
                heir.post("/adopt", {"peer_id": one.id})
            elif number % 3 == 1:
                heir.post("/tasks/claim", {"task_id": one.task})
        accepted = 0
        for number, one in enumerate(holders):
            before = self.holdings(one)
            os.kill(one.server, signal.SIGCONT)
            for what, attempt in one.attempts().items():
                status, said = attempt()
                if status == 200 or said["code"] not in ("stale_token", "locked", "token_expired"):
                    accepted += 1
                    print(f"round {number}, {what}: {status} {said}")
            self.environ = one.environ
            edit = self.run_hook("PreToolUse", "Edit", {"file_path": one.file, "old_string": "x", "new_string": "y"})
            tool = one.session.result("complete_task", task_id=one.task, artifacts={"summary": "done"})
            if edit.decision != "deny" or not tool.get("isError") or self.holdings(one) != before:
                accepted += 1
                print(f"round {number}: hook {edit.stdout!r}, tool {tool}, {before} and then {self.holdings(one)}")
        measured(self, "R15", real_rounds=ROUNDS, real_accepted=accepted)
        self.assertEqual(0, accepted)

    def status(self, id: str) -> str:
        return str({peer["id"]: peer["status"] for peer in self.person.get("/dashboard/data")["peers"]}.get(id))

    def holdings(self, one: Holder) -> list[Any]:
        task = self.person.get(f"/tasks/{one.task}")["task"]
        locks = [lock for lock in self.person.get("/locks?everywhere=1")["locks"] if lock["file_path"] == one.file]
        held = [(lock["peer_id"], lock["token"]) for lock in locks if lock["state"] == "held"]  # a closed one opens by itself
        return [task["status"], task["assigned_to"], task["token"], *held]


def _continue(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
