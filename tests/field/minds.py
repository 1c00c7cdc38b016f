"""A model with a mind for each session: what it is shown decides what it does.

A session's base URL ends in its name, so that one server is the model of all. A mind is a function of what was shown
since the model's last word (tool searches do not count), so a client may repeat a request without harm. Every request
is kept with the time it came: what a test asserts is what the model was shown, and when.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.field.scripted_model import ScriptedModel, Step, flat, named, use
from tests.running import until


class Shown(NamedTuple):
    """One request. `new`: what came since the model's last word; `results`: the tool results in it; `all`: everything."""

    session: str
    at: float
    new: str
    results: list[str]
    all: str

    def result(self) -> str:
        """The last tool result in it; "" when it has none."""
        return self.results[-1] if self.results else ""


Mind = Callable[[Shown], "str | Step | list[Step]"]


class Minds(ScriptedModel):
    """The server. `minds` maps a session's name to its mind; a session that has none is told "ok"."""

    def __init__(self) -> None:
        super().__init__({})
        self.minds: dict[str, Mind] = {}
        self.seen: list[Shown] = []
        self.faults: list[str] = []
        self.sought: dict[str, Step | list[Step]] = {}  # what a session's mind wanted, and first had to search for

    def __enter__(self) -> Minds:
        super().__enter__()
        return self

    def base_url(self, session: str) -> str:
        return f"http://127.0.0.1:{self.port}/{session}"

    def answer(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        at = time.monotonic()
        offered = [str(tool["name"]) for tool in body.get("tools") or [] if tool.get("name")]
        session = path.split("/")[1]
        if not offered:
            return [{"type": "text", "text": "ok"}]  # a side question of the client's own, such as a title
        messages = body.get("messages", [])
        blocks = since_last_word(messages)
        everything = flat(body.get("system")) + "\n" + "\n".join(flat(item.get("content")) for item in messages)
        results = [flat(block.get("content")) for block in blocks if block.get("type") == "tool_result"]
        shown = Shown(session, at, "\n".join(map(flat, blocks)), results, everything)
        with self.lock:
            self.seen.append(shown)
        try:
            searched = searches(messages) and session in self.sought
            said = self.sought.pop(session) if searched else self.minds[session](shown) if session in self.minds else "ok"
        except Exception as error:  # the test hears of it where it looks
            self.faults.append(f"{session}: {type(error).__name__} {error}")
            said = "my mind failed"
        if isinstance(said, str):
            return [{"type": "text", "text": said}]
        calls = [self.call(step, offered, everything, shown) for step in ([said] if isinstance(said, Step) else said)]
        if any(call["name"] == "ToolSearch" for call in calls):
            self.sought[session] = said
        return calls

    def call(self, step: Step, offered: list[str], everything: str, shown: Shown) -> dict[str, Any]:
        name = named(step.tool, offered)
        if not name:
            known = re.findall(rf"\b(mcp__[\w-]+?__{re.escape(step.tool)})\b", everything)
            return use("ToolSearch", {"query": f"select:{known[0] if known else step.tool}"})
        if step.before is not None:
            step.before()
        return use(name, step.arguments(shown.results) if callable(step.arguments) else step.arguments)

    # -- what it was shown

    def shown_to(self, session: str) -> list[Shown]:
        with self.lock:
            return [shown for shown in self.seen if shown.session == session]

    def until_shown(self, session: str, pattern: str, *, within_s: float = 30.0, after: float = 0.0) -> Shown:
        """The first request of the session, not before `after`, in which something new fits the pattern."""

        def look() -> Shown | None:
            return next((shown for shown in self.shown_to(session) if shown.at >= after and re.search(pattern, shown.new)), None)

        def heard() -> str:
            return "\n---\n".join([*(shown.new[-700:] for shown in self.shown_to(session)[-4:]), *self.faults])

        try:
            found: Shown = until(look, f"{session} is shown {pattern!r}", within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it was shown last:\n{heard()}") from None
        return found

    def times_shown(self, session: str, text: str) -> int:
        """In how many requests of the session something new held the text."""
        return sum(text in shown.new for shown in self.shown_to(session))


def since_last_word(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks that came after the model's last word; a tool search and its answer count as if they had not been."""
    blocks: list[dict[str, Any]] = []
    for item in reversed(messages):
        content = item.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if item.get("role") == "assistant":
            calls = [part for part in parts if part.get("type") == "tool_use"]
            if not calls or any(call.get("name") != "ToolSearch" for call in calls):
                break
            searches = {call["id"] for call in calls}
            blocks = [block for block in blocks if block.get("tool_use_id") not in searches]
            continue
        blocks = [part for part in parts if isinstance(part, dict)] + blocks
    return blocks


def searches(messages: list[dict[str, Any]]) -> bool:
    """Was the model's last word nothing but a search for tools?"""
    content = next((item.get("content") for item in reversed(messages) if item.get("role") == "assistant"), None)
    names = [part.get("name") for part in content if part.get("type") == "tool_use"] if isinstance(content, list) else []
    return bool(names) and set(names) == {"ToolSearch"}
