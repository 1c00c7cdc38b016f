"""Which files are opened, and that a migration is done wholly or not at all."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import unittest
from contextlib import closing
from unittest import mock

from lattice.store import backup, database, migrate
from lattice.store.database import Database
from lattice.store.migrate import CannotOpen

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMA = os.path.join(os.path.dirname(migrate.MIGRATIONS), "schema.sql")
FIRST = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL); -- with a ; in a comment\nINSERT INTO notes VALUES (1, 'a;b');"
SECOND = """
CREATE TABLE marks (note INTEGER NOT NULL REFERENCES notes (id));
CREATE TRIGGER marked AFTER INSERT ON notes BEGIN INSERT INTO marks VALUES (new.id); SELECT 1; END;
INSERT INTO notes VALUES (2, 'second');
UPDATE notes SET text = 'changed' WHERE id = 1;
DELETE FROM notes WHERE id = 2 AND 0;
"""
PATIENCE_S = 20.0

# Opens the database, and is killed before the statement whose number is the third argument.
KILLED = """
import os, signal, sqlite3, sys
from lattice.store import migrate
from lattice.store.database import Database
left = int(sys.argv[3])
def count(sql):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
plain = migrate.open_schema
def watched(connection, *rest):
    connection.set_trace_callback(count)
    return plain(connection, *rest)
migrate.open_schema = watched
Database(sys.argv[1], migrations_dir=sys.argv[2])
os._exit(0)
"""


class MigrateCase(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "notes.db")
        self.backups = os.path.join(self.folder, "backups")
        self.migrations = os.path.join(self.folder, "migrations")
        os.mkdir(self.migrations)
        self.add(1, FIRST)
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def add(self, number: int, script: str) -> None:
        with open(os.path.join(self.migrations, f"{number:04d}_step.sql"), "w", encoding="utf-8") as file:
            file.write(script)

    def open(self) -> Database:
        db = Database(self.path, migrations_dir=self.migrations, backups_dir=self.backups)
        self.addCleanup(db.close)
        return db

    def version(self, path: str = "") -> int:
        with closing(sqlite3.connect(path or self.path)) as fresh:
            return int(fresh.execute("PRAGMA user_version").fetchone()[0])

    def contents(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as fresh:
            return list(fresh.iterdump())

    def bytes(self, *names: str) -> dict[str, bytes]:
        found = {}
        for name in names or (self.path, self.path + "-wal"):
            if os.path.exists(name) and (name == self.path or os.path.getsize(name)):  # looking may leave an empty -wal
                with open(name, "rb") as file:
                    found[name] = file.read()
        return found


class Migrations(MigrateCase):
    def test_a_new_database_is_made_ours_and_needs_no_backup(self) -> None:
        db = self.open()
        self.assertEqual(db.backup, "")
        self.assertFalse(os.path.exists(self.backups))
        db.close()
        with closing(sqlite3.connect(self.path)) as fresh:
            self.assertEqual(fresh.execute("PRAGMA application_id").fetchone(), (migrate.APPLICATION_ID,))
            self.assertEqual(fresh.execute("SELECT text FROM notes").fetchall(), [("a;b",)])
        self.assertEqual(self.version(), 1)

    def test_one_whose_making_was_cut_short_is_made_anew(self) -> None:
        with closing(sqlite3.connect(self.path)) as fresh:
            migrate.mark(fresh)
        with open(self.path + "-journal", "wb") as file:  # what undoes the first write: "before it there was no page"
            file.write((bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 1, 0, 512, 4096)).ljust(512, b"\0"))
        self.open().close()
        self.assertEqual(sorted(os.listdir(self.folder)), ["migrations", "notes.db"])
        with closing(sqlite3.connect(self.path)) as fresh:
            self.assertEqual(fresh.execute("PRAGMA application_id").fetchone(), (migrate.APPLICATION_ID,))
        self.assertEqual(self.version(), 1)

    def test_an_older_database_is_copied_and_then_migrated(self) -> None:
        self.open().close()
        before = self.contents()
        self.add(2, SECOND)
        db = self.open()
        self.assertEqual(db.read(lambda tx: [tuple(row) for row in tx.all("SELECT text FROM notes")]), [("changed",), ("second",)])
        self.assertEqual(os.path.dirname(db.backup), self.backups)
        self.assertEqual(os.path.basename(db.backup), "notes-v1-before-v2.db")
        self.assertEqual(os.stat(db.backup).st_mode & 0o777, 0o600)
        db.close()
        self.assertEqual(self.version(), 2)
        self.assertEqual(self.version(db.backup), 1)
        shutil.copy(db.backup, self.path)  # as a person would who goes back
        self.assertEqual(self.contents(), before)
        self.assertEqual(self.open().backup, db.backup, "it is what is there already")

    def test_a_migration_that_fails_each_time_does_not_fill_the_disk_with_copies(self) -> None:
        self.open().close()
        self.add(2, SECOND + "INSERT INTO nowhere VALUES (1);")
        for _ in range(3):
            with self.assertRaises(sqlite3.OperationalError):
                self.open()
        self.assertEqual(os.listdir(self.backups), ["notes-v1-before-v2.db"])
        os.unlink(os.path.join(self.migrations, "0002_step.sql"))
        db = self.open()
        db.write(lambda tx: tx.insert("INSERT INTO notes VALUES (99, 'new')"), at=0.0)
        db.close()
        self.add(2, SECOND)
        self.assertEqual(os.path.basename(self.open().backup), "notes-v1-before-v2-2.db")

    def test_a_migration_that_fails_leaves_the_database_as_it_was(self) -> None:
        self.open().close()
        before = self.contents()
        for broken, kind in (
            (SECOND + "INSERT INTO nowhere VALUES (1);", sqlite3.OperationalError),
            (SECOND + "INSERT INTO marks VALUES (77);", sqlite3.IntegrityError),
            (SECOND + "INSERT INTO notes", ValueError),
        ):
            with self.subTest(broken[-30:]):
                self.add(2, broken)
                with self.assertRaises(kind):
                    self.open()
                self.assertEqual(self.version(), 1)
                self.assertEqual(self.contents(), before)

    def test_killed_before_any_statement_it_is_old_or_new_and_the_next_start_ends_it(self) -> None:
        self.open().close()
        old = self.contents()
        saved = self.bytes(self.path)[self.path]
        self.add(2, SECOND)
        self.open().close()
        new = self.contents()
        seen = set()
        for statement in range(40):
            with open(self.path, "wb") as file:
                file.write(saved)
            ended = subprocess.run(
                [sys.executable, "-c", KILLED, self.path, self.migrations, str(statement)],
                env={**os.environ, "PYTHONPATH": TOP},
                capture_output=True,
                timeout=PATIENCE_S,
            )
            version, contents = self.version(), self.contents()
            self.assertEqual(contents, {1: old, 2: new}[version], f"killed before statement {statement}")
            seen.add(version)
            self.open().close()
            self.assertEqual(self.contents(), new)
            if ended.returncode == 0:
                break
        self.assertEqual(ended.returncode, 0, "the migration has more statements than this test kills it at")
        self.assertGreater(statement, 8)
        self.assertEqual(seen, {1, 2})

    def test_a_gap_in_the_migrations_is_found(self) -> None:
        self.add(3, SECOND)
        with self.assertRaisesRegex(ValueError, "0002"):
            self.open()

    def test_the_migrations_lead_to_the_schema(self) -> None:
        def made_by(*scripts: str) -> list[tuple[str, ...]]:
            with closing(sqlite3.connect(":memory:")) as connection:
                for script in scripts:
                    connection.executescript(script)
                found = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master").fetchall()
            return sorted(
                (kind, name, table, re.sub(r"\s*([(),])\s*", r"\1", " ".join(_without_comments(sql).split())))
                for kind, name, table, sql in found
            )

        with open(SCHEMA, encoding="utf-8") as file:
            schema = file.read()
        scripts = []
        for name in sorted(os.listdir(migrate.MIGRATIONS)):
            with open(os.path.join(migrate.MIGRATIONS, name), encoding="utf-8") as file:
                scripts.append(file.read())
        self.assertGreater(len(made_by(schema)), 10)
        self.assertEqual(made_by(*scripts), made_by(schema))
        self.assertEqual(made_by(*migrate.statements(schema)), made_by(schema))
        one_by_one = [statement for script in scripts for statement in migrate.statements(script)]
        self.assertEqual(made_by(*one_by_one), made_by(*scripts))

    def test_the_programs_own_database_opens_and_opens_again(self) -> None:
        for _ in range(2):
            db = Database(self.path, backups_dir=self.backups)
            db.close()
            self.assertEqual(db.backup, "")
        self.assertEqual(self.version(), len([name for name in os.listdir(migrate.MIGRATIONS) if name.endswith(".sql")]))


class Refusals(MigrateCase):
    """Refused with what to do, and not a byte changed."""

    def refused(self, code: str, *says: str) -> CannotOpen:
        before = self.bytes()
        with self.assertRaises(CannotOpen) as caught:
            self.open()
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        for words in says:
            self.assertIn(words, str(caught.exception))
        self.assertEqual(self.bytes(), before)
        return caught.exception

    def filled(self) -> None:
        db = self.open()
        for _ in range(100):
            db.write(lambda tx: tx.insert("INSERT INTO notes (text) VALUES (?)", ("x" * 400,)), at=0.0)
        db.close()

    def test_a_database_of_another_program(self) -> None:
        for application in (0, 77):
            with self.subTest(application):
                with closing(sqlite3.connect(self.path)) as other:
                    other.executescript(f"PRAGMA application_id={application}; CREATE TABLE theirs_{application} (id);")
                refusal = self.refused("foreign_database", self.path, "another program", "C2_LATTICE_DB")
                self.assertEqual(refusal.exit_status, 65)

    def test_a_database_of_a_newer_program(self) -> None:
        self.open().close()
        with closing(sqlite3.connect(self.path)) as newer:
            newer.execute("PRAGMA user_version=2")
        refusal = self.refused("newer_database", "newer c2-lattice", "Update")
        self.assertEqual(refusal.exit_status, 65)

    def test_a_database_of_a_newer_program_that_was_killed(self) -> None:
        """The new number is in the -wal file only."""
        self.open().close()
        killed = os.path.join(self.folder, "killed")
        os.mkdir(killed)
        with closing(sqlite3.connect(self.path)) as newer:
            newer.execute("PRAGMA user_version=2")
            for end in ("", "-wal"):
                shutil.copy(self.path + end, os.path.join(killed, "notes.db" + end))
        self.path = os.path.join(killed, "notes.db")
        with open(self.path, "rb") as file:
            self.assertEqual(struct.unpack(">I", file.read(64)[60:]), (1,))
        self.refused("newer_database")

    def test_a_file_that_is_no_database(self) -> None:
        for content in (b"x", b"hello, world\n" * 100, b"SQLite format 3\0", b"\0" * 4096):
            with self.subTest(content[:16]):
                with open(self.path, "wb") as file:
                    file.write(content)
                self.refused("damaged_database", f"launch.py --fresh --db {self.path}", f"into {self.backups}")

    def test_damage_anywhere_in_the_tree(self) -> None:
        self.filled()
        whole = self.bytes(self.path)[self.path]
        for name, content in {
            "a page of noise": whole[:8192] + os.urandom(4096) + whole[12288:],
            "cut in half": whole[: len(whole) // 2],
            "the schema page": whole[:100] + b"\xff" * 3996 + whole[4096:],
        }.items():
            with self.subTest(name):
                with open(self.path, "wb") as file:
                    file.write(content)
                self.refused("damaged_database", "put aside whole")

    def test_damage_with_a_wal_file_beside_it(self) -> None:
        self.filled()
        killed = os.path.join(self.folder, "killed")
        os.mkdir(killed)
        db = self.open()
        db.write(lambda tx: tx.run("UPDATE notes SET text = 'y' WHERE id = 1"), at=0.0)
        for end in ("", "-wal"):
            shutil.copy(self.path + end, os.path.join(killed, "notes.db" + end))
        self.path = os.path.join(killed, "notes.db")
        with open(self.path, "rb+") as file:
            file.seek(8192)
            file.write(b"\xff" * 12288)
        self.refused("damaged_database")

    def test_an_empty_file_with_a_wal_file_beside_it(self) -> None:
        with open(self.path + "-wal", "wb") as file:
            file.write(b"x" * 5000)
        self.refused("damaged_database", "-wal")
        open(self.path, "wb").close()
        self.refused("damaged_database", "-wal")

    def test_the_way_out_of_damage_names_the_last_backup(self) -> None:
        self.filled()
        saved = backup.back_up(self.path, os.path.join(self.backups, "last.db"))
        with open(self.path, "wb") as file:
            file.write(b"gone")
        self.refused("damaged_database", f"({saved})", f"launch.py --restore --db {self.path}", f"into {self.backups}")
        os.rename(self.path, self.path + ".damaged")
        shutil.copy(saved, self.path)
        self.assertEqual(self.open().read(lambda tx: len(tx.all("SELECT id FROM notes"))), 101)

    def test_a_lost_shm_file_and_a_wal_that_was_cut_are_no_damage(self) -> None:
        """Both are what a crash leaves: SQLite plays back what was committed."""
        db = self.open()
        db.write(lambda tx: tx.insert("INSERT INTO notes (text) VALUES ('b')"), at=0.0)
        killed = os.path.join(self.folder, "killed")
        os.mkdir(killed)
        for end in ("", "-wal"):
            shutil.copy(self.path + end, os.path.join(killed, "notes.db" + end))
        self.path = os.path.join(killed, "notes.db")
        with open(self.path + "-wal", "ab") as file:
            file.write(b"\xff" * 1000)
        self.assertEqual(self.open().read(lambda tx: len(tx.all("SELECT id FROM notes"))), 2)

    def test_a_folder_that_is_not_there_and_a_folder_in_place_of_the_file(self) -> None:
        os.mkdir(self.path)
        with self.assertRaisesRegex(CannotOpen, "it is a folder"):
            self.open()
        self.path = os.path.join(self.folder, "nowhere", "notes.db")
        self.assertEqual(self.refused("no_folder", "nowhere").exit_status, 73)

    @unittest.skipIf(hasattr(os, "geteuid") and os.geteuid() == 0, "root may read and write anything")
    def test_a_file_or_folder_that_may_not_be_written(self) -> None:
        self.open().close()
        for path, mode in ((self.path, 0o400), (self.path, 0o000), (self.folder, 0o500)):
            with self.subTest(path=os.path.basename(path), mode=oct(mode)):
                for name in backup.beside(self.path):  # with them there, the folder need not be written
                    if os.path.exists(name):
                        os.unlink(name)
                before = os.stat(path).st_mode
                os.chmod(path, mode)
                try:
                    with self.assertRaises(CannotOpen) as caught:
                        self.open()
                finally:
                    os.chmod(path, before)
                self.assertEqual((caught.exception.code, caught.exception.exit_status), ("no_permission", 77))
        self.open()

    def test_a_database_that_another_program_is_writing_to(self) -> None:
        self.open().close()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other, mock.patch.object(database, "BUSY_MS", 20):
            other.execute("BEGIN IMMEDIATE")
            self.assertEqual(self.refused("database_busy", "another program").exit_status, 75)
            other.execute("ROLLBACK")
            self.open()


def _without_comments(sql: str) -> str:
    """The SQL without `--` comments. Good for schemas, whose strings have no `--`."""
    return "\n".join(line.split("--")[0] for line in sql.splitlines())


if __name__ == "__main__":
    unittest.main()
