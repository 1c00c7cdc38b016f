"""Presence: who beats, in memory, on the broker's monotonic clock.

Alive <=> a beat within the timeout, which follows the peer's own interval. A pid is a hint, never a
verdict. A beat renews all of a peer's leases, so they need no deadlines of their own but where a lock
has its own term or is closed for a while. After a restart, or a tick that came late because the
machine slept, everyone gets a full term.

Threads: any; one lock guards all of it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

MIN_TIMEOUT_S = 15.0
MISSED_BEATS = 5
SLACK_S = 1.0  # a beat is missed when it is this late


@dataclass(slots=True)
class Pulse:
    """`heard` is monotonic, `wall` for display; `parked` is the connection whose waiting beat is out."""

    heard: float
    wall: float
    interval_s: float
    connection: int = 0
    closed: bool = False
    git: str = ""
    kept_at: float = 0.0  # when last_heartbeat was last written down

    @property
    def timeout_s(self) -> float:
        return max(MIN_TIMEOUT_S, MISSED_BEATS * self.interval_s)


@dataclass(frozen=True, slots=True)
class News:
    """What a beat tells once: `lost` are paths of locks, `relocked` whether a lock changed in the peer's workspace."""

    lost: tuple[str, ...] = ()
    relocked: bool = False


class Presence:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulses: dict[str, Pulse] = {}
        self._stamps: dict[str, int] = {}
        self._lost: dict[str, list[str]] = {}
        self._relocked: set[str] = set()  # peers in whose workspace a lock changed since they were told
        self._told: dict[str, tuple[str, News]] = {}  # with the answer of which stamp, until a beat shows that stamp
        self._granted: dict[int, float] = {}  # fencing token -> when granted or asked for again
        self._closed: dict[int, float] = {}  # fencing token of a closed lock -> since when
        self._kept: dict[int, float] = {}  # place in a lock's queue -> since when the path is kept for it
        self._boot = ""

    def begin(self, boot: str) -> None:
        """`boot` tells this broker's stamps from those of the one before."""
        self._boot = boot

    # -- beats --------------------------------------------------------------------------------------

    def heard(self, peer_id: str, now: float, wall: float, interval_s: float, connection: int = 0) -> Pulse:
        """A beat, or anything as good as one."""
        with self._lock:
            pulse = self._pulses.get(peer_id)
            if pulse is None:
                pulse = self._pulses[peer_id] = Pulse(now, wall, interval_s)
            pulse.heard, pulse.wall, pulse.interval_s, pulse.closed = now, wall, interval_s, False
            if connection:
                pulse.connection = connection
            return pulse

    def hung_up(self, peer_id: str, connection: int) -> None:
        """The connection that carried its waiting beat was closed: a newcomer with its secret need not wait for a missed beat."""
        with self._lock:
            pulse = self._pulses.get(peer_id)
            if pulse is not None and pulse.connection == connection:
                pulse.closed = True

    def forget(self, peer_id: str) -> None:
        with self._lock:
            self._pulses.pop(peer_id, None)
            self._stamps.pop(peer_id, None)
            self._lost.pop(peer_id, None)
            self._relocked.discard(peer_id)
            self._told.pop(peer_id, None)

    def drop_late(self, peer_id: str, now: float) -> None:
        """It was given up, unless it was heard since; a later beat begins anew. What it lost is still to be told."""
        with self._lock:
            pulse = self._pulses.get(peer_id)
            if pulse is not None and now - pulse.heard > pulse.timeout_s:
                del self._pulses[peer_id]

    def slow_down(self, peer_id: str, interval_s: float) -> None:
        """It was told to beat less often: it may be silent for longer from now on. Told to beat more often, it first has to hear it."""
        with self._lock:
            pulse = self._pulses.get(peer_id)
            if pulse is not None:
                pulse.interval_s = max(pulse.interval_s, interval_s)

    def beating(self, now: float) -> frozenset[str]:
        """Ids whose process is there for all we know: connection open, last beat not overdue."""
        with self._lock:
            return frozenset(
                peer_id for peer_id, pulse in self._pulses.items() if not pulse.closed and now - pulse.heard <= pulse.interval_s + SLACK_S
            )

    def late(self, now: float) -> list[str]:
        with self._lock:
            return [peer_id for peer_id, pulse in self._pulses.items() if now - pulse.heard > pulse.timeout_s]

    def is_silence(self, now: float) -> bool:
        """Is nobody at all heard, of those who should be?"""
        with self._lock:
            return bool(self._pulses) and all(now - pulse.heard > pulse.timeout_s for pulse in self._pulses.values())

    def is_late(self, peer_id: str, now: float) -> bool:
        with self._lock:
            pulse = self._pulses.get(peer_id)
            return pulse is not None and now - pulse.heard > pulse.timeout_s

    def forgive(self, now: float) -> None:
        """Nobody could be heard for a while: all get a full term."""
        with self._lock:
            for pulse in self._pulses.values():
                pulse.heard = now
            self._granted = dict.fromkeys(self._granted, now)
            self._closed = dict.fromkeys(self._closed, now)
            self._kept = dict.fromkeys(self._kept, now)

    def age(self, peer_id: str, now: float) -> float | None:
        with self._lock:
            pulse = self._pulses.get(peer_id)
            return None if pulse is None else max(0.0, now - pulse.heard)

    def walls(self) -> dict[str, float]:
        """peer id -> wall time of its last beat."""
        with self._lock:
            return {peer_id: pulse.wall for peer_id, pulse in self._pulses.items()}

    # -- what a waiting beat waits for ----------------------------------------------------------------

    def stamp(self, peer_id: str) -> str:
        with self._lock:
            return self._stamp(peer_id)

    def bump(self, peer_id: str) -> None:
        with self._lock:
            self._bump(peer_id)

    def locks_changed(self, peer_id: str) -> None:
        with self._lock:
            self._relocked.add(peer_id)
            self._bump(peer_id)

    def tell_lost(self, peer_id: str, paths: list[str]) -> None:
        with self._lock:
            self._lost.setdefault(peer_id, []).extend(paths[:100])
            self._bump(peer_id)

    def has_again(self, peer_id: str, path: str) -> None:
        """What is its own again is not told as lost."""
        with self._lock:
            self._lost[peer_id] = [one for one in self._lost.get(peer_id, ()) if one != path]

    def news(self, peer_id: str, stamp: str, seen: str | None) -> News:
        """What goes into the answer of this stamp, and comes back until a beat shows that it has seen it.

        `seen` None: the caller shows no stamps, and is told once. Something new since `stamp` was read waits for the beat after.
        """
        with self._lock:
            told_with, told = self._told.pop(peer_id, ("", News()))
            if told_with != seen and told != News():  # that answer was not heard
                self._lost[peer_id] = [*told.lost, *self._lost.get(peer_id, ())]
                self._relocked |= {peer_id} if told.relocked else set()
            if stamp != self._stamp(peer_id):
                return News()
            found = News(tuple(self._lost.pop(peer_id, ())), peer_id in self._relocked)
            self._relocked.discard(peer_id)
            if seen is not None and found != News():
                self._told[peer_id] = (stamp, found)
            return found

    def take_lost(self, peer_id: str) -> list[str]:
        """What it lost since it was told last: it asks for it by itself."""
        with self._lock:
            return self._lost.pop(peer_id, [])

    def _stamp(self, peer_id: str) -> str:
        return f"{self._boot}.{self._stamps.get(peer_id, 0)}"

    def _bump(self, peer_id: str) -> None:
        self._stamps[peer_id] = self._stamps.get(peer_id, 0) + 1

    # -- leases with a time of their own ------------------------------------------------------------------

    def granted(self, token: int, now: float) -> None:
        with self._lock:
            self._granted[token] = now

    def closed(self, token: int, now: float) -> None:
        with self._lock:
            self._granted.pop(token, None)
            self._closed[token] = now

    def ended(self, token: int) -> None:
        with self._lock:
            self._granted.pop(token, None)
            self._closed.pop(token, None)

    def has_lapsed(self, token: int, peer_id: str, term_s: float, now: float) -> bool:
        """A lock with its own term: so long after the later of its grant and its holder's last beat."""
        with self._lock:
            pulse = self._pulses.get(peer_id)
            since = max(self._granted.setdefault(token, now), pulse.heard if pulse is not None else 0.0)
            return now - since > term_s

    def kept(self, place: int, now: float) -> None:
        with self._lock:
            self._kept[place] = now

    def overdue(self, places: list[int], kept_s: float, now: float) -> list[int]:
        """Places in a queue that a free path was kept for long enough. Those not asked about are forgotten."""
        with self._lock:
            self._kept = {place: self._kept.get(place, now) for place in places}
            return [place for place, since in self._kept.items() if now - since > kept_s]

    def is_open_again(self, token: int, closed_s: float, now: float) -> bool:
        with self._lock:
            return now - self._closed.setdefault(token, now) > closed_s
