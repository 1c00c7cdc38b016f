"""Runs: a named piece of work whose record is enough to take it up again.

Tasks and messages made inside a run carry its id. The summary gathers them with the workspace's
decisions and the open escalations; it only reads the other nouns' tables.
"""

from __future__ import annotations

import json
from typing import Any

from lattice.contract.operations import MAX_TITLE
from lattice.domain import events
from lattice.domain.caller import Caller
from lattice.domain.hiding import Texts
from lattice.errors import BadRequest, Conflict, NotFound
from lattice.names import check_id
from lattice.store.database import Tx

TEXTS = Texts("runs", ("id",), ("name", "goal", "success_criteria"))
SHOWN_MESSAGES = 20  # the newest of a run, in its summary
SHOWN_TASKS = 1000  # the oldest; counted are all
SAID_FREE = 10
_SHOWN = "id, name, goal, success_criteria, status, created_by, created_at, updated_at, workspace"


def create(tx: Tx, caller: Caller, *, id: str, name: str | None, goal: str | None, success_criteria: str | None,
           status: str | None, **_: object) -> dict[str, Any]:  # fmt: skip
    """Start a run. For an id that exists: with `status` or new texts an update, else Conflict."""
    run_id = check_id(id, "run id")
    if _ours(tx, caller, run_id):
        if status is None and goal is None and success_criteria is None:
            raise Conflict(f"run '{run_id}' already exists", hint="give a status (or goal, success_criteria) to change it")
        return _update(tx, caller, run_id, name, goal, success_criteria, status)
    if not name:
        raise BadRequest("id and name are required")
    _insert(tx, caller, run_id, name, goal or "", success_criteria or "", status or "active")
    return {"ok": True, "run_id": run_id}


def ensure(tx: Tx, caller: Caller, run_id: str) -> str:
    """The run of that id, made with its id for a name when there is none (create_task with an unknown run_id)."""
    run_id = check_id(run_id, "run id")
    if not _ours(tx, caller, run_id):
        _insert(tx, caller, run_id, run_id[:MAX_TITLE], "", "", "active")
    return run_id


def must_exist(tx: Tx, caller: Caller, run_id: str) -> str:
    run = _find(tx, run_id)
    if run is None or not (caller.sees_all or run["workspace"] == caller.workspace):
        raise NotFound(f"run '{run_id}' not found", hint="create it first, or leave run_id out")
    return run_id


def list_all(tx: Tx, *, status: str | None, workspace: str | None) -> dict[str, Any]:
    rows = tx.all(
        f"SELECT {_SHOWN} FROM runs WHERE (? IS NULL OR status = ?) AND (? IS NULL OR workspace = ?) ORDER BY created_at DESC, id",
        (status, status, workspace, workspace),
    )
    return {"runs": [dict(row) for row in rows]}


def get(tx: Tx, run_id: str) -> dict[str, Any]:
    run = _get(tx, run_id)
    tasks = tx.all("SELECT id, title, status, assigned_to FROM tasks WHERE run_id = ? ORDER BY id", (run_id,))
    count = tx.one("SELECT COUNT(*) AS n FROM messages WHERE run_id = ?", (run_id,))
    return {"run": run, "tasks": [dict(row) for row in tasks], "message_count": count["n"] if count else 0}


def summary(tx: Tx, run_id: str) -> dict[str, Any]:
    """{run, tasks, memory, recent_messages, escalations, counts, summary (text)}: enough to take the run up again."""
    run = _get(tx, run_id)
    tasks = [
        {**dict(row), "artifacts": json.loads(row["artifacts"]) if row["artifacts"] else {},
         "blocked_by": row["needs"] or "", "depends_on": [int(one) for one in (row["needs"] or "").split(",") if one]}
        for row in tx.all(
            "SELECT id, title, description, status, priority, assigned_to, artifacts, note,"
            " (SELECT GROUP_CONCAT(needs_id) FROM dependencies WHERE task_id = tasks.id) AS needs"
            " FROM tasks WHERE run_id = ? ORDER BY id LIMIT ?",
            (run_id, SHOWN_TASKS),
        )
    ]  # fmt: skip
    for task in tasks:
        del task["needs"]
    memory = tx.all(
        "SELECT key, value, type, confidence, version, peer_id, updated_at FROM memory WHERE workspace = ?"
        " ORDER BY updated_at DESC, key LIMIT 200",
        (run["workspace"],),
    )
    messages = tx.all(
        "SELECT id, sender_id, address AS recipient_id, category, content, created_at FROM messages"
        " WHERE run_id = ? ORDER BY id DESC LIMIT ?",
        (run_id, SHOWN_MESSAGES),
    )
    escalations = tx.all(
        "SELECT id, kind, raised_by, task_id, text, created_at FROM escalations WHERE state = 'open' AND (run_id = ?"
        " OR task_id IN (SELECT id FROM tasks WHERE run_id = ?)) ORDER BY id",
        (run_id, run_id),
    )
    counts = {
        row["status"]: row["n"]
        for row in tx.all("SELECT status, COUNT(*) AS n FROM tasks WHERE run_id = ? GROUP BY status ORDER BY MIN(id)", (run_id,))
    }
    free = tx.all(
        "SELECT id, title FROM tasks WHERE run_id = ? AND status = 'pending' AND n_open = 0 ORDER BY id LIMIT ?", (run_id, SAID_FREE)
    )
    return {
        "summary": _in_words(run, counts, [f"#{row['id']} {row['title']}" for row in free], len(escalations)),
        "run": run,
        "counts": counts,
        "tasks": tasks,
        "memory": [dict(row) for row in memory],
        "recent_messages": [dict(row) for row in messages],
        "escalations": [dict(row) for row in escalations],
    }


def resume(tx: Tx, caller: Caller, *, run_id: str, **_: object) -> dict[str, Any]:
    """Take a run up: a paused one becomes active again; answers its summary. A finished one is only read."""
    run = _get(tx, run_id)
    if run["status"] == "paused":
        _update(tx, caller, run_id, None, None, None, "active")
    return summary(tx, run_id)


def export(tx: Tx, run_id: str) -> dict[str, Any]:
    return {**summary(tx, run_id), "events": events.of_run(tx, run_id)}


def forget(tx: Tx, caller: Caller, ids: list[str]) -> None:
    """Delete these runs; see `forgetting`."""
    for run_id in ids:
        tx.run("DELETE FROM runs WHERE id = ?", (run_id,))
        events.record(tx, caller, "run", [run_id], run_id=run_id)


def was_forgotten(tx: Tx, run_id: str) -> bool:
    """Is the last that the log says of this run that it is gone?"""
    row = tx.one("SELECT data FROM events WHERE run_id = ? AND kind = 'run' ORDER BY seq DESC LIMIT 1", (run_id,))
    return row is not None and row["data"] == "null" and _find(tx, run_id) is None


def _in_words(run: dict[str, Any], counts: dict[str, int], free: list[str], open_escalations: int) -> str:
    said = [f"Run {run['id']} ({run['name']}) is {run['status']}."]
    if run["goal"]:
        said.append(f"Goal: {run['goal']}")
    if run["success_criteria"]:
        said.append(f"Done when: {run['success_criteria']}")
    said.append("Tasks: " + (", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "none yet") + ".")
    if free:
        said.append("Free to claim: " + "; ".join(free))
    if open_escalations:
        said.append(f"{open_escalations} open escalation(s).")
    return "\n".join(said)


def _insert(tx: Tx, caller: Caller, run_id: str, name: str, goal: str, criteria: str, status: str) -> None:
    tx.run(
        "INSERT INTO runs (id, name, goal, success_criteria, status, workspace, created_by, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (run_id, name, goal, criteria, status, caller.workspace, caller.id, tx.at, tx.at),
    )
    events.record(tx, caller, "run", [run_id], run_id=run_id)


def _update(
    tx: Tx, caller: Caller, run_id: str, name: str | None, goal: str | None, criteria: str | None, status: str | None
) -> dict[str, Any]:
    tx.run(
        "UPDATE runs SET name = COALESCE(?, name), goal = COALESCE(?, goal), success_criteria = COALESCE(?, success_criteria),"
        " status = COALESCE(?, status), updated_at = ? WHERE id = ?",
        (name or None, goal, criteria, status, tx.at, run_id),
    )
    events.record(tx, caller, "run", [run_id], run_id=run_id)
    return {"ok": True, "run_id": run_id, "status": _get(tx, run_id)["status"]}


def _ours(tx: Tx, caller: Caller, run_id: str) -> bool:
    """Is there such a run? Conflict when it is another workspace's: ids are global."""
    run = _find(tx, run_id)
    if run is not None and not caller.sees_all and run["workspace"] != caller.workspace:
        raise Conflict(f"run id '{run_id}' is taken in another workspace", code="id_taken", hint="choose another id")
    return run is not None


def _find(tx: Tx, run_id: str) -> dict[str, Any] | None:
    row = tx.one(f"SELECT {_SHOWN} FROM runs WHERE id = ?", (run_id,))
    return dict(row) if row else None


def _get(tx: Tx, run_id: str) -> dict[str, Any]:
    run = _find(tx, run_id)
    if run is None:
        raise NotFound(f"run '{run_id}' not found", hint="get_task names a task's run; a new run_id in create_task begins one")
    return run
