"""Going back to a copy: launch.py --restore, --backups, and c2-lattice verify, with the real broker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

from lattice.store import backup, swap
from tests.cli.house import TOP, Launched
from tests.running import Session, free_port, until


class Restoring(Launched):
    def setUp(self) -> None:
        super().setUp()
        self.database = os.path.join(self.folder, ".c2-lattice.db")
        self.backups = backup.folder_of(self.database, os.path.join(self.home, "backups"))

    def work(self, value: str) -> None:
        self.good(self.c2("remember", "k", value))

    def copy(self, name: str = "hourly-20260101-090000Z") -> str:
        return backup.back_up(self.database, os.path.join(self.backups, f"{name}.db"))

    def recalled(self) -> str:
        found = re.search(r"│ (\w+)", self.good(self.c2("recall", "k")))
        assert found
        return found[1]

    def kept(self, said: str) -> str:
        found = re.search(r"kept in (.*)", said)
        assert found, said
        return found[1]

    def damage(self, path: str) -> None:
        with open(path, "rb+") as file:
            file.seek(4096)
            file.write(os.urandom(40_960))

    def value(self, path: str, sql: str) -> object:
        with contextlib.closing(sqlite3.connect(path)) as database:
            return database.execute(sql).fetchone()[0]


class Restore(Restoring):
    def test_back_to_the_newest_good_copy_while_the_broker_runs(self) -> None:
        self.good(self.launch("--no-browser"))
        self.work("early")
        old = self.copy("hourly-20260101-080000Z")
        self.work("good")
        good = self.copy("hourly-20260101-090000Z")
        self.work("late")
        damaged = self.copy("hourly-20260101-100000Z")
        self.damage(damaged)
        for number, path in enumerate((old, good, damaged)):
            os.utime(path, (1e9 + number,) * 2)
        before = self.pid()
        said = self.good(self.launch("--restore", "--no-browser"))
        self.assertIn(f"copy: passed over: {damaged} is damaged: ", said)
        self.assertIn(f"copy: {good} as of {time.strftime('%Y-')}", said)
        self.assertLess(said.index("is sound"), said.index("broker: stopped"))
        self.assertRegex(said, rf"{re.escape(self.database)} is now as of {time.strftime('%Y-')}")
        self.assertIn(f"broker: started on 127.0.0.1:{self.port}", said)
        self.assertNotEqual(before, self.pid())
        self.assertEqual("good", self.recalled())
        self.assertEqual(0o600, os.stat(self.database).st_mode & 0o777)
        self.assertIn("sound: ", self.good(self.c2("verify")))
        self.assertTrue(os.path.exists(old) and os.path.exists(good) and os.path.exists(damaged))
        said = self.good(self.launch("--restore", self.kept(said), "--no-browser"))
        self.assertEqual("late", self.recalled(), "and what was put aside is a copy like any other")

    def test_a_damaged_database_names_the_command_that_mends_it(self) -> None:
        self.good(self.launch("--no-browser"))
        self.work("good")
        self.copy()
        self.good(self.launch("--stop"))
        self.damage(self.database)
        with open(self.database, "rb") as file:
            damaged = file.read()
        refusal = self.refused(self.launch("--no-browser"), 1)
        line = re.search(r"in its place: (.*) \(or --fresh", refusal)
        assert line, refusal
        done = subprocess.run(
            ["/bin/sh", "-c", f"{line[1]} --no-browser"], env=self.environ, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )
        said = self.good(done)
        self.assertEqual("good", self.recalled())
        with open(os.path.join(self.kept(said), ".c2-lattice.db"), "rb") as file:
            self.assertEqual(damaged, file.read())

    def test_what_cannot_be_gone_back_to_stops_and_changes_nothing(self) -> None:
        self.good(self.launch("--no-browser"))
        self.work("here")
        newer, damaged, foreign = (self.copy(name) for name in ("newer", "damaged", "foreign"))
        self.damage(damaged)
        for path, pragma in ((newer, "user_version=99"), (foreign, "application_id=7")):
            with contextlib.closing(sqlite3.connect(path)) as database:
                database.execute(f"PRAGMA {pragma}")
        before = self.pid()
        for asked, words in (
            (newer, "newer c2-lattice"), (damaged, "is damaged"), (foreign, "another program"), (self.database, "is the database itself"),
            (os.path.join(self.folder, "none.db"), "there is no copy at"),
        ):  # fmt: skip
            with self.subTest(words):
                self.assertIn(words, self.refused(self.launch("--restore", asked, "--no-browser"), 1))
                self.assertEqual((before, "here"), (self.pid(), self.recalled()))
        done = self.launch("--restore", "--no-browser")
        self.assertEqual((1, 3), (done.returncode, done.stdout.count("passed over")))
        self.assertIn("there is no good copy", done.stderr)
        self.assertEqual(before, self.pid())

    def test_a_database_in_use_elsewhere_is_not_replaced(self) -> None:
        self.good(self.launch("--no-browser"))
        copy = self.copy()
        other = {"C2_LATTICE_HOME": os.path.join(self.folder, "other"), "C2_LATTICE_PORT": str(free_port())}
        before = self.pid()
        self.assertIn("in use by another broker", self.launch("--restore", copy, "--no-browser", **other).stderr)
        self.assertEqual(before, self.pid())
        self.assertFalse(swap.waits(self.database))

    def test_a_disk_without_space_for_it_changes_nothing(self) -> None:
        disk = os.path.join(self.folder, "disk")
        os.mkdir(disk)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", disk], capture_output=True, check=False).returncode:
            self.skipTest("needs a small disk of its own (mount as root)")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], capture_output=True, check=True)
        self.environ |= {"C2_LATTICE_HOME": os.path.join(disk, "state"), "C2_LATTICE_DB": os.path.join(disk, "lattice.db")}
        self.addCleanup(self.launch, "--stop")
        self.good(self.launch("--no-browser"))
        self.work("early")
        copy = backup.back_up(os.path.join(disk, "lattice.db"), os.path.join(self.folder, "copy.db"))
        self.work("here")
        filler = os.path.join(disk, "filler")
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        done = self.launch("--restore", copy, "--no-browser")
        self.assertEqual((1, 1), (done.returncode, done.stderr.count("\n")), done.stderr)
        self.assertIn("could not be made ready", done.stderr)
        os.unlink(filler)
        self.good(self.launch("--no-browser"))
        self.assertEqual("here", self.recalled())
        self.good(self.launch("--restore", copy, "--no-browser"))
        self.assertEqual("early", self.recalled())

    def test_what_is_not_ours_is_not_moved(self) -> None:
        self.good(self.launch("--no-browser"))
        copy = self.copy()
        self.good(self.launch("--stop"))
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.database + end):
                os.unlink(self.database + end)
        with contextlib.closing(sqlite3.connect(self.database)) as theirs:
            theirs.execute("CREATE TABLE theirs (x)")
        for words in (("--restore", copy), ("--fresh",)):
            self.assertIn("another program", self.launch(*words, "--no-browser").stderr)
            self.assertEqual("theirs", self.value(self.database, "SELECT name FROM sqlite_master"))

    def test_numbers_that_were_handed_out_are_not_handed_out_again(self) -> None:
        self.good(self.launch("--no-browser"))
        self.good(self.c2("add", "before"))
        copy = self.copy()
        for _ in range(3):
            self.good(self.c2("add", "lost"))
        self.good(self.c2("lock", "/r/a.py", PEER_ID="carl"))
        token = self.value(self.database, "SELECT value FROM counters")
        self.good(self.launch("--restore", copy, "--no-browser"))
        self.assertIn("task 5,", self.good(self.c2("add", "after")))
        self.good(self.c2("lock", "/r/a.py", PEER_ID="carl"))
        self.assertGreater(self.value(self.database, "SELECT value FROM counters"), token)
        self.good(self.launch("--stop"))
        with open(self.database, "wb") as file:
            file.write(b"gone")
        self.good(self.launch("--restore", copy, "--no-browser"))
        self.assertRegex(self.good(self.c2("add", "after")), r"task 10\d\d\d,", "what was handed out cannot be known: they leap")
        self.assertIn("sound: ", self.good(self.c2("verify")))
        self.assertIn("restored", self.good(self.c2("log")))

    def test_a_link_stays_a_link(self) -> None:
        real = os.path.join(self.folder, "disk", "real.db")
        os.mkdir(os.path.dirname(real))
        self.good(self.launch("--no-browser", "--db", real))
        self.good(self.launch("--stop"))
        os.symlink(real, self.database)
        self.good(self.launch("--no-browser"))
        self.work("one")
        said = self.good(self.launch("--backups"))
        self.assertIn("no copies of", said)
        copy = backup.back_up(real, os.path.join(self.folder, "copy.db"))
        self.work("two")
        self.good(self.launch("--restore", copy, "--no-browser"))
        self.assertTrue(os.path.islink(self.database))
        self.assertEqual("one", self.recalled())

    @unittest.skipIf(os.name == "nt", "SIGKILL")
    def test_killed_half_way_it_is_refused_until_it_is_done_again(self) -> None:
        """The database waits on another process's lock, so that --restore can be killed while it holds everything."""
        self.good(self.launch("--no-browser"))
        self.work("good")
        copy = self.copy()
        self.work("late")
        self.good(self.launch("--stop"))
        script = (
            "import os, signal, sys\n"
            "from lattice.store import swap\n"
            "swap._place = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
            "from lattice.cli.launch import main\n"
            "main(['--restore', sys.argv[1], '--no-browser'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, copy], env={**self.environ, "PYTHONPATH": TOP}, cwd=self.folder, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        self.assertEqual(-signal.SIGKILL, done.returncode)
        self.assertFalse(os.path.exists(self.database))
        self.assertIn("interrupted; nothing was lost", self.refused(self.launch("--no-browser"), 1))
        self.assertFalse(os.path.exists(self.database), "and no empty one was begun")
        said = self.good(self.launch("--restore", copy, "--no-browser"))
        self.assertEqual("good", self.recalled())
        self.assertIn(".c2-lattice.db", os.listdir(self.kept(said)))
        self.assertEqual(("late",), (self.value(os.path.join(self.kept(said), ".c2-lattice.db"), "SELECT value FROM memory"),))

    def test_a_session_that_lives_through_it_goes_on(self) -> None:
        self.good(self.launch("--no-browser"))
        environ = {"C2_LATTICE_HOME": self.home, "C2_LATTICE_DB": self.database, "C2_LATTICE_PORT": str(self.port)}
        with Session(self.folder, PEER_ID="ann", **environ) as early:
            early.initialize()
            early.call("set_memory", key="a", value="1")
            copy = self.copy()
            with Session(self.folder, PEER_ID="bob", **environ) as late:
                late.initialize()
                late.call("lock_file", file_path="/r/a.py")
                self.good(self.launch("--restore", copy, "--no-browser"))
                self.assertEqual("1", early.call("get_memory", key="a")["value"])
                early.call("set_memory", key="b", value="2")
                self.assertEqual("2", late.call("get_memory", key="b")["value"])
                self.assertIn("ann", json.dumps(late.call("list_peers")))
                self.assertIn("bob", json.dumps(early.call("list_peers")))

    def test_no_session_starts_a_broker_in_between(self) -> None:
        """Whoever asks for one while the database is being exchanged waits, and finds the new one."""
        self.good(self.launch("--no-browser"))
        self.work("good")
        copy = self.copy()
        self.work("late")
        held = os.path.join(self.folder, "held")
        script = (
            "import os, sys, time\n"
            "from lattice.cli import restore\n"
            "put = restore.put\n"
            "def slow(*words):\n"
            "    open(sys.argv[2], 'w').close()\n"
            "    while os.path.exists(sys.argv[2]):\n"
            "        time.sleep(0.01)\n"
            "    put(*words)\n"
            "restore.put = slow\n"
            "from lattice.cli.launch import main\n"
            "raise SystemExit(main(['--restore', sys.argv[1], '--no-browser']))\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, copy, held], env={**self.environ, "PYTHONPATH": TOP}, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as restoring:  # fmt: skip
            try:
                until(lambda: os.path.exists(held), "the broker is stopped, and nothing is exchanged yet")
                with subprocess.Popen(
                    [sys.executable, "-I", "-S", os.path.join(TOP, "launch.py"), "--no-browser"], env=self.environ, cwd=self.folder,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                ) as starting:  # fmt: skip
                    with self.assertRaises(subprocess.TimeoutExpired):
                        starting.wait(1.0)
                    os.unlink(held)
                    said, wrong = starting.communicate(timeout=60)
                    self.assertEqual(("", 0), (wrong, starting.returncode), said)
                self.assertEqual(0, restoring.wait(60))
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(held)
        self.assertEqual("good", self.recalled())


class Looking(Restoring):
    def test_the_copies_are_listed_with_what_is_in_them(self) -> None:
        self.assertIn("no copies of", self.good(self.launch("--backups")))
        self.assertEqual(self.files(), {})
        self.good(self.launch("--no-browser"))
        self.work("good")
        copy = self.copy()
        self.good(self.launch("--fresh", "--no-browser"))
        broken = self.copy("broken")
        with open(broken, "wb") as file:
            file.write(b"no database")
        said = self.good(self.launch("--backups"))
        self.assertRegex(said, rf"copy +\d+ +0\.\d +{re.escape(copy)}\n")
        self.assertIn("put aside", said)
        self.assertIn("cannot be read", said)
        self.assertIn("launch.py --restore", said)
        self.assertIn("1 copy of the database, the newest as of 20", self.c2("doctor").stdout)

    def test_verify_of_a_file_says_sound_or_damaged_and_only_reads(self) -> None:
        self.good(self.launch("--no-browser"))
        self.work("good")
        copy = self.copy()
        self.assertIn("a broker has", self.refused(self.c2("verify", "--db", self.database), 1))
        self.assertIn(f"{copy}: sound: ", self.good(self.c2("verify", "--db", copy)))
        os.kill(int(str(self.pid())), signal.SIGKILL)
        until(lambda: not self.answers(), "the broker is gone")
        before = self.files()
        said = json.loads(self.good(self.c2("verify", "--db", self.database, "--json")))
        self.assertTrue(said["ok"])
        self.assertEqual(before, self.files())
        with contextlib.closing(sqlite3.connect(copy)) as database, database:
            database.execute("UPDATE peers SET summary = 'nosrep\u202e'")
        said = self.good(self.c2("verify", "--db", copy, "--json"), 1)
        self.assertEqual(json.loads(said)["damage"]["table"]["summary"], "nosrep\u202e")
        self.assertIn("nosrep\\u202e", said)  # written out: a terminal would obey it
        with contextlib.closing(sqlite3.connect(copy)) as database, database:
            database.execute("UPDATE peers SET summary = 'the person'")
            database.execute("UPDATE memory SET value = 'other'")
        said = self.good(self.c2("verify", "--db", copy), 1)
        self.assertIn("is not what the log says: value is", said)
        self.assertIn("launch.py --backups", said)
        self.damage(copy)
        self.assertIn("its structure is damaged", self.good(self.c2("verify", "--db", copy), 1))
        self.assertIn("another program", self.refused(self.c2("verify", "--db", self.foreign()), 1))
        self.assertIn(f"there is no file {copy}.gone", self.refused(self.c2("verify", "--db", copy + ".gone"), 1))

    def answers(self) -> bool:
        return self.launch("--status").returncode == 0

    def foreign(self) -> str:
        path = os.path.join(self.folder, "theirs.db")
        with contextlib.closing(sqlite3.connect(path)) as theirs:
            theirs.execute("CREATE TABLE theirs (x)")
        return path

    def test_verify_of_the_running_broker(self) -> None:
        self.good(self.launch("--no-browser"))
        self.work("good")
        self.assertIn("sound: ", self.good(self.c2("verify")))
        with contextlib.closing(sqlite3.connect(self.database)) as database, database:
            database.execute("UPDATE memory SET value = 'other'")
        said = self.good(self.c2("verify"), 1)
        self.assertIn("is not what the log says", said)
        self.assertIn("launch.py --restore", said)
        self.assertFalse(json.loads(self.good(self.c2("verify", "--json"), 1))["ok"])


if __name__ == "__main__":
    unittest.main()
