"""Group commit. Real SQLite and real threads; one connection is wrapped, for the I/O errors alone."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sqlite3
import tempfile
import threading
import unittest
from collections.abc import Callable
from contextlib import closing
from typing import Any

from lattice.errors import Conflict, Internal, OutOfSpace, Refusal, Unavailable
from lattice.store import writer as group_commit
from lattice.store.writer import MOST, Tx, Writer

SCHEMA = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE parts (note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED);
"""
PATIENCE_S = 20.0


class FailsAt:
    """A connection that answers one statement with an error of the disk, as SQLite would word it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.statement = ""
        self.code = sqlite3.SQLITE_IOERR_FSYNC
        self.name = "SQLITE_IOERR_FSYNC"

    def execute(self, sql: str, params: Any = ()) -> sqlite3.Cursor:
        if self.statement and sql.startswith(self.statement):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = self.code, self.name
            raise error
        return self.connection.execute(sql, params)

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction


def add(text: str) -> Callable[[Tx], int]:
    return lambda tx: tx.insert("INSERT INTO notes (text) VALUES (?)", (text,))


class WriterCase(unittest.TestCase):
    def setUp(self) -> None:
        self.path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "notes.db")
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.connection = self.enterContext(closing(connection))
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.executescript(SCHEMA)
        self.disk = FailsAt(connection)
        self.effects: list[tuple[str, ...]] = []
        self.deaths: list[str] = []
        self.writer = Writer(self.disk, on_commit=self.effects.extend, on_fatal=self.deaths.append)  # type: ignore[arg-type]
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def rows(self) -> set[str]:
        with closing(sqlite3.connect(self.path)) as fresh:
            return {text for (text,) in fresh.execute("SELECT text FROM notes")}

    def write(self, fn: Callable[[Tx], Any]) -> Any:
        return self.writer.write(fn, at=1.0)

    def together(self, *functions: Callable[[Tx], Any]) -> list[Any]:
        """Run the functions in ONE batch, in this order; each one's value, or what it raised."""
        outcomes: list[Any] = [None] * len(functions)
        leading, queued = threading.Event(), threading.Event()

        def first(tx: Tx) -> Any:
            leading.set()
            if not queued.wait(PATIENCE_S):
                raise AssertionError("the others did not queue")
            return functions[0](tx)

        def call(index: int, fn: Callable[[Tx], Any]) -> None:
            try:
                outcomes[index] = self.write(fn)
            except BaseException as error:
                outcomes[index] = error

        threads = [threading.Thread(target=call, args=(0, first))]
        threads[0].start()
        self.assertTrue(leading.wait(PATIENCE_S))
        for index, fn in enumerate(functions[1:], start=1):
            thread = threading.Thread(target=call, args=(index, fn))
            thread.start()
            threads.append(thread)
            self.until(lambda index=index: len(self.writer._queue) == index)  # type: ignore[misc]
        queued.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            self.assertFalse(thread.is_alive(), "a write was left waiting")
        return outcomes

    def let_a_batch_run(self, seconds: float) -> None:
        self.addCleanup(setattr, group_commit, "LONGEST_S", group_commit.LONGEST_S)
        group_commit.LONGEST_S = seconds

    def until(self, true: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(PATIENCE_S * 1000)):
            if true():
                return
            pause.wait(0.001)
        self.fail("it did not come about")


class OneWrite(WriterCase):
    def test_a_write_that_was_answered_is_seen_by_a_fresh_connection(self) -> None:
        self.assertEqual(self.write(add("a")), 1)
        self.assertEqual(self.rows(), {"a"})

    def test_a_write_sees_the_time_and_the_operation_it_was_given(self) -> None:
        self.assertEqual(self.writer.write(lambda tx: (tx.at, tx.op), at=12.5, op="note"), (12.5, "note"))

    def test_what_a_write_raises_is_raised_and_its_rows_are_undone(self) -> None:
        def refuse(tx: Tx) -> None:
            add("a")(tx)
            raise Conflict("held")

        with self.assertRaisesRegex(Conflict, "held"):
            self.write(refuse)
        self.assertEqual(self.rows(), set())
        self.write(add("b"))
        self.assertEqual(self.rows(), {"b"})

    def test_a_constraint_may_be_caught_and_answered(self) -> None:
        self.write(add("a"))

        def again(tx: Tx) -> str:
            try:
                add("a")(tx)
            except sqlite3.IntegrityError:
                add("a again")(tx)
                return "there already"
            return "new"

        self.assertEqual(self.write(again), "there already")
        self.assertEqual(self.rows(), {"a", "a again"})

    def test_a_write_that_hides_an_error_of_the_database_is_undone_all_the_same(self) -> None:
        def hide(tx: Tx) -> None:
            add("a")(tx)
            try:
                tx.run("SELECT nonsense")
            except sqlite3.OperationalError:
                pass  # as careless code would

        with self.assertRaises(sqlite3.OperationalError):
            self.write(hide)
        self.assertEqual(self.rows(), set())

    def test_a_tx_that_is_kept_is_of_no_use(self) -> None:
        kept: list[Tx] = []
        self.write(kept.append)
        with self.assertRaisesRegex(RuntimeError, "over"):
            kept[0].run("DELETE FROM notes")

    def test_a_write_inside_a_write_is_refused_instead_of_waiting_for_itself(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "cannot begin another"):
            self.write(lambda tx: self.write(add("b")))

    def test_after_close_writes_are_refused(self) -> None:
        self.assertTrue(self.writer.close())
        with self.assertRaises(Unavailable) as caught:
            self.write(add("a"))
        self.assertEqual(caught.exception.code, "stopping")


class ManyWrites(WriterCase):
    def test_of_64_threads_with_one_in_seven_raising_exactly_the_acknowledged_rows_are_there(self) -> None:
        acknowledged: list[str] = []
        refused = itertools.count()

        def work(thread: int) -> None:
            for number in range(30):
                text = f"{thread}.{number}"
                fails = (thread + number) % 7 == 0

                def fn(tx: Tx, text: str = text, fails: bool = fails) -> str:
                    add(text)(tx)
                    tx.after("wrote", text)
                    if fails:
                        raise Conflict("one in seven")
                    return text

                try:
                    acknowledged.append(self.write(fn))
                except Conflict:
                    next(refused)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            self.assertFalse(thread.is_alive(), "a write was left waiting")
        self.assertEqual(len(acknowledged) + next(refused), 64 * 30)
        self.assertEqual(self.rows(), set(acknowledged))
        self.assertEqual(len(self.effects), len(acknowledged))
        self.assertEqual({text for _, text in self.effects}, set(acknowledged))

    def test_queued_writes_share_one_commit(self) -> None:
        commits: list[str] = []
        self.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        outcomes = self.together(*[add(str(number)) for number in range(20)])
        self.connection.set_trace_callback(None)
        self.assertEqual(outcomes, list(range(1, 21)))
        # The first write waited for the others longer than LONGEST_S, so it commits alone; then the head of the queue leads 19.
        self.assertLessEqual(len(commits), 2)

    def test_a_batch_has_at_most_64_writes(self) -> None:
        commits: list[str] = []
        self.let_a_batch_run(PATIENCE_S)
        self.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        outcomes = self.together(*[add(str(number)) for number in range(MOST + 1)])
        self.connection.set_trace_callback(None)
        self.assertEqual(outcomes, list(range(1, MOST + 2)))
        self.assertEqual(len(commits), 2)

    def test_after_effects_come_in_commit_order_and_before_the_answers(self) -> None:
        """Each write appends its rowid as an effect; the order of effects is that of the rowids, and an answered write's is there."""
        missing: list[int] = []

        def work(thread: int) -> None:
            for number in range(40):

                def fn(tx: Tx, text: str = f"{thread}.{number}") -> int:
                    row = add(text)(tx)
                    tx.after("row", str(row))
                    return row

                row = self.write(fn)
                if ("row", str(row)) not in self.effects:
                    missing.append(row)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(missing, [])
        self.assertEqual(self.effects, [("row", str(row)) for row in range(1, 16 * 40 + 1)])

    def test_after_effects_of_an_undone_write_are_forgotten(self) -> None:
        def refuse(tx: Tx) -> None:
            tx.after("wake", "alice")
            raise Conflict("no")

        def accept(tx: Tx) -> None:
            tx.after("wake", "bob")

        self.together(accept, refuse)
        self.assertEqual(self.effects, [("wake", "bob")])

    def test_an_after_effect_that_fails_is_logged_and_loses_no_answer(self) -> None:
        def fail(effects: list[tuple[str, ...]]) -> None:
            raise ValueError("no such flag")

        self.writer._on_commit = fail

        def accept(tx: Tx) -> str:
            add("a")(tx)
            tx.after("wake", "bob")
            return "done"

        logging.disable(logging.NOTSET)
        with self.assertLogs("lattice.store.writer", "ERROR") as logged:
            self.assertEqual(self.write(accept), "done")
        self.assertIn("no such flag", logged.output[0])
        self.assertEqual(self.rows(), {"a"})

    def test_an_after_effect_sees_what_was_committed_and_writes_nothing(self) -> None:
        seen: list[object] = []

        def look(effects: list[tuple[str, ...]]) -> None:
            seen.append(self.writer.look(lambda tx: [row[0] for row in tx.all("SELECT text FROM notes")]))
            self.writer.look(lambda tx: tx.run("INSERT INTO notes (text) VALUES ('b')"))

        self.writer._on_commit = look

        def accept(tx: Tx) -> None:
            add("a")(tx)
            tx.after("wake", "bob")

        self.write(accept)
        self.assertEqual((seen, self.rows()), ([["a"]], {"a"}))
        self.write(add("c"))
        self.assertEqual(self.rows(), {"a", "c"})

    def test_only_an_after_effect_looks(self) -> None:
        with self.assertRaises(RuntimeError):
            self.writer.look(lambda tx: tx.one("SELECT 1"))

    def test_close_waits_for_what_is_queued(self) -> None:
        closed: list[bool] = []
        closer = threading.Thread(target=lambda: closed.append(self.writer.close(PATIENCE_S)))

        def and_close(tx: Tx) -> int:
            closer.start()
            self.until(lambda: self.writer._closing)
            return add("second")(tx)

        outcomes = self.together(add("first"), and_close, add("third"))
        closer.join(PATIENCE_S)
        self.assertEqual(outcomes, [1, 2, 3])
        self.assertEqual(closed, [True])


class Interrupts(WriterCase):
    def test_an_interrupt_inside_a_write_leaves_no_follower_waiting(self) -> None:
        for kind in (KeyboardInterrupt, SystemExit):
            with self.subTest(kind.__name__):

                def interrupted(tx: Tx, kind: type[BaseException] = kind) -> None:
                    add("half")(tx)
                    raise kind()

                self.connection.execute("DELETE FROM notes")
                outcomes = self.together(interrupted, add("a"), add("b"))
                self.assertIsInstance(outcomes[0], kind)
                self.assertEqual(outcomes[1:], [1, 2])
                self.assertEqual(self.rows(), {"a", "b"})

    def test_an_interrupt_that_hits_the_leader_in_another_ones_write_is_the_leaders(self) -> None:
        self.let_a_batch_run(PATIENCE_S)

        def interrupted(tx: Tx) -> None:
            raise KeyboardInterrupt

        outcomes = self.together(add("leader"), interrupted, add("next"))
        self.assertIsInstance(outcomes[0], KeyboardInterrupt)
        self.assertIsInstance(outcomes[1], Unavailable)
        self.assertEqual(outcomes[1].code, "interrupted")
        self.assertEqual(outcomes[2], 1)
        self.assertEqual(self.rows(), {"next"})


@unittest.skipUnless(hasattr(signal, "pthread_kill"), "this platform cannot interrupt one thread")
class InterruptedWhileWaiting(WriterCase):
    """Ctrl-C reaches the main thread, whose write another thread leads or will lead."""

    def setUp(self) -> None:
        super().setUp()
        if threading.current_thread() is not threading.main_thread():
            self.skipTest("signals reach the main thread only, and this is another")
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        self.let_a_batch_run(PATIENCE_S)

    @staticmethod
    def interrupt() -> None:
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGINT)

    def main_writes(self, leader: Callable[[Tx], Any], fn: Callable[[Tx], Any]) -> None:
        """`leader` leads on a thread while this, the main thread, has `fn` written and is interrupted."""
        leading = threading.Event()

        def lead(tx: Tx) -> None:
            leading.set()
            self.until(lambda: len(self.writer._queue) == 1)
            leader(tx)

        thread = threading.Thread(target=self.write, args=(lead,))
        thread.start()
        self.assertTrue(leading.wait(PATIENCE_S))
        with self.assertRaises(KeyboardInterrupt):
            self.write(fn)
        thread.join(PATIENCE_S)
        self.assertFalse(thread.is_alive())

    def test_a_write_that_nobody_has_begun_is_taken_back(self) -> None:
        def leader(tx: Tx) -> None:
            self.interrupt()
            self.until(lambda: not self.writer._queue)

        self.main_writes(leader, add("taken back"))
        self.assertEqual(self.write(add("next")), 1)
        self.assertEqual(self.rows(), {"next"})

    def test_a_write_that_a_leader_has_taken_is_ended_first(self) -> None:
        def fn(tx: Tx) -> None:
            self.interrupt()
            add("ended")(tx)

        self.main_writes(lambda tx: None, fn)
        self.assertEqual(self.rows(), {"ended"})
        self.assertEqual(self.write(add("next")), 2)


class Failures(WriterCase):
    """A whole batch fails: all of it hear so, and the writer goes on, or ends for good."""

    def setUp(self) -> None:
        super().setUp()
        self.let_a_batch_run(PATIENCE_S)

    def test_a_failing_commit_is_heard_by_every_write_of_the_batch_and_the_next_leads(self) -> None:
        def orphan(tx: Tx) -> None:
            tx.run("INSERT INTO parts (note) VALUES (99)")  # found at COMMIT only

        outcomes = self.together(add("a"), orphan, add("b"))
        self.assertEqual([type(outcome) for outcome in outcomes], [Internal] * 3)
        self.assertEqual({outcome.code for outcome in outcomes}, {"commit_failed"})
        self.assertEqual(len({id(outcome) for outcome in outcomes}), 3)
        self.assertEqual(self.rows(), set())
        self.assertEqual(self.write(add("c")), 1)
        self.assertEqual(self.deaths, [])

    def test_a_refusal_that_rested_on_rows_of_a_failed_commit_is_not_given(self) -> None:
        def orphan(tx: Tx) -> None:
            add("held")(tx)
            tx.run("INSERT INTO parts (note) VALUES (99)")

        def judged(tx: Tx) -> None:
            if tx.one("SELECT 1 FROM notes WHERE text = 'held'"):
                raise Conflict("held")

        outcomes = self.together(orphan, judged)
        self.assertIsInstance(outcomes[1], Internal)

    def test_a_begin_that_fails_is_heard_by_all_who_wait_and_writing_goes_on_afterwards(self) -> None:
        self.connection.execute("PRAGMA busy_timeout=50")
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with self.assertRaises(Unavailable) as caught:
                self.write(add("a"))
            self.assertEqual(caught.exception.code, "database_busy")
            other.execute("ROLLBACK")
        self.assertEqual(self.write(add("a")), 1)

    def test_a_full_database_is_507_and_the_connection_stays_usable(self) -> None:
        pages = self.connection.execute("PRAGMA page_count").fetchone()[0]
        self.connection.execute(f"PRAGMA max_page_count={pages + 1}")
        outcomes = self.together(add("a"), add("b" * 100_000), add("c"))
        self.assertIsInstance(outcomes[1], OutOfSpace)
        acknowledged = {text for text, outcome in zip("a?c", outcomes, strict=True) if isinstance(outcome, int)}
        self.assertEqual(self.rows(), acknowledged)
        for outcome in outcomes:
            self.assertIsInstance(outcome, (int, OutOfSpace))
        self.connection.execute("PRAGMA max_page_count=1000000")
        self.write(add("d"))
        self.assertEqual(self.rows(), acknowledged | {"d"})
        self.assertTrue(self.writer.writable)
        self.assertEqual(self.deaths, [])

    def test_a_disk_that_is_full_at_the_commit_is_507_for_the_whole_batch(self) -> None:
        self.disk.statement, self.disk.code, self.disk.name = "COMMIT", sqlite3.SQLITE_FULL, "SQLITE_FULL"
        outcomes = self.together(add("a"), add("b"))
        self.assertEqual([type(outcome) for outcome in outcomes], [OutOfSpace] * 2)
        self.assertFalse(self.writer.writable)
        self.disk.statement = ""
        self.assertEqual(self.write(add("c")), 1)
        self.assertTrue(self.writer.writable)
        self.assertEqual(self.rows(), {"c"})

    def test_a_transaction_that_sqlite_gave_up_is_lost_to_the_whole_batch_and_nothing_commits_by_itself(self) -> None:
        def gives_up(tx: Tx) -> None:
            add("a")(tx)
            try:
                tx.run("INSERT OR ROLLBACK INTO notes (text) VALUES ('a')")
            except sqlite3.IntegrityError:
                add("stray")(tx)

        outcomes = self.together(add("before"), gives_up, add("after"))
        self.assertIsInstance(outcomes[0], Refusal)
        self.assertIsInstance(outcomes[1], Refusal)
        self.assertEqual(outcomes[2], 1)
        self.assertEqual(self.rows(), {"after"})

    def test_a_read_only_database_is_said_to_be_and_written_again_later(self) -> None:
        self.connection.execute("PRAGMA query_only=1")
        with self.assertRaisesRegex(Unavailable, "read-only") as caught:
            self.write(add("a"))
        self.assertEqual(caught.exception.code, "read_only")
        self.assertFalse(self.writer.writable)
        self.connection.execute("PRAGMA query_only=0")
        self.assertEqual(self.write(add("a")), 1)
        self.assertTrue(self.writer.writable)

    def test_an_error_of_the_sync_is_unknown_to_the_batch_and_fatal_once(self) -> None:
        self.disk.statement = "COMMIT"
        outcomes = self.together(add("a"), add("b"), add("c"))
        self.assertEqual([outcome.code for outcome in outcomes], ["unknown_result"] * 3)
        self.assertEqual({type(outcome) for outcome in outcomes}, {Internal})
        self.disk.statement = ""
        for _ in range(3):
            with self.assertRaises(Unavailable):
                self.write(add("d"))
        self.assertEqual(len(self.deaths), 1)
        self.assertIn("SQLITE_IOERR_FSYNC", self.deaths[0])
        self.assertEqual(self.effects, [])

    def test_after_a_fatal_error_those_in_the_queue_are_told_that_nothing_was_stored(self) -> None:
        self.let_a_batch_run(0.0)  # the first commits alone
        self.disk.statement = "COMMIT"
        outcomes = self.together(add("a"), add("b"), add("c"))
        self.assertEqual([outcome.code for outcome in outcomes], ["unknown_result", "stopping", "stopping"])
        self.assertEqual(len(self.deaths), 1)

    def test_damage_found_by_a_write_is_fatal(self) -> None:
        self.disk.statement, self.disk.code, self.disk.name = "INSERT", sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
        with self.assertRaises(Internal):
            self.write(add("a"))
        self.assertEqual(len(self.deaths), 1)

    def test_an_on_fatal_that_fails_leaves_no_one_waiting(self) -> None:
        def fail(message: str) -> None:
            raise ValueError(message)

        self.writer._on_fatal = fail
        self.disk.statement = "COMMIT"
        outcomes = self.together(add("a"), add("b"))
        self.assertEqual([outcome.code for outcome in outcomes], ["unknown_result"] * 2)


if __name__ == "__main__":
    unittest.main()
