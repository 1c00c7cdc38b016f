"""Server: JSON over HTTP on loopback. It knows nothing of peers or tasks.

Promises
  Bounded in bytes (head 64 KB, body 1 MB), in connections (128 that have not authenticated, 16 of one peer,
  4,096 in all; beyond: 503) and in time: head 5 s and body 10 s in total however they dribble, 10 s to take
  an answer, 15 s of idling before authentication, 10 minutes after. And in memory: large bodies are taken in from
  whom `admit` knows, and read one at a time.
  The gate of `head.py` comes before everything, on every path. Every error is the one shape of `errors.py`.
  A bad body never drops a connection; what leaves the body unread answers, then closes.
  Keep-alive, each answer one send, no delayed ACK is ever waited for. No CORS header, no cookie, no compression.

Threads
  `serve` accepts; each connection has a thread, which runs `answer` and waits when told to (`Parked`, `Stream`);
  one watchdog closes what is overdue: sockets block without time-outs, so that a call costs one recv and one send.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import itertools
import json
import logging
import math
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple

from lattice.errors import BadRequest, Internal, Refusal, TooSlow, Unavailable
from lattice.web import body as strict
from lattice.web import head as heads
from lattice.web import stream as streams
from lattice.web.parking import Lot, Place, has_hung_up
from lattice.web.router import decode, parse_query
from lattice.web.stream import Stream as Stream

log = logging.getLogger(__name__)

MAX_UNAUTHENTICATED = 128
MAX_PER_PEER = 16
MAX_CONNECTIONS = 4096
LARGE = 64 * 1024  # bytes of a body. As Python's objects it is up to thirty times as much: large ones are read one at a time
MAX_DRAINED = 16 * 1024 * 1024  # of what a refused client still sends, so that it can read why
MAX_TURNED_AWAY = 64  # connections over the limit that are held open for a moment, so that they can read the 503
GRACE_S = 0.1  # of a stop: from one answer to the next request a client needs some microseconds, which a busy machine gives late
QUIET_S = 0.05  # so long nobody came: whoever was just answered would have
BACKLOG = 1024  # 200 clients at once wait 0.1 s; with the usual 5 some wait for seconds

FOREVER = math.inf
_AT_ONCE = contextlib.nullcontext()


class Request:
    """One request, past the gate.

    path        without query, as it was sent: `router.find` takes it and decodes its segments
    query       decoded; headers: names in lower case
    body        the JSON object of a POST (`{}` when it was empty), else None
    connection  the number of its TCP connection, as `on_close` names it
    """

    __slots__ = ("body", "connection", "headers", "is_navigation", "link", "method", "path", "query", "wake_number")

    def __init__(self, head: heads.Head, query: dict[str, str], body: dict[str, object] | None, link: Connection, number: int) -> None:
        self.method = head.method
        self.path = head.path
        self.query = query
        self.headers = head.headers
        self.body = body
        self.is_navigation = heads.is_navigation(head)
        self.connection = link.id
        self.link = link
        self.wake_number = number


class Answer(NamedTuple):
    """A dict becomes JSON; bytes go as they are, under `content_type`."""

    status: int
    body: dict[str, Any] | bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Parked(NamedTuple):
    """Wait for a wake of `key`, at most `wait_s`, then answer what `then` says. Not called when the client left."""

    key: str
    wait_s: float
    then: Callable[[], Answer | Parked]


class Deadlines(NamedTuple):
    """Seconds. A test makes them short."""

    head: float = 5.0
    body: float = 10.0
    send: float = 10.0
    idle_unauthenticated: float = 15.0
    idle: float = 600.0
    linger: float = 2.0
    tick: float = 0.25  # how often the watchdog looks


class Connection:
    """One TCP connection. Its thread works with it; the watchdog reads `deadline` and ends what is overdue."""

    __slots__ = ("deadline", "id", "idle_since", "is_sending", "must_close", "overdue", "place", "rest", "socket", "who")

    def __init__(self, id: int, connection: socket.socket) -> None:
        self.id = id
        self.socket = connection
        self.who = ""  # whose token came over it; "" until one did
        self.rest = b""  # received, not yet read: the next request
        self.deadline = FOREVER
        self.overdue = False
        self.idle_since = FOREVER  # since when it waits for a request
        self.is_sending = False
        self.must_close = False
        self.place: Place | None = None


class Server:
    """The face. `answer` says what each request gets: an Answer, Parked, Stream, or a raised Refusal.

    Binds at once (`port` 0 asks for a free one; `.port` is the real one), answers from `serve` on.
    `on_close(connection, who)` is told of every authenticated connection that ended, on its thread.
    `explain(fault)` may know what to answer instead of "a mistake" when `answer` failed unexpectedly.
    `admit(authorization)` raises Refusal for whom a large body shall not be taken in; "" is none.
    """

    def __init__(
        self,
        port: int,
        answer: Callable[[Request], Answer | Parked | Stream],
        *,
        allow_host: str = "",
        max_body: int = 1024 * 1024,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 - a constant
        max_unauthenticated: int = MAX_UNAUTHENTICATED,
        max_per_peer: int = MAX_PER_PEER,
        max_connections: int = MAX_CONNECTIONS,
        on_close: Callable[[int, str], None] | None = None,
        explain: Callable[[Exception], Refusal | None] = lambda fault: None,
        admit: Callable[[str], object] = lambda authorization: None,
    ) -> None:
        self.answer = answer
        self.large = threading.Lock()  # whose body is large has it until its first answer, or until it waits
        self.max_body = max_body
        self.deadlines = deadlines
        self.max_unauthenticated = max_unauthenticated
        self.max_per_peer = max_per_peer
        self.max_connections = max_connections
        self.on_close = on_close
        self.explain = explain
        self.admit_body = admit
        self.lot = Lot()
        self.is_stopping = False
        self._counting = threading.Lock()  # guards the next five, and closing against the watchdog
        self._connections: dict[socket.socket, Connection] = {}
        self._unauthenticated = 0
        self._per_peer: dict[str, int] = {}
        self._ids = itertools.count(1)
        self._turned_away: deque[tuple[float, socket.socket]] = deque()
        self.is_closing = False  # the end of a stop: nobody is accepted any more
        self._accepts = threading.Event()
        self._accepts_no_more = threading.Event()
        self._came = 0.0  # when the newest connection came, while it stops
        self._stopped = threading.Event()
        self._stop_once = threading.Lock()
        set_date()
        self._listener = _Listener(port, self)
        self.port: int = self._listener.server_address[1]
        self.gate = heads.Gate(self.port, allow_host)

    def serve(self) -> None:
        """Accept and answer until `stop`; returns when that has ended."""
        watchdog = threading.Thread(target=self._watch, name="web-watchdog", daemon=True)
        watchdog.start()
        self._accepts.set()
        try:
            self._listener.serve_forever(poll_interval=1.0)
        except _StopServing:
            self._listener.close_behind_the_last()
        except (OSError, ValueError):
            if not self.is_stopping:  # else: `stop` closed the listener before the loop had begun
                raise
        finally:
            self._accepts_no_more.set()
        self._stopped.wait()
        watchdog.join()

    def stop(self, drain_s: float = 2.0) -> None:
        """Let requests that run end (parked ones at once), say 503 to whoever comes, close all. From any thread, any number of times.

        No request is dropped that was sent to somebody there: who had its answer just now has perhaps sent the next one, or
        connects for it. So a connection is closed when it was idle for GRACE_S, and the listener when nobody came for QUIET_S.
        """
        if not self._stop_once.acquire(blocking=False):
            self._stopped.wait(drain_s + 1.0)
            return
        self.is_stopping = True
        self.lot.stop()
        self._came = time.monotonic()
        until = self._came + drain_s
        while (now := time.monotonic()) < until and (self._end_idle(now - GRACE_S) or now - self._came < QUIET_S):
            self._stopped.wait(0.01)
        with self._counting:
            for connection in self._connections:
                _shutdown(connection, socket.SHUT_RDWR)
        until = time.monotonic() + 0.5
        while self.connections() and time.monotonic() < until:
            self._stopped.wait(0.01)  # the threads close their sockets themselves
        self.is_closing = True
        if self._accepts.is_set():
            self._knock()
            self._accepts_no_more.wait(1.5)
        self._listener.server_close()
        with self._counting:
            while self._turned_away:
                self._turned_away.popleft()[1].close()
        self._stopped.set()

    def wake(self, key: str) -> None:
        """Whoever is parked or streams under `key` goes on. Cheap when nobody is."""
        self.lot.wake(key)

    def authenticated(self, request: Request, who: str) -> None:
        """The request's token was good: its connection counts as one of `who` from now on.

        Unavailable when `who` has too many; the connection then closes after that answer.
        """
        link = request.link
        if link.who == who:
            return
        with self._counting:
            if self._per_peer.get(who, 0) >= self.max_per_peer:
                link.must_close = True
                raise Unavailable(f"{who} has {self.max_per_peer} connections open; close one", code="too_many_connections")
            self._uncount(link)
            link.who = who
            self._per_peer[who] = self._per_peer.get(who, 0) + 1

    def has_left(self, request: Request) -> bool:
        """Did the client hang up without its answer? Asked while the request is under way; what it sent behind it hides that.

        Unavailable when nobody can tell: whoever stops closes reading sides by itself, of what it takes for idle.
        """
        link = request.link
        if link.rest or link.overdue or not has_hung_up(link.socket):  # overdue: it was us who closed it for reading
            return False
        if self.is_stopping:
            raise Unavailable("the broker is stopping; nothing was done", code="stopping")
        return True

    def connections(self) -> int:
        """How many are open now."""
        with self._counting:
            return len(self._connections)

    # -- below: for the listener and the handlers of this module ---------------------------------

    def admit(self, connection: socket.socket) -> bool:
        """Count a new connection in, or say 503 to it."""
        with self._counting:
            full = len(self._connections) >= self.max_connections or self._unauthenticated >= self.max_unauthenticated
            if not full and not self.is_stopping:
                self._connections[connection] = Connection(next(self._ids), connection)
                self._unauthenticated += 1
                return True
        self._turn_away(connection)
        return False

    def find(self, connection: socket.socket) -> Connection:
        with self._counting:
            return self._connections[connection]

    def release(self, connection: socket.socket) -> None:
        """Count it out and close it."""
        with self._counting:
            link = self._connections.pop(connection, None)
            if link is not None:
                self._uncount(link)
            connection.close()  # under the lock: the watchdog never sees a number that was used again
        if link is None:
            return
        if link.place is not None:
            link.place.close()
        if link.who and self.on_close is not None:
            try:
                self.on_close(link.id, link.who)
            except Exception:
                log.exception("on_close failed")

    def place(self, link: Connection) -> Place:
        if link.place is None:
            link.place = Place(link.socket)
        return link.place

    def _uncount(self, link: Connection) -> None:
        if not link.who:
            self._unauthenticated -= 1
            return
        left = self._per_peer[link.who] - 1
        if left:
            self._per_peer[link.who] = left
        else:
            del self._per_peer[link.who]

    def _turn_away(self, connection: socket.socket) -> None:
        if self.is_stopping:
            self._came = time.monotonic()
            refusal = Unavailable("the broker is stopping; call again in a moment", code="stopping")
        else:
            refusal = Unavailable("too many connections; try again shortly", code="too_many_connections")
        try:
            connection.setblocking(False)
            connection.send(render(_answer_of(refusal), close=True))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it left already
        with self._counting:
            # Closing at once would reset what it has not read yet, so the watchdog closes it a little later.
            self._turned_away.append((time.monotonic() + 0.5, connection))
            if len(self._turned_away) > MAX_TURNED_AWAY:
                self._turned_away.popleft()[1].close()

    def _watch(self) -> None:
        while not self._stopped.wait(self.deadlines.tick):
            now = time.monotonic()
            set_date()
            with self._counting:
                for link in self._connections.values():
                    if link.deadline < now and not link.overdue:
                        link.overdue = True
                        # What waits to be read can still be answered; what is not taken cannot.
                        _shutdown(link.socket, socket.SHUT_RDWR if link.is_sending else socket.SHUT_RD)
                while self._turned_away and self._turned_away[0][0] < now:
                    self._turned_away.popleft()[1].close()

    def _end_idle(self, since: float) -> int:
        """Close the reading side of connections that have had no request since then; how many connections are left."""
        with self._counting:
            for link in self._connections.values():
                if link.idle_since < since:
                    _shutdown(link.socket, socket.SHUT_RD)
            return len(self._connections)

    def _knock(self) -> None:
        """Wake the accepting thread, so that it sees `is_closing`."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5):
                pass
        except OSError:
            pass  # then it sees it within its poll interval


class _StopServing(Exception):
    """Leaves serve_forever."""


class _Listener(ThreadingMixIn, HTTPServer):
    """Accepts; a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = BACKLOG
    allow_reuse_address = os.name != "nt"  # there it would let another program bind the same port

    def __init__(self, port: int, face: Server) -> None:
        self.face = face
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        TCPServer.server_bind(self)  # HTTPServer's asks the resolver for our own name, which may take seconds

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("no file descriptors left: a connection waits")
                time.sleep(0.05)  # the listener stays readable: without a pause this is a busy loop
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.face.admit(request):
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.face.release(request)

    def service_actions(self) -> None:
        if self.face.is_closing:
            raise _StopServing

    def close_behind_the_last(self) -> None:
        """Whoever is in the queue is answered too; who comes later finds nobody, and has sent nothing."""
        try:
            self.socket.setblocking(False)
            while True:
                request, client_address = self.get_request()
                request.setblocking(True)
                self.process_request(request, client_address)
        except OSError:
            pass  # nobody is left
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # that is a client which left before its thread began
            log.exception("a connection failed")


class _Handler(BaseHTTPRequestHandler):
    """One connection. `handle` of the base calls `handle_one_request` until `close_connection`."""

    server: _Listener
    request: socket.socket

    def setup(self) -> None:
        self.face = self.server.face
        self.link = self.face.find(self.request)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def finish(self) -> None:
        pass  # nothing was buffered; the listener's shutdown_request closes

    def handle_one_request(self) -> None:
        self.close_connection = True
        link = self.link
        self.is_head = False
        try:
            head = self._read_head()
            if head is None:
                return
            self.face.gate.check(head)
            length = heads.body_length(head, self.face.max_body)
            if head.method != "POST" and length:
                link.must_close = True  # a method that no route has: answered, its body left unread
                raw = b""
            else:
                if length > LARGE:
                    self.face.admit_body(head.headers.get("authorization", ""))
                raw = self._read_body(length, head) if length else b""
        except Refusal as refusal:
            self._send(render(_answer_of(refusal), close=True, without_body=self.is_head))
            self._linger()
            return
        except OSError:
            return  # the client left
        close = not heads.keeps_alive(head) or link.overdue or self.face.is_stopping
        outcome = self._outcome(head, raw)
        if outcome is None:
            return
        if isinstance(outcome, Stream):
            self._stream(outcome)
            return
        close = close or link.must_close or self.face.is_stopping
        try:
            data = render(outcome, close, without_body=self.is_head)
        except Exception as fault:
            data = render(self._mistake(fault, head, "cannot be answered"), close, without_body=self.is_head)
        if self._send(data):
            self.close_connection = close
            if link.must_close:
                self._linger()

    def _read_head(self) -> heads.Head | None:
        """The next head, or None when the connection ended between two requests. What has begun is answered, whatever it is."""
        link = self.link
        deadlines = self.face.deadlines
        raw = link.rest
        if not raw:
            link.idle_since = now = time.monotonic()
            link.deadline = now + (deadlines.idle if link.who else deadlines.idle_unauthenticated)
            raw = self.request.recv(65536)
            link.idle_since = FOREVER
            if not raw:
                return None
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            link.deadline = time.monotonic() + deadlines.head
            while end < 0:
                heads.check_unfinished(raw)
                more = self.request.recv(65536)
                if not more:
                    if link.overdue:
                        raise TooSlow(f"the headers did not arrive within {deadlines.head:g} s")
                    raise BadRequest("the request ended before its headers did")
                raw += more
                end = raw.find(b"\r\n\r\n")
        link.deadline = FOREVER
        link.rest = raw[end + 4 :]
        self.is_head = raw.startswith(b"HEAD ")  # also where the rest of it is malformed
        if end > heads.MAX_HEAD_BYTES:
            heads.check_unfinished(raw[:end])
        return heads.parse(raw[:end])

    def _read_body(self, length: int, head: heads.Head) -> bytes:
        link = self.link
        raw = link.rest
        if len(raw) < length:
            deadline_s = self.face.deadlines.body
            link.deadline = time.monotonic() + deadline_s
            if "expect" in head.headers and head.minor == 1 and not raw:
                self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            parts = [raw]
            missing = length - len(raw)
            while missing > 0:
                more = self.request.recv(65536)
                if not more:
                    if link.overdue:
                        raise TooSlow(f"the body did not arrive within {deadline_s:g} s")
                    raise BadRequest("the body is shorter than its Content-Length")
                parts.append(more)
                missing -= len(more)
            raw = b"".join(parts)
            link.deadline = FOREVER
        link.rest = raw[length:]
        if link.rest and not heads.begins_a_request(link.rest):
            raise BadRequest("the body is longer than its Content-Length")
        return raw[:length]

    def _outcome(self, head: heads.Head, raw: bytes) -> Answer | Stream | None:
        """What `answer` says, after any waiting. None when the client left meanwhile."""
        face = self.face
        number = face.lot.number
        try:
            query = parse_query(head.query) if head.query else {}
            if "%" in head.path:
                decode(head.path)  # refuses here what no path may hold, whether a route has it or not
            with face.large if len(raw) > LARGE else _AT_ONCE:
                body = (strict.parse(raw) if raw else {}) if head.method == "POST" else None
                outcome = face.answer(Request(head, query, body, self.link, number))
                del body
            while isinstance(outcome, Parked):
                waited = face.lot.wait(face.place(self.link), outcome.key, number, outcome.wait_s)
                if waited == "closed":
                    return None
                number = face.lot.number
                outcome = outcome.then()
                if waited == "stopping" and isinstance(outcome, Parked):
                    raise Unavailable("the broker is stopping", code="stopping")
            return outcome
        except Refusal as refusal:
            return _answer_of(refusal)
        except Exception as fault:
            return self._mistake(fault, head, "failed")

    def _mistake(self, fault: Exception, head: heads.Head, what: str) -> Answer:
        """What is answered when something failed that should not have."""
        known = self.face.explain(fault)
        if known is None:
            log.error("%s %s %s", head.method, head.path, what, exc_info=fault)
        return _answer_of(known or Internal("the broker made a mistake; its log has the details"))

    def _stream(self, stream: Stream) -> None:
        def send(data: bytes) -> None:
            if not self._send(data):
                raise ConnectionAbortedError

        try:
            send(_stream_head())
            streams.run(stream, self.face.lot, self.face.place(self.link), send)
        except ConnectionError:
            return  # the client left, or does not read
        except Exception as fault:
            known = self.face.explain(fault)
            log.error("the stream of %s failed: %s", stream.key, known or fault, exc_info=known is None)

    def _send(self, data: bytes) -> bool:
        """One sendall under a deadline. False when the client is gone or does not take it."""
        link = self.link
        link.deadline = time.monotonic() + self.face.deadlines.send
        link.is_sending = True
        try:
            self.request.sendall(data)
        except OSError:
            self.close_connection = True
            return False
        link.is_sending = False
        link.deadline = FOREVER
        return True

    def _linger(self) -> None:
        """Take in a little of what a refused client still sends: closing over it would reset the answer away."""
        link = self.link
        link.deadline = time.monotonic() + self.face.deadlines.linger
        link.overdue = False
        try:
            self.request.shutdown(socket.SHUT_WR)
            drained = 0
            while drained < MAX_DRAINED and not self.face.is_stopping:
                more = self.request.recv(65536)
                if not more:
                    break
                drained += len(more)
        except OSError:
            pass  # gone


# -- answers as bytes ---------------------------------------------------------------------------

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_ALWAYS = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n"
_date = ""


def set_date() -> None:
    """The Date of the answers to come; the watchdog calls it, so that no answer has to."""
    global _date
    _date = f"Date: {email.utils.formatdate(usegmt=True)}\r\n"


def render(answer: Answer, close: bool, without_body: bool = False) -> bytes:
    """The answer as it goes out, in one piece. `without_body`: as the answer to a HEAD."""
    payload = answer.body if isinstance(answer.body, bytes) else _encode(answer.body).encode("ascii")
    extra = "".join(map(_header, answer.headers)) if answer.headers else ""
    if close:
        extra += "Connection: close\r\n"
    head = (
        f"{_STATUS_LINES[answer.status]}{_date}{_ALWAYS}"
        f"Content-Type: {answer.content_type}\r\nContent-Length: {len(payload)}\r\n{extra}\r\n"
    ).encode("latin-1")
    return head if without_body else head + payload


def _header(pair: tuple[str, str]) -> str:
    name, value = pair
    if name.lower().startswith(("access-control-", "set-cookie")) or any(sign in name + value for sign in "\r\n\0"):
        raise ValueError(f"the header {name!r} is never sent")
    return f"{name}: {value}\r\n"


def _stream_head() -> bytes:
    return f"{_STATUS_LINES[200]}{_date}{_ALWAYS}Content-Type: {streams.CONTENT_TYPE}\r\nConnection: close\r\n\r\n".encode("latin-1")


def _answer_of(refusal: Refusal) -> Answer:
    headers: tuple[tuple[str, str], ...] = ()
    allowed = refusal.details.get("allowed")
    seconds = refusal.details.get("retry_after_s")
    if refusal.status == 405 and isinstance(allowed, list):
        headers = (("Allow", ", ".join(allowed)),)
    elif refusal.status == 401:
        headers = (("WWW-Authenticate", "Bearer"),)
    elif isinstance(seconds, int | float):
        headers = (("Retry-After", str(math.ceil(seconds))),)
    return Answer(refusal.status, refusal.as_json(), headers=headers)


def _shutdown(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        pass  # the client closed first
