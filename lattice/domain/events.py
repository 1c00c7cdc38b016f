"""Events: the one log. Every write of the broker appends to it in its own transaction.

An event holds the folded columns of a thing after the write, so the log is the audit trail, the live
feed, the history and the export at once. FOLDED lists those columns for each kind (not liveness,
counters or deadlines; long bodies as a digest), and a test holds fold(events) equal to the tables.
Things that change alike are one event with many subjects.

A snapshot is the state as an event; of much, as several: each holds the next things as they are when it is
written. What changes meanwhile has its own event after the first of them, so folding all in the order of
the log gives the state exactly, from the last of them on.

The chain: hash = SHA-256 over the previous hash and all members but `data`, which enters by its
digest. Redacted data leaves the chain whole. It shows damage; it does not stop a forger who is the
same user.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lattice.domain.caller import Caller
from lattice.store.database import Tx

SNAPSHOT_EVERY = 10_000
SNAPSHOT_THINGS = 500  # in one event: a few milliseconds' work
GENESIS = "0" * 64
REDACTED = '{"redacted":true}'

Subject = str | int | tuple[str | int, ...]
State = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Fold:
    """Which columns of a table the log carries; those in `digests` as their SHA-256."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    digests: tuple[str, ...] = ()
    missing: tuple[tuple[str, Any], ...] = ()  # columns that older events do not carry, as what they then were

    @property
    def select(self) -> str:
        return f"SELECT {', '.join((*self.key, *self.columns, *self.digests))} FROM {self.table}"  # names from this file

    @property
    def by_key(self) -> str:
        return f"{self.select} WHERE {' AND '.join(f'{name} = ?' for name in self.key)}"


FOLDED: dict[str, Fold] = {
    "peer": Fold("peers", ("id",), ("role", "status", "summary", "workspace", "working_dir", "named", "epoch", "paused",
                                    "paused_by", "ended_by", "poll_interval_ms", "token_budget", "registered_at")),
    "seat": Fold("seats", ("workspace",), ("peer", "token")),
    "run": Fold("runs", ("id",), ("name", "goal", "success_criteria", "status", "workspace", "created_by", "created_at")),
    "message": Fold("messages", ("id",), ("sender_id", "on_behalf", "address", "category", "workspace", "run_id", "reply_to",
                                          "hops", "strain", "created_at"), ("content",), missing=(("strain", None),)),
    "delivery": Fold("deliveries", ("recipient", "message_id"), ("state", "way", "reason")),
    "strain": Fold("strains", ("id",), ("state", "workspace", "alert_id")),
    "escalation": Fold("escalations", ("id",), ("kind", "state", "raised_by", "workspace", "task_id", "message_id", "text",
                                                "verdict", "answer", "resolved_by")),
    "task": Fold("tasks", ("id",), ("title", "description", "status", "priority", "created_by", "assigned_to", "reserved_for",
                                    "token", "needs_review", "artifacts", "note", "run_id", "workspace", "created_at")),
    "dependency": Fold("dependencies", ("task_id", "needs_id"), ()),
    "lock": Fold("locks", ("file_path", "peer_id"), ("token", "state", "mode", "reach", "reason", "task_id", "workspace"),
                 missing=(("reach", "file"),)),
    "memory": Fold("memory", ("workspace", "key"), ("type", "confidence", "version", "supersedes", "peer_id"), ("value",)),
    "conversation": Fold("conversations", ("id",), ("peer_id", "turn_type"), ("content",)),
}  # fmt: skip
_BY_KEY = {kind: fold.by_key for kind, fold in FOLDED.items()}


def record(
    tx: Tx, caller: Caller, kind: str, subjects: Iterable[Subject], *, run_id: str | None = None, workspace: str | None = None
) -> None:
    """Append what these things are now (null: gone), things that are alike as one event. Reads the rows itself.

    Unless a workspace is named, an event is of the workspace of its thing; where the thing has none, of the caller's.
    """
    fold, sql = FOLDED[kind], _BY_KEY[kind]
    placed = workspace is None and ("workspace" in fold.key or "workspace" in fold.columns)
    alike: dict[tuple[str, str | None], list[Subject]] = {}
    for subject in subjects:
        row = tx.one(sql, subject if isinstance(subject, tuple) else (subject,))
        data = "null" if row is None else canonical(folded(fold, row))
        alike.setdefault((data, row["workspace"] if placed and row is not None else workspace), []).append(subject)
    for (data, where), same in alike.items():
        append(tx, caller, kind, same, data, run_id=run_id, workspace=where)


def append(tx: Tx, caller: Caller, kind: str, subjects: Sequence[Subject], data: str, *, run_id: str | None = None,
           workspace: str | None = None) -> int:  # fmt: skip
    """One event; `data` is canonical JSON text. Answers its seq."""
    last = tx.one("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
    seq, prev = (last["seq"] + 1, last["hash"]) if last else (1, GENESIS)
    subject = canonical(list(subjects))
    where = caller.workspace if workspace is None else workspace
    digest = hashlib.sha256(data.encode()).hexdigest()
    link = _link(prev, seq, tx.at, caller.actor, tx.op, kind, subject, run_id, where, digest)
    tx.insert(
        "INSERT INTO events (seq, at, actor, op, kind, subject, run_id, workspace, data, digest, prev, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (seq, tx.at, caller.actor, tx.op, kind, subject, run_id, where, data, digest, prev, link),
    )
    tx.after("event")
    return int(seq)


def note(tx: Tx, caller: Caller, what: str, subjects: Sequence[Subject], **said: object) -> None:
    """An event about no table: a refusal that counts, a sign-in, a warning. It folds into nothing."""
    append(tx, caller, "note", subjects, canonical({"what": what, **said}))


def feed(tx: Tx, *, after: int, limit: int, workspace: str | None) -> list[dict[str, Any]]:
    """Events past a cursor, oldest first; of one workspace (and of none), or of all."""
    rows = tx.all(
        "SELECT * FROM events WHERE seq > ? AND (? IS NULL OR workspace IN (?, '')) AND kind <> 'snapshot' ORDER BY seq LIMIT ?",
        (after, workspace, workspace, limit),
    )
    return [_shown(row) for row in rows]


def of_run(tx: Tx, run_id: str, limit: int = 10_000) -> list[dict[str, Any]]:
    """The events of one run, oldest first."""
    return [_shown(row) for row in tx.all("SELECT * FROM events WHERE run_id = ? ORDER BY seq LIMIT ?", (run_id, limit))]


def log(tx: Tx, *, last: int, workspace: str | None) -> list[dict[str, Any]]:
    """v4's audit list, newest first: {id, timestamp, peer_id, action, details (text)}."""
    rows = tx.all(
        "SELECT seq, at, actor, op, kind, subject, data FROM events"
        " WHERE (? IS NULL OR workspace IN (?, '')) AND kind <> 'snapshot' ORDER BY seq DESC LIMIT ?",
        (workspace, workspace, last),
    )
    return [
        {"id": row["seq"], "timestamp": row["at"], "peer_id": row["actor"], "action": what_of(row["kind"], row["data"]) or row["op"],
         "details": f"{row['kind']} {row['subject']} {row['data'] if len(row['data']) <= 500 else '(long)'}"}
        for row in rows
    ]  # fmt: skip


def what_of(kind: str, data: str | None) -> str:
    """What a note is about; "" for an event of another kind, whose operation says it."""
    if kind != "note" or not data:
        return ""
    said = json.loads(data)
    return str(said.get("what", "")) if isinstance(said, dict) else ""


def fold(rows: Iterable[Mapping[str, Any]], state: State | None = None) -> State:
    """The state that these events, in order, lead to: {kind: {subject as JSON: folded columns}}."""
    state = {kind: {} for kind in FOLDED} if state is None else state
    for row in rows:
        data = json.loads(row["data"])
        if row["kind"] == "snapshot":
            if row["data"] == REDACTED:
                continue  # what it held is as the events before it say
            if row["subject"] != "[]":  # one of several
                for kind, fold_ in FOLDED.items():
                    state[kind] |= {key: whole(fold_, one) for key, one in data.get(kind, {}).items()}
                continue
            state = {kind: {key: whole(fold_, one) for key, one in data.get(kind, {}).items()} for kind, fold_ in FOLDED.items()}
            continue
        if row["kind"] not in FOLDED:
            continue
        things = state[row["kind"]]
        for subject in json.loads(row["subject"]):
            if data is None:
                things.pop(canonical(subject), None)
            else:
                things[canonical(subject)] = data if row["data"] == REDACTED else whole(FOLDED[row["kind"]], data)
    return state


def state_at(tx: Tx, seq: int | None) -> tuple[int, State]:
    """The state as it was after event `seq` (None: the newest), from the snapshot before it. LookupError when it is forgotten."""
    oldest, last = ends(tx)
    wanted = last if seq is None else min(seq, last)
    begin = next((begin for begin, end in _bases(tx, newest_first=True) if end <= wanted), 1)
    if wanted and begin == 1 and oldest != 1:
        raise LookupError(f"history reaches back to event {next((end for _, end in _bases(tx)), oldest)}")
    return wanted, fold(tx.all("SELECT kind, subject, data FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq", (begin, wanted)))


def seen_from(state: State, peer_id: str, workspace: str) -> State:
    """What of a state a peer is shown: its workspace's things; of others' mail and turns, none."""
    named = {kind: {key: one for key, one in things.items() if one.get("workspace") == workspace} for kind, things in state.items()}
    of_ours = set(named["task"])
    mail = {key for key, one in named["message"].items() if one.get("sender_id") == peer_id}
    deliveries = {key: one for key, one in state["delivery"].items() if json.loads(key)[0] == peer_id or str(json.loads(key)[1]) in mail}
    mail |= {str(json.loads(key)[1]) for key in deliveries}
    return {
        **named,
        "seat": {key: one for key, one in state["seat"].items() if json.loads(key) == workspace},
        "memory": {key: one for key, one in state["memory"].items() if json.loads(key)[0] == workspace},
        "dependency": {key: one for key, one in state["dependency"].items() if str(json.loads(key)[0]) in of_ours},
        "message": {key: one for key, one in state["message"].items() if key in mail},
        "delivery": deliveries,
        "conversation": {key: one for key, one in state["conversation"].items() if one.get("peer_id") == peer_id},
    }


def tables(tx: Tx) -> State:
    """The folded columns of the tables as they are now, in the shape of `fold`."""
    state: State = {}
    for kind, fold_ in FOLDED.items():
        things = state[kind] = {}
        for row in tx.all(fold_.select):
            key = [row[name] for name in fold_.key]
            things[canonical(key if len(key) > 1 else key[0])] = folded(fold_, row)
    return state


def newest(tx: Tx) -> tuple[int, float | None]:
    """(seq, time) of the newest event; (0, None) of a log without events."""
    row = tx.one("SELECT seq, at FROM events ORDER BY seq DESC LIMIT 1")
    return (row["seq"], row["at"]) if row else (0, None)


def ends(tx: Tx) -> tuple[int, int]:
    """seq of the oldest event and of the newest; (1, 0) of a log without events."""
    row = tx.one("SELECT (SELECT MIN(seq) FROM events) AS oldest, (SELECT MAX(seq) FROM events) AS newest")  # one MIN, or it reads all
    return (row["oldest"], row["newest"]) if row is not None and row["newest"] else (1, 0)


def oldest_at(tx: Tx) -> float | None:
    row = tx.one("SELECT at FROM events ORDER BY seq LIMIT 1")
    return row["at"] if row else None


def verify(tx: Tx, take: Callable[[Mapping[str, Any]], None] | None = None) -> dict[str, Any]:
    """Walk the chain: {ok, events, redacted, first_damaged, newest_hash}. `take` is given each event that is sound, in order.

    It begins with the first event there ever was or with a snapshot, and ends with the last that was ever written.
    """
    checked = redacted = 0
    seq, prev = 0, ""
    for row in tx.each("SELECT * FROM events ORDER BY seq"):
        if not _is_sound(row, prev):
            return {"ok": False, "events": checked, "redacted": redacted, "first_damaged": row["seq"]}
        seq, prev = row["seq"], row["hash"]
        redacted += row["data"] == REDACTED
        checked += 1
        if take is not None:
            take(row)
    last = tx.one("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
    if last is not None and last["seq"] != seq:
        return {"ok": False, "events": checked, "redacted": redacted, "first_damaged": seq + 1}
    return {"ok": True, "events": checked, "redacted": redacted, "first_damaged": None, "newest_hash": prev or GENESIS}


def _is_sound(row: Mapping[str, Any], prev: str) -> bool:
    """Does this event follow `prev` ("": it is the first that is left), and is it as it was hashed?"""
    follows = row["prev"] == prev if prev else row["kind"] == "snapshot" or (row["seq"], row["prev"]) == (1, GENESIS)
    try:
        link = _link(row["prev"], row["seq"], row["at"], row["actor"], row["op"], row["kind"], row["subject"],
                     row["run_id"], row["workspace"], row["digest"])  # fmt: skip
        as_it_was = row["data"] == REDACTED or hashlib.sha256(row["data"].encode()).hexdigest() == row["digest"]
    except (TypeError, ValueError, AttributeError):  # a number or a blob where a text was
        return False
    return follows and as_it_was and bool(link == row["hash"])


def holding(tx: Tx, things: Mapping[str, Sequence[Subject]], spellings: Sequence[str]) -> list[int]:
    """The events that hold a text, in one of its spellings; without, all of these things and the snapshots that say what they are.

    Where the log has a digest of a text, that counts as the text.
    """
    found: set[int] = set()
    if spellings:
        holds = " OR ".join("INSTR(data, ?)" for _ in spellings)
        found = {row["seq"] for row in tx.all(f"SELECT seq FROM events WHERE {holds}", spellings)}
    for kind, subjects in things.items():
        if kind not in FOLDED or (spellings and not FOLDED[kind].digests):
            continue
        wanted = {canonical(subject) for subject in subjects}
        for row in tx.all("SELECT seq, subject FROM events WHERE kind = ? AND data NOT IN (?, 'null')", (kind, REDACTED)):
            if any(canonical(one) in wanted for one in json.loads(row["subject"])):
                found.add(row["seq"])
        if not spellings and not FOLDED[kind].digests:
            found |= {row["seq"] for row in tx.all("SELECT seq FROM events WHERE kind = 'snapshot' AND data <> ?", (REDACTED,))}
    return sorted(found)


def redact(tx: Tx, caller: Caller, seqs: Sequence[int]) -> None:
    """Take the data out of these events. Where one was a snapshot, a new one is made: history needs one to begin at."""
    is_base = False
    for seq in seqs:
        row = tx.one("SELECT kind FROM events WHERE seq = ?", (seq,))
        is_base = is_base or (row is not None and row["kind"] == "snapshot")
        tx.run("UPDATE events SET data = ? WHERE seq = ?", (REDACTED, seq))
    last = _snapshot(tx, caller, None) if is_base else None
    while last is not None and last.place is not None:
        last = _snapshot(tx, caller, last)


@dataclass(frozen=True, slots=True)
class Piece:
    """An event of a snapshot: its first event, the bytes up to here, and up to which (kind, key) it goes; None: to the end."""

    begin: int
    size: int
    place: tuple[str, tuple[Any, ...]] | None


def snapshot_if_due(tx: Tx, caller: Caller, every: int | None = None) -> Piece | None:
    """The next event of a snapshot that is under way, or the first of one that is due; None when none is.

    It is due after `every` events, or after as many as the last one had things: so it costs a constant share.
    """
    last = _last_piece(tx)
    if last is not None and last[1].place is not None:
        return _snapshot(tx, caller, last[1])
    since = newest(tx)[0] - (last[0] if last else 0)
    is_due = since >= max(SNAPSHOT_EVERY if every is None else every, last[1].size // 200 if last else 0)
    return _snapshot(tx, caller, None) if is_due else None


def _last_piece(tx: Tx) -> tuple[int, Piece] | None:
    """(seq, what it is) of the newest event of a snapshot."""
    row = tx.one("SELECT seq, subject, LENGTH(data) AS size FROM events WHERE kind = 'snapshot' ORDER BY seq DESC LIMIT 1")
    if row is None:
        return None
    about = json.loads(row["subject"])
    if not about:
        return row["seq"], Piece(row["seq"], row["size"], None)
    begin, size, *place = about
    return row["seq"], Piece(begin or row["seq"], size, (place[0], tuple(place[1:])) if place else None)


def _snapshot(tx: Tx, caller: Caller, last: Piece | None) -> Piece:
    """The next event. Its subject is [] when it is all of it, else [first event, bytes, kind, *key]; 0 is itself, no kind the end."""
    state, place = _things(tx, last.place if last else None)
    data = canonical(state)
    begin, size = (last.begin, last.size + len(data)) if last else (0, len(data))
    about: list[Subject] = [] if place is None and not begin else [begin, size, *((place[0], *place[1]) if place else ())]
    seq = append(tx, caller, "snapshot", about, data, workspace="")
    return Piece(begin or seq, size, place)


def _things(tx: Tx, place: tuple[str, tuple[Any, ...]] | None) -> tuple[State, tuple[str, tuple[Any, ...]] | None]:
    """Some things as they are now, after that (kind, key); up to which these go, None when they were the last."""
    kinds = list(FOLDED)
    first, after = place or (kinds[0], ())
    left, state = SNAPSHOT_THINGS, State()
    for kind in kinds[kinds.index(first) :]:
        fold_ = FOLDED[kind]
        keys = ", ".join(fold_.key)
        past = f"WHERE ({keys}) > ({', '.join('?' * len(fold_.key))})" if after else ""
        rows = tx.all(f"{fold_.select} {past} ORDER BY {keys} LIMIT ?", (*after, left + 1))  # names from this file
        for row in rows[:left]:
            after = tuple(row[name] for name in fold_.key)
            state.setdefault(kind, {})[canonical(list(after) if len(after) > 1 else after[0])] = folded(fold_, row)
        if len(rows) > left:
            return state, (kind, after)
        after, left = (), left - len(rows)
    return state, None


def _bases(tx: Tx, *, newest_first: bool = False) -> Iterator[tuple[int, int]]:
    """(first event, last event) of each snapshot that is complete and of which nothing was redacted.

    History begins with its first event, and is exact from its last one on.
    """
    order = "DESC" if newest_first else "ASC"
    for row in tx.all(f"SELECT seq, subject FROM events WHERE kind = 'snapshot' ORDER BY seq {order}"):  # one of two words
        about = json.loads(row["subject"])
        begin = about[0] if about else row["seq"]
        if len(about) > 2 or tx.one("SELECT 1 FROM events WHERE kind = 'snapshot' AND seq BETWEEN ? AND ? AND data = ?",
                                    (begin, row["seq"], REDACTED)):  # fmt: skip
            continue
        yield begin, row["seq"]


def forget_old(tx: Tx, before: float) -> int:
    """Delete what is before the next snapshot, if that is older than `before`: the log always begins with one, or with its first event.

    Answers how many; 0 when nothing more is old.
    """
    oldest = tx.one("SELECT MIN(seq) AS seq FROM events")
    for begin, _ in _bases(tx):
        if oldest is not None and oldest["seq"] < begin:
            is_old = tx.one("SELECT 1 FROM events WHERE seq = ? AND at < ?", (begin, before))
            return tx.run("DELETE FROM events WHERE seq < ?", (begin,)) if is_old else 0
    return 0


def whole(fold_: Fold, data: dict[str, Any]) -> dict[str, Any]:
    """What an event says of a thing, with the columns that came later."""
    return {**dict(fold_.missing), **data} if fold_.missing else data


def folded(fold_: Fold, row: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says of a row."""
    data = {name: row[name] for name in fold_.columns}
    for name in fold_.digests:
        data[name] = hashlib.sha256(str(row[name]).encode()).hexdigest()[:32]
    return data


canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _link(*parts: object) -> str:
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seq": row["seq"], "at": row["at"], "actor": row["actor"], "op": row["op"], "kind": row["kind"],
        "subjects": json.loads(row["subject"]), "run_id": row["run_id"], "workspace": row["workspace"],
        "data": json.loads(row["data"]), "hash": row["hash"],
    }  # fmt: skip
