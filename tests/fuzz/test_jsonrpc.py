"""Malformed lines to real MCP servers beside a real broker (R36): none ends, each id that deserves an answer gets exactly one,
and nothing but JSON-RPC is on stdout.

Exactly one: for each id as many answers as lines asked with it; fewer only by as many as were cancelled while they ran. An
error without an id answers each line that is no message.
"""

from __future__ import annotations

import json
import random
import unittest
from collections import Counter
from typing import Any

from tests.figures import measured
from tests.fuzz import lines
from tests.running import Broker, Session, chance, figure, until

LINES = figure(800, 20_000, 100_000)
SERVERS = figure(2, 4)
CODES = {-32700, -32600, -32601, -32602, -32022}  # and no -32603: that would be our fault


class Client:
    """One server, what was sent to it, what is due for that."""

    def __init__(self, session: Session, chosen: random.Random, name: str) -> None:
        self.session, self.chosen = session, chosen
        self.lines = lines.Lines(chosen, name)
        self.asked: Counter[str] = Counter()  # id -> answers that are due; "" and a code: without an id
        self.stopped: Counter[str] = Counter()
        self.listening = 0
        self.rest = b""

    def send(self, count: int) -> None:
        """So many lines; the bytes leave in pieces that care for no line's end."""
        data = bytearray(self.rest)
        for _ in range(count):
            data += self.lines.next() + b"\n"
        for line in data[len(self.rest) :].split(b"\n")[:-1]:
            self._note(lines.due(bytes(line)))
        cut = self.chosen.randrange(len(data) + 1) if self.chosen.random() < 0.5 else len(data)
        self.rest = bytes(data[cut:])
        self.session.send(bytes(data[:cut]))

    def _note(self, due: lines.Due) -> None:
        if due.answers:
            self.asked[due.id or f"without: {due.code}"] += 1
            self.listening += due.method == "subscriptions/listen"
        if due.cancels:
            self.stopped[due.cancels] += 1

    def finish(self) -> None:
        """A last ping: what was asked before it is known to have been read."""
        self.session.send(self.rest + lines.said({"jsonrpc": "2.0", "id": "the end", "method": "ping"}) + b"\n")
        self.asked['"the end"'] += 1
        self.session.answer("the end", 60)

    def settled(self) -> bool:
        """Has all been answered but what is only answered at the end, or was stopped?"""
        missing = sum((self.asked - self.answered()).values())
        return missing <= self.listening + self.stopped.total()

    def answered(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for line in list(self.session.lines):
            message = json.loads(line)
            if "method" not in message:
                found[json.dumps(message["id"]) if "id" in message else f"without: {message['error']['code']}"] += 1
        return found

    def unanswered(self) -> list[str]:
        """The ids whose answers are not as many as are due."""
        answered = self.answered()
        return [
            f"{id[:80]}: {answered[id]} of {self.asked[id]}, cancelled {self.stopped[id]}"
            for id in {*self.asked, *answered}
            if not self.asked[id] - self.stopped[id] <= answered[id] <= self.asked[id]
        ]


class MalformedLines(unittest.TestCase):
    time_bound_s = 300.0

    def test_every_id_that_deserves_it_gets_exactly_one_answer(self) -> None:
        chosen = chance(self)
        broker = self.enterContext(Broker())
        clients = []
        for number in range(SERVERS):
            session = self.enterContext(Session(broker.home, C2_LATTICE_PORT=str(broker.port), PEER_ID=f"p{number}"))
            clients.append(Client(session, random.Random(chosen.random()), f"p{number}"))
        left = LINES
        while left:
            for client in clients:
                count = min(left, chosen.randrange(1, 40))
                left -= count
                client.send(count)
        for client in clients:
            client.finish()
        exits = sum(client.session.process.poll() is not None for client in clients)
        for client in clients:
            until(client.settled, "everything that was asked is answered", 60, every_s=0.2)
            self.assertEqual((0, ""), (client.session.close(), client.session.stderr() if not client.session.errors.closed else ""))
        wrong = [fault for client in clients for line in client.session.lines if (fault := fault_of(line))]
        unanswered = [one for client in clients for one in client.unanswered()]
        kinds = Counter(kind_of(line) for client in clients for line in client.session.lines)
        print(f"{LINES} lines to {SERVERS} servers: {dict(kinds.most_common())}")
        measured(self, "R36", lines=LINES, exits=exits, ids_without_one_answer=len(unanswered), wrong_lines_out=len(wrong))
        self.assertEqual(([], []), (unanswered[:10], wrong[:10]), f"{len(unanswered)}, {len(wrong)}")
        self.assertEqual(0, exits)
        self.assertGreater(
            min(kinds[kind] for kind in ("result", "tool error", "-32700", "-32600", "-32601", "-32602", "-32022")), 0, kinds
        )
        self.assertNotIn("Traceback", broker.log() + session_log(broker))


def fault_of(line: bytes) -> str:
    """What is wrong with a line that a server wrote, or nothing."""
    if not line.endswith(b"\n") or not line.isascii():
        return f"no whole line of ASCII: {line[:200]!r}"
    try:
        message: Any = json.loads(line, parse_constant=lines._refuse)
    except ValueError:
        return f"no JSON: {line[:200]!r}"
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return f"no message: {line[:200]!r}"
    if message.get("method") == "notifications/subscriptions/acknowledged":
        return "" if set(message) == {"jsonrpc", "method", "params"} else f"no notification: {line[:200]!r}"
    if set(message) == {"jsonrpc", "id", "result"}:
        return "" if isinstance(message["result"], dict) and is_id(message["id"]) else f"no result: {line[:200]!r}"
    error = message.get("error")
    if not isinstance(error, dict) or set(message) - {"id"} != {"jsonrpc", "error"} or not is_id(message.get("id", "")):
        return f"neither result nor error: {line[:200]!r}"
    if error.get("code") not in CODES or not isinstance(error.get("message"), str):
        return f"an error of ours: {line[:300]!r}"
    return ""


def is_id(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def kind_of(line: bytes) -> str:
    message = json.loads(line)
    if "error" in message:
        return str(message["error"]["code"])
    return "notification" if "method" in message else "tool error" if message["result"].get("isError") else "result"


def session_log(broker: Broker) -> str:
    try:
        with open(f"{broker.state}/session.log", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    unittest.main()
