"""The read model of the page: everything it shows, in one answer, from one snapshot of the database.

Promises: reads only; what needs the person comes from rows that are open (escalations, pauses, unread mail),
never from what somebody else has already read; finished work never crowds out live work; every list is
bounded and says how much more there is (`more`). The fields of the first published interface keep their
names and meanings. No clock and no liveness of its own: both are handed in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lattice.domain import events
from lattice.names import PERSON

if TYPE_CHECKING:
    import sqlite3

    from lattice.store.database import Tx

MAX_PEERS = 300
MAX_OPEN_TASKS = 200
MAX_FINISHED_TASKS = 20
MAX_ESCALATIONS = 50
MAX_HELD = 20
MAX_INBOX = 20
MAX_MESSAGES = 40
MAX_MEMORY = 100
MAX_LOCKS = 200
MAX_RUNS = 30
MAX_LOG = 80
PREVIEW = 400  # characters of a memory value in the list; the whole is one GET /memory away
RECENT_MAIL = 500  # so far back dead and held mail is looked for
LOG_REACH = 5_000  # so far back one workspace's lines are looked for
BUCKETS, BUCKET_S = 24, 900.0  # the sparkline: six hours in quarters

Json = dict[str, Any]
_FINISHED = ("completed", "failed", "cancelled")


def data(tx: Tx, *, now: float, workspace: str, everywhere: bool, last_seen: Mapping[str, float]) -> Json:
    """What the page shows of `workspace`, or of all of them (`everywhere`).

    now, last_seen: wall time in seconds; `last_seen` is the newest beat of each peer that has one in memory.
    Times in the answer are seconds since 1970 where they are numbers, local "YYYY-mm-dd HH:MM:SS" where texts.
    """
    view = _View(tx, now, workspace, everywhere)
    peers = _peers(view, last_seen)
    tasks, more_tasks = _tasks(view)
    counts = _task_counts(view)
    escalations = _escalations(view)
    inbox, unread_for_person = _inbox(view)
    held, held_count = _held(view)
    runs = _runs(view)
    memory_total = view.count("memory")
    locks = _locks(view)
    claimable = [task for task in tasks if task["claimable"]]
    return {
        "timestamp": _local(now),
        "now": now,
        "workspace": None if everywhere else workspace,
        "workspaces": _workspaces(view),
        "active_count": sum(1 for peer in peers if peer["status"] == "active"),
        "total_messages": view.count("messages"),
        "unread_messages": _unread(view),
        "total_tasks": counts["completed"] + counts["in_progress"] + counts["pending"],
        "tasks_completed": counts["completed"],
        "tasks_inprogress": counts["in_progress"],
        "tasks_pending": counts["pending"],
        "tasks_failed": counts["failed"],
        "tasks_cancelled": counts["cancelled"],
        "active_runs": view.count("runs", "status = 'active'"),
        "escalation_count": view.count("escalations", "state = 'open'"),
        "inbox_count": unread_for_person,
        "held_count": held_count,
        "claimable_count": view.count("tasks", "status = 'pending' AND n_open = 0"),
        "lock_count": view.count("locks"),
        "memory_count": memory_total,
        "peers": peers,
        "tasks": tasks,
        "claimable": [task["id"] for task in claimable],
        "attention": _attention(view, escalations, held, peers, inbox, claimable),
        "escalations": escalations,
        "inbox": inbox,
        "locks": locks,
        "lock_queue": _lock_queue(view),
        "memory": _memory(view),
        "runs": runs,
        "messages": _messages(view),
        "log": _log(view),
        "sparkline": _sparkline(view),
        "more": {"tasks": more_tasks, "held": max(0, held_count - len(held)), "inbox": max(0, unread_for_person - len(inbox))},
    }


class _View:
    """One reader's window: the transaction, the time, and which workspace's rows count."""

    def __init__(self, tx: Tx, now: float, workspace: str, everywhere: bool) -> None:
        self.tx = tx
        self.now = now
        self.where = "1 = 1" if everywhere else "workspace = ?"
        self.params: tuple[object, ...] = () if everywhere else (workspace,)

    def rows(self, sql: str, *params: object) -> list[sqlite3.Row]:
        """`sql` with {here} in it: the condition on `workspace`, whose value comes before `params`."""
        return self.tx.all(sql.replace("{here}", self.where), (*self.params, *params))

    def count(self, table: str, condition: str = "1 = 1") -> int:
        return int(self.rows(f"SELECT COUNT(*) AS n FROM {table} WHERE {{here}} AND {condition}")[0]["n"])


def _local(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else ""


def _json_list(text: str) -> list[Any]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _ids(rows: Iterable[Json | sqlite3.Row]) -> str:
    return json.dumps([row["id"] for row in rows])


# -- peers -----------------------------------------------------------------------------------------
def _workspaces(view: _View) -> list[Json]:
    rows = view.tx.all(
        "SELECT name, (SELECT COUNT(*) FROM peers WHERE workspace = workspaces.name AND status = 'active' AND role <> 'system') AS active,"
        " (SELECT peer FROM seats WHERE workspace = workspaces.name) AS architect"
        " FROM workspaces ORDER BY active DESC, first_seen DESC, name LIMIT 200"
    )
    return [{"name": row["name"], "active": row["active"], "architect": row["architect"]} for row in rows]


def _peers(view: _View, last_seen: Mapping[str, float]) -> list[Json]:
    rows = view.rows(
        "SELECT * FROM peers WHERE {here} AND status <> 'gone' AND role <> 'system' AND id <> ?"
        " ORDER BY CASE status WHEN 'active' THEN 0 WHEN 'away' THEN 1 ELSE 2 END, role, id LIMIT ?",
        PERSON, MAX_PEERS,
    )  # fmt: skip
    working: dict[str, list[Json]] = {}
    for task in view.tx.all("SELECT id, title, assigned_to FROM tasks WHERE status = 'in_progress' ORDER BY id"):
        working.setdefault(task["assigned_to"], []).append({"id": task["id"], "title": task["title"]})
    unread = {
        row["recipient"]: row["n"]
        for row in view.tx.all(
            "SELECT recipient, SUM(n) AS n FROM"
            " (SELECT recipient, COUNT(*) AS n FROM deliveries WHERE state = 'queued' GROUP BY recipient"
            " UNION ALL SELECT recipient, COUNT(*) AS n FROM deliveries WHERE state = 'offered' GROUP BY recipient)"
            " GROUP BY recipient"
        )
    }
    held = {row["peer_id"]: row["n"] for row in view.tx.all("SELECT peer_id, COUNT(*) AS n FROM locks GROUP BY peer_id")}
    return [_peer(row, view.now, last_seen, working, unread, held) for row in rows]


def _peer(
    row: sqlite3.Row, now: float, last_seen: Mapping[str, float], working: Mapping[str, list[Json]],
    unread: Mapping[str, int], held: Mapping[str, int],
) -> Json:  # fmt: skip
    seen = max(last_seen.get(row["id"], 0.0), row["last_heartbeat"])
    tasks = working.get(row["id"], [])
    dirty = _json_list(row["git_dirty_files"])
    ways = [way for way in row["ways"].split(",") if way]
    return {
        "id": row["id"],
        "role": row["role"],
        "status": row["status"],
        "summary": row["summary"],
        "activity": row["activity"],
        "workspace": row["workspace"],
        "working_dir": row["working_dir"],
        "client": row["client"],
        "way": ways[0] if ways else "",  # how mail reaches it, the best first
        "ways": ways,
        "pid": row["pid"],
        "paused": bool(row["paused"]),
        "paused_by": row["paused_by"],
        "ended_by": row["ended_by"],
        "last_stop_reason": row["last_stop_reason"],
        "git_branch": row["git_branch"],
        "git_dirty_files": ",".join(str(name) for name in dirty),  # as the first interface has it
        "dirty": dirty,
        "git_more": row["git_more"],
        "git_last_commit": row["git_last_commit"],
        "last_heartbeat": _local(seen),
        "last_seen": seen,
        "seconds_ago": max(0, round(now - seen)),
        "poll_interval_ms": row["poll_interval_ms"],
        "token_budget": row["token_budget"],
        "tokens_used": row["tokens_used"],
        "tool_calls_count": row["tool_calls_count"],
        "errors_count": row["errors_count"],
        "rejections_count": row["rejections_count"],
        "task": tasks[0] if tasks else None,
        "tasks": tasks,
        "unread": int(unread.get(row["id"], 0)),
        "locks": int(held.get(row["id"], 0)),
        "registered_at": row["registered_at"],
    }


# -- tasks -----------------------------------------------------------------------------------------
def _task_counts(view: _View) -> dict[str, int]:
    found = {row["status"]: row["n"] for row in view.rows("SELECT status, COUNT(*) AS n FROM tasks WHERE {here} GROUP BY status")}
    return {status: int(found.get(status, 0)) for status in ("pending", "in_progress", *_FINISHED)}


def _tasks(view: _View) -> tuple[list[Json], int]:
    """Open tasks (being done, then claimable, then waiting; by priority, then age), then the newest finished ones."""
    open_rows = view.rows(
        "SELECT * FROM tasks WHERE {here} AND status IN ('in_progress', 'pending')"
        " ORDER BY status = 'pending', n_open > 0, rank, id LIMIT ?", MAX_OPEN_TASKS + 1,
    )  # fmt: skip
    more = 0
    if len(open_rows) > MAX_OPEN_TASKS:
        open_rows = open_rows[:MAX_OPEN_TASKS]
        more = view.count("tasks", "status IN ('in_progress', 'pending')") - MAX_OPEN_TASKS
    finished = view.rows(
        "SELECT * FROM tasks WHERE {here} AND status NOT IN ('in_progress', 'pending') ORDER BY finished_at DESC, id DESC LIMIT ?",
        MAX_FINISHED_TASKS,
    )
    rows = [*open_rows, *finished]
    needs: dict[int, list[Json]] = {}
    for row in view.tx.all(
        "SELECT dependencies.task_id, dependencies.needs_id, tasks.status FROM dependencies JOIN tasks ON tasks.id = dependencies.needs_id"
        " WHERE dependencies.task_id IN (SELECT value FROM json_each(?)) ORDER BY dependencies.needs_id",
        (_ids(rows),),
    ):
        needs.setdefault(row["task_id"], []).append({"id": row["needs_id"], "status": row["status"]})
    reviews = {
        row["task_id"]: row
        for row in view.tx.all(
            "SELECT task_id, raised_by, verdict, created_at FROM escalations"
            " WHERE task_id IN (SELECT value FROM json_each(?)) AND kind = 'review' ORDER BY id",
            (_ids(row for row in rows if row["needs_review"]),),
        )
    }
    return [_task(row, needs.get(row["id"], []), reviews.get(row["id"])) for row in rows], more


def _task(row: sqlite3.Row, needs: list[Json], review: sqlite3.Row | None) -> Json:
    # An approval counts for the work of the claim that asked for it.
    approved = (
        review is not None and review["verdict"] == "approve"
        and review["raised_by"] == row["assigned_to"] and review["created_at"] >= (row["claimed_at"] or 0)
    )  # fmt: skip
    return {
        "id": row["id"],
        "title": row["title"],
        "status": row["status"],
        "priority": row["priority"],
        "assigned_to": row["assigned_to"],
        "reserved_for": row["reserved_for"],
        "created_by": row["created_by"],
        "needs_review": bool(row["needs_review"]),
        "approved": approved,
        "depends_on": [need["id"] for need in needs],
        "waits_for": [need["id"] for need in needs if need["status"] != "completed"],
        "claimable": row["status"] == "pending" and row["n_open"] == 0,
        "attempts": row["attempts"],
        "note": row["note"],
        "run_id": row["run_id"],
        "workspace": row["workspace"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "claimed_at": row["claimed_at"],
    }


# -- what needs the person ---------------------------------------------------------------------------
def _escalations(view: _View) -> list[Json]:
    rows = view.rows("SELECT * FROM escalations WHERE {here} AND state = 'open' ORDER BY id LIMIT ?", MAX_ESCALATIONS)
    titles = {
        row["id"]: row["title"]
        for row in view.tx.all(
            "SELECT id, title FROM tasks WHERE id IN (SELECT value FROM json_each(?))", (json.dumps([row["task_id"] for row in rows]),)
        )
    }
    asked: dict[int, list[Json]] = {}
    for row in view.tx.all(
        "SELECT message_id, recipient, state FROM deliveries WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY recipient",
        (json.dumps([row["message_id"] for row in rows]),),
    ):
        asked.setdefault(row["message_id"], []).append({"recipient": row["recipient"], "state": row["state"]})
    return [
        {
            "id": row["id"],
            "kind": row["kind"],
            "state": row["state"],
            "asked": asked.get(row["message_id"], []),
            "raised_by": row["raised_by"],
            "text": row["text"],
            "request": _object(row["request"]),
            "task_id": row["task_id"],
            "task_title": titles.get(row["task_id"]),
            "message_id": row["message_id"],
            "run_id": row["run_id"],
            "workspace": row["workspace"],
            "created_at": row["created_at"],
        }
        for row in rows
    ]


def _object(text: str) -> Json:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _inbox(view: _View) -> tuple[list[Json], int]:
    """The person's unread mail, oldest first, and how much there is; of all workspaces, for the person is in all of them.

    Mail that carried an escalation, or told of a text that spreads, is not in it: what it is about stands for it.
    `place` is how many of the person's waiting messages are at most as new: taking that many takes this one and
    those before it, no other.
    """
    waiting = (
        "FROM (SELECT message_id, row_number() OVER (ORDER BY message_id) AS place FROM deliveries INDEXED BY deliveries_waiting"
        " WHERE recipient = '" + PERSON + "'"
        " AND state = 'queued') JOIN messages ON messages.id = message_id"
        " WHERE NOT EXISTS (SELECT 1 FROM escalations WHERE escalations.message_id = messages.id)"
        " AND NOT EXISTS (SELECT 1 FROM strains WHERE strains.alert_id = messages.id)"
    )
    rows = view.tx.all(
        "SELECT messages.id, sender_id, category, content, created_at, reply_to, run_id, workspace, place "
        + waiting + " ORDER BY messages.id LIMIT ?", (MAX_INBOX,),
    )  # fmt: skip
    total = view.tx.one("SELECT COUNT(*) AS n " + waiting)
    assert total is not None  # a count always answers a row
    return [dict(row) for row in rows], int(total["n"])


def _held(view: _View) -> tuple[list[Json], int]:
    """Mail that was stopped until the person lets it through or ends it, oldest first, and how much there is.

    A text that spreads is one entry, however many copies of it wait: `copies`. The person decides on all of them at once.
    """
    rows = view.rows(
        "SELECT MIN(messages.id) AS id, GROUP_CONCAT(DISTINCT sender_id) AS senders, category, content, created_at, hops, workspace,"
        " deliveries.reason, GROUP_CONCAT(DISTINCT recipient) AS recipients, strain,"
        " COUNT(DISTINCT messages.id) AS copies, COUNT(*) OVER () AS total"
        " FROM deliveries JOIN messages ON messages.id = deliveries.message_id WHERE {here} AND deliveries.state = 'held'"
        " GROUP BY strain IS NULL, COALESCE(strain, messages.id) ORDER BY MIN(messages.id) LIMIT ?",
        MAX_HELD,
    )
    return [
        {**dict(row), "senders": row["senders"].split(","), "sender_id": row["senders"].split(",")[0],
         "recipients": ", ".join(sorted(row["recipients"].split(",")))}
        for row in rows
    ], int(rows[0]["total"]) if rows else 0  # fmt: skip


def _attention(
    view: _View, escalations: list[Json], held: list[Json], peers: list[Json], inbox: list[Json], claimable: list[Json]
) -> list[Json]:
    found: list[Json] = []
    for kind in ("permission", "blocker", "review", "spawn"):  # a permission first: a session stands still for it, and not for long
        found.extend(_escalated(one) for one in escalations if one["kind"] == kind)
    for mail in held:
        found.append(
            {
                "type": "held", "title": _held_title(mail), "detail": mail["content"], "copies": mail["copies"], "strain": mail["strain"],
                "reason": mail["reason"], "peer_id": mail["sender_id"], "message_id": mail["id"], "category": mail["category"],
                "at": mail["created_at"], "workspace": mail["workspace"],
            }
        )  # fmt: skip
    for peer in peers:
        if peer["paused"]:
            why = peer["last_stop_reason"] or (f"paused by {peer['paused_by']}" if peer["paused_by"] else "paused")
            found.append({"type": "paused", "title": f"{peer['id']} is paused", "detail": why, "action": "resume", **_where(peer)})
    for peer in peers:
        if peer["status"] == "active" and peer["token_budget"] is not None and peer["tokens_used"] >= peer["token_budget"]:
            used = f"{peer['tokens_used']} of {peer['token_budget']} tokens used: it cannot claim further tasks"
            found.append({"type": "budget", "title": f"{peer['id']} has spent its budget", "detail": used, **_where(peer)})
    for mail in inbox:
        found.append(
            {
                "type": "unread", "title": f"{mail['category']} from {mail['sender_id']}", "detail": mail["content"],
                "peer_id": mail["sender_id"], "message_id": mail["id"], "category": mail["category"], "place": mail["place"],
                "at": mail["created_at"], "workspace": mail["workspace"],
            }
        )  # fmt: skip
    found.extend(_stuck_mail(view))
    for task in claimable[:3]:
        who = f"reserved for {task['reserved_for']}" if task["reserved_for"] else "nobody has claimed it"
        found.append(
            {
                "type": "task", "title": f"#{task['id']} {task['title']}", "detail": who, "task_id": task["id"],
                "at": task["updated_at"], "workspace": task["workspace"],
            }
        )  # fmt: skip
    return found


def _held_title(mail: Json) -> str:
    if mail["strain"] is None:
        return f"{mail['sender_id']} to {mail['recipients']}: held back"
    many = "1 copy" if mail["copies"] == 1 else f"{mail['copies']} copies"
    return f"A text spreads: {many} of {', '.join(mail['senders'])} held back"


def _where(peer: Json) -> Json:
    return {"peer_id": peer["id"], "workspace": peer["workspace"]}


def _escalated(one: Json) -> Json:
    what = {
        "blocker": "is blocked", "review": "asks for a review", "spawn": "asks for a new session",
        "permission": f"wants to use {one['request'].get('tool', 'a tool')}",
    }[one["kind"]]  # fmt: skip
    return {
        "type": one["kind"],
        "title": f"{one['raised_by']} {what}",
        "detail": one["text"],
        "peer_id": one["raised_by"],
        "escalation_id": one["id"],
        "task_id": one["task_id"],
        "task_title": one["task_title"],
        "request": one["request"],
        "asked": one["asked"],
        "at": one["created_at"],
        "workspace": one["workspace"],
    }


def _stuck_mail(view: _View) -> list[Json]:
    """Mail that lies still: addressed to a role that nobody holds, or given up; among the newest RECENT_MAIL messages.

    An escalation's mail is left out: the escalation is on the list while it is open, and needs nobody after.
    """
    rows = view.rows(
        "SELECT recipient, state, reason, COUNT(*) AS n, MAX(message_id) AS newest, MAX(queued_at) AS at FROM deliveries"
        " WHERE message_id IN (SELECT id FROM messages WHERE {here} ORDER BY id DESC LIMIT ?) AND recipient <> ?"
        " AND (state = 'dead' OR (state = 'queued' AND recipient LIKE '@%'))"
        " AND NOT EXISTS (SELECT 1 FROM escalations WHERE escalations.message_id = deliveries.message_id)"
        " GROUP BY recipient, state, reason ORDER BY newest DESC LIMIT 6",
        RECENT_MAIL, PERSON,
    )  # fmt: skip
    found = []
    for row in rows:
        kind = "dead" if row["state"] == "dead" else "waiting"
        many = f"{row['n']} messages" if row["n"] > 1 else "1 message"
        if kind == "dead":
            title, detail = f"{many} to {row['recipient']} could not be delivered", row["reason"] or "given up"
        else:
            title, detail = f"{many} to {row['recipient']} waiting", "nobody holds that role; it is delivered to the next who does"
        found.append({"type": kind, "title": title, "detail": detail, "message_id": row["newest"], "at": row["at"]})
    return found


# -- messages ----------------------------------------------------------------------------------------
def _unread(view: _View) -> int:
    row = view.rows(
        "SELECT COUNT(*) AS n FROM (SELECT message_id FROM deliveries WHERE state = 'queued'"
        " UNION ALL SELECT message_id FROM deliveries WHERE state = 'offered') JOIN messages ON messages.id = message_id WHERE {here}"
    )
    return int(row[0]["n"])


def _messages(view: _View) -> list[Json]:
    rows = view.rows("SELECT * FROM messages WHERE {here} ORDER BY id DESC LIMIT ?", MAX_MESSAGES)
    states: dict[int, dict[str, int]] = {}
    for row in view.tx.all(
        "SELECT message_id, state, COUNT(*) AS n FROM deliveries"
        " WHERE message_id IN (SELECT value FROM json_each(?)) GROUP BY message_id, state",
        (_ids(rows),),
    ):
        states.setdefault(row["message_id"], {})[row["state"]] = row["n"]
    return [
        {
            "id": row["id"],
            "sender_id": row["sender_id"],
            "on_behalf": row["on_behalf"],
            "recipient_id": row["address"],
            "category": row["category"],
            "content": row["content"],
            "created_at": row["created_at"],
            "run_id": row["run_id"],
            "reply_to": row["reply_to"],
            "hops": row["hops"],
            "workspace": row["workspace"],
            "states": states.get(row["id"], {}),
        }
        for row in rows
    ]


# -- locks, memory, runs -------------------------------------------------------------------------------
def _locks(view: _View) -> list[Json]:
    rows = view.rows("SELECT * FROM locks WHERE {here} ORDER BY locked_at DESC, file_path LIMIT ?", MAX_LOCKS)
    fields = ("file_path", "peer_id", "state", "mode", "reach", "reason", "task_id", "workspace", "locked_at", "term_s")
    waiting: dict[str, list[str]] = {}
    for row in view.tx.all("SELECT file_path, peer_id FROM lock_queue ORDER BY id LIMIT ?", (MAX_LOCKS,)):
        waiting.setdefault(row["file_path"], []).append(row["peer_id"])
    return [{**{name: row[name] for name in fields}, "waiting": waiting.get(row["file_path"], [])} for row in rows]


def _lock_queue(view: _View) -> list[Json]:
    """Who waits for which lock, first come first served; `offered_at`: told that it is free, and it is kept for it."""
    rows = view.rows(
        "SELECT file_path, reach, mode, peer_id, task_id, reason, workspace, queued_at, offered_at FROM lock_queue"
        " WHERE {here} ORDER BY id LIMIT ?",
        MAX_LOCKS,
    )
    return [dict(row) for row in rows]


def _memory(view: _View) -> list[Json]:
    rows = view.rows(
        "SELECT workspace, key, substr(value, 1, " + str(PREVIEW) + ") AS value, length(value) AS length,"
        " type, confidence, version, supersedes, peer_id, updated_at FROM memory WHERE {here} ORDER BY updated_at DESC, key LIMIT ?",
        MAX_MEMORY,
    )
    return [dict(row) for row in rows]


def _runs(view: _View) -> list[Json]:
    rows = view.rows("SELECT * FROM runs WHERE {here} ORDER BY status <> 'active', created_at DESC LIMIT ?", MAX_RUNS)
    counts: dict[str, dict[str, int]] = {}
    for row in view.tx.all(
        "SELECT run_id, status, COUNT(*) AS n FROM tasks WHERE run_id IN (SELECT value FROM json_each(?)) GROUP BY run_id, status",
        (_ids(rows),),
    ):
        counts.setdefault(row["run_id"], {})[row["status"]] = row["n"]
    fields = ("id", "name", "goal", "success_criteria", "status", "workspace", "created_by", "created_at")
    return [{**{name: row[name] for name in fields}, "tasks": counts.get(row["id"], {})} for row in rows]


# -- the log -------------------------------------------------------------------------------------------
def _log(view: _View) -> list[Json]:
    """The newest lines. How far mail came is shown with each message, and what a task waits for with the task: not here again."""
    rows = view.rows(
        "SELECT seq, at, actor, op, kind, subject, run_id, workspace, CASE WHEN length(data) <= 4000 THEN data END AS data FROM events"
        " WHERE {here} AND kind NOT IN ('snapshot', 'delivery', 'dependency')"
        " AND seq > (SELECT COALESCE(MAX(seq), 0) - ? FROM events) ORDER BY seq DESC LIMIT ?",
        LOG_REACH, MAX_LOG,
    )  # fmt: skip
    return [
        {
            "seq": row["seq"],
            "at": row["at"],
            "actor": row["actor"],
            "op": events.what_of(row["kind"], row["data"]) or row["op"],
            "kind": row["kind"],
            # A note by a peer about itself names nothing else.
            "subject": [one for one in _json_list(row["subject"]) if row["kind"] != "note" or one != row["actor"]],
            "run_id": row["run_id"],
            "workspace": row["workspace"],
            "detail": _gist(row["data"]),
        }
        for row in rows
    ]


_GIST = ("title", "name", "status", "state", "address", "category", "assigned_to", "version", "verdict", "reason", "summary")


def _gist(text: str | None) -> str:
    """The few columns of an event that a reader of the log wants to see; "" where there are none."""
    if text is None:
        return ""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    if found is None:
        return "gone"
    if not isinstance(found, dict):
        return ""
    told = [str(found[name])[:120] for name in _GIST if isinstance(found.get(name), (str, int)) and found.get(name) not in ("", None)]
    if isinstance(found.get("files"), list):
        told.append(", ".join(str(name)[:120] for name in found["files"][:4]))
    if isinstance(found.get("holder"), str):
        told.append(f"held by {found['holder']}")
    if found.get("paused") in (1, True):
        told.append("paused")
    return " · ".join(told[:4])


def _sparkline(view: _View) -> list[int]:
    """Writes per quarter of an hour of the whole broker, oldest first: by bisection, so that a long log costs no more than a short one."""
    first, last = events.ends(view.tx)
    marks = [first]
    for index in range(BUCKETS):  # each mark lies at or after the one before it
        marks.append(_first_seq_at(view.tx, view.now - BUCKET_S * (BUCKETS - index), marks[-1], last))
    marks = [*marks[1:], last + 1]
    return [max(0, later - earlier) for earlier, later in zip(marks, marks[1:], strict=False)]


def _first_seq_at(tx: Tx, at: float, low: int, high: int) -> int:
    """The lowest seq in low..high whose event is not older than `at`; high + 1 when all are."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        row = tx.one("SELECT seq, at FROM events WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,))
        if row is None or row["at"] >= at:
            high = middle
        else:
            low = row["seq"] + 1
    return low
