"""A value is what its param says, or the refusal tells what it must be."""

from __future__ import annotations

import json
import random
import unittest

from lattice.contract import operations
from lattice.contract.params import MAX_INTEGER, MAX_ITEMS, Param, check, check_fields, from_text, object_schema, schema
from lattice.errors import BadRequest, Forbidden, Refusal, TooLarge

OF_EVERY_KIND = (
    Param("t", "text", max_chars=5), Param("i", "integer", minimum=1, maximum=9),
    Param("f", "flag"), Param("c", "choice", choices=("a", "b")),
    Param("l", "list", max_chars=3), Param("n", "list", of="integer"), Param("r", "list", of="reference"),
    Param("o", "object", fields=(Param("x", "text", required=True),)),
    Param("p", "list", of="object", fields=(Param("x", "integer", default=7),)),
)  # fmt: skip


class CheckTest(unittest.TestCase):
    def good(self, param: Param, value: object, as_: object = ...) -> None:
        self.assertEqual(value if as_ is ... else as_, check(param, value))

    def bad(self, param: Param, *values: object, kind: type[Refusal] = BadRequest) -> None:
        for value in values:
            with self.assertRaises(kind, msg=repr(value)) as caught:
                check(param, value)
            self.assertIn(param.name, caught.exception.message)

    def test_text_is_a_string_of_real_characters_within_its_limit(self) -> None:
        param = Param("title", "text", max_chars=5)
        for value in ("", "abc", "é日😀xy", "a\nb"):
            self.good(param, value)
        self.bad(param, 1, None, True, [], {}, b"a", 1.5, "a\0b", "\ud800")
        self.bad(param, "abcdef", "😀" * 6, kind=TooLarge)

    def test_a_text_that_is_too_long_is_told_the_limit(self) -> None:
        with self.assertRaises(TooLarge) as caught:
            check(Param("title", "text", max_chars=5), "abcdef")
        self.assertEqual({"limit": 5}, caught.exception.details)

    def test_a_required_text_is_more_than_blanks(self) -> None:
        self.bad(Param("title", "text", required=True), "", "  \n")

    def test_an_integer_is_whole_and_within_its_bounds(self) -> None:
        param = Param("n", "integer", minimum=1, maximum=9)
        for value in (1, 9):
            self.good(param, value)
        self.good(param, 3.0, 3)  # as JSON Schema has it; some programs write all numbers so
        self.bad(param, 0, 10, True, False, "1", 1.5, 0.0, 1e300, None, [], float("nan"), float("inf"), -(10**400), 10**400)
        self.good(Param("n", "integer"), MAX_INTEGER)
        self.bad(Param("n", "integer"), MAX_INTEGER + 1, -MAX_INTEGER - 1)

    def test_a_loose_integer_of_a_wrong_type_counts_as_not_given(self) -> None:
        value: object
        for value in ("12", None, 1.5, True, [], 2**60):
            self.good(Param("tokens_used", "integer", loose=True), value, None)

    def test_a_flag_is_true_or_false_and_nothing_like_it(self) -> None:
        self.good(Param("f", "flag"), True)
        self.bad(Param("f", "flag"), 1, 0, "true", None, [])

    def test_a_choice_is_one_of_its_words_and_a_wrong_one_is_told_them_all(self) -> None:
        param = Param("priority", "choice", choices=("high", "low"))
        self.good(param, "low")
        self.bad(param, "High", "", " low", None, 1, ["low"], {})
        with self.assertRaises(BadRequest) as caught:
            check(param, "urgent")
        self.assertEqual(["high", "low"], caught.exception.details["allowed"])

    def test_a_forbidden_choice_is_forbidden_rather_than_wrong(self) -> None:
        self.bad(Param("category", "choice", choices=("alert",), forbidden=("command",)), "command", kind=Forbidden)

    def test_a_list_checks_every_item_and_names_the_wrong_one(self) -> None:
        self.good(Param("l", "list"), ["a", ""])
        self.good(Param("l", "list", of="integer"), [1, 2])
        self.good(Param("l", "list", of="reference"), [-1, 0, 3])
        self.bad(Param("l", "list"), "a", {}, None, ["a", 1], [None], 7)
        self.bad(Param("l", "list", of="integer"), [0], [-1], ["1"], [True], [1.5], [2**60])
        with self.assertRaises(BadRequest) as caught:
            check(Param("l", "list", of="integer"), [1, 2, "x"])
        self.assertIn("l[2]", caught.exception.message)
        self.bad(Param("l", "list"), ["a"] * (MAX_ITEMS + 1), kind=TooLarge)
        self.bad(Param("l", "list", max_chars=3), ["abcd"], kind=TooLarge)

    def test_a_list_may_come_as_a_text_with_commas_only_where_it_says_so(self) -> None:
        self.good(Param("l", "list", comma=True), "a, b,,c ", ["a", "b", "c"])
        self.good(Param("l", "list", of="integer", comma=True), "1,2", [1, 2])
        self.good(Param("l", "list", comma=True), "", [])
        self.bad(Param("l", "list", of="integer", comma=True), "1,x", "--5", "²", "1,-2", "9" * 5000, "٣", "1_0", "+1")

    def test_an_object_has_its_fields_and_no_others(self) -> None:
        param = Param("o", "object", fields=(Param("x", "text", required=True), Param("y", "integer", default=7)))
        self.good(param, {"x": "a", "_note": [1]}, {"x": "a", "y": 7})
        self.bad(param, {}, {"x": ""}, {"x": "a", "z": 1}, {"x": 1}, [], "x", None, {"x": "a", "y": "1"})
        self.good(Param("o", "object"), {"anything": [1, {"deep": None}]})

    def test_no_json_value_whatever_raises_anything_but_a_refusal(self) -> None:
        chance = random.Random(11)
        values: list[object] = [
            None, True, 0, -1, 2**53, 2**70, 1.5, float("nan"), "", "a", "\0", "\ud800", "x" * 300, [], {}, [[]], [{}], {"x": {}}, {"": 1},
        ]  # fmt: skip

        def grown(depth: int) -> object:
            if depth == 0 or chance.random() < 0.5:
                return chance.choice(values)
            if chance.random() < 0.5:
                return [grown(depth - 1) for _ in range(chance.randrange(4))]
            return {chance.choice(("x", "y", "_", "title", "")): grown(depth - 1) for _ in range(chance.randrange(4))}

        for _ in range(2000):
            for param in OF_EVERY_KIND:
                try:
                    json.dumps(check(param, grown(4)))
                except Refusal as refusal:
                    self.assertIn(refusal.status, (400, 403, 413))


class FieldsTest(unittest.TestCase):
    FIELDS = (Param("a", "text", required=True), Param("b", "text", required=True), Param("n", "integer", default=3))

    def test_what_is_missing_is_named_all_at_once(self) -> None:
        with self.assertRaises(BadRequest) as caught:
            check_fields(self.FIELDS, {"n": 1})
        self.assertEqual("a and b are required", caught.exception.message)

    def test_null_is_as_good_as_left_out(self) -> None:
        self.assertEqual({"a": "x", "b": "y", "n": 3}, check_fields(self.FIELDS, {"a": "x", "b": "y", "n": None}))
        with self.assertRaises(BadRequest):
            check_fields(self.FIELDS, {"a": None, "b": "y"})

    def test_an_unknown_field_is_refused_with_the_known_ones_and_one_with_an_underscore_is_not(self) -> None:
        with self.assertRaises(BadRequest) as caught:
            check_fields(self.FIELDS, {"a": "x", "b": "y", "c": 1})
        self.assertEqual("known here: a, b, n", caught.exception.hint)
        check_fields(self.FIELDS, {"a": "x", "b": "y", "_meta": object()})


class FromTextTest(unittest.TestCase):
    def test_texts_of_a_query_become_what_check_wants(self) -> None:
        for param, text, value in (
            (Param("n", "integer"), "12", 12), (Param("n", "integer"), "-12", -12),
            (Param("f", "flag"), "1", True), (Param("f", "flag"), "No", False),
            (Param("l", "list"), "a, b", ["a", "b"]), (Param("l", "list", of="integer"), "1,2", [1, 2]),
            (Param("l", "list", of="reference"), "-1,2", [-1, 2]),
            (Param("t", "text"), "x", "x"), (Param("c", "choice", choices=("a",)), "a", "a"),
        ):  # fmt: skip
            self.assertEqual(value, check(param, from_text(param, text)))

    def test_a_text_that_is_no_number_is_refused_and_nothing_else_happens(self) -> None:
        for kind in (Param("n", "integer"), Param("l", "list", of="integer"), Param("f", "flag")):
            for text in ("x", "--5", "²", "٣", "1_000", "+1", "1.0", "1e3", "0x1", "9" * 5000, "nan", "true false", "-", "½"):
                with self.assertRaises(BadRequest, msg=text):
                    check(kind, from_text(kind, text))


class SchemaTest(unittest.TestCase):
    def test_each_kind_says_its_type(self) -> None:
        self.assertEqual(
            ["string", "integer", "boolean", "string", "array", "array", "array", "object", "array"],
            [schema(param)["type"] for param in OF_EVERY_KIND],
        )

    def test_a_choice_lists_its_words_and_a_list_its_items(self) -> None:
        self.assertEqual({"type": "string", "enum": ["a", "b"], "description": "d"}, schema(Param("c", "choice", "d", choices=("a", "b"))))
        self.assertEqual({"type": "array", "items": {"type": "integer"}}, schema(Param("n", "list", of="integer")))
        inner = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
        self.assertEqual(inner, schema(OF_EVERY_KIND[7]))
        self.assertEqual({**inner, "additionalProperties": False}, object_schema((Param("x", "text", required=True),)))

    def test_every_param_of_the_table_can_be_said_and_sent(self) -> None:
        for operation in operations.OPERATIONS:
            said = json.loads(json.dumps(object_schema(operation.params)))
            self.assertEqual({param.name for param in operation.params}, set(said["properties"]))


if __name__ == "__main__":
    unittest.main()
