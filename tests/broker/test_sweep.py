"""The sweep: whoever is late is let go, whatever ran out is over, and nothing that fails stops it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import unittest
from typing import Any
from unittest import mock

from lattice.broker import sweep
from lattice.clock import ManualClock
from lattice.domain import events
from lattice.store import confined
from tests.broker.broking import BrokerCase


class TheSweepCannotDie(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        logging.disable(logging.CRITICAL)  # what it logs of the planted faults
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_a_fault_in_any_job_or_chore_keeps_no_other_from_running_and_none_from_running_again(self) -> None:
        ours = self.house.sweep
        for faulty in [*ours.jobs, *ours.chores]:
            ran: list[str] = []
            fails = [True]

            def stand_in(job: object, ran: list[str] = ran, fails: list[bool] = fails, faulty: object = faulty) -> object:
                def run() -> None:
                    if job == faulty and fails[0]:
                        raise RuntimeError("planted")
                    ran.append(job.__name__)  # type: ignore[attr-defined]

                return run

            names = [job.__name__ for job in [*ours.jobs, *ours.chores]]
            with (
                mock.patch.object(ours, "jobs", [stand_in(job) for job in ours.jobs]),
                mock.patch.object(ours, "chores", [stand_in(job) for job in ours.chores]),
            ):
                self.house.clock.advance(61)
                ours.tick()
                self.assertEqual([name for name in names if name != faulty.__name__], ran)
                fails[0] = False
                ran.clear()
                self.house.clock.advance(61)
                ours.tick()
                self.assertEqual(names, ran)

    def test_a_database_that_cannot_be_written_is_said_once_for_each_job_and_tried_until_it_can(self) -> None:
        logging.disable(logging.NOTSET)
        self.house.crew("a1")
        self.only_read(1)
        self.refused(503, "a1", "/memory", {"key": "k", "value": "v"}, code="read_only")
        with self.assertLogs("lattice.broker", "WARNING") as said:
            for _ in range(20):  # a1 is late after 15
                self.house.sleep(1)
                self.house.sweep.tick()
        self.assertFalse(self.house.broker.about()["writable"])
        self.assertEqual([], [line for line in said.output if "Traceback" in line])
        self.assertEqual(1, len([line for line in said.output if "writable_again" in line and "is read-only" in line]), said.output)
        self.assertEqual(1, len([line for line in said.output if "late_peers a1: " in line]), said.output)
        self.only_read(0)
        with self.assertLogs("lattice.store.writer", "WARNING") as said:
            self.house.sweep.tick()
        self.assertTrue(self.house.broker.about()["writable"])
        self.assertIn("can be written again", said.output[0])
        self.house.sweep.tick()
        self.assertLessEqual(self.house.value("SELECT COUNT(*) FROM events WHERE op = 'writable'"), 1, "and is left in peace then")

    def only_read(self, on: int) -> None:
        """What the writer's connection finds where the disk is read-only."""
        connection = self.house.broker.database._connection
        confined.release(connection)
        connection.execute(f"PRAGMA query_only={on}")
        confined.confine(connection, writes=True)

    def test_one_peer_that_cannot_be_let_go_does_not_keep_the_others(self) -> None:
        self.house.crew("a1", "b2", "c3")
        real = sweep.departures.lost

        def lost(tx: object, peer_id: str, **more: bool) -> object:
            if peer_id == "b2":
                raise RuntimeError("planted")
            return real(tx, peer_id, **more)  # type: ignore[arg-type]

        with mock.patch.object(sweep.departures, "lost", lost):
            self.house.pass_time(16, "arch")
            self.assertEqual(["dead", "active", "dead"], [self.house.status(id) for id in ("a1", "b2", "c3")])
        self.house.pass_time(1, "arch")
        self.assertEqual("dead", self.house.status("b2"))

    def test_a_tick_that_fails_as_a_whole_is_followed_by_the_next(self) -> None:
        ours = self.house.sweep
        with mock.patch.object(sweep, "TICK_S", 0.001), mock.patch.object(ours, "tick") as tick:
            seen = 0

            def failing() -> float:
                nonlocal seen
                seen += 1
                if seen >= 3:
                    ours._stopped.set()
                raise RuntimeError("planted")

            tick.side_effect = failing
            ours._run()
        self.assertEqual(3, seen)

    def test_health_says_how_long_ago_it_last_ran(self) -> None:
        self.house.clock.advance(30)
        self.assertEqual(30.0, self.house.get("", "/health")["sweep_age_s"])
        self.assertEqual(503, self.house.ask("", "GET", "/ready")[0])
        self.house.sweep.tick()
        self.assertEqual(0.0, self.house.get("", "/health")["sweep_age_s"])
        self.assertEqual(200, self.house.ask("", "GET", "/ready")[0])


class LateTicks(BrokerCase):
    def test_after_a_late_tick_everyone_gets_a_full_term(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.post("w1", "/lock", file_path="/src/b.py", ttl_s=5)
        with self.assertLogs("lattice.broker", "WARNING"):
            self.house.sleep(8 * 3600)
            self.house.sweep.tick()
        self.assertEqual(("active", 2), (self.house.status("w1"), len(self.house.get("w1", "/locks")["locks"])))
        self.house.pass_time(16, "arch")
        self.assertEqual(("dead", 0), (self.house.status("w1"), len(self.house.get("arch", "/locks")["locks"])))

    def test_a_broker_that_is_held_up_in_the_middle_of_a_tick_gives_nobody_up(self) -> None:
        """Stopped for 20 s (SIGSTOP, a sleeping machine) just after it had looked at the clock."""
        self.house.crew("w1")
        real = self.house.broker.presence.late

        def held_up(now: float) -> list[str]:
            self.house.clock.advance(20)
            return real(now)

        with mock.patch.object(self.house.broker.presence, "late", held_up):
            self.house.sweep.tick()
        with self.assertLogs("lattice.broker", "WARNING"):
            self.house.sweep.tick()
        self.assertEqual("active", self.house.status("w1"))

    def test_a_peer_that_is_heard_while_its_end_waits_for_the_writer_is_not_given_up(self) -> None:
        self.house.crew("w1")
        self.house.pass_time(15, "arch")
        self.house.clock.advance(1)
        real = self.house.broker.write

        def heard_first(fn: object, op: str) -> object:
            if op == "sweep":
                self.house.broker.presence.heard("w1", self.house.clock.monotonic(), self.house.clock.now(), 3.0)
            return real(fn, op)  # type: ignore[arg-type]

        with mock.patch.object(self.house.broker, "write", heard_first):
            self.house.sweep.tick()
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(16, "arch")
        self.assertEqual("dead", self.house.status("w1"))

    def test_a_peer_that_enrols_in_the_commit_that_would_end_it_is_not_given_up(self) -> None:
        self.house.crew()
        self.house.enrol("w1", process="first")
        token = self.house.post("w1", "/lock", file_path="/src/a.py")["token"]
        self.house.pass_time(15, "arch")
        self.house.clock.advance(1)
        self.house.in_one_commit(lambda: self.house.enrol("w1", process="second"), self.house.sweep.tick)
        self.assertEqual("active", self.house.status("w1"))
        [held] = self.house.post("w1", "/locks/renew")["locks"]
        self.assertGreater(held["token"], token)

    def test_the_wall_clock_may_jump_and_nobody_is_given_up(self) -> None:
        self.house.crew("w1")
        clock: ManualClock = self.house.clock
        for jump in (-3600.0, 3600.0, 10 * 365 * 86400.0, -1_700_000_000.0):
            clock._now += jump
            self.house.sweep.tick()
            self.assertEqual("active", self.house.status("w1"), jump)

    def test_a_restart_gives_a_full_term(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.post("w1", "/lock", file_path="/src/b.py", ttl_s=5)
        self.house.sleep(1000)
        self.house.restart()
        self.house.pass_time(6, "arch")  # counted from the first tick
        self.assertEqual(2, len(self.house.get("w1", "/locks")["locks"]))
        self.house.pass_time(1, "arch")
        self.assertEqual(["/src/a.py"], [one["file_path"] for one in self.house.get("w1", "/locks")["locks"]])
        self.house.pass_time(8, "arch")
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(1, "arch")
        self.assertEqual(("dead", []), (self.house.status("w1"), self.house.get("arch", "/locks")["locks"]))

    def test_what_ran_out_while_the_broker_was_down_runs_out_for_one_that_was_away_too(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.post("w1", "/leave")
        self.house.restart()
        self.house.pass_time(16, "arch")
        self.assertEqual([], self.house.get("arch", "/locks")["locks"])


class LeasesOfLocks(BrokerCase):
    def test_a_lock_with_a_term_of_its_own_lapses_so_long_after_the_last_beat_and_its_holder_is_told(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/lock", file_path="/src/a.py", ttl_s=5)
        self.house.pass_time(20, "arch", "w1")
        self.assertTrue(self.house.get("w1", "/locks/check?file_path=/src/a.py")["yours"])
        self.house.pass_time(6, "arch")
        self.assertEqual([], self.house.get("arch", "/locks")["locks"])
        self.assertEqual((["/src/a.py"], "active"), (self.house.beat("w1")["lost"], self.house.status("w1")))

    def test_asking_again_refreshes_a_term(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/lock", file_path="/src/a.py", ttl_s=8)
        self.house.pass_time(6, "arch")
        self.house.post("w1", "/lock", file_path="/src/a.py", ttl_s=8)
        self.house.pass_time(7, "arch")
        self.assertEqual(1, len(self.house.get("arch", "/locks")["locks"]))

    def test_a_lock_that_is_renewed_while_its_end_waits_for_the_writer_does_not_lapse(self) -> None:
        self.house.crew("w1")
        real = self.house.broker.write
        renewals = {
            "/heartbeat": {}, "/locks/renew": {}, "/lock": {"file_path": "/src/a.py", "ttl_s": 8},
        }  # fmt: skip
        for path, body in renewals.items():
            with self.subTest(renewed_by=path):
                self.house.beat("w1")
                token = self.house.post("w1", "/lock", file_path="/src/a.py", ttl_s=8)["token"]
                self.house.pass_time(8, "arch")
                self.house.clock.advance(1)
                waited = []

                def renewed_first(fn: object, op: str, path: str = path, body: Any = body, waited: list[str] = waited) -> object:
                    if op == "lapse":
                        waited.append(op)
                        self.house.post("w1", path, **body)
                    return real(fn, op)  # type: ignore[arg-type]

                with mock.patch.object(self.house.broker, "write", renewed_first):
                    self.house.sweep.tick()
                self.assertEqual(["lapse"], waited, "the sweep had seen it run out")
                self.assertTrue(self.house.get("w1", f"/locks/check?file_path=/src/a.py&token={token}")["token_is_current"])
                self.house.pass_time(9, "arch")
                self.assertEqual([], self.house.get("arch", "/locks")["locks"])

    def test_a_lock_asked_for_again_in_the_commit_that_would_end_it_does_not_lapse(self) -> None:
        self.house.crew("w1")
        token = self.house.post("w1", "/lock", file_path="/src/a.py", ttl_s=8)["token"]
        self.house.pass_time(8, "arch")
        self.house.clock.advance(1)
        again, _ = self.house.in_one_commit(
            lambda: self.house.post("w1", "/lock", file_path="/src/a.py", ttl_s=8),
            self.house.sweep.tick,
        )  # fmt: skip
        self.assertEqual(token, again["token"])
        self.assertTrue(self.house.get("w1", f"/locks/check?file_path=/src/a.py&token={token}")["token_is_current"])

    @unittest.skipIf(sys.platform == "win32", "there a pid cannot be probed")
    def test_after_an_abnormal_loss_a_lock_is_closed_while_its_holders_process_may_be_frozen(self) -> None:
        self.house.crew("w2")
        self.house.enrol("w1", pid=os.getpid())  # a process that is there, and does not beat
        token = self.house.post("w1", "/lock", file_path="/src/a.py")["token"]
        self.house.pass_time(16, "arch", "w2")
        self.refused(409, "w2", "/lock", {"file_path": "/src/a.py"}, code="lock_closed")
        check = self.house.get("w1", f"/locks/check?file_path=/src/a.py&token={token}")
        self.assertEqual((False, False), (check["yours"], check["token_is_current"]))
        self.refused(409, "w1", "/unlock", {"file_path": "/src/a.py", "token": token}, code="stale_token")
        self.house.pass_time(29, "arch", "w2")
        self.refused(409, "w2", "/lock", {"file_path": "/src/a.py"}, code="lock_closed")
        self.house.pass_time(3, "arch", "w2")
        self.assertGreater(self.house.post("w2", "/lock", file_path="/src/a.py")["token"], token)

    @unittest.skipIf(sys.platform == "win32", "there a pid cannot be probed")
    def test_a_lock_whose_holders_process_is_seen_to_be_gone_is_free_at_once(self) -> None:
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", "pass"]) as ended:
            pass
        self.house.crew("w2")
        self.house.enrol("w1", pid=ended.pid)
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.pass_time(16, "arch", "w2")
        self.house.post("w2", "/lock", file_path="/src/a.py")

    @unittest.skipIf(sys.platform == "win32", "there a pid cannot be probed")
    def test_a_closed_lock_opens_as_soon_as_the_process_is_gone(self) -> None:
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as frozen:
            self.house.crew("w2")
            self.house.enrol("w1", pid=frozen.pid)
            self.house.post("w1", "/lock", file_path="/src/a.py")
            self.house.pass_time(16, "arch", "w2")
            self.refused(409, "w2", "/lock", {"file_path": "/src/a.py"}, code="lock_closed")
            frozen.communicate(b"\n")
        self.house.pass_time(1, "arch", "w2")
        self.house.post("w2", "/lock", file_path="/src/a.py")

    def test_a_clean_end_closes_nothing(self) -> None:
        self.house.crew("w2")
        self.house.enrol("w1", pid=os.getpid())
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.house.post("w1", "/leave")
        self.house.pass_time(16, "arch", "w2")
        self.house.post("w2", "/lock", file_path="/src/a.py")


class Chores(BrokerCase):
    def test_an_unnamed_peer_away_for_an_hour_is_gone_and_its_mail_is_dead_and_the_sender_hears_of_it(self) -> None:
        self.house.crew("w1")
        self.house.enrol("nobody-1", named=False)
        self.house.post("nobody-1", "/leave")
        sent = self.house.send("w1", "nobody-1", "are you there?")["message_id"]
        self.house.pass_time(60, "w1", "arch")
        self.assertEqual("away", self.house.status("nobody-1"))
        self.house.sleep(3500)
        with self.assertLogs("lattice.broker", "WARNING"):
            self.house.sweep.tick()
        self.house.pass_time(61, "w1", "arch")
        self.assertEqual(("gone", "dead"), (self.house.status("nobody-1"), self.house.state(sent, "nobody-1")))
        self.assertIn(f"message {sent} did not reach nobody-1", self.house.texts("w1")[0])
        self.refused(404, "w1", "/send", {"recipient_id": "nobody-1", "category": "finding", "content": "x"})

    def test_a_named_peer_keeps_its_mailbox_however_long_it_is_away(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/leave")
        self.assertEqual("away", self.house.send("arch", "w1", "for later")["recipient"])
        for _ in range(3):
            self.house.sleep(86_400)
            with self.assertLogs("lattice.broker", "WARNING"):
                self.house.sweep.tick()
            self.house.restart()
        self.house.enrol("w1")
        self.assertEqual(["for later"], self.house.texts("w1"))

    def test_a_dead_peer_that_had_sent_and_made_things_is_forgotten_without_harm(self) -> None:
        """v4's sweeper died of a foreign key here."""
        self.house.crew("w1")
        self.house.enrol("nobody-1", named=False)
        self.house.send("nobody-1", "w1")
        task = self.house.task("nobody-1", "left behind")
        self.house.post("nobody-1", "/memory", key="k", value="v")
        self.house.pass_time(20, "w1", "arch")
        self.house.sleep(3600)
        with self.assertLogs("lattice.broker", "WARNING"):
            self.house.sweep.tick()
        self.house.pass_time(61, "w1", "arch")
        self.assertEqual("gone", self.house.status("nobody-1"))
        self.assertEqual("nobody-1", self.house.get("w1", f"/tasks/{task}")["task"]["created_by"])
        self.assertEqual(["hello"], self.house.texts("w1"))

    def test_keys_and_turns_do_not_grow_for_ever_and_snapshots_are_made(self) -> None:
        self.house.crew("w1")
        self.house.post("w1", "/conversation", turn_type="user", content="hi")
        self.house.send("w1", "arch", idempotency_key="k1")
        self.house.change("UPDATE conversations SET timestamp = timestamp - 8 * 86400")
        self.house.change("UPDATE idempotency SET at = at - 2 * 86400")
        with mock.patch.object(events, "SNAPSHOT_EVERY", 1):
            self.house.pass_time(90, "w1", "arch")
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM conversations"))
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM idempotency"))
        self.assertEqual(1, self.house.value("SELECT COUNT(*) FROM events WHERE kind = 'snapshot'"))


if __name__ == "__main__":
    unittest.main()
