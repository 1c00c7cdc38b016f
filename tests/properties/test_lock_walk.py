"""Random walks through all that touches locks, their queue, hooks, flags and adoptions: after each step nothing contradicts itself."""

from __future__ import annotations

import os
import tempfile
import unittest
from collections.abc import Callable
from typing import Any

from lattice import reach
from lattice.domain import events, locks
from tests import running
from tests.broker.broking import PERSON, House

PEERS = ("arch", "ann", "bob", "cleo")
PIDS = {"ann": 1001, "bob": 1002, "cleo": 1002}  # two peers of one client
PATHS = ("src/", "src/a.py", "src/b.py", "src/*.py", "src/deep/", "src/deep/c.py", "**/a.py", "lib/x", "lib/")
EDITED = ("src/a.py", "src/deep/c.py", "lib/x", "src/z.js")
STEPS = 120


class Walk:
    """One broker and somebody who does things at random. A refusal is well; a contradiction is not."""

    def __init__(self, folder: str, chance: Any) -> None:
        self.chance = chance
        self.repo = os.path.join(folder, "repo")
        os.mkdir(self.repo)
        self.house = House(folder)
        self.lives = 0
        self.newest = 0
        self.answers: dict[int, int] = {}
        self.verdicts: dict[str, int] = {}
        for id in PEERS:
            self.enrol(id)

    # -- steps

    def ask(self, who: str, path: str, **body: Any) -> dict[str, Any] | None:
        """The answer, None for a refusal."""
        status, said = self.house.ask(who, "POST", path, body)
        self.answers[status] = self.answers.get(status, 0) + 1
        assert status in (200, 400, 401, 403, 404, 409), f"{who} {path} {body}: {status} {said}"
        if said.get("code") in ("token_expired", "not_registered") and self.chance.random() < 0.7:
            self.enrol(who)
        return said if status == 200 else None

    def enrol(self, id: str) -> None:
        self.lives += 1
        pid = os.getpid() if id in ("ann", "bob") else 2**31 - 1  # these two may be frozen
        client = {"client_pid": PIDS[id]} if id in PIDS else {}
        role = "architect" if id == "arch" else ""
        status, said = self.house.register(
            id,
            role,
            working_dir=self.repo,
            process=f"life-{self.lives}",
            pid=pid,
            fallback=True,
            resume=self.house.resumes.get(id, ""),
            **client,
        )
        if status == 200 and said["id"] == id:
            self.house.tokens[id], self.house.resumes[id] = said["token"], said["resume"]
        elif status == 200:
            self.ask(PERSON, "/unregister", peer_id=said["id"])  # the id was alive: the numbered one goes again

    def who(self) -> str:
        return str(self.chance.choice(PEERS))

    def lock(self) -> None:
        options: dict[str, Any] = {"shared": self.chance.random() < 0.4, "queue": self.chance.random() < 0.6}
        if self.chance.random() < 0.3:
            options["ttl_s"] = 5
        said = self.ask(self.who(), "/lock", file_path=self.chance.choice(PATHS), **options)
        if said and said["ok"] and not said.get("refreshed"):
            assert said["token"] > self.newest, "a new grant has a larger token"

    def unlock(self) -> None:
        self.ask(self.chance.choice((*PEERS, PERSON)), "/unlock", file_path=os.path.join(self.repo, self.chance.choice(PATHS)))

    def edit(self) -> None:
        who, path = self.who(), self.chance.choice(EDITED)
        expected = self.may_edit(who, os.path.join(self.repo, path))
        said = self.ask(who, "/guard", paths=[path])
        if said is not None:
            self.verdicts[said["verdict"]] = self.verdicts.get(said["verdict"], 0) + 1
            assert (said["verdict"] == "allow") == expected, f"{who} {path}: {said}"

    def may_edit(self, who: str, path: str) -> bool:
        """By the tables, in other words than the broker's."""
        own = False
        for row in self.house.rows("SELECT * FROM locks"):
            if reach.overlap(row["reach"], row["file_path"], "file", path):
                if row["peer_id"] != who:
                    return False
                own = own or row["state"] == "held"
        lost = self.house.rows("SELECT reach, file_path FROM lost_locks WHERE peer_id = ?", who)
        return own or not any(reach.overlap(row["reach"], row["file_path"], "file", path) for row in lost)

    def edit_and_take(self) -> None:
        self.ask(self.who(), "/guard", paths=[self.chance.choice(EDITED), self.chance.choice(EDITED)], auto=True)

    def end_turn(self) -> None:
        who = self.who()
        if self.ask(who, "/hook", event="Stop", max=2, urgent_only=True) is not None:
            assert not self.house.rows("SELECT 1 FROM locks WHERE peer_id = ? AND turn AND state = 'held'", who)

    def hook(self) -> None:
        self.ask(
            self.who(), "/hook", event=self.chance.choice(("PreToolUse", "PostToolUse", "UserPromptSubmit", "SessionStart", "SessionEnd")),
            max=self.chance.choice((0, 1, 3)), tool_use_id=self.chance.choice((None, "t1", "t2")),
        )  # fmt: skip

    def take(self) -> None:
        who = self.who()
        taken = self.ask(who, "/inbox/take", max=2, tool_use_id=self.chance.choice((None, "t1", "t2")))
        if taken and self.chance.random() < 0.5 and taken["messages"]:
            self.ask(who, self.chance.choice(("/inbox/ack", "/inbox/return")), receipts=[one["receipt"] for one in taken["messages"]])

    def send(self) -> None:
        category = self.chance.choice(("finding", "question", "error", "blocker"))
        self.ask(
            self.who(),
            "/send",
            recipient_id=self.chance.choice((*PEERS, "@architect")),
            category=category,
            content=self.chance.choice(("one", "two")),
        )

    def release_held(self) -> None:
        rows = self.house.rows("SELECT DISTINCT message_id FROM deliveries WHERE state = 'held' LIMIT 1")
        if rows:
            self.ask(PERSON, f"/messages/{rows[0]['message_id']}/release", verdict=self.chance.choice(("let_through", "stop")))

    def breach(self) -> None:
        self.ask(self.who(), "/guard/breach", paths=[self.chance.choice(EDITED)], command="sed -i")

    def task(self) -> None:
        who = self.who()
        number = self.house.value("SELECT MAX(id) FROM tasks")
        if number and self.chance.random() < 0.6:
            self.ask(who, "/tasks/claim", task_id=number)
        else:
            self.ask(who, "/tasks", title="work")

    def adopt(self) -> None:
        who, old = self.who(), self.who()
        said = self.ask(who, "/adopt", peer_id=old)
        if said is not None:
            assert not self.house.rows("SELECT 1 FROM locks WHERE peer_id = ?", old)

    def kill(self) -> None:
        if self.chance.random() < 0.7:
            return  # rarely
        victim = self.chance.choice(PEERS[1:])
        self.ask(PERSON, self.chance.choice(("/kill-peer", "/unregister")), peer_id=victim)
        self.ask(PERSON, "/resume", peer_id=victim)

    def come_back(self) -> None:
        self.enrol(self.who())

    def leave(self) -> None:
        self.ask(self.who(), "/leave")

    def beat(self) -> None:
        for id in PEERS:
            if self.chance.random() < 0.7:
                self.ask(id, "/heartbeat")

    def wait(self) -> None:
        beating = [id for id in PEERS if self.chance.random() < 0.6]
        for _ in range(self.chance.choice((1, 6, 20, 65))):
            self.house.clock.advance(1.0)
            for id in beating:
                self.ask(id, "/heartbeat")
            self.house.sweep.tick()

    def restart(self) -> None:
        if self.chance.random() < 0.3:
            self.house.restart()

    STEPS = (
        lock, lock, lock, lock, lock, unlock, unlock, edit, edit, edit_and_take, end_turn, hook, take, send, release_held, breach, task,
        adopt, kill, come_back, come_back, leave, beat, beat, wait, wait, restart,
    )  # fmt: skip

    def step(self) -> str:
        chosen: Callable[[Walk], None] = self.chance.choice(self.STEPS)
        chosen(self)
        self.check()
        return str(chosen.__name__)  # type: ignore[attr-defined]

    # -- what must be so after each

    def check(self) -> None:
        house = self.house
        held = house.rows("SELECT * FROM locks")
        waiting = house.rows("SELECT * FROM lock_queue ORDER BY id")
        for index, one in enumerate(held):
            for two in held[index + 1 :]:
                together = one["mode"] == two["mode"] == "shared" or one["peer_id"] == two["peer_id"]
                apart = not reach.overlap(one["reach"], one["file_path"], two["reach"], two["file_path"])
                assert together or apart, f"two hold what overlaps: {one} {two}"
            self.newest = max(self.newest, one["token"])
        for entry in waiting:
            for lock in held:
                against = lock["peer_id"] != entry["peer_id"] and not lock["mode"] == entry["mode"] == "shared"
                overlaps = reach.overlap(lock["reach"], lock["file_path"], entry["reach"], entry["file_path"])
                assert entry["offered_at"] is None or not (against and overlaps), f"kept for one, held by another: {entry} {lock}"
        assert not house.broker.read(locks.are_there_to_tell), "somebody waits for what is free"
        alive = {row["id"] for row in house.rows("SELECT id FROM peers WHERE status IN ('active', 'away')")}
        for row in [*waiting, *(lock for lock in held if lock["state"] == "held")]:
            assert row["peer_id"] in alive, f"who is gone neither holds nor waits: {row}"
        unproven = house.rows("SELECT recipient, message_id FROM deliveries WHERE state = 'offered' ORDER BY 1, 2")
        receipts = house.rows("SELECT recipient, message_id FROM receipts WHERE ended_at IS NULL ORDER BY 1, 2")
        assert unproven == receipts, "each offer has its receipt, and each receipt its offer"
        self.check_flags()

    def check_flags(self) -> None:
        folder = os.path.join(self.house.config.home, "flags")  # type: ignore[attr-defined]
        expected = set()
        for id, pid in PIDS.items():
            status = self.house.status(id)
            reasons = self.house.rows("SELECT 1 FROM lost_locks WHERE peer_id = ?", id)
            if status == "active":
                reasons += self.house.rows("SELECT 1 FROM locks WHERE peer_id <> ?", id)
                reasons += self.house.rows(
                    "SELECT 1 FROM deliveries d WHERE recipient = ? AND (state = 'queued' OR (state = 'offered' AND (way = 'hook' OR EXISTS"
                    " (SELECT 1 FROM receipts r WHERE r.message_id = d.message_id AND r.recipient = d.recipient AND r.ended_at IS NULL"
                    " AND tool_use_id <> ''))))", id,
                )  # fmt: skip
            if reasons:
                expected.add(str(pid))
            if status != "gone" and self.house.value("SELECT cause FROM peers WHERE id = ?", id) is not None:
                expected.add(f"{pid}.cause")
        up = {}
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                up[name] = file.readline().strip()
        assert set(up) == expected, f"flags {up}, should be {sorted(expected)}"

    def check_log(self) -> None:
        read = self.house.broker.read
        assert read(events.verify)["ok"]
        folded, there = read(lambda tx: events.state_at(tx, None)[1]), read(events.tables)
        for kind, things in there.items():
            assert folded[kind] == things, f"{kind}: {folded[kind]} {things}"


class ManyWalks(unittest.TestCase):
    def test_no_step_contradicts_another_and_the_log_folds_to_the_tables(self) -> None:
        chance = running.chance(self)
        answers: dict[int, int] = {}
        verdicts: dict[str, int] = {}
        for walk in range(running.figure(10, 120, 600)):
            with tempfile.TemporaryDirectory() as folder:
                one = Walk(os.path.realpath(folder), chance)
                steps: list[str] = []
                try:
                    with self.subTest(walk=walk):
                        for _ in range(STEPS):
                            try:
                                steps.append(one.step())
                            except AssertionError as fault:
                                raise AssertionError(f"{fault}\nafter {' '.join(steps[-12:])}") from fault
                        one.check_log()
                finally:
                    one.house.close()
                for count, said in ((answers, one.answers), (verdicts, one.verdicts)):
                    for key, number in said.items():
                        count[key] = count.get(key, 0) + number  # type: ignore[attr-defined, index]
        print(f"answers {answers}, edits {verdicts}", flush=True)
        self.assertGreater(min(verdicts.get("allow", 0), verdicts.get("deny", 0)), 5)


if __name__ == "__main__":
    unittest.main()
