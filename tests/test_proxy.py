"""The fault proxy does to a request what it says, and to the broker's port what a broker's end does."""

from __future__ import annotations

import unittest

from tests.apart import needed
from tests.proxy import THROUGH, Asked, Behind, Fault
from tests.running import Dropped, Session


@needed
class TheProxy(unittest.TestCase):
    def setUp(self) -> None:
        self.fault = THROUGH
        self.broker = Behind(lambda asked: self.take() if asked.path == "/memory" else THROUGH)
        self.addCleanup(self.broker.close)
        self.broker.start()
        self.peer = self.broker.enrol("w")

    def take(self) -> Fault:
        fault, self.fault = self.fault, THROUGH
        return fault

    def versions(self) -> int:
        """How often it was written."""
        return len(self.peer.get("/memory/history?key=k")["history"])

    def write(self, fault: Fault) -> int:
        """The status of a write that this happens to; 0 when the connection ended instead."""
        self.fault = fault
        try:
            return self.peer.call("POST", "/memory", {"key": "k", "value": "v"})[0]
        except Dropped:
            return 0

    def test_each_fault_is_what_it_is_called(self) -> None:
        for kind, status, written in (
            ("through", 200, 1), ("delay", 200, 1), ("cut_up", 0, 0), ("cut_down", 0, 1), ("reset_before", 0, 0), ("reset", 0, 1),
            ("swallow", 0, 1), ("double", 200, 2),
        ):  # fmt: skip
            with self.subTest(kind):
                before = self.versions()
                self.assertEqual(status, self.write(Fault(kind, size=30, seconds=0.01)))
                self.assertEqual(written, self.versions() - before)

    def test_a_client_finds_the_broker_and_its_proof_on_the_brokers_own_port(self) -> None:
        with Session(self.broker.home, C2_LATTICE_PORT=str(self.broker.port), PEER_ID="alice") as session:
            session.initialize()
            self.assertEqual("alice", session.call("list_peers")["your_id"])
        self.assertGreater(self.broker.proxy.seen["through"], 3)
        self.assertEqual(self.broker.pid, self.broker.process.pid if self.broker.process else 0)

    def test_a_killed_broker_leaves_its_port_to_nobody_until_it_is_back(self) -> None:
        self.broker.kill()
        with self.assertRaises((OSError, Dropped)):
            self.peer.get("/peers")
        with self.assertRaises(ConnectionRefusedError):
            self.peer.get("/peers")
        self.broker.start()
        self.assertEqual(["w"], [peer["id"] for peer in self.peer.get("/peers")["peers"]])

    def test_what_is_asked_can_be_read(self) -> None:
        heard: list[Asked] = []
        self.broker.proxy.plan = lambda asked: heard.append(asked) or THROUGH  # type: ignore[func-returns-value]
        self.peer.post("/memory", {"key": "k", "value": "ä"})
        self.assertEqual(("POST", "/memory", {"key": "k", "value": "ä"}), (heard[0].method, heard[0].path, heard[0].said))


if __name__ == "__main__":
    unittest.main()
