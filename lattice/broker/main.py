"""The broker as a program: settings -> sole lock -> database -> port -> serve, until a signal.

Exit codes follow sysexits: 0 stopped, 65 the database cannot be used, 69 port taken, 73 another broker
has this database, 74 the disk failed, 77 files that others can read, 78 a setting cannot be used.
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
from lattice.broker.app import Broker
from lattice.broker.sweep import Sweep
from lattice.errors import Refusal
from lattice.exclusive import Exclusive
from lattice.guard import tokens
from lattice.store import backup, migrate
from lattice.web.server import Server

log = logging.getLogger("lattice.broker")

DRAIN_S = 1.2  # of the two seconds that a stop may take
OK, UNAVAILABLE, TAKEN, IO_FAILED, NO_PERMISSION, BAD_CONFIG = 0, 69, 73, 74, 77, 78


def main(argv: list[str] | None = None) -> int:
    """`broker.py [--port N] [--db FILE]`."""
    words = sys.argv[1:] if argv is None else argv
    if {"--help", "-h"} & set(words):
        print(f"{USAGE}\n\nlaunch.py starts it, and opens the page; so does the first session that needs it.")
        return OK
    os.umask(0o077)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = _settings(words)
        settings.make_home(config.home)
        secret = tokens.load_secret(config.home, config.secret)
    except (settings.BadSetting, tokens.SecretError) as problem:
        return _fail(BAD_CONFIG, str(problem))
    except OSError as problem:
        return _fail(NO_PERMISSION, str(problem))
    sole = Exclusive(settings.database_file(config.db) + ".lock")
    try:
        if not sole.acquire():
            return _fail(
                TAKEN, f"another broker has {config.db} open; use that one (launch.py --status), or name another file with C2_LATTICE_DB"
            )
    except FileNotFoundError:
        return _fail(NO_PERMISSION, f"{os.path.dirname(config.db)} is no folder; make it, or name another file with C2_LATTICE_DB")
    except OSError as problem:
        return _fail(NO_PERMISSION, f"{sole.path}: {problem.strerror}")
    sole.write(f"{os.getpid()}\n")
    return _serve(config, secret)


def _serve(config: settings.Settings, secret: bytes) -> int:
    bell = Bell()
    outcome = [OK]

    def fatal(message: str) -> None:
        """The disk failed: nothing more is answered, the next start recovers."""
        log.critical("%s", message)
        outcome[0] = IO_FAILED
        threading.Thread(target=_end_soon, daemon=True).start()
        bell.ring()

    late: list[Broker] = []
    try:
        server = Server(
            config.port or settings.DEFAULT_PORT, lambda request: late[0].call(request), allow_host=config.allow_host,
            on_close=lambda connection, who: late[0].presence.hung_up(who, connection),
        )  # fmt: skip
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            return _fail(
                UNAVAILABLE,
                f"port {config.port or settings.DEFAULT_PORT} is taken by another program; choose another with --port or C2_LATTICE_PORT",
            )
        return _fail(UNAVAILABLE, f"port {config.port or settings.DEFAULT_PORT}: {problem.strerror}")
    try:
        broker = Broker(config, secret, server.port, environ=dict(os.environ), on_fatal=fatal, stop=bell.ring, pid=os.getpid())
    except migrate.CannotOpen as problem:
        server.stop(0.0)
        return _fail(problem.exit_status, str(problem))
    except (sqlite3.Error, OSError, Refusal) as problem:
        server.stop(0.0)
        return _fail(*_not_opened(problem, config))
    late.append(broker)
    broker.wake_key, broker.authenticated, broker.has_left = server.wake, server.authenticated, server.has_left
    bell.answer_signals()
    sweep = Sweep(broker)
    sweep.start()
    serving = threading.Thread(target=server.serve, name="serve", daemon=True)
    serving.start()
    card = settings.broker_file(config.home, server.port)
    _write_card(card, config, server.port)
    log.info("c2-lattice %s serves http://127.0.0.1:%d with %s (pid %d)", VERSION, server.port, config.db, os.getpid())
    bell.wait()
    log.info("stopping")
    _remove_card(card)
    sweep.stop()
    server.stop(DRAIN_S)
    broker.close()
    log.info("stopped")
    return outcome[0]


def _not_opened(problem: Exception, config: settings.Settings) -> tuple[int, str]:
    """(exit code, sentence) for a database that passed the looks at it and could not be used all the same."""
    cause = problem.__cause__ if isinstance(problem, Refusal) else problem
    code = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF
    if isinstance(cause, sqlite3.Error) and code in (0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        refusal = migrate.damaged(config.db, backup.folder_of(config.db, os.path.join(config.home, "backups")), str(cause))
        return refusal.exit_status, str(refusal)
    log.error("%s cannot be opened", config.db, exc_info=problem)
    full = code == sqlite3.SQLITE_FULL or getattr(cause, "errno", 0) == errno.ENOSPC
    remedy = "the disk is full; free some space, then start again" if full else f"{problem}; is its disk in order?"
    return IO_FAILED, f"{config.db} cannot be opened: {remedy}"


USAGE = "usage: broker.py [--port N] [--db FILE]"


def _settings(argv: list[str]) -> settings.Settings:
    environ = dict(os.environ)
    named = {"--port": "C2_LATTICE_PORT", "--db": "C2_LATTICE_DB"}
    rest = list(argv)
    while rest:
        option, _, value = rest.pop(0).partition("=")
        if option not in named:
            raise settings.BadSetting(f"broker.py: unknown option {option}; {USAGE}")
        if not value and not rest:
            raise settings.BadSetting(f"broker.py: {option} needs a value")
        environ[named[option]] = value or rest.pop(0)
    return settings.read(environ)


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
    time.sleep(1.0)  # the answers that say so may leave first
    os._exit(IO_FAILED)


def _fail(code: int, message: str) -> int:
    print(f"c2-lattice broker: {message}", file=sys.stderr)
    return code
