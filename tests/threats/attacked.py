"""A whole broker under attack: real process, real sockets, and people whose tokens would open every door.

The calls that attackers make here would all succeed, but for the one protection that is tested: each has the token of
somebody who may, and a body that is right. `unchanged` holds the database to what it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sqlite3
import unittest
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lattice.contract.operations import ANYONE, OPERATIONS, TICKET
from tests.fuzz import bodies
from tests.running import Broker, Peer, figure
from tests.volley import volley
from tests.web.serving import Reply

NEVER_SENT = ("access-control-", "set-cookie")


class Call(NamedTuple):
    """One operation as somebody who may would call it. `passes`: the status that a stranger gets who is let through the gate."""

    name: str
    method: str
    path: str
    body: bytes
    authorization: str
    passes: int

    def raw(self, port: int, *lines: str, method: str = "", host: str | None = None, content_type: str = "application/json") -> bytes:
        """The request as bytes, `lines` added to its head. `host` "": no Host header; `content_type` "": none."""
        method = method or self.method
        said = [f"{method} {self.path} HTTP/1.1"]
        if host != "":
            said.append(f"Host: {host or f'127.0.0.1:{port}'}")
        if self.authorization:
            said.append(f"Authorization: {self.authorization}")
        given = {line.partition(":")[0].lower() for line in lines}
        body = self.body if method == "POST" else b""
        if method == "POST" and content_type:
            said.append(f"Content-Type: {content_type}")
        if method == "POST" and "content-length" not in given:
            said.append(f"Content-Length: {len(body)}")
        if "connection" not in given:
            said.append("Connection: close")
        return "\r\n".join([*said, *lines]).encode("latin-1") + b"\r\n\r\n" + body


class Attacked(unittest.TestCase):
    broker: Broker
    person: Peer
    arch: Peer
    worker: Peer

    @classmethod
    def setUpClass(cls) -> None:
        cls.broker = cls.enterClassContext(Broker())
        cls.port = cls.broker.port
        cls.person = cls.broker.person()
        cls.arch = cls.broker.enrol("arch", "architect", beat_ms=60_000)  # nobody is swept away meanwhile
        cls.worker = cls.broker.enrol("worker", beat_ms=60_000)
        cls.broker.enrol("victim", beat_ms=60_000).post("/lock", {"file_path": "/src/a.py"})
        cls.worker.post("/tasks", {"title": "a task"})
        cls.arch.post("/send", {"recipient_id": "victim", "category": "finding", "content": "only the victim reads this"})
        cls.person.post("/memory", {"key": "k", "value": "v"})

    def calls(self, method: str = "") -> list[Call]:
        """Every operation on HTTP, and paths that none has."""
        chosen = random.Random(1)
        found = []
        for operation in OPERATIONS:
            if "http" not in operation.surfaces or method not in ("", operation.method):
                continue
            path = operation.path.replace("{peer_id}", "victim").replace("{run_id}", "r1")
            for name in operation.path_params:
                path = path.replace("{" + name + "}", "1")
            body = json.dumps(bodies.valid_body(chosen, operation)).encode() if operation.method == "POST" else b""
            who = "" if operation.roles == ANYONE else self.pass_for(operation.roles)
            found.append(Call(operation.name, operation.method, path, body, who, 200 if operation.roles == ANYONE else 401))
        who = f"Bearer {self.person.token}"
        found += [Call("", "GET", path, b"", who, status) for path, status in (("/", 200), ("/nope", 401)) if method in ("", "GET")]
        return found

    def some(self, calls: Sequence[Call], short: int = 6) -> list[Call]:
        """All of them in a full run; in a short one as many as there is time for, others each time."""
        return random.Random().sample(list(calls), figure(short, len(calls)))

    def pass_for(self, roles: tuple[str, ...]) -> str:
        if roles == TICKET:
            return f"Ticket {self.broker.ticket('newcomer')}"
        for role, peer in (("system", self.person), ("worker", self.worker), ("architect", self.arch)):
            if role in roles:
                return f"Bearer {peer.token}"
        raise AssertionError(roles)

    def shoot(self, requests: Iterable[bytes], *, ends: bool = False) -> list[list[Reply]]:
        """What answered each request; no answer has ever a cookie or lets another origin read it."""
        found = volley(self.port, requests, ends=ends)
        for replies in found:
            for reply in replies:
                self.assertEqual([], [name for name in reply.headers if name.startswith(NEVER_SENT)])
        return found

    def hold(self, table: Sequence[tuple[object, bytes, int]], *, ends: bool = False) -> None:
        """Each row is (what it is, the request, the one status that answers it)."""
        replies = self.shoot((request for _, request, _ in table), ends=ends)
        wrong = [
            f"{what}: {[reply.status for reply in got]} instead of {status}"
            for (what, _, status), got in zip(table, replies, strict=True)
            if [reply.status for reply in got] != [status]
        ]
        self.assertEqual([], wrong[:20], f"{len(wrong)} of {len(table)}")
        for (what, request, status), (reply,) in zip(table, replies, strict=True):
            if status >= 400 and not request.startswith(b"HEAD "):
                self.assertTrue({"error", "code", "retryable"} <= set(reply.json()), what)

    def contents(self) -> str:
        """A digest of all that the database holds."""
        with contextlib.closing(sqlite3.connect(f"file:{self.broker.database}?mode=ro", uri=True)) as database:
            return hashlib.sha256("\n".join(database.iterdump()).encode("utf-8", "surrogatepass")).hexdigest()

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        before = self.contents()
        yield
        self.assertEqual(before, self.contents(), "the database changed")
