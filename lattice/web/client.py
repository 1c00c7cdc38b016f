"""Client: calls of the broker over one kept-alive connection.

Promises: one send per request; no more than `timeout_s` per call in total; a refusal of the broker is
raised as its class of `errors.py`; what went wrong on the way is `Unavailable`, and its code says
what the caller may do: `unreachable` (the broker did not get the request: call again when you like)
or `unknown_outcome` (it may have: only repeat with the same idempotency key).
A call is repeated once, by itself, only when a kept-alive connection turns out to be closed before
anything of the answer came, and the call is a GET or carries an `idempotency_key`.

`on_connect` runs on every new connection before any other request on it: with it a session asks
whoever listens there to prove that it is our broker, before a ticket or token leaves.

One call at a time: parallel callers have a Client each (a lock makes others wait). `close` may be
called from any thread and ends a call that waits. Every session loads this module before its first
answer, so it uses the bare `_socket`.
"""

from __future__ import annotations

import _socket
import json
import threading
import time

from lattice.errors import BadRequest, Refusal, Unavailable, from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024


class Client:
    """Calls to 127.0.0.1:`port`. Connects at the first call, and again whenever the connection is gone."""

    def __init__(self, port: int, *, timeout_s: float = 10.0, on_connect: Callable[[Client], None] | None = None) -> None:
        self.port = port
        self.timeout_s = timeout_s
        self.on_connect = on_connect
        self._calling = threading.RLock()  # re-entered by on_connect, which calls over the new connection
        self._socket: _socket.socket | None = None
        self._rest = b""
        self._closings = 0  # how often the owner said close

    def call(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> dict[str, object]:
        """The JSON object that answers. `path` may carry a query (see `query`); a POST without body sends `{}`.

        Raises the Refusal that the broker answered, or Unavailable (see above).
        """
        status, _, payload = self.fetch(method, path, body, headers, timeout_s=timeout_s)
        try:
            answer = json.loads(payload)
        except ValueError:
            answer = None
        if status >= 400:
            raise from_json(status, answer)
        if status >= 300 or not isinstance(answer, dict):
            raise self._unknown("what answers there is not a c2-lattice broker")
        return answer

    def fetch(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body as they came: for the few answers that are not JSON."""
        request = self._request(method, path, body, headers)
        may_repeat = method == "GET" or (body is not None and bool(body.get("idempotency_key")))
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        with self._calling:
            kept = self._socket is not None and self._is_alive()
            if not kept:
                self._connect(deadline)
            closings = self._closings
            try:
                return self._exchange(request, deadline)
            except _Stale:
                if not kept or not may_repeat or closings != self._closings:
                    raise self._unknown("the connection closed before an answer came") from None
            self._connect(deadline)
            try:
                return self._exchange(request, deadline)
            except _Stale:
                raise self._unknown("the connection closed before an answer came") from None

    def close(self) -> None:
        """Close the connection; a call that waits ends and is not repeated. The next call opens a new one."""
        self._closings += 1
        self._drop()

    def _drop(self) -> None:
        connection, self._socket, self._rest = self._socket, None, b""
        if connection is not None:
            try:
                connection.shutdown(_socket.SHUT_RDWR)  # wakes a call that waits in another thread
            except OSError:
                pass  # not connected any more: nothing to wake
            connection.close()

    def _request(self, method: str, path: str, body: dict[str, object] | None, headers: Mapping[str, str] | None) -> bytes:
        if not (path.isascii() and path.isprintable() and path.startswith("/")) or " " in path:
            raise BadRequest("a path begins with / and has only printable ASCII; see web.client.quote")
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        for name, value in (headers or {}).items():
            if not (value.isascii() and value.isprintable()):
                raise BadRequest(f"header {name} has a sign that headers cannot carry")
            lines.append(f"{name}: {value}")
        payload = b""
        if body is not None or method == "POST":
            try:
                payload = json.dumps(body or {}, separators=(",", ":"), allow_nan=False).encode("ascii")
            except (ValueError, TypeError, RecursionError) as error:
                raise BadRequest(f"the arguments are not JSON: {error}") from None
            lines.append(f"Content-Type: application/json\r\nContent-Length: {len(payload)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + payload

    def _is_alive(self) -> bool:
        """False when the broker has closed the kept connection (or sent what nobody asked for)."""
        connection = self._socket
        assert connection is not None
        try:
            connection.settimeout(0)
            connection.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _connect(self, deadline: float) -> None:
        self._drop()
        connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.connect(("127.0.0.1", self.port))
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            raise Unavailable(f"no broker can be reached on port {self.port}: {error.strerror or error}", code="unreachable") from None
        self._socket = connection
        if self.on_connect is not None:
            hook, self.on_connect = self.on_connect, None  # its own calls go over this very connection
            try:
                hook(self)
                proven = self._socket is connection
            except BaseException:
                self._drop()
                raise
            finally:
                self.on_connect = hook
            if not proven:
                self._drop()
                raise Unavailable(f"the broker on port {self.port} closed the connection", code="unreachable")

    def _exchange(self, request: bytes, deadline: float) -> tuple[int, dict[str, str], bytes]:
        """Send and read the answer. _Stale when the connection ended before any of it came."""
        connection = self._socket
        if connection is None:
            raise _Stale
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.sendall(request)
        except TimeoutError:
            raise self._unknown("the broker did not take the request in time") from None
        except OSError:
            pass  # closed while we sent: it may have said why (503, 413), so look before giving up
        head, rest = self._read_head(connection, deadline)
        try:
            status, headers = _parse_head(head)
            length = int(headers["content-length"]) if "content-length" in headers else None
        except ValueError:
            raise self._unknown("what answers there does not speak HTTP as our broker does") from None
        while length is None or len(rest) < length:
            if len(rest) > MAX_ANSWER_BYTES:
                raise self._unknown("the answer is too large")
            more = self._receive(connection, deadline)
            if not more:
                if length is None:
                    break
                raise self._unknown("the answer was cut off")
            rest += more
        if length is None or headers.get("connection", "").lower() == "close":
            self._drop()
        else:
            self._rest = bytes(rest[length:])
        return status, headers, bytes(rest if length is None else rest[:length])

    def _read_head(self, connection: _socket.socket, deadline: float) -> tuple[bytes, bytearray]:
        buffer = bytearray(self._rest)
        self._rest = b""
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end >= 0:
                if not buffer.startswith(b"HTTP/1.1 1"):  # 1xx: go on, the answer follows
                    return bytes(buffer[:end]), buffer[end + 4 :]
                del buffer[: end + 4]
                continue
            if len(buffer) > MAX_HEAD_BYTES:
                raise self._unknown("what answers there does not speak HTTP as our broker does")
            more = self._receive(connection, deadline, first=not buffer)
            if not more:
                self._drop()
                if buffer:
                    raise self._unknown("the answer was cut off")
                raise _Stale
            buffer += more

    def _receive(self, connection: _socket.socket, deadline: float, first: bool = False) -> bytes:
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            return connection.recv(65536)
        except TimeoutError:
            raise self._unknown("the broker did not answer in time") from None
        except OSError:
            if first:
                return b""
            raise self._unknown("the connection broke before the whole answer came") from None

    def _unknown(self, what: str) -> Refusal:
        self._drop()
        return Unavailable(
            f"port {self.port}: {what}; the call may have been carried out",
            code="unknown_outcome",
            hint="repeat it with the same idempotency_key",
        )


class _Stale(Exception):
    """The connection ended before anything of the answer came."""


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """ValueError when this is no HTTP/1 answer."""
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise ValueError(version)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(rest[:3]), headers


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str) -> str:
    """`text` as one segment of a path, or one value of a query: percent-encoded UTF-8."""
    if _PLAIN.issuperset(text):
        return text
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def query(path: str, values: Mapping[str, object]) -> str:
    """`path` with these values as its query; None is left out, True is `true`."""
    pairs = [
        f"{quote(name)}={quote(str(value).lower() if isinstance(value, bool) else str(value))}"
        for name, value in values.items()
        if value is not None
    ]
    return path + "?" + "&".join(pairs) if pairs else path
