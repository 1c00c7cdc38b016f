"""A scripted broker on a real socket: it proves itself, enrols, and answers as a test tells it, for what the real one
cannot be made to do at will (forget a peer once, end a call without an answer, be somebody else).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

from lattice import VERSION, WIRE
from lattice.errors import NotFound
from lattice.guard import tokens
from lattice.web.server import Answer, Parked, Request, Server

Say = dict[str, Any] | Exception | Callable[[dict[str, Any]], Any]


class ScriptedBroker:
    """`script[path]` lists what the next calls of a path get: a body, an exception, or a function of the request's body.

    When a list is used up, `always[path]` answers. `heard` holds (path, body, authorization) in order.
    """

    def __init__(self, home: str, secret: bytes = b"", port: int = 0) -> None:
        self.secret = secret or tokens.load_secret(home)
        self.script: dict[str, list[Say]] = {}
        self.always: dict[str, Say] = {
            "/leave": {"ok": True},
            "/inbox/ack": {"ok": True},
            "/inbox/return": {"ok": True},
            "/peers": {"peers": []},
        }
        self.heard: list[tuple[str, dict[str, Any], str]] = []
        self.news = threading.Condition()
        self.beat: dict[str, Any] = {"paused": False, "unread": 0, "unread_from": [], "poll_interval_ms": 3000}
        self.stamp = 1
        self.enrolled = 0
        self.health: dict[str, Any] = {}
        self.server = Server(port, self.answer)
        self.port = self.server.port
        self.thread = threading.Thread(target=self.server.serve, daemon=True)
        self.thread.start()

    def __enter__(self) -> ScriptedBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop(0.1)
        self.thread.join(5)

    def tell(self, **news: Any) -> None:
        """Let the beat know something new."""
        self.beat.update(news)
        self.stamp += 1
        self.server.wake("beat")

    def wait_for(self, path: str, count: int = 1, within_s: float = 10.0) -> list[dict[str, Any]]:
        """The bodies of the calls of a path, once there are so many."""
        with self.news:
            if not self.news.wait_for(lambda: len(self.bodies(path)) >= count, within_s):
                raise AssertionError(
                    f"{path} was called {len(self.bodies(path))} times, not {count}; heard {[one[0] for one in self.heard]}"
                )
        return self.bodies(path)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for heard, body, _ in list(self.heard) if heard == path]

    def answer(self, request: Request) -> Answer | Parked:
        body = dict(request.body if request.body is not None else request.query)
        with self.news:
            self.heard.append((request.path, body, request.headers.get("authorization", "")))
            self.news.notify_all()
        if self.script.get(request.path):
            return _say(self.script[request.path].pop(0), body)
        if request.path == "/health":
            said = {"status": "ok", "port": self.port, "pid": os.getpid(), "version": VERSION, "wire": WIRE, **self.health}
            if "nonce" in request.query:
                said["proof"] = tokens.prove(self.secret, request.query["nonce"], self.port, os.getpid())
            return Answer(200, said)
        if request.path == "/register" and request.path not in self.always:
            self.enrolled += 1
            return Answer(
                200,
                {
                    "ok": True,
                    "id": body["id"],
                    "role": body.get("role", "worker"),
                    "token": f"token-{self.enrolled}",
                    "resume": "resume-secret",
                    "workspace": body.get("workspace", ""),
                    "seat": {"held_by": None},
                    "beat_ms": 3000,
                    "version": VERSION,
                    "wire": WIRE,
                },
            )
        if request.path == "/heartbeat" and request.path not in self.always:
            if body.get("seen") == str(self.stamp) and body.get("wait_s"):
                return Parked("beat", float(body["wait_s"]), self._beat)
            return self._beat()
        if request.path in self.always:
            return _say(self.always[request.path], body)
        raise NotFound(f"the script has no {request.path}")

    def _beat(self) -> Answer:
        return Answer(200, {"ok": True, "stamp": str(self.stamp), **self.beat})


def _say(what: Say, body: dict[str, Any]) -> Answer:
    if callable(what) and not isinstance(what, Exception):
        what = what(body)
    if isinstance(what, Exception):
        raise what
    if isinstance(what, Answer):
        return what
    return Answer(200, dict(what))  # type: ignore[arg-type]


@contextlib.contextmanager
def foreign_program(answer: bytes):  # type: ignore[no-untyped-def]
    """A program that is not ours: it takes what it is sent and answers these bytes. Yields (port, the bytes it got)."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    got = bytearray()
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                with contextlib.suppress(OSError):
                    got.extend(connection.recv(65536))
                    if answer:
                        connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], got
    finally:
        done.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
