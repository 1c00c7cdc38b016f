"""What must be so after every step of a simulated broker.

The watch reads the log as it grows and keeps the state that it folds to; triggers on the writer's connection tell which rows
were touched. So after each step it looks at what changed and at nothing else, and yet misses nothing:

    the log    each event continues the chain; each change of a folded row has its event, in the same commit; the row and
               the log say the same; nothing changes in a way that its kind does not allow (`_task`, `_lock`, ...)
    between    two hold nothing that overlaps, who is gone holds nothing, an offer has its one receipt, nobody waits for
               what is free, a count of open dependencies is right
    answers    what the broker said is what it stored; who shows an old token is refused
    time       nobody is given up who was heard within its term, and nobody is kept who was not

`look` is called after each step, `look_at_all` now and then: the whole log, every table.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lattice import reach
from lattice.broker import hooking
from lattice.broker.app import Broker
from lattice.broker.presence import MIN_TIMEOUT_S, MISSED_BEATS
from lattice.domain import events, locks
from lattice.domain.events import FOLDED
from lattice.names import ARCHITECT_ADDRESS, PERSON
from lattice.store import confined

if TYPE_CHECKING:
    from tests.simulator.world import World

ENDED = ("completed", "failed", "cancelled")
HERE = ("active", "away")
# Rows that no event tells of, and by which key they are looked at.
BESIDE = {"receipts": ("receipt",), "lock_queue": ("id",), "lost_locks": ("peer_id", "file_path"), "memory_history": ("workspace", "key")}
KIND_OF = {fold.table: kind for kind, fold in FOLDED.items()}
KEYS = {fold.table: fold.key for fold in FOLDED.values()} | BESIDE
FORGETTING = "forget"  # the op under which old things are deleted
SLACK_S = 4.0  # beyond a term: a tick may come late by 3 s before everyone is forgiven, and one tick notices

Key = Any  # of one thing: its id, or the tuple of its key


class Violation(AssertionError):
    """Something that must be so is not."""


class Watch:
    """Follows one database through all brokers that open it."""

    def __init__(self, world: World, path: str) -> None:
        self.world = world
        self.path = path
        self.state: dict[str, dict[Key, dict[str, Any]]] = {kind: {} for kind in FOLDED}
        self.seq = 0
        self.last_hash = ""
        self.newest_token = 0
        self.writes = 0
        self.looked = 0
        self.shown: set[str] = set()  # receipts of what came to a process that lived, which showed it to its session
        self.contents: dict[str, int] = {}  # digest of a text that is sent once -> its message
        self.beat: dict[str, float] = {}  # when its beat (or what is as good as one) was answered last
        self.heard: dict[str, float] = {}  # or anything else of it
        self.term: dict[str, float] = {}
        self._touched: list[tuple[str, Key]] = []
        self._reader: sqlite3.Connection | None = None
        self._broker: Broker | None = None
        self._changes = -1
        self._silence = False
        self.snapshot: list[Any] = []  # the events since the first of the one that is being written

    # -- brokers come and go ----------------------------------------------------------------------------

    def attend(self, broker: Broker) -> None:
        """A broker has opened the database: what was committed is there, and everyone gets a full term."""
        self.leave()
        self._broker = broker
        writer = broker.database._connection
        confined.release(writer)
        writer.create_function("touched", -1, lambda table, *key: self._touched.append((table, key if len(key) > 1 else key[0])))
        for table, key in KEYS.items():
            for when, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                columns = ", ".join(f"{row}.{name}" for name in key)
                writer.execute(
                    f"CREATE TEMP TRIGGER watch_{table}_{when} AFTER {when} ON main.{table} BEGIN SELECT touched('{table}', {columns}); END"
                )
        confined.confine(writer, writes=True)
        self._reader = sqlite3.connect(self.path, isolation_level=None, cached_statements=256)
        self._reader.row_factory = sqlite3.Row
        self._changes = -1
        self.look("begin", unwatched=True)
        self.look_at_all()
        self.term = {key: _term(peer) for key, peer in self.state["peer"].items()}
        self._silence = False
        self.forgive()

    def leave(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._broker = None

    def rows(self, sql: str, *values: object) -> list[Any]:
        assert self._reader is not None
        return self._reader.execute(sql, values).fetchall()

    # -- after each step --------------------------------------------------------------------------------

    def look(self, step: str, *, unwatched: bool = False) -> None:
        """`unwatched`: the writes were made before the triggers were there, so only the log tells of them."""
        assert self._broker is not None
        changes = self._broker.database._connection.total_changes
        if changes == self._changes:
            return  # nothing was written
        self._changes = changes
        self.looked += 1
        told: dict[tuple[str, Key], None] = {}
        for row in self.rows("SELECT * FROM events WHERE seq > ? ORDER BY seq", self.seq):
            self._take(row, told)
        touched, self._touched = dict.fromkeys(self._touched), []
        for kind, key in told:
            touched.setdefault((FOLDED[kind].table, key))
        tables: dict[str, list[Key]] = {}
        for table, key in touched:
            tables.setdefault(table, []).append(key)
            if table in KIND_OF:
                self._compare(KIND_OF[table], key)
        self._between(tables)

    def _take(self, row: Any, told: dict[tuple[str, Key], None]) -> None:
        """One event: it continues the chain, and what it changes may change so."""
        data = json.loads(row["data"])
        if self.seq:
            self._must(row["seq"] == self.seq + 1 and row["prev"] == self.last_hash, f"event {row['seq']} does not follow {self.seq}")
        digest = hashlib.sha256(row["data"].encode()).hexdigest()
        members = (row[name] for name in ("prev", "seq", "at", "actor", "op", "kind", "subject", "run_id", "workspace"))
        link = events._link(*members, digest)
        self._must(digest == row["digest"] and link == row["hash"], f"event {row['seq']} is damaged")
        self.seq, self.last_hash = row["seq"], row["hash"]
        kind = row["kind"]
        about = json.loads(row["subject"])
        if kind == "snapshot" and about[:1] in ([], [0]):
            self.snapshot = [row]
        elif self.snapshot:
            self.snapshot.append(row)
        if kind == "snapshot" and len(about) in (0, 2):
            folded, self.snapshot = events.fold(self.snapshot), []
            self._must(folded == self._as_folded(), "from its first event to its last, a snapshot is the state as it is")
        if kind not in FOLDED:
            return
        things, may_change = self.state[kind], CHANGES.get(kind)
        for subject in json.loads(row["subject"]):
            key = tuple(subject) if isinstance(subject, list) else subject
            old = things.get(key)
            self.writes += 1
            told[kind, key] = None
            if data is None:
                things.pop(key, None)
            else:
                things[key] = data
            if may_change is not None:
                try:
                    may_change(self, key, old, data, row)
                except Violation as fault:
                    raise Violation(f"{kind} {key}: {fault}; {old} -> {data} by {row['actor']} ({row['op']})") from None

    def _compare(self, kind: str, key: Key) -> None:
        """The row is what the log says."""
        values = key if isinstance(key, tuple) else (key,)
        found = self.rows(FOLDED[kind].by_key, *values)
        row = events.folded(FOLDED[kind], found[0]) if found else None
        self._must(row == self.state[kind].get(key), f"{kind} {key}: the table says {row}, the log {self.state[kind].get(key)}")

    @staticmethod
    def _must(is_so: object, otherwise: str) -> None:
        if not is_so:
            raise Violation(otherwise)

    # -- how each kind may change: (key, before, after, event) ---------------------------------------------

    def _task(self, key: Key, old: Any, new: Any, row: Any) -> None:
        must = self._must
        if new is None:
            must(old and old["status"] in ENDED and row["op"] == FORGETTING, "only an ended task is forgotten")
            return
        before = old["status"] if old else "pending"
        must(old is not None or new["status"] == "pending", "a task begins as pending")
        must(before not in ENDED or new["status"] == before, "what has ended stays as it ended")
        must(old is None or new["token"] >= old["token"], "its token never falls")
        if new["status"] == "in_progress":
            must(new["assigned_to"], "it has an owner")
            if before == "pending":
                self._new_token(new["token"])
                waits_for = [need for need in self._needs(key) if self.state["task"][need]["status"] != "completed"]
                must(not waits_for, f"claimed while {waits_for} are not completed")
                must(not old or old["reserved_for"] in (None, new["assigned_to"]), "claimed though reserved for another")
            elif new["assigned_to"] != old["assigned_to"]:
                must(row["op"] == "adopt", "an owner changes only by adoption")
                self._new_token(new["token"])
        if new["status"] == "completed":
            must(before in ("in_progress", "completed") and new["artifacts"], "completed by its owner, with a summary")

    def _needs(self, task_id: int) -> list[int]:
        return [row[0] for row in self.rows("SELECT needs_id FROM dependencies WHERE task_id = ?", task_id)]

    def _new_token(self, token: int) -> None:
        self._must(token > self.newest_token, f"token {token} after {self.newest_token}")
        self.newest_token = token

    def _dependency(self, key: Key, old: Any, new: Any, row: Any) -> None:
        if old is not None or new is None:
            return
        seen, ahead = set(), [key[1]]
        while ahead:
            one = ahead.pop()
            self._must(one != key[0], "a cycle")
            if one not in seen:
                seen.add(one)
                ahead += self._needs(one)

    def _lock(self, key: Key, old: Any, new: Any, row: Any) -> None:
        if new is None:
            return
        if old is None or old["token"] != new["token"]:
            self._new_token(new["token"])
        is_same = bool(old) and old["token"] == new["token"]
        self._must(new["state"] == "held" or is_same, "only what was held is closed")
        self._must(new["state"] != "held" or not is_same or old["state"] == "held", "what was closed is held again by a new grant")

    def _seat(self, key: Key, old: Any, new: Any, row: Any) -> None:
        if new is not None:
            self._must(old is None, "a seat is vacated before it is taken")
            self._new_token(new["token"])

    def _message(self, key: Key, old: Any, new: Any, row: Any) -> None:
        if new is None:
            self._must(row["op"] == FORGETTING, "a message is gone")
        elif old is not None:
            same = {name: value for name, value in new.items() if name != "hops"} == {name: old[name] for name in old if name != "hops"}
            self._must(same and row["op"] == "release_held", "a message was changed")
        elif new["content"] in self.contents:
            raise Violation(f"sent once, stored twice: {self.contents[new['content']]}")
        elif new["content"] in self.world.sent_once:
            self.contents[new["content"]] = key

    # Which states of a delivery may follow which; None: not there.
    LADDER = {
        None: ("queued", "held"),
        "queued": ("queued", "offered", "acted", "dead", "read"),
        "held": ("queued", "dead"),
        "offered": ("queued", "read", "acted", "dead", "offered"),
        "read": ("read", "acted", None),
        "acted": ("acted", None),
        "dead": ("dead", "queued", None),
    }

    def _delivery(self, key: Key, old: Any, new: Any, row: Any) -> None:
        must, recipient = self._must, key[0]
        before, after = (old or {}).get("state"), (new or {}).get("state")
        if new is None:
            moved = recipient == ARCHITECT_ADDRESS and before == "queued"
            must(moved or row["op"] == FORGETTING and before in ("read", "acted", "dead"), "a delivery is gone")
            return
        must(after in self.LADDER[before], f"{before} -> {after}")
        must(after != "dead" or new["reason"], "dead without a reason")
        must(after != "held" or new["reason"], "held without a reason")
        if after == "read" and before != "read":
            proven = self.rows("SELECT receipt FROM receipts WHERE recipient = ? AND message_id = ? AND proved_at IS NOT NULL", *key)
            must(proven, "read without an offer")
            must(recipient == PERSON or any(row[0] in self.shown for row in proven), "read, and no process of its had it")

    def _memory(self, key: Key, old: Any, new: Any, row: Any) -> None:
        self._must(new is not None, "a memory is gone")
        self._must(new["version"] == (old["version"] if old else 0) + 1, "versions grow by one")
        if old:
            kept = self.rows("SELECT version FROM memory_history WHERE workspace = ? AND key = ? ORDER BY version DESC LIMIT 1", *key)
            self._must(kept and kept[0][0] >= old["version"], "a value was overwritten without a history row")

    def _escalation(self, key: Key, old: Any, new: Any, row: Any) -> None:
        if new is None:
            self._must(row["op"] == FORGETTING and old["state"] == "resolved", "an open escalation is gone")
        elif old is not None and old["state"] == "resolved":
            self._must(new == old, "what is resolved stays so")

    # Which states of a peer may follow which; killed and gone end its tokens.
    LIVES = {
        None: ("active",),
        "active": ("active", "away", "dead", "killed", "gone"),
        "away": ("away", "active", "dead", "killed", "gone"),
        "dead": ("dead", "active", "killed", "gone", "away"),
        "killed": ("killed", "dead", "gone"),
        "gone": ("gone", "active", None),
    }

    def _peer(self, key: Key, old: Any, new: Any, row: Any) -> None:
        before, after = (old or {}).get("status"), (new or {}).get("status")
        self._must(after in self.LIVES[before], f"{before} -> {after}")
        if new is None:
            self._must(row["op"] == FORGETTING, "a peer is gone without a word")
            return
        self._must(not old or new["epoch"] >= old["epoch"], "its epoch never falls")
        self._must(after not in ("killed", "gone") or before == after or new["epoch"] > old["epoch"], "its tokens outlive it")
        if before in HERE and after == "dead" and row["op"] == "sweep":
            silent = self.world.clock.monotonic() - self.beat.get(key, -1e9)
            self._must(silent > self.term[key], f"given up after {silent:.1f} s")
        self.term[key] = max(self.term.get(key, 0.0), _term(new))  # told to beat less often it may; told to more often, it has to hear it

    def _run(self, key: Key, old: Any, new: Any, row: Any) -> None:
        self._must(new is not None or row["op"] == FORGETTING, "a run is gone")

    # -- between things -------------------------------------------------------------------------------------

    def _between(self, touched: dict[str, list[Key]]) -> None:
        must = self._must
        held = self.state["lock"]
        for key in touched.get("locks", ()):
            one = held.get(key)
            for other, two in held.items() if one else ():
                apart = other[1] == key[1] or one["mode"] == two["mode"] == "shared"
                must(apart or not reach.overlap(one["reach"], key[0], two["reach"], other[0]), f"two hold what overlaps: {key} {other}")
        for key in touched.get("tasks", ()):
            self._count_open(key)
        self._departed(touched)
        for key in touched.get("deliveries", ()):
            self._receipts(key)
        for receipt in touched.get("receipts", ()):
            for row in self.rows("SELECT recipient, message_id FROM receipts WHERE receipt = ?", receipt):
                self._receipts((row[0], row[1]))
        if touched.keys() & {"locks", "lock_queue", "lost_locks"}:
            self._queue()

    def _count_open(self, task_id: int) -> None:
        tasks = self.state["task"]
        if task_id in tasks:
            row = self.rows("SELECT n_open FROM tasks WHERE id = ?", task_id)[0]
            waits_for = sum(tasks[need]["status"] != "completed" for need in self._needs(task_id))
            self._must(row[0] == waits_for, f"task {task_id} waits for {waits_for}, and counts {row[0]}")

    def _departed(self, touched: dict[str, list[Key]]) -> None:
        """Who is gone has neither tasks nor locks nor a seat nor offers, and waits for nothing."""
        peers = self.state["peer"]

        def is_here(peer_id: str) -> bool:
            return peer_id in peers and peers[peer_id]["status"] in HERE

        gone = {key for key in touched.get("peers", ()) if not is_here(key)}
        for peer_id in sorted(gone):
            for what, sql in HOLDINGS:
                self._must(not self.rows(sql, peer_id), f"{peer_id} is {peers.get(peer_id, {}).get('status')} and has {what}")
        for key in touched.get("tasks", ()):
            task = self.state["task"].get(key)
            if task and task["status"] == "in_progress":
                self._must(is_here(task["assigned_to"]), f"task {key} is held by {task['assigned_to']}, who is gone")
        for key in touched.get("locks", ()):
            lock = self.state["lock"].get(key)
            if lock and lock["state"] == "held":
                self._must(is_here(key[1]), f"lock {key} is held by one who is gone")
        for key in touched.get("deliveries", ()):
            one = self.state["delivery"].get(key)
            if one and one["state"] == "offered":
                self._must(is_here(key[0]), f"offered to {key[0]}, who is gone")

    def _receipts(self, key: Key) -> None:
        """Each offer has its receipt, and each receipt that is not over its offer."""
        state = self.state["delivery"].get(key, {}).get("state")
        found = self.rows("SELECT COUNT(*) FROM receipts WHERE recipient = ? AND message_id = ? AND ended_at IS NULL", *key)[0][0]
        self._must(found == (state == "offered"), f"{key} is {state}, with {found} open receipts")

    def _queue(self) -> None:
        assert self._broker is not None
        waiting = self.rows("SELECT * FROM lock_queue")
        if not waiting:
            return
        self._must(not self._broker.read(locks.are_there_to_tell), "somebody waits for what is free, and was not told")
        for entry in waiting:
            for (path, peer_id), lock in self.state["lock"].items():
                against = peer_id != entry["peer_id"] and not lock["mode"] == entry["mode"] == "shared"
                meets = reach.overlap(lock["reach"], path, entry["reach"], entry["file_path"])
                is_kept = entry["offered_at"] is not None
                self._must(not (is_kept and against and meets), f"{path} is kept for {entry['peer_id']}, and {peer_id} holds it")

    # -- who is heard ---------------------------------------------------------------------------------------

    def hear(self, peer_id: str, *, beat: bool) -> None:
        """The broker answered this peer that all is well; to a beat, or to something else."""
        now = self.heard[peer_id] = self.world.clock.monotonic()
        if beat and peer_id in self.state["peer"]:
            self.beat[peer_id] = now
            self.term[peer_id] = _term(self.state["peer"][peer_id])

    def forgive(self) -> None:
        """Nobody could be heard for a while."""
        now = self.world.clock.monotonic()
        self.beat = dict.fromkeys(self.beat, now)
        self.heard = dict.fromkeys(self.heard, now)

    def before_tick(self, is_late: bool) -> None:
        """`is_late`: the tick is. Then, and when one is heard again after all were silent, everybody has a full term."""
        now = self.world.clock.monotonic()
        here = [id for id, peer in self.state["peer"].items() if peer["status"] in HERE and id in self.heard]
        was_silence, self._silence = self._silence, bool(here) and all(now - self.heard[id] > self.term[id] for id in here)
        if is_late:
            self.forgive()
        elif was_silence and not self._silence:
            self.heard = dict.fromkeys(self.heard, now)

    def silent_are_given_up(self) -> None:
        """After a tick: who was not heard for its term and a little more holds nothing, but where all are silent, and it is there.

        What a hook took after its session had left stays with that until it is here again.
        """
        now = self.world.clock.monotonic()
        for peer_id, at in self.heard.items():
            term, silent = self.term[peer_id], now - at
            if not term + SLACK_S < silent < term + 2 * SLACK_S or (self._silence and self.world.has_process(peer_id)):
                continue
            is_away = self.state["peer"].get(peer_id, {}).get("status") == "away"
            for what, sql in HOLDINGS:
                if not (is_away and what == "an offer"):
                    self._must(not self.rows(sql, peer_id), f"{peer_id} is silent for {silent:.0f} s and still has {what}")

    # -- all of it --------------------------------------------------------------------------------------------

    def _as_folded(self) -> dict[str, dict[str, Any]]:
        """The state in the shape of `events.fold`."""
        return {
            kind: {events.canonical(list(key) if isinstance(key, tuple) else key): one for key, one in things.items()}
            for kind, things in self.state.items()
        }

    def look_at_all(self) -> None:
        """Every table is what the log says; the flags are true; the numbers add up."""
        assert self._broker is not None
        there = self._broker.read(events.tables)
        ours = self._as_folded()
        for kind, things in there.items():
            for key in sorted({*things, *ours[kind]}):
                self._must(
                    things.get(key) == ours[kind].get(key), f"{kind} {key}: the table says {things.get(key)}, the log {ours[kind].get(key)}"
                )
        verdict = self._broker.read(events.verify)
        self._must(verdict["ok"], f"the chain is broken: {verdict}")
        folded = self._broker.read(lambda tx: events.state_at(tx, None)[1])
        self._must(folded == ours, "the log, from its last snapshot, does not fold to the tables")
        for table, column, kind in (("tasks", "status", "task"), ("deliveries", "state", "delivery")):
            by_state = dict(tuple(row) for row in self.rows(f"SELECT {column}, COUNT(*) FROM {table} GROUP BY {column}"))
            self._must(sum(by_state.values()) == len(self.state[kind]), f"{table} by {column}: {by_state} of {len(self.state[kind])}")
        self._must(not self.rows("PRAGMA foreign_key_check"), "something refers to what is not there")
        self.look_at_flags()

    def look_at_flags(self) -> None:
        """A session's flag is up just while its hooks have something to ask."""
        broker = self._broker
        assert broker is not None
        expected = set()
        for card in broker.cards.values():
            if not card["client_pid"]:
                continue
            why, cause = broker.read(lambda tx, card=card: (hooking.why_flag(tx, card), hooking.why_cause(tx, card["id"])))
            expected |= ({str(card["client_pid"])} if why else set()) | ({f"{card['client_pid']}.cause"} if cause else set())
        up = set(os.listdir(os.path.join(broker.settings.home, "flags")))
        self._must(up == expected, f"flags {sorted(up)} are up, and should be {sorted(expected)}")

    def at_the_end(self) -> None:
        self.look_at_all()
        self._must([row[0] for row in self.rows("PRAGMA integrity_check")] == ["ok"], "the file is damaged")


def _term(peer: Any) -> float:
    return max(MIN_TIMEOUT_S, MISSED_BEATS * peer["poll_interval_ms"] / 1000)


HOLDINGS = (
    ("a task", "SELECT 1 FROM tasks WHERE assigned_to = ? AND status = 'in_progress'"),
    ("a lock", "SELECT 1 FROM locks WHERE peer_id = ? AND state = 'held'"),
    ("the seat", "SELECT 1 FROM seats WHERE peer = ?"),
    ("an offer", "SELECT 1 FROM deliveries WHERE recipient = ? AND state = 'offered'"),
    ("a place in a queue", "SELECT 1 FROM lock_queue WHERE peer_id = ?"),
)
CHANGES: dict[str, Callable[[Watch, Key, Any, Any, Any], None]] = {
    "task": Watch._task,
    "dependency": Watch._dependency,
    "lock": Watch._lock,
    "seat": Watch._seat,
    "message": Watch._message,
    "delivery": Watch._delivery,
    "memory": Watch._memory,
    "escalation": Watch._escalation,
    "peer": Watch._peer,
    "run": Watch._run,
}
