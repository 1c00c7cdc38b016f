"""A broker for the command line's tests: real server, real tickets and tokens, scripted answers.

Every call past the gate is written down as (method, path, subject, body). What is not scripted answers {"ok": true}.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from lattice import VERSION, WIRE
from lattice.errors import Refusal, Unauthorized
from lattice.guard import tokens
from lattice.web.server import Answer, Request, Server


class StandIn:
    def __init__(self, secret: bytes, answers: dict[str, object] | None = None) -> None:
        self.secret = secret
        self.answers: dict[str, object] = answers or {}
        self.calls: list[tuple[str, str, str, dict[str, object]]] = []
        self.headers: list[dict[str, str]] = []
        self.is_foreign = False
        self._spent: set[str] = set()
        self.server = Server(0, self.answer)
        self.port = self.server.port
        self._thread = threading.Thread(target=self.server.serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()
        self._thread.join(10)

    def answer(self, request: Request) -> Answer:
        self.headers.append(dict(request.headers))
        if request.path == "/health":
            said: dict[str, object] = {"status": "ok", "port": self.port, "version": VERSION, "wire": WIRE, "pid": os.getpid()}
            if "nonce" in request.query and not self.is_foreign:
                said["proof"] = tokens.prove(self.secret, request.query["nonce"], self.port, os.getpid())
            return Answer(200, said)
        subject = self._subject(request)
        self.calls.append((request.method, request.path, subject, {**request.query, **(request.body or {})}))
        if request.path == "/sign-in":
            return Answer(200, {"token": self.mint("command-center", "system"), "viewer": "v"})
        if request.path == "/register":
            body = request.body or {}
            token = self.mint(str(body["id"]), "peer")
            return Answer(200, {"ok": True, "id": body["id"], "role": body["role"], "token": token, "resume": "r" * 32})
        if request.path == "/shutdown":
            threading.Thread(target=self.server.stop, daemon=True).start()
        found = self.answers.get(request.path, {"ok": True})
        if isinstance(found, Refusal):
            raise found
        if isinstance(found, Callable):  # type: ignore[arg-type]
            found = found(request)  # type: ignore[operator]
        assert isinstance(found, dict)
        return Answer(200, found)

    def mint(self, subject: str, kind: str) -> str:
        return tokens.mint_token(self.secret, subject=subject, kind=kind, epoch=1, now=time.time())

    def _subject(self, request: Request) -> str:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme == "Ticket":
            ticket = tokens.read_ticket(self.secret, text, time.time())
            if ticket.nonce in self._spent:
                raise Unauthorized("this ticket was used")
            self._spent.add(ticket.nonce)
            return f"{ticket.peer}/{ticket.role}"
        if scheme == "Bearer":
            return tokens.read_token(self.secret, text, time.time()).subject
        raise Unauthorized("no token")
