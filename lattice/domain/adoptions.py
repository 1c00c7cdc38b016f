"""Adoptions: a session goes on with what a departed one left: its mail, its tasks, its locks, its open questions.

Every grant gets a new token, so the departed one, should it come back, is refused. A peer that still
beats is not adopted; one that was killed is only by who leads.
"""

from __future__ import annotations

from typing import Any

from lattice.domain import escalations, events, locks, messages, peers, tasks
from lattice.domain.caller import Caller
from lattice.errors import BadRequest, Conflict, Forbidden, NotFound
from lattice.store.database import Tx


def adopt(tx: Tx, caller: Caller, *, peer_id: str, **_: object) -> dict[str, Any]:
    """Take over: {ok, peer_id, tasks, locks, messages}. Conflict while it is active."""
    if peer_id == caller.id:
        raise BadRequest("that is you")
    row = peers.find(tx, peer_id)
    if row is None or (row["workspace"] != caller.workspace and not caller.is_person):
        raise NotFound(
            f"peer '{peer_id}' not found in your workspace", hint="list_peers shows who is here; get_task names a task's last owner"
        )
    if row["status"] == "active":
        raise Conflict(
            f"'{peer_id}' is active; only a departed peer is adopted", holder=peer_id, hint=f"ask {peer_id}, or let the person end it first"
        )
    if row["status"] == "killed" and not caller.leads:
        raise Forbidden(f"'{peer_id}' was ended by {row['ended_by']}; the architect or the person may adopt its work")
    moved = messages.move_mail(tx, caller, peer_id, caller.id)
    found = tasks.take_over(tx, caller, peer_id)
    paths = locks.take_over(tx, caller, peer_id)
    escalations.hand_over(tx, caller, peer_id)
    peers.vacate(tx, caller, peer_id)  # the seat is not adopted: the person seats
    if row["status"] != "killed":
        peers.end(tx, caller, peer_id, "dead", reason=f"adopted by {caller.id}")
    peers.end_tokens(tx, caller, peer_id)
    events.note(tx, caller, "adopted", [peer_id], tasks=found, locks=paths, messages=moved)
    return {"ok": True, "peer_id": peer_id, "tasks": found, "locks": paths, "messages": moved}


def come_back(tx: Tx, caller: Caller) -> dict[str, Any]:
    """A new process of a known id: what it still holds gets new tokens, what it lost and nobody took since is its own again.

    Answers {tasks, locks}: what it has again.
    """
    tasks.renew_tokens(tx, caller, caller.id)
    locks.renew_tokens(tx, caller, caller.id)
    messages.raise_dead(tx, caller, caller.id)
    found = tasks.take_over_own(tx, caller)
    return {"tasks": found, "locks": locks.take_back(tx, caller)}
