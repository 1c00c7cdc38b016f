"""A call waits for its turn to write, and others are served meanwhile: it is done for who its caller then is, or not at all."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

from lattice.store import database
from lattice.store.database import READERS
from tests.broker.broking import PERSON, BrokerCase

WAITS = {"/lock": "lock_file", "/tasks/claim": "claim_task", "/leave": "leave"}


class Meanwhile(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1")
        self.task = self.house.task("arch")

    def ask_while(self, meanwhile: Callable[[], Any], who: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """The answer to a write, before whose turn something else is done."""
        real, pending = self.house.broker.write, [meanwhile]

        def after_others(fn: Any, op: str) -> Any:
            if pending and op == WAITS[path]:
                pending.pop()()
            return real(fn, op)

        with mock.patch.object(self.house.broker, "write", after_others):
            answer = self.house.ask(who, "POST", path, body)
        self.assertEqual(pending, [], "it was done meanwhile")
        return answer

    def granted(self) -> tuple[list[Any], str]:
        return self.house.rows("SELECT peer_id FROM locks"), str(self.house.value("SELECT status FROM tasks"))

    def test_who_was_killed_is_granted_nothing(self) -> None:
        for path, body in (("/lock", {"file_path": "/src/a.py"}), ("/tasks/claim", {"task_id": self.task})):
            status, said = self.ask_while(lambda: self.house.post("arch", "/kill-peer", peer_id="w1"), "w1", path, **body)
            self.assertEqual((status, said["code"]), (401, "killed"), said)
            self.assertEqual(self.granted(), ([], "pending"))
            self.house.post(PERSON, "/resume", peer_id="w1")
            self.house.enrol("w1")

    def test_who_was_killed_cannot_leave_instead(self) -> None:
        status, said = self.ask_while(lambda: self.house.post("arch", "/kill-peer", peer_id="w1"), "w1", "/leave")
        self.assertEqual((status, said["code"], self.house.status("w1")), (401, "killed", "killed"), said)

    def test_who_was_unregistered_is_granted_nothing(self) -> None:
        status, said = self.ask_while(
            lambda: self.house.post("arch", "/unregister", peer_id="w1"), "w1", "/lock", file_path="/src/a.py"
        )  # fmt: skip
        self.assertEqual((status, said["code"]), (404, "not_registered"), said)
        self.assertEqual(self.granted(), ([], "pending"))

    def test_a_process_that_was_replaced_is_granted_nothing(self) -> None:
        old = self.house.tokens["w1"]
        self.house.clock.advance(5)  # it missed a beat, so that its next process may take the id over

        def replaced() -> None:
            self.house.enrol("w1", process="second")
            self.house.tokens["w1"], self.house.tokens["new"] = old, self.house.tokens["w1"]

        status, said = self.ask_while(replaced, "w1", "/tasks/claim", task_id=self.task)
        self.assertEqual((status, said["code"], said["taken_over"]), (401, "token_expired", True), said)
        self.assertEqual(self.granted(), ([], "pending"))
        self.house.post("new", "/tasks/claim", task_id=self.task)

    def test_who_was_given_up_lives_again_and_what_it_is_granted_is_swept_when_it_is_silent(self) -> None:
        self.house.pass_time(15, "arch")
        self.house.clock.advance(1)
        status, said = self.ask_while(self.house.sweep.tick, "w1", "/lock", file_path="/src/a.py")
        self.assertEqual((status, self.house.status("w1")), (200, "active"), said)
        self.house.pass_time(16, "arch")
        self.assertEqual((self.house.status("w1"), self.granted()), ("dead", ([], "pending")))

    def test_a_beat_that_crosses_the_sweep_leaves_nobody_dead_who_is_granted_something(self) -> None:
        """It was given up, and heard before that was known to all: it is dead, and not late."""
        self.house.pass_time(15, "arch")
        self.house.clock.advance(1)
        real = self.house.broker.presence.drop_late

        def heard_first(peer_id: str, now: float) -> None:
            self.house.broker.presence.heard(peer_id, self.house.clock.monotonic(), self.house.clock.now(), 3.0)
            real(peer_id, now)

        with mock.patch.object(self.house.broker.presence, "drop_late", heard_first):
            self.house.sweep.tick()
        self.assertEqual("dead", self.house.status("w1"))
        self.house.post("w1", "/lock", file_path="/src/a.py")
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(16, "arch")
        self.assertEqual((self.house.status("w1"), self.granted()), ("dead", ([], "pending")))

    def test_the_last_words_of_who_was_given_up_do_not_bring_it_back(self) -> None:
        self.house.pass_time(15, "arch")
        self.house.clock.advance(1)
        status, _ = self.ask_while(self.house.sweep.tick, "w1", "/leave")
        self.assertEqual((status, self.house.status("w1")), (200, "away"))

    def test_the_person_gives_nothing_to_who_was_ended(self) -> None:
        status, said = self.ask_while(
            lambda: self.house.post("arch", "/kill-peer", peer_id="w1"), PERSON, "/lock", file_path="/src/a.py", peer_id="w1"
        )  # fmt: skip
        self.assertEqual((status, said["code"]), (404, "not_found"), said)
        self.assertEqual(self.granted(), ([], "pending"))

    def test_of_two_processes_that_take_an_id_up_in_one_commit_one_has_it(self) -> None:
        self.house.pass_time(16, "arch")
        resume = self.house.resumes["w1"]
        answers = self.house.in_one_commit(
            *(lambda process=process: self.house.register("w1", process=process, resume=resume) for process in ("second", "third"))
        )
        self.assertEqual([status for status, _ in answers], [200, 409])
        self.assertEqual(answers[1][1]["code"], "id_taken")


class SlowReaders(BrokerCase):
    def test_while_all_readers_are_busy_a_kill_takes_effect_at_once(self) -> None:
        """What a commit changes is known when it is answered, whoever reads how slowly meanwhile."""
        self.house.crew("w1")
        go_on = threading.Event()
        inside = threading.Barrier(READERS + 1)

        def stay(tx: Any) -> None:
            inside.wait(20)
            go_on.wait(20)

        with mock.patch.object(database, "READER_WAIT_S", 0.1), ThreadPoolExecutor(READERS) as threads:
            try:
                for _ in range(READERS):
                    threads.submit(self.house.broker.read, stay)
                inside.wait(20)
                self.house.post("arch", "/kill-peer", peer_id="w1")
                self.refused(401, "w1", "/lock", {"file_path": "/src/a.py"}, code="killed")
                self.house.enrol("w2")
                self.house.post("w2", "/lock", file_path="/src/a.py")
            finally:
                go_on.set()


if __name__ == "__main__":
    unittest.main()
