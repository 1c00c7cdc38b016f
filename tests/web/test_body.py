"""Strict JSON bodies."""

from __future__ import annotations

import unittest

from lattice.errors import BadRequest
from lattice.web.body import parse
from tests.web import hostile
from tests.web.serving import ServerCase, read_reply


class Parsing(unittest.TestCase):
    def test_what_is_not_a_strict_object_is_a_bad_request(self) -> None:
        for name, raw in hostile.BODIES.items():
            with self.subTest(name), self.assertRaises(BadRequest):
                parse(raw)

    def test_what_is_an_object_passes_unchanged(self) -> None:
        for raw, value in (
            (b"{}", {}),
            (b' {"a": [1, -2.5, true, null, "x"]}\n', {"a": [1, -2.5, True, None, "x"]}),
            (b'{"a":9007199254740992,"b":-9007199254740992}', {"a": 2**53, "b": -(2**53)}),
            (b'{"a":"\\ud83d\\ude00 \\\\u0000 \\""}', {"a": '😀 \\u0000 "'}),
            ('{"é":"日本"}'.encode(), {"é": "日本"}),
        ):
            with self.subTest(raw):
                self.assertEqual(parse(raw), value)

    def test_depth_32_passes_and_brackets_in_texts_do_not_count(self) -> None:
        parse(b'{"a":' + b"[" * 31 + b"]" * 31 + b"}")
        self.assertEqual(parse(b'{"a":"' + b"[{" * 500 + b'\\"[","b":[]}'), {"a": "[{" * 500 + '"[', "b": []})
        parse(b'{"a":[' + b",".join([b"[[]]"] * 1000) + b"]}")

    def test_a_megabyte_of_escaped_quotes_and_brackets_is_scanned_in_linear_time(self) -> None:
        # Quadratic scanning of these would take minutes, and the runner's bound of a test would end it.
        for raw in (b'"' + b'\\"' * 500_000 + b"[" * 40, b'"[' * 500_000, b"[]" * 500_000, b"\\" * 900_000 + b'"' + b"[" * 40):
            with self.assertRaises(BadRequest):
                parse(raw)


class Answering(ServerCase):
    def test_a_bad_body_is_answered_400_and_the_connection_goes_on(self) -> None:
        self.start()
        connection = self.connect()
        for name, raw in hostile.BODIES.items():
            with self.subTest(name):
                connection.sendall(self.request("POST", "/x", raw))
                reply = read_reply(connection)
                self.assertEqual(reply.status, 400)
                self.assertEqual(reply.json()["code"], "bad_json")
                self.assertEqual(reply.json()["retryable"], False)
        self.assertEqual(self.seen, [])
        connection.sendall(self.request("POST", "/x", b'{"a":1}'))
        self.assertEqual(read_reply(connection).json()["body"], {"a": 1})

    def test_an_empty_body_is_an_empty_object(self) -> None:
        self.start()
        self.assertEqual(self.ask("POST", "/x", b"").json()["body"], {})
