"""Mail: stored before the sender is answered, one delivery per recipient, offered and then proven, never lost."""

from __future__ import annotations

import unittest
from unittest import mock

from lattice.contract.operations import INBOX_BYTES
from tests.broker.broking import PERSON, BrokerCase


class OfMail(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.crew("w1", "w2", "w3")


class Sending(OfMail):
    def test_stored_before_acknowledged_to_the_sender(self) -> None:
        sent = self.house.send("w1", "w2")["message_id"]
        self.house.broker.database.close()  # whatever comes after the answer
        self.house.start()
        self.assertEqual("queued", self.house.state(sent, "w2"))

    def test_what_cannot_be_stored_is_not_acknowledged(self) -> None:
        with mock.patch.object(self.house.broker.database, "write", side_effect=OSError("no disk")):
            with self.assertRaises(OSError):
                self.house.send("w1", "w2")
        self.assertEqual([], self.house.take("w2"))

    def test_one_delivery_per_recipient(self) -> None:
        sent = self.house.send("arch", "broadcast", "hear", "error")["message_id"]
        rows = self.house.rows("SELECT recipient FROM deliveries WHERE message_id = ? ORDER BY recipient", sent)
        self.assertEqual([PERSON, "w1", "w2", "w3"], [row["recipient"] for row in rows])

    def test_sending_twice_with_one_idempotency_key_stores_once(self) -> None:
        first = self.house.send("w1", "w2", idempotency_key="k")["message_id"]
        self.assertEqual(first, self.house.send("w1", "w2", idempotency_key="k")["message_id"])
        self.assertEqual(["hello"], self.house.texts("w2"))

    def test_the_sender_is_told_whether_the_recipient_is_active_away_or_waited_for(self) -> None:
        self.assertEqual("active", self.house.send("w1", "w2")["recipient"])
        self.house.post("w2", "/leave")
        self.assertEqual("away", self.house.send("w1", "w2")["recipient"])
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        self.assertEqual("waiting", self.house.send("w1", "@architect")["recipient"])
        self.refused(404, "w1", "/send", {"recipient_id": "nobody", "category": "finding", "content": "x"})

    def test_a_broadcast_reaches_the_active_and_the_named_away_of_the_workspace_and_the_person(self) -> None:
        self.house.enrol("far", workspace="bank")
        self.house.enrol("unnamed", named=False)
        self.house.post("unnamed", "/leave")
        self.house.post("w3", "/leave")
        self.assertEqual([PERSON, "w1", "w2", "w3"], self.house.send("arch", "broadcast")["recipients"])

    def test_only_who_leads_broadcasts(self) -> None:
        said = self.refused(403, "w1", "/send", {"recipient_id": "broadcast", "category": "finding", "content": "x"})
        self.assertEqual("only architect can broadcast", said["error"])
        self.assertEqual(["arch", "w1", "w2", "w3"], self.house.send(PERSON, "broadcast")["recipients"])

    def test_mail_to_the_architect_waits_until_somebody_is(self) -> None:
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        self.house.send("w1", "@architect", "first")
        self.house.send("w2", "@architect", "second")
        self.house.post(PERSON, "/seat", peer_id="w3")
        self.assertIn("beat:w3", self.house.woken)
        self.assertEqual(["first", "second"], self.house.texts("w3"))
        self.assertEqual(0, self.house.value("SELECT COUNT(*) FROM deliveries WHERE recipient = '@architect'"))

    def test_what_the_person_wrote_to_an_architect_that_is_not_waits_for_the_first(self) -> None:
        self.house.post(PERSON, "/seat", peer_id="", workspace="shop")
        self.assertEqual("waiting", self.house.send(PERSON, "@architect", "welcome")["recipient"])
        self.house.enrol("boss", "architect")
        self.assertEqual(["welcome"], self.house.texts("boss"))

    def test_ten_kilobytes_is_the_limit_and_nothing_is_cut(self) -> None:
        fits = "ä" * 5120
        self.house.send("w1", "w2", fits)
        self.assertEqual([fits], self.house.texts("w2"))
        self.refused(413, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": fits + "x"})

    def test_the_person_gets_mail_and_has_read_what_was_shown(self) -> None:
        sent = self.house.send("w1", PERSON, "look")["message_id"]
        self.assertEqual(["look"], [one["content"] for one in self.house.take(PERSON)])
        self.assertEqual("read", self.house.state(sent, PERSON))

    def test_an_address_that_is_no_name_is_refused(self) -> None:
        for address, status in {"@boss": 400, "#room": 404, "a b": 400, "-rf": 400, "w1@elsewhere": 400, "system": 404}.items():
            self.refused(status, "w1", "/send", {"recipient_id": address, "category": "finding", "content": "x"})


class Taking(OfMail):
    def test_only_the_recipient_takes(self) -> None:
        sent = self.house.send("w1", "w2", "for w2")["message_id"]
        self.refused(403, "w3", "/messages/w2", method="GET")
        self.refused(403, "w3", "/inbox/peek?peer_id=w2", method="GET")
        for who in ("arch", PERSON):
            self.assertEqual(["for w2"], [one["content"] for one in self.house.get(who, "/messages/w2")["messages"]])
            self.assertEqual(1, self.house.get(who, "/inbox/peek?peer_id=w2")["unread"])
        receipt = self.house.take("w2")[0]["receipt"]
        self.assertEqual(0, self.house.post("w3", "/inbox/ack", receipts=[receipt])["acknowledged"])
        self.assertEqual(0, self.house.post("w3", "/inbox/return", receipts=[receipt])["returned"])
        self.assertEqual("offered", self.house.state(sent, "w2"))
        self.assertEqual(1, self.house.post("w2", "/inbox/ack", receipts=[receipt])["acknowledged"])

    def test_queued_then_offered_then_read_then_acted(self) -> None:
        sent = self.house.send("w1", "w2", category="question")["message_id"]
        seen = [self.house.state(sent, "w2")]
        mail = self.house.take("w2")[0]
        seen.append(self.house.state(sent, "w2"))
        self.house.post("w2", "/inbox/ack", receipts=[mail["receipt"]], proof="next call")
        seen.append(self.house.state(sent, "w2"))
        self.house.send("w2", "w1", "because of the rain", reply_to=sent)
        seen.append(self.house.state(sent, "w2"))
        self.assertEqual(["queued", "offered", "read", "acted"], seen)
        ladder = self.house.get("w1", f"/receipts/{sent}")["deliveries"][0]
        self.assertTrue(ladder["queued_at"] <= ladder["offered_at"] <= ladder["read_at"] <= ladder["acted_at"])

    def test_an_offered_unread_one_returns_when_its_session_says_so_and_a_repeat_has_the_same_id_and_says_so(self) -> None:
        sent = self.house.send("w1", "w2")["message_id"]
        for redelivered in range(4):
            mail = self.house.take("w2")[0]
            self.assertEqual((sent, redelivered), (mail["id"], mail["redelivered"]))
            self.assertEqual([], self.house.take("w2"))  # it is out
            self.assertEqual(1, self.house.post("w2", "/inbox/return", receipts=[mail["receipt"]])["returned"])

    def test_after_five_tries_it_is_dead_with_a_reason_and_the_sender_hears(self) -> None:
        sent = self.house.send("w1", "w2")["message_id"]
        for _ in range(5):
            self.house.post("w2", "/inbox/return", receipts=[self.house.take("w2")[0]["receipt"]], reason="the call was cancelled")
        self.assertEqual([], self.house.take("w2"))
        row = self.house.get("w1", f"/receipts/{sent}")["deliveries"][0]
        self.assertEqual(("dead", 5), (row["state"], row["attempts"]))
        self.assertIn("the call was cancelled", row["reason"])
        self.assertEqual([f"message {sent} did not reach w2: {row['reason']}"], self.house.texts("w1"))

    def test_a_notice_that_cannot_be_delivered_makes_no_further_notice(self) -> None:
        self.house.send("w1", "w2")
        for who in ("w2", "w1"):
            for _ in range(5):
                self.house.post(who, "/inbox/return", receipts=[self.house.take(who)[0]["receipt"]])
        self.assertEqual(2, self.house.value("SELECT COUNT(*) FROM messages"))

    def test_an_offer_returns_when_its_process_is_lost_leaves_or_is_replaced(self) -> None:
        def lost() -> None:
            self.house.pass_time(20, "arch", "w1", "w3")

        def leaves() -> None:
            self.house.post("w2", "/leave", process="first")

        def is_replaced() -> None:
            self.house.pass_time(5, "arch", "w1", "w3")
            self.house.enrol("w2", process="second")

        for departs in (lost, leaves, is_replaced):
            with self.subTest(departs.__name__):
                self.house.pass_time(5, "arch", "w1", "w3")
                self.house.enrol("w2", process="first")
                sent = self.house.send("w1", "w2", departs.__name__)["message_id"]
                old = self.house.take("w2")[0]["receipt"]
                departs()
                self.assertEqual("queued", self.house.state(sent, "w2"))
                if departs is not is_replaced:
                    self.house.enrol("w2", process="third")
                self.assertEqual(0, self.house.post("w2", "/inbox/ack", receipts=[old])["acknowledged"])  # that offer is over
                mail = self.house.take("w2")[0]
                self.assertEqual((sent, 1), (mail["id"], mail["redelivered"]))
                self.house.post("w2", "/inbox/ack", receipts=[mail["receipt"]])

    def test_an_offer_stays_while_its_process_enrols_again(self) -> None:
        self.house.clock.advance(5)
        self.house.enrol("w2", process="first")
        self.house.send("w1", "w2")
        receipt = self.house.take("w2")[0]["receipt"]
        self.house.restart()
        self.house.enrol("w2", process="first")
        self.assertEqual(1, self.house.post("w2", "/inbox/ack", receipts=[receipt])["acknowledged"])

    def test_who_was_given_up_and_lives_proves_what_it_has_and_it_is_not_offered_again(self) -> None:
        self.house.clock.advance(5)
        self.house.enrol("w2", process="first")
        sent = self.house.send("w1", "w2")["message_id"]
        receipt = self.house.take("w2")[0]["receipt"]
        self.house.pass_time(20, "arch", "w1", "w3")
        self.assertEqual(("dead", "queued"), (self.house.status("w2"), self.house.state(sent, "w2")))
        self.house.beat("w2", process="first")
        self.assertEqual(1, self.house.post("w2", "/inbox/ack", receipts=[receipt], proof="tool")["acknowledged"])
        self.assertEqual("read", self.house.state(sent, "w2"))
        self.assertEqual("tool", self.house.get("w1", f"/receipts/{sent}")["deliveries"][0]["proof"])
        self.assertIn("beat:w2", self.house.woken)
        self.assertEqual([], self.house.take("w2"))

    def test_it_proves_it_too_when_it_was_offered_to_the_same_process_again(self) -> None:
        self.house.clock.advance(5)
        self.house.enrol("w2", process="first")
        sent = self.house.send("w1", "w2")["message_id"]
        first = self.house.take("w2")[0]["receipt"]
        self.house.pass_time(20, "arch", "w1", "w3")
        self.house.beat("w2", process="first")
        second = self.house.take("w2")[0]["receipt"]
        self.assertEqual(1, self.house.post("w2", "/inbox/ack", receipts=[first])["acknowledged"])
        self.assertEqual(0, self.house.post("w2", "/inbox/ack", receipts=[second])["acknowledged"])
        self.assertEqual("read", self.house.state(sent, "w2"))

    def test_a_reply_to_a_mail_whose_call_was_cancelled_is_no_reason_to_offer_it_again(self) -> None:
        sent = self.house.send("w1", "w2", category="question")["message_id"]
        receipt = self.house.take("w2")[0]["receipt"]
        self.house.send("w2", "w1", "yes, at noon", reply_to=sent)
        self.assertEqual(0, self.house.post("w2", "/inbox/return", receipts=[receipt])["returned"])
        self.assertEqual("acted", self.house.state(sent, "w2"))
        self.assertEqual(["yes, at noon"], self.house.texts("w1"))

    def test_at_most_twenty_or_24_kilobytes_a_call_whole_messages_with_the_number_left(self) -> None:
        for number in range(25):
            self.house.send("w1", "w2", f"small {number}")
        said = self.house.post("w2", "/inbox/take")
        self.assertEqual((20, 5, ["w1"]), (len(said["messages"]), said["more"], said["more_from"]))
        self.assertEqual(5, len(self.house.take("w2")))
        for number in range(4):
            self.house.send("w1", "w2", f"{number}" * 10_000)
        said = self.house.post("w2", "/inbox/take")
        self.assertEqual((2, 2), (len(said["messages"]), said["more"]))
        self.assertLessEqual(sum(len(one["content"]) for one in said["messages"]), INBOX_BYTES)
        self.assertEqual([10_000, 10_000], [len(one["content"]) for one in self.house.take("w2")])

    def test_mail_comes_in_the_order_it_was_sent_also_when_it_comes_again(self) -> None:
        for number in range(3):
            self.house.send("w1", "w2", f"number {number}")
        mail = self.house.take("w2")
        self.house.send("w3", "w2", "number 3")
        self.house.post("w2", "/inbox/return", receipts=[one["receipt"] for one in mail])
        self.assertEqual([f"number {number}" for number in range(4)], self.house.texts("w2"))

    def test_the_receipts_are_for_the_sender_the_recipients_and_who_leads(self) -> None:
        sent = self.house.send("w1", "w2")["message_id"]
        for who in ("w1", "w2", "arch", PERSON, "viewer"):
            self.house.get(who, f"/receipts/{sent}")
        self.refused(404, "w3", f"/receipts/{sent}", method="GET")
        self.refused(404, "w1", "/receipts/999", method="GET")

    def test_a_mailbox_belongs_to_the_id_not_to_the_process(self) -> None:
        self.house.post("w2", "/leave")
        self.house.send("w1", "w2", "for later")
        self.house.pass_time(30, "w1")
        self.house.enrol("w2", process="another")
        self.assertEqual(["for later"], self.house.texts("w2"))

    def test_mail_of_an_id_that_was_forgotten_is_dead_and_not_the_next_owners(self) -> None:
        sent = self.house.send("w1", "w2", "secret")["message_id"]
        self.house.post(PERSON, "/unregister", peer_id="w2")
        self.assertEqual("dead", self.house.state(sent, "w2"))
        self.house.resumes.pop("w2")
        self.house.enrol("w2", process="somebody else")
        self.assertEqual([], self.house.texts("w2"))
        self.assertIn("did not reach w2", self.house.texts("w1")[0])


class APlainClient(OfMail):
    """`GET /messages/{peer}`, as v4 has it."""

    def test_the_next_call_proves_the_one_before(self) -> None:
        first = self.house.send("w1", "w2", "first")["message_id"]
        said = self.house.get("w2", "/messages/w2")["messages"]
        self.assertEqual(["first"], [one["content"] for one in said])
        self.assertEqual(
            {"id", "sender_id", "category", "content", "created_at"},
            set(said[0]) & {"id", "sender_id", "category", "content", "created_at"},
        )
        self.assertEqual("offered", self.house.state(first, "w2"))
        self.house.send("w1", "w2", "second")
        self.assertEqual(["second"], [one["content"] for one in self.house.get("w2", "/messages/w2")["messages"]])
        self.assertEqual("read", self.house.state(first, "w2"))
        self.assertEqual([], self.house.get("w2", "/messages/w2")["messages"])

    def test_a_client_that_dies_with_its_mail_gets_it_again_in_its_next_life(self) -> None:
        """Also one that names no process: its second life must not prove what the first was offered."""
        sent = self.house.send("w1", "w2", "do not lose me")["message_id"]
        self.house.get("w2", "/messages/w2")
        self.house.enrol("w2")  # with its resume secret, while the broker still counts it as live
        self.assertEqual([(sent, 1)], [(one["id"], one["redelivered"]) for one in self.house.get("w2", "/messages/w2")["messages"]])

    def test_the_list_of_all_mail_is_newest_first_and_pages_by_after(self) -> None:
        ids = [self.house.send("w1", "w2", f"number {number}")["message_id"] for number in range(5)]
        first = self.house.get("arch", "/messages-all?limit=2")["messages"]
        self.assertEqual(ids[:2:-1], [one["id"] for one in first])
        self.assertEqual(
            ids[2:0:-1], [one["id"] for one in self.house.get("arch", f"/messages-all?limit=2&after={first[-1]['id']}")["messages"]]
        )
        self.refused(403, "w1", "/messages-all", method="GET", code="role")
        self.assertEqual(5, len(self.house.get("w2", "/messages-for/w2")["messages"]))
        self.refused(403, "w3", "/messages-for/w2", method="GET")
        self.assertEqual(5, len(self.house.get("arch", "/messages-for/w2")["messages"]))

    def test_what_a_peer_sent_and_was_sent_is_listed_page_by_page_newest_first(self) -> None:
        ids = [self.house.send(*pair)["message_id"] for pair in [("w1", "w2"), ("w2", "w1"), ("w2", "w3"), ("w3", "w1"), ("w1", "w3")]]
        found: list[int] = []
        while page := self.house.get("w1", f"/messages-for/w1?limit=2&after={found[-1] if found else 10**9}")["messages"]:
            found += [one["id"] for one in page]
        self.assertEqual([one for one in reversed(ids) if one != ids[2]], found)
        self.assertEqual([ids[4]], [one["id"] for one in self.house.get("w3", "/messages-for/w3?limit=1")["messages"]])


class RunsAndReplies(OfMail):
    def test_a_message_carries_the_run_of_its_senders_task_or_the_one_it_names(self) -> None:
        task = self.house.task("w1", run_id="spring")
        self.house.post("w1", "/tasks/claim", task_id=task)
        self.house.send("w1", "w2", "in the run")
        self.house.send("w2", "w1", "named", run_id="spring")
        self.house.send("w2", "w1", "outside")
        self.assertEqual(["spring", "spring", None], [row["run_id"] for row in self.house.rows("SELECT run_id FROM messages ORDER BY id")])
        self.assertEqual(2, self.house.get("w1", "/runs/spring")["message_count"])
        self.refused(404, "w1", "/send", {"recipient_id": "w2", "category": "finding", "content": "x", "run_id": "nowhere"})

    def test_only_ones_own_mail_is_replied_to(self) -> None:
        sent = self.house.send("w1", "w2")["message_id"]
        self.refused(404, "w3", "/send", {"recipient_id": "w1", "category": "finding", "content": "x", "reply_to": sent})
        self.refused(404, "w3", "/send", {"recipient_id": "w1", "category": "finding", "content": "x", "reply_to": 999})
        self.assertEqual("queued", self.house.state(sent, "w2"))

    def test_a_reply_says_how_many_came_before_it(self) -> None:
        first = self.house.send("w1", "w2", "which port?", "question")["message_id"]
        second = self.house.send("w2", "w1", "8080 I think", reply_to=first)["message_id"]
        self.house.send("w1", "w2", "and the host?", "question", reply_to=second)
        self.assertEqual([2], [one["hops"] for one in self.house.take("w2")])  # the first was answered, so it is not offered any more


if __name__ == "__main__":
    unittest.main()
