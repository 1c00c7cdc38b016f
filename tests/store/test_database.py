"""The database through its face: what is answered is on disk, reads are one moment, files are ours alone."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any
from unittest import mock

from lattice.errors import Internal, Unavailable
from lattice.store import database
from lattice.store.database import READERS, Database, Tx
from tests import tracing

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMA = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, pair INTEGER);\n"
PATIENCE_S = 20.0

# Writes pairs of rows on four threads for ever; says each pair on stdout once it has been answered.
UNDER_LOAD = """
import itertools, os, sys, threading
from lattice.store.database import Database
db = Database(sys.argv[1], migrations_dir=sys.argv[2])
numbers = itertools.count(int(sys.argv[3]))
def pair(tx, number):
    for text in ("left", "right"):
        tx.insert("INSERT INTO notes (text, pair) VALUES (?, ?)", (text, number))
def work():
    for number in numbers:
        db.write(lambda tx: pair(tx, number), at=0.0)
        os.write(1, b"%d\\n" % number)
for _ in range(4):
    threading.Thread(target=work).start()
"""

# Twenty writes on the main thread, each answered on stdout; exits 74 when the database died.
TWENTY = """
import os, sys
from lattice.errors import Refusal
from lattice.store.database import Database
db = Database(sys.argv[1], migrations_dir=sys.argv[2], synchronous=sys.argv[3], on_fatal=lambda why: os.write(1, b"fatal\\n"))
os.write(1, b"begin\\n")
for number in range(20):
    try:
        db.write(lambda tx: tx.insert("INSERT INTO notes (text, pair) VALUES ('x', ?)", (number,)), at=0.0)
        os.write(1, b"ok %d\\n" % number)
    except Refusal as refusal:
        os.write(1, b"%s %d\\n" % (refusal.code.encode(), number))
os.write(1, b"reads %d\\n" % len(db.read(lambda tx: tx.all("SELECT id FROM notes"))))
os._exit(0)
"""


def add(text: str) -> Callable[[Tx], int]:
    return lambda tx: tx.insert("INSERT INTO notes (text) VALUES (?)", (text,))


def count(tx: Tx) -> int:
    row = tx.one("SELECT count(*) AS n FROM notes")
    assert row is not None
    return int(row["n"])


class DatabaseCase(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "notes.db")
        self.migrations = os.path.join(self.folder, "migrations")
        os.mkdir(self.migrations)
        with open(os.path.join(self.migrations, "0001_initial.sql"), "w", encoding="utf-8") as file:
            file.write(SCHEMA)
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def open(self, **options: Any) -> Database:
        db = Database(self.path, migrations_dir=self.migrations, **options)
        self.addCleanup(db.close)
        return db

    def child(self, program: str, *arguments: str, under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*under, sys.executable, "-c", program, self.path, self.migrations, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": TOP},
        )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Use(DatabaseCase):
    def test_what_was_answered_is_read_by_every_reader(self) -> None:
        db = self.open()
        for number in range(1, 30):
            db.write(add("a"), at=1.0)
            self.assertEqual(db.read(count), number)

    def test_it_writes_with_a_full_sync_and_wal(self) -> None:
        db = self.open()

        def look(tx: Tx) -> tuple[Any, ...]:
            pragmas = ("journal_mode", "synchronous", "foreign_keys")
            return tuple(tx.all(f"PRAGMA {name}")[0][0] for name in pragmas)

        self.assertEqual(db.write(look, at=0.0), ("wal", 2, 1))

    def test_a_read_cannot_write(self) -> None:
        db = self.open()
        for sql in ("DELETE FROM notes", "CREATE TABLE more (id)", "PRAGMA user_version=9"):
            with self.subTest(sql), self.assertRaises(sqlite3.DatabaseError):
                db.read(lambda tx, sql=sql: tx.run(sql))  # type: ignore[misc]
        with self.assertRaisesRegex(RuntimeError, "no after-effects"):
            db.read(lambda tx: tx.after("wake", "alice"))

    def test_a_read_that_does_not_end_is_ended_and_others_go_on(self) -> None:
        db = self.open()
        db.write(add("a"), at=0.0)
        endless = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT COUNT(*) FROM n"
        with self.assertRaises(Unavailable) as caught:
            db.read(lambda tx: tx.one(endless), within_s=0.1)
        self.assertEqual((caught.exception.code, caught.exception.status), ("read_too_long", 503))
        self.assertEqual(db.read(count, within_s=0.0), 1, "a short read is not looked at")
        db.write(add("b"), at=0.0)
        self.assertEqual(db.read(count), 2)

    def test_all_that_one_read_sees_is_one_moment(self) -> None:
        db = self.open()
        db.write(add("a"), at=0.0)

        def twice(tx: Tx) -> tuple[int, int]:
            first = count(tx)
            writer = threading.Thread(target=db.write, args=(add("b"),), kwargs={"at": 0.0})
            writer.start()
            writer.join(PATIENCE_S)
            return first, count(tx)

        self.assertEqual(db.read(twice), (1, 1))
        self.assertEqual(db.read(count), 2)

    def test_eight_threads_read_side_by_side_and_a_ninth_is_told_to_come_again(self) -> None:
        db = self.open()
        inside = threading.Barrier(READERS + 1)
        leave = threading.Event()

        def stay(tx: Tx) -> int:
            inside.wait(PATIENCE_S)
            leave.wait(PATIENCE_S)
            return count(tx)

        threads = [threading.Thread(target=db.read, args=(stay,)) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        inside.wait(PATIENCE_S)
        with mock.patch.object(database, "READER_WAIT_S", 0.01), self.assertRaises(Unavailable) as caught:
            db.read(count)
        self.assertEqual(caught.exception.code, "readers_busy")
        self.assertEqual(db.write(add("writing goes on"), at=0.0), 1)
        leave.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(db.read(count), 1)

    def test_a_read_that_raises_gives_its_connection_back(self) -> None:
        db = self.open()
        with mock.patch.object(database, "READER_WAIT_S", 0.01):
            for _ in range(3 * READERS):
                with self.assertRaises(ZeroDivisionError):
                    db.read(lambda tx: count(tx) // 0)
            self.assertEqual(db.read(count), 0)

    def test_close_leaves_one_file_and_refuses_what_comes_after(self) -> None:
        db = self.open()
        db.write(add("a"), at=0.0)
        db.read(count)
        db.close()
        db.close()
        self.assertEqual(sorted(os.listdir(self.folder)), ["migrations", "notes.db"])
        with self.assertRaises(Unavailable):
            db.write(add("b"), at=0.0)
        with self.assertRaises(Unavailable):
            db.read(count)
        self.assertEqual(self.open().read(count), 1)

    def test_health_says_what_can_be_done(self) -> None:
        db = self.open()
        self.assertEqual(db.health, {"sqlite_version": sqlite3.sqlite_version, "writable": True, "last_error": ""})

    def test_the_files_are_private_whatever_the_umask(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        for umask in (0, 0o777):
            with self.subTest(umask=oct(umask)):
                os.umask(umask)
                db = self.open()
                db.write(add("a"), at=0.0)
                db.read(count)
                modes = {name: os.stat(self.path + name).st_mode & 0o777 for name in ("", "-wal", "-shm")}
                self.assertEqual(modes, {"": 0o600, "-wal": 0o600, "-shm": 0o600})
                db.close()
                os.unlink(self.path)

    def test_a_file_that_was_open_to_others_is_closed_to_them(self) -> None:
        self.open().close()
        os.chmod(self.path, 0o644)
        self.open().write(add("a"), at=0.0)
        for name in ("", "-wal", "-shm"):
            self.assertEqual(os.stat(self.path + name).st_mode & 0o777, 0o600)

    def test_a_backup_under_way_holds_what_was_written_before_it(self) -> None:
        db = self.open()
        db.write(add("in the wal file only"), at=0.0)
        target = db.back_up(os.path.join(self.folder, "copies", "one.db"))
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o600)
        self.assertEqual(os.listdir(os.path.dirname(target)), ["one.db"])
        db.write(add("later"), at=0.0)
        with closing(sqlite3.connect(target)) as copied:
            self.assertEqual(copied.execute("SELECT text FROM notes").fetchall(), [("in the wal file only",)])
        with self.assertRaises(FileExistsError):
            db.back_up(target)

    def test_damage_that_a_read_finds_ends_the_writing_and_is_announced_once(self) -> None:
        self.open().close()
        deaths: list[str] = []
        db = self.open(on_fatal=deaths.append)
        for number in range(200):
            db.write(add("x" * 500 + str(number)), at=0.0)
        db.close()
        db = self.open(on_fatal=deaths.append)
        size = os.path.getsize(self.path)
        with open(self.path, "rb+") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        for _ in range(2):
            with self.assertRaises(Internal) as caught:
                db.read(lambda tx: tx.all("SELECT text FROM notes"))
            self.assertEqual(caught.exception.code, "read_failed")
        self.assertEqual(len(deaths), 1)
        with self.assertRaises(Unavailable):
            db.write(add("more"), at=0.0)


class Crashes(DatabaseCase):
    def test_kill_9_under_load_loses_nothing_that_was_answered_and_tears_no_write(self) -> None:
        answered: set[int] = set()
        for round_number in range(3):
            child = self.child(UNDER_LOAD, str(round_number * 1_000_000))
            assert child.stdout is not None
            answered.update(int(child.stdout.readline()) for _ in range(300))
            os.kill(child.pid, signal.SIGKILL)
            rest, errors = child.communicate(timeout=PATIENCE_S)
            self.assertEqual(errors, b"")
            answered.update(int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n"))
            with closing(sqlite3.connect(self.path)) as fresh:
                self.assertEqual(fresh.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
                pairs = dict(fresh.execute("SELECT pair, count(*) FROM notes GROUP BY pair"))
            self.assertEqual(answered - set(pairs), set())
            self.assertEqual(set(pairs.values()), {2})


@unittest.skipIf(tracing.missing(), tracing.missing())
class Syscalls(DatabaseCase):
    """What the kernel sees, and what happens when it says no."""

    def setUp(self) -> None:
        super().setUp()
        self.open().close()

    def trace(self, synchronous: str) -> list[str]:
        """One letter for each call on the wal file, and o for an answer, from the first write on."""
        log = os.path.join(self.folder, "trace")
        child = self.child(TWENTY, synchronous, under=tracing.command("pwrite64,fdatasync,fsync,write", log=log, more=("-y",)))
        child.communicate(timeout=PATIENCE_S)
        self.assertEqual(child.returncode, 0)
        found: list[str] = []
        for call in tracing.calls(log):
            if call.name == "write" and "begin" in call.arguments:
                found.clear()
            elif call.name == "write" and ', "ok ' in call.arguments:
                found.append("o")
            elif "-wal>" in call.arguments and call.name != "write":
                found.append("w" if call.name == "pwrite64" else "s")
        return found

    def test_an_answer_follows_the_sync_of_its_rows(self) -> None:
        calls = "".join(self.trace("FULL"))
        self.assertRegex(calls, r"\A((w+s)+o){20}\Z")
        # The control: without FULL the same eyes see answers that no sync came before.
        self.assertNotRegex("".join(self.trace("NORMAL")), r"\A((w+s)+o){20}\Z")

    def empty(self) -> None:
        with closing(sqlite3.connect(self.path)) as fresh, fresh:
            fresh.execute("DELETE FROM notes")

    def inject(self, fault: str) -> tuple[list[str], int]:
        under = tracing.command(fault.split(":")[0], inject=[fault], paths=[self.path + "-wal", self.path + ".probe"])
        child = self.child(TWENTY, "FULL", under=under)
        output, errors = child.communicate(timeout=PATIENCE_S)
        self.assertNotIn(b"Traceback", errors)
        with closing(sqlite3.connect(self.path)) as fresh:
            self.assertEqual(fresh.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            rows = {row for (row,) in fresh.execute("SELECT pair FROM notes")}
        lines = output.decode().split("\n")
        acknowledged = {int(line.split()[1]) for line in lines if line.startswith("ok ")}
        self.assertEqual(acknowledged - rows, set(), "an acknowledged write is not there")
        return lines, len(rows)

    def test_a_sync_that_fails_is_never_answered_ok_and_ends_the_writing(self) -> None:
        lines, _ = self.inject("fdatasync:error=EIO:when=6")
        outcomes = [line.split()[0] for line in lines if line]
        self.assertEqual(outcomes.count("fatal"), 1)
        self.assertEqual(outcomes.count("unknown_result"), 1)
        after = outcomes[outcomes.index("unknown_result") + 1 :]
        self.assertGreater(len(after), 1)
        self.assertEqual(set(after), {"stopping", "reads"})

    def test_no_room_and_no_writing_are_said_and_then_writing_goes_on(self) -> None:
        for number, code in (("ENOSPC", "disk_full"), ("EDQUOT", "disk_full"), ("EFBIG", "disk_full"), ("EROFS", "read_only")):
            with self.subTest(number):
                self.empty()
                lines, rows = self.inject(f"pwrite64:error={number}:when=12..17")
                outcomes = [line.split()[0] for line in lines if line]
                self.assertIn(code, outcomes)
                self.assertEqual(set(outcomes), {"begin", "ok", code, "reads"})
                self.assertEqual(outcomes[-2], "ok")
                self.assertEqual(outcomes.count("ok"), rows)
                self.assertEqual(sorted(os.listdir(self.folder)), ["migrations", "notes.db"], "and nothing is left of the asking")

    def test_a_write_that_fails_for_no_such_reason_ends_the_writing(self) -> None:
        lines, _ = self.inject("pwrite64:error=EIO:when=12")
        outcomes = [line.split()[0] for line in lines if line]
        self.assertEqual((outcomes.count("fatal"), outcomes.count("unknown_result")), (1, 1))


if __name__ == "__main__":
    unittest.main()
