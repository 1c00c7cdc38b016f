"""Brief: what a session is shown of a long list. A model pays for every sign of it, and a client cuts what is too long.

Of a row, what says nothing is left out. A text is cut where the list would else pass BYTES, and the answer says
which call shows one whole: nothing is cut in silence. What asks for one thing (a task, a key, mail) is never cut.
"""

from __future__ import annotations

import json
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BYTES = 24_576  # as much as mail at once; a fifth of what Claude Code takes of a tool
LENGTHS = (2000, 300, 80, 0)  # a text is cut to the first of these with which all of it fits; the last leaves it out

# Of each row of a list: the texts that may be cut, the JSON texts of which only the summary stays, what is never shown.
Rows = namedtuple("Rows", "texts json left_out", defaults=((), (), ()))
_TASKS = Rows(("description", "note"), ("artifacts",), ("workspace", "created_at", "updated_at"))
_MEMORY = Rows(("value",))
LISTS: dict[str, dict[str, Any]] = {
    "list_tasks": {"tasks": _TASKS},
    "list_locks": {"locks": Rows(("reason",), (), ("workspace", "turn")), "queue": Rows(("reason",))},
    "get_memory": {"memory": _MEMORY, "history": _MEMORY},
    "get_conversation": {"conversation": Rows(("content",))},
    "search": {"results": Rows(("text",))},
    "list_escalations": {"escalations": Rows(("text", "answer"), (), ("workspace",))},
    "resume_run": {
        "tasks": _TASKS,
        "memory": _MEMORY,
        "recent_messages": Rows(("content",)),
        "escalations": Rows(("text",)),
    },
}
WHOLE = {
    "list_tasks": "get_task shows one whole",
    "get_memory": "get_memory with a key shows one whole",
    "search": "get_task, get_memory with a key show one whole",
    "list_escalations": "ask for fewer with `limit`",
    "get_conversation": "ask for fewer with `last`",
    "resume_run": "get_task, get_memory with a key show one whole",
}
STAYS = frozenset(("claimable", "assigned_to"))  # also where they say no, or nobody


def shaped(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a tool as a session is shown it."""
    lists = {member: rows for member, rows in LISTS.get(name, {}).items() if isinstance(answer.get(member), list)}
    if not lists:
        return answer
    said: dict[str, Any] = answer
    for length in LENGTHS:
        cut: list[bool] = []
        said = {**answer, **{member: [_row(row, rows, length, cut) for row in answer[member]] for member, rows in lists.items()}}
        if cut:
            said["cut"] = f"{'a text that ends in … goes on' if length else 'long texts are left out'}; {WHOLE.get(name, '')}".rstrip("; ")
        if len(json.dumps(said, ensure_ascii=False).encode()) <= BYTES:
            break
    return {member: value for member, value in said.items() if member not in lists or value or member in ("tasks", "locks", "memory")}


def _row(row: Any, rows: Any, length: int, cut: list[bool]) -> Any:
    if not isinstance(row, dict):
        return row
    said: dict[str, Any] = {}
    for name, value in row.items():
        if name in rows.left_out or (name not in STAYS and value in (None, "", 0, [], {})):
            continue
        if name in rows.json:
            value = _summary(value, length)
            if value != row[name]:
                cut.append(True)
        elif name in rows.texts and isinstance(value, str) and len(value) > length:
            value = value[:length].rstrip() + "…" if length else ""
            cut.append(True)
        if value != "":
            said[name] = value
    return said


def _summary(value: Any, length: int) -> Any:
    """What a task's artifacts come to, in the form in which they came (an object, or its JSON)."""
    if len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) <= length:
        return value
    told = json.loads(value) if isinstance(value, str) else value
    text = str(told.get("summary") or "") if isinstance(told, dict) else ""
    short = {"summary": text[:length].rstrip() + "…" if len(text) > length else text} if length else {}
    return (json.dumps(short, ensure_ascii=False) if short else "") if isinstance(value, str) else short
