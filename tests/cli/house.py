"""A throw-away home for the scripts, and a way to run them as a person would: their own process, a bare environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest

from lattice.web.client import Client
from tests.running import free_port

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


class Launched(House):
    """A house with a broker on a port of its own, which launch.py starts and stops."""

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.environ["C2_LATTICE_PORT"] = str(self.port)
        self.addCleanup(self.launch, "--stop")

    def launch(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run_script("launch.py", *words, **environ)

    def c2(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run_script(os.path.join("lattice", "cli", "command.py"), *words, **environ)

    def good(self, done: subprocess.CompletedProcess[str], code: int = 0) -> str:
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        return done.stdout

    def refused(self, done: subprocess.CompletedProcess[str], code: int) -> str:
        self.assertEqual((done.returncode, done.stderr.count("\n")), (code, 1), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done.stderr

    def pid(self) -> object:
        client = Client(self.port)
        try:
            return client.call("GET", "/health")["pid"]
        finally:
            client.close()
