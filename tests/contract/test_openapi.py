"""The OpenAPI document says of each operation and field what the table says, and refuses what the check refuses."""

from __future__ import annotations

import copy
import json
import re
import unittest
from typing import Any

from lattice.contract import openapi
from lattice.contract.operations import ANYONE, BY_NAME, OPERATIONS, fields_on
from lattice.contract.params import check_fields
from lattice.errors import BadRequest, Refusal
from lattice.web import body as strict
from tests.fuzz import bodies
from tests.running import chance, figure

DOCUMENT: dict[str, Any] = json.loads(openapi.text())
ON_HTTP = [operation for operation in OPERATIONS if "http" in operation.surfaces]


def said_of(name: str) -> dict[str, Any]:
    operation = BY_NAME[name]
    found: dict[str, Any] = copy.deepcopy(DOCUMENT["paths"][operation.path][operation.method.lower()])
    return found


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [reference for member in value.values() for reference in references(member)]
    return [reference for item in value for reference in references(item)] if isinstance(value, list) else []


class TheDocument(unittest.TestCase):
    def test_it_has_every_operation_once_and_nothing_else(self) -> None:
        found = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
        self.assertEqual(sorted(operation.name for operation in ON_HTTP), sorted(found))
        self.assertEqual("3.1.0", DOCUMENT["openapi"])

    def test_every_reference_and_every_link_leads_somewhere(self) -> None:
        for reference in {*references(DOCUMENT)}:
            found: Any = DOCUMENT
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]
        for name, links in openapi.LINKS.items():
            for target, parameter, _ in links:
                self.assertIn(parameter, BY_NAME[target].path_params, name)

    def test_every_field_is_a_parameter_or_in_the_body_with_what_is_required(self) -> None:
        for operation in ON_HTTP:
            said = said_of(operation.name)
            parameters = {one["name"]: one for one in said.get("parameters", ())}
            body = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            for param in fields_on(operation, "http"):
                in_path = param.name in operation.path_params
                if in_path or operation.method == "GET":
                    one = parameters.pop(param.name)
                    self.assertEqual("path" if in_path else "query", one["in"])
                    self.assertEqual(in_path or param.required, one["required"], param.name)
                else:
                    self.assertEqual(param.required, param.name in body.get("required", ()), param.name)
                    del body["properties"][param.name]
            self.assertEqual(({}, {}), (parameters, body.get("properties", {})), operation.name)

    def test_who_may_is_said_as_security_and_as_text(self) -> None:
        for operation in ON_HTTP:
            said = said_of(operation.name)
            self.assertEqual(list(operation.roles), said["x-roles"])
            if operation.roles == ANYONE:
                self.assertEqual([], said["security"])
                continue
            self.assertIn(operation.roles[0], said["description"])
            named = [roles for one in said["security"] for roles in one.get("token", ())]
            self.assertEqual([role for role in operation.roles if role != "ticket"], named)
            self.assertEqual("ticket" in operation.roles, any("ticket" in one for one in said["security"]))

    def test_every_refusal_is_the_one_shape(self) -> None:
        for operation in ON_HTTP:
            said = said_of(operation.name)
            for status, answer in said["responses"].items():
                if status != "200":
                    self.assertTrue(answer["$ref"].startswith("#/components/responses/"))
        for answer in DOCUMENT["components"]["responses"].values():
            self.assertEqual({"$ref": "#/components/schemas/Error"}, answer["content"]["application/json"]["schema"])

    def test_shapes_and_examples_are_of_fields_that_are_there(self) -> None:
        fields = {param.name for operation in ON_HTTP for param in operation.params}
        for name in openapi.SHAPES:
            operation, _, field = name.rpartition(".")
            self.assertIn(field, {param.name for param in BY_NAME[operation].params} if operation else fields)
        self.assertEqual(set(), set(openapi.EXAMPLES) - fields)


class TheSameField(unittest.TestCase):
    def test_the_schema_refuses_what_the_check_refuses_and_takes_what_it_takes(self) -> None:
        """But for what handlers ask beyond: where SHAPES says more, the schema may refuse more."""
        chosen = chance(self)
        seen = {True: 0, False: 0}
        stricter = {name.rpartition(".")[2] for name in openapi.SHAPES} | {name for pair in openapi.ONE_OF.values() for name in pair}
        for number in range(figure(600, 6000, 60_000)):
            operation = bodies.POSTS[number % len(bodies.POSTS)]
            if "requestBody" not in DOCUMENT["paths"][operation.path]["post"]:
                continue
            try:
                body = strict.parse(bodies.spoiled(chosen, operation).body)
            except BadRequest:
                continue  # the gate of bodies refuses it before anybody looks at fields
            fields = tuple(param for param in fields_on(operation, "http") if param.name not in operation.path_params)
            try:
                check_fields(fields, body)
                taken = True
            except Refusal:
                taken = False
            schema = DOCUMENT["paths"][operation.path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            faults = list(faults_of(schema, body))
            seen[taken] += 1
            if taken and not stricter & {param.name for param in fields}:
                self.assertEqual([], faults, f"{operation.name} {body}")
            elif not taken:
                self.assertTrue(faults, f"{operation.name} {body}")
        self.assertGreater(min(seen.values()), 50, seen)


def faults_of(schema: dict[str, Any], value: Any, where: str = "") -> list[str]:
    """What of JSON Schema the document uses, and no more."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]] | schema
    if "anyOf" in schema and all(faults_of(one, value, where) for one in schema["anyOf"]):
        return [f"{where}: none of the ways"]
    if "not" in schema and not faults_of(schema["not"], value, where):
        return [f"{where}: what it must not be"]
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict, "null": type(None)}
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if wanted and not any(isinstance(whole, types[one]) and isinstance(whole, bool) == (one == "boolean") for one in wanted):  # type: ignore[arg-type]
        return [f"{where}: {value!r} is none of {wanted}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of the choices")
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            found.append(f"{where}: length")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{where}: pattern")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{where}: out of bounds")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{where}: items")
        found += [fault for number, one in enumerate(value) for fault in faults_of(schema.get("items", {}), one, f"{where}[{number}]")]
    if isinstance(value, dict):
        found += [f"{where}: {name} missing" for name in schema.get("required", ()) if name not in value]
        for name, member in value.items():
            fitting = [sub for pattern, sub in schema.get("patternProperties", {}).items() if re.search(pattern, name)]
            fitting += [schema["properties"][name]] if name in schema.get("properties", {}) else []
            if not fitting and schema.get("additionalProperties") is False:
                found.append(f"{where}: {name} unknown")
            found += [fault for sub in fitting for fault in faults_of(sub, member, f"{where}.{name}")]
    return found


if __name__ == "__main__":
    unittest.main()
