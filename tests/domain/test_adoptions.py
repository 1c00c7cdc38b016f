"""Adoptions: a session goes on with what a departed one left, and the departed one, should it come back, is refused."""

from __future__ import annotations

import os
import unittest

from tests.broker.broking import PERSON
from tests.domain.test_lock_reach import LockCase


class AdoptionCase(LockCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.enrol("old", working_dir=self.repo, process="life-1")

    def at_work(self) -> int:
        """`old` has a task, a lock, mail and a question; its task's number."""
        task = self.house.task("arch", "the work")
        self.house.post("old", "/tasks/claim", task_id=task)
        self.lock("old", "src/")
        self.house.send("ann", "old", "look at this")
        self.house.post("old", "/escalations", kind="blocker", text="which port?")
        return task

    def depart(self) -> None:
        self.leave_alone("old", "ann", "bob", "cleo", "arch")

    def adopt(self, who: str, peer_id: str = "old") -> dict[str, object]:
        return self.house.post(who, "/adopt", peer_id=peer_id)


class GoingOnWithIt(AdoptionCase):
    def test_task_lock_mail_and_question_are_the_adopters_with_larger_tokens(self) -> None:
        task = self.at_work()
        token = self.house.value("SELECT MAX(token) FROM locks")
        self.depart()
        said = self.adopt("bob")
        self.assertEqual(([task], [f"{self.repo}/src"], 1), (said["tasks"], said["locks"], said["messages"]))
        self.assertEqual(["src"], self.held("bob"))
        for table in ("locks", "tasks"):
            self.assertGreater(self.house.value(f"SELECT MAX(token) FROM {table}"), token)
        self.assertEqual(["look at this"], self.house.texts("bob"))
        self.house.post("arch", "/escalations/1/resolve", verdict="answer", answer="8080")
        self.assertTrue(any("8080" in text for text in self.house.texts("bob")))
        self.house.complete("bob", task)

    def test_what_it_had_not_lost_yet_passes_on_without_a_gap_before_all_who_wait(self) -> None:
        task = self.at_work()
        self.lock("cleo", "src/a.py", queue=True)
        self.house.post("old", "/leave", process="life-1")
        self.assertEqual("away", self.house.status("old"))
        said = self.adopt("bob")
        self.assertEqual(([task], ["src"]), (said["tasks"], self.held("bob")))
        self.no_lock("cleo", "src/a.py")
        self.assertEqual([], self.house.texts("cleo"))
        self.unlock("bob", "src/")
        self.assertTrue(any("is free now" in text for text in self.house.texts("cleo")))

    def test_a_note_that_reads_like_a_departure_gives_a_task_to_nobody(self) -> None:
        task = self.house.task("arch", "the work")
        self.house.post("ann", "/tasks/claim", task_id=task)
        self.house.post("ann", f"/tasks/{task}/release", reason="old departed (x")
        self.depart()
        self.house.enrol("old", working_dir=self.repo, process="life-2")
        self.assertEqual("pending", self.house.value("SELECT status FROM tasks"))
        self.depart()
        self.assertEqual([], self.adopt("bob")["tasks"])

    def test_who_adopts_what_another_waits_for_may_go_on_where_it_waited_behind_it(self) -> None:
        self.lock("old", "src/a.py")
        self.lock("cleo", "src/", queue=True)
        self.lock("bob", "src/b.py", queue=True)
        self.house.post("old", "/leave", process="life-1")
        self.adopt("bob")
        self.assertTrue(any("src/b.py is free now" in text for text in self.house.texts("bob")))
        self.lock("bob", "src/b.py")

    def test_what_others_took_since_stays_theirs(self) -> None:
        task = self.at_work()
        self.lock("old", "lib/")
        self.depart()
        self.house.post("cleo", "/tasks/claim", task_id=task)
        self.lock("cleo", "src/a.py")
        self.lock("ann", "lib/b.py")
        self.unlock("ann", "lib/b.py")
        said = self.adopt("bob")
        self.assertEqual(([], []), (said["tasks"], said["locks"]), "one is held, the other was changed meanwhile, perhaps")

    def test_a_reader_is_adopted_as_a_reader(self) -> None:
        self.lock("old", "src/", shared=True)
        self.lock("cleo", "src/a.py", shared=True)
        self.lock("old", "lib/", shared=True)
        self.lock("bob", "lib/", shared=True)
        self.depart()
        self.adopt("bob")
        self.assertEqual(["lib", "src"], sorted(self.held("bob")))
        self.assertEqual("shared", self.house.value("SELECT mode FROM locks WHERE peer_id = 'bob' AND file_path LIKE '%src'"))

    def test_a_closed_lock_is_the_adopters_at_once(self) -> None:
        self.house.enrol("cold", working_dir=self.repo, pid=os.getpid())
        self.lock("cold", "lib/")
        self.leave_alone("cold", "bob", "cleo", "arch")
        self.no_lock("cleo", "lib/a.py", code="lock_closed")
        self.assertEqual([f"{self.repo}/lib"], self.adopt("bob", "cold")["locks"])
        self.house.pass_time(40, "bob", "arch")
        self.assertEqual(["lib"], self.held("bob"))

    def test_mail_that_is_held_or_was_given_up_for_want_of_proof_comes_too(self) -> None:
        given_up = self.house.send("ann", "old", "read me")["message_id"]
        for _ in range(5):
            receipts = [one["receipt"] for one in self.house.take("old")]
            self.house.post("old", "/inbox/return", receipts=receipts)
        self.assertEqual("dead", self.house.state(given_up, "old"))
        for number in range(4):
            held = self.house.send("ann", "old", "the same words")["message_id"]
            self.assertEqual("held" if number == 3 else "queued", self.house.state(held, "old"))
        self.depart()
        self.adopt("bob")
        self.assertEqual("queued", self.house.state(given_up, "bob"))
        self.assertEqual("held", self.house.state(held, "bob"))
        self.house.post(PERSON, f"/messages/{held}/release")
        self.assertEqual(["read me", *["the same words"] * 4], self.house.texts("bob"))

    def test_what_was_reserved_for_it_is_for_the_adopter(self) -> None:
        task = self.house.task("arch")
        self.house.post("arch", f"/tasks/{task}/assign", peer_id="old")
        self.house.post("old", "/leave", process="life-1")
        self.adopt("bob")
        self.refused(409, "cleo", "/tasks/claim", {"task_id": task})
        self.house.post("bob", "/tasks/claim", task_id=task)

    def test_the_architects_seat_is_not_adopted(self) -> None:
        self.leave_alone("arch", "bob")
        self.adopt("bob", "arch")
        self.assertEqual("worker", self.house.value("SELECT role FROM peers WHERE id = 'bob'"))
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM seats"))

    def test_twice_is_once(self) -> None:
        self.at_work()
        self.depart()
        self.adopt("bob")
        again = self.adopt("bob")
        self.assertEqual(([], [], 0), (again["tasks"], again["locks"], again["messages"]))
        self.assertEqual(["src"], self.held("bob"))


class WhoMay(AdoptionCase):
    def test_nobody_adopts_an_active_peer_itself_or_one_of_another_workspace(self) -> None:
        self.refused(409, "bob", "/adopt", {"peer_id": "old"})
        self.refused(400, "bob", "/adopt", {"peer_id": "bob"})
        self.refused(404, "bob", "/adopt", {"peer_id": "nobody"})
        self.house.enrol("far", workspace="other")
        self.depart()
        self.refused(404, "far", "/adopt", {"peer_id": "old"})
        self.house.enrol("eve", "architect", workspace="elsewhere")
        self.refused(404, "eve", "/adopt", {"peer_id": "old"})
        self.house.post("arch", "/unregister", peer_id="old")
        self.refused(404, "bob", "/adopt", {"peer_id": "old"})

    def test_one_that_was_ended_is_adopted_by_who_leads(self) -> None:
        self.at_work()
        self.house.post("arch", "/kill-peer", peer_id="old")
        self.refused(403, "bob", "/adopt", {"peer_id": "old"})
        self.assertEqual([f"{self.repo}/src"], self.adopt("arch")["locks"])
        self.assertEqual("killed", self.house.status("old"))
        self.refused(401, "old", "/heartbeat", code="killed")


class TheZombie(AdoptionCase):
    def test_the_one_that_was_adopted_is_refused_with_its_token_and_its_grants(self) -> None:
        task = self.at_work()
        token = self.house.value("SELECT token FROM locks WHERE peer_id = 'old'")
        claim = self.house.value("SELECT token FROM tasks WHERE id = ?", task)
        self.depart()
        self.adopt("bob")
        for path, body in (("/heartbeat", {}), ("/guard", {"paths": ["src/a.py"]}), ("/unlock", {"file_path": "src/", "token": token}),
                           ("/tasks/complete", {"task_id": task, "token": claim, "artifacts": {"summary": "mine"}})):  # fmt: skip
            self.refused(401, "old", path, body, code="token_expired")
        self.house.resumes.pop("old")
        self.house.enrol("old", working_dir=self.repo, process="life-1")  # it enrols anew: nothing of it is its own
        self.assertEqual(([], ["src"]), (self.held("old"), self.held("bob")))
        self.refused(409, "old", "/unlock", {"file_path": "src/", "token": token}, code="stale_token")
        self.refused(409, "old", "/tasks/complete", {"task_id": task, "token": claim, "artifacts": {"summary": "mine"}}, code="stale_token")
        self.may_not("old", "src/a.py")
        self.unlock("bob", "src/")
        self.assertIn("adopted by bob", self.may_not("old", "src/a.py", code="stale_token")["reason"])
        self.house.pass_time(6, "bob", "arch")
        self.house.enrol("old", working_dir=self.repo, process="life-2")
        self.assertEqual([], self.held("old"), "what was adopted does not come back by itself")


class ANewProcess(AdoptionCase):
    def test_a_new_process_of_a_known_id_gets_new_tokens_and_the_old_ones_are_stale(self) -> None:
        task = self.at_work()
        bearer = self.house.tokens["old"]
        lock, claim = (self.house.value(f"SELECT MAX(token) FROM {table}") for table in ("locks", "tasks"))
        self.house.pass_time(6, "ann", "bob", "arch")  # a beat is missed
        self.house.enrol("old", working_dir=self.repo, process="life-2")
        fresh = self.house.tokens["old"]
        self.assertEqual(["src"], self.held("old"))
        self.assertGreater(self.house.value("SELECT token FROM locks"), lock)
        self.refused(409, "old", "/unlock", {"file_path": "src/", "token": lock}, code="stale_token")
        self.refused(409, "old", "/tasks/complete", {"task_id": task, "token": claim, "artifacts": {"summary": "x"}}, code="stale_token")
        self.house.tokens["old"] = bearer
        self.refused(401, "old", "/heartbeat", code="token_expired")
        self.house.tokens["old"] = fresh
        self.house.complete("old", task)
        self.house.pass_time(10, "old", "arch")
        self.assertEqual(["src"], self.held("old"))

    def test_the_same_process_keeps_its_tokens(self) -> None:
        self.at_work()
        before = self.house.rows("SELECT file_path, token FROM locks UNION SELECT id, token FROM tasks")
        self.house.enrol("old", working_dir=self.repo, process="life-1")
        self.assertEqual(before, self.house.rows("SELECT file_path, token FROM locks UNION SELECT id, token FROM tasks"))

    def test_after_a_departure_it_has_again_what_nobody_took_and_nothing_else(self) -> None:
        self.at_work()
        other = self.house.task("arch")
        self.house.post("old", "/tasks/claim", task_id=other)
        for path in ("lib/", "doc/", "bin/x"):
            self.lock("old", path)
        self.depart()
        self.house.post("cleo", "/tasks/claim", task_id=other)
        self.lock("cleo", "lib/a.py")
        self.lock("ann", "doc/b")
        self.unlock("ann", "doc/b")
        self.unlock("arch", "bin/x")
        self.house.enrol("old", working_dir=self.repo, process="life-2")
        self.assertEqual(["bin/x", "src"], sorted(self.held("old")))
        self.assertEqual(["doc", "lib"], sorted(self.lost("old")))
        self.assertEqual([1], [row["id"] for row in self.house.rows("SELECT id FROM tasks WHERE assigned_to = 'old'")])
        self.may("old", "src/a.py")
        self.may_not("old", "doc/b", code="stale_token")
        self.may_not("old", "lib/a.py")

    def test_what_waits_for_the_free_path_is_not_passed(self) -> None:
        self.lock("old", "src/")
        self.lock("cleo", "src/a.py", queue=True)
        self.depart()
        self.house.enrol("old", working_dir=self.repo, process="life-2")
        self.assertEqual([], self.held("old"))
        self.lock("cleo", "src/a.py")

    def test_its_own_closed_lock_is_open_to_it_and_to_who_waits_where_it_does_not_come_back(self) -> None:
        self.house.enrol("cold", working_dir=self.repo, pid=os.getpid(), process="p1")
        self.lock("cold", "lib/")
        self.leave_alone("cold", "bob", "cleo", "arch")
        self.lock("bob", "lib/a.py", queue=True)
        self.house.enrol("cold", working_dir=self.repo, process="p2")
        self.assertTrue(self.held("cold") == [] and any("is free now" in text for text in self.house.texts("bob")))

    def test_a_forgotten_id_has_nothing_to_come_back_to(self) -> None:
        self.at_work()
        self.house.post("arch", "/unregister", peer_id="old")
        self.assertEqual([], self.lost("old"))
        self.house.resumes.pop("old")
        self.house.enrol("old", working_dir=self.repo, process="life-2")
        self.assertEqual([], self.held("old"))
        self.may("old", "src/a.py")

    def test_in_another_workspace_it_takes_up_no_task_of_the_first(self) -> None:
        self.at_work()
        self.depart()
        self.house.enrol("old", workspace="other", process="life-2")
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM tasks WHERE assigned_to = 'old'"))


if __name__ == "__main__":
    unittest.main()
