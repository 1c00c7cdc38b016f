"""Malformed HTTP against a whole broker (R34).

Every request gets an answer that is whole HTTP and, but for the page and the metrics, JSON. When a connection may end without:

- the client closed its side and had sent nothing since the last answer;
- the answer was a live feed, which ends when the client closes its side.

In all other cases a close without an answer is a drop, also where the client closed in the middle of a head or a body. That a
waiting call (`wait_s`) of a client that closed its side is not answered is right too; none is sent here. 501 and 505 are meant
(Transfer-Encoding; a version that is not spoken); any other 5xx is not. Whatever has no end within 15 s hangs.

A message that asks for more (a body shorter than its length, a head without its end) is followed by the close of our side once
nothing has come for a moment; some are left as they are, for the broker to end them at its own deadline.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import time
import unittest
from collections import Counter

from tests.figures import measured
from tests.fuzz.requests import Requests
from tests.running import Broker, chance, figure

REQUESTS = figure(600, 20_000, 100_000)
LANES = 24
PEERS = 4  # each may have 16 connections
PATIENT = figure(0, 40)
QUIET_S = 0.2
HANG_S = 15.0
INTENDED = (501, 505)
NO_JSON = ("text/html", "text/plain", "text/event-stream")


class Lane:
    """One connection after the other: sends a message, takes its answer, sends the next where the connection stays open."""

    def __init__(self, port: int, requests: Requests) -> None:
        self.port, self.requests = port, requests
        self.socket: socket.socket | None = None
        self.is_patient = False

    def begin(self) -> None:
        """The next message."""
        self.message = self.requests.next()
        # More than one request may be in it, or one whose answer has no body: then it is the last on its connection.
        self.is_last = self.message.count(b"HTTP/") > 1 or b"HEAD" in self.message
        self.received = b""
        self.has_ended = False
        if self.socket is None:
            self.socket = socket.socket()
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.connect_ex(("127.0.0.1", self.port))
        self.left = memoryview(self.message)
        self.began = self.moved = time.monotonic()

    def send(self) -> bool:
        """False when all is sent that anybody takes."""
        assert self.socket is not None
        try:
            self.left = self.left[self.socket.send(self.left) :]
        except BlockingIOError:
            return True
        except OSError:
            self.left = self.left[:0]
        self.moved = time.monotonic()
        if not self.left and self.is_last:
            self.end()
        return bool(self.left)

    def end(self) -> None:
        """Close our side."""
        self.has_ended = True
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the broker has closed already

    def receive(self) -> bool:
        """False at the end of what comes."""
        assert self.socket is not None
        try:
            more = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            more = b""
        self.moved = time.monotonic()
        self.received += more
        return bool(more)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Answer:
    """The first whole answer in some bytes. `length`: how many bytes it takes; 0 when there is none yet."""

    def __init__(self, raw: bytes, *, at_end: bool) -> None:
        self.length = self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        head, mark, rest = raw.partition(b"\r\n\r\n")
        if not mark:
            return
        line, *lines = head.split(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        if version != b"HTTP/1.1":
            raise ValueError(line)
        self.status = int(status)
        self.headers = {name.lower(): value.strip() for name, _, value in (one.partition(b":") for one in lines)}
        if self.status == 100:
            self.length = len(head) + 4
        elif self.headers[b"content-type"].startswith(b"text/event-stream"):
            self.length = len(raw)
        else:
            size = int(self.headers[b"content-length"])
            if at_end and (not rest or rest.startswith(b"HTTP/1.1 ")):
                size = 0  # as to HEAD
            if len(rest) >= size:
                self.body, self.length = rest[:size], len(head) + 4 + size

    @property
    def closes(self) -> bool:
        return self.headers.get(b"connection", b"").lower() == b"close"

    def fault(self) -> str:
        """What is wrong with it, or nothing."""
        kind = self.headers[b"content-type"].decode().partition(";")[0]
        if self.status >= 500 and self.status not in INTENDED:
            return "unintended"
        if [name for name in self.headers if name.startswith((b"access-control", b"set-cookie"))]:
            return "a header that is never sent"
        if kind == "application/json":
            said = json.loads(self.body) if self.body else {}
            if self.body and self.status >= 400 and not {"error", "code", "retryable"} <= set(said):
                return "an error without the one shape"
        elif kind not in NO_JSON or self.status >= 400:
            return "an unknown kind of answer"
        return ""


class Malformed(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.statuses: Counter[int] = Counter()
        self.faults: dict[str, list[str]] = {"unintended": [], "dropped": [], "hangs": [], "wrong": []}
        self.sent = self.connections = 0

    def test_every_malformed_request_is_answered(self) -> None:
        chosen = chance(self)
        peers = [self.broker.enrol(f"p{number}", beat_ms=60_000) for number in range(PEERS)]
        lanes = [
            Lane(self.broker.port, Requests(random.Random(chosen.random()), self.broker.port, peers[number % PEERS].token))
            for number in range(LANES)
        ]
        began = time.monotonic()
        self.fly(lanes)
        took_s = time.monotonic() - began
        tracebacks = self.broker.log().count("Traceback")
        print(f"{self.sent} requests on {self.connections} connections in {took_s:.1f} s: {dict(sorted(self.statuses.items()))}")
        measured(
            self, "R34", requests=self.sent, unintended_5xx=len(self.faults["unintended"]), dropped=len(self.faults["dropped"]),
            hangs=len(self.faults["hangs"]), tracebacks=tracebacks,
        )  # fmt: skip
        for what, found in self.faults.items():
            self.assertEqual([], found[:5], f"{len(found)} {what}")
        self.assertEqual(0, tracebacks, self.broker.output())
        self.assertGreater(min(self.statuses[status] for status in (200, 400, 401, 404, 405, 411, 415, 421, 501, 505)), 0)
        self.assertEqual(200, peers[0].call("GET", "/peers")[0])
        self.assertTrue(self.broker.person().get("/events/verify")["ok"])

    def fly(self, lanes: list[Lane]) -> None:
        patient = 0
        with selectors.DefaultSelector() as waiting:
            for lane in lanes:
                self.next(waiting, lane)
            while waiting.get_map():
                for key, event in waiting.select(0.05):
                    lane = key.data
                    if event & selectors.EVENT_WRITE and not lane.send():
                        waiting.modify(lane.socket, selectors.EVENT_READ, lane)
                    if event & selectors.EVENT_READ:
                        self.take(waiting, lane, is_end=not lane.receive())
                now = time.monotonic()
                for key in list(waiting.get_map().values()):
                    lane = key.data
                    if now - lane.began > HANG_S:
                        self.faults["hangs"].append(f"{lane.message[:400]!r} answered {lane.received[:200]!r}")
                        self.over(waiting, lane)
                    elif now - lane.moved > QUIET_S and not lane.left and not lane.has_ended and not lane.is_patient:
                        if patient < PATIENT and not lane.received:
                            patient += 1
                            lane.is_patient = True
                            self.next(waiting, Lane(lane.port, lane.requests))
                        else:
                            lane.end()

    def next(self, waiting: selectors.BaseSelector, lane: Lane) -> None:
        if self.sent >= REQUESTS:
            lane.close()
            return
        self.sent += 1
        self.connections += lane.socket is None
        lane.begin()
        assert lane.socket is not None
        waiting.register(lane.socket, selectors.EVENT_WRITE, lane)

    def take(self, waiting: selectors.BaseSelector, lane: Lane, *, is_end: bool) -> None:
        """What the lane received: perhaps an answer, perhaps the end."""
        if not is_end and lane.is_last:
            return  # read to the end first
        answers = []
        try:
            while lane.received:
                answer = Answer(lane.received, at_end=is_end and lane.is_last)
                if not answer.length:
                    break
                lane.received = lane.received[answer.length :]
                if answer.status != 100:
                    answers.append(answer)
                    self.statuses[answer.status] += 1
                    fault = answer.fault()
                    if fault:
                        where = self.faults[fault if fault in self.faults else "wrong"]
                        where.append(f"{fault}: {answer.status} {answer.body[:200]!r} to {lane.message[:400]!r}")
        except (ValueError, KeyError, IndexError) as error:
            self.faults["wrong"].append(f"{error!r} in {lane.received[:200]!r} to {lane.message[:400]!r}")
            self.over(waiting, lane)
            return
        if is_end:
            if not answers or lane.received:
                self.faults["dropped"].append(f"{lane.message[:400]!r} got {lane.received[:200]!r}")
            self.over(waiting, lane)
        elif answers:
            self.over(waiting, lane, keeps=not (answers[-1].closes or lane.has_ended or lane.left))

    def over(self, waiting: selectors.BaseSelector, lane: Lane, *, keeps: bool = False) -> None:
        assert lane.socket is not None
        waiting.unregister(lane.socket)
        if not keeps or lane.is_patient:
            lane.close()
        if not lane.is_patient:
            self.next(waiting, lane)


if __name__ == "__main__":
    unittest.main()
