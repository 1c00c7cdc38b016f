"""Idempotency: a write that carries a key is done once; a repeat gets the first answer (design D19).

Kept for a day, for each caller apart.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lattice.errors import Conflict
from lattice.store.database import Tx

KEEP_S = 86400.0


def answered(tx: Tx, caller_id: str, key: str, op: str, values: dict[str, Any]) -> dict[str, Any] | None:
    """The answer this key got before, or None. Conflict when the key was used for another call."""
    row = tx.one("SELECT op, digest, answer FROM idempotency WHERE caller = ? AND key = ?", (caller_id, key))
    if row is None:
        return None
    if row["op"] != op or row["digest"] != _digest(values):
        raise Conflict(
            f"idempotency_key '{key}' was used for another call ({row['op']})", code="key_reused", hint="use a fresh key for each new call"
        )
    answer: dict[str, Any] = json.loads(row["answer"])
    return {**answer, "repeated": True}


def remember(tx: Tx, caller_id: str, key: str, op: str, values: dict[str, Any], answer: dict[str, Any]) -> None:
    tx.run(
        "INSERT INTO idempotency (caller, key, op, digest, answer, at) VALUES (?, ?, ?, ?, ?, ?)",
        (caller_id, key, op, _digest(values), json.dumps(answer, ensure_ascii=False), tx.at),
    )


def amend(tx: Tx, caller_id: str, key: str, answer: dict[str, Any] | None) -> None:
    """What a repeat is answered from now on; None: nothing was done, the key is free again."""
    if answer is None:
        tx.run("DELETE FROM idempotency WHERE caller = ? AND key = ?", (caller_id, key))
    else:
        tx.run("UPDATE idempotency SET answer = ? WHERE caller = ? AND key = ?", (json.dumps(answer, ensure_ascii=False), caller_id, key))


def forget_old(tx: Tx, before: float) -> int:
    return tx.run("DELETE FROM idempotency WHERE at < ?", (before,))


def forget_answers(tx: Tx, texts: list[str]) -> None:
    """Kept answers with any of these texts in them: a repeat of such a call is a new call."""
    for text in texts:
        said = json.dumps(text, ensure_ascii=False)[1:-1]
        tx.run("DELETE FROM idempotency WHERE INSTR(answer, ?) OR INSTR(answer, ?)", (text, said))


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
