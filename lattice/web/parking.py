"""The parking lot: requests that wait until something happens, each under a key.

A wake is never lost: every wake has a number, a request remembers the number at its beginning, and one
that was woken between its look and its waiting does not wait. A waiter notices at once that its client
has gone and that the server stops. Waking nobody costs a lock and a dictionary entry, waking one waiter
one system call; the waiters then run on their own threads.

`Lot` may be used from any thread; a `Place` belongs to one connection, whose thread alone waits in it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import Literal

Outcome = Literal["woken", "late", "closed", "stopping"]

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)  # not on Windows
MAX_REMEMBERED = 10_000  # keys whose last wake is remembered; far more than there are peers


class Lot:
    """Who waits for what."""

    def __init__(self) -> None:
        self._waking = threading.Lock()
        self._waiting: dict[str, set[Place]] = {}
        self._last: dict[str, int] = {}
        self._forgotten = 0  # the newest wake of a key that is not in _last any more has at most this number
        self._stopping = False
        self.number = 0  # of the newest wake; a request reads it before it looks

    def wake(self, key: str) -> None:
        """Everybody under `key` goes on, and whoever comes to wait with an older number."""
        with self._waking:
            self.number += 1
            self._last[key] = self.number
            if len(self._last) > MAX_REMEMBERED:
                self._forget_half()
            for place in self._waiting.pop(key, ()):
                place.ring()

    def wait(self, place: Place, key: str, since: int, wait_s: float) -> Outcome:
        """Wait for a wake of `key` newer than `since`, at most `wait_s` seconds."""
        until = time.monotonic() + wait_s
        with self._waking:
            if self._stopping:
                return "stopping"
            if self._last.get(key, self._forgotten) > since:
                return "woken"
            self._waiting.setdefault(key, set()).add(place)
        try:
            outcome = place.wait(until)
        finally:
            with self._waking:
                places = self._waiting.get(key)
                if places is not None:
                    places.discard(place)
                    if not places:
                        del self._waiting[key]
                place.hush()
        return "stopping" if self._stopping else outcome

    def stop(self) -> None:
        """Everybody goes on, and nobody waits any more."""
        with self._waking:
            self._stopping = True
            for places in self._waiting.values():
                for place in places:
                    place.ring()
            self._waiting.clear()

    def waiting(self, key: str) -> int:
        """How many wait under `key` now."""
        with self._waking:
            return len(self._waiting.get(key, ()))

    def _forget_half(self) -> None:
        middle = sorted(self._last.values())[len(self._last) // 2]
        self._forgotten = middle - 1
        self._last = {key: number for key, number in self._last.items() if number >= middle}


class Place:
    """Where one connection waits: for its bell, and for its client to go away."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ear: int | socket.socket
        if hasattr(os, "eventfd"):
            self._ear = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._bell: socket.socket | None = None
        else:
            self._ear, self._bell = socket.socketpair()
            self._ear.setblocking(False)
            self._bell.setblocking(False)

    def ring(self) -> None:
        """From any thread, under the lot's lock."""
        if isinstance(self._ear, int):
            os.eventfd_write(self._ear, 1)
        elif self._bell is not None:
            try:
                self._bell.send(b"!")
            except BlockingIOError:
                pass  # full of rings already: it will be heard

    def hush(self) -> None:
        """Forget rings that nobody waits for any more. Under the lot's lock."""
        try:
            if isinstance(self._ear, int):
                os.eventfd_read(self._ear)
            else:
                self._ear.recv(4096)
        except BlockingIOError:
            pass  # silent

    def wait(self, until: float) -> Outcome:
        """Until the bell rings, the client goes away, or the monotonic clock shows `until`."""
        listen_to_client = True
        while True:
            rung, spoke = _hear(self._ear, self._connection if listen_to_client else None, until - time.monotonic())
            if rung:
                return "woken"
            if spoke:
                if has_hung_up(self._connection):
                    return "closed"
                listen_to_client = False  # it sent its next request already: that can wait, and hides a later close
            elif time.monotonic() >= until:
                return "late"

    def close(self) -> None:
        if isinstance(self._ear, int):
            os.close(self._ear)
        else:
            self._ear.close()
        if self._bell is not None:
            self._bell.close()


def has_hung_up(connection: socket.socket) -> bool:
    """Did the client close the connection, or its half of it? Does not wait and takes nothing away: from any thread.

    Bytes that it sent before hide that.
    """
    if not _DONTWAIT and not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK | _DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _hear(ear: int | socket.socket, client: socket.socket | None, timeout_s: float) -> tuple[bool, bool]:
    """Did the bell ring, did the client do something?"""
    timeout_s = max(0.0, timeout_s)
    number = ear if isinstance(ear, int) else ear.fileno()
    if not hasattr(select, "poll"):  # Windows
        readable, _, _ = select.select([number] + ([client] if client is not None else []), [], [], timeout_s)
        return number in readable, client in readable
    poller = select.poll()
    poller.register(number, select.POLLIN)
    if client is not None:
        poller.register(client.fileno(), select.POLLIN)
    ready = [found for found, _ in poller.poll(int(timeout_s * 1000) + 1)]
    return number in ready, client is not None and client.fileno() in ready
