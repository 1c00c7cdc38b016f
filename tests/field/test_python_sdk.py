"""The official MCP SDK for Python drives three real servers through a diamond of tasks, in both eras of the protocol."""

from __future__ import annotations

import json
import subprocess
import unittest
from typing import Any

from lattice.contract.operations import TOOLS
from tests.field import programs
from tests.running import TOP, free_port, temporary_home

NEEDS = "the official MCP SDK: pip install mcp==2.3.0 (.ci/run does)"


class ThePythonSdk(unittest.TestCase):
    time_bound_s = 120.0

    def walk(self, mode: str) -> dict[str, Any]:
        python = programs.python_with("mcp", "mcp_types")
        home = self.enterContext(temporary_home())
        done = subprocess.run(
            [python, "-m", "tests.field.sdk_walk", mode, home, str(free_port())],
            cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def diamond(self, mode: str, version: str) -> None:
        told = self.walk(mode)
        self.assertEqual(told["versions"], [version])
        self.assertEqual(told["tools"], list(TOOLS))
        self.assertTrue(told["early_is_error"], "the roof cannot be claimed before the walls")
        self.assertEqual(told["ended"][0], "base")
        self.assertEqual(sorted(told["ended"][1:3]), ["left", "right"])
        self.assertEqual(told["ended"][3], "roof")
        self.assertEqual(told["run"], [[name, "completed"] for name in ("base", "left", "right", "roof")])
        self.assertEqual([letter[0] for letter in told["mail"]], ["w1"])
        self.assertIn("the diamond is done", told["mail"][0][1])
        self.assertEqual(told["peers"], ["w1", "w2"])
        self.assertEqual(told["faults"], [])
        self.assertGreater(told["lines"], 25)

    def test_auto_mode_finds_the_newest_revision(self) -> None:
        self.diamond("auto", "2026-07-28")

    def test_the_newest_revision_when_it_is_demanded(self) -> None:
        self.diamond("2026-07-28", "2026-07-28")

    def test_the_handshake_revisions(self) -> None:
        self.diamond("legacy", "2025-11-25")


if __name__ == "__main__":
    unittest.main()
