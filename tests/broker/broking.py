"""A whole broker in this process, without sockets: real pipeline, real database, a clock that stands still.

`House` is the broker and the people in it; `BrokerCase` a test with one. Calls are made as the server makes
them, so every refusal comes in the contract's own order. What the broker would do on a thread of its own
(open a spawned session) waits in `later` until `settle` runs it.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
import types
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from unittest import mock

from lattice import names, settings
from lattice.broker.app import Broker
from lattice.broker.sweep import Sweep
from lattice.clock import ManualClock
from lattice.contract.operations import OPERATIONS
from lattice.errors import Refusal
from lattice.guard import tokens
from lattice.store import writer
from lattice.web.server import Answer, Parked, Stream
from tests.broker import databases
from tests.running import until

T = TypeVar("T")
SECRET = bytes(range(32))
PERSON = names.PERSON
ON_HTTP = [operation for operation in OPERATIONS if "http" in operation.surfaces]
WRITES = [operation for operation in ON_HTTP if operation.effect == "write"]


def at_once(*calls: Callable[[], T]) -> list[T]:
    """What the calls give, in their order; all begin together, each on a thread of its own."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        together.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls, timeout=20))


class House:
    """One broker in a folder. `who` in its calls is a peer enrolled here, PERSON, "viewer", or "" for nobody."""

    def __init__(
        self, folder: str, *, rate: int = 1_000_000, environ: dict[str, str] | None = None, clock: ManualClock | None = None
    ) -> None:
        self.folder = folder
        self.clock = clock or ManualClock()
        self.config = settings.read(
            {
                "C2_LATTICE_HOME": os.path.join(folder, "state"),
                "C2_LATTICE_DB": os.path.join(folder, "lattice.db"),
                "C2_LATTICE_RATE": str(rate),
                **(environ or {}),
            }
        )
        settings.make_home(self.config.home)  # type: ignore[attr-defined]
        self.tokens: dict[str, str] = {}
        self.resumes: dict[str, str] = {}
        self.fatal: list[str] = []
        self.later: list[Callable[[], None]] = []
        self.woken: list[str] = []
        self.stops = 0
        self.connections = itertools.count(1)
        databases.begin(self.config.db)  # type: ignore[attr-defined]
        self.start()

    def start(self) -> None:
        self.broker = Broker(self.config, SECRET, 7899, clock=self.clock, on_fatal=self.fatal.append, stop=self._stop, pid=4711, environ={})
        databases.unsynced(self.broker)
        self.broker.later = self.later.append
        self.broker.wake_key = self.woken.append
        self.sweep = Sweep(self.broker)
        self.renew_tokens()

    def renew_tokens(self) -> None:
        """The person's and the page's, which last a day."""
        now = self.clock.now()
        self.tokens[PERSON] = tokens.mint_token(SECRET, subject=PERSON, kind="system", epoch=1, now=now)
        self.tokens["viewer"] = tokens.mint_token(SECRET, subject="viewer", kind="viewer", epoch=1, now=now)

    def _stop(self) -> None:
        self.stops += 1

    def restart(self) -> None:
        self.broker.close()
        self.start()

    def close(self) -> None:
        self.broker.close()

    def settle(self) -> None:
        """Run what the broker left to threads of its own."""
        while self.later:
            self.later.pop(0)()

    # -- calls -----------------------------------------------------------------------------------------

    def raw(self, who: str, method: str, path: str, body: dict[str, Any] | None = None, *, connection: int = 0, **headers: str) -> Any:
        """What `Broker.call` gives or raises."""
        bare, _, query = path.partition("?")
        if who and "authorization" not in headers:
            headers["authorization"] = f"Bearer {self.tokens[who]}"
        request = types.SimpleNamespace(
            method=method,
            path=bare,
            query=dict(pair.split("=", 1) for pair in query.split("&") if pair),
            headers=headers,
            body=(body or {}) if method == "POST" else None,
            is_navigation=False,
            connection=connection or next(self.connections),
        )
        return self.broker.call(request)  # type: ignore[arg-type]

    def ask(self, who: str, method: str, path: str, body: dict[str, Any] | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
        """(status, JSON), whatever it is. A waiting beat is answered as if its time were up."""
        try:
            answer = self.raw(who, method, path, body, **more)
        except Refusal as refusal:
            return refusal.status, json.loads(json.dumps(refusal.as_json()))
        if isinstance(answer, Parked):
            answer = answer.then()
        if isinstance(answer, Stream):
            return 200, {"stream": answer.next().decode()}
        assert isinstance(answer, Answer), answer
        if isinstance(answer.body, bytes):
            return answer.status, {"text": answer.body.decode()}
        return answer.status, json.loads(json.dumps(answer.body))

    def post(self, who: str, path: str, **body: Any) -> dict[str, Any]:
        """The answer to a POST that must be well."""
        status, said = self.ask(who, "POST", path, body)
        assert status == 200, f"{who} POST {path} {body}: {status} {said}"
        return said

    def get(self, who: str, path: str) -> dict[str, Any]:
        status, said = self.ask(who, "GET", path)
        assert status == 200, f"{who} GET {path}: {status} {said}"
        return said

    # -- people ----------------------------------------------------------------------------------------

    def ticket(self, peer: str, role: str = "worker", workspace: str = "shop", ttl_s: float = 60.0) -> str:
        return tokens.mint_ticket(SECRET, peer=peer, role=role, workspace=workspace, now=self.clock.now(), ttl_s=ttl_s)

    def register(self, id: str, role: str = "", workspace: str = "shop", *, ticket: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
        body = {"id": id, **({"role": role} if role else {}), **more}
        return self.ask("", "POST", "/register", body, authorization=f"Ticket {ticket or self.ticket(id, role or 'worker', workspace)}")

    def enrol(self, id: str, role: str = "", workspace: str = "shop", **more: Any) -> dict[str, Any]:
        """Enrol and go on with the token. Shows the resume secret it was given before."""
        if id in self.resumes:
            more.setdefault("resume", self.resumes[id])
        status, said = self.register(id, role, workspace, **more)
        assert status == 200, (status, said)
        self.tokens[said["id"]] = said["token"]
        self.resumes[said["id"]] = said["resume"]
        return said

    def crew(self, *workers: str, workspace: str = "shop") -> None:
        self.enrol("arch", "architect", workspace)
        for id in workers:
            self.enrol(id, workspace=workspace)

    def beat(self, *who: str, **body: Any) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for id in who:
            said = self.post(id, "/heartbeat", **body)
        return said

    def pass_time(self, seconds: float, *beating: str) -> None:
        """Time goes on second by second, with the sweep, and with beats of those who are named."""
        whole = int(seconds)
        for _ in range(whole):
            self.clock.advance(1.0)
            self.beat(*beating)
            self.sweep.tick()

    def sleep(self, seconds: float) -> None:
        """Time goes on without anybody noticing."""
        self.clock.advance(seconds)

    def in_one_commit(self, *calls: Callable[[], Any]) -> list[Any]:
        """What the calls give; the write of each waits for its turn, and all are committed together in this order."""
        queue = self.broker.database._writer._queue
        busy, go_on = threading.Event(), threading.Event()
        with ThreadPoolExecutor(len(calls) + 1) as threads, mock.patch.object(writer, "LONGEST_S", 60.0):
            try:
                threads.submit(self.broker.write, lambda tx: (busy.set(), go_on.wait(20)), "test")
                assert busy.wait(20)
                made = []
                for call in calls:
                    made.append(threads.submit(call))
                    until(lambda: len(queue) == len(made), "it waits for its turn")
            finally:
                go_on.set()
            return [one.result(20) for one in made]

    # -- looking ---------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: object) -> list[Any]:
        return self.broker.read(lambda tx: [dict(row) for row in tx.all(sql, values)])  # type: ignore[no-any-return]

    def value(self, sql: str, *values: object) -> Any:
        found = self.rows(sql, *values)
        return next(iter(found[0].values())) if found else None

    def change(self, sql: str, *values: object) -> None:
        """Behind the broker's back: damage, or a time long ago."""
        self.broker.write(lambda tx: tx.run(sql, values), "test")

    def status(self, id: str) -> str:
        return str(self.value("SELECT status FROM peers WHERE id = ?", id))

    def take(self, who: str, **body: Any) -> list[dict[str, Any]]:
        return self.post(who, "/inbox/take", **body)["messages"]  # type: ignore[no-any-return]

    def texts(self, who: str) -> list[str]:
        """What a peer is offered, and proves at once."""
        mail = self.take(who)
        if mail:
            self.post(who, "/inbox/ack", receipts=[one["receipt"] for one in mail])
        return [one["content"] for one in mail]

    def state(self, message_id: int, recipient: str) -> str:
        return str(self.value("SELECT state FROM deliveries WHERE message_id = ? AND recipient = ?", message_id, recipient))

    def send(self, who: str, to: str, content: str = "hello", category: str = "finding", **more: Any) -> dict[str, Any]:
        return self.post(who, "/send", recipient_id=to, category=category, content=content, **more)

    def task(self, who: str, title: str = "a task", **more: Any) -> int:
        return int(self.post(who, "/tasks", title=title, **more)["task_id"])

    def complete(self, who: str, task_id: int, **more: Any) -> dict[str, Any]:
        return self.post(who, "/tasks/complete", task_id=task_id, artifacts={"summary": "done"}, **more)


class BrokerCase(unittest.TestCase):
    """`self.house`: a broker of its own for each test."""

    rate = 1_000_000
    environ: dict[str, str] = {}

    def setUp(self) -> None:
        folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.house = House(folder, rate=self.rate, environ=self.environ)
        self.addCleanup(lambda: self.house.close())

    def holder_after(self, who: str, path: str, **body: Any) -> tuple[int, str]:
        """(status, who has it then): the asker, or whom the refusal names."""
        status, said = self.house.ask(who, "POST", path, body)
        return status, who if status == 200 else said["holder"]

    def refused(
        self, status: int, who: str, path: str, body: dict[str, Any] | None = None, *, code: str = "", method: str = "POST", **more: Any
    ) -> dict[str, Any]:
        """The refusal of a call, which must have this status (and code)."""
        got, said = self.house.ask(who, method, path, body, **more)
        self.assertEqual(status, got, f"{who} {method} {path} {body}: {said}")
        self.assertTrue(said["error"])
        self.assertIsInstance(said["retryable"], bool)
        if code:
            self.assertEqual(code, said["code"], said)
        return said
