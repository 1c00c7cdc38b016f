"""Schemathesis calls a real broker by the document that the broker serves (R37): all its checks, all its phases.

Left out are two operations: the live feed, which has no end, and the stop. Waiting calls are bounded by `openapi_hooks`, and
what may be answered beyond schemathesis' own expectations stands with its reasons in `schemathesis.toml`.
"""

from __future__ import annotations

import json
import os
import subprocess
import unittest

from tests.field import programs
from tests.figures import measured
from tests.running import TOP, Broker, chance, figure

NEEDS = "schemathesis: pip install schemathesis==4.32.5 (.ci/run does)"
EXAMPLES = figure(3, 12, 60)
LEFT_OUT = ("events", "shutdown")


class TheDocumentIsTrue(unittest.TestCase):
    time_bound_s = 3000.0

    def test_every_answer_is_as_the_document_says(self) -> None:
        python = programs.python_with("schemathesis")
        seed = chance(self).randrange(1, 2**31)
        # Nothing that could open a terminal or a session is on the broker's PATH.
        with Broker(PATH="/nonexistent") as broker:
            person = self.furnish(broker)
            report = os.path.join(broker.home, "report.json")
            said = subprocess.run(
                [
                    python, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
                    "--config-file", os.path.join(TOP, "tests", "field", "schemathesis.toml"),
                    "run", f"http://127.0.0.1:{broker.port}/openapi.json", "-u", f"http://127.0.0.1:{broker.port}",
                    "-H", f"Authorization: Bearer {person}", "--phases", "examples,coverage,fuzzing,stateful", "--checks", "all",
                    "--max-examples", str(EXAMPLES), "--seed", str(seed), "--continue-on-failure", "--request-timeout", "20",
                    *(word for name in LEFT_OUT for word in ("--exclude-operation-id", name)),
                    "--generation-database", "none",
                    "--suppress-health-check", "all",  # these judge how it finds its examples, and how quickly
                    "--report", "json", "--report-json-path", report, "--warnings", "off",
                ],
                env={"PATH": os.environ["PATH"], "HOME": broker.home, "NO_COLOR": "1", "PYTHONPATH": TOP,
                     "SCHEMATHESIS_HOOKS": "tests.field.openapi_hooks"},
                cwd=broker.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self.time_bound_s - 60, check=False,
            )  # fmt: skip
            log = broker.log()
            self.assertTrue(os.path.exists(report), said.stdout[-4000:] + said.stderr[-4000:])
            with open(report, encoding="utf-8") as file:
                found = json.load(file)
        cases, operations = found["test_cases"], found["operations"]
        failures = cases["unique_failures"] + cases["errored"] + len(found["errors"]) + operations["errored"]
        phases = {name: phase["status"] for name, phase in found["phases"].items()}
        print(f"{cases['generated']} cases of {operations['tested']} operations, seed {seed}: {phases}")
        measured(self, "R37", operations=operations["tested"], cases=cases["generated"], failures=failures)
        self.assertEqual(0, failures, said.stdout[-12_000:])
        self.assertEqual({"success"}, set(phases.values()), phases)
        self.assertEqual((True, len(LEFT_OUT)), (found["complete"], operations["total"] - operations["tested"]))
        self.assertNotIn("Traceback", log)

    def furnish(self, broker: Broker) -> str:
        """What the document's examples name is there. The person's token: who may do the most."""
        person = broker.person()
        worker = broker.enrol("worker-fe", beat_ms=60_000)
        worker.post("/runs", {"id": "diamond", "name": "the diamond"})
        worker.post("/tasks", {"title": "Show the wrong password", "run_id": "diamond"})
        person.post("/send", {"recipient_id": "worker-fe", "category": "finding", "content": "The parser takes both forms now."})
        worker.post("/escalations", {"kind": "blocker", "text": "May I rename the column?", "task_id": 1})
        person.post("/memory", {"key": "database", "value": "SQLite, in WAL"})
        return person.token


if __name__ == "__main__":
    unittest.main()
