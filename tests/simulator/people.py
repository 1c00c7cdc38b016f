"""The people of a simulated machine: what scripted sessions work at, drawn from the world's seed.

A `Peer` believes only what it was told: which locks and tasks are its own, with which tokens; what it was shown. It holds
what the broker answers against what the broker stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from lattice import reach
from tests.broker.broking import PERSON
from tests.simulator.process import Call, Process
from tests.simulator.watch import Violation

PATHS = ("/w/src/a.py", "/w/src/b.py", "/w/src/", "/w/src/*.py", "/w/lib/x.py", "/w/lib/", "/w/doc.md")
EDITED = ("/w/src/a.py", "/w/src/b.py", "/w/lib/x.py", "/w/doc.md")
KEYS = ("style", "parser", "port")
RUNS = ("spring", "autumn")


class Peer(Process):
    def forget(self) -> None:
        self.locks: dict[str, int] = {}
        self.tasks: dict[int, int] = {}
        self.receipts: list[str] = []
        self.mail: list[dict[str, Any]] = []  # read, and perhaps to be answered
        self.unsure_take: dict[str, Any] | None = None  # a take whose outcome is unknown: made again with its key
        self.unsaid_hook: dict[str, Any] | None = None
        self.versions: dict[str, int] = {}
        self.seen: dict[int, int] = {}
        self.shown: set[str] = set()  # receipts

    # -- what it does -----------------------------------------------------------------------------------------

    def act(self) -> None:
        chosen: Callable[[Peer], None] = self.world.chance.choices(ACTIONS, WEIGHTS)[0]
        chosen(self)

    def enrolled(self) -> None:
        self.call("/locks/renew", self._holdings)

    def lost(self, path: str) -> None:
        self.locks.pop(path, None)

    def _holdings(self, status: int, said: Any) -> None:
        """What it holds, as the broker says: a new process does not know."""
        if status == 200:
            self.locks = {one["file_path"]: one["token"] for one in said["locks"]}
            if said["task"]:
                self.call("/tasks/claim", self._claimed, task_id=said["task"]["id"])

    def look_for_work(self) -> None:
        if len(self.tasks) < 2:
            self.call("/tasks", self._found_work, method="GET")

    def _found_work(self, status: int, said: Any) -> None:
        free = [task["id"] for task in said["tasks"] if task.get("claimable")] if status == 200 else []
        everything = [task["id"] for task in said["tasks"] if task["status"] == "pending"] if status == 200 else []
        if everything and self.world.happens(0.2):
            free = everything  # it tries one that may be blocked
        if free:
            self.call("/tasks/claim", self._claimed, task_id=self.world.chance.choice(free[:5]))

    def _claimed(self, status: int, said: Any) -> None:
        if status == 200:
            self.tasks[said["task_id"]] = said["token"]

    def end_a_task(self) -> None:
        if not self.tasks:
            return
        chance = self.world.chance
        task_id = chance.choice(list(self.tasks))
        outcome = chance.choice(("done", "done", "done", "failed", "released"))
        body: dict[str, Any] = {"task_id": task_id, "outcome": outcome, "artifacts": {"summary": f"did {self.world.number()}"}}
        if chance.random() < 0.8:
            body["token"] = self.tasks[task_id]

        def ended(status: int, said: Any) -> None:
            if status == 200 or status in (403, 404, 409) and said["code"] != "needs_review":
                self.tasks.pop(task_id, None)
            elif status == 409:
                self.call("/escalations", kind="review", text="please look", task_id=task_id)

        self.call("/tasks/complete", ended, **body)

    def make_a_task(self) -> None:
        chance = self.world.chance
        run = {"run_id": chance.choice(RUNS) + self.workspace} if chance.random() < 0.3 else {}
        self.call("/tasks", title=f"t{self.world.number()}", priority=chance.choice(("high", "medium", "low")),
                  needs_review=chance.random() < 0.1, **run)  # fmt: skip

    def make_a_graph(self) -> None:
        chance = self.world.chance
        size = chance.randrange(2, 6)
        tasks = [
            {"title": f"g{self.world.number()}", "blocked_by": sorted({-chance.randrange(1, index + 1) for _ in range(2)}) if index else []}
            for index in range(size)
        ]
        self.call("/tasks/batch", tasks=tasks)

    def depend(self) -> None:
        def found(status: int, said: Any) -> None:
            pending = [task["id"] for task in said["tasks"] if task["status"] == "pending"] if status == 200 else []
            if len(pending) > 1:
                one, two = self.world.chance.sample(pending, 2)
                self.call(f"/tasks/{one}/depend", **{self.world.chance.choice(("add", "add", "remove")): [two]})

        self.call("/tasks", found, method="GET")

    def renew_a_task(self) -> None:
        for task_id, token in list(self.tasks.items())[:1]:

            def renewed(status: int, said: Any, task_id: int = task_id) -> None:
                if status in (403, 404, 409):
                    self.tasks.pop(task_id, None)

            self.call(f"/tasks/{task_id}/renew", renewed, token=token)

    def lock(self) -> None:
        chance = self.world.chance
        path = chance.choice(PATHS)
        options: dict[str, Any] = {"shared": chance.random() < 0.3, "queue": chance.random() < 0.5}
        if chance.random() < 0.2:
            options["ttl_s"] = chance.choice((5, 20))

        def locked(status: int, said: Any) -> None:
            if status == 200 and said["ok"]:
                self.locks[said["file_path"]] = said["token"]

        self.call("/lock", locked, file_path=path, **options)

    def unlock(self) -> None:
        if not self.locks:
            return
        path = self.world.chance.choice(list(self.locks))
        token = {"token": self.locks[path]} if self.world.happens(0.7) else {}

        def unlocked(status: int, said: Any) -> None:
            if status in (200, 403, 409):
                self.locks.pop(path, None)

        self.call("/unlock", unlocked, file_path=path, **token)

    def edit(self) -> None:
        self.call("/guard", paths=[self.world.chance.choice(EDITED)], auto=self.world.happens(0.2))

    def send(self) -> None:
        world = self.world
        others = [peer.id for peer in world.crew if peer is not self]
        to = world.chance.choice([*others, *others, "@architect", PERSON, "broadcast" if self.role == "architect" else others[0]])
        category = world.chance.choice(("finding", "finding", "question", "status_update", "alert", "error"))
        self._say(to, category, {})

    def _say(self, to: str, category: str, more: dict[str, Any]) -> None:
        world = self.world
        if world.happens(0.05):
            text = "again and again"
        else:
            text = f"m{world.number()} from {self.id}"
            world.sent_once.add(hashlib.sha256(text.encode()).hexdigest()[:32])
        self.call("/send", recipient_id=to, category=category, content=text, **more)

    def answer(self) -> None:
        if self.mail:
            mail = self.mail.pop()
            if mail["from"] not in ("broker", self.id):
                self._say(mail["from"], "finding", {"reply_to": mail["id"]})

    def read(self) -> None:
        """Take mail, and prove at the same time what was taken before. A take of unknown outcome is made again with its key."""
        if self.receipts:
            receipts, self.receipts = self.receipts, []

            def proven(status: int, said: Any) -> None:
                if not status:
                    self.receipts += receipts

            self.call("/inbox/ack", proven, receipts=receipts, proof="tool")
        body = self.unsure_take or {"way": "tool", "process": self.process, "max": self.world.chance.choice((1, 5, 20)),
                                    "idempotency_key": self.world.key()}  # fmt: skip
        self.unsure_take = dict(body)

        def taken(status: int, said: Any) -> None:
            if status:
                self.unsure_take = None
            if status == 200:
                self._have(said["messages"])
                if said["messages"] and self.world.happens(0.1):
                    self.call("/inbox/return", receipts=[one["receipt"] for one in said["messages"]], reason="cancelled")
                else:
                    self.receipts += [one["receipt"] for one in said["messages"]]

        self.call("/inbox/take", taken, **body)

    def hook(self) -> None:
        """A hook of its client ran. A call of one that was ended before it could say the mail is made again by the next."""
        event = self.world.chance.choice(("PostToolUse", "UserPromptSubmit", "Stop", "PreToolUse"))
        began_ms = int(self.world.clock.now() * 1000)
        fresh = {"event": event, "max": self.world.chance.choice((0, 3, 5)), "idempotency_key": self.world.key(), "began_ms": began_ms}
        body = self.unsaid_hook or fresh
        follows = {"event": event, "max": 0, "began_ms": began_ms} if self.unsaid_hook else None
        self.unsaid_hook = dict(body) if body["max"] else None

        def ran(status: int, said: Any) -> None:
            if not status:
                return
            self.unsaid_hook = None
            if status == 200:
                self._have(said["messages"])
                if follows:
                    self.call("/hook", **follows)

        self.call("/hook", ran, **body)

    def _have(self, messages: list[dict[str, Any]]) -> None:
        """They are shown to the session."""
        for mail in messages:
            if mail["receipt"] in self.shown:
                continue  # the same answer, heard twice
            self.shown.add(mail["receipt"])
            before = self.seen.get(mail["id"])
            if before is not None and mail["redelivered"] <= before:
                raise Violation(f"{self.id} is shown message {mail['id']} again, and it does not say so")
            self.seen[mail["id"]] = mail["redelivered"]
            self.world.watch.shown.add(mail["receipt"])
            self.mail = [*self.mail[-5:], mail]

    def remember(self) -> None:
        key = self.world.chance.choice(KEYS)
        body: dict[str, Any] = {"key": key, "value": f"v{self.world.number()}"}
        if self.world.happens(0.6):
            body["expect_version"] = self.versions.get(key, 0)

        def stored(status: int, said: Any) -> None:
            if status in (200, 409) and "version" in said:
                self.versions[key] = said["version"]

        self.call("/memory", stored, **body)

    def call_for_help(self) -> None:
        self.call("/escalations", kind=self.world.chance.choice(("blocker", "review")), text=f"stuck {self.world.number()}")

    def lead(self) -> None:
        """What an architect does: answers, assigns, pauses, ends."""
        if self.role != "architect":
            return
        chance = self.world.chance
        others = [peer.id for peer in self.world.crew if peer is not self and peer.workspace == self.workspace]
        kind = chance.randrange(6)
        if kind < 3:

            def found(status: int, said: Any) -> None:
                for one in said["escalations"][:1] if status == 200 else ():
                    self.call(
                        f"/escalations/{one['id']}/resolve", verdict=chance.choice(("answer", "approve", "changes")), answer="so be it"
                    )

            self.call("/escalations?state=open", found, method="GET")
        elif kind == 3:
            self.call(chance.choice(("/pause", "/resume", "/resume")), peer_id=chance.choice(others))
        elif kind == 4:

            def tasks(status: int, said: Any) -> None:
                pending = [task["id"] for task in said["tasks"] if task["status"] == "pending"] if status == 200 else []
                if pending:
                    self.call(f"/tasks/{chance.choice(pending)}/assign", peer_id=chance.choice([*others, ""]))

            self.call("/tasks", tasks, method="GET")
        else:
            self.call("/config", peer_id=chance.choice(others), poll_interval_ms=chance.choice((3000, 6000)))

    def adopt(self) -> None:
        self.call(
            "/adopt", self._holdings_again, peer_id=self.world.chance.choice([peer.id for peer in self.world.crew if peer is not self])
        )

    def _holdings_again(self, status: int, said: Any) -> None:
        if status == 200:
            self.call("/locks/renew", self._holdings)

    # -- what an answer must be -------------------------------------------------------------------------------

    def check(self, call: Call, status: int, said: Any) -> None:
        check = CHECKS.get("/renew" if call.path.endswith("/renew") else call.path)
        if check is not None and status == 200 and not said.get("repeated") and self.world.watching:
            check(self, call.body, said)

    def _check_claim(self, body: dict[str, Any], said: Any) -> None:
        task = self.world.watch.state["task"][said["task_id"]]
        _must((task["status"], task["assigned_to"], task["token"]) == ("in_progress", self.id, said["token"]), f"claimed, and {task}")

    def _check_task(self, body: dict[str, Any], said: Any) -> None:
        """An end, a release, a renewal: with the newest token, where one was shown."""
        if "token" in body and "task_id" in said:
            task = self.world.watch.state["task"][said["task_id"]]
            _must(body["token"] == task["token"], f"token {body['token']} was good for {task}")

    def _check_lock(self, body: dict[str, Any], said: Any) -> None:
        if said["ok"]:
            lock = self.world.watch.state["lock"].get((said["file_path"], self.id))
            _must(lock and (lock["state"], lock["token"]) == ("held", said["token"]), f"locked, and {lock}")

    def _check_send(self, body: dict[str, Any], said: Any) -> None:
        if not said.get("folded"):
            _must(said["message_id"] in self.world.watch.state["message"], "sent, and not stored")
            for recipient in said["recipients"]:
                _must((recipient, said["message_id"]) in self.world.watch.state["delivery"], f"sent to {recipient}, and not queued")

    def _check_memory(self, body: dict[str, Any], said: Any) -> None:
        _must(body.get("expect_version", said["version"] - 1) == said["version"] - 1, "an old version was accepted")
        _must(self.world.watch.state["memory"][self.workspace, body["key"]]["version"] == said["version"], "remembered, and not there")

    def _check_guard(self, body: dict[str, Any], said: Any) -> None:
        """By the tables, in other words than the broker's."""
        watch, own, other = self.world.watch, False, False
        for (path, holder), lock in watch.state["lock"].items():
            if reach.overlap(lock["reach"], path, "file", body["paths"][0]):
                own, other = own or (holder == self.id and lock["state"] == "held"), other or holder != self.id
        lost = any(
            reach.overlap(row["reach"], row["file_path"], "file", body["paths"][0])
            for row in watch.rows("SELECT reach, file_path FROM lost_locks WHERE peer_id = ?", self.id)
        )
        if said.get("code") != "kept":  # free, but for the first who waited
            allowed = not other and (own or not lost)
            _must(said["verdict"] == ("allow" if allowed else "deny"), f"{said}: own {own}, others' {other}, lost {lost}")


def _must(is_so: object, otherwise: str) -> None:
    if not is_so:
        raise Violation(otherwise)


CHECKS: dict[str, Callable[[Peer, dict[str, Any], Any], None]] = {
    "/tasks/claim": Peer._check_claim,
    "/tasks/complete": Peer._check_task,
    "/renew": Peer._check_task,
    "/lock": Peer._check_lock,
    "/send": Peer._check_send,
    "/memory": Peer._check_memory,
    "/guard": Peer._check_guard,
}
_DONE: tuple[tuple[Callable[[Peer], None], int], ...] = (
    (Peer.look_for_work, 8),
    (Peer.end_a_task, 7),
    (Peer.make_a_task, 3),
    (Peer.make_a_graph, 1),
    (Peer.depend, 1),
    (Peer.renew_a_task, 2),
    (Peer.lock, 6),
    (Peer.unlock, 5),
    (Peer.edit, 5),
    (Peer.send, 8),
    (Peer.answer, 4),
    (Peer.read, 12),
    (Peer.hook, 5),
    (Peer.remember, 4),
    (Peer.call_for_help, 1),
    (Peer.lead, 4),
    (Peer.adopt, 1),
)
ACTIONS = [action for action, _ in _DONE]
WEIGHTS = [weight for _, weight in _DONE]
