"""Locks: leases on real paths. One exclusive holder, a growing number for each grant, and whoever lost it is refused."""

from __future__ import annotations

import os
import unittest
from functools import partial
from typing import Any

from tests.broker.broking import PERSON, BrokerCase, at_once


class OfLocks(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.shop = os.path.join(self.house.folder, "shop")
        os.makedirs(os.path.join(self.shop, "src", "deep"))
        with open(os.path.join(self.shop, "src", "a.py"), "w", encoding="utf-8"):
            pass
        self.house.enrol("arch", "architect")
        for id in ("w1", "w2"):
            self.house.enrol(id, working_dir=self.shop)

    def lock(self, who: str, path: str, **more: Any) -> dict[str, Any]:
        return self.house.post(who, "/lock", file_path=path, **more)

    def held(self) -> list[tuple[str, str]]:
        return sorted((one["file_path"], one["peer_id"]) for one in self.house.get("arch", "/locks")["locks"])


class Holding(OfLocks):
    def test_one_exclusive_holder_per_path_and_the_refusal_names_it(self) -> None:
        self.lock("w1", "src/a.py", reason="refactoring")
        said = self.refused(409, "w2", "/lock", {"file_path": "src/a.py"}, code="locked")
        self.assertEqual("w1", said["holder"])
        self.assertIn("locked by w1", said["error"])
        self.assertIn("refactoring", said["error"])

    def test_asking_again_refreshes_and_answers_the_same_token(self) -> None:
        first = self.lock("w1", "src/a.py")
        again = self.lock("w1", "src/a.py", reason="still at it")
        self.assertEqual((first["token"], True), (again["token"], again["refreshed"]))
        self.assertEqual("still at it", self.house.get("w2", "/locks")["locks"][0]["reason"])

    def test_each_new_grant_has_a_larger_token(self) -> None:
        tokens = []
        for who in ("w1", "w2", "w1"):
            tokens.append(self.lock(who, "src/a.py")["token"])
            self.house.post(who, "/unlock", file_path="src/a.py")
        task = self.house.task("w1")
        tokens.append(self.house.post("w1", "/tasks/claim", task_id=task)["token"])  # one counter for all grants
        self.assertEqual(sorted(set(tokens)), tokens)

    def test_of_eight_at_once_one_gets_it(self) -> None:
        for id in range(8):
            self.house.enrol(f"r{id}")
        for round_ in range(15):
            path = f"/x/{round_}"
            got = at_once(*(partial(self.holder_after, f"r{id}", "/lock", file_path=path) for id in range(8)))
            winner = dict(self.held())[path]
            self.assertEqual([(200, winner)] + [(409, winner)] * 7, sorted(got))

    def test_only_the_holder_a_departure_the_architect_or_the_person_releases(self) -> None:
        self.lock("w1", "src/a.py")
        self.refused(403, "w2", "/unlock", {"file_path": "src/a.py"})
        for who in ("w1", "arch", PERSON):
            self.lock("w1", "src/a.py")
            self.assertTrue(self.house.post(who, "/unlock", file_path=os.path.join(self.shop, "src/a.py"))["released"], who)
        self.assertFalse(self.house.post("w2", "/unlock", file_path="src/a.py")["released"])
        self.lock("w1", "src/a.py")
        self.house.pass_time(16, "arch", "w2")
        self.lock("w2", "src/a.py")

    def test_whose_lock_another_released_is_told(self) -> None:
        path = self.lock("w1", "src/a.py")["file_path"]
        self.house.beat("w1")
        self.house.post("arch", "/unlock", file_path=path)
        self.assertIn("beat:w1", self.house.woken)
        self.assertEqual([path], self.house.beat("w1")["lost"])

    def test_whoever_lost_it_is_refused_with_the_old_token(self) -> None:
        old = self.lock("w1", "src/a.py")["token"]
        self.house.pass_time(16, "arch", "w2")
        self.refused(409, "w1", "/unlock", {"file_path": "src/a.py", "token": old}, code="stale_token")
        new = self.lock("w2", "src/a.py")["token"]
        self.refused(409, "w1", "/unlock", {"file_path": "src/a.py", "token": old}, code="stale_token")
        self.assertFalse(self.house.get("w1", f"/locks/check?file_path=src/a.py&token={old}")["token_is_current"])
        self.assertTrue(self.house.get("w2", f"/locks/check?file_path=src/a.py&token={new}")["token_is_current"])
        self.house.post("w2", "/unlock", file_path="src/a.py")
        self.lock("w1", "src/a.py")
        self.refused(409, "w1", "/unlock", {"file_path": "src/a.py", "token": old}, code="stale_token")
        self.assertEqual([(os.path.join(self.shop, "src/a.py"), "w1")], self.held())

    def test_renewing_says_what_is_held_and_what_was_lost_and_counts_as_a_beat(self) -> None:
        path = self.lock("w1", "src/a.py")["file_path"]
        self.house.pass_time(10, "arch", "w2")
        self.assertEqual([path], [one["file_path"] for one in self.house.post("w1", "/locks/renew")["locks"]])
        self.house.pass_time(10, "arch", "w2")
        self.assertEqual("active", self.house.status("w1"))
        self.house.pass_time(10, "arch", "w2")
        said = self.house.post("w1", "/locks/renew")
        self.assertEqual(([], [path]), (said["locks"], said["lost"]))

    def test_a_change_of_locks_wakes_the_workspace_and_no_other(self) -> None:
        self.house.enrol("far", workspace="bank")
        self.house.woken.clear()
        self.lock("w1", "src/a.py")
        self.assertIn("beat:w2", self.house.woken)
        self.assertNotIn("beat:far", self.house.woken)
        self.assertTrue(self.house.beat("w2")["locks_changed"])
        self.assertFalse(self.house.beat("w2")["locks_changed"])


class OnePath(OfLocks):
    """Where a path leads. In which spellings: tests/threats/test_paths.py, S24."""

    def test_a_relative_path_is_relative_to_the_callers_folder_or_the_base_it_names(self) -> None:
        self.assertEqual(os.path.join(self.shop, "x.py"), self.lock("w1", "x.py")["file_path"])
        self.assertEqual("/elsewhere/x.py", self.lock("w1", "x.py", base="/elsewhere")["file_path"])
        self.refused(400, "w1", "/lock", {"file_path": "x.py", "base": "else/where"})

    def test_who_registered_no_folder_or_no_absolute_one_locks_as_it_says(self) -> None:
        for id, folder in (("none", ""), ("relative", "some/where")):
            self.house.enrol(id, working_dir=folder)
            self.assertEqual(f"/abs/{id}.py", self.lock(id, f"/abs/./{id}.py")["file_path"])
            self.assertEqual(f"rel/{id}.py", self.lock(id, f"rel//{id}.py")["file_path"])

    def test_a_path_that_none_of_ours_may_have_is_refused(self) -> None:
        for path in ("", " ", "a\nb", "a\x1b[2Jb", "x" * 1025, "a\x7fb"):
            self.refused(400, "w1", "/lock", {"file_path": path})

    def test_the_broker_never_opens_a_locked_file(self) -> None:
        secret = os.path.join(self.shop, "secret")
        os.mkfifo(secret)  # to open it would wait for ever
        self.lock("w1", secret)
        self.lock("w1", os.path.join(self.shop, "nowhere", "at", "all"))


class Reaching(OfLocks):
    def test_shared_holders_do_not_exclude_each_other(self) -> None:
        self.lock("w1", "src/a.py", shared=True)
        self.lock("w2", "src/a.py", shared=True)
        self.refused(409, "arch", "/lock", {"file_path": os.path.join(self.shop, "src/a.py")}, code="locked")
        self.house.post("w1", "/unlock", file_path="src/a.py")
        self.assertEqual([(os.path.join(self.shop, "src/a.py"), "w2")], self.held())

    def test_a_directory_and_a_glob_hold_what_they_overlap(self) -> None:
        self.lock("w1", "src/")
        self.refused(409, "w2", "/lock", {"file_path": "src/deep/new.py"}, code="locked")
        self.refused(409, "w2", "/lock", {"file_path": "**/*.py"}, code="locked")
        self.lock("w2", "docs/*.md")
        self.refused(409, "w1", "/lock", {"file_path": "docs/read.md"}, code="locked")
        self.lock("w1", "docs/read.txt")


if __name__ == "__main__":
    unittest.main()
