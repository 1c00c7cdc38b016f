"""Serving: the port, the database, the sweep, until a signal.

One sentence says why it does not come so far (`exits.py`). A signal rings a bell that the main thread waits for: then what is
under way is answered, the write-ahead log is emptied, and the process ends. A second signal ends it at once.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import sqlite3
import sys
import threading
import time

from lattice import VERSION, WIRE, settings
from lattice.broker import exits
from lattice.broker.app import Broker
from lattice.broker.sweep import Sweep
from lattice.domain import soundness
from lattice.errors import Refusal
from lattice.store import backup, disk, migrate
from lattice.store.writer import describe
from lattice.web.server import Server

log = logging.getLogger("lattice.broker")

DRAIN_S = 1.2  # of the two seconds that a stop may take
NEW_BYTES = 1024 * 1024  # an empty database, and the log in which it is made
FAILED_S = 0.7  # of the one second that the end may take when the disk fails


def serve(config: settings.Settings, secret: bytes) -> int:
    """Serve, with the lock held, until a signal or the person stops it; the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    bell = Bell()
    outcome = [exits.OK]

    def fatal(message: str) -> None:
        """The disk failed: nothing more is answered, the next start recovers."""
        outcome[0] = exits.say(
            exits.IO_FAILED, f"{config.db}: {message}; every answer that was given is on the disk. See to it, then start again"
        )
        threading.Thread(target=_end_soon, daemon=True).start()
        bell.ring()

    late: list[Broker] = []
    port = config.port or settings.DEFAULT_PORT
    try:
        server = Server(
            port, lambda request: late[0].call(request), allow_host=config.allow_host,
            on_close=lambda connection, who: late[0].presence.hung_up(who, connection), explain=lambda fault: late[0].explain(fault),
            admit=lambda authorization: late[0].knows(authorization),
        )  # fmt: skip
    except OSError as problem:
        why = "is taken by another program; choose another with --port or C2_LATTICE_PORT"
        return exits.say(exits.UNAVAILABLE, f"port {port} {why if problem.errno == errno.EADDRINUSE else problem.strerror}")
    try:
        broker = Broker(config, secret, server.port, environ=dict(os.environ), on_fatal=fatal, stop=bell.ring, pid=os.getpid())
    except migrate.CannotOpen as problem:
        server.stop(0.0)
        return exits.say(problem.exit_status, str(problem))
    except Exception as problem:
        server.stop(0.0)
        return _cannot_open(config, problem.__cause__ if isinstance(problem, Refusal) and problem.__cause__ else problem)
    late.append(broker)
    broker.wake_key, broker.authenticated, broker.has_left = server.wake, server.authenticated, server.has_left
    card = settings.broker_file(config.home, server.port)
    try:
        _write_card(card, config, server.port)
    except OSError as problem:
        server.stop(0.0)
        broker.close()
        return exits.refused(card, problem.errno or 0, "C2_LATTICE_HOME")
    bell.answer_signals()
    sweep = Sweep(broker)
    sweep.start()
    serving = threading.Thread(target=server.serve, name="serve", daemon=True)
    serving.start()
    log.info("c2-lattice %s serves http://127.0.0.1:%d with %s (pid %d)", VERSION, server.port, config.db, os.getpid())
    bell.wait()
    log.info("stopping")
    _remove_card(card)
    sweep.stop()
    server.stop(DRAIN_S)
    broker.close()
    log.info("stopped")
    return outcome[0]


def _cannot_open(config: settings.Settings, problem: BaseException) -> int:
    """A database that passed the looks at it, or a file of the state directory beside it, failed at the first touch.

    A fault of ours is raised.
    """
    code = (getattr(problem, "sqlite_errorcode", None) or 0) & 0xFF
    why = ""
    if isinstance(problem, sqlite3.Error) and code in (0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        why = str(problem)
    elif not isinstance(problem, (sqlite3.Error, OSError, Refusal)):
        said = soundness.of_file(settings.database_file(config.db))
        if said["ok"]:
            raise problem
        why = said["message"]
    if why:
        refusal = migrate.damaged(config.db, backup.folder_of(config.db, os.path.join(config.home, "backups")), why)
        return exits.say(refusal.exit_status, str(refusal))
    path, number = config.db, disk.refuses(config.db, NEW_BYTES)
    if isinstance(problem, OSError):
        path, number = problem.filename or config.db, problem.errno or 0
    elif code == sqlite3.SQLITE_FULL:
        number = errno.ENOSPC
    if not number:
        return exits.say(exits.IO_FAILED, f"{config.db} cannot be opened: {describe(problem)}; is its disk in order?")
    return exits.refused(path, number, "C2_LATTICE_HOME" if path.startswith(config.home + os.sep) else "C2_LATTICE_DB")


class Bell:
    """What the main thread waits for: a signal, or somebody who rings.

    A signal reaches it through `set_wakeup_fd`, which the interpreter writes to the moment the signal
    comes. A Python handler that sets an event can miss a waiter that is just going to sleep, and masked
    signals would be inherited by the terminals that the broker opens.
    """

    def __init__(self) -> None:
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._rung = False

    def ring(self) -> None:
        """From any thread."""
        try:
            self._mouth.send(b"\0")
        except BlockingIOError:
            pass  # full: it has been rung often enough

    def answer_signals(self) -> None:
        """Main thread only. The first signal rings; one that comes after ends the process at once."""
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._signalled)

    def wait(self) -> None:
        self._ear.recv(1)
        self._rung = True

    def _signalled(self, number: int, frame: object) -> None:
        if self._rung:
            os._exit(128 + number)


def _write_card(path: str, config: settings.Settings, port: int) -> None:
    """Tell sessions where the broker is."""
    card = {
        "port": port, "database": config.db, "pid": os.getpid(), "version": VERSION, "wire": WIRE, "started_at": time.time(),
    }  # fmt: skip
    settings.write_record(path, card)


def _remove_card(path: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            mine = json.load(file).get("pid") == os.getpid()
        if mine:
            os.unlink(path)
    except (OSError, ValueError, AttributeError) as problem:
        log.warning("%s: %s", path, problem)


def _end_soon() -> None:
    time.sleep(FAILED_S)  # the answers that say so may leave first
    os._exit(exits.IO_FAILED)
