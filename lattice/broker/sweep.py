"""The sweep: one tick looks at all that depends on time, and says when to come again. It cannot die.

Each job is tried on its own; one that fails is logged, and runs again at the next tick. A tick that comes
late means that the machine slept or the broker was stopped: then nobody could be heard, and everyone gets
a full term before anybody is given up. So it is when nobody at all is heard, though the processes are there:
somebody stopped them all, and there is nobody to whom what they hold could go. Until one is heard again, only
those are given up whose process is seen to be gone.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lattice.broker import backups, hooking, spawning
from lattice.broker.retention import Retention
from lattice.domain import departures, escalations, events, idempotency, locks, peers
from lattice.domain.caller import BROKER
from lattice.errors import Unavailable

if TYPE_CHECKING:
    from lattice.broker.age import Age
    from lattice.broker.app import Broker
    from lattice.store.database import Tx

log = logging.getLogger("lattice.broker")

TICK_S = 1.0
LATE_S = 3.0  # a tick this much behind its time: nobody was heard meanwhile
HOUSEKEEPING_S = 60.0
PERMISSION_SLACK_S = 5.0  # whoever waits for a verdict withdraws its question itself; this is for those that are gone
SNAPSHOT_EVENTS = 40  # of a large snapshot at a time: some milliseconds each, and writes come in between
TICKETS_S = 86_400.0  # so long it is known which tickets were used
LOST_IS_OLD_S = 86_400.0  # a session that comes back after a day reads its files anew anyway


class Sweep:
    """Runs on a thread of its own from `start` to `stop`; tests call `tick` themselves."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._last = broker.clock.monotonic()  # when the tick began by which the jobs judge
        self._kept_house = self._last
        self._silence = False  # nobody is heard
        self._stopped = threading.Event()
        self.retention = Retention(broker)
        self._backing_up = threading.Lock()  # held while a copy is made
        self._hourly = backups.Hourly(broker.database, broker.backups)
        self._refused: dict[str, str] = {}  # what the database refused, and how: said once
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self.jobs: list[Callable[[], None]] = [
            self.late_peers,
            self.lapsed_locks,
            self.closed_locks,
            self.kept_places,
            self.unanswered_spawns,
            self.missing_sessions,
            self.unanswered_permissions,
            self.old_things,
            self.writable_again,
        ]
        self.chores: list[Callable[[], None]] = [
            self.old_losses,
            self.unnamed_peers,
            self.old_keys,
            self.old_tickets,
            self.snapshot,
            self.backup,
        ]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def tick(self) -> float:
        """One look at everything; answers in how many seconds to come again.

        The jobs judge by the time at which the tick began: what comes while one of them is held up is not lateness.
        """
        broker = self._broker
        now = broker.clock.monotonic()
        if now - self._last > TICK_S + LATE_S:
            log.warning("a tick came %.0f s late: everyone gets a full term", now - self._last - TICK_S)
            broker.presence.forgive(now)
        self._last = now
        broker.age.look(broker.clock.now(), now)
        for job in self.jobs:
            self._try(job)
        if now - self._kept_house >= HOUSEKEEPING_S:
            self._kept_house = now
            for chore in self.chores:
                self._try(chore)
        broker.swept = broker.clock.monotonic()
        return TICK_S

    def _try(self, job: Callable[[], None], name: str = "") -> None:
        name = name or getattr(job, "__name__", str(job))
        try:
            job()
        except Exception as fault:  # one that fails must not keep the others from running, now or later
            known = self._broker.explain(fault)
            if known is None:
                log.exception("sweep: %s", name)
            elif self._refused.get(name) != known.code:  # the disk is full, read-only or gone, a row is damaged: our own steps say no more
                log.warning("sweep: %s: %s", name, known.message)
            self._refused[name] = known.code if known is not None else ""
        else:
            self._refused.pop(name, None)

    def _run(self) -> None:
        self._try(self.backup)  # a broker that never lives for a minute has one too
        wait = TICK_S
        while not self._stopped.wait(wait):
            try:
                wait = self.tick()
            except Exception:
                log.exception("sweep")
                wait = TICK_S

    # -- jobs -------------------------------------------------------------------------------------------

    def late_peers(self) -> None:
        presence, now = self._broker.presence, self._last
        was_silence, self._silence = self._silence, presence.is_silence(now)
        if was_silence and not self._silence:
            log.warning("somebody is heard again: everyone gets a full term")
            presence.forgive(now)
        for peer_id in presence.late(now):
            if not self._is_asleep(peer_id):
                self._try(lambda peer_id=peer_id: self._give_up(peer_id), f"late_peers {peer_id}")  # type: ignore[misc]

    def _is_asleep(self, peer_id: str) -> bool:
        return self._silence and may_be_frozen(self._broker.cards.get(peer_id))

    def _give_up(self, peer_id: str) -> None:
        broker, now = self._broker, self._last
        frozen = may_be_frozen(broker.cards.get(peer_id))

        def let_go(tx: Tx) -> dict[str, list[str]]:
            if not broker.presence.is_late(peer_id, now):
                return {}  # it was heard while this waited for the writer
            return departures.lost(tx, peer_id, may_be_frozen=frozen)

        broker.write(let_go, "sweep")
        broker.presence.drop_late(peer_id, now)

    def lapsed_locks(self) -> None:
        broker, now = self._broker, self._last

        def over(tx: Tx) -> list[int]:
            return [
                row["token"]
                for row in locks.with_terms(tx)
                if broker.presence.has_lapsed(row["token"], row["peer_id"], row["term_s"], now) and not self._is_asleep(row["peer_id"])
            ]

        if broker.read(over):  # looked at again in the write: what was renewed while that waited for the writer is not over
            broker.write(lambda tx: locks.lapse(tx, BROKER, over(tx)), "lapse")

    def closed_locks(self) -> None:
        broker, now = self._broker, self._last
        again = [
            row["token"]
            for row in broker.read(locks.closed)
            if broker.presence.is_open_again(row["token"], locks.CLOSED_S, now) or not may_be_frozen(broker.cards.get(row["peer_id"]))
        ]
        if again:
            broker.write(lambda tx: locks.lapse(tx, BROKER, again), "reopen")

    def kept_places(self) -> None:
        broker = self._broker
        if self._silence:
            return  # nobody is there to come in time
        told = broker.read(locks.offered)
        overdue = {place: told[place] for place in broker.presence.overdue(list(told), locks.KEPT_S, self._last)}
        if overdue:
            broker.write(lambda tx: locks.offer_overdue(tx, overdue), "keep")
        if broker.read(locks.are_there_to_tell):
            log.error("somebody waits for a lock that is free; told now")
            broker.write(locks.tell_all, "keep")

    def unanswered_spawns(self) -> None:
        spawning.refuse_old(self._broker)

    def missing_sessions(self) -> None:
        spawning.tell_of_missing(self._broker, self._last)

    def unanswered_permissions(self) -> None:
        broker = self._broker
        overdue = broker.read(lambda tx: escalations.permissions_overdue(tx, PERMISSION_SLACK_S, broker.age.before))
        if overdue:
            broker.write(lambda tx: hooking.withdraw_overdue(tx, overdue), "withdraw")

    def old_things(self) -> None:
        self.retention.step()

    def writable_again(self) -> None:
        """A disk that was full or read-only is tried until it takes a write: nobody else may write for hours."""
        broker = self._broker
        if not broker.database.health["writable"]:
            broker.write(lambda tx: events.note(tx, BROKER, "writable_again", []), "writable")

    # -- chores, once a minute ----------------------------------------------------------------------------

    def old_losses(self) -> None:
        self._forget(lambda tx, age: locks.forget_lost(tx, age.before(LOST_IS_OLD_S)))

    def unnamed_peers(self) -> None:
        self._forget(lambda tx, age: departures.forget_unnamed(tx, age.before(departures.FORGET_UNNAMED_S)))

    def old_tickets(self) -> None:
        self._forget(lambda tx, age: peers.forget_tickets(tx, age.before(TICKETS_S)))

    def old_keys(self) -> None:
        self._forget(lambda tx, age: idempotency.forget_old(tx, age.before(idempotency.KEEP_S)))

    def _forget(self, old: Callable[[Tx, Age], object]) -> None:
        self._broker.write(lambda tx: old(tx, self._broker.age), "forget")

    def snapshot(self) -> None:
        """Some events of one that is due, each in a write of its own: whoever writes meanwhile waits for one of them."""
        for _ in range(SNAPSHOT_EVENTS):
            written = self._broker.write(lambda tx: events.snapshot_if_due(tx, BROKER), "snapshot")
            if written is None or written.place is None:
                return

    def backup(self) -> None:
        """On a thread of its own: copying a large database takes longer than a tick may."""
        if not self._backing_up.acquire(blocking=False):
            return

        def work() -> None:
            try:
                self._try(self._copy, "the hourly copy")
            finally:
                self._backing_up.release()

        self._broker.later(work)

    def _copy(self) -> None:
        try:
            self._hourly.make_if_due(self._broker.clock.now(), self._broker.clock.monotonic())
        except (OSError, sqlite3.Error) as problem:  # tried again in a minute, and said once
            raise Unavailable(f"it could not be made: {problem}") from problem


def may_be_frozen(card: object) -> bool:
    """Did this peer stop beating while its process is still there? Then it may go on in the middle of an edit. No pid: nothing to see."""
    pid = card["pid"] if card is not None else None  # type: ignore[index]
    if not pid or sys.platform == "win32":  # on Windows a pid cannot be probed without a handle; there a beat decides alone
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # the number belongs to another user's process by now
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True
