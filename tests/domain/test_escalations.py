"""Calls for help: they reach who can help, stay open until somebody resolves them, and say what really happened."""

from __future__ import annotations

import unittest

from tests.broker.broking import PERSON, BrokerCase


class OfHelp(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2")

    def unseat(self) -> None:
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")

    def open_ones(self, who: str = "arch") -> list[int]:
        return [one["id"] for one in self.house.get(who, "/escalations?state=open")["escalations"]]

    def blocker(self, who: str = "w1", text: str = "stuck") -> dict[str, object]:
        return self.house.post(who, "/escalations", kind="blocker", text=text)


class WhoHears(OfHelp):
    def test_a_blocker_reaches_the_architect_whoever_it_was_addressed_to(self) -> None:
        said = self.house.send("w1", "w2", "which port?", "blocker")
        self.assertEqual(["arch", "w2"], said["recipients"])
        self.assertEqual((["[AUTO-ESCALATED] which port?"], ["which port?"]), (self.house.texts("arch"), self.house.texts("w2")))
        self.assertEqual([said["escalation_id"]], self.open_ones())

    def test_a_blocker_to_the_architect_reaches_it_once(self) -> None:
        for to in ("arch", "@architect"):
            self.assertEqual(["arch"], self.house.send("w1", to, f"which port, {to}?", "blocker")["recipients"])
        self.assertEqual(["which port, arch?", "which port, @architect?"], self.house.texts("arch"))

    def test_with_no_architect_it_asks_the_person_and_waits_for_the_next_architect(self) -> None:
        self.unseat()
        said = self.blocker()
        self.assertEqual(("waiting", True), (said["recipient"], "no architect" in str(said["message"])))
        self.assertEqual(["stuck"], self.house.texts(PERSON))
        self.house.post(PERSON, "/seat", peer_id="w2")
        self.assertEqual(["stuck"], self.house.texts("w2"))

    def test_a_message_of_that_category_waits_for_the_next_architect_too(self) -> None:
        self.unseat()
        said = self.house.send("w1", "w2", "which port?", "blocker")
        self.assertEqual(["@architect", "w2"], said["recipients"])
        self.house.post(PERSON, "/seat", peer_id="arch")
        self.assertEqual(["[AUTO-ESCALATED] which port?"], self.house.texts("arch"))

    def test_what_an_architect_left_open_goes_to_the_next_one(self) -> None:
        said = self.blocker()
        self.house.texts("arch")  # read, and not answered
        self.house.pass_time(20, "w1", "w2")
        self.house.post(PERSON, "/seat", peer_id="w2")
        self.assertEqual(["stuck"], [text for text in self.house.texts("w2") if "gone" not in text])
        self.house.post("w2", f"/escalations/{said['escalation_id']}/resolve", verdict="answer", answer="go left")
        self.assertEqual(["blocker 1: answer\ngo left"], self.house.texts("w1"))

    def test_an_architect_asks_the_person(self) -> None:
        said = self.blocker("arch")
        self.assertEqual(PERSON, said["reached"])
        self.assertEqual(["stuck"], self.house.texts(PERSON))

    def test_an_error_reaches_all(self) -> None:
        self.house.enrol("far", workspace="bank")
        said = self.house.send("w1", "w2", "the build is red", "error")
        self.assertEqual(["arch", PERSON, "w2"], said["recipients"])
        self.assertEqual((["[AUTO-BROADCAST] the build is red"], ["the build is red"]), (self.house.texts("arch"), self.house.texts("w2")))
        said = self.house.send(PERSON, "w1", "the disk is full", "error")
        self.assertEqual(["arch", "far", "w1", "w2"], said["recipients"])

    def test_an_error_that_is_broadcast_reaches_each_once(self) -> None:
        self.house.send("arch", "broadcast", "the build is red", "error")
        self.assertEqual(["the build is red"], self.house.texts("w1"))

    def test_both_tools_tell_the_caller_what_really_happened(self) -> None:
        self.house.post("arch", "/leave")
        said = self.blocker()
        self.assertEqual(("arch", "away"), (said["reached"], said["recipient"]))
        self.assertIn("arch", str(said["message"]))
        task = self.house.task("w1")
        said = self.house.post("w1", "/escalations", kind="review", text="please look", task_id=task)
        self.assertIn(f"task #{task}: please look", self.house.get(PERSON, "/messages/arch")["messages"][-1]["content"])
        self.refused(404, "w1", "/escalations", {"kind": "review", "text": "x", "task_id": 99})


class Resolving(OfHelp):
    def test_open_until_resolved_whoever_has_read_the_mail(self) -> None:
        id = self.blocker()["escalation_id"]
        self.house.texts("arch")
        self.house.pass_time(120, "arch", "w1", "w2")
        self.house.restart()
        self.assertEqual([id], self.open_ones())
        self.house.post("arch", f"/escalations/{id}/resolve", verdict="answer", answer="8080")
        self.assertEqual([], self.open_ones())
        self.assertEqual(["blocker 1: answer\n8080"], self.house.texts("w1"))

    def test_a_reply_with_a_verdict_resolves_it_and_is_the_mail(self) -> None:
        said = self.blocker()
        mail = self.house.take("arch")[0]
        answer = self.house.send("arch", "w1", "8080", reply_to=mail["id"], verdict="answer")
        self.assertEqual(said["escalation_id"], answer["resolved"])
        self.assertEqual(["8080"], self.house.texts("w1"))
        self.assertEqual(([], "acted"), (self.open_ones(), self.house.state(mail["id"], "arch")))

    def test_whoever_asked_gets_the_verdict_to_whomever_the_reply_is_addressed(self) -> None:
        self.blocker()
        mail = self.house.take("arch")[0]
        self.assertEqual(["w1", "w2"], self.house.send("arch", "w2", "8080, tell w1", reply_to=mail["id"], verdict="answer")["recipients"])
        self.assertEqual(["8080, tell w1"], self.house.texts("w1"))

    def test_a_reply_without_a_verdict_leaves_it_open(self) -> None:
        id = self.blocker()["escalation_id"]
        mail = self.house.take("arch")[0]
        said = self.house.send("arch", "w1", "I will look", reply_to=mail["id"])
        self.assertIn("stays open until you send a verdict with it: answer", said["message"])
        self.assertEqual([id], self.open_ones())

    def test_the_mail_tells_who_may_answer_it_which_verdict_it_waits_for(self) -> None:
        task = self.house.task("w1")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.send("w1", "w2", "which port?", "blocker")
        self.house.post("w1", "/escalations", kind="review", text="look", task_id=task)
        self.house.send("w1", "arch", "by the way")
        self.assertEqual(["answer", "approve or changes", None], [mail.get("asks") for mail in self.house.take("arch")])
        self.assertEqual([None], [mail.get("asks") for mail in self.house.take("w2")])
        self.house.send("arch", "arch", "note to myself", "blocker")
        self.assertEqual([None], [mail.get("asks") for mail in self.house.take("arch")])

    def test_what_was_asked_about_a_task_that_is_cancelled_is_nobodys_question_any_more(self) -> None:
        task = self.house.task("w1")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.post("w1", "/escalations", kind="review", text="look", task_id=task)
        other = self.house.post("w2", "/escalations", kind="blocker", text="stuck")["escalation_id"]
        self.house.post("arch", f"/tasks/{task}/cancel", reason="not needed")
        self.assertEqual([other], self.open_ones())
        (row,) = self.house.get("arch", f"/tasks/{task}")["task"]["escalations"]
        self.assertEqual(("resolved", "", f"task #{task} was cancelled by arch"), (row["state"], row["verdict"], row["answer"]))

    def test_it_is_resolved_once_in_either_way(self) -> None:
        id = self.blocker()["escalation_id"]
        mail = self.house.take("arch")[0]
        self.house.post("arch", f"/escalations/{id}/resolve", verdict="answer", answer="8080")
        said = self.refused(409, PERSON, f"/escalations/{id}/resolve", {"verdict": "approve"})
        self.assertIn("resolved by arch: answer 8080", said["error"])
        self.refused(
            409, "arch", "/send", {"recipient_id": "w1", "category": "finding", "content": "x", "reply_to": mail["id"], "verdict": "answer"}
        )

    def test_only_who_leads_resolves(self) -> None:
        id = self.blocker()["escalation_id"]
        self.refused(403, "w2", f"/escalations/{id}/resolve", {"verdict": "answer"}, code="role")
        mail = self.house.take("arch")[0]["id"]
        self.house.send("w1", "w2", "see", "blocker")
        theirs = self.house.take("w2")[0]["id"]
        for number in (mail, theirs):
            status = self.house.ask(
                "w2",
                "POST",
                "/send",
                {"recipient_id": "w1", "category": "finding", "content": "x", "reply_to": number, "verdict": "approve"},
            )[0]
            self.assertIn(status, (403, 404))

    def test_nobody_approves_their_own_work(self) -> None:
        id = self.house.post("w1", "/escalations", kind="review", text="look")["escalation_id"]
        self.house.post(PERSON, "/seat", peer_id="w1")
        self.refused(403, "w1", f"/escalations/{id}/resolve", {"verdict": "approve"})
        self.house.post(PERSON, f"/escalations/{id}/resolve", verdict="approve")

    def test_a_verdict_needs_an_escalation_to_resolve(self) -> None:
        sent = self.house.send("w1", "arch")["message_id"]
        self.refused(400, "arch", "/send", {"recipient_id": "w1", "category": "finding", "content": "x", "verdict": "approve"})
        self.refused(
            400, "arch", "/send", {"recipient_id": "w1", "category": "finding", "content": "x", "verdict": "approve", "reply_to": sent}
        )
        self.refused(404, "arch", "/escalations/99/resolve", {"verdict": "approve"})

    def test_the_verdict_of_one_who_was_forgotten_is_nobodys_mail(self) -> None:
        id = self.blocker()["escalation_id"]
        self.house.post(PERSON, "/unregister", peer_id="w1")
        self.assertIsNone(self.house.post("arch", f"/escalations/{id}/resolve", verdict="answer")["message_id"])
        self.house.resumes.pop("w1")
        self.house.enrol("w1")
        self.assertEqual([], self.house.texts("w1"))


class Reviews(OfHelp):
    def setUp(self) -> None:
        super().setUp()
        self.task = self.house.task("arch", needs_review=True)
        self.house.post("w1", "/tasks/claim", task_id=self.task)

    def review(self, who: str = "w1") -> int:
        return int(self.house.post(who, "/escalations", kind="review", text="done, please look", task_id=self.task)["escalation_id"])

    def verdict(self, id: int, verdict: str) -> None:
        self.house.post("arch", f"/escalations/{id}/resolve", verdict=verdict)

    def complete(self) -> int:
        return self.house.ask("w1", "POST", "/tasks/complete", {"task_id": self.task, "artifacts": {"summary": "done"}})[0]

    def test_a_task_that_needs_review_is_not_completed_before_it_is_approved(self) -> None:
        said = self.refused(409, "w1", "/tasks/complete", {"task_id": self.task, "artifacts": {"summary": "x"}}, code="needs_review")
        self.assertIn("request_review", said["hint"])
        id = self.review()
        self.assertEqual(409, self.complete())
        self.verdict(id, "changes")
        self.assertEqual(409, self.complete())
        self.verdict(self.review(), "approve")
        self.assertEqual(200, self.complete())
        shown = self.house.get("w2", f"/tasks/{self.task}")["task"]["escalations"]
        self.assertEqual(["changes", "approve"], [one["verdict"] for one in shown])

    def test_an_answer_is_no_approval_and_a_newer_open_review_takes_it_back(self) -> None:
        self.verdict(self.review(), "answer")
        self.assertEqual(409, self.complete())
        self.verdict(self.review(), "approve")
        self.review()
        self.assertEqual(409, self.complete())

    def test_an_approval_is_for_who_asked_and_for_this_claim(self) -> None:
        self.house.clock.advance(1)
        self.verdict(self.review("w2"), "approve")
        self.assertEqual(409, self.complete())
        self.verdict(self.review(), "approve")
        self.house.post("w1", f"/tasks/{self.task}/release")
        self.house.clock.advance(1)
        self.house.post("w1", "/tasks/claim", task_id=self.task)
        self.assertEqual(409, self.complete())

    def test_its_maker_cannot_lift_the_review(self) -> None:
        mine = self.house.task("w1", needs_review=True)
        self.refused(403, "w1", f"/tasks/{mine}/edit", {"needs_review": False})
        self.house.post("w1", f"/tasks/{mine}/edit", title="but may say it better")
        self.house.post("arch", f"/tasks/{mine}/edit", needs_review=False)


if __name__ == "__main__":
    unittest.main()
