"""Settings: the one table, and what is refused."""

from __future__ import annotations

import os
import re
import tempfile
import unittest

from lattice import settings


class SettingsTest(unittest.TestCase):
    def test_the_types_named_for_checkers_are_those_of_the_table(self) -> None:
        with open(settings.__file__, encoding="utf-8") as file:
            text = file.read()
        body = text.split("class Settings(NamedTuple):")[1].split("\nelse:")[0]
        self.assertEqual(re.findall(r"^        (\w+): ", body, re.MULTILINE), [setting.name for setting in settings.SETTINGS])

    def test_an_empty_environment_gives_the_defaults(self) -> None:
        found = settings.read({"HOME": "/nowhere"})
        self.assertEqual((found.port, found.rate, found.spawn), (0, 10, "ask"))
        self.assertTrue(os.path.isabs(found.home) and os.path.isabs(found.db))

    def test_a_value_that_cannot_be_used_is_named_with_what_is_allowed(self) -> None:
        for name, value in (("C2_LATTICE_PORT", "0"), ("C2_LATTICE_PORT", "70000"), ("C2_LATTICE_PORT", "78٣"), ("C2_LATTICE_RATE", "-1")):
            with self.subTest(name=name, value=value), self.assertRaisesRegex(settings.BadSetting, f"{name}={value}: must be"):
                settings.read({name: value})

    def test_a_state_directory_that_others_can_read_is_refused(self) -> None:
        if os.name == "nt":
            self.skipTest("a profile folder is closed by its ACL there")
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with self.assertRaisesRegex(PermissionError, "chmod 700"):
                settings.make_home(folder)


if __name__ == "__main__":
    unittest.main()
