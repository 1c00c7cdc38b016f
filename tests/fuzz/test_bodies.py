"""Mutated bodies over all paths: each gets an answer that is JSON, none is our fault, and the broker is as well as before."""

from __future__ import annotations

import json
import random
import unittest
from typing import Any

from lattice.contract.operations import OPERATIONS, Operation
from lattice.contract.params import Param
from tests.running import Broker, Dropped, Peer, chance, figure

BODIES = figure(500, 3000, 30_000)
STRANGE: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**53 + 1, -(2**63), 10**30, 1e308, 0.1, float("nan"), float("inf"), "", " ", "\0",
    "a\0b", "x" * 300, "y" * 60_000, "é\u202e\u200b", "\ud800", "../../etc/passwd", "'; DROP TABLE tasks; --", "<tool_use>", "{}", "[]",
    "null", "1", [], {}, [[]], [{}], {"a": {}}, [None], [1, "a", None, {}], ["x"] * 1001, {"summary": 1}, {"summary": "s", "extra": 1},
)  # fmt: skip


class MutatedBodies(unittest.TestCase):
    time_bound_s = 300.0

    def setUp(self) -> None:
        self.broker = self.enterContext(Broker())
        self.people = {
            "worker": self.broker.enrol("worker"), "architect": self.broker.enrol("arch", "architect"), "system": self.broker.person(),
        }  # fmt: skip
        self.broker.enrol("victim")

    def test_every_mutated_body_is_answered_and_none_is_an_internal_error(self) -> None:
        chosen = chance(self)
        beating = self.broker.beat_all([self.people["worker"], self.people["architect"]])
        self.addCleanup(beating.close)
        counted: dict[int, int] = {}
        writes = [operation for operation in OPERATIONS if operation.method == "POST" and "http" in operation.surfaces]
        for number in range(BODIES):
            if number % 25 == 0:  # a valid pause-all among them would refuse all that follows
                self.people["system"].post("/resume-all", {"everywhere": True})
            operation = chosen.choice(writes)
            who = chosen.choice([name for name in self.people if not (operation.name == "shutdown" and name == "system")])
            body = mutated(chosen, operation)
            status = self.post(self.people[who], path_of(chosen, operation), body, f"body {number}")
            counted[status] = counted.get(status, 0) + 1
        print(f"{BODIES} bodies: {dict(sorted(counted.items()))}")
        self.assertGreater(counted.get(400, 0), BODIES // 10)
        self.assertEqual(self.people["system"].get("/health")["status"], "ok")
        verdict = self.people["system"].get("/events/verify")
        self.assertTrue(verdict["ok"], verdict)
        self.assertNotIn("Traceback", self.broker.output())

    def post(self, peer: Peer, path: str, body: bytes, what: str) -> int:
        try:
            status, said = peer.raw("POST", path, body)
        except Dropped as dropped:
            raise AssertionError(f"{what}: POST {path} dropped ({dropped}): {body[:300]!r}") from None
        if status == 500:
            raise AssertionError(f"{what}: POST {path} {said}: {body[:300]!r}\n{self.broker.output()}")
        self.assertLess(status, 505, f"{what}: POST {path} {said}: {body[:300]!r}")
        if status != 200:
            self.assertIn("error", said, f"{what}: POST {path}: {body[:300]!r}")
            self.assertIn("code", said)
        return status

    def test_every_mutated_query_is_answered(self) -> None:
        chosen = chance(self)
        reads = [
            operation
            for operation in OPERATIONS
            if operation.method == "GET" and "http" in operation.surfaces and operation.name != "events"
        ]
        for _ in range(figure(200, 1000, 10_000)):
            operation = chosen.choice(reads)
            names = [param.name for param in operation.params] or ["x"]
            query = "&".join(f"{chosen.choice(names)}={chosen.choice(QUERIES)}" for _ in range(chosen.randrange(3)))
            path = f"{path_of(chosen, operation)}?{query}"
            try:
                status, said = chosen.choice(list(self.people.values())).call("GET", path)
            except Dropped as dropped:
                raise AssertionError(f"GET {path} dropped ({dropped})") from None
            self.assertNotEqual(status, 500, f"GET {path}: {said}")


QUERIES = (
    "", "1", "0", "-1", "999999999999999999999", "abc", "%00", "%zz", "%F0%9F%98%80", "%ED%A0%80", "true", "a%26b", "1.5", "NaN",
    "x" * 500, "%2e%2e%2f", "all",
)  # fmt: skip


def path_of(chosen: random.Random, operation: Operation) -> str:
    path: str = operation.path
    for name in operation.path_params:
        path = path.replace(
            "{" + name + "}", chosen.choice(("1", "2", "0", "-1", "abc", "victim", "99999999999999999999", "%00", "a%2Fb", "r1", "%FF"))
        )
    return path


def valid(chosen: random.Random, param: Param) -> Any:
    """A value that the param takes."""
    if param.name in ("peer_id", "recipient_id") and not param.identity:
        return chosen.choice(("victim", "nobody", "victim2"))
    match param.kind:
        case "text":
            return chosen.choice(("text", "a", "words of text", "r1"))
        case "integer":
            return chosen.choice((1, 2, 3, param.minimum or 0))
        case "flag":
            return chosen.random() < 0.5
        case "choice":
            return chosen.choice(param.choices)
        case "list":
            if param.of == "object":
                return [{field.name: valid(chosen, field) for field in param.fields or ()}]
            return [1] if param.of in ("integer", "reference") else ["a"]
    return {field.name: valid(chosen, field) for field in param.fields or ()}


def mutated(chosen: random.Random, operation: Operation) -> bytes:
    """A valid body with up to three things wrong, or bytes that are no JSON at all."""
    body: Any = {
        param.name: valid(chosen, param)
        for param in operation.params
        if param.name not in operation.path_params and not param.identity and (param.required or chosen.random() < 0.4)
    }  # fmt: skip
    for _ in range(chosen.randrange(4)):
        way = chosen.randrange(6)
        if way <= 2 and body:
            body[chosen.choice(list(body))] = chosen.choice(STRANGE)
        elif way == 3 and body:
            del body[chosen.choice(list(body))]
        elif way == 4:
            body[chosen.choice(("extra", "id", "peer_id", "sender_id", "_note", "", "é", "a" * 200))] = chosen.choice(STRANGE)
        elif way == 5:
            body = chosen.choice((body, body, body, [body], {"a": body}, "text", 5, None))
            if not isinstance(body, dict):
                break
    waits = next((param for param in operation.params if param.name == "wait_s"), None)
    if waits is not None and isinstance(body, dict):
        body["wait_s"] = waits.minimum or 0  # a call that waits is not what is tested here
    data = json.dumps(body).encode()
    spoil = chosen.randrange(10) if waits is None else 9
    if spoil == 0 and data:
        cut = chosen.randrange(len(data))
        data = data[:cut] + bytes([chosen.randrange(256)]) + data[cut + chosen.randrange(2) :]
    elif spoil == 1:
        data = chosen.choice(
            (
                b"",
                b"{",
                b"[" * 200_000,
                b'{"a":1,"a":2}',
                b"\xff\xfe{}",
                b"null",
                b"\xef\xbb\xbf{}",
                b'{"a":' * 40 + b"1" + b"}" * 40,
                data * 2,
            )
        )
    return data


if __name__ == "__main__":
    unittest.main()
