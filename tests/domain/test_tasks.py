"""Tasks: one owner while in progress, claimable when all they wait for is done, and no circle of waiting."""

from __future__ import annotations

import random
import unittest
from functools import partial
from typing import Any

from tests.broker.broking import PERSON, BrokerCase, at_once

SEED = 7_899


class OfTasks(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def claim(self, who: str, task: int) -> dict[str, Any]:
        return self.house.post(who, "/tasks/claim", task_id=task)

    def shown(self, task: int) -> dict[str, Any]:
        return self.house.get("arch", f"/tasks/{task}")["task"]  # type: ignore[no-any-return]

    def status(self, task: int) -> tuple[str, str | None]:
        task_ = self.shown(task)
        return task_["status"], task_["assigned_to"]


class TheWay(OfTasks):
    def test_pending_then_in_progress_then_completed(self) -> None:
        task = self.house.task("arch")
        seen = [self.status(task)]
        self.claim("w1", task)
        seen.append(self.status(task))
        self.house.complete("w1", task)
        seen.append(self.status(task))
        self.assertEqual([("pending", None), ("in_progress", "w1"), ("completed", "w1")], seen)

    def test_or_failed_or_cancelled(self) -> None:
        one, two, three = (self.house.task("arch") for _ in range(3))
        self.claim("w1", one)
        self.house.post("w1", f"/tasks/{one}/fail", reason="no such file")
        self.house.post("arch", f"/tasks/{two}/cancel")
        self.claim("w1", three)
        self.house.post("w1", "/tasks/complete", task_id=three, outcome="failed", artifacts={"summary": "no such folder"})
        self.assertEqual([("failed", "w1"), ("cancelled", None), ("failed", "w1")], [self.status(task) for task in (one, two, three)])
        self.assertEqual("no such file", self.shown(one)["note"])

    def test_what_has_ended_does_not_begin_again(self) -> None:
        for end in ("done", "failed"):
            task = self.house.task("arch")
            self.claim("w1", task)
            self.house.complete("w1", task, outcome=end)
            for path, body in {
                "/tasks/claim": {"task_id": task},
                "/tasks/complete": {"task_id": task, "artifacts": {"summary": "x"}},
                f"/tasks/{task}/release": {},
                f"/tasks/{task}/fail": {"reason": "x"},
                f"/tasks/{task}/renew": {},
            }.items():
                self.refused(409, "w1", path, body)
            self.refused(409, "arch", f"/tasks/{task}/cancel")
            self.refused(409, "arch", f"/tasks/{task}/edit", {"title": "x"})
            self.refused(409, "arch", f"/tasks/{task}/assign", {"peer_id": "w1"})
            self.refused(409, "arch", f"/tasks/{task}/depend", {"add": []})

    def test_released_it_is_for_anybody_and_says_why(self) -> None:
        task = self.house.task("arch")
        self.claim("w1", task)
        self.house.complete("w1", task, outcome="released")
        self.assertEqual(("pending", None, "done"), (*self.status(task), self.shown(task)["note"]))
        self.assertEqual(2, self.claim("w2", task)["attempts"])

    def test_completing_carries_a_summary(self) -> None:
        task = self.house.task("arch")
        self.claim("w1", task)
        for artifacts in (None, {}, {"summary": ""}, {"summary": " "}, {"summary": 5}, ["x"], "x", {"files_touched": ["a.py"]}):
            self.refused(400, "w1", "/tasks/complete", {"task_id": task, "artifacts": artifacts})
        whole = {"summary": "done", "files_touched": ["a.py"], "tests_run": "all", "risks": "none"}
        self.house.post("w1", "/tasks/complete", task_id=task, artifacts=whole)
        self.assertEqual(whole, self.shown(task)["artifacts"])
        listed = self.house.get("w1", "/tasks")["tasks"][0]
        self.assertIsInstance(listed["artifacts"], str)  # as v4


class Claiming(OfTasks):
    def test_exactly_one_owner_while_in_progress(self) -> None:
        task = self.house.task("arch")
        self.claim("w1", task)
        said = self.refused(409, "w2", "/tasks/claim", {"task_id": task})
        self.assertEqual("w1", said["holder"])
        self.assertIn("task already in_progress by w1", said["error"])
        self.refused(403, "w2", "/tasks/complete", {"task_id": task, "artifacts": {"summary": "x"}})
        self.refused(403, "arch", f"/tasks/{task}/release")

    def test_of_eight_at_once_one_wins(self) -> None:
        for id in range(8):
            self.house.enrol(f"r{id}")
        for _ in range(20):
            task = self.house.task("arch")
            got = at_once(*(partial(self.holder_after, f"r{id}", "/tasks/claim", task_id=task) for id in range(8)))
            winner = self.shown(task)["assigned_to"]
            self.assertEqual([(200, winner)] + [(409, winner)] * 7, sorted(got))

    def test_each_claim_has_a_larger_token_and_asking_again_answers_the_same(self) -> None:
        task = self.house.task("arch")
        tokens = []
        for who in ("w1", "w2", "w1"):
            tokens.append(self.claim(who, task)["token"])
            self.assertEqual(tokens[-1], self.claim(who, task)["token"])
            self.house.post(who, f"/tasks/{task}/release")
        self.assertEqual(sorted(set(tokens)), tokens)

    def test_the_token_of_a_claim_that_was_lost_is_stale_whoever_shows_it_and_whoever_has_the_task_now(self) -> None:
        task = self.house.task("arch")
        old = self.claim("w1", task)["token"]
        self.house.pass_time(16, "arch", "w2")
        done = {"task_id": task, "artifacts": {"summary": "late"}}
        for _ in ("pending again", "another's"):
            for path, body in {
                "/tasks/complete": done,
                f"/tasks/{task}/release": {},
                f"/tasks/{task}/fail": {"reason": "x"},
                f"/tasks/{task}/renew": {},
            }.items():
                self.refused(409, "w1", path, {**body, "token": old}, code="stale_token")
                self.refused(403, "w1", path, body)  # as v4, which knows no tokens
            if self.status(task)[0] == "pending":
                self.claim("w2", task)
        self.house.post("w2", f"/tasks/{task}/release")
        self.claim("w1", task)
        self.refused(409, "w1", "/tasks/complete", {**done, "token": old}, code="stale_token")
        self.house.post("w1", "/tasks/complete", **done)

    def test_claimable_exactly_when_pending_and_every_dependency_completed(self) -> None:
        one, two = self.house.task("arch"), self.house.task("arch")
        both = self.house.task("arch", blocked_by=[one, two])
        self.claim("w1", one)
        self.house.complete("w1", one)
        said = self.refused(409, "w2", "/tasks/claim", {"task_id": both}, code="blocked")
        self.assertEqual(f"task is blocked by tasks [{two}] which are not all completed", said["error"])
        self.assertEqual([two], [one["id"] for one in self.house.get("w2", "/tasks?claimable=1")["tasks"]])
        self.claim("w2", two)
        self.refused(409, "w1", "/tasks/claim", {"task_id": both}, code="blocked")
        self.house.complete("w2", two)
        self.claim("w2", both)

    def test_a_failed_or_cancelled_dependency_does_not_unblock(self) -> None:
        one, two = self.house.task("arch"), self.house.task("arch")
        waits = self.house.task("arch", blocked_by=[one, two])
        self.claim("w1", one)
        self.assertEqual([waits], self.house.post("w1", f"/tasks/{one}/fail", reason="x")["still_blocked"])
        self.assertEqual([waits], self.house.post("arch", f"/tasks/{two}/cancel")["still_blocked"])
        self.refused(409, "w1", "/tasks/claim", {"task_id": waits}, code="blocked")
        self.assertTrue(self.house.post("arch", f"/tasks/{waits}/depend", remove=[one, two])["task"]["claimable"])

    def test_dependents_unblock_in_the_completing_transaction(self) -> None:
        first = self.house.task("arch")
        waiting = [self.house.task("arch", f"t{number}", blocked_by=[first]) for number in range(3)]
        other = self.house.task("arch")
        self.house.task("arch", "needs more", blocked_by=[first, other])
        self.claim("w1", first)
        said = self.house.complete("w1", first)
        self.assertEqual([{"id": id, "title": f"t{number}"} for number, id in enumerate(waiting)], said["newly_unblocked"])
        for id in waiting:
            self.assertTrue(self.shown(id)["claimable"])

    def test_work_of_a_departed_owner_is_pending_again(self) -> None:
        def lost() -> None:
            self.house.pass_time(20, "arch", "w2")

        def killed() -> None:
            self.house.post(PERSON, "/kill-peer", peer_id="w1")
            self.house.post(PERSON, "/resume", peer_id="w1")

        def forgotten() -> None:
            self.house.post(PERSON, "/unregister", peer_id="w1")
            self.house.resumes.pop("w1", None)

        for departs in (lost, killed, forgotten):
            self.house.enrol("w1")
            task = self.house.task("arch", departs.__name__)
            self.claim("w1", task)
            departs()
            self.assertEqual(("pending", None), self.status(task), departs.__name__)
            self.assertIn("w1 departed", self.shown(task)["note"])

    def test_a_reserved_task_is_for_one_until_it_departs(self) -> None:
        task = self.house.task("arch")
        self.house.post("arch", f"/tasks/{task}/assign", peer_id="w1")
        self.assertEqual([f"task #{task} is reserved for you by arch: a task"], self.house.texts("w1"))
        self.assertEqual("w1", self.refused(409, "w2", "/tasks/claim", {"task_id": task})["holder"])
        self.house.pass_time(16, "arch", "w2")
        self.claim("w2", task)

    def test_a_reservation_can_be_lifted(self) -> None:
        task = self.house.task("arch")
        self.house.post("arch", f"/tasks/{task}/assign", peer_id="w1")
        self.house.post("arch", f"/tasks/{task}/assign", peer_id="")
        self.claim("w2", task)
        self.refused(404, "arch", f"/tasks/{self.house.task('arch')}/assign", {"peer_id": "ghost"})
        self.refused(403, "w1", f"/tasks/{task}/assign", {"peer_id": "w1"}, code="role")

    def test_an_owner_hears_that_its_task_was_cancelled_and_its_completing_is_refused(self) -> None:
        task = self.house.task("arch")
        self.claim("w1", task)
        self.house.post("arch", f"/tasks/{task}/cancel", reason="not needed")
        self.assertEqual([f"task #{task} was cancelled by arch: not needed"], self.house.texts("w1"))
        self.refused(409, "w1", "/tasks/complete", {"task_id": task, "artifacts": {"summary": "x"}})

    def test_the_person_may_end_anybodys(self) -> None:
        task = self.house.task("arch")
        self.claim("w1", task)
        self.house.complete(PERSON, task)
        self.assertEqual("completed", self.status(task)[0])


class Graphs(OfTasks):
    def test_no_cycle_can_be_made(self) -> None:
        a = self.house.task("arch")
        b = self.house.task("arch", blocked_by=[a])
        c = self.house.task("arch", blocked_by=[b])
        for task, needs in ((a, a), (a, b), (a, c), (b, c)):
            self.refused(409, "arch", f"/tasks/{task}/depend", {"add": [needs]}, code="cycle")
        self.assertEqual([], self.shown(a)["depends_on"])

    def test_a_refused_cycle_leaves_nothing_of_its_call(self) -> None:
        a = self.house.task("arch")
        b, fine = self.house.task("arch", blocked_by=[a]), self.house.task("arch")
        self.refused(409, "arch", f"/tasks/{a}/depend", {"add": [fine, b]}, code="cycle")
        self.assertEqual(([], True), (self.shown(a)["depends_on"], self.shown(a)["claimable"]))

    def test_random_graphs_never_hold_a_cycle_are_never_claimable_early_and_all_finish(self) -> None:
        dice = random.Random(SEED)
        for _ in range(3):
            tasks = [self.house.task("arch", f"t{number}") for number in range(14)]
            for _ in range(60):
                task, needs = dice.choice(tasks), dice.choice(tasks)
                self.house.ask("arch", "POST", f"/tasks/{task}/depend", {"add": [needs]} if dice.random() < 0.8 else {"remove": [needs]})
            done: set[int] = set()
            while len(done) < len(tasks):
                free = [one["id"] for one in self.house.get("w1", "/tasks?claimable=1&limit=1000")["tasks"] if one["id"] in tasks]
                wanted = [task for task in tasks if task not in done and set(self.shown(task)["depends_on"]) <= done]
                self.assertEqual(sorted(wanted), sorted(free), f"seed {SEED}")
                self.assertTrue(free, f"seed {SEED}: a cycle")
                task = dice.choice(free)
                self.claim("w1", task)
                if dice.random() < 0.3:
                    self.house.post("w1", f"/tasks/{task}/release")
                    continue
                self.house.complete("w1", task)
                done.add(task)

    def test_a_batch_is_all_or_nothing_and_its_items_may_wait_for_earlier_ones(self) -> None:
        outside = self.house.task("arch")
        made = self.house.post(
            "w1",
            "/tasks",
            tasks=[{"title": "a"}, {"title": "b", "blocked_by": [-1]}, {"title": "c", "blocked_by": [-1, -2, outside]}],
            run_id="r",
        )["task_ids"]
        self.assertEqual([[], [made[0]], sorted([made[0], made[1], outside])], [self.shown(id)["depends_on"] for id in made])
        self.assertEqual({"r"}, {self.shown(id)["run_id"] for id in made})
        before = self.house.value("SELECT COUNT(*) FROM tasks"), self.house.value("SELECT COUNT(*) FROM events")
        for bad in ([-1], [0], [-2], [999]):
            self.refused(400, "w1", "/tasks/batch", {"tasks": [{"title": "fine", "blocked_by": bad}, {"title": "x"}], "run_id": "unborn"})
            self.refused(
                400, "w1", "/tasks/batch", {"tasks": [{"title": "fine"}, {"title": "bad", "blocked_by": [-3]}], "run_id": "unborn"}
            )
        self.refused(400, "w1", "/tasks/batch", {"tasks": []})
        self.refused(400, "w1", "/tasks/batch", {"tasks": [{"title": "fine"}, {"description": "no title"}]})
        self.refused(400, "w1", "/tasks", {"title": "one", "tasks": [{"title": "many"}]})
        self.assertEqual(before, (self.house.value("SELECT COUNT(*) FROM tasks"), self.house.value("SELECT COUNT(*) FROM events")))
        self.refused(404, "w1", "/runs/unborn", method="GET")

    def test_blocked_by_is_taken_as_list_or_text_and_answered_as_both(self) -> None:
        a, b = self.house.task("arch"), self.house.task("arch")
        for given in ([a, b], f"{a},{b}", f" {b} , {a} ", [b, a, b]):
            shown = self.shown(self.house.task("w1", blocked_by=given))
            self.assertEqual((f"{a},{b}", [a, b]), (shown["blocked_by"], shown["depends_on"]))
        self.refused(400, "w1", "/tasks", {"title": "x", "blocked_by": [99]})

    def test_only_its_maker_and_who_leads_change_it(self) -> None:
        task = self.house.task("w1")
        for path, body in {
            f"/tasks/{task}/edit": {"title": "x"},
            f"/tasks/{task}/cancel": {},
            f"/tasks/{task}/depend": {"add": []},
        }.items():
            self.refused(403, "w2", path, body)
        self.house.post("w1", f"/tasks/{task}/edit", title="better", priority="high")
        self.house.post("arch", f"/tasks/{task}/edit", description="longer")
        self.assertEqual(("better", "high", "longer"), tuple(self.shown(task)[name] for name in ("title", "priority", "description")))


class Lists(OfTasks):
    def test_high_before_medium_before_low_then_by_age_and_pages_go_on_where_they_ended(self) -> None:
        for number, priority in enumerate(("low", "high", "medium", "high", "low", "medium")):
            self.house.task("w1", f"t{number}", priority=priority)
        titles, after = [], 0
        while True:
            said = self.house.get("w1", f"/tasks?limit=2&after={after}")
            titles += [one["title"] for one in said["tasks"]]
            if not said["more"]:
                break
            after = said["tasks"][-1]["id"]
        self.assertEqual(["t1", "t3", "t2", "t5", "t0", "t4"], titles)

    def test_they_are_chosen_by_status_owner_and_run(self) -> None:
        one, two = self.house.task("w1", run_id="r"), self.house.task("w1")
        self.claim("w2", two)
        for query, found in {
            "status=pending": [one],
            "status=in_progress": [two],
            "assigned_to=w2": [two],
            "run_id=r": [one],
            "claimable=0": [two],
            "status=failed": [],
        }.items():
            self.assertEqual(found, [task["id"] for task in self.house.get("w1", "/tasks?" + query)["tasks"]], query)
        self.refused(400, "w1", "/tasks?status=odd", method="GET")
        self.assertEqual(
            [True, None], [task.get("claimable") for task in sorted(self.house.get("w1", "/tasks")["tasks"], key=lambda task: task["id"])]
        )

    def test_one_task_in_full_says_what_it_blocks_and_what_it_waits_for(self) -> None:
        a = self.house.task("w1", "a")
        b = self.house.task("w1", "b", blocked_by=[a])
        self.assertEqual([{"id": b, "title": "b", "status": "pending"}], self.shown(a)["blocks"])
        self.assertEqual([(a, "a", "pending")], [(one["id"], one["title"], one["status"]) for one in self.shown(b)["waits_for"]])
        self.refused(404, "w1", "/tasks/99", method="GET")


if __name__ == "__main__":
    unittest.main()
