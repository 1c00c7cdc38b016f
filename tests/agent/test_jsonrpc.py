"""JSON-RPC on lines: what is a message, what is not, and what is said to it."""

from __future__ import annotations

import json
import unittest

from lattice.agent import jsonrpc


class Lines(unittest.TestCase):
    def refused(self, line: bytes) -> jsonrpc.RpcError:
        with self.assertRaises(jsonrpc.RpcError) as caught:
            jsonrpc.read(line)
        return caught.exception

    def test_what_is_no_json_or_no_utf8_is_a_parse_error_without_an_id(self) -> None:
        for line in (b"{", b"nonsense", b'{"a":\xff}', b"\xff", b"[" * 100_000, b'{"id":1,"x":NaN}', b"9" * 5000):
            with self.subTest(line=line[:20]):
                failure = self.refused(line)
                self.assertEqual(failure.code, -32700)
                self.assertNotIn("id", json.loads(jsonrpc.error(failure)))

    def test_what_is_no_message_is_an_invalid_request(self) -> None:
        for line in (
            b"[]",
            b"1",
            b"null",
            b'"x"',
            b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
            b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":{},"method":"x"}',
        ):
            with self.subTest(line=line):
                failure = self.refused(line)
                self.assertEqual(failure.code, -32600)
                self.assertNotIn("id", json.loads(jsonrpc.error(failure)))

    def test_a_broken_message_with_a_usable_id_gets_it_back(self) -> None:
        for line in (
            b'{"jsonrpc":"1.0","id":7,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":7}',
            b'{"id":7,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":7,"method":3}',
        ):
            with self.subTest(line=line):
                self.assertEqual(json.loads(jsonrpc.error(self.refused(line)))["id"], 7)

    def test_an_id_comes_back_as_the_type_it_was(self) -> None:
        for id in (0, 1, -1, 2**60, "", "1", "\ud800", "é\u2028"):
            with self.subTest(id=id):
                request = jsonrpc.read(json.dumps({"jsonrpc": "2.0", "id": id, "method": "m"}).encode())
                back = json.loads(jsonrpc.result(request.id, {}))["id"]
                self.assertEqual((type(back), back), (type(id), id))

    def test_a_blank_line_and_an_answer_nobody_asked_for_are_nothing(self) -> None:
        for line in (
            b"",
            b"  \r",
            b"\t",
            b'{"jsonrpc":"2.0","id":1,"result":{}}',
            b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
        ):
            self.assertIsNone(jsonrpc.read(line))

    def test_a_line_out_is_one_line_of_ascii_whatever_it_carries(self) -> None:
        line = jsonrpc.result(1, {"text": "a\nb\r\u2028\u0085é\ud800🙂"})
        self.assertTrue(line.endswith(b"\n") and line.isascii())
        self.assertEqual(line.count(b"\n") + line.count(b"\r"), 1)

    def test_carriage_return_at_the_end_does_no_harm(self) -> None:
        self.assertEqual(jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r').method, "ping")


if __name__ == "__main__":
    unittest.main()
