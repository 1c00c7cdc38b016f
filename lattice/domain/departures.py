"""Departures: the only place where a peer's holdings are let go. The sweep, kill and unregister all call it.

Idempotent, and says what it released.
"""

from __future__ import annotations

from typing import Any

from lattice.domain import conversations, events, locks, messages, peers, tasks
from lattice.domain.caller import BROKER, Caller
from lattice.errors import Forbidden
from lattice.names import PERSON
from lattice.store.database import Tx

FORGET_UNNAMED_S = 3600.0


def let_go(tx: Tx, caller: Caller, peer_id: str, reason: str, *, may_be_frozen: bool = False) -> dict[str, Any]:
    """Free what a peer held: tasks pending again, locks free (or closed, see `locks`), the seat empty, its offers back in its mailbox.

    Answers {tasks: ids, locks: paths, seats: workspaces, offers: how many}.
    """
    released = {
        "tasks": tasks.let_go(tx, caller, peer_id, reason),
        "locks": locks.let_go(tx, caller, peer_id, may_be_frozen=may_be_frozen, reason=reason),
        "seats": peers.vacate(tx, caller, peer_id),
        "offers": messages.return_offers(tx, caller, peer_id, reason),
    }
    if any(released.values()):
        events.note(tx, caller, "departed", [peer_id], reason=reason, released=released)
    return released


def lost(tx: Tx, peer_id: str, *, may_be_frozen: bool) -> dict[str, Any]:
    """A peer that stopped beating: dead, its holdings free.

    Its architect (or the creators of its tasks) hear of tasks that are open again.
    """
    row = peers.find(tx, peer_id)
    if row is None or row["status"] not in ("active", "away"):
        return {}
    clean = row["status"] == "away"
    released = let_go(tx, BROKER, peer_id, "its lease ran out" if clean else "heartbeat timeout", may_be_frozen=may_be_frozen and not clean)
    if not clean:
        peers.end(tx, BROKER, peer_id, "dead", reason="heartbeat_timeout")
    if released["tasks"]:
        holder = peers.seat_holder(tx, row["workspace"])
        open_again: dict[str, list[int]] = {}
        for task_id in released["tasks"]:
            open_again.setdefault(holder or tasks.maker(tx, task_id), []).append(task_id)
        for one, task_ids in open_again.items():
            if one != peer_id:
                messages.tell(tx, one, "alert", f"{peer_id} is gone; open again: " + ", ".join(f"#{task_id}" for task_id in task_ids))
    return released


def leave(tx: Tx, caller: Caller, *, forget: bool, process: str | None = None, **_: object) -> dict[str, Any]:
    """A process ends cleanly: away at once, leases to the end of their term. `forget`: it was asked for nothing and leaves no trace."""
    if caller.id == PERSON:
        return {"ok": True, "status": "active"}  # the person is no process
    row = peers.find(tx, caller.id)
    if row is None or (process and row["process"] and process != row["process"]):
        return {"ok": True, "status": "taken over"}  # a newer process owns the id: this one's end is none of its business
    if forget and (not row["named"] or not messages.has_any(tx, caller.id)):
        _forget(tx, caller, caller.id, "left without having been asked for anything")
        return {"ok": True, "status": "gone"}
    messages.return_offers(tx, caller, caller.id, "its process ended")
    peers.end(tx, caller, caller.id, "away", reason="left")
    return {"ok": True, "status": "away"}


def kill(tx: Tx, caller: Caller, *, peer_id: str, **_: object) -> dict[str, Any]:
    """End a peer: {ok, peer_id, locks_released, tasks_unassigned}. Its tokens die; its id may not enrol until resumed."""
    row = _endable(tx, caller, peer_id)
    released = let_go(tx, caller, peer_id, f"ended by {caller.id}")
    if row["status"] != "killed":
        messages.store(
            tx, caller, address=peer_id, category="alert",
            content="[KILL] Terminated by command center." if caller.is_person else f"[KILL] Terminated by {caller.id}.",
            recipients=[peer_id], workspace=row["workspace"],
        )  # fmt: skip
    peers.end(tx, caller, peer_id, "killed", by=caller.id, reason="killed")
    tx.after("wake", peer_id)
    return {"ok": True, "peer_id": peer_id, "locks_released": len(released["locks"]), "tasks_unassigned": len(released["tasks"])}


def unregister(tx: Tx, caller: Caller, *, peer_id: str, **_: object) -> dict[str, Any]:
    """Forget a peer: holdings free, mail dead (senders hear of it), its id for anybody."""
    _endable(tx, caller, peer_id)
    _forget(tx, caller, peer_id, f"unregistered by {caller.id}")
    return {"ok": True, "peer_id": peer_id}


def forget_unnamed(tx: Tx, before: float) -> list[str]:
    """Unnamed peers that are away or dead since before that time are gone."""
    rows = tx.all(
        "SELECT id FROM peers WHERE NOT named AND status IN ('away', 'dead') AND ended_at < ? ORDER BY id LIMIT 100",
        (before,),
    )
    for row in rows:
        _forget(tx, BROKER, row["id"], "away for an hour")
    return [row["id"] for row in rows]


def _forget(tx: Tx, caller: Caller, peer_id: str, reason: str) -> None:
    let_go(tx, caller, peer_id, reason)
    locks.forget_peer(tx, peer_id)
    messages.bury_mail(tx, caller, peer_id, reason)
    conversations.forget_peer(tx, caller, peer_id)
    peers.end(tx, caller, peer_id, "gone", reason="unregistered")
    tx.after("wake", peer_id)


def _endable(tx: Tx, caller: Caller, peer_id: str) -> Any:
    row = peers.known(tx, peer_id)
    if peer_id == PERSON:
        raise Forbidden("the person is not ended")
    if not caller.is_person and row["workspace"] != caller.workspace:
        raise Forbidden(f"peer '{peer_id}' is of another workspace; its architect or the person ends it")
    return row
