"""The broker as a program that cannot start: one sentence that says why, last, and its own exit status."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import unittest

from lattice.exclusive import Exclusive
from tests.running import PYTHON, TOP, environment, free_port


class NotStarting(unittest.TestCase):
    def setUp(self) -> None:
        self.home = self.enterContext(tempfile.TemporaryDirectory())

    def run_broker(self, database: str, before: str = "") -> subprocess.CompletedProcess[str]:
        # -B: what a limit cuts short must not be the program's own compiled files.
        line = [*PYTHON, "-B", os.path.join(TOP, "broker.py"), "--port", str(free_port()), "--db", database]
        argv = ["/bin/sh", "-c", f"{before}exec {shlex.join(line)}"] if before else line
        return subprocess.run(argv, env=environment(self.home), capture_output=True, text=True, timeout=30, check=False)

    def test_a_folder_that_is_not_there(self) -> None:
        done = self.run_broker(os.path.join(self.home, "none", "x.db"))
        self.assertEqual(done.returncode, 73)
        self.assertEqual(
            done.stderr,
            f"c2-lattice broker: {os.path.join(self.home, 'none')} is no folder; make it, or name another place with C2_LATTICE_DB\n",
        )

    def test_it_says_how_it_is_called(self) -> None:
        for word, status in (("--help", 0), ("-h", 0), ("--bogus", 78)):
            line = [*PYTHON, os.path.join(TOP, "broker.py"), word]
            done = subprocess.run(line, env=environment(self.home), capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(status, done.returncode, done.stderr)
            self.assertIn("usage: broker.py [--port N] [--db FILE]", done.stdout if status == 0 else done.stderr)
        self.assertEqual([], os.listdir(self.home))

    @unittest.skipIf(os.name == "nt", "a limit on what a process may write, of POSIX shells")
    def test_a_database_that_there_is_no_room_for(self) -> None:
        database = os.path.join(self.home, "x.db")
        for _ in range(2):
            done = self.run_broker(database, before="ulimit -f 64; ")
            self.assertEqual(done.returncode, 73, done.stderr)
            self.assertEqual(
                done.stderr,
                f"c2-lattice broker: {database} cannot be written: the disk is full, or a quota is; free some space, then start again\n",
            )

    def test_one_that_starts_in_vain_loads_neither_database_nor_server(self) -> None:
        database = os.path.join(self.home, "x.db")
        sole = Exclusive(database + ".lock")
        self.assertTrue(sole.acquire())
        self.addCleanup(sole.release)
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from lattice.broker.main import main; code = main(['--db', sys.argv[2]]);"
            " print(code, 'sqlite3' in sys.modules, 'lattice.web.server' in sys.modules)"
        )
        argv = [*PYTHON, "-c", program, TOP, database]
        done = subprocess.run(argv, env=environment(self.home), capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.stdout, "73 False False\n", done.stderr)
        self.assertIn("another broker has", done.stderr)


if __name__ == "__main__":
    unittest.main()
