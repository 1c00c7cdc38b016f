"""A database of the first schema, with rows in every table, is opened, copied, brought up to date, and goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import unittest

from lattice.contract.operations import OPERATIONS
from lattice.domain import events
from lattice.domain.caller import BROKER
from lattice.store import migrate
from tests.broker import earlier
from tests.broker.broking import PERSON, BrokerCase, House


class AFirstDatabase(BrokerCase):
    def setUp(self) -> None:
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = os.path.join(self.folder, "lattice.db")
        newer = os.path.join(self.folder, "newer")
        os.mkdir(newer)
        old = House(newer)
        self.did = earlier.work(old)
        old.close()
        earlier.carry(os.path.join(newer, "lattice.db"), self.path, 1)
        self.before = earlier.everything(self.path)
        self.assertEqual([], [table for table, rows in self.before.items() if not rows])
        with self.assertLogs("lattice.store.migrate", "WARNING"):
            self.house = House(self.folder, clock=old.clock)
        self.house.tokens, self.house.resumes = {**old.tokens, **self.house.tokens}, old.resumes
        self.addCleanup(lambda: self.house.close())

    # -- what must be so

    def test_it_is_copied_first_and_then_has_all_its_rows_in_the_newest_schema(self) -> None:
        (copy,) = os.listdir(self.house.broker.backups)
        self.assertIn("v1-before-v", copy)
        copied = os.path.join(self.house.broker.backups, copy)
        self.assertEqual(self.before, earlier.everything(copied))
        with contextlib.closing(sqlite3.connect(copied)) as database:
            self.assertEqual((1,), database.execute("PRAGMA user_version").fetchone())
            self.assertEqual([("ok",)], database.execute("PRAGMA integrity_check").fetchall())
        after = earlier.everything(self.path)
        for table, rows in self.before.items():
            self.assertLessEqual(len(rows), len(after[table]), table)
            for old, new in zip(rows, after[table], strict=False):
                self.assertEqual(old, {name: new[name] for name in old}, table)
        self.assertEqual({"file"}, {row["reach"] for row in after["locks"]})
        self.assertEqual(len(os.listdir(migrate.MIGRATIONS)), self.house.value("PRAGMA user_version"))

    def test_the_log_still_verifies_and_folds_to_the_tables(self) -> None:
        self.assertTrue(self.house.get(PERSON, "/events/verify")["ok"])
        read = self.house.broker.read
        self.assertEqual(read(events.tables), read(lambda tx: events.state_at(tx, None)[1]))
        self.house.post("bob", "/lock", file_path="/r/c/", shared=True)
        self.house.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, every=1), "snapshot")
        self.house.post("bob", "/unlock", file_path="/r/b.py")
        self.assertEqual(read(events.tables), read(lambda tx: events.state_at(tx, None)[1]))

    def test_everybody_goes_on_where_they_were(self) -> None:
        house = self.house
        self.assertEqual(self.did["lock"], house.post("ann", "/lock", file_path="/r/a.py")["token"])
        self.refused(409, "bob", "/lock", {"file_path": "/r/"}, code="locked")
        self.assertEqual("deny", house.post("bob", "/guard", paths=["/r/a.py"])["verdict"])
        self.assertFalse(house.post("bob", "/lock", file_path="/r/a.py", queue=True)["ok"])
        house.post("ann", "/unlock", file_path="/r/a.py", token=self.did["lock"])
        self.assertTrue(any("is free now" in text for text in house.texts("bob")))
        self.assertGreater(house.post("bob", "/lock", file_path="/r/a.py")["token"], self.did["claim"])
        house.post("ann", "/inbox/ack", receipts=[self.did["receipt"]])
        self.assertEqual(["waiting"], house.texts("ann"))
        self.assertTrue(house.send("bob", "ann", "taken", idempotency_key="k1")["repeated"])
        said = house.complete("ann", self.did["first"], token=self.did["claim"])
        self.assertEqual([self.did["second"]], [one["id"] for one in said["newly_unblocked"]])
        house.post("arch", "/escalations/1/resolve", verdict="answer", answer="left")
        self.assertTrue(any("left" in text for text in house.texts("bob")))
        self.assertEqual(3, house.post("ann", "/memory", key="port", value="8082", type="decision")["version"])
        self.assertIn('port = "8082"', house.get("ann", "/capsule")["capsule"])

    def test_a_chain_can_begin_with_mail_of_before(self) -> None:
        reply = self.house.send("ann", "bob", "about that", reply_to=1)["message_id"]
        self.assertEqual(
            [(1, 1, 1)],
            [(row["parent"], row["root"], row["hops"]) for row in self.house.rows("SELECT * FROM messages WHERE id = ?", reply)],
        )

    def test_everything_that_can_be_looked_at_can_be_looked_at(self) -> None:
        paths = {"{peer_id}": "ann", "{task_id}": str(self.did["first"]), "{run_id}": "r1", "{message_id}": "1", "{escalation_id}": "1"}
        needed = {"search": "?q=a", "check_lock": "?file_path=/r/a.py", "memory_history": "?key=port"}
        seen = 0
        for operation in OPERATIONS:
            if operation.method != "GET" or "http" not in operation.surfaces or operation.name == "page":
                continue
            path = operation.path
            for name, value in paths.items():
                path = path.replace(name, value)
            self.assertNotIn("{", path)
            status, said = self.house.ask(PERSON, "GET", path + needed.get(operation.name, ""))
            self.assertEqual(200, status, f"{operation.name}: {said}")
            seen += 1
        self.assertGreater(seen, 20)

    def test_opened_again_it_is_not_copied_again(self) -> None:
        self.house.restart()
        self.assertEqual(1, len(os.listdir(self.house.broker.backups)))


if __name__ == "__main__":
    unittest.main()
