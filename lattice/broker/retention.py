"""Retention: how long what is over is kept, by age and by size, and that it goes a little at a time.

At each tick a hundred things are looked at, and those that are over and old (`domain/forgetting.py`) are deleted
in one short write. A round goes through everything, and comes again after a while; with a database larger than it may
be, at once, and what is over is then kept half as long, and half of that, but never less than a day. Freed pages are used
again, so the file stops growing; it does not shrink.

Threads: the sweep's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lattice.domain import conversations, events, forgetting
from lattice.domain.caller import BROKER
from lattice.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from lattice.broker.app import Broker
    from lattice.broker.call import Call
    from lattice.store.database import Tx

log = logging.getLogger("lattice.broker")

DAY_S = 86_400.0
SHORTEST_S = DAY_S
TOKENS_LIVE_S = 2 * DAY_S  # longer than a token of an id that is gone could count
FIRST_AFTER_S = 60.0  # a start has other things to do
EVERY_S = 600.0  # from the end of a round to the next
LOOKED_AT = 100  # at a tick: to delete as many takes a few milliseconds
TURNS_AT_ONCE = 100
MB = 1024 * 1024

# Which field of a call names what kind of thing.
NAMES = {"task_id": "task", "message_id": "message", "reply_to": "message", "run_id": "run", "escalation_id": "escalation"}


class Retention:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._next = broker.clock.monotonic() + FIRST_AFTER_S
        self._left: list[Callable[[], bool]] = []  # what of this round is still to be gone through; each says when it is
        self._after: Any = None
        self.shortened = 1.0  # the share of its time that things are kept, where the database is too large

    @property
    def keep_s(self) -> float:
        return max(SHORTEST_S, self._broker.settings.keep_days * DAY_S * self.shortened)

    def step(self) -> None:
        """A little of the round, if one is due."""
        if not self._left:
            if self._broker.clock.monotonic() < self._next:
                return
            self._left = [*(lambda kind=kind: self._some(kind) for kind in forgetting.KINDS), self._turns, self._log]
            self._after = None
        if self._left[0]():
            self._left.pop(0)
            self._after = None
            if not self._left:
                self._round_over()

    def _some(self, kind: forgetting.Kind) -> bool:
        """Some things of a kind; whether these were the last."""
        broker = self._broker
        before = broker.age.before(max(self.keep_s, TOKENS_LIVE_S) if kind.name == "peer" else self.keep_s)
        after = kind.first if self._after is None else self._after
        seen = broker.read(lambda tx: forgetting.look(tx, kind, before, after, LOOKED_AT))
        if seen.over:
            seen = broker.write(lambda tx: forgetting.forget(tx, BROKER, kind, before, after, LOOKED_AT), "forget")
        self._after = seen.last
        return seen.last is None

    def _turns(self) -> bool:
        before = self._broker.age.before(min(self.keep_s, conversations.KEEP_S))
        gone: int = self._broker.write(lambda tx: conversations.forget_old(tx, BROKER, before, TURNS_AT_ONCE), "forget")
        return gone < TURNS_AT_ONCE

    def _log(self) -> bool:
        before = self._broker.age.before(self.keep_s)
        gone: int = self._broker.write(lambda tx: events.forget_old(tx, before), "forget")
        return not gone

    def _round_over(self) -> None:
        broker = self._broker
        used_mb, limit_mb, kept_s = broker.database.used_bytes() / MB, broker.settings.keep_mb, self.keep_s
        if used_mb > limit_mb:
            self.shortened = max(self.shortened / 2, SHORTEST_S / (broker.settings.keep_days * DAY_S))
        elif used_mb < limit_mb / 2:
            self.shortened = min(1.0, self.shortened * 2)
        if self.keep_s < kept_s:
            log.warning("the database has %.0f MB of %d: what is over is kept for %.1f days", used_mb, limit_mb, self.keep_s / DAY_S)
            return  # the next round begins at once
        if used_mb > limit_mb:
            log.warning("the database has %.0f MB of %d, and nothing more in it is over and a day old", used_mb, limit_mb)
        self._next = broker.clock.monotonic() + EVERY_S


def explained(call: Call, refusal: NotFound) -> NotFound:
    """The same refusal, or, where the call names what was there once, that it is forgotten."""
    broker = call.broker

    def forgotten(tx: Tx) -> str:
        named = [(kind, call.values.get(field)) for field, kind in NAMES.items()]
        return next((f"{kind} {key}" for kind, key in named if key is not None and forgetting.is_forgotten(tx, kind, key)), "")

    what = broker.read(forgotten)
    if not what:
        return refusal
    days = broker.settings.keep_days
    return NotFound(
        f"{what} is older than {days} day{'s' if days > 1 else ''}, and forgotten", code="forgotten",
        hint="what is over is not kept longer; C2_LATTICE_KEEP_DAYS of the broker says how long, copies are in its backups/",
    )  # fmt: skip
