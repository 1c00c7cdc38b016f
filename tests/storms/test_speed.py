"""How fast with a full sync (R32), and how much memory (R33): measured and published; a busy machine makes no build red.

The load is a process of its own. R33 is the broker with 200 peers whose beats all wait, and then, beside them, the worst that
the bounds of the server allow: as many strangers as it takes, each with all but one byte of the largest request that is
taken in from them; and a peer's connections with the largest bodies there are, made of what becomes largest when it is read.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import unittest
from collections import Counter

from lattice.contract.operations import MAX_BODY_BYTES
from lattice.web.head import MAX_HEAD_BYTES
from lattice.web.server import LARGE, MAX_PER_PEER, MAX_UNAUTHENTICATED
from tests.bench.load import under_load
from tests.figures import measured
from tests.footprint import footprint
from tests.line import Line
from tests.running import Broker, Peer, figure, until

CLIENTS = 64
SECONDS = figure(1, 8)
PEERS = figure(20, 200)
HOSTILE_ROUNDS = figure(1, 6)


class Speed(unittest.TestCase):
    def test_durable_sends_of_many_at_once(self) -> None:
        with Broker() as broker:
            broker.enrol("arch", "architect", beat_ms=60_000)
            senders = [broker.enrol(f"s{number}", beat_ms=60_000) for number in range(CLIENTS)]
            tokens = [sender.token for sender in senders]
            under_load(broker.port, tokens, CLIENTS, 0.5)  # statements are prepared, connections have been made
            found = under_load(broker.port, tokens, CLIENTS, SECONDS)
        self.assertEqual(0, found["refused"])
        self.assertGreater(found["answered"], CLIENTS)
        measured(self, "R32", clients=CLIENTS, durable_writes_per_s=found["answered"] / found["took_s"], p99_ms=found["p99_ms"])


@unittest.skipUnless(sys.platform == "linux", "reads /proc")
class Memory(unittest.TestCase):
    time_bound_s = 180.0

    def test_many_peers_that_wait_and_the_worst_that_the_bounds_allow_beside_them(self) -> None:
        broker = self.enterContext(Broker())
        peers = [broker.enrol(f"p{number}", beat_ms=60_000) for number in range(PEERS)]
        for peer in peers:
            self.enterContext(contextlib.closing(self.waiting(broker.port, peer)))
        pid = broker.pid
        until(lambda: footprint(pid).threads > PEERS, "every beat is there")
        quiet = footprint(pid)
        worker = broker.enrol("hostile", beat_ms=60_000)
        self.statuses: Counter[int] = Counter()
        for number in range(HOSTILE_ROUNDS):
            with self.subTest(round=number):
                self.hostile(broker.port, worker, number)
        most = footprint(pid)
        print(f"{PEERS} waiting beats, {quiet.threads} threads: {quiet.resident_mb:.0f} MB; at the worst {most.most_mb:.0f} MB")
        print(f"answered to the hostile peer: {dict(self.statuses)}")
        self.assertEqual(set(), {*self.statuses} - {400, 413, 429})
        self.assertGreater(self.statuses[400], MAX_PER_PEER, "they were read")
        self.assertEqual(200, peers[0].call("GET", "/peers")[0])
        measured(self, "R33", peers=PEERS, resident_mb=quiet.resident_mb, hostile_resident_mb=most.most_mb)

    def waiting(self, port: int, peer: Peer) -> Line:
        line = Line(port, peer.token)
        line.send(line.request("POST", "/heartbeat", {"id": peer.id, "wait_s": 120}))
        return line

    def hostile(self, port: int, worker: Peer, number: int) -> None:
        """The peer is known on each of its connections before the strangers take all the places of strangers."""
        known = [worker.again() for _ in range(MAX_PER_PEER - 1)]
        for peer in known:
            peer.get("/peers")
        strangers = [self.stranger(port, number) for number in range(MAX_UNAUTHENTICATED)]
        threads = [threading.Thread(target=self.work, args=(peer, large(number + at))) for at, peer in enumerate(known)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for connection in (*known, *strangers):
            connection.close()

    def stranger(self, port: int, number: int) -> socket.socket:
        """From somebody without a token: all of the largest head and body that is taken in but its last byte, or of a larger one."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        size = LARGE if number % 2 else MAX_BODY_BYTES
        head = f"POST /send HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\nX: "
        with contextlib.suppress(OSError):  # it is refused
            connection.sendall(head.encode().ljust(MAX_HEAD_BYTES - 4, b"x") + b"\r\n\r\n" + b"x" * (size - 1))
        return connection

    def work(self, peer: Peer, body: bytes) -> None:
        end = time.monotonic() + figure(1, 2)
        while time.monotonic() < end:
            self.statuses[peer.raw("POST", "/tasks", body)[0]] += 1


def large(kind: int) -> bytes:
    """The largest body, of what Python makes most of."""
    item, form = (
        ('"ab"', '{"title": [%s]}'), ("1.5", '{"title": [%s]}'), ("{}", '{"title": [%s]}'), ("[]", '{"title": [%s]}'),
        ('"_%d": 0', "{%s}"), ('"é"', '{"title": [%s]}'),
    )[kind % 6]  # fmt: skip
    room = MAX_BODY_BYTES - len(form)
    made, size = [], 0
    while True:
        one = item % len(made) if "%d" in item else item
        size += len(one.encode()) + 1
        if size > room:
            return (form % ",".join(made)).encode()
        made.append(one)


if __name__ == "__main__":
    unittest.main()
