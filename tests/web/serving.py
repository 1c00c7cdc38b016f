"""A real server on a free port, and a bare socket to speak to it byte by byte."""

from __future__ import annotations

import json
import socket
import threading
import unittest
from typing import Any

from lattice.web.server import Answer, Deadlines, Request, Server

SHORT = Deadlines(head=0.3, body=0.3, send=0.5, idle_unauthenticated=0.3, idle=30.0, linger=0.5, tick=0.02)


class ServerCase(unittest.TestCase):
    """`self.start(...)` serves; what reached `answer` is in `self.seen`."""

    def start(self, answer: Any = None, **options: Any) -> Server:
        self.seen: list[Request] = []
        given = answer or (lambda request: Answer(200, {"ok": True, "path": request.path, "body": request.body}))

        def recording(request: Request) -> Any:
            self.seen.append(request)
            return given(request)

        self.server = server = Server(0, recording, **options)
        thread = threading.Thread(target=server.serve)
        thread.start()

        def end() -> None:
            server.stop(0.2)
            thread.join(10)
            self.assertFalse(thread.is_alive())

        self.addCleanup(end)
        return server

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(connection.close)
        return connection

    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def request(self, method: str = "GET", path: str = "/x", body: bytes | None = None, *lines: str, host: str | None = None) -> bytes:
        """A request as bytes; a body brings its two headers, unless `lines` do."""
        said = [f"{method} {path} HTTP/1.1"]
        if host != "":
            said.append(f"Host: {host or self.host()}")
        given = {line.split(":")[0].lower() for line in lines}
        if body is not None:
            if "content-length" not in given and "transfer-encoding" not in given:
                said.append(f"Content-Length: {len(body)}")
            if "content-type" not in given:
                said.append("Content-Type: application/json")
        return "\r\n".join([*said, *lines]).encode("latin-1") + b"\r\n\r\n" + (body or b"")

    def exchange(self, raw: bytes, end: bool = False) -> list[Reply]:
        """Everything that answers `raw` on a fresh connection, until the server closes it (`end`: we close our side first)."""
        connection = self.connect()
        connection.sendall(raw)
        if end:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
        connection.close()
        return split_replies(received, without_body=raw.startswith(b"HEAD "))

    def ask(self, method: str = "GET", path: str = "/x", body: bytes | None = None, *lines: str, host: str | None = None) -> Reply:
        """One request on a connection of its own; the one reply."""
        replies = self.exchange(self.request(method, path, body, *lines, "Connection: close", host=host))
        self.assertEqual(len(replies), 1)
        return replies[0]


class Reply:
    """One answer: status, headers (lower case), body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


def split_replies(received: bytes, *, without_body: bool = False) -> list[Reply]:
    """The answers in what a connection brought; `without_body`: as those to HEAD."""
    replies = []
    while received:
        head, found, received = received.partition(b"\r\n\r\n")
        assert found, head
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = 0 if without_body else int(headers.get("content-length", "0"))
        assert len(received) >= length, f"cut off: {received[:200]!r}"
        replies.append(Reply(int(lines[0].split(" ")[1]), headers, received[:length]))
        received = received[length:]
    return replies


def read_reply(connection: socket.socket) -> Reply:
    """Exactly one answer of a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        assert more, "closed before an answer"
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        more = connection.recv(65536)
        assert more, "cut off"
        body += more
    assert len(body) == length, body[length:]
    return split_replies(head + b"\r\n\r\n" + body)[0]
