"""A model of the core beside a real broker in this process: whatever is done, both must say the same.

The broker is whole (pipeline, database, sweep) but for sockets and threads; its clock stands still until told. The model is
the plainest thing that could be right. `ACTIONS` are the steps; whoever drives them (a seeded random walk, or hypothesis)
passes small numbers, and the machine makes something of any number. `check` holds the two against each other.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import types
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from lattice import settings
from lattice.broker import app
from lattice.broker.page import Page
from lattice.broker.sweep import Sweep
from lattice.clock import ManualClock
from lattice.domain.events import FOLDED
from lattice.errors import Refusal
from lattice.guard import tokens
from tests.broker import databases

PEERS = ("arch", "p1", "p2", "p3")
PATHS = ("/m/a.py", "/m/b.py", "/m/c.py")
KEYS = ("k1", "k2")
SILENT_S = 15.0
PAGE = functools.cache(Page)


@dataclass
class Task:
    creator: str
    needs: set[int]
    status: str = "pending"
    owner: str = ""
    token: int = 0
    left_by: str = ""  # who departed from it, while it is pending since


@dataclass
class Model:
    tasks: dict[int, Task] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    lost: dict[str, set[str]] = field(default_factory=dict)  # peer -> paths it lost by departing and has not asked for since
    memory: dict[str, int] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)  # peers that live
    mail: dict[str, list[int]] = field(default_factory=dict)  # unread, oldest first
    newest_token: int = 0


class Machine:
    """One broker and its model. Close it; the folder is the caller's."""

    def __init__(self, folder: str) -> None:
        self.clock = ManualClock()
        self.secret = os.urandom(32)
        self.path = os.path.join(folder, "lattice.db")
        environ = {"C2_LATTICE_HOME": os.path.join(folder, "state"), "C2_LATTICE_DB": self.path, "C2_LATTICE_RATE": "1000000"}
        self.config = settings.read(environ)
        settings.make_home(self.config.home)
        self.model = Model(mail={id: [] for id in PEERS})
        self.tokens: dict[str, str] = {}
        self.resumes: dict[str, str] = {}
        self.returned: set[int] = set()  # messages whose offer came back at least once
        self.given_up: set[tuple[str, int]] = set()  # (recipient, message) that died for want of proof
        self.done = 0
        self.answers: dict[int, int] = {}
        databases.begin(self.path)
        self.start()
        for id in PEERS:
            self.enrol(id)

    def start(self) -> None:
        with mock.patch.object(app, "Page", PAGE):  # which nobody here asks for; to read it anew takes longer than a walk's steps
            self.broker = app.Broker(self.config, self.secret, 7899, clock=self.clock, on_fatal=self.fatal)
        databases.unsynced(self.broker)
        self.reader = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        self.sweep = Sweep(self.broker)

    def fatal(self, message: str) -> None:
        raise AssertionError(message)

    def close(self) -> None:
        self.reader.close()
        self.broker.close()

    # -- asking the broker

    def ask(self, who: str, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """One request through the whole pipeline."""
        bare, _, query = path.partition("?")
        token = {"authorization": f"Bearer {self.tokens[who]}"} if who else {}
        request = types.SimpleNamespace(
            method=method, path=bare, query=dict(pair.split("=") for pair in query.split("&") if pair), is_navigation=False, connection=1,
            headers=token | headers, body=(body or {}) if method == "POST" else None,
        )  # fmt: skip
        try:
            answer: Any = self.broker.call(request)  # type: ignore[arg-type]
        except Refusal as refusal:
            status, said = refusal.status, refusal.as_json()
        else:
            status, said = answer.status, answer.body
        self.answers[status] = self.answers.get(status, 0) + 1
        assert status < 500, f"{method} {path} {body}: {status} {said}"
        return status, said

    def expect(self, allowed: bool | int, who: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST; it must be 200 when allowed, else a refusal (of the given status)."""
        status, said = self.ask(who, "POST", path, body)
        if allowed is True:
            assert status == 200, f"{who} {path} {body}: should do, but {status} {said}"
        elif allowed is False:
            assert status in (400, 403, 404, 409), f"{who} {path} {body}: must be refused, but {status} {said}"
        else:
            assert status == allowed, f"{who} {path} {body}: {allowed} expected, but {status} {said}"
        return said

    def enrol(self, id: str) -> None:
        role = "architect" if id == "arch" else "worker"
        ticket = tokens.mint_ticket(self.secret, peer=id, role=role, workspace="w", now=self.clock.now())
        resume = {"resume": self.resumes[id]} if id in self.resumes else {}
        status, said = self.ask("", "POST", "/register", {"id": id, "role": role, **resume}, authorization=f"Ticket {ticket}")
        assert status == 200, said
        self.tokens[id] = said["token"]
        self.resumes[id] = said["resume"]
        self.model.heard[id] = self.clock.monotonic()
        self.come_back(id)

    def come_back(self, id: str) -> None:
        """A new process of a known id: what it holds gets new numbers, what it lost and nobody took since is its own again."""
        tokens_now = dict(self.rows("SELECT id, token FROM tasks"))
        for number, task in self.model.tasks.items():
            if task.status == "pending" and task.left_by == id and self.is_open(task):
                task.status, task.owner = "in_progress", id
            if task.status == "in_progress" and task.owner == id:
                assert tokens_now[number] > task.token, "the old process's token is stale"
                task.token = tokens_now[number]
        for path in self.model.lost.pop(id, set()):
            if path not in self.model.locks:
                self.hold(path, id)
        self.model.newest_token = max([self.model.newest_token, *tokens_now.values(), *self.rows("SELECT token FROM locks")])
        for number in self.rows("SELECT message_id FROM deliveries WHERE recipient = ? AND state = 'queued' ORDER BY message_id", id):
            if (id, number) in self.given_up:
                self.given_up.remove((id, number))
                self.model.mail[id] = sorted([*self.model.mail[id], number])

    # -- choosing from small numbers

    def peer(self, number: int) -> str:
        """A peer. One that was lost enrols again first, as its session would, or goes on with its old token: then it lives again."""
        id = PEERS[number % len(PEERS)]
        if id not in self.model.heard:
            if number % 3 == 0 and id != "arch":
                status, _ = self.ask(id, "POST", "/summary", {"summary": f"back {self.done}"})
                if status == 200:
                    self.model.heard[id] = self.clock.monotonic()
                    return id
                assert status == 401  # it was killed
            self.enrol(id)
        return id

    def task(self, number: int) -> int:
        return 1 + number % (len(self.model.tasks) + 1)  # sometimes one that is not there

    def grant(self, token: int) -> None:
        assert token > self.model.newest_token, f"token {token} after {self.model.newest_token}"
        self.model.newest_token = token

    # -- actions: (a, b, c) are any small numbers

    def create(self, a: int, b: int, c: int) -> None:
        who = self.peer(a)
        needs = {one for one in (self.task(b), self.task(c)) if (b + c) % 3}
        known = needs <= set(self.model.tasks)
        said = self.expect(True if known else 400, who, "/tasks", {"title": f"t{self.done}", "blocked_by": sorted(needs)})
        if known:
            assert said["task_id"] == len(self.model.tasks) + 1
            self.model.tasks[said["task_id"]] = Task(who, needs)

    def claim(self, a: int, b: int, c: int) -> None:
        who, id = self.peer(a), self.task(b)
        task = self.model.tasks.get(id)
        if task is None:
            self.expect(404, who, "/tasks/claim", {"task_id": id})
        elif task.status == "in_progress" and task.owner == who:
            assert self.expect(True, who, "/tasks/claim", {"task_id": id})["token"] == task.token
        elif task.status == "pending" and self.is_open(task):
            task.token = self.expect(True, who, "/tasks/claim", {"task_id": id})["token"]
            self.grant(task.token)
            task.status, task.owner = "in_progress", who
        else:
            self.expect(409, who, "/tasks/claim", {"task_id": id})

    def is_open(self, task: Task) -> bool:
        return all(self.model.tasks[id].status == "completed" for id in task.needs)

    def end(self, a: int, b: int, c: int) -> None:
        who, id = self.peer(a), self.task(b)
        outcome = ("done", "failed", "released")[c % 3]
        body: dict[str, Any] = {"task_id": id, "outcome": outcome, "artifacts": {"summary": f"s{self.done}"}}
        task = self.model.tasks.get(id)
        mine = task is not None and task.status == "in_progress" and task.owner == who
        if task is not None and mine and c % 5 == 0:  # with an old token it is refused, whoever asks
            self.expect(409, who, "/tasks/complete", {**body, "token": task.token - 1})
        said = self.expect(mine, who, "/tasks/complete", body)
        if task is not None and mine:
            was_blocked = {other for other, one in self.model.tasks.items() if one.status == "pending" and not self.is_open(one)}
            task.status = {"done": "completed", "failed": "failed", "released": "pending"}[outcome]
            task.owner, task.left_by = ("" if outcome == "released" else who), ""
            freed = {other for other in was_blocked if self.is_open(self.model.tasks[other])}
            assert {one["id"] for one in said["newly_unblocked"]} == freed, said

    def cancel(self, a: int, b: int, c: int) -> None:
        who, id = self.peer(a), self.task(b)
        task = self.model.tasks.get(id)
        allowed = task is not None and who in (task.creator, "arch") and task.status in ("pending", "in_progress")
        self.expect(allowed, who, f"/tasks/{id}/cancel", {})
        if task is not None and allowed:
            task.status = "cancelled"

    def depend(self, a: int, b: int, c: int) -> None:
        who, id, other = self.peer(a), self.task(b), self.task(c)
        task = self.model.tasks.get(id)
        allowed = (
            task is not None and other in self.model.tasks and who in (task.creator, "arch") and task.status == "pending"
            and not self.waits_for(other, id)
        )  # fmt: skip
        self.expect(allowed, who, f"/tasks/{id}/depend", {"add": [other]})
        if task is not None and allowed:
            task.needs.add(other)

    def waits_for(self, id: int, other: int) -> bool:
        return id == other or any(self.waits_for(one, other) for one in self.model.tasks[id].needs)

    def lock(self, a: int, b: int, c: int) -> None:
        who, path = self.peer(a), PATHS[b % len(PATHS)]
        holder = self.model.locks.get(path)
        said = self.expect(True if holder in (None, who) else 409, who, "/lock", {"file_path": path})
        if holder is None:
            self.grant(said["token"])
            self.hold(path, who)

    def hold(self, path: str, who: str) -> None:
        self.model.locks[path] = who
        for lost in self.model.lost.values():
            lost.discard(path)  # whoever lost it before does not find it as it was

    def unlock(self, a: int, b: int, c: int) -> None:
        who, path = self.peer(a), PATHS[b % len(PATHS)]
        allowed = self.model.locks.get(path) in (None, who) or who == "arch"
        self.expect(True if allowed else 403, who, "/unlock", {"file_path": path})
        if allowed:
            self.model.locks.pop(path, None)
            self.model.lost.get(who, set()).discard(path)  # it says that it is done with it

    def remember(self, a: int, b: int, c: int) -> None:
        who, key = self.peer(a), KEYS[b % len(KEYS)]
        version = self.model.memory.get(key, 0)
        body: dict[str, Any] = {"key": key, "value": f"v{self.done}"}
        if c % 2:
            body["expect_version"] = c % 4
        allowed = "expect_version" not in body or body["expect_version"] == version
        said = self.expect(True if allowed else 409, who, "/memory", body)
        if allowed:
            self.model.memory[key] = version + 1
            assert said["version"] == version + 1

    def write(self, a: int, b: int, c: int) -> None:
        who, to = self.peer(a), PEERS[b % len(PEERS)]
        body: dict[str, Any] = {"recipient_id": to, "category": "finding", "content": f"m{self.done}", "idempotency_key": f"m{self.done}"}
        said = self.expect(True, who, "/send", body)
        assert self.expect(True, who, "/send", body)["message_id"] == said["message_id"], "one key, one message"
        self.model.mail[to].append(said["message_id"])

    def read(self, a: int, b: int, c: int) -> None:
        who = self.peer(a)
        self.forget_dead(who)
        said = self.expect(True, who, "/inbox/take", {"way": "tool"})
        got = [one["id"] for one in said["messages"]]
        assert got == self.model.mail[who][: len(got)], (got, self.model.mail[who])
        assert got or not self.model.mail[who], "unread mail is offered"
        if c % 3:  # proven; else the call was cancelled, and they come again
            self.expect(True, who, "/inbox/ack", {"receipts": [one["receipt"] for one in said["messages"]] or ["none"]})
            self.model.mail[who] = self.model.mail[who][len(got) :]
        elif got:
            self.expect(True, who, "/inbox/return", {"receipts": [one["receipt"] for one in said["messages"]]})
            self.returned.update(got)
        self.forget_dead(who)

    def forget_dead(self, who: str) -> None:
        """What came back five times is given up, openly: it is dead with a reason, and its sender is told."""
        rows = self.rows("SELECT message_id, reason FROM deliveries WHERE recipient = ? AND state = 'dead'", who)
        notices = self.rows(
            "SELECT d.message_id, d.recipient FROM deliveries d JOIN messages m ON m.id = d.message_id"
            " WHERE m.sender_id NOT IN ('arch', 'p1', 'p2', 'p3') AND d.state = 'queued' ORDER BY d.message_id"
        )
        for id, reason in rows:
            assert reason, "a dead message says why"
            if id in self.model.mail[who]:
                assert id in self.returned, f"message {id} was given up without having come back"
                self.model.mail[who].remove(id)
                self.given_up.add((who, id))
        for id, recipient in notices:
            if recipient in self.model.mail and id not in self.model.mail[recipient]:
                self.model.mail[recipient] = sorted([*self.model.mail[recipient], id])

    def beat(self, a: int, b: int, c: int) -> None:
        who = self.peer(a)
        assert self.expect(True, who, "/heartbeat", {})["ok"]
        self.model.heard[who] = self.clock.monotonic()

    def wait(self, a: int, b: int, c: int) -> None:
        for _ in range(1 + a % 12):
            self.clock.advance(1.0)
            self.sweep.tick()
            now = self.clock.monotonic()
            for id in [id for id, heard in self.model.heard.items() if now - heard > SILENT_S]:
                self.depart(id)

    def depart(self, id: str) -> None:
        del self.model.heard[id]
        for task in self.model.tasks.values():
            if task.status == "in_progress" and task.owner == id:
                task.status, task.owner, task.left_by = "pending", "", id
        self.model.lost.setdefault(id, set()).update(path for path, holder in self.model.locks.items() if holder == id)
        self.model.locks = {path: holder for path, holder in self.model.locks.items() if holder != id}
        for other in PEERS:
            self.forget_dead(other)

    def kill(self, a: int, b: int, c: int) -> None:
        if c % 4:
            return  # rarely
        victim = PEERS[1 + b % (len(PEERS) - 1)]
        arch = self.peer(0)
        self.expect(True, arch, "/kill-peer", {"peer_id": victim})
        if victim in self.model.heard:
            self.depart(victim)
        status, _ = self.ask(victim, "POST", "/heartbeat", {})
        assert status == 401, "its token counts no more"
        self.expect(True, arch, "/resume", {"peer_id": victim})
        for id in self.rows("SELECT message_id FROM deliveries WHERE recipient = ? AND state = 'queued' ORDER BY message_id", victim):
            if id not in self.model.mail[victim]:
                self.model.mail[victim] = sorted([*self.model.mail[victim], id])

    def restart(self, a: int, b: int, c: int) -> None:
        """The broker is started anew on the same database: everyone gets a full term."""
        if c % 4:
            return  # rarely
        self.close()
        self.start()
        self.model.heard = dict.fromkeys(self.model.heard, self.clock.monotonic())

    ACTIONS = (
        create, create, claim, claim, end, end, cancel, depend, lock, unlock, remember, write, read, beat, beat, beat, wait, kill, restart,
    )  # fmt: skip

    def step(self, action: int, a: int, b: int, c: int) -> str:
        chosen = self.ACTIONS[action % len(self.ACTIONS)]
        self.done += 1
        chosen(self, a, b, c)
        return f"{chosen.__name__}({a}, {b}, {c})"

    # -- the two against each other

    def rows(self, sql: str, *values: object) -> list[Any]:
        return [row[0] if len(row) == 1 else row for row in self.reader.execute(sql, values)]

    def check(self) -> None:
        """The tables are what the model says, and what the log says."""
        rows = self.rows("SELECT id, status, assigned_to, token FROM tasks")
        tasks = {id: (status, owner or "", token) for id, status, owner, token in rows}
        for id, task in self.model.tasks.items():
            status, owner, token = tasks[id]
            assert status == task.status, f"task {id}: {status}, should be {task.status}"
            assert status not in ("pending", "in_progress") or owner == task.owner, f"task {id}: {owner}, should be {task.owner}"
            assert token == task.token
        assert len(tasks) == len(self.model.tasks)
        held = dict(self.rows("SELECT file_path, peer_id FROM locks"))
        assert held == self.model.locks, f"{held}, should be {self.model.locks}"
        assert dict(self.rows("SELECT key, version FROM memory")) == self.model.memory
        history = self.rows("SELECT key, COUNT(*) FROM memory_history GROUP BY key")
        assert dict(history) == {key: version - 1 for key, version in self.model.memory.items() if version > 1}
        for who in PEERS:
            unread = self.rows("SELECT message_id FROM deliveries WHERE recipient = ? AND state IN ('queued', 'offered')", who)
            assert set(unread) >= set(self.model.mail[who]), f"{who}: unread {unread}, should be {self.model.mail[who]}"
        open_counts = self.rows(
            "SELECT t.id FROM tasks t WHERE t.n_open <> (SELECT COUNT(*) FROM dependencies d JOIN tasks n ON n.id = d.needs_id"
            " WHERE d.task_id = t.id AND n.status <> 'completed')"
        )  # fmt: skip
        assert open_counts == [], f"n_open is wrong for {open_counts}"
        self.check_log()

    def check_log(self) -> None:
        """Fold the log by hand: it must give the folded columns of every table."""
        folded: dict[str, dict[str, Any]] = {kind: {} for kind in FOLDED}
        for kind, subjects, data in self.rows("SELECT kind, subject, data FROM events ORDER BY seq"):
            if kind == "snapshot":
                folded = {one: json.loads(data).get(one, {}) for one in FOLDED}
            elif kind in FOLDED:
                for subject in json.loads(subjects):
                    key = json.dumps(subject, ensure_ascii=False, separators=(",", ":"))
                    if json.loads(data) is None:
                        folded[kind].pop(key, None)
                    else:
                        folded[kind][key] = json.loads(data)
        for kind, fold in FOLDED.items():
            names = (*fold.key, *fold.columns)
            found = {}
            for row in self.rows(f"SELECT {', '.join(names)}, 1 FROM {fold.table}"):
                parts = list(row[: len(fold.key)])
                said = json.dumps(parts if len(parts) > 1 else parts[0], ensure_ascii=False, separators=(",", ":"))
                found[said] = dict(zip(names[len(fold.key) :], row[len(fold.key) : -1], strict=True))
            said_by_log = {key: {name: value for name, value in data.items() if name in fold.columns} for key, data in folded[kind].items()}
            assert found == said_by_log, f"{kind}: tables {_differ(found, said_by_log)}"
            for data in folded[kind].values():
                assert set(fold.digests) <= set(data)
        verdict = self.broker.read(lambda tx: _verify(tx))
        assert verdict["ok"], verdict


def _verify(tx: Any) -> dict[str, Any]:
    from lattice.domain import events

    return events.verify(tx)


def _differ(found: dict[str, Any], folded: dict[str, Any]) -> str:
    keys = [key for key in {*found, *folded} if found.get(key) != folded.get(key)]
    return "; ".join(f"{key}: {found.get(key)} but the log says {folded.get(key)}" for key in keys[:3])
