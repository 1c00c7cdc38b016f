"""Zombies: a holder that was paused past its lease goes on as if nothing had been. Whatever it does with what it held is refused."""

from __future__ import annotations

import logging
import os
import tempfile
import unittest
from random import Random
from typing import Any
from unittest import mock

from lattice.broker import sweep
from tests.broker.broking import PERSON, House
from tests.figures import measured
from tests.running import chance, figure

TERM_S = 16
STALE = ("stale_token", "locked", "lock_closed", "token_expired", "killed")
FILE, FOLDER = "/w/src/a.py", "/w/lib/"


class Round:
    """One holder, one who waits for what it holds, and what happens to the one while it stands still."""

    def __init__(self, house: House, number: int, chosen: Random) -> None:
        self.house, self.chance = house, chosen
        self.id, self.heir = f"zombie-{number}", f"heir-{number}"
        house.enrol(self.id, pid=1000 + number, process="one")
        house.enrol(self.heir, process="heir")
        self.task = house.task("arch")
        self.claim = house.post(self.id, "/tasks/claim", task_id=self.task)["token"]
        self.locks = {path: house.post(self.id, "/lock", file_path=path)["token"] for path in (FILE, FOLDER)}
        self.token = house.tokens[self.id]

    def pass_time(self, seconds: int) -> None:
        self.house.pass_time(seconds, self.heir, "arch")

    # -- what happens meanwhile

    def nobody_comes(self) -> None:
        self.pass_time(self.chance.choice((0, 5, 40)))

    def it_beats_again(self) -> None:
        """It is alive again, without what it held."""
        self.pass_time(self.chance.choice((0, 40)))
        self.house.post(self.id, "/heartbeat")

    def the_heir_takes_all(self) -> None:
        self.pass_time(31)
        for path in self.locks:
            self.house.post(self.heir, "/lock", file_path=path)
        self.house.post(self.heir, "/tasks/claim", task_id=self.task)

    def the_heir_takes_and_gives_back(self) -> None:
        self.the_heir_takes_all()
        for path in self.locks:
            self.house.post(self.heir, "/unlock", file_path=path)
        self.house.post(self.heir, f"/tasks/{self.task}/release")

    def the_heir_finishes(self) -> None:
        self.the_heir_takes_all()
        self.house.complete(self.heir, self.task)

    def it_is_adopted(self) -> None:
        self.house.post(self.heir, "/adopt", peer_id=self.id)

    def a_new_process_has_its_id(self) -> None:
        self.house.enrol(self.id, process="two")

    def it_is_ended(self) -> None:
        self.house.post(PERSON, "/kill-peer", peer_id=self.id)

    MEANWHILE = (
        nobody_comes, it_beats_again, the_heir_takes_all, the_heir_takes_and_gives_back, the_heir_finishes, it_is_adopted,
        a_new_process_has_its_id, it_is_ended,
    )  # fmt: skip

    # -- what it then tries, in any order

    def tries(self) -> list[tuple[str, dict[str, Any]]]:
        made = [
            (f"/tasks/{self.task}/renew", {"token": self.claim}),
            (f"/tasks/{self.task}/release", {"token": self.claim}),
            (f"/tasks/{self.task}/fail", {"token": self.claim, "reason": "no"}),
            ("/tasks/complete", {"task_id": self.task, "token": self.claim, "artifacts": {"summary": "done"}}),
            *(("/unlock", {"file_path": path, "token": token}) for path, token in self.locks.items()),
            *(("/guard", {"paths": [path]}) for path in (FILE, "/w/lib/deep/b.py")),
        ]
        self.chance.shuffle(made)
        return made

    def accepted(self) -> list[str]:
        """What of it was not refused."""
        self.house.tokens[self.id] = self.token
        found = []
        for path, body in self.tries():
            status, said = self.house.ask(self.id, "POST", path, body)
            code = said["code"] if status == 200 and path == "/guard" and said["verdict"] == "deny" else said.get("code", "")
            if code not in STALE and not (code == "conflict" and f"task already {self.ended()}" in said["error"]):
                found.append(f"{path} {body}: {status} {said}")
        for path, token in self.locks.items():
            status, said = self.house.ask(self.id, "GET", f"/locks/check?file_path={path}&token={token}")
            if status == 200 and (said["yours"] or said["token_is_current"]):
                found.append(f"check {path}: {said}")
        return found

    def ended(self) -> str:
        return str(self.house.value("SELECT status FROM tasks WHERE id = ?", self.task))

    def holdings(self) -> list[Any]:
        """Who has what."""
        return [
            self.house.rows("SELECT status, assigned_to, token, artifacts FROM tasks WHERE id = ?", self.task),
            self.house.rows("SELECT file_path, peer_id, token, state FROM locks ORDER BY token"),
        ]

    def end(self) -> None:
        for id in (self.id, self.heir):
            self.house.post(PERSON, "/unregister", peer_id=id)


class APausedHolder(unittest.TestCase):
    time_bound_s = 120.0

    def test_whatever_it_does_with_what_it_held_is_refused_and_changes_nothing(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.enterContext(mock.patch.object(sweep, "may_be_frozen", lambda card: bool(card and card["pid"])))
        chosen, accepted = chance(self), 0
        rounds = figure(40, 200)
        house = House(os.path.realpath(self.enterContext(tempfile.TemporaryDirectory())))
        self.addCleanup(house.close)
        house.enrol("arch", "architect")
        for number in range(rounds):
            one = Round(house, number, chosen)
            one.pass_time(TERM_S)  # it is stopped, and its lease runs out
            self.assertEqual("dead", house.status(one.id))
            meanwhile = one.MEANWHILE[number % len(one.MEANWHILE)]
            meanwhile(one)
            before = one.holdings()
            for what in one.accepted():
                accepted += 1
                print(f"{meanwhile.__name__}: {what}")
            if before != one.holdings():
                accepted += 1
                print(f"{meanwhile.__name__}: it changed {before} to {one.holdings()}")
            one.end()
        measured(self, "R15", rounds=rounds, accepted=accepted)
        self.assertEqual(0, accepted)


if __name__ == "__main__":
    unittest.main()
