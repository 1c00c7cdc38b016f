"""Capsules: what a session must know to go on after a start, a resume, a clear or a compaction.

At most 400 tokens (bytes / 4). Who it is, its run, its tasks with tokens and dependencies, its locks, unread
mail by sender and urgency, the latest decisions, open escalations: most needed first, so that what
must go when it is long goes from the end. It only reads.
"""

from __future__ import annotations

from lattice.domain import escalations, locks, messages, peers
from lattice.domain.caller import Caller
from lattice.store.database import Tx

MAX_BYTES = 1600


def write(tx: Tx, caller: Caller) -> str:
    """The capsule's text. Peer text in it is cut short and on one line: it points, the tools tell."""
    row = peers.known(tx, caller.id)
    others = tx.one(
        "SELECT COUNT(*) AS n FROM peers WHERE status = 'active' AND role <> 'system' AND workspace = ? AND id <> ?", (row["workspace"], caller.id)
    )
    architect = peers.seat_holder(tx, row["workspace"])
    lines = [
        f"c2-lattice: you are {caller.id} ({row['role']}); {others['n'] if others else 0} other session(s) here"
        + (f", architect {architect}" if architect and architect != caller.id else "") + "."
    ]  # fmt: skip
    if row["paused"]:
        lines.append(f"PAUSED by {row['paused_by']}: read mail and wait.")
    waiting = messages.unread(tx, caller.id)
    if waiting["unread"]:
        urgent = f", {waiting['urgent']} urgent" if waiting["urgent"] else ""
        lines.append(f"Unread: {waiting['unread']} from {', '.join(waiting['unread_from'][:8])}{urgent}. Call check_messages first.")
    mine = tx.all(
        "SELECT id, title, token, run_id, needs_review, (SELECT GROUP_CONCAT('#' || task_id) FROM dependencies WHERE needs_id = tasks.id) AS blocks"
        " FROM tasks WHERE assigned_to = ? AND status = 'in_progress' ORDER BY token DESC LIMIT 5",
        (caller.id,),
    )
    for task in mine:
        lines.append(
            f"Your task: #{task['id']} {_line(task['title'], 80)} (token {task['token']}"
            + (f", run {task['run_id']}" if task["run_id"] else "") + (f", blocks {task['blocks']}" if task["blocks"] else "")
            + (", needs review" if task["needs_review"] else "") + ")"
        )  # fmt: skip
    held = locks.holdings(tx, caller.id)
    if held:
        lines.append("Your locks: " + ", ".join(one["file_path"] for one in held[:6]) + (f" and {len(held) - 6} more" if len(held) > 6 else ""))
    for lost in tx.all("SELECT file_path, reason FROM lost_locks WHERE peer_id = ? ORDER BY token DESC LIMIT 3", (caller.id,)):
        lines.append(f"Lost: the lock on {lost['file_path']} ({lost['reason']}). Lock it again and read it anew before you edit.")
    asked = escalations.list_some(tx, state="open", workspace=row["workspace"], limit=20)["escalations"]
    shown = [one for one in asked if one["raised_by"] == caller.id or row["role"] == "architect"]
    for one in shown[:3]:
        lines.append(f"Open {one['kind']} {one['id']} by {one['raised_by']}: {_line(one['text'], 70)}")
    if not mine:
        free = tx.all(
            "SELECT id, title FROM tasks INDEXED BY tasks_claimable WHERE status = 'pending' AND n_open = 0 AND workspace = ?"
            " AND (reserved_for IS NULL OR reserved_for = ?) ORDER BY rank, id LIMIT 3",
            (row["workspace"], caller.id),
        )
        if free:
            lines.append("Free to claim: " + "; ".join(f"#{one['id']} {_line(one['title'], 60)}" for one in free))
    for one in tx.all(
        "SELECT key, value, peer_id FROM memory WHERE workspace = ? AND type IN ('decision', 'constraint') ORDER BY updated_at DESC, key LIMIT 4",
        (row["workspace"],),
    ):
        lines.append(f"Decided ({one['peer_id']}): {_line(one['key'], 40)} = {_line(one['value'], 110)}")
    return _within(lines, MAX_BYTES)


def _within(lines: list[str], limit: int) -> str:
    """As many whole lines as fit, and how many did not."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line.encode()) + 1
        if size > limit - 60:
            kept.append(f"({len(lines) - len(kept)} more line(s): list_tasks, list_locks, get_memory tell)")
            break
        kept.append(line)
    return "\n".join(kept)


def _line(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
