"""Deeds: writes that can be found again. Each has a key that is in its words, and is its idempotency key.

`request` is what a client sends, `found` what of it all is in a database: how often each deed is there, and which are there
by half. Half means: one row of the several that its answer speaks of, or rows without the answer that is kept beside them.
"""

from __future__ import annotations

import collections
import contextlib
import json
import sqlite3
from typing import Any, NamedTuple

KINDS = ("message", "memory", "batch", "blocker", "count")
PARTS = 3  # tasks of a batch; each but the first waits for the one before it


def request(kind: str, key: str) -> tuple[str, dict[str, Any]]:
    """(path, body)"""
    with_key = {"idempotency_key": key}
    match kind:
        case "message":
            return "/send", {"recipient_id": "arch", "category": "finding", "content": f"deed {key}", **with_key}
        case "broadcast":
            return "/send", {"recipient_id": "broadcast", "category": "finding", "content": f"deed {key}", **with_key}
        case "memory":
            return "/memory", {"key": f"deed {key}", "value": "v" * 60, **with_key}
        case "large":
            return "/memory", {"key": f"deed {key}", "value": "v" * 45_000, **with_key}
        case "batch":
            tasks = [{"title": f"deed {key} {part}", "blocked_by": [-part] if part else []} for part in range(PARTS)]
            return "/tasks/batch", {"tasks": tasks, **with_key}
        case "blocker":
            return "/escalations", {"kind": "blocker", "text": f"deed {key}", **with_key}
        case "count":
            return "/memory", {"key": f"count of {key.partition('-')[0]}", "value": f"deed {key}", **with_key}
    raise KeyError(kind)


class Found(NamedTuple):
    """`times`: by key, how often the deed is there. `halves`: what is wrong with those that are there by half, in words."""

    times: collections.Counter[str]
    halves: list[str]


def found(path: str) -> Found:
    """All deeds in a database that nobody writes to."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return _Search(database).found()


class _Search:
    def __init__(self, database: sqlite3.Connection) -> None:
        def column(sql: str) -> dict[Any, Any]:
            return dict(database.execute(sql).fetchall())

        self.messages = column("SELECT id, content FROM messages WHERE content LIKE 'deed %'")
        self.told = column("SELECT message_id, COUNT(*) FROM deliveries GROUP BY message_id")
        self.tasks = column("SELECT id, title FROM tasks WHERE title LIKE 'deed %'")
        self.needs = set(database.execute("SELECT task_id, needs_id FROM dependencies").fetchall())
        self.escalations = column("SELECT id, text FROM escalations WHERE text LIKE 'deed %'")
        self.asked = column("SELECT id, message_id FROM escalations")
        memory = database.execute("SELECT key, value, version FROM memory").fetchall()
        self.memory = {key: version for key, _, version in memory if key.startswith("deed ")}
        history = database.execute("SELECT value FROM memory_history WHERE value LIKE 'deed %'").fetchall()
        self.counted = collections.Counter([value for _, value, _ in memory if value.startswith("deed ")] + [value for (value,) in history])
        self.answers = database.execute("SELECT key, op, answer FROM idempotency").fetchall()
        self.halves: list[str] = []

    def found(self) -> Found:
        times: collections.Counter[str] = collections.Counter()
        for texts in (self.messages.values(), self.memory, self.counted.elements()):
            times.update(text.split()[1] for text in texts)
        titles = collections.Counter(title.rpartition(" ")[0].split()[1] for title in self.tasks.values())
        for key, parts in titles.items():
            times[key] += -(-parts // PARTS)
            if parts % PARTS:
                self.halves.append(f"{key}: {parts} of {PARTS} tasks")
        self.halves += [f"{text}: version {version}" for text, version in self.memory.items() if version != 1]
        answered = set()
        for key, op, answer in self.answers:
            answered.add(key)
            if not self.is_whole(key, op, json.loads(answer)):
                self.halves.append(f"{key}: {op} answered {answer}, and not all of that is there")
        self.halves += [f"{key}: there without its answer" for key in times.keys() - answered]
        return Found(times, self.halves)

    def is_whole(self, key: str, op: str, answer: dict[str, Any]) -> bool:
        """Is everything there that this answer speaks of?"""
        text = f"deed {key}"
        match op:
            case "send_message":
                id = answer["message_id"]
                return bool(self.messages.get(id) == text and self.told.get(id) == len(answer["recipients"]))
            case "escalate":
                id = answer["escalation_id"]
                message = answer["message_id"]
                return bool(self.escalations.get(id) == text and self.asked.get(id) == message and self.told.get(message))
            case "create_batch":
                ids = answer["task_ids"]
                chain = set(zip(ids[1:], ids, strict=False))
                return [self.tasks.get(id) for id in ids] == [f"{text} {part}" for part in range(PARTS)] and chain <= self.needs
            case "set_memory":
                return self.memory.get(text) == 1 or self.counted[text] == 1
        raise KeyError(op)
