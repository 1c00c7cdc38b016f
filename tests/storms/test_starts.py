"""Many brokers start at once on one database: one serves, and the others say why and go, before they have touched it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
import unittest

from tests import tracing
from tests.figures import measured
from tests.running import (
    PYTHON,
    TOP,
    Dropped,
    Wire,
    beneath_strace,
    brokers_of,
    chance,
    environment,
    figure,
    free_port,
    temporary_home,
    until,
)  # fmt: skip

ROUNDS = figure(3, 50, 200)
WATCHED = figure(1, 8)  # rounds in which strace sees who opens the database
AT_ONCE = figure(8, 20)
TAKEN = 73
PARTS = ("", "-wal", "-shm", "-journal")
TOGETHER = ("sh", "-c", 'read go; exec "$@" </dev/null', "together")  # all read the end of one pipe


class AllAtOnce(unittest.TestCase):
    time_bound_s = 240.0

    def test_of_many_brokers_on_one_database_one_serves_and_the_others_go_before_they_open_it(self) -> None:
        if os.name != "posix":
            self.skipTest("only on POSIX: a shell that waits for the others")
        chosen = chance(self)
        self.starts = self.without_one = self.opened_it = 0
        self.worst_s = 0.0
        with temporary_home() as home:
            for number in range(ROUNDS):
                self.round(home, chosen, one_port=number % 2 == 0, watched=number < WATCHED and not tracing.missing())
        measured(
            self, "R23", rounds=ROUNDS, starts=self.starts, rounds_without_one_broker=self.without_one,
            losers_that_opened_it=self.opened_it, worst_loser_s=self.worst_s,
        )  # fmt: skip
        self.assertEqual((self.without_one, self.opened_it), (0, 0))
        self.assertLessEqual(self.worst_s, 2.0)

    def round(self, home: str, chosen: random.Random, *, one_port: bool, watched: bool) -> None:
        """All on one port or each on its own; on no database, on a closed one, or on what a killed broker left."""
        environ = environment(home)
        database = environ["C2_LATTICE_DB"]
        if chosen.random() < 0.2:
            for part in PARTS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(database + part)
        ports = [free_port()] * AT_ONCE if one_port else [free_port() for _ in range(AT_ONCE)]
        logs = [os.path.join(home, f"trace-{number}") for number in range(AT_ONCE)]
        under = [tracing.command("openat", log=log, more=("--seccomp-bpf", "-s", "300")) if watched else [] for log in logs]
        ear, mouth = os.pipe()
        running = [
            subprocess.Popen(
                [*TOGETHER, *some, *PYTHON, os.path.join(TOP, "broker.py")], env=environ | {"C2_LATTICE_PORT": str(port)}, cwd=home,
                stdin=ear, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
            for some, port in zip(under, ports, strict=True)
        ]  # fmt: skip
        os.close(ear)
        began = time.monotonic()
        os.close(mouth)
        try:
            until(lambda: sum(process.poll() is None for process in running) <= 1, "all but one go", every_s=0.002)
            if not watched:
                self.worst_s = max(self.worst_s, time.monotonic() - began)
            self.starts += AT_ONCE
            left = [process for process in running if process.poll() is None]
            self.assertEqual(len(left), 1, [process.returncode for process in running])
            serving = beneath_strace(left[0].pid)
            self.without_one += not self.serves(home, serving)
            os.kill(serving, chosen.choice((signal.SIGTERM, signal.SIGKILL)))
            left[0].wait(10)
        finally:
            for process in running:
                process.kill()
        for process in running:
            _, said = process.communicate()
            if process not in left:
                self.assertEqual((process.returncode, said.count(b"\n")), (TAKEN, 1), said)
                self.assertIn(b"another broker has", said)
        if watched:
            for process, log in zip(running, logs, strict=True):
                opened = self.opens(log, database)
                self.opened_it += opened and process not in left
                self.assertTrue(opened or process not in left, "one that serves is seen to open it")

    def serves(self, home: str, pid: int) -> bool:
        """Does this broker say where it is, and answer there?"""
        cards = until(lambda: [card for card in brokers_of(home) if card["pid"] == pid], "the one that is left says where it is")
        with contextlib.closing(Wire(int(cards[0]["port"]))) as wire, contextlib.suppress(OSError, Dropped):
            return bool(wire.call("GET", "/health")[1]["pid"] == pid)
        return False

    def opens(self, log: str, database: str) -> bool:
        names = tuple(f'"{database}{part}"' for part in PARTS)
        return any(name in call.arguments for call in tracing.calls(log) for name in names)


if __name__ == "__main__":
    unittest.main()
