"""Where the broker may not write: a start says so in a sentence, at once; one that runs goes on reading, and says so too."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests import tracing
from tests.figures import measured
from tests.running import PYTHON, TOP, Broker, environment, free_port
from tests.storms.patient import Patient

NO_PLACE, NO_PERMISSION = 73, 77
READ_ONLY_CALLS = "pwrite64,ftruncate,unlink,fallocate"
# Who is root may write everywhere, unless it gives that up.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
READ_ONLY_DISK = ("unshare", "-rm", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"')
FULL_DISK = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0" && head -c 64k /dev/zero >"$0/else"; exec "$@"')


@functools.cache
def works(*under: str) -> bool:
    """Can a program be run so?"""
    with tempfile.TemporaryDirectory() as folder:
        line = [*under, *([folder] if "sh" in under else []), "true"]
        try:
            return subprocess.run(line, capture_output=True, timeout=20, check=False).returncode == 0
        except OSError:
            return False


class Case(NamedTuple):
    """A home that a broker has run in is made unfit; a start there must end with `status` and name `path` and `variable`."""

    name: str
    unfit: Callable[[str, dict[str, str]], object]
    status: int
    path: str
    variable: str
    under: Sequence[str] = ()


def _mode(path: str, mode: int) -> Callable[[str, dict[str, str]], object]:
    return lambda home, environ: os.chmod(os.path.join(home, path), mode)


def _elsewhere(variable: str, path: str) -> Callable[[str, dict[str, str]], object]:
    return lambda home, environ: environ.update({variable: os.path.join(home, path)})


def _no_secret(home: str, environ: dict[str, str]) -> None:
    os.unlink(os.path.join(home, "state", "secret"))
    os.chmod(os.path.join(home, "state"), 0o500)


def _as_it_is(home: str, environ: dict[str, str]) -> None:
    pass


def _anew(home: str, environ: dict[str, str]) -> None:
    os.unlink(os.path.join(home, "lattice.db"))


DB, HOME = "C2_LATTICE_DB", "C2_LATTICE_HOME"
CASES = [
    Case("the database is read-only", _mode("lattice.db", 0o400), NO_PERMISSION, "lattice.db", DB, AS_ANYBODY),
    Case("the database cannot even be read", _mode("lattice.db", 0), NO_PERMISSION, "lattice.db", DB, AS_ANYBODY),
    Case("its folder is read-only", _mode("", 0o500), NO_PERMISSION, "lattice.db", DB, AS_ANYBODY),
    Case("its lock belongs to nobody", _mode("lattice.db.lock", 0), NO_PERMISSION, "lattice.db.lock", DB, AS_ANYBODY),
    Case("the state directory is read-only", _mode("state", 0o500), NO_PERMISSION, "state", HOME, AS_ANYBODY),
    Case("there is no secret, and none can be made", _no_secret, NO_PERMISSION, "state/secret", HOME, AS_ANYBODY),
    Case("the state directory cannot be made", _elsewhere(HOME, "state/secret/new"), NO_PLACE, "state/secret", HOME),
    Case("the folder is not there", _elsewhere(DB, "none/lattice.db"), NO_PLACE, "none", DB),
    Case("the folder is a file", _elsewhere(DB, "lattice.db/lattice.db"), NO_PLACE, "lattice.db", DB),
    Case("no file may have a byte", _as_it_is, NO_PLACE, "lattice.db", "free some space", ("prlimit", "--fsize=0")),
    Case("a new one has too little room", _anew, NO_PLACE, "lattice.db", "free some space", ("prlimit", "--fsize=100000")),
    Case("the disk is read-only", _as_it_is, NO_PERMISSION, "lattice.db.lock", DB, READ_ONLY_DISK),
    Case("the disk is full", _as_it_is, NO_PLACE, "state/secret", "free some space", FULL_DISK),
]  # fmt: skip
if not tracing.missing():
    quota = tuple(tracing.command("pwrite64", inject=["pwrite64:error=EDQUOT"]))
    CASES.append(Case("the quota is used up", _as_it_is, NO_PLACE, "lattice.db", "free some space", quota))


class NoWriting(unittest.TestCase):
    time_bound_s = 120.0

    def setUp(self) -> None:
        self.cases = self.wrong_exit = self.crashes = 0
        self.worst_s = 0.0

    def test_it_is_said_clearly_and_at_once_and_one_that_runs_goes_on_reading(self) -> None:
        if os.name != "posix":
            self.skipTest("only on POSIX: what a file's mode allows")
        before = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "home")
        os.mkdir(before)
        with Broker(before) as broker:
            self.assertEqual(broker.stop(), 0)
        for case in CASES:
            with self.subTest(case.name):
                under = case.under if case.under != AS_ANYBODY or os.geteuid() == 0 else ()
                if not under or works(*under):
                    self.start_in_vain(case, before, under)
        for stops in (False, True):
            with self.subTest("it becomes read-only", stops=stops):
                if not tracing.missing():
                    self.turn_read_only(stops)
        measured(self, "R6", cases=self.cases, wrong_exit=self.wrong_exit, worst_s=self.worst_s, crashes=self.crashes)

    def start_in_vain(self, case: Case, before: str, under: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            home = shutil.copytree(before, os.path.join(os.path.realpath(folder), "home"))
            environ = environment(home, C2_LATTICE_PORT=str(free_port()))
            case.unfit(home, environ)
            disk = [home] if "sh" in under else []
            began = time.monotonic()
            # -B: what a limit cuts short must not be the program's own compiled files.
            line = [*under, *disk, *PYTHON, "-B", os.path.join(TOP, "broker.py")]
            done = subprocess.run(line, env=environ, cwd="/", capture_output=True, text=True, timeout=20, check=False)
            self.worst_s = max(self.worst_s, time.monotonic() - began)
            self.cases += 1
            self.wrong_exit += done.returncode != case.status
            self.crashes += "Traceback" in done.stderr or done.returncode < 0
            subprocess.run(["chmod", "-R", "u+rwX", home], check=True)
            said = done.stderr.splitlines()
            self.assertEqual((done.returncode, len(said)), (case.status, 1), done.stderr)
            self.assertTrue(said[0].startswith("c2-lattice broker: "), said)
            for word in (os.path.join(home, case.path), case.variable):
                self.assertIn(word, said[0])

    def turn_read_only(self, stops: bool) -> None:
        """A disk that the kernel has made read-only, as it does after an error: every call that would change it is refused."""
        with Patient(Broker()) as patient:
            self.assertEqual({told.status for told in patient.each("memory")}, {200})
            self.cases += 1
            inject = [f"{READ_ONLY_CALLS}:error=EROFS"]
            with tracing.Attached(patient.broker.signalled, READ_ONLY_CALLS, inject=inject):
                course = patient.suffer("message", 3)
                self.assertEqual({(told.status, told.code) for told in course.written}, {(503, "read_only")})
                self.assertEqual({told.status for told in course.read}, {200})
                self.assertFalse(course.writable[-1])
                if stops:
                    os.kill(patient.broker.signalled, signal.SIGTERM)
                ended = patient.ended(2.0 if stops else 0.0)
                self.wrong_exit += ended != (0 if stops else None)
                self.crashes += ended not in (0, None)
            said = patient.said()
            self.crashes += any("Traceback" in line for line in said)
            self.assertTrue(any("cannot be written" in line for line in said), said)
            self.assertEqual(ended, 0 if stops else None, shlex.join(said))
            if stops:
                patient.revive()
            self.assertLess(patient.recover(), 1.0)
            patient.settle()
            self.assertEqual(patient.end().halves, [])


if __name__ == "__main__":
    unittest.main()
