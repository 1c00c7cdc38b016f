"""The hook's own small JSON, proof and secret agree with the ones they stand in for."""

from __future__ import annotations

import json
import os
import tempfile
import unittest

from lattice.guard import tokens
from lattice.hooks import compact_json, door, events
from tests.test_startup import loaded_by

NONCE = "0123456789abcdef" * 2


class TheSmallJson(unittest.TestCase):
    def test_it_reads_what_json_reads(self) -> None:
        for text in ('{"a": [1, -2.5e3, true, null, "ü\\n\\ud83d\\ude00"], "b": {}}', " [] \n", '"x"', "0", "[[[1]]]", '{"a":1,"a":2}'):
            with self.subTest(text):
                self.assertEqual(compact_json.loads(text), json.loads(text))

    def test_it_refuses_what_is_not_json(self) -> None:
        for text in ("", "{", '{"a":}', "[1] 2", "nul", "NaN", "[Infinity]", '"\n"', "[" * 200_000, "{'a': 1}"):
            with self.subTest(text[:20]), self.assertRaises(ValueError):
                compact_json.loads(text)

    def test_what_it_says_json_reads_back(self) -> None:
        values: tuple[object, ...] = ({"a": [1, 2.5, True, None, 'ü\u202e"\\\n'], "": {}}, "\ud800", [], 2**60, -0.0)
        for value in values:
            with self.subTest(value):
                self.assertEqual(json.loads(compact_json.dumps(value)), value)
        self.assertTrue(compact_json.dumps("ü\x7f").isascii())
        for bad in (float("nan"), float("inf"), object(), b"x"):
            with self.assertRaises(TypeError):
                compact_json.dumps(bad)


class TheProof(unittest.TestCase):
    def test_it_is_the_one_of_the_tokens(self) -> None:
        for secret in (b"s" * 32, b"t" * 64, b"u" * 65, b"v" * 500):
            proof = tokens.prove(secret, NONCE, 7899, 4321)
            self.assertTrue(door.is_proof(secret, NONCE, 7899, 4321, proof))
            for wrong in ((secret, NONCE, 7898, 4321, proof), (secret, NONCE, 7899, 4322, proof), (b"w" * 32, NONCE, 7899, 4321, proof)):
                self.assertFalse(door.is_proof(*wrong))
                self.assertFalse(tokens.check_proof(*wrong))
            others: tuple[object, ...] = (None, "", 0, [], proof[:-1], proof.upper())
            for nothing in others:
                self.assertFalse(door.is_proof(secret, NONCE, 7899, 4321, nothing))
        self.assertFalse(door.is_proof(b"", NONCE, 1, 1, tokens.prove(b"x" * 32, NONCE, 1, 1)))

    def test_the_secret_is_read_as_the_tokens_read_it_and_never_made(self) -> None:
        home = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(home, 0o700)
        self.assertEqual(door.read_secret(home, ""), b"")
        self.assertEqual(os.listdir(home), [])
        secret = tokens.load_secret(home)
        self.assertEqual(door.read_secret(home, ""), secret)
        self.assertEqual(door.read_secret(home, "e" * 40), tokens.load_secret(home, "e" * 40))
        if os.name != "nt":
            os.chmod(os.path.join(home, "secret"), 0o644)
            self.assertEqual(door.read_secret(home, ""), b"")


class TheGuardOfAnEdit(unittest.TestCase):
    def test_it_loads_nothing_that_costs_as_much_as_the_interpreter(self) -> None:
        loaded = loaded_by("import lattice.hooks.events, lattice.hooks.guard; from lattice.hooks.door import _sha256; _sha256()(b'x')")
        self.assertFalse(loaded & {"json", "re", "enum", "threading", "functools", "hashlib", "lattice.names", "lattice.web.client"})


class TheEvents(unittest.TestCase):
    def test_every_event_that_is_stored_is_one_that_we_know(self) -> None:
        from lattice.clients import claude_hooks
        from lattice.contract.operations import HOOK_EVENTS

        words = {hook.word for hook in claude_hooks.HOOKS}
        self.assertEqual(words, {*events.EVENTS, "Wake"})
        self.assertLessEqual(words, set(HOOK_EVENTS))


if __name__ == "__main__":
    unittest.main()
