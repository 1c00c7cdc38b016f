"""A throw-away home for the scripts, and a way to run them as a person would: their own process, a bare environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class House(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))
        self.home = os.path.join(self.folder, ".c2-lattice")
        self.environ = {"HOME": self.folder, "PATH": "/usr/bin:/bin"}
        if os.name == "nt":
            self.environ |= {"USERPROFILE": self.folder, "LOCALAPPDATA": self.folder, "SYSTEMROOT": os.environ["SYSTEMROOT"]}

    def run_script(self, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", os.path.join(TOP, script), *words], env={**self.environ, **environ}, cwd=self.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """Every file below the home, with what is in it; folders end with a slash."""
        found = {}
        for folder, folders, names in os.walk(self.folder):
            for name in folders:
                found[os.path.join(folder, name) + "/"] = b""
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = file.read()
        return found
