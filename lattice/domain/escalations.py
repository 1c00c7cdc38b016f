"""Escalations: calls for help that stay open until somebody resolves them, whoever has read the mail.

Four kinds: a blocker (somebody is stuck), a review (work wants approval), a spawn (an architect wants
another session and the person is asked), a permission (a client's tool wants leave). Resolving carries
a verdict: answer, approve or changes. The mail that carries one out and back is the messages' business.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lattice.domain import events
from lattice.domain.caller import BROKER, Caller
from lattice.domain.hiding import Texts
from lattice.errors import Conflict, Forbidden, NotFound
from lattice.store.database import Tx

TEXTS = Texts("escalations", ("id",), ("text", "answer"), json=("request",), whole=("prompt",))
_SHOWN = (
    "id, kind, state, raised_by, workspace, run_id, task_id, message_id, text, request,"
    " verdict, answer, resolved_by, created_at, resolved_at"
)


def open_one(
    tx: Tx, caller: Caller, *, kind: str, text: str, task_id: int | None, run_id: str | None, request: dict[str, Any] | None = None
) -> int:
    """A new open escalation; answers its id. NotFound for a task that is not there."""
    check_task(tx, caller, task_id)
    return tx.insert(
        "INSERT INTO escalations (kind, state, raised_by, workspace, run_id, task_id, text, request, created_at)"
        " VALUES (?, 'open', ?, ?, ?, ?, ?, ?, ?)",
        (kind, caller.id, caller.workspace, run_id, task_id, text, json.dumps(request or {}), tx.at),
    )


def check_task(tx: Tx, caller: Caller, task_id: int | None) -> None:
    """NotFound for a task that is not there, or is of another workspace."""
    if (
        task_id is not None
        and tx.one("SELECT id FROM tasks WHERE id = ? AND (? OR workspace = ?)", (task_id, int(caller.sees_all), caller.workspace)) is None
    ):
        raise NotFound(f"task #{task_id} not found", hint="list_tasks shows the numbers; task_id may be left out of a blocker")


def carried_by(tx: Tx, caller: Caller, escalation_id: int, message_id: int | None) -> None:
    """Remember the mail that carries it, so that a reply to that mail can resolve it. Logs the new escalation."""
    tx.run("UPDATE escalations SET message_id = ? WHERE id = ?", (message_id, escalation_id))
    events.record(tx, caller, "escalation", [escalation_id])


def resolve(tx: Tx, caller: Caller, escalation_id: int, verdict: str, answer: str) -> dict[str, Any]:
    """Close it with a verdict. Only who leads may, and nobody approves their own work.

    Forbidden for a worker, Conflict when it was resolved before (by whom, how).
    """
    row = get(tx, escalation_id)
    if not caller.leads:
        raise Forbidden("only the architect or the person resolves an escalation", hint="answer with a message instead")
    if row["workspace"] != caller.workspace and not caller.is_person:
        raise Forbidden(f"escalation {escalation_id} is of another workspace; its architect or the person resolves it")
    if row["kind"] in ("spawn", "permission") and not caller.is_person:
        raise Forbidden(f"only the person answers a {row['kind']} request", hint="the page asks the person")
    if row["raised_by"] == caller.id and not caller.is_person and row["kind"] == "review":
        raise Forbidden("nobody approves their own work; the person can")
    if row["state"] != "open":
        raise Conflict(f"escalation {escalation_id} was resolved by {row['resolved_by']}: {row['verdict']} {row['answer']}".rstrip())
    tx.run(
        "UPDATE escalations SET state = 'resolved', verdict = ?, answer = ?, resolved_by = ?, resolved_at = ? WHERE id = ?",
        (verdict, answer, caller.id, tx.at, escalation_id),
    )
    events.record(tx, caller, "escalation", [escalation_id], workspace=row["workspace"])
    tx.after("escalation", str(escalation_id))
    if row["kind"] == "spawn" and verdict == "approve":
        tx.after("spawn", str(escalation_id))
    return {**row, "state": "resolved", "verdict": verdict, "answer": answer, "resolved_by": caller.id}


def hand_over(tx: Tx, caller: Caller, old: str) -> list[int]:
    """What `old` has asked and nobody has answered yet is the caller's question. Answers the ids."""
    found = [
        row["id"]
        for row in tx.all("SELECT id FROM escalations WHERE raised_by = ? AND state = 'open' AND kind <> 'permission' ORDER BY id", (old,))
    ]
    for escalation_id in found:
        tx.run("UPDATE escalations SET raised_by = ? WHERE id = ?", (caller.id, escalation_id))
    if found:
        events.record(tx, caller, "escalation", found)
    return found


def withdraw(tx: Tx, escalation_id: int, why: str) -> None:
    """Close one that has become nobody's question."""
    tx.run(
        "UPDATE escalations SET state = 'resolved', verdict = '', answer = ?, resolved_by = 'broker', resolved_at = ? WHERE id = ?",
        (why, tx.at, escalation_id),
    )
    events.record(tx, BROKER, "escalation", [escalation_id])
    tx.after("escalation", str(escalation_id))


def forget(tx: Tx, caller: Caller, ids: list[int]) -> None:
    """Delete these; see `forgetting`."""
    for escalation_id in ids:
        tx.run("DELETE FROM escalations WHERE id = ?", (escalation_id,))
    events.record(tx, caller, "escalation", ids)


def of_message(tx: Tx, message_id: int) -> int | None:
    """The escalation that a message carried, open or resolved, if any."""
    row = tx.one("SELECT id FROM escalations WHERE message_id = ? ORDER BY id DESC LIMIT 1", (message_id,))
    return row["id"] if row else None


def waits_for(tx: Tx, caller: Caller, message_id: int) -> str:
    """The verdicts that the caller may give to what this message carries; "" when nothing of it is open, or it is not theirs to say."""
    row = tx.one("SELECT kind, raised_by FROM escalations WHERE message_id = ? AND state = 'open'", (message_id,))
    if row is None or not caller.leads or (not caller.is_person and (row["raised_by"] == caller.id or row["kind"] not in _LED)):
        return ""
    return "answer" if row["kind"] == "blocker" else "approve or changes"


_LED = ("blocker", "review")  # an architect answers these; the others are the person's


def open_mail(tx: Tx, workspace: str, reader: str) -> list[int]:
    """The messages that carry what is still open in a workspace and an architect can answer, but those of `reader` itself."""
    rows = tx.all(
        "SELECT message_id FROM escalations WHERE state = 'open' AND workspace = ? AND kind IN ('blocker', 'review') AND raised_by <> ?"
        " AND message_id IS NOT NULL ORDER BY id",
        (workspace, reader),
    )
    return [row["message_id"] for row in rows]


def get(tx: Tx, escalation_id: int) -> dict[str, Any]:
    row = tx.one(f"SELECT {_SHOWN} FROM escalations WHERE id = ?", (escalation_id,))
    if row is None:
        raise NotFound(f"escalation {escalation_id} not found", hint="GET /escalations, or c2-lattice escalations, lists them")
    return _shown(row)


def list_some(tx: Tx, *, state: str | None, workspace: str | None, limit: int) -> dict[str, Any]:
    rows = tx.all(
        f"SELECT {_SHOWN} FROM escalations WHERE (? IS NULL OR state = ?) AND (? IS NULL OR workspace = ?)"
        " ORDER BY state = 'resolved', id DESC LIMIT ?",
        (state, state, workspace, workspace, limit),
    )
    return {"escalations": [_shown(row) for row in rows]}


def of_task(tx: Tx, task_id: int) -> list[dict[str, Any]]:
    """What was asked about a task and what the answers were, oldest first."""
    return [
        {
            name: row[name]
            for name in ("id", "kind", "state", "raised_by", "text", "verdict", "answer", "resolved_by", "created_at", "resolved_at")
        }
        for row in tx.all(f"SELECT {_SHOWN} FROM escalations WHERE task_id = ? ORDER BY id", (task_id,))
    ]


def open_of_task(tx: Tx, task_id: int) -> list[int]:
    """The open calls for help about a task."""
    rows = tx.all(
        "SELECT id FROM escalations WHERE task_id = ? AND state = 'open' AND kind IN ('blocker', 'review') ORDER BY id", (task_id,)
    )
    return [row["id"] for row in rows]


def approved_since(tx: Tx, task_id: int, raised_by: str, since: float) -> bool:
    """Was this peer's work on the task approved, by a review raised after `since`, with no newer one still open or sent back?"""
    row = tx.one(
        "SELECT verdict FROM escalations WHERE task_id = ? AND kind = 'review' AND raised_by = ? AND created_at >= ?"
        " ORDER BY id DESC LIMIT 1",
        (task_id, raised_by, since),
    )
    return row is not None and row["verdict"] == "approve"


def spawns_waiting(tx: Tx, before: float) -> list[int]:
    """Open requests for a session that were raised before that time."""
    return [row["id"] for row in tx.all("SELECT id FROM escalations WHERE kind = 'spawn' AND state = 'open' AND created_at < ?", (before,))]


def permissions_overdue(tx: Tx, slack_s: float, before: Callable[[float], float]) -> list[int]:
    """Open wishes for permission whose asker stopped waiting `slack_s` ago. `before(age_s)`: when what has that age was made."""
    rows = tx.all("SELECT id, request, created_at FROM escalations WHERE kind = 'permission' AND state = 'open'")
    return [row["id"] for row in rows if row["created_at"] < before(json.loads(row["request"]).get("wait_s", 0) + slack_s)]


def _shown(row: Any) -> dict[str, Any]:
    return {**dict(row), "request": json.loads(row["request"])}
