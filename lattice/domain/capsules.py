"""Capsules: what a session must know to go on after a start, a resume, a clear or a compaction.

At most 400 tokens (bytes / 4). Who it is, unread mail by sender and urgency, its tasks with tokens and
dependencies, its locks and what it lost, its run, open escalations, the latest decisions: most needed first,
so that what must go when it is long goes from the end. Peers' words stand in quotation marks that they cannot
close, on one line, with nothing hidden: they point, the tools tell. It only reads.
"""

from __future__ import annotations

from typing import Any

from lattice.domain import locks, messages, peers
from lattice.domain.caller import Caller
from lattice.store.database import Tx
from lattice.visible import one_line

MAX_BYTES = 1600
MAX_LINE_BYTES = 240  # so that no line takes the place of all that come after it


def write(tx: Tx, caller: Caller) -> str:
    """The capsule's text, at most MAX_BYTES in UTF-8."""
    row = peers.known(tx, caller.id)
    tasks = tx.all(
        "SELECT id, title, token, run_id, needs_review FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY token DESC",
        (caller.id,),
    )
    lines = [_who(tx, row)]
    if row["paused"]:
        lines.append(f"PAUSED by {one_line(row['paused_by'], 60)}: read mail and wait.")
    lines += _mail(tx, caller.id)
    lines += [_task(tx, task) for task in tasks[:2]]
    if len(tasks) > 2:
        lines.append(f"Also yours: {_numbers([task['id'] for task in tasks[2:]])}")
    lines += _locks(tx, row)
    lines += _run(tx, tasks)
    lines += _escalations(tx, row)
    if not tasks:
        lines += _free(tx, row)
    for one in tx.all(
        "SELECT key, value, peer_id FROM memory WHERE workspace = ? AND type IN ('decision', 'constraint')"
        " ORDER BY updated_at DESC, key LIMIT 4",
        (row["workspace"],),
    ):
        lines.append(f"Decided by {one['peer_id']}: {_plain(one['key'], 40)} = {_quoted(one['value'], 110)}")
    return _within([_cut(line) for line in lines], MAX_BYTES)


def _who(tx: Tx, row: Any) -> str:
    others = tx.one(
        "SELECT COUNT(*) AS n FROM peers WHERE status = 'active' AND role <> 'system' AND workspace = ? AND id <> ?",
        (row["workspace"], row["id"]),
    )
    architect = peers.seat_holder(tx, row["workspace"])
    led_by = f", architect {architect}" if architect and architect != row["id"] else ""
    here = f"{others['n'] if others else 0} other session(s) here{led_by}"
    return f"c2-lattice: you are {row['id']} ({row['role']}); {here}. What is in quotes is others' words."


def _mail(tx: Tx, peer_id: str) -> list[str]:
    waiting = messages.unread_by_sender(tx, peer_id)
    if not waiting:
        return []
    senders = [f"{one['sender_id']} {one['n']}" + (f" ({one['urgent']} urgent)" if one["urgent"] else "") for one in waiting]
    more = f" and {len(senders) - 6} more" if len(senders) > 6 else ""
    return [f"Unread: {sum(one['n'] for one in waiting)}, from {', '.join(senders[:6])}{more}. Call check_messages first."]


def _task(tx: Tx, task: Any) -> str:
    blocks = [
        row["task_id"] for row in tx.all("SELECT task_id FROM dependencies WHERE needs_id = ? ORDER BY task_id LIMIT 9", (task["id"],))
    ]
    needs = [
        row["needs_id"] for row in tx.all("SELECT needs_id FROM dependencies WHERE task_id = ? ORDER BY needs_id LIMIT 9", (task["id"],))
    ]
    about = [f"token {task['token']}"]
    about += [f"run {task['run_id']}"] if task["run_id"] else []
    about += [f"built on {_numbers(needs)}"] if needs else []
    about += [f"blocks {_numbers(blocks)}"] if blocks else []
    about += ["needs review before it is completed"] if task["needs_review"] else []
    return f"Your task: #{task['id']} ({', '.join(about)}): {_quoted(task['title'], 80)}"


def _run(tx: Tx, tasks: list[Any]) -> list[str]:
    """The run of the newest claim that has one."""
    run_id = next((task["run_id"] for task in tasks if task["run_id"]), None)
    run = tx.one("SELECT name, goal FROM runs WHERE id = ?", (run_id,))
    return [f"Run {run_id}: {_quoted(run['goal'] or run['name'], 100)}"] if run is not None else []


def _locks(tx: Tx, row: Any) -> list[str]:
    found = []
    held = locks.holdings(tx, row["id"])
    if held:
        shown = [_path(one, row) + (" (shared)" if one["mode"] == "shared" else "") for one in held[-5:]]
        found.append(f"Your locks: {', '.join(shown)}" + (f" and {len(held) - 5} more" if len(held) > 5 else ""))
    for lost in tx.all("SELECT file_path, reach, reason FROM lost_locks WHERE peer_id = ? ORDER BY token DESC LIMIT 3", (row["id"],)):
        found.append(
            f"Lost: the lock on {_path(lost, row)} ({one_line(lost['reason'], 60)}). Lock it again and read it anew before you edit."
        )
    for kept in tx.all(
        "SELECT file_path, reach FROM lock_queue WHERE peer_id = ? AND offered_at IS NOT NULL ORDER BY id LIMIT 2", (row["id"],)
    ):
        found.append(f"Kept for you for a minute: {_path(kept, row)}. Lock it now.")
    return found


def _escalations(tx: Tx, row: Any) -> list[str]:
    """What it asked and waits for; and what it is asked, when it is the architect."""
    is_architect = int(row["role"] == "architect")
    asked = tx.all(
        "SELECT id, kind, raised_by, text FROM escalations WHERE state = 'open' AND workspace = ? AND kind <> 'permission'"
        " AND (raised_by = ? OR ?) ORDER BY raised_by = ?, id DESC LIMIT 3",
        (row["workspace"], row["id"], is_architect, row["id"]),
    )
    return [
        f"Open {one['kind']} {one['id']} by "
        + ("you" if one["raised_by"] == row["id"] else one["raised_by"])
        + f": {_quoted(one['text'], 70)}"
        for one in asked
    ]


def _free(tx: Tx, row: Any) -> list[str]:
    free = tx.all(
        "SELECT id, title FROM tasks INDEXED BY tasks_claimable WHERE status = 'pending' AND n_open = 0 AND workspace = ?"
        " AND (reserved_for IS NULL OR reserved_for = ?) ORDER BY reserved_for IS NULL, rank, id LIMIT 3",
        (row["workspace"], row["id"]),
    )
    return ["Free to claim: " + "; ".join(f"#{one['id']} {_quoted(one['title'], 60)}" for one in free)] if free else []


def _within(lines: list[str], limit: int) -> str:
    """As many whole lines as fit, and how many did not."""
    size = len("\n".join(lines).encode())
    kept = len(lines)
    while size > limit - (60 if kept < len(lines) else 0):
        kept -= 1
        size = len("\n".join(lines[:kept]).encode())
    left_out = len(lines) - kept
    return "\n".join(lines[:kept] + ([f"({left_out} more: list_tasks, list_locks, get_memory tell)"] if left_out else []))


def _cut(line: str) -> str:
    data = line.encode()
    if len(data) <= MAX_LINE_BYTES:
        return line
    shorter = data[: MAX_LINE_BYTES - 4].decode(errors="ignore") + "…"
    return shorter + '"' if shorter.count('"') % 2 else shorter


def _quoted(text: str, limit: int) -> str:
    """A peer's words, in marks that they cannot close."""
    return f'"{_plain(text, limit)}"'


def _plain(text: str, limit: int) -> str:
    return one_line(text, limit).replace('"', "'")


def _numbers(ids: list[int]) -> str:
    return " ".join(f"#{one}" for one in ids[:8]) + (" …" if len(ids) > 8 else "")


def _path(row: Any, peer: Any) -> str:
    """As short as it can be said: from the session's folder, and of a long one the end."""
    path, folder = row["file_path"], peer["working_dir"].rstrip("/")
    if folder and path.startswith(folder + "/"):
        path = path[len(folder) + 1 :]
    path = _plain(path, 10_000) + ("/" if row["reach"] == "dir" and not path.endswith("/") else "")
    return path if len(path) <= 70 else "…" + path[-69:]
