"""What an MCP session loads before its first answer, and what the short commands load: design of a light start.

The list is read from `sys.modules` of a fresh interpreter, so it is what really was loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The modules that a start may name, as the program names them; what these bring is found by asking Python.
MAY = ("__future__", "json", "_socket", "threading", "signal", "os", "sys", "time", "re", "enum", "functools", "collections")
NEVER = (
    "typing", "dataclasses", "logging", "pathlib", "argparse", "subprocess", "socket", "hashlib", "hmac", "http", "urllib",
    "inspect", "sqlite3", "unicodedata", "tempfile", "random", "select", "email", "ssl", "asyncio", "datetime",
)  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The modules in a fresh `python -I -S` after this code."""
    script = f"import sys; sys.path.insert(0, {TOP!r})\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return set(done.stdout.split())


class ALightStart(unittest.TestCase):
    may: set[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.may = loaded_by("import " + ", ".join(MAY))

    def light(self, loaded: set[str]) -> None:
        extra = {name for name in loaded - self.may if not name.startswith("lattice")}
        self.assertFalse(extra, f"loaded at the start: {sorted(extra)}")
        self.assertFalse(loaded & set(NEVER))

    def test_the_allowed_modules_bring_none_of_the_forbidden(self) -> None:
        self.assertFalse(self.may & set(NEVER))

    def test_the_ground_floor_and_the_contract(self) -> None:
        self.light(loaded_by("import lattice.errors, lattice.settings, lattice.contract.operations, lattice.contract.params"))

    def test_the_http_client(self) -> None:
        self.light(loaded_by("import lattice.web.client"))

    def test_everything_in_agent_and_hooks(self) -> None:
        for house in ("agent", "hooks"):
            folder = os.path.join(TOP, "lattice", house)
            names = sorted(name[:-3] for name in os.listdir(folder) if name.endswith(".py")) if os.path.isdir(folder) else []
            for name in names:
                if name in ("git", "__init__"):  # git comes after the first answer
                    continue
                with self.subTest(module=f"{house}.{name}"):
                    self.light(loaded_by(f"import lattice.{house}.{name}"))

    def test_the_running_mcp_server_until_its_first_answer(self) -> None:
        ask = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
        with tempfile.TemporaryDirectory() as scratch:
            listing, answers = os.path.join(scratch, "imports"), os.path.join(scratch, "answers")
            environ = {
                "PATH": os.environ.get("PATH", ""), "HOME": scratch, "C2_LATTICE_HOME": os.path.join(scratch, "state"),
                "C2_LATTICE_DB": os.path.join(scratch, "lattice.db"),
            }  # fmt: skip
            with open(answers, "wb") as out, open(listing, "wb") as names:
                done = subprocess.run(
                    [sys.executable, "-I", "-S", "-c", LISTENING_SERVER, TOP, str(names.fileno())],
                    input=json.dumps(ask).encode() + b"\n", stdout=out, stderr=subprocess.PIPE, env=environ, cwd=scratch,
                    pass_fds=(names.fileno(),), timeout=30, check=False,
                )  # fmt: skip
            with open(answers, encoding="utf-8") as file:
                first = file.readline()
            self.assertTrue(first, done.stderr)
            self.assertEqual(json.loads(first)["result"]["serverInfo"]["name"], "c2-lattice")
            with open(listing, encoding="utf-8") as file:
                asked_for = set(file.read().split())
            self.assertIn("lattice.agent.session", asked_for)
            self.light(asked_for)


# Every import is written down as it is asked for, until a byte of an answer is out.
LISTENING_SERVER = """
import os, sys
top, names = sys.argv[1], int(sys.argv[2])
sys.path.insert(0, top)
def note(event, arguments):
    if event == 'import' and os.fstat(1).st_size == 0:
        os.write(names, arguments[0].encode() + b'\\n')
sys.addaudithook(note)
sys.argv[1:] = []
from lattice.agent.main import main
sys.exit(main())
"""


if __name__ == "__main__":
    unittest.main()
