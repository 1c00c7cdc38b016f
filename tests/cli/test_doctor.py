"""doctor: it finds what is wrong, says what mends it, and changes nothing."""

from __future__ import annotations

import os
import shlex
import sys
import unittest

from tests.cli.house import TOP, House
from tests.cli.stand_in import StandIn

COMMAND = os.path.join("lattice", "cli", "command.py")


class Doctor(House):
    def doctor(self, code: int, **environ: str) -> list[str]:
        before = self.files()
        done = self.run_script(COMMAND, "doctor", **environ)
        self.assertEqual((done.returncode, done.stderr), (code, ""), done.stdout)
        self.assertEqual(self.files(), before)
        return done.stdout.splitlines()

    def setUp(self) -> None:
        super().setUp()
        broker = StandIn(b"s" * 40)
        self.addCleanup(broker.stop)
        self.broker = broker
        self.environ |= {"C2_LATTICE_SECRET": "s" * 40, "C2_LATTICE_PORT": str(broker.port)}

    def test_a_new_home_has_nothing_wrong(self) -> None:
        lines = self.doctor(0)
        self.assertTrue(any(line.startswith("ok") and "running on" in line for line in lines), lines)
        said = shlex.join([sys.executable, os.path.join(TOP, "install.py")])  # it is read in any folder
        self.assertTrue(any(line.endswith(f": {said}") for line in lines), lines)

    def test_a_foreign_program_a_short_secret_and_a_damaged_registration_are_wrong(self) -> None:
        self.assertTrue(any(line.startswith("WRONG") and "short" not in line for line in self.doctor(1, C2_LATTICE_SECRET="x")))
        self.broker.is_foreign = True
        self.assertTrue(any(line.startswith("WRONG") and "another program" in line for line in self.doctor(1)))
        self.broker.is_foreign = False
        with open(os.path.join(self.folder, ".claude.json"), "w", encoding="utf-8") as file:
            file.write('{"mcpServers": {"c2-lattice": {"command": "/gone/python", "args": ["/gone/mcp_server.py"]}}}')
        self.assertTrue(any(line.startswith("WRONG") and "interpreter is gone" in line for line in self.doctor(1)))

    def test_the_hooks_are_looked_at(self) -> None:
        self.run_script("install.py", "--no-hooks")
        self.assertTrue(any(line.startswith("note") and "none of ours" in line for line in self.doctor(0)))
        self.run_script("install.py")
        self.assertTrue(any(line.startswith("ok") and "hooks: in " in line for line in self.doctor(0)))
        path = os.path.join(self.folder, ".claude", "settings.json")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("{", '{"disableAllHooks": true, ', 1))
        self.assertTrue(any(line.startswith("WRONG") and "disableAllHooks" in line for line in self.doctor(1)))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(TOP, "/gone"))
        self.assertTrue(any(line.startswith("WRONG") and "script is gone" in line for line in self.doctor(1)))

    @unittest.skipIf(os.name == "nt", "modes of POSIX")
    def test_files_open_to_others_are_wrong_and_the_line_that_closes_them_is_said(self) -> None:
        os.makedirs(self.home)
        os.chmod(self.home, 0o755)
        self.assertIn(f"WRONG {self.home} is open to other users; close it: chmod 700 {self.home}", self.doctor(1))

    def test_a_setting_that_cannot_be_used_is_status_two(self) -> None:
        done = self.run_script(COMMAND, "doctor", C2_LATTICE_RATE="many")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))


if __name__ == "__main__":
    unittest.main()
