"""Framing and exhaustion: what a client says of its request is not believed, and what it takes is bounded (S7 to S12).

Against a whole broker over real sockets; the regular expressions, which are functions of a text, in this process.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gzip
import importlib
import json
import os
import random
import re
import selectors
import socket
import time
import unittest
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from lattice import reach
from lattice.agent import jsonrpc
from lattice.contract import framing
from lattice.domain import chains
from lattice.errors import Refusal
from lattice.guard import content
from lattice.hooks import compact_json, shell
from lattice.visible import visible
from lattice.web import body as strict
from lattice.web import head, router
from tests.costs import SIZE, growth, loops, took
from tests.footprint import footprint
from tests.running import Broker, Peer, Wire, figure
from tests.threats import pumps
from tests.threats.attacked import Attacked, Call
from tests.web import hostile


class S07Lengths(Attacked):
    def test_a_length_that_is_no_plain_number_is_400_on_every_route(self) -> None:
        table = [
            (f"{call.path} {text!r}", call.raw(self.port, f"Content-Length: {text}"), 400)
            for call in self.some(self.calls("POST"))
            for text in hostile.LENGTHS
        ]
        with self.unchanged():
            self.hold(table)

    def test_two_lengths_none_or_a_wrong_one_are_refused_once_and_the_connection_ends(self) -> None:
        def table() -> Iterator[tuple[object, bytes, int]]:
            for call in self.some(self.calls("POST"), 20):
                size = len(call.body)
                for lines, status in (
                    ((f"Content-Length: {size}", f"Content-Length: {size}"), 400),
                    ((f"Content-Length: {size}", f"Content-Length: {size + 8}"), 400),
                    ((f"Content-Length: {size}, {size}",), 400),
                    ((f"Content-Length: {size - 1}",), 400),
                    (("Content-Length: 2",) if size > 2 else (f"Content-Length: {size}", "X: y", "Content-Length: 0"), 400),
                    (("Content-Length: 1048577",), 413),
                    (("Content-Length: 999999999999",), 413),
                    ((f"Content-Length: {size + 10}",), 400),  # and our side closes: what is missing never comes
                ):
                    yield f"{call.path} {lines}", call.raw(self.port, *lines), status
                without = call.raw(self.port, "Content-Length: x").replace(b"Content-Length: x\r\n", b"")
                yield f"{call.path} without a length", without, 411

        with self.unchanged():
            self.hold(list(table()), ends=True)

    def test_a_length_over_the_limit_is_refused_without_taking_the_body_in(self) -> None:
        pid = self.broker.pid
        call = next(call for call in self.calls("POST") if call.name == "create_task")
        before = footprint(pid).resident_mb
        for said in ("99999999", "999999999999"):
            request = call._replace(body=b"x" * (24 << 20)).raw(self.port, f"Content-Length: {said}")
            self.hold([(said, request, 413)])
        self.hold([("-1", call._replace(body=b"x" * (24 << 20)).raw(self.port, "Content-Length: -1"), 400)])
        self.assertLess(footprint(pid).resident_mb - before, 8, "MB more")


class S08Smuggling(Attacked):
    def test_nothing_behind_a_doubtful_request_is_dispatched(self) -> None:
        """What follows each of them would stop the broker: it has the person's token."""
        host = f"127.0.0.1:{self.port}".encode()
        follows = hostile.behind(host, f"Authorization: Bearer {self.person.token}".encode())
        paths = [call.path.encode() for call in self.some(self.calls("POST"), 3)]
        table = [(request, request + follows, status) for path in paths for status, request in hostile.smuggled(host, follows, path)]
        self.assertGreaterEqual(len(table), 30 * len(paths))
        with self.unchanged():
            self.hold(table)
        feed = self.person.get("/events?follow=0&limit=1000")["events"]
        self.assertNotIn("shutdown", {event["op"] for event in feed})
        self.assertIsNone(self.broker.process and self.broker.process.poll())

    def test_what_follows_an_honest_request_is_served_and_would_stop_the_broker(self) -> None:
        with Broker() as broker:
            host = f"127.0.0.1:{broker.port}".encode()
            follows = hostile.behind(host, f"Authorization: Bearer {broker.person().token}".encode())
            with contextlib.closing(socket.create_connection(("127.0.0.1", broker.port), timeout=20)) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + follows)
                received = b""
                while more := connection.recv(65536):
                    received += more
            self.assertEqual(2, received.count(b"HTTP/1.1 200 "))
            self.assertEqual(0, broker.process and broker.process.wait(10))


class S09Slowness(Attacked):
    """One byte a second, for ever, from as many connections as one likes."""

    time_bound_s = 120.0
    DRIBBLERS = figure(60, 500)
    CLOSED_WITHIN_S = 15.0

    def test_dribblers_are_closed_in_time_and_nobody_else_notices(self) -> None:
        pid = self.broker.pid
        client = self.worker.again()
        self.addCleanup(client.close)
        client.get("/health")
        quiet_ms = p99_ms([self.time_of(client) for _ in range(50)])
        dribblers = Dribblers(self.port, self.DRIBBLERS)
        self.addCleanup(dribblers.close)
        took, most_threads, most_mb = [], 0, 0.0
        while dribblers.open and dribblers.age() < 3 * self.CLOSED_WITHIN_S:
            dribblers.turn(0.005)
            took.append(self.time_of(client))
            found = footprint(pid)
            most_threads, most_mb = max(most_threads, found.threads), max(most_mb, found.resident_mb)
        print(
            f"{self.DRIBBLERS} dribblers, the last closed after {dribblers.worst_s:.1f} s, answers {dribblers.statuses};"
            f" {len(took)} calls beside them, p99 {p99_ms(took):.1f} ms (before {quiet_ms:.1f} ms);"
            f" {most_threads} threads, {most_mb:.0f} MB"
        )
        self.assertEqual(0, dribblers.open)
        self.assertLess(dribblers.worst_s, self.CLOSED_WITHIN_S)
        self.assertEqual({408} if self.DRIBBLERS <= 100 else {408, 503}, set(dribblers.statuses))
        self.assertEqual(self.DRIBBLERS, sum(dribblers.statuses.values()), "each heard why")
        self.assertLess(p99_ms(took), 100)
        self.assertLessEqual(most_threads, 140)
        self.assertLess(most_mb, 200)
        self.broker.enrol("late", beat_ms=60_000).get("/peers")  # and there is room again

    def time_of(self, client: Peer) -> float:
        began = time.perf_counter()
        client.get("/tasks")
        return time.perf_counter() - began


class Dribblers:
    """Connections that send a byte a second: half of them of a head, half of a body. One thread; `turn` does what is due."""

    def __init__(self, port: int, count: int) -> None:
        host = f"Host: 127.0.0.1:{port}\r\n"
        heads = (f"GET / HTTP/1.1\r\n{host}X: ".encode(), b"G"), (
            f"POST /send HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n".encode(), b"",
        )  # fmt: skip
        self.began = time.monotonic()
        self.next_byte = self.began + 1.0
        self.worst_s = 0.0
        self.statuses: dict[int, int] = {}
        self.selector = selectors.DefaultSelector()
        self.received: dict[socket.socket, bytes] = {}
        for number in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            with contextlib.suppress(OSError):  # it was turned away already
                connection.sendall(heads[number % 2][0] if number % 3 else heads[number % 2][1])
            connection.setblocking(False)
            self.received[connection] = b""
            self.selector.register(connection, selectors.EVENT_READ)

    @property
    def open(self) -> int:
        return len(self.received)

    def age(self) -> float:
        return time.monotonic() - self.began

    def turn(self, wait_s: float) -> None:
        if time.monotonic() >= self.next_byte:
            self.next_byte += 1.0
            for connection in self.received:
                with contextlib.suppress(OSError):
                    connection.send(b"x")
        for key, _ in self.selector.select(wait_s):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                more = connection.recv(65536)
            except OSError:
                more = b""
            self.received[connection] += more
            if not more:
                self._ended(connection)

    def _ended(self, connection: socket.socket) -> None:
        self.worst_s = max(self.worst_s, self.age())
        said = self.received.pop(connection)
        status = int(said[9:12]) if said.startswith(b"HTTP/1.1 ") else 0
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        for connection in self.received:
            connection.close()
        self.selector.close()


def p99_ms(took: list[float]) -> float:
    return sorted(took)[min(len(took) - 1, len(took) * 99 // 100)] * 1000


class S10OddJson(Attacked):
    def test_every_odd_body_is_400_on_every_route_and_drops_no_connection(self) -> None:
        """On one kept connection each: with the token of who may, and with none, since the body is looked at first."""
        self.assertGreaterEqual(len(hostile.BODIES), 40)
        routes = self.some(self.calls("POST"))
        wrong, connections = [], set()
        with self.unchanged():
            for call in routes:
                for authorization in (call.authorization, ""):
                    with contextlib.closing(Wire(self.port, headers={"Authorization": authorization} if authorization else {})) as wire:
                        for name, body in hostile.BODIES.items():
                            status, said = wire.raw("POST", call.path, body)
                            connections.add(wire.socket)
                            if (status, said.get("code")) != (400, "bad_json"):
                                wrong.append(f"{call.path} {name}: {status} {said}")
        self.assertEqual([], wrong[:20], len(wrong))
        self.assertEqual(2 * len(routes), len(connections), "each answered all of them")


class S11CompressedBodies(Attacked):
    def test_an_encoded_body_is_415_on_every_route(self) -> None:
        def table() -> Iterator[tuple[object, bytes, int]]:
            for call in self.calls("POST"):
                packed = call._replace(body=gzip.compress(call.body or b"{}"))
                for coding in hostile.CODINGS:
                    yield f"{call.path} {coding}", packed.raw(self.port, f"Content-Encoding: {coding}"), 415
                yield f"{call.path} packed and not said so", packed.raw(self.port), 400

        with self.unchanged():
            self.hold(list(table()))

    def test_a_bomb_costs_what_was_sent(self) -> None:
        call = next(call for call in self.calls("POST") if call.name == "create_task")
        bomb = call._replace(body=gzip.compress(b" " * (64 << 20)))
        pid = self.broker.pid
        before = footprint(pid).resident_mb
        self.hold([("a bomb", bomb.raw(self.port, "Content-Encoding: gzip"), 415), ("the same unsaid", bomb.raw(self.port), 400)])
        self.assertLess(footprint(pid).resident_mb - before, 8, "MB more")

    def test_no_answer_is_compressed_however_it_is_asked_for(self) -> None:
        asks = "Accept-Encoding: gzip, deflate, br, zstd, *"
        for call in (Call("", "GET", "/dashboard", b"", "", 200), *self.calls("GET")):
            if call.name == "events":
                continue
            ((reply,),) = self.shoot([call.raw(self.port, asks)])
            self.assertNotIn("content-encoding", reply.headers)

    def test_there_is_no_code_that_unpacks(self) -> None:
        packers = {"zlib", "gzip", "bz2", "lzma", "zipfile", "tarfile", "compression"}
        found = []
        for folder, _, files in os.walk(os.path.join(pumps.TOP, "lattice")):
            for name in files:
                if name.endswith(".py"):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        tree = ast.parse(file.read())
                    for node in ast.walk(tree):
                        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                        found += [(name, one) for one in names if one.partition(".")[0] in packers]
        self.assertEqual([], found)


# -- S12 ----------------------------------------------------------------------------------------------------------------------

BODIES_EACH = 20
# How much longer than a loop over its signs that does nothing. The loop takes 0.2 ms: 100 of it are 20 ms.
MOST = 100
# What these expressions see is our own: files of ours, names of settings.
OUR_OWN = {
    "lattice.broker.page:_SCRIPT", "lattice.broker.page:_STYLE", "lattice.store.migrate:_NAME", "lattice.store.migrate:statements",
    "lattice.cli.git_hook:_SHELL",
}  # fmt: skip
# Expressions that are texts, compiled where they are used: those of the functions below.
TEXTS = {
    "lattice.visible:visible": ("lattice.visible", "_HIDDEN", "sub"),
    "lattice.contract.framing:frame": ("lattice.contract.framing", "_FRAME_WORD", "sub"),
    "lattice.contract.framing:safe_for_terminal": ("lattice.contract.framing", "_CONTROLS", "sub"),
    "lattice.contract.framing:_field": ("lattice.contract.framing", "_FIELD_SIGNS", "sub"),
    "lattice.cli.show:as_json": ("lattice.cli.show", "_OBEYED", "sub"),
    "lattice.hooks.events:prompt": ("lattice.hooks.events", "_NOTICE", "match"),
}
INLINE = {"lattice.domain.chains:_words": (r"[^\w\s]|_", "sub"), "lattice.guard.content:_slashed": (r"[\\/]+", "sub")}
MADE_OF_PATHS = {"lattice.reach:_expression"}  # of a glob that somebody wrote: tried with such globs, below


def refused(read: Callable[[Any], object], text: Any) -> None:
    """What is refused was read as well."""
    with contextlib.suppress(Refusal, jsonrpc.RpcError, ValueError):
        read(text)


def two_globs(text: str) -> bool:
    return reach.overlap(*reach.of(text[:1000], "/r"), *reach.of(text[999::-1], "/r"))


def glob_and_file(text: str) -> bool:
    return reach.overlap(*reach.of(text[:1000], "/r"), "file", "/r/" + text[999::-1])


def framed(text: str) -> str:
    return framing.frame(text, sender=text[:64], role="worker", when=0.0, boundary="abcdefgh12")


def bytes_of(text: str) -> bytes:
    return text.encode("latin-1", "replace")


# What reads a foreign text, whole: how it is called, and how many of the loops it may take.
READERS: dict[str, tuple[Callable[[str], object], int]] = {
    "the content filter": (lambda text: content.judge(text, "message", ("/code/repo",)), 100),
    "the shell reader": (lambda text: shell.read(text, "/repo", "/home/x", lambda path: False), 600),
    "visible": (visible, 300),
    "the terminal": (framing.safe_for_terminal, 300),
    "a frame": (framed, 300),
    "an acknowledgement": (lambda text: (chains.is_empty_ack(text, "finding"), chains.gist(text)), 100),
    "a body": (lambda text: refused(strict.parse, text.encode("utf-8", "replace")), 100),
    "a text in a body": (lambda text: refused(strict.parse, json.dumps({"a": text}).encode()), 100),
    "a head": (lambda text: refused(head.parse, bytes_of(text)), 100),
    "a head that goes on": (lambda text: refused(head.check_unfinished, b"G" + bytes_of(text)), 100),
    "a header": (lambda text: refused(head.parse, b"GET / HTTP/1.1\r\nX: " + bytes_of(text)), 100),
    "a query": (lambda text: refused(router.parse_query, bytes_of(text).decode("latin-1")), 100),
    "a line of JSON-RPC": (lambda text: refused(jsonrpc.read, text.encode("utf-8", "replace")), 100),
    "what a hook reads": (lambda text: refused(compact_json.loads, text), 100),
    "a glob and a file": (lambda text: refused(glob_and_file, text), 100),
    "a glob and a glob": (lambda text: refused(two_globs, text), 1500),
}


class S12RunawayExpressions(unittest.TestCase):
    time_bound_s = 240.0

    def setUp(self) -> None:
        self.chosen = random.Random(12)

    def patterns(self) -> Iterator[tuple[str, re.Pattern[Any], set[str]]]:
        """(where, the expression, the ways it is used in its module) for all that see a foreign text."""
        for where in sorted({*pumps.expressions()} - OUR_OWN - MADE_OF_PATHS):
            module, _, name = where.partition(":")
            if where in TEXTS:
                module, name, way = TEXTS[where]
                yield where, re.compile(getattr(importlib.import_module(module), name)), {way}
            elif where in INLINE:
                yield where, re.compile(INLINE[where][0]), {INLINE[where][1]}
            else:
                yield where, getattr(importlib.import_module(module), name), used_as(module, name)

    def test_every_expression_is_known_here(self) -> None:
        for where, pattern, ways in self.patterns():
            self.assertIsInstance(pattern, re.Pattern, where)
            self.assertTrue(ways, f"{where} is not used in its module")

    def test_no_body_takes_an_expression_long(self) -> None:
        slow = []
        for where, pattern, ways in self.patterns():
            is_text = isinstance(pattern.pattern, str)
            said = pattern.pattern if is_text else pattern.pattern.decode("latin-1")
            for text in pumps.pumps(said, pattern.flags & (re.I | re.S | re.A), SIZE, BODIES_EACH, self.chosen):
                for way in ways:
                    cost = loops(use, pattern, way, text if is_text else bytes_of(text))
                    if cost > MOST:
                        slow.append((where, way, round(cost), text[:80], text[-8:]))
        self.assertEqual([], slow)

    def test_a_bad_expression_would_be_found(self) -> None:
        for bad, way, size in (
            (r"(a+)+b", "match", 21), (r"(a|a)*c", "match", 20), (r"(?:a?){20}a{20}", "fullmatch", 20), (r"\w+=\d", "search", 4096),
            (r"\s+$", "search", 4096), (r"(\w+):[ \t]*([^\x00]*)", "fullmatch", 4096),
        ):  # fmt: skip
            pattern = re.compile(bad)
            costs = (loops(use, pattern, way, text, times=1) for text in pumps.pumps(bad, 0, size, BODIES_EACH, self.chosen))
            self.assertTrue(any(cost > MOST for cost in costs), bad)

    def test_what_reads_foreign_texts_takes_time_in_proportion(self) -> None:
        texts = [
            text
            for _, pattern, _ in self.patterns()
            if isinstance(pattern.pattern, str)
            for text in pumps.pumps(pattern.pattern, pattern.flags & (re.I | re.S | re.A), SIZE, figure(1, 5, 20), self.chosen)
        ]
        slow = []
        for name, (read, most) in READERS.items():
            costs = sorted(((took(read, text), text) for text in texts), reverse=True)
            for _, text in costs[: figure(1, 2)]:
                cost = loops(read, text, times=5)
                grows = growth(read, text) if cost > most / 80 else 4.0
                if cost > most or grows > 9:
                    slow.append((name, round(cost), round(grows, 1), text[:80], text[-8:]))
        self.assertEqual([], slow)


def use(pattern: re.Pattern[Any], way: str, text: Any) -> None:
    if way == "finditer":
        deque(pattern.finditer(text), maxlen=0)
    elif way == "sub":
        pattern.sub(text[:0], text)
    else:
        getattr(pattern, way)(text)


def used_as(module: str, name: str) -> set[str]:
    """Which methods of the constant its module calls."""
    return {way for constant, way in _uses(module) if constant == name}


@functools.cache
def _uses(module: str) -> tuple[tuple[str, str], ...]:
    path = importlib.import_module(module).__file__
    assert path is not None
    with open(path, encoding="utf-8") as file:
        nodes = list(ast.walk(ast.parse(file.read())))
    calls = [node.func for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return tuple((call.value.id, call.attr) for call in calls if isinstance(call.value, ast.Name))


if __name__ == "__main__":
    unittest.main()
