"""A fault proxy: it stands between clients and the broker, hands on what both say, and spoils some of it as it is told.

    through        handed on
    delay          the answer is late, by `seconds`
    cut_up         the broker gets `size` bytes of the request and an end: it cannot have done it
    cut_down       the client gets `size` bytes of the answer and an end: it was done, and nobody knows
    reset_before   the client's connection is reset before the broker heard of the request
    reset          the request is done, then the client's connection is reset
    swallow        the request is done, the answer kept back, the connection closed after `seconds`
    double         the request goes to the broker twice, on two connections, the second time first or last
    hold           the answer waits until the fault's `go` is set

A fault's `met` is set when a request met it, its `done` when the broker has answered that request.

A thread for each connection. `plan(request)` says what happens to a request, and is called on these threads.
`Behind` is a real broker that is reached through one.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lattice.exclusive import Exclusive
from tests.apart import Apart
from tests.running import PATIENCE_S, Broker, Wire


class Asked(NamedTuple):
    """A request as it came: its bytes, and what a plan may want to know of it."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    body: bytes

    @property
    def who(self) -> str:
        """The peer whose token it carries; "" for none."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        payload = token.split(".")[1] if kind == "Bearer" else "W10"
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(found[0]) if found else ""

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object it carries; {} for none."""
        found: dict[str, Any] = json.loads(self.body) if self.body else {}
        return found


class Fault:
    """What happens to one request."""

    def __init__(self, kind: str = "through", *, size: int = 0, seconds: float = 0.0, first: bool = False) -> None:
        self.kind, self.size, self.seconds, self.first = kind, size, seconds, first
        self.met, self.done = threading.Event(), threading.Event()
        self.go = threading.Event()


THROUGH = Fault()


class Proxy:
    """Listens on 127.0.0.1:port from `open` to `shut`; `connect()` makes a connection to the broker.

    `seen` counts the requests by kind of fault.
    """

    def __init__(self, port: int, connect: Callable[[], socket.socket], plan: Callable[[Asked], Fault] = lambda asked: THROUGH) -> None:
        self.port, self.connect, self.plan = port, connect, plan
        self.seen: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()  # guards all below, and `seen`
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Proxy:
        """From now on it can be reached."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        with self._lock:
            self._listener = listener
        self._begin(self._accept, listener)
        return self

    def shut(self) -> None:
        """Nobody listens here any more; connections that there are go on."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def close(self) -> None:
        self.shut()
        with self._lock:
            connections, threads = list(self._open), list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE_S)

    # -- the threads ------------------------------------------------------------------------------------------

    def _begin(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, name="proxy", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # shut
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
            self._begin(self._serve, connection)

    def _serve(self, client: socket.socket) -> None:
        broker: list[socket.socket] = []
        try:
            rest = b""
            while True:
                asked, rest = _request(client, rest)
                if asked is None or not self._one(asked, client, broker):
                    return
        except OSError:
            reset(client)  # the broker went, or the client did
        finally:
            for connection in (client, *broker):
                with self._lock:
                    self._open.discard(connection)
                connection.close()

    def _broker(self, made: list[socket.socket]) -> socket.socket:
        connection = self.connect()
        made.append(connection)
        with self._lock:
            self._open.add(connection)
        return connection

    def _one(self, asked: Asked, client: socket.socket, made: list[socket.socket]) -> bool:
        """One request. Whether the connection goes on."""
        fault = self.plan(asked)
        fault.met.set()
        with self._lock:
            self.seen[fault.kind] += 1
        if fault.kind == "reset_before":
            reset(client)
            return False
        broker = made[0] if made else self._broker(made)
        if fault.kind == "cut_up":
            broker.sendall(asked.raw[: min(fault.size, len(asked.raw) - 1)])
            return False
        if fault.kind == "double" and fault.first:
            self._again(asked)
        broker.sendall(asked.raw)
        answer = _answer(broker, client)
        if answer is None:
            return False
        fault.done.set()
        if fault.kind == "double" and not fault.first:
            self._again(asked)
        if fault.kind == "reset":
            reset(client)
            return False
        if fault.kind == "cut_down":
            client.sendall(answer[: min(fault.size, len(answer) - 1)])
            return False
        if fault.kind == "hold":
            fault.go.wait(PATIENCE_S)
        if fault.seconds:
            threading.Event().wait(fault.seconds)
        if fault.kind == "swallow":
            return False
        client.sendall(answer)
        return b"\r\nconnection: close\r\n" not in answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n"

    def _again(self, asked: Asked) -> None:
        """The same request on a connection of its own; whatever is answered is dropped."""
        made: list[socket.socket] = []
        with contextlib.suppress(OSError):
            broker = self._broker(made)
            broker.sendall(asked.raw)
            _answer(broker, broker)
        for connection in made:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class Behind(Broker):
    """A broker in a network apart; on its port here stands a proxy, open while the broker serves."""

    def __init__(self, plan: Callable[[Asked], Fault] = lambda asked: THROUGH, **environ: str) -> None:
        super().__init__(**environ)
        self.apart = Apart()
        self.proxy = Proxy(self.port, lambda: self.apart.connect(self.port), plan)

    def start(self, *, under: Sequence[str] = ()) -> Behind:
        super().start(under=[*under, *self.apart.under])
        self.proxy.open()
        return self

    def wire(self) -> Wire:
        wire = super().wire()
        wire.socket = self.apart.connect(self.port)
        return wire

    def _end(self, how: int, within_s: float = 10.0) -> int:
        self.proxy.shut()
        return super()._end(how, within_s)

    def kill_and_start(self) -> None:
        """SIGKILL, and again. No session starts one of its own meanwhile: it would not be apart."""
        starter = Exclusive(os.path.join(self.state, "starter.lock"))
        assert starter.acquire(PATIENCE_S)
        try:
            self.kill()
            self.start()
        finally:
            starter.release()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.proxy.close()
            self.apart.close()


def reset(connection: socket.socket) -> None:
    """Close it the hard way: the other end reads a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def _request(client: socket.socket, rest: bytes) -> tuple[Asked | None, bytes]:
    """The next request, and what came after it; None at the end."""
    while b"\r\n\r\n" not in rest:
        more = client.recv(65536)
        if not more:
            return None, b""
        rest += more
    head, _, rest = rest.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    while len(rest) < size:
        more = client.recv(65536)
        if not more:
            return None, b""
        rest += more
    body, rest = rest[:size], rest[size:]
    return Asked(method, path.partition("?")[0], headers, head + b"\r\n\r\n" + body, body), rest


def _answer(broker: socket.socket, client: socket.socket) -> bytes | None:
    """One whole answer; None when either end went before it was there."""
    said = b""
    size = -1
    while size < 0 or len(said) < size:
        if not _wait(broker, client):
            return None
        more = broker.recv(65536)
        if not more:
            return None
        said += more
        if size < 0 and b"\r\n\r\n" in said:
            head, _, _ = said.partition(b"\r\n\r\n")
            found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            size = len(head) + 4 + int(found[0].partition(b":")[2])
    return said


def _wait(broker: socket.socket, client: socket.socket) -> bool:
    """Until the broker says something. False when the client left meanwhile: the broker has to see that too."""
    poller = select.poll()
    poller.register(broker.fileno(), select.POLLIN)
    if client is not broker:
        poller.register(client.fileno(), select.POLLIN)
    while True:
        ready = dict(poller.poll(1000))
        if broker.fileno() in ready:
            return True
        if client.fileno() in ready:
            if not client.recv(1, socket.MSG_PEEK):
                return False
            poller.unregister(client.fileno())  # it sent its next request already
