"""Restoring: what a database that takes another one's place has to know of it.

Numbers that were handed out are not handed out again: fencing tokens, and the ids of messages and tasks. Where those of
the other database cannot be read, the numbers leap. And the log says what happened.
"""

from __future__ import annotations

import sqlite3

from lattice.domain import events, peers
from lattice.domain.caller import Caller
from lattice.store.database import Tx
from lattice.store.still import still

_TOKEN = "token"
_LEAP = 10_000  # more than an hour of messages at any rate that people work at
_TOKEN_LEAP = 1_000_000


def numbers(path: str) -> dict[str, int]:
    """The highest token, and the highest id of each table that numbers its rows; {} when they cannot be read."""
    try:
        with still(path) as connection:
            found = dict(connection.execute("SELECT name, seq FROM sqlite_sequence WHERE name <> 'events'").fetchall())
            found |= dict(connection.execute("SELECT name, value FROM counters WHERE name = ?", (_TOKEN,)).fetchall())
    except (sqlite3.Error, OSError):
        return {}
    return {str(name): number for name, number in found.items() if isinstance(number, int)}


def take_place(tx: Tx, caller: Caller, other: dict[str, int] | None, **said: object) -> None:
    """Number on from `other` ({}: unknown; None: there was none), and note it. `said` goes into the log."""
    if other is not None:
        token = tx.one("SELECT value FROM counters WHERE name = ?", (_TOKEN,))
        reached = token["value"] if token else 0
        peers.skip_tokens(tx, max(reached, other.get(_TOKEN, 0)) if other else reached + _TOKEN_LEAP)
        counted = {row["name"]: row["seq"] for row in tx.all("SELECT name, seq FROM sqlite_sequence")}
        for row in tx.all("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' AND name <> 'events'"):
            name = row["name"]
            reached = max(counted.get(name, 0), other.get(name, 0)) if other else counted.get(name, 0) + _LEAP
            if not tx.run("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (reached, name)):
                tx.insert("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, reached))
    events.note(tx, caller, "restored", [], **said)
