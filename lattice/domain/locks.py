"""Locks: leases on real paths, each with a fencing token.

One exclusive holder per path. Asking again refreshes and answers the same token. Only the holder, a
departure, the architect or the person releases. The beat renews; a lock with a term of its own lapses
that long after its holder's last beat. A lock lost while its holder may be frozen is closed for a
while: nobody holds it, nobody gets it, so a thawed editor does not write over a new holder's work.
"""

from __future__ import annotations

import time
from typing import Any

from lattice.domain import events, peers
from lattice.domain.caller import Caller
from lattice.errors import Conflict, Forbidden
from lattice.store.database import Tx

CLOSED_S = 30.0


def acquire(tx: Tx, caller: Caller, *, file_path: str, ttl_s: int | None = None, reason: str | None = None, task_id: int | None = None,
            **_: object) -> dict[str, Any]:  # fmt: skip
    """Take or refresh the lock on a path (already in its one spelling): {ok, file_path, token, locked_at}. Conflict names the holder."""
    row = tx.one("SELECT * FROM locks WHERE file_path = ?", (file_path,))
    if row is not None and row["peer_id"] != caller.id:
        raise _held(row)
    if row is not None and row["state"] == "held":
        if (ttl_s, reason, task_id) != (row["term_s"], row["reason"], row["task_id"]):
            tx.run(
                "UPDATE locks SET term_s = ?, reason = COALESCE(?, reason), task_id = COALESCE(?, task_id) WHERE file_path = ? AND peer_id = ?",
                (ttl_s, reason, task_id, file_path, caller.id),
            )
            events.record(tx, caller, "lock", [(file_path, caller.id)])
        tx.after("granted", str(row["token"]))
        return {"ok": True, "file_path": file_path, "token": row["token"], "locked_at": row["locked_at"], "refreshed": True}
    token = peers.next_token(tx)
    tx.run(
        "INSERT INTO locks (file_path, peer_id, token, state, term_s, reason, task_id, workspace, locked_at)"
        " VALUES (?, ?, ?, 'held', ?, ?, ?, ?, ?)"
        " ON CONFLICT (file_path, peer_id) DO UPDATE SET token = excluded.token, state = 'held', term_s = excluded.term_s,"
        " reason = excluded.reason, task_id = excluded.task_id, workspace = excluded.workspace, locked_at = excluded.locked_at",
        (file_path, caller.id, token, ttl_s, reason or "", task_id, caller.workspace, tx.at),
    )
    events.record(tx, caller, "lock", [(file_path, caller.id)])
    tx.after("granted", str(token))
    tx.after("locks", caller.workspace)
    return {"ok": True, "file_path": file_path, "token": token, "locked_at": tx.at}


def release(tx: Tx, caller: Caller, *, file_path: str, token: int | None = None, **_: object) -> dict[str, Any]:
    """Free a path. The holder (with its newest token, where it shows one), the architect of the workspace, the person. Free already: ok."""
    row = tx.one("SELECT * FROM locks WHERE file_path = ?", (file_path,))
    if row is None:
        return {"ok": True, "file_path": file_path, "released": False}
    mine = row["peer_id"] == caller.id
    if not mine and not (caller.is_person or (caller.leads and caller.workspace == row["workspace"])):
        raise Forbidden(f"file locked by {row['peer_id']}, not you", holder=row["peer_id"], hint=f"ask {row['peer_id']}, or the architect")
    if mine and token is not None and token != row["token"]:
        raise Conflict(f"token {token} is stale: the lock was granted anew as {row['token']}", code="stale_token", hint="lock_file again tells your token")
    _remove(tx, caller, [row])
    return {"ok": True, "file_path": file_path, "released": True, "holder": row["peer_id"]}


def list_some(tx: Tx, *, workspace: str | None) -> dict[str, Any]:
    """{locks}: newest first."""
    rows = tx.all(
        "SELECT file_path, peer_id, locked_at, token, state, mode, term_s, reason, task_id, workspace FROM locks"
        " WHERE (? IS NULL OR workspace = ?) ORDER BY token DESC",
        (workspace, workspace),
    )
    return {"locks": [dict(row) for row in rows]}


def check(tx: Tx, caller: Caller, *, file_path: str, token: int | None) -> dict[str, Any]:
    """{file_path, holder, token, yours, token_is_current}: whether an edit by the caller would be inside a lock of its own."""
    row = tx.one("SELECT * FROM locks WHERE file_path = ?", (file_path,))
    held = row is not None and row["state"] == "held"
    return {
        "file_path": file_path,
        "locked": row is not None,
        "state": row["state"] if row is not None else "free",
        "holder": row["peer_id"] if row is not None else None,
        "since": row["locked_at"] if row is not None else None,
        "token": row["token"] if row is not None else None,
        "yours": bool(held and row is not None and row["peer_id"] == caller.id),
        "token_is_current": bool(held and row is not None and token is not None and row["token"] == token and row["peer_id"] == caller.id),
    }


def holdings(tx: Tx, peer_id: str) -> list[dict[str, Any]]:
    """What a peer holds: [{file_path, token}]."""
    rows = tx.all("SELECT file_path, token FROM locks WHERE peer_id = ? AND state = 'held' ORDER BY token", (peer_id,))
    return [dict(row) for row in rows]


def with_terms(tx: Tx) -> list[Any]:
    """Held locks that have a term of their own, for the sweep: file_path, peer_id, token, term_s."""
    return tx.all("SELECT file_path, peer_id, token, term_s FROM locks WHERE state = 'held' AND term_s IS NOT NULL")


def closed(tx: Tx) -> list[Any]:
    """Closed locks: file_path, peer_id, token."""
    return tx.all("SELECT file_path, peer_id, token FROM locks WHERE state = 'closed'")


def lapse(tx: Tx, caller: Caller, tokens: list[int]) -> list[str]:
    """These grants ran out (a term, or the time of a closed lock). Answers the paths; a newer grant of the path is not touched."""
    gone = [row for token in tokens if (row := tx.one("SELECT * FROM locks WHERE token = ?", (token,))) is not None]
    _remove(tx, caller, gone)
    return [row["file_path"] for row in gone]


def let_go(tx: Tx, caller: Caller, peer_id: str, *, may_be_frozen: bool) -> list[str]:
    """A departing peer's locks: free, or closed where its process may be frozen in the middle of an edit. Answers the paths."""
    rows = tx.all("SELECT * FROM locks WHERE peer_id = ? AND (state = 'held' OR ?) ORDER BY token", (peer_id, int(not may_be_frozen)))
    if not may_be_frozen:
        _remove(tx, caller, rows)
        return [row["file_path"] for row in rows]
    for row in rows:
        tx.run("UPDATE locks SET state = 'closed' WHERE file_path = ? AND peer_id = ?", (row["file_path"], peer_id))
        tx.after("closed", str(row["token"]))
        tx.after("locks", row["workspace"])
    events.record(tx, caller, "lock", [(row["file_path"], peer_id) for row in rows])
    return [row["file_path"] for row in rows]


def _remove(tx: Tx, caller: Caller, rows: list[Any]) -> None:
    for row in rows:
        tx.run("DELETE FROM locks WHERE file_path = ? AND peer_id = ?", (row["file_path"], row["peer_id"]))
        events.record(tx, caller, "lock", [(row["file_path"], row["peer_id"])], workspace=row["workspace"])
        tx.after("ended", str(row["token"]))
        tx.after("locks", row["workspace"])


def _held(row: Any) -> Conflict:
    since = time.strftime("%H:%M", time.localtime(row["locked_at"]))
    if row["state"] == "closed":
        return Conflict(
            f"file closed: {row['peer_id']} lost its lock and may be in the middle of an edit; free in at most {int(CLOSED_S)} s",
            code="lock_closed", holder=row["peer_id"], since=row["locked_at"], retryable=True, hint="try again in half a minute",
        )  # fmt: skip
    about = (f" for task #{row['task_id']}" if row["task_id"] else "") + (f": {row['reason']}" if row["reason"] else "")
    return Conflict(
        f"file locked by {row['peer_id']} since {since}{about}", code="locked", holder=row["peer_id"], since=row["locked_at"],
        hint=f"send_message to {row['peer_id']}, or work on another file; list_locks shows all",
    )  # fmt: skip
