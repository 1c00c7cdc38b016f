"""A simulated machine: one broker that may crash, sleep and restart, a network that loses, doubles and delays, and a crew.

The broker is whole: pipeline, database, sweep, flags; only its sockets and threads are not there. Everything happens on
one `Schedule`, everything random comes from the seed, so a seed is a history. `Weather` says what goes wrong how often.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from lattice import names
from lattice.broker import sweep as sweep_module
from lattice.errors import Refusal
from lattice.guard import tokens
from lattice.web.server import Parked
from tests.broker.broking import PERSON, SECRET, House
from tests.simulator.schedule import Schedule, VirtualClock
from tests.simulator.watch import Violation, Watch


@dataclass(frozen=True)
class Weather:
    """Chances for each call, and mean seconds between what befalls the machine (0: never)."""

    lost_request: float = 0.02
    lost_answer: float = 0.03
    doubled: float = 0.02
    late: float = 0.03  # arrives when its sender has long asked again
    dies_before_commit: float = 0.0005
    dies_after_commit: float = 0.0005
    broker_ends_s: float = 400.0  # killed, or restarted by hand
    broker_sleeps_s: float = 600.0  # stopped and continued, while all others go on
    machine_sleeps_s: float = 900.0
    wall_jumps_s: float = 500.0
    peer_dies_s: float = 200.0
    peer_freezes_s: float = 250.0
    peer_leaves_s: float = 250.0

    @property
    def stirs(self) -> bool:
        return self != Weather.calm()

    @classmethod
    def calm(cls) -> Weather:
        return cls(**{name: 0.0 for name in cls.__dataclass_fields__})


class Crashed(BaseException):
    """The broker's process ends here. Not an Exception: nothing in it may catch that."""


class Down(Exception):
    """Nobody listens on the port."""


class World:
    """Use as a context manager: what is drawn at random in the product is drawn from the seed while it is open."""

    def __init__(
        self,
        seed: int,
        *,
        weather: Weather | None = None,
        watching: bool = True,
        environ: dict[str, str] | None = None,
        tick_s: float = 1.0,
    ) -> None:
        """`tick_s`: how often the sweep comes; it has to be 3 s late until that counts."""
        self.seed = seed
        self.chance = random.Random(seed)
        self._keys = random.Random(seed + 1)
        self.weather = weather or Weather()
        self.clock = VirtualClock()
        self.schedule = Schedule(self.clock)
        self.watching = watching
        self.tick_s = tick_s
        self.environ = environ or {}
        self.steps = 0
        self.crew: list[Any] = []
        self.answers: dict[int, int] = {}
        self.befell: dict[str, int] = {}
        self.sent_once: set[str] = set()  # digests of texts that nobody sends twice
        self.asleep_until = 0.0  # the broker, by the monotonic clock
        self.waiting: list[tuple[Callable[..., None], tuple[Any, ...]]] = []  # what arrived while it slept
        self.pids: dict[int, Any] = {}  # process -> whose
        self.dying = ""
        self.listen: Callable[[World, str, str, str], None] | None = None  # hears each call and its answer
        self._ids = itertools.count(1)
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> World:
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(names, "new_key", self.key))
            stack.enter_context(mock.patch.object(names, "new_id", lambda prefix: f"{prefix}-{self.key()[:6]}"))
            stack.enter_context(mock.patch.object(sweep_module, "may_be_frozen", self.process_is_there))
            folder = os.path.realpath(stack.enter_context(tempfile.TemporaryDirectory(prefix="c2w")))
            self.house = House(folder, clock=self.clock, environ=self.environ)
            stack.callback(self.end)
            self.is_up = True
            self.watch = Watch(self, self.house.config.db)
            self._attend()
            self._last_tick = self.clock.monotonic()
            self.schedule.after(self.tick_s, self.tick)
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def end(self) -> None:
        self.watch.leave()
        if self.is_up:
            self.house.close()

    def key(self) -> str:
        return f"{self._keys.getrandbits(128):032x}"

    def number(self) -> int:
        """A number that was not used before in this world."""
        return next(self._ids)

    def happens(self, chance: float) -> bool:
        return self.chance.random() < chance

    def note(self, what: str) -> None:
        self.befell[what] = self.befell.get(what, 0) + 1
        if self.listen is not None:
            self.listen(self, "-", what, "")

    # -- time goes on ---------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let so much time pass. Violation names seed and step."""
        until = self.clock.monotonic() + seconds
        what: Callable[..., None] | None = None
        try:
            while True:
                self.steps += 1
                what = self.schedule.step(until)
                if what is None:
                    return
                if self.watching and self.is_up:
                    self.watch.look(what.__name__)
        except Exception as fault:
            name = getattr(what, "__qualname__", "the beginning")
            raise Violation(f"seed {self.seed}, step {self.steps} ({name}): {type(fault).__name__}: {fault}") from fault

    def history(self) -> str:
        """What happened, in a word: the same for the same seed."""
        said = [self.steps, self.watch.seq, self.watch.last_hash, self.clock.monotonic(), self.clock.now(), sorted(self.answers.items())]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    # -- the broker -------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        broker = self.house.broker
        database, writer = broker.database, broker.database._writer
        write, committed = database.write, writer._on_commit

        def write_or_die(fn: Callable[[Any], Any], *, at: float, op: str = "") -> Any:
            if self.dying != "before commit":
                return write(fn, at=at, op=op)

            def die(tx: Any) -> None:
                fn(tx)
                raise Crashed

            return write(die, at=at, op=op)

        def committed_or_die(effects: list[tuple[str, ...]]) -> None:
            if self.dying == "after commit":
                raise Crashed
            committed(effects)

        database.write = write_or_die  # type: ignore[method-assign]
        writer._on_commit = committed_or_die
        broker.later = self._later
        self.watch.attend(broker)

    def _later(self, work: Callable[[], None]) -> None:
        """What the broker leaves to a thread of its own happens soon, if it lives so long."""
        broker = self.house.broker
        self.schedule.after(0.01, lambda: work() if self.is_up and self.house.broker is broker else None)

    def tick(self) -> None:
        """The sweep's thread."""
        self.schedule.after(self.tick_s, self.tick)
        now = self.clock.monotonic()
        if not self.is_up or now < self.asleep_until:
            return
        self.watch.before_tick(now - self._last_tick > sweep_module.TICK_S + sweep_module.LATE_S)
        self._last_tick = now
        try:
            self.house.sweep.tick()
        except Crashed:
            self.crash("in its sweep")
            return
        if self.watching:
            self.watch.look("tick")
            self.watch.silent_are_given_up()

    def crash(self, how: str) -> None:
        """kill -9: memory is gone, the file is as committed; nothing is tidied up."""
        self.note("broker crashed " + how)
        self.dying = ""
        self.is_up = False
        database = self.house.broker.database
        self.watch.leave()
        database._connection.close()
        for reader in database._idle:
            reader.connection.close()
        self.schedule.after(self.chance.uniform(0.1, 8.0), self.start)

    def restart(self) -> None:
        """Stopped by hand, and started again."""
        if self.is_up:
            self.note("broker restarted")
            self.is_up = False
            self.watch.leave()
            self.house.broker.close()
            self.schedule.after(self.chance.uniform(0.1, 30.0), self.start)

    def start(self) -> None:
        if not self.is_up:
            self.house.start()
            self.is_up = True
            self.asleep_until = 0.0
            self._last_tick = self.clock.monotonic()
            self._attend()

    def sleep(self, seconds: float) -> None:
        """The broker alone is stopped, and continued later."""
        if self.is_up:
            self.note("broker slept")
            self.asleep_until = self.clock.monotonic() + seconds
            self.schedule.after(seconds, self.wake)

    def wake(self) -> None:
        if self.clock.monotonic() >= self.asleep_until:
            waiting, self.waiting = self.waiting, []
            for arrive, about in waiting:
                arrive(*about)

    def sleep_all(self, seconds: float, *, monotonic_counts: bool) -> None:
        """The machine sleeps: nothing happens meanwhile, and what was due is late."""
        self.note("machine slept")
        if monotonic_counts:  # Windows; or everything was stopped and continued
            self.clock.advance(seconds)
        else:
            self.clock.jump(seconds)

    def serve(self, who: str, method: str, path: str, body: dict[str, Any] | None, token: str) -> tuple[int, Any]:
        """The broker's answer to one request. Down, or Crashed while it was at it."""
        if not self.is_up:
            raise Down
        if self.happens(self.weather.dies_before_commit):
            self.dying = "before commit"
        elif self.happens(self.weather.dies_after_commit):
            self.dying = "after commit"
        try:
            answer = self.house.raw("", method, path, body, authorization=token)
            while isinstance(answer, Parked):
                answer = answer.then()
            status, said = answer.status, answer.body
        except Refusal as refusal:
            status, said = refusal.status, refusal.as_json()
        except Crashed:
            self.crash(f"{self.dying}")
            raise
        finally:
            self.dying = ""
        self.answers[status] = self.answers.get(status, 0) + 1
        if self.listen is not None:
            self.listen(self, who, f"{method} {path} {body}", f"{status} {said}")
        if status >= 500:
            raise Violation(f"{who} {method} {path} {body}: {status} {said}")
        if self.watching:
            self.watch.look(path)
        return status, said

    def process_is_there(self, card: Any) -> bool:
        """As the broker sees it: a process that is stopped is there; one that has died is not."""
        pid = card["pid"] if card is not None else None
        peer = self.pids.get(pid) if pid else None
        return peer is not None and peer.pid == pid

    def has_process(self, peer_id: str) -> bool:
        return any(peer.id == peer_id and peer.pid for peer in self.crew)

    # -- the person -----------------------------------------------------------------------------------------

    def person(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        """What the person does at the page; (0, {}) when the broker is not there."""
        token = tokens.mint_token(SECRET, subject=PERSON, kind="system", epoch=1, now=self.clock.now())
        try:
            return self.serve(PERSON, method, path, body, f"Bearer {token}") if not self.is_asleep else (0, {})
        except (Down, Crashed):
            return 0, {}

    @property
    def is_asleep(self) -> bool:
        return self.clock.monotonic() < self.asleep_until

    def rows(self, sql: str, *values: object) -> list[Any]:
        return self.watch.rows(sql, *values) if self.is_up else []
