"""Every threat of the list, S1 to S29, has its class of tests somewhere in this folder, and its row in docs/security.md."""

from __future__ import annotations

import ast
import os
import re
import unittest

THREATS = range(1, 30)
HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "security.md")
_NAME = re.compile(r"S(\d\d)[A-Z]\w*\Z")


def classes() -> dict[int, list[str]]:
    """Threat -> the classes whose names begin with it and that have tests."""
    found: dict[int, list[str]] = {}
    for name in sorted(os.listdir(HERE)):
        if not name.startswith("test_") or not name.endswith(".py"):
            continue
        with open(os.path.join(HERE, name), encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in tree.body:
            threat = _NAME.match(node.name) if isinstance(node, ast.ClassDef) else None
            if threat and any(isinstance(one, ast.FunctionDef) and one.name.startswith("test_") for one in node.body):
                found.setdefault(int(threat[1]), []).append(f"{name[:-3]}.{node.name}")
    return found


class EveryThreat(unittest.TestCase):
    def test_has_a_class_with_tests_and_in_one_module(self) -> None:
        found = classes()
        self.assertEqual([], [f"S{number}" for number in THREATS if number not in found], "without a test")
        self.assertEqual([], [number for number in found if number not in THREATS])
        for number, names in found.items():
            self.assertEqual(1, len({name.partition(".")[0] for name in names}), f"S{number} is in more than one module: {names}")

    def test_has_its_row_in_the_threat_model_and_the_module_that_is_named_there_is_its_own(self) -> None:
        with open(MODEL, encoding="utf-8") as file:
            rows = [
                re.fullmatch(r"\| S(\d+) [^|]+ \| [^|]+ \| `tests/threats/(\w+)\.py`.*\|\n", line)
                for line in file
                if re.match(r"\| S\d", line)
            ]
        self.assertNotIn(None, rows)
        named = [(int(row[1]), row[2]) for row in rows if row]
        self.assertEqual([(number, names[0].partition(".")[0]) for number, names in sorted(classes().items())], named)


if __name__ == "__main__":
    unittest.main()
