"""Bodies and queries from the table of operations: right ones, and ones with something wrong that the table tells.

`spoiled` knows what it did: a body with `is_wrong` breaks a rule of the field it names, so no operation may take it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from lattice.contract.operations import OPERATIONS, Operation
from lattice.contract.params import MAX_INTEGER, MAX_ITEMS, Param

POSTS = tuple(operation for operation in OPERATIONS if operation.method == "POST" and "http" in operation.surfaces)
GETS = tuple(operation for operation in OPERATIONS if operation.method == "GET" and "http" in operation.surfaces)

STRANGE: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**53 + 1, -(2**63), 10**30, 1e308, 0.1, float("nan"), float("inf"), "", " ", "\0",
    "a\0b", "x" * 300, "y" * 60_000, "é\u202e\u200b", "\ud800", "../../etc/passwd", "'; DROP TABLE tasks; --", "<tool_use>", "{}", "[]",
    "null", "1", [], {}, [[]], [{}], {"a": {}}, [None], [1, "a", None, {}], ["x"] * 1001, {"summary": 1}, {"summary": "s", "extra": 1},
)  # fmt: skip
NO_OBJECTS: tuple[bytes, ...] = (
    b"", b"{", b"[" * 200_000, b'{"a":1,"a":2}', b"\xff\xfe{}", b"null", b"[]", b'"text"', b"5", b"\xef\xbb\xbf{}", b"{}{}", b"{}\n\n",
    b'{"a":' * 40 + b"1" + b"}" * 40, b'{"a":1e999}', b'{"a":NaN}', b'{"\\ud800":1}', b'{"_":' + b"9" * 5000 + b"}",
)  # fmt: skip
SEGMENTS = ("1", "2", "0", "-1", "abc", "victim", "99999999999999999999", "%00", "a%2Fb", "r1", "%FF", "%F0%9F%98%80", "..", "%2e%2e", "%")
VALUES = (
    "", "1", "0", "-1", "999999999999999999999", "abc", "%00", "%zz", "%F0%9F%98%80", "%ED%A0%80", "true", "a%26b", "1.5", "NaN",
    "x" * 500, "%2e%2e%2f", "all", "9007199254740993", "+", "%C2%A0", "1,2", "r1", "victim", "a=b", "[]",
)  # fmt: skip
SIGNS = (b"\0", b"\r\n", b"\n", b"\r", b'"', b"\\", b"{", b"]", b",", b"\xff", b"\xc3", b" ", b"\t", b":", b"9", b"-", b"%", b"?", b"&")


class Spoiled(NamedTuple):
    """`what` was done to it; `is_wrong`: it must be refused."""

    body: bytes
    what: str
    is_wrong: bool


def path_of(chosen: random.Random, operation: Operation) -> str:
    """The operation's path, with fit or strange words where it has parameters."""
    path: str = operation.path
    for name in operation.path_params:
        fit = chosen.choice(("victim", "r1") if name in ("peer_id", "run_id") else ("1", "2", "3"))
        path = path.replace("{" + name + "}", fit if chosen.random() < 0.7 else chosen.choice(SEGMENTS))
    return path


def query(chosen: random.Random, operation: Operation) -> str:
    """Up to three parameters with fit or strange values; no live feed, which has no end."""
    names = [param.name for param in operation.params if param.name != "follow"] + ["x", "_x", "%00", "idempotency_key"]
    pairs = [f"{chosen.choice(names)}={chosen.choice(VALUES)}" for _ in range(chosen.randrange(4))]
    if operation.name == "events":
        pairs.append("follow=0")
    return "?" + "&".join(pairs) if pairs else chosen.choice(("", "?", "?&&", "?="))


def valid(chosen: random.Random, param: Param) -> Any:
    """A value that the param takes."""
    if param.name in ("peer_id", "recipient_id") and not param.identity:
        return chosen.choice(("victim", "nobody", "victim2"))
    match param.kind:
        case "text":
            return chosen.choice(("text", "a", "words of text", "r1"))[: param.max_chars]
        case "integer":
            return chosen.choice((param.minimum or 0, (param.minimum or 0) + 1, 3 if (param.minimum or 0) <= 3 else param.minimum))
        case "flag":
            return chosen.random() < 0.5
        case "choice":
            return chosen.choice(param.choices)
        case "list":
            if param.of == "object":
                return [{field.name: valid(chosen, field) for field in param.fields or () if field.name != "blocked_by"}]
            return [1] if param.of in ("integer", "reference") else ["a"]
    return {field.name: valid(chosen, field) for field in param.fields or ()}


def valid_body(chosen: random.Random, operation: Operation) -> dict[str, Any]:
    """What is required, and some of the rest; nothing that waits."""
    fields = [param for param in operation.params if param.name not in operation.path_params and not param.identity]
    body = {param.name: valid(chosen, param) for param in fields if param.required or chosen.random() < 0.4}
    return body | ({"wait_s": 0} if any(param.name == "wait_s" for param in fields) else {})


def wrong(chosen: random.Random, param: Param) -> tuple[str, Any]:
    """(what is wrong, a value that breaks one rule of the param)."""
    ways: list[tuple[str, Callable[[], Any]]] = []
    match param.kind:
        case "text":
            ways += [("another type", lambda: chosen.choice((1, True, 0.5, [], {}, ["a"])))]
            ways += [("too long", lambda: "x" * (param.max_chars + 1)), ("a NUL", lambda: "a\0"), ("half a pair", lambda: "\udc80")]
            if param.required:
                ways += [("blank", lambda: chosen.choice(("", " ", "\n\t")))]
        case "integer":
            ways += [("another type", lambda: chosen.choice(("1", True, 0.5, [], {}, "")))]
            ways += [("too large a number", lambda: (MAX_INTEGER if param.maximum is None else param.maximum) + 1)]
            ways += [("too small a number", lambda: (-MAX_INTEGER if param.minimum is None else param.minimum) - 1)]
        case "flag":
            ways += [("another type", lambda: chosen.choice((0, 1, "true", "", [], {})))]
        case "choice":
            ways += [("none of the choices", lambda: chosen.choice(("", "none of these", 1, True, [], param.choices[0].upper() + " ")))]
        case "list":
            ways += [("another type", lambda: chosen.choice((1, True, {}, *(() if param.comma else ("a,b", "")))))]
            ways += [("too many items", lambda: valid(chosen, param) * (MAX_ITEMS + 1))]
            odd = ("x",) if param.of in ("integer", "reference") else (1,)
            ways += [("an item of another type", lambda: [*valid(chosen, param), chosen.choice((None, [], {"x": 1}, True, *odd))])]
        case "object":
            ways += [("another type", lambda: chosen.choice((1, True, "{}", [], [{}])))]
            if param.fields:
                ways += [("an unknown member", lambda: {**valid(chosen, param), "surplus": 1})]
    what, make = chosen.choice(ways)
    return what, make()


def spoiled(chosen: random.Random, operation: Operation) -> Spoiled:
    """A right body, one with one thing wrong that is known, one with strange things in it, or bytes that are no object."""
    body: Any = valid_body(chosen, operation)
    fields = [param for param in operation.params if param.name not in operation.path_params and not param.identity and not param.loose]
    way = chosen.randrange(10)
    if way <= 1:
        return Spoiled(json.dumps(body).encode(), "nothing", False)
    if way <= 4 and fields:
        param = chosen.choice(fields)
        what, body[param.name] = wrong(chosen, param)
        return Spoiled(json.dumps(body).encode(), f"{param.name}: {what}", True)
    if way == 5:
        return Spoiled(json.dumps({**body, chosen.choice(("surplus", "", "é", "a" * 200)): 1}).encode(), "an unknown field", True)
    waits = any(param.name == "wait_s" for param in operation.params)
    if way <= 7 or waits:
        for _ in range(chosen.randrange(1, 4)):
            name = chosen.choice([*(param.name for param in operation.params), "id", "peer_id", "sender_id", "_note"])
            body[name] = chosen.choice(STRANGE)
        if waits and (body.get("wait_s") is None or isinstance(body["wait_s"], int)):
            body["wait_s"] = 0  # a call that waits is not what is tested here
        return Spoiled(json.dumps(body).encode(), "strange values", False)
    data = json.dumps(body).encode()
    if way == 8:
        return Spoiled(chosen.choice((*NO_OBJECTS, data * 2, b"[" + data + b"]", data[:-1])), "no object", False)
    return Spoiled(mutated(chosen, data), "bytes changed", False)


def mutated(chosen: random.Random, data: bytes, most: int = 4) -> bytes:
    """The bytes with up to `most` places changed, taken out, doubled or filled in."""
    changed = bytearray(data)
    for _ in range(chosen.randrange(1, most + 1)):
        at = chosen.randrange(len(changed) + 1)
        match chosen.randrange(6):
            case 0:
                changed[at : at + 1] = bytes((chosen.randrange(256),))
            case 1:
                del changed[at : at + chosen.choice((1, 1, 2, 8))]
            case 2:
                changed[at:at] = chosen.choice(
                    (b"\0", b"\r\n", b"\n", b'"', b"\\", b"{", b"]", b",", b"\xff", b"\xc3", b" ", b":", b"9", b"-")
                )
            case 3:
                changed[at:at] = changed[at : at + chosen.randrange(1, 40)]
            case 4:
                if changed:
                    changed[at % len(changed)] ^= 1 << chosen.randrange(8)
            case 5:
                other = chosen.randrange(len(changed) + 1)
                changed[at:at], changed[other : other + 4] = changed[other : other + 4], changed[at : at + 4]
    return bytes(changed)
