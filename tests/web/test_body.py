"""Strict JSON bodies."""

from __future__ import annotations

import unittest

from lattice.errors import BadRequest
from lattice.web.body import parse
from tests.web.serving import ServerCase, read_reply

REFUSED: dict[str, bytes] = {
    "not JSON": b"hello",
    "cut off": b'{"a":1',
    "two values": b"{}{}",
    "trailing comma": b'{"a":1,}',
    "comment": b"{} // x",
    "single quotes": b"{'a':1}",
    "a list": b"[1]",
    "a text": b'"x"',
    "a number": b"1",
    "null": b"null",
    "blank": b"  ",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "Latin-1": b'{"a":"\xe9"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "half a pair": b'{"a":"\\ud800"}',
    "half a pair in a name": b'{"\\udfff":1}',
    "half a pair, deep": b'{"a":[{"b":["\\udc00"]}]}',
    "NUL": b'{"a":"x\\u0000y"}',
    "NUL in a name": b'{"a\\u0000":1}',
    "raw control character": b'{"a":"\x01"}',
    "bad escape": b'{"a":"\\x41"}',
    "name twice": b'{"a":1,"a":1}',
    "name twice, spelled differently": b'{"a":1,"\\u0061":2}',
    "name twice, deep": b'{"x":[{"a":1,"a":2}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "overflow": b'{"a":1e999}',
    "negative overflow": b'{"a":-1e999}',
    "2**53+1": b'{"a":9007199254740993}',
    "-2**53-1": b'{"a":-9007199254740993}',
    "2**70": b'{"a":1180591620717411303424}',
    "5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "leading zero": b'{"a":01}',
    "hex": b'{"a":0x10}',
    "depth 33": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "depth 33 of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100,000 open lists": b"[" * 100_000,
    "100,000 open objects": b'{"a":' * 100_000,
    "brackets that do not match": b'{"a":' + b"[" * 40 + b"}" * 40 + b"}",
}


class Parsing(unittest.TestCase):
    def test_what_is_not_a_strict_object_is_a_bad_request(self) -> None:
        for name, raw in REFUSED.items():
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
        for name, raw in REFUSED.items():
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
