"""Locks: leases on files, directories and globs, each with a fencing token.

One exclusive holder for what overlaps; shared holders do not exclude each other. Asking again refreshes
and answers the same token. Only the holder, a departure, the architect or the person releases. The beat
renews; a lock with a term of its own lapses that long after its holder's last beat.

A lock lost while its holder may be frozen is closed for a while: nobody holds it, nobody gets it, so a
thawed editor does not write over a new holder's work. What a peer lost against its will is remembered
until it asks for it again, so that its own late edits are refused.

Who waits stands in a queue, first come first served: when the path is free the first is told, and it is
kept for that peer for a minute.
"""

from __future__ import annotations

import time
from typing import Any

from lattice import reach
from lattice.domain import events, messages, peers
from lattice.domain.caller import Caller
from lattice.errors import Conflict, Forbidden
from lattice.store.database import Tx

CLOSED_S = 30.0
TAKEN_AWAY = "released by "  # the reason of a lock that the architect or the person took from its holder
KEPT_S = 60.0  # for the first of the queue, from when it was told
_SHOWN = "file_path, peer_id, locked_at, token, state, mode, reach, term_s, reason, task_id, workspace, turn"


def acquire(tx: Tx, caller: Caller, *, file_path: str, kind: str = "file", shared: bool = False, ttl_s: int | None = None, reason: str | None = None,
            task_id: int | None = None, queue: bool = False, turn: bool = False, **_: object) -> dict[str, Any]:  # fmt: skip
    """Take or refresh a lock on a path (already in its one spelling): {ok, file_path, token, locked_at}.

    Conflict names the holder, or with `queue` answers {ok: false, queued: place} and stands in line.
    """
    mode = "shared" if shared else "exclusive"
    mine = tx.one("SELECT * FROM locks WHERE file_path = ? AND peer_id = ?", (file_path, caller.id))
    if mine is not None and mine["state"] == "held" and mine["mode"] == mode and mine["reach"] == kind:
        return _refresh(tx, caller, mine, ttl_s, reason, task_id, turn)
    against = _in_the_way(tx, caller.id, kind, file_path, mode)
    kept_for = _kept_for_another(tx, caller.id, kind, file_path, mode)
    tx.run("DELETE FROM lost_locks WHERE peer_id = ? AND file_path = ?", (caller.id, file_path))  # it has asked: it knows
    if against is not None or kept_for is not None:
        if queue:
            return {"ok": False, "queued": _stand_in_line(tx, caller, kind, file_path, mode, reason, task_id), "file_path": file_path,
                    "holder": (against or kept_for)["peer_id"], "message": "you are told when it is free; it is then kept for you for a minute"}  # type: ignore[index]  # fmt: skip
        raise _held(against, file_path) if against is not None else _kept(kept_for)
    token = peers.next_token(tx)
    tx.run(
        "INSERT INTO locks (file_path, peer_id, token, state, mode, reach, term_s, reason, task_id, workspace, locked_at, turn)"
        " VALUES (?, ?, ?, 'held', ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (file_path, peer_id) DO UPDATE SET token = excluded.token, state = 'held', mode = excluded.mode, reach = excluded.reach,"
        " term_s = excluded.term_s, reason = excluded.reason, task_id = excluded.task_id, workspace = excluded.workspace,"
        " locked_at = excluded.locked_at, turn = excluded.turn",
        (file_path, caller.id, token, mode, kind, ttl_s, reason or "", task_id, caller.workspace, tx.at, int(turn)),
    )
    tx.run("DELETE FROM lock_queue WHERE peer_id = ? AND file_path = ?", (caller.id, file_path))
    events.record(tx, caller, "lock", [(file_path, caller.id)])
    tx.after("granted", str(token))
    tx.after("locks", caller.workspace)
    return {"ok": True, "file_path": file_path, "token": token, "locked_at": tx.at, "reach": kind, "mode": mode}


def release(tx: Tx, caller: Caller, *, file_path: str, token: int | None = None, **_: object) -> dict[str, Any]:
    """Free a path. The holder (with its newest token, where it shows one), the architect of the workspace, the person. Free already: ok."""
    rows = tx.all("SELECT * FROM locks WHERE file_path = ? ORDER BY peer_id = ? DESC, token", (file_path, caller.id))
    left_the_queue = tx.run("DELETE FROM lock_queue WHERE peer_id = ? AND file_path = ?", (caller.id, file_path))
    if not rows:
        if token is not None and lost_to(tx, caller.id, "file", file_path) is not None:
            raise _stale(token, file_path, "you lost it since, and nobody holds it now")
        return {"ok": True, "file_path": file_path, "released": False, "left_the_queue": bool(left_the_queue)}
    row = rows[0]
    mine = row["peer_id"] == caller.id
    if not mine and token is not None:
        raise _stale(token, file_path, f"{row['peer_id']} holds it now")
    if not mine and left_the_queue:
        return {"ok": True, "file_path": file_path, "released": False, "left_the_queue": True}
    if not mine and not (caller.is_person or (caller.leads and caller.workspace == row["workspace"])):
        raise Forbidden(f"file locked by {row['peer_id']}, not you", holder=row["peer_id"], hint=f"ask {row['peer_id']}, or the architect")
    if mine and token is not None and token != row["token"]:
        raise _stale(token, file_path, f"it was granted anew as {row['token']}")
    if not mine:
        _remember_lost(tx, rows, TAKEN_AWAY + caller.id)
        for one in rows:
            tx.after("lost", one["peer_id"], one["file_path"])
    _remove(tx, caller, [row] if mine else rows)
    return {"ok": True, "file_path": file_path, "released": True, "holder": row["peer_id"]}


def release_turn(tx: Tx, caller: Caller) -> int:
    """The turn ends: what an edit took by itself is given back. Answers how many."""
    rows = tx.all("SELECT * FROM locks WHERE peer_id = ? AND turn AND state = 'held' ORDER BY token", (caller.id,))
    _remove(tx, caller, rows)
    return len(rows)


def list_some(tx: Tx, caller: Caller, *, workspace: str | None) -> dict[str, Any]:
    """{locks, queue}: newest first; who waits, in their order."""
    rows = tx.all(f"SELECT {_SHOWN} FROM locks WHERE (? IS NULL OR workspace = ?) ORDER BY token DESC", (workspace, workspace))
    waiting = tx.all(
        "SELECT file_path, reach, mode, peer_id, task_id, reason, queued_at, offered_at FROM lock_queue WHERE (? IS NULL OR workspace = ?) ORDER BY id",
        (workspace, workspace),
    )
    return {"locks": [dict(row) for row in rows], "queue": [dict(row) for row in waiting]}


def check(tx: Tx, caller: Caller, *, file_path: str, kind: str = "file", token: int | None, **_: object) -> dict[str, Any]:
    """{file_path, locked, state, holder, since, token, yours, token_is_current, lost}: whether an edit by the caller would be inside its own lock."""
    mine = tx.one("SELECT * FROM locks WHERE file_path = ? AND peer_id = ?", (file_path, caller.id))
    against = _in_the_way(tx, caller.id, kind, file_path, "exclusive")
    shown = against if against is not None else mine
    held = mine is not None and mine["state"] == "held"
    lost = lost_to(tx, caller.id, kind, file_path)
    return {
        "file_path": file_path,
        "locked": shown is not None,
        "state": shown["state"] if shown is not None else "free",
        "holder": shown["peer_id"] if shown is not None else None,
        "since": shown["locked_at"] if shown is not None else None,
        "token": shown["token"] if shown is not None else None,
        "yours": bool(held and against is None),
        "token_is_current": bool(held and mine is not None and token is not None and mine["token"] == token),
        "lost": dict(lost) if lost is not None else None,
    }


def against_edit(tx: Tx, caller: Caller, kind: str, file_path: str) -> Conflict | None:
    """Why the caller must not change this now: somebody else holds it, or its own lock on it was lost since. None: go on."""
    against = _in_the_way(tx, caller.id, kind, file_path, "exclusive")
    if against is not None:
        return _held(against, file_path)
    lost = lost_to(tx, caller.id, kind, file_path)
    if lost is not None and not _covered(tx, caller.id, kind, file_path):
        return Conflict(
            f"your lock on {lost['file_path']} (token {lost['token']}) was lost at {_clock(lost['lost_at'])}: {lost['reason']}; another session may have changed the file",
            code="stale_token", hint=f'lock_file {{"file_path": "{file_path}"}} again, read the file anew, then edit',
        )  # fmt: skip
    return None


def holdings(tx: Tx, peer_id: str) -> list[dict[str, Any]]:
    """What a peer holds: [{file_path, token, mode, reach}]."""
    rows = tx.all("SELECT file_path, token, mode, reach FROM locks WHERE peer_id = ? AND state = 'held' ORDER BY token", (peer_id,))
    return [dict(row) for row in rows]


def others_hold(tx: Tx, peer_id: str, workspace: str) -> bool:
    """Does somebody else hold (or keep closed) anything in that workspace?"""
    return tx.one("SELECT 1 FROM locks WHERE workspace = ? AND peer_id <> ? LIMIT 1", (workspace, peer_id)) is not None


def has_lost(tx: Tx, peer_id: str) -> bool:
    """Has the peer lost a lock and not asked since?"""
    return tx.one("SELECT 1 FROM lost_locks WHERE peer_id = ? LIMIT 1", (peer_id,)) is not None


def with_terms(tx: Tx) -> list[Any]:
    """Held locks that have a term of their own, for the sweep: file_path, peer_id, token, term_s."""
    return tx.all("SELECT file_path, peer_id, token, term_s FROM locks WHERE state = 'held' AND term_s IS NOT NULL")


def closed(tx: Tx) -> list[Any]:
    """Closed locks: file_path, peer_id, token."""
    return tx.all("SELECT file_path, peer_id, token FROM locks WHERE state = 'closed'")


def lapse(tx: Tx, caller: Caller, tokens: list[int], reason: str = "its time ran out") -> list[str]:
    """These grants ran out (a term, or the time of a closed lock). Answers the paths; a newer grant of the path is not touched."""
    gone = [row for token in tokens if (row := tx.one("SELECT * FROM locks WHERE token = ?", (token,))) is not None]
    _remember_lost(tx, [row for row in gone if row["state"] == "held"], reason)
    _remove(tx, caller, gone)
    return [row["file_path"] for row in gone]


def offer_overdue(tx: Tx, ids: list[int]) -> None:
    """These firsts of a queue did not come in time: they lose their place, the next is told."""
    for entry in ids:
        row = tx.one("SELECT * FROM lock_queue WHERE id = ?", (entry,))
        if row is not None:
            tx.run("DELETE FROM lock_queue WHERE id = ?", (entry,))
            _tell_next(tx, row["reach"], row["file_path"])


def offered(tx: Tx) -> list[int]:
    """Places in a queue that were told that it is their turn."""
    return [row["id"] for row in tx.all("SELECT id FROM lock_queue WHERE offered_at IS NOT NULL")]


def let_go(tx: Tx, caller: Caller, peer_id: str, *, may_be_frozen: bool, reason: str = "it stopped beating") -> list[str]:
    """A departing peer's locks: free, or closed where its process may be frozen in the middle of an edit. Answers the paths."""
    rows = tx.all("SELECT * FROM locks WHERE peer_id = ? AND (state = 'held' OR ?) ORDER BY token", (peer_id, int(not may_be_frozen)))
    for row in tx.all("SELECT * FROM lock_queue WHERE peer_id = ?", (peer_id,)):
        tx.run("DELETE FROM lock_queue WHERE id = ?", (row["id"],))
        if row["offered_at"] is not None:
            _tell_next(tx, row["reach"], row["file_path"])
    _remember_lost(tx, [row for row in rows if row["state"] == "held"], reason)
    if not may_be_frozen:
        _remove(tx, caller, rows)
        return [row["file_path"] for row in rows]
    for row in rows:
        tx.run("UPDATE locks SET state = 'closed' WHERE file_path = ? AND peer_id = ?", (row["file_path"], peer_id))
        tx.after("closed", str(row["token"]))
        tx.after("locks", row["workspace"])
    events.record(tx, caller, "lock", [(row["file_path"], peer_id) for row in rows])
    return [row["file_path"] for row in rows]


def renew_tokens(tx: Tx, caller: Caller, peer_id: str) -> int:
    """A new process took the peer over: each of its grants gets a larger token, so the old process's are stale."""
    rows = tx.all("SELECT file_path, token FROM locks WHERE peer_id = ? AND state = 'held' ORDER BY token", (peer_id,))
    for row in rows:
        token = peers.next_token(tx)
        tx.run("UPDATE locks SET token = ? WHERE file_path = ? AND peer_id = ?", (token, row["file_path"], peer_id))
        tx.after("ended", str(row["token"]))
        tx.after("granted", str(token))
    if rows:
        events.record(tx, caller, "lock", [(row["file_path"], peer_id) for row in rows])
    return len(rows)


def take_back(tx: Tx, caller: Caller, old: str) -> list[str]:
    """What `old` lost by departing (not what was taken from it) and nobody holds now becomes the caller's, with new tokens. Answers the paths."""
    taken = []
    for row in tx.all("SELECT * FROM lost_locks WHERE peer_id = ? ORDER BY token", (old,)):
        closed_one = tx.one("SELECT * FROM locks WHERE file_path = ? AND peer_id = ? AND state = 'closed'", (row["file_path"], old))
        if closed_one is not None:
            _remove(tx, caller, [closed_one], tell=False)
        tx.run("DELETE FROM lost_locks WHERE peer_id = ? AND file_path = ?", (old, row["file_path"]))
        if not row["reason"].startswith(TAKEN_AWAY) and _in_the_way(tx, caller.id, row["reach"], row["file_path"], "exclusive") is None:
            acquire(tx, caller, file_path=row["file_path"], kind=row["reach"])
            taken.append(row["file_path"])
    return taken


def forget_lost(tx: Tx, before: float) -> None:
    """What was lost before that time is old news."""
    tx.run("DELETE FROM lost_locks WHERE lost_at < ?", (before,))


def lost_to(tx: Tx, peer_id: str, kind: str, file_path: str) -> Any | None:
    """A lock over this path that the peer lost and has not asked for since."""
    for row in tx.all("SELECT * FROM lost_locks WHERE peer_id = ? ORDER BY token DESC", (peer_id,)):
        if reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            return row
    return None


# -- helpers -------------------------------------------------------------------------------------------------


def _refresh(tx: Tx, caller: Caller, row: Any, ttl_s: int | None, reason: str | None, task_id: int | None, turn: bool) -> dict[str, Any]:
    keeps_turn = bool(row["turn"]) and turn  # asked for by name, it no longer ends with the turn
    if (ttl_s, reason or row["reason"], task_id or row["task_id"], keeps_turn) != (row["term_s"], row["reason"], row["task_id"], bool(row["turn"])):
        tx.run(
            "UPDATE locks SET term_s = ?, reason = COALESCE(?, reason), task_id = COALESCE(?, task_id), turn = ? WHERE file_path = ? AND peer_id = ?",
            (ttl_s, reason, task_id, int(keeps_turn), row["file_path"], caller.id),
        )
        events.record(tx, caller, "lock", [(row["file_path"], caller.id)])
    tx.after("granted", str(row["token"]))
    return {
        "ok": True, "file_path": row["file_path"], "token": row["token"], "locked_at": row["locked_at"], "reach": row["reach"], "mode": row["mode"],
        "refreshed": True,
    }  # fmt: skip


def _in_the_way(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> Any | None:
    """The newest lock of another peer that overlaps and does not go together with `mode`."""
    for row in _near(tx, kind, file_path):
        if row["peer_id"] != peer_id and not (mode == "shared" and row["mode"] == "shared" and row["state"] == "held"):
            return row
    return None


def _covered(tx: Tx, peer_id: str, kind: str, file_path: str) -> bool:
    return any(row["peer_id"] == peer_id and row["state"] == "held" for row in _near(tx, kind, file_path))


def _near(tx: Tx, kind: str, file_path: str) -> list[Any]:
    """Locks that overlap. A single file needs a look at its own row and at the few wide ones; anything wider at all."""
    if kind == "file":
        rows = tx.all("SELECT * FROM locks WHERE file_path = ? AND reach = 'file' ORDER BY token DESC", (file_path,))
        rows += tx.all("SELECT * FROM locks INDEXED BY locks_wide WHERE reach <> 'file' ORDER BY token DESC")
    else:
        rows = tx.all("SELECT * FROM locks ORDER BY token DESC")
    return [row for row in rows if reach.overlap(kind, file_path, row["reach"], row["file_path"])]


def _kept_for_another(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> Any | None:
    """The first of a queue that was told it is free, when that is somebody else and theirs does not go with ours."""
    for row in tx.all("SELECT * FROM lock_queue WHERE offered_at IS NOT NULL AND peer_id <> ? ORDER BY id", (peer_id,)):
        if not (mode == "shared" and row["mode"] == "shared") and reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            return row
    return None


def _stand_in_line(tx: Tx, caller: Caller, kind: str, file_path: str, mode: str, reason: str | None, task_id: int | None) -> int:
    tx.run(
        "INSERT OR IGNORE INTO lock_queue (file_path, reach, mode, peer_id, task_id, reason, workspace, queued_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (file_path, kind, mode, caller.id, task_id, reason or "", caller.workspace, tx.at),
    )
    events.note(tx, caller, "lock_queued", [file_path])
    place = 0
    for row in tx.all("SELECT * FROM lock_queue ORDER BY id"):
        place += int(reach.overlap(kind, file_path, row["reach"], row["file_path"]))
        if row["peer_id"] == caller.id and row["file_path"] == file_path:
            break
    return place


def _remove(tx: Tx, caller: Caller, rows: list[Any], *, tell: bool = True) -> None:
    for row in rows:
        tx.run("DELETE FROM locks WHERE file_path = ? AND peer_id = ?", (row["file_path"], row["peer_id"]))
        events.record(tx, caller, "lock", [(row["file_path"], row["peer_id"])], workspace=row["workspace"])
        tx.after("ended", str(row["token"]))
        tx.after("locks", row["workspace"])
    if tell:
        for row in rows:
            _tell_next(tx, row["reach"], row["file_path"])


def _tell_next(tx: Tx, kind: str, file_path: str) -> None:
    """Whoever waits for something that overlaps and is free now: the first of them (and, shared, those who go along) is told."""
    for row in tx.all("SELECT * FROM lock_queue WHERE offered_at IS NULL ORDER BY id"):
        if not reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            continue
        if _in_the_way(tx, row["peer_id"], row["reach"], row["file_path"], row["mode"]) is not None:
            continue
        if _kept_for_another(tx, row["peer_id"], row["reach"], row["file_path"], row["mode"]) is not None:
            continue
        tx.run("UPDATE lock_queue SET offered_at = ? WHERE id = ?", (tx.at, row["id"]))
        tx.after("kept", str(row["id"]))
        messages.tell(
            tx, row["peer_id"], "alert",
            f'{row["file_path"]} is free now and kept for you for {int(KEPT_S)} s: call lock_file {{"file_path": "{row["file_path"]}"}}',
            workspace=row["workspace"],
        )  # fmt: skip


def _remember_lost(tx: Tx, rows: list[Any], reason: str) -> None:
    for row in rows:
        tx.run(
            "INSERT OR REPLACE INTO lost_locks (peer_id, file_path, reach, token, reason, lost_at) VALUES (?, ?, ?, ?, ?, ?)",
            (row["peer_id"], row["file_path"], row["reach"], row["token"], reason, tx.at),
        )
        tx.after("flag", row["peer_id"])


def _held(row: Any, file_path: str) -> Conflict:
    where = "file" if row["file_path"] == file_path else f"{file_path} is inside {row['file_path']}, which is"
    if row["state"] == "closed":
        return Conflict(
            f"{where} closed: {row['peer_id']} lost its lock and may be in the middle of an edit; free in at most {int(CLOSED_S)} s",
            code="lock_closed", holder=row["peer_id"], since=row["locked_at"], hint="try again in half a minute",
        )  # fmt: skip
    about = (f" for task #{row['task_id']}" if row["task_id"] else "") + (f": {row['reason']}" if row["reason"] else "")
    until = f"until {row['term_s']} s after its last beat" if row["term_s"] else "as long as it is alive"
    return Conflict(
        f"{where} locked by {row['peer_id']} since {_clock(row['locked_at'])}{about} ({until})",
        code="locked", holder=row["peer_id"], since=row["locked_at"], task_id=row["task_id"],
        hint=f'lock_file {{"file_path": "{file_path}", "queue": true}} to be told when it is free, or send_message to {row["peer_id"]}',
    )  # fmt: skip


def _stale(token: int, file_path: str, why: str) -> Conflict:
    return Conflict(f"token {token} for {file_path} is stale: {why}", code="stale_token", hint="lock_file again tells your token")


def _kept(row: Any) -> Conflict:
    return Conflict(
        f"{row['file_path']} is free but kept for {row['peer_id']}, the first of its queue, since {_clock(row['offered_at'])} for {int(KEPT_S)} s",
        code="kept", holder=row["peer_id"], hint='lock_file with "queue": true stands in line',
    )  # fmt: skip


def _clock(at: float) -> str:
    return time.strftime("%H:%M", time.localtime(at))


