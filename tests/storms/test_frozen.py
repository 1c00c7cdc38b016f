"""A machine that sleeps kills nobody: a broker that stood still for longer than every lease gives everyone a full term."""

from __future__ import annotations

import time
import unittest

from tests.running import Broker, Session, figure

FROZEN_S = figure(17, 20, 60)  # longer than the 15 s after which a silent peer is lost


class TheBrokerIsFrozen(unittest.TestCase):
    time_bound_s = 150.0

    def test_nobody_is_declared_dead_and_no_lock_and_no_claim_is_lost(self) -> None:
        with Broker() as broker, Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID="alice") as session:
            session.initialize()
            plain = broker.enrol("bob")
            beating = broker.beat_all([plain])
            self.addCleanup(beating.close)
            task = session.call("create_task", title="long")["task_id"]
            session.call("claim_task", task_id=task)
            token = session.call("lock_file", file_path="a.py")["token"]
            plain.post("/lock", {"file_path": "/b.py"})
            broker.freeze()
            time.sleep(FROZEN_S)  # the machine sleeps: this is the event itself
            broker.thaw()
            person = broker.person()
            until_s = time.monotonic() + 6
            while time.monotonic() < until_s:  # several sweeps pass
                peers = {peer["id"]: peer["status"] for peer in person.get("/dashboard/data")["peers"]}
                self.assertEqual(peers, {"alice": "active", "bob": "active"})
                locks = {lock["peer_id"] for lock in person.get("/locks?everywhere=1")["locks"]}
                self.assertEqual(locks, {"alice", "bob"})
                self.assertEqual(person.get(f"/tasks/{task}")["task"]["assigned_to"], "alice")
                time.sleep(0.25)
            self.assertEqual(session.call("lock_file", file_path="a.py")["token"], token, "it is the same grant")
            session.call("complete_task", task_id=task, artifacts={"summary": "slept well"})
            departed = [entry for entry in person.get("/log?last=200&everywhere=1")["logs"] if '"what":"departed"' in entry["details"]]
            self.assertEqual(departed, [])


if __name__ == "__main__":
    unittest.main()
