"""SIGKILL at any moment under load: what was acknowledged is there, once and whole, and what was not can be repeated."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.figures import measured
from tests.running import TOP, Broker, chance, figure, until
from tests.storms import deeds

STORMS = 2  # brokers beside each other, each with a load of its own
KILLS = figure(4, 200, 600)  # of both together, as are the acknowledged deeds
DEEDS = figure(800, 100_000, 300_000)
CLIENTS = 8
# Mostly those that cost little: what is to be shown is that none is lost.
KINDS = ["memory"] * 7 + ["count"] * 5 + ["message"] * 4 + ["batch"] * 2 + ["blocker"] * 2
WHILE_IT_STARTS = 0.1  # of the kills


class Load:
    """The process whose clients write (`writing.py`)."""

    def __init__(self, broker: Broker, seed: int) -> None:
        tokens = [broker.enrol(f"w{number}").token for number in range(CLIENTS)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.storms.writing", str(broker.port), str(seed), ",".join(KINDS)],
            cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.acknowledged = 0
        self.said: dict[str, Any] = {}
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join(tokens) + "\n")
        self.process.stdin.flush()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.said = json.loads(line)
            else:
                self.acknowledged = int(line)

    def reach(self, count: int) -> None:
        """Wait until so many deeds are acknowledged."""
        until(lambda: self.acknowledged >= count or self.said, f"{count} acknowledged", 120, every_s=0.002)
        assert not self.said, self.said["faults"]

    def end(self) -> dict[str, Any]:
        """Let the last deeds be acknowledged; what all clients had."""
        self.close()
        assert self.said, "the load ended without a word"
        assert not self.said["faults"], self.said["faults"]
        return self.said

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join(10)
            self.process.stdout.close()


class TheBrokerIsKilled(unittest.TestCase):
    time_bound_s = 600.0

    def test_nothing_acknowledged_is_lost_nothing_is_doubled_or_torn_and_the_chain_verifies(self) -> None:
        chosen = chance(self)
        seeds = [chosen.getrandbits(32) for _ in range(STORMS)]
        with ThreadPoolExecutor(STORMS) as side_by_side:
            storms = list(side_by_side.map(self.storm, seeds))
        total = {name: sum(storm[name] for storm in storms) for name in storms[0]}
        print(total)
        repeated = total.pop("repeated")
        self.assertGreaterEqual(repeated, KILLS // 2, "deeds were under way when it was killed")
        measured(self, "R1", **total)
        self.assertEqual((total["lost"], total["doubled"], total["torn"]), (0, 0, 0))
        self.assertGreaterEqual((total["kills"], total["acknowledged"]), (KILLS, DEEDS))

    def storm(self, seed: int) -> dict[str, int]:
        """One broker that is killed again and again, and what became of the deeds."""
        chosen = random.Random(seed)
        with Broker() as broker:
            broker.enrol("arch", "architect")
            load = Load(broker, seed)
            try:
                kills = self.kill_often(broker, load, chosen)
            except BaseException:
                load.close()
                raise
            said = load.end()
            with contextlib.closing(broker.person()) as person:
                person.timeout_s = 120
                verdict = person.get("/events/verify")
            self.assertTrue(verdict["ok"], verdict)
            self.assertNotIn("Traceback", broker.output())
            self.assertEqual(broker.stop(), 0)
            with contextlib.closing(sqlite3.connect(broker.database)) as database:
                self.assertEqual(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            found = deeds.found(broker.database)
        if found.halves:
            print(found.halves[:20])
        return {
            "kills": kills, "acknowledged": len(said["acknowledged"]), "repeated": said["repeated"], "torn": len(found.halves),
            "lost": sum(not found.times[key] for key in said["acknowledged"]), "doubled": sum(times > 1 for times in found.times.values()),
        }  # fmt: skip

    def kill_often(self, broker: Broker, load: Load, chosen: random.Random) -> int:
        """Kill it at moments that are spread over the deeds, sometimes while it starts; how often."""
        kills, wanted = 0, KILLS // STORMS
        moments = sorted(chosen.randrange(DEEDS // STORMS) for _ in range(wanted))
        for moment in moments:
            if kills and chosen.random() < WHILE_IT_STARTS:
                broker.launch()
                time.sleep(chosen.random() * 0.3)  # not to order anything: a moment like any other
            else:
                if kills:
                    broker.start()
                load.reach(moment)
                time.sleep(chosen.random() * 0.01)
            broker.kill()
            kills += 1
        broker.start()
        load.reach(DEEDS // STORMS)
        return kills


if __name__ == "__main__":
    unittest.main()
