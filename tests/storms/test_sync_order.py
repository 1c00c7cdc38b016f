"""“ok” is sent after the disk has said that it is there: seen in the calls that a real broker makes."""

from __future__ import annotations

import os
import re
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests import tracing
from tests.figures import measured
from tests.running import TOP, Broker, Peer, figure

CLIENTS = 4
ANSWERS = figure(80, 1000)
CONTROL = figure(20, 60)
# The broker, but with a database that syncs its write-ahead log at a checkpoint only. The product has no switch for that.
WITHOUT_SYNC = """
import sys
sys.path.insert(0, sys.argv[1])
from lattice.store.database import Database
Database.__init__.__kwdefaults__["synchronous"] = "NORMAL"
from lattice.broker.main import main
raise SystemExit(main([]))
"""


class Seen(NamedTuple):
    """What strace saw of one answered write: did the write reach the log file at all, and was it synced before the answer left."""

    written: bool
    synced: bool


@unittest.skipIf(tracing.missing(), tracing.missing())
class TheOrderOfSyncAndAnswer(unittest.TestCase):
    time_bound_s = 180.0

    def test_no_answer_leaves_before_the_sync_of_its_rows_and_a_broker_that_does_not_sync_is_seen(self) -> None:
        seen = self.answered(Broker(), ANSWERS)
        self.assertEqual([one for one in seen if not one.written], [])
        before_the_sync = sum(not one.synced for one in seen)
        careless = Broker()
        careless.command = [sys.executable, "-I", "-S", "-c", WITHOUT_SYNC, TOP]
        control = self.answered(careless, CONTROL)
        caught = sum(one.written and not one.synced for one in control)
        measured(
            self, "R3", answers=len(seen), before_the_sync=before_the_sync, control_answers=len(control),
            control_caught_percent=100 * caught / len(control),
        )  # fmt: skip
        self.assertEqual(before_the_sync, 0)
        self.assertEqual(caught, len(control))

    def answered(self, broker: Broker, count: int) -> list[Seen]:
        """Have so many writes answered by a broker under strace, some at once, and look at what it did."""
        self.addCleanup(broker.close)
        log = os.path.join(broker.home, "trace")
        more = ("-yy", "-s", "4096", "--seccomp-bpf")  # the names of files, the ports of connections, all of what is written
        broker.start(under=tracing.command("pwrite64,fdatasync,sendto", log=log, more=more))
        peers = [broker.enrol(f"w{number}") for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as side_by_side:
            ports = list(side_by_side.map(lambda peer: self.write(peer, count // CLIENTS), peers))
        self.assertEqual(broker.stop(), 0, broker.output())
        return [seen for peer, port in zip(peers, ports, strict=True) for seen in look(log, peer.id, port, count // CLIENTS)]

    def write(self, peer: Peer, count: int) -> int:
        """One after the other, over one connection; its port."""
        peer.get("/peers")
        assert peer.socket is not None
        port: int = peer.socket.getsockname()[1]
        for number in range(count):
            peer.post("/memory", {"key": mark(peer.id, number), "value": "x"})
        self.assertEqual(peer.socket.getsockname()[1], port)
        return port


def mark(who: str, number: int) -> str:
    """The key of a write, which is found in the bytes of the log file."""
    return f"mark-{who}-{number:05d}-"


def look(log: str, who: str, port: int, count: int) -> list[Seen]:
    """For each write of one client: the thread that wrote it, that thread's next sync, and the answer on the client's connection."""
    written: dict[str, tracing.Call] = {}
    synced: dict[str, int] = {}
    answers: list[int] = []
    open_marks: dict[int, list[str]] = {}
    pattern = re.compile(rf"mark-{who}-\d+-")
    for call in tracing.calls(log):
        if call.name == "pwrite64" and "-wal>" in call.arguments[:300]:
            for found in set(pattern.findall(call.arguments)) - written.keys():
                written[found] = call
                open_marks.setdefault(call.pid, []).append(found)
        elif call.name == "fdatasync" and "-wal>" in call.arguments and call.result.startswith("0"):
            for found in open_marks.pop(call.pid, ()):
                synced[found] = call.ended
        elif call.name == "sendto" and f":{port}]" in call.arguments[:200] and '"HTTP/1.1 200 ' in call.arguments:
            answers.append(call.began)
    answers = answers[1:]  # the first was to a read
    assert len(answers) == count, f"{who}: {len(answers)} answers seen, {count} had"
    marks = [mark(who, number) for number in range(count)]
    return [Seen(one in written, one in synced and synced[one] < answer) for one, answer in zip(marks, answers, strict=True)]


if __name__ == "__main__":
    unittest.main()
