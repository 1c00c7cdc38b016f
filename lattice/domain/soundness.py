"""Soundness: is this database what it says it is?

Looked at one after the other, and the first damage is said:
structure   SQLite's own check of trees, indexes and constraints, and that no row points to nothing
chain       every event of the log is as it was hashed, and none is missing
fold        every folded column of the tables is what the log says it became last, an older value of a memory what it said then

Nothing is changed. The log and the tables are read row by row; what stays in memory is two short texts for each thing.
A sound database may still be an older one (its -wal file taken away), and a forger who is the same user can make it sound.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from lattice.domain import events
from lattice.domain.events import FOLDED, REDACTED, Fold
from lattice.store import migrate
from lattice.store.database import Tx
from lattice.store.still import still

_UNKNOWN = b""  # what a redacted event said
_DIGEST_BYTES = 16  # of a thing's data; what differs is read again in full


def verify(tx: Tx) -> dict[str, Any]:
    """{ok, message, events, things, redacted, first_damaged, newest_hash, damage}.

    `damage`: {part, why}, of the chain also `seq`; of the fold also kind, subject, columns, log and table (what each
    says; null: that there is no such thing) and `things`, how many differ.
    """
    said: dict[str, Any] = {"events": 0, "things": 0, "redacted": 0, "first_damaged": None}
    structure = _structure(tx)
    if structure:
        return _damaged(said, f"its structure is damaged: {structure}", part="structure", why=structure)
    last = _Last()
    said |= events.verify(tx, last.take)
    if not said["ok"]:
        seq = said["first_damaged"]
        why = "it is not as it was written, or one before it is missing" if _is_there(tx, seq) else "it and those after it are missing"
        return _damaged(said, f"the log is damaged at event {seq}: {why}", part="chain", why=why, seq=seq)
    first, differing, said["things"] = _differing(tx, last)
    if first is not None:
        return _damaged(said, *_told(tx, *first, differing))
    older = _differing_older(tx, last)
    if older:
        subject, version = older[0]
        why = f"version {version} in its history is not what the log said of it"
        return _damaged(said, f"memory {events.canonical(subject)}: {why}", part="fold", why=why, kind="memory", subject=subject,
                        seq=None, columns=[], log=None, table=None, things=len(older))  # fmt: skip
    return {**said, "damage": None, "message": f"sound: {said['events']:,} events; all {said['things']:,} things are as the log says"}


def of_file(path: str) -> dict[str, Any]:
    """`verify` for a file that no broker has open; it is only read, whatever its schema. CannotOpen when it cannot be judged."""
    if not migrate.check_file(path, ""):
        return _damaged({"events": 0, "things": 0}, "there is nothing in it", part="structure", why="there is nothing in it")
    try:
        with still(path) as connection:
            misshapen = migrate.misshapen(connection)
            connection.row_factory = sqlite3.Row
            said = verify(Tx(connection, 0.0))
            return _damaged(said, misshapen, part="structure", why=misshapen) if said["ok"] and misshapen else said
    except sqlite3.DatabaseError as error:
        return _damaged({"events": 0, "things": 0}, f"it cannot be read: {error}", part="structure", why=str(error))


def from_afar(said: dict[str, Any]) -> dict[str, Any]:
    """The same for who may not see every thing: what differs is not shown."""
    damage = said["damage"]
    if not damage or damage["part"] != "fold":
        return said
    why = f"a {damage['kind']} is not what the log says"
    return _damaged(said, why, {**{name: damage[name] for name in ("part", "kind", "things")}, "why": why})


class _Last:
    """What the log says of each thing last: by kind, the digest of its data by its subject."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, bytes]] = {kind: {} for kind in FOLDED}
        self.older: dict[tuple[str, int], bytes] = {}  # of each version of a memory, by its key
        self.has_all = True  # else the log begins with a snapshot of which something was redacted
        self._first: int | None = None  # the first event of the log
        self._is_whole = True  # nothing of the snapshot under way was redacted

    def take(self, row: Mapping[str, Any]) -> None:
        kind, data = row["kind"], row["data"]
        if kind == "snapshot":
            self._begin(data, row["seq"], json.loads(row["subject"]))
        if self._first is None:
            self._first = row["seq"]
        if kind not in FOLDED:
            return
        things, text = self.things[kind], row["subject"]
        subjects = json.loads(text)
        keys = [text[1:-1]] if len(subjects) == 1 else [events.canonical(subject) for subject in subjects]
        if data == "null":
            for key in keys:
                things.pop(key, None)
        else:
            said = _UNKNOWN if data == REDACTED else self._digest(FOLDED[kind], row)
            things.update(dict.fromkeys(keys, said))
            if kind == "memory" and data != REDACTED:
                self.older |= {(key, json.loads(data)["version"]): said for key in keys}

    def _digest(self, fold: Fold, row: Mapping[str, Any]) -> bytes:
        if fold.missing:
            return _digest(events.canonical(events.whole(fold, json.loads(row["data"]))))
        return bytes.fromhex(row["digest"])[:_DIGEST_BYTES]  # which the chain has just compared with the data

    def _begin(self, data: str, seq: int, about: list[Any]) -> None:
        """Go on from a snapshot, or from an event of one; what was redacted says nothing, and nothing that the events before it did not."""
        begin = (about[0] or seq) if about else seq
        self._first = begin if self._first is None else self._first
        if begin == seq:
            self._is_whole = True
        if data == REDACTED:
            self._is_whole = False
            self.has_all = self.has_all and begin != self._first
            return
        snapshot = json.loads(data)
        for kind, fold in FOLDED.items():
            found = {key: _digest(events.canonical(events.whole(fold, one))) for key, one in snapshot.get(kind, {}).items()}
            self.things[kind] = {**self.things[kind], **found} if about else found
        self.has_all = self.has_all or (self._is_whole and len(about) in (0, 2))


def _structure(tx: Tx) -> str:
    """What SQLite finds wrong, in its words; "" when nothing is."""
    found = [str(row[0]) for row in tx.each("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        return " ".join(" ".join(found).split())
    orphan = tx.one("PRAGMA foreign_key_check")
    return f"a row of {orphan[0]} points to nothing in {orphan[2]}" if orphan is not None else ""


def _differing(tx: Tx, last: _Last) -> tuple[tuple[str, str, dict[str, Any] | None] | None, int, int]:
    """The first thing whose row and log differ, as (kind, subject, the row's columns or None); how many do; how many there are."""
    first: tuple[str, str, dict[str, Any] | None] | None = None
    differing = count = 0
    for kind, fold in FOLDED.items():
        known = last.things[kind]
        for key, table in _rows(tx, fold):
            count += 1
            said = known.pop(key, None)
            if said == _UNKNOWN or (said is None and not last.has_all) or said == _digest(_text(table)):
                continue
            differing += 1
            first = first or (kind, key, table)
        differing += len(known)
        if known and first is None:
            first = (kind, min(known), None)
    return first, differing, count


def _differing_older(tx: Tx, last: _Last) -> list[tuple[list[str], int]]:
    """The older values of memories that are not what the log said of them: ([workspace, key], version)."""
    fold = FOLDED["memory"]
    found = []
    for row in tx.each("SELECT * FROM memory_history"):
        key = [row[name] for name in fold.key]
        said = last.older.get((_text(key), row["version"]))
        if said is not None and said != _digest(_text(events.folded(fold, row))):
            found.append((key, row["version"]))
    return found


def _rows(tx: Tx, fold: Fold) -> Iterator[tuple[str, dict[str, Any]]]:
    """(subject, folded columns) of each row. A column that came with a later schema is as older events are read."""
    there = {row["name"] for row in tx.all(f"PRAGMA table_xinfo({fold.table})")}  # names from events.py
    if not there:
        return  # neither has this kind any events then
    columns = [name for name in (*fold.key, *fold.columns, *fold.digests) if name in there]
    for row in tx.each(f"SELECT {', '.join(columns)} FROM {fold.table}"):
        key = [row[name] for name in fold.key]
        yield _text(key if len(key) > 1 else key[0]), events.folded(fold, events.whole(fold, dict(row)))


def _told(tx: Tx, kind: str, key: str, table: dict[str, Any] | None, count: int) -> tuple[str, dict[str, Any]]:
    """The sentence and the damage, for the first thing that differs."""
    seq, log = _log_of(tx, kind, key)
    if table is not None:  # a blob, which only damage puts there, is no JSON
        table = {name: repr(value) if isinstance(value, bytes) else value for name, value in table.items()}
    columns = sorted(name for name in {*(log or {}), *(table or {})} if (log or {}).get(name) != (table or {}).get(name))
    name = f"{kind} {key}"
    if table is None:
        why = "the log has it, its table does not"
    elif log is None:
        why = "its table has it, the log does not"
    else:
        shown = [f"{column} is {_short(table.get(column))} in its table, {_short(log.get(column))} in the log" for column in columns[:3]]
        why = "; ".join(shown)
    sentence = f"{name} is not what the log says: {why}" + (f" (and {count - 1:,} more things differ)" if count > 1 else "")
    damage = {"part": "fold", "why": why, "kind": kind, "subject": json.loads(key), "seq": seq, "columns": columns,
              "log": log, "table": table, "things": count}  # fmt: skip
    return sentence, damage


def _log_of(tx: Tx, kind: str, key: str) -> tuple[int | None, dict[str, Any] | None]:
    """(seq, what it says) of the newest event about the thing."""
    fold = FOLDED[kind]
    for row in tx.each("SELECT seq, kind, subject, data FROM events WHERE kind IN (?, 'snapshot') AND data <> ? ORDER BY seq DESC",
                       (kind, REDACTED)):  # fmt: skip
        data = json.loads(row["data"])
        if row["kind"] == "snapshot":
            data = data.get(kind, {}).get(key)
            if data is None and row["subject"] != "[]":
                continue  # it may be in another of its events, or before
        elif json.loads(key) not in json.loads(row["subject"]):
            continue
        return row["seq"], None if data is None else events.whole(fold, data)
    return None, None


def _damaged(said: dict[str, Any], message: str, damage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {**said, "ok": False, "damage": damage or more, "message": message}


def _is_there(tx: Tx, seq: int) -> bool:
    return tx.one("SELECT 1 FROM events WHERE seq = ?", (seq,)) is not None


def _text(value: object) -> str:
    """Canonical JSON; a blob, which only damage puts there, as a text that equals nothing."""
    try:
        return events.canonical(value)
    except TypeError:
        return repr(value)


def _digest(data: str) -> bytes:
    return hashlib.sha256(data.encode()).digest()[:_DIGEST_BYTES]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
