"""A process of a simulated machine that has an id at the broker: what a coding session with its MCP server is, but for its work.

It enrols, beats, and asks again with the same key when it hears nothing. It may die at any time, leave, or freeze and
go on later as if nothing had been; a new process then takes up its id. What befalls it is drawn from the world's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulator.watch import Violation
from tests.simulator.world import Crashed, Down, World

Then = Callable[[int, Any], None]
TRIES = 6
PATIENCE_S = 2.0


class Call:
    """One call on its way, however often it is sent."""

    __slots__ = ("method", "path", "body", "then", "life", "tries", "enrolments", "done")

    def __init__(self, method: str, path: str, body: dict[str, Any], then: Then, life: int) -> None:
        self.method, self.path, self.body, self.then, self.life = method, path, body, then, life
        self.tries = self.enrolments = 0
        self.done = False


class Process:
    """What it works at is its subclass's: `forget`, `act`, `enrolled`, `lost`, `check`."""

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
        self.stamp = ""
        self.resume = ""  # lies in the state directory, so it outlives the process
        self.away_s: tuple[float, ...] = (0.5, 3.0, 20.0, 90.0)  # so long nobody has the id, when its process has ended
        self.backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.forget()

    def forget(self) -> None:
        """A new process knows nothing."""

    def act(self) -> None:
        """Do something."""

    def enrolled(self) -> None:
        """It has its token."""

    def lost(self, path: str) -> None:
        """A beat said that it holds this no longer."""

    def check(self, call: Call, status: int, said: Any) -> None:
        """The broker has answered, whether or not it is heard: is it what the broker stored?"""

    # -- its life -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A process starts."""
        world = self.world
        self.life += 1
        self.is_there, self.is_frozen, self.is_killed, self.token = True, False, False, ""
        self.pid = world.number()
        world.pids[self.pid] = self
        self.stamp = ""
        self.forget()
        self.soon(0.0, self.enrol)
        self.soon(self.beat_s, self.beat)
        self.soon(world.chance.expovariate(1 / self.think_s), self._go_on)
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
        self.check(call, status, said)
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
            self.enrolled()
        elif status == 409 and said["code"] == "seat_taken":
            self.role = "worker"
        elif status == 401 and said["code"] == "killed":
            self.is_killed = True

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
                self.lost(path)
        elif said["code"] == "killed":
            self.is_killed = True
        else:
            self.token = ""
            self.enrol()

    def _go_on(self) -> None:
        self.soon(self.world.chance.expovariate(1 / self.think_s), self._go_on)
        if self.token and not self.is_killed:
            self.act()


def _ignore(status: int, said: Any) -> None:
    """For who does not care."""
