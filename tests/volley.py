"""Volley: many raw requests at once, each on a connection of its own, and everything that answers them.

One thread. The server says when an answer is whole, by closing: a request asks for that with `Connection: close`, and what is
refused at the door is closed anyway. What is not closed within `within_s` is a hang, and fails.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable, Iterator

from tests.web.serving import Reply, split_replies


class _Shot:
    """One connection: what is still to be sent, what came back."""

    def __init__(self, number: int, port: int, request: bytes, ends: bool) -> None:
        self.number, self.request, self.ends = number, request, ends
        self.left = memoryview(request)
        self.received = bytearray()
        self.began = time.monotonic()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(("127.0.0.1", port))

    def send(self) -> bool:
        """False when there is nothing left to be sent, or nobody who takes it."""
        try:
            self.left = self.left[self.socket.send(self.left) :]
            if self.left:
                return True
            if self.ends:
                self.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return True
        except OSError:
            pass  # it was refused before all of it was sent; the answer is there to be read
        return False

    def receive(self) -> bool:
        """False when the server has closed."""
        try:
            more = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self.received += more
        return bool(more)


def volley(port: int, requests: Iterable[bytes], *, at_once: int = 32, ends: bool = False, within_s: float = 20.0) -> list[list[Reply]]:
    """What answered each of the requests, in their order. `ends`: we close our side once all is sent."""
    found: dict[int, list[Reply]] = {}
    with selectors.DefaultSelector() as waiting:
        try:
            for number, request, received in _fly(waiting, port, requests, at_once, ends, within_s):
                found[number] = split_replies(received, without_body=request.startswith(b"HEAD "))
        finally:
            for key in list(waiting.get_map().values()):
                key.data.socket.close()
    return [found[number] for number in range(len(found))]


def _fly(
    waiting: selectors.BaseSelector, port: int, requests: Iterable[bytes], at_once: int, ends: bool, within_s: float
) -> Iterator[tuple[int, bytes, bytes]]:
    coming = enumerate(requests)
    is_more = True
    while is_more or waiting.get_map():
        while is_more and len(waiting.get_map()) < at_once:
            number, request = next(coming, (-1, b""))
            is_more = number >= 0
            if is_more:
                shot = _Shot(number, port, request, ends)
                waiting.register(shot.socket, selectors.EVENT_WRITE, shot)
        for key, event in waiting.select(1.0):
            shot = key.data
            if event & selectors.EVENT_WRITE and not shot.send():
                waiting.modify(shot.socket, selectors.EVENT_READ, shot)
            if event & selectors.EVENT_READ and not shot.receive():
                waiting.unregister(shot.socket)
                shot.socket.close()
                yield shot.number, shot.request, bytes(shot.received)
        oldest = min((key.data.began for key in waiting.get_map().values()), default=time.monotonic())
        if time.monotonic() - oldest > within_s:
            late = [key.data for key in waiting.get_map().values() if key.data.began == oldest]
            raise AssertionError(f"not closed within {within_s} s: {late[0].request[:300]!r}; it had answered {bytes(late[0].received)!r}")
