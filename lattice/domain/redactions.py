"""Redactions: what should never have been written down is taken out again, by the person alone.

A text wherever it stands, or all that one thing says. It goes from the tables, from kept answers and from the
log: an event that held it keeps its place in the chain, which verifies, and says that it is redacted. What was
changed is recorded anew, with a note by whom and when. What left the broker before (a model's context, a copy in
`backups/`) is out of its reach.
"""

from __future__ import annotations

import time
from typing import Any

from lattice.domain import conversations, escalations, events, idempotency, locks, memory, messages, peers, runs, tasks
from lattice.domain.caller import Caller
from lattice.domain.hiding import Hidden, Key, Texts, hide
from lattice.errors import BadRequest, NotFound
from lattice.store.database import Tx

SHORTEST = 4  # a shorter text stands in too many others
NOTED = 100

# kind of thing -> where its texts are; older versions beside the newest.
PLACES: dict[str, tuple[Texts, ...]] = {
    "peer": (peers.TEXTS,),
    "run": (runs.TEXTS,),
    "message": (messages.TEXTS,),
    "delivery": (messages.DELIVERY_TEXTS,),
    "receipt": (messages.PROOF_TEXTS,),
    "escalation": (escalations.TEXTS,),
    "task": (tasks.TEXTS,),
    "lock": (locks.TEXTS,),
    "lock_queue": (locks.WAITING_TEXTS,),
    "memory": (memory.TEXTS, memory.OLDER_TEXTS),
    "conversation": (conversations.TEXTS,),
}

# What things are called by. It stays: to call them otherwise is for whoever named them.
NAMES = (
    ("events", "subject"), ("lock_queue", "file_path"), ("locks", "file_path"), ("lost_locks", "file_path"), ("lost_locks", "reason"),
    ("memory", "key"), ("memory", "supersedes"), ("memory_history", "key"), ("memory_history", "supersedes"),
    ("peers", "git_branch"), ("peers", "git_dirty_files"), ("peers", "id"),
    ("peers", "working_dir"), ("runs", "id"), ("seats", "workspace"), ("workspaces", "name"),
)  # fmt: skip


def redact(tx: Tx, caller: Caller, *, what: str, which: str, workspace: str | None, dry_run: bool) -> dict[str, Any]:
    """{ok, redacted: {kind: how many}, events: how many, left_in: names with the text in them}. NotFound when there is nothing of that."""
    if what == "text" and len(which) < SHORTEST:
        raise BadRequest(f"a text to redact has at least {SHORTEST} characters", hint="name the thing instead: memory KEY, message ID, …")
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(tx.at))
    hidden = Hidden(which if what == "text" else "", f"[redacted by {caller.id}, {when} UTC]")
    changed: dict[str, list[Key]] = {}
    for kind, only in _meant(tx, what, which, workspace):
        width = len(PLACES[kind][0].key)
        for texts in PLACES[kind]:
            keys = hide(tx, texts, hidden, only, dry_run=dry_run)
            changed.setdefault(kind, []).extend(key[:width] if isinstance(key, tuple) else key for key in keys)
    changed = {kind: list(dict.fromkeys(keys)) for kind, keys in changed.items() if keys}
    of_log = events.holding(tx, changed, hidden.spellings() if hidden.text else [])
    left_in = _names_with(tx, which) if hidden.text else []
    if not changed and not of_log and not left_in:
        raise NotFound(f"{what} {which if what != 'text' else ''}".rstrip() + " is nowhere here", hint="c2-lattice search finds it")
    counts = {kind: len(keys) for kind, keys in changed.items()}
    if not dry_run:
        messages.forget_gists(tx, changed.get("message", []))
        idempotency.forget_answers(tx, hidden.spellings() if hidden.text else sorted(hidden.removed))
        events.redact(tx, caller, of_log)
        for kind, keys in changed.items():
            if kind in events.FOLDED:
                events.record(tx, caller, kind, keys)
        things = [[kind, key] for kind, keys in changed.items() for key in keys][:NOTED]
        events.note(tx, caller, "redacted", [], of=what, things=things, counts=counts, events=len(of_log))
        for peer_id in changed.get("peer", []):
            tx.after("peer", str(peer_id))
    return {"ok": True, "redacted": counts, "events": len(of_log), "left_in": left_in}


def _names_with(tx: Tx, text: str) -> list[str]:
    """`table.column` of names that hold the text."""
    # Both come from the table above.
    return [
        f"{table}.{column}"
        for table, column in NAMES
        if tx.one(f"SELECT 1 FROM {table} WHERE INSTR({column}, ?) LIMIT 1", (text,)) is not None
    ]


def _meant(tx: Tx, what: str, which: str, workspace: str | None) -> list[tuple[str, Key | None]]:
    """(kind, key) of what is meant; key None: every row that holds the text."""
    if what == "text":
        return [(kind, None) for kind in PLACES]
    if what == "memory":
        return [("memory", (one, which)) for one in memory.where(tx, which, workspace)]
    if what == "run":
        return [("run", which)]
    if not (which.isascii() and which.isdigit() and len(which) < 16):
        return []
    number = int(which)
    found: list[tuple[str, Key | None]] = [(what, number)]
    # A call for help is a row and the mail that carries it: one text in two places, and the answer in a third.
    if what == "message":
        found += [("escalation", one) for one in [escalations.of_message(tx, number)] if one is not None]
    if what == "escalation":
        found += [("message", one) for one in messages.of_escalation(tx, number)]
    return found
