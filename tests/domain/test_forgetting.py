"""What is over and old is forgotten; what is open, and what something open refers to, never is. The log says so."""

from __future__ import annotations

import unittest
from typing import Any

from lattice.broker import retention
from lattice.domain import events, forgetting
from lattice.domain.caller import BROKER
from lattice.domain.memory import KEPT_VERSIONS
from tests.broker.broking import PERSON, BrokerCase

DAY_S = 86_400.0


class ForgetCase(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("ann", "bob")

    def forget(self, age_s: float = 30 * DAY_S) -> dict[str, list[Any]]:
        """Forget all that is older: what went, by kind. Afterwards the log still folds to the tables."""
        house, gone = self.house, {}
        before = house.clock.now() - age_s
        for kind in forgetting.KINDS:
            after = kind.first
            while after is not None:
                seen = house.broker.write(
                    lambda tx, kind=kind, after=after: forgetting.forget(tx, BROKER, kind, before, after, 3), "forget"
                )
                gone.setdefault(kind.name, []).extend(key for keys in seen.over.values() for key in keys)
                after = seen.last
        self.assertEqual(house.broker.read(events.tables), house.broker.read(lambda tx: events.state_at(tx, None)[1]))
        self.assertTrue(house.broker.read(events.verify)["ok"])
        return {name: keys for name, keys in gone.items() if keys}

    def month_later(self) -> None:
        self.house.clock.advance(31 * DAY_S)
        self.house.renew_tokens()
        for id in ("ann", "bob", "arch"):
            self.house.enrol(id)


class Mail(ForgetCase):
    def test_what_all_have_read_goes_with_its_receipts_and_what_one_has_not_stays(self) -> None:
        house = self.house
        read, half = house.send("arch", "broadcast", "one")["message_id"], house.send("arch", "broadcast", "two")["message_id"]
        for who, most in (("ann", 2), ("bob", 1), (PERSON, 2)):
            taken = house.take(who, max=most)
            house.post(who, "/inbox/ack", receipts=[one["receipt"] for one in taken])
        self.assertEqual({}, self.forget())
        self.month_later()
        self.assertEqual({"message": [read]}, self.forget())
        self.assertEqual(0, house.value("SELECT COUNT(*) FROM receipts WHERE message_id = ?", read))
        self.assertEqual(["two"], house.texts("bob"))
        self.assertEqual({"message": [half]}, self.forget())

    def test_mail_that_is_offered_held_or_waits_for_an_architect_is_not_over(self) -> None:
        house = self.house
        house.post("arch", "/leave")
        house.pass_time(20, "ann", "bob")
        waiting = house.send("ann", "@architect", "who is there?")["message_id"]
        for _ in range(4):
            held = house.send("ann", "bob", "the same again")
        self.assertIn("held", held)
        offered = house.take("bob", max=1)[0]["id"]
        house.clock.advance(31 * DAY_S)
        gone = self.forget().get("message", [])
        self.assertFalse({waiting, held["message_id"], offered} & set(gone), gone)

    def test_what_unread_mail_answers_stays_until_that_is_read(self) -> None:
        house = self.house
        asked = house.send("ann", "bob", "which port?", "question")["message_id"]
        house.texts("bob")
        house.send("bob", "ann", "7899", reply_to=asked)
        self.month_later()
        self.assertEqual({}, self.forget())
        house.texts("ann")
        self.assertEqual(2, len(self.forget()["message"]))

    def test_an_answer_outlives_what_it_answers(self) -> None:
        house = self.house
        asked = house.send("ann", "bob", "which port?", "question")["message_id"]
        house.texts("bob")
        self.month_later()
        said = house.send("bob", "ann", "7899", reply_to=asked)["message_id"]
        house.texts("ann")
        self.assertEqual({"message": [asked]}, self.forget())
        self.assertEqual(asked, house.value("SELECT reply_to FROM messages WHERE id = ?", said))

    def test_what_carries_an_open_call_for_help_stays_and_goes_when_it_was_answered(self) -> None:
        house = self.house
        made = house.post("ann", "/escalations", kind="blocker", text="stuck")
        house.texts("arch")
        self.month_later()
        self.assertEqual({}, self.forget())
        house.post(PERSON, f"/escalations/{made['escalation_id']}/resolve", verdict="answer", answer="left")
        house.texts("ann")
        self.assertEqual({"message": [made["message_id"]]}, self.forget())
        self.month_later()
        self.assertEqual([made["escalation_id"]], self.forget()["escalation"])

    def test_the_first_of_a_text_that_is_passed_on_stays_as_long_as_its_copies(self) -> None:
        house = self.house
        text = "the build of the second parser fails on every machine that has the newer compiler, look at the flags first"
        first = house.send("ann", "bob", text)["message_id"]
        house.texts("bob")
        copy = house.send("bob", "arch", text)["message_id"]
        self.assertEqual(first, house.value("SELECT strain FROM messages WHERE id = ?", copy))
        house.change("INSERT INTO strains (id, state, workspace, held_at) VALUES (?, 'allowed', 'shop', 0)", first)
        house.broker.write(lambda tx: events.record(tx, BROKER, "strain", [first]), "test")
        self.month_later()
        self.assertEqual({}, self.forget(), "the copy is unread")
        house.texts("arch")
        self.assertEqual({"message": [copy]}, self.forget())
        self.assertEqual({"message": [first]}, self.forget())
        self.assertEqual(0, house.value("SELECT COUNT(*) FROM strains"))

    def test_a_kept_run_keeps_its_newest_mail(self) -> None:
        house = self.house
        house.post("ann", "/runs", id="spring", name="spring", status="paused")
        sent = [house.send("ann", "bob", f"m{number}", run_id="spring")["message_id"] for number in range(25)]
        while house.texts("bob"):
            pass
        self.month_later()
        self.assertEqual({"message": sent[:5]}, self.forget())
        self.assertEqual(20, len(house.get("ann", "/runs/spring/summary")["recent_messages"]))


class Work(ForgetCase):
    def test_tasks_that_ended_go_and_take_what_they_needed_with_them(self) -> None:
        house = self.house
        first = house.task("ann")
        second = house.task("ann", blocked_by=[first])
        for task in (first, second):
            house.post("ann", "/tasks/claim", task_id=task)
            house.complete("ann", task)
        failed, dropped = house.task("ann"), house.task("ann")
        house.post("ann", "/tasks/claim", task_id=failed)
        house.post("ann", f"/tasks/{failed}/fail", reason="no")
        house.post("ann", f"/tasks/{dropped}/cancel")
        self.assertEqual({}, self.forget())
        self.month_later()
        self.assertEqual({"task": [first, second, failed, dropped]}, self.forget())
        self.assertEqual(0, house.value("SELECT COUNT(*) FROM dependencies"))

    def test_what_an_open_task_needs_stays(self) -> None:
        house = self.house
        done, failed = house.task("ann"), house.task("ann")
        for task in (done, failed):
            house.post("ann", "/tasks/claim", task_id=task)
        house.complete("ann", done)
        house.post("ann", f"/tasks/{failed}/fail", reason="no")
        waits = house.task("ann", blocked_by=[done, failed])
        self.month_later()
        self.assertEqual({}, self.forget())
        self.assertEqual("completed", house.get("ann", f"/tasks/{waits}")["task"]["waits_for"][0]["status"])
        house.post("ann", f"/tasks/{waits}/cancel")
        self.assertEqual({"task": [done, failed]}, self.forget())

    def test_a_pending_or_claimed_task_is_never_old(self) -> None:
        house = self.house
        house.task("ann")
        house.post("ann", "/tasks/claim", task_id=house.task("ann"))
        house.clock.advance(400 * DAY_S)
        self.assertEqual({}, self.forget())

    def test_a_review_stays_with_its_task(self) -> None:
        house = self.house
        task = house.task("ann", needs_review=True)
        house.post("ann", "/tasks/claim", task_id=task)
        asked = house.post("ann", "/escalations", kind="review", text="look", task_id=task)["escalation_id"]
        house.post("arch", f"/escalations/{asked}/resolve", verdict="approve")
        house.clock.advance(31 * DAY_S)
        self.assertNotIn("escalation", self.forget())
        self.house.renew_tokens()
        self.house.enrol("ann")
        house.post("ann", "/tasks/claim", task_id=task)

    def test_a_run_goes_when_nothing_in_it_is_open_or_new_and_a_paused_one_waits(self) -> None:
        house = self.house
        for run in ("busy", "done", "later"):
            house.task("ann", run_id=run)
        for number in (2, 3):
            house.post("ann", f"/tasks/{number}/cancel")
        house.post("ann", "/runs", id="later", status="paused")
        self.month_later()
        gone = self.forget()
        self.assertEqual((["done"], [2]), (gone["run"], gone["task"]))
        self.assertEqual(1, len(house.post("ann", "/runs/later/resume")["tasks"]))

    def test_older_values_go_a_month_after_they_were_written_over_but_for_the_newest(self) -> None:
        house = self.house
        for number in range(KEPT_VERSIONS + 4):
            house.post("ann", "/memory", key="port", value=str(number))
        house.post("ann", "/memory", key="name", value="one")
        self.month_later()
        house.post("ann", "/memory", key="name", value="two")
        gone = self.forget()
        self.assertEqual([("shop", "port", 1), ("shop", "port", 2), ("shop", "port", 3)], gone["older value"])
        self.assertEqual("two", house.get("ann", "/memory?key=name")["value"])
        self.assertEqual(KEPT_VERSIONS + 1, len(house.get("ann", "/memory/history?key=port")["history"]))

    def test_who_is_gone_is_remembered_as_long_as_something_of_it_is(self) -> None:
        house = self.house
        for id in ("silent", "spoke"):
            house.enrol(id)
        house.send("spoke", "bob", "hello")
        for id in ("silent", "spoke"):
            house.post(PERSON, "/unregister", peer_id=id)
        self.month_later()
        self.assertEqual({"peer": ["silent"]}, self.forget())
        house.texts("bob")
        self.assertEqual({"message", "peer"}, set(self.forget()))


class Asking(ForgetCase):
    def test_what_was_forgotten_is_told_from_what_never_was(self) -> None:
        house = self.house
        task, run = house.task("ann", run_id="spring"), "spring"
        house.post("ann", f"/tasks/{task}/cancel")
        mail = house.send("ann", "bob")["message_id"]
        house.texts("bob")
        self.month_later()
        self.forget()
        for method, path, body in (
            ("GET", f"/tasks/{task}", {}), ("POST", "/tasks/claim", {"task_id": task}), ("GET", f"/receipts/{mail}", {}),
            ("POST", "/send", {"recipient_id": "bob", "category": "finding", "content": "x", "reply_to": mail}),
            ("POST", f"/runs/{run}/resume", {}), ("GET", f"/runs/{run}", {}),
        ):  # fmt: skip
            said = self.refused(404, "ann", path, body, code="forgotten", method=method)
            self.assertIn("older than 30 days, and forgotten", said["error"])
        for method, path in (("GET", "/tasks/999"), ("GET", "/receipts/999"), ("GET", "/runs/winter"), ("POST", "/escalations/1/resolve")):
            body = {"verdict": "answer"} if method == "POST" else {}
            self.refused(404, PERSON, path, body, code="not_found", method=method)

    def test_what_is_there_and_not_the_askers_is_not_called_forgotten(self) -> None:
        house = self.house
        house.enrol("yara", workspace="yard")
        self.refused(404, "yara", f"/tasks/{house.task('ann')}", method="GET", code="not_found")

    def test_the_log_says_that_it_is_gone_in_its_own_workspace(self) -> None:
        house = self.house
        house.enrol("yara", workspace="yard")
        task = house.task("yara")
        house.post("yara", f"/tasks/{task}/cancel")
        house.clock.advance(31 * DAY_S)
        self.forget()
        row = house.rows("SELECT kind, subject, data, workspace, op, actor FROM events ORDER BY seq DESC LIMIT 1")[0]
        self.assertEqual(["task", f"[{task}]", "null", "yard", "forget", "broker"], list(row.values()))

    def test_every_field_that_names_such_a_thing_is_known(self) -> None:
        self.assertEqual({kind for kind in retention.NAMES.values()}, {"task", "message", "run", "escalation"})


if __name__ == "__main__":
    unittest.main()
