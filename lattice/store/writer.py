"""Group commit: many threads write, one connection commits.

    idle    the thread that comes first leads: it runs its own write at once
    busy    the others queue; the leader takes them into its transaction, each in its own savepoint,
            until it has MOST of them or LONGEST_S have gone, and commits them together
    after   the after-effects are handed on, the batch is answered, and the head of the queue leads

It promises: an answer follows its COMMIT; a write that raises is undone alone; whatever hits a
whole batch (BEGIN, COMMIT, a transaction that SQLite gave up) is heard by each write of it, also
by those that had been refused, since they were judged by rows that never came to be; after-effects
come in the order of the commits; nobody is left waiting, whatever a write function raises.
It does not open, check or close the connection: `store/database.py` does.

Threads: `write` is called on any thread. The connection belongs to the thread that leads, and
passes from leader to leader under `_guard`.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from lattice.errors import Internal, OutOfSpace, Refusal, Unavailable
from lattice.store import disk

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST = 64  # writes in one commit; more gains little and makes the last answer late
LONGEST_S = 0.010  # of running writes before the commit, so that one answer is never late for many slow writes
DRAIN_S = 30.0  # close() waits so long for the writes that are under way

_FATAL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# A file could not be written or made longer. That comes before any sync, and what was written counts for nothing.
_BEFORE_THE_SYNC = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


class Tx:
    """What a write or read function sees: one transaction, at one time (`at`), for one operation (`op`).

    It ends with the function; used later it raises. A refusal of the constraints (IntegrityError)
    may be caught and answered; after any other error of the database every call raises that error.
    """

    __slots__ = ("at", "op", "effects", "failed", "_connection")

    def __init__(self, connection: sqlite3.Connection, at: float, op: str = "") -> None:
        self.at = at
        self.op = op
        self.effects: list[tuple[str, ...]] = []
        self.failed: sqlite3.Error | None = None
        self._connection: sqlite3.Connection | None = connection

    def one(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> Any | None:
        """The first row (sqlite3.Row), or None."""
        return self._execute(sql, params).fetchone()

    def all(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """All rows (sqlite3.Row)."""
        return self._execute(sql, params).fetchall()

    def each(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> Iterator[Any]:
        """The rows (sqlite3.Row) one by one, for who reads more than should be in memory at once.

        A text that is no UTF-8 comes with its broken bytes spelled out, where the others raise: who reads all looks for damage.
        """
        cursor = self._execute(sql, params)
        connection = cursor.connection
        usual, connection.text_factory = connection.text_factory, _spelled_out
        try:
            yield from cursor
        except sqlite3.Error as error:
            self.failed = error
            raise
        finally:
            connection.text_factory = usual

    def run(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> int:
        """How many rows the statement changed."""
        return self._execute(sql, params).rowcount

    def insert(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> int:
        """The rowid of the row inserted last."""
        return self._execute(sql, params).lastrowid or 0

    def after(self, *effect: str) -> None:
        """What is to happen once this is on disk, as plain data: after("wake", "alice"). Forgotten when it is undone."""
        self.effects.append(effect)

    def end(self) -> None:
        self._connection = None

    def _execute(self, sql: str, params: Sequence[Any] | dict[str, Any]) -> sqlite3.Cursor:
        connection = self._connection
        if connection is None:
            raise RuntimeError("this transaction is over: a tx must not be kept after its function")
        if self.failed is not None:
            raise self.failed
        try:
            return connection.execute(sql, params)
        except sqlite3.Error as error:
            # SQLite may have given up the whole transaction; what ran after that would commit by itself.
            if not isinstance(error, sqlite3.IntegrityError) or not connection.in_transaction:
                self.failed = error
            raise


class _Write:
    """One write on its way: its function, then its value or its error."""

    __slots__ = ("fn", "tx", "value", "error", "gate", "leads", "queued", "opened")

    def __init__(self, fn: Callable[[Tx], Any], tx: Tx) -> None:
        self.fn = fn
        self.tx = tx
        self.value: Any = None
        self.error: BaseException | None = None
        self.gate: Any = None  # a closed lock when queued; opened once: to answer, or to make it lead
        self.leads = False
        self.queued = False
        self.opened = False

    def open(self) -> None:
        """Let its thread go on: it is answered, or leads."""
        self.opened = True
        self.gate.release()


class Writer:
    """The queue in front of the one connection that writes.

    `connection` is in autocommit mode (isolation_level None) and usable on any thread. `refuses` says why
    the disk takes no write: an errno, or 0 (see `store/disk.py`).
    `on_commit` is called with the after-effects of a batch, on the leader's thread, where it may `look`; what it
    raises is logged. `on_fatal` is called once, with one sentence, after an I/O error or damage: what was
    under way then is unknown, and nothing is written any more. Neither may call `write`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        on_commit: Callable[[list[tuple[str, ...]]], None],
        on_fatal: Callable[[str], None],
        refuses: Callable[[], int] = lambda: 0,
    ) -> None:
        self._connection = connection
        self._refuses = refuses
        self._on_commit = on_commit
        self._on_fatal = on_fatal
        self.writable = True
        self.last_error = ""
        self.dead = ""  # the sentence of the fatal error
        self._guard = threading.Lock()  # guards _busy, _closing, dead, and adding to and ending of _queue
        self._queue: deque[_Write] = deque()
        self._busy = False
        self._closing = False
        self._drained = threading.Event()
        self._leader = 0  # ident of the thread that leads
        self._commit_began = False  # the leader's own

    def write(self, fn: Callable[[Tx], T], *, at: float, op: str = "") -> T:
        """Run `fn(tx)` and commit it; its value, once it is on disk.

        Raises what `fn` raised (its rows are undone); OutOfSpace (nothing was written); Unavailable
        (closing, read-only, busy, or given up: nothing was written); Internal `commit_failed` (nothing
        was written) or `unknown_result` (it may have been).
        """
        write = _Write(fn, Tx(self._connection, at, op))
        ident = threading.get_ident()
        if self._leader == ident:
            raise RuntimeError("a write or an after-effect cannot begin another write: it would wait for itself")
        if self._enter(write):
            self._lead(write, ident)
        if write.error is not None:
            try:
                raise write.error
            finally:
                del write  # it and the traceback would keep each other alive
        value: T = write.value
        return value

    def look(self, fn: Callable[[Tx], T]) -> T:
        """For after-effects alone: `fn(tx)` reads what the commit left, on the connection that wrote it. It waits for nobody."""
        if self._leader != threading.get_ident():
            raise RuntimeError("only an after-effect looks; all others read")
        tx = Tx(self._connection, 0.0)
        self._connection.execute("BEGIN")
        try:
            return fn(tx)
        finally:
            tx.end()
            self._connection.execute("ROLLBACK")  # it wrote nothing, and were it to try, it has not

    def close(self, drain_s: float = DRAIN_S) -> bool:
        """Refuse new writes and wait for those under way. False when they did not end in time."""
        with self._guard:
            self._closing = True
            if not self._busy:
                return True
        return self._drained.wait(drain_s)

    def condemn(self, error: sqlite3.Error) -> None:
        """Write nothing any more: a reader found damage."""
        self._note(error)
        died = self._die(error)
        if died:
            self._announce(died)

    def _enter(self, write: _Write) -> bool:
        """Lead at once, or stand in the queue until `write` is answered (False) or has to lead (True)."""
        try:
            with self._guard:
                if self.dead or self._closing:
                    raise self._turned_away()
                if not self._busy:
                    self._busy = True
                    return True
                write.gate = threading.Lock()
                write.gate.acquire()
                self._queue.append(write)
                write.queued = True
            write.gate.acquire()
        except BaseException:  # refused; or Ctrl-C on a main thread that writes, anywhere since it stood in the queue
            self._step_back(write)
            raise
        return write.leads

    def _step_back(self, write: _Write) -> None:
        """Leave nothing behind: out of the queue, or, where a leader has it, wait for its end."""
        try:
            self._queue.remove(write)
        except ValueError:
            if write.queued:
                while not write.opened:  # the interrupt may have come just after the gate was passed, which opens once
                    write.gate.acquire(timeout=0.05)
                if write.leads:
                    self._pass_on()

    def _lead(self, own: _Write, ident: int) -> None:
        batch = [own]
        died = ""
        self._leader = ident
        try:
            self._run(batch)
        except BaseException as error:  # the leader's door: whatever it was, every write of the batch hears of it
            died = self._give_up(batch, error)
        finally:
            self._leader = 0
            for write in batch:
                if write is not own:
                    write.open()
            self._pass_on()
        if died:
            self._announce(died)

    def _run(self, batch: list[_Write]) -> None:
        """Run the batch, which grows by what is queued, and commit it."""
        self._commit_began = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            while len(batch) < MOST and self._queue:  # they hear it now: each of them would wait as long again
                batch.append(self._queue.popleft())
            raise
        until = time.perf_counter() + LONGEST_S
        self._run_one(batch[0], own=True)
        while len(batch) < MOST and time.perf_counter() < until:
            try:
                batch.append(self._queue.popleft())
            except IndexError:
                break
            self._run_one(batch[-1], own=False)
        self._commit_began = True
        self._connection.execute("COMMIT")
        if not self.writable:
            self.writable = True
            log.warning("the database can be written again")
        effects = [effect for write in batch for effect in write.tx.effects]
        if effects:
            try:
                self._on_commit(effects)
            except Exception:
                log.exception("an after-effect failed; the writes are on disk")

    def _run_one(self, write: _Write, *, own: bool) -> None:
        """Run one write in its savepoint. Raises only what concerns the whole batch."""
        connection, tx = self._connection, write.tx
        connection.execute("SAVEPOINT one")
        try:
            write.value = write.fn(tx)
            if tx.failed is not None:
                raise tx.failed
        except BaseException as error:
            tx.effects.clear()
            if not connection.in_transaction or _primary(error) in _FATAL:
                raise
            connection.execute("ROLLBACK TO one")
            if isinstance(error, KeyboardInterrupt) and not own:
                raise  # it is the leader's, not this write's
            write.error = self._translated(error)
        finally:
            tx.end()
        connection.execute("RELEASE one")

    def _translated(self, error: BaseException) -> BaseException:
        """What the one write that met `error` is told."""
        if _primary(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, *_BUSY):
            assert isinstance(error, sqlite3.Error)
            self._note(error)
            return _refusal(error)
        if unreadable(error):
            return Internal(
                f"a row cannot be read, nothing was stored: {error}", code="read_failed", hint="the person runs: c2-lattice verify"
            )
        return error

    def _give_up(self, batch: list[_Write], error: BaseException) -> str:
        """Undo the batch and tell each write of it. The sentence of a fatal error, or ''."""
        own = batch[0]
        error = self._explained(error)
        fatal = _primary(error) in _FATAL
        lost = self._commit_began and not isinstance(error, sqlite3.Error) and not self._connection.in_transaction
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            fatal = True
            error = second
        if isinstance(error, sqlite3.Error):
            self._note(error)
        for write in batch:
            write.value = None
            write.tx.effects.clear()
            if fatal:
                write.error = Internal("the disk or the database failed; whether this was stored is unknown", code="unknown_result")
            elif isinstance(error, sqlite3.Error):
                write.error = _refusal(error)
            elif lost:
                write.error = Internal("interrupted during the commit; whether this was stored is unknown", code="unknown_result")
            else:
                write.error = Unavailable("interrupted; nothing was stored, call again", code="interrupted")
            write.error.__cause__ = error
        if not isinstance(error, Exception):
            own.error = error  # an interrupt belongs to the thread that it hit
        return self._die(error) if fatal else ""

    def _explained(self, error: BaseException) -> BaseException:
        """The error; where there is no room or no writing, and SQLite did not see that, one that says so."""
        if not isinstance(error, sqlite3.Error) or getattr(error, "sqlite_errorcode", None) not in _BEFORE_THE_SYNC:
            return error
        number = self._refuses()
        code = sqlite3.SQLITE_FULL if number in disk.FULL else sqlite3.SQLITE_READONLY if number in disk.READ_ONLY else 0
        if not code:
            return error
        plain = sqlite3.OperationalError(os.strerror(number))
        plain.sqlite_errorcode, plain.sqlite_errorname = code, errno.errorcode[number]
        plain.__cause__ = error
        return plain

    def _die(self, error: BaseException) -> str:
        """Write nothing any more. The sentence to announce, or '' when it has been."""
        with self._guard:
            if self.dead:
                return ""
            self.dead = f"the database cannot be trusted any more: {describe(error)}"
            return self.dead

    def _announce(self, died: str) -> None:
        log.critical("%s", died)
        try:
            self._on_fatal(died)
        except Exception:
            log.exception("on_fatal failed")

    def _pass_on(self) -> None:
        """Let the head of the queue lead; with nobody there, be idle. After a fatal error turn all away."""
        turned_away: list[_Write] = []
        with self._guard:
            if self.dead:
                turned_away.extend(self._queue)
                self._queue.clear()
            if self._queue:
                heir = self._queue.popleft()
                heir.leads = True
                heir.open()
            else:
                self._busy = False
                if self._closing:
                    self._drained.set()
        for write in turned_away:
            write.error = self._turned_away()
            write.open()

    def _turned_away(self) -> Refusal:
        why = "the broker stops after an error of its disk" if self.dead else "the broker is stopping"
        return Unavailable(f"{why}; nothing was stored, call again in a moment", code="stopping")

    def _note(self, error: sqlite3.Error) -> None:
        self.last_error = describe(error)
        if _primary(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, *_FATAL) and self.writable:
            self.writable = False
            log.error("the database cannot be written: %s", self.last_error)


def unreadable(error: BaseException) -> bool:
    """Is it that a text in the database is no UTF-8? The database knows nothing of that, so the error has no code."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def _spelled_out(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def describe(error: BaseException) -> str:
    """The error in words, with SQLite's own name for it."""
    name = getattr(error, "sqlite_errorname", None)
    return f"{error} ({name})" if name else str(error) or type(error).__name__


def _primary(error: BaseException) -> int:
    """SQLite's primary result code; 0 for an error that is not the database's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(error, sqlite3.Error) and isinstance(code, int) else 0


def _refusal(error: sqlite3.Error) -> Refusal:
    """What a write is told when the database refused it, or its batch: nothing of it was stored."""
    code = _primary(error)
    if code == sqlite3.SQLITE_FULL:
        return OutOfSpace("the disk is full: nothing was stored; reading goes on", hint="free some space, then call again")
    if code == sqlite3.SQLITE_READONLY:
        return Unavailable(
            "the database is read-only: nothing was stored; reading goes on",
            code="read_only",
            hint="make the database file and its folder writable, then call again",
        )
    if code in _BUSY:
        return Unavailable(
            "another program holds the database: nothing was stored",
            code="database_busy",
            hint="close the program that has the database file open, then call again",
        )
    return Internal(f"the commit failed, nothing of it was stored: {describe(error)}", code="commit_failed")
