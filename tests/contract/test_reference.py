"""The pages under docs/ say what the table says."""

from __future__ import annotations

import csv
import io
import os
import unittest

from lattice.contract import chapters, reference
from lattice.contract.operations import OPERATIONS, TOOLS, fields_on
from lattice.guard import roles

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs")


class ReferenceTest(unittest.TestCase):
    def test_the_files_are_what_the_table_makes(self) -> None:
        for name, content in reference.files().items():
            with open(os.path.join(DOCS, name), encoding="utf-8", newline="") as file:
                self.assertTrue(
                    file.read() == content, f"docs/{name} is not what the table says; run: python -m lattice.contract.reference"
                )

    def test_every_operation_has_a_chapter_a_route_and_all_its_fields(self) -> None:
        sections = reference.page().split("\n### ")
        for operation in OPERATIONS:
            self.assertIn(chapters.of(operation.path), dict(chapters.CHAPTERS))
            section = next(section for section in sections if section.startswith(operation.name + "\n"))
            self.assertIn(f"`{operation.route}`", section)
            for param in operation.params:
                self.assertIn(f"`{param.name}`", section)

    def test_every_tool_is_there_with_its_arguments(self) -> None:
        section = reference.page().split("## The 22 tools\n")[1].split("\n## ")[0]
        for name in TOOLS:
            row = next(line for line in section.split("\n") if line.startswith(f"| `{name}` | "))
            operation = next(operation for operation in OPERATIONS if operation.name == name)
            for param in fields_on(operation, "mcp"):
                self.assertIn(param.name, row)

    def test_every_table_has_as_many_cells_in_each_row_as_in_its_header(self) -> None:
        width = 0
        for line in reference.page().split("\n"):
            cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
            if cells and width:
                self.assertEqual(width, cells, line)
            width = cells

    def test_the_matrix_says_what_the_guard_does(self) -> None:
        rows = list(csv.DictReader(io.StringIO(reference.access_matrix())))
        self.assertEqual([operation.name for operation in OPERATIONS], [row["operation"] for row in rows])
        self.assertEqual(roles.PRINCIPALS, reference.PRINCIPALS)
        for operation, row in zip(OPERATIONS, rows, strict=True):
            for principal in roles.PRINCIPALS:
                self.assertEqual(roles.may(principal, operation.roles), row[principal] == "yes", (operation.name, principal))


if __name__ == "__main__":
    unittest.main()
