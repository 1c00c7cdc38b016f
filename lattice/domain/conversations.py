"""Conversations: turns that a session chose to record, for itself and for who leads."""

from __future__ import annotations

from typing import Any

from lattice.domain import events, peers
from lattice.domain.caller import Caller
from lattice.domain.hiding import Texts
from lattice.errors import Forbidden
from lattice.store.database import Tx

TEXTS = Texts("conversations", ("id",), ("content",))
KEEP_S = 7 * 86400.0


def add(tx: Tx, caller: Caller, *, turn_type: str, content: str, **_: object) -> dict[str, Any]:
    turn_id = tx.insert(
        "INSERT INTO conversations (peer_id, turn_type, content, timestamp) VALUES (?, ?, ?, ?)", (caller.id, turn_type, content, tx.at)
    )
    events.record(tx, caller, "conversation", [turn_id])
    return {"ok": True}


def get(tx: Tx, caller: Caller, *, peer_id: str | None, last: int, **_: object) -> dict[str, Any]:
    """{peer_id, conversation}: the last turns in the order they came. One's own; others' for the architect and the person."""
    whose = peer_id or caller.id
    if whose != caller.id and not caller.is_person:
        row = peers.find(tx, whose)
        if caller.role != "architect" or row is None or row["workspace"] != caller.workspace:
            raise Forbidden("can only view your own conversation (or be architect)")
    rows = tx.all(
        "SELECT id, peer_id, turn_type, content, timestamp FROM conversations WHERE peer_id = ? ORDER BY id DESC LIMIT ?", (whose, last)
    )
    return {"peer_id": whose, "conversation": [dict(row) for row in reversed(rows)]}


def forget_old(tx: Tx, caller: Caller, before: float, limit: int = 500) -> int:
    """Delete turns from before that time, a few at a time."""
    ids = [row["id"] for row in tx.all("SELECT id FROM conversations WHERE timestamp < ? ORDER BY id LIMIT ?", (before, limit))]
    forget(tx, caller, ids)
    return len(ids)


def forget_peer(tx: Tx, caller: Caller, peer_id: str) -> None:
    forget(tx, caller, [row["id"] for row in tx.all("SELECT id FROM conversations WHERE peer_id = ?", (peer_id,))])


def forget(tx: Tx, caller: Caller, ids: list[int]) -> None:
    for turn_id in ids:
        tx.run("DELETE FROM conversations WHERE id = ?", (turn_id,))
    if ids:
        events.record(tx, caller, "conversation", ids)
