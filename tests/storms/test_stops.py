"""Stop means stop: whatever is under way is answered, the log is emptied, and it takes two seconds at most."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import socket
import sqlite3
import threading
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from tests.figures import measured
from tests.line import Line
from tests.running import Broker, Peer, chance, figure, until

STOPS = figure(6, 200, 600)
SIDE_BY_SIDE = 2
WRITERS = 4
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Crowd:
    """Clients of one broker that call without a pause until it lets them go: those that write, one that reads, one that waits."""

    def __init__(self, peers: list[Peer]) -> None:
        self.answered: collections.Counter[str] = collections.Counter()  # "200", or the code word of a refusal
        self.dropped: list[str] = []
        self.stored: collections.Counter[str] = collections.Counter()  # by key, how often a write was acknowledged
        self.lock = threading.Lock()  # guards the three above
        self.threads = [threading.Thread(target=self.call, args=(peer, self.writes(peer.id))) for peer in peers]
        self.threads.append(threading.Thread(target=self.call, args=(peers[0], self.reads())))
        self.threads.append(threading.Thread(target=self.call, args=(peers[1], self.waits())))
        for thread in self.threads:
            thread.start()

    def writes(self, who: str) -> Iterator[tuple[str, str, dict[str, object]]]:
        while True:
            yield "POST", "/memory", {"key": who, "value": "v"}

    def reads(self) -> Iterator[tuple[str, str, dict[str, object]]]:
        while True:
            yield "GET", "/peers", {}

    def waits(self) -> Iterator[tuple[str, str, dict[str, object]]]:
        while True:
            yield "POST", "/inbox/wait", {"wait_s": 60}

    def call(self, peer: Peer, requests: Iterator[tuple[str, str, dict[str, object]]]) -> None:
        """Call, and connect anew when the broker has closed, until nobody is there."""
        line: Line | None = None
        for method, path, body in requests:
            try:
                line = line or Line(peer.port, peer.token)
                line.send(line.request(method, path, body))
            except ConnectionRefusedError:
                return  # nobody is there, and this one did not leave
            except OSError:
                line = _closed(line)  # closed between two calls
                continue
            try:
                status, answer = line.answer()
            except OSError as error:
                self.dropped.append(f"{method} {path}: {error}")
                line = _closed(line)
                continue
            with self.lock:
                self.answered["200" if status == 200 else json.loads(answer)["code"]] += 1
                if status == 200 and path == "/memory":
                    self.stored[peer.id] += 1
            if line.ends:
                line = _closed(line)
            if status != 200:
                return

    def end(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client waits for ever"


def _closed(line: Line | None) -> None:
    if line is not None:
        line.close()


class StopMeansStop(unittest.TestCase):
    time_bound_s = 300.0

    def test_what_is_under_way_is_answered_the_log_is_emptied_and_it_takes_two_seconds_at_most(self) -> None:
        chosen = chance(self)
        self.lock = threading.Lock()  # guards the figures
        self.found: collections.Counter[str] = collections.Counter()
        self.worst_s = 0.0
        self.faults: list[str] = []
        with ThreadPoolExecutor(SIDE_BY_SIDE) as side_by_side:
            list(side_by_side.map(lambda seed: self.stop_often(random.Random(seed)), [chosen.random() for _ in range(SIDE_BY_SIDE)]))
        print(dict(self.found))
        measured(
            self, "R26", stops=self.found["stops"], not_zero=self.found["not_zero"], dropped=self.found["dropped"],
            wal_left=self.found["wal_left"], worst_s=self.worst_s,
        )  # fmt: skip
        self.assertEqual(self.faults, [], "\n".join(self.faults))
        self.assertLessEqual(self.worst_s, 2.0)

    def stop_often(self, chosen: random.Random) -> None:
        with Broker() as broker:
            before: collections.Counter[str] = collections.Counter()
            for number in range(STOPS // SIDE_BY_SIDE):
                if number:
                    broker.start()
                else:
                    peers = [broker.enrol(f"w{number}") for number in range(WRITERS)]
                before += self.stop(broker, peers, chosen, SIGNALS[number % 2])
                with closing(sqlite3.connect(broker.database)) as database:
                    versions = dict(database.execute("SELECT key, version FROM memory"))
                if versions != before:
                    self.report("wrong", f"{versions} instead of {dict(before)}")

    def stop(self, broker: Broker, peers: list[Peer], chosen: random.Random, how: signal.Signals) -> collections.Counter[str]:
        """Stop it under load; by key, how often a write was acknowledged."""
        crowd = Crowd(peers)
        until(lambda: crowd.answered["200"] > 20, "calls are answered")
        time.sleep(chosen.random() * 0.05)  # not to order anything: a moment like any other
        began = time.monotonic()
        os.kill(broker.signalled, how)
        assert broker.process is not None
        status = broker.process.wait(20)
        took_s = time.monotonic() - began
        crowd.end()
        wal = broker.database + "-wal"
        with self.lock:
            self.found["stops"] += 1
            self.worst_s = max(self.worst_s, took_s)
        if status != 0:
            self.report("not_zero", f"{how.name}: ended with {status}\n{broker.output()}")
        if os.path.exists(wal) and os.path.getsize(wal):
            self.report("wal_left", f"{os.path.getsize(wal)} bytes are left in the log")
        for one in crowd.dropped:
            self.report("dropped", f"dropped: {one}")
        if set(crowd.answered) - {"200", "stopping"}:
            self.report("wrong", f"answered {crowd.answered}")
        if "Traceback" in broker.output():
            self.report("wrong", broker.output())
        return crowd.stored

    def test_a_client_that_sends_half_a_request_does_not_hold_it_up_and_a_second_ctrl_c_ends_it_at_once(self) -> None:
        with Broker() as broker:
            for number in range(figure(2, 10)):
                if number:
                    broker.start()
                assert broker.process is not None
                with closing(socket.create_connection(("127.0.0.1", broker.port), timeout=20)) as slow:
                    head = f"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nContent-Type: application/json\r\n"
                    slow.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
                    line = broker.adopt(Peer(broker.port, "", ""))
                    self.assertEqual(line.call("GET", "/health")[0], 200, "so the half has been read by now")
                    stopping = broker.output().count("INFO stopping")
                    began = time.monotonic()
                    os.kill(broker.signalled, signal.SIGINT)
                    if number % 2 == 0:
                        until(lambda stopping=stopping: broker.output().count("INFO stopping") > stopping, "it says that it stops")
                        os.kill(broker.signalled, signal.SIGINT)
                        began = time.monotonic()
                    status = broker.process.wait(20)
                    took_s = time.monotonic() - began
                self.assertEqual(status, 128 + signal.SIGINT if number % 2 == 0 else 0, broker.output())
                self.assertLess(took_s, 0.5 if number % 2 == 0 else 2.0)
            self.assertNotIn("Traceback", broker.output())

    def test_a_signal_while_it_starts_ends_it_without_a_trace(self) -> None:
        chosen = chance(self)
        with Broker() as broker:
            broker.stop()
            for number in range(figure(6, 40)):
                broker.launch()
                assert broker.process is not None
                time.sleep(0.1 + chosen.random() * 0.3)  # not to order anything: a moment like any other, while or after it loads
                os.kill(broker.signalled, SIGNALS[number % 2])
                self.assertIn(broker.process.wait(20), (0, -SIGNALS[number % 2]))
            self.assertNotIn("Traceback", broker.output())
            broker.start()
            self.assertEqual(broker.stop(), 0)

    def report(self, what: str, fault: str) -> None:
        with self.lock:
            self.found[what] += 1
            self.faults.append(fault)


if __name__ == "__main__":
    unittest.main()
