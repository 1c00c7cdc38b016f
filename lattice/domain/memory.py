"""Memory: what the sessions of a workspace want each other to know.

A value is never overwritten without a history row; versions grow by one; a write that names an old
version is refused with the newer value.
"""

from __future__ import annotations

from typing import Any

from lattice.domain import events
from lattice.domain.caller import Caller
from lattice.domain.hiding import Texts
from lattice.errors import BadRequest, Conflict, NotFound
from lattice.store.database import Tx

TEXTS = Texts("memory", ("workspace", "key"), ("value",))
OLDER_TEXTS = Texts("memory_history", ("workspace", "key", "version"), ("value",))
KEPT_VERSIONS = 10  # older ones of a key, however old
_SHOWN = "key, value, peer_id, updated_at, type, version, confidence"


def put(tx: Tx, caller: Caller, *, key: str, value: str, type: str, confidence: str, supersedes: str | None = None,
        expect_version: int | None = None, **_: object) -> dict[str, Any]:  # fmt: skip
    """Remember a value: {ok, version}. With expect_version (0: must be new) refused when another came first."""
    key = key.strip()
    if any(ord(sign) < 32 for sign in key):
        raise BadRequest("key contains a control character")
    old = tx.one("SELECT * FROM memory WHERE workspace = ? AND key = ?", (caller.workspace, key))
    version = old["version"] if old is not None else 0
    if expect_version is not None and expect_version != version:
        raise Conflict(
            f"'{key}' is at version {version}, not {expect_version}" + (f"; {old['peer_id']} wrote it" if old is not None else ""),
            code="version_conflict", version=version, value=old["value"] if old is not None else None,
            hint=f"read the newer value, merge, and write with expect_version {version}",
        )  # fmt: skip
    if old is not None:
        tx.run(
            "INSERT INTO memory_history (workspace, key, version, value, type, confidence, supersedes, peer_id, updated_at)"
            " SELECT workspace, key, version, value, type, confidence, supersedes, peer_id, updated_at"
            " FROM memory WHERE workspace = ? AND key = ?",
            (caller.workspace, key),
        )
    run = tx.one(
        "SELECT run_id FROM tasks WHERE assigned_to = ? AND status = 'in_progress' AND run_id IS NOT NULL ORDER BY token DESC LIMIT 1",
        (caller.id,),
    )
    tx.run(
        "INSERT INTO memory (workspace, key, value, type, confidence, version, supersedes, peer_id, run_id, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, key) DO UPDATE SET value = excluded.value, type = excluded.type,"
        " confidence = excluded.confidence, version = excluded.version, supersedes = excluded.supersedes, peer_id = excluded.peer_id,"
        " run_id = excluded.run_id, updated_at = excluded.updated_at",
        (caller.workspace, key, value, type, confidence, version + 1, supersedes, caller.id, run["run_id"] if run else None, tx.at),
    )
    events.record(tx, caller, "memory", [(caller.workspace, key)], run_id=run["run_id"] if run else None)
    return {"ok": True, "key": key, "version": version + 1}


def get(tx: Tx, *, workspace: str | None, key: str) -> dict[str, Any]:
    """One value with all that is known of it. `workspace` None: wherever it was written last."""
    there, values = _in(workspace)
    row = tx.one(
        f"SELECT {_SHOWN}, supersedes, workspace, run_id FROM memory WHERE {there} AND key = ? ORDER BY updated_at DESC LIMIT 1",
        (*values, key),
    )
    if row is None:
        raise NotFound(f"key '{key}' not found", hint="get_memory without a key lists all")
    return dict(row)


def list_some(tx: Tx, *, workspace: str | None, type: str | None, limit: int) -> dict[str, Any]:
    there, values = _in(workspace)
    rows = tx.all(
        f"SELECT {_SHOWN} FROM memory WHERE {there} AND (? IS NULL OR type = ?) ORDER BY updated_at DESC, key LIMIT ?",
        (*values, type, type, limit),
    )
    return {"memory": [dict(row) for row in rows]}


def history(tx: Tx, *, workspace: str | None, key: str) -> dict[str, Any]:
    """{history}: the value now, then up to 50 older ones, newest first. An unknown key has none."""
    there, values = _in(workspace)
    now = tx.all(f"SELECT {_SHOWN} FROM memory WHERE {there} AND key = ? ORDER BY version DESC", (*values, key))
    older = tx.all(f"SELECT {_SHOWN} FROM memory_history WHERE {there} AND key = ? ORDER BY version DESC LIMIT 50", (*values, key))
    return {"history": [dict(row) for row in (*now, *older)]}


def where(tx: Tx, key: str, workspace: str | None) -> list[str]:
    """The workspaces in which this key is remembered: the one named, or all."""
    there, values = _in(workspace)
    rows = tx.all(f"SELECT workspace FROM memory WHERE {there} AND key = ? ORDER BY workspace", (*values, key))
    return [row["workspace"] for row in rows]


def forget_older(tx: Tx, caller: Caller, keys: list[tuple[str, str, int]]) -> None:
    """Delete these older values; see `forgetting`. The log holds the newest of each key only, and so is told how many."""
    for key in keys:
        tx.run("DELETE FROM memory_history WHERE workspace = ? AND key = ? AND version = ?", key)
    events.note(tx, caller, "forgot", [], older_values=len(keys))


def _in(workspace: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition, and its values. (With `? IS NULL OR` in it no index would find the key, and all that is remembered would be read.)"""
    return ("TRUE", ()) if workspace is None else ("workspace = ?", (workspace,))
