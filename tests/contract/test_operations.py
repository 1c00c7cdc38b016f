"""The table is whole and says nothing twice."""

from __future__ import annotations

import re
import unittest
from collections import Counter

from lattice.contract import operations
from lattice.contract.operations import BY_NAME, ON_THE_WIRE, OPERATIONS, READ_ONLY_TOOLS, TOOLS, fields_on
from lattice.contract.params import Param, check
from lattice.guard.roles import PRINCIPALS


def all_params(params: tuple[Param, ...]) -> list[Param]:
    return [inner for param in params for inner in (param, *all_params(param.fields or ()))]


class TableTest(unittest.TestCase):
    def test_every_operation_has_one_name_and_every_name_is_a_word(self) -> None:
        self.assertEqual(len(OPERATIONS), len(BY_NAME))
        for name in BY_NAME:
            self.assertRegex(name, r"\A[a-z][a-z0-9_]*\Z")

    def test_no_two_operations_on_http_share_a_route(self) -> None:
        shared = [route for route, count in Counter(op.route for op in OPERATIONS if "http" in op.surfaces).items() if count > 1]
        self.assertEqual([], shared)

    def test_an_operation_that_is_not_on_http_has_a_twin_there_that_takes_its_fields(self) -> None:
        for operation in OPERATIONS:
            if "http" not in operation.surfaces:
                twins = [twin for twin in OPERATIONS if twin.route == operation.route and "http" in twin.surfaces]
                self.assertEqual(1, len(twins), operation.name)
                taken = {param.name: param for param in fields_on(twins[0], "http")}
                renamed = ON_THE_WIRE.get(operation.name, {})
                for param in operation.params:
                    name = renamed.get(param.name, param.name)
                    self.assertIn(name, taken, operation.name)
                    self.assertEqual(param.kind, taken[name].kind, operation.name)
                    self.assertLessEqual(param.max_chars, taken[name].max_chars, operation.name)
                for name, value in operation.preset.items():
                    check(taken[name], value)
                given = {renamed.get(param.name, param.name) for param in operation.params} | set(operation.preset)
                self.assertEqual(set(), {param.name for param in taken.values() if param.required} - given, operation.name)
                self.assertLessEqual(set(operation.roles), set(twins[0].roles), operation.name)

    def test_words_come_from_their_lists(self) -> None:
        for operation in OPERATIONS:
            self.assertIn(operation.method, ("GET", "POST"))
            self.assertIn(operation.effect, ("read", "write", "act"))
            self.assertIn(operation.risk, ("low", "medium", "high"))
            self.assertLessEqual(set(operation.roles), set(PRINCIPALS), operation.name)
            self.assertTrue(operation.roles, operation.name)
            self.assertLessEqual(set(operation.surfaces), {"http", "mcp", "cli"}, operation.name)
            self.assertRegex(operation.path, r"\A(/[a-z_{}.-]+)+\Z")

    def test_a_get_changes_nothing_but_the_inbox_of_v4(self) -> None:
        for operation in OPERATIONS:
            if operation.method == "GET" and operation.name != "v4_messages":
                self.assertEqual("read", operation.effect, operation.name)

    def test_every_write_takes_an_idempotency_key_and_beside_them_only_what_opens_a_session(self) -> None:
        for operation in OPERATIONS:
            takes_one = operation.effect == "write" or operation.name == "spawn_worker"
            self.assertEqual(takes_one, operations.IDEMPOTENCY_KEY in operation.params, operation.name)

    def test_what_stands_in_a_path_is_a_required_param_or_can_be_the_caller(self) -> None:
        for operation in OPERATIONS:
            self.assertEqual(re.findall(r"{(\w+)}", operation.path), list(operation.path_params))
            for name in operation.path_params:
                param = next(param for param in operation.params if param.name == name)
                self.assertTrue(param.required or operation.name == "get_conversation", operation.name)

    def test_every_param_is_sound(self) -> None:
        for operation in OPERATIONS:
            names = [param.name for param in operation.params]
            self.assertEqual(len(names), len(set(names)), operation.name)
            for param in all_params(operation.params):
                self.assertIn(param.kind, ("text", "integer", "flag", "choice", "list", "object"))
                self.assertIn(param.of, ("text", "integer", "reference", "object"))
                self.assertIn(param.only, ("", "http", "mcp", "cli"))
                self.assertEqual(param.kind == "choice", bool(param.choices), f"{operation.name}.{param.name}")
                self.assertFalse(param.required and param.default is not None, f"{operation.name}.{param.name}")
                if param.default is not None:
                    self.assertEqual(param.default, check(param, param.default), f"{operation.name}.{param.name}")

    def test_identity_is_never_required_and_never_shown_to_a_tool(self) -> None:
        for operation in OPERATIONS:
            for param in operation.params:
                if param.identity:
                    self.assertFalse(param.required, operation.name)
                    self.assertEqual("http", param.only, operation.name)


class ToolsTest(unittest.TestCase):
    def test_there_are_twenty_two_tools_each_with_a_twin_on_the_command_line(self) -> None:
        self.assertEqual((22, 22), (len(TOOLS), len(set(TOOLS))))
        for name in TOOLS:
            self.assertIn("mcp", BY_NAME[name].surfaces)
            if name != "view_dashboard":
                self.assertIn("cli", BY_NAME[name].surfaces, name)

    def test_every_operation_with_the_mcp_surface_is_a_tool_or_in_a_set_of_its_own(self) -> None:
        for operation in OPERATIONS:
            if "mcp" in operation.surfaces and operation.toolset == "core":
                self.assertIn(operation.name, TOOLS)

    def test_a_read_only_tool_reads_or_takes_mail(self) -> None:
        for name in TOOLS:
            self.assertEqual(BY_NAME[name].effect == "read" or name == "check_messages", name in READ_ONLY_TOOLS, name)

    def test_a_tool_can_be_called_with_what_it_shows(self) -> None:
        for name in TOOLS:
            operation = BY_NAME[name]
            shown = {param.name for param in fields_on(operation, "mcp")} | set(operation.preset)
            for param in operation.params:
                if param.required:
                    self.assertIn(param.name, shown, name)

    def test_a_description_is_one_short_line(self) -> None:
        for operation in OPERATIONS:
            self.assertTrue(operation.doc and operation.doc.isprintable() and len(operation.doc) <= 120, operation.name)


if __name__ == "__main__":
    unittest.main()
