"""One raw keep-alive connection for programs that make load: bytes out, (status, body) in, nothing waited for.

`tests/running.py` has the comfortable one. This one costs some 10 µs a call, and fits into a selector loop.
"""

from __future__ import annotations

import json
import socket
import struct


class Line:
    """Connected at once. `send` blocks only when the kernel takes no more; `receive` reads what is there."""

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.ends = False  # the newest answer said that it was the last
        self._head = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n".encode()

    def fileno(self) -> int:
        return self.socket.fileno()

    def request(self, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
        """The request as it goes out."""
        start = f"{method} {path}".encode() + self._head
        if method == "GET":
            return start + b"\r\n"
        payload = json.dumps(body or {}).encode()
        return b"%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (start, len(payload), payload)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> tuple[int, bytes] | None:
        """(status, body) when an answer is complete; None: there is more to come. ConnectionError when it ended."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed by the broker")
        self.rest += data
        head, mark, body = self.rest.partition(b"\r\n\r\n")
        if not mark:
            return None
        start = head.index(b"\r\nContent-Length:") + 17
        size = int(head[start:].split(b"\r\n", 1)[0])
        if len(body) < size:
            return None
        self.rest = body[size:]
        self.ends = b"\r\nConnection: close" in head
        return int(head[9:12]), body[:size]

    def answer(self) -> tuple[int, bytes]:
        """Wait for the whole answer."""
        while True:
            found = self.receive()
            if found is not None:
                return found

    def close(self, *, reset: bool = False) -> None:
        """`reset`: without a goodbye, as when the client's machine goes away."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
