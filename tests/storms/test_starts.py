"""Many brokers start at once on one database: one serves, and the others say why and go."""

from __future__ import annotations

import os
import subprocess
import unittest

from tests.running import PYTHON, TOP, brokers_of, environment, figure, free_port, temporary_home, until

ROUNDS = figure(2, 3)


class AllAtOnce(unittest.TestCase):
    time_bound_s = 240.0

    def test_of_many_brokers_on_one_database_one_serves_and_the_others_say_why_and_go(self) -> None:
        for _ in range(ROUNDS):
            with temporary_home() as home:
                running = [
                    subprocess.Popen(
                        [*PYTHON, os.path.join(TOP, "broker.py")], env=environment(home, C2_LATTICE_PORT=str(free_port())), cwd=home,
                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    )
                    for _ in range(figure(5, 20))
                ]  # fmt: skip
                try:
                    survivors = self.losers_go(running)
                    self.assertEqual(len(survivors), 1)
                    cards = until(lambda home=home: brokers_of(home), "the one that is left says where it is")
                    self.assertEqual([card["pid"] for card in cards], [survivors[0].pid])
                finally:
                    for process in running:
                        process.kill()
                        process.communicate()

    def losers_go(self, running: list[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
        left = list(running)
        for _ in range(600):
            for process in list(left):
                try:
                    said = process.communicate(timeout=0.1 if len(left) > 1 else 0.5)[0]
                except subprocess.TimeoutExpired:
                    continue
                left.remove(process)
                self.assertNotEqual(process.returncode, 0)
                self.assertNotIn(b"Traceback", said)
            if len(left) <= 1:
                return left
        return left


if __name__ == "__main__":
    unittest.main()
