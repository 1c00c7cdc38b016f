"""The people of a simulated machine: scripted sessions, and the person.

A `Peer` is what a coding session with its MCP server is: it enrols, beats, works, and asks again with the same key when
it hears nothing. It believes only what it was told. It may die at any time, leave, or freeze and go on later as if
nothing had been; a new process then takes up its id. What it does is drawn from the world's seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from lattice import reach
from tests.broker.broking import PERSON
from tests.simulator.watch import Violation
from tests.simulator.world import Crashed, Down, World

Then = Callable[[int, Any], None]
TRIES = 6
PATHS = ("/w/src/a.py", "/w/src/b.py", "/w/src/", "/w/src/*.py", "/w/lib/x.py", "/w/lib/", "/w/doc.md")
EDITED = ("/w/src/a.py", "/w/src/b.py", "/w/lib/x.py", "/w/doc.md")
KEYS = ("style", "parser", "port")
RUNS = ("spring", "autumn")
PATIENCE_S = 2.0


class Call:
    """One call on its way, however often it is sent."""

    __slots__ = ("method", "path", "body", "then", "life", "tries", "enrolments", "done")

    def __init__(self, method: str, path: str, body: dict[str, Any], then: Then, life: int) -> None:
        self.method, self.path, self.body, self.then, self.life = method, path, body, then, life
        self.tries = self.enrolments = 0
        self.done = False


class Peer:
    def __init__(self, world: World, id: str, *, role: str = "worker", workspace: str = "shop", beat_s: float = 3.0, think_s: float = 4.0,
                 named: bool = True, client_pid: int | None = None) -> None:  # fmt: skip
        self.world, self.id, self.role, self.workspace = world, id, role, workspace
        self.beat_s, self.think_s, self.named, self.client_pid = beat_s, think_s, named, client_pid
        self.life = 0  # which process of this id; 0: none yet
        self.is_there = False
        self.is_frozen = False
        self.is_killed = False
        self.pid = 0
        self.token = ""
        self.resume = ""  # lies in the state directory, so it outlives the process
        self.away_s: tuple[float, ...] = (0.5, 3.0, 20.0, 90.0)  # so long nobody has the id, when its process has ended
        self.backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._forget()

    def _forget(self) -> None:
        """A new process knows nothing."""
        self.locks: dict[str, int] = {}
        self.tasks: dict[int, int] = {}
        self.receipts: list[str] = []
        self.mail: list[dict[str, Any]] = []  # read, and perhaps to be answered
        self.unsure_take: dict[str, Any] | None = None  # a take whose outcome is unknown: made again with its key
        self.unsaid_hook: dict[str, Any] | None = None
        self.versions: dict[str, int] = {}
        self.seen: dict[int, int] = {}
        self.shown: set[str] = set()  # receipts
        self.stamp = ""

    # -- its life -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A process starts."""
        world = self.world
        self.life += 1
        self.is_there, self.is_frozen, self.is_killed, self.token = True, False, False, ""
        self.pid = world.number()
        world.pids[self.pid] = self
        self._forget()
        self.soon(0.0, self.enrol)
        self.soon(self.beat_s, self.beat)
        self.soon(world.chance.expovariate(1 / self.think_s), self.act)
        for mean, what in ((world.weather.peer_dies_s, self.die), (world.weather.peer_freezes_s, self.freeze),
                           (world.weather.peer_leaves_s, self.leave)):  # fmt: skip
            if mean:
                self.soon(world.chance.expovariate(1 / mean), self._befalls, what)

    def _befalls(self, what: Callable[[], None]) -> None:
        if self.world.weather.stirs:
            what()

    def die(self) -> None:
        self.world.note("peer died")
        self._gone()

    def leave(self) -> None:
        """A clean end: it says so, once, and is gone whatever the answer is."""
        self.world.note("peer left")
        if self.token:
            call = Call(
                "POST", "/leave", {"process": self.process, "idempotency_key": self.world.key()}, lambda status, said: None, self.life
            )
            self._arrive(call, self.token)
        self._gone()

    def _gone(self) -> None:
        self.is_there = self.is_frozen = False
        self.pid = 0
        self.backlog.clear()
        self.world.schedule.after(self.world.chance.choice(self.away_s), self.come_back, self.life)

    def come_back(self, life: int) -> None:
        if not self.is_there and life == self.life:
            self.begin()

    def freeze(self) -> None:
        """Stopped, and continued later: whatever it was about to do, it then does."""
        self.world.note("peer froze")
        self.is_frozen = True
        seconds = self.world.chance.choice((2.0, 10.0, 17.0, 40.0, 120.0))
        self.world.schedule.after(seconds, self.thaw, self.life)

    def thaw(self, life: int) -> None:
        if life == self.life and self.is_frozen:
            self.is_frozen = False
            backlog, self.backlog = self.backlog, []
            for what, about in backlog:
                what(*about)
            if self.world.weather.peer_freezes_s:
                self.soon(self.world.chance.expovariate(1 / self.world.weather.peer_freezes_s), self._befalls, self.freeze)

    def soon(self, seconds: float, what: Callable[..., None], *about: Any) -> None:
        """Do that later, if this process lives then; if it is frozen then, when it goes on."""
        self.world.schedule.after(seconds, self._if_alive, self.life, what, about)

    def _if_alive(self, life: int, what: Callable[..., None], about: tuple[Any, ...]) -> None:
        if life != self.life or not self.is_there:
            return
        if self.is_frozen:
            self.backlog.append((what, about))
        else:
            what(*about)

    @property
    def process(self) -> str:
        return f"{self.id}-{self.life}"

    # -- calls ----------------------------------------------------------------------------------------------

    def call(self, path: str, then: Then | None = None, *, method: str = "POST", **body: Any) -> None:
        """A call as its MCP server makes it: once for all, however often it has to be sent. `then` gets (0, {}) when nothing is heard."""
        if method == "POST":
            body.setdefault("idempotency_key", self.world.key())
        self._send(Call(method, path, body, then or _ignore, self.life))

    def _send(self, call: Call) -> None:
        if self.is_killed or call.done:
            return
        if not self.token:
            self.soon(0.5, self._again, call)
            return
        call.tries += 1
        world, weather = self.world, self.world.weather
        delay = world.chance.uniform(0.0005, 0.01)
        if not world.happens(weather.lost_request):
            if world.happens(weather.late):
                delay = world.chance.uniform(1.0, 20.0)
            world.schedule.after(delay, self._arrive, call, self.token)
            if world.happens(weather.doubled):
                world.schedule.after(world.chance.uniform(0.001, 15.0), self._arrive, call, self.token)
        self.soon(PATIENCE_S, self._again, call)

    def _again(self, call: Call) -> None:
        if call.done:
            return
        if call.tries < TRIES:
            self._send(call)
        else:
            call.done = True
            call.then(0, {})

    def _arrive(self, call: Call, token: str) -> None:
        """The broker gets it, whoever sent it and whether they still live."""
        world = self.world
        if world.is_asleep:
            world.waiting.append((self._arrive, (call, token)))
            return
        try:
            status, said = world.serve(self.id, call.method, call.path, dict(call.body), f"Bearer {token}")
        except (Down, Crashed):
            return  # it asks again in a moment
        if call.method == "POST" and status != 401:  # whoever writes is there, whatever the answer is
            world.watch.hear(self.id, beat=status == 200 and call.path == "/locks/renew" and not said.get("repeated"))
        self._check(call, status, said)
        if not world.happens(world.weather.lost_answer):
            world.schedule.after(world.chance.uniform(0.0005, 0.01), self._if_alive, call.life, self._hear, (call, status, said, token))

    def _hear(self, call: Call, status: int, said: Any, token: str) -> None:
        if call.done:
            return  # it has heard already
        code = said.get("code") if isinstance(said, dict) and status >= 400 else ""
        if code == "killed":
            self.is_killed = True
            call.done = True
        elif code in ("token_expired", "not_registered") and call.enrolments < 3:
            call.enrolments += 1
            if self.token == token:
                self.token = ""
                self.enrol()
            self.soon(0.3, self._again, call)
        else:
            call.done = True
            call.then(status, said)

    def _check(self, call: Call, status: int, said: Any) -> None:
        """What the broker answers is what it stored."""
        check = CHECKS.get("/renew" if call.path.endswith("/renew") else call.path)
        if check is not None and status == 200 and not said.get("repeated") and self.world.watching:
            check(self, call.body, said)

    # -- enrolling and beating --------------------------------------------------------------------------------

    def enrol(self) -> None:
        if self.token or self.is_killed:
            return
        world = self.world
        ticket = world.house.ticket(self.id, self.role, self.workspace)
        body: dict[str, Any] = {
            "id": self.id, "role": self.role, "process": self.process, "pid": self.pid, "beat_ms": int(self.beat_s * 1000),
            "named": self.named, "working_dir": "/w", "fallback": False,
        }  # fmt: skip
        if self.client_pid:
            body["client_pid"] = self.client_pid
        if self.resume:
            body["resume"] = self.resume
        if self.role == "architect":
            del body["fallback"]
        world.schedule.after(world.chance.uniform(0.0005, 0.01), self._enrolling, self.life, body, ticket)
        self.soon(PATIENCE_S, self.enrol)

    def _enrolling(self, life: int, body: dict[str, Any], ticket: str) -> None:
        world = self.world
        if world.is_asleep or world.happens(world.weather.lost_request):
            return
        try:
            status, said = world.serve(self.id, "POST", "/register", body, f"Ticket {ticket}")
        except (Down, Crashed):
            return
        if status == 200:
            world.watch.hear(self.id, beat=True)
        if not world.happens(world.weather.lost_answer):
            world.schedule.after(0.001, self._if_alive, life, self._enrolled, (status, said))

    def _enrolled(self, status: int, said: Any) -> None:
        if status == 200 and not self.token:
            if said["id"] != self.id:
                raise Violation(f"{self.id} was enrolled as {said['id']}")
            self.token, self.resume = said["token"], said["resume"]
            self.stamp = ""
            self.call("/locks/renew", self._holdings)
        elif status == 409 and said["code"] == "seat_taken":
            self.role = "worker"
        elif status == 401 and said["code"] == "killed":
            self.is_killed = True

    def _holdings(self, status: int, said: Any) -> None:
        """What it holds, as the broker says: a new process does not know."""
        if status == 200:
            self.locks = {one["file_path"]: one["token"] for one in said["locks"]}
            if said["task"]:
                self.call("/tasks/claim", self._claimed, task_id=said["task"]["id"])

    def beat(self) -> None:
        self.soon(self.beat_s, self.beat)
        world = self.world
        if not self.token or self.is_killed or world.is_asleep or world.happens(world.weather.lost_request):
            return
        try:
            body = {"process": self.process, "wait_s": 3, "seen": self.stamp}
            status, said = world.serve(self.id, "POST", "/heartbeat", body, f"Bearer {self.token}")
        except (Down, Crashed):
            return
        if status == 200:
            world.watch.hear(self.id, beat=True)
        if world.happens(world.weather.lost_answer):
            return
        if status == 200:
            if said.get("token"):
                self.token = said["token"]
            self.stamp = said["stamp"]
            for path in said["lost"]:
                self.locks.pop(path, None)
        elif said["code"] == "killed":
            self.is_killed = True
        else:
            self.token = ""
            self.enrol()

    # -- what it does -----------------------------------------------------------------------------------------

    def act(self) -> None:
        chance = self.world.chance
        self.soon(chance.expovariate(1 / self.think_s), self.act)
        if self.token and not self.is_killed:
            chosen: Callable[[Peer], None] = chance.choices(ACTIONS, WEIGHTS)[0]
            chosen(self)

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


def _ignore(status: int, said: Any) -> None:
    """For who does not care."""


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
