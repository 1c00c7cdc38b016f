"""Locks: leases on files, directories and globs, each with a fencing token.

One exclusive holder for what overlaps; shared holders do not exclude each other. Asking again refreshes
and answers the same token; asking for another mode or reach is a new grant, and until it is given the
old one stands. Only the holder, a departure, the architect or the person releases. The beat renews; a
lock with a term of its own lapses that long after its holder's last beat.

A lock lost while its holder may be frozen is closed for a while: nobody holds it, nobody gets it (a
reader's is closed to writers), so a thawed editor does not write over a new holder's work. What a peer
lost against its will is remembered until it holds it again (or says it is done with it), so that its own
late edits are refused.

Who waits stands in a queue, first come first served: when the path is free the first is told, and it is
kept for that peer for a minute. Nobody passes one who waits for the same, but a holder that the other
waits for: it could not end otherwise. Who would wait in a circle is told so instead.
"""

from __future__ import annotations

import json
from typing import Any

from lattice import reach
from lattice.clock import of_day
from lattice.domain import events, messages, peers
from lattice.domain.caller import Caller
from lattice.domain.hiding import Texts
from lattice.errors import Conflict, Forbidden
from lattice.store.database import Tx
from lattice.visible import one_line

TEXTS = Texts("locks", ("file_path", "peer_id"), ("reason",))
WAITING_TEXTS = Texts("lock_queue", ("file_path", "peer_id"), ("reason",))
CLOSED_S = 30.0
KEPT_S = 60.0  # for the first of the queue, from when it was told
_SHOWN = "file_path, peer_id, locked_at, token, state, mode, reach, term_s, reason, task_id, workspace, turn"


def acquire(tx: Tx, caller: Caller, *, file_path: str, kind: str = "file", shared: bool = False, ttl_s: int | None = None,
            reason: str | None = None, task_id: int | None = None, queue: bool = False, turn: bool = False,
            **_: object) -> dict[str, Any]:  # fmt: skip
    """Take or refresh a lock on a path (already in its one spelling): {ok, file_path, token, locked_at}.

    Conflict names the holder, or with `queue` answers {ok: false, queued: place} and stands in line.
    """
    mode = "shared" if shared else "exclusive"
    mine = tx.one("SELECT * FROM locks WHERE file_path = ? AND peer_id = ?", (file_path, caller.id))
    if mine is not None and mine["state"] == "held" and mine["mode"] == mode and mine["reach"] == kind:
        return _refresh(tx, caller, mine, ttl_s, reason, task_id, turn)
    refusal = _why_not(tx, caller.id, kind, file_path, mode)
    if refusal is None:
        return _grant(tx, caller, kind, file_path, mode, ttl_s=ttl_s, reason=reason or "", task_id=task_id, turn=turn)
    if not queue:
        raise refusal
    _must_not_wait_in_a_circle(tx, caller.id, kind, file_path, mode)
    place = _stand_in_line(tx, caller, kind, file_path, mode, reason, task_id)
    return {"ok": False, "queued": place, "file_path": file_path, "holder": refusal.details["holder"],
            "message": "you are told when it is free; it is then kept for you for a minute"}  # fmt: skip


def release(tx: Tx, caller: Caller, *, file_path: str, token: int | None = None, **_: object) -> dict[str, Any]:
    """Free a path, or leave its queue. The holder (with its newest token, where it shows one), the architect of the workspace, the person.

    Free already: ok. A holder whose lock another releases is told, and its late edits are refused.
    """
    rows = tx.all("SELECT * FROM locks WHERE file_path = ? ORDER BY peer_id = ? DESC, token", (file_path, caller.id))
    mine = bool(rows) and rows[0]["peer_id"] == caller.id
    if token is not None:
        _must_be_current(tx, caller, file_path, token, rows[0] if rows else None)
    waited = tx.all("SELECT * FROM lock_queue WHERE peer_id = ? AND file_path = ?", (caller.id, file_path))
    if not mine:
        rows = (
            []
            if waited
            else [row for row in rows if caller.is_person or (caller.leads and caller.workspace == row["workspace"])] or _not_yours(rows)
        )
    _leave_queue(tx, waited)
    tx.run("DELETE FROM lost_locks WHERE peer_id = ? AND file_path = ?", (caller.id, file_path))  # it says that it is done
    tx.after("flag", caller.id)
    if not rows:
        return {"ok": True, "file_path": file_path, "released": False, "left_the_queue": bool(waited)}
    if not mine:
        _remember_lost(tx, [row for row in rows if row["state"] == "held"], f"released by {caller.id}", taken_by=caller.id)
    _remove(tx, caller, rows[:1] if mine else rows)
    said = {"ok": True, "file_path": file_path, "released": True}
    return said if mine else {**said, "holder": rows[0]["peer_id"]}


def _must_be_current(tx: Tx, caller: Caller, file_path: str, token: int, row: Any | None) -> None:
    """Conflict (stale_token) where this token is not, or no longer, the caller's grant."""
    if row is not None and row["peer_id"] == caller.id:
        if token == row["token"] and row["state"] == "held":
            return
        why = f"it was granted anew as {row['token']}" if token != row["token"] else "you lost it since, and it is closed for a while"
    elif row is not None:
        why = f"{row['peer_id']} holds it now"
    elif lost_to(tx, caller.id, "file", file_path) is not None:
        why = "you lost it since, and nobody holds it now"
    else:
        return
    raise Conflict(f"token {token} for {file_path} is stale: {why}", code="stale_token", hint="lock_file again tells your token")


def _not_yours(rows: list[Any]) -> list[Any]:
    if rows:
        holder = rows[0]["peer_id"]
        raise Forbidden(f"file locked by {holder}, not you", holder=holder, hint=f"ask {holder}, or the architect")
    return []


def release_turn(tx: Tx, caller: Caller) -> int:
    """The turn ends: what an edit took by itself is given back. Answers how many."""
    rows = tx.all("SELECT * FROM locks WHERE peer_id = ? AND turn AND state = 'held' ORDER BY token", (caller.id,))
    _remove(tx, caller, rows)
    return len(rows)


def list_some(tx: Tx, caller: Caller, *, workspace: str | None) -> dict[str, Any]:
    """{locks, queue}: newest first; who waits, in their order."""
    rows = tx.all(f"SELECT {_SHOWN} FROM locks WHERE (? IS NULL OR workspace = ?) ORDER BY token DESC", (workspace, workspace))
    waiting = tx.all(
        "SELECT file_path, reach, mode, peer_id, task_id, reason, queued_at, offered_at FROM lock_queue"
        " WHERE (? IS NULL OR workspace = ?) ORDER BY id",
        (workspace, workspace),
    )
    return {"locks": [dict(row) for row in rows], "queue": [dict(row) for row in waiting]}


def check(tx: Tx, caller: Caller, *, file_path: str, kind: str = "file", token: int | None, **_: object) -> dict[str, Any]:
    """Whether an edit by the caller would be inside its own lock.

    {file_path, locked, state, holder, since, token, yours, token_is_current, lost}
    """
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
        return _held(against, kind, file_path)
    lost = lost_to(tx, caller.id, kind, file_path)
    if lost is not None and not covered(tx, caller.id, kind, file_path):
        return Conflict(
            f"{_how_lost(lost)}; {lost['taken_by'] + ' had it since' if lost['taken_by'] else 'another session may have changed the file'}",
            code="stale_token", hint=f"{_call(file_path)} again, read the file anew, then edit",
        )  # fmt: skip
    return None


def holdings(tx: Tx, peer_id: str) -> list[dict[str, Any]]:
    """What a peer holds: [{file_path, token, mode, reach}]."""
    rows = tx.all("SELECT file_path, token, mode, reach FROM locks WHERE peer_id = ? AND state = 'held' ORDER BY token", (peer_id,))
    return [dict(row) for row in rows]


def others_hold(tx: Tx, peer_id: str, workspace: str) -> bool:
    """Does somebody else hold (or keep closed) anything in that workspace? The person, and who is in none, lock in all.

    Whoever works in the same folder is near, whatever name their workspace has.
    """
    here = tx.one("SELECT 1 FROM locks WHERE workspace IN (?, '') AND peer_id <> ? LIMIT 1", (workspace, peer_id))
    if here is None:
        here = tx.one(f"SELECT 1 FROM locks WHERE peer_id <> ? AND peer_id IN ({_OF_ONE_FOLDER}) LIMIT 1", (peer_id, peer_id))
    return here is not None


def held_by_others(tx: Tx, peer_id: str, workspace: str) -> list[Any]:
    """Locks (also closed ones) of others in that workspace, or in the same folder: file_path, reach, peer_id, token."""
    return tx.all(
        "SELECT file_path, reach, peer_id, token FROM locks WHERE peer_id <> ?"
        f" AND (workspace IN (?, '') OR peer_id IN ({_OF_ONE_FOLDER})) ORDER BY token",
        (peer_id, workspace, peer_id),
    )


# Those who hold something and whose folder is that of this peer, or above it, or below.
_OF_ONE_FOLDER = (
    "SELECT theirs.id FROM peers AS mine JOIN locks AS held JOIN peers AS theirs ON theirs.id = held.peer_id WHERE mine.id = ?"
    " AND mine.working_dir <> '' AND theirs.working_dir <> ''"
    " AND (INSTR(mine.working_dir || '/', theirs.working_dir || '/') = 1 OR INSTR(theirs.working_dir || '/', mine.working_dir || '/') = 1)"
)


def in_the_way(tx: Tx, peer_id: str, kind: str, file_path: str) -> list[Any]:
    """All locks of others that cover any of this."""
    return [row for row in _near(tx, kind, file_path) if row["peer_id"] != peer_id]


def covered(tx: Tx, peer_id: str, kind: str, file_path: str) -> bool:
    """Does the peer hold a lock over all of this?"""
    return any(
        row["peer_id"] == peer_id and row["state"] == "held" and reach.covers(row["reach"], row["file_path"], kind, file_path)
        for row in _near(tx, kind, file_path)
    )


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


def offer_overdue(tx: Tx, told: dict[int, float]) -> None:
    """These firsts of a queue, told then, did not come in time: they lose their place, the next is told. Who was told anew keeps it."""
    for entry, at in told.items():
        _leave_queue(tx, tx.all("SELECT * FROM lock_queue WHERE id = ? AND offered_at = ?", (entry, at)))


def are_there_to_tell(tx: Tx) -> bool:
    """Does anybody wait for what is free? Nobody should: whatever frees a path tells the next."""
    return any(_is_free_for(tx, row) for row in tx.all("SELECT * FROM lock_queue WHERE offered_at IS NULL ORDER BY id"))


def tell_all(tx: Tx) -> None:
    """Tell everybody who waits for what is free."""
    for row in tx.all("SELECT * FROM lock_queue WHERE offered_at IS NULL ORDER BY id"):
        _tell_if_free(tx, row)


def offered(tx: Tx) -> dict[int, float]:
    """Places in a queue that were told that it is their turn, and when."""
    return {row["id"]: row["offered_at"] for row in tx.all("SELECT id, offered_at FROM lock_queue WHERE offered_at IS NOT NULL")}


def let_go(tx: Tx, caller: Caller, peer_id: str, *, may_be_frozen: bool, reason: str) -> list[str]:
    """A departing peer's locks: free, or closed where its process may be frozen in the middle of an edit. Answers the paths."""
    rows = tx.all("SELECT * FROM locks WHERE peer_id = ? AND (state = 'held' OR ?) ORDER BY token", (peer_id, int(not may_be_frozen)))
    _leave_queue(tx, tx.all("SELECT * FROM lock_queue WHERE peer_id = ? ORDER BY id", (peer_id,)))
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


def take_back(tx: Tx, caller: Caller) -> list[str]:
    """What the caller itself lost and nobody locked since is its own again, with new tokens. Answers the paths.

    The rest stays lost, until it asks.
    """
    closed = tx.all("SELECT * FROM locks WHERE peer_id = ? AND state = 'closed' ORDER BY token", (caller.id,))
    _remove(tx, caller, closed, tell=False)
    taken = []
    rest = tx.all("SELECT * FROM lost_locks WHERE peer_id = ? ORDER BY token", (caller.id,))
    for row in rest:
        if not row["taken_by"] and _why_not(tx, caller.id, row["reach"], row["file_path"], row["mode"]) is None:
            _grant(tx, caller, row["reach"], row["file_path"], row["mode"])
            taken.append(row["file_path"])
    for row in [*closed, *rest]:
        if row["file_path"] not in taken:
            _tell_next(tx, row["reach"], row["file_path"])
    return taken


def take_over(tx: Tx, caller: Caller, old: str) -> list[str]:
    """What `old` still has passes to the caller, before all who wait; what it lost and nobody locked since, where it is free.

    All of it gets new tokens, and is lost to `old` for good. Answers the paths.
    """
    _leave_queue(tx, tx.all("SELECT * FROM lock_queue WHERE peer_id = ? ORDER BY id", (old,)))
    rows = tx.all("SELECT * FROM locks WHERE peer_id = ? ORDER BY token", (old,))
    kept = {row["file_path"] for row in rows}
    lost = tx.all("SELECT * FROM lost_locks WHERE peer_id = ? AND taken_by = '' ORDER BY token", (old,))
    lost = [row for row in lost if row["file_path"] not in kept]
    _remember_lost(tx, rows, f"adopted by {caller.id}", taken_by=caller.id)
    _remove(tx, caller, rows, tell=False)
    taken = []
    for row in [*rows, *lost]:
        kind, path, mode = row["reach"], row["file_path"], row["mode"]
        against = _in_the_way(tx, caller.id, kind, path, mode) if path in kept else _why_not(tx, caller.id, kind, path, mode)
        tx.run(
            "UPDATE lost_locks SET taken_by = ?, reason = ? WHERE peer_id = ? AND file_path = ?",
            (caller.id, f"adopted by {caller.id}", old, path),
        )
        if against is not None:
            _tell_next(tx, kind, path)
        elif not _has_as_much(tx, caller.id, kind, path, mode):
            _grant(tx, caller, kind, path, mode)
            taken.append(path)
    return taken


def forget_lost(tx: Tx, before: float) -> None:
    """What was lost before that time is old news."""
    for row in tx.all("SELECT DISTINCT peer_id FROM lost_locks WHERE lost_at < ?", (before,)):
        tx.after("flag", row["peer_id"])
    tx.run("DELETE FROM lost_locks WHERE lost_at < ?", (before,))


def forget_peer(tx: Tx, peer_id: str) -> None:
    """What an id that is forgotten lost is not its next owner's."""
    tx.run("DELETE FROM lost_locks WHERE peer_id = ?", (peer_id,))


def lost_to(tx: Tx, peer_id: str, kind: str, file_path: str) -> Any | None:
    """A lock over this path that the peer lost and has not asked for since."""
    for row in tx.all("SELECT * FROM lost_locks WHERE peer_id = ? ORDER BY token DESC", (peer_id,)):
        if reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            return row
    return None


# -- helpers -------------------------------------------------------------------------------------------------


def _refresh(tx: Tx, caller: Caller, row: Any, ttl_s: int | None, reason: str | None, task_id: int | None, turn: bool) -> dict[str, Any]:
    keeps_turn = bool(row["turn"]) and turn  # asked for by name, it no longer ends with the turn
    if (ttl_s, reason or row["reason"], task_id or row["task_id"], keeps_turn) != (
        row["term_s"],
        row["reason"],
        row["task_id"],
        bool(row["turn"]),
    ):
        tx.run(
            "UPDATE locks SET term_s = ?, reason = COALESCE(?, reason), task_id = COALESCE(?, task_id), turn = ?"
            " WHERE file_path = ? AND peer_id = ?",
            (ttl_s, reason, task_id, int(keeps_turn), row["file_path"], caller.id),
        )
        events.record(tx, caller, "lock", [(row["file_path"], caller.id)])
    tx.after("granted", str(row["token"]))
    return {
        "ok": True, "file_path": row["file_path"], "token": row["token"], "locked_at": row["locked_at"], "reach": row["reach"],
        "mode": row["mode"], "refreshed": True,
    }  # fmt: skip


def _grant(tx: Tx, caller: Caller, kind: str, file_path: str, mode: str, *, ttl_s: int | None = None, reason: str = "",
           task_id: int | None = None, turn: bool = False) -> dict[str, Any]:  # fmt: skip
    """A new token, whatever stood there before; the caller has made sure that it may."""
    before = tx.one("SELECT * FROM locks WHERE file_path = ? AND peer_id = ?", (file_path, caller.id))
    token = peers.next_token(tx)
    tx.run(
        "INSERT INTO locks (file_path, peer_id, token, state, mode, reach, term_s, reason, task_id, workspace, locked_at, turn)"
        " VALUES (?, ?, ?, 'held', ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (file_path, peer_id) DO UPDATE SET token = excluded.token, state = 'held', mode = excluded.mode,"
        " reach = excluded.reach, term_s = excluded.term_s, reason = excluded.reason, task_id = excluded.task_id,"
        " workspace = excluded.workspace, locked_at = excluded.locked_at, turn = excluded.turn",
        (file_path, caller.id, token, mode, kind, ttl_s, reason, task_id, caller.workspace, tx.at, int(turn)),
    )
    events.record(tx, caller, "lock", [(file_path, caller.id)])
    if before is not None:
        tx.after("ended", str(before["token"]))
    tx.after("granted", str(token))
    tx.after("locks", caller.workspace)
    _settle_losses(tx, caller.id, kind, file_path)
    waited = tx.all("SELECT * FROM lock_queue WHERE peer_id = ? ORDER BY id", (caller.id,))
    has = [row for row in waited if reach.covers(kind, file_path, row["reach"], row["file_path"])]
    _leave_queue(tx, [row for row in has if row["file_path"] == file_path or mode == "exclusive" or row["mode"] == "shared"])
    if before is not None:  # less than before, perhaps: who waits may now go along
        _tell_next(tx, before["reach"], file_path)
    for row in tx.all("SELECT * FROM lock_queue WHERE peer_id = ? AND offered_at IS NULL ORDER BY id", (caller.id,)):
        _tell_if_free(tx, row)  # whoever was there before may wait for what it holds now
    return {"ok": True, "file_path": file_path, "token": token, "locked_at": tx.at, "reach": kind, "mode": mode}


def _settle_losses(tx: Tx, holder: str, kind: str, file_path: str) -> None:
    """A new grant: what its holder had lost there it has again; what others had lost there is not as they left it."""
    for row in tx.all("SELECT * FROM lost_locks"):
        if row["peer_id"] == holder:
            if reach.covers(kind, file_path, row["reach"], row["file_path"]):
                tx.run("DELETE FROM lost_locks WHERE peer_id = ? AND file_path = ?", (holder, row["file_path"]))
                tx.after("again", holder, row["file_path"])
                tx.after("flag", holder)
        elif not row["taken_by"] and reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            tx.run("UPDATE lost_locks SET taken_by = ? WHERE peer_id = ? AND file_path = ?", (holder, row["peer_id"], row["file_path"]))


def _why_not(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> Conflict | None:
    """Why the peer may not have this now: held, closed, kept for another, or waited for by another before it. None: it may."""
    against = _in_the_way(tx, peer_id, kind, file_path, mode)
    if against is not None:
        return _held(against, kind, file_path)
    first = _first_in_line(tx, peer_id, kind, file_path, mode)
    if first is None:
        return None
    return _kept(first) if first["offered_at"] is not None else _waited_for(first, file_path)


def _goes_with(mode: str, other: Any) -> bool:
    return bool(mode == "shared" and other["mode"] == "shared")


def _in_the_way(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> Any | None:
    """The newest lock of another peer that overlaps and does not go together with `mode`."""
    for row in _near(tx, kind, file_path):
        if row["peer_id"] != peer_id and not _goes_with(mode, row):
            return row
    return None


def _first_in_line(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> Any | None:
    """Another who waits for the same: told that it is its turn, or there before the peer (which is in line itself, or comes now)."""
    rows = tx.all("SELECT * FROM lock_queue ORDER BY id")
    own = next((row["id"] for row in rows if row["peer_id"] == peer_id and row["file_path"] == file_path), None)
    for row in rows:
        if row["peer_id"] == peer_id or _goes_with(mode, row) or not reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            continue
        if row["offered_at"] is not None:
            return row
        if (own is None or row["id"] < own) and not _waits_for(tx, row, peer_id):
            return row
    return None


def _waits_for(tx: Tx, waiter: Any, peer_id: str) -> bool:
    """Is it (also) this peer's lock that the waiter waits for?"""
    return any(row["peer_id"] == peer_id and not _goes_with(waiter["mode"], row) for row in _near(tx, waiter["reach"], waiter["file_path"]))


def _has_as_much(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> bool:
    """Does the peer hold as much at just this path?"""
    row = tx.one("SELECT * FROM locks WHERE file_path = ? AND peer_id = ? AND state = 'held'", (file_path, peer_id))
    return row is not None and row["reach"] == kind and mode in ("shared", row["mode"])


def _near(tx: Tx, kind: str, file_path: str) -> list[Any]:
    """Locks that overlap. A single file needs a look at its own row and at the few wide ones; anything wider at all."""
    if kind == "file":
        rows = tx.all("SELECT * FROM locks WHERE file_path = ? AND reach = 'file' ORDER BY token DESC", (file_path,))
        rows += tx.all("SELECT * FROM locks INDEXED BY locks_wide WHERE reach <> 'file' ORDER BY token DESC")
    else:
        rows = tx.all("SELECT * FROM locks ORDER BY token DESC")
    return [row for row in rows if reach.overlap(kind, file_path, row["reach"], row["file_path"])]


def _must_not_wait_in_a_circle(tx: Tx, peer_id: str, kind: str, file_path: str, mode: str) -> None:
    """Conflict (deadlock) where a holder waits, over any number of others, for what this peer holds."""
    waiting = [(row["peer_id"], row) for row in in_the_way(tx, peer_id, kind, file_path) if not _goes_with(mode, row)]
    seen: set[str] = set()
    while waiting:
        holder, lock = waiting.pop()
        if holder in seen:
            continue
        seen.add(holder)
        for wanted in tx.all("SELECT * FROM lock_queue WHERE peer_id = ? AND offered_at IS NULL ORDER BY id", (holder,)):
            for row in in_the_way(tx, holder, wanted["reach"], wanted["file_path"]):
                if _goes_with(wanted["mode"], row):
                    continue
                if row["peer_id"] == peer_id:
                    raise Conflict(
                        f"{holder} holds {lock['file_path']} and waits for {wanted['file_path']},"
                        f" where you hold {row['file_path']}: you would wait for each other",
                        code="deadlock", holder=holder,
                        hint=f"unlock_file {_arguments(file_path=row['file_path'])} first, or send_message to {holder}",
                    )  # fmt: skip
                waiting.append((row["peer_id"], row))


def _stand_in_line(tx: Tx, caller: Caller, kind: str, file_path: str, mode: str, reason: str | None, task_id: int | None) -> int:
    """The place in line. Asking again keeps it; for something else than before, it is no longer this one's turn."""
    before = tx.one("SELECT * FROM lock_queue WHERE file_path = ? AND peer_id = ?", (file_path, caller.id))
    if before is None:
        tx.run(
            "INSERT INTO lock_queue (file_path, reach, mode, peer_id, task_id, reason, workspace, queued_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (file_path, kind, mode, caller.id, task_id, reason or "", caller.workspace, tx.at),
        )
        events.note(tx, caller, "lock_queued", [file_path])
    elif (before["reach"], before["mode"]) != (kind, mode):
        tx.run("UPDATE lock_queue SET reach = ?, mode = ?, offered_at = NULL WHERE id = ?", (kind, mode, before["id"]))
        _tell_next(tx, before["reach"], file_path)
    place = 0
    for row in tx.all("SELECT * FROM lock_queue ORDER BY id"):
        place += int(reach.overlap(kind, file_path, row["reach"], row["file_path"]))
        if row["peer_id"] == caller.id and row["file_path"] == file_path:
            break
    return place


def _leave_queue(tx: Tx, rows: list[Any]) -> None:
    """These wait no longer; whoever waited behind them may go on."""
    for row in rows:
        tx.run("DELETE FROM lock_queue WHERE id = ?", (row["id"],))
    for row in rows:
        _tell_next(tx, row["reach"], row["file_path"])


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
        if reach.overlap(kind, file_path, row["reach"], row["file_path"]):
            _tell_if_free(tx, row)


def _is_free_for(tx: Tx, row: Any) -> bool:
    """Would `_why_not` be None? Asked at each tick of everybody who waits, so it makes no words."""
    wanted = (row["peer_id"], row["reach"], row["file_path"], row["mode"])
    return _in_the_way(tx, *wanted) is None and _first_in_line(tx, *wanted) is None


def _tell_if_free(tx: Tx, row: Any) -> None:
    if _is_free_for(tx, row):
        tx.run("UPDATE lock_queue SET offered_at = ? WHERE id = ?", (tx.at, row["id"]))
        tx.after("kept", str(row["id"]))
        call = _call(_written(row), shared=row["mode"] == "shared")
        messages.tell(
            tx,
            row["peer_id"],
            "alert",
            f"{row['file_path']} is free now and kept for you for {int(KEPT_S)} s: {call}",
            workspace=row["workspace"],
        )


def _remember_lost(tx: Tx, rows: list[Any], reason: str, taken_by: str = "") -> None:
    for row in rows:
        tx.run(
            "INSERT OR REPLACE INTO lost_locks (peer_id, file_path, reach, mode, token, reason, taken_by, lost_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row["peer_id"], row["file_path"], row["reach"], row["mode"], row["token"], reason, taken_by, tx.at),
        )
        tx.after("lost", row["peer_id"], row["file_path"])
        tx.after("flag", row["peer_id"])


def _held(row: Any, kind: str, file_path: str) -> Conflict:
    where = "file" if row["file_path"] == file_path else f"{file_path} and {row['file_path']} overlap, which is"
    if row["file_path"] != file_path and reach.covers(row["reach"], row["file_path"], kind, file_path):
        where = f"{file_path} is inside {row['file_path']}, which is"
    if row["state"] == "closed":
        return Conflict(
            f"{where} closed: {row['peer_id']} lost its lock and may be in the middle of an edit; free in at most {int(CLOSED_S)} s",
            code="lock_closed", holder=row["peer_id"], since=row["locked_at"], hint="try again in half a minute",
        )  # fmt: skip
    about = (f" for task #{row['task_id']}" if row["task_id"] else "") + (f": {one_line(row['reason'], 200)}" if row["reason"] else "")
    until = f"until {row['term_s']} s after its last beat" if row["term_s"] else "as long as it is alive"
    shared = ", shared" if row["mode"] == "shared" else ""
    return Conflict(
        f"{where} locked by {row['peer_id']} since {of_day(row['locked_at'])}{about} ({until}{shared})",
        code="locked", holder=row["peer_id"], since=row["locked_at"], task_id=row["task_id"],
        hint=f"{_call(file_path, queue=True)} to be told when it is free, or send_message to {row['peer_id']}",
    )  # fmt: skip


def _kept(row: Any) -> Conflict:
    return Conflict(
        f"{row['file_path']} is free but kept for {row['peer_id']}, the first of its queue,"
        f" since {of_day(row['offered_at'])} for {int(KEPT_S)} s",
        code="kept", holder=row["peer_id"], hint='lock_file with "queue": true stands in line',
    )  # fmt: skip


def _waited_for(row: Any, file_path: str) -> Conflict:
    return Conflict(
        f"{row['peer_id']} waits for {row['file_path']} since {of_day(row['queued_at'])} and comes first",
        code="waited_for", holder=row["peer_id"], hint=f"{_call(file_path, queue=True)} stands in line",
    )  # fmt: skip


def _how_lost(lost: Any) -> str:
    return f"your lock on {lost['file_path']} (token {lost['token']}) was lost at {of_day(lost['lost_at'])}: {lost['reason']}"


def _call(file_path: str, **more: bool) -> str:
    """The call that asks for it, as a session would write it."""
    return f"lock_file {_arguments(file_path=file_path, **more)}"


def _arguments(**said: object) -> str:
    return json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False)


def _written(row: Any) -> str:
    """The path as it is asked for: with the slash that makes it a directory."""
    return row["file_path"] + "/" if row["reach"] == "dir" and not row["file_path"].endswith("/") else str(row["file_path"])
