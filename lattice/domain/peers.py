"""Peers: the sessions (and the person) that this broker knows.

An id belongs to its first registrant until it leaves. Registering an id that lives in another process
needs its token or its resume secret. One active architect per workspace: the seat. A beat without git
fields changes no git fields. Who beats is known in memory (`broker/presence.py`); here is only what
must outlive the broker.

    active -> away (ended cleanly) | dead (stopped beating) | killed (ended by somebody) | gone (forgotten)
    away, dead -> active (enrols again, or beats again); killed -> dead (resumed by a lead)
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from lattice import names
from lattice.contract.operations import REACHED_BY
from lattice.domain import events
from lattice.domain.caller import BROKER, Caller
from lattice.domain.hiding import Texts
from lattice.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from lattice.store.database import Tx

TEXTS = Texts("peers", ("id",), ("summary", "activity"))
AUTO_PAUSE = 20  # rejections, each forgotten after an hour
FORGET_REJECTIONS_S = 3600.0
PAUSED_BY_RULE = "the broker (too many rejected messages)"
NOT_HERE = "list_peers shows who is here"

_LISTED = (
    "id, role, summary, activity, working_dir, workspace, registered_at, last_heartbeat, paused, poll_interval_ms,"
    " git_branch, git_dirty_files, git_more, git_last_commit, ways"
)
_CARD = "id, role, status, workspace, working_dir, epoch, paused, paused_by, ended_by, poll_interval_ms, process, pid, client_pid"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a session brings to `register`, checked at the edge."""

    id: str
    role: str | None
    workspace: str
    working_dir: str
    summary: str
    pid: int | None
    client: str
    client_pid: int | None
    process: str
    resume: str  # the resume secret that it shows, "" for none
    owns_token: bool  # it showed a token of this id that is still good
    fallback: bool
    named: bool
    poll_interval_ms: int
    git_branch: str
    git_dirty_files: list[str]
    git_last_commit: str
    ways: list[str] = field(default_factory=list)  # how mail can reach it, as far as its own process knows


def ensure_person(tx: Tx) -> None:
    """The person is a peer from the first day."""
    if tx.one("SELECT id FROM peers WHERE id = ?", (names.PERSON,)) is None:
        tx.run(
            "INSERT INTO peers (id, role, status, summary, registered_at, last_heartbeat) VALUES (?, 'system', 'active', ?, ?, ?)",
            (names.PERSON, "the person", tx.at, tx.at),
        )
        events.record(tx, BROKER, "peer", [names.PERSON], workspace="")


def use_ticket(tx: Tx, nonce: str, expires: float) -> None:
    """A ticket works once. Conflict (code ticket_used) the second time."""
    if tx.one("SELECT nonce FROM tickets WHERE nonce = ?", (nonce,)) is not None:
        raise Conflict("this ticket was used already", code="ticket_used", hint="mint a new one; each works once")
    tx.run("INSERT INTO tickets (nonce, expires) VALUES (?, ?)", (nonce, expires))


def forget_tickets(tx: Tx, before: float) -> int:
    """Those that expired earlier. Not at once: a clock that is set back makes a ticket good again, and it must not work twice."""
    return tx.run("DELETE FROM tickets WHERE expires < ?", (before,))


def settle_id(tx: Tx, wanted: Enrolment, beating: frozenset[str]) -> str:
    """The id this enrolment gets: the wanted one, or id-2, id-3 … with `fallback`. `beating`: ids heard from within a beat.

    Conflict when the id lives in another process; Unauthorized (code killed) when somebody ended it.
    """
    base = wanted.id
    for number in range(1, 1000):
        candidate = base if number == 1 else f"{base[: names.MAX_ID - 4]}-{number}"
        row = tx.one("SELECT status, process, resume_hash, ended_by, ended_at FROM peers WHERE id = ?", (candidate,))
        if row is None or row["status"] == "gone":
            return candidate
        if row["status"] == "killed":
            if number == 1:
                raise was_killed(candidate, row["ended_by"])
            continue
        if row["status"] in ("away", "dead"):
            if number == 1:
                return candidate
            continue
        same_process = bool(wanted.process) and hmac.compare_digest(wanted.process.encode(), row["process"].encode())
        owner = number == 1 and (wanted.owns_token or _owns(wanted.resume, row))
        if same_process or (owner and (not wanted.process or candidate not in beating)):
            return candidate
        if not wanted.fallback:
            raise Conflict(
                f"'{candidate}' is a live peer in another process",
                code="id_taken", holder=candidate,
                hint="choose another id, show its token or resume secret as `resume`, or pass fallback to get a numbered one",
            )  # fmt: skip
    raise Conflict(f"no free id near '{base}'", code="id_taken")


def register(tx: Tx, wanted: Enrolment, peer_id: str, new_resume: str) -> dict[str, Any]:
    """Enrol `peer_id` (from `settle_id`). Answers {id, role, workspace, epoch, resume, seat, same_life (its process was this one)}.

    Who brings a resume secret for an id that is free has chosen its own: it knows it even if it never hears the answer.
    A new process of a known id takes mail, tasks and locks over; a new epoch ends the old process's tokens.
    """
    old = tx.one("SELECT * FROM peers WHERE id = ?", (peer_id,))
    known = old is not None and old["status"] != "gone"
    role, seat = _seat_or_worker(tx, wanted, peer_id)
    same_life = known and old is not None and bool(wanted.process) and old["process"] == wanted.process and old["status"] == "active"
    epoch = 1 if old is None else old["epoch"] + (0 if same_life else 1)
    keeps_secret = known and old is not None and _owns(wanted.resume, old)
    chose_secret = peer_id == wanted.id and names.is_key(wanted.resume)
    resume = wanted.resume if keeps_secret or chose_secret else new_resume
    values = (
        role, wanted.summary or (old["summary"] if known and old else ""), wanted.workspace, wanted.working_dir,
        int(wanted.named and peer_id == wanted.id),  # a numbered id was not chosen
        wanted.pid, wanted.client, wanted.client_pid, wanted.process, epoch, _hash(resume), wanted.poll_interval_ms, tx.at,
    )  # fmt: skip
    if old is None:
        tx.run(
            "INSERT INTO peers (role, summary, workspace, working_dir, named, pid, client, client_pid, process, epoch, resume_hash,"
            " poll_interval_ms, last_heartbeat, status, registered_at, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'active', ?, ?)",
            (*values, tx.at, peer_id),
        )
    else:
        if not known:
            _forget_life(tx, peer_id)
        tx.run(
            "UPDATE peers SET role = ?, summary = ?, workspace = ?, working_dir = ?, named = ?, pid = ?, client = ?, client_pid = ?,"
            " process = ?, epoch = ?, resume_hash = ?, poll_interval_ms = ?, last_heartbeat = ?, status = 'active', ended_by = '',"
            " ended_at = NULL, registered_at = CASE WHEN ? THEN registered_at ELSE ? END WHERE id = ?",
            (*values, int(known), tx.at, peer_id),
        )
    tx.run("UPDATE peers SET ways = ? WHERE id = ?", (_in_order(wanted.ways), peer_id))  # its hooks, if any, will say that they are there
    if wanted.git_branch or wanted.git_dirty_files or wanted.git_last_commit:
        _set_git(tx, peer_id, wanted.git_branch, wanted.git_dirty_files, 0, wanted.git_last_commit)
    tx.run("INSERT OR IGNORE INTO workspaces (name, first_seen) VALUES (?, ?)", (wanted.workspace, tx.at))
    caller = Caller(peer_id, role, wanted.workspace)
    events.record(tx, caller, "peer", [peer_id])
    tx.after("peer", peer_id)
    return {
        "id": peer_id, "role": role, "workspace": wanted.workspace, "epoch": epoch, "resume": resume, "seat": seat,
        "same_life": same_life, "new": not known,
    }  # fmt: skip


def _forget_life(tx: Tx, peer_id: str) -> None:
    """What is kept of an id that was forgotten is not its next owner's."""
    tx.run(
        "UPDATE peers SET activity = '', paused = 0, paused_by = '', last_stop_reason = '',"
        " git_branch = '', git_dirty_files = '[]', git_more = 0, git_last_commit = '',"
        " token_budget = NULL, tokens_used = 0, tool_calls_count = 0, errors_count = 0, rejections_count = 0,"
        " last_rejection_at = NULL, cause = NULL, prompted_at = NULL, ways = '' WHERE id = ?",
        (peer_id,),
    )


def was_killed(peer_id: str, by: str) -> Unauthorized:
    return Unauthorized(
        f"peer '{peer_id}' was ended by {by or 'the person'}; it may not go on until it is resumed",
        code="killed", ended_by=by,
        hint=f"the person (page, or: c2-lattice resume {peer_id}) or the architect can lift it",
    )  # fmt: skip


def workspace_of_dir(tx: Tx, working_dir: str) -> str:
    """The workspace of a known peer with that working directory, else "" (a caller that names none: design D10)."""
    if not working_dir:
        return ""
    row = tx.one(
        "SELECT workspace FROM peers WHERE working_dir = ? AND workspace <> '' ORDER BY last_heartbeat DESC LIMIT 1", (working_dir,)
    )
    return row["workspace"] if row else ""


# -- the seat ---------------------------------------------------------------------------------------


def seat_holder(tx: Tx, workspace: str) -> str | None:
    row = tx.one("SELECT peer FROM seats WHERE workspace = ?", (workspace,))
    return row["peer"] if row else None


def seated(tx: Tx) -> list[str]:
    """All who hold a seat, of any workspace."""
    return [row["peer"] for row in tx.all("SELECT peer FROM seats ORDER BY peer")]


def seat(tx: Tx, caller: Caller, *, peer_id: str, workspace: str | None, **_: object) -> dict[str, Any]:
    """The person seats an architect in that peer's workspace, or (empty peer_id) unseats the one of `workspace`."""
    if peer_id:
        row = live(tx, peer_id)
        if row["role"] == "system":
            raise BadRequest(
                "the person needs no seat: with no architect its powers are the person's", hint="seat a peer, or leave peer_id empty"
            )
        where = row["workspace"]
    else:
        where = workspace or ""
    before = seat_holder(tx, where)
    if peer_id and before != peer_id and row["status"] != "active":  # nobody waits for its next beat, so nothing would ever vacate it
        raise Conflict(f"'{peer_id}' is away; a seat needs somebody in it", hint="seat it when it is back, or seat another")
    if before and before != peer_id:
        vacate(tx, caller, before)
    if peer_id and before != peer_id:
        _take_seat(tx, caller, where, peer_id)
        tx.run("UPDATE peers SET role = 'architect' WHERE id = ?", (peer_id,))
        events.record(tx, caller, "peer", [peer_id], workspace=where)
        tx.after("peer", peer_id)
    return {"ok": True, "workspace": where, "architect": peer_id or None, "was": before}


def vacate(tx: Tx, caller: Caller, peer_id: str) -> list[str]:
    """Take every seat from a peer; it goes on as a worker. Answers the workspaces."""
    held = [row["workspace"] for row in tx.all("SELECT workspace FROM seats WHERE peer = ?", (peer_id,))]
    if held:
        tx.run("DELETE FROM seats WHERE peer = ?", (peer_id,))
        for one in held:
            events.record(tx, caller, "seat", [one], workspace=one)
        tx.run("UPDATE peers SET role = 'worker' WHERE id = ? AND role = 'architect'", (peer_id,))
        events.record(tx, caller, "peer", [peer_id], workspace=held[0])
        tx.after("peer", peer_id)
    return held


def _seat_or_worker(tx: Tx, wanted: Enrolment, peer_id: str) -> tuple[str, dict[str, Any]]:
    holder = seat_holder(tx, wanted.workspace)
    if holder == peer_id:
        return "architect", {"held_by": peer_id}
    moved = [row["workspace"] for row in tx.all("SELECT workspace FROM seats WHERE peer = ?", (peer_id,))]
    if moved:  # the same id enrols in another workspace: a seat does not travel
        tx.run("DELETE FROM seats WHERE peer = ?", (peer_id,))
        for one in moved:
            events.record(tx, Caller(peer_id, "worker", wanted.workspace), "seat", [one], workspace=one)
    if wanted.role != "architect":
        return "worker", {"held_by": holder}
    if holder is None:
        _take_seat(tx, Caller(peer_id, "architect", wanted.workspace), wanted.workspace, peer_id)
        return "architect", {"held_by": peer_id}
    if not wanted.fallback:
        raise Conflict(
            f"Architect role already held by '{holder}'",
            code="seat_taken", holder=holder,
            hint="enrol as a worker, or let the person seat you: launch.py --architect " + peer_id,
        )  # fmt: skip
    return "worker", {"held_by": holder}


def _take_seat(tx: Tx, caller: Caller, workspace: str, peer_id: str) -> None:
    tx.run("INSERT INTO seats (workspace, peer, token, since) VALUES (?, ?, ?, ?)", (workspace, peer_id, next_token(tx), tx.at))
    events.record(tx, caller, "seat", [workspace], workspace=workspace)
    tx.after("seated", peer_id)


def next_token(tx: Tx) -> int:
    """The next fencing token. One growing number for all grants, so a newer grant is always larger."""
    tx.run("INSERT INTO counters (name, value) VALUES ('token', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
    row = tx.one("SELECT value FROM counters WHERE name = 'token'")
    assert row is not None
    return int(row["value"])


def skip_tokens(tx: Tx, reached: int) -> None:
    """Go on behind a token that was granted elsewhere."""
    tx.run("INSERT INTO counters (name, value) VALUES ('token', ?) ON CONFLICT (name) DO UPDATE SET value = MAX(value, excluded.value)",
           (reached,))  # fmt: skip


# -- saying what one does ------------------------------------------------------------------------------


def set_summary(tx: Tx, caller: Caller, *, summary: str, **_: object) -> dict[str, Any]:
    tx.run("UPDATE peers SET summary = ? WHERE id = ?", (summary, caller.id))
    events.record(tx, caller, "peer", [caller.id])
    return {"ok": True, "summary": summary}


def note_beat(tx: Tx, caller: Caller, said: dict[str, Any], *, overlapping: bool) -> None:
    """Keep what a beat brought: only the fields it has. `overlapping`: log files that another peer has dirty too."""
    if any(said.get(name) is not None for name in ("git_branch", "git_dirty_files", "git_last_commit")):
        row = known(tx, caller.id)
        files = said.get("git_dirty_files")
        _set_git(
            tx, caller.id,
            row["git_branch"] if said.get("git_branch") is None else said["git_branch"],
            json.loads(row["git_dirty_files"]) if files is None else files,
            row["git_more"] if files is None else (said.get("git_more") or 0),
            row["git_last_commit"] if said.get("git_last_commit") is None else said["git_last_commit"],
        )  # fmt: skip
        if overlapping and files:
            _warn_of_conflicts(tx, caller, set(files), set(json.loads(row["git_dirty_files"])))
    if said.get("ways") is not None:
        row = known(tx, caller.id)
        tx.run(
            "UPDATE peers SET ways = ? WHERE id = ?",
            (_in_order([*said["ways"], *_OF_HOOKS.intersection(row["ways"].split(","))]), caller.id),
        )
    counted = [name for name in ("tokens_used", "tool_calls_count", "errors_count", "activity") if said.get(name) is not None]
    if counted:
        tx.run(
            f"UPDATE peers SET {', '.join(f'{name} = ?' for name in counted)} WHERE id = ?", (*(said[name] for name in counted), caller.id)
        )
    tx.run("UPDATE peers SET last_heartbeat = ? WHERE id = ?", (tx.at, caller.id))


def has_hooks(tx: Tx, caller: Caller, way: str) -> None:
    """A hook of the session has run: so mail reaches it that way too (`hook`, or `rewake`: it wakes an idle one)."""
    row = tx.one("SELECT ways FROM peers WHERE id = ?", (caller.id,))
    if row is not None and way not in row["ways"].split(","):
        tx.run("UPDATE peers SET ways = ? WHERE id = ?", (_in_order([*row["ways"].split(","), way]), caller.id))


def set_cause(tx: Tx, peer_id: str, message_id: int | None) -> None:
    """What the session was shown last; None once a human has prompted it."""
    tx.run(
        "UPDATE peers SET cause = ?, prompted_at = CASE WHEN ? IS NULL THEN ? ELSE prompted_at END WHERE id = ?",
        (message_id, message_id, tx.at, peer_id),
    )
    tx.after("flag", peer_id)


def cause(tx: Tx, peer_id: str) -> int | None:
    """The message that the session was shown last since its last human prompt."""
    row = tx.one("SELECT cause FROM peers WHERE id = ?", (peer_id,))
    return row["cause"] if row is not None else None


def revive(tx: Tx, caller: Caller) -> None:
    """A peer that was given up for dead beats again with a good token: it is active, without what it held."""
    if tx.run(
        "UPDATE peers SET status = 'active', last_heartbeat = ?, ended_by = '', ended_at = NULL"
        " WHERE id = ? AND status IN ('dead', 'away')",
        (tx.at, caller.id),
    ):
        events.record(tx, caller, "peer", [caller.id])
        tx.after("peer", caller.id)


def end(tx: Tx, caller: Caller, peer_id: str, status: str, *, by: str = "", reason: str = "") -> None:
    """Set how a peer ended (away, dead, killed, gone). `killed` and `gone` end its tokens."""
    tx.run(
        "UPDATE peers SET status = ?, ended_by = ?, ended_at = ?, epoch = epoch + ?, process = CASE WHEN ? THEN '' ELSE process END,"
        " last_stop_reason = CASE WHEN ? = '' THEN last_stop_reason ELSE ? END WHERE id = ?",
        (status, by, tx.at, int(status in ("killed", "gone")), int(status == "gone"), reason, reason, peer_id),
    )
    events.record(tx, caller, "peer", [peer_id])
    tx.after("peer", peer_id)


def end_tokens(tx: Tx, caller: Caller, peer_id: str) -> None:
    """No token of this id counts any longer: its process, should it live, has to enrol anew, as somebody else."""
    tx.run("UPDATE peers SET epoch = epoch + 1, process = '', resume_hash = '' WHERE id = ?", (peer_id,))
    events.record(tx, caller, "peer", [peer_id])
    tx.after("peer", peer_id)


def forget(tx: Tx, caller: Caller, ids: list[str]) -> None:
    """Delete what is kept of ids that are gone; see `forgetting`."""
    for peer_id in ids:
        tx.run("DELETE FROM peers WHERE id = ? AND status = 'gone'", (peer_id,))
    events.record(tx, caller, "peer", ids)


# -- what leads do to others ---------------------------------------------------------------------------


def pause(tx: Tx, caller: Caller, *, peer_id: str, **_: object) -> dict[str, Any]:
    live(tx, peer_id)
    _set_paused(tx, caller, [peer_id], caller.actor)
    return {"ok": True, "peer_id": peer_id, "paused": True}


def resume(tx: Tx, caller: Caller, *, peer_id: str, **_: object) -> dict[str, Any]:
    """Lift a pause, or a kill (the id may enrol again). Clears the count of rejections."""
    row = known(tx, peer_id)
    if row["status"] == "killed":
        tx.run("UPDATE peers SET status = 'dead', ended_by = '' WHERE id = ?", (peer_id,))
    _set_paused(tx, caller, [peer_id], "")
    return {"ok": True, "peer_id": peer_id, "paused": False}


def pause_all(tx: Tx, caller: Caller, **_: object) -> dict[str, Any]:
    ids = [one for one in _of_workspace(tx, caller, paused=0) if one != caller.id]
    _set_paused(tx, caller, ids, caller.actor)
    return {"ok": True, "paused_count": len(ids)}


def resume_all(tx: Tx, caller: Caller, **_: object) -> dict[str, Any]:
    ids = _of_workspace(tx, caller, paused=1)
    _set_paused(tx, caller, ids, "")
    return {"ok": True, "resumed_count": len(ids)}


def config(tx: Tx, caller: Caller, *, peer_id: str, poll_interval_ms: int | None, **_: object) -> dict[str, Any]:
    row = known(tx, peer_id)
    if poll_interval_ms is not None and poll_interval_ms != row["poll_interval_ms"]:
        tx.run("UPDATE peers SET poll_interval_ms = ? WHERE id = ?", (poll_interval_ms, peer_id))
        events.record(tx, caller, "peer", [peer_id])
        tx.after("peer", peer_id)
        tx.after("wake", peer_id)
    return {"ok": True, "peer_id": peer_id, "poll_interval_ms": poll_interval_ms}


def budget(tx: Tx, caller: Caller, *, peer_id: str, token_budget: int | None, tokens_used: int | None, **_: object) -> dict[str, Any]:
    """Set a peer's budget of tokens (-1: none) and what it has used."""
    row = known(tx, peer_id)
    limit = row["token_budget"] if token_budget is None else (None if token_budget < 0 else token_budget)
    used = row["tokens_used"] if tokens_used is None else tokens_used
    tx.run("UPDATE peers SET token_budget = ?, tokens_used = ? WHERE id = ?", (limit, used, peer_id))
    events.record(tx, caller, "peer", [peer_id])
    tx.after("wake", peer_id)
    return {
        "ok": True,
        "peer_id": peer_id,
        "token_budget": limit,
        "tokens_used": used,
        "budget_exceeded": limit is not None and used >= limit,
    }


def count_rejection(tx: Tx, caller: Caller, reason: str, what: str, recent: int) -> None:
    """A refusal that counts (429, 422), the `recent`th within the hour. The twentieth pauses the peer."""
    row = known(tx, caller.id)
    tx.run(
        "UPDATE peers SET rejections_count = ?, last_rejection_at = ?, last_stop_reason = ? WHERE id = ?",
        (recent, tx.at, reason, caller.id),
    )
    events.note(tx, caller, "rejected", [caller.id], reason=reason, detail=what[:300], count=recent)
    if recent >= AUTO_PAUSE and not row["paused"]:
        _set_paused(tx, BROKER, [caller.id], PAUSED_BY_RULE, workspace=caller.workspace)


def _set_paused(tx: Tx, caller: Caller, ids: list[str], by: str, workspace: str | None = None) -> None:
    for peer_id in ids:
        tx.run(
            "UPDATE peers SET paused = ?, paused_by = ?, rejections_count = CASE WHEN ? THEN rejections_count ELSE 0 END WHERE id = ?",
            (int(bool(by)), by, int(bool(by)), peer_id),
        )
        tx.after("peer", peer_id)
        tx.after("wake", peer_id)
        if not by:
            tx.after("forgiven", peer_id)
    if ids:
        events.record(tx, caller, "peer", ids, workspace=workspace)


# -- looking --------------------------------------------------------------------------------------------


def list_active(tx: Tx, *, workspace: str | None, scope: str, working_dir: str, git_root: str) -> list[dict[str, Any]]:
    """Active peers in v4's shape. same_dir: the same working directory; same_repo: below git_root."""
    rows = tx.all(
        f"SELECT {_LISTED} FROM peers WHERE status = 'active' AND role <> 'system' AND (? IS NULL OR workspace = ?) ORDER BY id",
        (workspace, workspace),
    )
    found = [shown(row) for row in rows]
    if scope == "same_dir":
        return [peer for peer in found if peer["working_dir"] == working_dir]
    if scope == "same_repo" and git_root:
        root = git_root.rstrip("/\\")
        below = (root + "/", root + "\\") if root else (git_root,)  # all signs of one kind: the root of a system, and not of the other
        return [peer for peer in found if peer["working_dir"] and (peer["working_dir"] == root or peer["working_dir"].startswith(below))]
    return found


def get(tx: Tx, peer_id: str) -> dict[str, Any]:
    peer = dict(known(tx, peer_id))
    for private in ("resume_hash", "process", "epoch"):
        del peer[private]
    return {**peer, **shown(peer), "named": bool(peer["named"])}


def shown(row: Any) -> dict[str, Any]:
    """A row with its JSON and flags as JSON programs expect them."""
    peer = dict(row)
    peer["paused"] = bool(peer["paused"])
    files = json.loads(peer["git_dirty_files"])
    peer["git_dirty_files"] = ",".join(files)  # as v4
    peer["ways"] = ways_of(row)
    peer["dirty_files"] = files
    return peer


def ways_of(row: Any) -> list[str]:
    """How mail can reach the peer of this row, best first."""
    return [way for way in row["ways"].split(",") if way]


def live(tx: Tx, peer_id: str) -> Any:
    """The row of a peer that is active or away. NotFound for any other."""
    row = tx.one("SELECT * FROM peers WHERE id = ? AND status IN ('active', 'away')", (peer_id,))
    if row is None:
        raise NotFound(f"peer '{peer_id}' not found", hint=NOT_HERE)
    return row


def find(tx: Tx, peer_id: str) -> Any | None:
    """The row of a peer that is not forgotten, or None."""
    return tx.one("SELECT * FROM peers WHERE id = ? AND status <> 'gone'", (peer_id,))


def cards(tx: Tx) -> list[Any]:
    """What the broker keeps in memory of every peer that is not gone."""
    return tx.all(f"SELECT {_CARD} FROM peers WHERE status <> 'gone'")


def card(tx: Tx, peer_id: str) -> Any | None:
    return tx.one(f"SELECT {_CARD} FROM peers WHERE id = ? AND status <> 'gone'", (peer_id,))


def over_budget(tx: Tx, peer_id: str) -> Forbidden | None:
    row = tx.one("SELECT token_budget, tokens_used FROM peers WHERE id = ? AND tokens_used >= token_budget", (peer_id,))
    if row is None:
        return None
    return Forbidden(
        f"budget exceeded ({row['tokens_used']}/{row['token_budget']} tokens). Ask the architect or the person for more",
        code="budget_exceeded",
    )


def known(tx: Tx, peer_id: str) -> Any:
    row = find(tx, peer_id)
    if row is None:
        raise NotFound(f"peer '{peer_id}' not found", hint=NOT_HERE)
    return row


def _of_workspace(tx: Tx, caller: Caller, *, paused: int) -> list[str]:
    """The active peers that the caller leads: the person everybody (or those of the workspace it named), an architect those of its own."""
    rows = tx.all(
        "SELECT id FROM peers WHERE status = 'active' AND role <> 'system' AND paused = ? AND (? OR workspace = ?) ORDER BY id",
        (paused, int(caller.is_everywhere), caller.workspace),
    )
    return [row["id"] for row in rows]


_OF_HOOKS = frozenset(("hook", "rewake"))  # known from hooks that ran; the session's server does not see them


def _in_order(ways: list[str]) -> str:
    return ",".join(way for way in REACHED_BY if way in ways)


def _set_git(tx: Tx, peer_id: str, branch: str, files: list[str], more: int, commit: str) -> None:
    tx.run(
        "UPDATE peers SET git_branch = ?, git_dirty_files = ?, git_more = ?, git_last_commit = ? WHERE id = ?",
        (branch, json.dumps(files), more, commit, peer_id),
    )


def _warn_of_conflicts(tx: Tx, caller: Caller, files: set[str], before: set[str]) -> None:
    """A file that has become dirty for two sessions: logged for each pair once, and seen on the page."""
    me = known(tx, caller.id)
    for row in tx.all(
        "SELECT id, git_dirty_files FROM peers WHERE status = 'active' AND id <> ? AND workspace = ? AND git_dirty_files <> '[]'",
        (caller.id, me["workspace"]),
    ):
        both = sorted((files - before) & set(json.loads(row["git_dirty_files"])))
        if both:
            events.note(tx, caller, "conflict_warning", sorted((caller.id, row["id"])), files=both[:50])


def _owns(shown: str, row: Any) -> bool:
    """Is what was shown the resume secret of this peer?"""
    return bool(shown) and hmac.compare_digest(_hash(shown).encode(), row["resume_hash"].encode())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
