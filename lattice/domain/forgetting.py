"""Forgetting: what is over and old is deleted, so that the database does not grow for ever.

    message      all have read, answered or given it up; not what carries an open call for help, what unread mail answers,
                 the first of a text whose copies are there, nor the newest of a run that is kept
    task         ended; not what an open task needs, an open call for help or a lock is about, nor any of a run that is kept
    escalation   resolved; not as long as its task is kept
    run          nothing in it is open or changed since; one that was paused waits for as long as it takes
    older value  of a memory: written over since, and ten newer ones are there; the newest value is never forgotten
    peer         gone, and nothing it sent is left

Nothing that is open is touched, nor what something open refers to. Here it is decided; each noun deletes its own rows, and
the log says so (null), so history reaches back for as long as the log does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lattice.domain import escalations, memory, messages, peers, runs, tasks
from lattice.domain.caller import Caller
from lattice.store.database import Tx

_OPEN_MAIL = "('queued', 'held', 'offered')"
_OPEN_TASK = "('pending', 'in_progress')"

Key = Any  # an id, or the tuple of a key


@dataclass(frozen=True, slots=True)
class Kind:
    """`walk` selects the key, `workspace`, `is_old` and `is_over` of `:limit` things after `:after`, in order.

    Where none is old, none after it is.
    """

    name: str
    first: Key
    walk: str
    forget: Callable[[Tx, Caller, list[Key]], None]


@dataclass(frozen=True, slots=True)
class Look:
    """What some things are: `last` where to go on (None: that was all), `over` those that may go, by workspace."""

    last: Key | None
    over: dict[str, list[Key]]


KINDS: tuple[Kind, ...] = (
    Kind(
        "run", "",
        f"""SELECT r.id, r.workspace, 1 AS is_old, r.status <> 'paused' AND r.updated_at < :before
            AND NOT EXISTS (SELECT 1 FROM tasks WHERE run_id = r.id AND (status IN {_OPEN_TASK} OR updated_at >= :before))
            AND COALESCE((SELECT created_at FROM messages WHERE run_id = r.id ORDER BY id DESC LIMIT 1), 0) < :before
            AND NOT EXISTS (SELECT 1 FROM messages m JOIN deliveries d ON d.message_id = m.id
                WHERE m.run_id = r.id AND d.state IN {_OPEN_MAIL})
            AND NOT EXISTS (SELECT 1 FROM escalations WHERE state = 'open' AND run_id = r.id) AS is_over
            FROM runs r WHERE r.id > :after ORDER BY r.id LIMIT :limit""",
        runs.forget,
    ),
    Kind(
        "task", 0,
        f"""SELECT t.id, t.workspace, 1 AS is_old, t.status NOT IN {_OPEN_TASK} AND COALESCE(t.finished_at, t.updated_at) < :before
            AND NOT EXISTS (SELECT 1 FROM runs WHERE id = t.run_id)
            AND NOT EXISTS (SELECT 1 FROM dependencies d JOIN tasks o ON o.id = d.task_id
                WHERE d.needs_id = t.id AND o.status IN {_OPEN_TASK})
            AND NOT EXISTS (SELECT 1 FROM escalations WHERE task_id = t.id AND state = 'open')
            AND NOT EXISTS (SELECT 1 FROM locks WHERE task_id = t.id)
            AND NOT EXISTS (SELECT 1 FROM lock_queue WHERE task_id = t.id) AS is_over
            FROM tasks t WHERE t.id > :after ORDER BY t.id LIMIT :limit""",
        tasks.forget,
    ),
    Kind(
        "escalation", 0,
        """SELECT e.id, e.workspace, 1 AS is_old, e.state = 'resolved' AND e.resolved_at < :before
           AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = e.task_id) AS is_over
           FROM escalations e WHERE e.id > :after ORDER BY e.id LIMIT :limit""",
        escalations.forget,
    ),
    Kind(
        "message", 0,
        f"""SELECT m.id, m.workspace, m.created_at < :before AS is_old, m.created_at < :before
            AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = m.id AND state IN {_OPEN_MAIL})
            AND NOT EXISTS (SELECT 1 FROM escalations WHERE message_id = m.id AND state = 'open')
            AND NOT EXISTS (SELECT 1 FROM strains WHERE id = m.id AND state = 'held')
            AND NOT EXISTS (SELECT 1 FROM messages WHERE strain = m.id AND id <> m.id)
            AND NOT EXISTS (SELECT 1 FROM messages r JOIN deliveries d ON d.message_id = r.id
                WHERE r.reply_to = m.id AND d.state IN {_OPEN_MAIL})
            AND NOT (EXISTS (SELECT 1 FROM runs WHERE id = m.run_id) AND {runs.SHOWN_MESSAGES} >
                (SELECT COUNT(*) FROM (SELECT 1 FROM messages WHERE run_id = m.run_id AND id > m.id LIMIT {runs.SHOWN_MESSAGES})))
            AS is_over FROM messages m WHERE m.id > :after ORDER BY m.id LIMIT :limit""",
        messages.forget,
    ),
    Kind(
        "older value", ("", "", 0),
        f"""SELECT h.workspace, h.key, h.version, 1 AS is_old, COALESCE(
               (SELECT updated_at FROM memory_history WHERE workspace = h.workspace AND key = h.key AND version = h.version + 1),
               (SELECT updated_at FROM memory WHERE workspace = h.workspace AND key = h.key AND version = h.version + 1), 0
           ) < :before AND {memory.KEPT_VERSIONS} <= (SELECT COUNT(*) FROM (SELECT 1 FROM memory_history
               WHERE workspace = h.workspace AND key = h.key AND version > h.version LIMIT {memory.KEPT_VERSIONS})) AS is_over
           FROM memory_history h WHERE (h.workspace, h.key, h.version) > (:after, :after2, :after3)
           ORDER BY h.workspace, h.key, h.version LIMIT :limit""",
        memory.forget_older,
    ),
    Kind(
        "peer", "",
        """SELECT p.id, p.workspace, 1 AS is_old, p.status = 'gone' AND p.ended_at < :before
           AND NOT EXISTS (SELECT 1 FROM messages WHERE sender_id = p.id)
           AND NOT EXISTS (SELECT 1 FROM deliveries WHERE recipient = p.id) AS is_over
           FROM peers p WHERE p.id > :after ORDER BY p.id LIMIT :limit""",
        peers.forget,
    ),
)  # fmt: skip
# Where ids count up, a smaller one that is not there was there once.
_COUNTED = {"message": "messages", "task": "tasks", "escalation": "escalations"}


def look(tx: Tx, kind: Kind, before: float, after: Key, limit: int) -> Look:
    """Which of the next things of a kind may be forgotten. Changes nothing."""
    parts = after if isinstance(after, tuple) else (after,)
    places = {f"after{number or ''}": part for number, part in zip((0, 2, 3), parts, strict=False)}
    rows = tx.all(kind.walk, {"before": before, "limit": limit, **places})
    found = [(tuple(row[: len(parts)]) if len(parts) > 1 else row[0], row) for row in rows]
    over: dict[str, list[Key]] = {}
    for key, row in found:
        if row["is_over"]:
            over.setdefault(row["workspace"], []).append(key)
    is_all = len(rows) < limit or not any(row["is_old"] for row in rows)
    return Look(None if is_all else found[-1][0], over)


def forget(tx: Tx, caller: Caller, kind: Kind, before: float, after: Key, limit: int) -> Look:
    """Delete those that `look` finds. Each is in the log of its workspace."""
    seen = look(tx, kind, before, after, limit)
    for workspace, keys in seen.over.items():
        kind.forget(tx, replace(caller, workspace=workspace), keys)
    return seen


def is_forgotten(tx: Tx, kind: str, key: Key) -> bool:
    """Was there such a thing, and is there none now? Of a run the log knows, for as long as it reaches back."""
    if kind == "run":
        return runs.was_forgotten(tx, str(key))
    table = _COUNTED[kind]
    if tx.one(f"SELECT 1 FROM {table} WHERE id = ?", (key,)) is not None:
        return False
    newest = tx.one("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
    return newest is not None and 0 < key <= newest["seq"]
