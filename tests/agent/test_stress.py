"""Fuzz of the wire: whatever lines come, one reply for each id, valid lines out, and no end of the process. Seeded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import threading
import unittest
from typing import Any

from lattice.contract.operations import TOOLS
from tests.agent.scripted import ScriptedBroker
from tests.running import PYTHON, TOP, chance, environment, figure

METHODS = ("ping", "initialize", "tools/list", "tools/call", "server/discover", "no/such", "", "notifications/x", "resources/list")
ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, 2**70, "", "x" * 300, "\ud800", "é\u2028", [], {}, [[]], {"a": {}}, {"_meta": 3})


def odd(random: random.Random, depth: int = 3) -> Any:
    if depth and random.random() < 0.3:
        return {
            random.choice(("name", "arguments", "task_id", "cursor", "_meta", "x")): odd(random, depth - 1)
            for _ in range(random.randrange(3))
        }
    return random.choice(ODD)


def request(random: random.Random, id: object) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": random.choice(METHODS)}
    params = random.choice(
        (
            None,
            odd(random),
            {"protocolVersion": odd(random)},
            {"name": random.choice((*TOOLS, "nope")), "arguments": odd(random)},
            {
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": random.choice(("2026-07-28", "x", 3)),
                    "io.modelcontextprotocol/clientCapabilities": odd(random),
                }
            },
        )
    )
    if params is not None:
        message["params"] = params
    return message


def broken(random: random.Random, line: bytes) -> bytes:
    """The line with some of its bytes changed: no line ends are added, so it stays one line."""
    data = bytearray(line)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(data))
        kind = random.randrange(3)
        if kind == 0:
            data[at] = random.randrange(256)
        elif kind == 1:
            del data[at]
        else:
            data.insert(at, random.randrange(256))
        if not data:
            return b"{"
    return bytes(data).replace(b"\n", b" ")


RARE = (b"[" * 50_000, b'{"a":' * 50_000, b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"[]", b"9" * 6000, b'"', b"\r", b" ", b"", b"\0")


class Fuzz(unittest.TestCase):
    def test_one_reply_for_each_id_and_no_exit(self) -> None:
        random = chance(self)
        home = self.enterContext(tempfile.TemporaryDirectory())
        broker = self.enterContext(ScriptedBroker(os.path.join(home, "state")))
        for path in (
            "/send",
            "/inbox/take",
            "/tasks",
            "/tasks/claim",
            "/memory",
            "/lock",
            "/unlock",
            "/locks",
            "/summary",
            "/escalations",
            "/conversation",
        ):
            broker.always[path] = {"ok": True, "messages": []}
        server = subprocess.Popen(
            [*PYTHON, os.path.join(TOP, "mcp_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(home, C2_LATTICE_PORT=str(broker.port)),
        )
        assert server.stdin is not None and server.stdout is not None and server.stderr is not None
        out: list[bytes] = []
        reader = threading.Thread(target=lambda: out.extend(server.stdout or ()), daemon=True)
        reader.start()
        asked: list[object] = []
        for number in range(figure(2_000, 20_000, 100_000)):
            kind = random.random()
            if kind < 0.5:
                id = random.choice((number, f"id-{number}"))
                asked.append(id)
                line = json.dumps(request(random, id)).encode()
            elif kind < 0.85:  # ids of broken lines are from a range of their own: whether one can be read is chance
                line = broken(random, json.dumps(request(random, f"broken-one-{number}")).encode())
            elif kind < 0.95:
                line = json.dumps(
                    {"jsonrpc": "2.0", "method": random.choice(("notifications/cancelled", "x")), "params": odd(random)}
                ).encode()
            else:
                line = random.choice(RARE)
            server.stdin.write(line + random.choice((b"\n", b"\n", b"\r\n")))
        server.stdin.write(b'{"jsonrpc":"2.0","id":"the end","method":"ping"}\n')
        server.stdin.close()
        self.assertEqual(server.wait(120), 0)
        reader.join(10)
        replies: dict[object, int] = {}
        for line in out:
            message = json.loads(line)
            self.assertEqual(message["jsonrpc"], "2.0")
            self.assertEqual(("result" in message) + ("error" in message), 1)
            if "id" in message:
                id = (type(message["id"]), message["id"])
                replies[id] = replies.get(id, 0) + 1
        self.assertEqual({id: replies.get((type(id), id), 0) for id in asked if replies.get((type(id), id), 0) != 1}, {})
        self.assertEqual(replies[(str, "the end")], 1)
        self.assertEqual(server.stderr.read(), b"")
        server.stdout.close()
        server.stderr.close()


if __name__ == "__main__":
    unittest.main()
