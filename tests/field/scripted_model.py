"""A model for tests: speaks Anthropic's Messages interface on a loopback port and follows a plan.

A plan is a list of steps; a step is a tool call. Which plan a conversation follows is said by a word in its first
message, and how far it has come by the results it already holds, so a client may repeat a request without harm. A
tool that is offered by name only is loaded through the client's tool search first. Every request is kept:
what a test asserts is what the model was shown.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One tool call. `tool` is the end of its name; `arguments` may be made from the results so far; `before` may wait."""

    tool: str
    arguments: dict[str, Any] | Callable[[list[str]], dict[str, Any]] = {}
    before: Callable[[], object] | None = None


class Turn(NamedTuple):
    """What one request showed the model."""

    plan: str
    offered: list[dict[str, Any]]
    results: list[str]
    text: str


DONE = "PLAN-DONE"


class ScriptedModel:
    """The server. `plans` maps the word in the first message to its steps; after the last step the reply is DONE."""

    def __init__(self, plans: Mapping[str, Sequence[Step]]) -> None:
        self.plans = plans
        self.lock = threading.Lock()
        self.turns: list[Turn] = []
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_HEAD(self) -> None:
                self.answer(200, b"")

            def do_GET(self) -> None:
                self.answer(404, b"{}")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                path = self.path.partition("?")[0]
                if path.endswith("/count_tokens"):
                    self.answer(200, b'{"input_tokens": 100}')
                elif path.endswith("/messages"):
                    reply = message(body, model.answer(path, body))
                    if body.get("stream"):
                        self.answer(200, stream(reply), "text/event-stream")
                    else:
                        self.answer(200, json.dumps(reply).encode())
                else:
                    self.answer(404, b"{}")

            def answer(self, status: int, payload: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(payload)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that went away in the middle of an answer

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> ScriptedModel:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The content blocks that answer a request to this path."""
        return self.reply(body)

    def reply(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The next step of the conversation's plan."""
        messages = body.get("messages", [])
        offered = [tool for tool in body.get("tools") or [] if tool.get("name")]
        text = flat(body.get("system")) + "\n" + "\n".join(flat(item.get("content")) for item in messages)
        first = "\n".join(flat(item.get("content")) for item in messages if item.get("role") == "user")
        plan = next((name for name in self.plans if re.search(rf"\b{re.escape(name)}\b", first)), "")
        if not plan or not offered:
            return [{"type": "text", "text": "ok"}]  # a side question of the client's own, such as a title
        results, searches = results_of(messages)
        with self.lock:
            self.turns.append(Turn(plan, offered, results, text))
        steps = self.plans[plan]
        if len(results) >= len(steps) or searches > 2 * len(steps) + 5:
            return [{"type": "text", "text": DONE}]
        step = steps[len(results)]
        if step.before is not None:
            step.before()
        name = named(step.tool, [str(tool["name"]) for tool in offered])
        if not name:
            known = re.findall(rf"\b(mcp__[\w-]+?__{re.escape(step.tool)})\b", text)
            return [use("ToolSearch", {"query": f"select:{known[0] if known else step.tool}"})]
        return [use(name, step.arguments(results) if callable(step.arguments) else step.arguments)]

    # -- what the model was shown

    def shown(self, plan: str) -> list[str]:
        """The results of the plan's tool calls, in order, as the model saw them."""
        return max((turn.results for turn in self.turns if turn.plan == plan), key=len, default=[])

    def offered(self, plan: str) -> set[str]:
        """The names of all tools it could know of: those with a schema, and those named in the text to be searched."""
        names: set[str] = set()
        for turn in self.turns:
            if turn.plan == plan:
                names |= {str(tool["name"]) for tool in turn.offered}
                names |= set(re.findall(r"\bmcp__[\w-]+?__\w+", turn.text))
        return names

    def read(self, plan: str) -> str:
        """Everything the plan's conversations were shown, as one text."""
        return "\n".join(turn.text for turn in self.turns if turn.plan == plan)


def results_of(messages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """(texts of the results of planned calls, in the order of the calls; how many tool searches there were)"""
    calls: dict[str, str] = {}
    results, searches = [], 0
    for item in messages:
        content = item.get("content")
        for block in content if isinstance(content, list) else ():
            if block.get("type") == "tool_use":
                calls[block["id"]] = block["name"]
            elif block.get("type") == "tool_result":
                if calls.get(block.get("tool_use_id")) == "ToolSearch":
                    searches += 1
                else:
                    results.append(flat(block.get("content")))
    return results, searches


def named(ending: str, names: list[str]) -> str:
    return next((name for name in names if name == ending or name.endswith("__" + ending)), "")


def flat(content: object) -> str:
    """The text in a message's content, however it is nested."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(flat(part) for part in content)
    if isinstance(content, dict):
        return str(content.get("tool_name") or "") or flat(content.get("text") or content.get("content") or "")
    return ""


def use(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:20]}", "name": name, "input": arguments}


def message(body: dict[str, Any], content: list[dict[str, Any]]) -> dict[str, Any]:
    wants_tool = any(block["type"] == "tool_use" for block in content)
    return {
        "id": f"msg_{uuid.uuid4().hex[:20]}", "type": "message", "role": "assistant", "model": body.get("model", "scripted"),
        "content": content, "stop_reason": "tool_use" if wants_tool else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
    }  # fmt: skip


def stream(reply: dict[str, Any]) -> bytes:
    """The message as server-sent events."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**reply, "content": [], "stop_reason": None}}]
    for index, block in enumerate(reply["content"]):
        start: dict[str, Any] = {**block, "text": ""}
        delta: dict[str, Any] = {"type": "text_delta", "text": block.get("text")}
        if block["type"] != "text":
            start, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended, "usage": reply["usage"]})
    events.append({"type": "message_stop"})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
