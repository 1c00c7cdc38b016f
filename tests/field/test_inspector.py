"""The MCP Inspector calls every tool in both eras of the protocol, and the official types judge every line we wrote (R38).

Each call of the Inspector is a client of its own: it starts our server, lists the tools, calls one, ends. What no client of
good manners sends is written by hand, and judged the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lattice.contract.operations import TOOLS
from tests.field import official, programs
from tests.figures import measured
from tests.running import TOP, Broker, environment

NEEDS = "the MCP Inspector: npm install @modelcontextprotocol/inspector@2.12.0 (.ci/run does)"
ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}

# What the task is called that was made on the way.
TASK = "the task"
# Tool, arguments, and the code of the refusal or "" when it is done.
CALLS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("list_peers", {}, ""),
    ("list_peers", {"scope": "same_repo"}, ""),
    ("list_peers", {"scope": "nearby"}, "bad_request"),
    ("list_peers", {"_ignored": {"deep": [1]}}, ""),
    ("list_peers", {"unknown": 1}, "bad_request"),
    ("set_summary", {"summary": "Grüße <b>& more</b> \u2028 𝄞"}, ""),
    ("set_summary", {}, "bad_request"),
    ("send_message", {"recipient_id": "reader", "category": "finding", "content": "The parser takes both forms."}, ""),
    ("send_message", {"recipient_id": "nobody-here", "category": "finding", "content": "Is anybody there?"}, "not_found"),
    ("broadcast", {"category": "status_update", "content": "begun"}, ""),
    ("check_messages", {}, ""),
    ("view_dashboard", {}, ""),
    ("log_conversation", {"turn_type": "user", "content": "Please mend the login."}, ""),
    ("get_conversation", {"last": 5}, ""),
    ("lock_file", {"file_path": "ERA.py"}, ""),
    ("lock_file", {"file_path": "held.py"}, "locked"),
    ("lock_file", {"file_path": "x" * 5000}, "too_large"),
    ("list_locks", {}, ""),
    ("unlock_file", {"file_path": "ERA.py"}, ""),
    ("create_task", {"title": "Show the wrong password", "run_id": "ERA", "priority": "high"}, ""),
    ("create_task", {"tasks": [{"title": "base"}, {"title": "roof", "blocked_by": [-1]}]}, ""),
    ("list_tasks", {"status": "pending"}, ""),
    ("get_task", {"task_id": TASK}, ""),
    ("get_task", {"task_id": 77_777}, "not_found"),
    ("claim_task", {"task_id": TASK}, ""),
    ("raise_blocker", {"description": "May I rename the column?", "task_id": TASK}, ""),
    ("request_review", {"task_id": TASK, "summary": "done, with tests"}, ""),
    ("complete_task", {"task_id": TASK, "artifacts": {}}, "bad_request"),
    ("complete_task", {"task_id": TASK, "artifacts": {"summary": "done, with tests"}}, ""),
    ("complete_task", {"task_id": TASK, "artifacts": {"summary": "again"}}, "conflict"),
    ("set_memory", {"key": "ERA", "value": "SQLite, in WAL", "type": "decision"}, ""),
    ("get_memory", {"key": "ERA", "history": True}, ""),
    ("get_memory", {"key": "never written"}, "not_found"),
    ("resume_run", {"run_id": "ERA"}, ""),
    ("spawn_worker", {"prompt": "mend it"}, ""),
)

_MODERN = {official.VERSION: ERAS["modern"], "io.modelcontextprotocol/clientCapabilities": {}}
_HELLO = {"protocolVersion": ERAS["legacy"], "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}}
# A talk that no client would have: (a line, or a method and its params; the code of its error, or 0 for a result).
BY_HAND: dict[str, tuple[tuple[str | tuple[str, object], int], ...]] = {
    "legacy": (
        (("initialize", _HELLO), 0), (("ping", None), 0), (("tools/list", {}), 0), (("tools/list", {"cursor": "x"}), -32602),
        (("prompts/list", {}), -32601), (("tools/call", {"name": "no_such_tool"}), -32602), (("tools/call", {}), -32602),
        (("tools/call", {"name": "list_peers", "arguments": []}), -32602), (("initialize", {}), -32602), ("{", -32700),
        ("[]", -32600), ('{"jsonrpc": "1.0", "id": 900, "method": "ping"}', -32600), (("ping", [1]), -32602), (("", {}), -32601),
    ),
    "modern": (
        (("server/discover", {"_meta": _MODERN}), 0), (("tools/list", {"_meta": _MODERN}), 0),
        (("subscriptions/listen", {"_meta": _MODERN, "notifications": {}}), 0), (("ping", {"_meta": _MODERN}), -32601),
        (("server/discover", {}), -32602), (("tools/list", {"_meta": {**_MODERN, official.VERSION: "1999-01-01"}}), -32022),
        (("tools/list", {"_meta": {official.VERSION: ERAS["modern"]}}), -32602), (("subscriptions/listen", {"_meta": _MODERN}), -32602),
        (("tools/call", {"_meta": _MODERN, "name": "no_such_tool"}), -32602), ('{"jsonrpc": "2.0", "id": 1.5', -32700),
    ),
}  # fmt: skip


class TheInspector(unittest.TestCase):
    time_bound_s = 180.0

    def setUp(self) -> None:
        self.program, self.path = programs.inspector()
        self.python = programs.python_with("mcp", "mcp_types")
        self.broker = self.enterContext(Broker())
        reader = self.broker.enrol("reader", beat_ms=60_000, working_dir=self.broker.home)
        reader.post("/lock", {"file_path": os.path.join(self.broker.home, "held.py")})
        self.lines = os.path.join(self.broker.home, "lines")
        os.mkdir(self.lines)

    def server(self, name: str) -> list[str]:
        """The command of a server whose lines are kept by this name."""
        script = os.path.join(self.broker.home, name + ".sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(official.tapped(os.path.join(self.lines, name)) + "\n")
        return ["/bin/sh", script]

    def environ(self, peer: str) -> dict[str, str]:
        """Each is the architect of a workspace of its own: who may call every tool."""
        return environment(
            self.broker.home, PATH=self.path, C2_LATTICE_PORT=str(self.broker.port), C2_LATTICE_WORKSPACE=peer, PEER_ID=peer,
            PEER_ROLE="architect",
        )  # fmt: skip

    def inspect(self, era: str, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        ours = [word for item in self.environ(era).items() for word in ("-e", "=".join(item))]
        return subprocess.run(
            [self.program, "--cli", "--protocol-era", era, *ours, *self.server(f"{era}-{name}"), *options],
            env={"PATH": self.path, "HOME": self.broker.home}, cwd=self.broker.home, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip

    def walk(self, era: str) -> tuple[set[str], list[str]]:
        """Every call of the table, one after the other: (the tools that were called, what was not as it must be)"""
        called: set[str] = set()
        faults: list[str] = []
        task = 0

        def expect(wanted: object, found: object, what: str, done: subprocess.CompletedProcess[str]) -> None:
            if wanted != found:
                faults.append(f"{era} {what}: wanted {wanted}, found {found}: {done.stdout[-600:]} {done.stderr[-600:]}")

        listed = self.inspect(era, "list", "--method", "tools/list", "--strict")
        expect(0, listed.returncode, "tools/list", listed)
        expect(list(TOOLS), [tool["name"] for tool in _json(listed).get("tools", ())], "tools/list", listed)
        for number, (tool, table, code) in enumerate(CALLS):
            if code and number % len(ERAS) != list(ERAS).index(era):
                continue  # each refusal is met in one of the eras
            arguments = {name: task if value == TASK else value.replace("ERA", era) if isinstance(value, str) else value
                         for name, value in table.items()}  # fmt: skip
            given = json.dumps(arguments)
            done = self.inspect(era, str(number), "--method", "tools/call", "--tool-name", tool, "--tool-args-json", given)
            result = _json(done)
            structured = result.get("structuredContent", {})
            what = f"{tool} {given[:100]}"
            expect((5 if code else 0, bool(code)), (done.returncode, result.get("isError", False)), what, done)
            expect(code, structured.get("code", ""), what, done)
            texts = [json.loads(one["text"]) for one in result.get("content", ()) if tool != "check_messages"]
            expect([structured] if tool != "check_messages" else [], texts, what, done)
            task = task or structured.get("task_id", 0)
            called |= set() if code else {tool}
        many = self.inspect(
            era, "many", "--method", "tools/call", "--tool-name", "list_tasks", "--format", "json",
            "--load", "--load-requests", "30", "--load-concurrency", "8",
        )  # fmt: skip
        expect(0, many.returncode, "30 calls, 8 at once", many)
        print(f"{era}: {many.stdout.strip()[:600]}")
        return called, faults

    def talk(self, era: str) -> list[str]:
        """The talk by hand: what was not answered as it must be."""
        asked, wanted = [], []
        for number, (said, code) in enumerate(BY_HAND[era]):
            if isinstance(said, str):
                asked.append(said)
                wanted.append((900 if "900" in said else None, code))
            else:
                method, params = said
                asked.append(
                    json.dumps({"jsonrpc": "2.0", "id": number, "method": method, **({} if params is None else {"params": params})})
                )
                wanted.append((number, code))
        done = subprocess.run(
            self.server(f"{era}-by-hand"), env=self.environ("hand-" + era), cwd=self.broker.home,
            input="".join(line + "\n" for line in asked), capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        found = [(answer.get("id"), answer.get("error", {}).get("code", 0)) for answer in answers if "method" not in answer]
        return [f"{era} by hand: {one} is missing or too much" for one in set(wanted) ^ set(found)] + (
            [] if len(wanted) == len(found) else [f"{era} by hand: {len(found)} answers to {len(wanted)}: {found}"]
        )

    def test_every_tool_does_what_it_says_and_every_line_is_of_the_protocol(self) -> None:
        with ThreadPoolExecutor(len(ERAS)) as pool:
            walks = list(pool.map(self.walk, ERAS))
        failures = [fault for _, faults in walks for fault in faults] + [fault for era in ERAS for fault in self.talk(era)]
        judged = subprocess.run(
            [self.python, "-m", "tests.field.official", self.lines],
            cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        self.assertEqual(0, judged.returncode, judged.stderr[-4000:])
        told = json.loads(judged.stdout)
        tools = min(len(called) for called, _ in walks)
        measured(self, "R38", tools=tools, failures=len(failures), lines_checked=told["lines"], schema_violations=len(told["faults"]))
        self.assertEqual([], failures, "\n".join(failures))
        self.assertEqual([], told["faults"], "\n".join(told["faults"]))
        self.assertEqual(sorted(ERAS.values()), told["versions"])
        self.assertEqual(len(TOOLS), tools)
        self.assertGreaterEqual(told["lines"], 100)


def _json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the Inspector printed; {} when that is no object."""
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    unittest.main()
