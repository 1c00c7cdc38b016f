"""The tests bite: each protection that is taken away makes at least one of its tests fail, and with none taken away they pass."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import unittest

from tests import mutants
from tests.figures import measured
from tests.running import chance

LANES = 2
FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
COUNT = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped\s*\Z")


class TheTestsBite(unittest.TestCase):
    time_bound_s = 3000.0

    def test_each_mutant_is_caught_and_the_code_as_it_is_passes(self) -> None:
        seed = chance(self).randrange(1, 2**31)
        every = tuple(sorted({word for mutant in mutants.MUTANTS for word in mutant.tests}))
        failed, said = self.failures(None, every, seed)
        self.assertEqual(0, failed, f"without a mutant the tests pass: {said}")
        waiting = list(reversed(mutants.MUTANTS))
        caught: dict[str, bool] = {}
        guard = threading.Lock()

        def work() -> None:
            while True:
                with guard:
                    if not waiting:
                        return
                    mutant = waiting.pop()
                for selection in mutant.tests:  # until one has caught it: without its protection a test may run for minutes
                    failed, said = self.failures(mutant, (selection,), seed)
                    if failed:
                        break
                with guard:
                    caught[mutant.name] = failed > 0
                    print(f"{'caught' if failed else 'MISSED'} {mutant.name}: {said}", flush=True)

        lanes = [threading.Thread(target=work) for _ in range(LANES)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        missed = sorted(name for name, was_caught in caught.items() if not was_caught)
        measured(self, "R44", mutants=len(mutants.MUTANTS), caught_percent=100 * (len(caught) - len(missed)) / len(mutants.MUTANTS))
        self.assertEqual(missed, [])
        self.assertEqual(len(caught), len(mutants.MUTANTS))

    def failures(self, mutant: mutants.Mutant | None, selection: tuple[str, ...], seed: int) -> tuple[int, str]:
        """(how many tests failed, which, and the closing line). A run that came to no end is no catch: it says nothing."""
        with tempfile.TemporaryDirectory() as folder:
            done = mutants.run(mutant, os.path.join(folder, "tree"), selection, seed)
        found = COUNT.search(done.stdout)
        assert found is not None, f"{mutant}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        passed, failed, _ = map(int, found.groups())
        assert passed + failed, f"{mutant}: no test ran"
        return failed, "; ".join([*FAILED.findall(done.stdout), found[0].strip()])


if __name__ == "__main__":
    unittest.main()
