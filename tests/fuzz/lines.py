"""Lines of JSON-RPC that are not quite right, and what each of them deserves.

`due` is written by the rules of MCP over stdio alone, and shares nothing with the server but Python's reader of JSON.
"""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from lattice.contract.operations import BY_NAME, TOOLS, fields_on
from tests.fuzz import bodies

META = "io.modelcontextprotocol/"
MODERN = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
METHODS = (
    "ping", "ping", "tools/list", "initialize", "server/discover", "subscriptions/listen", "tools/call", "logging/setLevel",
    "resources/list", "prompts/get", "completion/complete", "tasks/list", "roots/list", "", "PING", "ping ", "tools",
    "notifications/initialized", "rpc.discover", "__init__", "é", "\ud800", "x" * 5000,
)  # fmt: skip
IDS: tuple[object, ...] = (
    0, -1, 1, 2**31, 2**53 + 1, -(2**63), 10**100, "", "0", "1", "null", "é", "\ud800", "a\nb", "x" * 2000, '"', "\0",
    1.0, 1.5, -0.0, 1e308, None, True, False, [], [1], {}, {"id": 1},
)  # fmt: skip
PARAMS: tuple[object, ...] = (
    None, {}, [], [1], "x", 1, True, {"_meta": None}, {"_meta": {}}, {"_meta": 3}, {"_meta": []}, {"cursor": "x"}, {"cursor": None},
    {"_meta": MODERN}, {"_meta": {META + "protocolVersion": "2026-07-28"}}, {"_meta": {META + "protocolVersion": 7}},
    {"_meta": {**MODERN, META + "protocolVersion": "1999-01-01"}}, {"_meta": {**MODERN, META + "clientCapabilities": 1}},
    {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}, {"protocolVersion": None},
    {"protocolVersion": ["2025-11-25"], "clientInfo": 3}, {"protocolVersion": "x", "clientInfo": {"name": 3}},
    {"_meta": MODERN, "notifications": {}}, {"_meta": MODERN, "notifications": {"toolsListChanged": True}},
    {"_meta": MODERN, "notifications": 1}, {"_meta": {**MODERN, "progressToken": "p", META + "clientInfo": {"name": "é" * 500}}},
)  # fmt: skip
QUICK_TOOLS = ("list_peers", "list_tasks", "get_task", "list_locks", "get_memory", "set_memory", "set_summary", "check_messages")
NO_MESSAGES = (
    b"", b" ", b"\t\r", b"\x0b", b"{", b"}", b"[", b"null", b"true", b"3", b'"x"', b"[]", b"{}", b"nonsense", b"\xff", b"\xc3\x28",
    b"\xef\xbb\xbf{}", b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]', b"[[],[]]",
    b'{"jsonrpc":"2.0","method":"ping"}', b'{"jsonrpc":"2.0","id":7,"result":{}}',
    b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}', b'{"jsonrpc":"2.0","id":7}', b'{"jsonrpc":"1.0","id":7,"method":"ping"}',
    b'{"jsonrpc":2.0,"id":7,"method":"ping"}', b'{"id":7,"method":"ping"}', b'{"jsonrpc":"2.0","id":7,"method":3}',
    b'{"jsonrpc":"2.0","id":7,"method":null,"result":{}}', b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}', b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":Infinity}}',
    b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}', b"Content-Length: 40\r", b"GET / HTTP/1.1\r", b"\0" * 50,
    b'{"jsonrpc":"2.0","id":"\\ud83d","method":"ping"}', b'{"jsonrpc":"2.0","id":"\\u0000","method":"ping"}', b"'", b"undefined",
)  # fmt: skip
CALLS = ("tools/call", "subscriptions/listen")  # what is answered later, and may be cancelled
MAX_LINE = 8 << 20


class Due(NamedTuple):
    """What a line deserves. `answers`: how many; `id` as JSON, "" for an error without one; `code` 0: it depends."""

    answers: int
    id: str = ""
    code: int = 0
    method: str = ""
    cancels: str = ""


NOTHING = Due(0)


def due(line: bytes) -> Due:
    """By the rules: 2 (blank, notifications, strange answers), 3 (no message), 4 (ids), 5 (batches), 6 (too long), 23 (cancelled)."""
    if len(line) > MAX_LINE:
        return Due(1, code=-32600)
    if not line.strip():
        return NOTHING
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Due(1, code=-32700)
    if not isinstance(message, dict):
        return Due(1, code=-32600)
    given = message.get("id")
    id = json.dumps(given) if isinstance(given, (str, int)) and not isinstance(given, bool) else ""
    method = message.get("method")
    if message.get("jsonrpc") != "2.0":
        return Due(1, id, -32600)
    if "method" not in message and not {"result", "error"}.isdisjoint(message):
        return NOTHING
    if not isinstance(method, str):
        return Due(1, id, -32600)
    if "id" not in message:
        params = message.get("params")
        stops = params.get("requestId") if method == "notifications/cancelled" and isinstance(params, dict) else None
        is_id = isinstance(stops, (str, int)) and not isinstance(stops, bool)
        return Due(0, cancels=json.dumps(stops) if is_id else "")
    if not id:
        return Due(1, code=-32600)
    return Due(1, id, method=method)


def _refuse(word: str) -> object:
    raise ValueError(word)


class Lines:
    """What one client sends. Ids grow, so that an answer is known to be for one line; some are used again on purpose."""

    def __init__(self, chosen: random.Random, name: str) -> None:
        self.chosen, self.name, self.number = chosen, name, 0
        self.tools = {tool: [param for param in fields_on(BY_NAME[tool], "mcp") if not param.identity] for tool in TOOLS}

    def next(self) -> bytes:
        """A line, or two."""
        chosen = self.chosen
        way = chosen.randrange(1000)
        if way < 3:
            return self.huge()
        if way < 250:
            line = said(self.request(chosen.choice(METHODS), chosen.choice(PARAMS), self.id()))
        elif way < 450:
            line = said(self.call())
        elif way < 480:
            line = said(self.cancelled())
        elif way < 500:
            return self.stopped_at_once()
        elif way < 560:
            line = said(self.request(chosen.choice(METHODS), chosen.choice(PARAMS), chosen.choice(IDS)))
        elif way < 680:
            line = chosen.choice(NO_MESSAGES)
        elif way < 720:
            line = said([self.call() for _ in range(chosen.randrange(4))])
        else:
            line = bodies.mutated(chosen, said(chosen.choice((self.call, self.cancelled, self.plain))())).replace(b"\n", b" ")
        return line + chosen.choice((b"", b"", b"", b"\r", b" ", b"\t\r"))

    def plain(self) -> dict[str, Any]:
        return self.request(self.chosen.choice(METHODS[:7]), self.chosen.choice(({}, {"_meta": MODERN}, None)), self.id())

    def id(self) -> object:
        """A new one nearly always, else one of the last few again."""
        if self.chosen.random() < 0.05:
            return f"{self.name}-{max(0, self.number - self.chosen.randrange(6))}"
        self.number += 1
        return f"{self.name}-{self.number}" if self.number % 2 else self.number * 1000

    def request(self, method: str, params: object, id: object) -> dict[str, Any]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None or self.chosen.random() < 0.5:
            message["params"] = params
        return message

    def call(self) -> dict[str, Any]:
        """A call of a tool: right, with something wrong in its arguments, or of no tool."""
        chosen = self.chosen
        tool = chosen.choice(QUICK_TOOLS if chosen.random() < 0.3 else TOOLS)
        fields = self.tools[tool]
        arguments: Any = {param.name: bodies.valid(chosen, param) for param in fields if param.required or chosen.random() < 0.3}
        if tool not in QUICK_TOOLS or chosen.random() < 0.5:  # the others do too much: they are called with something wrong
            way = chosen.randrange(4)
            if way == 0 or not fields:
                arguments[chosen.choice(("surplus", "", "_x\0", "é"))] = 1
                arguments["surplus"] = 1
            elif way == 1:
                arguments = chosen.choice(([], "x", 1, True, [arguments]))
            else:
                param = chosen.choice(fields)
                arguments[param.name] = bodies.wrong(chosen, param)[1]
        if chosen.random() < 0.1:
            tool = chosen.choice(("", "nope", "register", tool.upper(), 3, None, [tool], {"name": tool}, "\ud800"))  # type: ignore[assignment]
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if chosen.random() < 0.4:
            params["_meta"] = chosen.choice((MODERN, {"progressToken": 1}, {**MODERN, "claudecode/toolUseId": 3}, {"progressToken": None}))
        if chosen.random() < 0.05:
            del params[chosen.choice(list(params))]
        return self.request("tools/call", params, self.id())

    def stopped_at_once(self) -> bytes:
        """Two lines: what takes a while, and its end."""
        asked = self.call()
        if self.chosen.random() < 0.4:
            asked = self.request("subscriptions/listen", {"_meta": MODERN, "notifications": {}}, self.id())
        return said(asked) + b"\n" + said({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": asked["id"]}})

    def cancelled(self) -> dict[str, Any]:
        chosen = self.chosen
        recent = max(0, self.number - chosen.randrange(4))
        stops = chosen.choice((f"{self.name}-{recent}", recent * 1000, recent, None, True, [], {}, 1.5, "no such", ""))
        params = chosen.choice(({"requestId": stops, "reason": "fuzz"}, {"requestId": stops}, {"requestId": stops}, {}, None, [], "x"))
        return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}

    def huge(self) -> bytes:
        """Too long, deep, or wide."""
        match self.chosen.randrange(6):
            case 0:
                return said(self.request("ping", {"x": "y" * (1 << 20)}, self.id()))
            case 1:
                return self.chosen.choice((b"[", b'{"a":', b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[')) * 100_000
            case 2:
                return b"x" * (MAX_LINE + (1 << 20))
            case 3:
                return b'{"jsonrpc":"2.0","id":"deep","method":"ping","params":{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}}"
            case 4:
                return said(self.request("tools/call", {"name": "list_peers", "arguments": {f"a{n}": n for n in range(20_000)}}, self.id()))
        return said(self.request("x" * (1 << 20), {}, self.id()))


def said(message: object) -> bytes:
    return json.dumps(message, ensure_ascii=True).encode()
