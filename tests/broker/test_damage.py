"""When something fails that does not fail: a damaged database is named, and a fault of ours stays one."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import unittest
from unittest import mock

from lattice.broker import damage
from lattice.domain import soundness
from lattice.errors import Conflict
from tests.broker.broking import PERSON, BrokerCase
from tests.running import TOP, Broker, free_port


class TheDamage(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1")
        self.house.task("w1", "work")
        self.house.post("w1", "/memory", key="k", value="v")

    def explained(self, fault: Exception) -> str:
        refusal = self.house.broker.explain(fault)
        return refusal.message if refusal is not None else ""

    def test_a_fault_at_a_damaged_row_is_explained_by_where_the_database_is_damaged(self) -> None:
        self.house.change("UPDATE events SET data = '{' WHERE seq = 3")
        with self.assertLogs("lattice.broker", "ERROR") as said:
            for _ in range(3):
                with self.assertRaises(ValueError) as fault:
                    self.house.ask(PERSON, "GET", "/state")
                self.assertIn("the log is damaged at event 3", self.explained(fault.exception))
        self.assertEqual(1, len(said.output), said.output)
        self.assertEqual("a refusal", self.explained(Conflict("a refusal")))

    def test_a_fault_of_ours_is_none_of_the_databases_and_that_is_asked_once_a_minute(self) -> None:
        looks = mock.Mock(side_effect=soundness.verify)
        with mock.patch.object(damage.soundness, "verify", looks):
            for _ in range(3):
                self.assertEqual("", self.explained(RuntimeError("planted")))
            self.house.clock.advance(damage.AGAIN_S)
            self.assertEqual("", self.explained(RuntimeError("planted")))
        self.assertEqual(2, looks.call_count)

    def test_the_sweep_says_it_in_a_line(self) -> None:
        self.house.change("UPDATE memory SET value = 'other'")
        with self.assertLogs("lattice.broker", "ERROR") as said:
            self.house.sweep._try(lambda: json.loads("{"))
        self.assertIn("the database is damaged: a memory is not what the log says", said.output[-1])
        self.assertNotIn("Traceback", "".join(said.output))

    def test_over_http_it_is_answered_and_an_answer_that_cannot_be_written_too(self) -> None:
        with Broker() as broker:
            person = broker.person()
            broker.enrol("w1").post("/tasks", {"title": "work"})
            self.assertEqual(0, broker.stop())
            with contextlib.closing(sqlite3.connect(broker.database)) as database, database:
                database.execute("UPDATE tasks SET title = x'ff'")
            broker.start()
            status, said = person.call("GET", "/tasks?everywhere=true")
            self.assertEqual((500, "read_failed"), (status, said["code"]))
            self.assertIn("task 1 is not what the log says", person.get("/events/verify")["message"])
            self.assertNotIn("Traceback", broker.output())

    def test_a_broker_that_cannot_begin_with_a_damaged_row_says_so_and_what_to_do(self) -> None:
        self.house.change("UPDATE peers SET poll_interval_ms = x'ff' WHERE id = 'w1'")
        config = self.house.config
        self.house.close()
        done = subprocess.run(
            [sys.executable, os.path.join(TOP, "broker.py"), "--port", str(free_port())], cwd=self.house.folder, capture_output=True,
            env={"C2_LATTICE_HOME": config.home, "C2_LATTICE_DB": config.db, "HOME": self.house.folder}, text=True, timeout=30, check=False,
        )  # fmt: skip
        self.assertEqual(65, done.returncode, done.stderr)
        self.assertIn('peer "w1" is not what the log says', done.stderr)
        self.assertIn("launch.py --fresh", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
