"""R9: a database of every released version is brought up to date with nothing lost, wherever that is killed, and a newer one is left alone.

It goes over the migrations folder by itself: each version that there ever was is made with something in every table, opened
by the program of today, and killed before each statement on the way.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import warnings
from collections.abc import Callable
from typing import Any

from lattice.domain import soundness
from lattice.store import migrate
from lattice.store.database import Database
from tests.broker import earlier
from tests.broker.broking import House
from tests.broker.earlier import NEWEST
from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, chance, figure

NOT_YET = 0  # a database that is ours and has not been through the first migration
STATEMENTS = 400  # more than all migrations have


@unittest.skipUnless(hasattr(os, "fork"), "it kills a forked child")
class Upgrades(unittest.TestCase):
    time_bound_s = 300.0
    versions: str

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = os.path.join(self.folder, "lattice.db")
        self.backups = os.path.join(self.folder, "copies")

    @classmethod
    def setUpClass(cls) -> None:
        """A database of each version, as its program left it."""
        cls.versions = cls.enterClassContext(tempfile.TemporaryDirectory())
        house = House(cls.versions)
        earlier.work(house)
        house.close()
        with contextlib.closing(sqlite3.connect(cls.made(NOT_YET))) as database:
            migrate.mark(database)
            database.execute("PRAGMA journal_mode=WAL")
        for version in range(1, NEWEST + 1):
            earlier.carry(os.path.join(cls.versions, "lattice.db"), cls.made(version), version)

    @classmethod
    def made(cls, version: int) -> str:
        return os.path.join(cls.versions, f"version-{version}.db")

    def lay(self, version: int) -> None:
        for name in (self.path, self.path + "-wal", self.path + "-shm"):
            if os.path.exists(name):
                os.unlink(name)
        shutil.rmtree(self.backups, ignore_errors=True)
        shutil.copy(self.made(version), self.path)

    def open(self, migrations_dir: str = migrate.MIGRATIONS) -> None:
        Database(self.path, backups_dir=self.backups, migrations_dir=migrations_dir).close()

    def contents(self, path: str = "") -> list[str]:
        with contextlib.closing(sqlite3.connect(f"file:{path or self.path}?mode=ro", uri=True)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            return [f"-- {version}", *database.iterdump()]

    def on_the_way(self, version: int) -> list[list[str]]:
        """What the database is at each version from this one on."""
        self.lay(version)
        found = [self.contents()]
        for reached in range(version + 1, NEWEST + 1):
            with tempfile.TemporaryDirectory() as folder:
                self.open(earlier.migrations_up_to(reached, os.path.join(folder, "migrations")))
            found.append(self.contents())
        return found

    def killed(self, watch: Callable[[sqlite3.Connection], None]) -> bool:
        """Open the database in a child that `watch` may kill; whether it did."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads; nothing of ours has one here
            child = os.fork()
        if child == 0:
            try:
                plain = migrate.open_schema

                def watched(connection: sqlite3.Connection, *rest: Any) -> str:
                    watch(connection)
                    return plain(connection, *rest)

                migrate.open_schema = watched
                self.open()
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            self.assertEqual(signal.SIGKILL, os.WTERMSIG(status))
            return True
        self.assertEqual(0, os.WEXITSTATUS(status))
        return False

    def check_killed(self, way: list[list[str]], about: str) -> int:
        """1 when the killed database is at none of the versions; and the next start ends it, with nothing lost."""
        between = 0 if self.contents() in way else 1
        self.open()
        self.assertEqual(way[-1], self.contents(), about)
        return between

    def test_every_version_opens_with_nothing_lost(self) -> None:
        for version in range(1, NEWEST + 1, figure(NEWEST - 1, 1)):
            with self.subTest(version=version):
                before = earlier.everything(self.made(version))
                self.assertTrue(soundness.of_file(self.made(version))["ok"], "as that program left it")
                self.lay(version)
                with Broker(self.folder) as broker:
                    person = broker.person()
                    self.assertTrue(person.get("/events/verify")["ok"])
                    self.assertEqual({"ann", "bob", "arch"} - {peer["id"] for peer in person.get("/peers?everywhere=true")["peers"]}, set())
                    self.assertEqual(0, broker.stop())
                after = earlier.everything(self.path)
                for table, rows in before.items():
                    if table in ("idempotency", "tickets"):
                        continue  # what a broker forgets by itself after a day: these are of another year
                    self.assertTrue(rows or version < NEWEST, f"{table} is empty")
                    for old, new in zip(rows, after[table], strict=False):
                        changed = {name for name in old if old[name] != new[name]}
                        self.assertLessEqual(changed, {"last_heartbeat"}, f"{table}: {old}")
                    self.assertLessEqual(len(rows), len(after[table]), table)
                self.assertTrue(soundness.of_file(self.path)["ok"])

    def test_killed_before_each_statement_it_is_old_or_new_and_the_next_start_ends_it(self) -> None:
        chosen = chance(self)
        kills = between = 0
        for version in range(NEWEST):
            way = self.on_the_way(version)
            self.assertEqual(NEWEST - version + 1, len({tuple(one) for one in way}))
            count = self.statements(version)
            self.assertLess(len(way), count)
            for statement in sorted(chosen.sample(range(count), min(count, figure(4, STATEMENTS)))):
                with self.subTest(version=version, statement=statement):
                    self.lay(version)
                    self.assertTrue(self.killed(lambda connection, at=statement: kill_before(connection, at)))
                    kills += 1
                    between += self.check_killed(way, f"killed before statement {statement}")
        measured(self, "R9", schemas=NEWEST, kills=kills, between=between)
        self.assertEqual(0, between)

    def statements(self, version: int) -> int:
        """How many there are on the way from this version."""
        self.lay(version)
        seen: list[str] = []
        plain = migrate.open_schema

        def watched(connection: sqlite3.Connection, *rest: Any) -> str:
            connection.set_trace_callback(seen.append)
            try:
                return plain(connection, *rest)
            finally:
                connection.set_trace_callback(None)

        migrate.open_schema = watched
        try:
            self.open()
        finally:
            migrate.open_schema = plain
        return len(seen)

    def test_killed_within_a_statement_it_is_old_or_new_too(self) -> None:
        chosen = chance(self)
        for version in range(NEWEST):
            way = self.on_the_way(version)
            for _ in range(figure(1, 25)):
                self.lay(version)
                after = chosen.randrange(1, 4000)  # instructions of SQLite's machine
                if self.killed(lambda connection, after=after: connection.set_progress_handler(die, after)):
                    self.assertEqual(0, self.check_killed(way, f"killed after {after} instructions"))

    def test_a_newer_database_is_refused_and_not_a_byte_of_it_is_changed(self) -> None:
        changed = 0
        for killed in (False, True):
            with self.subTest(killed=killed):
                self.lay(NEWEST)
                with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as newer:
                    newer.execute("CREATE TABLE of_tomorrow (x)")
                    newer.execute(f"PRAGMA user_version={NEWEST + 1}")
                    if killed:  # the number stands in the -wal file alone
                        for end in ("", "-wal", "-shm"):
                            shutil.copy(self.path + end, self.path + end + ".kept")
                if killed:
                    for end in ("", "-wal", "-shm"):
                        os.replace(self.path + end + ".kept", self.path + end)
                before = digests(self.folder)
                broker = Broker(self.folder)
                done = subprocess.run(
                    [*PYTHON, os.path.join(TOP, "broker.py")], env=broker.environ, cwd=self.folder, capture_output=True, text=True,
                    timeout=30, check=False,
                )  # fmt: skip
                self.assertEqual(65, done.returncode, done.stderr)
                self.assertIn(f"its version is {NEWEST + 1}, this program knows {NEWEST}", done.stderr)
                self.assertNotIn("Traceback", done.stderr)
                after = digests(self.folder)
                touched = sorted(name for name, content in before.items() if after.get(name) != content)
                changed += len(touched)
                self.assertEqual(([], []), (touched, sorted(name for name in set(after) - set(before) if not name.startswith("state"))))
        measured(self, "R9", newer_changed=changed)
        self.assertEqual(0, changed)

    def test_a_copy_of_every_version_can_be_gone_back_to(self) -> None:
        for version in range(1, NEWEST + 1, figure(NEWEST - 1, 1)):
            with self.subTest(version=version), Broker(self.folder) as broker:
                done = self.launch(broker, "--restore", self.made(version), "--no-browser")
                self.assertEqual((0, ""), (done.returncode, done.stderr), done.stdout)
                person = broker.person()
                self.assertTrue(person.get("/events/verify")["ok"])
                self.assertEqual("8081", person.get("/memory?key=port&everywhere=true")["value"])
                self.assertEqual(0, self.launch(broker, "--stop").returncode)

    def launch(self, broker: Broker, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, os.path.join(TOP, "launch.py"), *words], env=broker.environ, cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


def kill_before(connection: sqlite3.Connection, statement: int) -> None:
    left = [statement]

    def count(sql: str) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    connection.set_trace_callback(count)


def die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def digests(folder: str) -> dict[str, str]:
    """Of every file below the folder but the lock, in which each broker writes who it is."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".lock"):
                continue
            with open(os.path.join(place, name), "rb") as file:
                found[os.path.relpath(os.path.join(place, name), folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


if __name__ == "__main__":
    unittest.main()
