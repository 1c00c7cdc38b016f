"""A database of the first schema, with rows in every table, is opened, copied, brought up to date, and goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import unittest
from typing import Any

from lattice.contract.operations import OPERATIONS
from lattice.domain import events
from lattice.domain.caller import BROKER
from lattice.store import migrate
from lattice.store.database import Database
from tests.broker.broking import PERSON, BrokerCase, House

OF_LATER = {"lock": ("reach",)}  # folded columns that events of the first schema do not have


class AFirstDatabase(BrokerCase):
    def setUp(self) -> None:
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = os.path.join(self.folder, "lattice.db")
        newer = os.path.join(self.folder, "newer")
        os.mkdir(newer)
        self.house = House(newer)
        self.work()
        self.house.close()
        self.as_of_the_first_schema(os.path.join(newer, "lattice.db"))
        self.before = self.everything()
        old = self.house
        with self.assertLogs("lattice.store.migrate", "WARNING"):
            self.house = House(self.folder, clock=old.clock)
        self.house.tokens, self.house.resumes = {**old.tokens, **self.house.tokens}, old.resumes
        self.addCleanup(lambda: self.house.close())

    def work(self) -> None:
        """Something of everything."""
        house = self.house
        house.crew("ann", "bob")
        house.post("arch", "/runs", id="r1", name="shop", goal="sell")
        self.first = house.task("arch", "ground", run_id="r1")
        self.second = house.task("arch", "walls", blocked_by=[self.first], run_id="r1")
        self.claim = house.post("ann", "/tasks/claim", task_id=self.first)["token"]
        self.lock = house.post("ann", "/lock", file_path="/r/a.py", reason="work")["token"]
        house.post("bob", "/lock", file_path="/r/b.py", shared=True)
        house.post("bob", "/lock", file_path="/r/gone.py")
        house.post("bob", "/unlock", file_path="/r/gone.py")
        house.send("bob", "ann", "taken", idempotency_key="k1")
        house.send("arch", "ann", "waiting")
        self.receipt = house.take("ann", max=1)[0]["receipt"]
        house.post("ann", "/memory", key="port", value="8080", type="decision")
        house.post("ann", "/memory", key="port", value="8081", type="decision")
        house.post("bob", "/escalations", kind="blocker", text="which way?")
        house.post("bob", "/conversation", turn_type="assistant", content="hm")

    def as_of_the_first_schema(self, newer: str) -> None:
        """The same rows in a database that was made by the first migration alone."""
        first = os.path.join(self.folder, "first")
        os.mkdir(first)
        shutil.copy(os.path.join(migrate.MIGRATIONS, "0001_initial.sql"), first)
        Database(self.path, migrations_dir=first).close()
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute("ATTACH ? AS newer", (newer,))
            for table in tables(database):
                columns = ", ".join(f'"{row[1]}"' for row in database.execute(f"PRAGMA table_xinfo({table})") if not row[6])
                database.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
            database.execute("INSERT INTO rooms (name, created_by, created_at) VALUES ('#dev', 'ann', 1)")
            database.execute("INSERT INTO room_members (room, peer, joined_at) VALUES ('#dev', 'ann', 1)")
            database.execute("INSERT INTO room_posts (room, peer, content, posted_at) VALUES ('#dev', 'ann', 'hello', 1)")
            self.write_the_log_anew(database)
            empty = [table for table in tables(database) if not database.execute(f"SELECT COUNT(*) FROM main.{table}").fetchone()[0]]
            self.assertEqual([], empty)
            self.assertEqual((1,), database.execute("PRAGMA main.user_version").fetchone())

    def write_the_log_anew(self, database: sqlite3.Connection) -> None:
        """As the program of that time did: without the columns that came later."""
        database.row_factory = sqlite3.Row
        previous = events.GENESIS
        for row in database.execute("SELECT * FROM main.events ORDER BY seq").fetchall():
            data = json.loads(row["data"])
            for name in OF_LATER.get(row["kind"], ()) if data else ():
                del data[name]
            text = events.canonical(data)
            digest = hashlib.sha256(text.encode()).hexdigest()
            link = events._link(
                previous, *(row[name] for name in ("seq", "at", "actor", "op", "kind", "subject", "run_id", "workspace")), digest
            )
            database.execute(
                "UPDATE main.events SET data = ?, digest = ?, prev = ?, hash = ? WHERE seq = ?", (text, digest, previous, link, row["seq"])
            )
            previous = link
        database.row_factory = None

    def everything(self, path: str = "") -> dict[str, list[dict[str, Any]]]:
        with contextlib.closing(sqlite3.connect(f"file:{path or self.path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return {table: [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in tables(database)}

    # -- what must be so

    def test_it_is_copied_first_and_then_has_all_its_rows_in_the_newest_schema(self) -> None:
        (copy,) = os.listdir(self.house.broker.backups)
        self.assertIn("v1-before-v", copy)
        copied = os.path.join(self.house.broker.backups, copy)
        self.assertEqual(self.before, self.everything(copied))
        with contextlib.closing(sqlite3.connect(copied)) as database:
            self.assertEqual((1,), database.execute("PRAGMA user_version").fetchone())
            self.assertEqual([("ok",)], database.execute("PRAGMA integrity_check").fetchall())
        after = self.everything()
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
        self.assertEqual(self.lock, house.post("ann", "/lock", file_path="/r/a.py")["token"])
        self.refused(409, "bob", "/lock", {"file_path": "/r/"}, code="locked")
        self.assertEqual("deny", house.post("bob", "/guard", paths=["/r/a.py"])["verdict"])
        self.assertFalse(house.post("bob", "/lock", file_path="/r/a.py", queue=True)["ok"])
        house.post("ann", "/unlock", file_path="/r/a.py", token=self.lock)
        self.assertTrue(any("is free now" in text for text in house.texts("bob")))
        self.assertGreater(house.post("bob", "/lock", file_path="/r/a.py")["token"], self.claim)
        house.post("ann", "/inbox/ack", receipts=[self.receipt])
        self.assertEqual(["waiting"], house.texts("ann"))
        self.assertTrue(house.send("bob", "ann", "taken", idempotency_key="k1")["repeated"])
        said = house.complete("ann", self.first, token=self.claim)
        self.assertEqual([self.second], [one["id"] for one in said["newly_unblocked"]])
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
        paths = {"{peer_id}": "ann", "{task_id}": str(self.first), "{run_id}": "r1", "{message_id}": "1", "{escalation_id}": "1"}
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


def tables(database: sqlite3.Connection) -> list[str]:
    return [
        row[0]
        for row in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    ]


if __name__ == "__main__":
    unittest.main()
