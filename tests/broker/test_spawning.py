"""Spawning: the person is asked, once; the session gets its own identity and no other; without an answer it is refused."""

from __future__ import annotations

import os
import unittest
from typing import Any
from unittest import mock

from lattice.broker import spawning
from lattice.errors import Unavailable
from lattice.guard import tokens
from tests.broker.broking import PERSON, SECRET, BrokerCase


class OfSpawning(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1")
        self.opened: list[dict[str, Any]] = []

        def spawn(home: str, **said: Any) -> dict[str, str]:
            self.opened.append(said)
            return {"way": "tmux", "detail": "window 3"}

        self.enterContext(mock.patch.object(spawning.clients, "spawn", spawn))

    def ask(self, who: str = "arch", **more: Any) -> dict[str, Any]:
        return self.house.post(who, "/spawn", working_dir=self.house.folder, **more)

    def answer(self, id: object, verdict: str = "approve") -> None:
        self.house.post(PERSON, f"/escalations/{id}/resolve", verdict=verdict)
        self.house.settle()


class Repeated(OfSpawning):
    def twice(self, who: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.ask(who, idempotency_key="k", **more), self.ask(who, idempotency_key="k", **more)

    def test_a_session_is_opened_once_for_each_key(self) -> None:
        first, second = self.twice(PERSON)
        self.assertEqual({**first, "repeated": True}, second)
        self.assertEqual(("opened", 1), (first["status"], len(self.opened)))
        self.ask(PERSON, idempotency_key="another")
        self.assertEqual(2, len(self.opened))

    def test_also_when_it_has_come_meanwhile(self) -> None:
        first = self.ask(PERSON, peer_id="w9", idempotency_key="k")
        self.house.enrol("w9")
        self.assertEqual({**first, "repeated": True}, self.ask(PERSON, peer_id="w9", idempotency_key="k"))
        self.refused(409, PERSON, "/spawn", {"peer_id": "w9", "working_dir": self.house.folder}, code="id_taken")

    def test_the_person_is_asked_once_for_each_key(self) -> None:
        first, second = self.twice("arch")
        self.assertEqual({**first, "repeated": True}, second)
        self.assertEqual(1, len(self.house.texts(PERSON)))

    def test_a_repeat_that_comes_while_it_is_opened_opens_no_other(self) -> None:
        said: list[dict[str, Any]] = []

        def spawn(home: str, **about: Any) -> dict[str, str]:
            said.append(self.ask(PERSON, idempotency_key="k"))
            return {"way": "tmux", "detail": "window 3"}

        with mock.patch.object(spawning.clients, "spawn", spawn):
            opened = self.ask(PERSON, idempotency_key="k")
        self.assertEqual([("opening", opened["peer_id"])], [(one["status"], one["peer_id"]) for one in said])

    def test_one_that_could_not_be_opened_leaves_its_key_free(self) -> None:
        with mock.patch.object(spawning.clients, "spawn", side_effect=Unavailable("no terminal")):
            self.refused(503, PERSON, "/spawn", {"working_dir": self.house.folder, "idempotency_key": "k"})
        self.assertEqual("opened", self.ask(PERSON, idempotency_key="k")["status"])


class TheQuestion(OfSpawning):
    def test_the_person_is_asked_and_nothing_is_opened_meanwhile(self) -> None:
        said = self.ask(peer_id="w9")
        self.house.settle()
        self.assertEqual(("pending", "w9", []), (said["status"], said["peer_id"], self.opened))
        self.assertIn("arch asks for a new worker session 'w9'", self.house.texts(PERSON)[0])
        self.assertEqual(["spawn"], [one["kind"] for one in self.house.get("viewer", "/escalations?state=open")["escalations"]])

    def test_allowed_it_is_opened_once_and_the_outcome_is_mail(self) -> None:
        id = self.ask(peer_id="w9")["escalation_id"]
        self.answer(id)
        self.house.broker.later(lambda: None)
        self.house.settle()
        self.assertEqual(["w9"], [one["peer"] for one in self.opened])
        self.assertIn("session 'w9' opened (tmux): window 3", self.house.texts("arch"))

    def test_a_yes_that_comes_before_anybody_looked_at_the_question_opens_one_session(self) -> None:
        id = self.ask(peer_id="w9")["escalation_id"]
        self.house.post(PERSON, f"/escalations/{id}/resolve", verdict="approve")
        self.house.settle()  # what the question and the answer left to other threads runs only now
        self.assertEqual(1, len(self.opened))

    def test_refused_it_is_not_opened(self) -> None:
        self.answer(self.ask()["escalation_id"], "changes")
        self.assertEqual([], self.opened)
        self.assertEqual(["spawn 1: changes"], self.house.texts("arch"))

    def test_without_an_answer_it_is_refused_after_ten_minutes(self) -> None:
        id = self.ask()["escalation_id"]
        self.house.pass_time(599, "arch", "w1")
        self.assertEqual("open", self.house.value("SELECT state FROM escalations WHERE id = ?", id))
        self.house.pass_time(2, "arch", "w1")
        self.assertEqual(["spawn 1: changes\nrefused: nobody answered in 10 minutes"], self.house.texts("arch"))
        self.refused(409, PERSON, f"/escalations/{id}/resolve", {"verdict": "approve"})
        self.house.settle()
        self.assertEqual([], self.opened)

    def test_a_blocker_that_is_answered_leaves_nothing_to_another_thread(self) -> None:
        id = self.house.post("w1", "/escalations", kind="blocker", text="which?")["escalation_id"]
        self.house.post(PERSON, f"/escalations/{id}/resolve", verdict="answer", answer="this")
        self.assertEqual([], self.house.later)

    def test_a_session_that_does_not_arrive_is_told_of_once(self) -> None:
        self.answer(self.ask(peer_id="w9")["escalation_id"])
        self.house.texts("arch")
        self.house.pass_time(119, "arch", "w1")
        self.assertEqual([], self.house.texts("arch"))
        self.house.pass_time(400, "arch", "w1")
        (told,) = self.house.texts("arch")
        self.assertIn("session 'w9', opened 2 minutes ago (tmux: window 3), has not arrived", told)

    def test_a_session_that_arrives_is_not_told_of_even_if_it_has_ended_since(self) -> None:
        self.answer(self.ask(peer_id="w9")["escalation_id"])
        self.house.texts("arch")
        self.house.enrol("w9")
        self.house.post("w9", "/leave")
        self.house.pass_time(400, "arch", "w1")
        self.assertEqual([], self.house.texts("arch"))

    def test_only_the_person_allows_it(self) -> None:
        id = self.ask()["escalation_id"]
        self.refused(403, "arch", f"/escalations/{id}/resolve", {"verdict": "approve"})
        self.refused(403, "w1", "/spawn", code="role")
        self.house.settle()
        self.assertEqual([], self.opened)

    def test_an_architect_asks_for_no_architect(self) -> None:
        self.refused(403, "arch", "/spawn", {"role": "architect", "working_dir": self.house.folder})
        self.assertEqual("opened", self.ask(PERSON, role="architect")["status"])

    def test_what_cannot_be_is_refused_before_anybody_is_asked(self) -> None:
        for status, body in (
            (400, {"peer_id": "-rf"}),
            (400, {"peer_id": "system"}),
            (409, {"peer_id": "w1"}),
            (400, {"working_dir": "/no/such/folder"}),
            (400, {"role": "king"}),
        ):
            self.refused(status, "arch", "/spawn", {"working_dir": self.house.folder, **body})
        self.assertEqual([], self.house.get("arch", "/escalations")["escalations"])

    def test_a_session_works_where_its_asker_does_and_never_where_the_broker_happens_to_run(self) -> None:
        os.mkdir(os.path.join(self.house.folder, "part"))
        self.house.enrol("lead", role="architect", workspace="yard", working_dir=self.house.folder)
        for asked, folder in (("", self.house.folder), ("part", os.path.join(self.house.folder, "part"))):
            id = self.house.post("lead", "/spawn", **({"working_dir": asked} if asked else {}))["escalation_id"]
            self.answer(id)
            self.assertEqual(folder, self.opened[-1]["working_dir"])
        for said in ({}, {"working_dir": "part"}):
            self.refused(400, PERSON, "/spawn", said)

    def test_one_that_cannot_be_opened_says_so(self) -> None:
        id = self.ask(peer_id="w9")["escalation_id"]
        with mock.patch.object(spawning.clients, "spawn", side_effect=Unavailable("no terminal was found")):
            self.answer(id)
        self.assertIn("session 'w9' could not be opened: no terminal was found", self.house.texts("arch"))

    def test_an_id_that_came_to_live_meanwhile_is_not_opened_again(self) -> None:
        id = self.ask(peer_id="w9")["escalation_id"]
        self.house.enrol("w9")
        self.answer(id)
        self.assertEqual([], self.opened)
        self.assertIn("'w9' is a peer already", self.house.texts("arch")[-1])


class TheIdentity(OfSpawning):
    environ = {"C2_LATTICE_SPAWN": "allow"}

    def test_allowed_beforehand_it_is_opened_at_once_with_an_identity_of_its_own(self) -> None:
        said = self.ask()
        self.assertEqual("opened", said["status"])
        opened = self.opened[0]
        ticket = tokens.read_ticket(SECRET, opened["ticket"], self.house.clock.now())
        self.assertEqual((said["peer_id"], "worker", "shop"), (ticket.peer, ticket.role, ticket.workspace))
        self.assertRegex(said["peer_id"], r"\Aworker-[0-9a-f]{6}\Z")
        self.assertEqual(200, self.house.register(said["peer_id"], ticket=opened["ticket"])[0])
        self.assertEqual(409, self.house.register(said["peer_id"], ticket=opened["ticket"])[0])
        self.assertEqual(self.house.folder, opened["working_dir"])

    def test_its_ticket_waits_as_long_as_a_session_may_take_to_start(self) -> None:
        self.ask()
        tokens.read_ticket(SECRET, self.opened[0]["ticket"], self.house.clock.now() + 890)

    def test_it_is_logged_who_asked(self) -> None:
        id = self.ask()["peer_id"]
        row = self.house.rows("SELECT actor, subject FROM events WHERE data LIKE '%spawned%'")[0]
        self.assertEqual(("arch", f'["{id}"]'), (row["actor"], row["subject"]))


if __name__ == "__main__":
    unittest.main()
