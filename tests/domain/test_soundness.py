"""Soundness: whatever of structure, log and tables does not agree is found and said, and what agrees is sound."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import tracemalloc
import unittest
from typing import Any

from lattice.domain import events, soundness
from lattice.domain.caller import BROKER
from lattice.store import backup
from lattice.store.database import Tx
from tests.broker.broking import PERSON, BrokerCase
from tests.domain.test_events import wander

# One change of a column that the log knows, for every kind.
CHANGES = {
    "peer": "UPDATE peers SET summary = 'other' WHERE id = 'w1'",
    "seat": "UPDATE seats SET token = token + 1",
    "run": "UPDATE runs SET goal = 'other'",
    "message": "UPDATE messages SET content = content || '!' WHERE id = 1",
    "delivery": "UPDATE deliveries SET way = 'person' WHERE message_id = 1",
    "escalation": "UPDATE escalations SET verdict = 'approve' WHERE id = 1",
    "task": "UPDATE tasks SET title = 'other' WHERE id = 1",
    "dependency": "DELETE FROM dependencies",
    "lock": "UPDATE locks SET reason = 'other'",
    "memory": "UPDATE memory SET value = 'other'",
    "strain": "UPDATE strains SET state = 'stopped'",
    "conversation": "UPDATE conversations SET content = 'other'",
}


class SoundnessCase(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        house = self.house
        house.crew("w1", "w2", "w3")
        house.post("arch", "/runs", id="r1", name="shop", goal="sell")
        first = house.task("arch", "ground", run_id="r1")
        house.task("arch", "walls", blocked_by=[first])
        house.post("w1", "/lock", file_path="/r/a.py", reason="work")
        house.send("w1", "w2", "hello")
        house.post("w1", "/memory", key="port", value="8080")
        house.post("w1", "/escalations", kind="blocker", text="which way?")
        house.post("w1", "/conversation", turn_type="assistant", content="hm")

        def pass_on(tx: Tx) -> None:
            tx.insert("INSERT INTO strains (id, state, held_at) VALUES (1, 'held', 1)")
            events.record(tx, BROKER, "strain", [1])

        house.broker.write(pass_on, "strain")

    def verify(self, who: str = PERSON) -> dict[str, Any]:
        return self.house.get(who, "/events/verify")

    def file(self) -> str:
        """A copy of the database as it is now."""
        return self.house.broker.database.back_up(os.path.join(self.house.folder, "copy.db"))


class Verifying(SoundnessCase):
    def test_what_was_done_through_the_broker_is_sound_whatever_it_was(self) -> None:
        for seed in range(3):
            wander(self.house, random.Random(seed), 120)
            said = self.verify()
            self.assertEqual((True, None), (said["ok"], said["damage"]), said["message"])
            self.assertGreater(said["things"], 20)
            self.house.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, 1), "snapshot")
        first = self.house.value("SELECT MIN(seq) FROM events WHERE kind = 'snapshot'")
        self.house.change("DELETE FROM events WHERE seq < ?", first)
        said = self.verify()
        self.assertEqual((True, None), (said["ok"], said["damage"]), said["message"])

    def test_a_column_that_differs_is_named_with_what_table_and_log_say(self) -> None:
        self.assertEqual(set(events.FOLDED), set(CHANGES))
        for kind, sql in CHANGES.items():
            with self.subTest(kind):
                self.house.close()
                self.setUp()
                self.house.change(sql)
                said = self.verify()
                damage = said["damage"]
                self.assertEqual((False, "fold", kind), (said["ok"], damage["part"], damage["kind"]), said["message"])
                self.assertIn(f"{kind} {events.canonical(damage['subject'])} is not what the log says", said["message"])
                if kind == "dependency":
                    self.assertEqual((None, {}), (damage["table"], damage["log"]))
                else:
                    (column,) = damage["columns"]
                    self.assertNotEqual(damage["table"][column], damage["log"][column])
                    self.assertIn(column, said["message"])
                about = self.house.rows("SELECT kind, subject FROM events WHERE seq = ?", damage["seq"])[0]
                self.assertEqual((kind, True), (about["kind"], damage["subject"] in json.loads(about["subject"])))

    def test_a_row_that_is_missing_and_one_too_many(self) -> None:
        self.house.change(
            "INSERT INTO tasks (title, status, priority, created_by, created_at, updated_at) VALUES ('x', 'pending', 'low', 'w1', 1, 1)"
        )
        said = self.verify()
        self.assertEqual(("task", None, 3), (said["damage"]["kind"], said["damage"]["log"], said["damage"]["subject"]))
        self.assertIn("its table has it, the log does not", said["message"])
        self.house.change("DELETE FROM tasks WHERE id = 3")
        self.assertTrue(self.verify()["ok"])
        self.house.change("DELETE FROM memory")
        said = self.verify()
        self.assertEqual(("memory", None, 1), (said["damage"]["kind"], said["damage"]["table"], said["damage"]["things"]))
        self.house.change("DELETE FROM locks")
        self.assertIn("(and 1 more things differ)", self.verify()["message"])

    def test_a_worker_learns_that_something_differs_and_not_what(self) -> None:
        self.house.change(CHANGES["memory"])
        said = self.verify("w2")
        self.assertEqual({"part": "fold", "kind": "memory", "things": 1, "why": said["message"]}, said["damage"])
        self.assertNotIn("port", json.dumps(said))
        self.assertIn("port", self.verify("viewer")["message"])

    def test_the_log_that_lost_its_newest_or_its_oldest_events(self) -> None:
        newest = self.house.value("SELECT MAX(seq) FROM events")
        for sql, damaged in (("seq > ?", newest - 2), ("seq < ?", 3)):
            with self.subTest(sql):
                rows = self.house.rows("SELECT * FROM events ORDER BY seq")
                self.house.change(f"DELETE FROM events WHERE {sql}", damaged)
                said = self.verify()
                self.assertEqual(("chain", 3 if damaged == 3 else newest - 1), (said["damage"]["part"], said["first_damaged"]))
                self.house.change("DELETE FROM events")
                for row in rows:
                    self.house.change(f"INSERT INTO events ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
                self.assertTrue(self.verify()["ok"])

    def test_values_of_a_wrong_kind_are_damage_and_no_fault_of_ours(self) -> None:
        for column, value in (("data", b"\xff\xfe"), ("subject", 7), ("at", b"x"), ("hash", None), ("kind", "\x00"), ("actor", b"\xffw")):
            with self.subTest(column):
                before = self.house.value(f"SELECT {column} FROM events WHERE seq = 7")
                if value is not None:
                    self.house.change(f"UPDATE events SET {column} = ? WHERE seq = 7", value)
                else:
                    self.house.change(f"UPDATE events SET {column} = '' WHERE seq = 7")
                said = self.verify()
                self.assertEqual((False, "chain", 7), (said["ok"], said["damage"]["part"], said["first_damaged"]))
                self.house.change(f"UPDATE events SET {column} = ? WHERE seq = 7", before)
        self.house.change("UPDATE memory SET value = CAST(x'ff41' AS TEXT)")
        self.assertEqual("memory", self.verify()["damage"]["kind"])

    def test_an_older_value_of_a_memory_that_differs(self) -> None:
        for value in ("8081", "8082"):
            self.house.post("w1", "/memory", key="port", value=value)
        self.assertTrue(self.verify()["ok"])
        self.house.change("UPDATE memory_history SET value = '8181' WHERE version = 2")
        said = self.verify()
        self.assertEqual(
            (False, "fold", "memory", 1), (said["ok"], said["damage"]["part"], said["damage"]["kind"], said["damage"]["things"])
        )
        self.assertIn("version 2 in its history is not what the log said", said["message"])
        self.assertEqual("a memory is not what the log says", self.verify("w2")["message"])

    def test_redacted_older_values_are_sound(self) -> None:
        for value in ("a secret", "another"):
            self.house.post("w1", "/memory", key="port", value=value)
        self.house.post(PERSON, "/redact", what="text", which="a secret")
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM memory_history WHERE value LIKE '%a secret%'"))
        self.assertTrue(self.verify()["ok"], self.verify()["message"])

    def test_what_was_redacted_may_be_anything(self) -> None:
        seq = self.house.value("SELECT MAX(seq) FROM events WHERE kind = 'memory'")
        self.house.change("UPDATE events SET data = ? WHERE seq = ?", events.REDACTED, seq)
        self.assertEqual((True, 1), (self.verify()["ok"], self.verify()["redacted"]))
        self.house.change("UPDATE memory SET value = 'taken out'")
        self.assertTrue(self.verify()["ok"])
        self.house.change("DELETE FROM memory")
        self.assertFalse(self.verify()["ok"])

    def test_a_redacted_snapshot_says_nothing(self) -> None:
        self.house.broker.write(lambda tx: events.snapshot_if_due(tx, BROKER, 1), "snapshot")
        self.house.task("w1", "after")
        snapshot = self.house.value("SELECT MAX(seq) FROM events WHERE kind = 'snapshot'")
        self.house.change("UPDATE events SET data = ? WHERE seq = ?", events.REDACTED, snapshot)
        self.assertTrue(self.verify()["ok"])
        self.house.change("DELETE FROM events WHERE seq < ?", snapshot)
        self.assertTrue(self.verify()["ok"])
        self.house.change("UPDATE tasks SET title = 'other' WHERE id = 3")
        self.assertEqual(3, self.verify()["damage"]["subject"])

    def test_an_index_that_lost_a_row_and_a_row_that_points_to_nothing(self) -> None:
        path = self.file()
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA writable_schema=1")
            database.execute("UPDATE sqlite_master SET sql = replace(sql, 'WHERE reach <>', 'WHERE reach =') WHERE name = 'locks_wide'")
            database.commit()
        said = soundness.of_file(path)
        self.assertEqual((False, "structure"), (said["ok"], said["damage"]["part"]), said)
        os.unlink(path)
        with contextlib.closing(sqlite3.connect(self.file())) as database, database:
            database.execute("DELETE FROM messages WHERE id = 1")
        self.assertIn("points to nothing in messages", soundness.of_file(path)["message"])

    def test_the_log_is_not_held_in_memory(self) -> None:
        for number in range(400):
            self.house.task("w1", f"task {number}", description="x" * 15_000)
        self.house.change("DELETE FROM idempotency")
        size = self.house.value("SELECT SUM(LENGTH(data)) FROM events")
        self.assertGreater(size, 6_000_000)
        tracemalloc.start()
        try:
            self.assertTrue(self.house.broker.read(soundness.verify)["ok"])
            self.assertLess(tracemalloc.get_traced_memory()[1], size / 4)
        finally:
            tracemalloc.stop()


class OfAFile(SoundnessCase):
    def test_a_copy_is_judged_and_not_touched(self) -> None:
        path = self.file()
        with open(path, "rb") as file:
            before = file.read()
        os.chmod(path, 0o400)
        self.assertTrue(soundness.of_file(path)["ok"])
        with open(path, "rb") as file:
            self.assertEqual(before, file.read())
        self.assertEqual([], [name for name in os.listdir(self.house.folder) if name.startswith("copy.db") and name != "copy.db"])

    def test_what_only_the_wal_file_has_is_judged_too(self) -> None:
        killed = os.path.join(self.house.folder, "killed")
        os.mkdir(killed)
        for end in ("", "-wal"):
            shutil.copy(self.house.broker.database.path + end, os.path.join(killed, "lattice.db" + end))
        newest = self.house.value("SELECT MAX(seq) FROM events")
        self.assertEqual((True, newest), (lambda said: (said["ok"], said["events"]))(soundness.of_file(os.path.join(killed, "lattice.db"))))

    def test_the_number_of_another_schema_is_damage(self) -> None:
        path = self.file()
        newest = self.house.value("PRAGMA user_version")
        for version in range(newest):
            with contextlib.closing(sqlite3.connect(path)) as database:
                database.execute(f"PRAGMA user_version={version}")
            said = soundness.of_file(path)
            self.assertFalse(said["ok"])
            self.assertRegex(said["message"], f"its number says version {version}, but|is not as version {version} made it")

    def test_a_file_with_nothing_in_it_is_no_sound_one(self) -> None:
        path = os.path.join(self.house.folder, "empty.db")
        backup.make_private(path)
        self.assertFalse(soundness.of_file(path)["ok"])


if __name__ == "__main__":
    unittest.main()
