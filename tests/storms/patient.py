"""A broker that is made to suffer, its clients, and the books on what they asked and what they were told.

Faults that a disk has once, for a while or for good are put between it and its files (`Ill`); `Patient` writes and reads
through them. Whatever was not acknowledged is sent again with the same key, and the books say what must be found in the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tests.running import Broker, Dropped, Peer, until
from tests.storms import deeds

WRITERS = 3
HANG_S = 5.0  # what takes longer never comes
ENDS_S = 3.0


class Told(NamedTuple):
    """What came of one call: status (0: the connection ended), code word, when, and how long it took."""

    status: int
    code: str
    at: float
    took_s: float


class Course(NamedTuple):
    """What was seen while a fault lasted."""

    written: list[Told]
    read: list[Told]
    writable: list[bool]  # what /health said, at each read

    @property
    def first_trouble(self) -> float:
        """When the first write was not acknowledged."""
        return min((told.at for told in self.written if told.status != 200), default=time.monotonic())

    @property
    def may_end(self) -> bool:
        """Did the broker say that it stops, or that the disk fails, or fall silent?"""
        return any(told.status in (0, 500) or told.code == "stopping" for told in (*self.written, *self.read))


class Patient:
    """Use as a context manager. A broker with `WRITERS` peers that write and one that reads."""

    def __init__(self, broker: Broker, under: tuple[str, ...] = ()) -> None:
        self.broker = broker
        self.broker.start(under=under)
        self.writers = [broker.enrol(f"w{number}") for number in range(WRITERS)]
        self.reader = broker.enrol("arch", "architect")
        self.threads = ThreadPoolExecutor(WRITERS)
        self.acknowledged: set[str] = set()
        self.open: dict[str, tuple[Peer, str]] = {}  # key -> who asked for what, and has no good answer
        self.retried: set[str] = set()
        self.hangs = 0
        self.numbers = 0
        self.lock = threading.Lock()  # guards the five above
        self.remembered: list[str] = []  # keys of memory that is there, to read
        self.heard = 0  # of the broker's output

    def __enter__(self) -> Patient:
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown()
        for peer in (*self.writers, self.reader):
            peer.close()
        self.broker.close()

    # -- asking

    def call(self, peer: Peer, method: str, path: str, body: object = None) -> tuple[Told, dict[str, Any]]:
        began = time.monotonic()
        peer.timeout_s = HANG_S
        try:
            status, said = peer.call(method, path, body)
        except (Dropped, OSError):
            status, said = 0, {}
        now = time.monotonic()
        if now - began >= HANG_S:
            with self.lock:
                self.hangs += 1
        return Told(status, str(said.get("code", "")), now, now - began), said

    def write(self, peer: Peer, kind: str, key: str = "") -> Told:
        """One deed, new unless it has a key; entered in the books."""
        with self.lock:
            self.numbers += 1
            key = key or f"{peer.id}-{self.numbers}"
        told, _ = self.call(peer, "POST", *deeds.request(kind, key))
        with self.lock:
            if told.status == 200:
                self.acknowledged.add(key)
                self.open.pop(key, None)
                if kind == "memory":
                    self.remembered.append(key)
            else:
                self.open[key] = (peer, kind)
        return told

    def each(self, kind: str, times: int = 1) -> list[Told]:
        """Each writer writes, side by side, `times` one after the other; it gives up when the broker is gone."""

        def one(peer: Peer) -> list[Told]:
            told: list[Told] = []
            while len(told) < times and not (len(told) > 1 and told[-1].status == told[-2].status == 0):
                told.append(self.write(peer, kind))
            return told

        return [told for some in self.threads.map(one, self.writers) for told in some]

    def suffer(self, kind: str, times: int) -> Course:
        """Write, and read beside it, for as long as the writing takes."""
        course = Course([], [], [])
        done = threading.Event()

        def read() -> None:
            told, said = self.call(self.reader, "GET", f"/memory?key=deed%20{self.remembered[-1]}")
            assert told.status != 200 or said["version"] == 1, said
            course.read.append(told)
            told, said = self.call(self.reader, "GET", "/health")
            if told.status == 200:
                course.writable.append(said["writable"])

        def go_on_reading() -> None:
            while not done.wait(0.02) and not (course.read and course.read[-1].status == 0):
                read()

        reading = threading.Thread(target=go_on_reading)
        reading.start()
        try:
            course.written.extend(self.each(kind, times))
        finally:
            done.set()
            reading.join(2 * HANG_S)
        read()
        return course

    def recover(self) -> float:
        """Write until it works again; how long that took."""
        began = time.monotonic()
        until(lambda: self.write(self.writers[0], "memory").status == 200, "writing goes on", HANG_S)
        return time.monotonic() - began

    def settle(self) -> None:
        """Whatever was not acknowledged is asked for again, with its key."""
        for key, (peer, kind) in list(self.open.items()):
            self.retried.add(key)
            told = self.write(peer, kind, key)
            assert told.status == 200, f"{kind} {key}, asked for again: {told}"

    # -- the broker's end

    def end(self) -> deeds.Found:
        """Stop it; what is in its database."""
        path = self.broker.database
        if not os.path.exists(path):  # it has a disk that only it sees, and that ends with it
            path = self._copied()
        status = self.broker.stop()
        assert status == 0, f"it stopped with {status}: {self.broker.output()}"
        return deeds.found(path)

    def _copied(self) -> str:
        """Its database, copied while it stands still."""
        inside = f"/proc/{self.broker.signalled}/root{self.broker.database}"
        copy = os.path.join(self.broker.home, "copy.db")
        self.broker.freeze()
        try:
            for ending in ("", "-wal"):
                if os.path.exists(inside + ending):
                    shutil.copy(inside + ending, copy + ending)
        finally:
            self.broker.thaw()
        return copy

    def ended(self, within_s: float = ENDS_S) -> int | None:
        """Its exit status; None when it lives on."""
        process = self.broker.process
        assert process is not None
        with contextlib.suppress(AssertionError):
            until(lambda: process.poll() is not None, "it ends", within_s, every_s=0.002)
        return process.poll()

    def said(self) -> list[str]:
        """The lines that the broker has written since this was asked last."""
        with open(f"{self.broker.home}/broker.out", encoding="utf-8", errors="replace") as file:
            text = file.read()
        lines, self.heard = text[self.heard :].splitlines(), len(text)
        return lines

    def revive(self) -> None:
        for peer in (*self.writers, self.reader):
            peer.close()
        self.broker.start()
        self.said()
