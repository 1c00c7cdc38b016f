"""Tasks: units of work that wait for each other.

    pending -> in_progress (claim) -> completed | failed
    pending, in_progress -> cancelled;  in_progress -> pending (release, or its owner departed)

Exactly one owner while in progress, holding the newest token. Claimable <=> pending and every
dependency completed. No cycle can be made. Completing carries a summary, and dependents unblock in
the completing transaction. A task that needs review cannot be completed before it is approved.
"""

from __future__ import annotations

import json
from typing import Any

from lattice.clock import of_day
from lattice.domain import escalations, events, messages, peers, runs
from lattice.domain.caller import Caller
from lattice.domain.hiding import Texts
from lattice.errors import BadRequest, Conflict, Forbidden, NotFound
from lattice.names import check_peer_id
from lattice.store.database import Tx

TEXTS = Texts("tasks", ("id",), ("title", "description", "note"), json=("artifacts",))
ENDED = ("completed", "failed", "cancelled")
_COLUMNS = (
    "id, title, description, status, priority, created_by, assigned_to, reserved_for, needs_review, attempts, artifacts, note, run_id,"
    " workspace, created_at, updated_at, n_open, (SELECT GROUP_CONCAT(needs_id) FROM (SELECT needs_id FROM dependencies"
    " WHERE task_id = tasks.id ORDER BY needs_id)) AS needs"
)


def create(tx: Tx, caller: Caller, *, title: str | None, description: str, priority: str, blocked_by: list[int] | None, run_id: str | None,
           tasks: list[dict[str, Any]] | None, needs_review: bool, **_: object) -> dict[str, Any]:  # fmt: skip
    """One task, or a batch in `tasks` (all or nothing; there a -1 in blocked_by names the first of the batch, -2 the second)."""
    if tasks:
        if title:
            raise BadRequest("give title (one task) or tasks (a batch), not both")
        return create_batch(tx, caller, tasks=tasks, run_id=run_id)
    if not title or not title.strip():
        raise BadRequest("title and created_by required", hint="create_task {title: …} or {tasks: [{title: …}, …]}")
    run = runs.ensure(tx, caller, run_id) if run_id else None
    task_id = _insert(tx, caller, title, description, priority, blocked_by or [], run, needs_review)
    return {"ok": True, "task_id": task_id, "claimable": _is_claimable(tx, task_id)}


def create_batch(tx: Tx, caller: Caller, *, tasks: list[dict[str, Any]], run_id: str | None, **_: object) -> dict[str, Any]:
    """Several tasks in one transaction: {ok, task_ids}. An item may wait for earlier items of the batch: -1 is the first, -2 the second."""
    if not tasks:
        raise BadRequest("tasks must name at least one task")
    run = runs.ensure(tx, caller, run_id) if run_id else None
    made: list[int] = []
    for index, item in enumerate(tasks):
        needs = [_reference(one, made, index) for one in item.get("blocked_by") or []]
        made.append(_insert(tx, caller, item["title"], item["description"], item["priority"], needs, run, item["needs_review"]))
    return {"ok": True, "task_ids": made}


def claim(tx: Tx, caller: Caller, *, task_id: int, **_: object) -> dict[str, Any]:
    """Take a task: {ok, task_id, token, attempts, title}. Asking again for what one holds answers the same token.

    Forbidden over budget; Conflict when it is held, ended, blocked or reserved (it says by whom).
    """
    row = _row(tx, caller, task_id)
    if row["status"] == "in_progress" and row["assigned_to"] == caller.id:
        return {"ok": True, "task_id": task_id, "token": row["token"], "attempts": row["attempts"], "title": row["title"]}
    broke = peers.over_budget(tx, caller.id)
    if broke is not None:
        raise broke
    token = peers.next_token(tx)
    if not tx.run(
        "UPDATE tasks SET status = 'in_progress', assigned_to = ?, reserved_for = NULL, left_by = '', token = ?, attempts = attempts + 1,"
        " claimed_at = ?, updated_at = ? WHERE id = ? AND status = 'pending' AND n_open = 0"
        " AND (reserved_for IS NULL OR reserved_for = ?)",
        (caller.id, token, tx.at, tx.at, task_id, caller.id),
    ):
        raise _why_not(tx, row)
    _changed(tx, caller, row, task_id)
    return {"ok": True, "task_id": task_id, "token": token, "attempts": row["attempts"] + 1, "title": row["title"]}


def complete(
    tx: Tx, caller: Caller, *, task_id: int, artifacts: dict[str, Any], outcome: str = "done", token: int | None = None, **_: object
) -> dict[str, Any]:
    """End one's task: done (dependents unblock), failed, or released for others. Answers {ok, status, newly_unblocked}."""
    said = {name: value for name, value in artifacts.items() if value is not None}
    messages.act_on_named(tx, caller, str(said["summary"]))
    if outcome == "released":
        return release(tx, caller, task_id=task_id, reason=str(said["summary"]), token=token)
    if outcome == "failed":
        return fail(tx, caller, task_id=task_id, reason=str(said["summary"]), token=token, artifacts=said)
    row = _mine(tx, caller, task_id, token)
    if row["needs_review"] and not escalations.approved_since(tx, task_id, row["assigned_to"], row["claimed_at"] or 0):
        raise Conflict(
            f"task #{task_id} needs a review before it can be completed", code="needs_review",
            hint=f"request_review with task_id {task_id}; complete it when the verdict is approve",
        )  # fmt: skip
    _end(tx, caller, row, "completed", json.dumps(said, ensure_ascii=False), "")
    freed = tx.all(
        "SELECT id, title FROM tasks WHERE id IN (SELECT task_id FROM dependencies WHERE needs_id = ?)"
        " AND status = 'pending' AND n_open = 1",
        (task_id,),
    )
    tx.run("UPDATE tasks SET n_open = n_open - 1 WHERE id IN (SELECT task_id FROM dependencies WHERE needs_id = ?)", (task_id,))
    return {"ok": True, "task_id": task_id, "status": "completed", "newly_unblocked": [dict(one) for one in freed]}


def release(tx: Tx, caller: Caller, *, task_id: int, reason: str, token: int | None = None, **_: object) -> dict[str, Any]:
    """Give one's task back: pending again, for anybody."""
    row = _mine(tx, caller, task_id, token)
    _to_pending(tx, caller, [task_id], reason, row["workspace"], row["run_id"])
    return {"ok": True, "task_id": task_id, "status": "pending", "newly_unblocked": []}


def fail(
    tx: Tx, caller: Caller, *, task_id: int, reason: str, token: int | None = None, artifacts: dict[str, Any] | None = None, **_: object
) -> dict[str, Any]:
    """Say that one's task cannot be done. What waits for it stays blocked until that is edited (depend) or the task is cancelled."""
    row = _mine(tx, caller, task_id, token)
    _end(tx, caller, row, "failed", json.dumps(artifacts or {"summary": reason}, ensure_ascii=False), reason)
    return {"ok": True, "task_id": task_id, "status": "failed", "newly_unblocked": [], "still_blocked": _dependents(tx, task_id)}


def cancel(tx: Tx, caller: Caller, *, task_id: int, reason: str, **_: object) -> dict[str, Any]:
    """Drop a task that has not ended. Its creator, the architect and the person may; an owner at work hears of it."""
    row = _row(tx, caller, task_id)
    _may_change(caller, row)
    if row["status"] in ENDED:
        raise Conflict(f"task #{task_id} is {row['status']} already")
    owner = row["assigned_to"] if row["status"] == "in_progress" else None
    _end(tx, caller, row, "cancelled", row["artifacts"], reason)
    return {"ok": True, "task_id": task_id, "status": "cancelled", "owner": owner, "still_blocked": _dependents(tx, task_id)}


def renew_tokens(tx: Tx, caller: Caller, peer_id: str) -> int:
    """A new process took the peer over: each of its claims gets a larger token, so the old process's are stale."""
    rows = tx.all("SELECT id, run_id, workspace FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY id", (peer_id,))
    for row in rows:
        tx.run("UPDATE tasks SET token = ? WHERE id = ?", (peers.next_token(tx), row["id"]))
        _changed(tx, caller, row, row["id"])
    return len(rows)


def take_over(tx: Tx, caller: Caller, old: str) -> list[int]:
    """Claim for the caller what `old` was at: still its own, or open again since it departed. Answers the ids.

    What was reserved for it is for the caller.
    """
    taken: list[int] = []
    for row in tx.all("SELECT * FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY id", (old,)):
        tx.run(
            "UPDATE tasks SET assigned_to = ?, token = ?, attempts = attempts + 1, claimed_at = ?, updated_at = ? WHERE id = ?",
            (caller.id, peers.next_token(tx), tx.at, tx.at, row["id"]),
        )
        _changed(tx, caller, row, row["id"])
        taken.append(row["id"])
    for row in tx.all("SELECT * FROM tasks WHERE reserved_for = ? AND status = 'pending' ORDER BY id", (old,)):
        tx.run("UPDATE tasks SET reserved_for = ?, updated_at = ? WHERE id = ?", (caller.id, tx.at, row["id"]))
        _changed(tx, caller, row, row["id"])
    return taken + _claim_left_by(tx, caller, old)


def take_over_own(tx: Tx, caller: Caller) -> list[int]:
    """Claim again what the caller itself was at when it departed, where nobody took it since. Answers the ids."""
    return _claim_left_by(tx, caller, caller.id)


def renew(tx: Tx, caller: Caller, *, task_id: int, token: int | None = None, **_: object) -> dict[str, Any]:
    """Is the claim still good? Conflict (stale_token) when not. The beat keeps it."""
    row = _mine(tx, caller, task_id, token)
    return {"ok": True, "task_id": task_id, "token": row["token"]}


def edit(tx: Tx, caller: Caller, *, task_id: int, title: str | None, description: str | None, priority: str | None,
         needs_review: bool | None, **_: object) -> dict[str, Any]:  # fmt: skip
    row = _row(tx, caller, task_id)
    _may_change(caller, row)
    if row["status"] in ENDED:
        raise Conflict(f"task #{task_id} is {row['status']}; an ended task is not edited", hint="create a new task")
    if row["needs_review"] and needs_review is False and not caller.leads:
        raise Forbidden(f"task #{task_id} needs a review; only the architect or the person lifts that", hint="request_review asks for it")
    tx.run(
        "UPDATE tasks SET title = COALESCE(?, title), description = COALESCE(?, description), priority = COALESCE(?, priority),"
        " needs_review = COALESCE(?, needs_review), updated_at = ? WHERE id = ?",
        (title or None, description, priority, None if needs_review is None else int(needs_review), tx.at, task_id),
    )
    _changed(tx, caller, row, task_id)
    return {"ok": True, **get(tx, task_id=task_id)}


def assign(tx: Tx, caller: Caller, *, task_id: int, peer_id: str, **_: object) -> dict[str, Any]:
    """Reserve a pending task for a peer (empty: for anybody)."""
    row = _row(tx, caller, task_id)
    wanted = check_peer_id(peer_id) if peer_id else None
    if wanted is not None and peers.live(tx, wanted)["workspace"] != row["workspace"] and not caller.is_person:
        raise Forbidden(f"peer '{wanted}' is of another workspace; only the person gives a task across")
    if not tx.run("UPDATE tasks SET reserved_for = ?, updated_at = ? WHERE id = ? AND status = 'pending'", (wanted, tx.at, task_id)):
        raise Conflict(
            f"task #{task_id} is {row['status']}"
            + (f", held by {row['assigned_to']}" if row["status"] == "in_progress" else "")
            + "; only a pending task is assigned"
        )
    _changed(tx, caller, row, task_id)
    return {"ok": True, "task_id": task_id, "reserved_for": wanted}


def depend(tx: Tx, caller: Caller, *, task_id: int, add: list[int] | None, remove: list[int] | None, **_: object) -> dict[str, Any]:
    """Change what a pending task waits for. Conflict for a cycle, naming its path."""
    row = _row(tx, caller, task_id)
    _may_change(caller, row)
    if row["status"] != "pending":
        raise Conflict(f"task #{task_id} is {row['status']}; only a pending task's dependencies change")
    for needs_id in dict.fromkeys(remove or []):
        tx.run("DELETE FROM dependencies WHERE task_id = ? AND needs_id = ?", (task_id, needs_id))
    for needs_id in dict.fromkeys(add or []):
        _must_exist(tx, caller, needs_id)
        if needs_id == task_id or _waits_for(tx, needs_id, task_id):
            raise Conflict(f"#{task_id} cannot wait for #{needs_id}: #{needs_id} waits for #{task_id}, that would be a cycle", code="cycle")
        tx.run("INSERT OR IGNORE INTO dependencies (task_id, needs_id) VALUES (?, ?)", (task_id, needs_id))
    _count_open(tx, task_id)
    touched = sorted({*(add or []), *(remove or [])})
    if touched:
        events.record(tx, caller, "dependency", [(task_id, one) for one in touched], run_id=row["run_id"], workspace=row["workspace"])
    return {"ok": True, **get(tx, task_id=task_id)}


def let_go(tx: Tx, caller: Caller, peer_id: str, reason: str) -> list[int]:
    """Everything a leaving peer was at is pending again; what was reserved for it is for anybody. Answers the ids it was at."""
    held = [row["id"] for row in tx.all("SELECT id FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY id", (peer_id,))]
    _to_pending(tx, caller, held, f"{peer_id} departed ({reason})", None, None, left_by=peer_id)
    reserved = [row["id"] for row in tx.all("SELECT id FROM tasks WHERE reserved_for = ? AND status = 'pending' ORDER BY id", (peer_id,))]
    if reserved:
        tx.run("UPDATE tasks SET reserved_for = NULL, updated_at = ? WHERE reserved_for = ? AND status = 'pending'", (tx.at, peer_id))
        events.record(tx, caller, "task", reserved)
    return held


def forget(tx: Tx, caller: Caller, ids: list[int]) -> None:
    """Delete these tasks, and what they needed and were needed for; see `forgetting`."""
    pairs: dict[tuple[str | int, ...], None] = {}
    for task_id in ids:
        rows = tx.all("SELECT task_id, needs_id FROM dependencies WHERE task_id = ? OR needs_id = ?", (task_id, task_id))
        pairs.update(dict.fromkeys((row["task_id"], row["needs_id"]) for row in rows))
        tx.run("DELETE FROM dependencies WHERE task_id = ? OR needs_id = ?", (task_id, task_id))
        tx.run("DELETE FROM tasks WHERE id = ?", (task_id,))
    if pairs:
        events.record(tx, caller, "dependency", pairs)
    events.record(tx, caller, "task", ids)


# -- looking -----------------------------------------------------------------------------------------------


def list_some(tx: Tx, *, status: str | None, assigned_to: str | None, run_id: str | None, claimable: bool | None, limit: int,
              after: int | None, workspace: str | None) -> dict[str, Any]:  # fmt: skip
    """Tasks, high priority first, then oldest; `after` pages by id within that order. `claimable` is on pending ones, as in v4."""
    start = tx.one("SELECT rank, id FROM tasks WHERE id = ?", (after,)) if after else None
    clauses = ["(? IS NULL OR workspace = ?)"]
    values: list[object] = [workspace, workspace]
    for name, value in (("status", status), ("assigned_to", assigned_to), ("run_id", run_id)):
        if value is not None:
            clauses.append(f"{name} = ?")
            values.append(value)
    if claimable is not None:
        clauses.append("status = 'pending' AND n_open = 0" if claimable else "NOT (status = 'pending' AND n_open = 0)")
    if start is not None:
        clauses.append("(rank, id) > (?, ?)")
        values += [start["rank"], start["id"]]
    # With both indexes there the planner takes the wrong one for the claimable list, so it is named.
    source = "tasks INDEXED BY tasks_claimable" if claimable else "tasks"
    rows = tx.all(f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join(clauses)} ORDER BY rank, id LIMIT ?", (*values, limit + 1))
    found = [_shown(row) for row in rows[:limit]]
    return {"tasks": found, "more": len(rows) > limit}


def show(tx: Tx, caller: Caller, *, task_id: int) -> dict[str, Any]:
    """`get`, for a caller who may see it."""
    _row(tx, caller, task_id)
    return get(tx, task_id=task_id)


def get(tx: Tx, *, task_id: int, **_: object) -> dict[str, Any]:
    """{task}: all its columns, artifacts as an object, claimable, what it blocks, what it waits for, its escalations."""
    row = tx.one(f"SELECT {_COLUMNS}, token, claimed_at, finished_at FROM tasks WHERE id = ?", (task_id,))
    if row is None:
        raise NotFound("task not found", hint="list_tasks shows the numbers")
    task = _shown(row)
    task["artifacts"] = json.loads(row["artifacts"]) if row["artifacts"] else {}
    task["claimable"] = row["status"] == "pending" and row["n_open"] == 0
    for name in ("token", "claimed_at", "finished_at"):
        task[name] = row[name]
    task["blocks"] = [
        dict(one)
        for one in tx.all(
            "SELECT t.id, t.title, t.status FROM dependencies d JOIN tasks t ON t.id = d.task_id WHERE d.needs_id = ? ORDER BY t.id",
            (task_id,),
        )
    ]
    task["waits_for"] = [
        dict(one)
        for one in tx.all(
            "SELECT t.id, t.title, t.status, t.assigned_to FROM dependencies d JOIN tasks t ON t.id = d.needs_id"
            " WHERE d.task_id = ? ORDER BY t.id",
            (task_id,),
        )
    ]
    task["escalations"] = escalations.of_task(tx, task_id)
    return {"task": task}


def maker(tx: Tx, task_id: int) -> str:
    """Who made a task that is there."""
    row = tx.one("SELECT created_by FROM tasks WHERE id = ?", (task_id,))
    assert row is not None
    return str(row["created_by"])


def current(tx: Tx, peer_id: str) -> dict[str, Any] | None:
    """The task a peer is at (the newest claim), or None."""
    row = tx.one("SELECT id, title FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY token DESC LIMIT 1", (peer_id,))
    return dict(row) if row else None


# -- helpers ------------------------------------------------------------------------------------------------


def _insert(
    tx: Tx, caller: Caller, title: str, description: str, priority: str, needs: list[int], run_id: str | None, needs_review: bool
) -> int:
    for needs_id in needs:
        _must_exist(tx, caller, needs_id)
    task_id = tx.insert(
        "INSERT INTO tasks (title, description, status, priority, created_by, needs_review, run_id, workspace, created_at, updated_at)"
        " VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?)",
        (title, description, priority, caller.id, int(needs_review), run_id, caller.workspace, tx.at, tx.at),
    )
    # A new task can only name tasks that are there, so it cannot close a cycle.
    for needs_id in dict.fromkeys(needs):
        tx.run("INSERT INTO dependencies (task_id, needs_id) VALUES (?, ?)", (task_id, needs_id))
    messages.act_on_named(tx, caller, f"{title}\n{description}")
    if needs:
        _count_open(tx, task_id)
        events.record(tx, caller, "dependency", [(task_id, needs_id) for needs_id in dict.fromkeys(needs)], run_id=run_id)
    events.record(tx, caller, "task", [task_id], run_id=run_id)
    return task_id


def _reference(one: int, made: list[int], index: int) -> int:
    if one > 0:
        return one
    if one == 0 or -one > len(made):
        raise BadRequest(f"tasks[{index}].blocked_by: {one} names no earlier item of the batch", hint="-1 is the first item, -2 the second")
    return made[-one - 1]


def _must_exist(tx: Tx, caller: Caller, task_id: int) -> None:
    row = tx.one("SELECT * FROM tasks WHERE id = ?", (task_id,))
    if row is None or not _sees(caller, row):
        raise BadRequest(f"blocked_by references non-existent task #{task_id}", hint="list_tasks shows the numbers")


def _row(tx: Tx, caller: Caller, task_id: int) -> Any:
    row = tx.one("SELECT * FROM tasks WHERE id = ?", (task_id,))
    if row is None or not _sees(caller, row):
        raise NotFound(
            "task not found", hint="list_tasks shows the numbers; what is in another workspace, its own peers and the person see"
        )
    return row


def _sees(caller: Caller, row: Any) -> bool:
    """One's own workspace's tasks, and those that one made, holds or was given."""
    return (
        caller.sees_all or row["workspace"] == caller.workspace or caller.id in (row["created_by"], row["assigned_to"], row["reserved_for"])
    )


def _mine(tx: Tx, caller: Caller, task_id: int, token: int | None) -> Any:
    """The row of a task that the caller holds, with the token it shows. The person may end anybody's."""
    row = _row(tx, caller, task_id)
    if row["status"] in ENDED:
        raise Conflict(f"task already {row['status']}", holder=row["assigned_to"])
    if token is not None and (
        row["status"] == "pending" or token != row["token"] or row["assigned_to"] != caller.id and not caller.is_person
    ):
        now = f"it was granted anew, to {row['assigned_to']}" if row["status"] == "in_progress" else "it was let go since, and is pending"
        raise Conflict(
            f"token {token} of task #{task_id} is stale: {now}",
            code="stale_token",
            hint=f"claim_task with task_id {task_id} tells your token",
        )
    if row["status"] == "pending":
        raise Forbidden(
            f"task not assigned to you: #{task_id} is pending", code="stale_token",
            hint=f"claim_task with task_id {task_id} first (a claim is lost when its owner stops beating)",
        )  # fmt: skip
    if row["assigned_to"] != caller.id and not caller.is_person:
        raise Forbidden(
            f"task not assigned to you: {row['assigned_to']} holds it",
            holder=row["assigned_to"],
            hint=f"ask {row['assigned_to']}, or the architect",
        )
    return row


def _may_change(caller: Caller, row: Any) -> None:
    if caller.id != row["created_by"] and not (caller.is_person or (caller.leads and caller.workspace == row["workspace"])):
        raise Forbidden(
            f"task #{row['id']} is {row['created_by']}'s to change", hint=f"ask {row['created_by']}, the architect or the person"
        )


def _why_not(tx: Tx, row: Any) -> Conflict:
    task_id = row["id"]
    if row["status"] == "in_progress":
        return Conflict(
            f"task already in_progress by {row['assigned_to']} since {of_day(row['claimed_at'])}",
            holder=row["assigned_to"], since=row["claimed_at"],
            hint=f"ask {row['assigned_to']}, or the architect; list_tasks shows what is claimable",
        )  # fmt: skip
    if row["status"] in ENDED:
        return Conflict(f"task already {row['status']} by {row['assigned_to'] or row['created_by']}", holder=row["assigned_to"])
    if row["n_open"]:
        waits = tx.all(
            "SELECT t.id FROM dependencies d JOIN tasks t ON t.id = d.needs_id"
            " WHERE d.task_id = ? AND t.status <> 'completed' ORDER BY t.id",
            (task_id,),
        )
        ids = [one["id"] for one in waits]
        return Conflict(
            f"task is blocked by tasks {ids} which are not all completed", code="blocked", blocked_by=ids,
            hint="claim one of those, or wait for it; list_tasks shows what is claimable",
        )  # fmt: skip
    return Conflict(
        f"task is reserved for {row['reserved_for']}", holder=row["reserved_for"], hint=f"ask {row['reserved_for']}, or the architect"
    )


def _end(tx: Tx, caller: Caller, row: Any, status: str, artifacts: str, note: str) -> None:
    tx.run(
        "UPDATE tasks SET status = ?, artifacts = ?, note = ?, finished_at = ?, updated_at = ? WHERE id = ?",
        (status, artifacts, note, tx.at, tx.at, row["id"]),
    )
    _changed(tx, caller, row, row["id"])


def _to_pending(
    tx: Tx, caller: Caller, task_ids: list[int], note: str, workspace: str | None, run_id: str | None, *, left_by: str = ""
) -> None:
    for task_id in task_ids:
        tx.run(
            "UPDATE tasks SET status = 'pending', assigned_to = NULL, claimed_at = NULL, note = ?, left_by = ?, updated_at = ?"
            " WHERE id = ?",
            (note, left_by, tx.at, task_id),
        )
    if task_ids:
        events.record(tx, caller, "task", task_ids, run_id=run_id, workspace=workspace)


def _changed(tx: Tx, caller: Caller, row: Any, task_id: int) -> None:
    events.record(tx, caller, "task", [task_id], run_id=row["run_id"], workspace=row["workspace"])


def _count_open(tx: Tx, task_id: int) -> None:
    tx.run(
        "UPDATE tasks SET n_open = (SELECT COUNT(*) FROM dependencies d JOIN tasks t ON t.id = d.needs_id"
        " WHERE d.task_id = ? AND t.status <> 'completed') WHERE id = ?",
        (task_id, task_id),
    )


def _waits_for(tx: Tx, task_id: int, other: int) -> bool:
    """Does `task_id` wait, over any number of steps, for `other`?"""
    row = tx.one(
        "WITH RECURSIVE up (id) AS (SELECT needs_id FROM dependencies WHERE task_id = ?"
        " UNION SELECT d.needs_id FROM dependencies d JOIN up ON d.task_id = up.id) SELECT 1 FROM up WHERE id = ? LIMIT 1",
        (task_id, other),
    )
    return row is not None


def _claim_left_by(tx: Tx, caller: Caller, peer_id: str) -> list[int]:
    rows = tx.all(
        "SELECT id FROM tasks WHERE status = 'pending' AND n_open = 0 AND reserved_for IS NULL AND left_by = ?"
        " AND (? OR workspace = ?) ORDER BY id",
        (peer_id, int(caller.is_person), caller.workspace),
    )
    left = [row["id"] for row in rows]
    if left and peers.over_budget(tx, caller.id) is None:
        for task_id in left:
            claim(tx, caller, task_id=task_id)
        return left
    return []


def _is_claimable(tx: Tx, task_id: int) -> bool:
    return tx.one("SELECT 1 FROM tasks WHERE id = ? AND status = 'pending' AND n_open = 0", (task_id,)) is not None


def _dependents(tx: Tx, task_id: int) -> list[int]:
    return [row["task_id"] for row in tx.all("SELECT task_id FROM dependencies WHERE needs_id = ? ORDER BY task_id", (task_id,))]


def _shown(row: Any) -> dict[str, Any]:
    task = dict(row)
    needs = task.pop("needs") or ""
    n_open = task.pop("n_open")
    task["blocked_by"] = needs
    task["depends_on"] = [int(one) for one in needs.split(",") if one]
    task["needs_review"] = bool(task["needs_review"])
    if task["status"] == "pending":
        task["claimable"] = n_open == 0
    return task
