"""The router: a table of paths."""

from __future__ import annotations

import unittest

from lattice.errors import BadRequest, NotFound, WrongMethod
from lattice.web.router import Router, decode, parse_query

ROUTER = Router(
    [
        ("GET", "/tasks", "list"),
        ("POST", "/tasks", "create"),
        ("POST", "/tasks/claim", "claim"),
        ("GET", "/tasks/{task_id}", "get"),
        ("POST", "/tasks/{task_id}/release", "release"),
        ("GET", "/runs/{run_id}/{part}", "part"),
        ("GET", "/runs/{run_id}/summary", "summary"),
    ]
)


class Finding(unittest.TestCase):
    def test_a_plain_path_is_found_by_its_method(self) -> None:
        self.assertEqual(ROUTER.find("GET", "/tasks"), ("list", {}))
        self.assertEqual(ROUTER.find("POST", "/tasks"), ("create", {}))

    def test_a_parameter_takes_one_segment(self) -> None:
        self.assertEqual(ROUTER.find("GET", "/tasks/7"), ("get", {"task_id": "7"}))
        self.assertEqual(ROUTER.find("POST", "/tasks/7/release"), ("release", {"task_id": "7"}))

    def test_a_literal_path_is_no_example_of_a_pattern(self) -> None:
        """As OpenAPI reads paths."""
        for path in ("/tasks/claim", "/tasks/%63laim"):
            self.assertEqual(ROUTER.find("POST", path), ("claim", {}))
            with self.assertRaises(WrongMethod):
                ROUTER.find("GET", path)

    def test_the_more_literal_pattern_comes_first(self) -> None:
        self.assertEqual(ROUTER.find("GET", "/runs/r1/summary"), ("summary", {"run_id": "r1"}))
        self.assertEqual(ROUTER.find("GET", "/runs/r1/tasks"), ("part", {"run_id": "r1", "part": "tasks"}))

    def test_an_encoded_slash_stays_in_its_segment(self) -> None:
        self.assertEqual(ROUTER.find("GET", "/tasks/a%2Fb"), ("get", {"task_id": "a/b"}))
        with self.assertRaises(NotFound):
            ROUTER.find("GET", "/tasks%2F7/x/y")

    def test_an_encoded_letter_of_a_plain_path_is_that_letter(self) -> None:
        self.assertEqual(ROUTER.find("GET", "/%74asks"), ("list", {}))

    def test_nothing_is_decoded_twice(self) -> None:
        self.assertEqual(ROUTER.find("GET", "/tasks/%252F"), ("get", {"task_id": "%2F"}))

    def test_unknown_paths_are_not_found(self) -> None:
        for path in ("/", "/nope", "/tasks/", "//tasks", "/tasks/7/", "/tasks//release", "/Tasks", "/tasks/7/release/x"):
            with self.subTest(path), self.assertRaises(NotFound):
                ROUTER.find("GET", path)

    def test_a_known_path_with_another_method_says_which_methods_it_has(self) -> None:
        for method, path, allowed in (
            ("DELETE", "/tasks", ["GET", "POST"]),
            ("GET", "/tasks/7/release", ["POST"]),
            ("PUT", "/tasks/claim", ["POST"]),
            ("GET", "/tasks/claim", ["POST"]),
            ("OPTIONS", "/tasks/claim", ["POST"]),
            ("HEAD", "/tasks/7", ["GET"]),
        ):
            with self.subTest(path), self.assertRaises(WrongMethod) as caught:
                ROUTER.find(method, path)
            self.assertEqual(caught.exception.details["allowed"], allowed)

    def test_head_and_options_are_refused_on_any_path(self) -> None:
        for method in ("HEAD", "OPTIONS"):
            for path in ("/tasks", "/tasks/7", "/nope"):
                with self.subTest(f"{method} {path}"), self.assertRaises(WrongMethod):
                    ROUTER.find(method, path)

    def test_one_route_cannot_be_given_twice(self) -> None:
        for path in ("/a", "/a/{id}"):
            with self.subTest(path), self.assertRaises(ValueError):
                Router([("GET", path, 1), ("GET", path, 2)])
        with self.assertRaises(ValueError):
            Router([("GET", "/a/{id}", 1), ("POST", "/a/{other}", 2)])


class Decoding(unittest.TestCase):
    def test_text_that_is_none_is_refused(self) -> None:
        for text in ("%", "%4", "%zz", "%ff", "%c3", "%ed%a0%80", "a%00b", "%+1"):
            with self.subTest(text), self.assertRaises(BadRequest):
                decode(text)

    def test_utf8_is_decoded(self) -> None:
        self.assertEqual(decode("%C3%A9%f0%9f%98%80x"), "é😀x")

    def test_a_query_is_a_dictionary_of_texts(self) -> None:
        self.assertEqual(parse_query("a=1&b=x+y%2B&c&&d="), {"a": "1", "b": "x y+", "c": "", "d": ""})

    def test_a_name_given_twice_is_refused(self) -> None:
        for text in ("a=1&a=1", "a=1&%61=2"):
            with self.subTest(text), self.assertRaises(BadRequest):
                parse_query(text)
